//! Arrays read with strides: broadcasting, permuted and expanded copies.

use super::binary::{Binary, apply};
use super::map::{Place2, map_chunk, zip_chunk};
use super::number::Number;
use crate::Isa;
use crate::buffer::Element;
use crate::isa::isa_fn;
use crate::rows::CHUNK;
use crate::threads::parallel_chunks;

/// `dst[shape] = op(a, b)`, `dst` row-major, the operands read with their strides (0 repeats an axis).
///
/// An innermost axis on which each operand is contiguous or repeated runs at the speed of memory.
pub fn binary_broadcast<T: Number>(
    op: Binary,
    shape: &[usize],
    a: &[T],
    a_strides: &[usize],
    b: &[T],
    b_strides: &[usize],
    dst: &mut [T],
) {
    let walk = Walk::new(shape, [a_strides, b_strides]);
    walk.check([a.len(), b.len()], dst.len());
    apply(op, Broadcast { walk, a, b, dst });
}

/// `dst[shape] = src`, `dst` row-major, `src` read with its strides: a permuted or expanded copy.
pub fn copy_strided<T: Element>(shape: &[usize], src: &[T], strides: &[usize], dst: &mut [T]) {
    let walk = Walk::new(shape, [strides]);
    walk.check([src.len()], dst.len());
    let [stride] = walk.inner_strides();
    parallel_chunks(dst, CHUNK, |i, dst| {
        walk.segments(i * CHUNK, dst.len(), |at, len, [start]| {
            let dst = &mut dst[at..at + len];
            match stride {
                0 => dst.fill(src[start]),
                1 => dst.copy_from_slice(&src[start..start + len]),
                _ => {
                    for (dst, src) in dst.iter_mut().zip(src[start..].iter().step_by(stride)) {
                        *dst = *src;
                    }
                }
            }
        });
    });
}

/// `dst = f(a, b)`, the operands repeated along axes.
pub(super) struct Broadcast<'a, T, D = T> {
    pub(super) walk: Walk<2>,
    pub(super) a: &'a [T],
    pub(super) b: &'a [T],
    pub(super) dst: &'a mut [D],
}

impl<T: Copy + Send + Sync, D: Copy + Send> Place2<T, D> for Broadcast<'_, T, D> {
    fn apply(self, f: impl Fn(T, T) -> D + Sync) {
        let (isa, walk, a, b) = (Isa::current(), self.walk, self.a, self.b);
        let strides = walk.inner_strides();
        parallel_chunks(self.dst, CHUNK, |i, dst| {
            walk.segments(i * CHUNK, dst.len(), |at, len, [ia, ib]| {
                let dst = &mut dst[at..at + len];
                match strides {
                    [1, 1] => zip_chunk(isa, &a[ia..ia + len], &b[ib..ib + len], dst, &f),
                    [1, 0] => {
                        let y = b[ib];
                        map_chunk(isa, &a[ia..ia + len], dst, &|x| f(x, y));
                    }
                    [0, 1] => {
                        let x = a[ia];
                        map_chunk(isa, &b[ib..ib + len], dst, &|y| f(x, y));
                    }
                    [sa, sb] => zip_strided(isa, &a[ia..], sa, &b[ib..], sb, dst, &f),
                }
            });
        });
    }
}

isa_fn! {
    fn zip_strided<T: Copy, D: Copy, F: Fn(T, T) -> D>(
        a: &[T], a_stride: usize, b: &[T], b_stride: usize, dst: &mut [D], f: &F,
    ) {
        for (i, dst) in dst.iter_mut().enumerate() {
            *dst = f(a[i * a_stride], b[i * b_stride]);
        }
    }
}

/// A row-major walk over `shape` beside `N` strided arrays, with as few axes as possible.
#[derive(Debug)]
pub(super) struct Walk<const N: usize> {
    /// At least one axis, outermost first: its size and the stride of each array.
    axes: Vec<(usize, [usize; N])>,
}

impl<const N: usize> Walk<N> {
    pub(super) fn new(shape: &[usize], strides: [&[usize]; N]) -> Walk<N> {
        let mut axes: Vec<(usize, [usize; N])> = Vec::with_capacity(shape.len());
        for (i, &size) in shape.iter().enumerate() {
            let strides = strides.map(|strides| strides[i]);
            if size == 1 {
                continue;
            }
            match axes.last_mut() {
                // An outer step that is a whole run of the inner axis: the two are one axis.
                Some((outer, before)) if (0..N).all(|k| before[k] == size * strides[k]) => {
                    *outer *= size;
                    *before = strides;
                }
                _ => axes.push((size, strides)),
            }
        }
        if axes.is_empty() {
            axes.push((1, [0; N]));
        }
        Walk { axes }
    }

    pub(super) fn check(&self, lens: [usize; N], dst: usize) {
        let count: usize = self.axes.iter().map(|axis| axis.0).product();
        assert_eq!(count, dst, "the destination has as many elements as the shape");
        for (k, len) in lens.into_iter().enumerate() {
            let last: usize =
                self.axes.iter().map(|(size, strides)| size.saturating_sub(1) * strides[k]).sum();
            assert!(count == 0 || last < len, "the strides stay inside the array");
        }
    }

    pub(super) fn inner_strides(&self) -> [usize; N] {
        self.axes[self.axes.len() - 1].1
    }

    /// Calls `body(position, length, starts)` for every run along the innermost axis of the elements
    /// `start .. start + len`; positions count from `start`.
    pub(super) fn segments(&self, start: usize, len: usize, mut body: impl FnMut(usize, usize, [usize; N])) {
        let (inner, inner_strides) = self.axes[self.axes.len() - 1];
        let mut done = 0;
        while done < len {
            let (mut row, column) = ((start + done) / inner, (start + done) % inner);
            let mut starts: [usize; N] = std::array::from_fn(|k| column * inner_strides[k]);
            for (size, strides) in self.axes[..self.axes.len() - 1].iter().rev() {
                let index = row % size;
                row /= size;
                for k in 0..N {
                    starts[k] += index * strides[k];
                }
            }
            let run = (inner - column).min(len - done);
            body(done, run, starts);
            done += run;
        }
    }
}
