//! Dot products of pairs in vectors (AVX-512 BF16): up to fourteen rows of one or two blocks in registers.

use std::arch::x86_64::{
    __m512, __m512bh, _mm512_add_ps, _mm512_dpbf16_ps, _mm512_loadu_ps, _mm512_set1_epi32,
};
use std::arch::x86_64::{_mm512_setzero_ps, _mm512_storeu_ps};
use std::mem::transmute;

use super::{BLOCK, LANES, STEP, Tile};
use crate::gemm::strided::even;

/// Rows that are summed at once: with two blocks 28 sums, which leaves registers for `a` and `b`.
const HEIGHT: usize = 14;

/// As [`Kernel`](super::Kernel).
///
/// # Safety
/// As there.
pub(super) unsafe fn tile(tile: &Tile) {
    let tall = even(tile.rows, HEIGHT);
    for row in (0..tile.rows).step_by(tall) {
        let part = Tile {
            rows: tall.min(tile.rows - row),
            a: tile.a.wrapping_add(row * tile.a_row),
            dst: tile.dst.wrapping_add(row * tile.dst_row),
            ..*tile
        };
        // SAFETY: rows of the tile.
        unsafe { if tile.blocks == 2 { by_rows::<2>(&part) } else { by_rows::<1>(&part) } }
    }
}

unsafe fn by_rows<const NB: usize>(tile: &Tile) {
    // SAFETY: the caller's promise.
    unsafe {
        match tile.rows {
            1 => rows::<1, NB>(tile),
            2 => rows::<2, NB>(tile),
            3 => rows::<3, NB>(tile),
            4 => rows::<4, NB>(tile),
            5 => rows::<5, NB>(tile),
            6 => rows::<6, NB>(tile),
            7 => rows::<7, NB>(tile),
            8 => rows::<8, NB>(tile),
            9 => rows::<9, NB>(tile),
            10 => rows::<10, NB>(tile),
            11 => rows::<11, NB>(tile),
            12 => rows::<12, NB>(tile),
            13 => rows::<13, NB>(tile),
            _ => rows::<14, NB>(tile),
        }
    }
}

#[target_feature(enable = "avx2,fma,avx512f,avx512vl,avx512bw,avx512dq,avx512bf16")]
unsafe fn rows<const MR: usize, const NB: usize>(tile: &Tile) {
    let mut sums = [[_mm512_setzero_ps(); NB]; MR];
    let mut b = tile.b;
    for rep in 0..tile.reps {
        let first = tile.a.wrapping_add(rep * tile.a_rep);
        // Four rows to a pointer: as one, each row would wait for the address of the row before.
        let mut a = [0, 4, 8, 12].map(|r| first.wrapping_add(r * tile.a_row).cast::<i32>());
        for _ in 0..tile.steps {
            for pair in 0..STEP / 2 {
                let mut right = [_mm512_setzero_ps(); NB];
                for v in 0..NB {
                    // SAFETY: the caller promises the blocks.
                    right[v] =
                        unsafe { _mm512_loadu_ps(b.wrapping_add(v * BLOCK + pair * LANES).cast::<f32>()) };
                }
                for r in 0..MR {
                    let at = a[r / 4].wrapping_byte_add(2 * (r % 4) * tile.a_row).wrapping_add(pair);
                    // SAFETY: the caller promises the steps of every row; both types are 64 bytes of any bits.
                    let left: __m512bh = unsafe { transmute(_mm512_set1_epi32(at.read_unaligned())) };
                    for v in 0..NB {
                        // SAFETY: as above.
                        let right: __m512bh = unsafe { transmute::<__m512, __m512bh>(right[v]) };
                        sums[r][v] = _mm512_dpbf16_ps(sums[r][v], left, right);
                    }
                }
            }
            for a in a.iter_mut().take(MR.div_ceil(4)) {
                *a = a.wrapping_add(STEP / 2);
            }
            b = b.wrapping_add(NB * BLOCK);
        }
    }
    for r in 0..MR {
        for v in 0..NB {
            let to = tile.dst.wrapping_add(r * tile.dst_row + v * LANES);
            // SAFETY: the caller promises the destination.
            unsafe {
                let sum = sums[r][v];
                let sum = if tile.accumulate { _mm512_add_ps(_mm512_loadu_ps(to), sum) } else { sum };
                _mm512_storeu_ps(to, sum);
            }
        }
    }
}
