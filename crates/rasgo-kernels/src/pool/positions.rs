//! Where in its window a maximum was.

use super::PoolProblem;
use super::windows::coordinates;
use crate::buffer::Element;
use crate::rows::CHUNK;
use crate::threads::parallel_chunks;

/// The position of a maximum: `u8` for windows of up to 256 cells, a fifth of what the values take; else `u32`.
pub trait Position: Element + PartialEq + std::fmt::Debug {
    /// Cells that can be told apart.
    const CELLS: usize;
    /// The position of a cell.
    fn new(cell: usize) -> Self;
    /// The cell of a position.
    fn cell(self) -> usize;
}

macro_rules! position {
    ($t:ident) => {
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
        }
    };
}
position!(u8);
position!(u32);

/// PyTorch's indices, `(d * height + h) * width + w` of the input plane, from positions in the window; both
/// channels-last. A window without a cell inside the map, where there is no maximum, is given index 0.
pub fn window_to_flat_indices<P: Position>(p: &PoolProblem, positions: &[P], indices: &mut [i64]) {
    assert!(positions.len() == p.dst_len() && indices.len() == p.dst_len(), "an index for each maximum");
    if p.c == 0 {
        return;
    }
    let group = (CHUNK / p.c).max(1);
    parallel_chunks(indices, group * p.c, |i, indices| {
        let positions = &positions[i * group * p.c..];
        for (r, (indices, positions)) in
            indices.chunks_exact_mut(p.c).zip(positions.chunks_exact(p.c)).enumerate()
        {
            let (_, at) = coordinates(p.output, i * group + r);
            for (index, position) in indices.iter_mut().zip(positions) {
                let (_, k) = coordinates(p.kernel, position.cell());
                let inside = |a: usize| {
                    let i = (at[a] * p.stride[a] + k[a] * p.dilation[a]).checked_sub(p.padding[a])?;
                    (i < p.input[a]).then_some(i)
                };
                *index = match (inside(0), inside(1), inside(2)) {
                    (Some(d), Some(h), Some(w)) => ((d * p.input[1] + h) * p.input[2] + w) as i64,
                    _ => 0,
                };
            }
        }
    });
}
