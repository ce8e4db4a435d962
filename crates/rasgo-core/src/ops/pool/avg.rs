//! The mean of each window.

use rasgo_kernels::pool::{self, AvgOptions};

use super::{MaxPoolOptions, name_of};
use crate::error::{Error, Result};
use crate::meta::{Meta, Shape};
use crate::op::{Bf16Rule, Grads, Input, LayoutRule, Mask, Metas, Op, Output, Saved, apply};
use crate::ops::{AXES, expect_maps_and_channels, stored};
use crate::reach::{self, Reach, Reaches};
use crate::tensor::Tensor;

const NAMES: [&str; 3] = ["avg_pool1d", "avg_pool2d", "avg_pool3d"];

/// The attributes of an average pooling; of fewer than three spatial axes the last are used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AvgPoolOptions {
    /// Cells of the window.
    pub kernel: [usize; 3],
    /// Step of the window.
    pub stride: [usize; 3],
    /// Zeros added on both sides, at most half the kernel.
    pub padding: [usize; 3],
    /// Whether a last, incomplete window counts. Its cells beyond the padding never count in the divisor.
    pub ceil_mode: bool,
    /// Whether padding counts in the divisor.
    pub count_include_pad: bool,
    /// What each sum is divided by, instead of the number of its cells; not in one dimension.
    pub divisor_override: Option<i64>,
}

impl AvgPoolOptions {
    /// Windows of that size side by side.
    pub fn new(kernel: [usize; 3]) -> Self {
        AvgPoolOptions {
            kernel,
            stride: kernel,
            padding: [0; 3],
            ceil_mode: false,
            count_include_pad: true,
            divisor_override: None,
        }
    }

    /// The windows are those of a max pooling without dilation.
    fn windows(&self) -> MaxPoolOptions {
        let AvgPoolOptions { kernel, stride, padding, ceil_mode, .. } = *self;
        MaxPoolOptions { kernel, stride, padding, dilation: [1; 3], ceil_mode }
    }
}

/// The mean of each window, and with `back` the gradient of that: both are linear, and each other's gradient.
#[derive(Debug, Clone)]
struct AvgPool {
    options: AvgPoolOptions,
    name: &'static str,
    /// `None` forward; the shape of x backward.
    back: Option<Shape>,
}

impl Op for AvgPool {
    fn name(&self) -> &'static str {
        self.name
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        let dtype = expect_maps_and_channels(inputs, Mask::of(&[0]))?;
        if let Some(shape) = &self.back {
            return Ok(Metas::from_iter([Meta::channels_last(shape.clone(), dtype)]));
        }
        let x = &inputs[0].shape;
        let shape = self.options.windows().output_shape(x)?;
        // So PyTorch has it in three dimensions, whatever the padding.
        if let [_, _, sizes @ ..] = &x[..]
            && sizes.len() == 3
            && let Some(axis) = (0..3).find(|&axis| sizes[axis] < self.options.kernel[axis])
        {
            let (size, kernel) = (sizes[axis], self.options.kernel[axis]);
            return Err(Error::shape(format!("kernel {kernel} along {} of {size}: input {x}", AXES[axis]))
                .hint("in three dimensions the window must fit without padding"));
        }
        match self.options.divisor_override {
            Some(0) => Err(Error::argument("divisor_override 0").hint("give another number, or none")),
            Some(divisor) if shape.len() == 3 => {
                Err(Error::argument(format!("divisor_override {divisor} in one dimension"))
                    .hint("use two dimensions with a height of 1, or scale the mean"))
            }
            _ => Ok(Metas::from_iter([Meta::channels_last(shape, dtype)])),
        }
    }

    fn layout(&self) -> LayoutRule {
        LayoutRule::ChannelsLast(Mask::of(&[0]))
    }

    fn bf16(&self) -> Bf16Rule {
        Bf16Rule::Inside(Mask::of(&[0]))
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        let AvgPoolOptions { count_include_pad, divisor_override, .. } = self.options;
        let (options, windows) = (AvgOptions { count_include_pad, divisor_override }, self.options.windows());
        let (from, to) = (&inputs[0].meta().shape, outputs[0].meta().shape.clone());
        stored!(inputs[0].meta().dtype, S => {
            let (src, dst) = (inputs[0].values::<S>(), outputs[0].values::<S>());
            match self.back {
                None => pool::avg_forward(&windows.problem(from, &to), options, src, dst),
                Some(_) => pool::avg_backward(&windows.problem(&to, from), options, src, dst),
            }
        });
    }

    fn reach(&self, _which: usize, inputs: &[Shape], _output: &Shape) -> Reaches {
        let windows = self.options.windows();
        reach::of_axes(&inputs[0], |axis| match self.back {
            None => Reach::Window(windows.window(axis)),
            Some(_) => Reach::Transposed(windows.window(axis)),
        })
    }

    fn grad(&self, saved: Saved, mut dy: Grads, _needs: Mask) -> Result<Grads> {
        let dy = dy[0].take().expect("one output");
        let back = self.back.is_none().then(|| saved.input_shape(0));
        Ok(Grads::from_iter([Some(apply(AvgPool { back, ..self.clone() }, [dy])?)]))
    }
}

impl Tensor {
    /// The mean of each window of (N, C, …): `avg_pool1d`, `2d`, `3d` by the number of spatial axes.
    ///
    /// ```
    /// # use rasgo_core::{Tensor, ops::AvgPoolOptions};
    /// let x = Tensor::arange(0.0, 16.0, 1.0)?.reshape([1, 1, 4, 4])?;
    /// let y = x.avg_pool(&AvgPoolOptions::new([1, 2, 2]))?;
    /// assert_eq!(y.to_vec::<f32>()?, [2.5, 4.5, 10.5, 12.5]);
    /// # Ok::<(), rasgo_core::Error>(())
    /// ```
    #[track_caller]
    pub fn avg_pool(&self, options: &AvgPoolOptions) -> Result<Tensor> {
        let name = name_of(NAMES, self.shape());
        apply(AvgPool { options: options.clone(), name, back: None }, [self.clone()])
    }
}
