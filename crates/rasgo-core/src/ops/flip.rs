//! Axes turned round: flip, roll.

use std::panic::Location;

use rasgo_kernels::movement;

use super::{any, axes_of, axis_of, blocks};
use crate::error::{Error, Result};
use crate::meta::{Meta, Shape};
use crate::op::{Bf16Rule, Grads, Input, LayoutRule, Mask, Metas, Op, Output, Saved, apply};
use crate::reach::{self, Reaches};
use crate::tensor::Tensor;

/// y[…, i, …] = x[…, size - 1 - i, …] along the axis.
#[derive(Debug, Clone)]
struct Flip {
    axis: usize,
}

impl Op for Flip {
    fn name(&self) -> &'static str {
        "flip"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        Ok(Metas::from_iter([inputs[0].clone()]))
    }

    fn layout(&self) -> LayoutRule {
        LayoutRule::AsIs
    }

    fn bf16(&self) -> Bf16Rule {
        Bf16Rule::Moves
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        let (_, size, inner) = blocks(inputs[0].meta(), self.axis);
        any!(inputs[0].meta().dtype, T => {
            movement::flip(size, inner, inputs[0].values::<T>(), outputs[0].values::<T>());
        });
    }

    fn reach(&self, _which: usize, inputs: &[Shape], output: &Shape) -> Reaches {
        let turned = |size: usize| reach::ranges(size, |o| size - 1 - o..size - o);
        reach::along(&inputs[0], output, self.axis, turned)
    }

    fn grad(&self, _saved: Saved, mut dy: Grads, _needs: Mask) -> Result<Grads> {
        Ok(Grads::from_iter([Some(apply(self.clone(), [dy[0].take().expect("one output")])?)]))
    }
}

impl Tensor {
    /// The named axes in reverse order.
    ///
    /// ```
    /// # use rasgo_core::Tensor;
    /// let x = Tensor::arange(0.0, 4.0, 1.0)?.reshape([2, 2])?;
    /// assert_eq!(x.flip(&[-1])?.to_vec::<f32>()?, [1.0, 0.0, 3.0, 2.0]);
    /// # Ok::<(), rasgo_core::Error>(())
    /// ```
    #[track_caller]
    pub fn flip(&self, axes: &[isize]) -> Result<Tensor> {
        let at = Location::caller();
        let axes = axes_of(axes, self.shape().len().max(1)).map_err(|error| error.op("flip").at(at))?;
        let mut y = self.clone();
        if self.shape().is_empty() {
            return Ok(y);
        }
        for axis in axes {
            y = apply(Flip { axis }, [y])?;
        }
        Ok(y)
    }

    /// Each axis moved on by its shift; what leaves at the end comes in at the front.
    ///
    /// ```
    /// # use rasgo_core::Tensor;
    /// let x = Tensor::arange(0.0, 4.0, 1.0)?;
    /// assert_eq!(x.roll(&[1], &[0])?.to_vec::<f32>()?, [3.0, 0.0, 1.0, 2.0]);
    /// # Ok::<(), rasgo_core::Error>(())
    /// ```
    #[track_caller]
    pub fn roll(&self, shifts: &[isize], axes: &[isize]) -> Result<Tensor> {
        let at = Location::caller();
        if shifts.len() != axes.len() {
            let text = format!("{} shifts for {} axes", shifts.len(), axes.len());
            return Err(Error::argument(text).hint("give one for each axis").op("roll").at(at));
        }
        let mut y = self.clone();
        for (&shift, &name) in shifts.iter().zip(axes) {
            let axis = axis_of(name, self.shape().len()).map_err(|error| error.op("roll").at(at))?;
            let size = y.shape()[axis];
            // An axis of nothing stays.
            let shift = if size == 0 { 0 } else { shift.rem_euclid(size as isize) as usize };
            if shift > 0 {
                let (front, back) = (y.narrow(name, 0, size - shift)?, y.narrow(name, size - shift, shift)?);
                y = Tensor::cat(&[back, front], name)?;
            }
        }
        Ok(y)
    }
}

#[cfg(test)]
mod tests {
    use super::super::grad_check::{check, normal};
    use crate::{DType, Tensor};

    #[test]
    fn turned_axes_have_the_gradients_of_their_differences() {
        check(&[normal([2, 3, 4, 5], 1).to_channels_last()], |x| x[0].flip(&[1, -1]));
        check(&[normal([2, 5, 3], 1)], |x| x[0].roll(&[2, -7], &[1, 2]));
    }

    #[test]
    fn every_dtype_and_nothing_turn_round() {
        let x = Tensor::from_vec(vec![1u8, 2, 3, 4, 5, 6], [2, 3]).unwrap();
        assert_eq!(x.flip(&[0, 1]).unwrap().to_vec::<u8>().unwrap(), [6, 5, 4, 3, 2, 1]);
        assert_eq!(x.roll(&[-1], &[1]).unwrap().to_vec::<u8>().unwrap(), [2, 3, 1, 5, 6, 4]);
        assert_eq!(Tensor::scalar(3i64).flip(&[-1]).unwrap().item::<i64>().unwrap(), 3);
        let none = Tensor::zeros([0, 3], DType::F32).unwrap();
        assert_eq!(**none.flip(&[0]).unwrap().roll(&[5], &[0]).unwrap().shape(), [0, 3]);
        assert!(x.flip(&[0, -2]).unwrap_err().to_string().contains("comes twice"));
        assert!(x.roll(&[1, 2], &[0]).unwrap_err().to_string().contains("2 shifts for 1 axes"));
    }
}
