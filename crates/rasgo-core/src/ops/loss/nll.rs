//! The negative log-likelihood of classes.
//!
//! ```text
//! loss[n, …] = -w[t] * x[n, t, …], t = target[n, …]; 0 where t is ignored
//! ```
//! The mean divides by the sum of the weights of the targets that count.

use rasgo_kernels::softmax;

use super::{Reduction, classes};
use crate::error::Result;
use crate::meta::Meta;
use crate::op::{Bf16Rule, Grads, Input, LayoutRule, Mask, Metas, Op, Output, Saved, Saves, apply};
use crate::ops::float;
use crate::tensor::Tensor;

/// Options of [`Tensor::nll_loss`].
#[derive(Clone, Debug)]
pub struct NllLossOptions {
    /// A factor for each class, (C).
    pub weight: Option<Tensor>,
    /// The class whose rows do not count; -100 by default, which is none.
    pub ignore_index: i64,
    /// What becomes of the losses of the rows.
    pub reduction: Reduction,
}

impl Default for NllLossOptions {
    fn default() -> Self {
        NllLossOptions { weight: None, ignore_index: -100, reduction: Reduction::Mean }
    }
}

/// The loss of each row, from x, the classes and perhaps a weight.
#[derive(Debug, Clone, Copy)]
struct Nll {
    ignore_index: i64,
}

/// Where, in a plain tensor of (N, C, …) or (C), the class of each row stands; `None` where it is ignored.
fn places(meta: &Meta, target: &[i64], ignore_index: i64) -> impl Iterator<Item = Option<(usize, usize)>> {
    let classes = classes::classes_of(&meta.shape);
    let pixels: usize = meta.shape.iter().skip(2).product();
    target.iter().enumerate().map(move |(row, &class)| {
        let (n, pixel) = (row / pixels, row % pixels);
        let class = (class != ignore_index).then_some(class as usize)?;
        Some((class, (n * classes + class) * pixels + pixel))
    })
}

impl Op for Nll {
    fn name(&self) -> &'static str {
        "nll_loss"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        classes::check(&inputs[0], &inputs[1], inputs.get(2))?;
        Ok(Metas::from_iter([Meta::plain(inputs[1].shape.clone(), inputs[0].dtype)]))
    }

    fn layout(&self) -> LayoutRule {
        LayoutRule::Plain
    }

    fn bf16(&self) -> Bf16Rule {
        Bf16Rule::Widened
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        let places = places(inputs[0].meta(), inputs[1].values::<i64>(), self.ignore_index);
        float!(inputs[0].meta().dtype, T => {
            let (x, weight) = (inputs[0].values::<T>(), inputs.get(2).map(|weight| weight.values::<T>()));
            for (loss, place) in outputs[0].values::<T>().iter_mut().zip(places) {
                *loss = place.map_or(0.0, |(class, at)| -x[at] * weight.map_or(1.0, |weight| weight[class]));
            }
        });
    }

    fn saves(&self) -> Saves {
        Saves { inputs: Mask::of(&[1, 2]), outputs: Mask::NONE }
    }

    fn grad(&self, mut saved: Saved, mut dy: Grads, _needs: Mask) -> Result<Grads> {
        let x = Meta::plain(saved.input_shape(0), dy[0].as_ref().expect("one output").dtype());
        let weight = (saved.inputs() > 2).then(|| saved.input(2));
        let inputs = [dy[0].take(), Some(saved.input(1)), weight];
        let dx = apply(NllGrad { op: *self, x }, inputs.into_iter().flatten())?;
        Ok(Grads::from_iter([Some(dx), None, None]))
    }
}

/// dx from dy, the classes and the weight: dy at the classes' places.
#[derive(Debug)]
struct NllGrad {
    op: Nll,
    x: Meta,
}

impl Op for NllGrad {
    fn name(&self) -> &'static str {
        "nll_loss"
    }

    fn infer(&self, _inputs: &[Meta]) -> Result<Metas> {
        Ok(Metas::from_iter([self.x.clone()]))
    }

    fn layout(&self) -> LayoutRule {
        LayoutRule::Plain
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        let places = places(&self.x, inputs[1].values::<i64>(), self.op.ignore_index);
        float!(self.x.dtype, T => {
            let (dy, weight) = (inputs[0].values::<T>(), inputs.get(2).map(|weight| weight.values::<T>()));
            let dx = outputs[0].values::<T>();
            dx.fill(0.0);
            for (dy, place) in dy.iter().zip(places) {
                if let Some((class, at)) = place {
                    dx[at] = -dy * weight.map_or(1.0, |weight| weight[class]);
                }
            }
        });
    }

    fn saves(&self) -> Saves {
        Saves { inputs: Mask::of(&[1, 2]), outputs: Mask::NONE }
    }

    fn grad(&self, mut saved: Saved, mut dy: Grads, _needs: Mask) -> Result<Grads> {
        let weight = (saved.inputs() > 2).then(|| saved.input(2));
        let inputs = [dy[0].take(), Some(saved.input(1)), weight];
        let ddy = apply(self.op, inputs.into_iter().flatten())?;
        Ok(Grads::from_iter([Some(ddy), None, None]))
    }
}

impl Tensor {
    /// The negative log-likelihood of log-probabilities (N, C, …), or (C) for one row, for classes (N, …); see the module
    /// for the formula.
    ///
    /// ```
    /// # use rasgo_core::{Tensor, ops::NllLossOptions};
    /// let logits = Tensor::from_vec(vec![0.0f32, 0.0, 0.0, 0.0], [1, 4])?;
    /// let target = Tensor::from_vec(vec![2i64], [1])?;
    /// let loss = logits.log_softmax(1)?.nll_loss(&target, NllLossOptions::default())?;
    /// assert!((loss.item::<f32>()? - 4f32.ln()).abs() < 1e-6);
    /// # Ok::<(), rasgo_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// A class outside 0..C names the row and the value.
    #[track_caller]
    pub fn nll_loss(&self, target: &Tensor, options: NllLossOptions) -> Result<Tensor> {
        let NllLossOptions { weight, ignore_index, reduction } = options;
        let target = classes::as_classes(target)?;
        classes::check_values("nll_loss", self, &target, ignore_index)?;
        let weight = weight.map(|weight| weight.detach());
        let inputs = [Some(self.clone()), Some(target.clone()), weight.clone()];
        let losses = apply(Nll { ignore_index }, inputs.into_iter().flatten())?;
        if reduction != Reduction::Mean || losses.is_shape_only() {
            return reduction.reduce(losses);
        }
        let weights = weight.map(|weight| weight.to_f64_vec()).transpose()?;
        let p = softmax::CrossEntropy {
            classes: classes::classes_of(self.shape()),
            label_smoothing: 0.0,
            weights: weights.as_deref(),
            ignore_index: Some(ignore_index),
        };
        let total = Tensor::scalar(softmax::target_weight_sum(&p, target.raw::<i64>()));
        losses.sum()? / total.to_dtype(self.dtype())?
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::grad_check::{check, normal};
    use super::*;
    use crate::DType;

    #[test]
    fn nll_loss_has_the_gradient_of_its_differences() {
        let target = |values: &[i64], shape: &[usize]| Tensor::from_slice(values, shape).unwrap();
        let weight = normal([4], 9).square().unwrap();
        for weight in [None, Some(weight)] {
            for reduction in [Reduction::None, Reduction::Mean, Reduction::Sum] {
                let options = || NllLossOptions { weight: weight.clone(), ignore_index: 1, reduction };
                let loss = |x: &Tensor, target: &Tensor| x.nll_loss(target, options());
                check(&[normal([4], 1)], |x| loss(&x[0], &target(&[2], &[])));
                check(&[normal([3, 4], 1)], |x| loss(&x[0], &target(&[2, 1, 3], &[3])));
                let image = target(&[2, 1, 3, 0, 0, 3, 1, 2, 0, 1, 1, 2], &[2, 3, 2]);
                let x = normal([2, 4, 3, 2], 1);
                check(std::slice::from_ref(&x), |x| loss(&x[0], &image));
                check(std::slice::from_ref(&x), |x| {
                    let loss = loss(&x[0], &image)?.square()?.sum()?;
                    Ok(crate::grad(&loss, &[&x[0]], true)?.remove(0))
                });
                let expected = loss(&x, &image).unwrap().to_f64_vec().unwrap();
                let last = loss(&x.clone().to_channels_last(), &image.clone().to_channels_last()).unwrap();
                assert_eq!(last.to_f64_vec().unwrap(), expected);
            }
        }
    }

    #[test]
    fn after_log_softmax_it_is_the_cross_entropy() {
        let (x, target) = (normal([3, 5], 1), Tensor::from_vec(vec![4i64, 0, 2], [3]).unwrap());
        let weight = normal([5], 2).square().unwrap();
        let options = NllLossOptions { weight: Some(weight.clone()), ignore_index: 0, ..Default::default() };
        let found = x.log_softmax(1).unwrap().nll_loss(&target, options).unwrap().item::<f64>().unwrap();
        let options =
            crate::ops::CrossEntropyOptions { weight: Some(weight), ignore_index: 0, ..Default::default() };
        let expected = x.cross_entropy(&target, options).unwrap().item::<f64>().unwrap();
        assert!((found - expected).abs() < 1e-12);
    }

    #[test]
    fn nothing_to_count_is_nan_or_zero() {
        let x = normal([2, 4], 1).requires_grad();
        let target = Tensor::from_vec(vec![-100i64, -100], [2]).unwrap();
        let loss = x.nll_loss(&target, NllLossOptions::default()).unwrap();
        assert!(loss.item::<f64>().unwrap().is_nan());
        assert_eq!(loss.backward().unwrap().get(&x).unwrap().to_vec::<f64>().unwrap(), [0.0; 8]);
        let empty = Tensor::zeros([0, 4, 3], DType::F32).unwrap();
        let target = Tensor::zeros([0, 3], DType::I64).unwrap();
        let options = NllLossOptions { reduction: Reduction::Sum, ..Default::default() };
        assert_eq!(empty.nll_loss(&target, options).unwrap().item::<f32>().unwrap(), 0.0);
    }

    #[test]
    fn a_class_out_of_range_names_the_row() {
        let target = Tensor::from_vec(vec![1i64, 9], [2]).unwrap();
        let error = normal([2, 4], 3).nll_loss(&target, NllLossOptions::default()).unwrap_err();
        assert!(error.to_string().contains("target 9 at row 1 is not in 0..4"), "{error}");
        assert_eq!(error.location().unwrap().file(), file!());
    }
}
