//! Vectors of `f32`: the few operations that kernels are made of, once for each instruction set.
//!
//! A kernel is written once over [`Vector`], with every function on its way `#[inline(always)]`, and compiled for each
//! level by [`simd_fn`]: so an instruction set is a file here, and a line in that macro.

use crate::Bf16;

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;
pub(crate) mod portable;

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

    /// As [`load`](Vector::load), widened.
    ///
    /// # Safety
    /// `LANES` elements are readable.
    unsafe fn load_bf16(from: *const Bf16) -> Self;

    /// As [`load_first`](Vector::load_first), widened.
    ///
    /// # Safety
    /// So many elements are readable.
    unsafe fn load_first_bf16(from: *const Bf16, n: usize) -> Self;

    /// As [`store`](Vector::store), rounded as [`Bf16::from_f32`] does.
    ///
    /// # Safety
    /// `LANES` elements are writable.
    unsafe fn store_bf16(self, to: *mut Bf16);

    /// As [`store_first`](Vector::store_first), rounded.
    ///
    /// # Safety
    /// So many elements are writable.
    unsafe fn store_first_bf16(self, to: *mut Bf16, n: usize);

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

/// What vectors are loaded from and stored to.
pub(crate) trait Lane: Copy {
    /// # Safety
    /// As of [`Vector::load`].
    unsafe fn load<V: Vector>(from: *const Self) -> V;

    /// # Safety
    /// As of [`Vector::load_first`].
    unsafe fn load_first<V: Vector>(from: *const Self, n: usize) -> V;

    /// # Safety
    /// As of [`Vector::store`].
    unsafe fn store<V: Vector>(x: V, to: *mut Self);

    /// # Safety
    /// As of [`Vector::store_first`].
    unsafe fn store_first<V: Vector>(x: V, to: *mut Self, n: usize);
}

macro_rules! lane {
    ($t:ty, $load:ident, $load_first:ident, $store:ident, $store_first:ident) => {
        impl Lane for $t {
            #[inline(always)]
            unsafe fn load<V: Vector>(from: *const $t) -> V {
                // SAFETY: the caller's promise.
                unsafe { V::$load(from) }
            }
            #[inline(always)]
            unsafe fn load_first<V: Vector>(from: *const $t, n: usize) -> V {
                // SAFETY: the caller's promise.
                unsafe { V::$load_first(from, n) }
            }
            #[inline(always)]
            unsafe fn store<V: Vector>(x: V, to: *mut $t) {
                // SAFETY: the caller's promise.
                unsafe { x.$store(to) }
            }
            #[inline(always)]
            unsafe fn store_first<V: Vector>(x: V, to: *mut $t, n: usize) {
                // SAFETY: the caller's promise.
                unsafe { x.$store_first(to, n) }
            }
        }
    };
}
lane!(f32, load, load_first, store, store_first);
lane!(Bf16, load_bf16, load_first_bf16, store_bf16, store_first_bf16);

/// Runs a body where what is [`Stored`](crate::Stored) is a [`Lane`], with a source and a destination as that type.
macro_rules! in_lanes {
    ($S:ident, ($src:ident, $dst:ident) => $body:expr) => {
        if let (Some($src), Some($dst)) = (<$S>::as_bf16($src), <$S>::as_bf16_mut($dst)) {
            $body
        }
        let floats = (<$S>::as_wide($src), <$S>::as_wide_mut($dst));
        if let (Some(src), Some(dst)) = floats
            && let (Some($src), Some($dst)) = (<$S>::Wide::as_f32(src), <$S>::Wide::as_f32_mut(dst))
        {
            $body
        }
    };
}
pub(crate) use in_lanes;

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
    ($(#[$meta:meta])* $vis:vis unsafe fn $name:ident <$V:ident $(, type $L:ident : $bound:path)? $(, const $C:ident : $ct:ty)*> (
        $($arg:ident : $ty:ty),* $(,)?
    ) $(-> $ret:ty)? $body:block) => {
        $(#[$meta])*
        $vis unsafe fn $name <$($L: $bound,)? $(const $C: $ct),*> (isa: $crate::Isa, $($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            unsafe fn body<$V: $crate::simd::Vector $(, $L: $bound)? $(, const $C: $ct)*>($($arg: $ty),*) $(-> $ret)? $body

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            unsafe fn avx2 <$($L: $bound,)? $(const $C: $ct),*> ($($arg: $ty),*) $(-> $ret)? {
                // SAFETY: the caller's promise.
                unsafe { body::<$crate::simd::avx2::F32x8 $(, $L)? $(, $C)*>($($arg),*) }
            }

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,avx512f,avx512vl,avx512bw,avx512dq")]
            unsafe fn avx512 <$($L: $bound,)? $(const $C: $ct),*> ($($arg: $ty),*) $(-> $ret)? {
                // SAFETY: the caller's promise.
                unsafe { body::<$crate::simd::avx512::F32x16 $(, $L)? $(, $C)*>($($arg),*) }
            }

            // SAFETY: a level is only made by detection, so the CPU has it; the rest is the caller's promise.
            unsafe {
                match isa.vectors() {
                    #[cfg(target_arch = "x86_64")]
                    $crate::Isa::Avx512 => avx512::<$($L,)? $($C),*>($($arg),*),
                    #[cfg(target_arch = "x86_64")]
                    $crate::Isa::Avx2 => avx2::<$($L,)? $($C),*>($($arg),*),
                    _ => body::<$crate::simd::portable::F32x4 $(, $L)? $(, $C)*>($($arg),*),
                }
            }
        }
    };
}
pub(crate) use simd_fn;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::numbers;
    use crate::settings::with_isa;

    simd_fn! {
        /// `n` elements from one map to another, by vectors and what is left.
        unsafe fn convert<V>(src: *const f32, narrow: *mut Bf16, back: *mut f32, n: usize) {
            let mut i = 0;
            while i < n {
                let (src, narrow, back) = (src.wrapping_add(i), narrow.wrapping_add(i), back.wrapping_add(i));
                // SAFETY: the caller's promise.
                unsafe {
                    if n - i < V::LANES {
                        V::load_first(src, n - i).store_first_bf16(narrow, n - i);
                        V::load_first_bf16(narrow, n - i).store_first(back, n - i);
                    } else {
                        V::load(src).store_bf16(narrow);
                        V::load_bf16(narrow).store(back);
                    }
                }
                i += V::LANES;
            }
        }
    }

    #[test]
    fn vectors_round_as_a_single_value_is_rounded_and_write_no_more_than_they_are_asked() {
        let bits =
            [0x3f80_7fff, 0x3f80_8000, 0x3f80_8001, 0x3f81_8000, 0x7f7f_ffff, 0x7f80_0000, 0xff80_0000];
        let more =
            [0x7f80_0001, 0xffff_ffff, 0x7fc0_0000, 0x8000_0000, 0x0000_8001, 0x8000_7fff, 0x0001_8000];
        let mut src: Vec<f32> = bits.into_iter().chain(more).map(f32::from_bits).collect();
        src.extend(numbers::<f32>(1, 40));
        for isa in crate::Isa::available() {
            for n in 0..=src.len() {
                let (mut narrow, mut back) = (vec![Bf16::from_bits(7); src.len()], vec![7.0f32; src.len()]);
                // SAFETY: all three have more than `n` elements, or as many.
                with_isa(isa, || unsafe {
                    convert(isa, src.as_ptr(), narrow.as_mut_ptr(), back.as_mut_ptr(), n)
                });
                for i in 0..src.len() {
                    let want = if i < n { Bf16::from_f32(src[i]) } else { Bf16::from_bits(7) };
                    assert_eq!(narrow[i].to_bits(), want.to_bits(), "{i} of {n} on {}", isa.name());
                    let want = if i < n { want.to_f32() } else { 7.0 };
                    assert_eq!(back[i].to_bits(), want.to_bits(), "{i} of {n} on {}", isa.name());
                }
            }
        }
    }
}
