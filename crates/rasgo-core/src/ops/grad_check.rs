//! Gradients against central differences, in f64.

use crate::error::Result;
use crate::random::Key;
use crate::{Shape, Tensor, grad};

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
        let values = inputs[which].to_vec::<f64>().unwrap();
        // What the result does not depend on has none; the differences must be 0 then.
        let analytic = match grads.get(leaf) {
            Some(grad) => grad.to_vec::<f64>().unwrap(),
            None => vec![0.0; values.len()],
        };
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

/// Checks the gradient of a weighted sum of the gradients of `f`, for every input: the second gradients.
pub(super) fn check_twice(inputs: &[Tensor], f: impl Fn(&[Tensor]) -> Result<Tensor>) {
    check(inputs, |x| {
        // The differences move constants: what has no past becomes a leaf.
        let leaves: Vec<Tensor> =
            x.iter().map(|x| if x.needs_grad() { x.clone() } else { x.clone().requires_grad() }).collect();
        let y = f(&leaves)?;
        // Squared, so that the gradients of what is linear depend on the inputs too.
        let loss = (y.clone().square()? * normal(y.shape().clone(), 8))?.sum()?;
        let wanted: Vec<&Tensor> = leaves.iter().collect();
        let mut total: Option<Tensor> = None;
        for (which, slope) in grad(&loss, &wanted, true)?.into_iter().enumerate() {
            let part = (&slope * normal(slope.shape().clone(), 9 + which as u64))?.sum()?;
            total = Some(match total {
                Some(total) => (total + part)?,
                None => part,
            });
        }
        Ok(total.expect("there is an input"))
    });
}
