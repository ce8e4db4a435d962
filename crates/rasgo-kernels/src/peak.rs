//! The speed that the machine could reach, to hold measured kernels against.

use std::time::Instant;

use crate::Isa;
use crate::isa::isa_fn;
use crate::settings::threads;
use crate::threads::parallel;

/// Steps of one measurement.
const STEPS: usize = 1 << 18;

/// The most f32 operations per second, in GFLOP/s, of as many threads as kernels use now: multiply-adds that
/// touch registers only, for `seconds`; the best of short runs.
pub fn f32_peak(seconds: f64) -> f64 {
    let (isa, tasks) = (Isa::current(), threads());
    let (begin, mut best) = (Instant::now(), 0.0f64);
    while begin.elapsed().as_secs_f64() < seconds {
        let start = Instant::now();
        let flops = std::sync::atomic::AtomicUsize::new(0);
        parallel(tasks, |_| {
            flops.fetch_add(multiply_add(isa), std::sync::atomic::Ordering::Relaxed);
        });
        best = best.max(flops.into_inner() as f64 / start.elapsed().as_secs_f64() / 1e9);
    }
    best
}

/// Bytes per second, in GB/s, at which the threads together read memory that no cache holds.
pub fn read_bandwidth() -> f64 {
    const LEN: usize = 1 << 25;
    const CHUNK: usize = 1 << 18;
    let memory = crate::Buffer::zeroed::<f32>(LEN);
    let (isa, memory) = (Isa::current(), memory.as_slice::<f32>());
    let run = || {
        let start = Instant::now();
        parallel(LEN / CHUNK, |i| {
            std::hint::black_box(sum(isa, &memory[i * CHUNK..(i + 1) * CHUNK]));
        });
        (LEN * 4) as f64 / start.elapsed().as_secs_f64() / 1e9
    };
    (0..4).map(|_| run()).fold(0.0, f64::max)
}

/// Runs [`STEPS`] steps; returns the number of operations.
fn multiply_add(isa: Isa) -> usize {
    match isa.vectors() {
        // SAFETY: a level is only ever made by detection, so the CPU has these features.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => unsafe { fused_avx512() },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => unsafe { fused_avx2() },
        _ => portable(),
    }
}

/// Twelve independent sums hide the latency of a multiply-add on two units.
#[cfg(target_arch = "x86_64")]
macro_rules! fused {
    ($name:ident, $features:literal, $vector:path) => {
        #[target_feature(enable = $features)]
        fn $name() -> usize {
            use crate::simd::Vector;
            use $vector as V;
            const SUMS: usize = 12;
            let x = V::splat(std::hint::black_box(0.5));
            let mut sums = [x; SUMS];
            for _ in 0..STEPS {
                for i in 0..SUMS {
                    sums[i] = sums[i].mul_add(x, x);
                }
            }
            std::hint::black_box(sums);
            2 * STEPS * SUMS * V::LANES
        }
    };
}
#[cfg(target_arch = "x86_64")]
fused!(fused_avx512, "avx512f", crate::simd::avx512::F32x16);
#[cfg(target_arch = "x86_64")]
fused!(fused_avx2, "avx2,fma", crate::simd::avx2::F32x8);

/// Products and sums of eight vectors of four, as many as the smallest register file holds with room to spare.
fn portable() -> usize {
    let x: [f32; 32] = std::hint::black_box([0.5; 32]);
    let mut sums = x;
    for _ in 0..STEPS {
        for i in 0..32 {
            sums[i] = sums[i] * x[0] + x[0];
        }
    }
    std::hint::black_box(sums);
    2 * STEPS * 32
}

isa_fn! {
    fn sum(memory: &[f32]) -> f32 {
        let mut sums = [0.0f32; 64];
        for chunk in memory.chunks_exact(64) {
            for i in 0..64 {
                sums[i] += chunk[i];
            }
        }
        sums.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn peak_and_bandwidth_are_positive() {
        assert!(super::f32_peak(0.01) > 0.1);
        assert!(super::read_bandwidth() > 0.1);
    }
}
