//! A part of an axis: narrow, select, split, chunk.

use std::panic::Location;

use rasgo_kernels::movement;

use super::{any, axis_of, blocks};
use crate::error::{Error, ErrorKind, Result};
use crate::meta::{Meta, Shape};
use crate::op::{Bf16Rule, Grads, Input, LayoutRule, Mask, Metas, Op, Output, Saved, apply};
use crate::reach::{self, Reach, Reaches, Window};
use crate::tensor::Tensor;

/// y = x[…, start .. start + length, …] along the axis: a view along axis 0, a copy along another.
#[derive(Debug)]
struct Narrow {
    axis: usize,
    start: usize,
    length: usize,
}

fn with_size(meta: &Meta, axis: usize, size: usize) -> Meta {
    let mut sizes = meta.shape.to_vec();
    sizes[axis] = size;
    meta.with_shape(sizes)
}

impl Op for Narrow {
    fn name(&self) -> &'static str {
        "narrow"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        let Narrow { axis, start, length } = *self;
        let shape = &inputs[0].shape;
        if start > shape[axis] || length > shape[axis] - start {
            let size = shape[axis];
            return Err(Error::new(
                ErrorKind::Index,
                format!("{length} of axis {axis} from {start} on, of a tensor of shape {shape}"),
            )
            .hint(format!("start + length is at most {size}")));
        }
        Ok(Metas::from_iter([with_size(&inputs[0], axis, length)]))
    }

    fn layout(&self) -> LayoutRule {
        LayoutRule::AsIs
    }

    fn view(&self, inputs: &[Meta]) -> Option<usize> {
        (self.axis == 0).then(|| self.start * inputs[0].shape[1..].iter().product::<usize>())
    }

    fn bf16(&self) -> Bf16Rule {
        Bf16Rule::Moves
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        let (outer, size, inner) = blocks(inputs[0].meta(), self.axis);
        any!(inputs[0].meta().dtype, T => {
            let (src, dst) = (inputs[0].values::<T>(), outputs[0].values::<T>());
            let from = movement::Blocks { stride: size * inner, start: self.start * inner };
            let to = movement::Blocks { stride: self.length * inner, start: 0 };
            movement::copy_blocks(outer, self.length * inner, src, from, dst, to);
        });
    }

    fn reach(&self, _which: usize, inputs: &[Shape], output: &Shape) -> Reaches {
        reach::along(&inputs[0], output, self.axis, |_| Reach::Window(Window::shifted(self.start as isize)))
    }

    fn grad(&self, saved: Saved, mut dy: Grads, _needs: Mask) -> Result<Grads> {
        let dy = dy[0].take().expect("one output");
        let widen = Widen { axis: self.axis, size: saved.input_shape(0)[self.axis], start: self.start };
        Ok(Grads::from_iter([Some(apply(widen, [dy])?)]))
    }
}

/// The gradient of `Narrow`: x with zeros before and after along the axis.
#[derive(Debug)]
pub(super) struct Widen {
    pub(super) axis: usize,
    pub(super) size: usize,
    pub(super) start: usize,
}

impl Op for Widen {
    fn name(&self) -> &'static str {
        "narrow"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        Ok(Metas::from_iter([with_size(&inputs[0], self.axis, self.size)]))
    }

    fn layout(&self) -> LayoutRule {
        LayoutRule::AsIs
    }

    fn bf16(&self) -> Bf16Rule {
        Bf16Rule::Moves
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        // The output's order: a map of one channel that becomes one of several is plain on both sides.
        let (outer, size, inner) = blocks(outputs[0].meta(), self.axis);
        let length = inputs[0].meta().shape[self.axis];
        any!(inputs[0].meta().dtype, T => {
            let (src, dst) = (inputs[0].values::<T>(), outputs[0].values::<T>());
            let from = movement::Blocks { stride: length * inner, start: 0 };
            let to = movement::Blocks { stride: size * inner, start: self.start * inner };
            movement::widen_blocks(outer, length * inner, src, from, dst, to);
        });
    }

    fn reach(&self, _which: usize, inputs: &[Shape], output: &Shape) -> Reaches {
        reach::along(&inputs[0], output, self.axis, |_| {
            Reach::Window(Window::shifted(-(self.start as isize)))
        })
    }

    fn grad(&self, saved: Saved, mut dy: Grads, _needs: Mask) -> Result<Grads> {
        let dy = dy[0].take().expect("one output");
        let length = saved.input_shape(0)[self.axis];
        Ok(Grads::from_iter([Some(dy.narrow(self.axis as isize, self.start, length)?)]))
    }
}

impl Tensor {
    /// `length` elements of an axis from `start` on. Free along axis 0; along another axis it copies.
    ///
    /// ```
    /// # use rasgo_core::Tensor;
    /// let x = Tensor::arange(0.0, 6.0, 1.0)?.reshape([2, 3])?;
    /// assert_eq!(x.narrow(-1, 1, 2)?.to_vec::<f32>()?, [1.0, 2.0, 4.0, 5.0]);
    /// # Ok::<(), rasgo_core::Error>(())
    /// ```
    #[track_caller]
    pub fn narrow(&self, axis: isize, start: usize, length: usize) -> Result<Tensor> {
        match axis_of(axis, self.shape().len()) {
            Ok(axis) => apply(Narrow { axis, start, length }, [self.clone()]),
            Err(error) => Err(error.op("narrow").at(Location::caller())),
        }
    }

    /// One element of an axis, without that axis; a negative index counts from the end.
    ///
    /// ```
    /// # use rasgo_core::Tensor;
    /// let x = Tensor::arange(0.0, 6.0, 1.0)?.reshape([2, 3])?;
    /// assert_eq!(x.select(1, -1)?.to_vec::<f32>()?, [2.0, 5.0]);
    /// # Ok::<(), rasgo_core::Error>(())
    /// ```
    #[track_caller]
    pub fn select(&self, axis: isize, index: isize) -> Result<Tensor> {
        let at = Location::caller();
        let shape = self.shape();
        let axis = axis_of(axis, shape.len()).map_err(|error| error.op("select").at(at))?;
        let from_start = if index < 0 { index.checked_add_unsigned(shape[axis]) } else { Some(index) };
        let place = from_start.and_then(|index| usize::try_from(index).ok()).filter(|&i| i < shape[axis]);
        let Some(place) = place else {
            let text = format!("index {index} of axis {axis} of a tensor of shape {shape}");
            return Err(Error::new(ErrorKind::Index, text).op("select").at(at));
        };
        let sizes: Vec<usize> = shape[..axis].iter().chain(&shape[axis + 1..]).copied().collect();
        self.narrow(axis as isize, place, 1)?.reshape(sizes)
    }

    /// Parts of an axis of the given sizes, whose sum is the axis.
    #[track_caller]
    pub fn split(&self, sizes: &[usize], axis: isize) -> Result<Vec<Tensor>> {
        let at = Location::caller();
        let place = axis_of(axis, self.shape().len()).map_err(|error| error.op("split").at(at))?;
        let sum = sizes.iter().fold(0, |sum: usize, &size| sum.saturating_add(size));
        if sum != self.shape()[place] {
            return Err(Error::shape(format!(
                "the sizes {sizes:?} have the sum {sum}, axis {place} of {} has {}",
                self.shape(),
                self.shape()[place]
            ))
            .op("split")
            .at(at));
        }
        let (mut parts, mut start) = (Vec::with_capacity(sizes.len()), 0);
        for &size in sizes {
            parts.push(self.narrow(axis, start, size)?);
            start += size;
        }
        Ok(parts)
    }

    /// Parts of an axis of `size` elements each, the last of what is left: PyTorch's `split` with one number.
    #[track_caller]
    pub fn split_every(&self, size: usize, axis: isize) -> Result<Vec<Tensor>> {
        let at = Location::caller();
        let place = axis_of(axis, self.shape().len()).map_err(|error| error.op("split").at(at))?;
        let whole = self.shape()[place];
        if size == 0 && whole > 0 {
            return Err(Error::argument(format!("parts of 0 along axis {place} of {}", self.shape()))
                .op("split")
                .at(at));
        }
        // An axis of nothing is one part of nothing, as in PyTorch.
        let count = if whole == 0 { 1 } else { whole.div_ceil(size) };
        let sizes: Vec<usize> = (0..count).map(|i| size.min(whole - i * size)).collect();
        self.split(&sizes, axis)
    }

    /// At most `chunks` parts of an axis, all but the last of one size, as PyTorch's `chunk`: 6 parts wanted of 10
    /// elements are 5 of 2.
    ///
    /// ```
    /// # use rasgo_core::Tensor;
    /// let parts = Tensor::arange(0.0, 10.0, 1.0)?.chunk(6, 0)?;
    /// assert_eq!(parts.len(), 5);
    /// # Ok::<(), rasgo_core::Error>(())
    /// ```
    #[track_caller]
    pub fn chunk(&self, chunks: usize, axis: isize) -> Result<Vec<Tensor>> {
        let at = Location::caller();
        let place = axis_of(axis, self.shape().len()).map_err(|error| error.op("chunk").at(at))?;
        if chunks == 0 {
            return Err(Error::argument("0 chunks").hint("give 1 or more").op("chunk").at(at));
        }
        match self.shape()[place] {
            // As many parts of nothing as were wanted.
            0 => self.split(&vec![0; chunks], axis),
            size => self.split_every(size.div_ceil(chunks), axis),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::grad_check::{check, normal};
    use crate::{DType, Layout, Tensor};

    #[test]
    fn parts_have_the_gradients_of_their_differences() {
        check(&[normal([4, 3], 1)], |x| x[0].narrow(0, 1, 2));
        for axis in [-1, 1, 2] {
            check(&[normal([2, 5, 4, 3], 1).to_channels_last()], |x| x[0].narrow(axis, 1, 2));
        }
        check(&[normal([2, 5, 3], 1)], |x| x[0].select(1, -2));
    }

    #[test]
    fn a_part_of_a_map_is_a_map() {
        let x = normal([2, 3, 4, 5], 1);
        let map = x.clone().to_channels_last();
        for axis in 0..4 {
            let part = map.narrow(axis, 1, 1).unwrap();
            assert_eq!(part.to_f64_vec().unwrap(), x.narrow(axis, 1, 1).unwrap().to_f64_vec().unwrap());
        }
        assert_eq!(map.narrow(1, 1, 2).unwrap().layout(), Layout::ChannelsLast);
    }

    #[test]
    fn an_axis_is_cut_as_pytorch_cuts_it() {
        let zeros = |size: usize| Tensor::zeros([2, size], DType::U8).unwrap();
        let sizes = |parts: Vec<Tensor>| parts.iter().map(|part| part.shape()[1]).collect::<Vec<_>>();
        assert_eq!(sizes(zeros(7).split_every(3, 1).unwrap()), [3, 3, 1]);
        assert_eq!(sizes(zeros(0).split_every(3, 1).unwrap()), [0]);
        assert_eq!(sizes(zeros(10).chunk(6, -1).unwrap()), [2; 5]);
        assert_eq!(sizes(zeros(0).chunk(3, 1).unwrap()), [0; 3]);
        let text = zeros(7).split(&[3, 3], 1).unwrap_err().to_string();
        assert!(text.contains("have the sum 6, axis 1 of [2, 7] has 7"), "{text}");
        assert!(zeros(7).chunk(0, 1).is_err() && zeros(7).split_every(0, 1).is_err());
    }

    #[test]
    fn a_part_outside_the_axis_is_refused() {
        let x = Tensor::zeros([2, 3], DType::F32).unwrap();
        let text = x.narrow(1, 2, 2).unwrap_err().to_string();
        assert!(text.contains("2 of axis 1 from 2 on, of a tensor of shape [2, 3]"), "{text}");
        assert!(x.narrow(1, usize::MAX, 2).is_err());
        assert!(x.select(0, 2).unwrap_err().to_string().contains("index 2 of axis 0"));
        assert!(x.select(0, -3).is_err());
    }
}
