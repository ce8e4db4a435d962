//! Forward and the gradient to the input: both gather, for each pixel of the result, pixels of the source times weights.
//!
//! ```text
//! task: one image, one plane, a band of lines      +-----------+
//!   for each block of channels                     |///////|   |  a block's lines of the source stay in the second
//!     for each line of the band                    |///////|   |  cache while the lines below read them again
//!       for each phase: `window`                   +-----------+
//! ```

use super::axis::{Phase, phases};
use super::lanes;
use super::window::{Line, Source, Window};
use crate::conv::ConvProblem;
use crate::threads::{Scratch, SharedMut, parallel_scratch};
use crate::{Buffer, Epilogue, Isa};

/// Products of a task, about: some ten microseconds.
const TASK: usize = 1 << 19;
/// Channels of a block: their weights stay in the first cache, and memory is read by the kilobyte. Smaller blocks, whose
/// lines would stay there as well, were slower.
const CHANNELS: usize = 256;

/// How the axis along the lines is read.
struct Across {
    phase: Phase,
    /// See [`Line`]; weights are arranged phase by phase.
    runs: Vec<(isize, usize)>,
    /// Taps of a run.
    taps: usize,
}

/// Splits the phases' taps into runs that [`Window`] has a kernel for.
fn across(phases: Vec<Phase>) -> Vec<Across> {
    let mut row = 0;
    let cut = |phase: Phase| {
        let taps = &phase.taps;
        let neighbours = taps.windows(2).all(|pair| pair[1].offset == pair[0].offset + 1);
        let fits = matches!((taps.len(), phase.reach), (2 | 3 | 5 | 7, 1) | (3 | 5 | 7, 2));
        let len = if neighbours && fits { taps.len() } else { 1 };
        let runs = taps.iter().enumerate().step_by(len).map(|(i, tap)| (tap.offset, row + i)).collect();
        row += taps.len();
        Across { phase, runs, taps: len }
    };
    phases.into_iter().map(cut).collect()
}

/// The filters as `[tap][channel]`, taps along a line in the order of their phases.
fn by_tap(p: &ConvProblem, across: &[Across], weight: &[f32]) -> Buffer {
    let (taps, kw) = (p.taps(), p.kernel[2]);
    let mut rows = Buffer::new::<f32>(weight.len());
    let to = rows.as_mut_slice::<f32>();
    let order = across.iter().flat_map(|across| &across.phase.taps).map(|tap| tap.k);
    for (place, k) in order.enumerate() {
        for line in 0..taps / kw {
            let row = &mut to[(line * kw + place) * p.ic..][..p.ic];
            let from = weight[line * kw + k..].iter().step_by(taps);
            row.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
        }
    }
    rows
}

/// What each place of an axis of the result reads: source places and rows of weights, in units of the axis.
struct Reads {
    pairs: Vec<(usize, usize)>,
    /// Where each place's pairs end.
    ends: Vec<usize>,
}

impl Reads {
    fn new(phases: &[Phase], len: usize, source: usize, place: usize, row: usize) -> Reads {
        let mut reads = Reads { pairs: Vec::new(), ends: Vec::with_capacity(len) };
        for i in 0..len {
            let (phase, m) = (&phases[i % phases.len()], i / phases.len());
            let base = (m * phase.reach) as isize;
            let pairs = phase.inside(m, source).iter();
            reads.pairs.extend(pairs.map(|tap| ((base + tap.offset) as usize * place, tap.k * row)));
            reads.ends.push(reads.pairs.len());
        }
        reads
    }

    fn of(&self, i: usize) -> &[(usize, usize)] {
        &self.pairs[i.checked_sub(1).map_or(0, |before| self.ends[before])..self.ends[i]]
    }
}

pub(super) fn gather(
    p: &ConvProblem,
    backward: bool,
    src: &[f32],
    weight: &[f32],
    epilogue: Epilogue<'_, f32>,
    dst: &mut [f32],
    isa: Isa,
) {
    if dst.is_empty() {
        return;
    }
    let ([fd, fh, fw], [td, th, tw]) = if backward { (p.output, p.input) } else { (p.input, p.output) };
    let (ch, [_, kh, kw]) = (p.ic, p.kernel);
    let [deep, down, along] = [0, 1, 2].map(|axis| phases(p, axis, backward));
    let deep = Reads::new(&deep, td, fd, fh * fw * ch, kh * kw);
    let down = Reads::new(&down, th, fh, fw * ch, kw);
    let across = across(along);
    let weight = by_tap(p, &across, weight);
    let weight = weight.as_slice::<f32>();
    let band = (TASK / (tw * ch * p.taps())).clamp(1, th);
    let bands = th.div_ceil(band);
    let dst = SharedMut::new(dst);
    let scratch = Scratch::bytes::<usize>(3 * p.taps());
    parallel_scratch(p.n * td * bands, scratch, |task, mut scratch| {
        let list = scratch.take::<usize>(3 * p.taps()).as_chunks_mut::<3>().0;
        let (image, d, h) = (task / (td * bands), task / bands % td, task % bands * band);
        let end = th.min(h + band);
        let source = &src[image * fd * fh * fw * ch..][..fd * fh * fw * ch];
        let first = ((image * td + d) * th + h) * tw * ch;
        // SAFETY: each task has a band of its own.
        let to = unsafe { dst.slice(first, (end - h) * tw * ch) };
        for c in (0..ch).step_by(CHANNELS) {
            for (i, to) in to.chunks_exact_mut(tw * ch).enumerate() {
                let (h, first) = (h + i, first + i * tw * ch);
                for Across { phase, runs, taps } in &across {
                    let line = Line {
                        source,
                        weight,
                        ch,
                        channels: (c, ch.min(c + CHANNELS)),
                        sources: sources(list, deep.of(d), down.of(h), runs, ch),
                        width: fw,
                        reach: phase.reach,
                        count: phase.count,
                        to: to[phase.first * ch..].as_mut_ptr(),
                        finish: epilogue.from(0, first + phase.first * ch),
                        to_step: phase.step * ch,
                    };
                    // SAFETY: the CPU has the level; the result has `count` pixels `step` apart from `first` on; the
                    // axes say which planes, lines and taps there are.
                    unsafe { run(isa, *taps, &line) };
                }
            }
        }
    });
}

/// Lists the source lines of a line of the result.
fn sources<'a>(
    list: &'a mut [Source],
    planes: &[(usize, usize)],
    lines: &[(usize, usize)],
    runs: &[(isize, usize)],
    ch: usize,
) -> &'a [Source] {
    let mut len = 0;
    for &(plane, plane_row) in planes {
        for &(line, line_row) in lines {
            for &(x, row) in runs {
                let x = x as usize;
                list[len] = [(plane + line).wrapping_add(x.wrapping_mul(ch)), plane_row + line_row + row, x];
                len += 1;
            }
        }
    }
    &list[..len]
}

/// # Safety
/// As [`Window`]'s, and the CPU has the level.
unsafe fn run(isa: Isa, taps: usize, line: &Line<'_>) {
    // SAFETY: the caller's promises.
    unsafe {
        match (taps, line.reach) {
            (2, _) => lanes::run(isa, line.ch, &Window::<2, 1>(*line)),
            (3, 1) => lanes::run(isa, line.ch, &Window::<3, 1>(*line)),
            (3, _) => lanes::run(isa, line.ch, &Window::<3, 2>(*line)),
            (5, 1) => lanes::run(isa, line.ch, &Window::<5, 1>(*line)),
            (5, _) => lanes::run(isa, line.ch, &Window::<5, 2>(*line)),
            (7, 1) => lanes::run(isa, line.ch, &Window::<7, 1>(*line)),
            (7, _) => lanes::run(isa, line.ch, &Window::<7, 2>(*line)),
            _ => lanes::run(isa, line.ch, &Window::<1, 1>(*line)),
        }
    }
}
