//! Which pixels of a map a pixel of the result reads.

use crate::conv::ConvProblem;

/// Taps of one phase, in the order of memory, and neighbours of a line together.
#[derive(Debug, Clone)]
pub(super) struct Taps {
    /// Depth, height and width of the result.
    pub(super) output: [usize; 3],
    /// From one pixel of the result to the next, in the map.
    pub(super) stride: [usize; 3],
    /// Their numbers in the weight.
    pub(super) order: Vec<usize>,
    pub(super) runs: Vec<Run>,
}

/// Neighbouring pixels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    /// Where they begin, of the first pixel of the result.
    pub(super) offset: [isize; 3],
    pub(super) len: usize,
}

impl Taps {
    /// Those that forward reads.
    pub(super) fn forward(p: &ConvProblem) -> Taps {
        let offsets = |k: [usize; 3]| {
            [0, 1, 2].map(|axis| (k[axis] * p.dilation[axis]) as isize - p.padding[axis] as isize)
        };
        Taps::new(p.output, p.stride, all(p).map(|(tap, k)| (offsets(k), tap)).collect())
    }

    /// For each phase of the stride what the pixels of the input there read of `dy`.
    pub(super) fn mirrored(p: &ConvProblem) -> Vec<([usize; 3], Taps)> {
        // A phase that begins outside of the input has no pixels.
        let phases = [0, 1, 2].map(|axis| p.stride[axis].min(p.input[axis]));
        let mut found = Vec::with_capacity(phases.iter().product());
        for d in 0..phases[0] {
            for h in 0..phases[1] {
                for w in 0..phases[2] {
                    found.push(([d, h, w], Taps::of_phase(p, [d, h, w])));
                }
            }
        }
        found
    }

    fn of_phase(p: &ConvProblem, phase: [usize; 3]) -> Taps {
        let output = [0, 1, 2].map(|axis| (p.input[axis] - phase[axis]).div_ceil(p.stride[axis]));
        let offset = |axis: usize, k: usize| {
            let at = (phase[axis] + p.padding[axis]) as isize - (k * p.dilation[axis]) as isize;
            let stride = p.stride[axis] as isize;
            (at % stride == 0).then_some(at / stride)
        };
        let taps =
            all(p).filter_map(|(tap, k)| Some(([offset(0, k[0])?, offset(1, k[1])?, offset(2, k[2])?], tap)));
        Taps::new(output, [1; 3], taps.collect())
    }

    fn new(output: [usize; 3], stride: [usize; 3], mut taps: Vec<([isize; 3], usize)>) -> Taps {
        taps.sort_unstable();
        let mut runs: Vec<Run> = Vec::new();
        for (offset, _) in &taps {
            match runs.last_mut() {
                Some(run)
                    if run.offset[..2] == offset[..2] && run.offset[2] + run.len as isize == offset[2] =>
                {
                    run.len += 1;
                }
                _ => runs.push(Run { offset: *offset, len: 1 }),
            }
        }
        Taps { output, stride, order: taps.into_iter().map(|(_, tap)| tap).collect(), runs }
    }

    /// Pixels of a result.
    pub(super) fn pixels(&self) -> usize {
        self.output.iter().product()
    }

    /// Whether each pixel reads the one at its own place, of a map of that size.
    pub(super) fn is_pointwise(&self, size: [usize; 3]) -> bool {
        let here = |run: &Run| run.offset == [0; 3] && run.len == 1;
        self.stride == [1; 3] && self.output == size && self.runs.len() == 1 && here(&self.runs[0])
    }
}

/// The taps of a kernel, by number.
fn all(p: &ConvProblem) -> impl Iterator<Item = (usize, [usize; 3])> {
    let [_, height, width] = p.kernel;
    (0..p.taps()).map(move |tap| (tap, [tap / (height * width), tap / width % height, tap % width]))
}
