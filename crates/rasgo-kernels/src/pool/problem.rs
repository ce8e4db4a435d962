//! The shape of a pooling.

use super::max_vector::Cell;
use super::windows::{coordinates, pixel};

/// A pooling in one, two or three dimensions; axes that are missing come first and have size 1.
///
/// The window of output `o` covers inputs `o * stride - padding + k * dilation`, `0 <= k < kernel`; those outside
/// the map do not count. `output` may be what `ceil_mode` makes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PoolProblem {
    /// Images.
    pub n: usize,
    /// Channels.
    pub c: usize,
    /// Depth, height and width of the input.
    pub input: [usize; 3],
    /// Depth, height and width of the output.
    pub output: [usize; 3],
    /// Cells of the window on each axis.
    pub kernel: [usize; 3],
    /// Steps between windows.
    pub stride: [usize; 3],
    /// Cells before the start of each axis.
    pub padding: [usize; 3],
    /// Distance of cells.
    pub dilation: [usize; 3],
}

impl PoolProblem {
    /// Cells of a window.
    pub fn window(&self) -> usize {
        self.kernel.iter().product()
    }

    /// Elements of the input.
    pub fn src_len(&self) -> usize {
        self.n * self.input.iter().product::<usize>() * self.c
    }

    /// Elements of the output.
    pub fn dst_len(&self) -> usize {
        self.n * self.output.iter().product::<usize>() * self.c
    }

    /// The cells of a window inside the map, at most 256 and no dilation: offsets from its first, and numbers.
    pub(crate) fn window_cells(&self) -> Vec<Cell> {
        let offset = |cell| pixel(self.input, 0, coordinates(self.kernel, cell).1) * self.c;
        (0..self.window()).map(|cell| (offset(cell), cell as u8)).collect()
    }

    /// Whether windows lie side by side, inside the map: each input pixel is in one window at most.
    pub fn is_tiling(&self) -> bool {
        self.kernel == self.stride
            && self.padding == [0; 3]
            && (0..3).all(|i| {
                (self.dilation[i] == 1 || self.kernel[i] == 1)
                    && self.output[i] * self.stride[i] <= self.input[i]
            })
    }
}
