//! The gradient of max pooling.

use super::max::{Geometry, LANES, cell, lanes};
use super::windows::{coordinates, kernel_axes, pixel};
use super::{PoolProblem, Position};
use crate::isa::isa_fn;
use crate::rows::CHUNK;
use crate::threads::parallel_chunks;
use crate::{Float, Isa};

/// `dx[n, i, c] = sum of dy over the windows whose maximum was at i`, with the positions of [`max_forward`](super::max_forward).
pub fn max_backward<T: Float, P: Position>(p: &PoolProblem, dy: &[T], positions: &[P], dx: &mut [T]) {
    let axes = kernel_axes(p);
    let (n, c, input, output, kernel) = (p.n, p.c, p.input, p.output, p.kernel);
    backward(&Geometry { n, c, input, output, kernel, axes: &axes, flat: false }, dy, positions, dx);
}

pub(super) fn backward<T: Float, P: Position>(g: &Geometry<'_>, dy: &[T], positions: &[P], dx: &mut [T]) {
    let (pixels, c) = (g.n * g.output.iter().product::<usize>(), g.c);
    assert!(
        dy.len() == pixels * c && positions.len() == dy.len(),
        "a gradient and a position for each maximum"
    );
    assert_eq!(
        dx.len(),
        g.n * g.input.iter().product::<usize>() * c,
        "the gradient has the problem's elements"
    );
    if dx.is_empty() {
        return;
    }
    let (isa, row) = (Isa::current(), g.input[2] * c);
    let group = (CHUNK / row).max(1);
    parallel_chunks(dx, group * row, |i, dx| backward_rows(isa, g, i * group, dy, positions, dx));
}

isa_fn! {
    fn backward_rows<T: Float, P: Position>(
        g: &Geometry<'_>, first: usize, dy: &[T], positions: &[P], dx: &mut [T],
    ) {
        let c = g.c;
        let (mut rows, mut list) = (Vec::new(), Vec::new());
        for (i, dx) in dx.chunks_exact_mut(g.input[2] * c).enumerate() {
            let (image, at) = coordinates([1, g.input[0], g.input[1]], first + i);
            rows.clear();
            for &(od, kd) in g.axes[0].covers(at[1]) {
                for &(oh, kh) in g.axes[1].covers(at[2]) {
                    rows.push((pixel(g.output, image, [od, oh, 0]), cell(g.kernel, [kd, kh, 0])));
                }
            }
            for (w, dx) in dx.chunks_exact_mut(c).enumerate() {
                let here = pixel(g.input, 0, [at[1], at[2], w]);
                list.clear();
                for &(row, cell) in &rows {
                    for &(ow, kw) in g.axes[2].covers(w) {
                        list.push(((row + ow) * c, P::new(if g.flat { here } else { cell + kw })));
                    }
                }
                match list[..] {
                    [] => dx.fill(T::ZERO),
                    [(offset, code)] => {
                        let (dy, positions) = (&dy[offset..offset + c], &positions[offset..offset + c]);
                        for ((dx, dy), position) in dx.iter_mut().zip(dy).zip(positions) {
                            *dx = if *position == code { *dy } else { T::ZERO };
                        }
                    }
                    _ => add_channels(&list, dy, positions, dx),
                }
            }
        }
    }
}

#[inline(always)]
fn add_channels<T: Float, P: Position>(list: &[(usize, P)], dy: &[T], positions: &[P], dx: &mut [T]) {
    let mut j = 0;
    j = add_blocks::<T, P, LANES>(j, list, dy, positions, dx);
    j = add_blocks::<T, P, 8>(j, list, dy, positions, dx);
    j = add_blocks::<T, P, 4>(j, list, dy, positions, dx);
    add_blocks::<T, P, 1>(j, list, dy, positions, dx);
}

/// The sums of blocks of `N` channels from `j` on; returns the first channel that is left.
#[inline(always)]
fn add_blocks<T: Float, P: Position, const N: usize>(
    mut j: usize,
    list: &[(usize, P)],
    dy: &[T],
    positions: &[P],
    dx: &mut [T],
) -> usize {
    while j + N <= dx.len() {
        let mut sum = [T::ZERO; N];
        for &(offset, code) in list {
            let (dy, at): ([T; N], [P; N]) = (lanes(dy, offset + j), lanes(positions, offset + j));
            for l in 0..N {
                sum[l] += if at[l] == code { dy[l] } else { T::ZERO };
            }
        }
        dx[j..j + N].copy_from_slice(&sum);
        j += N;
    }
    j
}
