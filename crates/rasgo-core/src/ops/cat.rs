//! Joined tensors: cat along an axis they have, stack along a new one.

use std::borrow::Borrow;
use std::panic::Location;

use rasgo_kernels::movement;

use super::{any, axis_of, blocks, expect_same};
use crate::error::{Error, Result};
use crate::meta::{Layout, Meta, Shape};
use crate::op::{Bf16Rule, Grads, Input, Mask, Metas, Op, Output, Saved, apply};
use crate::reach::{self, Reach, Reaches, Window};
use crate::tensor::Tensor;

/// The most inputs of one op, as records count them. More are joined group by group.
const GROUP: usize = 32;

/// y = the inputs one after the other along the axis.
#[derive(Debug)]
struct Cat {
    axis: usize,
}

impl Op for Cat {
    fn name(&self) -> &'static str {
        "cat"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        let dtype = expect_same(inputs)?;
        let first = &inputs[0].shape;
        let mut sizes = first.to_vec();
        sizes[self.axis] = 0;
        for (i, input) in inputs.iter().enumerate() {
            let shape = &input.shape;
            let agrees = |axis: usize| axis == self.axis || shape[axis] == first[axis];
            if shape.len() != first.len() || !(0..shape.len()).all(agrees) {
                return Err(Error::shape(format!(
                    "tensor 0 of shape {first} and tensor {i} of shape {shape} differ off axis {}",
                    self.axis
                ))
                .hint("all sizes but those of the joined axis must agree"));
            }
            sizes[self.axis] = sizes[self.axis].saturating_add(shape[self.axis]);
        }
        let map = inputs.iter().any(|input| input.layout == Layout::ChannelsLast);
        Ok(Metas::from_iter([if map {
            Meta::channels_last(sizes, dtype)
        } else {
            Meta::plain(sizes, dtype)
        }]))
    }

    fn bf16(&self) -> Bf16Rule {
        Bf16Rule::Moves
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        // In the output's order: an input of one channel is plain and channels-last at once.
        let (outer, size, inner) = blocks(outputs[0].meta(), self.axis);
        let mut start = 0;
        any!(inputs[0].meta().dtype, T => {
            let dst = outputs[0].values::<T>();
            for input in inputs {
                let len = input.meta().shape[self.axis] * inner;
                let from = movement::Blocks { stride: len, start: 0 };
                let to = movement::Blocks { stride: size * inner, start };
                movement::copy_blocks(outer, len, input.values::<T>(), from, dst, to);
                start += len;
            }
        });
    }

    fn reach(&self, which: usize, inputs: &[Shape], output: &Shape) -> Reaches {
        let before: usize = inputs[..which].iter().map(|input| input[self.axis]).sum();
        reach::along(&inputs[which], output, self.axis, |_| {
            Reach::Window(Window::shifted(-(before as isize)))
        })
    }

    fn grad(&self, saved: Saved, mut dy: Grads, needs: Mask) -> Result<Grads> {
        let dy = dy[0].take().expect("one output");
        let (mut grads, mut start) = (Grads::new(), 0);
        for i in 0..saved.inputs() {
            let length = saved.input_shape(i)[self.axis];
            let part = needs.has(i).then(|| dy.narrow(self.axis as isize, start, length));
            grads.push(part.transpose()?);
            start += length;
        }
        Ok(grads)
    }
}

impl Tensor {
    /// The tensors one after the other along an axis; all other sizes agree. As in PyTorch, a tensor of shape `[0]` beside
    /// others is left out.
    ///
    /// ```
    /// # use rasgo_core::{DType, Tensor};
    /// let (a, b) = (Tensor::zeros([2, 3], DType::F32)?, Tensor::ones([2, 1], DType::F32)?);
    /// assert_eq!(**Tensor::cat(&[a, b], 1)?.shape(), [2, 4]);
    /// # Ok::<(), rasgo_core::Error>(())
    /// ```
    #[track_caller]
    pub fn cat<T: Borrow<Tensor>>(tensors: &[T], axis: isize) -> Result<Tensor> {
        let at = Location::caller();
        let mut parts: Vec<Tensor> = tensors.iter().map(|tensor| tensor.borrow().clone()).collect();
        if parts.iter().any(|part| part.shape()[..] != [0]) {
            parts.retain(|part| part.shape()[..] != [0]);
        }
        let Some(first) = parts.first() else {
            let error = Error::argument("no tensors").hint("give one or more").op("cat").at(at);
            return Err(error);
        };
        // Of nothing but such tensors any axis will do.
        let axis = if first.shape()[..] == [0] { 0 } else { axis };
        let axis = axis_of(axis, first.shape().len()).map_err(|error| error.op("cat").at(at))?;
        while parts.len() > 1 {
            let mut joined = Vec::with_capacity(parts.len().div_ceil(GROUP));
            for group in parts.chunks(GROUP) {
                joined.push(apply(Cat { axis }, group.iter().cloned())?);
            }
            parts = joined;
        }
        Ok(parts.swap_remove(0))
    }

    /// The tensors, all of one shape, side by side along a new axis.
    ///
    /// ```
    /// # use rasgo_core::{DType, Tensor};
    /// let (a, b) = (Tensor::zeros([3], DType::F32)?, Tensor::ones([3], DType::F32)?);
    /// assert_eq!(**Tensor::stack(&[a, b], -1)?.shape(), [3, 2]);
    /// # Ok::<(), rasgo_core::Error>(())
    /// ```
    #[track_caller]
    pub fn stack<T: Borrow<Tensor>>(tensors: &[T], axis: isize) -> Result<Tensor> {
        let at = Location::caller();
        let Some(first) = tensors.first() else {
            return Err(Error::argument("no tensors").hint("give one or more").op("stack").at(at));
        };
        let shape = first.borrow().shape();
        let axis = axis_of(axis, shape.len() + 1).map_err(|error| error.op("stack").at(at))? as isize;
        let mut parts = Vec::with_capacity(tensors.len());
        for (i, tensor) in tensors.iter().enumerate() {
            let tensor = tensor.borrow();
            if tensor.shape() != shape {
                let text = format!("tensor 0 of shape {shape} and tensor {i} of shape {}", tensor.shape());
                let error = Error::shape(text).hint("all must have one shape; .cat joins along an axis");
                return Err(error.op("stack").at(at));
            }
            parts.push(tensor.unsqueeze(axis)?);
        }
        Tensor::cat(&parts, axis)
    }
}

#[cfg(test)]
mod tests {
    use super::super::grad_check::{check, normal};
    use crate::{DType, Layout, Tensor};

    #[test]
    fn joined_tensors_have_the_gradients_of_their_differences() {
        for axis in 0..4 {
            let part = |size: usize, seed| {
                let mut shape = vec![2, 3, 4, 5];
                shape[axis] = size;
                normal(shape, seed)
            };
            let parts = [part(2, 1), part(1, 2).to_channels_last(), part(3, 3)];
            check(&parts, |x| Tensor::cat(x, axis as isize));
            let map = Tensor::cat(&parts.clone().map(Tensor::to_channels_last), axis as isize).unwrap();
            assert_eq!(map.layout(), Layout::ChannelsLast);
            let plain = Tensor::cat(&parts, axis as isize).unwrap().to_f64_vec().unwrap();
            assert_eq!(map.to_f64_vec().unwrap(), plain);
        }
        check(&[normal([2, 3], 1), normal([2, 3], 2)], |x| Tensor::stack(x, -2));
    }

    #[test]
    fn more_tensors_than_a_record_counts_are_joined_too() {
        let parts: Vec<Tensor> = (0..70).map(|i| normal([1 + i % 3, 2], i as u64)).collect();
        check(&parts, |x| Tensor::cat(x, 0));
        let empty = Tensor::zeros([2, 0], DType::F32).unwrap().requires_grad();
        let wide = Tensor::ones([2, 3], DType::F32).unwrap().requires_grad();
        let y = Tensor::cat(&[&empty, &wide, &empty], 1).unwrap();
        let grads = y.sum().unwrap().backward().unwrap();
        assert_eq!(**grads.get(&empty).unwrap().shape(), [2, 0]);
    }

    #[test]
    fn tensors_that_do_not_fit_are_refused_by_number() {
        let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32).unwrap();
        let text = Tensor::cat(&[zeros(&[2, 3]), zeros(&[3, 3])], 1).unwrap_err().to_string();
        assert!(text.contains("tensor 0 of shape [2, 3] and tensor 1 of shape [3, 3] differ off axis 1"));
        assert_eq!(**Tensor::cat(&[zeros(&[0]), zeros(&[2, 3])], -1).unwrap().shape(), [2, 3]);
        assert!(Tensor::cat::<Tensor>(&[], 0).unwrap_err().to_string().contains("no tensors"));
        assert!(Tensor::cat(&[zeros(&[2]), zeros(&[2, 1])], 0).is_err());
        assert!(Tensor::cat(&[zeros(&[]), zeros(&[])], 0).is_err());
        assert!(Tensor::stack(&[zeros(&[2]), zeros(&[3])], 0).unwrap_err().to_string().contains("stack"));
        let mixed = [zeros(&[2]), zeros(&[2]).to_dtype(DType::I64).unwrap()];
        assert!(Tensor::cat(&mixed, 0).unwrap_err().to_string().contains("do not mix"));
    }
}
