//! Gradients of normalisation, ReLU or nothing, and max pooling together: `dy` has the size of the pooled map, and only the
//! cell of each window that won passes it on.

use super::fused_pool::Map;
use super::grad::{NormGrad, finish_sums, slope_offset};
use crate::isa::isa_fn;
use crate::pool::PoolProblem;
use crate::pool::max_vector::Cell;
use crate::pool::windows::{Pixels, coordinates, pixel};
use crate::rows::{CHUNK, RowChunks, sum_chunks};
use crate::threads::parallel_chunks;
use crate::{Activation, Buffer, Float, Isa, Stored};

fn check<S: Stored>(p: &PoolProblem, g: &NormGrad<'_, S::Wide>, src: &[S], dy: &[S], positions: &[u8]) {
    assert!(p.is_tiling() && (1..=256).contains(&p.window()), "windows side by side, of at most 256 cells");
    assert_eq!(src.len(), p.src_len(), "the source has the problem's elements");
    assert!(dy.len() == p.dst_len() && positions.len() == dy.len(), "the problem's output and its positions");
    assert_eq!(g.mean.len(), p.c, "a mean for each channel");
}

/// `dbeta[c] = sum of dy'` and `dgamma[c] = sum of dy' * xhat` over the cells that won.
pub fn pooled_grad_sums<S: Stored>(
    p: &PoolProblem,
    g: &NormGrad<'_, S::Wide>,
    src: &[S],
    dy: &[S],
    positions: &[u8],
    dbeta: &mut [S::Wide],
    dgamma: &mut [S::Wide],
) {
    check(p, g, src, dy, positions);
    let (isa, c, sample) = (Isa::current(), p.c, p.output.iter().product::<usize>());
    let cells = p.window_cells();
    let mut both = Buffer::new::<S::Wide>(2 * c);
    let both = both.as_mut_slice::<S::Wide>();
    sum_chunks(RowChunks::new(p.n * sample, sample, c), 2 * c, both, |rows, sums| {
        let map = Map { p, cells: &cells, first: rows.start };
        let range = rows.start * c..rows.end * c;
        sum_pixels(isa, &map, g, src, &dy[range.clone()], &positions[range], sums);
    });
    finish_sums(g, both, dbeta, dgamma);
}

isa_fn! {
    fn sum_pixels<S: Stored>(
        map: &Map<'_>, g: &NormGrad<'_, S::Wide>, src: &[S], dy: &[S], positions: &[u8], sums: &mut [S::Wide],
    ) {
        let c = g.mean.len();
        sums.fill(S::Wide::ZERO);
        let (dbeta, dgamma) = sums.split_at_mut(c);
        let mut pixels = Pixels::from(map.p.output, map.first);
        for (dy, positions) in dy.chunks_exact(c).zip(positions.chunks_exact(c)) {
            let src = &src[map.origin(pixels.advance())..];
            match <&[Cell; 4]>::try_from(map.cells) {
                Ok(four) => {
                    let cells = four.map(|(offset, _)| &src[offset..offset + c]);
                    let won = |j: usize| {
                        // All four are read whatever the position: loads that depend on it would not vectorise.
                        let (x, at) = (cells.map(|cell| cell[j].wide()), positions[j]);
                        let low = if at == 0 { x[0] } else { x[1] };
                        let high = if at == 2 { x[2] } else { x[3] };
                        if at < 2 { low } else { high }
                    };
                    sum_channels(c, won, g, dy, dbeta, dgamma);
                }
                Err(_) => {
                    let won = |j: usize| src[map.cells[usize::from(positions[j])].0 + j].wide();
                    sum_channels(c, won, g, dy, dbeta, dgamma);
                }
            }
        }
    }
}

#[inline(always)]
fn sum_channels<S: Stored>(
    c: usize,
    won: impl Fn(usize) -> S::Wide,
    g: &NormGrad<'_, S::Wide>,
    dy: &[S],
    dbeta: &mut [S::Wide],
    dgamma: &mut [S::Wide],
) {
    let (dy, dbeta, dgamma) = (&dy[..c], &mut dbeta[..c], &mut dgamma[..c]);
    let (mean, scale, shift) = (&g.mean[..c], &g.scale[..c], &g.shift[..c]);
    let relu = g.activation == Activation::Relu;
    for j in 0..c {
        let x = won(j) - mean[j];
        let dead = relu && x * scale[j] + shift[j] <= S::Wide::ZERO;
        let dy = if dead { S::Wide::ZERO } else { dy[j].wide() };
        dbeta[j] += dy;
        dgamma[j] += dy * x;
    }
}

/// `dx = gamma * rstd * (dy' - mean(dy') - xhat * mean(dy' * xhat))` at the size of the input, with the sums of
/// [`pooled_grad_sums`]; the means are over every element of a channel, and `dy'` is 0 where a cell did not win.
pub fn pooled_grad_input<S: Stored>(
    p: &PoolProblem,
    g: &NormGrad<'_, S::Wide>,
    src: &[S],
    dy: &[S],
    positions: &[u8],
    dbeta: &[S::Wide],
    dgamma: &[S::Wide],
    dx: &mut [S],
) {
    check(p, g, src, dy, positions);
    assert_eq!(dx.len(), src.len(), "the gradient has the problem's elements");
    if dx.is_empty() {
        return;
    }
    let (isa, row) = (Isa::current(), p.input[2] * p.c);
    let (slope, offset) = slope_offset(src.len() / p.c, g, dbeta, dgamma);
    let (slope, offset) = (slope.as_slice(), offset.as_slice());
    let group = (CHUNK / row).max(1);
    parallel_chunks(dx, group * row, |i, dx| {
        let src = &src[i * group * row..][..dx.len()];
        if g.activation == Activation::Relu {
            relu_input_rows(isa, p, i * group, g, slope, offset, src, dy, positions, dx);
        } else {
            plain_input_rows(isa, p, i * group, g, slope, offset, src, dy, positions, dx);
        }
    });
}

isa_fn! {
    fn relu_input_rows<S: Stored>(
        p: &PoolProblem, first: usize, g: &NormGrad<'_, S::Wide>, slope: &[S::Wide], offset: &[S::Wide],
        src: &[S], dy: &[S], positions: &[u8], dx: &mut [S],
    ) {
        input_rows::<S, true>(p, first, g, slope, offset, src, dy, positions, dx);
    }
}

isa_fn! {
    fn plain_input_rows<S: Stored>(
        p: &PoolProblem, first: usize, g: &NormGrad<'_, S::Wide>, slope: &[S::Wide], offset: &[S::Wide],
        src: &[S], dy: &[S], positions: &[u8], dx: &mut [S],
    ) {
        input_rows::<S, false>(p, first, g, slope, offset, src, dy, positions, dx);
    }
}

#[inline(always)]
fn input_rows<S: Stored, const RELU: bool>(
    p: &PoolProblem,
    first: usize,
    g: &NormGrad<'_, S::Wide>,
    slope: &[S::Wide],
    offset: &[S::Wide],
    src: &[S],
    dy: &[S],
    positions: &[u8],
    dx: &mut [S],
) {
    let (c, row) = (p.c, p.input[2] * p.c);
    let (mean, scale, shift) = (&g.mean[..c], &g.scale[..c], &g.shift[..c]);
    let (slope, offset) = (&slope[..c], &offset[..c]);
    for (i, (src, dx)) in src.chunks_exact(row).zip(dx.chunks_exact_mut(row)).enumerate() {
        let (image, [_, d, h]) = coordinates([1, p.input[0], p.input[1]], first + i);
        let (od, oh) = (d / p.stride[0], h / p.stride[1]);
        let covered = od < p.output[0] && oh < p.output[1];
        let start = pixel(p.output, image, [od, oh, 0]);
        let code = ((d % p.stride[0]) * p.kernel[1] + h % p.stride[1]) * p.kernel[2];
        for (w, (src, dx)) in src.chunks_exact(c).zip(dx.chunks_exact_mut(c)).enumerate() {
            let (src, dx) = (&src[..c], &mut dx[..c]);
            let ow = w / p.stride[2];
            if covered && ow < p.output[2] {
                let code = (code + w % p.stride[2]) as u8;
                let dy = &dy[(start + ow) * c..(start + ow + 1) * c];
                let positions = &positions[(start + ow) * c..(start + ow + 1) * c];
                for j in 0..c {
                    let x = src[j].wide() - mean[j];
                    // Joined without branches, so that it becomes vector code.
                    let dead = RELU & (x * scale[j] + shift[j] <= S::Wide::ZERO);
                    let dy = dy[j].wide();
                    let dy = if dead | (positions[j] != code) { S::Wide::ZERO } else { dy };
                    dx[j] = S::narrow(scale[j] * dy + (x * slope[j] + offset[j]));
                }
            } else {
                for j in 0..c {
                    dx[j] = S::narrow((src[j].wide() - mean[j]) * slope[j] + offset[j]);
                }
            }
        }
    }
}
