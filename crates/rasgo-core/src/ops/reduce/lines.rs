//! Along one axis: products, running sums.

use std::panic::Location;

use rasgo_kernels::elementwise::Number;
use rasgo_kernels::reduce;

use super::super::broadcast::memory_sizes;
use super::super::{axis_of, blocks, expect_numbers, number};
use super::{finish, kept_shape, memory_marks};
use crate::error::Result;
use crate::meta::{Meta, Shape};
use crate::op::{Grads, Input, LayoutRule, Mask, Metas, Op, Output, Saved, Saves, apply, grad_enabled};
use crate::reach::{self, Reaches};
use crate::tensor::Tensor;

/// y = the product of x along the axis, which stays with size 1.
#[derive(Debug)]
struct Product {
    axis: usize,
    /// Whether it is the product of all elements of a tensor.
    whole: bool,
}

impl Product {
    fn gone(&self, rank: usize) -> Vec<bool> {
        (0..rank).map(|axis| axis == self.axis).collect()
    }
}

impl Op for Product {
    fn name(&self) -> &'static str {
        "prod"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        expect_numbers(inputs)?;
        let shape = &inputs[0].shape;
        Ok(Metas::from_iter([inputs[0].with_shape(kept_shape(shape, &self.gone(shape.len())))]))
    }

    fn layout(&self) -> LayoutRule {
        LayoutRule::AsIs
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        let meta = inputs[0].meta();
        let (sizes, gone) = (memory_sizes(meta), memory_marks(meta, &self.gone(meta.shape.len())));
        number!(meta.dtype, T => {
            let (src, dst) = (inputs[0].values::<T>(), outputs[0].values::<T>());
            reduce::fold_axes(&sizes, &gone, src, dst, T::UNIT, T::times);
        });
    }

    fn reach(&self, which: usize, inputs: &[Shape], output: &Shape) -> Reaches {
        reach::whole_axis(&inputs[which], output, self.axis)
    }

    fn saves(&self) -> Saves {
        Saves { inputs: Mask::of(&[0]), outputs: Mask::of(&[0]) }
    }

    /// As PyTorch: by division where nothing is 0, which also decides what a NaN or an infinity does to its neighbours.
    fn grad(&self, mut saved: Saved, mut dy: Grads, _needs: Mask) -> Result<Grads> {
        let (x, y, dy) = (saved.input(0), saved.output(0), dy[0].take().expect("one output"));
        let zeros = x.eq(0.0)?.sum()?.item::<i64>()?;
        let dx = match zeros {
            0 => (dy * y)? / x,
            // Each factor has a 0 among the others; two of them may still have a slope together.
            2.. if self.whole && !grad_enabled() => Tensor::zeros(x.shape().clone(), x.dtype()),
            _ => apply(Others { axis: self.axis }, [x])? * dy,
        };
        Ok(Grads::from_iter([Some(dx?)]))
    }
}

/// y[i] = the product of x along the axis without x[i]: the slope of the product, also where elements are 0.
#[derive(Debug)]
struct Others {
    axis: usize,
}

impl Op for Others {
    fn name(&self) -> &'static str {
        "prod"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        Ok(Metas::from_iter([inputs[0].clone()]))
    }

    fn layout(&self) -> LayoutRule {
        LayoutRule::AsIs
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        let (_, size, inner) = blocks(inputs[0].meta(), self.axis);
        number!(inputs[0].meta().dtype, T => {
            reduce::products_of_others(size, inner, inputs[0].values::<T>(), outputs[0].values::<T>());
        });
    }

    fn reach(&self, which: usize, inputs: &[Shape], output: &Shape) -> Reaches {
        reach::whole_axis(&inputs[which], output, self.axis)
    }

    fn saves(&self) -> Saves {
        Saves { inputs: Mask::of(&[0]), outputs: Mask::NONE }
    }

    /// The slope of y[i] for x[k] is the product without both: row i of a square whose place (i, i) is 1 has it as its
    /// own product without x[k].
    fn grad(&self, mut saved: Saved, mut dy: Grads, _needs: Mask) -> Result<Grads> {
        let (x, dy) = (saved.input(0), dy[0].take().expect("one output"));
        let (axis, size) = (self.axis as isize, x.shape()[self.axis]);
        let mut sizes = vec![1; x.shape().len() + 1];
        sizes[self.axis..self.axis + 2].fill(size);
        let same = Tensor::from_fn(sizes, |same: &mut [u8]| {
            same.fill(0);
            same.iter_mut().step_by(size + 1).for_each(|same| *same = 1);
        });
        let mut square = x.shape().to_vec();
        square.insert(self.axis, size);
        let rows = x.unsqueeze(axis)?.broadcast_to(square)?.masked_fill(&same, 1.0)?;
        let slopes = apply(Others { axis: self.axis + 1 }, [rows])?.masked_fill(&same, 0.0)?;
        let dx = (slopes * dy.unsqueeze(axis + 1)?)?.sum_axes(&[axis], false)?;
        Ok(Grads::from_iter([Some(dx)]))
    }
}

/// y[i] = x[0] + … + x[i] along the axis; from the other end if `reverse`.
#[derive(Debug)]
struct CumSum {
    axis: usize,
    reverse: bool,
}

impl Op for CumSum {
    fn name(&self) -> &'static str {
        "cumsum"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        expect_numbers(inputs)?;
        Ok(Metas::from_iter([inputs[0].clone()]))
    }

    fn layout(&self) -> LayoutRule {
        LayoutRule::AsIs
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        let (_, size, inner) = blocks(inputs[0].meta(), self.axis);
        number!(inputs[0].meta().dtype, T => {
            let (src, dst) = (inputs[0].values::<T>(), outputs[0].values::<T>());
            reduce::cumsum(size, inner, self.reverse, src, dst);
        });
    }

    fn reach(&self, _which: usize, inputs: &[Shape], output: &Shape) -> Reaches {
        let summed = |size: usize| reach::ranges(size, |o| if self.reverse { o..size } else { 0..o + 1 });
        reach::along(&inputs[0], output, self.axis, summed)
    }

    fn grad(&self, _saved: Saved, mut dy: Grads, _needs: Mask) -> Result<Grads> {
        let back = CumSum { axis: self.axis, reverse: !self.reverse };
        Ok(Grads::from_iter([Some(apply(back, [dy[0].take().expect("one output")])?)]))
    }
}

impl Tensor {
    /// The product along an axis, or of all elements if it is `None`; 1 of nothing. Whole numbers wrap.
    ///
    /// ```
    /// # use rasgo_core::Tensor;
    /// let x = Tensor::from_vec(vec![1.0f32, 2.0, 3.0, 4.0], [2, 2])?;
    /// assert_eq!(x.prod(-1, false)?.to_vec::<f32>()?, [2.0, 12.0]);
    /// assert_eq!(x.prod(None, false)?.item::<f32>()?, 24.0);
    /// # Ok::<(), rasgo_core::Error>(())
    /// ```
    #[track_caller]
    pub fn prod(&self, axis: impl Into<Option<isize>>, keep: bool) -> Result<Tensor> {
        let rank = self.shape().len();
        let Some(axis) = axis.into() else {
            // A number is its own product, with the slope 1 even where it is 0 or infinite.
            if rank == 0 && self.dtype().is_float() {
                return Ok(self.clone());
            }
            let product = apply(Product { axis: 0, whole: true }, [self.flatten(0)?])?;
            return product.reshape(vec![1; if keep { rank } else { 0 }]);
        };
        match axis_of(axis, rank.max(1)) {
            Ok(_) if rank == 0 => Ok(self.clone()),
            Ok(axis) => {
                let op = Product { axis, whole: false };
                let gone = op.gone(rank);
                finish(apply(op, [self.clone()])?, &gone, keep)
            }
            Err(error) => Err(error.op("prod").at(Location::caller())),
        }
    }

    /// The running sum along an axis.
    ///
    /// ```
    /// # use rasgo_core::Tensor;
    /// let x = Tensor::from_vec(vec![1.0f32, 2.0, 3.0], [3])?;
    /// assert_eq!(x.cumsum(0)?.to_vec::<f32>()?, [1.0, 3.0, 6.0]);
    /// # Ok::<(), rasgo_core::Error>(())
    /// ```
    #[track_caller]
    pub fn cumsum(&self, axis: isize) -> Result<Tensor> {
        match axis_of(axis, self.shape().len().max(1)) {
            Ok(_) if self.shape().is_empty() => Ok(self.clone()),
            Ok(axis) => apply(CumSum { axis, reverse: false }, [self.clone()]),
            Err(error) => Err(error.op("cumsum").at(Location::caller())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::grad_check::{check, normal};
    use crate::{DType, Tensor, grad};

    #[test]
    fn products_and_running_sums_have_the_gradients_of_their_differences() {
        for x in [normal([2, 3, 4, 5], 1), normal([2, 3, 4, 5], 1).to_channels_last()] {
            for axis in [0, 1, -1] {
                check(std::slice::from_ref(&x), |x| x[0].prod(axis, false));
                check(std::slice::from_ref(&x), |x| x[0].cumsum(axis));
            }
        }
        let zeros = Tensor::from_vec(vec![2.0, 0.0, 3.0, 0.0, 5.0, 0.0], [2, 3]).unwrap();
        check(std::slice::from_ref(&zeros), |x| x[0].prod(1, true));
        check(&[zeros.narrow(1, 0, 2).unwrap()], |x| x[0].prod(None, false));
    }

    #[test]
    fn a_product_with_zeros_has_second_gradients() {
        let second = |values: Vec<f64>| {
            let x = Tensor::from_slice(&values, [values.len()]).unwrap().requires_grad();
            let dx = grad(&x.prod(None, false).unwrap(), &[&x], true).unwrap().remove(0);
            let sum = dx.square().unwrap().sum().unwrap();
            sum.backward().unwrap().get(&x).unwrap().to_vec::<f64>().unwrap()
        };
        assert_eq!(second(vec![0.0, 2.0, 3.0]), [0.0, 36.0, 24.0]);
        let infinite = Tensor::scalar(f64::INFINITY).requires_grad();
        let grads = infinite.prod(None, false).unwrap().backward().unwrap();
        assert_eq!(grads.get(&infinite).unwrap().item::<f64>().unwrap(), 1.0);
        let slopes = |x: &Tensor, axis: Option<isize>| {
            let dx = grad(&x.prod(axis, false)?.sum()?, &[x], true)?.remove(0);
            (dx * Tensor::from_vec((0..6).map(f64::from).collect(), x.shape())?)?.sum()
        };
        for zeros in [vec![2.0, 0.0, 3.0, 0.0, 5.0, 0.0], vec![2.0, 0.0, 3.0, 1.0, 5.0, 7.0]] {
            let x = Tensor::from_vec(zeros, [2, 3]).unwrap();
            for axis in [None, Some(0), Some(1)] {
                check(std::slice::from_ref(&x), |x| slopes(&x[0], axis));
            }
        }
    }

    #[test]
    fn whole_numbers_wrap_and_nothing_has_the_product_1() {
        let whole = Tensor::from_vec(vec![i64::MAX, 2], [2]).unwrap();
        assert_eq!(whole.prod(0, false).unwrap().item::<i64>().unwrap(), -2);
        assert_eq!(whole.cumsum(-1).unwrap().to_vec::<i64>().unwrap(), [i64::MAX, i64::MIN + 1]);
        let none = Tensor::zeros([0, 3], DType::F32).unwrap();
        assert_eq!(none.prod(0, false).unwrap().to_vec::<f32>().unwrap(), [1.0; 3]);
        assert_eq!(**none.cumsum(0).unwrap().shape(), [0, 3]);
        assert!(Tensor::zeros([2], DType::U8).unwrap().prod(0, false).is_err());
        assert!(whole.prod(1, false).unwrap_err().to_string().contains("prod: axis 1"));
    }
}
