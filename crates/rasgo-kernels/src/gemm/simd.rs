//! The few vector operations that micro-kernels are made of, under the same names for each width.

/// 512-bit vectors.
pub(crate) mod zmm {
    use std::arch::x86_64::*;

    pub(crate) const LANES: usize = 16;

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(crate) fn zero() -> __m512 {
        _mm512_setzero_ps()
    }
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(crate) fn splat(x: f32) -> __m512 {
        _mm512_set1_ps(x)
    }
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(crate) fn fma(a: __m512, b: __m512, c: __m512) -> __m512 {
        _mm512_fmadd_ps(a, b, c)
    }
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(crate) fn add(a: __m512, b: __m512) -> __m512 {
        _mm512_add_ps(a, b)
    }
    /// The instructions return their second operand for a NaN.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(crate) fn clamp(x: __m512, low: __m512, high: __m512) -> __m512 {
        _mm512_min_ps(high, _mm512_max_ps(low, x))
    }
    /// # Safety
    /// 16 elements are readable.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(crate) unsafe fn load(from: *const f32) -> __m512 {
        // SAFETY: the caller's promise.
        unsafe { _mm512_loadu_ps(from) }
    }
    /// The first `n` lanes.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(crate) fn mask(n: usize) -> __mmask16 {
        ((1u32 << n) - 1) as __mmask16
    }
    /// # Safety
    /// The mask's elements are readable.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(crate) unsafe fn load_masked(from: *const f32, mask: __mmask16) -> __m512 {
        // SAFETY: the caller's promise; other lanes are not touched.
        unsafe { _mm512_maskz_loadu_ps(mask, from) }
    }
    /// # Safety
    /// 16 elements are writable.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(crate) unsafe fn store(to: *mut f32, x: __m512) {
        // SAFETY: the caller's promise.
        unsafe { _mm512_storeu_ps(to, x) }
    }
    /// # Safety
    /// The mask's elements are writable.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(crate) unsafe fn store_masked(to: *mut f32, x: __m512, mask: __mmask16) {
        // SAFETY: the caller's promise; other lanes are not touched.
        unsafe { _mm512_mask_storeu_ps(to, mask, x) }
    }
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(crate) fn prefetch(at: *const f32) {
        _mm_prefetch::<_MM_HINT_T0>(at.cast())
    }
}

/// 256-bit vectors.
pub(crate) mod ymm {
    use std::arch::x86_64::*;

    pub(crate) const LANES: usize = 8;

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(crate) fn zero() -> __m256 {
        _mm256_setzero_ps()
    }
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(crate) fn splat(x: f32) -> __m256 {
        _mm256_set1_ps(x)
    }
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(crate) fn fma(a: __m256, b: __m256, c: __m256) -> __m256 {
        _mm256_fmadd_ps(a, b, c)
    }
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(crate) fn add(a: __m256, b: __m256) -> __m256 {
        _mm256_add_ps(a, b)
    }
    /// The instructions return their second operand for a NaN.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(crate) fn clamp(x: __m256, low: __m256, high: __m256) -> __m256 {
        _mm256_min_ps(high, _mm256_max_ps(low, x))
    }
    /// # Safety
    /// 8 elements are readable.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(crate) unsafe fn load(from: *const f32) -> __m256 {
        // SAFETY: the caller's promise.
        unsafe { _mm256_loadu_ps(from) }
    }
    /// The first `n` lanes.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(crate) fn mask(n: usize) -> __m256i {
        _mm256_cmpgt_epi32(_mm256_set1_epi32(n as i32), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))
    }
    /// # Safety
    /// The mask's elements are readable.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(crate) unsafe fn load_masked(from: *const f32, mask: __m256i) -> __m256 {
        // SAFETY: the caller's promise; other lanes are not touched.
        unsafe { _mm256_maskload_ps(from, mask) }
    }
    /// # Safety
    /// 8 elements are writable.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(crate) unsafe fn store(to: *mut f32, x: __m256) {
        // SAFETY: the caller's promise.
        unsafe { _mm256_storeu_ps(to, x) }
    }
    /// # Safety
    /// The mask's elements are writable.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(crate) unsafe fn store_masked(to: *mut f32, x: __m256, mask: __m256i) {
        // SAFETY: the caller's promise; other lanes are not touched.
        unsafe { _mm256_maskstore_ps(to, mask, x) }
    }
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(crate) fn prefetch(at: *const f32) {
        _mm_prefetch::<_MM_HINT_T0>(at.cast())
    }
}

/// 256-bit vectors with AVX-512's masks, which are far cheaper to store through.
pub(crate) mod ymm_masks {
    use std::arch::x86_64::*;

    pub(crate) use super::ymm::{LANES, add, clamp, fma, load, prefetch, splat, store, zero};

    /// The first `n` lanes.
    #[inline]
    #[target_feature(enable = "avx512f,avx512vl")]
    pub(crate) fn mask(n: usize) -> __mmask8 {
        ((1u32 << n) - 1) as __mmask8
    }
    /// # Safety
    /// The mask's elements are readable.
    #[inline]
    #[target_feature(enable = "avx512f,avx512vl")]
    pub(crate) unsafe fn load_masked(from: *const f32, mask: __mmask8) -> __m256 {
        // SAFETY: the caller's promise; other lanes are not touched.
        unsafe { _mm256_maskz_loadu_ps(mask, from) }
    }
    /// # Safety
    /// The mask's elements are writable.
    #[inline]
    #[target_feature(enable = "avx512f,avx512vl")]
    pub(crate) unsafe fn store_masked(to: *mut f32, x: __m256, mask: __mmask8) {
        // SAFETY: the caller's promise; other lanes are not touched.
        unsafe { _mm256_mask_storeu_ps(to, mask, x) }
    }
}
