//! The convolution.

use rasgo_kernels::{Epilogue, conv};

use super::super::linear::ColumnSums;
use super::super::{AXES, Activation, expect_maps_and_channels, expect_sizes, expect_window, stored, unary};
use super::grad_weight::GradWeight;
use super::transposed::Transposed;
use super::{ConvOptions, conv_name, expect_bias, expect_cells, expect_ranks, problem, window};
use crate::error::{Error, Result};
use crate::meta::{DType, Meta, Shape};
use crate::op::{Bf16Rule, Grads, Input, LayoutRule, Mask, Metas, Op, Output, Saved, Saves, apply};
use crate::reach::{self, Reach, Reaches};
use crate::tensor::Tensor;

/// y from x, w and, where given, the bias and the shortcut.
#[derive(Debug, Clone)]
pub(super) struct Conv {
    pub(super) name: &'static str,
    pub(super) options: ConvOptions,
    /// The shape of y where it is known, since this is a gradient: the formula would not always give it.
    pub(super) output: Option<Shape>,
    pub(super) after: After,
}

/// Which inputs there are after x and w, and in this order.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct After {
    pub(super) bias: bool,
    /// A map of the shape of y that is added to it.
    pub(super) shortcut: bool,
}

impl After {
    fn bias_at(self) -> Option<usize> {
        self.bias.then_some(2)
    }

    fn shortcut_at(self) -> Option<usize> {
        self.shortcut.then_some(2 + usize::from(self.bias))
    }
}

/// Checks x (N, C, …) against w (O, C / groups, …) and gives the shape of y.
fn output_shape(options: &ConvOptions, x: &Shape, weight: &Shape) -> Result<Shape> {
    expect_ranks(x, weight)?;
    let rank = x.len();
    let ConvOptions { stride, padding, dilation, groups, .. } = options;
    let (_, ic, input) = x.image();
    let (oc, per_group, kernel) = weight.image();
    if *groups == 0 || !ic.is_multiple_of(*groups) || !oc.is_multiple_of(*groups) {
        return Err(Error::argument(format!(
            "groups {groups} must divide the {ic} input channels and the {oc} output channels"
        ))
        .hint("give groups that divide both, or another number of channels"));
    }
    if ic / groups != per_group {
        return Err(Error::shape(format!(
            "input {x} has {ic} channels, weight {weight} wants {per_group} * {groups} groups = {}",
            per_group.saturating_mul(*groups)
        ))
        .hint(format!("make the layer Conv{}d({ic}, {oc}, …)", rank - 2)));
    }
    let mut output = [1; 3];
    for axis in 5 - rank..3 {
        let (kernel, size) = (kernel[axis], input[axis]);
        expect_window(AXES[axis], kernel, stride[axis], dilation[axis])?;
        let (before, after) = padding[axis];
        expect_sizes(AXES[axis], &[size, kernel, stride[axis], dilation[axis], before, after])?;
        expect_cells(x, axis, size)?;
        let span = dilation[axis] * (kernel - 1) + 1;
        let padded = size + before + after;
        if padded < span {
            return Err(Error::shape(format!(
                "the kernel spans {span} = {} * ({kernel} - 1) + 1 along {}, the padded input only {padded} = {size} + {before} + {after}",
                dilation[axis], AXES[axis]
            ))
            .hint(format!("padding of {} would do, or a smaller kernel", span.saturating_sub(size).div_ceil(2))));
        }
        output[axis] = (padded - span) / stride[axis] + 1;
    }
    Ok([x[0], oc].into_iter().chain(output[5 - rank..].iter().copied()).collect())
}

impl Conv {
    /// The inputs that are maps.
    fn maps(&self) -> Mask {
        match self.after.shortcut_at() {
            Some(at) => Mask::of(&[0, at]),
            None => Mask::of(&[0]),
        }
    }
}

impl Op for Conv {
    fn name(&self) -> &'static str {
        self.name
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        let dtype = expect_maps_and_channels(inputs, self.maps())?;
        let shape = match &self.output {
            Some(shape) => shape.clone(),
            None => output_shape(&self.options, &inputs[0].shape, &inputs[1].shape)?,
        };
        expect_bias(self.after.bias_at().map(|at| &inputs[at]), shape[1])?;
        if let Some(shortcut) = self.after.shortcut_at().map(|at| &inputs[at].shape)
            && *shortcut != shape
        {
            return Err(Error::shape(format!(
                "shortcut {shortcut} for an output of {shape}: they must be the same"
            ))
            .hint("bring it to that shape before, as by a 1x1 convolution"));
        }
        Ok(Metas::from_iter([Meta::channels_last(shape, dtype)]))
    }

    fn layout(&self) -> LayoutRule {
        LayoutRule::ChannelsLast(self.maps())
    }

    fn bf16(&self) -> Bf16Rule {
        Bf16Rule::Inside(self.maps())
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        let (x, w, y) = (&inputs[0].meta().shape, &inputs[1].meta().shape, &outputs[0].meta().shape);
        let p = problem(&self.options, x, w, y);
        stored!(inputs[0].meta().dtype, S => {
            let bias = self.after.bias_at().map(|at| inputs[at].values());
            let add = self.after.shortcut_at().map(|at| inputs[at].values::<S>());
            let epilogue = Epilogue { bias, add, activation: self.options.activation };
            let (x, w) = (inputs[0].values::<S>(), inputs[1].values());
            // Of bfloat16 nothing reads weights that are packed for f32.
            let packed = match inputs[0].meta().dtype {
                DType::Bf16 => None,
                _ => inputs[1].packed(|w| conv::pack_weight(&p, w)),
            };
            conv::forward(&p, x, w, packed, epilogue, outputs[0].values::<S>());
        });
    }

    fn reach(&self, which: usize, inputs: &[Shape], output: &Shape) -> Reaches {
        match which {
            0 => reach::of_axes(&inputs[0], |axis| Reach::Window(window(&self.options, &inputs[1], axis))),
            _ if Some(which) == self.after.shortcut_at() => reach::by_shape(&inputs[which], output),
            _ => reach::everything(&inputs[which]),
        }
    }

    fn saves(&self) -> Saves {
        // y tells where its activation has a slope.
        let outputs = if self.options.activation == Activation::None { Mask::NONE } else { Mask::of(&[0]) };
        Saves { inputs: Mask::of(&[0, 1]), outputs }
    }

    fn grad(&self, mut saved: Saved, mut dy: Grads, needs: Mask) -> Result<Grads> {
        let dy = dy[0].take().expect("one output");
        let dy = unary::activation_grad(self.options.activation, || saved.output(0), dy)?;
        let (name, options) =
            (self.name, ConvOptions { activation: Activation::None, ..self.options.clone() });
        let (x, w) = (saved.input(0), saved.input(1));
        let dw = needs.has(1).then(|| {
            let op = GradWeight { name, options: options.clone(), weight: w.shape().clone() };
            apply(op, [x.clone(), dy.clone()])
        });
        let db = self
            .after
            .bias_at()
            .filter(|&at| needs.has(at))
            .map(|_| apply(ColumnSums(dy.dtype()), [dy.clone()]));
        let ds = self.after.shortcut_at().filter(|&at| needs.has(at)).map(|_| dy.clone());
        let dx = needs.has(0).then(|| apply(Transposed::to(name, options, x.shape()), [dy, w]));
        let mut grads = Grads::from_iter([dx.transpose()?, dw.transpose()?]);
        grads.extend(self.after.bias.then_some(db.transpose()?));
        grads.extend(self.after.shortcut.then_some(ds));
        Ok(grads)
    }

    fn multiply_adds(&self, inputs: &[Meta], outputs: &[Meta]) -> u64 {
        let taps: usize = inputs[1].shape[1..].iter().product();
        (outputs[0].shape.elements() as u64).saturating_mul(taps as u64)
    }
}

impl Tensor {
    /// Convolution of (N, C, …) with a weight of (O, C / groups, …) and a bias of (O); see the module for the formula.
    /// One spatial axis is conv1d, two are conv2d, three conv3d.
    ///
    /// ```
    /// # use rasgo_core::{Tensor, ops::ConvOptions};
    /// let x = Tensor::ones([1, 1, 6, 6], rasgo_core::DType::F32)?;
    /// let w = Tensor::ones([2, 1, 3, 3], rasgo_core::DType::F32)?;
    /// let y = x.conv(&w, None, &ConvOptions::default())?;
    /// assert_eq!(**y.shape(), [1, 2, 4, 4]);
    /// # Ok::<(), rasgo_core::Error>(())
    /// ```
    #[track_caller]
    pub fn conv(&self, weight: &Tensor, bias: Option<&Tensor>, options: &ConvOptions) -> Result<Tensor> {
        self.convolve(weight, bias, None, options)
    }

    /// `act(conv(x) + bias + shortcut)` in one pass, for a shortcut of the result's shape: the end of a residual block.
    ///
    /// ```
    /// # use rasgo_core::{Tensor, ops::{Activation, ConvOptions}};
    /// let x = Tensor::from_vec(vec![1.0f32, -5.0], [1, 1, 2])?;
    /// let w = Tensor::from_vec(vec![2.0f32], [1, 1, 1])?;
    /// let options = ConvOptions { activation: Activation::Relu, ..ConvOptions::default() };
    /// assert_eq!(x.conv_add(&w, None, &x, &options)?.to_vec::<f32>()?, [3.0, 0.0]);
    /// # Ok::<(), rasgo_core::Error>(())
    /// ```
    #[track_caller]
    pub fn conv_add(
        &self,
        weight: &Tensor,
        bias: Option<&Tensor>,
        shortcut: &Tensor,
        options: &ConvOptions,
    ) -> Result<Tensor> {
        self.convolve(weight, bias, Some(shortcut), options)
    }

    #[track_caller]
    fn convolve(
        &self,
        weight: &Tensor,
        bias: Option<&Tensor>,
        shortcut: Option<&Tensor>,
        options: &ConvOptions,
    ) -> Result<Tensor> {
        let name = conv_name(self.shape().len().wrapping_sub(2));
        let after = After { bias: bias.is_some(), shortcut: shortcut.is_some() };
        let op = Conv { name, options: options.clone(), output: None, after };
        apply(op, [Some(self), Some(weight), bias, shortcut].into_iter().flatten().cloned())
    }
}
