//! Which input pixels a window covers, and which windows cover an input pixel: one axis at a time.

use super::PoolProblem;

/// The cells of one window on one axis that lie inside the map.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    /// Input coordinate of the first cell.
    pub(crate) start: usize,
    /// Number of that cell in the window.
    pub(crate) first: usize,
    /// Cells inside the map.
    pub(crate) count: usize,
}

/// The windows of one axis, seen from both sides.
#[derive(Debug)]
pub(crate) struct Axis {
    /// Distance of cells.
    pub(crate) step: usize,
    /// A span for each output coordinate.
    pub(crate) spans: Vec<Span>,
    covers: Vec<(usize, usize)>,
    cover_starts: Vec<usize>,
}

impl Axis {
    fn new(input: usize, step: usize, spans: Vec<Span>) -> Axis {
        let mut cover_starts = vec![0; input + 1];
        let cells = |span: &Span| (0..span.count).map(|k| span.start + k * step).collect::<Vec<_>>();
        for i in spans.iter().flat_map(cells) {
            cover_starts[i + 1] += 1;
        }
        for i in 0..input {
            cover_starts[i + 1] += cover_starts[i];
        }
        let mut next = cover_starts.clone();
        let mut covers = vec![(0, 0); cover_starts[input]];
        for (o, span) in spans.iter().enumerate() {
            for k in 0..span.count {
                let slot = &mut next[span.start + k * step];
                covers[*slot] = (o, span.first + k);
                *slot += 1;
            }
        }
        Axis { step, spans, covers, cover_starts }
    }

    /// How many windows from `o` on have the same cells, and their distance in pixels.
    pub(crate) fn alike(&self, o: usize) -> (usize, usize) {
        let spans = &self.spans[o..];
        let distance = |pair: &[Span]| {
            let same = (pair[0].first, pair[0].count) == (pair[1].first, pair[1].count);
            pair[1].start.checked_sub(pair[0].start).filter(|_| same)
        };
        let Some(step) = spans.get(..2).and_then(distance) else { return (1, 0) };
        (1 + spans.windows(2).take_while(|pair| distance(pair) == Some(step)).count(), step)
    }

    /// The windows that cover input coordinate `i`, in rising order, each with the number of its cell there.
    pub(crate) fn covers(&self, i: usize) -> &[(usize, usize)] {
        &self.covers[self.cover_starts[i]..self.cover_starts[i + 1]]
    }
}

/// The axes of a pooling with a kernel.
pub(crate) fn kernel_axes(p: &PoolProblem) -> [Axis; 3] {
    [0, 1, 2].map(|i| {
        let (input, kernel, stride, padding, step) =
            (p.input[i], p.kernel[i], p.stride[i], p.padding[i], p.dilation[i].max(1));
        let span = |o: usize| {
            let start = (o * stride) as isize - padding as isize;
            let first = if start < 0 { start.unsigned_abs().div_ceil(step) } else { 0 }.min(kernel);
            let start = start + (first * step) as isize;
            // A dilated window may miss a short axis altogether.
            let room = (input as isize - start).max(0).unsigned_abs().div_ceil(step);
            Span { start: start.max(0).unsigned_abs(), first, count: room.min(kernel - first) }
        };
        Axis::new(input, step, (0..p.output[i]).map(span).collect())
    })
}

/// The axes of an adaptive pooling: output `o` covers `floor(o * in / out) .. ceil((o + 1) * in / out)`.
pub(crate) fn adaptive_axes(input: [usize; 3], output: [usize; 3]) -> [Axis; 3] {
    [0, 1, 2].map(|i| {
        let (input, output) = (input[i], output[i]);
        let span = |o: usize| {
            let start = o * input / output;
            Span { start, first: 0, count: ((o + 1) * input).div_ceil(output) - start }
        };
        Axis::new(input, 1, (0..output).map(span).collect())
    })
}

/// Splits a pixel number of a map into image and coordinates.
#[inline(always)]
pub(crate) fn coordinates(size: [usize; 3], pixel: usize) -> (usize, [usize; 3]) {
    let (rest, w) = (pixel / size[2], pixel % size[2]);
    let (rest, h) = (rest / size[1], rest % size[1]);
    (rest / size[0], [rest % size[0], h, w])
}

/// The number of a pixel in its map of the batch.
#[inline(always)]
pub(crate) fn pixel(size: [usize; 3], image: usize, at: [usize; 3]) -> usize {
    ((image * size[0] + at[0]) * size[1] + at[1]) * size[2] + at[2]
}

/// Image and coordinates of one pixel after the other: the divisions of [`coordinates`] cost more than a window.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pixels {
    size: [usize; 3],
    image: usize,
    at: [usize; 3],
}

impl Pixels {
    /// Starts at a pixel number of the batch.
    #[inline(always)]
    pub(crate) fn from(size: [usize; 3], pixel: usize) -> Pixels {
        let (image, at) = coordinates(size, pixel);
        Pixels { size, image, at }
    }

    /// The present pixel; then goes on to the one after it.
    #[inline(always)]
    pub(crate) fn advance(&mut self) -> (usize, [usize; 3]) {
        let now = (self.image, self.at);
        self.at[2] += 1;
        if self.at[2] == self.size[2] {
            self.at[2] = 0;
            self.at[1] += 1;
        }
        if self.at[1] == self.size[1] {
            self.at[1] = 0;
            self.at[0] += 1;
        }
        if self.at[0] == self.size[0] {
            self.at[0] = 0;
            self.image += 1;
        }
        now
    }
}
