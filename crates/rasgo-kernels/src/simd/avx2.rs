//! AVX2 and FMA: eight lanes.

use std::arch::x86_64::*;

use super::{MOST_LANES, Vector};
use crate::Bf16;

/// Eight `f32`.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct F32x8(__m256);

/// The first `n` lanes.
#[inline(always)]
fn first(n: usize) -> __m256i {
    // SAFETY: as below.
    unsafe {
        _mm256_cmpgt_epi32(_mm256_set1_epi32(n.min(8) as i32), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))
    }
}

/// The upper halves of the lanes, rounded to the nearest, of two to the even one; a NaN stays one.
#[inline(always)]
fn rounded(x: __m256) -> __m128i {
    // SAFETY: as below.
    unsafe {
        let bits = _mm256_castps_si256(x);
        let upper = _mm256_srli_epi32::<16>(bits);
        let odd = _mm256_and_si256(upper, _mm256_set1_epi32(1));
        let up = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
        let nan = _mm256_or_si256(upper, _mm256_set1_epi32(0x40));
        let is_nan = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(x, x));
        let halves = _mm256_blendv_epi8(_mm256_srli_epi32::<16>(up), nan, is_nan);
        _mm_packus_epi32(_mm256_castsi256_si128(halves), _mm256_extracti128_si256::<1>(halves))
    }
}

/// Lanes whose upper halves are these.
#[inline(always)]
fn widened(upper: __m128i) -> F32x8 {
    // SAFETY: as below.
    F32x8(unsafe { _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(upper))) })
}

// SAFETY of every block: the functions are inlined into code that is compiled for AVX2 and FMA and runs only where the
// CPU has them; addresses are the caller's promise.
impl Vector for F32x8 {
    const LANES: usize = 8;
    type Mask = __m256;

    #[inline(always)]
    fn splat(x: f32) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm256_set1_ps(x) })
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm256_loadu_ps(from) })
    }
    #[inline(always)]
    unsafe fn load_first(from: *const f32, n: usize) -> Self {
        // SAFETY: as above; other lanes are not touched.
        Self(unsafe { _mm256_maskload_ps(from, first(n)) })
    }
    #[inline(always)]
    unsafe fn load_between(from: *const f32, low: usize, high: usize) -> Self {
        // SAFETY: as above; other lanes are not touched.
        Self(unsafe { _mm256_maskload_ps(from, _mm256_andnot_si256(first(low), first(high))) })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: as above.
        unsafe { _mm256_storeu_ps(to, self.0) }
    }
    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, n: usize) {
        // SAFETY: as above; other lanes are not touched.
        unsafe { _mm256_maskstore_ps(to, first(n), self.0) }
    }
    #[inline(always)]
    unsafe fn load_bf16(from: *const Bf16) -> Self {
        // SAFETY: as above.
        widened(unsafe { _mm_loadu_si128(from.cast()) })
    }
    #[inline(always)]
    unsafe fn load_first_bf16(from: *const Bf16, n: usize) -> Self {
        let mut all = [Bf16::default(); 8];
        // SAFETY: as above; as many as are there.
        unsafe {
            if n >= 8 {
                return Self::load_bf16(from);
            }
            std::ptr::copy_nonoverlapping(from, all.as_mut_ptr(), n);
            Self::load_bf16(all.as_ptr())
        }
    }
    #[inline(always)]
    unsafe fn store_bf16(self, to: *mut Bf16) {
        // SAFETY: as above.
        unsafe { _mm_storeu_si128(to.cast(), rounded(self.0)) }
    }
    #[inline(always)]
    unsafe fn store_first_bf16(self, to: *mut Bf16, n: usize) {
        let mut all = [Bf16::default(); 8];
        // SAFETY: as above; as many as are wanted.
        unsafe {
            if n >= 8 {
                return self.store_bf16(to);
            }
            self.store_bf16(all.as_mut_ptr());
            std::ptr::copy_nonoverlapping(all.as_ptr(), to, n);
        }
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm256_add_ps(self.0, other.0) })
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm256_sub_ps(self.0, other.0) })
    }
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm256_mul_ps(self.0, other.0) })
    }
    #[inline(always)]
    fn mul_add(self, by: Self, plus: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm256_fmadd_ps(self.0, by.0, plus.0) })
    }
    #[inline(always)]
    fn neg_mul_add(self, by: Self, from: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm256_fnmadd_ps(self.0, by.0, from.0) })
    }
    #[inline(always)]
    fn at_least(self, low: Self) -> Self {
        // SAFETY: as above. The instruction returns its second operand for a NaN.
        Self(unsafe { _mm256_max_ps(low.0, self.0) })
    }
    #[inline(always)]
    fn at_most(self, high: Self) -> Self {
        // SAFETY: as above. The instruction returns its second operand for a NaN.
        Self(unsafe { _mm256_min_ps(high.0, self.0) })
    }
    #[inline(always)]
    fn greater_or_nan(self, other: Self) -> __m256 {
        // SAFETY: as above.
        unsafe {
            let greater = _mm256_cmp_ps::<_CMP_GT_OQ>(self.0, other.0);
            _mm256_or_ps(greater, _mm256_cmp_ps::<_CMP_UNORD_Q>(self.0, self.0))
        }
    }
    #[inline(always)]
    fn select(mask: __m256, yes: Self, no: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm256_blendv_ps(no.0, yes.0, mask) })
    }
    #[inline(always)]
    fn transpose(mut rows: [Self; MOST_LANES]) -> [Self; MOST_LANES] {
        let mut pairs = rows;
        // SAFETY: as above.
        unsafe {
            for i in 0..4 {
                let (a, b) = (rows[2 * i].0, rows[2 * i + 1].0);
                pairs[2 * i] = Self(_mm256_unpacklo_ps(a, b));
                pairs[2 * i + 1] = Self(_mm256_unpackhi_ps(a, b));
            }
            // Of four rows, in each half of a vector a column of four.
            let mut fours = pairs;
            for i in 0..2 {
                for j in 0..2 {
                    let (a, b) =
                        (_mm256_castps_pd(pairs[4 * i + j].0), _mm256_castps_pd(pairs[4 * i + j + 2].0));
                    fours[4 * i + 2 * j] = Self(_mm256_castpd_ps(_mm256_unpacklo_pd(a, b)));
                    fours[4 * i + 2 * j + 1] = Self(_mm256_castpd_ps(_mm256_unpackhi_pd(a, b)));
                }
            }
            for j in 0..4 {
                let (a, b) = (fours[j].0, fours[4 + j].0);
                rows[j] = Self(_mm256_permute2f128_ps::<0x20>(a, b));
                rows[4 + j] = Self(_mm256_permute2f128_ps::<0x31>(a, b));
            }
        }
        rows
    }
    #[inline(always)]
    unsafe fn store_bytes(self, to: *mut u8, n: usize) {
        // SAFETY: as above; eight bytes, or as many as are wanted.
        unsafe {
            let numbers = _mm256_cvttps_epi32(self.0);
            let (low, high) = (_mm256_castsi256_si128(numbers), _mm256_extracti128_si256::<1>(numbers));
            let words = _mm_packus_epi32(low, high);
            let bytes = _mm_packus_epi16(words, words);
            if n >= 8 {
                _mm_storel_epi64(to.cast(), bytes);
            } else {
                let bytes = (_mm_cvtsi128_si64(bytes) as u64).to_le_bytes();
                std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, n);
            }
        }
    }
    #[inline(always)]
    unsafe fn bytes_equal(from: *const u8, n: usize, code: u8) -> __m256 {
        // SAFETY: as above; eight bytes, or as many as are there.
        unsafe {
            let bytes = if n >= 8 {
                _mm_loadl_epi64(from.cast())
            } else {
                let mut bytes = [0u8; 8];
                std::ptr::copy_nonoverlapping(from, bytes.as_mut_ptr(), n);
                _mm_cvtsi64_si128(i64::from_le_bytes(bytes))
            };
            let equal = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(code as i8));
            _mm256_castsi256_ps(_mm256_cvtepi8_epi32(equal))
        }
    }
    #[inline(always)]
    unsafe fn load_pairs(from: *const u32) -> [Self; 2] {
        // SAFETY: as above.
        unsafe {
            let pairs = _mm256_loadu_si256(from.cast());
            let odd = _mm256_and_si256(pairs, _mm256_set1_epi32(-0x1_0000));
            [Self(_mm256_castsi256_ps(_mm256_slli_epi32::<16>(pairs))), Self(_mm256_castsi256_ps(odd))]
        }
    }
    #[inline(always)]
    fn prefetch(at: *const f32) {
        // SAFETY: as above; a prefetch may point anywhere.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }
}
