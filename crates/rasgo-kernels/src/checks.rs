//! What the tests of kernels have in common.

use crate::settings::{with_isa, with_threads};
use crate::{Bf16, Float, Isa, Stored};

/// `len` numbers between -2 and 2 that depend on the seed.
pub(crate) fn numbers<T: Float>(seed: u64, len: usize) -> Vec<T> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        T::from_f64((state >> 40) as f64 / (1u64 << 22) as f64 - 2.0)
    };
    (0..len).map(|_| next()).collect()
}

/// An output before the kernel has run.
pub(crate) fn poison<T: Float>(len: usize) -> Vec<T> {
    vec![T::NAN; len]
}

/// Runs a kernel on every instruction set with 1, 2 and 3 threads; all must give the same bits.
pub(crate) fn same_everywhere<T: Float>(kernel: impl Fn() -> Vec<T>) -> Vec<T> {
    let mut first: Option<Vec<T>> = None;
    for isa in Isa::available() {
        for threads in [1, 2, 3] {
            let result = with_isa(isa, || with_threads(threads, &kernel));
            let Some(first) = &first else {
                first = Some(result);
                continue;
            };
            assert_eq!(first.len(), result.len());
            for (i, (a, b)) in first.iter().zip(&result).enumerate() {
                let same = a.to_f64().to_bits() == b.to_f64().to_bits() || (a.is_nan() && b.is_nan());
                assert!(same, "{i}: {a} and {b} on {} with {threads} threads", isa.name());
            }
        }
    }
    first.expect("every machine has an instruction set")
}

/// Asserts that numbers are within `tolerance`, absolute below 1 and relative above; NaN is NaN.
#[track_caller]
pub(crate) fn assert_close<T: Float>(got: &[T], want: &[f64], tolerance: f64, what: &str) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (i, (got, want)) in got.iter().map(|x| x.to_f64()).zip(want).enumerate() {
        let same = got == *want || (got.is_nan() && want.is_nan());
        let near = (got - want).abs() <= tolerance * want.abs().max(1.0);
        assert!(same || near, "{what}, element {i}: {got} is not {want}");
    }
}

/// As f64.
pub(crate) fn wide<T: Float>(values: &[T]) -> Vec<f64> {
    values.iter().map(|x| x.to_f64()).collect()
}

/// As bfloat16.
pub(crate) fn narrowed(values: &[f32]) -> Vec<Bf16> {
    values.iter().map(|x| Bf16::from_f32(*x)).collect()
}

/// As f32.
pub(crate) fn widened(values: &[Bf16]) -> Vec<f32> {
    values.iter().map(|x| x.to_f32()).collect()
}

/// What bfloat16 holds of a map, as f32.
pub(crate) fn rounded<S: Stored<Wide = f32>>(map: &[S]) -> Vec<f32> {
    map.iter().map(|x| Bf16::from_f32(x.wide()).to_f32()).collect()
}

/// A map before the kernel has run.
pub(crate) fn unwritten<S: Stored>(len: usize) -> Vec<S> {
    vec![S::narrow(S::Wide::NAN); len]
}
