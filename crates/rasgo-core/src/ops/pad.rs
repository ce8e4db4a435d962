//! Padding: cells added before and after each axis, or cut off where a number is negative.
//!
//! ```text
//! y[o] = x[source(o - before)],   out = before + in + after
//! constant:   source(i) = i, and the value outside
//! reflect:    source(-i) = i, source(in - 1 + i) = in - 1 - i
//! replicate:  source(i) = clamp(i, 0, in - 1)
//! circular:   source(i) = i mod in, in counted without what negative numbers cut off
//! ```
//! As `torch.nn.functional.pad`, whose list of numbers begins with the last axis; here they are in the order of the axes.

use std::panic::Location;

use rasgo_kernels::resample::{Axis, Taps, resample};

use super::{expect_float, expect_sizes, float};

use crate::error::{Error, Result};
use crate::meta::{Meta, Shape};
use crate::op::{Grads, Input, Mask, Metas, Op, Output, Saved, apply};
use crate::reach::{self, Reach, Reaches, Window};
use crate::tensor::Tensor;

/// What stands in the cells that padding adds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PadMode {
    /// A value.
    Constant(f64),
    /// The tensor mirrored at its first and last cell, which are not repeated.
    Reflect,
    /// The first and the last cell.
    Replicate,
    /// The tensor again, as if its ends were joined.
    Circular,
}

impl PadMode {
    /// The mode of PyTorch's name, with `value` for `constant`; `zeros` is what convolutions call it.
    ///
    /// # Errors
    /// If there is no such mode.
    #[track_caller]
    pub fn named(name: &str, value: f64) -> Result<PadMode> {
        Ok(match name {
            "constant" => PadMode::Constant(value),
            "zeros" => PadMode::Constant(0.0),
            "reflect" => PadMode::Reflect,
            "replicate" => PadMode::Replicate,
            "circular" => PadMode::Circular,
            _ => {
                return Err(Error::argument(format!("padding mode {name:?}"))
                    .op("pad")
                    .at(Location::caller())
                    .hint("give constant (zeros for a convolution), reflect, replicate or circular"));
            }
        })
    }

    fn name(self) -> &'static str {
        match self {
            PadMode::Constant(_) => "constant",
            PadMode::Reflect => "reflect",
            PadMode::Replicate => "replicate",
            PadMode::Circular => "circular",
        }
    }
}

/// The padding of x, and with `back` the gradient of that: both are linear, and each other's gradient.
#[derive(Debug, Clone)]
struct Pad {
    /// (before, after) of the last axes.
    pads: Vec<(isize, isize)>,
    mode: PadMode,
    /// `None` forward; the shape of x backward.
    back: Option<Shape>,
}

impl Pad {
    /// The size of one padded axis.
    fn padded(&self, axis: usize, size: usize, (before, after): (isize, isize)) -> Result<usize> {
        expect_sizes("an axis", &[size, before.unsigned_abs(), after.unsigned_abs()])?;
        let cut = size as isize + before.min(0) + after.min(0);
        let padded = size as isize + before + after;
        let arithmetic = format!("axis {axis}: {before} + {size} + {after} = {padded}");
        let most = match self.mode {
            PadMode::Constant(_) if cut < 0 => {
                return Err(Error::shape(format!("{arithmetic}, and more is cut off than there is"))
                    .hint("cut off no more than the axis has"));
            }
            PadMode::Constant(_) => return Ok(padded.unsigned_abs()),
            PadMode::Reflect => size as isize - 1,
            PadMode::Replicate => isize::MAX,
            PadMode::Circular => cut,
        };
        if before > most || after > most {
            let rule = match self.mode {
                PadMode::Reflect => format!("less than the axis, at most {most}"),
                _ => format!("at most what is left of the axis, {most}"),
            };
            return Err(Error::argument(format!("{arithmetic}: {} padding is {rule}", self.mode.name()))
                .hint("pad less, or in the modes constant or replicate"));
        }
        let least = if self.mode == PadMode::Circular { 0 } else { 1 };
        if padded < least {
            return Err(Error::shape(format!("{arithmetic}: nothing is left")).hint("cut off less"));
        }
        Ok(padded.unsigned_abs())
    }

    fn output_shape(&self, x: &Shape) -> Result<Shape> {
        let (rank, count) = (x.len(), self.pads.len());
        if count > rank {
            return Err(Error::shape(format!("padding of {count} axes for input {x} with {rank}")));
        }
        let first = rank - count;
        if !matches!(self.mode, PadMode::Constant(_)) {
            if !(1..=3).contains(&count) || !(1..=2).contains(&first) {
                return Err(Error::shape(format!(
                    "{} padding of the last {count} axes of input {x} with {rank}",
                    self.mode.name()
                ))
                .hint("it takes (N, C, …) or (C, …) and all spatial axes, of which there are 1 to 3"));
            }
            let batch = first - 1;
            if self.mode != PadMode::Circular && x[batch..].contains(&0) {
                return Err(Error::shape(format!("input {x}: only the batch may be empty"))
                    .hint("an empty axis has no cell to repeat; use the mode constant"));
            }
        }
        let mut shape = x.to_vec();
        for (axis, pad) in (first..rank).zip(&self.pads) {
            shape[axis] = self.padded(axis, x[axis], *pad)?;
        }
        Ok(shape.into())
    }

    /// What place `o` of a padded axis reads.
    fn source(&self, o: usize, size: usize, (before, after): (isize, isize)) -> Option<usize> {
        let (size, i) = (size as isize, o as isize - before);
        let source = match self.mode {
            PadMode::Constant(_) => return usize::try_from(i).ok().filter(|&i| i < size as usize),
            PadMode::Reflect if i < 0 => -i,
            PadMode::Reflect if i >= size => 2 * (size - 1) - i,
            PadMode::Reflect => i,
            PadMode::Replicate => i.clamp(0, size - 1),
            PadMode::Circular => {
                let cut = (-before).max(0);
                (i - cut).rem_euclid(size + before.min(0) + after.min(0)) + cut
            }
        };
        Some(source.unsigned_abs())
    }
}

impl Op for Pad {
    fn name(&self) -> &'static str {
        "pad"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        expect_float(inputs)?;
        let shape = match &self.back {
            Some(shape) => shape.clone(),
            None => self.output_shape(&inputs[0].shape)?,
        };
        Ok(Metas::from_iter([inputs[0].with_shape(shape)]))
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        if outputs[0].meta().bytes() == 0 {
            return;
        }
        let (from, to) = (&inputs[0].meta().shape, &outputs[0].meta().shape);
        let (x, y) = if self.back.is_some() { (to, from) } else { (from, to) };
        let first = x.len() - self.pads.len();
        let mut axes = Vec::with_capacity(x.len());
        for axis in inputs[0].meta().memory_order() {
            let pad = if axis < first { (0, 0) } else { self.pads[axis - first] };
            axes.push(match pad {
                (0, 0) => Axis::Whole(x[axis]),
                pad => {
                    let source = |o| self.source(o, x[axis], pad).map(|i| (i, 1.0));
                    let taps = Taps::new(x[axis], y[axis], source);
                    Axis::Taps(if self.back.is_some() { taps.transposed() } else { taps })
                }
            });
        }
        let empty = match self.mode {
            PadMode::Constant(value) if self.back.is_none() => value,
            _ => 0.0,
        };
        float!(inputs[0].meta().dtype, T => {
            resample(&axes, empty as T, inputs[0].values::<T>(), outputs[0].values::<T>());
        });
    }

    fn reach(&self, _which: usize, inputs: &[Shape], output: &Shape) -> Reaches {
        if self.back.is_some() {
            return reach::everything(&inputs[0]);
        }
        let x = &inputs[0];
        let first = x.len() - self.pads.len();
        let axis = |axis: usize| match (self.pads.get(axis.wrapping_sub(first)), self.mode) {
            (None | Some((0, 0)), _) => Reach::Same,
            (Some(&(before, _)), PadMode::Constant(_)) => Reach::Window(Window::shifted(-before)),
            (Some(&pad), _) => reach::ranges(output[axis], |o| {
                let i = self.source(o, x[axis], pad).expect("only the mode constant reads nothing");
                i..i + 1
            }),
        };
        (2..x.len()).map(axis).collect()
    }

    fn grad(&self, saved: Saved, mut dy: Grads, _needs: Mask) -> Result<Grads> {
        let dy = dy[0].take().expect("one output");
        let mode = if matches!(self.mode, PadMode::Constant(_)) { PadMode::Constant(0.0) } else { self.mode };
        let back = self.back.is_none().then(|| saved.input_shape(0));
        Ok(Grads::from_iter([Some(apply(Pad { pads: self.pads.clone(), mode, back }, [dy])?)]))
    }
}

impl Tensor {
    /// Adds cells before and after the last axes, `(before, after)` for each in their order; negative numbers cut off.
    ///
    /// The mode `Constant` takes any tensor. The others take (N, C, …) or (C, …) with numbers for all of its one to
    /// three spatial axes; `Reflect` adds fewer cells than an axis has, `Circular` at most as many.
    ///
    /// ```
    /// # use rasgo_core::{Tensor, ops::PadMode};
    /// let x = Tensor::from_vec(vec![1.0f32, 2.0, 3.0], [1, 1, 3])?;
    /// let values = |mode| x.pad(&[(2, 1)], mode)?.to_vec::<f32>();
    /// assert_eq!(values(PadMode::Constant(9.0))?, [9.0, 9.0, 1.0, 2.0, 3.0, 9.0]);
    /// assert_eq!(values(PadMode::Reflect)?, [3.0, 2.0, 1.0, 2.0, 3.0, 2.0]);
    /// assert_eq!(values(PadMode::Replicate)?, [1.0, 1.0, 1.0, 2.0, 3.0, 3.0]);
    /// assert_eq!(values(PadMode::Circular)?, [2.0, 3.0, 1.0, 2.0, 3.0, 1.0]);
    /// # Ok::<(), rasgo_core::Error>(())
    /// ```
    #[track_caller]
    pub fn pad(&self, pads: &[(isize, isize)], mode: PadMode) -> Result<Tensor> {
        apply(Pad { pads: pads.to_vec(), mode, back: None }, [self.clone()])
    }
}

#[cfg(test)]
mod tests {
    use super::super::grad_check::{check, normal};
    use super::*;
    use crate::{DType, grad};

    const MODES: [PadMode; 4] =
        [PadMode::Constant(-1.5), PadMode::Reflect, PadMode::Replicate, PadMode::Circular];

    #[test]
    fn paddings_have_the_gradients_of_their_differences() {
        for mode in MODES {
            check(&[normal([2, 3, 5], 1)], |x| x[0].pad(&[(2, 3)], mode));
            check(&[normal([2, 3, 5, 4], 1)], |x| x[0].pad(&[(3, 0), (-1, 2)], mode));
            check(&[normal([2, 3, 4, 5], 1)], |x| x[0].pad(&[(1, 2), (3, -1), (0, -2)], mode));
            check(&[normal([1, 2, 4, 5, 3], 1).to_channels_last()], |x| {
                x[0].pad(&[(1, 2), (4, 1), (0, 1)], mode)
            });
        }
        check(&[normal([2, 3], 1)], |x| x[0].pad(&[(1, 0), (2, -1)], PadMode::Constant(4.0)));
    }

    #[test]
    fn the_gradient_of_a_padding_has_a_gradient() {
        for mode in MODES {
            check(&[normal([2, 2, 4], 1)], |x| {
                let leaf = if x[0].needs_grad() { x[0].clone() } else { x[0].clone().requires_grad() };
                let y = leaf.pad(&[(2, 3)], mode)?.square()?.sum()?;
                grad(&y, &[&leaf], true)?[0].clone().square()
            });
        }
    }

    #[test]
    fn negative_numbers_cut_off_as_in_pytorch() {
        let x = Tensor::arange(0.0, 4.0, 1.0).unwrap().reshape([1, 1, 4]).unwrap();
        let values = |pad, mode| x.pad(&[pad], mode).unwrap().to_vec::<f32>().unwrap();
        assert_eq!(values((-1, 2), PadMode::Circular), [1.0, 2.0, 3.0, 1.0, 2.0]);
        assert_eq!(values((2, -1), PadMode::Circular), [1.0, 2.0, 0.0, 1.0, 2.0]);
        assert_eq!(values((-1, 2), PadMode::Reflect), [1.0, 2.0, 3.0, 2.0, 1.0]);
        assert_eq!(values((2, -1), PadMode::Reflect), [2.0, 1.0, 0.0, 1.0, 2.0]);
        assert_eq!(values((2, -1), PadMode::Replicate), [0.0, 0.0, 0.0, 1.0, 2.0]);
        assert_eq!(values((-2, -2), PadMode::Constant(0.0)), [0.0; 0]);
    }

    #[test]
    fn every_layout_and_cut_of_the_input_gives_the_same() {
        let x = normal([4, 3, 5, 6], 1);
        let pads = [(2, 1), (-1, 3)];
        for mode in MODES {
            let want = x.pad(&pads, mode).unwrap().to_f64_vec().unwrap();
            let last = x.clone().to_channels_last().pad(&pads, mode).unwrap();
            assert_eq!(last.to_f64_vec().unwrap(), want);
            let turned = x.permute(&[0, 1, 3, 2]).unwrap().permute(&[0, 1, 3, 2]).unwrap();
            assert_eq!(turned.pad(&pads, mode).unwrap().to_f64_vec().unwrap(), want);
            let part = x.clone().to_channels_last().narrow(0, 2, 1).unwrap().pad(&pads, mode).unwrap();
            assert_eq!(part.to_f64_vec().unwrap(), want[want.len() / 2..3 * want.len() / 4]);
        }
        // Channels that are cut to one, or grow from one, in a channels-last tensor.
        let all = [(0, 0), (-2, 0), (1, 0), (0, 0)];
        let want = x.pad(&all, PadMode::Constant(0.0)).unwrap().to_f64_vec().unwrap();
        let last = x.clone().to_channels_last().pad(&all, PadMode::Constant(0.0)).unwrap();
        assert_eq!(last.to_f64_vec().unwrap(), want);
    }

    #[test]
    fn nan_and_infinity_pass_through_and_touch_nothing_else() {
        let x = Tensor::from_vec(vec![f32::NAN, 1.0, f32::INFINITY, -0.0], [1, 1, 4]).unwrap();
        let y = x.pad(&[(1, 1)], PadMode::Reflect).unwrap().to_vec::<f32>().unwrap();
        assert!(y[1].is_nan() && y[0] == 1.0 && y[3] == f32::INFINITY && y[4].is_sign_negative());
        assert_eq!(y[5], f32::INFINITY);
    }

    #[test]
    fn what_pytorch_refuses_is_refused_with_the_arithmetic() {
        let refuse = |shape: &[usize], pads: &[(isize, isize)], mode| {
            let x = Tensor::zeros(shape, DType::F32).unwrap();
            x.pad(pads, mode).unwrap_err().to_string()
        };
        let text = refuse(&[2, 3, 4], &[(4, 0)], PadMode::Reflect);
        assert!(text.contains("4 + 4 + 0 = 8") && text.contains("at most 3"), "{text}");
        let text = refuse(&[2, 3, 4], &[(0, 5)], PadMode::Circular);
        assert!(text.contains("at most what is left of the axis, 4"), "{text}");
        let text = refuse(&[2, 3, 4], &[(-2, -2)], PadMode::Replicate);
        assert!(text.contains("-2 + 4 + -2 = 0") && text.contains("pad:"), "{text}");
        let text = refuse(&[2, 3, 4], &[(-5, 3)], PadMode::Constant(0.0));
        assert!(text.contains("more is cut off"), "{text}");
        let text = refuse(&[2, 3, 4, 5], &[(1, 1)], PadMode::Reflect);
        assert!(text.contains("last 1 axes") && text.contains("pad.rs"), "{text}");
        let text = refuse(&[2, 0, 4], &[(1, 1)], PadMode::Replicate);
        assert!(text.contains("only the batch"), "{text}");
        let text = refuse(&[2, 3], &[(1, 1); 3], PadMode::Constant(0.0));
        assert!(text.contains("3 axes"), "{text}");
        let text = refuse(&[2, 3], &[(isize::MAX, isize::MIN)], PadMode::Constant(0.0));
        assert!(text.contains("is the most"), "{text}");
        assert!(PadMode::named("mirror", 0.0).unwrap_err().to_string().contains("reflect"));
        for mode in MODES {
            let empty = Tensor::zeros([0, 3, 4], DType::F32).unwrap();
            assert_eq!(**empty.pad(&[(1, 2)], mode).unwrap().shape(), [0, 3, 7]);
        }
    }
}
