//! softmax and log_softmax along an axis.
//!
//! ```text
//! y[…, j, …] = e^x[…, j, …] / sum over k of e^x[…, k, …], or the logarithm of that
//! ```

use rasgo_kernels::softmax::{self, Axis};

use super::{axis_of, expect_float, float};
use crate::error::{Error, Result};
use crate::meta::{Meta, Shape};
use crate::op::{Grads, Input, Mask, Metas, Op, Output, Saved, Saves, apply};
use crate::reach::{self, Reaches};
use crate::tensor::Tensor;

#[derive(Debug, Clone, Copy)]
struct Softmax {
    log: bool,
    /// Of the logical shape; a scalar has an axis 0 of size 1.
    axis: usize,
}

impl Softmax {
    /// How the axis lies in memory.
    fn problem(&self, meta: &Meta) -> Axis {
        if meta.shape.is_empty() {
            return Axis::rows(1, 1);
        }
        let order = meta.memory_order();
        let at = order.iter().position(|&axis| axis == self.axis).expect("checked when it was made");
        let product = |axes: &[usize]| axes.iter().map(|&axis| meta.shape[axis]).product();
        let (outer, inner) = (product(&order[..at]), product(&order[at + 1..]));
        Axis { outer, classes: meta.shape[self.axis], inner }
    }
}

impl Op for Softmax {
    fn name(&self) -> &'static str {
        if self.log { "log_softmax" } else { "softmax" }
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        expect_float(inputs)?;
        Ok(Metas::from_iter([inputs[0].clone()]))
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        let axis = self.problem(inputs[0].meta());
        float!(inputs[0].meta().dtype, T => {
            let kernel = if self.log { softmax::log_softmax } else { softmax::softmax };
            kernel(axis, inputs[0].values::<T>(), outputs[0].values::<T>());
        });
    }

    fn reach(&self, which: usize, inputs: &[Shape], output: &Shape) -> Reaches {
        reach::whole_axis(&inputs[which], output, self.axis)
    }

    fn saves(&self) -> Saves {
        Saves { inputs: Mask::NONE, outputs: Mask::of(&[0]) }
    }

    fn grad(&self, mut saved: Saved, mut dy: Grads, _needs: Mask) -> Result<Grads> {
        let dy = dy[0].take().expect("one output");
        Ok(Grads::from_iter([Some(apply(SoftmaxGrad(*self), [dy, saved.output(0)])?)]))
    }
}

/// dx from dy and y.
#[derive(Debug)]
struct SoftmaxGrad(Softmax);

impl Op for SoftmaxGrad {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        Ok(Metas::from_iter([inputs[0].clone()]))
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        let axis = self.0.problem(inputs[0].meta());
        float!(inputs[0].meta().dtype, T => {
            let (dy, y) = (inputs[0].values::<T>(), inputs[1].values::<T>());
            let kernel = if self.0.log { softmax::log_softmax_grad } else { softmax::softmax_grad };
            kernel(axis, y, dy, outputs[0].values::<T>());
        });
    }

    fn saves(&self) -> Saves {
        Saves { inputs: Mask::of(&[0, 1]), outputs: Mask::NONE }
    }

    fn grad(&self, mut saved: Saved, mut g: Grads, _needs: Mask) -> Result<Grads> {
        let (g, dy, y) = (g[0].take().expect("one output"), saved.input(0), saved.input(1));
        let sum =
            |x: Tensor| if x.shape().is_empty() { Ok(x) } else { x.sum_axes(&[self.0.axis as isize], true) };
        if self.0.log {
            // dx = dy - e^y sum(dy)
            let (p, total) = (y.exp()?, sum(dy)?);
            let by_y = ((&g * &p)? * total)?.scale(-1.0)?;
            let by_dy = (&g - sum((&g * &p)?)?)?;
            return Ok(Grads::from_iter([Some(by_dy), Some(by_y)]));
        }
        // dx = y (dy - sum(dy y)), which is symmetric in what multiplies dy.
        let centred = (&dy - sum((&dy * &y)?)?)?;
        let by_y = ((&g * centred)? - (dy * sum((&g * &y)?)?)?)?;
        Ok(Grads::from_iter([Some(apply(SoftmaxGrad(self.0), [g, y])?), Some(by_y)]))
    }
}

impl Tensor {
    #[track_caller]
    fn softmax_along(&self, log: bool, dim: isize) -> Result<Tensor> {
        let at = std::panic::Location::caller();
        // PyTorch takes a scalar for one row of one.
        match axis_of(dim, self.shape().len().max(1)) {
            Ok(axis) => apply(Softmax { log, axis }, [self.clone()]),
            Err(error) => Err(Error::op(error, if log { "log_softmax" } else { "softmax" }).at(at)),
        }
    }

    /// e^x / sum e^x along an axis; a negative one counts from the end.
    ///
    /// ```
    /// # use rasgo_core::Tensor;
    /// let x = Tensor::from_vec(vec![0.0f32, 1000.0, 0.0, 1000.0], [2, 2])?;
    /// assert_eq!(x.softmax(-1)?.to_vec::<f32>()?, [0.0, 1.0, 0.0, 1.0]);
    /// assert_eq!(x.softmax(0)?.to_vec::<f32>()?, [0.5; 4]);
    /// # Ok::<(), rasgo_core::Error>(())
    /// ```
    #[track_caller]
    pub fn softmax(&self, dim: isize) -> Result<Tensor> {
        self.softmax_along(false, dim)
    }

    /// x - ln(sum e^x) along an axis; a negative one counts from the end.
    #[track_caller]
    pub fn log_softmax(&self, dim: isize) -> Result<Tensor> {
        self.softmax_along(true, dim)
    }
}

#[cfg(test)]
mod tests {
    use super::super::grad_check::{check, check_twice, normal};
    use super::*;

    #[test]
    fn softmax_has_the_gradients_of_its_differences_twice() {
        for (shape, dim) in [(vec![3, 5], 1), (vec![3, 5], -2), (vec![2, 3, 4], 1), (vec![2, 3, 2, 4], -3)] {
            let x = normal(shape, 1);
            let mut inputs = vec![x.clone()];
            if x.shape().len() == 4 {
                inputs.push(x.to_channels_last());
            }
            for x in inputs {
                check(std::slice::from_ref(&x), |x| x[0].softmax(dim));
                check(std::slice::from_ref(&x), |x| x[0].log_softmax(dim));
                check_twice(std::slice::from_ref(&x), |x| x[0].softmax(dim));
                check_twice(std::slice::from_ref(&x), |x| x[0].log_softmax(dim));
            }
        }
    }

    #[test]
    fn every_axis_of_every_layout_is_the_last_of_a_permuted_tensor() {
        let x = normal([2, 3, 4, 5], 1);
        let map = x.clone().to_channels_last();
        for axis in 0..4 {
            let mut order = vec![0, 1, 2, 3];
            order.swap(axis, 3);
            let wanted = x.permute(&order).unwrap().softmax(-1).unwrap().permute(&order).unwrap();
            for x in [&x, &map] {
                let y = x.softmax(axis as isize).unwrap();
                assert_eq!(y.to_vec::<f64>().unwrap(), wanted.to_vec::<f64>().unwrap());
            }
        }
    }

    #[test]
    fn odd_shapes_and_values_are_as_in_pytorch() {
        let row = |x: &[f32]| Tensor::from_slice(x, [x.len()]).unwrap();
        assert_eq!(Tensor::scalar(3.0f32).softmax(-1).unwrap().item::<f32>().unwrap(), 1.0);
        let empty = Tensor::zeros([2, 0], crate::DType::F32).unwrap();
        for dim in [0, 1] {
            assert_eq!(**empty.softmax(dim).unwrap().shape(), [2, 0]);
        }
        let infinite = f32::NEG_INFINITY;
        assert_eq!(row(&[infinite, 1.0]).softmax(0).unwrap().to_vec::<f32>().unwrap(), [0.0, 1.0]);
        assert_eq!(row(&[infinite, 1.0]).log_softmax(0).unwrap().to_vec::<f32>().unwrap(), [infinite, 0.0]);
        for x in [[infinite, infinite], [f32::INFINITY, 0.0], [f32::NAN, 0.0]] {
            assert!(row(&x).softmax(0).unwrap().to_vec::<f32>().unwrap().iter().all(|y| y.is_nan()));
        }
        let error = row(&[1.0]).softmax(1).unwrap_err();
        assert_eq!(error.op_name(), Some("softmax"));
        assert_eq!(error.location().unwrap().file(), file!());
    }

    #[test]
    fn large_logits_do_not_overflow() {
        let x = Tensor::from_vec(vec![1000.0f32, 0.0, -1000.0], [1, 3]).unwrap();
        assert_eq!(x.softmax(1).unwrap().to_vec::<f32>().unwrap(), [1.0, 0.0, 0.0]);
    }
}
