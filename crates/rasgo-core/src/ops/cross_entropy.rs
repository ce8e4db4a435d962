//! Softmax and negative log-likelihood in one op.
//!
//! ```text
//! loss[n] = -sum over c of q[n, c] * log_softmax(x)[n, c]
//! q[n, c] = (1 - s) [c = target[n]] + s / C        s: label smoothing
//! ```
//! and the loss is the mean over the rows.

use rasgo_kernels::{Buffer, reduce, softmax};

use super::{float, no_second_gradient};
use crate::error::{Error, ErrorKind, Result};
use crate::meta::{DType, Meta};
use crate::op::{Grads, Input, LayoutRule, Mask, Metas, Op, Output, Saved, Saves, apply};
use crate::scope;
use crate::tensor::Tensor;

/// Options of [`Tensor::cross_entropy`].
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct CrossEntropyOptions {
    /// The share of the target that is spread evenly over all classes, 0..1.
    pub label_smoothing: f64,
}

/// Outputs: the mean loss, and ln(sum e^x) of each row, which the gradient reads.
#[derive(Debug, Clone, Copy)]
struct CrossEntropy(CrossEntropyOptions);

impl CrossEntropy {
    fn problem<T>(&self, classes: usize) -> softmax::CrossEntropy<'static, T> {
        let label_smoothing = self.0.label_smoothing;
        softmax::CrossEntropy { classes, label_smoothing, weights: None, ignore_index: None }
    }
}

impl Op for CrossEntropy {
    fn name(&self) -> &'static str {
        "cross_entropy"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        let (x, target) = (&inputs[0], &inputs[1]);
        if !x.dtype.is_float() || target.dtype != DType::I64 {
            return Err(Error::new(
                ErrorKind::DType,
                format!("logits of {} and targets of {}: float and int64 are wanted", x.dtype, target.dtype),
            ));
        }
        if x.shape.len() != 2 || target.shape.len() != 1 || x.shape[0] != target.shape[0] {
            return Err(Error::shape(format!("logits {} and targets {}", x.shape, target.shape))
                .hint("give logits (N, classes) and one class for each row (N)"));
        }
        if x.shape.contains(&0) {
            return Err(Error::shape(format!("logits {}: the mean over no rows is not defined", x.shape)));
        }
        if !(0.0..=1.0).contains(&self.0.label_smoothing) {
            return Err(Error::argument(format!(
                "label smoothing {} is not in 0..1",
                self.0.label_smoothing
            )));
        }
        Ok(Metas::from_iter([Meta::plain([], x.dtype), Meta::plain([x.shape[0]], x.dtype)]))
    }

    fn layout(&self) -> LayoutRule {
        LayoutRule::AsIs
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        let (rows, classes) = (inputs[0].meta().shape[0], inputs[0].meta().shape[1]);
        let [loss, lse] = outputs else { unreachable!("two outputs") };
        float!(inputs[0].meta().dtype, T => {
            let p = self.problem::<T>(classes);
            let mut losses = Buffer::new::<T>(rows);
            let (x, target) = (inputs[0].values::<T>(), inputs[1].values::<i64>());
            softmax::cross_entropy_forward(&p, x, target, losses.as_mut_slice::<T>(), lse.values::<T>());
            loss.values::<T>()[0] = reduce::sum_all(losses.as_slice::<T>()) / rows as T;
        });
    }

    fn saves(&self) -> Saves {
        Saves { inputs: Mask::of(&[0, 1]), outputs: Mask::of(&[1]) }
    }

    fn grad(&self, mut saved: Saved, mut dy: Grads, _needs: Mask) -> Result<Grads> {
        let dy = dy[0].take().expect("the loss has a gradient");
        let dx = apply(CrossEntropyGrad(*self), [saved.input(0), saved.input(1), saved.output(1), dy])?;
        Ok(Grads::from_iter([Some(dx), None]))
    }
}

/// dx = (softmax(x) - q) * dy / N from x, the targets, ln(sum e^x) and dy.
#[derive(Debug)]
struct CrossEntropyGrad(CrossEntropy);

impl Op for CrossEntropyGrad {
    fn name(&self) -> &'static str {
        "cross_entropy"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        Ok(Metas::from_iter([inputs[0].clone()]))
    }

    fn layout(&self) -> LayoutRule {
        LayoutRule::AsIs
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        let (rows, classes) = (inputs[0].meta().shape[0], inputs[0].meta().shape[1]);
        float!(inputs[0].meta().dtype, T => {
            let p = self.0.problem::<T>(classes);
            let (x, target, lse) = (inputs[0].values::<T>(), inputs[1].values::<i64>(), inputs[2].values::<T>());
            let dy = [inputs[3].values::<T>()[0] / rows as T];
            softmax::cross_entropy_backward(&p, x, lse, target, &dy, outputs[0].values::<T>());
        });
    }

    fn grad(&self, _saved: Saved, _dy: Grads, _needs: Mask) -> Result<Grads> {
        Err(no_second_gradient())
    }
}

impl Tensor {
    /// The mean cross entropy of logits (N, C) against classes (N); see the module for the formula.
    ///
    /// # Errors
    /// A class outside 0..C names the row and the value.
    #[track_caller]
    pub fn cross_entropy(&self, target: &Tensor, options: CrossEntropyOptions) -> Result<Tensor> {
        let readable = !self.is_shape_only() && !target.is_shape_only() && target.dtype() == DType::I64;
        if let (true, [_, classes]) = (readable, &self.shape()[..])
            && let Some((row, class)) = softmax::bad_target(target.raw::<i64>(), *classes, None)
        {
            let text = format!("target {class} at row {row} is not in 0..{classes}");
            let error = Error::new(ErrorKind::Index, text)
                .op("cross_entropy")
                .hint("give the model as many classes as the data has");
            return Err(scope::annotate(error).at(std::panic::Location::caller()));
        }
        apply(CrossEntropy(options), [self.clone(), target.clone()])
    }
}

#[cfg(test)]
mod tests {
    use super::super::grad_check::{check, normal};
    use super::*;

    #[test]
    fn cross_entropy_has_the_gradient_of_its_differences() {
        let target = Tensor::from_vec(vec![2i64, 0, 4], [3]).unwrap();
        for label_smoothing in [0.0, 0.1] {
            check(&[normal([3, 5], 1)], |x| {
                x[0].cross_entropy(&target, CrossEntropyOptions { label_smoothing })
            });
        }
    }

    #[test]
    fn it_is_the_negative_log_softmax_of_the_target() {
        let x = normal([2, 4], 3);
        let target = Tensor::from_vec(vec![1i64, 3], [2]).unwrap();
        let log = x.log_softmax(1).unwrap().to_vec::<f64>().unwrap();
        let loss = x.cross_entropy(&target, CrossEntropyOptions::default()).unwrap().item::<f64>().unwrap();
        assert!((loss + (log[1] + log[7]) / 2.0).abs() < 1e-12);
    }

    #[test]
    fn a_class_out_of_range_names_the_row() {
        let target = Tensor::from_vec(vec![1i64, 9], [2]).unwrap();
        let error = normal([2, 4], 3).cross_entropy(&target, CrossEntropyOptions::default()).unwrap_err();
        assert!(error.to_string().contains("target 9 at row 1 is not in 0..4"), "{error}");
    }
}
