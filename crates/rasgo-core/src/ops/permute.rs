//! Another order of the axes, as a copy.

use rasgo_kernels::elementwise;

use super::{any, axes_of, axis_of};
use crate::counters::count_copy;
use crate::error::{Error, Result};
use crate::meta::{Meta, Shape};
use crate::op::{Bf16Rule, Grads, Input, LayoutRule, Mask, Metas, Op, Output, Saved, apply};
use crate::reach::{self, Reaches};
use crate::tensor::Tensor;

#[derive(Debug)]
struct Permute(Vec<usize>);

impl Op for Permute {
    fn name(&self) -> &'static str {
        "permute"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        let shape = &inputs[0].shape;
        let sizes: Shape = self.0.iter().map(|&axis| shape[axis]).collect();
        Ok(Metas::from_iter([Meta::plain(sizes, inputs[0].dtype)]))
    }

    fn layout(&self) -> LayoutRule {
        LayoutRule::Plain
    }

    fn bf16(&self) -> Bf16Rule {
        Bf16Rule::Moves
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        count_copy();
        let own = inputs[0].meta().shape.strides();
        let strides: Vec<usize> = self.0.iter().map(|&axis| own[axis]).collect();
        let shape = outputs[0].meta().shape.clone();
        any!(inputs[0].meta().dtype, T => {
            elementwise::copy_strided(&shape, inputs[0].values::<T>(), &strides, outputs[0].values::<T>());
        });
    }

    fn reach(&self, _which: usize, inputs: &[Shape], output: &Shape) -> Reaches {
        let in_place = (2..self.0.len()).all(|axis| self.0[axis] == axis);
        if in_place { reach::by_shape(&inputs[0], output) } else { reach::everything(&inputs[0]) }
    }

    fn grad(&self, _saved: Saved, mut dy: Grads, _needs: Mask) -> Result<Grads> {
        let mut back = vec![0isize; self.0.len()];
        for (to, &from) in self.0.iter().enumerate() {
            back[from] = to as isize;
        }
        Ok(Grads::from_iter([Some(dy[0].take().expect("one output").permute(&back)?)]))
    }
}

impl Tensor {
    /// Axis `i` of the result is axis `order[i]` of this tensor; a negative one counts from the end.
    ///
    /// ```
    /// # use rasgo_core::{DType, Tensor};
    /// let x = Tensor::zeros([2, 3, 5], DType::F32)?;
    /// assert_eq!(**x.permute(&[-1, 0, 1])?.shape(), [5, 2, 3]);
    /// # Ok::<(), rasgo_core::Error>(())
    /// ```
    #[track_caller]
    pub fn permute(&self, order: &[isize]) -> Result<Tensor> {
        let at = std::panic::Location::caller();
        let rank = self.shape().len();
        let axes = axes_of(order, rank).map_err(|error| error.op("permute").at(at))?;
        if axes.len() != rank {
            let text = format!("{order:?} does not name each axis of {} once", self.shape());
            return Err(Error::argument(text).op("permute").at(at));
        }
        apply(Permute(axes), [self.clone()])
    }

    /// The two axes change places.
    ///
    /// ```
    /// # use rasgo_core::{DType, Tensor};
    /// let x = Tensor::zeros([2, 3, 5], DType::F32)?;
    /// assert_eq!(**x.transpose(0, -1)?.shape(), [5, 3, 2]);
    /// # Ok::<(), rasgo_core::Error>(())
    /// ```
    #[track_caller]
    pub fn transpose(&self, axis0: isize, axis1: isize) -> Result<Tensor> {
        let at = std::panic::Location::caller();
        let rank = self.shape().len();
        let place = |axis| axis_of(axis, rank).map_err(|error| error.op("transpose").at(at));
        let mut order: Vec<usize> = (0..rank).collect();
        order.swap(place(axis0)?, place(axis1)?);
        apply(Permute(order), [self.clone()])
    }
}

#[cfg(test)]
mod tests {
    use super::super::grad_check::{check, normal};

    #[test]
    fn a_permutation_and_its_gradient_are_inverse() {
        check(&[normal([2, 3, 4], 1)], |x| x[0].permute(&[2, 0, 1]));
        let x = normal([2, 3, 4, 5], 1);
        let back = x.permute(&[3, 1, 0, 2]).unwrap().permute(&[2, 1, 3, 0]).unwrap();
        assert_eq!(back.to_f64_vec().unwrap(), x.to_f64_vec().unwrap());
    }
}
