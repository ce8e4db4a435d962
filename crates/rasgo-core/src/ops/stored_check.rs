//! What is computed from maps of bfloat16, against the same from `f32`.

use rasgo_kernels::Isa;
use rasgo_kernels::settings::{with_isa, with_threads};

use super::grad_check::normal;
use crate::error::Result;
use crate::op::{Event, observe};
use crate::{DType, Shape, Tensor};

/// Normal numbers that bfloat16 holds, in `f32`.
pub(super) fn rounded(shape: impl Into<Shape>, seed: u64) -> Tensor {
    normal(shape, seed).to_dtype(DType::Bf16).unwrap().to_dtype(DType::F32).unwrap()
}

/// The value, the gradients of the maps, and those of the other inputs, of `f` in a dtype of maps.
fn run(maps: &[Tensor], others: &[Tensor], dtype: DType, f: &F<'_>) -> [Vec<Tensor>; 3] {
    let leaf = |x: &Tensor, dtype| x.to_dtype(dtype).unwrap().deep_copy().requires_grad();
    let inputs: Vec<Tensor> =
        maps.iter().map(|x| leaf(x, dtype)).chain(others.iter().map(|x| leaf(x, DType::F32))).collect();
    let y = f(&inputs).unwrap();
    let weights = rounded(y.shape().clone(), 77);
    let loss = (y.to_dtype(DType::F32).unwrap() * weights).unwrap().sum().unwrap();
    let grads = loss.backward().unwrap();
    let of = |inputs: &[Tensor]| inputs.iter().map(|x| grads.get(x).unwrap().clone()).collect();
    [vec![y.detach()], of(&inputs[..maps.len()]), of(&inputs[maps.len()..])]
}

type F<'a> = dyn Fn(&[Tensor]) -> Result<Tensor> + 'a;

/// Checks that `f` of maps and of other inputs gives of bfloat16 what it gives of the same values in `f32`, rounded
/// once, on every instruction set and at any number of threads: its value and the gradients of the maps; those of the
/// other inputs are `f32` and equal. Forward runs without a change of dtype.
pub(super) fn check(maps: &[Tensor], others: &[Tensor], f: impl Fn(&[Tensor]) -> Result<Tensor>) {
    let wanted = run(maps, others, DType::F32, &f);
    for isa in Isa::available() {
        for threads in [1, 2, 3] {
            let found = with_isa(isa, || with_threads(threads, || run(maps, others, DType::Bf16, &f)));
            let dtypes = [DType::Bf16, DType::Bf16, DType::F32];
            for ((found, wanted), dtype) in found.iter().zip(&wanted).zip(dtypes) {
                for (i, (found, wanted)) in found.iter().zip(wanted).enumerate() {
                    assert_eq!((i, found.dtype()), (i, dtype));
                    let wanted = wanted.to_dtype(dtype).unwrap().to_f64_vec().unwrap();
                    let what = format!("{i} of {dtype} on {} with {threads} threads", isa.name());
                    assert_eq!(found.to_f64_vec().unwrap(), wanted, "{what}");
                }
            }
        }
    }
    let inputs: Vec<Tensor> = maps
        .iter()
        .map(|x| x.to_dtype(DType::Bf16).unwrap())
        .chain(others.iter().map(Tensor::clone))
        .collect();
    no_casts(|| f(&inputs).unwrap());
}

/// Checks that the body changes no dtype.
pub(super) fn no_casts<R>(body: impl FnOnce() -> R) -> R {
    let (result, events) = observe(body);
    let cast = |event: &Event| matches!(event, Event::Op { name: "to_dtype", .. });
    assert!(!events.is_empty() && !events.iter().any(cast), "{events:?}");
    result
}
