//! Products of bfloat16 by multiplications of `f32`, for levels that have nothing better.

use super::{BLOCK, LANES, STEP, Tile};
use crate::simd::Vector;

/// Makes a tile, `MR` rows and `NV` vectors at a time.
///
/// # Safety
/// As of [`Kernel`](super::Kernel).
#[inline(always)]
unsafe fn tile<V: Vector, const MR: usize, const NV: usize>(tile: &Tile) {
    let width = NV * V::LANES;
    for column in (0..tile.blocks * LANES).step_by(width) {
        let mut row = 0;
        while row < tile.rows {
            let part = Tile {
                a: tile.a.wrapping_add(row * tile.a_row),
                b: tile.b.wrapping_add(column / LANES * BLOCK + column % LANES),
                dst: tile.dst.wrapping_add(row * tile.dst_row + column),
                ..*tile
            };
            let left = tile.rows - row;
            // SAFETY: rows and columns of the tile.
            unsafe { if left >= MR { rows::<V, MR, NV>(&part) } else { rows::<V, 1, NV>(&part) } }
            row += if left >= MR { MR } else { 1 };
        }
    }
}

#[inline(always)]
unsafe fn rows<V: Vector, const MR: usize, const NV: usize>(tile: &Tile) {
    let mut sums = [[V::zero(); NV]; MR];
    let mut b = tile.b;
    for rep in 0..tile.reps {
        let mut a = tile.a.wrapping_add(rep * tile.a_rep);
        for _ in 0..tile.steps {
            for pair in 0..STEP / 2 {
                let mut right = [[V::zero(); 2]; NV];
                for v in 0..NV {
                    // SAFETY: the caller promises the blocks.
                    right[v] = unsafe { V::load_pairs(b.wrapping_add(pair * LANES + v * V::LANES)) };
                }
                for r in 0..MR {
                    // SAFETY: the caller promises the steps of every row.
                    let [even, odd] = unsafe { V::splat_pair(a.wrapping_add(r * tile.a_row + 2 * pair)) };
                    for v in 0..NV {
                        sums[r][v] = odd.mul_add(right[v][1], even.mul_add(right[v][0], sums[r][v]));
                    }
                }
            }
            a = a.wrapping_add(STEP);
            b = b.wrapping_add(tile.blocks * BLOCK);
        }
    }
    for r in 0..MR {
        for v in 0..NV {
            let to = tile.dst.wrapping_add(r * tile.dst_row + v * V::LANES);
            // SAFETY: the caller promises the destination.
            unsafe {
                let sum = sums[r][v];
                if tile.accumulate { V::load(to).add(sum) } else { sum }.store(to);
            }
        }
    }
}

/// # Safety
/// As of [`Kernel`](super::Kernel).
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avx512f,avx512vl,avx512bw,avx512dq")]
pub(super) unsafe fn avx512(work: &Tile) {
    // SAFETY: the caller's promise.
    unsafe { tile::<crate::simd::avx512::F32x16, 16, 1>(work) }
}

/// # Safety
/// As of [`Kernel`](super::Kernel).
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn avx2(work: &Tile) {
    // SAFETY: the caller's promise.
    unsafe { tile::<crate::simd::avx2::F32x8, 4, 2>(work) }
}

/// # Safety
/// As of [`Kernel`](super::Kernel).
pub(super) unsafe fn portable(work: &Tile) {
    // SAFETY: the caller's promise.
    unsafe { tile::<crate::simd::portable::F32x4, 4, 2>(work) }
}
