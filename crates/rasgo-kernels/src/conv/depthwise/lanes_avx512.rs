//! Vectors of sixteen channels: AVX-512.

use std::arch::x86_64::*;

use super::lanes::{Lanes, Work};

/// # Safety
/// The CPU has AVX-512 (F, VL, BW, DQ), and the work's own conditions hold.
#[target_feature(enable = "avx2,fma,avx512f,avx512vl,avx512bw,avx512dq")]
pub(super) unsafe fn run(work: &impl Work) {
    // SAFETY: the caller's promises.
    unsafe { work.run::<Zmm>() }
}

#[derive(Clone, Copy)]
pub(super) struct Zmm(__m512);

impl Lanes for Zmm {
    const LANES: usize = 16;
    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the caller promises the instructions.
        Zmm(unsafe { _mm512_setzero_ps() })
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller promises the instructions and 16 elements.
        Zmm(unsafe { _mm512_loadu_ps(from) })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller promises the instructions and 16 elements.
        unsafe { _mm512_storeu_ps(to, self.0) }
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: the caller promises the instructions.
        Zmm(unsafe { _mm512_add_ps(self.0, other.0) })
    }
    #[inline(always)]
    unsafe fn fma(self, factor: Self, sum: Self) -> Self {
        // SAFETY: the caller promises the instructions.
        Zmm(unsafe { _mm512_fmadd_ps(self.0, factor.0, sum.0) })
    }
    /// The instruction returns its second operand for a NaN.
    #[inline(always)]
    unsafe fn relu(self) -> Self {
        // SAFETY: the caller promises the instructions.
        Zmm(unsafe { _mm512_max_ps(_mm512_setzero_ps(), self.0) })
    }
}
