//! Order along an axis: argsort, sort, topk. Equal values keep the order of their positions, a NaN is the largest.

use std::panic::Location;

use rasgo_kernels::reduce;

use super::{axis_of, blocks, expect_numbers, number};
use crate::error::{Error, Result};
use crate::meta::{DType, Meta};
use crate::op::{Grads, Input, LayoutRule, Mask, Metas, Op, Output, Saved, apply};
use crate::scope;
use crate::tensor::Tensor;

/// The positions of the values in order.
#[derive(Debug)]
struct ArgSort {
    axis: usize,
    descending: bool,
}

impl Op for ArgSort {
    fn name(&self) -> &'static str {
        "argsort"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        expect_numbers(inputs)?;
        Ok(Metas::from_iter([Meta { dtype: DType::I64, ..inputs[0].clone() }]))
    }

    fn layout(&self) -> LayoutRule {
        LayoutRule::AsIs
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        let (_, size, inner) = blocks(inputs[0].meta(), self.axis);
        number!(inputs[0].meta().dtype, T => {
            let dst = outputs[0].values::<i64>();
            reduce::argsort(size, inner, self.descending, inputs[0].values::<T>(), dst);
        });
    }

    fn grad(&self, _saved: Saved, _dy: Grads, _needs: Mask) -> Result<Grads> {
        Ok(Grads::from_iter([None]))
    }
}

impl Tensor {
    /// The positions along the axis in rising order of the values, falling if `descending` (i64).
    #[track_caller]
    pub fn argsort(&self, axis: isize, descending: bool) -> Result<Tensor> {
        let shape = self.shape();
        let axis = match axis_of(axis, shape.len().max(1)) {
            Ok(axis) => axis,
            Err(error) => return Err(scope::annotate(error.op("argsort").at(Location::caller()))),
        };
        if shape.is_empty() {
            return apply(ArgSort { axis, descending }, [self.reshape([1])?.detach()])?.reshape([]);
        }
        apply(ArgSort { axis, descending }, [self.detach()])
    }

    /// The values along the axis in rising order, falling if `descending`, and their positions (i64). Stable. The
    /// gradient goes back to the positions.
    ///
    /// ```
    /// # use rasgo_core::Tensor;
    /// let x = Tensor::from_vec(vec![2.0f32, 3.0, 1.0], [3])?;
    /// let (values, indices) = x.sort(0, true)?;
    /// assert_eq!(values.to_vec::<f32>()?, [3.0, 2.0, 1.0]);
    /// assert_eq!(indices.to_vec::<i64>()?, [1, 0, 2]);
    /// # Ok::<(), rasgo_core::Error>(())
    /// ```
    #[track_caller]
    pub fn sort(&self, axis: isize, descending: bool) -> Result<(Tensor, Tensor)> {
        let _scope = scope::enter_op("sort");
        let indices = self.argsort(axis, descending)?;
        if self.shape().is_empty() {
            return Ok((self.clone(), indices));
        }
        Ok((self.gather(axis, &indices)?, indices))
    }

    /// The `k` largest values along the axis, or smallest, in order, and their positions (i64). Of equal values the first
    /// are taken (PyTorch leaves open which). The gradient goes back to the positions.
    ///
    /// ```
    /// # use rasgo_core::Tensor;
    /// let x = Tensor::from_vec(vec![2.0f32, 3.0, 1.0], [3])?;
    /// let (values, indices) = x.topk(2, 0, true)?;
    /// assert_eq!(values.to_vec::<f32>()?, [3.0, 2.0]);
    /// assert_eq!(indices.to_vec::<i64>()?, [1, 0]);
    /// # Ok::<(), rasgo_core::Error>(())
    /// ```
    #[track_caller]
    pub fn topk(&self, k: usize, axis: isize, largest: bool) -> Result<(Tensor, Tensor)> {
        let at = Location::caller();
        let shape = self.shape();
        let place = axis_of(axis, shape.len().max(1)).map_err(|error| error.op("topk").at(at))?;
        let size = shape.get(place).copied().unwrap_or(1);
        if k > size {
            return Err(Error::argument(format!("{k} of axis {place} of size {size}"))
                .hint(format!("k is at most {size}"))
                .op("topk")
                .at(at));
        }
        let indices = self.argsort(axis, largest)?;
        if shape.is_empty() {
            // PyTorch gives the number also for a k of 0.
            return Ok((self.clone(), indices));
        }
        let indices = indices.narrow(axis, 0, k)?;
        Ok((self.gather(axis, &indices)?, indices))
    }
}

#[cfg(test)]
mod tests {
    use super::super::grad_check::{check, normal};
    use crate::{DType, Tensor};

    #[test]
    fn order_sends_the_gradient_back_to_the_positions() {
        let x = normal([2, 5, 3, 4], 1);
        for axis in [0, 1, -1] {
            check(std::slice::from_ref(&x), |x| Ok(x[0].sort(axis, true)?.0));
            check(&[x.clone().to_channels_last()], |x| Ok(x[0].topk(2, axis, false)?.0));
        }
    }

    #[test]
    fn equals_come_in_the_order_of_their_positions() {
        let x = Tensor::from_vec(vec![2i64, 1, 2, 1, 3], [5]).unwrap();
        let (values, indices) = x.sort(0, true).unwrap();
        assert_eq!(values.to_vec::<i64>().unwrap(), [3, 2, 2, 1, 1]);
        assert_eq!(indices.to_vec::<i64>().unwrap(), [4, 0, 2, 1, 3]);
        let (values, indices) = x.topk(2, -1, false).unwrap();
        assert_eq!(values.to_vec::<i64>().unwrap(), [1, 1]);
        assert_eq!(indices.to_vec::<i64>().unwrap(), [1, 3]);
    }

    #[test]
    fn scalars_and_nothing_have_an_order() {
        let one = Tensor::scalar(3.0f32);
        assert_eq!(one.sort(-1, false).unwrap().1.item::<i64>().unwrap(), 0);
        assert_eq!(**one.topk(1, 0, true).unwrap().0.shape(), []);
        let none = Tensor::zeros([3, 0], DType::F32).unwrap();
        assert_eq!(**none.sort(1, false).unwrap().0.shape(), [3, 0]);
        let text = none.topk(1, 1, true).unwrap_err().to_string();
        assert!(text.contains("topk: 1 of axis 1 of size 0"), "{text}");
        assert!(Tensor::zeros([3], DType::U8).unwrap().argsort(0, true).is_err());
    }
}
