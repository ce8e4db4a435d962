//! Convolution (cross-correlation) in 1, 2 and 3 dimensions, with both of its gradients.
//!
//! ```text
//! y[n, o, p] = b[o] + sum over c, t of x[n, c, p * stride - padding + t * dilation] * w[o, c, t]
//! out = floor((in + padding before and after - dilation * (kernel - 1) - 1) / stride) + 1
//! ```
//!
//! Convolution is linear in x and in w, so its gradients are linear maps of the same family, and their gradients are
//! again members of it: the three ops below close under differentiation.

use rasgo_kernels::conv::{self, ConvProblem};

use super::linear::ColumnSums;
use super::{expect_float, expect_sizes, float};
use crate::error::{Error, Result};
use crate::meta::{Meta, Shape};
use crate::op::{Grads, Input, LayoutRule, Mask, Metas, Op, Output, Saved, Saves, apply};
use crate::reach::{self, Reach, Reaches, Window};
use crate::tensor::Tensor;

/// The attributes of a convolution, one for each spatial axis; of fewer than three axes the last are used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConvOptions {
    /// Step of the window.
    pub stride: [usize; 3],
    /// Zeros before and after each axis.
    pub padding: [(usize, usize); 3],
    /// Distance of the kernel's cells.
    pub dilation: [usize; 3],
    /// Groups of channels that do not see each other.
    pub groups: usize,
    /// Whether max(y, 0) follows, in the same pass.
    pub relu: bool,
}

impl Default for ConvOptions {
    fn default() -> Self {
        ConvOptions { stride: [1; 3], padding: [(0, 0); 3], dilation: [1; 3], groups: 1, relu: false }
    }
}

const NAMES: [&str; 3] = ["conv1d", "conv2d", "conv3d"];
const AXES: [&str; 3] = ["depth", "height", "width"];

/// Rank-4 shapes as kernels see them: batch, channels, three spatial axes.
fn problem(options: &ConvOptions, x: &Shape, weight: &Shape, y: &Shape) -> ConvProblem {
    let (n, ic, input) = x.image();
    let (_, oc, output) = y.image();
    let (_, _, kernel) = weight.image();
    let ConvOptions { mut stride, padding, mut dilation, groups, .. } = *options;
    let mut padding = padding.map(|(before, _)| before);
    // Axes that the tensor does not have are single cells, whatever the options say of them.
    let missing = ..5 - x.len();
    stride[missing].fill(1);
    padding[missing].fill(0);
    dilation[missing].fill(1);
    ConvProblem { n, ic, oc, groups, input, output, kernel, stride, padding, dilation }
}

/// The window along one of three axes.
fn window(options: &ConvOptions, weight: &Shape, axis: usize) -> Window {
    let (_, _, kernel) = weight.image();
    let padding = options.padding[axis].0 as isize;
    Window { kernel: kernel[axis], stride: options.stride[axis], padding, dilation: options.dilation[axis] }
}

/// Checks x (N, C, …) against w (O, C / groups, …) and gives the shape of y.
fn output_shape(options: &ConvOptions, x: &Shape, weight: &Shape) -> Result<Shape> {
    let rank = x.len();
    if !(3..=5).contains(&rank) {
        return Err(Error::shape(format!("input {x} has {rank} axes"))
            .hint("give (N, C, L), (N, C, H, W) or (N, C, D, H, W); add the batch axis with .reshape"));
    }
    if weight.len() != rank {
        return Err(Error::shape(format!("input {x} has {rank} axes, weight {weight} has {}", weight.len())));
    }
    let ConvOptions { stride, padding, dilation, groups, .. } = options;
    let (_, ic, input) = x.image();
    let (oc, per_group, kernel) = weight.image();
    if *groups == 0 || !ic.is_multiple_of(*groups) || !oc.is_multiple_of(*groups) {
        return Err(Error::argument(format!(
            "groups {groups} must divide the {ic} input channels and the {oc} output channels"
        )));
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
        if kernel == 0 || stride[axis] == 0 || dilation[axis] == 0 {
            return Err(Error::argument(format!(
                "kernel {kernel}, stride {} and dilation {} must be 1 or more",
                stride[axis], dilation[axis]
            )));
        }
        let (before, after) = padding[axis];
        expect_sizes(AXES[axis], &[size, kernel, stride[axis], dilation[axis], before, after])?;
        let span = dilation[axis] * (kernel - 1) + 1;
        let padded = size + before + after;
        if size == 0 || padded < span {
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

/// y from x, w and, where given, b.
#[derive(Debug, Clone)]
struct Conv(ConvOptions);

impl Op for Conv {
    fn name(&self) -> &'static str {
        // The rank is not known before infer; two dimensions are the usual case and infer corrects the others.
        "conv2d"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        let named = |error: Error| match inputs[0].shape.len() {
            rank @ 3..=5 => error.op(NAMES[rank - 3]),
            _ => error,
        };
        let dtype = expect_float(inputs).map_err(named)?;
        let shape = output_shape(&self.0, &inputs[0].shape, &inputs[1].shape).map_err(named)?;
        if let Some(bias) = inputs.get(2)
            && *bias.shape != [shape[1]]
        {
            let text =
                format!("bias {} for {} output channels: it must be [{}]", bias.shape, shape[1], shape[1]);
            return Err(named(Error::shape(text)));
        }
        Ok(Metas::from_iter([Meta::channels_last(shape, dtype)]))
    }

    fn layout(&self) -> LayoutRule {
        LayoutRule::ChannelsLast(Mask::of(&[0]))
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        let p = problem(&self.0, &inputs[0].meta().shape, &inputs[1].meta().shape, &outputs[0].meta().shape);
        float!(inputs[0].meta().dtype, T => {
            let bias = inputs.get(2).map(|bias| bias.values::<T>());
            let (x, w) = (inputs[0].values::<T>(), inputs[1].values::<T>());
            let packed = inputs[1].packed(|w| conv::pack_weight(&p, w));
            conv::forward(&p, x, w, packed, bias, self.0.relu, outputs[0].values::<T>());
        });
    }

    fn reach(&self, which: usize, inputs: &[Shape], _output: &Shape) -> Reaches {
        match which {
            0 => reach::of_axes(&inputs[0], |axis| Reach::Window(window(&self.0, &inputs[1], axis))),
            _ => reach::everything(&inputs[which]),
        }
    }

    fn saves(&self) -> Saves {
        // The sign of y is the mask of its own relu.
        let outputs = if self.0.relu { Mask::of(&[0]) } else { Mask::NONE };
        Saves { inputs: Mask::of(&[0, 1]), outputs }
    }

    fn grad(&self, mut saved: Saved, mut dy: Grads, needs: Mask) -> Result<Grads> {
        let mut dy = dy[0].take().expect("one output");
        if self.0.relu {
            dy = super::unary::relu_grad(saved.output(0), dy)?;
        }
        let options = ConvOptions { relu: false, ..self.0.clone() };
        let (x, w) = (saved.input(0), saved.input(1));
        let dw = needs.has(1).then(|| {
            let op = ConvGradWeight { options: options.clone(), weight: w.shape().clone() };
            apply(op, [x.clone(), dy.clone()])
        });
        let db = needs.has(2).then(|| apply(ColumnSums, [dy.clone()]));
        let dx = needs.has(0).then(|| apply(ConvGradInput { options, input: x.shape().clone() }, [dy, w]));
        Ok(Grads::from_iter([dx.transpose()?, dw.transpose()?, db.transpose()?]))
    }

    fn multiply_adds(&self, inputs: &[Meta], outputs: &[Meta]) -> u64 {
        let taps: usize = inputs[1].shape[1..].iter().product();
        (outputs[0].shape.elements() as u64).saturating_mul(taps as u64)
    }
}

/// dx from dy and w: every tap sends its share back.
#[derive(Debug, Clone)]
struct ConvGradInput {
    options: ConvOptions,
    input: Shape,
}

impl Op for ConvGradInput {
    fn name(&self) -> &'static str {
        "conv_grad_input"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        Ok(Metas::from_iter([Meta::channels_last(self.input.clone(), inputs[0].dtype)]))
    }

    fn layout(&self) -> LayoutRule {
        LayoutRule::ChannelsLast(Mask::of(&[0]))
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        let p = problem(&self.options, &self.input, &inputs[1].meta().shape, &inputs[0].meta().shape);
        float!(inputs[0].meta().dtype, T => {
            conv::grad_input(&p, inputs[0].values::<T>(), inputs[1].values::<T>(), outputs[0].values::<T>());
        });
    }

    fn reach(&self, which: usize, inputs: &[Shape], _output: &Shape) -> Reaches {
        match which {
            0 => reach::of_axes(&inputs[0], |axis| {
                Reach::Transposed(window(&self.options, &inputs[1], axis))
            }),
            _ => reach::everything(&inputs[which]),
        }
    }

    fn saves(&self) -> Saves {
        Saves { inputs: Mask::of(&[0, 1]), outputs: Mask::NONE }
    }

    fn grad(&self, mut saved: Saved, mut ddx: Grads, needs: Mask) -> Result<Grads> {
        let ddx = ddx[0].take().expect("one output");
        let (dy, w) = (saved.input(0), saved.input(1));
        let options = self.options.clone();
        let dw = needs.has(1).then(|| {
            apply(ConvGradWeight { options: options.clone(), weight: w.shape().clone() }, [ddx.clone(), dy])
        });
        let ddy = needs.has(0).then(|| apply(Conv(options.clone()), [ddx.clone(), w.clone()]));
        Ok(Grads::from_iter([ddy.transpose()?, dw.transpose()?]))
    }
}

/// dw from x and dy: every pixel adds its patch times its gradient.
#[derive(Debug, Clone)]
struct ConvGradWeight {
    options: ConvOptions,
    weight: Shape,
}

impl Op for ConvGradWeight {
    fn name(&self) -> &'static str {
        "conv_grad_weight"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        Ok(Metas::from_iter([Meta::plain(self.weight.clone(), inputs[0].dtype)]))
    }

    fn layout(&self) -> LayoutRule {
        LayoutRule::ChannelsLast(Mask::of(&[0, 1]))
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        let p = problem(&self.options, &inputs[0].meta().shape, &self.weight, &inputs[1].meta().shape);
        float!(inputs[0].meta().dtype, T => {
            conv::grad_weight(&p, inputs[0].values::<T>(), inputs[1].values::<T>(), outputs[0].values::<T>());
        });
    }

    fn reach(&self, which: usize, inputs: &[Shape], _output: &Shape) -> Reaches {
        reach::everything(&inputs[which])
    }

    fn saves(&self) -> Saves {
        Saves { inputs: Mask::of(&[0, 1]), outputs: Mask::NONE }
    }

    fn grad(&self, mut saved: Saved, mut ddw: Grads, needs: Mask) -> Result<Grads> {
        let ddw = ddw[0].take().expect("one output");
        let (x, dy) = (saved.input(0), saved.input(1));
        let options = self.options.clone();
        let dx = needs.has(0).then(|| {
            apply(ConvGradInput { options: options.clone(), input: x.shape().clone() }, [dy, ddw.clone()])
        });
        let ddy = needs.has(1).then(|| apply(Conv(options.clone()), [x.clone(), ddw.clone()]));
        Ok(Grads::from_iter([dx.transpose()?, ddy.transpose()?]))
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
        apply(Conv(options.clone()), [Some(self), Some(weight), bias].into_iter().flatten().cloned())
    }
}

#[cfg(test)]
mod tests {
    use super::super::grad_check::{check, normal};
    use super::*;
    use crate::{DType, grad};

    fn options(
        stride: [usize; 3],
        padding: [(usize, usize); 3],
        dilation: [usize; 3],
        groups: usize,
    ) -> ConvOptions {
        ConvOptions { stride, padding, dilation, groups, relu: false }
    }

    #[test]
    fn convolutions_have_the_gradients_of_their_differences() {
        let one = (0, 0);
        let cases = [
            (vec![2, 3, 9], vec![4, 3, 3], options([1, 1, 2], [one, one, (2, 1)], [1, 1, 2], 1)),
            (vec![2, 2, 7, 6], vec![4, 1, 3, 2], options([1, 2, 3], [one, (1, 2), (0, 1)], [1, 1, 2], 2)),
            (
                vec![1, 2, 4, 5, 6],
                vec![3, 2, 2, 3, 1],
                options([1, 2, 1], [(1, 0), (1, 1), one], [2, 1, 1], 1),
            ),
            (vec![1, 1, 5, 5], vec![1, 1, 5, 5], ConvOptions::default()),
        ];
        for (x, w, options) in cases {
            let bias = normal([w[0]], 3);
            check(&[normal(x, 1), normal(w, 2), bias], |x| x[0].conv(&x[1], Some(&x[2]), &options));
        }
    }

    #[test]
    fn options_of_axes_that_are_missing_change_nothing() {
        let (x, w) = (normal([2, 3, 5, 4], 1), normal([4, 3, 3, 3], 2));
        let plain = options([1, 2, 1], [(0, 0), (1, 1), (1, 1)], [1, 1, 1], 1);
        let odd = options([0, 2, 1], [(1, 1); 3], [0, 1, 1], 1);
        let values = |options: &ConvOptions| x.conv(&w, None, options).unwrap().to_f64_vec().unwrap();
        assert_eq!(values(&odd), values(&plain));
        check(&[x.clone(), w.clone()], |x| x[0].conv(&x[1], None, &odd));
    }

    #[test]
    fn a_relu_in_the_convolution_is_the_relu_after_it() {
        let (x, w, b) = (normal([2, 3, 5, 4], 1), normal([4, 3, 3, 3], 2), normal([4], 3));
        let fused = ConvOptions { relu: true, ..ConvOptions::default() };
        check(&[x.clone(), w.clone(), b.clone()], |x| x[0].conv(&x[1], Some(&x[2]), &fused));
        let apart = x.conv(&w, Some(&b), &ConvOptions::default()).unwrap().relu().unwrap();
        assert_eq!(x.conv(&w, Some(&b), &fused).unwrap().to_f64_vec().unwrap(), apart.to_f64_vec().unwrap());
    }

    #[test]
    fn the_gradient_of_a_gradient_has_the_gradient_of_its_differences() {
        let options = options([1, 2, 1], [(0, 0), (1, 1), (0, 1)], [1, 1, 2], 1);
        check(&[normal([2, 2, 5, 6], 1), normal([3, 2, 3, 2], 2)], |x| {
            let y = x[0].conv(&x[1], None, &options)?.square()?.sum()?;
            if y.needs_grad() {
                let g = grad(&y, &[&x[0], &x[1]], true)?;
                g[0].clone().square()?.sum()? + g[1].clone().square()?.sum()?
            } else {
                // The differences run without leaves; give them some.
                let leaves = [x[0].clone().requires_grad(), x[1].clone().requires_grad()];
                let y = leaves[0].conv(&leaves[1], None, &options)?.square()?.sum()?;
                let g = grad(&y, &[&leaves[0], &leaves[1]], false)?;
                g[0].clone().square()?.sum()? + g[1].clone().square()?.sum()?
            }
        });
    }

    #[test]
    fn what_does_not_fit_is_refused_with_the_arithmetic() {
        let x = Tensor::zeros([2, 3, 8, 4], DType::F32).unwrap();
        let refuse = |w: [usize; 4], options: ConvOptions| {
            x.conv(&Tensor::zeros(w, DType::F32).unwrap(), None, &options).unwrap_err().to_string()
        };
        let text = refuse([5, 4, 3, 3], ConvOptions::default());
        assert!(
            text.contains("3 channels") && text.contains("Conv2d(3, 5") && text.contains("conv.rs"),
            "{text}"
        );
        let text = refuse([5, 3, 3, 7], ConvOptions::default());
        assert!(text.contains("spans 7") && text.contains("width"), "{text}");
        let text = refuse([5, 3, 3, 3], ConvOptions { groups: 2, ..ConvOptions::default() });
        assert!(text.contains("groups 2"), "{text}");
        let text = refuse([5, 3, 3, 3], ConvOptions { stride: [1, 0, 1], ..ConvOptions::default() });
        assert!(text.contains("must be 1 or more"), "{text}");
    }

    #[test]
    fn six_axes_and_huge_strides_are_refused() {
        let x = Tensor::rand([1, 2, 3, 2, 2, 2]);
        let error = x.conv(&Tensor::rand([1, 2, 1, 1, 1, 1]), None, &ConvOptions::default()).unwrap_err();
        assert!(error.to_string().contains("6 axes"), "{error}");
        let options = ConvOptions { stride: [1, 1 << 62, 1], ..ConvOptions::default() };
        let error = Tensor::rand([1, 1, 4, 4]).conv(&Tensor::rand([4, 1, 2, 2]), None, &options).unwrap_err();
        assert!(error.to_string().contains("is the most"), "{error}");
    }
}
