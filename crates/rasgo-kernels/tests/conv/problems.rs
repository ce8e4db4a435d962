//! Convolutions of all kinds, drawn and chosen.

use rasgo_kernels::conv::ConvProblem;

pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }
    pub(crate) fn range(&mut self, low: usize, high: usize) -> usize {
        low + self.next() as usize % (high - low + 1)
    }
    pub(crate) fn values(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.next() as f32 / (1u64 << 30) as f32 - 1.0).collect()
    }
}

pub(crate) fn problem(
    [n, ic, oc, groups]: [usize; 4],
    input: [usize; 3],
    kernel: [usize; 3],
    stride: [usize; 3],
    padding: [usize; 3],
    end: [usize; 3],
    dilation: [usize; 3],
) -> ConvProblem {
    let output = std::array::from_fn(|i| {
        (input[i] + padding[i] + end[i])
            .checked_sub(dilation[i] * (kernel[i] - 1) + 1)
            .map_or(0, |x| x / stride[i] + 1)
    });
    ConvProblem { n, ic, oc, groups, input, output, kernel, stride, padding, dilation }
}

/// Different sizes on every axis, padding that differs at both ends, steps that drop the last rows.
pub(crate) fn table() -> Vec<ConvProblem> {
    vec![
        problem([3, 1, 64, 1], [1, 9, 12], [1, 3, 3], [1; 3], [0, 1, 1], [0, 1, 1], [1; 3]),
        problem([2, 64, 40, 1], [1, 5, 7], [1, 3, 3], [1; 3], [0, 1, 1], [0, 1, 1], [1; 3]),
        problem([2, 3, 33, 1], [1, 17, 22], [1, 7, 5], [1, 2, 3], [0, 3, 2], [0, 2, 1], [1; 3]),
        problem([2, 5, 6, 1], [1, 11, 8], [1, 2, 3], [1, 3, 2], [0, 2, 1], [0, 0, 0], [1, 2, 3]),
        problem([2, 6, 9, 3], [4, 5, 6], [3, 2, 1], [2, 1, 2], [1, 0, 0], [0, 1, 0], [1, 2, 1]),
        problem([1, 9, 70, 1], [1, 1, 50], [1, 1, 7], [1, 1, 2], [0, 0, 3], [0, 0, 1], [1, 1, 2]),
        problem([2, 40, 24, 1], [1, 6, 5], [1, 1, 1], [1; 3], [0; 3], [0; 3], [1; 3]),
        problem([2, 12, 20, 2], [1, 6, 5], [1, 1, 1], [1; 3], [0; 3], [0; 3], [1; 3]),
        problem([2, 20, 17, 1], [1, 7, 9], [1, 1, 1], [1, 2, 3], [0; 3], [0; 3], [1; 3]),
        problem([3, 43, 43, 43], [2, 6, 7], [1, 3, 2], [1, 2, 1], [0, 1, 1], [0, 0, 0], [1, 1, 2]),
        problem([2, 3, 3, 3], [1, 6, 7], [1, 3, 3], [1; 3], [0, 1, 1], [0, 1, 1], [1; 3]),
        problem([2, 8, 16, 8], [1, 6, 7], [1, 3, 3], [1; 3], [0, 1, 1], [0, 1, 1], [1; 3]),
        problem([1, 4, 5, 1], [3, 4, 5], [2, 3, 4], [1, 2, 1], [1, 1, 2], [0, 1, 1], [2, 1, 1]),
        problem([0, 4, 5, 1], [1, 4, 5], [1, 3, 3], [1; 3], [0, 1, 1], [0, 1, 1], [1; 3]),
        // Stride larger than the kernel: phases without taps. Kernel larger than the map: no output.
        problem([2, 7, 5, 1], [1, 10, 11], [1, 2, 1], [1, 3, 4], [0, 1, 0], [0, 0, 0], [1; 3]),
        problem([2, 7, 5, 1], [1, 2, 3], [1, 4, 3], [1; 3], [0; 3], [0; 3], [1; 3]),
        // What a transposed convolution meets: a last output that no tap fills, and a map that is cropped to nothing.
        ConvProblem {
            n: 2,
            ic: 6,
            oc: 4,
            groups: 2,
            input: [1, 14, 13],
            output: [1, 4, 5],
            kernel: [1, 3, 2],
            stride: [1, 4, 2],
            padding: [0, 1, 0],
            dilation: [1, 1, 3],
        },
        ConvProblem {
            n: 2,
            ic: 3,
            oc: 4,
            groups: 1,
            input: [1, 0, 2],
            output: [1, 2, 2],
            kernel: [1, 3, 3],
            stride: [1; 3],
            padding: [0, 2, 1],
            dilation: [1; 3],
        },
        // More pixels than a chunk of the gradient to the weight, and many chunks.
        problem([5, 2, 3, 1], [1, 70, 66], [1, 3, 3], [1; 3], [0, 1, 1], [0, 1, 1], [1; 3]),
        problem([7, 35, 18, 1], [1, 40, 31], [1, 3, 3], [1; 3], [0, 1, 1], [0, 1, 1], [1; 3]),
        // Few channels, read as they lie: with and without padding, steps and holes, many channels out, maps in depth.
        problem([3, 5, 40, 1], [1, 9, 14], [1, 3, 4], [1, 2, 3], [0; 3], [0; 3], [1, 2, 1]),
        problem([5, 2, 9, 1], [2, 13, 31], [1, 5, 3], [1, 2, 1], [0, 2, 1], [0, 1, 0], [1; 3]),
        problem([2, 6, 16, 1], [1, 14, 15], [1, 5, 5], [1; 3], [0; 3], [0; 3], [1; 3]),
        problem([2, 3, 70, 1], [1, 30, 29], [1, 7, 7], [1, 2, 2], [0, 3, 3], [0, 3, 3], [1; 3]),
        // … by phases of the stride: with padding, without, a phase without taps, padding beyond what a phase reaches.
        problem([2, 18, 12, 1], [1, 9, 11], [1, 3, 3], [1, 2, 2], [0, 1, 1], [0, 1, 1], [1; 3]),
        problem([2, 10, 7, 1], [1, 12, 17], [1, 5, 4], [1, 2, 3], [0, 0, 1], [0, 0, 0], [1; 3]),
        problem([2, 12, 40, 1], [1, 8, 9], [1, 1, 1], [1, 2, 2], [0; 3], [0; 3], [1; 3]),
        problem([2, 9, 5, 1], [1, 6, 7], [1, 3, 3], [1, 2, 2], [0, 2, 2], [0, 1, 1], [1; 3]),
        // … a stride beyond the map, which most phases of do not begin in.
        problem([2, 9, 5, 1], [1, 6, 7], [1, 3, 3], [1, 1 << 40, 1 << 30], [0; 3], [0; 3], [1; 3]),
        problem([2, 3, 4, 1], [1, 6, 7], [1, 3, 3], [1, 1 << 30, 1 << 40], [0; 3], [0; 3], [1; 3]),
        // … several pixels at a time, of which a row of outputs has a whole number, or not.
        problem([3, 1, 6, 1], [1, 14, 28], [1, 5, 5], [1; 3], [0, 2, 2], [0, 2, 2], [1; 3]),
        problem([2, 2, 3, 1], [1, 7, 23], [1, 3, 4], [1, 1, 2], [0, 1, 2], [0, 1, 1], [1; 3]),
        problem([2, 4, 5, 1], [1, 7, 13], [1, 3, 3], [1; 3], [0, 1, 1], [0, 1, 1], [1; 3]),
        // Sums of several blocks, by a direct way and as a matrix.
        problem([2, 130, 9, 1], [1, 6, 9], [1, 3, 3], [1, 2, 2], [0, 1, 1], [0, 1, 1], [1; 3]),
        problem([2, 700, 37, 1], [1, 5, 6], [1, 1, 1], [1; 3], [0; 3], [0; 3], [1; 3]),
        problem([1, 1024, 24, 1], [1, 4, 5], [1, 1, 1], [1; 3], [0; 3], [0; 3], [1; 3]),
        // Winograd: tiles that the map does not fill, whole and partial vectors of channels, both schemes, maps in depth.
        problem([3, 17, 50, 1], [1, 9, 14], [1, 3, 3], [1; 3], [0, 1, 2], [0, 0, 1], [1; 3]),
        problem([2, 33, 16, 1], [3, 5, 4], [1, 3, 3], [1; 3], [0, 0, 1], [0, 2, 1], [1; 3]),
        problem([5, 24, 31, 1], [1, 2, 3], [1, 3, 3], [1; 3], [0, 1, 1], [0, 1, 1], [1; 3]),
        problem([2, 19, 20, 1], [1, 4, 4], [1, 3, 3], [1; 3], [0, 0, 0], [0, 0, 0], [1; 3]),
        // … many tiles with few filters, and filters too large to be shared, of which the last need several groups of tiles.
        problem([2, 32, 48, 1], [1, 61, 50], [1, 3, 3], [1; 3], [0, 1, 1], [0, 1, 1], [1; 3]),
        problem([2, 200, 210, 1], [1, 5, 6], [1, 3, 3], [1; 3], [0, 1, 1], [0, 1, 1], [1; 3]),
        problem([3, 290, 150, 1], [1, 23, 25], [1, 3, 3], [1; 3], [0, 1, 1], [0, 1, 1], [1; 3]),
        problem([9, 130, 150, 1], [1, 7, 6], [1, 3, 3], [1; 3], [0, 1, 1], [0, 1, 1], [1; 3]),
        // … one, two and three tiles, of which several planes are multiplied at once.
        problem([1, 135, 40, 1], [1, 4, 3], [1, 3, 3], [1; 3], [0, 1, 1], [0, 1, 1], [1; 3]),
        problem([2, 24, 50, 1], [1, 4, 4], [1, 3, 3], [1; 3], [0, 1, 1], [0, 1, 1], [1; 3]),
        problem([3, 140, 16, 1], [1, 4, 4], [1, 3, 3], [1; 3], [0, 1, 1], [0, 1, 1], [1; 3]),
    ]
}

pub(crate) fn random(r: &mut Random) -> ConvProblem {
    let groups = [1, 1, 1, 2, 3][r.range(0, 4)];
    let channels = [r.range(0, 3), groups * r.range(1, 9), groups * r.range(1, 70 / groups), groups];
    let mut axis = |low, high| [r.range(1, 3), r.range(low, high), r.range(low, high)];
    let (input, kernel, stride) = (axis(1, 12), axis(1, 5), axis(1, 3));
    let (padding, dilation) = (axis(0, 3), axis(1, 2));
    let end = axis(0, 2);
    let (kernel, padding) =
        ([kernel[0].min(2), kernel[1], kernel[2]], [padding[0] - 1, padding[1], padding[2]]);
    problem(channels, input, kernel, stride, padding, end, dilation)
}
