//! The largest and the smallest: amax, amin, max and min with positions, argmax, argmin. A NaN is both.

use std::panic::Location;

use rasgo_kernels::reduce;

use super::super::broadcast::memory_sizes;
use super::super::{axis_of, blocks, expect_numbers, number};
use super::{finish, kept_shape, marks, memory_marks};
use crate::error::{Error, Result};
use crate::meta::{DType, Meta, Shape};
use crate::op::{Grads, Input, LayoutRule, Mask, Metas, Op, Output, Saved, Saves, apply};
use crate::scope;
use crate::tensor::Tensor;

/// y = the largest (or smallest) of x over the marked axes, which stay with size 1.
#[derive(Debug)]
struct Extreme {
    gone: Vec<bool>,
    largest: bool,
    name: &'static str,
    /// Whether the gradient of a NaN goes to the NaNs, as of PyTorch's `max()` of all elements; of `amax` it goes, as a
    /// NaN, to all.
    nans_share: bool,
}

/// The error of an extreme of nothing.
fn expect_some(shape: &Shape, gone: &[bool]) -> Result<()> {
    match (0..shape.len()).find(|&axis| gone[axis] && shape[axis] == 0) {
        Some(axis) => Err(Error::shape(format!("axis {axis} of a tensor of shape {shape} has no elements"))
            .hint("the largest and the smallest of nothing do not exist")),
        None => Ok(()),
    }
}

impl Op for Extreme {
    fn name(&self) -> &'static str {
        self.name
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        expect_numbers(inputs)?;
        expect_some(&inputs[0].shape, &self.gone)?;
        Ok(Metas::from_iter([inputs[0].with_shape(kept_shape(&inputs[0].shape, &self.gone))]))
    }

    fn layout(&self) -> LayoutRule {
        LayoutRule::AsIs
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        let meta = inputs[0].meta();
        let (sizes, gone) = (memory_sizes(meta), memory_marks(meta, &self.gone));
        number!(meta.dtype, T => {
            let (src, dst) = (inputs[0].values::<T>(), outputs[0].values::<T>());
            let largest = self.largest;
            reduce::fold_axes(&sizes, &gone, src, dst, T::default(), |a, b| reduce::extreme(largest, a, b));
        });
    }

    fn saves(&self) -> Saves {
        Saves { inputs: Mask::of(&[0]), outputs: Mask::of(&[0]) }
    }

    fn grad(&self, mut saved: Saved, mut dy: Grads, _needs: Mask) -> Result<Grads> {
        let dy = dy[0].take().expect("one output");
        // All that are equal to the extreme have the same share.
        let (x, y) = (saved.input(0), saved.output(0));
        let mut equal = x.eq(&y)?;
        if self.nans_share {
            equal = equal.logical_or(&x.isnan()?.logical_and(&y.isnan()?)?)?;
        }
        let equal = equal.to_dtype(dy.dtype())?;
        let mut axes = Vec::new();
        for (axis, gone) in self.gone.iter().enumerate() {
            if *gone {
                axes.push(axis as isize);
            }
        }
        let shares = if axes.is_empty() { equal.clone() } else { equal.sum_axes(&axes, true)? };
        Ok(Grads::from_iter([Some(((dy * equal)? / shares)?)]))
    }
}

/// y = the position of the largest (or smallest) along the axis, which stays with size 1.
#[derive(Debug)]
struct ArgExtreme {
    axis: usize,
    largest: bool,
}

impl Op for ArgExtreme {
    fn name(&self) -> &'static str {
        if self.largest { "argmax" } else { "argmin" }
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        expect_numbers(inputs)?;
        let shape = &inputs[0].shape;
        let gone: Vec<bool> = (0..shape.len()).map(|axis| axis == self.axis).collect();
        expect_some(shape, &gone)?;
        let kept = inputs[0].with_shape(kept_shape(shape, &gone));
        Ok(Metas::from_iter([Meta { dtype: DType::I64, ..kept }]))
    }

    fn layout(&self) -> LayoutRule {
        LayoutRule::AsIs
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        let (_, size, inner) = blocks(inputs[0].meta(), self.axis);
        number!(inputs[0].meta().dtype, T => {
            let dst = outputs[0].values::<i64>();
            reduce::arg_extreme(self.largest, size, inner, inputs[0].values::<T>(), dst);
        });
    }

    fn grad(&self, _saved: Saved, _dy: Grads, _needs: Mask) -> Result<Grads> {
        Ok(Grads::from_iter([None]))
    }
}

impl Tensor {
    /// The largest over axes, all where none is named; they stay with size 1 if `keep` says so. Equal ones share the
    /// gradient.
    #[track_caller]
    pub fn amax(&self, axes: &[isize], keep: bool) -> Result<Tensor> {
        self.extreme(axes, keep, true)
    }

    /// The smallest over axes, all where none is named; they stay with size 1 if `keep` says so. Equal ones share the
    /// gradient.
    #[track_caller]
    pub fn amin(&self, axes: &[isize], keep: bool) -> Result<Tensor> {
        self.extreme(axes, keep, false)
    }

    #[track_caller]
    fn extreme(&self, axes: &[isize], keep: bool, largest: bool) -> Result<Tensor> {
        let at = Location::caller();
        let name = if largest { "amax" } else { "amin" };
        let gone = marks(axes, self.shape().len()).map_err(|error| error.op(name).at(at))?;
        let op = Extreme { gone: gone.clone(), largest, name, nans_share: false };
        finish(apply(op, [self.clone()])?, &gone, keep)
    }

    /// The largest or smallest over axes that are known to be there, where NaNs share the gradient of a NaN.
    #[track_caller]
    pub(super) fn most(&self, gone: &[bool], largest: bool, name: &'static str) -> Result<Tensor> {
        apply(Extreme { gone: gone.to_vec(), largest, name, nans_share: true }, [self.clone()])
    }

    /// The largest of all elements, a scalar. Equal ones share the gradient, and so do NaNs.
    #[track_caller]
    pub fn max_all(&self) -> Result<Tensor> {
        self.most(&vec![true; self.shape().len()], true, "max")?.reshape([])
    }

    /// The smallest of all elements, a scalar. Equal ones share the gradient, and so do NaNs.
    #[track_caller]
    pub fn min_all(&self) -> Result<Tensor> {
        self.most(&vec![true; self.shape().len()], false, "min")?.reshape([])
    }

    /// The largest along an axis and where it stands (i64): the first of equals, to which the gradient goes.
    ///
    /// ```
    /// # use rasgo_core::Tensor;
    /// let x = Tensor::from_vec(vec![1.0f32, 3.0, 3.0, 5.0, 4.0, 0.0], [2, 3])?;
    /// let (values, indices) = x.max(1, false)?;
    /// assert_eq!(values.to_vec::<f32>()?, [3.0, 5.0]);
    /// assert_eq!(indices.to_vec::<i64>()?, [1, 0]);
    /// # Ok::<(), rasgo_core::Error>(())
    /// ```
    #[track_caller]
    pub fn max(&self, axis: isize, keep: bool) -> Result<(Tensor, Tensor)> {
        self.extreme_with_index(axis, keep, true)
    }

    /// The smallest along an axis and where it stands (i64): the first of equals, to which the gradient goes.
    #[track_caller]
    pub fn min(&self, axis: isize, keep: bool) -> Result<(Tensor, Tensor)> {
        self.extreme_with_index(axis, keep, false)
    }

    #[track_caller]
    fn extreme_with_index(&self, axis: isize, keep: bool, largest: bool) -> Result<(Tensor, Tensor)> {
        let _scope = scope::enter_op(if largest { "max" } else { "min" });
        let indices = self.arg_extreme(axis, true, largest)?;
        if self.shape().is_empty() {
            return Ok((self.clone(), indices));
        }
        let values = self.gather(axis, &indices)?;
        if keep {
            return Ok((values, indices));
        }
        Ok((values.squeeze(&[axis])?, indices.squeeze(&[axis])?))
    }

    /// Where the largest stands along an axis, or among all elements if it is `None` (i64): the first of equals.
    ///
    /// ```
    /// # use rasgo_core::Tensor;
    /// let x = Tensor::from_vec(vec![1.0f32, 3.0, 3.0, 5.0, 4.0, 0.0], [2, 3])?;
    /// assert_eq!(x.argmax(-1, false)?.to_vec::<i64>()?, [1, 0]);
    /// assert_eq!(x.argmax(None, false)?.item::<i64>()?, 3);
    /// # Ok::<(), rasgo_core::Error>(())
    /// ```
    #[track_caller]
    pub fn argmax(&self, axis: impl Into<Option<isize>>, keep: bool) -> Result<Tensor> {
        self.position(axis.into(), keep, true)
    }

    /// Where the smallest stands along an axis, or among all elements if it is `None` (i64): the first of equals.
    #[track_caller]
    pub fn argmin(&self, axis: impl Into<Option<isize>>, keep: bool) -> Result<Tensor> {
        self.position(axis.into(), keep, false)
    }

    #[track_caller]
    fn position(&self, axis: Option<isize>, keep: bool, largest: bool) -> Result<Tensor> {
        match axis {
            Some(axis) => self.arg_extreme(axis, keep, largest),
            None => {
                let place = self.detach().flatten(0)?.arg_extreme(0, false, largest)?;
                place.reshape(vec![1; if keep { self.shape().len() } else { 0 }])
            }
        }
    }

    #[track_caller]
    fn arg_extreme(&self, axis: isize, keep: bool, largest: bool) -> Result<Tensor> {
        let rank = self.shape().len();
        let axis = match axis_of(axis, rank.max(1)) {
            Ok(axis) => axis,
            Err(error) => {
                let name = if largest { "argmax" } else { "argmin" };
                return Err(scope::annotate(error.op(name).at(Location::caller())));
            }
        };
        if rank == 0 {
            return apply(ArgExtreme { axis, largest }, [self.detach().reshape([1])?])?.reshape([]);
        }
        let gone: Vec<bool> = (0..rank).map(|other| other == axis).collect();
        finish(apply(ArgExtreme { axis, largest }, [self.detach()])?, &gone, keep)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::grad_check::{check, normal};
    use crate::{DType, Tensor};

    #[test]
    fn extremes_have_the_gradients_of_their_differences() {
        for x in [normal([2, 3, 4, 5], 1), normal([2, 3, 4, 5], 1).to_channels_last()] {
            for axes in [vec![], vec![1], vec![0, -1], vec![2, 3]] {
                check(std::slice::from_ref(&x), |x| x[0].amax(&axes, false));
                check(std::slice::from_ref(&x), |x| x[0].amin(&axes, true));
            }
            for axis in [0, 1, -1] {
                check(std::slice::from_ref(&x), |x| Ok(x[0].max(axis, false)?.0));
                check(std::slice::from_ref(&x), |x| Ok(x[0].min(axis, true)?.0));
            }
        }
    }

    /// The values of PyTorch.
    #[test]
    fn equals_share_the_gradient_of_amax_and_the_first_has_that_of_max() {
        let x = Tensor::from_vec(vec![3.0f32, 1.0, 3.0, f32::NAN, 9.0, f32::NAN], [2, 3]).unwrap();
        let x = x.requires_grad();
        let slope = |y: Tensor| {
            let grads = y.sum().unwrap().backward().unwrap();
            grads.get(&x).unwrap().to_vec::<f32>().unwrap()
        };
        let shared = slope(x.amax(&[1], false).unwrap());
        assert!(shared[..3] == [0.5, 0.0, 0.5] && shared[3..].iter().all(|x| x.is_nan()), "{shared:?}");
        assert_eq!(slope(x.max(1, false).unwrap().0), [1.0, 0.0, 0.0, 1.0, 0.0, 0.0]);
        assert_eq!(slope(x.max_all().unwrap()), [0.0, 0.0, 0.0, 0.5, 0.0, 0.5]);
        let first = x.narrow(0, 0, 1).unwrap();
        assert_eq!(slope(first.min_all().unwrap()), [0.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
        assert_eq!(x.argmax(1, false).unwrap().to_vec::<i64>().unwrap(), [0, 0]);
        assert_eq!(x.argmin(1, true).unwrap().to_vec::<i64>().unwrap(), [1, 0]);
        assert_eq!(x.argmax(None, true).unwrap().to_vec::<i64>().unwrap(), [3]);
    }

    #[test]
    fn the_extreme_of_nothing_is_refused_and_of_whole_numbers_whole() {
        let none = Tensor::zeros([0, 3], DType::F32).unwrap();
        let text = none.amax(&[0], false).unwrap_err().to_string();
        assert!(text.contains("amax: axis 0 of a tensor of shape [0, 3] has no elements"), "{text}");
        assert!(
            none.max(0, false).is_err() && none.argmin(None, false).is_err() && none.amin(&[], true).is_err()
        );
        assert_eq!(**none.max(1, false).unwrap().1.shape(), [0]);
        let whole = Tensor::from_vec(vec![i64::MIN, 5, 5], [3]).unwrap();
        assert_eq!(whole.amax(&[], false).unwrap().item::<i64>().unwrap(), 5);
        assert_eq!(whole.max(0, false).unwrap().1.item::<i64>().unwrap(), 1);
        let one = Tensor::scalar(2.0f32);
        assert_eq!(one.max(-1, false).unwrap().1.item::<i64>().unwrap(), 0);
        assert_eq!(one.amin(&[0], true).unwrap().item::<f32>().unwrap(), 2.0);
    }
}
