//! AVX-512 micro-kernels.

use super::level::{Kind, Level};
use super::micro::{ROW, heights, micro_kernel};
use super::simd::{ymm_masks, zmm};

/// Rows of a tile packed step by step (`[k][MR]`).
const STEP: usize = 14;

micro_kernel!(
    /// 28 accumulators, two vectors of the right panel, one broadcast: 31 of 32 registers.
    f32_gemm_14x32_avx512,
    "avx512f,avx512vl,avx2,fma",
    zmm,
    2
);
micro_kernel!(
    /// For 9 to 16 columns: half the width, twice the rows.
    f32_gemm_28x16_avx512,
    "avx512f,avx512vl,avx2,fma",
    zmm,
    1
);
micro_kernel!(
    /// For up to 8 columns: half a vector, since two of these are issued each cycle.
    f32_gemm_28x8_avx512,
    "avx512f,avx512vl,avx2,fma",
    ymm_masks,
    1
);

/// The kernels of this instruction set.
pub(super) static LEVEL: Level = Level {
    kinds: &[
        Kind {
            width: 32,
            by_row: heights!(f32_gemm_14x32_avx512, ROW, 1; 1 2 3 4 5 6 7 8 9 10 11 12 13 14),
            by_step: heights!(f32_gemm_14x32_avx512, 1, STEP; 1 2 3 4 5 6 7 8 9 10 11 12 13 14),
        },
        Kind {
            width: 16,
            by_row: heights!(f32_gemm_28x16_avx512, ROW, 1;
                1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28),
            by_step: heights!(f32_gemm_28x16_avx512, 1, STEP; 1 2 3 4 5 6 7 8 9 10 11 12 13 14),
        },
        Kind {
            width: 8,
            by_row: heights!(f32_gemm_28x8_avx512, ROW, 1;
                1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28),
            by_step: heights!(f32_gemm_28x8_avx512, 1, STEP; 1 2 3 4 5 6 7 8 9 10 11 12 13 14),
        },
    ],
    step: STEP,
};
