//! Vectors of `f32`: the few operations that kernels are made of, once for each instruction set.
//!
//! A kernel is written once over [`Vector`], with every function on its way `#[inline(always)]`, and compiled for each
//! level by [`simd_fn`]: so an instruction set is a file here, and a line in that macro.

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;
pub(crate) mod portable;

use crate::Bf16;

/// The lanes of the widest vector.
pub(crate) const MOST_LANES: usize = 16;

/// A vector of `f32` that one register holds.
///
/// The functions are safe to call only where the instruction set is enabled; [`simd_fn`] makes no other calls.
pub(crate) trait Vector: Copy {
    const LANES: usize;

    /// A truth value for each lane.
    type Mask: Copy;

    fn splat(x: f32) -> Self;

    #[inline(always)]
    fn zero() -> Self {
        Self::splat(0.0)
    }

    /// # Safety
    /// `LANES` elements are readable.
    unsafe fn load(from: *const f32) -> Self;

    /// The first `n` elements, and zeros; `n` may be more than there are lanes.
    ///
    /// # Safety
    /// So many elements are readable.
    unsafe fn load_first(from: *const f32, n: usize) -> Self;

    /// Lanes `low..high` from `from + low` on, and zeros.
    ///
    /// # Safety
    /// These elements are readable; `high` is at most `LANES`.
    unsafe fn load_between(from: *const f32, low: usize, high: usize) -> Self;

    /// # Safety
    /// `LANES` elements are writable.
    unsafe fn store(self, to: *mut f32);

    /// Stores the first `n` lanes; `n` may be more than there are.
    ///
    /// # Safety
    /// So many elements are writable.
    unsafe fn store_first(self, to: *mut f32, n: usize);

    fn add(self, other: Self) -> Self;

    fn sub(self, other: Self) -> Self;

    fn mul(self, other: Self) -> Self;

    /// `self * by + plus`, in one rounding where the level has it.
    fn mul_add(self, by: Self, plus: Self) -> Self;

    /// `from - self * by`, in one rounding where the level has it.
    fn neg_mul_add(self, by: Self, from: Self) -> Self;

    /// `max(self, low)`, and a NaN stays one.
    fn at_least(self, low: Self) -> Self;

    /// `min(self, high)`, and a NaN stays one.
    fn at_most(self, high: Self) -> Self;

    /// `max(self, 0)`, and a NaN stays one.
    #[inline(always)]
    fn relu(self) -> Self {
        self.at_least(Self::zero())
    }

    /// Where `self > other`, or `self` is NaN.
    fn greater_or_nan(self, other: Self) -> Self::Mask;

    /// `yes` where the mask is true, `no` elsewhere.
    fn select(mask: Self::Mask, yes: Self, no: Self) -> Self;

    /// The first [`LANES`](Vector::LANES) vectors as rows of a matrix, transposed; the others are as they were.
    fn transpose(rows: [Self; MOST_LANES]) -> [Self; MOST_LANES];

    /// Stores the first `n` lanes, whole numbers from 0 to 255, as bytes; `n` may be more than there are.
    ///
    /// # Safety
    /// So many bytes are writable.
    unsafe fn store_bytes(self, to: *mut u8, n: usize);

    /// Where the first `n` bytes are `code`; `n` may be more than there are lanes.
    ///
    /// # Safety
    /// So many bytes are readable.
    unsafe fn bytes_equal(from: *const u8, n: usize, code: u8) -> Self::Mask;

    /// Of [`LANES`](Vector::LANES) pairs of bfloat16 the even ones and the odd ones, widened.
    ///
    /// # Safety
    /// So many words are readable.
    unsafe fn load_pairs(from: *const u32) -> [Self; 2];

    /// Two bfloat16, each in all lanes.
    ///
    /// # Safety
    /// Both are readable.
    #[inline(always)]
    unsafe fn splat_pair(from: *const Bf16) -> [Self; 2] {
        // SAFETY: the caller's promise.
        unsafe { [Self::splat((*from).to_f32()), Self::splat((*from.wrapping_add(1)).to_f32())] }
    }

    /// Asks for the line of that address, which may be any.
    fn prefetch(at: *const f32);
}

/// The lanes of a level's vectors.
pub(crate) fn lanes(isa: crate::Isa) -> usize {
    match isa.vectors() {
        #[cfg(target_arch = "x86_64")]
        crate::Isa::Avx512 => avx512::F32x16::LANES,
        #[cfg(target_arch = "x86_64")]
        crate::Isa::Avx2 => avx2::F32x8::LANES,
        _ => portable::F32x4::LANES,
    }
}

/// Asks for the lines of so many elements, which may lie anywhere.
pub(crate) fn prefetch(from: *const f32, len: usize) {
    #[cfg(target_arch = "x86_64")]
    for at in (0..len).step_by(16) {
        // SAFETY: a prefetch may point anywhere.
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            _mm_prefetch::<_MM_HINT_T0>(from.wrapping_add(at).cast());
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (from, len);
}

/// Defines a function of a kernel, generic over its [`Vector`], for every instruction set; the level comes first.
macro_rules! simd_fn {
    ($(#[$meta:meta])* $vis:vis unsafe fn $name:ident <$V:ident $(, const $C:ident : $ct:ty)*> (
        $($arg:ident : $ty:ty),* $(,)?
    ) $(-> $ret:ty)? $body:block) => {
        $(#[$meta])*
        $vis unsafe fn $name $(<const $C: $ct>)? (isa: $crate::Isa, $($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            unsafe fn body<$V: $crate::simd::Vector $(, const $C: $ct)*>($($arg: $ty),*) $(-> $ret)? $body

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            unsafe fn avx2 $(<const $C: $ct>)? ($($arg: $ty),*) $(-> $ret)? {
                // SAFETY: the caller's promise.
                unsafe { body::<$crate::simd::avx2::F32x8 $(, $C)*>($($arg),*) }
            }

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,avx512f,avx512vl,avx512bw,avx512dq")]
            unsafe fn avx512 $(<const $C: $ct>)? ($($arg: $ty),*) $(-> $ret)? {
                // SAFETY: the caller's promise.
                unsafe { body::<$crate::simd::avx512::F32x16 $(, $C)*>($($arg),*) }
            }

            // SAFETY: a level is only made by detection, so the CPU has it; the rest is the caller's promise.
            unsafe {
                match isa.vectors() {
                    #[cfg(target_arch = "x86_64")]
                    $crate::Isa::Avx512 => avx512 $(::<$C>)? ($($arg),*),
                    #[cfg(target_arch = "x86_64")]
                    $crate::Isa::Avx2 => avx2 $(::<$C>)? ($($arg),*),
                    _ => body::<$crate::simd::portable::F32x4 $(, $C)*>($($arg),*),
                }
            }
        }
    };
}
pub(crate) use simd_fn;
