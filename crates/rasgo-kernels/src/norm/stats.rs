//! Means and variances of channels.

use crate::isa::isa_fn;
use crate::rows::{RowChunks, copies, fold, tree};
use crate::threads::{SharedMut, parallel};
use crate::{Buffer, Float, Isa, Stored};

/// `mean[c]`, what it lost by rounding, `low[c]`, and the biased variance `var[c]` of the columns of `src[rows, c]`,
/// `rows_per_sample` rows to a sample. Zero rows give NaN.
///
/// In each chunk the mean comes first and then the distances from it, while the chunk is still in the cache: their
/// squares, and their sum, which corrects the mean for its own rounding. Chunks are combined by Chan's formula in
/// f64, in a pairwise tree. A large mean costs no digits of the variance.
pub fn stats<S: Stored>(
    rows: usize,
    rows_per_sample: usize,
    c: usize,
    src: &[S],
    mean: &mut [S::Wide],
    low: &mut [S::Wide],
    var: &mut [S::Wide],
) {
    assert_eq!(src.len(), rows * c, "the source has rows * c elements");
    assert!([mean.len(), low.len(), var.len()] == [c; 3], "a mean and a variance for each channel");
    let isa = Isa::current();
    let chunks = RowChunks::new(rows, rows_per_sample, c);
    if rows == 0 || c == 0 {
        for statistic in [mean, low, var] {
            statistic.fill(S::Wide::NAN);
        }
        return;
    }
    let (width, part) = (c * copies(c), 2 * c + 1);
    let mut wide = Buffer::new::<S::Wide>(chunks.count() * 3 * width);
    let mut parts = Buffer::new::<f64>(chunks.count() * part);
    let wide = SharedMut::new(wide.as_mut_slice::<S::Wide>());
    let parts = parts.as_mut_slice::<f64>();
    let shared = SharedMut::new(parts);
    parallel(chunks.count(), |i| {
        // SAFETY: each chunk has a part of its own in both.
        let (wide, part) = unsafe { (wide.slice(i * 3 * width, 3 * width), shared.slice(i * part, part)) };
        let rows = chunks.rows(i);
        part[0] = rows.len() as f64;
        let (sums, rest) = wide.split_at_mut(width);
        let (squares, mean) = rest.split_at_mut(width);
        chunk_stats(isa, c, &src[rows.start * c..rows.end * c], sums, squares, mean, &mut part[1..]);
    });
    tree(part, parts, |a, b| combine(c, a, b));
    for j in 0..c {
        mean[j] = S::Wide::from_f64(parts[1 + j]);
        low[j] = S::Wide::from_f64(parts[1 + j] - mean[j].to_f64());
        var[j] = S::Wide::from_f64(parts[1 + c + j] / parts[0]);
    }
}

isa_fn! {
    /// The means and the sums of squared distances from them, in `part[..c]` and `part[c..]`.
    fn chunk_stats<S: Stored>(
        c: usize, src: &[S], sums: &mut [S::Wide], squares: &mut [S::Wide], mean: &mut [S::Wide], part: &mut [f64],
    ) {
        let width = sums.len();
        let count = (src.len() / c) as f64;
        sums.fill(S::Wide::ZERO);
        let mut pairs = src.chunks_exact(2 * width);
        for pair in pairs.by_ref() {
            let (a, b) = pair.split_at(width);
            for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
                *sum += a.wide() + b.wide();
            }
        }
        for row in pairs.remainder().chunks(width) {
            for (sum, x) in sums.iter_mut().zip(row) {
                *sum += x.wide();
            }
        }
        fold(c, sums);
        for mean in mean.chunks_exact_mut(c) {
            for (mean, sum) in mean.iter_mut().zip(sums.iter()) {
                *mean = *sum / S::Wide::from_f64(count);
            }
        }
        sums.fill(S::Wide::ZERO);
        squares.fill(S::Wide::ZERO);
        let mut pairs = src.chunks_exact(2 * width);
        for pair in pairs.by_ref() {
            let (a, b) = pair.split_at(width);
            let (sums, squares, mean) = (&mut sums[..width], &mut squares[..width], &mean[..width]);
            for j in 0..width {
                let (a, b) = (a[j].wide() - mean[j], b[j].wide() - mean[j]);
                sums[j] += a + b;
                squares[j] += a * a + b * b;
            }
        }
        for row in pairs.remainder().chunks(width) {
            for (j, x) in row.iter().enumerate() {
                let x = x.wide() - mean[j];
                sums[j] += x;
                squares[j] += x * x;
            }
        }
        fold(c, sums);
        fold(c, squares);
        for j in 0..c {
            let rest = sums[j].to_f64() / count;
            part[j] = mean[j].to_f64() + rest;
            part[c + j] = squares[j].to_f64() - rest * rest * count;
        }
    }
}

/// Chan, Golub and LeVeque's formula on `[count, mean[c], squares[c]]`.
fn combine(c: usize, a: &mut [f64], b: &[f64]) {
    let total = a[0] + b[0];
    let (share, weight) = (b[0] / total, a[0] * b[0] / total);
    a[0] = total;
    let (mean, squares) = a[1..].split_at_mut(c);
    let (b_mean, b_squares) = b[1..].split_at(c);
    for j in 0..c {
        let delta = b_mean[j] - mean[j];
        mean[j] += delta * share;
        squares[j] += b_squares[j] + delta * delta * weight;
    }
}
