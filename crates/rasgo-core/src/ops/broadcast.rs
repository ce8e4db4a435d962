//! Shapes that repeat: the rule of broadcasting, and a tensor repeated as a copy.

use std::panic::Location;

use rasgo_kernels::elementwise;
use smallvec::SmallVec;

use super::any;
use crate::error::{Error, Result};
use crate::meta::{DType, Layout, Meta, Shape};
use crate::op::{Bf16Rule, Grads, Input, LayoutRule, Mask, Metas, Op, Output, Saved, apply};
use crate::tensor::Tensor;

/// The shape that both shapes broadcast to.
pub(crate) fn broadcast_shape(a: &Shape, b: &Shape) -> Result<Shape> {
    let rank = a.len().max(b.len());
    let size = |shape: &Shape, axis: usize| (axis + shape.len()).checked_sub(rank).map_or(1, |i| shape[i]);
    (0..rank)
        .map(|axis| match (size(a, axis), size(b, axis)) {
            (x, y) if x == y => Ok(x),
            (1, y) => Ok(y),
            (x, 1) => Ok(x),
            (x, y) => Err(Error::shape(format!(
                "shapes {a} and {b} do not broadcast: sizes {x} and {y} at axis {axis} (aligned at the end)"
            ))
            .hint("make the sizes equal, or one of them 1 with .reshape")),
        })
        .collect()
}

/// What comes out of inputs that are repeated beside each other, as `dtype`.
pub(super) fn broadcast_meta(inputs: &[Meta], dtype: DType) -> Result<Meta> {
    let mut shape = inputs[0].shape.clone();
    for input in &inputs[1..] {
        shape = broadcast_shape(&shape, &input.shape)?;
    }
    // A map stays channels-last beside whatever is repeated over it.
    let map = |input: &Meta| input.layout == Layout::ChannelsLast && input.shape.len() == shape.len();
    let channels_last = inputs.iter().any(map);
    Ok(if channels_last { Meta::channels_last(shape, dtype) } else { Meta::plain(shape, dtype) })
}

/// Strides for reading `meta` as `target`, in the order of the target's memory: 0 along repeated axes.
pub(super) fn broadcast_strides(meta: &Meta, target: &Meta) -> SmallVec<[usize; 6]> {
    let own = meta.strides();
    let missing = target.shape.len() - meta.shape.len();
    let stride = |axis: usize| match axis.checked_sub(missing) {
        Some(i) if meta.shape[i] != 1 => own[i],
        _ => 0,
    };
    target.memory_order().into_iter().map(stride).collect()
}

/// The sizes of the axes in the order of memory.
pub(super) fn memory_sizes(meta: &Meta) -> SmallVec<[usize; 6]> {
    meta.memory_order().into_iter().map(|axis| meta.shape[axis]).collect()
}

#[derive(Debug)]
struct Broadcast(Shape);

impl Op for Broadcast {
    fn name(&self) -> &'static str {
        "broadcast_to"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        let shape = broadcast_shape(&inputs[0].shape, &self.0)?;
        if shape != self.0 {
            return Err(Error::shape(format!("shape {} does not broadcast to {}", inputs[0].shape, self.0)));
        }
        Ok(Metas::from_iter([Meta { shape, dtype: inputs[0].dtype, layout: Layout::Plain }]))
    }

    fn layout(&self) -> LayoutRule {
        LayoutRule::Plain
    }

    fn bf16(&self) -> Bf16Rule {
        Bf16Rule::Moves
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        any!(inputs[0].meta().dtype, T => {
            let strides = broadcast_strides(inputs[0].meta(), outputs[0].meta());
            elementwise::copy_strided(&self.0, inputs[0].values::<T>(), &strides, outputs[0].values::<T>());
        });
    }

    fn grad(&self, saved: Saved, mut dy: Grads, _needs: Mask) -> Result<Grads> {
        let shape = saved.input_shape(0);
        Ok(Grads::from_iter([Some(dy[0].take().expect("one output").sum_to(&shape)?)]))
    }
}

impl Tensor {
    /// Repeats axes of size 1, and adds leading ones, up to the given shape.
    #[track_caller]
    pub fn broadcast_to(&self, shape: impl Into<Shape>) -> Result<Tensor> {
        let shape = shape.into();
        if shape == *self.shape() {
            return Ok(self.clone());
        }
        apply(Broadcast(shape), [self.clone()])
    }

    /// As [`broadcast_to`](Self::broadcast_to), where -1 keeps the size of an axis.
    ///
    /// ```
    /// # use rasgo_core::Tensor;
    /// let x = Tensor::arange(0.0, 3.0, 1.0)?.reshape([3, 1])?;
    /// assert_eq!(x.expand(&[-1, 2])?.to_vec::<f32>()?, [0.0, 0.0, 1.0, 1.0, 2.0, 2.0]);
    /// # Ok::<(), rasgo_core::Error>(())
    /// ```
    #[track_caller]
    pub fn expand(&self, sizes: &[isize]) -> Result<Tensor> {
        let at = Location::caller();
        let (shape, missing) = (self.shape(), sizes.len().checked_sub(self.shape().len()));
        let Some(missing) = missing else {
            let text = format!("{} sizes for a tensor of shape {shape}", sizes.len());
            return Err(Error::shape(text).op("expand").at(at));
        };
        let mut wanted = Vec::with_capacity(sizes.len());
        for (axis, &size) in sizes.iter().enumerate() {
            wanted.push(match (usize::try_from(size), axis.checked_sub(missing)) {
                (Ok(size), _) => size,
                (Err(_), Some(own)) if size == -1 => shape[own],
                _ => {
                    let text = format!("size {size} of axis {axis} in {sizes:?}, for a tensor of {shape}");
                    let error =
                        Error::argument(text).hint("-1 keeps the size of an axis that the tensor has");
                    return Err(error.op("expand").at(at));
                }
            });
        }
        self.broadcast_to(wanted)
    }

    /// The whole tensor repeated along each axis, `counts` aligned at the end, of which there are as many as axes or more.
    ///
    /// ```
    /// # use rasgo_core::Tensor;
    /// let x = Tensor::arange(0.0, 2.0, 1.0)?;
    /// assert_eq!(x.repeat(&[2, 2])?.to_vec::<f32>()?, [0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0]);
    /// # Ok::<(), rasgo_core::Error>(())
    /// ```
    #[track_caller]
    pub fn repeat(&self, counts: &[usize]) -> Result<Tensor> {
        let shape = self.shape();
        let Some(missing) = counts.len().checked_sub(shape.len()) else {
            let text = format!("{} counts for a tensor of shape {shape}", counts.len());
            let error = Error::argument(text).hint("give a count for each axis, 1 where it stays");
            return Err(error.op("repeat").at(Location::caller()));
        };
        // Each axis becomes two: which copy, and where in it.
        let (mut apart, mut wide, mut joined) = (Vec::new(), Vec::new(), Vec::new());
        for (axis, &count) in counts.iter().enumerate() {
            let size = axis.checked_sub(missing).map_or(1, |own| shape[own]);
            apart.extend([1, size]);
            wide.extend([count, size]);
            joined.push(count.saturating_mul(size));
        }
        self.reshape(apart)?.broadcast_to(wide)?.reshape(joined)
    }
}

#[cfg(test)]
mod tests {
    use super::super::grad_check::{check, normal};
    use crate::Tensor;

    #[test]
    fn repeated_values_sum_their_gradients() {
        check(&[normal([3, 1, 2], 1)], |x| x[0].broadcast_to([4, 3, 5, 2]));
        check(&[normal([2, 3], 1)], |x| x[0].repeat(&[2, 1, 3]));
        check(&[normal([2, 1], 1)], |x| x[0].expand(&[3, -1, 4]));
    }

    #[test]
    fn every_dtype_repeats_and_wrong_sizes_are_refused() {
        let x = Tensor::from_vec(vec![1u8, 2], [2, 1]).unwrap();
        assert_eq!(x.expand(&[2, 3]).unwrap().to_vec::<u8>().unwrap(), [1, 1, 1, 2, 2, 2]);
        assert_eq!(**x.repeat(&[0, 2]).unwrap().shape(), [0, 2]);
        assert!(x.expand(&[-1, 2, 3]).unwrap_err().to_string().contains("size -1 of axis 0"));
        assert!(x.expand(&[2]).is_err() && x.repeat(&[2]).is_err());
        assert!(x.expand(&[3, 1]).unwrap_err().to_string().contains("do not broadcast"));
        assert!(x.broadcast_to([1, 1]).unwrap_err().to_string().contains("does not broadcast to [1, 1]"));
    }
}
