//! Packing a right matrix that lies transposed: weights `[out, in]`, the panels want `[in, out]`.

use crate::Isa;

/// Packs `count` rows of `src` (each `len` long, `ld` apart) as columns: element `i` of row `j` goes to
/// `dst[place(i) * width + j]`, where `place(i) = i % taps * inner + i / taps` puts PyTorch's order (channel,
/// tap) into ours (tap, channel); with `taps = 1` it is `i`.
///
/// # Safety
/// The rows are readable, the destination is writable at those places, and `count` is at most `width`.
pub(crate) unsafe fn pack_transposed(
    isa: Isa,
    src: *const f32,
    ld: usize,
    count: usize,
    len: usize,
    [taps, inner]: [usize; 2],
    dst: *mut f32,
    width: usize,
) {
    let begin = || Place { tap: 0, channel: 0, taps, inner };
    let mut done = 0;
    // Eight rows at a time, each read from its start to its end, as the hardware's prefetcher likes it.
    #[cfg(target_arch = "x86_64")]
    while isa >= Isa::Avx2 && done + 8 <= count {
        let mut place = begin();
        for i in (0..len / 8).map(|i| i * 8) {
            let to: [usize; 8] = std::array::from_fn(|_| place.next() * width);
            // SAFETY: the caller's promise, and the level is only made by detection.
            unsafe { transpose_8x8(src.add(done * ld + i), ld, dst.add(done), &to) };
        }
        for i in len / 8 * 8..len {
            let to = place.next() * width;
            for j in done..done + 8 {
                // SAFETY: the caller's promise.
                unsafe { *dst.add(to + j) = *src.add(j * ld + i) };
            }
        }
        done += 8;
    }
    let _ = isa;
    for j in done..count {
        let mut place = begin();
        for i in 0..len {
            // SAFETY: the caller's promise.
            unsafe { *dst.add(place.next() * width + j) = *src.add(j * ld + i) };
        }
    }
}

/// Counts `place(i)` up without divisions.
struct Place {
    tap: usize,
    channel: usize,
    taps: usize,
    inner: usize,
}

impl Place {
    #[inline(always)]
    fn next(&mut self) -> usize {
        let at = self.tap * self.inner + self.channel;
        self.tap += 1;
        if self.tap == self.taps {
            self.tap = 0;
            self.channel += 1;
        }
        at
    }
}

/// Column `q` of the 8x8 block goes to `dst + to[q]`.
///
/// # Safety
/// The block is readable, the eight places are writable, the CPU has AVX2.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn transpose_8x8(src: *const f32, ld: usize, dst: *mut f32, to: &[usize; 8]) {
    use std::arch::x86_64::*;
    // SAFETY: the caller's promise.
    unsafe {
        let row = |j: usize| _mm256_loadu_ps(src.add(j * ld));
        let (r0, r1, r2, r3) = (row(0), row(1), row(2), row(3));
        let (r4, r5, r6, r7) = (row(4), row(5), row(6), row(7));
        let (a0, a1) = (_mm256_unpacklo_ps(r0, r1), _mm256_unpackhi_ps(r0, r1));
        let (a2, a3) = (_mm256_unpacklo_ps(r2, r3), _mm256_unpackhi_ps(r2, r3));
        let (a4, a5) = (_mm256_unpacklo_ps(r4, r5), _mm256_unpackhi_ps(r4, r5));
        let (a6, a7) = (_mm256_unpacklo_ps(r6, r7), _mm256_unpackhi_ps(r6, r7));
        const LOW: i32 = 0b01_00_01_00;
        const HIGH: i32 = 0b11_10_11_10;
        let (b0, b1) = (_mm256_shuffle_ps::<LOW>(a0, a2), _mm256_shuffle_ps::<HIGH>(a0, a2));
        let (b2, b3) = (_mm256_shuffle_ps::<LOW>(a1, a3), _mm256_shuffle_ps::<HIGH>(a1, a3));
        let (b4, b5) = (_mm256_shuffle_ps::<LOW>(a4, a6), _mm256_shuffle_ps::<HIGH>(a4, a6));
        let (b6, b7) = (_mm256_shuffle_ps::<LOW>(a5, a7), _mm256_shuffle_ps::<HIGH>(a5, a7));
        _mm256_storeu_ps(dst.add(to[0]), _mm256_permute2f128_ps::<0x20>(b0, b4));
        _mm256_storeu_ps(dst.add(to[1]), _mm256_permute2f128_ps::<0x20>(b1, b5));
        _mm256_storeu_ps(dst.add(to[2]), _mm256_permute2f128_ps::<0x20>(b2, b6));
        _mm256_storeu_ps(dst.add(to[3]), _mm256_permute2f128_ps::<0x20>(b3, b7));
        _mm256_storeu_ps(dst.add(to[4]), _mm256_permute2f128_ps::<0x31>(b0, b4));
        _mm256_storeu_ps(dst.add(to[5]), _mm256_permute2f128_ps::<0x31>(b1, b5));
        _mm256_storeu_ps(dst.add(to[6]), _mm256_permute2f128_ps::<0x31>(b2, b6));
        _mm256_storeu_ps(dst.add(to[7]), _mm256_permute2f128_ps::<0x31>(b3, b7));
    }
}
