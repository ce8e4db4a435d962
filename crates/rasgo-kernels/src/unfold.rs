//! Patches of a plane as columns (im2col), and columns added up to planes again (col2im). Both are plain: planes
//! `[n, c, h, w]`, columns `[n, c * kh * kw, oh * ow]`.

use crate::Float;
use crate::threads::parallel_chunks;

/// The patches of planes: `planes` is images times channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct UnfoldProblem {
    /// Images times channels.
    pub planes: usize,
    /// Height and width of a plane.
    pub input: [usize; 2],
    /// Places of the window along each axis.
    pub output: [usize; 2],
    /// Cells of the window.
    pub kernel: [usize; 2],
    /// Distance of cells.
    pub dilation: [usize; 2],
    /// Zeros on both sides.
    pub padding: [usize; 2],
    /// Step of the window.
    pub stride: [usize; 2],
}

impl UnfoldProblem {
    /// Elements of the planes.
    pub fn planes_len(&self) -> usize {
        self.planes * self.input[0] * self.input[1]
    }

    /// Elements of the columns.
    pub fn columns_len(&self) -> usize {
        self.planes * self.kernel[0] * self.kernel[1] * self.output[0] * self.output[1]
    }

    /// Input coordinate of cell `k` of the window at `o`, if it lies inside.
    #[inline(always)]
    fn inside(&self, axis: usize, o: usize, k: usize) -> Option<usize> {
        let at = (o * self.stride[axis] + k * self.dilation[axis]).checked_sub(self.padding[axis])?;
        (at < self.input[axis]).then_some(at)
    }

    /// The places of the window at which cell `k` lies inside.
    fn places(&self, axis: usize, k: usize) -> std::ops::Range<usize> {
        let (offset, stride) = (k * self.dilation[axis], self.stride[axis]);
        let first = self.padding[axis].saturating_sub(offset).div_ceil(stride);
        let end = (self.input[axis] + self.padding[axis]).saturating_sub(offset).div_ceil(stride);
        first.min(self.output[axis])..end.min(self.output[axis])
    }
}

/// `columns[n, (c, i, j), (p, q)] = src[n, c, p * stride - padding + i * dilation, …]`, 0 in the padding.
pub fn unfold<T: Float>(p: &UnfoldProblem, src: &[T], columns: &mut [T]) {
    assert_eq!(src.len(), p.planes_len(), "the problem's planes");
    assert_eq!(columns.len(), p.columns_len(), "the problem's columns");
    if columns.is_empty() {
        return;
    }
    let ([_, width], [oh, ow], [kh, kw]) = (p.input, p.output, p.kernel);
    let plane = p.input[0] * width;
    parallel_chunks(columns, oh * ow, |row, column| {
        let (c, i, j) = (row / (kh * kw), row / kw % kh, row % kw);
        let src = &src[c * plane..(c + 1) * plane];
        let places = p.places(1, j);
        for (o, dst) in column.chunks_exact_mut(ow).enumerate() {
            let Some(y) = p.inside(0, o, i).filter(|_| !places.is_empty()) else {
                dst.fill(T::ZERO);
                continue;
            };
            dst[..places.start].fill(T::ZERO);
            dst[places.end..].fill(T::ZERO);
            let x = places.start * p.stride[1] + j * p.dilation[1] - p.padding[1];
            let src = src[y * width + x..].iter().step_by(p.stride[1]);
            for (dst, src) in dst[places.clone()].iter_mut().zip(src) {
                *dst = *src;
            }
        }
    });
}

/// `dst[n, c, y, x] = sum of the columns' cells that [`unfold`] takes from there`, in the order of the window's cells.
pub fn fold<T: Float>(p: &UnfoldProblem, columns: &[T], dst: &mut [T]) {
    assert_eq!(dst.len(), p.planes_len(), "the problem's planes");
    assert_eq!(columns.len(), p.columns_len(), "the problem's columns");
    if dst.is_empty() {
        return;
    }
    let ([height, width], [oh, ow], [kh, kw]) = (p.input, p.output, p.kernel);
    parallel_chunks(dst, height * width, |c, dst| {
        dst.fill(T::ZERO);
        let columns = &columns[c * kh * kw * oh * ow..][..kh * kw * oh * ow];
        for (row, column) in columns.chunks_exact(oh * ow).enumerate() {
            let (i, j) = (row / kw, row % kw);
            let places = p.places(1, j);
            if places.is_empty() {
                continue;
            }
            let x = places.start * p.stride[1] + j * p.dilation[1] - p.padding[1];
            for o in p.places(0, i) {
                let y = o * p.stride[0] + i * p.dilation[0] - p.padding[0];
                let dst = dst[y * width + x..(y + 1) * width].iter_mut().step_by(p.stride[1]);
                for (dst, src) in dst.zip(&column[o * ow..][places.clone()]) {
                    *dst += *src;
                }
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::{assert_close, numbers, poison, same_everywhere};

    const PROBLEMS: [UnfoldProblem; 4] = [
        UnfoldProblem {
            planes: 3,
            input: [6, 5],
            output: [4, 4],
            kernel: [3, 2],
            dilation: [1, 1],
            padding: [0, 0],
            stride: [1, 1],
        },
        UnfoldProblem {
            planes: 2,
            input: [7, 8],
            output: [3, 4],
            kernel: [3, 2],
            dilation: [2, 3],
            padding: [1, 2],
            stride: [2, 3],
        },
        // Padding larger than the window: some columns see zeros only.
        UnfoldProblem {
            planes: 1,
            input: [2, 1],
            output: [9, 3],
            kernel: [2, 3],
            dilation: [1, 4],
            padding: [4, 6],
            stride: [1, 2],
        },
        UnfoldProblem {
            planes: 0,
            input: [3, 3],
            output: [2, 2],
            kernel: [2, 2],
            dilation: [1, 1],
            padding: [0, 0],
            stride: [1, 1],
        },
    ];

    #[test]
    fn columns_are_the_cells_of_the_windows_and_fold_adds_them_where_they_came_from() {
        for p in PROBLEMS {
            let (src, dy) = (numbers::<f32>(1, p.planes_len()), numbers::<f32>(2, p.columns_len()));
            let (mut columns, mut sums) = (vec![0.0; dy.len()], vec![0.0; src.len()]);
            for (at, column) in columns.iter_mut().enumerate() {
                let (row, place) = (at / (p.output[0] * p.output[1]), at % (p.output[0] * p.output[1]));
                let (c, i, j) =
                    (row / (p.kernel[0] * p.kernel[1]), row / p.kernel[1] % p.kernel[0], row % p.kernel[1]);
                let inside = (p.inside(0, place / p.output[1], i), p.inside(1, place % p.output[1], j));
                if let (Some(y), Some(x)) = inside {
                    let from = (c * p.input[0] + y) * p.input[1] + x;
                    *column = f64::from(src[from]);
                    sums[from] += f64::from(dy[at]);
                }
            }
            let got = same_everywhere(|| {
                let (mut dst, mut back) = (poison(dy.len()), poison(src.len()));
                unfold(&p, &src, &mut dst);
                fold(&p, &dy, &mut back);
                [dst, back].concat()
            });
            assert_close(&got, &[columns, sums].concat(), 1e-5, &format!("{p:?}"));
        }
    }
}
