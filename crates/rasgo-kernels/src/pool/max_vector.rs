//! Maxima over windows, and their gradient, by vectors of channels: for max pooling alone and after a normalisation.
//!
//! Windows side by side in a row of the output are alike but at the edges of the map: the same cells, a fixed distance
//! further on. So a call goes over a run of them, one vector of channels after the other.

use super::windows::Axis;
use crate::simd::{Lane, Vector, simd_fn};

/// A cell of a window: offset from where the window begins, and number.
pub(crate) type Cell = (usize, u8);

/// Save the number of the winning cell.
pub(crate) const SAVE: u8 = 1;
/// Normalise what is read.
pub(crate) const NORM: u8 = 2;

/// Neighbouring windows that are alike.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run<'a> {
    pub(crate) cells: &'a [Cell],
    /// Elements from one window to the next.
    pub(crate) step: usize,
    pub(crate) count: usize,
    pub(crate) c: usize,
    /// Mean, scale and shift of each channel, where the values are normalised.
    pub(crate) affine: [&'a [f32]; 3],
    /// Negative values become 0, where they are normalised.
    pub(crate) relu: bool,
}

impl<'a> Run<'a> {
    /// One window, not normalised.
    pub(crate) fn new(cells: &'a [Cell], c: usize) -> Run<'a> {
        Run { cells, step: 0, count: 1, c, affine: [&[]; 3], relu: false }
    }
}

simd_fn! {
    /// The maxima of a run, the first of equal ones, a NaN before all; `HOW` is of [`SAVE`] and [`NORM`].
    ///
    /// The number of the winning cell is kept as a float, so that one mask chooses both.
    ///
    /// # Safety
    /// There is a cell; each has `c` channels in every window, as have mean, scale and shift; `dst` and `positions` have
    /// room for `c` channels of every window.
    pub(crate) unsafe fn maxima<V, type L: Lane, const HOW: u8>(
        run: &Run<'_>, src: *const L, dst: *mut L, positions: *mut u8,
    ) {
        let mut j = 0;
        while j < run.c {
            let (from, to) = (src.wrapping_add(j), dst.wrapping_add(j));
            let positions = positions.wrapping_add(j);
            let part = run.c - j < V::LANES;
            // SAFETY: the caller's promise; vectors that reach further are cut. A number of cells known to the compiler
            // unrolls the loop over them.
            unsafe {
                match (<&[Cell; 4]>::try_from(run.cells), part) {
                    (Ok(four), false) => channels::<V, L, HOW, false>(run, four, j, from, to, positions),
                    (Ok(four), true) => channels::<V, L, HOW, true>(run, four, j, from, to, positions),
                    (_, false) => channels::<V, L, HOW, false>(run, run.cells, j, from, to, positions),
                    (_, true) => channels::<V, L, HOW, true>(run, run.cells, j, from, to, positions),
                }
            }
            j += V::LANES;
        }
    }
}

/// The channels from `j` on, as many as a vector has or are left.
///
/// # Safety
/// As of [`maxima`].
#[inline(always)]
unsafe fn channels<V: Vector, L: Lane, const HOW: u8, const PART: bool>(
    run: &Run<'_>,
    cells: &[Cell],
    j: usize,
    mut src: *const L,
    mut dst: *mut L,
    mut positions: *mut u8,
) {
    let (n, norm) = (run.c - j, HOW & NORM != 0);
    // SAFETY: the caller's promise.
    unsafe {
        let mut affine = [V::zero(); 3];
        if norm {
            for i in 0..3 {
                affine[i] = load::<V, f32, PART>(run.affine[i].as_ptr().wrapping_add(j), n);
            }
        }
        for _ in 0..run.count {
            let (offset, code) = cells[0];
            let first = value::<V, L, HOW, PART>(src.wrapping_add(offset), n, affine);
            // After a ReLU the best is not negative (or is NaN): what beats it needs none of its own.
            let mut best = if norm && run.relu { first.relu() } else { first };
            let mut at = V::splat(f32::from(code));
            for i in 1..cells.len() {
                let (offset, code) = cells[i];
                let value = value::<V, L, HOW, PART>(src.wrapping_add(offset), n, affine);
                let wins = value.greater_or_nan(best);
                best = V::select(wins, value, best);
                at = V::select(wins, V::splat(f32::from(code)), at);
            }
            if PART {
                L::store_first(best, dst, n);
            } else {
                L::store(best, dst);
            }
            if HOW & SAVE != 0 {
                at.store_bytes(positions, n);
            }
            src = src.wrapping_add(run.step);
            (dst, positions) = (dst.wrapping_add(run.c), positions.wrapping_add(run.c));
        }
    }
}

/// `n` elements, or a whole vector of them, normalised if asked.
///
/// # Safety
/// So many are readable.
#[inline(always)]
unsafe fn value<V: Vector, L: Lane, const HOW: u8, const PART: bool>(
    from: *const L,
    n: usize,
    [mean, scale, shift]: [V; 3],
) -> V {
    // SAFETY: the caller's promise.
    let x = unsafe { load::<V, L, PART>(from, n) };
    // As separate operations, so that separate passes agree.
    if HOW & NORM != 0 { x.sub(mean).mul(scale).add(shift) } else { x }
}

/// `n` elements, or a whole vector of them.
///
/// # Safety
/// So many are readable.
#[inline(always)]
unsafe fn load<V: Vector, L: Lane, const PART: bool>(from: *const L, n: usize) -> V {
    // SAFETY: the caller's promise.
    unsafe { if PART { L::load_first(from, n) } else { L::load(from) } }
}

simd_fn! {
    /// The gradient of windows that share no cell: each cell gets `dy` where it won, else 0.
    ///
    /// # Safety
    /// As of [`maxima`], where `dx` is what is written and `dy` and `positions` are read.
    pub(super) unsafe fn winners<V, type L: Lane>(run: &Run<'_>, dy: *const L, positions: *const u8, dx: *mut L) {
        let mut j = 0;
        while j < run.c {
            let (dy, positions, dx) = (dy.wrapping_add(j), positions.wrapping_add(j), dx.wrapping_add(j));
            // SAFETY: the caller's promise; see above.
            unsafe {
                match <&[Cell; 4]>::try_from(run.cells) {
                    Ok(four) => cells::<V, L>(run, four, run.c - j, dy, positions, dx),
                    Err(_) => cells::<V, L>(run, run.cells, run.c - j, dy, positions, dx),
                }
            }
            j += V::LANES;
        }
    }
}

/// The first of `n` channels, as many as a vector has.
///
/// # Safety
/// As of [`winners`].
#[inline(always)]
unsafe fn cells<V: Vector, L: Lane>(
    run: &Run<'_>,
    cells: &[Cell],
    n: usize,
    mut dy: *const L,
    mut positions: *const u8,
    mut dx: *mut L,
) {
    for _ in 0..run.count {
        // SAFETY: the caller's promise.
        unsafe {
            let value: V = L::load_first(dy, n);
            for i in 0..cells.len() {
                let (offset, code) = cells[i];
                let won = V::bytes_equal(positions, n, code);
                L::store_first(V::select(won, value, V::zero()), dx.wrapping_add(offset), n);
            }
        }
        (dy, positions, dx) =
            (dy.wrapping_add(run.c), positions.wrapping_add(run.c), dx.wrapping_add(run.step));
    }
}

/// What a row of the input gets: the rows of windows over it, as the offset of the first in `dy` and the number of its
/// cell there, and the windows along the row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Covered<'a> {
    pub(super) rows: &'a [(usize, usize)],
    pub(super) axis: &'a Axis,
    pub(super) width: usize,
    pub(super) c: usize,
}

simd_fn! {
    /// A row of the gradient to the input: the sum over the windows over each pixel of `dy` where its cell won.
    ///
    /// # Safety
    /// `dy` and `positions` have `c` channels of every window over the row, `dx` of every pixel of it.
    pub(super) unsafe fn spread<V, type L: Lane>(row: &Covered<'_>, dy: *const L, positions: *const u8, dx: *mut L) {
        let c = row.c;
        for w in 0..row.width {
            let covers = row.axis.covers(w);
            let dx = dx.wrapping_add(w * c);
            let mut j = 0;
            while j < c {
                let mut sum = V::zero();
                let n = c - j;
                for i in 0..row.rows.len() {
                    let (first, cell) = row.rows[i];
                    for k in 0..covers.len() {
                        let (ow, kw) = covers[k];
                        let at = (first + ow) * c + j;
                        // SAFETY: the caller's promise.
                        unsafe {
                            let won = V::bytes_equal(positions.wrapping_add(at), n, (cell + kw) as u8);
                            let dy = L::load_first(dy.wrapping_add(at), n);
                            sum = sum.add(V::select(won, dy, V::zero()));
                        }
                    }
                }
                // SAFETY: the caller's promise.
                unsafe { L::store_first(sum, dx.wrapping_add(j), n) };
                j += V::LANES;
            }
        }
    }
}
