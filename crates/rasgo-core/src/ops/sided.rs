//! Values where another tensor is positive, or where it is not.

use rasgo_kernels::threads::parallel_chunks;

use super::float;
use crate::error::Result;
use crate::meta::Meta;
use crate::op::{Grads, Input, Mask, Metas, Op, Output, Saved, Saves, apply};

/// y = v on that side of x = 0 and 0 on the other; a NaN in x, and 0 itself, are not above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sided {
    Above,
    NotAbove,
}

impl Op for Sided {
    fn name(&self) -> &'static str {
        "where"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        Ok(Metas::from_iter([inputs[0].clone()]))
    }

    fn in_place(&self) -> Option<usize> {
        Some(0)
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        const CHUNK: usize = 1 << 14;
        float!(inputs[0].meta().dtype, T => {
            let (x, y) = (inputs[1].values::<T>(), outputs[0].values::<T>());
            let v = (!inputs[0].is_donated()).then(|| inputs[0].values::<T>());
            parallel_chunks(y, CHUNK, |i, y| {
                if let Some(v) = v {
                    y.copy_from_slice(&v[i * CHUNK..][..y.len()]);
                }
                for (y, x) in y.iter_mut().zip(&x[i * CHUNK..]) {
                    if (*x > 0.0) != (*self == Sided::Above) {
                        *y = 0.0;
                    }
                }
            });
        });
    }

    fn saves(&self) -> Saves {
        Saves { inputs: Mask::of(&[1]), outputs: Mask::NONE }
    }

    fn grad(&self, mut saved: Saved, mut dy: Grads, _needs: Mask) -> Result<Grads> {
        let dy = dy[0].take().expect("one output");
        Ok(Grads::from_iter([Some(apply(*self, [dy, saved.input(1)])?), None]))
    }
}
