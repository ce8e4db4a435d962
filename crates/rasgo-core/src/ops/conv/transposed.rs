//! Transposed convolution: the gradient of a convolution to its input, as an operation of its own.

use rasgo_kernels::conv;

use super::super::linear::ColumnSums;
use super::super::{AXES, Activation, expect_maps_and_channels, expect_sizes, expect_window, stored};
use super::forward::{After, Conv};
use super::grad_weight::GradWeight;
use super::{
    ConvOptions, ConvTransposeOptions, expect_bias, expect_cells, expect_ranks, problem, transposed_name,
    window,
};
use crate::error::{Error, Result};
use crate::meta::{Meta, Shape};
use crate::op::{Bf16Rule, Grads, Input, LayoutRule, Mask, Metas, Op, Output, Saved, Saves, apply};
use crate::reach::{self, Reach, Reaches};
use crate::tensor::Tensor;

/// The result from x, w and, where given, b: every tap sends its share of a pixel to where a convolution would read it.
#[derive(Debug, Clone)]
pub(super) struct Transposed {
    name: &'static str,
    /// Of the convolution that this transposes.
    options: ConvOptions,
    size: Size,
}

/// How the shape of the result is found.
#[derive(Debug, Clone)]
enum Size {
    /// It is known: this is the gradient of a convolution.
    Shape(Shape),
    /// Cells are added at the end of each axis.
    Padding([usize; 3]),
    /// It is asked for.
    Wanted([usize; 3]),
}

impl Transposed {
    /// The gradient of a convolution to its input of that shape.
    pub(super) fn to(name: &'static str, options: ConvOptions, input: &Shape) -> Self {
        Transposed { name, options, size: Size::Shape(input.clone()) }
    }

    /// The shape of the result along one axis: its smallest size and what comes on top.
    fn output_size(&self, x: &Shape, axis: usize, size: usize, kernel: usize) -> Result<usize> {
        let ConvOptions { stride, padding, dilation, .. } = &self.options;
        let (stride, dilation, padding) = (stride[axis], dilation[axis], padding[axis].0);
        expect_window(AXES[axis], kernel, stride, dilation)?;
        expect_sizes(AXES[axis], &[size, kernel, stride, dilation, padding])?;
        expect_cells(x, axis, size)?;
        let wide = |size: usize| size as i128;
        let smallest =
            (wide(size) - 1) * wide(stride) - 2 * wide(padding) + wide(dilation) * (wide(kernel) - 1) + 1;
        let arithmetic =
            format!("({size} - 1) * {stride} - 2 * {padding} + {dilation} * ({kernel} - 1) + 1 = {smallest}");
        let more = match &self.size {
            Size::Shape(_) => 0,
            Size::Padding(more) if more[axis] >= stride.max(dilation) => {
                return Err(Error::argument(format!(
                    "output_padding {} along {} is neither below the stride {stride} nor below the dilation {dilation}",
                    more[axis], AXES[axis]
                ))
                .hint("it tells apart the sizes that one stride joins; use more stride, or pad the result"));
            }
            Size::Padding(more) => wide(more[axis]),
            Size::Wanted(sizes) => {
                let most = smallest + wide(stride) - 1;
                let more = wide(sizes[axis]) - smallest;
                if !(0..wide(stride)).contains(&more) {
                    return Err(Error::argument(format!(
                        "output_size {} along {}: {arithmetic} to {most} can be",
                        sizes[axis], AXES[axis]
                    ))
                    .hint(format!("give {smallest} to {most}, or another stride or padding")));
                }
                more
            }
        };
        // As with an input of nothing, an empty batch may have an empty result.
        let least = if x[0] == 0 { 0 } else { 1 };
        match usize::try_from(smallest + more) {
            Ok(size) if size >= least => Ok(size),
            _ => Err(Error::shape(format!(
                "padding leaves nothing along {}: {arithmetic} + {more}",
                AXES[axis]
            ))
            .hint("use less padding, or more output_padding")),
        }
    }

    /// Checks x (N, C, …) against w (C, O / groups, …) and gives the shape of the result.
    fn output_shape(&self, x: &Shape, weight: &Shape) -> Result<Shape> {
        if let Size::Shape(shape) = &self.size {
            return Ok(shape.clone());
        }
        expect_ranks(x, weight)?;
        let groups = self.options.groups;
        let (_, ic, input) = x.image();
        let (wanted, per_group, kernel) = weight.image();
        if groups == 0 || !wanted.is_multiple_of(groups) {
            return Err(Error::argument(format!(
                "groups {groups} must divide the {wanted} input channels of weight {weight}"
            ))
            .hint(
                "give groups that divide them; a weight of a transposed convolution is (in, out / groups, …)",
            ));
        }
        let Some(oc) = per_group.checked_mul(groups) else {
            return Err(Error::argument(format!("{groups} groups of {per_group} output channels")));
        };
        if ic != wanted {
            return Err(Error::shape(format!("input {x} has {ic} channels, weight {weight} wants {wanted}"))
                .hint(format!("make the layer ConvTranspose{}d({ic}, {oc}, …)", x.len() - 2)));
        }
        let mut shape = vec![x[0], oc];
        for axis in 5 - x.len()..3 {
            shape.push(self.output_size(x, axis, input[axis], kernel[axis])?);
        }
        Ok(shape.into())
    }
}

impl Op for Transposed {
    fn name(&self) -> &'static str {
        self.name
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        let dtype = expect_maps_and_channels(inputs, Mask::of(&[0]))?;
        let shape = self.output_shape(&inputs[0].shape, &inputs[1].shape)?;
        expect_bias(inputs.get(2), shape[1])?;
        Ok(Metas::from_iter([Meta::channels_last(shape, dtype)]))
    }

    fn layout(&self) -> LayoutRule {
        LayoutRule::ChannelsLast(Mask::of(&[0]))
    }

    fn bf16(&self) -> Bf16Rule {
        Bf16Rule::Inside(Mask::of(&[0]))
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        let (x, w, y) = (&inputs[0].meta().shape, &inputs[1].meta().shape, &outputs[0].meta().shape);
        let p = problem(&self.options, y, w, x);
        stored!(inputs[0].meta().dtype, S => {
            let bias = inputs.get(2).map(|bias| bias.values());
            conv::grad_input(&p, inputs[0].values::<S>(), inputs[1].values(), bias, outputs[0].values::<S>());
        });
    }

    fn reach(&self, which: usize, inputs: &[Shape], _output: &Shape) -> Reaches {
        match which {
            0 => {
                reach::of_axes(&inputs[0], |axis| Reach::Transposed(window(&self.options, &inputs[1], axis)))
            }
            _ => reach::everything(&inputs[which]),
        }
    }

    fn saves(&self) -> Saves {
        Saves { inputs: Mask::of(&[0, 1]), outputs: Mask::NONE }
    }

    fn grad(&self, mut saved: Saved, mut dy: Grads, needs: Mask) -> Result<Grads> {
        let dy = dy[0].take().expect("one output");
        let (x, w) = (saved.input(0), saved.input(1));
        let (name, options) = (self.name, self.options.clone());
        let dw = needs.has(1).then(|| {
            let op = GradWeight { name, options: options.clone(), weight: w.shape().clone() };
            apply(op, [dy.clone(), x.clone()])
        });
        let db = needs.has(2).then(|| apply(ColumnSums(dy.dtype()), [dy.clone()]));
        let dx = needs.has(0).then(|| {
            let op = Conv { name, options, output: Some(x.shape().clone()), after: After::default() };
            apply(op, [dy.clone(), w.clone()])
        });
        Ok(Grads::from_iter([dx.transpose()?, dw.transpose()?, db.transpose()?]))
    }

    fn multiply_adds(&self, inputs: &[Meta], _outputs: &[Meta]) -> u64 {
        let taps: usize = inputs[1].shape[1..].iter().product();
        (inputs[0].shape.elements() as u64).saturating_mul(taps as u64)
    }
}

impl Tensor {
    /// Transposed convolution of (N, C, …) with a weight of (C, O / groups, …) and a bias of (O), as
    /// `torch.nn.functional.conv_transpose1d`, `2d`, `3d`: what the gradient of a convolution with that weight makes of
    /// its output.
    ///
    /// ```text
    /// y[n, o, p * stride - padding + t * dilation] += x[n, c, p] * w[c, o, t]     (and b[o] once)
    /// out = (in - 1) * stride - 2 * padding + dilation * (kernel - 1) + 1 + output_padding
    /// ```
    ///
    /// ```
    /// # use rasgo_core::{Tensor, ops::ConvTransposeOptions};
    /// let x = Tensor::ones([1, 1, 2, 3], rasgo_core::DType::F32)?;
    /// let w = Tensor::ones([1, 2, 2, 2], rasgo_core::DType::F32)?;
    /// let options = ConvTransposeOptions { stride: [2; 3], ..ConvTransposeOptions::default() };
    /// let y = x.conv_transpose(&w, None, &options)?;
    /// assert_eq!(**y.shape(), [1, 2, 4, 6]);
    /// # Ok::<(), rasgo_core::Error>(())
    /// ```
    #[track_caller]
    pub fn conv_transpose(
        &self,
        weight: &Tensor,
        bias: Option<&Tensor>,
        options: &ConvTransposeOptions,
    ) -> Result<Tensor> {
        let ConvTransposeOptions { stride, padding, output_padding, dilation, groups, output_size } =
            options.clone();
        let padding = padding.map(|both| (both, both));
        let op = Transposed {
            name: transposed_name(self.shape().len().wrapping_sub(2)),
            options: ConvOptions { stride, padding, dilation, groups, activation: Activation::None },
            size: output_size.map_or(Size::Padding(output_padding), Size::Wanted),
        };
        apply(op, [Some(self), Some(weight), bias].into_iter().flatten().cloned())
    }
}
