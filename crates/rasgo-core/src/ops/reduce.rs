//! Sums and means over axes; arg-max.

use rasgo_kernels::reduce;

use super::{expect_float, float};
use crate::error::{Error, Result};
use crate::meta::{Meta, Shape};
use crate::op::{Grads, Input, LayoutRule, Mask, Metas, Op, Output, Saved, apply};
use crate::tensor::Tensor;

/// y = sum of x over the marked axes, which stay with size 1.
#[derive(Debug)]
struct SumAxes(Vec<bool>);

impl Op for SumAxes {
    fn name(&self) -> &'static str {
        "sum"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        expect_float(inputs)?;
        let sizes: Shape =
            inputs[0].shape.iter().zip(&self.0).map(|(&size, &gone)| if gone { 1 } else { size }).collect();
        Ok(Metas::from_iter([inputs[0].with_shape(sizes)]))
    }

    fn layout(&self) -> LayoutRule {
        LayoutRule::AsIs
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        let meta = inputs[0].meta();
        let order = meta.memory_order();
        let sizes: Vec<usize> = order.iter().map(|&axis| meta.shape[axis]).collect();
        let gone: Vec<bool> = order.iter().map(|&axis| self.0[axis]).collect();
        float!(meta.dtype, T => {
            reduce::sum_axes(&sizes, &gone, inputs[0].values::<T>(), outputs[0].values::<T>());
        });
    }

    fn grad(&self, saved: Saved, mut dy: Grads, _needs: Mask) -> Result<Grads> {
        let shape = saved.input_shape(0);
        Ok(Grads::from_iter([Some(dy[0].take().expect("one output").broadcast_to(shape)?)]))
    }
}

impl Tensor {
    /// The sum of all elements, as a scalar.
    #[track_caller]
    pub fn sum(&self) -> Result<Tensor> {
        apply(SumAxes(vec![true; self.shape().len()]), [self.clone()])?.reshape([])
    }

    /// The mean of all elements, as a scalar.
    #[track_caller]
    pub fn mean(&self) -> Result<Tensor> {
        let elements = self.shape().elements();
        self.sum()?.scale(1.0 / elements as f64)
    }

    /// The sum over axes; they stay with size 1 if `keep` says so.
    #[track_caller]
    pub fn sum_axes(&self, axes: &[usize], keep: bool) -> Result<Tensor> {
        let rank = self.shape().len();
        let mut gone = vec![false; rank];
        for &axis in axes {
            if axis >= rank {
                return Err(Error::argument(format!("axis {axis} of a tensor of shape {}", self.shape()))
                    .op("sum")
                    .at(std::panic::Location::caller()));
            }
            gone[axis] = true;
        }
        let sizes: Shape =
            self.shape().iter().zip(&gone).filter(|(_, gone)| !**gone).map(|(&size, _)| size).collect();
        let kept = apply(SumAxes(gone), [self.clone()])?;
        if keep { Ok(kept) } else { kept.reshape(sizes) }
    }

    /// The mean over axes; they stay with size 1 if `keep` says so.
    #[track_caller]
    pub fn mean_axes(&self, axes: &[usize], keep: bool) -> Result<Tensor> {
        let sum = self.sum_axes(axes, keep)?;
        let elements = self.shape().elements() as f64 / sum.shape().elements().max(1) as f64;
        sum.scale(1.0 / elements)
    }

    /// Sums what broadcasting repeated: the gradient of a broadcast from `shape`.
    #[track_caller]
    pub(crate) fn sum_to(&self, shape: &Shape) -> Result<Tensor> {
        if self.shape() == shape {
            return Ok(self.clone());
        }
        let missing = self.shape().len() - shape.len();
        let gone = (0..self.shape().len())
            .map(|axis| axis < missing || shape[axis - missing] == 1 && self.shape()[axis] != 1)
            .collect();
        apply(SumAxes(gone), [self.clone()])?.reshape(shape.clone())
    }

    /// The position of the largest value in each row of an (N, C) tensor; the first of equals, and NaN is largest.
    #[track_caller]
    pub fn argmax_rows(&self) -> Result<Vec<usize>> {
        let at = std::panic::Location::caller();
        if self.shape().len() != 2 || self.shape()[1] == 0 {
            return Err(Error::shape(format!("rows of a tensor of shape {}", self.shape()))
                .op("argmax")
                .at(at));
        }
        let values = self.to_f64_vec()?;
        Ok(values
            .chunks_exact(self.shape()[1])
            .map(|row| {
                let mut best = 0;
                for (i, &x) in row.iter().enumerate() {
                    if x > row[best] || x.is_nan() && !row[best].is_nan() {
                        best = i;
                    }
                }
                best
            })
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::super::grad_check::{check, normal};

    #[test]
    fn sums_and_means_have_the_gradients_of_their_differences() {
        check(&[normal([2, 3, 4], 1)], |x| x[0].sum());
        check(&[normal([2, 3, 4], 1)], |x| x[0].mean_axes(&[0, 2], true));
        check(&[normal([2, 3, 4], 1)], |x| x[0].sum_axes(&[1], false));
    }

    #[test]
    fn a_map_is_summed_as_it_lies_and_keeps_the_axes_in_order() {
        let x = normal([2, 3, 4, 5], 1);
        let map = x.clone().to_channels_last();
        for axes in [vec![0], vec![1], vec![2, 3], vec![0, 2, 3], vec![1, 3], vec![0, 1, 2, 3]] {
            let expected = x.sum_axes(&axes, true).unwrap().to_vec::<f64>().unwrap();
            let found = map.sum_axes(&axes, true).unwrap().to_vec::<f64>().unwrap();
            assert!(expected.iter().zip(&found).all(|(a, b)| (a - b).abs() < 1e-12), "{axes:?}");
            check(std::slice::from_ref(&map), |x| x[0].sum_axes(&axes, false));
        }
    }

    #[test]
    fn the_first_of_equal_maxima_wins() {
        let x = crate::Tensor::from_vec(vec![1.0f32, 3.0, 3.0, f32::NAN, 9.0, 0.0], [2, 3]).unwrap();
        assert_eq!(x.argmax_rows().unwrap(), [1, 0]);
    }
}
