//! Conversion between dtypes.

use crate::error::Result;
use crate::meta::{DType, Meta};
use crate::op::{Grads, Input, Mask, Metas, Op, Output, Saved, apply};
use crate::tensor::Tensor;

/// y = x as another dtype: rounded to the nearest float, cut towards zero for integers.
#[derive(Debug)]
struct Cast {
    from: DType,
    to: DType,
}

impl Op for Cast {
    fn name(&self) -> &'static str {
        "to_dtype"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        Ok(Metas::from_iter([Meta { dtype: self.to, ..inputs[0].clone() }]))
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        macro_rules! convert {
            ($($from:ident $F:ty => $($to:ident $T:ty),*;)*) => {
                match (self.from, self.to) {
                    $($((DType::$from, DType::$to) => {
                        for (y, &x) in outputs[0].values::<$T>().iter_mut().zip(inputs[0].values::<$F>()) {
                            *y = x as $T;
                        }
                    })*)*
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
        apply(Cast { from: self.dtype(), to }, [self.clone()])
    }
}
