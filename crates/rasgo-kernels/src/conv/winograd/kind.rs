//! The schemes as values: their sizes, and their transforms compiled for every instruction set.

use std::ops::Range;

use super::scheme::{F2, F4};
use super::tiles::{self, Maps, Planes};
use super::{ConvProblem, filter};
use crate::Isa;
use crate::epilogue::Finish;
use crate::simd::simd_fn;

/// Transforms pixels to planes: maps, channels, tiles, the map, zeros, planes.
type ToPlanes = unsafe fn(Isa, &Maps, usize, Range<usize>, *const f32, *const f32, *mut f32, Planes);

/// Transforms planes to pixels: maps, channels of the map, those of the planes, tiles, planes, what follows, the map.
type ToPixels =
    unsafe fn(Isa, &Maps, usize, Range<usize>, Range<usize>, *const f32, Planes, Finish, *mut f32);

/// A scheme in two dimensions.
#[derive(Debug)]
pub(super) struct Kind {
    /// Outputs of a tile along an axis.
    pub(super) step: usize,
    /// Planes: elements of a transformed tile.
    pub(super) planes: usize,
    /// `B^T d B`
    pub(super) input: ToPlanes,
    /// `A dy A^T`
    pub(super) grad_output: ToPlanes,
    /// `A^T m A`
    pub(super) output: ToPixels,
    /// `G g G^T`: rows, width, distance of planes, whether taps are mirrored.
    pub(super) filter: unsafe fn(Isa, usize, usize, usize, bool, *const f32, *mut f32),
    /// `G^T u G`: rows, width, distance of planes.
    pub(super) grad_filter: unsafe fn(Isa, usize, usize, usize, *const f32, *mut f32),
}

impl Kind {
    /// The scheme with the fewer multiplications for maps of that size.
    pub(super) fn of(p: &ConvProblem) -> &'static Kind {
        let work = |kind: &Kind| {
            let tiles = |len: usize| len.div_ceil(kind.step);
            tiles(p.output[1]) * tiles(p.output[2]) * kind.planes
        };
        if work(&KIND2) <= work(&KIND4) { &KIND2 } else { &KIND4 }
    }
}

/// The transforms of one scheme, by instruction set.
macro_rules! kind {
    ($(#[$meta:meta])* $kind:ident, $module:ident, $scheme:ident, $n:literal, $m:literal) => {
        $(#[$meta])*
        static $kind: Kind = Kind {
            step: $m,
            planes: $n * $n,
            input: $module::input,
            grad_output: $module::grad_output,
            output: $module::output,
            filter: $module::filter,
            grad_filter: $module::grad_filter,
        };

        mod $module {
            use super::*;

            simd_fn! {
                pub(super) unsafe fn input<V>(
                    maps: &Maps, ch: usize, tiles: Range<usize>, src: *const f32, zeros: *const f32, dst: *mut f32,
                    planes: Planes,
                ) {
                    // SAFETY: the caller's promise.
                    unsafe {
                        tiles::input::<V, $scheme, $n, $m, { $n / 2 }>(maps, ch, tiles, src, zeros, dst, planes);
                    }
                }
            }
            simd_fn! {
                pub(super) unsafe fn grad_output<V>(
                    maps: &Maps, ch: usize, tiles: Range<usize>, src: *const f32, zeros: *const f32, dst: *mut f32,
                    planes: Planes,
                ) {
                    // SAFETY: the caller's promise.
                    unsafe {
                        tiles::grad_output::<V, $scheme, $n, $m, { $n / 2 }>(maps, ch, tiles, src, zeros, dst, planes);
                    }
                }
            }
            simd_fn! {
                pub(super) unsafe fn output<V>(
                    maps: &Maps, ch: usize, channels: Range<usize>, tiles: Range<usize>, m: *const f32,
                    planes: Planes, finish: Finish, dst: *mut f32,
                ) {
                    // SAFETY: the caller's promise.
                    unsafe { tiles::output::<V, $scheme, $n, $m>(maps, ch, channels, tiles, m, planes, finish, dst) }
                }
            }
            simd_fn! {
                pub(super) unsafe fn filter<V>(
                    count: usize, width: usize, plane: usize, mirrored: bool, from: *const f32, to: *mut f32,
                ) {
                    // SAFETY: the caller's promise.
                    unsafe { filter::transform::<V, $scheme, $n, $m>(count, width, plane, mirrored, from, to) }
                }
            }
            simd_fn! {
                pub(super) unsafe fn grad_filter<V>(
                    rows: usize, width: usize, plane: usize, from: *const f32, to: *mut f32,
                ) {
                    // SAFETY: the caller's promise.
                    unsafe { filter::inverse::<V, $scheme, $n, $m>(rows, width, plane, from, to) }
                }
            }
        }
    };
}

kind!(
    /// `F(2x2, 3x3)`: 16 multiplications for 4 outputs.
    KIND2, f2, F2, 4, 2
);
kind!(
    /// `F(4x4, 3x3)`: 36 multiplications for 16 outputs.
    KIND4, f4, F4, 6, 4
);
