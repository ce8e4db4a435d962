//! Interpolation of (N, C, …) to another size, as `torch.nn.functional.interpolate`.
//!
//! ```text
//! u = (o + 1/2) * scale - 1/2          where cell o of the result lies in the input (align_corners: o * (in - 1) / (out - 1))
//! nearest: floor(o * scale)            nearest-exact: floor((o + 1/2) * scale)
//! linear:  (1 - t) x[i] + t x[i + 1],  i = floor(max(u, 0)), t = u - i, along each axis
//! cubic:   the four cells around u by Keys' kernel with a = -3/4, cells outside being the nearest inside
//! area:    the mean of cells floor(o in / out) .. ceil((o + 1) in / out): adaptive average pooling
//! ```
//! `scale` is in / out, or 1 / scale_factor where that is given and not recomputed. Each axis is a sparse matrix, and the
//! gradient is the transposed one.

use std::panic::Location;

use rasgo_kernels::resample::{Axis, Taps, resample};

use super::{expect_float, expect_sizes, float};

use crate::error::{Error, Result};
use crate::meta::{DType, Meta, Shape};
use crate::op::{Grads, Input, LayoutRule, Mask, Metas, Op, Output, Saved, apply};
use crate::reach::{self, Reach, Reaches};
use crate::scope;
use crate::tensor::Tensor;

/// How values between cells are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InterpolateMode {
    /// The cell at floor(o * scale): PyTorch's and OpenCV's older rule, off by up to half a cell.
    Nearest,
    /// The cell whose centre is nearest.
    NearestExact,
    /// Between two cells an axis: linear, bilinear, trilinear.
    Linear,
    /// Between four cells an axis: bicubic.
    Cubic,
    /// The mean of the cells that a new one covers.
    Area,
}

impl InterpolateMode {
    /// The mode of PyTorch's name for so many spatial axes.
    ///
    /// # Errors
    /// If there is no such mode, or it is one of other dimensions: `linear` is of one spatial axis, `bilinear` and
    /// `bicubic` of two, `trilinear` of three.
    #[track_caller]
    pub fn named(name: &str, spatial: usize) -> Result<InterpolateMode> {
        let (mode, wanted) = match name {
            "nearest" => return Ok(InterpolateMode::Nearest),
            "nearest-exact" => return Ok(InterpolateMode::NearestExact),
            "area" => return Ok(InterpolateMode::Area),
            "linear" => (InterpolateMode::Linear, 1),
            "bilinear" => (InterpolateMode::Linear, 2),
            "trilinear" => (InterpolateMode::Linear, 3),
            "bicubic" => (InterpolateMode::Cubic, 2),
            _ => {
                return Err(Error::argument(format!("mode {name:?}"))
                    .op("interpolate")
                    .at(Location::caller())
                    .hint("give nearest, nearest-exact, linear, bilinear, bicubic, trilinear or area"));
            }
        };
        match spatial == wanted {
            true => Ok(mode),
            false => Err(Error::argument(format!("mode {name} is of {wanted} spatial axes, not {spatial}"))
                .op("interpolate")
                    .at(Location::caller())
                .hint("linear for (N, C, L), bilinear or bicubic for (N, C, H, W), trilinear for (N, C, D, H, W)")),
        }
    }

    /// Whether `align_corners` means something.
    pub fn has_corners(self) -> bool {
        matches!(self, InterpolateMode::Linear | InterpolateMode::Cubic)
    }
}

/// The size that comes out; of fewer than three axes the last are used.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum InterpolateTo {
    /// In cells.
    Size([usize; 3]),
    /// As floor(in * factor).
    ScaleFactor([f64; 3]),
}

/// The attributes of an interpolation.
#[derive(Clone, Debug, PartialEq)]
pub struct InterpolateOptions {
    /// The size that comes out.
    pub to: InterpolateTo,
    /// How values between cells are found.
    pub mode: InterpolateMode,
    /// Whether the centres of the first and last cells of both sides meet, not their outer edges.
    pub align_corners: bool,
    /// Whether places follow from the sizes although a scale factor is given.
    pub recompute_scale_factor: bool,
}

impl InterpolateOptions {
    /// To a size, by a mode.
    pub fn new(to: InterpolateTo, mode: InterpolateMode) -> Self {
        InterpolateOptions { to, mode, align_corners: false, recompute_scale_factor: false }
    }
}

/// y from x, and with `back` the gradient of that: both are linear, and each other's gradient.
#[derive(Debug, Clone)]
struct Interpolate {
    options: InterpolateOptions,
    /// `None` forward; the shape of x backward.
    back: Option<Shape>,
}

impl Interpolate {
    fn output_shape(&self, x: &Shape) -> Result<Shape> {
        let (rank, options) = (x.len(), &self.options);
        if !(3..=5).contains(&rank) {
            return Err(Error::shape(format!("input {x} has {rank} axes"))
                .hint("give (N, C, L), (N, C, H, W) or (N, C, D, H, W)"));
        }
        if options.align_corners && !options.mode.has_corners() {
            return Err(Error::argument(format!("align_corners with mode {:?}", options.mode))
                .hint("it belongs to linear, bilinear, bicubic and trilinear"));
        }
        if options.recompute_scale_factor && matches!(options.to, InterpolateTo::Size(_)) {
            return Err(
                Error::argument("recompute_scale_factor with a size").hint("it belongs to a scale factor")
            );
        }
        // A mean over channels that are not there is a mean all the same.
        let first = if options.mode == InterpolateMode::Area { 2 } else { 1 };
        if x[first..].contains(&0) {
            return Err(Error::shape(format!("input {x}: only the batch may be empty")));
        }
        let mut shape = x.to_vec();
        for axis in 2..rank {
            let size = match options.to {
                InterpolateTo::Size(sizes) => sizes[axis + 3 - rank],
                InterpolateTo::ScaleFactor(factors) => {
                    let (factor, most) = (factors[axis + 3 - rank], (1u64 << 31) as f64);
                    let size = (x[axis] as f64 * factor).floor();
                    if !(1.0..=most).contains(&size) {
                        return Err(Error::argument(format!(
                            "scale_factor {factor} makes {} cells of axis {axis} to floor({} * {factor}) = {size}",
                            x[axis], x[axis]
                        ))
                        .hint("use a factor that leaves 1 or more"));
                    }
                    size as usize
                }
            };
            expect_sizes("an axis", &[x[axis], size])?;
            if size == 0 {
                return Err(
                    Error::argument(format!("size 0 for axis {axis} of input {x}")).hint("give 1 or more")
                );
            }
            shape[axis] = size;
        }
        Ok(shape.into())
    }

    /// The scale factor of a spatial axis, where places follow from it.
    fn factor(&self, axis: usize) -> Option<f64> {
        match self.options.to {
            InterpolateTo::ScaleFactor(factors) if !self.options.recompute_scale_factor => {
                Some(factors[axis])
            }
            _ => None,
        }
    }

    /// The axis from `input` to `output` cells.
    fn axis(&self, axis: usize, input: usize, output: usize, dtype: DType) -> Axis {
        let factor = self.factor(axis);
        let (mode, aligned) = (self.options.mode, self.options.align_corners);
        if input == output
            && (mode != InterpolateMode::Cubic && factor.is_none() || mode == InterpolateMode::Linear)
        {
            return Axis::Whole(input);
        }
        let scale = match factor {
            _ if aligned && output == 1 => 0.0,
            _ if aligned => (input - 1) as f64 / (output - 1) as f64,
            Some(factor) => 1.0 / factor,
            None => input as f64 / output as f64,
        };
        let last = input - 1;
        let place = |o: usize| if aligned { o as f64 * scale } else { (o as f64 + 0.5) * scale - 0.5 };
        let taps = match mode {
            InterpolateMode::Nearest | InterpolateMode::NearestExact => {
                let shift = if mode == InterpolateMode::Nearest { 0.0 } else { 0.5 };
                Taps::new(input, output, |o| [(nearest(o as f64 + shift, scale, dtype).min(last), 1.0)])
            }
            InterpolateMode::Linear => Taps::new(input, output, |o| {
                let u = place(o).max(0.0);
                let i = (u.floor() as usize).min(last);
                let t = (u - i as f64).clamp(0.0, 1.0);
                [(i, 1.0 - t), ((i + 1).min(last), t)]
            }),
            InterpolateMode::Cubic => Taps::new(input, output, |o| {
                let u = place(o);
                let i = u.floor().min(last as f64);
                let weights = cubic((u - i).clamp(0.0, 1.0));
                [0, 1, 2, 3].map(|k| {
                    let cell = (i as isize + k as isize - 1).clamp(0, last as isize);
                    (cell.unsigned_abs(), weights[k])
                })
            }),
            InterpolateMode::Area => unreachable!("area is adaptive average pooling"),
        };
        Axis::Taps(taps)
    }
}

/// floor(place * scale), rounded as PyTorch rounds for that dtype, so that ties fall to the same cell.
fn nearest(place: f64, scale: f64, dtype: DType) -> usize {
    let product = match dtype {
        DType::F64 => (place * scale) as f32,
        _ => place as f32 * scale as f32,
    };
    product.floor().max(0.0) as usize
}

/// The weights of the cells at -1, 0, 1 and 2 for a place t in 0..1 (Keys 1981, a = -3/4).
fn cubic(t: f64) -> [f64; 4] {
    const A: f64 = -0.75;
    let near = |d: f64| ((A + 2.0) * d - (A + 3.0)) * d * d + 1.0;
    let far = |d: f64| ((A * d - 5.0 * A) * d + 8.0 * A) * d - 4.0 * A;
    [far(t + 1.0), near(t), near(1.0 - t), far(2.0 - t)]
}

impl Op for Interpolate {
    fn name(&self) -> &'static str {
        "interpolate"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        let dtype = expect_float(inputs)?;
        let shape = match &self.back {
            Some(shape) => shape.clone(),
            None => self.output_shape(&inputs[0].shape)?,
        };
        Ok(Metas::from_iter([Meta::channels_last(shape, dtype)]))
    }

    fn layout(&self) -> LayoutRule {
        LayoutRule::ChannelsLast(Mask::of(&[0]))
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        if outputs[0].meta().bytes() == 0 {
            return;
        }
        let dtype = inputs[0].meta().dtype;
        let (from, to) = (inputs[0].meta().shape.image(), outputs[0].meta().shape.image());
        let (n, c, input, output) =
            if self.back.is_some() { (to.0, to.1, to.2, from.2) } else { (from.0, from.1, from.2, to.2) };
        let mut axes = vec![Axis::Whole(n)];
        for axis in 5 - inputs[0].meta().shape.len()..3 {
            let forward = self.axis(axis, input[axis], output[axis], dtype);
            axes.push(if self.back.is_some() { forward.transposed() } else { forward });
        }
        axes.push(Axis::Whole(c));
        float!(dtype, T => {
            resample(&axes, 0.0, inputs[0].values::<T>(), outputs[0].values::<T>());
        });
    }

    fn reach(&self, _which: usize, inputs: &[Shape], output: &Shape) -> Reaches {
        let x = &inputs[0];
        if self.back.is_some() {
            return reach::everything(x);
        }
        // Where single and double precision round to other cells, those of the single.
        let axis = |axis: usize| {
            if output[axis] > reach::MOST_LISTED {
                return Reach::Unlisted;
            }
            match self.axis(axis + 3 - x.len(), x[axis], output[axis], DType::F32) {
                Axis::Whole(_) => Reach::Same,
                Axis::Taps(taps) => reach::ranges(output[axis], |o| taps.span(o)),
            }
        };
        (2..x.len()).map(axis).collect()
    }

    fn grad(&self, saved: Saved, mut dy: Grads, _needs: Mask) -> Result<Grads> {
        let back = self.back.is_none().then(|| saved.input_shape(0));
        let op = Interpolate { options: self.options.clone(), back };
        Ok(Grads::from_iter([Some(apply(op, [dy[0].take().expect("one output")])?)]))
    }
}

impl Tensor {
    /// (N, C, …) with other spatial sizes; see the module for the formulas.
    ///
    /// ```
    /// # use rasgo_core::{Tensor, ops::{InterpolateMode, InterpolateOptions, InterpolateTo}};
    /// let x = Tensor::from_vec(vec![1.0f32, 2.0, 4.0], [1, 1, 3])?;
    /// let double = InterpolateTo::ScaleFactor([2.0; 3]);
    /// let y = x.interpolate(&InterpolateOptions::new(double, InterpolateMode::Linear))?;
    /// assert_eq!(y.to_vec::<f32>()?, [1.0, 1.25, 1.75, 2.5, 3.5, 4.0]);
    /// # Ok::<(), rasgo_core::Error>(())
    /// ```
    #[track_caller]
    pub fn interpolate(&self, options: &InterpolateOptions) -> Result<Tensor> {
        let op = Interpolate { options: options.clone(), back: None };
        if options.mode != InterpolateMode::Area {
            return apply(op, [self.clone()]);
        }
        let shape = match op.output_shape(self.shape()) {
            Ok(shape) => shape,
            Err(error) => return Err(scope::annotate(error.op("interpolate")).at(Location::caller())),
        };
        self.adaptive_avg_pool(shape.image().2)
    }
}

#[cfg(test)]
mod tests {
    use super::super::grad_check::{check, normal};
    use super::*;
    use crate::grad;

    const MODES: [InterpolateMode; 5] = [
        InterpolateMode::Nearest,
        InterpolateMode::NearestExact,
        InterpolateMode::Linear,
        InterpolateMode::Cubic,
        InterpolateMode::Area,
    ];

    fn options(to: InterpolateTo, mode: InterpolateMode, align_corners: bool) -> InterpolateOptions {
        InterpolateOptions { align_corners, ..InterpolateOptions::new(to, mode) }
    }

    #[test]
    fn interpolations_have_the_gradients_of_their_differences() {
        let targets = [
            InterpolateTo::Size([3, 5, 2]),
            InterpolateTo::ScaleFactor([1.3, 0.7, 2.4]),
            InterpolateTo::Size([2, 3, 4]),
        ];
        for (to, mode) in targets.into_iter().flat_map(|to| MODES.map(|mode| (to, mode))) {
            for align_corners in [false, true] {
                if align_corners && !mode.has_corners() {
                    continue;
                }
                let options = options(to, mode, align_corners);
                check(&[normal([2, 3, 7], 1)], |x| x[0].interpolate(&options));
                check(&[normal([2, 2, 3, 4], 1)], |x| x[0].interpolate(&options));
                check(&[normal([1, 2, 2, 3, 4], 1).to_channels_last()], |x| x[0].interpolate(&options));
            }
        }
    }

    #[test]
    fn the_gradient_of_an_interpolation_has_a_gradient() {
        for mode in MODES {
            let options = options(InterpolateTo::Size([1, 5, 2]), mode, false);
            check(&[normal([1, 2, 3, 4], 1)], |x| {
                let leaf = if x[0].needs_grad() { x[0].clone() } else { x[0].clone().requires_grad() };
                let y = leaf.interpolate(&options)?.square()?.sum()?;
                grad(&y, &[&leaf], true)?[0].clone().square()
            });
        }
    }

    /// From PyTorch 2: interpolate(torch.arange(5.)[None, None], mode=…, scale_factor=1.7).
    #[test]
    fn a_given_scale_factor_places_the_cells_unless_it_is_recomputed() {
        let x = Tensor::arange(0.0, 5.0, 1.0).unwrap().reshape([1, 1, 5]).unwrap();
        let values = |mode, recompute_scale_factor| {
            let to = InterpolateTo::ScaleFactor([1.7; 3]);
            let options = InterpolateOptions { recompute_scale_factor, ..InterpolateOptions::new(to, mode) };
            x.interpolate(&options).unwrap().to_vec::<f32>().unwrap()
        };
        assert_eq!(values(InterpolateMode::Nearest, false), [0.0, 0.0, 1.0, 1.0, 2.0, 2.0, 3.0, 4.0]);
        assert_eq!(values(InterpolateMode::Nearest, true), [0.0, 0.0, 1.0, 1.0, 2.0, 3.0, 3.0, 4.0]);
        assert_eq!(values(InterpolateMode::NearestExact, false), [0.0, 0.0, 1.0, 2.0, 2.0, 3.0, 3.0, 4.0]);
        let want =
            [0.0, 0.382_352_9, 0.970_588_2, 1.558_823_5, 2.147_058_8, 2.735_294, 3.323_529_5, 3.911_764_6];
        for (got, want) in values(InterpolateMode::Linear, false).iter().zip(want) {
            assert!((got - want).abs() < 1e-6, "{got} {want}");
        }
        assert_eq!(
            values(InterpolateMode::Linear, true),
            [0.0, 0.4375, 1.0625, 1.6875, 2.3125, 2.9375, 3.5625, 4.0]
        );
    }

    #[test]
    fn every_layout_and_cut_of_the_input_gives_the_same() {
        let x = normal([4, 3, 5, 6], 1);
        for mode in MODES {
            let options = options(InterpolateTo::Size([1, 7, 4]), mode, false);
            let want = x.interpolate(&options).unwrap().to_f64_vec().unwrap();
            let turned = x.permute(&[0, 1, 3, 2]).unwrap().permute(&[0, 1, 3, 2]).unwrap();
            assert_eq!(turned.interpolate(&options).unwrap().to_f64_vec().unwrap(), want);
            let part = x.clone().to_channels_last().narrow(0, 2, 1).unwrap().interpolate(&options).unwrap();
            assert_eq!(part.to_f64_vec().unwrap(), want[want.len() / 2..3 * want.len() / 4]);
        }
    }

    #[test]
    fn what_pytorch_refuses_is_refused() {
        let refuse = |shape: &[usize], options: InterpolateOptions| {
            Tensor::zeros(shape, DType::F32).unwrap().interpolate(&options).unwrap_err().to_string()
        };
        let size = |size| InterpolateTo::Size([size; 3]);
        let text = refuse(&[2, 3, 4], options(size(0), InterpolateMode::Linear, false));
        assert!(text.contains("interpolate") && text.contains("interpolate.rs"), "{text}");
        let text = refuse(&[2, 3, 4], options(size(0), InterpolateMode::Area, false));
        assert!(text.contains("interpolate:") && text.contains("interpolate.rs"), "{text}");
        let text = refuse(
            &[2, 3, 4],
            options(InterpolateTo::ScaleFactor([0.2; 3]), InterpolateMode::Nearest, false),
        );
        assert!(text.contains("floor(4 * 0.2) = 0"), "{text}");
        let text = refuse(
            &[2, 3, 4],
            options(InterpolateTo::ScaleFactor([f64::NAN; 3]), InterpolateMode::Nearest, false),
        );
        assert!(text.contains("NaN"), "{text}");
        let text = refuse(&[2, 3, 4], options(size(3), InterpolateMode::Nearest, true));
        assert!(text.contains("align_corners"), "{text}");
        let text = refuse(&[2, 3], options(size(3), InterpolateMode::Nearest, false));
        assert!(text.contains("2 axes"), "{text}");
        let text = refuse(&[2, 3, 0], options(size(3), InterpolateMode::Nearest, false));
        assert!(text.contains("only the batch"), "{text}");
        assert!(InterpolateMode::named("bilinear", 1).unwrap_err().to_string().contains("2 spatial axes"));
        assert!(InterpolateMode::named("lanczos", 2).unwrap_err().to_string().contains("nearest-exact"));
    }
}
