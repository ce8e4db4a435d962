//! The gradient of max pooling.

use super::PoolProblem;
use super::max::{LANES, cell, lanes};
use super::windows::{Axis, coordinates, kernel_axes, pixel};
use crate::isa::isa_fn;
use crate::rows::CHUNK;
use crate::threads::parallel_chunks;
use crate::{Float, Isa};

/// `dx[n, i, c] = sum of dy over the windows whose maximum was at i`, with the positions of [`max_forward`](super::max_forward).
pub fn max_backward<T: Float>(p: &PoolProblem, dy: &[T], positions: &[u8], dx: &mut [T]) {
    assert!(
        dy.len() == p.dst_len() && positions.len() == dy.len(),
        "a gradient and a position for each maximum"
    );
    assert_eq!(dx.len(), p.src_len(), "the gradient has the problem's elements");
    if dx.is_empty() {
        return;
    }
    let axes = kernel_axes(p);
    let (isa, row) = (Isa::current(), p.input[2] * p.c);
    let group = (CHUNK / row).max(1);
    parallel_chunks(dx, group * row, |i, dx| backward_rows(isa, p, &axes, i * group, dy, positions, dx));
}

isa_fn! {
    fn backward_rows<T: Float>(
        p: &PoolProblem, axes: &[Axis; 3], first: usize, dy: &[T], positions: &[u8], dx: &mut [T],
    ) {
        let c = p.c;
        let (mut rows, mut list) = (Vec::new(), Vec::new());
        for (i, dx) in dx.chunks_exact_mut(p.input[2] * c).enumerate() {
            let (image, at) = coordinates([1, p.input[0], p.input[1]], first + i);
            rows.clear();
            for &(od, kd) in axes[0].covers(at[1]) {
                for &(oh, kh) in axes[1].covers(at[2]) {
                    rows.push((pixel(p.output, image, [od, oh, 0]), cell(p.kernel, [kd, kh, 0])));
                }
            }
            for (w, dx) in dx.chunks_exact_mut(c).enumerate() {
                list.clear();
                for &(row, cell) in &rows {
                    for &(ow, kw) in axes[2].covers(w) {
                        list.push(((row + ow) * c, (cell + kw) as u8));
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
fn add_channels<T: Float>(list: &[(usize, u8)], dy: &[T], positions: &[u8], dx: &mut [T]) {
    let mut j = 0;
    j = add_blocks::<T, LANES>(j, list, dy, positions, dx);
    j = add_blocks::<T, 8>(j, list, dy, positions, dx);
    j = add_blocks::<T, 4>(j, list, dy, positions, dx);
    add_blocks::<T, 1>(j, list, dy, positions, dx);
}

/// The sums of blocks of `N` channels from `j` on; returns the first channel that is left.
#[inline(always)]
fn add_blocks<T: Float, const N: usize>(
    mut j: usize,
    list: &[(usize, u8)],
    dy: &[T],
    positions: &[u8],
    dx: &mut [T],
) -> usize {
    while j + N <= dx.len() {
        let mut sum = [T::ZERO; N];
        for &(offset, code) in list {
            let (dy, at): ([T; N], [u8; N]) = (lanes(dy, offset + j), lanes(positions, offset + j));
            for l in 0..N {
                sum[l] += if at[l] == code { dy[l] } else { T::ZERO };
            }
        }
        dx[j..j + N].copy_from_slice(&sum);
        j += N;
    }
    j
}
