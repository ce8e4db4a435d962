//! The gradient of max pooling.

use super::PoolProblem;
use super::max::cell;
use super::max_vector::{Covered, Run, spread, winners};
use super::windows::{Axis, coordinates, kernel_axes, pixel};
use crate::rows::CHUNK;
use crate::simd::{Lane, in_lanes};
use crate::threads::{SharedMut, parallel, parallel_chunks};
use crate::{Float, Isa, Stored};

/// `dx[n, i, c] = sum of dy over the windows whose maximum was at i`, with the positions of [`max_forward`](super::max_forward).
pub fn max_backward<S: Stored>(p: &PoolProblem, dy: &[S], positions: &[u8], dx: &mut [S]) {
    assert!(
        dy.len() == p.dst_len() && positions.len() == dy.len(),
        "a gradient and a position for each maximum"
    );
    assert_eq!(dx.len(), p.src_len(), "the gradient has the problem's elements");
    if dx.is_empty() {
        return;
    }
    if p.is_tiling() {
        in_lanes!(S, (dy, dx) => return tiling(p, dy, positions, dx));
    }
    let axes = kernel_axes(p);
    let (isa, row) = (Isa::current(), p.input[2] * p.c);
    let group = (CHUNK / row).max(1);
    parallel_chunks(dx, group * row, |i, dx| backward_rows(isa, p, &axes, i * group, dy, positions, dx));
}

/// Windows side by side: each passes on what it has to its own cells.
fn tiling<L: Lane + Stored>(p: &PoolProblem, dy: &[L], positions: &[u8], dx: &mut [L]) {
    let (isa, c) = (Isa::current(), p.c);
    if (0..3).any(|a| p.output[a] * p.stride[a] < p.input[a]) {
        // Pixels that no window has.
        parallel_chunks(dx, CHUNK, |_, dx| dx.fill(L::default()));
    }
    if dy.is_empty() {
        return;
    }
    let cells = p.window_cells();
    let run = Run { step: p.stride[2] * c, count: p.output[2], ..Run::new(&cells, c) };
    let row = p.output[2] * c;
    let group = (CHUNK / (row * p.window())).max(1);
    let rows = dy.len() / row;
    let dx = SharedMut::new(dx);
    parallel(rows.div_ceil(group), |i| {
        for at in i * group..rows.min((i + 1) * group) {
            let (image, [_, d, h]) = coordinates([1, p.output[0], p.output[1]], at);
            let first = pixel(p.input, image, [d * p.stride[0], h * p.stride[1], 0]) * c;
            let (dy, positions) = (dy[at * row..].as_ptr(), positions[at * row..].as_ptr());
            // SAFETY: the windows of a row lie in the map, and no two of them share a cell.
            unsafe { winners(isa, &run, dy, positions, dx.as_ptr().wrapping_add(first)) };
        }
    });
}

/// Rows of the gradient from `first` on, by vectors; `f64` as the formula says.
fn backward_rows<S: Stored>(
    isa: Isa,
    p: &PoolProblem,
    axes: &[Axis; 3],
    first: usize,
    dy: &[S],
    positions: &[u8],
    dx: &mut [S],
) {
    let (c, width) = (p.c, p.input[2]);
    let mut rows = Vec::new();
    for (i, dx) in dx.chunks_exact_mut(width * c).enumerate() {
        let (image, at) = coordinates([1, p.input[0], p.input[1]], first + i);
        rows.clear();
        for &(od, kd) in axes[0].covers(at[1]) {
            for &(oh, kh) in axes[1].covers(at[2]) {
                rows.push((pixel(p.output, image, [od, oh, 0]), cell(p.kernel, [kd, kh, 0])));
            }
        }
        in_lanes!(S, (dy, dx) => {
            let row = Covered { rows: &rows, axis: &axes[2], width, c };
            // SAFETY: the windows over a row are of the output, which `dy` and the positions are as large as.
            unsafe { spread(isa, &row, dy.as_ptr(), positions.as_ptr(), dx.as_mut_ptr()) };
            continue;
        });
        for (w, dx) in dx.chunks_exact_mut(c).enumerate() {
            for (j, dx) in dx.iter_mut().enumerate() {
                let mut sum = S::Wide::ZERO;
                for &(row, cell) in &rows {
                    for &(ow, kw) in axes[2].covers(w) {
                        let (at, code) = ((row + ow) * c + j, (cell + kw) as u8);
                        sum += if positions[at] == code { dy[at].wide() } else { S::Wide::ZERO };
                    }
                }
                *dx = S::narrow(sum);
            }
        }
    }
}
