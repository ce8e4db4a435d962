//! Gradients against central differences, in f64.

use crate::error::Result;
use crate::random::Key;
use crate::{Shape, Tensor};

/// Normal numbers in f64 from a seed.
pub(super) fn normal(shape: impl Into<Shape>, seed: u64) -> Tensor {
    let key = Key::new(seed, 99);
    Tensor::from_fn(shape, |x: &mut [f64]| {
        x.iter_mut().enumerate().for_each(|(i, x)| *x = key.normal(i as u64));
    })
}

/// Checks the gradient of `sum(f(inputs) * weights)`, with fixed random weights, for every input.
pub(super) fn check(inputs: &[Tensor], f: impl Fn(&[Tensor]) -> Result<Tensor>) {
    let leaves: Vec<Tensor> = inputs.iter().map(|x| x.deep_copy().requires_grad()).collect();
    let loss = |x: &[Tensor]| -> Result<Tensor> {
        let y = f(x)?;
        let weights = normal(y.shape().clone(), 7);
        (y * weights)?.sum()
    };
    let grads = loss(&leaves).expect("the forward runs").backward().expect("the backward runs");
    for (which, leaf) in leaves.iter().enumerate() {
        let analytic = grads.get(leaf).expect("every input has a gradient").to_vec::<f64>().unwrap();
        let values = inputs[which].to_vec::<f64>().unwrap();
        for i in 0..values.len() {
            let at = |step: f64| {
                let mut moved = values.clone();
                moved[i] += step;
                // Leaves too, so that `f` may be a gradient.
                let mut x = leaves.clone();
                x[which] = Tensor::from_vec(moved, inputs[which].shape().clone()).unwrap().requires_grad();
                loss(&x).unwrap().item::<f64>().unwrap()
            };
            let step = 1e-5 * values[i].abs().max(1.0);
            let numeric = (at(step) - at(-step)) / (2.0 * step);
            assert!(
                (analytic[i] - numeric).abs() <= 1e-6 * numeric.abs().max(1.0),
                "input {which}, element {i}: {} by the rule, {numeric} by differences",
                analytic[i]
            );
        }
    }
}

/// Checks the gradient of the gradient of `f` for its only input: the gradient of `sum(f(x) * weights)`, whose entries
/// are squared and added, against differences.
pub(super) fn check_second(input: &Tensor, f: impl Fn(&Tensor) -> Result<Tensor>) {
    check(std::slice::from_ref(input), |x| {
        // The differences run without leaves; the first gradient needs one.
        let (x, again) =
            if x[0].needs_grad() { (x[0].clone(), true) } else { (x[0].deep_copy().requires_grad(), false) };
        let loss = f(&x)?.square()?.sum()?;
        crate::grad(&loss, &[&x], again)?.swap_remove(0).square()?.sum()
    });
}
