//! Softmax and negative log-likelihood in one op.
//!
//! ```text
//! loss[n, …] = -sum over c of w[c] * q[n, c, …] * log_softmax(x)[n, c, …]
//! q[n, c, …] = (1 - s) [c = target[n, …]] + s / C        s: label smoothing, w: weight
//! ```
//! The mean divides by the sum of the weights of the targets; rows whose target is ignored do not count. Where the target
//! holds a probability for each class, q is `(1 - s) target + s / C`, and the mean divides by the number of rows.

use rasgo_kernels::{Buffer, reduce, softmax};

use super::{Reduction, classes};
use crate::error::{Error, Result};
use crate::meta::{Meta, Shape};
use crate::op::{
    Bf16Rule, Grads, Input, LayoutRule, Mask, Metas, Op, Output, Saved, Saves, apply, grad_enabled,
};
use crate::ops::{float, no_second_gradient};
use crate::tensor::Tensor;

/// Options of [`Tensor::cross_entropy`].
#[derive(Clone, Debug)]
pub struct CrossEntropyOptions {
    /// A factor for each class, (C).
    pub weight: Option<Tensor>,
    /// The class whose rows do not count; -100 by default, which is none.
    pub ignore_index: i64,
    /// The share of the target that is spread evenly over all classes, 0..1.
    pub label_smoothing: f64,
    /// What becomes of the losses of the rows.
    pub reduction: Reduction,
}

impl Default for CrossEntropyOptions {
    fn default() -> Self {
        CrossEntropyOptions {
            weight: None,
            ignore_index: -100,
            label_smoothing: 0.0,
            reduction: Reduction::Mean,
        }
    }
}

/// Inputs: x, the classes, and perhaps a weight. Outputs: the loss; of each row ln(sum e^x), and of all the number by which
/// the sum is divided, which the gradient reads.
#[derive(Debug, Clone, Copy)]
struct CrossEntropy {
    ignore_index: i64,
    label_smoothing: f64,
    reduction: Reduction,
}

impl CrossEntropy {
    fn problem<'a, T>(&self, classes: usize, weights: Option<&'a [T]>) -> softmax::CrossEntropy<'a, T> {
        let (label_smoothing, ignore_index) = (self.label_smoothing, Some(self.ignore_index));
        softmax::CrossEntropy { classes, label_smoothing, weights, ignore_index }
    }
}

impl Op for CrossEntropy {
    fn name(&self) -> &'static str {
        "cross_entropy"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        let (x, target) = (&inputs[0], &inputs[1]);
        classes::check(x, target, inputs.get(2))?;
        check_smoothing(self.label_smoothing)?;
        let rows = || Meta::plain(target.shape.clone(), x.dtype);
        let loss = if self.reduction == Reduction::None { rows() } else { Meta::plain([], x.dtype) };
        Ok(Metas::from_iter([loss, rows(), Meta::plain([], x.dtype)]))
    }

    fn layout(&self) -> LayoutRule {
        // A row of classes is contiguous.
        LayoutRule::ChannelsLast(Mask::of(&[0]))
    }

    fn bf16(&self) -> Bf16Rule {
        Bf16Rule::Widened
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        let classes = classes::classes_of(&inputs[0].meta().shape);
        let target = inputs[1].values::<i64>();
        let [loss, lse, total] = outputs else { unreachable!("three outputs") };
        float!(inputs[0].meta().dtype, T => {
            let p = self.problem(classes, inputs.get(2).map(|weight| weight.values::<T>()));
            let forward = |losses: &mut [T], lse: &mut [T]| match classes {
                // Every row is ignored, or there is none.
                0 => {
                    losses.fill(0.0);
                    lse.fill(0.0);
                }
                _ => softmax::cross_entropy_forward(&p, inputs[0].values::<T>(), target, losses, lse),
            };
            let divisor = match self.reduction {
                Reduction::Mean => softmax::target_weight_sum(&p, target) as T,
                _ => 1.0,
            };
            total.values::<T>()[0] = divisor;
            if self.reduction == Reduction::None {
                return forward(loss.values::<T>(), lse.values::<T>());
            }
            let mut losses = Buffer::new::<T>(target.len());
            forward(losses.as_mut_slice::<T>(), lse.values::<T>());
            loss.values::<T>()[0] = reduce::sum_all(losses.as_slice::<T>()) / divisor;
        });
    }

    fn saves(&self) -> Saves {
        Saves { inputs: Mask::of(&[0, 1, 2]), outputs: Mask::of(&[1, 2]) }
    }

    fn grad(&self, mut saved: Saved, mut dy: Grads, _needs: Mask) -> Result<Grads> {
        let dy = dy[0].take().expect("the loss has a gradient");
        let (x, target, total) = (saved.input(0), saved.input(1), saved.output(2).detach());
        let weight = (saved.inputs() > 2).then(|| saved.input(2));
        let dx = if grad_enabled() {
            self.composed_grad(&x, &target, &total, dy, weight.as_ref())?
        } else {
            let inputs = [Some(x), Some(target), Some(saved.output(1)), Some(total), Some(dy), weight];
            apply(CrossEntropyGrad(*self), inputs.into_iter().flatten())?
        };
        Ok(Grads::from_iter([Some(dx), None, None]))
    }
}

impl CrossEntropy {
    /// The gradient as calls of ops, for gradients of it: dx = (mass * softmax(x) - q w) * dy / total, where mass is the sum
    /// of q w over the classes.
    fn composed_grad(
        &self,
        x: &Tensor,
        target: &Tensor,
        total: &Tensor,
        dy: Tensor,
        weight: Option<&Tensor>,
    ) -> Result<Tensor> {
        let classes = classes::classes_of(x.shape());
        let rows = target.shape().elements();
        let weight = match weight {
            Some(weight) => weight.to_f64_vec()?,
            None => vec![1.0; classes],
        };
        let spread = self.label_smoothing / classes as f64;
        let mut shares = vec![0.0; rows * classes];
        let mut mass = vec![0.0; rows];
        for (row, &class) in target.raw::<i64>().iter().enumerate() {
            if class != self.ignore_index {
                let shares = &mut shares[row * classes..(row + 1) * classes];
                shares.iter_mut().zip(&weight).for_each(|(share, weight)| *share = spread * weight);
                shares[class as usize] += (1.0 - self.label_smoothing) * weight[class as usize];
                mass[row] = shares.iter().sum();
            }
        }
        let constant = |values: Vec<f64>, shape: Shape| Tensor::from_vec(values, shape)?.to_dtype(x.dtype());
        let axis = class_axis(x.shape());
        let mut one = x.shape().clone();
        one.set(axis, 1);
        // The shares have the classes innermost; x has them at its axis.
        let (shape, rank) = (target.shape().iter().copied().chain([classes]), x.shape().len() as isize);
        let mut order: Vec<isize> = (0..rank - 1).collect();
        order.insert(axis, -1);
        let (shares, mass) =
            (constant(shares, shape.collect())?.permute(&order)?, constant(mass, one.clone())?);
        let dy = match self.reduction {
            Reduction::None => dy.reshape(one)?,
            _ => (dy / total)?,
        };
        ((x.softmax(axis as isize)? * mass)? - shares)? * dy
    }
}

/// dx from x, the classes, ln(sum e^x), the divisor, dy and the weight.
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
        LayoutRule::ChannelsLast(Mask::of(&[0]))
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        let classes = classes::classes_of(&inputs[0].meta().shape);
        float!(inputs[0].meta().dtype, T => {
            let p = self.0.problem(classes, inputs.get(5).map(|weight| weight.values::<T>()));
            let (x, target, lse) = (inputs[0].values::<T>(), inputs[1].values::<i64>(), inputs[2].values::<T>());
            let dy = inputs[4].values::<T>();
            let one = [dy.first().map_or(0.0, |dy| dy / inputs[3].values::<T>()[0])];
            let dy = if self.0.reduction == Reduction::None { dy } else { &one };
            softmax::cross_entropy_backward(&p, x, lse, target, dy, outputs[0].values::<T>());
        });
    }

    fn grad(&self, _saved: Saved, _dy: Grads, _needs: Mask) -> Result<Grads> {
        Err(no_second_gradient())
    }
}

fn check_smoothing(label_smoothing: f64) -> Result<()> {
    if (0.0..=1.0).contains(&label_smoothing) {
        return Ok(());
    }
    Err(Error::argument(format!("label smoothing {label_smoothing} is not in 0..1"))
        .hint("it is the share of the target that all classes divide, as 0.1"))
}

/// The axis of the classes of (N, C, …) or (C).
fn class_axis(shape: &Shape) -> usize {
    1.min(shape.len() - 1)
}

impl Tensor {
    /// The cross entropy of logits (N, C, …), or (C) for one row, against classes (N, …), or against probabilities of the
    /// logits' shape; see the module for the formula. Only targets that are probabilities have a gradient.
    ///
    /// ```
    /// # use rasgo_core::{Tensor, ops::CrossEntropyOptions};
    /// let logits = Tensor::from_vec(vec![2.0f32, 0.0, -1.0, 0.5, 0.5, 3.0], [2, 3])?;
    /// let classes = Tensor::from_vec(vec![0i64, 2], [2])?;
    /// let loss = logits.cross_entropy(&classes, CrossEntropyOptions::default())?;
    /// let probabilities = Tensor::from_vec(vec![1.0f32, 0.0, 0.0, 0.0, 0.0, 1.0], [2, 3])?;
    /// let same = logits.cross_entropy(&probabilities, CrossEntropyOptions::default())?;
    /// assert!((loss.item::<f32>()? - same.item::<f32>()?).abs() < 1e-6);
    /// # Ok::<(), rasgo_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// A class outside 0..C names the row and the value.
    #[track_caller]
    pub fn cross_entropy(&self, target: &Tensor, options: CrossEntropyOptions) -> Result<Tensor> {
        let _scope = crate::scope::enter_op("cross_entropy");
        if target.dtype().is_float() && target.shape() == self.shape() && !self.shape().is_empty() {
            return self.cross_entropy_of_probabilities(target, &options);
        }
        let CrossEntropyOptions { weight, ignore_index, label_smoothing, reduction } = options;
        let target = classes::as_classes(target)?;
        classes::check_values("cross_entropy", self, &target, ignore_index)?;
        let op = CrossEntropy { ignore_index, label_smoothing, reduction };
        let weight = weight.map(|weight| weight.detach());
        // More than three spatial axes have no channels-last order; they are one to the kernel.
        if self.shape().len() > 5 && classes::check(self.meta(), target.meta(), None).is_ok() {
            let (n, pixels) = (self.shape()[0], self.shape()[2..].iter().product::<usize>());
            let x = self.reshape([n, self.shape()[1], pixels])?;
            let inputs = [Some(x), Some(target.reshape([n, pixels])?), weight];
            let loss = apply(op, inputs.into_iter().flatten())?;
            return if reduction == Reduction::None {
                loss.reshape(target.shape().clone())
            } else {
                Ok(loss)
            };
        }
        apply(op, [Some(self.clone()), Some(target), weight].into_iter().flatten())
    }

    #[track_caller]
    fn cross_entropy_of_probabilities(
        &self,
        target: &Tensor,
        options: &CrossEntropyOptions,
    ) -> Result<Tensor> {
        let classes = classes::classes_of(self.shape());
        let at = std::panic::Location::caller();
        let refuse = |error: Error| crate::scope::annotate(error.op("cross_entropy")).at(at);
        check_smoothing(options.label_smoothing).map_err(refuse)?;
        if options.ignore_index >= 0 {
            let text = format!("ignore_index {} beside a target of probabilities", options.ignore_index);
            return Err(refuse(Error::argument(text).hint("set the probabilities of those rows to 0")));
        }
        let smoothing = options.label_smoothing;
        let axis = class_axis(self.shape());
        let mut shares = target.clone();
        if smoothing > 0.0 {
            shares = shares.scale(1.0 - smoothing)?.add_scalar(smoothing / classes as f64)?;
        }
        if let Some(weight) = &options.weight {
            if *weight.shape() != [classes].into() {
                let text = format!("weight {} for {classes} classes: it must be [{classes}]", weight.shape());
                return Err(refuse(Error::shape(text)));
            }
            let mut sizes = vec![1; self.shape().len()];
            sizes[axis] = classes;
            shares = (shares * weight.detach().reshape(sizes)?)?;
        }
        let losses = (self.log_softmax(axis as isize)? * shares)?;
        options.reduction.reduce(losses.sum_axes(&[axis as isize], false)?.scale(-1.0)?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::grad_check::{check, normal};
    use super::*;
    use crate::DType;

    fn classes(values: &[i64], shape: impl Into<Shape>) -> Tensor {
        Tensor::from_slice(values, shape).unwrap()
    }

    fn near(found: &Tensor, expected: &[f64]) {
        let found = found.to_f64_vec().unwrap();
        assert_eq!(found.len(), expected.len());
        let same = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-9 || a.is_nan() && b.is_nan();
        assert!(found.iter().zip(expected).all(same), "{found:?} are not {expected:?}");
    }

    /// Every combination of the options.
    fn every_option(ignore_index: i64) -> Vec<CrossEntropyOptions> {
        let weight = normal([5], 9).square().unwrap();
        let mut all = Vec::new();
        for weight in [None, Some(weight)] {
            for label_smoothing in [0.0, 0.1] {
                for reduction in [Reduction::None, Reduction::Mean, Reduction::Sum] {
                    let weight = weight.clone();
                    all.push(CrossEntropyOptions { weight, ignore_index, label_smoothing, reduction });
                }
            }
        }
        all
    }

    #[test]
    fn cross_entropy_has_the_gradient_of_its_differences() {
        let images = classes(&[2, 0, 4, 1, 1, 3, 0, 0], [2, 2, 2]);
        for options in every_option(1) {
            let loss = |target: &Tensor, x: &Tensor| x.cross_entropy(target, options.clone());
            check(&[normal([3, 5], 1)], |x| loss(&classes(&[2, 1, 4], [3]), &x[0]));
            check(&[normal([5], 1)], |x| loss(&classes(&[3], []), &x[0]));
            check(&[normal([2, 5, 2, 2], 1)], |x| loss(&images, &x[0]));
            check(&[normal([1, 5, 1, 2, 2, 2], 1)], |x| {
                loss(&images.reshape([1, 1, 2, 2, 2]).unwrap(), &x[0])
            });
        }
        for options in every_option(-100) {
            for shape in [vec![5], vec![3, 5], vec![2, 5, 3], vec![1, 5, 2, 3]] {
                check(&[normal(shape.clone(), 1), normal(shape, 2)], |x| {
                    x[0].cross_entropy(&x[1], options.clone())
                });
            }
        }
    }

    #[test]
    fn its_gradient_has_a_gradient() {
        let target = classes(&[2, 1, 4, 0, 3, 3], [2, 3]);
        for options in every_option(1) {
            check(&[normal([2, 5, 3], 1)], |x| {
                let loss = x[0].cross_entropy(&target, options.clone())?.square()?.sum()?;
                Ok(crate::grad(&loss, &[&x[0]], true)?.remove(0))
            });
        }
    }

    #[test]
    fn layouts_give_the_same_values() {
        let (x, target) =
            (normal([2, 5, 3, 2], 1), classes(&[2, 1, 4, 0, 3, 3, 0, 0, 1, 2, 3, 4], [2, 3, 2]));
        for options in every_option(1) {
            let loss = |x: &Tensor, target: &Tensor| x.cross_entropy(target, options.clone()).unwrap();
            let expected = loss(&x, &target).to_f64_vec().unwrap();
            near(&loss(&x.clone().to_channels_last(), &target.clone().to_channels_last()), &expected);
            let moved = x.permute(&[0, 2, 3, 1]).unwrap().permute(&[0, -1, 1, 2]).unwrap();
            near(&loss(&moved, &target), &expected);
        }
        let part = loss_of(&x.narrow(0, 1, 1).unwrap(), &target.narrow(0, 1, 1).unwrap());
        let all = loss_of(&x, &target);
        assert_eq!(part, all[6..]);
    }

    fn loss_of(x: &Tensor, target: &Tensor) -> Vec<f64> {
        let options = CrossEntropyOptions { reduction: Reduction::None, ..Default::default() };
        x.cross_entropy(target, options).unwrap().to_f64_vec().unwrap()
    }

    #[test]
    fn values_are_those_of_pytorch() {
        let x = Tensor::from_vec(vec![1.0f64, -2.0, 0.5, 3.0, 0.0, -1.0], [2, 3]).unwrap();
        let weight = Some(Tensor::from_vec(vec![0.5f64, 2.0, 3.0], [3]).unwrap());
        let target = classes(&[2, 0], [2]);
        let loss = |options: CrossEntropyOptions| x.cross_entropy(&target, options).unwrap();
        let plain = CrossEntropyOptions { weight, ..Default::default() };
        let none = Reduction::None;
        near(&loss(plain.clone()), &[0.87049504540159]);
        near(
            &loss(CrossEntropyOptions { reduction: none, label_smoothing: 0.2, ..plain.clone() }),
            &[3.096051429813651, 1.2505109928806957],
        );
        near(
            &loss(CrossEntropyOptions { label_smoothing: 0.2, ignore_index: 0, ..plain.clone() }),
            &[1.0320171432712169],
        );
        let shares = Tensor::from_vec(vec![0.2f64, 0.3, 0.5, 1.5, 0.0, -0.1], [2, 3]).unwrap();
        near(
            &x.cross_entropy(&shares, CrossEntropyOptions { label_smoothing: 0.2, ..plain }).unwrap(),
            &[1.9504925245224938],
        );
    }

    #[test]
    fn where_nothing_counts_the_mean_is_nan_and_the_gradient_zero() {
        let x = normal([2, 5], 1).requires_grad();
        let target = classes(&[-100, -100], [2]);
        let loss = x.cross_entropy(&target, CrossEntropyOptions::default()).unwrap();
        assert!(loss.item::<f64>().unwrap().is_nan());
        assert_eq!(loss.backward().unwrap().get(&x).unwrap().to_vec::<f64>().unwrap(), [0.0; 10]);
        for shape in [vec![0, 5], vec![0, 5, 2], vec![2, 5, 0], vec![0, 0]] {
            let x = Tensor::zeros(shape.clone(), DType::F32).unwrap().requires_grad();
            let target = Tensor::zeros([&shape[..1], &shape[2..]].concat(), DType::I64).unwrap();
            for (reduction, expected) in [(Reduction::Mean, f32::NAN), (Reduction::Sum, 0.0)] {
                let options = CrossEntropyOptions { reduction, ..Default::default() };
                let loss = x.cross_entropy(&target, options).unwrap();
                let found = loss.item::<f32>().unwrap();
                assert!(found == expected || found.is_nan() && expected.is_nan(), "{shape:?}: {found}");
                assert_eq!(loss.backward().unwrap().get(&x).unwrap().shape()[..], shape);
            }
        }
    }

    #[test]
    fn bytes_are_classes() {
        let x = normal([2, 4], 3);
        let bytes = Tensor::from_vec(vec![1u8, 3], [2]).unwrap();
        let loss =
            |target: &Tensor| x.cross_entropy(target, Default::default()).unwrap().item::<f64>().unwrap();
        assert_eq!(loss(&bytes), loss(&classes(&[1, 3], [2])));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let x = normal([2, 4, 3], 3);
        let refused = |target: &Tensor, options: CrossEntropyOptions, part: &str| {
            let error = x.cross_entropy(target, options).unwrap_err();
            assert_eq!(error.location().unwrap().file(), file!());
            assert!(error.to_string().contains(part), "{error}");
        };
        let plain = CrossEntropyOptions::default;
        let good = classes(&[0; 6], [2, 3]);
        refused(&classes(&[1, 0, 3, 0, 9, 0], [2, 3]), plain(), "target 9 at [1, 1] is not in 0..4");
        refused(&classes(&[1, 3], [2]), plain(), "input [2, 4, 3] and target [2]");
        refused(&normal([2, 3], 1), plain(), "float and int64 are wanted");
        let weight = Some(normal([3], 1));
        refused(&good, CrossEntropyOptions { weight: weight.clone(), ..plain() }, "it must be [4]");
        refused(&x, CrossEntropyOptions { weight, ..plain() }, "it must be [4]");
        refused(&good, CrossEntropyOptions { label_smoothing: 1.5, ..plain() }, "label smoothing 1.5");
        refused(&x, CrossEntropyOptions { ignore_index: 0, ..plain() }, "ignore_index 0 beside");
        let weight = Some(Tensor::ones([4], DType::F32).unwrap());
        refused(&good, CrossEntropyOptions { weight, ..plain() }, "do not mix");
        let error = normal([2, 4], 3).cross_entropy(&classes(&[1, 9], [2]), plain()).unwrap_err();
        assert!(error.to_string().contains("target 9 at row 1 is not in 0..4"), "{error}");
    }
}
