//! Reductions over axes: sums, means and truth here; extremes, moments, products and running sums in their files.

mod extreme;
mod lines;
mod moments;

use std::panic::Location;

use rasgo_kernels::elementwise::Number;
use rasgo_kernels::reduce;

use super::broadcast::memory_sizes;
use super::{axes_of, expect_numbers, float};
use crate::error::{Error, ErrorKind, Result};
use crate::meta::{DType, Meta, Shape};
use crate::op::{Grads, Input, LayoutRule, Mask, Metas, Op, Output, Saved, apply};
use crate::tensor::Tensor;

/// A mark for each axis that goes. No axis named means all, as in PyTorch, and 0 and -1 name the axis that a scalar
/// does not have.
fn marks(axes: &[isize], rank: usize) -> Result<Vec<bool>> {
    let named = axes_of(axes, rank.max(1))?;
    Ok((0..rank).map(|axis| axes.is_empty() || named.contains(&axis)).collect())
}

/// The shape with 1 for the axes that go.
fn kept_shape(shape: &Shape, gone: &[bool]) -> Shape {
    shape.iter().zip(gone).map(|(&size, &gone)| if gone { 1 } else { size }).collect()
}

/// The marks in the order of memory.
fn memory_marks(meta: &Meta, gone: &[bool]) -> Vec<bool> {
    meta.memory_order().into_iter().map(|axis| gone[axis]).collect()
}

/// How many elements are reduced to one.
fn count(shape: &Shape, gone: &[bool]) -> usize {
    shape.iter().zip(gone).filter(|(_, gone)| **gone).map(|(&size, _)| size).product()
}

/// What an op left with size 1 taken away, unless it is to stay.
#[track_caller]
fn finish(kept: Tensor, gone: &[bool], keep: bool) -> Result<Tensor> {
    if keep {
        return Ok(kept);
    }
    let sizes: Shape =
        kept.shape().iter().zip(gone).filter(|(_, gone)| !**gone).map(|(&size, _)| size).collect();
    kept.reshape(sizes)
}

/// y = sum of x over the marked axes, which stay with size 1.
#[derive(Debug)]
struct SumAxes(Vec<bool>);

impl Op for SumAxes {
    fn name(&self) -> &'static str {
        "sum"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        expect_numbers(inputs)?;
        Ok(Metas::from_iter([inputs[0].with_shape(kept_shape(&inputs[0].shape, &self.0))]))
    }

    fn layout(&self) -> LayoutRule {
        LayoutRule::AsIs
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        let meta = inputs[0].meta();
        let (sizes, gone) = (memory_sizes(meta), memory_marks(meta, &self.0));
        if meta.dtype == DType::I64 {
            let (src, dst) = (inputs[0].values::<i64>(), outputs[0].values::<i64>());
            return reduce::fold_axes(&sizes, &gone, src, dst, 0, i64::plus);
        }
        float!(meta.dtype, T => {
            reduce::sum_axes(&sizes, &gone, inputs[0].values::<T>(), outputs[0].values::<T>());
        });
    }

    fn grad(&self, saved: Saved, mut dy: Grads, _needs: Mask) -> Result<Grads> {
        let shape = saved.input_shape(0);
        Ok(Grads::from_iter([Some(dy[0].take().expect("one output").broadcast_to(shape)?)]))
    }
}

/// y = 1 where any (or all) of x over the marked axes, which stay with size 1, are not 0.
#[derive(Debug)]
struct Truth {
    gone: Vec<bool>,
    all: bool,
}

impl Op for Truth {
    fn name(&self) -> &'static str {
        if self.all { "all" } else { "any" }
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        Ok(Metas::from_iter([inputs[0].with_shape(kept_shape(&inputs[0].shape, &self.gone))]))
    }

    fn layout(&self) -> LayoutRule {
        LayoutRule::AsIs
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        let meta = inputs[0].meta();
        let (sizes, gone) = (memory_sizes(meta), memory_marks(meta, &self.gone));
        let (src, dst) = (inputs[0].values::<u8>(), outputs[0].values::<u8>());
        if self.all {
            reduce::fold_axes(&sizes, &gone, src, dst, 1, |a, b| a & b);
        } else {
            reduce::fold_axes(&sizes, &gone, src, dst, 0, |a, b| a | b);
        }
    }

    fn grad(&self, _saved: Saved, _dy: Grads, _needs: Mask) -> Result<Grads> {
        Ok(Grads::from_iter([None]))
    }
}

impl Tensor {
    /// The sum of all elements, as a scalar.
    #[track_caller]
    pub fn sum(&self) -> Result<Tensor> {
        self.sum_axes(&[], false)
    }

    /// The mean of all elements, as a scalar; NaN of none.
    #[track_caller]
    pub fn mean(&self) -> Result<Tensor> {
        self.mean_axes(&[], false)
    }

    /// The sum over axes, all where none is named; they stay with size 1 if `keep` says so. Bytes are summed as i64.
    ///
    /// ```
    /// # use rasgo_core::Tensor;
    /// let x = Tensor::arange(0.0, 6.0, 1.0)?.reshape([2, 3])?;
    /// assert_eq!(x.sum_axes(&[-1], false)?.to_vec::<f32>()?, [3.0, 12.0]);
    /// # Ok::<(), rasgo_core::Error>(())
    /// ```
    #[track_caller]
    pub fn sum_axes(&self, axes: &[isize], keep: bool) -> Result<Tensor> {
        let at = Location::caller();
        let gone = marks(axes, self.shape().len()).map_err(|error| error.op("sum").at(at))?;
        let x = if self.dtype() == DType::U8 { self.to_dtype(DType::I64)? } else { self.clone() };
        finish(apply(SumAxes(gone.clone()), [x])?, &gone, keep)
    }

    /// The mean over axes, all where none is named; they stay with size 1 if `keep` says so.
    #[track_caller]
    pub fn mean_axes(&self, axes: &[isize], keep: bool) -> Result<Tensor> {
        let at = Location::caller();
        let gone = self.float_marks(axes).map_err(|error| error.op("mean").at(at))?;
        let sum = self.sum_axes(axes, keep)?;
        sum / count(self.shape(), &gone) as f64
    }

    /// 1 where any of the elements over the axes, all where none is named, is not 0 (u8).
    #[track_caller]
    pub fn any(&self, axes: &[isize], keep: bool) -> Result<Tensor> {
        self.truth(axes, keep, false)
    }

    /// 1 where all of the elements over the axes, all where none is named, are not 0 (u8).
    #[track_caller]
    pub fn all(&self, axes: &[isize], keep: bool) -> Result<Tensor> {
        self.truth(axes, keep, true)
    }

    #[track_caller]
    fn truth(&self, axes: &[isize], keep: bool, all: bool) -> Result<Tensor> {
        let at = Location::caller();
        let name = if all { "all" } else { "any" };
        let gone = marks(axes, self.shape().len()).map_err(|error| error.op(name).at(at))?;
        finish(apply(Truth { gone: gone.clone(), all }, [self.ne(0.0)?])?, &gone, keep)
    }

    /// The marks of the axes of a tensor that is to be of floats.
    fn float_marks(&self, axes: &[isize]) -> Result<Vec<bool>> {
        if !self.dtype().is_float() {
            let text = format!("a tensor of {} where float32 or float64 is wanted", self.dtype());
            return Err(Error::new(ErrorKind::DType, text).hint("convert it with .to_dtype(DType::F32)"));
        }
        marks(axes, self.shape().len())
    }

    /// Sums what broadcasting repeated: the gradient of a broadcast from `shape`.
    #[track_caller]
    pub(crate) fn sum_to(&self, shape: &Shape) -> Result<Tensor> {
        if self.shape() == shape {
            return Ok(self.clone());
        }
        let missing = self.shape().len() - shape.len();
        let gone = (0..self.shape().len())
            .map(|axis| axis < missing || shape[axis - missing] == 1 && self.shape()[axis] != 1)
            .collect();
        apply(SumAxes(gone), [self.clone()])?.reshape(shape.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::super::grad_check::{check, normal};
    use crate::{DType, Tensor};

    #[test]
    fn sums_and_means_have_the_gradients_of_their_differences() {
        check(&[normal([2, 3, 4], 1)], |x| x[0].sum());
        check(&[normal([2, 3, 4], 1)], |x| x[0].mean_axes(&[0, -1], true));
        check(&[normal([2, 3, 4], 1)], |x| x[0].sum_axes(&[1], false));
    }

    #[test]
    fn a_map_is_summed_as_it_lies_and_keeps_the_axes_in_order() {
        let x = normal([2, 3, 4, 5], 1);
        let map = x.clone().to_channels_last();
        for axes in [vec![0], vec![1], vec![2, 3], vec![0, 2, 3], vec![1, 3], vec![0, 1, 2, 3]] {
            let expected = x.sum_axes(&axes, true).unwrap().to_vec::<f64>().unwrap();
            let found = map.sum_axes(&axes, true).unwrap().to_vec::<f64>().unwrap();
            assert!(expected.iter().zip(&found).all(|(a, b)| (a - b).abs() < 1e-12), "{axes:?}");
            check(std::slice::from_ref(&map), |x| x[0].sum_axes(&axes, false));
        }
    }

    #[test]
    fn sums_of_nothing_and_of_whole_numbers_are_those_of_pytorch() {
        let none = Tensor::zeros([0, 3], DType::F32).unwrap();
        assert_eq!(none.sum_axes(&[0], false).unwrap().to_vec::<f32>().unwrap(), [0.0; 3]);
        assert!(none.mean().unwrap().item::<f32>().unwrap().is_nan());
        assert_eq!(**none.mean_axes(&[1], false).unwrap().shape(), [0]);
        let whole = Tensor::from_vec(vec![i64::MAX, 1, 2, 3], [2, 2]).unwrap();
        assert_eq!(whole.sum_axes(&[1], false).unwrap().to_vec::<i64>().unwrap(), [i64::MIN, 5]);
        let bytes = Tensor::from_vec(vec![200u8; 3], [3]).unwrap();
        assert_eq!(bytes.sum().unwrap().item::<i64>().unwrap(), 600);
        assert!(whole.mean().unwrap_err().to_string().contains("mean: a tensor of int64"));
        assert_eq!(Tensor::scalar(3.0f32).sum_axes(&[-1], true).unwrap().item::<f32>().unwrap(), 3.0);
        assert!(whole.sum_axes(&[0, -2], false).unwrap_err().to_string().contains("comes twice"));
    }

    #[test]
    fn a_long_sum_is_as_exact_as_its_type() {
        let values: Vec<f32> = (0..1_000_003).map(|i| (i as f32 * 0.37).sin() + 0.1).collect();
        let exact: f64 = values.iter().map(|&x| f64::from(x)).sum();
        let sum = Tensor::from_vec(values, [1_000_003]).unwrap().sum().unwrap().item::<f32>().unwrap();
        assert!((f64::from(sum) - exact).abs() < 1e-6 * exact, "{sum} {exact}");
    }

    #[test]
    fn truth_of_every_dtype_and_of_nothing() {
        for dtype in [DType::F32, DType::I64, DType::U8] {
            let x = Tensor::from_vec(vec![0u8, 2, 3, 0, 0, 0], [3, 2]).unwrap().to_dtype(dtype).unwrap();
            assert_eq!(x.any(&[1], false).unwrap().to_vec::<u8>().unwrap(), [1, 1, 0]);
            assert_eq!(x.all(&[0], true).unwrap().to_vec::<u8>().unwrap(), [0, 0]);
            assert_eq!(x.any(&[], false).unwrap().item::<u8>().unwrap(), 1);
        }
        let none = Tensor::zeros([0], DType::F32).unwrap();
        assert_eq!(none.any(&[], false).unwrap().item::<u8>().unwrap(), 0);
        assert_eq!(none.all(&[], false).unwrap().item::<u8>().unwrap(), 1);
    }
}
