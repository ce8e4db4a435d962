//! Where in its window a maximum was.

use super::PoolProblem;
use super::windows::{coordinates, kernel_axes, pixel};
use crate::buffer::Element;
use crate::rows::CHUNK;
use crate::threads::parallel_chunks;

/// The position of a maximum: `u8` numbers the cells of a window of up to 256, a quarter of what the values take;
/// `i64` numbers the pixels of the input plane, whatever the window.
pub trait Position: Element + PartialEq + std::fmt::Debug {
    /// Cells that can be told apart.
    const CELLS: usize;
    /// The position of a cell.
    fn new(cell: usize) -> Self;
    /// The cell of a position.
    fn cell(self) -> usize;
    /// `Some` if `Self` is `u8`: the way from generic code to vectors.
    fn as_bytes(cells: &[(usize, Self)]) -> Option<&[(usize, u8)]>;
}

macro_rules! position {
    ($t:ident, $as_bytes:expr) => {
        impl Position for $t {
            const CELLS: usize = $t::MAX as usize + 1;
            #[inline(always)]
            fn new(cell: usize) -> Self {
                cell as $t
            }
            #[inline(always)]
            fn cell(self) -> usize {
                self as usize
            }
            #[inline(always)]
            fn as_bytes(cells: &[(usize, Self)]) -> Option<&[(usize, u8)]> {
                $as_bytes(cells)
            }
        }
    };
}
position!(u8, Some);
position!(i64, |_| None);

/// PyTorch's indices, `(d * height + h) * width + w` of the input plane, from positions in the window; both
/// channels-last. A window that misses the map, as only a dilated one can, has no maximum; as in PyTorch its index
/// says where its first cell that is not before the map would be.
pub fn window_to_flat_indices<P: Position>(p: &PoolProblem, positions: &[P], indices: &mut [i64]) {
    assert!(positions.len() == p.dst_len() && indices.len() == p.dst_len(), "an index for each maximum");
    if indices.is_empty() {
        return;
    }
    let axes = kernel_axes(p);
    let group = (CHUNK / p.c).max(1);
    parallel_chunks(indices, group * p.c, |i, indices| {
        let positions = &positions[i * group * p.c..];
        for (r, (indices, positions)) in
            indices.chunks_exact_mut(p.c).zip(positions.chunks_exact(p.c)).enumerate()
        {
            let (_, at) = coordinates(p.output, i * group + r);
            let spans = [0, 1, 2].map(|a| axes[a].spans[at[a]]);
            if spans.iter().any(|span| span.count == 0) {
                indices.fill(pixel(p.input, 0, spans.map(|span| span.start)) as i64);
                continue;
            }
            for (index, position) in indices.iter_mut().zip(positions) {
                let (_, k) = coordinates(p.kernel, position.cell());
                let cell = [0, 1, 2].map(|a| spans[a].start + (k[a] - spans[a].first) * axes[a].step);
                *index = pixel(p.input, 0, cell) as i64;
            }
        }
    });
}
