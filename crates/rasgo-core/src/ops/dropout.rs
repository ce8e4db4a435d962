//! Dropout with a mask that is a function of its key, so that backward computes it again instead of keeping it.
//!
//! ```text
//! y[i] = x[i] / (1 - p) where uniform(key, i) is at least p, x[i] * 0 elsewhere
//! ```
//! `i` counts the elements (or the channels n * C + c) in the order of the shape, whatever the layout: so the mask of a
//! map does not depend on how it lies, and backward has that of forward even where the gradient lies otherwise.

use rasgo_kernels::Float;
use rasgo_kernels::threads::parallel_chunks;

use super::{expect_float, float};
use crate::error::{Error, Result};
use crate::meta::{Layout, Meta};
use crate::op::{Grads, Input, Mask, Metas, Op, Output, Saved, apply};
use crate::random::Key;
use crate::tensor::Tensor;

#[derive(Debug, Clone, Copy)]
struct Dropout {
    p: f64,
    key: Key,
    /// Whether whole channels are dropped.
    channels: bool,
}

/// Elements whose factors are computed at a time.
const RUN: usize = 64;
/// Elements of a task.
const CHUNK: usize = 4096;

impl Dropout {
    /// The factors at `start..start + factors.len()`.
    fn factors<T: Float>(&self, start: usize, factors: &mut [T]) {
        let scale = if self.p < 1.0 { T::from_f64(1.0 / (1.0 - self.p)) } else { T::ZERO };
        let factor = |bits: u32| {
            let kept = f64::from(bits >> 8) / f64::from(1u32 << 24) >= self.p;
            if kept { scale } else { T::ZERO }
        };
        let mut done = 0;
        while done < factors.len() {
            let at = start + done;
            let four = self.key.bits((at / 4) as u64);
            let len = (4 - at % 4).min(factors.len() - done);
            for (factor_of, &bits) in factors[done..done + len].iter_mut().zip(&four[at % 4..]) {
                *factor_of = factor(bits);
            }
            done += len;
        }
    }

    /// y *= factor, for the elements of a plain tensor from `start` on.
    fn elements<T: Float>(&self, start: usize, y: &mut [T]) {
        let mut factors = [T::ZERO; RUN];
        for (i, y) in y.chunks_mut(RUN).enumerate() {
            let factors = &mut factors[..y.len()];
            self.factors(start + i * RUN, factors);
            y.iter_mut().zip(factors).for_each(|(y, factor)| *y = *y * *factor);
        }
    }

    /// As [`elements`](Self::elements), where the channels of a pixel lie side by side: `y` is whole pixels.
    fn pixels<T: Float>(&self, pixels: usize, c: usize, mut pixel: usize, mut y: &mut [T]) {
        let mut factors = [T::ZERO; RUN];
        while !y.is_empty() {
            // A run of one image, so that a channel's positions follow each other.
            let (image, at) = (pixel / pixels, pixel % pixels);
            let len = (y.len() / c).min(pixels - at).min(RUN);
            let (run, rest) = y.split_at_mut(len * c);
            for channel in 0..c {
                self.factors((image * c + channel) * pixels + at, &mut factors[..len]);
                for (y, factor) in run[channel..].iter_mut().step_by(c).zip(&factors) {
                    *y = *y * *factor;
                }
            }
            (y, pixel) = (rest, pixel + len);
        }
    }

    /// y *= factor of the channel, of a plain tensor from `start` on.
    fn planes<T: Float>(&self, pixels: usize, start: usize, mut y: &mut [T]) {
        let mut at = start;
        while !y.is_empty() {
            let (plane, rest) = y.split_at_mut(y.len().min(pixels - at % pixels));
            let mut factor = [T::ZERO];
            self.factors(at / pixels, &mut factor);
            plane.iter_mut().for_each(|y| *y = *y * factor[0]);
            (y, at) = (rest, at + plane.len());
        }
    }

    /// As [`planes`](Self::planes), where the channels of a pixel lie side by side; from element `start` on.
    fn rows<T: Float>(&self, pixels: usize, c: usize, start: usize, mut y: &mut [T]) {
        let mut factors = [T::ZERO; RUN];
        let mut at = start;
        while !y.is_empty() {
            let (image, channel) = (at / (pixels * c), at % c);
            let len = y.len().min(c - channel).min(RUN);
            let (run, rest) = y.split_at_mut(len);
            self.factors(image * c + channel, &mut factors[..len]);
            run.iter_mut().zip(&factors).for_each(|(y, factor)| *y = *y * *factor);
            (y, at) = (rest, at + len);
        }
    }
}

impl Op for Dropout {
    fn name(&self) -> &'static str {
        if self.channels { "feature_dropout" } else { "dropout" }
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        expect_float(inputs)?;
        if !(0.0..=1.0).contains(&self.p) {
            return Err(Error::argument(format!("probability {} is not in 0..1", self.p))
                .hint("it is the share of values that become 0, as 0.5"));
        }
        if self.channels && inputs[0].shape.len() < 2 {
            return Err(Error::shape(format!("input {}: it must be (N, C, …)", inputs[0].shape))
                .hint("drop single elements with dropout"));
        }
        Ok(Metas::from_iter([inputs[0].clone()]))
    }

    fn in_place(&self) -> Option<usize> {
        Some(0)
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        let meta = inputs[0].meta().clone();
        let last = meta.layout == Layout::ChannelsLast;
        let pixels: usize = meta.shape.iter().skip(2).product();
        let c = meta.shape.get(1).copied().unwrap_or(1);
        float!(meta.dtype, T => {
            let dst = outputs[0].values::<T>();
            if !inputs[0].is_donated() {
                dst.copy_from_slice(inputs[0].values::<T>());
            }
            // Whole pixels where the layout has such.
            let len = if last { (CHUNK / c).max(RUN) * c } else { CHUNK };
            parallel_chunks(dst, len, |i, y| match (self.channels, last) {
                (false, false) => self.elements(i * len, y),
                (false, true) => self.pixels(pixels, c, i * len / c, y),
                (true, false) => self.planes(pixels, i * len, y),
                (true, true) => self.rows(pixels, c, i * len, y),
            });
        });
    }

    fn grad(&self, _saved: Saved, mut dy: Grads, _needs: Mask) -> Result<Grads> {
        Ok(Grads::from_iter([Some(apply(*self, [dy[0].take().expect("one output")])?)]))
    }
}

impl Tensor {
    /// Sets each element to zero with probability p and scales the others by 1 / (1 - p). The mask is a function of the
    /// key and of the element's place in the shape.
    ///
    /// ```
    /// # use rasgo_core::{DType, Tensor, random::Key};
    /// let y = Tensor::ones([100], DType::F32)?.dropout(0.5, Key::new(1, 2))?;
    /// assert!(y.to_vec::<f32>()?.iter().all(|&y| y == 0.0 || y == 2.0));
    /// # Ok::<(), rasgo_core::Error>(())
    /// ```
    #[track_caller]
    pub fn dropout(self, p: f64, key: Key) -> Result<Tensor> {
        apply(Dropout { p, key, channels: false }, [self])
    }

    /// As [`dropout`](Self::dropout), but of whole channels of (N, C, …), as `dropout1d`, `dropout2d` and `dropout3d`.
    #[track_caller]
    pub fn dropout_channels(self, p: f64, key: Key) -> Result<Tensor> {
        apply(Dropout { p, key, channels: true }, [self])
    }
}

#[cfg(test)]
mod tests {
    use rasgo_kernels::settings::with_threads;

    use super::super::grad_check::{check, normal};
    use super::*;
    use crate::DType;

    #[test]
    fn dropout_has_the_gradient_of_its_differences_and_keeps_the_mean() {
        let key = Key::new(5, 6);
        check(&[normal([3, 7], 1)], |x| x[0].clone().dropout(0.4, key));
        check(&[normal([3, 7, 2], 1)], |x| x[0].clone().dropout_channels(0.4, key));
        let ones = Tensor::ones([100, 100], crate::DType::F32).unwrap();
        for y in [ones.clone().dropout(0.3, key), ones.dropout_channels(0.3, key)] {
            let mean = y.unwrap().mean().unwrap().item::<f32>().unwrap();
            assert!((mean - 1.0).abs() < 0.02, "{mean}");
        }
    }

    #[test]
    fn the_mask_is_a_function_of_the_place_in_the_shape_at_any_layout_and_threads() {
        let key = Key::new(1, 9);
        for shape in
            [vec![3, 5, 4, 7], vec![2, 130, 3, 1], vec![5, 3, 900], vec![2, 3, 2, 3, 5], vec![4, 70, 90]]
        {
            let x = normal(shape, 1);
            let map = x.clone().to_channels_last();
            for op in [Tensor::dropout, Tensor::dropout_channels] {
                let wanted = with_threads(1, || op(x.clone(), 0.4, key).unwrap().to_vec::<f64>().unwrap());
                for threads in [1, 2, 3] {
                    let found = with_threads(threads, || op(map.clone(), 0.4, key).unwrap());
                    assert_eq!(found.to_vec::<f64>().unwrap(), wanted);
                }
            }
        }
    }

    #[test]
    fn a_gradient_that_lies_otherwise_meets_the_same_mask() {
        let x = normal([2, 3, 4, 5], 1).to_channels_last().requires_grad();
        let y = x.clone().dropout(0.5, Key::new(2, 3)).unwrap();
        let ones = Tensor::ones([2, 3, 4, 5], DType::F64).unwrap();
        let grads = y.backward_with(ones).unwrap();
        let (y, x_values) = (y.to_vec::<f64>().unwrap(), x.to_vec::<f64>().unwrap());
        for (i, dx) in grads.get(&x).unwrap().to_vec::<f64>().unwrap().into_iter().enumerate() {
            assert_eq!(y[i], x_values[i] * dx);
        }
    }

    #[test]
    fn a_channel_is_dropped_whole() {
        let y =
            Tensor::ones([4, 8, 3, 2], DType::F32).unwrap().dropout_channels(0.5, Key::new(7, 7)).unwrap();
        let y = y.to_vec::<f32>().unwrap();
        assert!(y.chunks(6).all(|plane| plane.iter().all(|y| *y == plane[0])));
        assert!(y.contains(&0.0) && y.contains(&2.0));
    }

    #[test]
    fn probabilities_of_0_and_1_keep_and_drop_all_and_others_are_refused() {
        let (x, key) = (normal([2, 3, 4], 1), Key::new(1, 1));
        for op in [Tensor::dropout, Tensor::dropout_channels] {
            assert_eq!(op(x.clone(), 0.0, key).unwrap().to_vec::<f64>().unwrap(), x.to_vec::<f64>().unwrap());
            assert!(op(x.clone(), 1.0, key).unwrap().to_vec::<f64>().unwrap().iter().all(|&y| y == 0.0));
            for p in [-0.1, 1.5, f64::NAN] {
                assert!(op(x.clone(), p, key).unwrap_err().to_string().contains("not in 0..1"));
            }
            let empty = Tensor::zeros([0, 3, 4], DType::F32).unwrap();
            assert_eq!(**op(empty, 0.5, key).unwrap().shape(), [0, 3, 4]);
        }
        // As in PyTorch: what is dropped is multiplied by 0.
        assert!(Tensor::scalar(f32::INFINITY).dropout(1.0, key).unwrap().item::<f32>().unwrap().is_nan());
    }
}
