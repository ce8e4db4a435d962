//! The kernel of forward and of the gradient to the input: one line of the result, some of its channels.
//!
//! ```text
//!              i = 0  1  2  3  4  5  6  7  8      pixels of a source line, each loaded once
//! tap t of KW      \ | /                          ... and used for the KW results that read it
//!              j =   0  1  2  3  4  5  6          XB sums in registers, pixels of the result
//! ```
//!
//! For each source line the weights of its KW neighbouring taps stay in registers too. Where taps are not neighbours
//! (dilation) each makes a line of its own, KW = 1. Sums go over source lines, then along the line, wherever the pixel
//! lies: at an edge the same order with terms left out.

use super::lanes::Work;
use crate::epilogue::Finish;
use crate::simd::Vector;

/// A source line that results read: where, for result 0 and channel 0; its first row of weights; and the pixel of
/// the line that the first tap reads for result 0. The first and last may be negative, as wrapped.
pub(super) type Source = [usize; 3];

/// One line of results that read by the same taps. Distances are in elements.
#[derive(Clone, Copy)]
pub(super) struct Line<'a> {
    pub(super) source: &'a [f32],
    /// `[row of weights][channel]`
    pub(super) weight: &'a [f32],
    pub(super) ch: usize,
    /// The channels to compute.
    pub(super) channels: (usize, usize),
    pub(super) sources: &'a [Source],
    /// Pixels of a source line.
    pub(super) width: usize,
    /// How far the sources of neighbouring results are apart, in pixels.
    pub(super) reach: usize,
    /// Results, the first and the distance of the others.
    pub(super) count: usize,
    pub(super) to: *mut f32,
    /// From the first channel of the first result.
    pub(super) finish: Finish,
    pub(super) to_step: usize,
}

/// Source lines of `KW` taps, neighbours, for results `SX` pixels apart; for `KW` = 1 any distance, and `SX` is 1.
pub(super) struct Window<'a, const KW: usize, const SX: usize>(pub(super) Line<'a>);

impl<const KW: usize, const SX: usize> Work for Window<'_, KW, SX> {
    /// # Safety
    /// `to` is good for the channels of `count` results, and nobody else uses them; sources point into the source and
    /// the weights wherever the pixel lies within the width; there are at least as many channels as lanes.
    #[inline(always)]
    unsafe fn run<V: Vector>(&self) {
        // SAFETY: the caller's promises.
        unsafe {
            if KW <= 3 && V::LANES * size_of::<f32>() < 64 && self.0.ch >= 2 * V::LANES && self.0.count >= 16
            {
                // Vectors in pairs, since memory is read by cache lines of 64 bytes.
                self.blocks::<V, 2, 4>();
            } else {
                // Seven divides the widths of the maps that begin with 224 pixels: 112, 56, 28, 14, 7.
                self.blocks::<V, 1, 7>();
            }
        }
    }
}

impl<const KW: usize, const SX: usize> Window<'_, KW, SX> {
    /// All results, `XB` at a time, and `NV` vectors of channels.
    ///
    /// # Safety
    /// As `run`, with as many channels as lanes in `NV` vectors.
    #[inline(always)]
    unsafe fn blocks<V: Vector, const NV: usize, const XB: usize>(&self) {
        let line = &self.0;
        let mut m = 0;
        // SAFETY: the caller's promises; blocks end at `count`.
        unsafe {
            while m < line.count {
                // A last block that is not full goes back over results that are already there.
                let left = line.count - m;
                let full = m.min(line.count.saturating_sub(XB));
                let three = m.min(line.count.saturating_sub(3));
                if (left > 3 || left > XB / 2) && line.count >= XB && self.middle_inside::<XB>(full) {
                    if KW == 3 && line.sources.len() == 3 {
                        self.columns::<V, NV, XB, true>(full);
                    } else {
                        self.columns::<V, NV, XB, false>(full);
                    }
                    m = full + XB;
                } else if left > 1 && line.count >= 3 && self.middle_inside::<3>(three) {
                    self.columns::<V, NV, 3, false>(three);
                    m = three + 3;
                } else {
                    self.columns::<V, NV, 1, false>(m);
                    m += 1;
                }
            }
        }
    }

    /// Pixels of the source from one load to the next.
    #[inline(always)]
    fn pixel(&self) -> usize {
        if KW == 1 { self.0.reach } else { 1 }
    }

    /// Whether all pixels of a block lie inside, but for the first and the last KW - 1, which the block looks at alone.
    /// With one tap there are none.
    #[inline(always)]
    fn middle_inside<const XB: usize>(&self, m: usize) -> bool {
        KW == 1 || self.inside::<XB>(m, KW - 1)
    }

    /// Whether the pixels of the block at `m` without `margin` at each end lie inside.
    #[inline(always)]
    fn inside<const XB: usize>(&self, m: usize, margin: usize) -> bool {
        let last = (XB - 1) * SX + KW - 1;
        if 2 * margin > last {
            return true;
        }
        let at = |source: &Source, i: usize| source[2].wrapping_add(m * self.0.reach + i * self.pixel());
        // A pixel before the line has wrapped.
        let inside = |s: &Source| at(s, margin) < self.0.width && at(s, last - margin) < self.0.width;
        self.0.sources.iter().all(inside)
    }

    /// `XB` results from `m` on, all channels.
    ///
    /// # Safety
    /// As `blocks`.
    #[inline(always)]
    unsafe fn columns<V: Vector, const NV: usize, const XB: usize, const THREE: bool>(&self, m: usize) {
        let inside = self.inside::<XB>(m, 0);
        let (begin, end) = self.0.channels;
        let mut c = begin;
        // SAFETY: the caller's promises; the last vector ends at the last channel.
        unsafe {
            while c < end {
                let at = c.min(self.0.ch - NV * V::LANES);
                if inside {
                    self.block::<V, NV, XB, THREE, false>(m, at);
                } else {
                    self.block::<V, NV, XB, THREE, true>(m, at);
                }
                c += NV * V::LANES;
            }
        }
    }

    /// `XB` results from `m` on, `NV` vectors of channels from `c` on, of `THREE` source lines or as many as there are.
    ///
    /// # Safety
    /// As `blocks`; without `EDGE` all pixels lie inside.
    #[inline(always)]
    unsafe fn block<V: Vector, const NV: usize, const XB: usize, const THREE: bool, const EDGE: bool>(
        &self,
        m: usize,
        c: usize,
    ) {
        let line = &self.0;
        // SAFETY: the caller's promises.
        unsafe {
            let mut sums = [[V::zero(); NV]; XB];
            if THREE && !EDGE {
                // Without a loop it is a fifth faster; at an edge it is not, since the compiler moves additions over the
                // branches and has no registers for what they need.
                self.add::<V, NV, XB, EDGE>(&mut sums, line.sources.get_unchecked(0), m, c);
                self.add::<V, NV, XB, EDGE>(&mut sums, line.sources.get_unchecked(1), m, c);
                self.add::<V, NV, XB, EDGE>(&mut sums, line.sources.get_unchecked(2), m, c);
            } else {
                for source in line.sources {
                    self.add::<V, NV, XB, EDGE>(&mut sums, source, m, c);
                }
            }
            for v in 0..NV {
                let at = c + v * V::LANES;
                let bias = match line.finish.bias.is_null() {
                    true => V::zero(),
                    false => V::load(line.finish.bias.wrapping_add(at)),
                };
                for j in 0..XB {
                    let at = (m + j) * line.to_step + at;
                    let y = line.finish.apply::<V, false>(sums[j][v], bias, at, V::LANES);
                    y.store(line.to.wrapping_add(at));
                }
            }
        }
    }

    /// Adds what a source line gives to the block. At an `EDGE` pixels outside are passed.
    ///
    /// # Safety
    /// As `block`.
    #[inline(always)]
    unsafe fn add<V: Vector, const NV: usize, const XB: usize, const EDGE: bool>(
        &self,
        sums: &mut [[V; NV]; XB],
        &[from, row, x]: &Source,
        m: usize,
        c: usize,
    ) {
        let Line { source, weight, ch, width, reach, .. } = self.0;
        // SAFETY: the caller's promises. Pointers to pixels outside are made but not read.
        unsafe {
            let mut from = source.as_ptr().wrapping_add(from.wrapping_add(m * reach * ch + c));
            let weight = weight.as_ptr().wrapping_add(row * ch + c);
            let mut weights = [[V::zero(); NV]; KW];
            for t in 0..KW {
                for v in 0..NV {
                    weights[t][v] = V::load(weight.wrapping_add(t * ch + v * V::LANES));
                }
            }
            let x = x.wrapping_add(m * reach);
            macro_rules! pixels {
                ($($i:literal)*) => {$(
                    if const { $i < (XB - 1) * SX + KW } {
                        let look = EDGE && (KW == 1 || $i < KW - 1 || XB * SX < $i + SX);
                        if !look || x.wrapping_add($i * self.pixel()) < width {
                            for v in 0..NV {
                                let value = V::load(from.wrapping_add(v * V::LANES));
                                for t in 0..KW {
                                    if $i >= t && ($i - t) % SX == 0 && ($i - t) / SX < XB {
                                        let sum = &mut sums[($i - t) / SX][v];
                                        *sum = value.mul_add(weights[t][v], *sum);
                                    }
                                }
                            }
                        }
                        from = from.wrapping_add(self.pixel() * ch);
                    }
                )*};
            }
            pixels!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18);
            let _ = from;
        }
    }
}
