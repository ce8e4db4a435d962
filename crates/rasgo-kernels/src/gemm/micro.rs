//! What a micro-kernel is given, and the body that the x86 kernels share.
//!
//! A micro-kernel computes one tile `dst[MR, W] (+)= a[MR, kc] * b[kc, W]` in registers. Element `(i, j)` has
//! one accumulator, which goes over `k` in order, so it does not depend on the tile's height: a row of a batch
//! gets the same bits in whatever tile it falls.

use crate::epilogue::Finish;

/// Rows of the left matrix packed row by row lie this far apart: the longest block of `k` and 16 more, an odd
/// number of cache lines, so that the rows of a tile do not fall into the same set of the first-level cache.
pub(crate) const ROW: usize = KC + 16;

/// The most `k` that one call of a micro-kernel sums. It decides the order of sums, so it is a constant.
pub(crate) const KC: usize = 288;

/// One tile's work.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tile {
    /// Length of the sum.
    pub(crate) kc: usize,
    /// The left tile; the kernel's constants say how far rows and steps of `k` are apart.
    pub(crate) a: *const f32,
    /// The right panel `[kc, W]`. Columns past `cols` hold anything.
    pub(crate) b: *const f32,
    /// The first column of the tile in the destination.
    pub(crate) dst: *mut f32,
    /// Where each row begins, in elements after `dst`.
    pub(crate) rows: *const usize,
    /// Columns to write, at most `W`.
    pub(crate) cols: usize,
    /// Add to what the destination holds, instead of overwriting it.
    pub(crate) accumulate: bool,
    /// What becomes of the sums.
    pub(crate) finish: Finish,
}

/// A micro-kernel of a certain height.
///
/// # Safety
/// The CPU has the kernel's instruction set; `a` and `b` are readable for `kc` steps, `rows` for the height,
/// every destination row, and what the finish adds to it, for `cols` elements, and no one else uses those rows' columns.
pub(crate) type Micro = unsafe fn(&Tile);

/// The table of a kernel's heights, the entry `i` for `i + 1` rows.
macro_rules! heights {
    ($kernel:ident, $row:expr, $step:expr; $($mr:literal)*) => {
        &[$($kernel::<$mr, { $row }, { $step }> as $crate::gemm::micro::Micro),*]
    };
}
pub(crate) use heights;

/// Defines a micro-kernel: tile of `MR` rows by `$nv` vectors of `$simd`, row `r` and step `k` of the left
/// matrix at `a[r * RS + k * KS]`.
#[cfg(target_arch = "x86_64")]
macro_rules! micro_kernel {
    ($(#[$meta:meta])* $name:ident, $features:literal, $simd:ident, $nv:literal) => {
        $(#[$meta])*
        ///
        /// # Safety
        /// As [`Micro`](crate::gemm::micro::Micro) says.
        #[target_feature(enable = $features)]
        unsafe fn $name<const MR: usize, const RS: usize, const KS: usize>(
            tile: &$crate::gemm::micro::Tile,
        ) {
            let mut acc = [[$simd::zero(); $nv]; MR];
            let (mut a, mut b) = (tile.a, tile.b);
            for _ in 0..tile.kc {
                // SAFETY: the caller promises `kc` steps of `a` and `b`; a prefetch may point anywhere.
                unsafe {
                    let mut right = [$simd::zero(); $nv];
                    for v in 0..$nv {
                        right[v] = $simd::load(b.add(v * $simd::LANES));
                        $simd::prefetch(b.wrapping_add((16 * $nv + v) * $simd::LANES));
                    }
                    for r in 0..MR {
                        let left = $simd::splat(*a.add(r * RS));
                        for v in 0..$nv {
                            acc[r][v] = $simd::fma(left, right[v], acc[r][v]);
                        }
                    }
                    a = a.add(KS);
                    b = b.add($nv * $simd::LANES);
                }
            }
            // Each loop below is small enough to be unrolled, so that the sums stay in registers.
            macro_rules! finish {
                ($load:expr, $store:expr) => {
                    // SAFETY: the caller promises `cols` columns of each row and of the bias; vectors are
                    // masked where they reach further.
                    unsafe {
                        if tile.accumulate {
                            for r in 0..MR {
                                let to = tile.dst.wrapping_add(*tile.rows.add(r));
                                for v in 0..$nv {
                                    let old = $load(to.wrapping_add(v * $simd::LANES), v);
                                    acc[r][v] = $simd::add(old, acc[r][v]);
                                }
                            }
                        }
                        if !tile.finish.bias.is_null() {
                            for v in 0..$nv {
                                let bias = $load(tile.finish.bias.wrapping_add(v * $simd::LANES), v);
                                for r in 0..MR {
                                    acc[r][v] = $simd::add(acc[r][v], bias);
                                }
                            }
                        }
                        if !tile.finish.add.is_null() {
                            for r in 0..MR {
                                let from = tile.finish.add.wrapping_add(*tile.rows.add(r));
                                for v in 0..$nv {
                                    let add = $load(from.wrapping_add(v * $simd::LANES), v);
                                    acc[r][v] = $simd::add(acc[r][v], add);
                                }
                            }
                        }
                        let (low, high) = ($simd::splat(tile.finish.low), $simd::splat(tile.finish.high));
                        for r in 0..MR {
                            for v in 0..$nv {
                                acc[r][v] = $simd::clamp(acc[r][v], low, high);
                            }
                        }
                        for r in 0..MR {
                            let to = tile.dst.wrapping_add(*tile.rows.add(r));
                            for v in 0..$nv {
                                $store(to.wrapping_add(v * $simd::LANES), acc[r][v], v);
                            }
                        }
                    }
                };
            }
            if tile.cols == $nv * $simd::LANES {
                finish!(|from, _| $simd::load(from), |to, x, _| $simd::store(to, x));
            } else {
                let mut masks = [$simd::mask(0); $nv];
                for v in 0..$nv {
                    masks[v] = $simd::mask(tile.cols.saturating_sub(v * $simd::LANES).min($simd::LANES));
                }
                finish!(
                    |from, v: usize| $simd::load_masked(from, masks[v]),
                    |to, x, v: usize| $simd::store_masked(to, x, masks[v])
                );
            }
        }
    };
}
#[cfg(target_arch = "x86_64")]
pub(crate) use micro_kernel;
