//! bfloat16: maps are stored in it, and computed with in `f32`.

use crate::buffer::Element;
use crate::isa::isa_fn;
use crate::threads::parallel_chunks;
use crate::{Float, Isa};

/// The upper half of an `f32`: its sign, its exponent, and 7 bits of its fraction.
#[derive(Clone, Copy, Debug, Default)]
#[repr(transparent)]
pub struct Bf16(u16);

impl Bf16 {
    /// The value whose bits these are.
    pub const fn from_bits(bits: u16) -> Bf16 {
        Bf16(bits)
    }

    /// Its bits.
    pub const fn to_bits(self) -> u16 {
        self.0
    }

    /// The nearest value, the even one of two; a NaN stays one.
    #[inline(always)]
    pub fn from_f32(x: f32) -> Bf16 {
        let bits = x.to_bits();
        let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
        // Without a branch, so that it becomes vector code.
        let nan = bits >> 16 | 0x40;
        Bf16(if x.is_nan() { nan } else { rounded } as u16)
    }

    /// The same value.
    #[inline(always)]
    pub fn to_f32(self) -> f32 {
        f32::from_bits(u32::from(self.0) << 16)
    }

    /// Its bytes, as files have them.
    pub fn to_le_bytes(self) -> [u8; 2] {
        self.0.to_le_bytes()
    }

    /// The value of these bytes of a file.
    pub fn from_le_bytes(bytes: [u8; 2]) -> Bf16 {
        Bf16(u16::from_le_bytes(bytes))
    }
}

/// By value: the two zeros are equal, a NaN is not.
impl PartialEq for Bf16 {
    fn eq(&self, other: &Bf16) -> bool {
        self.to_f32() == other.to_f32()
    }
}

/// By value: a NaN has no order.
impl PartialOrd for Bf16 {
    fn partial_cmp(&self, other: &Bf16) -> Option<std::cmp::Ordering> {
        self.to_f32().partial_cmp(&other.to_f32())
    }
}

/// What the elements of a map may be. Kernels compute in [`Wide`](Stored::Wide), which is also the type of what
/// belongs to channels: statistics, weights, sums.
pub trait Stored: Element + Default + std::fmt::Debug + PartialEq {
    /// The type to compute in.
    type Wide: Float + Element;

    /// The same value.
    fn wide(self) -> Self::Wide;

    /// The nearest value.
    fn narrow(x: Self::Wide) -> Self;

    /// `Some` if `Self` is [`Bf16`].
    fn as_bf16(slice: &[Self]) -> Option<&[Bf16]>;

    /// `Some` if `Self` is [`Bf16`].
    fn as_bf16_mut(slice: &mut [Self]) -> Option<&mut [Bf16]>;

    /// `Some` if `Self` is not [`Bf16`].
    fn as_wide(slice: &[Self]) -> Option<&[Self::Wide]>;

    /// `Some` if `Self` is not [`Bf16`].
    fn as_wide_mut(slice: &mut [Self]) -> Option<&mut [Self::Wide]>;
}

macro_rules! stored_as_it_is {
    ($($t:ty),*) => {$(
        impl Stored for $t {
            type Wide = $t;
            #[inline(always)]
            fn wide(self) -> $t {
                self
            }
            #[inline(always)]
            fn narrow(x: $t) -> $t {
                x
            }
            #[inline(always)]
            fn as_bf16(_: &[$t]) -> Option<&[Bf16]> {
                None
            }
            #[inline(always)]
            fn as_bf16_mut(_: &mut [$t]) -> Option<&mut [Bf16]> {
                None
            }
            #[inline(always)]
            fn as_wide(slice: &[$t]) -> Option<&[$t]> {
                Some(slice)
            }
            #[inline(always)]
            fn as_wide_mut(slice: &mut [$t]) -> Option<&mut [$t]> {
                Some(slice)
            }
        }
    )*};
}
stored_as_it_is!(f32, f64);

impl Stored for Bf16 {
    type Wide = f32;
    #[inline(always)]
    fn wide(self) -> f32 {
        self.to_f32()
    }
    #[inline(always)]
    fn narrow(x: f32) -> Bf16 {
        Bf16::from_f32(x)
    }
    #[inline(always)]
    fn as_bf16(slice: &[Bf16]) -> Option<&[Bf16]> {
        Some(slice)
    }
    #[inline(always)]
    fn as_bf16_mut(slice: &mut [Bf16]) -> Option<&mut [Bf16]> {
        Some(slice)
    }
    #[inline(always)]
    fn as_wide(_: &[Bf16]) -> Option<&[f32]> {
        None
    }
    #[inline(always)]
    fn as_wide_mut(_: &mut [Bf16]) -> Option<&mut [f32]> {
        None
    }
}

/// Elements of a task.
const TASK: usize = 1 << 15;

/// Rounds each value.
pub fn narrow(src: &[f32], dst: &mut [Bf16]) {
    assert_eq!(src.len(), dst.len(), "source and destination have the same length");
    let isa = Isa::current();
    parallel_chunks(dst, TASK, |i, dst| narrow_part(isa, &src[i * TASK..][..dst.len()], dst));
}

/// Widens each value.
pub fn widen(src: &[Bf16], dst: &mut [f32]) {
    assert_eq!(src.len(), dst.len(), "source and destination have the same length");
    let isa = Isa::current();
    parallel_chunks(dst, TASK, |i, dst| widen_part(isa, &src[i * TASK..][..dst.len()], dst));
}

isa_fn! {
    /// As [`narrow`], in one task.
    fn narrow_part(src: &[f32], dst: &mut [Bf16]) {
        for (dst, src) in dst.iter_mut().zip(src) {
            *dst = Bf16::from_f32(*src);
        }
    }
}

isa_fn! {
    /// As [`widen`], in one task.
    fn widen_part(src: &[Bf16], dst: &mut [f32]) {
        for (dst, src) in dst.iter_mut().zip(src) {
            *dst = src.to_f32();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_takes_the_nearest_and_of_two_the_even() {
        for bits in 0..=u16::MAX {
            let x = Bf16(bits);
            if x.to_f32().is_nan() {
                assert!(Bf16::from_f32(x.to_f32()).to_f32().is_nan());
                continue;
            }
            assert_eq!(Bf16::from_f32(x.to_f32()).0, bits);
        }
        let round = |bits: u32| Bf16::from_f32(f32::from_bits(bits)).0;
        assert_eq!([round(0x3f80_7fff), round(0x3f80_8000), round(0x3f80_8001)], [0x3f80, 0x3f80, 0x3f81]);
        assert_eq!([round(0x3f81_8000), round(0x7f7f_ffff)], [0x3f82, 0x7f80]);
        assert!(Bf16::from_f32(f32::from_bits(0x7f80_0001)).to_f32().is_nan());
    }
}
