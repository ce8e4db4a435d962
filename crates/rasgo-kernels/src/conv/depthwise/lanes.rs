//! Vectors of channels: the few operations that the depthwise kernels are made of, and the choice of width.
//!
//! A kernel is written once, as a [`Work`] over any [`Lanes`]; an instruction set adds one file with its vectors and one
//! arm of [`run`]. There are no partial vectors: a map has at least as many channels as a vector lanes, and the last
//! vector of a pixel overlaps the one before it (its lanes are computed twice, to the same bits).

use crate::Isa;

/// One vector of `f32`.
///
/// # Safety of the methods
/// The CPU has the instructions of the vector, and a pointer is good for `LANES` elements; it need not be aligned.
pub(super) trait Lanes: Copy {
    const LANES: usize;
    unsafe fn zero() -> Self;
    unsafe fn load(from: *const f32) -> Self;
    unsafe fn store(self, to: *mut f32);
    unsafe fn add(self, other: Self) -> Self;
    /// `self * factor + sum`, rounded once where the CPU can.
    unsafe fn fma(self, factor: Self, sum: Self) -> Self;
    /// Negative numbers become 0, a NaN stays.
    unsafe fn relu(self) -> Self;
}

/// The work of one call, generic over the width. `run` and all that it calls must be `inline(always)`, so that it is
/// compiled for the instruction set.
pub(super) trait Work {
    /// # Safety
    /// The CPU has the instructions of `V`; what else, the implementor says.
    unsafe fn run<V: Lanes>(&self);
}

/// The least channels for which [`run`] has a vector.
pub(super) const LEAST: usize = 8;

/// The lanes of the vectors that [`run`] takes.
pub(super) fn width(isa: Isa, channels: usize) -> usize {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 if channels >= super::lanes_avx512::Zmm::LANES => super::lanes_avx512::Zmm::LANES,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 | Isa::Avx512 => super::lanes_avx2::Ymm::LANES,
        _ => Four::LANES,
    }
}

/// Runs the work with the widest vectors of the level that are not wider than a pixel.
///
/// # Safety
/// The CPU has the level, and the work's own conditions hold.
pub(super) unsafe fn run(isa: Isa, channels: usize, work: &impl Work) {
    debug_assert!(channels >= LEAST);
    // SAFETY: the caller's promises; a level includes those below it.
    unsafe {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 if channels >= super::lanes_avx512::Zmm::LANES => super::lanes_avx512::run(work),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 | Isa::Avx512 => super::lanes_avx2::run(work),
            _ => work.run::<Four>(),
        }
    }
}

/// Four numbers, which any target's compiler makes a vector of. Multiplication and addition are rounded each: a fused
/// one would be a call of the C library.
#[derive(Clone, Copy)]
pub(super) struct Four([f32; 4]);

impl Lanes for Four {
    const LANES: usize = 4;
    #[inline(always)]
    unsafe fn zero() -> Self {
        Four([0.0; 4])
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller's promise.
        unsafe { Four(from.cast::<[f32; 4]>().read_unaligned()) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { to.cast::<[f32; 4]>().write_unaligned(self.0) }
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        let ([a, b, c, d], [e, f, g, h]) = (self.0, other.0);
        Four([a + e, b + f, c + g, d + h])
    }
    #[inline(always)]
    unsafe fn fma(self, factor: Self, sum: Self) -> Self {
        let ([a, b, c, d], [e, f, g, h], [i, j, k, l]) = (self.0, factor.0, sum.0);
        Four([a * e + i, b * f + j, c * g + k, d * h + l])
    }
    #[inline(always)]
    unsafe fn relu(self) -> Self {
        Four(self.0.map(|x| if x < 0.0 { 0.0 } else { x }))
    }
}
