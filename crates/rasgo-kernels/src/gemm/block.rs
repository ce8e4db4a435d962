//! The product of two packed blocks: the loops that call the micro-kernels.

use super::level::{Kind, Level, Panel};
use super::micro::{Micro, Tile};
use crate::Epilogue;

/// A packed left block and what becomes of its product.
pub(super) struct Block<'a> {
    pub(super) kernels: fn(&Kind) -> &'static [Micro],
    pub(super) left: *const f32,
    /// Distance of rows; 0 if the left side is packed in tiles of `[k][step]`.
    pub(super) row: usize,
    /// The most rows of a tile.
    pub(super) height: usize,
    pub(super) offsets: &'a [usize],
    pub(super) accumulate: bool,
    pub(super) epilogue: Epilogue<'a, f32>,
}

impl Block<'_> {
    /// # Safety
    /// Both sides hold `kc` steps; the destination's rows are writable at the panels' columns, and have what the
    /// epilogue adds.
    pub(super) unsafe fn multiply(
        &self,
        level: &Level,
        kc: usize,
        panels: &[Panel],
        right_at: impl Fn(&Panel) -> *const f32,
        dst: *mut f32,
    ) {
        for group in panels.chunk_by(|a, b| a.kind == b.kind) {
            let kernels = (self.kernels)(&level.kinds[group[0].kind]);
            let height = kernels.len().min(self.height);
            for (tile, rows) in self.offsets.chunks(height).enumerate() {
                let at = if self.row > 0 { tile * height * self.row } else { tile * level.step * kc };
                for panel in group {
                    let work = Tile {
                        kc,
                        a: self.left.wrapping_add(at),
                        b: right_at(panel),
                        dst: dst.wrapping_add(panel.cols.start),
                        rows: rows.as_ptr(),
                        cols: panel.cols.len(),
                        accumulate: self.accumulate,
                        finish: self.epilogue.from(panel.cols.start, panel.cols.start),
                    };
                    // SAFETY: the caller's promise; the level is only made by detection.
                    unsafe { kernels[rows.len() - 1](&work) };
                }
            }
        }
    }
}
