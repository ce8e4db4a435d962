//! Counter-based random numbers: a value is a function of (seed, stream, position) and of nothing else.
//!
//! So the augmentation of a sample does not depend on which worker draws it, nor a weight on which thread reads
//! it first. The generator is Philox 4x32-10 (Salmon, Moraes, Dror, Shaw: *Parallel random numbers: as easy as
//! 1, 2, 3*, SC 2011).

use std::cell::Cell;

/// A seed and a stream: names one infinite sequence of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    seed: u64,
    stream: u64,
}

impl Key {
    /// The sequence `stream` of `seed`.
    pub const fn new(seed: u64, stream: u64) -> Self {
        Key { seed, stream }
    }

    /// A key derived from this one and a number, independent of both.
    pub fn child(self, number: u64) -> Key {
        let [a, b, c, d] = philox(self.seed ^ 0x6a09_e667_f3bc_c908, self.stream, number);
        Key { seed: join(a, b), stream: join(c, d) }
    }

    /// A key derived from this one and a name.
    pub fn named(self, name: &str) -> Key {
        // FNV-1a, 64 bits.
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        self.child(hash)
    }

    /// Four 32-bit numbers at a position.
    pub fn bits(self, position: u64) -> [u32; 4] {
        philox(self.seed, self.stream, position)
    }

    /// Uniform in 0..1, a multiple of 2^-24.
    pub fn uniform(self, position: u64) -> f32 {
        unit(self.bits(position / 4)[(position % 4) as usize])
    }

    /// Uniform in 0..1 with 53 bits.
    pub fn uniform_f64(self, position: u64) -> f64 {
        let word = self.bits(position);
        (join(word[0], word[1]) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Standard normal, by Box and Muller.
    pub fn normal(self, position: u64) -> f64 {
        let [a, b, c, d] = self.bits(position / 2);
        // 0 < u <= 1, so the logarithm is finite.
        let u = ((join(a, b) >> 11) + 1) as f64 / (1u64 << 53) as f64;
        let angle = 2.0 * std::f64::consts::PI * ((join(c, d) >> 11) as f64 / (1u64 << 53) as f64);
        let radius = (-2.0 * libm::log(u)).sqrt();
        radius * if position.is_multiple_of(2) { libm::cos(angle) } else { libm::sin(angle) }
    }

    /// A whole number in 0..n.
    pub fn below(self, position: u64, n: u64) -> u64 {
        assert!(n > 0, "a range has numbers");
        let word = self.bits(position);
        // The high part of a 64x64 product: uniform to within n / 2^64.
        ((u128::from(join(word[0], word[1])) * u128::from(n)) >> 64) as u64
    }

    /// A permutation of 0..n, by Fisher and Yates.
    pub fn permutation(self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        for i in (1..n).rev() {
            order.swap(i, self.below(i as u64, i as u64 + 1) as usize);
        }
        order
    }
}

fn unit(bits: u32) -> f32 {
    (bits >> 8) as f32 / (1u32 << 24) as f32
}

fn join(low: u32, high: u32) -> u64 {
    u64::from(low) | u64::from(high) << 32
}

/// Philox 4x32-10: the counter is (position, stream), the key is the seed.
fn philox(seed: u64, stream: u64, position: u64) -> [u32; 4] {
    let mut counter = [position as u32, (position >> 32) as u32, stream as u32, (stream >> 32) as u32];
    let mut key = [seed as u32, (seed >> 32) as u32];
    for _ in 0..10 {
        let a = u64::from(counter[0]) * 0xd251_1f53;
        let b = u64::from(counter[2]) * 0xcd9e_8d57;
        counter = [
            (b >> 32) as u32 ^ counter[1] ^ key[0],
            b as u32,
            (a >> 32) as u32 ^ counter[3] ^ key[1],
            a as u32,
        ];
        key = [key[0].wrapping_add(0x9e37_79b9), key[1].wrapping_add(0xbb67_ae85)];
    }
    counter
}

thread_local! {
    static NEXT: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
}

/// Sets the seed of what this thread makes from now on: parameters, dropout layers, `rand` and its kin.
pub fn manual_seed(seed: u64) {
    NEXT.set((seed, 0));
}

/// The next key of this thread's seed; one is taken by every parameter and random tensor when it is made.
pub fn next_key() -> Key {
    let (seed, stream) = NEXT.get();
    NEXT.set((seed, stream + 1));
    Key::new(seed, stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn philox_gives_the_published_values() {
        // Random123's known-answer tests for philox4x32-10.
        assert_eq!(philox(0, 0, 0), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(
            philox(u64::MAX, u64::MAX, u64::MAX),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
    }

    #[test]
    fn uniform_and_normal_have_their_moments() {
        let key = Key::new(3, 1);
        let n = 100_000;
        let mean = (0..n).map(|i| f64::from(key.uniform(i))).sum::<f64>() / n as f64;
        assert!((mean - 0.5).abs() < 0.005, "{mean}");
        let (mut sum, mut square) = (0.0, 0.0);
        for i in 0..n {
            let x = key.normal(i);
            sum += x;
            square += x * x;
        }
        assert!((sum / n as f64).abs() < 0.015 && (square / n as f64 - 1.0).abs() < 0.02);
    }

    #[test]
    fn a_permutation_holds_every_number_once() {
        let mut order = Key::new(1, 2).permutation(1000);
        assert_ne!(order, (0..1000).collect::<Vec<_>>());
        order.sort_unstable();
        assert_eq!(order, (0..1000).collect::<Vec<_>>());
    }
}
