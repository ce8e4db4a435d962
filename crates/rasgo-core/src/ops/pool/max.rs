//! The largest value of each window, and where it was.

use rasgo_kernels::pool::{self, PoolProblem};

use super::plane::{PlaneGather, PlaneScatter};
use super::{expect_maps, name_of, with_spatial};
use crate::error::{Error, Result};
use crate::meta::{DType, Meta, Shape};
use crate::op::{
    Bf16Rule, Grads, Input, LayoutRule, Mask, Metas, Op, Output, Saved, Saves, apply, apply_all,
};
use crate::ops::{AXES, expect_maps_and_channels, expect_sizes, expect_window, stored};
use crate::reach::{self, Reach, Reaches, Window};
use crate::tensor::Tensor;

pub(super) const NAMES: [&str; 3] = ["max_pool1d", "max_pool2d", "max_pool3d"];

/// The attributes of a max pooling; of fewer than three spatial axes the last are used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaxPoolOptions {
    /// Cells of the window.
    pub kernel: [usize; 3],
    /// Step of the window.
    pub stride: [usize; 3],
    /// Cells of minus infinity added on both sides, at most half the kernel.
    pub padding: [usize; 3],
    /// Distance of the window's cells.
    pub dilation: [usize; 3],
    /// Whether a last, incomplete window counts.
    pub ceil_mode: bool,
}

impl MaxPoolOptions {
    /// Windows of that size side by side.
    pub fn new(kernel: [usize; 3]) -> Self {
        MaxPoolOptions { kernel, stride: kernel, padding: [0; 3], dilation: [1; 3], ceil_mode: false }
    }

    /// The shape that comes out of (N, C, …).
    pub(in crate::ops) fn output_shape(&self, x: &Shape) -> Result<Shape> {
        expect_maps(x)?;
        let (_, _, input) = x.image();
        let mut output = [1; 3];
        for axis in 5 - x.len()..3 {
            let (size, kernel, stride) = (input[axis], self.kernel[axis], self.stride[axis]);
            let (padding, dilation, along) = (self.padding[axis], self.dilation[axis], AXES[axis]);
            expect_window(along, kernel, stride, dilation)?;
            if padding > kernel / 2 {
                return Err(Error::argument(format!(
                    "padding {padding} along {along} is more than half of kernel {kernel}"
                ))
                .hint(format!("give {} or less: a window must not lie in the padding alone", kernel / 2)));
            }
            expect_sizes(along, &[size, kernel, stride, dilation])?;
            let span = dilation * (kernel - 1) + 1;
            let padded = size + 2 * padding;
            let reach = if self.ceil_mode { padded + stride - 1 } else { padded };
            if reach < span {
                return Err(Error::shape(format!(
                    "the window spans {span} = {dilation} * ({kernel} - 1) + 1 along {along}, the padded input {x} only {padded} = {size} + 2 * {padding}"
                ))
                .hint("use a smaller window, or fewer poolings before it"));
            }
            let mut steps = (reach - span) / stride;
            if self.ceil_mode && steps * stride >= size + padding {
                steps -= 1;
            }
            output[axis] = steps + 1;
        }
        Ok(with_spatial(x, output))
    }

    /// The window along one of three axes.
    pub(in crate::ops) fn window(&self, axis: usize) -> Window {
        Window {
            kernel: self.kernel[axis],
            stride: self.stride[axis],
            padding: self.padding[axis] as isize,
            dilation: self.dilation[axis],
        }
    }

    pub(in crate::ops) fn problem(&self, x: &Shape, y: &Shape) -> PoolProblem {
        let ((n, c, input), (_, _, output)) = (x.image(), y.image());
        // Axes that the tensor does not have are single cells.
        let missing = 5 - x.len();
        let present = |mut values: [usize; 3], nothing| {
            values[..missing].fill(nothing);
            values
        };
        PoolProblem {
            n,
            c,
            input,
            output,
            kernel: present(self.kernel, 1),
            stride: present(self.stride, 1),
            padding: present(self.padding, 0),
            dilation: present(self.dilation, 1),
        }
    }

    /// Whether a byte numbers the cells of a window on (N, C, …).
    pub(in crate::ops) fn cells_fit_a_byte(&self, x: &Shape) -> bool {
        let kernel = &self.kernel[5 - x.len()..];
        kernel.iter().fold(1usize, |cells, &size| cells.saturating_mul(size)) <= 256
    }
}

/// y, and where each maximum was: of windows of up to 256 cells the cell, one byte; of larger ones the index.
#[derive(Debug, Clone)]
struct MaxPool {
    options: MaxPoolOptions,
    name: &'static str,
}

impl Op for MaxPool {
    fn name(&self) -> &'static str {
        self.name
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        let dtype = expect_maps_and_channels(inputs, Mask::of(&[0]))?;
        let x = &inputs[0].shape;
        let shape = self.options.output_shape(x)?;
        let place = if self.options.cells_fit_a_byte(x) { DType::U8 } else { DType::I64 };
        Ok(Metas::from_iter([Meta::channels_last(shape.clone(), dtype), Meta::channels_last(shape, place)]))
    }

    fn layout(&self) -> LayoutRule {
        LayoutRule::ChannelsLast(Mask::of(&[0]))
    }

    fn bf16(&self) -> Bf16Rule {
        Bf16Rule::Inside(Mask::of(&[0]))
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        let [y, places] = outputs else { unreachable!("two outputs") };
        let p = self.options.problem(&inputs[0].meta().shape, &y.meta().shape);
        let bytes = places.meta().dtype == DType::U8;
        stored!(inputs[0].meta().dtype, S => {
            let (src, dst) = (inputs[0].values::<S>(), y.values::<S>());
            if bytes {
                pool::max_forward(&p, src, dst, Some(places.values::<u8>()));
            } else {
                pool::max_forward_flat(&p, src, dst, places.values::<i64>());
            }
        });
    }

    fn reach(&self, _which: usize, inputs: &[Shape], _output: &Shape) -> Reaches {
        reach::of_axes(&inputs[0], |axis| Reach::Window(self.options.window(axis)))
    }

    fn saves(&self) -> Saves {
        Saves { inputs: Mask::NONE, outputs: Mask::of(&[1]) }
    }

    fn grad(&self, mut saved: Saved, mut dy: Grads, _needs: Mask) -> Result<Grads> {
        let dy = dy[0].take().expect("the maxima have a gradient");
        let (places, input) = (saved.output(1), saved.input_shape(0));
        let dx = if places.dtype() == DType::U8 {
            apply(MaxPoolGrad { pool: self.clone(), input }, [dy, places])
        } else {
            apply(PlaneScatter { name: self.name, plane: input }, [dy, places])
        };
        Ok(Grads::from_iter([Some(dx?)]))
    }
}

/// dx from dy: each window's gradient goes to the cell of its maximum; windows that overlap add.
#[derive(Debug)]
struct MaxPoolGrad {
    pool: MaxPool,
    input: Shape,
}

impl Op for MaxPoolGrad {
    fn name(&self) -> &'static str {
        self.pool.name
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        Ok(Metas::from_iter([Meta::channels_last(self.input.clone(), inputs[0].dtype)]))
    }

    fn layout(&self) -> LayoutRule {
        LayoutRule::ChannelsLast(Mask::of(&[0, 1]))
    }

    fn bf16(&self) -> Bf16Rule {
        Bf16Rule::Inside(Mask::of(&[0]))
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        let p = self.pool.options.problem(&self.input, &inputs[0].meta().shape);
        stored!(inputs[0].meta().dtype, S => {
            pool::max_backward(&p, inputs[0].values::<S>(), inputs[1].values::<u8>(), outputs[0].values::<S>());
        });
    }

    fn reach(&self, which: usize, inputs: &[Shape], _output: &Shape) -> Reaches {
        reach::of_axes(&inputs[which], |axis| Reach::Transposed(self.pool.options.window(axis)))
    }

    fn saves(&self) -> Saves {
        Saves { inputs: Mask::of(&[1]), outputs: Mask::NONE }
    }

    fn grad(&self, mut saved: Saved, mut ddx: Grads, _needs: Mask) -> Result<Grads> {
        let ddx = ddx[0].take().expect("one output");
        let indices = flat_indices(&self.pool, self.input.clone(), saved.input(1))?;
        let ddy = apply(PlaneGather { name: self.pool.name }, [ddx, indices])?;
        Ok(Grads::from_iter([Some(ddy), None]))
    }
}

/// PyTorch's indices from cells of windows.
#[derive(Debug)]
struct FlatIndices {
    pool: MaxPool,
    input: Shape,
}

impl Op for FlatIndices {
    fn name(&self) -> &'static str {
        self.pool.name
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        Ok(Metas::from_iter([Meta { dtype: DType::I64, ..inputs[0].clone() }]))
    }

    fn layout(&self) -> LayoutRule {
        LayoutRule::ChannelsLast(Mask::of(&[0]))
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        let p = self.pool.options.problem(&self.input, &inputs[0].meta().shape);
        pool::window_to_flat_indices(&p, inputs[0].values::<u8>(), outputs[0].values::<i64>());
    }

    fn grad(&self, _saved: Saved, _dy: Grads, _needs: Mask) -> Result<Grads> {
        unreachable!("places have no gradient")
    }
}

#[track_caller]
fn flat_indices(pool: &MaxPool, input: Shape, places: Tensor) -> Result<Tensor> {
    if places.dtype() == DType::I64 {
        return Ok(places);
    }
    apply(FlatIndices { pool: pool.clone(), input }, [places])
}

impl Tensor {
    /// The largest value of each window of (N, C, …): `max_pool1d`, `2d`, `3d` by the number of spatial axes.
    ///
    /// Padding counts as minus infinity, so it never wins. NaN wins over all. The gradient goes to the first of equal
    /// maxima; overlapping windows add.
    ///
    /// ```
    /// # use rasgo_core::{Tensor, ops::MaxPoolOptions};
    /// let x = Tensor::arange(0.0, 16.0, 1.0)?.reshape([1, 1, 4, 4])?;
    /// let y = x.max_pool(&MaxPoolOptions::new([1, 2, 2]))?;
    /// assert_eq!(y.to_vec::<f32>()?, [5.0, 7.0, 13.0, 15.0]);
    /// # Ok::<(), rasgo_core::Error>(())
    /// ```
    #[track_caller]
    pub fn max_pool(&self, options: &MaxPoolOptions) -> Result<Tensor> {
        apply(MaxPool { options: options.clone(), name: name_of(NAMES, self.shape()) }, [self.clone()])
    }

    /// As [`max_pool`](Self::max_pool), with the flat position of each maximum in its (spatial) input plane, as i64. Of
    /// equal maxima it is the first, of several NaN the last, as in PyTorch.
    ///
    /// A window without a cell inside the map, which only a dilation larger than the map makes, has no maximum: the
    /// value is minus infinity and the index, as in PyTorch, where its first cell not before the map would be.
    #[track_caller]
    pub fn max_pool_with_indices(&self, options: &MaxPoolOptions) -> Result<(Tensor, Tensor)> {
        let pool = MaxPool { options: options.clone(), name: name_of(NAMES, self.shape()) };
        let mut outputs = apply_all(pool.clone(), [self.clone()])?;
        let (places, y) = (outputs.swap_remove(1), outputs.swap_remove(0));
        Ok((y, flat_indices(&pool, self.shape().clone(), places)?))
    }
}
