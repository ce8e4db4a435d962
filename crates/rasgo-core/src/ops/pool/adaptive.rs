//! Poolings to a given size: window i of an axis is floor(i in / out) .. ceil((i + 1) in / out).

use rasgo_kernels::pool::{self, AdaptiveProblem};

use super::plane::PlaneScatter;
use super::{expect_maps, name_of, with_spatial};
use crate::error::Result;
use crate::meta::{DType, Meta, Shape};
use crate::op::{
    Bf16Rule, Grads, Input, LayoutRule, Mask, Metas, Op, Output, Saved, Saves, apply, apply_all,
};
use crate::ops::{AXES, expect_maps_and_channels, expect_sizes, stored};
use crate::reach::{self, Reaches};
use crate::tensor::Tensor;

const AVG_NAMES: [&str; 3] = ["adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d"];
const MAX_NAMES: [&str; 3] = ["adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d"];

/// The shape that comes out; `None` keeps an axis. A size of 0 is legal, and the gradient of such an output zero.
fn output_shape(x: &Shape, output: [Option<usize>; 3]) -> Result<Shape> {
    expect_maps(x)?;
    let (_, _, input) = x.image();
    let sizes = [0, 1, 2].map(|axis| output[axis].unwrap_or(input[axis]));
    for axis in 5 - x.len()..3 {
        expect_sizes(AXES[axis], &[input[axis], sizes[axis]])?;
    }
    Ok(with_spatial(x, sizes))
}

/// The mean of each window, or with `back` the gradient of that.
#[derive(Debug, Clone)]
struct AdaptiveAvgPool {
    output: [Option<usize>; 3],
    name: &'static str,
    back: Option<Shape>,
}

impl Op for AdaptiveAvgPool {
    fn name(&self) -> &'static str {
        self.name
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        let dtype = expect_maps_and_channels(inputs, Mask::of(&[0]))?;
        if let Some(shape) = &self.back {
            return Ok(Metas::from_iter([Meta::channels_last(shape.clone(), dtype)]));
        }
        Ok(Metas::from_iter([Meta::channels_last(output_shape(&inputs[0].shape, self.output)?, dtype)]))
    }

    fn layout(&self) -> LayoutRule {
        LayoutRule::ChannelsLast(Mask::of(&[0]))
    }

    fn bf16(&self) -> Bf16Rule {
        Bf16Rule::Inside(Mask::of(&[0]))
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        let (from, to) = (inputs[0].meta().shape.image(), outputs[0].meta().shape.image());
        let adaptive = |input, output| AdaptiveProblem { n: from.0, c: from.1, input, output };
        stored!(inputs[0].meta().dtype, S => {
            let (src, dst) = (inputs[0].values::<S>(), outputs[0].values::<S>());
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
        // The gradient's gradient goes to the very sizes that came out.
        let output = match self.back {
            None => self.output,
            Some(_) => saved.input_shape(0).image().2.map(Some),
        };
        let op = AdaptiveAvgPool { output, name: self.name, back };
        Ok(Grads::from_iter([Some(apply(op, [dy[0].take().expect("one output")])?)]))
    }
}

/// The largest value of each window, with its flat position.
#[derive(Debug, Clone)]
struct AdaptiveMaxPool {
    output: [Option<usize>; 3],
    name: &'static str,
}

impl Op for AdaptiveMaxPool {
    fn name(&self) -> &'static str {
        self.name
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        let dtype = expect_maps_and_channels(inputs, Mask::of(&[0]))?;
        let shape = output_shape(&inputs[0].shape, self.output)?;
        Ok(Metas::from_iter([
            Meta::channels_last(shape.clone(), dtype),
            Meta::channels_last(shape, DType::I64),
        ]))
    }

    fn layout(&self) -> LayoutRule {
        LayoutRule::ChannelsLast(Mask::of(&[0]))
    }

    fn bf16(&self) -> Bf16Rule {
        Bf16Rule::Inside(Mask::of(&[0]))
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        let [y, indices] = outputs else { unreachable!("two outputs") };
        let ((n, c, input), (_, _, output)) = (inputs[0].meta().shape.image(), y.meta().shape.image());
        let p = AdaptiveProblem { n, c, input, output };
        stored!(inputs[0].meta().dtype, S => {
            pool::adaptive_max_forward(&p, inputs[0].values::<S>(), y.values::<S>(), indices.values::<i64>());
        });
    }

    fn reach(&self, _which: usize, inputs: &[Shape], output: &Shape) -> Reaches {
        reach::adaptive(&inputs[0], output)
    }

    fn saves(&self) -> Saves {
        Saves { inputs: Mask::NONE, outputs: Mask::of(&[1]) }
    }

    fn grad(&self, mut saved: Saved, mut dy: Grads, _needs: Mask) -> Result<Grads> {
        let op = PlaneScatter { name: self.name, plane: saved.input_shape(0) };
        let dy = dy[0].take().expect("the maxima have a gradient");
        Ok(Grads::from_iter([Some(apply(op, [dy, saved.output(1)])?)]))
    }
}

impl Tensor {
    /// The mean of windows floor(i in / out) .. ceil((i + 1) in / out), to that size whatever the input's; `None`
    /// keeps an axis, and the size may be larger than the input's. Of fewer than three axes the last are used.
    ///
    /// ```
    /// # use rasgo_core::{DType, Tensor};
    /// let x = Tensor::ones([2, 3, 7, 5], DType::F32)?;
    /// assert_eq!(**x.adaptive_avg_pool([1, 1, 1])?.shape(), [2, 3, 1, 1]);
    /// assert_eq!(**x.adaptive_avg_pool([None, None, Some(8)])?.shape(), [2, 3, 7, 8]);
    /// # Ok::<(), rasgo_core::Error>(())
    /// ```
    #[track_caller]
    pub fn adaptive_avg_pool<S: Into<Option<usize>>>(&self, output: [S; 3]) -> Result<Tensor> {
        let name = name_of(AVG_NAMES, self.shape());
        apply(AdaptiveAvgPool { output: output.map(Into::into), name, back: None }, [self.clone()])
    }

    /// The largest value of windows floor(i in / out) .. ceil((i + 1) in / out); see
    /// [`adaptive_avg_pool`](Self::adaptive_avg_pool) for the sizes.
    #[track_caller]
    pub fn adaptive_max_pool<S: Into<Option<usize>>>(&self, output: [S; 3]) -> Result<Tensor> {
        Ok(self.adaptive_max_pool_with_indices(output)?.0)
    }

    /// As [`adaptive_max_pool`](Self::adaptive_max_pool), with the flat position of each maximum in its (spatial) input
    /// plane, as i64.
    #[track_caller]
    pub fn adaptive_max_pool_with_indices<S: Into<Option<usize>>>(
        &self,
        output: [S; 3],
    ) -> Result<(Tensor, Tensor)> {
        let op = AdaptiveMaxPool { output: output.map(Into::into), name: name_of(MAX_NAMES, self.shape()) };
        let mut outputs = apply_all(op, [self.clone()])?;
        let (indices, y) = (outputs.swap_remove(1), outputs.swap_remove(0));
        Ok((y, indices))
    }
}
