//! AVX2 micro-kernels.

use super::level::{Kind, Level};
use super::micro::{ROW, heights, micro_kernel};
use super::simd::ymm;

/// Rows of a tile packed step by step (`[k][MR]`).
const STEP: usize = 6;

micro_kernel!(
    /// 12 accumulators, two vectors of the right panel, one broadcast: 15 of 16 registers.
    f32_gemm_6x16_avx2,
    "avx2,fma",
    ymm,
    2
);
micro_kernel!(
    /// For up to 8 columns.
    f32_gemm_12x8_avx2,
    "avx2,fma",
    ymm,
    1
);

/// The kernels of this instruction set.
pub(super) static LEVEL: Level = Level {
    kinds: &[
        Kind {
            width: 16,
            by_row: heights!(f32_gemm_6x16_avx2, ROW, 1; 1 2 3 4 5 6),
            by_step: heights!(f32_gemm_6x16_avx2, 1, STEP; 1 2 3 4 5 6),
        },
        Kind {
            width: 8,
            by_row: heights!(f32_gemm_12x8_avx2, ROW, 1; 1 2 3 4 5 6 7 8 9 10 11 12),
            by_step: heights!(f32_gemm_12x8_avx2, 1, STEP; 1 2 3 4 5 6),
        },
    ],
    step: STEP,
};
