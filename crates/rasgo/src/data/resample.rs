//! One bilinear affine resampling of a picture, and what is done to the picture before it.

use std::ops::Range;

/// Where a pixel of the result comes from: `source = matrix * (x, y) + offset`, in the picture that was moved and then had a
/// hole cut in it.
#[derive(Clone, Debug)]
pub(super) struct Affine {
    matrix: [[f64; 2]; 2],
    offset: [f64; 2],
    /// Whole pixels to the right and down, fewer than there are; what comes in is the mirror image of the edge.
    moved: [isize; 2],
    hole: Hole,
}

/// Rows and columns of a picture that its mean takes the place of.
#[derive(Clone, Debug, Default)]
pub(super) struct Hole {
    pub(super) rows: Range<usize>,
    pub(super) columns: Range<usize>,
}

impl Affine {
    /// The inverse of `result = forward * (source - centre) + centre + shift`, in (x, y).
    pub(super) fn backwards(forward: [[f64; 2]; 2], shift: [f64; 2], height: usize, width: usize) -> Self {
        let [[a, b], [c, d]] = forward;
        let det = a * d - b * c;
        let matrix = [[d / det, -b / det], [-c / det, a / det]];
        let centre = [(width as f64 - 1.0) / 2.0, (height as f64 - 1.0) / 2.0];
        let from = [centre[0] + shift[0], centre[1] + shift[1]];
        let offset = [0, 1].map(|i| centre[i] - (matrix[i][0] * from[0] + matrix[i][1] * from[1]));
        Affine { matrix, offset, moved: [0, 0], hole: Hole::default() }
    }

    /// The same, of the picture that was moved by (right, down) before.
    pub(super) fn after_move(self, moved: [isize; 2]) -> Self {
        Affine { moved, ..self }
    }

    /// The same, of the picture that had this hole cut in it after that.
    pub(super) fn after_cut(self, hole: Hole) -> Self {
        Affine { hole, ..self }
    }
}

/// Positions are fixed-point numbers with 32 bits after the point: a quarter turn, whose sine is off by 1e-16, is
/// exact, whole shifts are exact, and no step of the loop converts a float to an integer.
const FRACTION: u32 = 32;

/// Zeros around the picture, so that no pixel needs a test: two on each side, for the two taps of a position that is
/// held to just outside.
const BORDER: usize = 2;

/// Calls `put(channel, pixel, value)` for every value of the result, pixels in row-major order.
pub(super) fn resample<T: Copy + Into<f32>>(
    affine: &Affine,
    src: &[T],
    channels: usize,
    height: usize,
    width: usize,
    mut put: impl FnMut(usize, usize, f32),
) {
    let pitch = width + 2 * BORDER;
    let plane = pitch * (height + 2 * BORDER);
    let mut padded = vec![0f32; channels * plane];
    let [right, down] = affine.moved;
    for i in 0..channels * height {
        let (c, y) = (i / height, i % height);
        let row = &src[(c * height + mirrored(y, down, height)) * width..][..width];
        let dst = &mut padded[c * plane + (y + BORDER) * pitch + BORDER..][..width];
        dst.iter_mut().enumerate().for_each(|(x, dst)| *dst = row[mirrored(x, right, width)].into());
    }
    let Hole { rows, columns } = &affine.hole;
    for c in 0..if rows.is_empty() || columns.is_empty() { 0 } else { channels } {
        let plane_of = &src[c * height * width..][..height * width];
        let sum: f64 = plane_of.iter().map(|&value| f64::from(value.into())).sum();
        for y in rows.clone() {
            let row = &mut padded[c * plane + (y + BORDER) * pitch + BORDER..][..width];
            row[columns.clone()].fill((sum / plane_of.len() as f64) as f32);
        }
    }
    let step = [fixed(affine.matrix[0][0]), fixed(affine.matrix[1][0])];
    let most = [width + BORDER, height + BORDER].map(|cells| (cells as i64) << FRACTION);
    for y in 0..height {
        let mut at = [0, 1].map(|i| fixed(affine.matrix[i][1] * y as f64 + affine.offset[i] + BORDER as f64));
        for x in 0..width {
            let (left, right_share) = cell(at[0], most[0]);
            let (top, bottom_share) = cell(at[1], most[1]);
            for c in 0..channels {
                let rows = &padded[c * plane + top * pitch + left..][..pitch + 2];
                let above = mean(rows[0], rows[1], right_share);
                let below = mean(rows[pitch], rows[pitch + 1], right_share);
                put(c, y * width + x, mean(above, below, bottom_share));
            }
            at = [at[0] + step[0], at[1] + step[1]];
        }
    }
}

/// Where the pixel comes from that a move by less than `len` brings to place `i`; the edge itself is not repeated.
#[inline]
fn mirrored(i: usize, by: isize, len: usize) -> usize {
    let from = (i as isize - by).unsigned_abs();
    if from < len { from } else { 2 * (len - 1) - from }
}

/// Rounded to fixed point. A position further out than any picture is held, so that sums do not overflow.
fn fixed(position: f64) -> i64 {
    const FAR: f64 = (1u64 << 28) as f64;
    let scaled = position.clamp(-FAR, FAR) * (1u64 << FRACTION) as f64;
    // Half is added and the rest cut off by hand: rounding functions of the platform are not called here.
    (if scaled < 0.0 { scaled - 0.5 } else { scaled + 0.5 }) as i64
}

/// The padded index of the tap at or before a position, and the share of the one after it. The position is held to
/// where both taps are zeros.
#[inline]
fn cell(position: i64, most: i64) -> (usize, f32) {
    let held = position.clamp(0, most);
    // 24 bits are an exact f32.
    let share = (held as u32 >> (FRACTION - 24)) as i32 as f32 * (1.0 / (1u32 << 24) as f32);
    ((held >> FRACTION) as usize, share)
}

#[inline]
fn mean(first: f32, second: f32, share: f32) -> f32 {
    first * (1.0 - share) + second * share
}
