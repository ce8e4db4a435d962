//! The rectifier whose slope below zero is learned (He et al. 2015).
//!
//! ```text
//! y[n, c, …] = x[n, c, …] where that is positive, weight[c] * x[n, c, …] elsewhere
//! ```

use rasgo_kernels::threads::parallel_chunks;

use super::sided::Sided;
use super::{expect_float, float};
use crate::error::{Error, Result};
use crate::meta::{Layout, Meta, Shape};
use crate::op::{Grads, Input, LayoutRule, Mask, Metas, Op, Output, Saved, Saves, apply};
use crate::tensor::Tensor;

#[derive(Debug)]
struct Prelu;

/// Channels: axis 1, and one where there is no such axis.
fn channels(shape: &Shape) -> usize {
    shape.get(1).copied().unwrap_or(1)
}

impl Op for Prelu {
    fn name(&self) -> &'static str {
        "prelu"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        expect_float(inputs)?;
        let (x, weight) = (&inputs[0].shape, &inputs[1].shape);
        let c = channels(x);
        if weight.len() > 1 || (weight.elements() != 1 && weight.elements() != c) {
            return Err(Error::shape(format!("weight {weight} for input {x} with {c} channels"))
                .hint(format!("give one slope, shape [1], or one for each channel, shape [{c}]")));
        }
        Ok(Metas::from_iter([inputs[0].clone()]))
    }

    fn layout(&self) -> LayoutRule {
        LayoutRule::AsIs
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        const CHUNK: usize = 1 << 14;
        let meta = inputs[0].meta();
        let c = channels(&meta.shape).max(1);
        // Elements of one channel that lie side by side.
        let run = match meta.layout {
            Layout::ChannelsLast => 1,
            Layout::Plain => meta.shape.iter().skip(2).product::<usize>().max(1),
        };
        float!(meta.dtype, T => {
            let (x, weight) = (inputs[0].values::<T>(), inputs[1].values::<T>());
            parallel_chunks(outputs[0].values::<T>(), CHUNK, |chunk, y| {
                let start = chunk * CHUNK;
                let mut done = 0;
                while done < y.len() {
                    let at = start + done;
                    let len = if weight.len() == 1 { y.len() } else { (run - at % run).min(y.len() - done) };
                    let slope = weight[if weight.len() == 1 { 0 } else { at / run % c }];
                    for (y, &x) in y[done..done + len].iter_mut().zip(&x[at..at + len]) {
                        *y = if x > 0.0 { x } else { slope * x };
                    }
                    done += len;
                }
            });
        });
    }

    fn saves(&self) -> Saves {
        Saves { inputs: Mask::of(&[0, 1]), outputs: Mask::NONE }
    }

    fn grad(&self, mut saved: Saved, mut dy: Grads, needs: Mask) -> Result<Grads> {
        let (dy, x, weight) = (dy[0].take().expect("one output"), saved.input(0), saved.input(1));
        let side = x.detach();
        // One slope for each channel, aligned with axis 1.
        let mut aligned = vec![1; x.shape().len()];
        if let Some(c) = aligned.get_mut(1) {
            *c = weight.shape().elements();
        }
        let below = apply(Sided::NotAbove, [dy.clone(), side.clone()])?;
        let dx = match needs.has(0) {
            true => {
                let sloped = (&below * weight.reshape(aligned.clone())?)?;
                Some((apply(Sided::Above, [dy, side])? + sloped)?)
            }
            false => None,
        };
        let dweight = match needs.has(1) {
            true => {
                // An infinite x that is above has no part in it.
                let x = apply(Sided::NotAbove, [x.clone(), x.detach()])?;
                Some((below * x)?.sum_to(&aligned.into())?.reshape(weight.shape().clone())?)
            }
            false => None,
        };
        Ok(Grads::from_iter([dx, dweight]))
    }
}

impl Tensor {
    /// x where positive, weight * x elsewhere; the weight is one number, or one for each channel (axis 1).
    ///
    /// ```
    /// # use rasgo_core::Tensor;
    /// let x = Tensor::from_vec(vec![-4.0f32, 2.0, 6.0, -8.0], [2, 2])?;
    /// let y = x.prelu(&Tensor::from_vec(vec![0.5f32, 0.25], [2])?)?;
    /// assert_eq!(y.to_vec::<f32>()?, [-2.0, 2.0, 6.0, -2.0]);
    /// # Ok::<(), rasgo_core::Error>(())
    /// ```
    #[track_caller]
    pub fn prelu(&self, weight: &Tensor) -> Result<Tensor> {
        apply(Prelu, [self.clone(), weight.clone()])
    }
}

#[cfg(test)]
mod tests {
    use super::super::grad_check::{check, check_twice, normal};
    use super::*;
    use crate::DType;

    #[test]
    fn prelu_has_the_gradients_of_its_differences() {
        for (shape, slopes) in [
            (vec![2, 3, 4], 3),
            (vec![2, 3, 4], 1),
            (vec![5], 1),
            (vec![], 1),
            (vec![4, 3], 3),
            (vec![2, 3, 2, 5], 3),
        ] {
            let inputs = [normal(shape, 1), normal([slopes], 2)];
            check(&inputs, |x| x[0].prelu(&x[1]));
            check_twice(&inputs, |x| x[0].prelu(&x[1]));
            if inputs[0].shape().len() == 4 {
                let map = [inputs[0].clone().to_channels_last(), inputs[1].clone()];
                let y = map[0].prelu(&map[1]).unwrap().to_vec::<f64>().unwrap();
                assert_eq!(y, inputs[0].prelu(&inputs[1]).unwrap().to_vec::<f64>().unwrap());
                check(&map, |x| x[0].prelu(&x[1]));
            }
        }
    }

    #[test]
    fn zero_is_below_and_infinity_above_has_no_part_in_the_slope() {
        let x = Tensor::from_vec(vec![0.0f32, f32::INFINITY, -2.0], [3]).unwrap().requires_grad();
        let weight = Tensor::from_vec(vec![0.25f32], [1]).unwrap().requires_grad();
        let grads = x.prelu(&weight).unwrap().backward_with(Tensor::ones([3], DType::F32).unwrap()).unwrap();
        assert_eq!(grads.get(&x).unwrap().to_vec::<f32>().unwrap(), [0.25, 1.0, 0.25]);
        assert_eq!(grads.get(&weight).unwrap().to_vec::<f32>().unwrap(), [-2.0]);
    }

    #[test]
    fn a_weight_that_does_not_fit_is_refused() {
        let x = Tensor::ones([2, 3], DType::F32).unwrap();
        for weight in [vec![2], vec![1, 3], vec![0]] {
            let weight = Tensor::ones(weight, DType::F32).unwrap();
            assert!(x.prelu(&weight).unwrap_err().to_string().contains("3 channels"));
        }
        let none = Tensor::ones([0, 3], DType::F32).unwrap();
        assert_eq!(**none.prelu(&Tensor::ones([3], DType::F32).unwrap()).unwrap().shape(), [0, 3]);
    }
}
