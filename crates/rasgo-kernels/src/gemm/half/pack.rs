//! Right sides in panels of pairs, and left sides transposed.

use std::ops::Range;

use super::{BLOCK, COLS, LANES, STEP};
use crate::isa::isa_fn;
use crate::simd::{Vector, simd_fn};
use crate::threads::{Scratch, SharedMut, parallel, parallel_scratch};
use crate::{Bf16, Buffer, Isa};

/// Steps of a block, or blocks of a step, that a task packs.
const FAR: usize = 64;

/// The panels of a right side of so many steps and columns: `[panel][step / 32][1 or 2 blocks]`.
#[derive(Debug)]
pub(crate) struct Panels {
    words: Buffer,
    steps: usize,
    columns: usize,
}

/// Columns that are computed together.
#[derive(Debug, Clone)]
pub(crate) struct Panel {
    pub(crate) words: *const u32,
    pub(crate) blocks: usize,
    pub(crate) columns: Range<usize>,
}

impl Panels {
    /// Room for them.
    pub(crate) fn new(k: usize, columns: usize) -> Panels {
        let steps = k.div_ceil(STEP);
        Panels { words: Buffer::new::<u32>(steps * columns.div_ceil(LANES) * BLOCK), steps, columns }
    }

    /// Whole steps of each panel.
    pub(crate) fn steps(&self) -> usize {
        self.steps
    }

    /// All columns.
    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    /// Words of all of them.
    pub(crate) fn words(&self) -> usize {
        self.steps * self.columns.div_ceil(LANES) * BLOCK
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.columns.div_ceil(COLS)
    }

    /// The columns of a panel, and its blocks.
    fn columns_of(&self, panel: usize) -> (Range<usize>, usize) {
        let columns = panel * COLS..self.columns.min((panel + 1) * COLS);
        let blocks = columns.len().div_ceil(LANES);
        (columns, blocks)
    }

    pub(crate) fn panel(&self, panel: usize) -> Panel {
        let (columns, blocks) = self.columns_of(panel);
        let words = self.words.as_slice::<u32>()[columns.start * self.steps * STEP / 2..].as_ptr();
        Panel { words, blocks, columns }
    }

    /// All words, for who fills them, and where the block of a step is; blocks are numbered through.
    pub(crate) fn shared(&mut self) -> (impl Fn(usize, usize) -> usize + Sync + use<>, SharedMut<'_, u32>) {
        let (steps, columns) = (self.steps, self.columns);
        let at = move |step: usize, block: usize| {
            let whole = block / 2 * COLS;
            let blocks = COLS.min(columns - whole).div_ceil(LANES);
            (whole / LANES * steps + step * blocks + block % 2) * BLOCK
        };
        (at, SharedMut::new(self.words.as_mut_slice::<u32>()))
    }

    /// Panels of `f32` whose columns are contiguous: column `j` is `columns[j * distance..][..k]`.
    pub(crate) fn of_columns(isa: Isa, k: usize, columns: usize, src: &[f32], distance: usize) -> Panels {
        Panels::new(k, columns).fill([FAR, 1], |step, block, words| {
            let (first, from) = (block * LANES, step * STEP);
            let count = LANES.min(columns - first);
            let len = STEP.min(k - from);
            let src = &src[first * distance + from..(first + count - 1) * distance + from + len];
            // SAFETY: so many columns, and of each so many steps; a block of words.
            unsafe { columns_block(isa, src.as_ptr(), distance, count, len, words) };
        })
    }

    /// Panels of `f32` whose steps are contiguous: step `i` is `src[row(i)..][..columns]`.
    pub(crate) fn of_rows(
        isa: Isa,
        k: usize,
        columns: usize,
        src: &[f32],
        row: impl Fn(usize) -> usize + Sync,
    ) -> Panels {
        Panels::new(k, columns).fill([1, FAR], |step, block, words| {
            let first = block * LANES;
            let count = LANES.min(columns - first);
            let rows: [&[f32]; STEP] = std::array::from_fn(|i| match step * STEP + i {
                step if step < k => &src[row(step) + first..][..count],
                _ => &[],
            });
            rows_block(isa, &rows, words);
        })
    }

    /// Panels of filters `[column][channel][tap]`, whose steps are (tap, channel): column `j` begins at `src[j * k]`.
    pub(crate) fn of_filters(isa: Isa, columns: usize, src: &[f32], [channels, taps]: [usize; 2]) -> Panels {
        let k = channels * taps;
        Panels::new(k, columns).fill_blocks(LANES * k, |block, ordered, put| {
            let count = LANES.min(columns - block * LANES);
            let filters = src[block * LANES * k..].chunks_exact(k);
            for (ordered, filter) in ordered.chunks_exact_mut(k).zip(filters).take(count) {
                order(isa, filter, taps, channels, ordered);
            }
            put(&mut |step, words| {
                let from = step * STEP;
                let len = STEP.min(k - from);
                // SAFETY: so many columns were ordered, and of each there are so many steps; a block of words.
                unsafe { columns_block(isa, ordered[from..].as_ptr(), k, count, len, words) };
            });
        })
    }

    /// Panels of the same filters turned round, `[row][column][tap]`, whose steps are (tap of `order`, row): row `i` begins at
    /// `src[i * distance]`.
    pub(crate) fn of_turned_filters(
        isa: Isa,
        rows: usize,
        columns: usize,
        src: &[f32],
        distance: usize,
        taps: usize,
        tap_order: &[usize],
    ) -> Panels {
        let k = rows * tap_order.len();
        Panels::new(k, columns).fill_blocks(LANES * (k + taps), |block, scratch, put| {
            let count = LANES.min(columns - block * LANES);
            let (ordered, by_tap) = scratch.split_at_mut(LANES * k);
            // Of no taps there is nothing to order.
            for row in 0..rows.min(k) {
                let filter = &src[row * distance + block * LANES * taps..][..count * taps];
                order(isa, filter, taps, LANES, by_tap);
                for (i, tap) in tap_order.iter().enumerate() {
                    let to = &mut ordered[(i * rows + row) * LANES..][..LANES];
                    to.copy_from_slice(&by_tap[tap * LANES..][..LANES]);
                }
            }
            put(&mut |step, words| {
                let rows: [&[f32]; STEP] = std::array::from_fn(|i| match step * STEP + i {
                    step if step < k => &ordered[step * LANES..][..count],
                    _ => &[],
                });
                rows_block(isa, &rows, words);
            });
        })
    }

    /// Fills every block, in parallel: a task all steps of one. `fill` is given a block, its scratch of so many elements, and
    /// who calls it with every step and its words.
    fn fill_blocks(
        mut self,
        scratch: usize,
        fill: impl Fn(usize, &mut [f32], &dyn Fn(&mut dyn FnMut(usize, &mut [u32]))) + Sync,
    ) -> Panels {
        let (steps, blocks) = (self.steps, self.columns.div_ceil(LANES));
        let (at, words) = self.shared();
        parallel_scratch(blocks, Scratch::bytes::<f32>(scratch), |block, mut memory| {
            fill(block, memory.take::<f32>(scratch), &|each| {
                for step in 0..steps {
                    // SAFETY: every block is filled once.
                    each(step, unsafe { words.slice(at(step, block), BLOCK) });
                }
            });
        });
        self
    }

    /// Fills every block, in parallel: a task `steps` of `blocks`, so that it reads the source as it lies. `fill` is given
    /// a step, a block and its words.
    fn fill(mut self, [steps, blocks]: [usize; 2], fill: impl Fn(usize, usize, &mut [u32]) + Sync) -> Panels {
        let (all_steps, all_blocks) = (self.steps, self.columns.div_ceil(LANES));
        let groups = all_blocks.div_ceil(blocks);
        let (at, words) = self.shared();
        parallel(all_steps.div_ceil(steps) * groups, |task| {
            let (step, block) = (task / groups * steps, task % groups * blocks);
            for step in step..all_steps.min(step + steps) {
                for block in block..all_blocks.min(block + blocks) {
                    // SAFETY: every block is filled once.
                    fill(step, block, unsafe { words.slice(at(step, block), BLOCK) });
                }
            }
        });
        self
    }
}

/// Values that are read as words.
#[repr(align(64))]
struct Aligned([Bf16; LANES * STEP]);

simd_fn! {
    /// A block from `count` columns of `len` values each: rounded, filled up with zeros, transposed by pairs.
    ///
    /// # Safety
    /// The columns are readable, a block is writable.
    unsafe fn columns_block<V>(
        src: *const f32, distance: usize, count: usize, len: usize, words: &mut [u32],
    ) {
        let mut pairs = Aligned([Bf16::default(); LANES * STEP]);
        for (column, pairs) in pairs.0.chunks_exact_mut(STEP).enumerate().take(count) {
            // SAFETY: the caller promises the columns.
            let values = unsafe { std::slice::from_raw_parts(src.wrapping_add(column * distance), len) };
            if len == STEP {
                for i in 0..STEP {
                    pairs[i] = Bf16::from_f32(values[i]);
                }
            } else {
                for i in 0..len {
                    pairs[i] = Bf16::from_f32(values[i]);
                }
            }
        }
        // SAFETY: both have `LANES` times `LANES` words.
        unsafe { transpose::<V>(pairs.0.as_ptr().cast(), words.as_mut_ptr(), LANES) };
    }
}

/// `dst[j * distance + i] = src[i * LANES + j]` for a square of words, which vectors of `f32` only move.
///
/// # Safety
/// The words are readable and writable, and both are aligned to words.
#[inline(always)]
unsafe fn transpose<V: Vector>(src: *const f32, dst: *mut u32, distance: usize) {
    for i in (0..LANES).step_by(V::LANES) {
        for j in (0..LANES).step_by(V::LANES) {
            let mut rows = [V::zero(); crate::simd::MOST_LANES];
            for r in 0..V::LANES {
                // SAFETY: the caller's promise.
                rows[r] = unsafe { V::load(src.wrapping_add((i + r) * LANES + j)) };
            }
            let rows = V::transpose(rows);
            for r in 0..V::LANES {
                // SAFETY: the caller's promise.
                unsafe { rows[r].store(dst.wrapping_add((j + r) * distance + i).cast()) };
            }
        }
    }
}

simd_fn! {
    /// Transposes a block of pairs: row `j` of `dst`, `distance` words after the one before, is column `j` of `src`.
    ///
    /// # Safety
    /// A block is readable, sixteen rows of sixteen words are writable.
    pub(crate) unsafe fn transpose_block<V>(src: &[u32; BLOCK], dst: *mut u32, distance: usize) {
        // SAFETY: the caller's promise.
        unsafe { transpose::<V>(src.as_ptr().cast(), dst, distance) };
    }
}

isa_fn! {
    /// `dst[tap * distance + channel] = filter[channel][tap]`.
    fn order(filter: &[f32], taps: usize, distance: usize, dst: &mut [f32]) {
        let channels = filter.len() / taps;
        if taps == 9 {
            for tap in 0..9 {
                let (from, to) = (&filter.as_chunks::<9>().0[..channels], &mut dst[tap * distance..][..channels]);
                for i in 0..channels {
                    to[i] = from[i][tap];
                }
            }
            return;
        }
        for (tap, to) in dst.chunks_mut(distance).enumerate().take(taps) {
            for (to, from) in to.iter_mut().zip(filter[tap..].iter().step_by(taps)) {
                *to = *from;
            }
        }
    }
}

isa_fn! {
    /// A block from rows that are steps: rounded, filled up with zeros.
    fn rows_block(rows: &[&[f32]; STEP], words: &mut [u32]) {
        for (words, rows) in words.chunks_exact_mut(LANES).zip(rows.chunks_exact(2)) {
            if let (Ok(even), Ok(odd)) = (<&[f32; LANES]>::try_from(rows[0]), <&[f32; LANES]>::try_from(rows[1])) {
                for i in 0..LANES {
                    words[i] = pair(Bf16::from_f32(even[i]), Bf16::from_f32(odd[i]));
                }
                continue;
            }
            for (i, word) in words.iter_mut().enumerate() {
                let [even, odd] = [rows[0], rows[1]].map(|row| Bf16::from_f32(row.get(i).copied().unwrap_or(0.0)));
                *word = pair(even, odd);
            }
        }
    }
}

isa_fn! {
    /// A block from rows that are steps, from a column on; rows are whole blocks.
    pub(crate) fn pair_rows(rows: &[Bf16], row: usize, column: usize, words: &mut [u32]) {
        for (words, rows) in words.chunks_exact_mut(LANES).zip(rows.chunks_exact(2 * row)) {
            let (even, odd) = rows.split_at(row);
            let (even, odd) = (&even[column..][..LANES], &odd[column..][..LANES]);
            for i in 0..LANES {
                words[i] = pair(even[i], odd[i]);
            }
        }
    }
}

#[inline(always)]
fn pair(even: Bf16, odd: Bf16) -> u32 {
    u32::from(even.to_bits()) | u32::from(odd.to_bits()) << 16
}
