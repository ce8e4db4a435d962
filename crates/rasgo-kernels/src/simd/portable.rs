//! What every target has: four lanes, which compilers make a vector of, and no fused multiply-add.

use super::{MOST_LANES, Vector};
use crate::Bf16;

/// Four `f32`.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct F32x4([f32; 4]);

impl Vector for F32x4 {
    const LANES: usize = 4;
    type Mask = [bool; 4];

    #[inline(always)]
    fn splat(x: f32) -> Self {
        Self([x; 4])
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller promises four elements.
        Self(unsafe { from.cast::<[f32; 4]>().read() })
    }
    #[inline(always)]
    unsafe fn load_first(from: *const f32, n: usize) -> Self {
        let mut x = [0.0; 4];
        for (i, x) in x.iter_mut().enumerate().take(n) {
            // SAFETY: the caller promises `n` elements.
            *x = unsafe { *from.add(i) };
        }
        Self(x)
    }
    #[inline(always)]
    unsafe fn load_between(from: *const f32, low: usize, high: usize) -> Self {
        let mut x = [0.0; 4];
        for (i, x) in x.iter_mut().enumerate().take(high).skip(low) {
            // SAFETY: the caller promises these elements.
            *x = unsafe { *from.wrapping_add(i) };
        }
        Self(x)
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller promises four elements.
        unsafe { to.cast::<[f32; 4]>().write(self.0) }
    }
    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, n: usize) {
        for (i, x) in self.0.iter().enumerate().take(n) {
            // SAFETY: the caller promises `n` elements.
            unsafe { *to.add(i) = *x };
        }
    }
    #[inline(always)]
    unsafe fn load_bf16(from: *const Bf16) -> Self {
        // SAFETY: the caller promises four elements.
        Self(unsafe { from.cast::<[Bf16; 4]>().read() }.map(Bf16::to_f32))
    }
    #[inline(always)]
    unsafe fn load_first_bf16(from: *const Bf16, n: usize) -> Self {
        // SAFETY: the caller promises `n` elements.
        Self(std::array::from_fn(|i| if i < n { unsafe { *from.add(i) }.to_f32() } else { 0.0 }))
    }
    #[inline(always)]
    unsafe fn store_bf16(self, to: *mut Bf16) {
        // SAFETY: the caller promises four elements.
        unsafe { to.cast::<[Bf16; 4]>().write(self.0.map(Bf16::from_f32)) }
    }
    #[inline(always)]
    unsafe fn store_first_bf16(self, to: *mut Bf16, n: usize) {
        for (i, x) in self.0.iter().enumerate().take(n) {
            // SAFETY: the caller promises `n` elements.
            unsafe { *to.add(i) = Bf16::from_f32(*x) };
        }
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] + other.0[i]))
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] - other.0[i]))
    }
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] * other.0[i]))
    }
    #[inline(always)]
    fn mul_add(self, by: Self, plus: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] * by.0[i] + plus.0[i]))
    }
    #[inline(always)]
    fn neg_mul_add(self, by: Self, from: Self) -> Self {
        Self(std::array::from_fn(|i| from.0[i] - self.0[i] * by.0[i]))
    }
    #[inline(always)]
    fn at_least(self, low: Self) -> Self {
        Self(std::array::from_fn(|i| if self.0[i] < low.0[i] { low.0[i] } else { self.0[i] }))
    }
    #[inline(always)]
    fn at_most(self, high: Self) -> Self {
        Self(std::array::from_fn(|i| if self.0[i] > high.0[i] { high.0[i] } else { self.0[i] }))
    }
    #[inline(always)]
    fn greater_or_nan(self, other: Self) -> [bool; 4] {
        std::array::from_fn(|i| (self.0[i] > other.0[i]) | self.0[i].is_nan())
    }
    #[inline(always)]
    fn select(mask: [bool; 4], yes: Self, no: Self) -> Self {
        Self(std::array::from_fn(|i| if mask[i] { yes.0[i] } else { no.0[i] }))
    }
    #[inline(always)]
    fn transpose(mut rows: [Self; MOST_LANES]) -> [Self; MOST_LANES] {
        let before = rows;
        for (i, row) in rows.iter_mut().enumerate().take(4) {
            *row = Self([before[0].0[i], before[1].0[i], before[2].0[i], before[3].0[i]]);
        }
        rows
    }
    #[inline(always)]
    unsafe fn store_bytes(self, to: *mut u8, n: usize) {
        for (i, x) in self.0.iter().enumerate().take(n) {
            // SAFETY: the caller promises `n` bytes.
            unsafe { *to.add(i) = *x as u8 };
        }
    }
    #[inline(always)]
    unsafe fn bytes_equal(from: *const u8, n: usize, code: u8) -> [bool; 4] {
        // SAFETY: the caller promises `n` bytes.
        std::array::from_fn(|i| i < n && unsafe { *from.add(i) } == code)
    }
    #[inline(always)]
    unsafe fn load_pairs(from: *const u32) -> [Self; 2] {
        // SAFETY: the caller promises the words.
        let pairs: [u32; 4] = std::array::from_fn(|i| unsafe { *from.add(i) });
        [
            Self(pairs.map(|pair| f32::from_bits(pair << 16))),
            Self(pairs.map(|pair| f32::from_bits(pair & !0xffff))),
        ]
    }
    #[inline(always)]
    fn prefetch(_at: *const f32) {}
}
