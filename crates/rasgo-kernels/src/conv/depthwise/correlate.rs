//! The kernel of the gradient to the weight: one line of the output, some channels, several lines of taps.
//!
//! ```text
//!              i = 0  1  2  3  4  5       pixels of a source line, each loaded once
//! tap t of KW      \ | /                   ... and multiplied with the KW gradients whose taps read it
//!              j =   0  1  2  3           XB gradients in registers
//! sums[G][KW]                             in registers for the whole line, then back to memory
//! ```

use super::lanes::Work;
use crate::simd::Vector;

/// Gradients of a block.
const BLOCK: usize = 4;

/// Where a line of taps reads: its first pixel for output 0 and channel 0, as wrapped; the pixel's place in its line, as
/// wrapped; pixels of the line, 0 where it lies outside; and its first row of sums.
#[derive(Clone, Copy)]
pub(super) struct Source {
    pub(super) from: usize,
    pub(super) x: usize,
    pub(super) width: usize,
    pub(super) row: usize,
}

/// One line of the output. Distances are in elements.
#[derive(Clone, Copy)]
pub(super) struct Line<'a> {
    pub(super) source: &'a [f32],
    pub(super) dy: *const f32,
    /// Pixels of the line.
    pub(super) count: usize,
    pub(super) ch: usize,
    /// The channels to compute; the first is a multiple of the lanes.
    pub(super) channels: (usize, usize),
    /// `[row][slot]`: vectors of channels follow each other, also the last one, which overlaps in the map.
    pub(super) sums: *mut f32,
    pub(super) sums_step: usize,
    /// How far the sources of neighbouring outputs are apart, in pixels.
    pub(super) reach: usize,
}

/// `G` lines of `KW` taps, for outputs `SX` pixels apart; for `KW` = 1 any distance, and `SX` is 1.
pub(super) struct Correlate<'a, const G: usize, const KW: usize, const SX: usize> {
    pub(super) line: Line<'a>,
    pub(super) sources: [Source; G],
}

impl<const G: usize, const KW: usize, const SX: usize> Work for Correlate<'_, G, KW, SX> {
    /// # Safety
    /// `dy` is good for `count` pixels; sources point into the source wherever the pixel lies within the width; the rows
    /// of sums of those with a width hold a slot for every channel, in whole vectors, and nobody else uses those of
    /// the channels; there are at least as many channels as lanes.
    #[inline(always)]
    unsafe fn run<V: Vector>(&self) {
        let (begin, end) = self.line.channels;
        // SAFETY: the caller's promises; the last vector ends at the last channel.
        unsafe {
            for slot in (begin..end).step_by(V::LANES) {
                self.vector::<V>(slot, slot.min(self.line.ch - V::LANES));
            }
        }
    }
}

impl<const G: usize, const KW: usize, const SX: usize> Correlate<'_, G, KW, SX> {
    /// The vector of channels from `c` on, whose sums lie at `slot`.
    ///
    /// # Safety
    /// As `run`.
    #[inline(always)]
    unsafe fn vector<V: Vector>(&self, slot: usize, c: usize) {
        let line = &self.line;
        let at =
            |g: usize, t: usize| line.sums.wrapping_add((self.sources[g].row + t) * line.sums_step + slot);
        // SAFETY: the caller's promises; sums of lines that lie outside are neither read nor written.
        unsafe {
            let mut sums = [[V::zero(); KW]; G];
            for g in 0..G {
                if self.sources[g].width > 0 {
                    for t in 0..KW {
                        sums[g][t] = V::load(at(g, t));
                    }
                }
            }
            let mut m = 0;
            while m < line.count {
                let left = line.count - m;
                if left >= BLOCK && self.inside::<BLOCK>(m) {
                    self.block::<V, BLOCK, false>(&mut sums, m, c);
                    m += BLOCK;
                } else if left >= BLOCK && self.middle_inside::<BLOCK>(m) {
                    self.block::<V, BLOCK, true>(&mut sums, m, c);
                    m += BLOCK;
                } else if left >= 3 && self.middle_inside::<3>(m) {
                    self.block::<V, 3, true>(&mut sums, m, c);
                    m += 3;
                } else {
                    self.block::<V, 1, true>(&mut sums, m, c);
                    m += 1;
                }
            }
            for g in 0..G {
                if self.sources[g].width > 0 {
                    for t in 0..KW {
                        sums[g][t].store(at(g, t));
                    }
                }
            }
        }
    }

    /// Pixels of the source from one load to the next.
    #[inline(always)]
    fn pixel(&self) -> usize {
        if KW == 1 { self.line.reach } else { 1 }
    }

    /// Whether all pixels that the block at `m` reads lie inside.
    #[inline(always)]
    fn inside<const XB: usize>(&self, m: usize) -> bool {
        let span = ((XB - 1) * SX + KW - 1) * self.pixel();
        let mut inside = true;
        for g in 0..G {
            let first = self.sources[g].x.wrapping_add(m * self.line.reach);
            inside &= first < self.sources[g].width && first + span < self.sources[g].width;
        }
        inside
    }

    /// Whether of the lines that lie inside all pixels do, but for the first and the last KW - 1 of the block, which it
    /// looks at alone.
    #[inline(always)]
    fn middle_inside<const XB: usize>(&self, m: usize) -> bool {
        if KW == 1 || (XB - 1) * SX < KW - 1 {
            return true;
        }
        let mut inside = true;
        for g in 0..G {
            let Source { x, width, .. } = self.sources[g];
            let first = x.wrapping_add(m * self.line.reach);
            let at = |i: usize| first.wrapping_add(i);
            inside &= width == 0 || (at(KW - 1) < width && at((XB - 1) * SX) < width);
        }
        inside
    }

    /// Adds `XB` outputs from `m` on. At an `EDGE` pixels outside are passed.
    ///
    /// # Safety
    /// As `run`; without `EDGE` all pixels lie inside.
    #[inline(always)]
    unsafe fn block<V: Vector, const XB: usize, const EDGE: bool>(
        &self,
        sums: &mut [[V; KW]; G],
        m: usize,
        c: usize,
    ) {
        let Line { source, dy, ch, reach, .. } = self.line;
        // SAFETY: the caller's promises. Pointers to pixels outside are made but not read.
        unsafe {
            let mut grads = [V::zero(); XB];
            for j in 0..XB {
                grads[j] = V::load(dy.wrapping_add((m + j) * ch + c));
            }
            macro_rules! lines {
                ($($g:literal)*) => {$(
                    if const { $g < G } && (!EDGE || self.sources[$g % G].width > 0) {
                        let Source { from, x, width, .. } = self.sources[$g % G];
                        let from = source.as_ptr().wrapping_add(from.wrapping_add(m * reach * ch + c));
                        let x = x.wrapping_add(m * reach);
                        pixels!($g, from, x, width, 0 1 2 3 4 5 6 7 8 9 10 11 12);
                    }
                )*};
            }
            macro_rules! pixels {
                ($g:literal, $from:ident, $x:ident, $width:ident, $($i:literal)*) => {
                    let mut at = $from;
                    $(
                        if const { $i < (XB - 1) * SX + KW } {
                            let look = EDGE && (KW == 1 || $i < KW - 1 || XB * SX < $i + SX);
                            if !look || $x.wrapping_add($i * self.pixel()) < $width {
                                let value = V::load(at);
                                for t in 0..KW {
                                    if $i >= t && ($i - t) % SX == 0 && ($i - t) / SX < XB {
                                        let sum = &mut sums[$g % G][t];
                                        *sum = value.mul_add(grads[($i - t) / SX], *sum);
                                    }
                                }
                            }
                            at = at.wrapping_add(self.pixel() * ch);
                        }
                    )*
                    let _ = at;
                };
            }
            lines!(0 1 2 3 4 5 6 7);
        }
    }
}
