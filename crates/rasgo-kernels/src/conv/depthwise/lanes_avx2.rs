//! Vectors of eight channels: AVX2.

use std::arch::x86_64::*;

use super::lanes::{Lanes, Work};

/// # Safety
/// The CPU has AVX2 and FMA, and the work's own conditions hold.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn run(work: &impl Work) {
    // SAFETY: the caller's promises.
    unsafe { work.run::<Ymm>() }
}

#[derive(Clone, Copy)]
pub(super) struct Ymm(__m256);

impl Lanes for Ymm {
    const LANES: usize = 8;
    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the caller promises the instructions.
        Ymm(unsafe { _mm256_setzero_ps() })
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller promises the instructions and 8 elements.
        Ymm(unsafe { _mm256_loadu_ps(from) })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller promises the instructions and 8 elements.
        unsafe { _mm256_storeu_ps(to, self.0) }
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: the caller promises the instructions.
        Ymm(unsafe { _mm256_add_ps(self.0, other.0) })
    }
    #[inline(always)]
    unsafe fn fma(self, factor: Self, sum: Self) -> Self {
        // SAFETY: the caller promises the instructions.
        Ymm(unsafe { _mm256_fmadd_ps(self.0, factor.0, sum.0) })
    }
    /// The instruction returns its second operand for a NaN.
    #[inline(always)]
    unsafe fn relu(self) -> Self {
        // SAFETY: the caller promises the instructions.
        Ymm(unsafe { _mm256_max_ps(_mm256_setzero_ps(), self.0) })
    }
}
