//! Products of pixels with panels, and where the results go.

use std::ops::Range;

use super::PACKED;
use super::left::Left;
use super::lines::Lines;
use crate::gemm::half::pack::{Panel, Panels};
use crate::gemm::half::{COLS, ROWS, STEP, Session, Tile};
use crate::pool::windows::{coordinates, pixel};
use crate::simd::simd_fn;
use crate::threads::{Scratch, SharedMut, parallel_scratch};
use crate::{Activation, Bf16, Epilogue, Isa};

/// Elements of the left side that a task copies, about: they stay in the second-level cache.
const TASK: usize = 1 << 17;
/// Rows of a task, at most.
const MOST_ROWS: usize = 512;
/// Tasks that are wanted, so that threads find work.
const TASKS: usize = 8;
/// Words of panels that stay in the second-level cache beside the left side.
const NEAR: usize = 1 << 16;

/// Where the pixels of a result go: each a row of channels.
#[derive(Debug)]
pub(super) struct Target<'a> {
    dst: SharedMut<'a, Bf16>,
    epilogue: Epilogue<'a, Bf16>,
    channels: usize,
    /// Depth, height and width of the map.
    size: [usize; 3],
    /// The pixels of this part: how many, the first and their distance on each axis.
    output: [usize; 3],
    first: [usize; 3],
    step: [usize; 3],
}

impl<'a> Target<'a> {
    /// All pixels of a map.
    pub(super) fn whole(
        size: [usize; 3],
        channels: usize,
        dst: &'a mut [Bf16],
        epilogue: Epilogue<'a, Bf16>,
    ) -> Target<'a> {
        let dst = SharedMut::new(dst);
        Target { dst, epilogue, channels, size, output: size, first: [0; 3], step: [1; 3] }
    }

    /// Every so manieth pixel on each axis, from `first` on.
    pub(super) fn every(&self, step: [usize; 3], first: [usize; 3], output: [usize; 3]) -> Target<'a> {
        Target { first, step, output, ..*self }
    }

    /// The element at which a pixel of the part begins.
    pub(super) fn place(&self, row: usize) -> usize {
        if self.step == [1; 3] {
            return row * self.channels;
        }
        let (image, at) = coordinates(self.output, row);
        pixel(self.size, image, [0, 1, 2].map(|a| self.first[a] + at[a] * self.step[a])) * self.channels
    }
}

/// Cuts columns into parts whose panels are packed at a time.
pub(super) fn parts(columns: usize, k: usize) -> impl Iterator<Item = Range<usize>> {
    let most = (2 * PACKED / k.next_multiple_of(STEP).max(1) / COLS).max(1) * COLS;
    (0..columns).step_by(most).map(move |start| start..columns.min(start + most))
}

/// Rows that one call of a task multiplies, and where in the result each goes.
pub(super) struct Rows {
    pub(super) count: usize,
    pub(super) a: *const Bf16,
    pub(super) a_row: usize,
    /// Products that are added up, and their distance in the left side.
    pub(super) reps: usize,
    pub(super) a_rep: usize,
    /// By row the element of the result, or `usize::MAX` for none.
    pub(super) places: [usize; ROWS],
}

/// Computes columns of the target from `first` on: the rows of the left side by the panels, and then the epilogue.
pub(super) fn run(isa: Isa, left: &Left<'_>, panels: &Panels, target: &Target<'_>, first: usize) {
    let rows = left.rows();
    if rows == 0 {
        return;
    }
    if let Some(lines) = Lines::of(left, panels) {
        return lines.run(&Work::new(isa, panels, target, first), left);
    }
    let stored = left.stored();
    // Without taps, as in a phase that no tap meets, there is nothing to copy either.
    let direct = left.lies_well() || stored == 0;
    let wanted = (TASK / stored.max(1)).clamp(ROWS, MOST_ROWS).min(rows.div_ceil(TASKS));
    let tall = wanted.next_multiple_of(ROWS);
    let work = Work::new(isa, panels, target, first);
    // Where there are few rows, tasks are panels.
    let parts = TASKS.div_ceil(rows.div_ceil(tall)).min(panels.count()).max(1);
    let each = panels.count().div_ceil(parts);
    let len = if direct { 0 } else { tall * stored };
    let bytes = Scratch::bytes::<Bf16>(len) + Work::scratch();
    parallel_scratch(rows.div_ceil(tall) * parts, bytes, |task, mut scratch| {
        let (from, part) = (task / parts * tall, task % parts);
        let to = rows.min(from + tall);
        let a = if direct {
            left.src.as_ptr().wrapping_add(from * stored)
        } else {
            let copy = &mut scratch.take::<Bf16>(len)[..(to - from) * stored];
            left.gather(from, copy);
            copy.as_ptr()
        };
        let tiles = (from..to).step_by(ROWS).map(|row| {
            let count = ROWS.min(to - row);
            let mut places = [usize::MAX; ROWS];
            for (i, place) in places.iter_mut().enumerate().take(count) {
                *place = target.place(row + i);
            }
            let a = a.wrapping_add((row - from) * stored);
            Rows { count, a, a_row: stored, reps: 1, a_rep: 0, places }
        });
        let panels = part * each..panels.count().min((part + 1) * each);
        // SAFETY: the rows are those of the copy or of the map, and this task alone writes their columns.
        unsafe { work.multiply(tiles, panels, scratch) };
    });
}

/// What all tasks of a product share.
pub(super) struct Work<'a> {
    isa: Isa,
    panels: &'a Panels,
    pub(super) target: &'a Target<'a>,
    first: usize,
}

impl<'a> Work<'a> {
    fn new(isa: Isa, panels: &'a Panels, target: &'a Target<'_>, first: usize) -> Work<'a> {
        Work { isa, panels, target, first }
    }

    /// Bytes that [`multiply`](Work::multiply) takes of a task's scratch.
    pub(super) fn scratch() -> usize {
        Scratch::bytes::<f32>(ROWS * COLS)
    }

    pub(super) fn panels(&self) -> usize {
        self.panels.count()
    }

    /// Multiplies tiles of rows with panels.
    ///
    /// # Safety
    /// The rows are readable for all steps of the panels, and no one else writes their places.
    pub(super) unsafe fn multiply(
        &self,
        tiles: impl Iterator<Item = Rows> + Clone,
        panels: Range<usize>,
        mut scratch: Scratch<'_>,
    ) {
        let sums = scratch.take::<f32>(ROWS * COLS);
        let session = Session::begin(self.isa);
        let words = panels.len() * COLS * self.panels.steps() * STEP / 2;
        if words <= NEAR {
            // The panels stay near: each tile reads its rows once.
            for rows in tiles {
                for panel in panels.clone() {
                    // SAFETY: the caller's promise.
                    unsafe { self.tile(&session, &rows, &self.panels.panel(panel), sums) };
                }
            }
            return;
        }
        for panel in panels {
            let panel = self.panels.panel(panel);
            for rows in tiles.clone() {
                // SAFETY: the caller's promise.
                unsafe { self.tile(&session, &rows, &panel, sums) };
            }
        }
    }

    /// # Safety
    /// As of [`multiply`](Work::multiply).
    unsafe fn tile(&self, session: &Session, rows: &Rows, panel: &Panel, sums: &mut [f32]) {
        let (target, columns) = (self.target, panel.columns.len());
        if self.panels.steps() == 0 {
            sums.fill(0.0);
        } else {
            let tile = Tile {
                rows: rows.count,
                blocks: panel.blocks,
                a: rows.a,
                a_row: rows.a_row,
                steps: self.panels.steps() / rows.reps,
                reps: rows.reps,
                a_rep: rows.a_rep,
                b: panel.words,
                dst: sums.as_mut_ptr(),
                dst_row: COLS,
                accumulate: false,
            };
            // SAFETY: the caller promises the rows; the sums have room for a whole tile.
            unsafe { session.tile(&tile) };
        }
        let column = self.first + panel.columns.start;
        let finish = Finish {
            sums,
            places: &rows.places[..rows.count],
            column,
            columns,
            bias: target.epilogue.bias.map(|bias| &bias[column..column + columns]),
            add: target.epilogue.add,
            activation: target.epilogue.activation,
        };
        // SAFETY: the caller promises that nobody else writes these columns of the rows' places.
        unsafe { finish_tile(self.isa, &finish, &target.dst) };
    }
}

/// What is stored of a tile.
struct Finish<'a> {
    sums: &'a [f32],
    places: &'a [usize],
    column: usize,
    columns: usize,
    bias: Option<&'a [f32]>,
    add: Option<&'a [Bf16]>,
    activation: Activation,
}

simd_fn! {
    /// The epilogue of a tile.
    ///
    /// # Safety
    /// Nobody else writes these columns of the rows' places.
    unsafe fn finish_tile<V>(tile: &Finish<'_>, dst: &SharedMut<'_, Bf16>) {
        for (sums, &place) in tile.sums.chunks_exact(COLS).zip(tile.places) {
            if place == usize::MAX {
                continue;
            }
            let place = place + tile.column;
            let add = tile.add.map(|add| &add[place..place + tile.columns]);
            // SAFETY: the caller's promise.
            let dst = unsafe { dst.slice(place, tile.columns) };
            // A length that is known becomes vector code without rests.
            match <&mut [Bf16; COLS]>::try_from(&mut *dst) {
                Ok(whole) => finish_row(&sums[..COLS], tile.bias, add, tile.activation, whole),
                Err(_) => finish_row(&sums[..tile.columns], tile.bias, add, tile.activation, dst),
            }
        }
    }
}

/// The epilogue of some columns of a row.
#[inline(always)]
fn finish_row(
    sums: &[f32],
    bias: Option<&[f32]>,
    add: Option<&[Bf16]>,
    activation: Activation,
    dst: &mut [Bf16],
) {
    let mut values = [0.0f32; COLS];
    let values = &mut values[..dst.len()];
    values.copy_from_slice(&sums[..dst.len()]);
    if let Some(bias) = bias {
        for (value, bias) in values.iter_mut().zip(bias) {
            *value += *bias;
        }
    }
    if let Some(add) = add {
        for (value, add) in values.iter_mut().zip(add) {
            *value += add.to_f32();
        }
    }
    if activation != Activation::None {
        for value in values.iter_mut() {
            *value = activation.apply(*value);
        }
    }
    for (dst, value) in dst.iter_mut().zip(values) {
        *dst = Bf16::from_f32(*value);
    }
}
