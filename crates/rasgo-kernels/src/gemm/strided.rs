//! Micro-kernels over matrices that lie as they are: the distances of rows and steps come with the call.
//!
//! One call makes a tile `dst[MR, NV vectors] (+)= a[MR, k] * b[k, NV vectors]` in registers: for each step the vectors of
//! `b` are loaded, and each element of `a` is spread over a vector and multiplied with them. An element of the tile has
//! one accumulator that goes over `k` in order, so it does not depend on the tile's height.

use crate::Isa;
use crate::simd::Vector;

/// One tile's work.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tile {
    pub(crate) k: usize,
    pub(crate) a: *const f32,
    /// Distances in `a` of rows and of steps.
    pub(crate) a_row: usize,
    pub(crate) a_step: usize,
    pub(crate) b: *const f32,
    /// Distance in `b` of steps.
    pub(crate) b_step: usize,
    pub(crate) dst: *mut f32,
    pub(crate) dst_row: usize,
    /// Add to what the destination holds, instead of overwriting it.
    pub(crate) accumulate: bool,
}

/// A micro-kernel of a certain height and width.
///
/// # Safety
/// The CPU has the kernel's instruction set; `a` and `b` are readable for the height, the width and `k` steps, `dst` is
/// writable there, and no one else uses it.
pub(crate) type Kernel = unsafe fn(&Tile);

/// The micro-kernels of one instruction set.
#[derive(Debug)]
pub(crate) struct Kernels {
    pub(crate) lanes: usize,
    /// By width, of one vector and of two, the kernels of 1, 2, … rows.
    widths: [&'static [Kernel]; 2],
}

impl Kernels {
    pub(crate) fn of(isa: Isa) -> &'static Kernels {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => &avx512::KERNELS,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => &avx2::KERNELS,
            _ => &portable::KERNELS,
        }
    }

    /// The most columns of a tile.
    pub(crate) fn width(&self) -> usize {
        2 * self.lanes
    }

    /// The most rows of a tile.
    pub(crate) fn height(&self) -> usize {
        self.widths[1].len()
    }

    /// The kernel of that many rows, and columns of one vector or two.
    pub(crate) fn get(&self, rows: usize, columns: usize) -> Kernel {
        self.widths[usize::from(columns > self.lanes)][rows - 1]
    }

    /// The height of tiles, all the same but the last, that cuts `rows` into the fewest.
    pub(crate) fn even_height(&self, rows: usize) -> usize {
        rows.div_ceil(rows.div_ceil(self.height()).max(1)).max(1)
    }
}

#[inline(always)]
unsafe fn tile<V: Vector, const MR: usize, const NV: usize>(tile: &Tile) {
    let mut acc = [[V::zero(); NV]; MR];
    let (mut a, mut b) = (tile.a, tile.b);
    let row = tile.a_row;
    for _ in 0..tile.k {
        let mut right = [V::zero(); NV];
        for (v, right) in right.iter_mut().enumerate() {
            // SAFETY: the caller promises `k` steps of `b`.
            *right = unsafe { V::load(b.add(v * V::LANES)) };
            V::prefetch(b.wrapping_add(8 * tile.b_step + v * V::LANES));
        }
        for r in 0..MR {
            // SAFETY: the caller promises `k` steps of each row.
            let left = V::splat(unsafe { *a.add(r * row) });
            for v in 0..NV {
                acc[r][v] = left.mul_add(right[v], acc[r][v]);
            }
        }
        a = a.wrapping_add(tile.a_step);
        b = b.wrapping_add(tile.b_step);
    }
    for (r, acc) in acc.iter().enumerate() {
        for (v, acc) in acc.iter().enumerate() {
            // SAFETY: the caller promises the rows of the destination.
            unsafe {
                let to = tile.dst.add(r * tile.dst_row + v * V::LANES);
                if tile.accumulate { V::load(to).add(*acc) } else { *acc }.store(to);
            }
        }
    }
}

/// The module of a level: its kernels of every height, compiled for it.
macro_rules! level {
    ($(#[$cfg:meta])* $name:ident, $vector:path, $(#[$feature:meta])* : $($height:literal)*) => {
        $(#[$cfg])*
        mod $name {
            use crate::simd::Vector;
            use $vector as V;

            $(#[$feature])*
            unsafe fn kernel<const MR: usize, const NV: usize>(tile: &super::Tile) {
                // SAFETY: the caller's promise.
                unsafe { super::tile::<V, MR, NV>(tile) }
            }

            pub(super) static KERNELS: super::Kernels = super::Kernels {
                lanes: V::LANES,
                widths: [&[$(kernel::<$height, 1>),*], &[$(kernel::<$height, 2>),*]],
            };
        }
    };
}

level!(
    #[cfg(target_arch = "x86_64")]
    avx512, crate::simd::avx512::F32x16,
    #[target_feature(enable = "avx2,fma,avx512f,avx512vl,avx512bw,avx512dq")]
    : 1 2 3 4 5 6 7 8 9 10 11 12 13 14
);
level!(
    #[cfg(target_arch = "x86_64")]
    avx2, crate::simd::avx2::F32x8,
    #[target_feature(enable = "avx2,fma")]
    : 1 2 3 4 5 6
);
level!(portable, crate::simd::portable::F32x4, : 1 2 3 4);
