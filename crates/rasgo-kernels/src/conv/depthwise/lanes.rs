//! The width of the vectors that the depthwise kernels take.
//!
//! A kernel is written once, as a [`Work`] over any [`Vector`]. There are no partial vectors: a map has at least as many
//! channels as a vector lanes, and the last vector of a pixel overlaps the one before it (its lanes are computed twice, to
//! the same bits).

use crate::Isa;
use crate::simd::Vector;
use crate::simd::portable::F32x4;
#[cfg(target_arch = "x86_64")]
use crate::simd::{avx2::F32x8, avx512::F32x16};

/// The work of one call, generic over the width. `run` and all that it calls must be `inline(always)`, so that it is
/// compiled for the instruction set.
pub(super) trait Work {
    /// # Safety
    /// The CPU has the instructions of `V`; what else, the implementor says.
    unsafe fn run<V: Vector>(&self);
}

/// The least channels for which [`run`] has a vector.
pub(super) const LEAST: usize = 8;

/// The lanes of the vectors that [`run`] takes.
pub(super) fn width(isa: Isa, channels: usize) -> usize {
    match isa.vectors() {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 if channels >= F32x16::LANES => F32x16::LANES,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 | Isa::Avx512 => F32x8::LANES,
        _ => F32x4::LANES,
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
        match isa.vectors() {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 if channels >= F32x16::LANES => avx512(work),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 | Isa::Avx512 => avx2(work),
            _ => work.run::<F32x4>(),
        }
    }
}

/// # Safety
/// The CPU has AVX2 and FMA, and the work's own conditions hold.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2(work: &impl Work) {
    // SAFETY: the caller's promises.
    unsafe { work.run::<F32x8>() }
}

/// # Safety
/// The CPU has AVX-512 F, VL, BW, DQ, and the work's own conditions hold.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avx512f,avx512vl,avx512bw,avx512dq")]
unsafe fn avx512(work: &impl Work) {
    // SAFETY: the caller's promises.
    unsafe { work.run::<F32x16>() }
}
