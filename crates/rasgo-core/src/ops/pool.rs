//! Max, average and adaptive average pooling in 1, 2 and 3 dimensions.
//!
//! ```text
//! out = floor((in + 2 padding - dilation (kernel - 1) - 1) / stride) + 1     (ceil with ceil_mode)
//! ```
//! With `ceil_mode` the last window must still begin inside the input or its leading padding.

use rasgo_kernels::Buffer;
use rasgo_kernels::pool::{self, AdaptiveProblem, AvgOptions, PoolProblem};

use super::{expect_float, expect_sizes, float, no_second_gradient};
use crate::error::{Error, Result};
use crate::meta::{DType, Meta, Shape};
use crate::op::{Grads, Input, LayoutRule, Mask, Metas, Op, Output, Saved, Saves, apply, apply_all};
use crate::reach::{self, Reach, Reaches, Window};
use crate::tensor::Tensor;

/// The attributes of a pooling; of fewer than three spatial axes the last are used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolOptions {
    /// Cells of the window.
    pub kernel: [usize; 3],
    /// Step of the window.
    pub stride: [usize; 3],
    /// Cells added on both sides: minus infinity for max, zero for average.
    pub padding: [usize; 3],
    /// Distance of the window's cells (max only).
    pub dilation: [usize; 3],
    /// Whether a last, incomplete window counts.
    pub ceil_mode: bool,
    /// Whether padding counts in the divisor of an average.
    pub count_include_pad: bool,
}

impl PoolOptions {
    /// Windows of that size side by side.
    pub fn new(kernel: [usize; 3]) -> Self {
        PoolOptions {
            kernel,
            stride: kernel,
            padding: [0; 3],
            dilation: [1; 3],
            ceil_mode: false,
            count_include_pad: true,
        }
    }

    /// The shape that comes out of (N, C, …).
    pub(super) fn output_shape(&self, x: &Shape) -> Result<Shape> {
        let rank = x.len();
        if !(3..=5).contains(&rank) {
            return Err(Error::shape(format!("input {x} has {rank} axes"))
                .hint("give (N, C, L), (N, C, H, W) or (N, C, D, H, W)"));
        }
        let (_, _, input) = x.image();
        let mut output = [1; 3];
        for axis in 5 - rank..3 {
            let (size, kernel, stride) = (input[axis], self.kernel[axis], self.stride[axis]);
            let (padding, dilation) = (self.padding[axis], self.dilation[axis]);
            if kernel == 0 || stride == 0 || dilation == 0 {
                return Err(Error::argument(format!(
                    "kernel {kernel}, stride {stride} and dilation {dilation} must be 1 or more"
                )));
            }
            if padding > kernel / 2 {
                return Err(Error::argument(format!(
                    "padding {padding} is more than half of kernel {kernel}"
                )));
            }
            expect_sizes("an axis", &[size, kernel, stride, dilation])?;
            let span = dilation * (kernel - 1) + 1;
            let padded = size + 2 * padding;
            if size == 0 || padded < span {
                return Err(Error::shape(format!(
                    "a window of {span} in a padded axis of {padded}: input {x}"
                ))
                .hint("use a smaller window, or fewer poolings before it"));
            }
            let room = padded - span;
            let mut steps = if self.ceil_mode { room.div_ceil(stride) } else { room / stride };
            if self.ceil_mode && steps * stride >= size + padding {
                steps -= 1;
            }
            output[axis] = steps + 1;
        }
        Ok([x[0], x[1]].into_iter().chain(output[5 - rank..].iter().copied()).collect())
    }

    /// The window along one of three axes.
    pub(super) fn window(&self, axis: usize) -> Window {
        Window {
            kernel: self.kernel[axis],
            stride: self.stride[axis],
            padding: self.padding[axis] as isize,
            dilation: self.dilation[axis],
        }
    }

    pub(super) fn problem(&self, x: &Shape, y: &Shape) -> PoolProblem {
        let (n, c, input) = x.image();
        let (_, _, output) = y.image();
        // Axes that the tensor does not have are single cells.
        let present = |values: [usize; 3]| {
            let mut values = values;
            values[..5 - x.len()].fill(1);
            values
        };
        let mut padding = self.padding;
        padding[..5 - x.len()].fill(0);
        PoolProblem {
            n,
            c,
            input,
            output,
            kernel: present(self.kernel),
            stride: present(self.stride),
            padding,
            dilation: present(self.dilation),
        }
    }
}

/// y, and the position of each maximum in its window (one byte).
#[derive(Debug, Clone)]
struct MaxPool(PoolOptions);

impl Op for MaxPool {
    fn name(&self) -> &'static str {
        "max_pool2d"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        let dtype = expect_float(inputs)?;
        let shape = self.0.output_shape(&inputs[0].shape)?;
        let cells = self.0.kernel.iter().fold(1usize, |cells, &size| cells.saturating_mul(size));
        if cells > 256 {
            return Err(Error::argument(format!("a window of {cells} cells; 256 is the most"))
                .hint("use an adaptive pooling for a whole map"));
        }
        Ok(Metas::from_iter([
            Meta::channels_last(shape.clone(), dtype),
            Meta::channels_last(shape, DType::U8),
        ]))
    }

    fn layout(&self) -> LayoutRule {
        LayoutRule::ChannelsLast(Mask::of(&[0]))
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        let [y, positions] = outputs else { unreachable!("two outputs") };
        let p = self.0.problem(&inputs[0].meta().shape, &y.meta().shape);
        float!(inputs[0].meta().dtype, T => {
            pool::max_forward(&p, inputs[0].values::<T>(), y.values::<T>(), Some(positions.values::<u8>()));
        });
    }

    fn reach(&self, _which: usize, inputs: &[Shape], _output: &Shape) -> Reaches {
        reach::of_axes(&inputs[0], |axis| Reach::Window(self.0.window(axis)))
    }

    fn saves(&self) -> Saves {
        Saves { inputs: Mask::NONE, outputs: Mask::of(&[1]) }
    }

    fn grad(&self, mut saved: Saved, mut dy: Grads, _needs: Mask) -> Result<Grads> {
        let dy = dy[0].take().expect("the maxima have a gradient");
        let op = MaxPoolGrad { options: self.0.clone(), input: saved.input_shape(0) };
        Ok(Grads::from_iter([Some(apply(op, [dy, saved.output(1)])?)]))
    }
}

/// dx from dy: each window's gradient goes to the cell of its maximum; windows that overlap add.
#[derive(Debug)]
struct MaxPoolGrad {
    options: PoolOptions,
    input: Shape,
}

impl Op for MaxPoolGrad {
    fn name(&self) -> &'static str {
        "max_pool2d"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        Ok(Metas::from_iter([Meta::channels_last(self.input.clone(), inputs[0].dtype)]))
    }

    fn layout(&self) -> LayoutRule {
        LayoutRule::ChannelsLast(Mask::of(&[0, 1]))
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        let p = self.options.problem(&self.input, &inputs[0].meta().shape);
        float!(inputs[0].meta().dtype, T => {
            pool::max_backward(&p, inputs[0].values::<T>(), inputs[1].values::<u8>(), outputs[0].values::<T>());
        });
    }

    fn reach(&self, _which: usize, inputs: &[Shape], _output: &Shape) -> Reaches {
        reach::of_axes(&inputs[0], |axis| Reach::Transposed(self.options.window(axis)))
    }

    fn grad(&self, _saved: Saved, _dy: Grads, _needs: Mask) -> Result<Grads> {
        Err(no_second_gradient())
    }
}

/// The mean of each window, and with `back` the gradient of that: both are linear, and each other's gradient.
#[derive(Debug, Clone)]
struct AvgPool {
    options: PoolOptions,
    /// `None` forward; the shape of x backward.
    back: Option<Shape>,
}

impl Op for AvgPool {
    fn name(&self) -> &'static str {
        "avg_pool2d"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        let dtype = expect_float(inputs)?;
        let shape = match &self.back {
            Some(shape) => shape.clone(),
            None => self.options.output_shape(&inputs[0].shape)?,
        };
        Ok(Metas::from_iter([Meta::channels_last(shape, dtype)]))
    }

    fn layout(&self) -> LayoutRule {
        LayoutRule::ChannelsLast(Mask::of(&[0]))
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        let options =
            AvgOptions { count_include_pad: self.options.count_include_pad, divisor_override: None };
        let (from, to) = (&inputs[0].meta().shape, outputs[0].meta().shape.clone());
        float!(inputs[0].meta().dtype, T => {
            let (src, dst) = (inputs[0].values::<T>(), outputs[0].values::<T>());
            match self.back {
                None => pool::avg_forward(&self.options.problem(from, &to), options, src, dst),
                Some(_) => pool::avg_backward(&self.options.problem(&to, from), options, src, dst),
            }
        });
    }

    fn reach(&self, _which: usize, inputs: &[Shape], _output: &Shape) -> Reaches {
        let window = |axis| self.options.window(axis);
        reach::of_axes(&inputs[0], |axis| match self.back {
            None => Reach::Window(window(axis)),
            Some(_) => Reach::Transposed(window(axis)),
        })
    }

    fn grad(&self, saved: Saved, mut dy: Grads, _needs: Mask) -> Result<Grads> {
        let dy = dy[0].take().expect("one output");
        let back = self.back.is_none().then(|| saved.input_shape(0));
        Ok(Grads::from_iter([Some(apply(AvgPool { options: self.options.clone(), back }, [dy])?)]))
    }
}

/// The mean of windows that cover the input in a given number of steps, or with `back` the gradient of that.
#[derive(Debug, Clone)]
struct AdaptiveAvgPool {
    output: [usize; 3],
    back: Option<Shape>,
}

impl Op for AdaptiveAvgPool {
    fn name(&self) -> &'static str {
        "adaptive_avg_pool2d"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        let dtype = expect_float(inputs)?;
        if let Some(shape) = &self.back {
            return Ok(Metas::from_iter([Meta::channels_last(shape.clone(), dtype)]));
        }
        Ok(Metas::from_iter([Meta::channels_last(adaptive_shape(&inputs[0].shape, self.output)?, dtype)]))
    }

    fn layout(&self) -> LayoutRule {
        LayoutRule::ChannelsLast(Mask::of(&[0]))
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        let (from, to) = (inputs[0].meta().shape.image(), outputs[0].meta().shape.image());
        let adaptive = |input, output| AdaptiveProblem { n: from.0, c: from.1, input, output };
        float!(inputs[0].meta().dtype, T => {
            let (src, dst) = (inputs[0].values::<T>(), outputs[0].values::<T>());
            match self.back {
                None => pool::adaptive_avg_forward(&adaptive(from.2, to.2), src, dst),
                Some(_) => pool::adaptive_avg_backward(&adaptive(to.2, from.2), src, dst),
            }
        });
    }

    fn reach(&self, _which: usize, inputs: &[Shape], output: &Shape) -> Reaches {
        match self.back {
            None => reach::adaptive(&inputs[0], output),
            Some(_) => reach::everything(&inputs[0]),
        }
    }

    fn grad(&self, saved: Saved, mut dy: Grads, _needs: Mask) -> Result<Grads> {
        let back = self.back.is_none().then(|| saved.input_shape(0));
        let op = AdaptiveAvgPool { output: self.output, back };
        Ok(Grads::from_iter([Some(apply(op, [dy[0].take().expect("one output")])?)]))
    }
}

/// The largest value of each adaptive window, with its flat position.
#[derive(Debug, Clone)]
struct AdaptiveMaxPool([usize; 3]);

impl Op for AdaptiveMaxPool {
    fn name(&self) -> &'static str {
        "adaptive_max_pool2d"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        let dtype = expect_float(inputs)?;
        let shape = adaptive_shape(&inputs[0].shape, self.0)?;
        Ok(Metas::from_iter([
            Meta::channels_last(shape.clone(), dtype),
            Meta::channels_last(shape, DType::I64),
        ]))
    }

    fn layout(&self) -> LayoutRule {
        LayoutRule::ChannelsLast(Mask::of(&[0]))
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        let [y, positions] = outputs else { unreachable!("two outputs") };
        let ((n, c, input), (_, _, output)) = (inputs[0].meta().shape.image(), y.meta().shape.image());
        float!(inputs[0].meta().dtype, T => {
            let mut cells = Buffer::new::<u32>(n * c * output.iter().product::<usize>());
            let (src, dst) = (inputs[0].values::<T>(), y.values::<T>());
            let p = AdaptiveProblem { n, c, input, output };
            pool::adaptive_max_forward(&p, src, dst, Some(cells.as_mut_slice::<u32>()));
            for (position, &cell) in positions.values::<i64>().iter_mut().zip(cells.as_slice::<u32>()) {
                *position = i64::from(cell);
            }
        });
    }

    fn reach(&self, _which: usize, inputs: &[Shape], output: &Shape) -> Reaches {
        reach::adaptive(&inputs[0], output)
    }

    fn saves(&self) -> Saves {
        Saves { inputs: Mask::NONE, outputs: Mask::of(&[1]) }
    }

    fn grad(&self, mut saved: Saved, mut dy: Grads, _needs: Mask) -> Result<Grads> {
        let input = saved.input_shape(0);
        let dy = dy[0].take().expect("the maxima have a gradient");
        Ok(Grads::from_iter([Some(apply(AdaptiveMaxPoolGrad(input), [dy, saved.output(1)])?)]))
    }
}

#[derive(Debug)]
struct AdaptiveMaxPoolGrad(Shape);

impl Op for AdaptiveMaxPoolGrad {
    fn name(&self) -> &'static str {
        "adaptive_max_pool2d"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        Ok(Metas::from_iter([Meta::channels_last(self.0.clone(), inputs[0].dtype)]))
    }

    fn layout(&self) -> LayoutRule {
        LayoutRule::ChannelsLast(Mask::of(&[0, 1]))
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        let ((n, c, input), (_, _, output)) = (self.0.image(), inputs[0].meta().shape.image());
        float!(inputs[0].meta().dtype, T => {
            let positions = inputs[1].values::<i64>();
            let mut cells = Buffer::new::<u32>(positions.len());
            for (cell, &position) in cells.as_mut_slice::<u32>().iter_mut().zip(positions) {
                *cell = position as u32;
            }
            let p = AdaptiveProblem { n, c, input, output };
            let dy = inputs[0].values::<T>();
            pool::adaptive_max_backward(&p, dy, cells.as_slice::<u32>(), outputs[0].values::<T>());
        });
    }

    fn reach(&self, which: usize, inputs: &[Shape], _output: &Shape) -> Reaches {
        reach::everything(&inputs[which])
    }

    fn grad(&self, _saved: Saved, _dy: Grads, _needs: Mask) -> Result<Grads> {
        Err(no_second_gradient())
    }
}

fn adaptive_shape(x: &Shape, output: [usize; 3]) -> Result<Shape> {
    let rank = x.len();
    if !(3..=5).contains(&rank) || x[2..].contains(&0) {
        return Err(Error::shape(format!("input {x}"))
            .hint("give (N, C, L), (N, C, H, W) or (N, C, D, H, W) with non-empty spatial axes"));
    }
    if output[5 - rank..].contains(&0) {
        return Err(Error::argument(format!(
            "an output of {:?}: each size must be 1 or more",
            &output[5 - rank..]
        )));
    }
    Ok([x[0], x[1]].into_iter().chain(output[5 - rank..].iter().copied()).collect())
}

impl Tensor {
    /// The largest value of each window of (N, C, …). Padding counts as minus infinity.
    #[track_caller]
    pub fn max_pool(&self, options: &PoolOptions) -> Result<Tensor> {
        apply(MaxPool(options.clone()), [self.clone()])
    }

    /// As [`max_pool`](Self::max_pool), with the flat position of each maximum in its (spatial) input plane, as i64.
    #[track_caller]
    pub fn max_pool_with_indices(&self, options: &PoolOptions) -> Result<(Tensor, Tensor)> {
        let mut outputs = apply_all(MaxPool(options.clone()), [self.clone()])?;
        let (positions, y) = (outputs.swap_remove(1), outputs.swap_remove(0));
        if y.is_shape_only() {
            let indices = Tensor::shape_only(y.shape().clone(), DType::I64);
            return Ok((y, indices));
        }
        let p = options.problem(self.shape(), y.shape());
        let indices = Tensor::from_fn_channels_last(y.shape().clone(), |dst: &mut [i64]| {
            pool::window_to_flat_indices(&p, positions.raw::<u8>(), dst);
        });
        Ok((y, indices))
    }

    /// The mean of each window of (N, C, …). `dilation` is not used.
    #[track_caller]
    pub fn avg_pool(&self, options: &PoolOptions) -> Result<Tensor> {
        apply(
            AvgPool { options: PoolOptions { dilation: [1; 3], ..options.clone() }, back: None },
            [self.clone()],
        )
    }

    /// The mean of windows floor(i in / out) .. ceil((i + 1) in / out); of fewer than three axes the last are used.
    #[track_caller]
    pub fn adaptive_avg_pool(&self, output: [usize; 3]) -> Result<Tensor> {
        apply(AdaptiveAvgPool { output, back: None }, [self.clone()])
    }

    /// The largest value of windows floor(i in / out) .. ceil((i + 1) in / out).
    #[track_caller]
    pub fn adaptive_max_pool(&self, output: [usize; 3]) -> Result<Tensor> {
        apply(AdaptiveMaxPool(output), [self.clone()])
    }
}

#[cfg(test)]
mod tests {
    use super::super::grad_check::{check, normal};
    use super::*;

    fn options(kernel: [usize; 3], stride: [usize; 3], padding: [usize; 3], ceil_mode: bool) -> PoolOptions {
        PoolOptions { stride, padding, ceil_mode, ..PoolOptions::new(kernel) }
    }

    #[test]
    fn poolings_have_the_gradients_of_their_differences() {
        let cases = [
            (vec![2, 3, 9], options([1, 1, 3], [1, 1, 2], [0, 0, 1], false)),
            (vec![2, 3, 7, 6], options([1, 3, 2], [1, 2, 3], [0, 1, 0], true)),
            (vec![1, 2, 4, 5, 6], PoolOptions::new([2, 2, 3])),
        ];
        for (shape, options) in cases {
            check(&[normal(shape.clone(), 1)], |x| x[0].max_pool(&options));
            check(&[normal(shape.clone(), 1)], |x| x[0].avg_pool(&options));
            let excluded = PoolOptions { count_include_pad: false, ..options };
            check(&[normal(shape.clone(), 1)], |x| x[0].avg_pool(&excluded));
            check(&[normal(shape.clone(), 1)], |x| x[0].adaptive_avg_pool([2, 3, 4]));
            check(&[normal(shape, 1)], |x| x[0].adaptive_max_pool([2, 3, 4]));
        }
        check(&[normal([2, 3, 5, 4], 1)], |x| x[0].adaptive_avg_pool([1, 1, 1]));
    }

    #[test]
    fn the_last_window_of_ceil_mode_does_not_begin_in_the_padding() {
        let x = Tensor::zeros([1, 1, 1, 5], DType::F32).unwrap();
        let wide = options([1, 1, 2], [1, 1, 2], [0, 0, 1], true);
        assert_eq!(**x.max_pool(&wide).unwrap().shape(), [1, 1, 1, 3]);
    }

    #[test]
    fn padding_never_wins_over_negative_values() {
        let x = Tensor::full([1, 2, 3, 3], -5.0, DType::F32).unwrap();
        let y = x.max_pool(&options([1, 3, 3], [1, 1, 1], [0, 1, 1], false)).unwrap();
        assert_eq!(y.to_vec::<f32>().unwrap(), vec![-5.0; 18]);
    }
}
