//! Normalisation of groups: group, instance and layer normalisation are one problem.
//!
//! Statistics are in f64, from two passes over a part of a sample while it is in the cache; the parts are combined by
//! Chan's formula. A mean is taken off in two steps, its f32 and what that leaves, so a large mean costs no digits.

use std::ops::Range;

use crate::buffer::Element;
use crate::isa::isa_fn;
use crate::rows::{CHUNK, RowChunks, sum_chunks};
use crate::threads::{Scratch, SharedMut, parallel_scratch};
use crate::{Buffer, Float, Isa};

/// Data `[samples, rows, cols]`; a group is `cols / groups` neighbouring columns in all rows of one sample. Gamma and
/// beta have a value for each column.
#[derive(Debug, Clone, Copy)]
pub struct Groups {
    /// What is normalised apart.
    pub samples: usize,
    /// Pixels of a sample.
    pub rows: usize,
    /// Channels, or all elements where `rows` is 1.
    pub cols: usize,
    /// Groups of columns.
    pub groups: usize,
}

/// Mean and biased variance of each group of each sample, `[samples, groups]`.
#[derive(Debug, Clone, Copy)]
pub struct GroupStats<'a> {
    /// Means.
    pub mean: &'a [f64],
    /// Biased variances.
    pub var: &'a [f64],
    /// What is added to the variances.
    pub eps: f64,
}

impl GroupStats<'_> {
    fn rstd(&self, i: usize) -> f64 {
        1.0 / (self.var[i] + self.eps).sqrt()
    }
}

impl Groups {
    fn width(&self) -> usize {
        self.cols / self.groups
    }

    /// Values of one group.
    pub fn values(&self) -> usize {
        self.rows * self.width()
    }

    fn check(&self, lens: &[usize]) {
        let len = self.samples * self.rows * self.cols;
        assert!(self.groups > 0 && self.cols.is_multiple_of(self.groups), "groups of whole columns");
        assert!(lens.iter().all(|&other| other == len), "arrays of samples * rows * cols elements");
    }

    /// Rows of a part of a sample.
    fn part(&self) -> usize {
        (CHUNK / self.cols.max(1)).clamp(1, self.rows.max(1))
    }

    fn parts(&self) -> usize {
        self.rows.div_ceil(self.part())
    }

    /// Runs `body(part of all, sample, its elements, scratch)` on every part of every sample.
    fn each_part(&self, scratch: usize, body: impl Fn(usize, usize, Range<usize>, Scratch<'_>) + Sync) {
        let (part, parts) = (self.part(), self.parts());
        let all = self.samples * parts;
        if all * self.cols == 0 {
            return;
        }
        // Small samples are done several to a task.
        let batch = (CHUNK / (part * self.cols)).max(1);
        parallel_scratch(all.div_ceil(batch), scratch, |task, mut memory| {
            for unit in task * batch..all.min((task + 1) * batch) {
                let (sample, first) = (unit / parts, unit % parts * part);
                let rows = sample * self.rows + first..sample * self.rows + self.rows.min(first + part);
                body(unit, sample, rows.start * self.cols..rows.end * self.cols, memory.lend());
            }
        });
    }
}

/// Mean and biased variance of each group; a group without values has NaN.
pub fn group_stats<T: Float + Element>(p: &Groups, src: &[T], mean: &mut [f64], var: &mut [f64]) {
    p.check(&[src.len()]);
    let groups = p.groups;
    assert!(
        mean.len() == p.samples * groups && var.len() == mean.len(),
        "a mean and a variance for each group"
    );
    let (isa, width, parts) = (Isa::current(), p.width(), p.parts());
    if p.values() == 0 {
        mean.fill(f64::NAN);
        return var.fill(f64::NAN);
    }
    let mut found = Buffer::new::<f64>(p.samples * parts * 2 * groups);
    let shared = SharedMut::new(found.as_mut_slice::<f64>());
    p.each_part(2 * Scratch::bytes::<f64>(p.cols), |unit, _, range, mut scratch| {
        // SAFETY: each part has a place of its own.
        let found = unsafe { shared.slice(unit * 2 * groups, 2 * groups) };
        let src = &src[range];
        if width >= 16 || p.rows == 1 {
            wide_stats(isa, p.cols, width, src, found);
        } else {
            let (sums, means) = (scratch.take::<f64>(p.cols), scratch.take::<f64>(p.cols));
            narrow_stats(isa, width, src, sums, means, found);
        }
    });
    let found = found.as_slice::<f64>();
    for sample in 0..p.samples {
        for group in 0..groups {
            let (mut count, mut average, mut squares) = (0.0, 0.0, 0.0);
            for part in 0..parts {
                let at = ((sample * parts + part) * groups + group) * 2;
                let values = (p.rows.min((part + 1) * p.part()) - part * p.part()) as f64 * width as f64;
                let (delta, total) = (found[at] - average, count + values);
                average += delta * (values / total);
                squares += found[at + 1] + delta * delta * (count * values / total);
                count = total;
            }
            mean[sample * groups + group] = average;
            var[sample * groups + group] = squares / count;
        }
    }
}

/// The sum of f over a slice: lanes, then a tree.
#[inline(always)]
fn lanes<T: Float>(values: &[T], f: impl Fn(f64) -> f64) -> f64 {
    let mut sums = [0.0; 8];
    let mut eights = values.chunks_exact(8);
    for eight in eights.by_ref() {
        for l in 0..8 {
            sums[l] += f(eight[l].to_f64());
        }
    }
    for (sum, x) in sums.iter_mut().zip(eights.remainder()) {
        *sum += f(x.to_f64());
    }
    ((sums[0] + sums[4]) + (sums[2] + sums[6])) + ((sums[1] + sums[5]) + (sums[3] + sums[7]))
}

isa_fn! {
    /// Mean and sum of squared distances of each group of a part, for groups of many columns.
    fn wide_stats<T: Float>(cols: usize, width: usize, src: &[T], found: &mut [f64]) {
        for (group, found) in found.chunks_exact_mut(2).enumerate() {
            let rows = || src.chunks_exact(cols).map(|row| &row[group * width..][..width]);
            let count = (src.len() / cols * width) as f64;
            let mut sum = 0.0;
            for row in rows() {
                sum += lanes(row, |x| x);
            }
            let mean = sum / count;
            let mut squares = 0.0;
            for row in rows() {
                squares += lanes(row, |x| (x - mean) * (x - mean));
            }
            found.copy_from_slice(&[mean, squares]);
        }
    }
}

isa_fn! {
    /// As `wide_stats`, for groups of few columns: sums of columns first.
    fn narrow_stats<T: Float>(width: usize, src: &[T], sums: &mut [f64], means: &mut [f64], found: &mut [f64]) {
        let cols = sums.len();
        let count = (src.len() / cols * width) as f64;
        sums.fill(0.0);
        for row in src.chunks_exact(cols) {
            for (sum, x) in sums.iter_mut().zip(row) {
                *sum += x.to_f64();
            }
        }
        let groups = sums.chunks_exact(width).zip(means.chunks_exact_mut(width));
        for ((sums, means), found) in groups.zip(found.chunks_exact_mut(2)) {
            found[0] = sums.iter().sum::<f64>() / count;
            means.fill(found[0]);
        }
        sums.fill(0.0);
        for row in src.chunks_exact(cols) {
            for ((sum, x), mean) in sums.iter_mut().zip(row).zip(means.iter()) {
                let x = x.to_f64() - *mean;
                *sum += x * x;
            }
        }
        for (sums, found) in sums.chunks_exact(width).zip(found.chunks_exact_mut(2)) {
            found[1] = sums.iter().sum::<f64>();
        }
    }
}

/// `high + low` is the mean.
#[inline(always)]
fn split<T: Float>(mean: f64) -> (T, T) {
    let high = T::from_f64(mean);
    (high, T::from_f64(mean - high.to_f64()))
}

/// `dst = (src - mean) / sqrt(var + eps) * gamma + beta`; `gamma` is 1 and `beta` 0 where they are missing.
pub fn group_normalize<T: Float + Element>(
    p: &Groups,
    src: &[T],
    stats: &GroupStats<'_>,
    gamma: Option<&[T]>,
    beta: Option<&[T]>,
    dst: &mut [T],
) {
    p.check(&[src.len(), dst.len()]);
    let (isa, width, cols) = (Isa::current(), p.width(), p.cols);
    let dst = SharedMut::new(dst);
    p.each_part(4 * Scratch::bytes::<T>(cols), |_, sample, range, mut scratch| {
        // SAFETY: no two parts have an element in common.
        let dst = unsafe { dst.slice(range.start, range.len()) };
        let columns: [&mut [T]; 4] = std::array::from_fn(|_| scratch.take::<T>(cols));
        for j in 0..cols {
            let i = sample * p.groups + j / width;
            (columns[0][j], columns[1][j]) = split(stats.mean[i]);
            columns[2][j] = T::from_f64(stats.rstd(i)) * gamma.map_or(T::ONE, |gamma| gamma[j]);
            columns[3][j] = beta.map_or(T::ZERO, |beta| beta[j]);
        }
        normalize_part(isa, &src[range], columns.each_ref().map(|column| &**column), dst);
    });
}

isa_fn! {
    fn normalize_part<T: Float>(src: &[T], columns: [&[T]; 4], dst: &mut [T]) {
        let [high, low, scale, beta] = columns;
        let cols = high.len();
        for (src, dst) in src.chunks_exact(cols).zip(dst.chunks_exact_mut(cols)) {
            let (low, scale, beta) = (&low[..cols], &scale[..cols], &beta[..cols]);
            for j in 0..cols {
                dst[j] = (src[j] - high[j] - low[j]) * scale[j] + beta[j];
            }
        }
    }
}

/// `dbeta[cols] = sum of dy` and `dgamma[cols] = sum of dy * xhat`, `xhat = (src - mean) / sqrt(var + eps)`.
pub fn group_affine_sums<T: Float + Element>(
    p: &Groups,
    src: &[T],
    dy: &[T],
    stats: &GroupStats<'_>,
    dgamma: &mut [T],
    dbeta: &mut [T],
) {
    p.check(&[src.len(), dy.len()]);
    let (isa, cols) = (Isa::current(), p.cols);
    assert!(dgamma.len() == cols && dbeta.len() == cols, "a gradient for each column");
    let mut both = Buffer::new::<f64>(2 * cols);
    let both = both.as_mut_slice::<f64>();
    let chunks = RowChunks::new(p.samples * p.rows, p.rows, cols);
    sum_chunks(chunks, 4 * cols, both, |rows, place| {
        let (sums, columns) = place.split_at_mut(2 * cols);
        let (mean, rstd) = columns.split_at_mut(cols);
        sums.fill(0.0);
        let mut row = rows.start;
        while row < rows.end {
            let sample = row / p.rows;
            let end = rows.end.min((sample + 1) * p.rows);
            spread(p, sample, stats, mean, rstd);
            let range = row * cols..end * cols;
            column_sums(isa, &src[range.clone()], &dy[range], mean, rstd, sums);
            row = end;
        }
    });
    for j in 0..cols {
        dbeta[j] = T::from_f64(both[j]);
        dgamma[j] = T::from_f64(both[cols + j]);
    }
}

/// Mean and 1 / deviation of each column's group.
fn spread(p: &Groups, sample: usize, stats: &GroupStats<'_>, mean: &mut [f64], rstd: &mut [f64]) {
    let width = p.width();
    for group in 0..p.groups {
        let i = sample * p.groups + group;
        mean[group * width..][..width].fill(stats.mean[i]);
        rstd[group * width..][..width].fill(stats.rstd(i));
    }
}

isa_fn! {
    /// Adds the columns' sums of dy and of dy * xhat to `sums`.
    fn column_sums<T: Float>(src: &[T], dy: &[T], mean: &[f64], rstd: &[f64], sums: &mut [f64]) {
        let cols = mean.len();
        let (first, second) = sums.split_at_mut(cols);
        for (src, dy) in src.chunks_exact(cols).zip(dy.chunks_exact(cols)) {
            let (rstd, first, second) = (&rstd[..cols], &mut first[..cols], &mut second[..cols]);
            for j in 0..cols {
                let dy = dy[j].to_f64();
                first[j] += dy;
                second[j] += dy * ((src[j].to_f64() - mean[j]) * rstd[j]);
            }
        }
    }
}

/// `dx = (g - mean(g) - xhat * mean(g * xhat)) / sqrt(var + eps)` with `g = dy * gamma` and means over each group.
pub fn group_grad_input<T: Float + Element>(
    p: &Groups,
    src: &[T],
    dy: &[T],
    stats: &GroupStats<'_>,
    gamma: Option<&[T]>,
    dx: &mut [T],
) {
    p.check(&[src.len(), dy.len(), dx.len()]);
    let (isa, cols, groups, width) = (Isa::current(), p.cols, p.groups, p.width());
    let parts = p.parts();
    let gamma_at = |j: usize| gamma.map_or(1.0, |gamma| gamma[j].to_f64());
    // The sums of g and of g * xhat over each group's part.
    let mut found = Buffer::new::<f64>(p.samples * parts * 2 * groups);
    let shared = SharedMut::new(found.as_mut_slice::<f64>());
    p.each_part(4 * Scratch::bytes::<f64>(cols), |unit, sample, range, mut scratch| {
        // SAFETY: each part has a place of its own.
        let found = unsafe { shared.slice(unit * 2 * groups, 2 * groups) };
        let (mean, rstd) = (scratch.take::<f64>(cols), scratch.take::<f64>(cols));
        let sums = scratch.take::<f64>(2 * cols);
        spread(p, sample, stats, mean, rstd);
        sums.fill(0.0);
        column_sums(isa, &src[range.clone()], &dy[range], mean, rstd, sums);
        for (group, found) in found.chunks_exact_mut(2).enumerate() {
            let columns = group * width..(group + 1) * width;
            found[0] = columns.clone().map(|j| gamma_at(j) * sums[j]).sum();
            found[1] = columns.map(|j| gamma_at(j) * sums[cols + j]).sum();
        }
    });
    let found = found.as_slice::<f64>();
    let values = p.values() as f64;
    let mut means = Buffer::new::<f64>(p.samples * groups * 2);
    let means = means.as_mut_slice::<f64>();
    for (i, mean) in means.chunks_exact_mut(2).enumerate() {
        let (sample, group) = (i / groups, i % groups);
        let sum = |which: usize| -> f64 {
            (0..parts).map(|part| found[((sample * parts + part) * groups + group) * 2 + which]).sum()
        };
        mean.copy_from_slice(&[sum(0) / values, sum(1) / values]);
    }
    let means = &*means;
    let dx = SharedMut::new(dx);
    p.each_part(6 * Scratch::bytes::<T>(cols), |_, sample, range, mut scratch| {
        // SAFETY: no two parts have an element in common.
        let dx = unsafe { dx.slice(range.start, range.len()) };
        let columns: [&mut [T]; 6] = std::array::from_fn(|_| scratch.take::<T>(cols));
        for j in 0..cols {
            let i = sample * groups + j / width;
            let rstd = stats.rstd(i);
            (columns[0][j], columns[1][j]) = split(stats.mean[i]);
            columns[2][j] = T::from_f64(gamma_at(j));
            columns[3][j] = T::from_f64(means[2 * i]);
            columns[4][j] = T::from_f64(rstd * means[2 * i + 1]);
            columns[5][j] = T::from_f64(rstd);
        }
        let columns = columns.each_ref().map(|column| &**column);
        grad_part(isa, &src[range.clone()], &dy[range], columns, dx);
    });
}

isa_fn! {
    /// In this order, so that a group of one value, whose gradient is 0, gets just that.
    fn grad_part<T: Float>(src: &[T], dy: &[T], columns: [&[T]; 6], dx: &mut [T]) {
        let [high, low, gamma, mean, slope, rstd] = columns;
        let cols = high.len();
        let rows = src.chunks_exact(cols).zip(dy.chunks_exact(cols)).zip(dx.chunks_exact_mut(cols));
        for ((src, dy), dx) in rows {
            let (low, gamma, mean) = (&low[..cols], &gamma[..cols], &mean[..cols]);
            let (slope, rstd) = (&slope[..cols], &rstd[..cols]);
            for j in 0..cols {
                let centred = src[j] - high[j] - low[j];
                dx[j] = (dy[j] * gamma[j] - mean[j] - centred * slope[j]) * rstd[j];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::{assert_close, numbers, poison, same_everywhere, wide};

    const PROBLEMS: [Groups; 9] = [
        Groups { samples: 2, rows: 7, cols: 6, groups: 3 },
        Groups { samples: 3, rows: 5, cols: 4, groups: 4 },
        Groups { samples: 1, rows: 1, cols: 9, groups: 1 },
        Groups { samples: 130, rows: 1, cols: 33, groups: 1 },
        Groups { samples: 2, rows: 4000, cols: 10, groups: 2 },
        Groups { samples: 2, rows: 700, cols: 64, groups: 2 },
        Groups { samples: 0, rows: 3, cols: 4, groups: 2 },
        Groups { samples: 3, rows: 0, cols: 4, groups: 4 },
        Groups { samples: 2, rows: 1, cols: 40_000, groups: 1 },
    ];

    /// Group of an element, and its column.
    fn place(p: &Groups, i: usize) -> (usize, usize) {
        (i / (p.rows * p.cols) * p.groups + i % p.cols / p.width(), i % p.cols)
    }

    fn mean_of(p: &Groups, values: &[f64]) -> Vec<f64> {
        let mut sums = vec![0.0; p.samples * p.groups];
        values.iter().enumerate().for_each(|(i, x)| sums[place(p, i).0] += x / p.values() as f64);
        sums
    }

    #[test]
    fn values_and_gradients_are_those_of_the_formulas_with_a_large_mean_too() {
        for p in PROBLEMS {
            for offset in [0.0, 3000.0] {
                let len = p.samples * p.rows * p.cols;
                let src: Vec<f32> = numbers::<f32>(1, len).iter().map(|x| x + offset).collect();
                let (dy, gamma, beta) =
                    (numbers::<f32>(2, len), numbers::<f32>(3, p.cols), numbers::<f32>(4, p.cols));
                let x = wide(&src);
                let mean = mean_of(&p, &x);
                let square: Vec<f64> =
                    x.iter().enumerate().map(|(i, x)| (x - mean[place(&p, i).0]).powi(2)).collect();
                let var = mean_of(&p, &square);
                let hat = |i: usize| {
                    let group = place(&p, i).0;
                    (x[i] - mean[group]) / (var[group] + 1e-5).sqrt()
                };
                let at = |v: &[f32], i: usize| f64::from(v[place(&p, i).1]);
                let y: Vec<f64> = (0..len).map(|i| hat(i) * at(&gamma, i) + at(&beta, i)).collect();
                let g: Vec<f64> = (0..len).map(|i| f64::from(dy[i]) * at(&gamma, i)).collect();
                let g_hat: Vec<f64> = (0..len).map(|i| g[i] * hat(i)).collect();
                let (mean_g, mean_g_hat) = (mean_of(&p, &g), mean_of(&p, &g_hat));
                let dx: Vec<f64> = (0..len)
                    .map(|i| {
                        let group = place(&p, i).0;
                        (g[i] - mean_g[group] - hat(i) * mean_g_hat[group]) / (var[group] + 1e-5).sqrt()
                    })
                    .collect();
                let (mut dgamma, mut dbeta) = (vec![0.0; p.cols], vec![0.0; p.cols]);
                for i in 0..len {
                    dgamma[i % p.cols] += f64::from(dy[i]) * hat(i);
                    dbeta[i % p.cols] += f64::from(dy[i]);
                }
                let got = same_everywhere(|| {
                    let (mut mean, mut var) = (poison(p.samples * p.groups), poison(p.samples * p.groups));
                    group_stats(&p, &src, &mut mean, &mut var);
                    let stats = GroupStats { mean: &mean, var: &var, eps: 1e-5 };
                    let (mut y, mut dx) = (poison(len), poison(len));
                    let (mut dgamma, mut dbeta) = (poison(p.cols), poison(p.cols));
                    group_normalize(&p, &src, &stats, Some(&gamma), Some(&beta), &mut y);
                    group_affine_sums(&p, &src, &dy, &stats, &mut dgamma, &mut dbeta);
                    group_grad_input(&p, &src, &dy, &stats, Some(&gamma), &mut dx);
                    [y, dx, dgamma, dbeta].concat()
                });
                assert_close(&got, &[y, dx, dgamma, dbeta].concat(), 2e-5, &format!("{p:?} {offset}"));
            }
        }
    }
}
