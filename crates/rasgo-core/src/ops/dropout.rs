//! Dropout with a mask that is a function of its key, so that backward computes it again instead of keeping it.

use rasgo_kernels::threads::parallel_chunks;

use super::{expect_float, float};
use crate::error::{Error, Result};
use crate::meta::Meta;
use crate::op::{Grads, Input, Mask, Metas, Op, Output, Saved, apply};
use crate::random::Key;
use crate::tensor::Tensor;

/// y = x / (1 - p) where the key's number at that place is at least p, 0 elsewhere.
#[derive(Debug, Clone, Copy)]
struct Dropout {
    p: f64,
    key: Key,
}

impl Op for Dropout {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        expect_float(inputs)?;
        if !(0.0..=1.0).contains(&self.p) {
            return Err(Error::argument(format!("probability {} is not in 0..1", self.p)));
        }
        Ok(Metas::from_iter([inputs[0].clone()]))
    }

    fn in_place(&self) -> Option<usize> {
        Some(0)
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        const CHUNK: usize = 4096;
        float!(inputs[0].meta().dtype, T => {
            let dst = outputs[0].values::<T>();
            if !inputs[0].is_donated() {
                dst.copy_from_slice(inputs[0].values::<T>());
            }
            let scale = if self.p < 1.0 { (1.0 / (1.0 - self.p)) as T } else { 0.0 };
            parallel_chunks(dst, CHUNK, |chunk, values| {
                for (block, four) in values.chunks_mut(4).enumerate() {
                    let bits = self.key.bits((chunk * CHUNK / 4 + block) as u64);
                    for (x, bits) in four.iter_mut().zip(bits) {
                        let kept = f64::from(bits >> 8) / f64::from(1u32 << 24) >= self.p;
                        *x = if kept { *x * scale } else { 0.0 };
                    }
                }
            });
        });
    }

    fn grad(&self, _saved: Saved, mut dy: Grads, _needs: Mask) -> Result<Grads> {
        Ok(Grads::from_iter([Some(apply(*self, [dy[0].take().expect("one output")])?)]))
    }
}

impl Tensor {
    /// Sets each element to zero with probability p and scales the others by 1 / (1 - p).
    #[track_caller]
    pub fn dropout(self, p: f64, key: Key) -> Result<Tensor> {
        apply(Dropout { p, key }, [self])
    }
}

#[cfg(test)]
mod tests {
    use super::super::grad_check::{check, normal};
    use super::*;

    #[test]
    fn dropout_has_the_gradient_of_its_differences_and_keeps_the_mean() {
        let key = Key::new(5, 6);
        check(&[normal([3, 7], 1)], |x| x[0].clone().dropout(0.4, key));
        let ones = Tensor::ones([100, 100], crate::DType::F32).unwrap();
        let mean = ones.dropout(0.3, key).unwrap().mean().unwrap().item::<f32>().unwrap();
        assert!((mean - 1.0).abs() < 0.02, "{mean}");
    }
}
