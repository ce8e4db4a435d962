//! The micro-kernel for any processor: plain Rust that the compiler vectorises with what its base target has.

use super::level::{Kind, Level};
use super::micro::{ROW, Tile, heights};

/// Rows of a tile packed step by step (`[k][MR]`).
const STEP: usize = 4;
const WIDTH: usize = 8;

/// 8 accumulators of 4 lanes. Products are rounded before they are added: without hardware a fused
/// multiply-add is a call of a library function.
///
/// # Safety
/// As [`Micro`](super::micro::Micro) says.
unsafe fn f32_gemm_4x8_portable<const MR: usize, const RS: usize, const KS: usize>(tile: &Tile) {
    let mut acc = [[0.0f32; WIDTH]; MR];
    for k in 0..tile.kc {
        // SAFETY: the caller promises `kc` steps of `a` and `b`.
        unsafe {
            let right = &*tile.b.add(k * WIDTH).cast::<[f32; WIDTH]>();
            for r in 0..MR {
                let left = *tile.a.add(r * RS + k * KS);
                for j in 0..WIDTH {
                    acc[r][j] += left * right[j];
                }
            }
        }
    }
    for r in 0..MR {
        for j in 0..tile.cols {
            // SAFETY: the caller promises `cols` columns of each row and of what is added.
            unsafe {
                let to = tile.dst.add(*tile.rows.add(r) + j);
                let mut sum = acc[r][j];
                if tile.accumulate {
                    sum += *to;
                }
                if !tile.finish.bias.is_null() {
                    sum += *tile.finish.bias.add(j);
                }
                if !tile.finish.add.is_null() {
                    sum += *tile.finish.add.add(*tile.rows.add(r) + j);
                }
                // A clamp that keeps a NaN, as Rust's does.
                *to = sum.clamp(tile.finish.low, tile.finish.high);
            }
        }
    }
}

/// The kernels of this level.
pub(super) static LEVEL: Level = Level {
    kinds: &[Kind {
        width: WIDTH,
        by_row: heights!(f32_gemm_4x8_portable, ROW, 1; 1 2 3 4),
        by_step: heights!(f32_gemm_4x8_portable, 1, STEP; 1 2 3 4),
    }],
    step: STEP,
};
