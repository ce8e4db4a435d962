//! Micro-kernels over matrices that lie as they are: the distances of rows and steps come with the call.
//!
//! One call makes a tile `dst[MR, NV vectors] (+)= a[MR, k] * b[k, NV vectors]` in registers: for each step the vectors of
//! `b` are loaded, and each element of `a` is spread over a vector and multiplied with them. An element of the tile has
//! one accumulator that goes over `k` in order, so it does not depend on the tile's height. Several such products, whose
//! sides lie a fixed distance apart, may be added up in one call: the lines of a convolution's kernel, or of a map.

use std::ops::Range;

use crate::Isa;
use crate::epilogue::Finish;
use crate::simd::Vector;

/// The most steps that are summed in one go. It decides the order of sums, so it is a constant.
pub(crate) const STEPS: usize = 288;

/// Elements of a line of the cache.
const LINE: usize = 16;

/// One tile's work: `reps` products of `k` steps each, added up.
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
    /// Products that are added up, and where in `a` and `b` the next one begins.
    pub(crate) reps: usize,
    pub(crate) a_rep: usize,
    pub(crate) b_rep: usize,
    /// Distances of planes, where several are computed at once.
    pub(crate) a_plane: usize,
    pub(crate) b_plane: usize,
    pub(crate) dst_plane: usize,
    /// What is read soon, a line of the cache for each step of the first product; `None` where nothing is known to be.
    pub(crate) ahead: Option<*const f32>,
    /// Columns of `dst` and what is added, where they are not whole vectors: those past them are neither read nor written.
    pub(crate) cols: usize,
    /// Whether `b` has no more columns either.
    pub(crate) b_ends: bool,
    /// What becomes of the sums.
    pub(crate) finish: Finish,
}

impl Tile {
    /// What most tiles do not use.
    pub(crate) const PLAIN: Tile = Tile {
        k: 0,
        a: std::ptr::null(),
        a_row: 0,
        a_step: 0,
        b: std::ptr::null(),
        b_step: 0,
        dst: std::ptr::null_mut(),
        dst_row: 0,
        accumulate: false,
        reps: 1,
        a_rep: 0,
        b_rep: 0,
        a_plane: 0,
        b_plane: 0,
        dst_plane: 0,
        ahead: None,
        cols: usize::MAX,
        b_ends: false,
        finish: Finish::NONE,
    };
}

/// A micro-kernel of a certain height and width.
///
/// # Safety
/// The CPU has the kernel's instruction set; `a` and `b` are readable for the height, the width and `k` steps, `dst` is
/// writable there, and no one else uses it; what the finish adds is readable there. All of that in every plane, if it
/// computes several.
pub(crate) type Kernel = unsafe fn(&Tile);

/// Columns of a product that are computed together.
#[derive(Debug, Clone)]
pub(crate) struct Panel {
    /// The columns it covers.
    pub(crate) cols: Range<usize>,
    /// Those and the padding: whole vectors.
    pub(crate) width: usize,
    /// The widths of the panels before: in a packed matrix of `k` rows this one begins at `at * k`.
    pub(crate) at: usize,
}

/// The micro-kernels of one instruction set.
#[derive(Debug)]
pub(crate) struct Kernels {
    pub(crate) lanes: usize,
    /// By width, of one vector and of two, the kernels of 1, 2, … rows; of whole vectors and of parts.
    whole: [&'static [Kernel]; 2],
    part: [&'static [Kernel]; 2],
    /// By width, the kernels of 1, 2, 3 rows and several planes; of whole vectors.
    planes: [[Kernel; 3]; 2],
}

impl Kernels {
    pub(crate) fn of(isa: Isa) -> &'static Kernels {
        match isa.vectors() {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => &avx512::KERNELS,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => &avx2::KERNELS,
            _ => &portable::KERNELS,
        }
    }

    /// For products of so many columns: those of the level below where they fill no more than its vector, of which a
    /// processor computes two at a time.
    pub(crate) fn narrow(isa: Isa, columns: usize) -> &'static Kernels {
        let below = if isa >= Isa::Avx512 { Isa::Avx2 } else { isa };
        let kernels = Kernels::of(below);
        if columns <= kernels.lanes { kernels } else { Kernels::of(isa) }
    }

    /// Cuts columns into panels: each as wide as a tile, the last perhaps half as wide.
    pub(crate) fn panels(&self, columns: usize) -> Vec<Panel> {
        let panel = |start: usize| {
            let cols = start..columns.min(start + self.width());
            let width = if cols.len() > self.lanes { self.width() } else { self.lanes };
            Panel { cols, width, at: start }
        };
        (0..columns).step_by(self.width()).map(panel).collect()
    }

    /// Cycles of a step of a product of so many rows and columns, about: two multiplications and two loads in each, and
    /// four until a sum can be added to again.
    pub(crate) fn cycles(&self, rows: usize, columns: usize) -> f64 {
        let tile =
            |height: usize, vectors: usize| (height * vectors).max(height + vectors).max(8) as f64 / 2.0;
        let panel = |panel: &Panel| {
            let (tall, vectors) = (even(rows, self.height_of(panel.width)), panel.width / self.lanes);
            let rest = rows % tall;
            (rows / tall) as f64 * tile(tall, vectors) + if rest > 0 { tile(rest, vectors) } else { 0.0 }
        };
        self.panels(columns).iter().map(panel).sum()
    }

    /// The most columns of a tile.
    pub(crate) fn width(&self) -> usize {
        2 * self.lanes
    }

    /// The most rows of a tile of the most columns.
    pub(crate) fn height(&self) -> usize {
        self.height_of(self.width())
    }

    /// The most rows of a tile of so many columns.
    pub(crate) fn height_of(&self, columns: usize) -> usize {
        self.whole[usize::from(columns > self.lanes)].len()
    }

    /// The kernel of that many rows, and columns of one vector or two.
    pub(crate) fn get(&self, rows: usize, columns: usize) -> Kernel {
        let widths = if columns.is_multiple_of(self.lanes) { &self.whole } else { &self.part };
        widths[usize::from(columns > self.lanes)][rows - 1]
    }

    /// Makes a tile of so many rows, of which at most [`STEPS`] steps are summed at a time: rounding grows with the length
    /// of a sum, and less with that of a sum of sums.
    ///
    /// # Safety
    /// As of [`Kernel`], with the columns of the tile.
    pub(crate) unsafe fn multiply(&self, rows: usize, columns: usize, tile: &Tile) {
        let kernel = self.get(rows, columns);
        if tile.k * tile.reps <= STEPS {
            // SAFETY: the caller's promise.
            return unsafe { kernel(tile) };
        }
        let (k, reps) = (even(tile.k, STEPS), (STEPS / tile.k).max(1));
        for rep in (0..tile.reps).step_by(reps) {
            for step in (0..tile.k).step_by(k) {
                let last = rep + reps >= tile.reps && step + k >= tile.k;
                let part = Tile {
                    k: k.min(tile.k - step),
                    reps: reps.min(tile.reps - rep),
                    a: tile.a.wrapping_add(rep * tile.a_rep + step * tile.a_step),
                    b: tile.b.wrapping_add(rep * tile.b_rep + step * tile.b_step),
                    accumulate: tile.accumulate || rep + step > 0,
                    finish: if last { tile.finish } else { Finish::NONE },
                    ..*tile
                };
                // SAFETY: a part of the tile's steps.
                unsafe { kernel(&part) };
            }
        }
    }

    /// How many planes are computed at once of tiles of so many rows: as many as it takes to have eight sums of two vectors,
    /// the products of which follow each other without waiting.
    pub(crate) const fn planes(rows: usize) -> usize {
        match rows {
            1 => 4,
            2 | 3 => 2,
            _ => 1,
        }
    }

    /// The kernel of that many rows, three at most, whose tile has [`planes`](Kernels::planes), and columns of one vector or
    /// two, whole ones. It knows no `reps` and no `finish`.
    pub(crate) fn get_planes(&self, rows: usize, columns: usize) -> Kernel {
        self.planes[usize::from(columns > self.lanes)][rows - 1]
    }

    /// The height of tiles of the most columns, all the same but the last, that cuts `rows` into the fewest.
    pub(crate) fn even_height(&self, rows: usize) -> usize {
        even(rows, self.height())
    }
}

/// The height of tiles, all the same but the last, that cuts `rows` into the fewest of at most `most`.
pub(crate) fn even(rows: usize, most: usize) -> usize {
    rows.div_ceil(rows.div_ceil(most).max(1)).max(1)
}

#[inline(always)]
unsafe fn tile<V: Vector, const MR: usize, const NV: usize, const PART: bool>(tile: &Tile) {
    // SAFETY: the caller's promises.
    let acc = unsafe {
        if PART && tile.b_ends { sums::<V, MR, NV, true>(tile) } else { sums::<V, MR, NV, false>(tile) }
    };
    for v in 0..NV {
        let left = tile.cols.saturating_sub(v * V::LANES);
        // SAFETY: the caller promises the columns of the bias.
        let bias = unsafe { tile.finish.bias::<V, PART>(v, tile.cols) };
        for r in 0..MR {
            let at = r * tile.dst_row + v * V::LANES;
            let to = tile.dst.wrapping_add(at);
            let mut x = acc[r][v];
            // SAFETY: the caller promises the rows of the destination, and of what is added to them.
            unsafe {
                if tile.accumulate {
                    x = if PART { V::load_first(to, left) } else { V::load(to) }.add(x);
                }
                x = tile.finish.apply::<V, PART>(x, bias, at, left);
                if PART { x.store_first(to, left) } else { x.store(to) }
            }
        }
    }
}

/// The products of several planes, each as [`tile`] makes one.
#[inline(always)]
unsafe fn planes<V: Vector, const MR: usize, const NV: usize, const NP: usize>(tile: &Tile) {
    let mut acc = [[[V::zero(); NV]; MR]; NP];
    let (mut a, mut b) = (tile.a, tile.b);
    for _ in 0..tile.k {
        for p in 0..NP {
            let (a, b) = (a.wrapping_add(p * tile.a_plane), b.wrapping_add(p * tile.b_plane));
            for v in 0..NV {
                let b = b.wrapping_add(v * V::LANES);
                // SAFETY: the caller promises `k` steps of both sides, in every plane.
                let right = unsafe { V::load(b) };
                V::prefetch(b.wrapping_add(8 * tile.b_step));
                for r in 0..MR {
                    // SAFETY: as above.
                    let left = V::splat(unsafe { *a.wrapping_add(r * tile.a_row) });
                    acc[p][r][v] = left.mul_add(right, acc[p][r][v]);
                }
            }
        }
        (a, b) = (a.wrapping_add(tile.a_step), b.wrapping_add(tile.b_step));
    }
    for p in 0..NP {
        for r in 0..MR {
            for v in 0..NV {
                let to = tile.dst.wrapping_add(p * tile.dst_plane + r * tile.dst_row + v * V::LANES);
                // SAFETY: the caller promises the rows of the destination, in every plane.
                unsafe {
                    let sum = acc[p][r][v];
                    if tile.accumulate { V::load(to).add(sum) } else { sum }.store(to);
                }
            }
        }
    }
}

/// The sums of a tile.
#[inline(always)]
unsafe fn sums<V: Vector, const MR: usize, const NV: usize, const PART: bool>(tile: &Tile) -> [[V; NV]; MR] {
    let mut acc = [[V::zero(); NV]; MR];
    let row = tile.a_row;
    for rep in 0..tile.reps {
        let first = tile.a.wrapping_add(rep * tile.a_rep);
        let mut a = [0, 4, 8, 12].map(|r| first.wrapping_add(r * row));
        let mut b = tile.b.wrapping_add(rep * tile.b_rep);
        // Without anything ahead what is read now: a prefetch of that costs nothing.
        let (mut ahead, line) = tile.ahead.map_or((b, tile.b_step), |ahead| (ahead, LINE));
        for _ in 0..tile.k {
            let mut right = [V::zero(); NV];
            V::prefetch(ahead);
            ahead = ahead.wrapping_add(line);
            for v in 0..NV {
                // SAFETY: the caller promises `k` steps of `b`.
                right[v] = unsafe { load::<V, PART>(b, v, tile.cols) };
                V::prefetch(b.wrapping_add(8 * tile.b_step + v * V::LANES));
            }
            for r in 0..MR {
                // Four rows to a pointer: as one, each row would wait for the address of the row before.
                let (group, within) = (r / 4, r % 4);
                // SAFETY: the caller promises `k` steps of each row.
                let left = V::splat(unsafe { *a[group].wrapping_add(within * row) });
                for v in 0..NV {
                    acc[r][v] = left.mul_add(right[v], acc[r][v]);
                }
            }
            for a in a.iter_mut().take(MR.div_ceil(4)) {
                *a = a.wrapping_add(tile.a_step);
            }
            b = b.wrapping_add(tile.b_step);
        }
    }
    acc
}

/// Vector `v` of a row, or what `cols` leaves of it.
#[inline(always)]
unsafe fn load<V: Vector, const PART: bool>(row: *const f32, v: usize, cols: usize) -> V {
    let from = row.wrapping_add(v * V::LANES);
    // SAFETY: the caller promises the columns.
    unsafe { if PART { V::load_first(from, cols.saturating_sub(v * V::LANES)) } else { V::load(from) } }
}

/// The module of a level: its kernels of every height, for two vectors and for one, compiled for it.
macro_rules! level {
    ($(#[$cfg:meta])* $name:ident, $vector:path, $(#[$feature:meta])* : $($two:literal)* ; $($one:literal)*) => {
        $(#[$cfg])*
        mod $name {
            use crate::simd::Vector;
            use $vector as V;

            $(#[$feature])*
            unsafe fn kernel<const MR: usize, const NV: usize, const PART: bool>(tile: &super::Tile) {
                // SAFETY: the caller's promise.
                unsafe { super::tile::<V, MR, NV, PART>(tile) }
            }

            $(#[$feature])*
            unsafe fn planes<const MR: usize, const NV: usize, const NP: usize>(tile: &super::Tile) {
                // SAFETY: the caller's promise.
                unsafe { super::planes::<V, MR, NV, NP>(tile) }
            }

            const PLANES: [usize; 3] =
                [super::Kernels::planes(1), super::Kernels::planes(2), super::Kernels::planes(3)];

            pub(super) static KERNELS: super::Kernels = super::Kernels {
                lanes: V::LANES,
                whole: [&[$(kernel::<$one, 1, false>),*], &[$(kernel::<$two, 2, false>),*]],
                part: [&[$(kernel::<$one, 1, true>),*], &[$(kernel::<$two, 2, true>),*]],
                planes: [
                    [planes::<1, 1, { PLANES[0] }>, planes::<2, 1, { PLANES[1] }>, planes::<3, 1, { PLANES[2] }>],
                    [planes::<1, 2, { PLANES[0] }>, planes::<2, 2, { PLANES[1] }>, planes::<3, 2, { PLANES[2] }>],
                ],
            };
        }
    };
}

level!(
    #[cfg(target_arch = "x86_64")]
    avx512, crate::simd::avx512::F32x16,
    #[target_feature(enable = "avx2,fma,avx512f,avx512vl,avx512bw,avx512dq")]
    : 1 2 3 4 5 6 7 8 9 10 11 12 13 14 ; 1 2 3 4 5 6 7 8 9 10 11 12 13 14
);
level!(
    #[cfg(target_arch = "x86_64")]
    avx2, crate::simd::avx2::F32x8,
    #[target_feature(enable = "avx2,fma")]
    : 1 2 3 4 5 6 ; 1 2 3 4 5 6 7 8 9 10 11 12 13 14
);
level!(portable, crate::simd::portable::F32x4, : 1 2 3 4 ; 1 2 3 4 5 6 7 8);
