//! Average pooling.

use super::PoolProblem;
use super::windows::{Axis, Pixels, Span, coordinates, kernel_axes, pixel};
use crate::isa::isa_fn;
use crate::rows::CHUNK;
use crate::threads::{SharedMut, parallel, parallel_chunks};
use crate::{Float, Isa, Stored};

/// Channels whose gradients are summed at once.
const LANES: usize = 256;

/// What an average divides by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AvgOptions {
    /// Whether cells in the padding count, as zeros. Cells beyond the padding, which `ceil_mode` makes, never do.
    pub count_include_pad: bool,
    /// Divide by this instead.
    pub divisor_override: Option<i64>,
}

/// `dst[n, o, c] = sum over the window of src / divisor`. The dilation is 1.
pub fn avg_forward<S: Stored>(p: &PoolProblem, options: AvgOptions, src: &[S], dst: &mut [S]) {
    if dst.is_empty() {
        return;
    }
    let axes = kernel_axes(p);
    Average { n: p.n, c: p.c, input: p.input, output: p.output, axes: &axes }.forward(
        &divisors(p, &axes, options),
        src,
        dst,
    );
}

/// `dx[n, i, c] = sum over the windows that cover i of dy / divisor`.
pub fn avg_backward<S: Stored>(p: &PoolProblem, options: AvgOptions, dy: &[S], dx: &mut [S]) {
    if dx.is_empty() {
        return;
    }
    let axes = kernel_axes(p);
    Average { n: p.n, c: p.c, input: p.input, output: p.output, axes: &axes }.backward(
        &divisors(p, &axes, options),
        dy,
        dx,
    );
}

/// The divisor of each pixel of an output plane.
fn divisors(p: &PoolProblem, axes: &[Axis; 3], options: AvgOptions) -> Vec<f64> {
    assert_eq!(p.dilation, [1; 3], "an average has no dilation");
    let counts = [0, 1, 2].map(|a| -> Vec<usize> {
        let padded =
            |o: usize| p.kernel[a].min((p.input[a] + 2 * p.padding[a]).saturating_sub(o * p.stride[a]));
        let inside = |o: usize| axes[a].spans[o].count;
        (0..p.output[a]).map(|o| if options.count_include_pad { padded(o) } else { inside(o) }).collect()
    });
    product_of_counts(&counts, options.divisor_override)
}

/// The divisor of each pixel of an output plane where every cell counts.
pub(super) fn cell_counts(axes: &[Axis; 3]) -> Vec<f64> {
    product_of_counts(&[0, 1, 2].map(|a| axes[a].spans.iter().map(|span| span.count).collect()), None)
}

fn product_of_counts(counts: &[Vec<usize>; 3], instead: Option<i64>) -> Vec<f64> {
    let mut plane = Vec::with_capacity(counts.iter().map(Vec::len).product());
    for d in &counts[0] {
        for h in &counts[1] {
            // A window without a cell is 0 / 1.
            let own = |w: &usize| (d * h * w).max(1) as f64;
            plane.extend(counts[2].iter().map(|w| instead.map_or_else(|| own(w), |divisor| divisor as f64)));
        }
    }
    plane
}

/// An average over windows of any kind.
#[derive(Debug)]
pub(super) struct Average<'a> {
    pub(super) n: usize,
    pub(super) c: usize,
    pub(super) input: [usize; 3],
    pub(super) output: [usize; 3],
    pub(super) axes: &'a [Axis; 3],
}

impl Average<'_> {
    fn check(&self, src: usize, dst: usize) {
        assert_eq!(src, self.n * self.input.iter().product::<usize>() * self.c, "the problem's input");
        assert_eq!(dst, self.n * self.output.iter().product::<usize>() * self.c, "the problem's output");
    }

    pub(super) fn forward<S: Stored>(&self, divisors: &[f64], src: &[S], dst: &mut [S]) {
        self.check(src.len(), dst.len());
        if dst.is_empty() {
            return;
        }
        let (isa, c) = (Isa::current(), self.c);
        let window: usize = self.axes.iter().map(|axis| axis.spans[0].count.max(1)).product();
        // Large windows, global ones above all, are shared by the channels, whose sums are independent.
        let width = if window * c > 2 * CHUNK { 128.min(c) } else { c };
        let group = (CHUNK / (window * width)).max(1);
        let (pixels, blocks) = (dst.len() / c, c.div_ceil(width));
        let dst = SharedMut::new(dst);
        parallel(pixels.div_ceil(group) * blocks, |task| {
            let (first, channel) = (task / blocks * group, task % blocks * width);
            let block =
                Block { first, count: group.min(pixels - first), channel, width: width.min(c - channel) };
            average_pixels(isa, self, block, divisors, src, dst);
        });
    }

    pub(super) fn backward<S: Stored>(&self, divisors: &[f64], dy: &[S], dx: &mut [S]) {
        self.check(dx.len(), dy.len());
        if dx.is_empty() {
            return;
        }
        let (isa, row) = (Isa::current(), self.input[2] * self.c);
        let weights: Vec<S::Wide> =
            divisors.iter().map(|&divisor| S::Wide::from_f64(1.0 / divisor)).collect();
        let group = (CHUNK / row).max(1);
        parallel_chunks(dx, group * row, |i, dx| spread_rows(isa, self, i * group, &weights, dy, dx));
    }
}

/// Output pixels and channels of a task; no two tasks share both.
#[derive(Debug, Clone, Copy)]
struct Block {
    first: usize,
    count: usize,
    channel: usize,
    width: usize,
}

isa_fn! {
    fn average_pixels<S: Stored>(
        g: &Average<'_>, block: Block, divisors: &[f64], src: &[S], dst: SharedMut<'_, S>,
    ) {
        let channel = block.channel;
        let mut pixels = Pixels::from(g.output, block.first);
        for at in block.first..block.first + block.count {
            // SAFETY: each pixel and block of channels belongs to one task.
            let dst = unsafe { dst.slice(at * g.c + channel, block.width) };
            let (image, at) = pixels.advance();
            let divisor = S::Wide::from_f64(divisors[pixel(g.output, 0, at)]);
            let spans = [0, 1, 2].map(|a| g.axes[a].spans[at[a]]);
            let mut j = 0;
            j = average_blocks::<S, 64>(j, g, image, spans, channel, divisor, src, dst);
            j = average_blocks::<S, 16>(j, g, image, spans, channel, divisor, src, dst);
            j = average_blocks::<S, 8>(j, g, image, spans, channel, divisor, src, dst);
            j = average_blocks::<S, 4>(j, g, image, spans, channel, divisor, src, dst);
            average_blocks::<S, 1>(j, g, image, spans, channel, divisor, src, dst);
        }
    }
}

/// The averages of blocks of `N` channels from `j` on; returns the first channel that is left.
///
/// Rows of a window are summed first, then their sums, so that rounding grows with the sides of a window and not
/// with its area.
#[inline(always)]
fn average_blocks<S: Stored, const N: usize>(
    mut j: usize,
    g: &Average<'_>,
    image: usize,
    [d, h, w]: [Span; 3],
    channel: usize,
    divisor: S::Wide,
    src: &[S],
    dst: &mut [S],
) -> usize {
    while j + N <= dst.len() {
        let mut sum = [S::Wide::ZERO; N];
        for kd in 0..d.count {
            for kh in 0..h.count {
                let start = pixel(g.input, image, [d.start + kd, h.start + kh, w.start]);
                let mut row = [S::Wide::ZERO; N];
                for kw in 0..w.count {
                    let x: [S; N] = lanes(src, (start + kw) * g.c + channel + j);
                    for l in 0..N {
                        row[l] += x[l].wide();
                    }
                }
                for l in 0..N {
                    sum[l] += row[l];
                }
            }
        }
        for l in 0..N {
            dst[j + l] = S::narrow(sum[l] / divisor);
        }
        j += N;
    }
    j
}

isa_fn! {
    fn spread_rows<S: Stored>(g: &Average<'_>, first: usize, weights: &[S::Wide], dy: &[S], dx: &mut [S]) {
        let c = g.c;
        let (mut rows, mut sums) = (Vec::new(), [S::Wide::ZERO; LANES]);
        for (i, dx) in dx.chunks_exact_mut(g.input[2] * c).enumerate() {
            let (image, at) = coordinates([1, g.input[0], g.input[1]], first + i);
            let dy = &dy[image * weights.len() * c..];
            rows.clear();
            for &(od, _) in g.axes[0].covers(at[1]) {
                for &(oh, _) in g.axes[1].covers(at[2]) {
                    rows.push(pixel(g.output, 0, [od, oh, 0]));
                }
            }
            for (w, dx) in dx.chunks_exact_mut(c).enumerate() {
                let covers = g.axes[2].covers(w);
                if rows.is_empty() || covers.is_empty() {
                    dx.fill(S::default());
                    continue;
                }
                for (block, dx) in dx.chunks_mut(LANES).enumerate() {
                    let sums = &mut sums[..dx.len()];
                    // What nothing is changed by, the sign of a zero included.
                    sums.fill(-S::Wide::ZERO);
                    for &row in &rows {
                        for &(ow, _) in covers {
                            let (at, weight) = ((row + ow) * c + block * LANES, weights[row + ow]);
                            for (sum, dy) in sums.iter_mut().zip(&dy[at..at + dx.len()]) {
                                *sum += dy.wide() * weight;
                            }
                        }
                    }
                    for (dx, sum) in dx.iter_mut().zip(&*sums) {
                        *dx = S::narrow(*sum);
                    }
                }
            }
        }
    }
}

/// The channels from an offset on.
#[inline(always)]
fn lanes<T: Copy, const N: usize>(src: &[T], offset: usize) -> [T; N] {
    let lanes: &[T; N] = src[offset..offset + N].try_into().expect("the slice has N elements");
    *lanes
}
