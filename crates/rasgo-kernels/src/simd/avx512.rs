//! AVX-512: sixteen lanes, masks for parts.

use std::arch::x86_64::*;

use super::{MOST_LANES, Vector};
use crate::Bf16;

/// Sixteen `f32`.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct F32x16(__m512);

/// The first `n` lanes.
#[inline(always)]
fn first(n: usize) -> __mmask16 {
    if n >= 16 { !0 } else { (1u16 << n) - 1 }
}

/// The upper halves of the lanes, rounded to the nearest, of two to the even one; a NaN stays one.
#[inline(always)]
fn rounded(x: __m512) -> __m256i {
    // SAFETY: as below.
    unsafe {
        let bits = _mm512_castps_si512(x);
        let upper = _mm512_srli_epi32::<16>(bits);
        let odd = _mm512_and_si512(upper, _mm512_set1_epi32(1));
        let up = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
        let nan = _mm512_or_si512(upper, _mm512_set1_epi32(0x40));
        let is_nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(x, x);
        _mm512_cvtepi32_epi16(_mm512_mask_blend_epi32(is_nan, _mm512_srli_epi32::<16>(up), nan))
    }
}

/// Lanes whose upper halves are these.
#[inline(always)]
fn widened(upper: __m256i) -> F32x16 {
    // SAFETY: as below.
    F32x16(unsafe { _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(upper))) })
}

// SAFETY of every block: the functions are inlined into code that is compiled for AVX-512 and runs only where the CPU
// has it; addresses are the caller's promise.
impl Vector for F32x16 {
    const LANES: usize = 16;
    type Mask = __mmask16;

    #[inline(always)]
    fn splat(x: f32) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_set1_ps(x) })
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_loadu_ps(from) })
    }
    #[inline(always)]
    unsafe fn load_first(from: *const f32, n: usize) -> Self {
        // SAFETY: as above; other lanes are not touched.
        Self(unsafe { _mm512_maskz_loadu_ps(first(n), from) })
    }
    #[inline(always)]
    unsafe fn load_between(from: *const f32, low: usize, high: usize) -> Self {
        // SAFETY: as above; other lanes are not touched.
        Self(unsafe { _mm512_maskz_loadu_ps(first(high) & !first(low), from) })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: as above.
        unsafe { _mm512_storeu_ps(to, self.0) }
    }
    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, n: usize) {
        // SAFETY: as above; other lanes are not touched.
        unsafe { _mm512_mask_storeu_ps(to, first(n), self.0) }
    }
    #[inline(always)]
    unsafe fn load_bf16(from: *const Bf16) -> Self {
        // SAFETY: as above.
        widened(unsafe { _mm256_loadu_si256(from.cast()) })
    }
    #[inline(always)]
    unsafe fn load_first_bf16(from: *const Bf16, n: usize) -> Self {
        // SAFETY: as above; other lanes are not touched.
        widened(unsafe { _mm256_maskz_loadu_epi16(first(n), from.cast()) })
    }
    #[inline(always)]
    unsafe fn store_bf16(self, to: *mut Bf16) {
        // SAFETY: as above.
        unsafe { _mm256_storeu_si256(to.cast(), rounded(self.0)) }
    }
    #[inline(always)]
    unsafe fn store_first_bf16(self, to: *mut Bf16, n: usize) {
        // SAFETY: as above; other lanes are not touched.
        unsafe { _mm256_mask_storeu_epi16(to.cast(), first(n), rounded(self.0)) }
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_add_ps(self.0, other.0) })
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_sub_ps(self.0, other.0) })
    }
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_mul_ps(self.0, other.0) })
    }
    #[inline(always)]
    fn mul_add(self, by: Self, plus: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_fmadd_ps(self.0, by.0, plus.0) })
    }
    #[inline(always)]
    fn neg_mul_add(self, by: Self, from: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_fnmadd_ps(self.0, by.0, from.0) })
    }
    #[inline(always)]
    fn at_least(self, low: Self) -> Self {
        // SAFETY: as above. The instruction returns its second operand for a NaN.
        Self(unsafe { _mm512_max_ps(low.0, self.0) })
    }
    #[inline(always)]
    fn at_most(self, high: Self) -> Self {
        // SAFETY: as above. The instruction returns its second operand for a NaN.
        Self(unsafe { _mm512_min_ps(high.0, self.0) })
    }
    #[inline(always)]
    fn greater_or_nan(self, other: Self) -> __mmask16 {
        // SAFETY: as above.
        unsafe {
            _mm512_cmp_ps_mask::<_CMP_GT_OQ>(self.0, other.0)
                | _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(self.0, self.0)
        }
    }
    #[inline(always)]
    fn select(mask: __mmask16, yes: Self, no: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_mask_blend_ps(mask, no.0, yes.0) })
    }
    #[inline(always)]
    fn transpose(mut rows: [Self; MOST_LANES]) -> [Self; MOST_LANES] {
        /// Of two vectors, their even quarters, and their odd ones.
        const EVEN: i32 = 0b10_00_10_00;
        const ODD: i32 = 0b11_01_11_01;
        let mut pairs = rows;
        // SAFETY: as above.
        unsafe {
            for i in 0..8 {
                let (a, b) = (rows[2 * i].0, rows[2 * i + 1].0);
                pairs[2 * i] = Self(_mm512_unpacklo_ps(a, b));
                pairs[2 * i + 1] = Self(_mm512_unpackhi_ps(a, b));
            }
            // Of four rows, in each quarter of a vector a column of four.
            let mut fours = pairs;
            for i in 0..4 {
                for j in 0..2 {
                    let (a, b) =
                        (_mm512_castps_pd(pairs[4 * i + j].0), _mm512_castps_pd(pairs[4 * i + j + 2].0));
                    fours[4 * i + 2 * j] = Self(_mm512_castpd_ps(_mm512_unpacklo_pd(a, b)));
                    fours[4 * i + 2 * j + 1] = Self(_mm512_castpd_ps(_mm512_unpackhi_pd(a, b)));
                }
            }
            for j in 0..4 {
                let (a, b, c, d) = (fours[j].0, fours[4 + j].0, fours[8 + j].0, fours[12 + j].0);
                let (even, odd) = (_mm512_shuffle_f32x4::<EVEN>(a, b), _mm512_shuffle_f32x4::<ODD>(a, b));
                let (even2, odd2) = (_mm512_shuffle_f32x4::<EVEN>(c, d), _mm512_shuffle_f32x4::<ODD>(c, d));
                rows[j] = Self(_mm512_shuffle_f32x4::<EVEN>(even, even2));
                rows[4 + j] = Self(_mm512_shuffle_f32x4::<EVEN>(odd, odd2));
                rows[8 + j] = Self(_mm512_shuffle_f32x4::<ODD>(even, even2));
                rows[12 + j] = Self(_mm512_shuffle_f32x4::<ODD>(odd, odd2));
            }
        }
        rows
    }
    #[inline(always)]
    unsafe fn store_bytes(self, to: *mut u8, n: usize) {
        // SAFETY: as above; other lanes are not touched.
        unsafe { _mm512_mask_cvtusepi32_storeu_epi8(to.cast(), first(n), _mm512_cvttps_epi32(self.0)) }
    }
    #[inline(always)]
    unsafe fn bytes_equal(from: *const u8, n: usize, code: u8) -> __mmask16 {
        // SAFETY: as above; other bytes are not touched.
        unsafe {
            let bytes = _mm_maskz_loadu_epi8(first(n), from.cast());
            _mm_cmpeq_epi8_mask(bytes, _mm_set1_epi8(code as i8))
        }
    }
    #[inline(always)]
    unsafe fn load_pairs(from: *const u32) -> [Self; 2] {
        // SAFETY: as above.
        unsafe {
            let pairs = _mm512_loadu_si512(from.cast());
            let odd = _mm512_and_si512(pairs, _mm512_set1_epi32(-0x1_0000));
            [Self(_mm512_castsi512_ps(_mm512_slli_epi32::<16>(pairs))), Self(_mm512_castsi512_ps(odd))]
        }
    }
    #[inline(always)]
    fn prefetch(at: *const f32) {
        // SAFETY: as above; a prefetch may point anywhere.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }
}
