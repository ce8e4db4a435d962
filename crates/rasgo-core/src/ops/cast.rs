//! Conversion between dtypes.

use rasgo_kernels::bf16;

use crate::error::Result;
use crate::meta::{DType, Meta};
use crate::op::{Bf16Rule, Grads, Input, Mask, Metas, Op, Output, Saved, apply};
use crate::tensor::Tensor;

/// y = x as another dtype: rounded to the nearest float, cut towards zero for integers.
#[derive(Debug)]
pub(crate) struct Cast {
    pub(crate) from: DType,
    pub(crate) to: DType,
}

impl Op for Cast {
    fn name(&self) -> &'static str {
        "to_dtype"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        Ok(Metas::from_iter([Meta { dtype: self.to, ..inputs[0].clone() }]))
    }

    fn bf16(&self) -> Bf16Rule {
        Bf16Rule::Moves
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        match (self.from, self.to) {
            (DType::F32, DType::Bf16) => return bf16::narrow(inputs[0].values(), outputs[0].values()),
            (DType::Bf16, DType::F32) => return bf16::widen(inputs[0].values(), outputs[0].values()),
            _ => {}
        }
        macro_rules! convert {
            ($($from:ident $F:ty => $($to:ident $T:ty),*;)*) => {
                match (self.from, self.to) {
                    $($((DType::$from, DType::$to) => {
                        for (y, &x) in outputs[0].values::<$T>().iter_mut().zip(inputs[0].values::<$F>()) {
                            *y = x as $T;
                        }
                    })*)*
                    (_, to) => unreachable!("bfloat16 is reached over float32, not as {to}"),
                }
            };
        }
        convert! {
            F32 f32 => F32 f32, F64 f64, I64 i64, U8 u8;
            F64 f64 => F32 f32, F64 f64, I64 i64, U8 u8;
            I64 i64 => F32 f32, F64 f64, I64 i64, U8 u8;
            U8 u8 => F32 f32, F64 f64, I64 i64, U8 u8;
        }
    }

    fn grad(&self, _saved: Saved, mut dy: Grads, _needs: Mask) -> Result<Grads> {
        Ok(Grads::from_iter([dy[0].take().map(|dy| dy.to_dtype(self.from)).transpose()?]))
    }
}

impl Tensor {
    /// The values converted to another dtype.
    #[track_caller]
    pub fn to_dtype(&self, to: DType) -> Result<Tensor> {
        if self.dtype() == to {
            return Ok(self.clone());
        }
        // Of bfloat16 there is one neighbour: all others are reached over it.
        let through_f32 =
            [self.dtype(), to].contains(&DType::Bf16) && ![self.dtype(), to].contains(&DType::F32);
        if through_f32 {
            return self.to_dtype(DType::F32)?.to_dtype(to);
        }
        apply(Cast { from: self.dtype(), to }, [self.clone()])
    }
}

#[cfg(test)]
mod tests {
    use super::super::grad_check::normal;
    use super::*;

    fn bf16(shape: [usize; 2], seed: u64) -> Tensor {
        normal(shape, seed).to_dtype(DType::Bf16).unwrap()
    }

    #[test]
    fn an_operation_on_bfloat16_is_that_on_float32_rounded() {
        let x = bf16([4, 33], 1);
        let wide = x.to_dtype(DType::F32).unwrap();
        let found = x.clone().tanh().unwrap();
        assert_eq!(found.dtype(), DType::Bf16);
        let expected = wide.tanh().unwrap().to_dtype(DType::Bf16).unwrap();
        assert_eq!(found.to_f64_vec().unwrap(), expected.to_f64_vec().unwrap());
        let turned = x.transpose(0, 1).unwrap();
        assert_eq!((turned.dtype(), &turned.shape()[..]), (DType::Bf16, &[33, 4][..]));
    }

    #[test]
    fn float32_first_stays_float32_and_a_loss_is_float32() {
        let (x, y) = (bf16([4, 5], 1), normal([4, 5], 2).to_dtype(DType::F32).unwrap());
        assert_eq!((&y * &x).unwrap().dtype(), DType::F32);
        assert_eq!((&x * &y).unwrap().dtype(), DType::Bf16);
        let target = Tensor::from_vec(vec![0i64, 1, 2, 4], [4]).unwrap();
        assert_eq!(x.cross_entropy(&target, Default::default()).unwrap().dtype(), DType::F32);
    }

    #[test]
    fn a_gradient_of_bfloat16_is_bfloat16() {
        let x = bf16([4, 5], 1).requires_grad();
        let target = Tensor::from_vec(vec![0i64, 1, 2, 4], [4]).unwrap();
        let loss = x.clone().tanh().unwrap().cross_entropy(&target, Default::default()).unwrap();
        let grads = loss.backward().unwrap();
        let found = grads.get(&x).unwrap();
        assert_eq!(found.dtype(), DType::Bf16);
        let x = x.detach().to_dtype(DType::F32).unwrap().requires_grad();
        let loss = x.clone().tanh().unwrap().cross_entropy(&target, Default::default()).unwrap();
        let expected = loss.backward().unwrap().remove(&x).unwrap().to_f64_vec().unwrap();
        for (found, expected) in found.to_f64_vec().unwrap().into_iter().zip(expected) {
            assert!((found - expected).abs() <= 0.01 * expected.abs() + 1e-4, "{found} {expected}");
        }
    }

    #[test]
    fn bfloat16_is_reached_from_every_dtype() {
        for dtype in [DType::F32, DType::F64, DType::I64, DType::U8] {
            let x = Tensor::full([3], 5.0, dtype).unwrap().to_dtype(DType::Bf16).unwrap();
            assert_eq!(x.to_f64_vec().unwrap(), [5.0; 3]);
            assert_eq!(x.to_dtype(dtype).unwrap().to_f64_vec().unwrap(), [5.0; 3]);
        }
    }
}
