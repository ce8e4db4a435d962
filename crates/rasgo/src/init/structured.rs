//! Initialisers whose values depend on each other, or on the kind of the shape.

use rasgo_core::random::Key;
use rasgo_core::{Error, Result, Tensor};

use crate::nn::Parameter;

/// Fills a matrix with the identity: ones on the diagonal, also of one that is not square.
///
/// # Errors
/// If the parameter has not 2 axes.
pub fn eye_(parameter: &mut Parameter) -> Result<()> {
    let &[rows, columns] = &parameter.shape()[..] else {
        return Err(wrong_rank("eye_", parameter, "2 axes"));
    };
    let mut values = vec![0.0f32; rows * columns];
    (0..rows.min(columns)).for_each(|i| values[i * columns + i] = 1.0);
    set(parameter, values)
}

/// Fills the weight (out, in / groups, …) of a convolution so that it passes its input on: the first channels of each
/// group, as many as there are, through the middle of the kernel.
///
/// # Errors
/// If the parameter has not 3, 4 or 5 axes, or its outputs are not a multiple of the groups.
pub fn dirac_(parameter: &mut Parameter, groups: usize) -> Result<()> {
    let shape = parameter.shape().clone();
    let (3..=5, &[out, inputs, ..]) = (shape.len(), &shape[..]) else {
        return Err(wrong_rank("dirac_", parameter, "3, 4 or 5 axes"));
    };
    if groups == 0 || !out.is_multiple_of(groups) {
        let text = format!("{out} outputs of a parameter of shape {shape} in {groups} groups");
        return Err(Error::argument(text)
            .op("dirac_")
            .hint("give a number of groups that divides the outputs"));
    }
    let cells: usize = shape[2..].iter().product();
    let middle = shape[2..].iter().fold(0, |place, &size| place * size + size / 2);
    let mut values = vec![0.0f32; out * inputs * cells];
    if cells > 0 {
        let each = out / groups;
        for channel in 0..each.min(inputs) {
            for group in 0..groups {
                values[((group * each + channel) * inputs + channel) * cells + middle] = 1.0;
            }
        }
    }
    set(parameter, values)
}

/// Fills a parameter, as a matrix (out, all others), with gain times orthonormal rows, or columns where there are fewer of
/// them (Saxe, McClelland and Ganguli 2014), uniform among all such matrices.
///
/// # Errors
/// If the parameter has fewer than 2 axes.
pub fn orthogonal_(parameter: &mut Parameter, gain: f64) -> Result<()> {
    let shape = parameter.shape().clone();
    if shape.len() < 2 {
        return Err(wrong_rank("orthogonal_", parameter, "2 or more axes"));
    }
    let (rows, columns) = (shape[0], shape[1..].iter().product::<usize>());
    let (count, length) = (rows.min(columns), rows.max(columns));
    let vectors = orthonormal(count, length, parameter.key());
    let value = |row: usize, column: usize| match rows <= columns {
        true => vectors[row * length + column],
        false => vectors[column * length + row],
    };
    let values = (0..rows * columns).map(|i| (gain * value(i / columns, i % columns)) as f32);
    set(parameter, values.collect())
}

/// Fills a matrix with normal numbers and sets a share of each column, rounded up, to zero (Martens 2010).
///
/// # Errors
/// If the parameter has not 2 axes, or the share is not in 0..1.
pub fn sparse_(parameter: &mut Parameter, sparsity: f64, std: f64) -> Result<()> {
    let &[rows, columns] = &parameter.shape()[..] else {
        return Err(wrong_rank("sparse_", parameter, "2 axes"));
    };
    if !((0.0..=1.0).contains(&sparsity) && std >= 0.0) {
        let text = format!("sparsity {sparsity} and a standard deviation of {std}");
        return Err(Error::argument(text)
            .op("sparse_")
            .hint("give a share in 0..1 and a deviation of 0 or more"));
    }
    let key = parameter.key();
    let mut values: Vec<f32> = (0..rows * columns).map(|i| (std * key.normal(i as u64)) as f32).collect();
    let zeros = (sparsity * rows as f64).ceil() as usize;
    for column in 0..columns {
        for &row in &key.child(column as u64).permutation(rows)[..zeros] {
            values[row * columns + column] = 0.0;
        }
    }
    set(parameter, values)
}

fn set(parameter: &mut Parameter, values: Vec<f32>) -> Result<()> {
    parameter.set(Tensor::from_vec(values, parameter.shape())?)
}

fn wrong_rank(op: &'static str, parameter: &Parameter, wanted: &str) -> Error {
    Error::shape(format!("a parameter of shape {}: it must have {wanted}", parameter.shape())).op(op)
}

/// Orthonormal vectors: normal numbers, each made orthogonal to those before it, twice, so that rounding leaves nothing.
/// Their directions are uniform, as R has a positive diagonal in this factorisation (Mezzadri 2007).
fn orthonormal(count: usize, length: usize, key: Key) -> Vec<f64> {
    let mut vectors: Vec<f64> = (0..count * length).map(|i| key.normal(i as u64)).collect();
    for i in 0..count {
        let (before, rest) = vectors.split_at_mut(i * length);
        let vector = &mut rest[..length];
        for _ in 0..2 {
            for other in before.chunks_exact(length) {
                let shared = dot(other, vector);
                vector.iter_mut().zip(other).for_each(|(x, other)| *x -= shared * other);
            }
        }
        let norm = dot(vector, vector).sqrt();
        vector.iter_mut().for_each(|x| *x /= norm);
    }
    vectors
}

/// The sum of products, in eight lanes: one alone waits for each addition.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    let (a_rows, b_rows) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest = a_rows.remainder().iter().zip(b_rows.remainder()).map(|(a, b)| a * b).sum::<f64>();
    for (a, b) in a_rows.zip(b_rows) {
        sums.iter_mut().zip(a.iter().zip(b)).for_each(|(sum, (a, b))| *sum += a * b);
    }
    sums.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::init::Init;

    fn filled(shape: &[usize], fill: impl FnOnce(&mut Parameter) -> Result<()>) -> Vec<f32> {
        let mut parameter = Parameter::new(shape, Init::Ones);
        fill(&mut parameter).unwrap();
        parameter.tensor().to_vec().unwrap()
    }

    #[test]
    fn orthogonal_rows_and_columns_are_orthonormal() {
        for (count, length) in [(1, 1), (5, 5), (7, 30), (40, 41), (3, 0), (0, 3)] {
            let q = orthonormal(count.min(length), length, Key::new(7, 8));
            for (i, a) in q.chunks_exact(length.max(1)).enumerate() {
                for (j, b) in q.chunks_exact(length.max(1)).enumerate() {
                    let unit = f64::from(u8::from(i == j));
                    assert!((dot(a, b) - unit).abs() < 1e-14, "{count} {length}: {i} {j}");
                }
            }
        }
        // A filter (4, 2, 3, 1) has orthogonal rows of 6, one of (6, 2, 1) columns of 6.
        let rows = filled(&[4, 2, 3, 1], |p| orthogonal_(p, 2.0));
        let product = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
        for (i, a) in rows.chunks_exact(6).enumerate() {
            for (j, b) in rows.chunks_exact(6).enumerate() {
                assert!((product(a, b) - if i == j { 4.0 } else { 0.0 }).abs() < 1e-6);
            }
        }
        let columns = filled(&[6, 2, 1], |p| orthogonal_(p, 1.0));
        let column = |j: usize| -> Vec<f32> { columns.iter().skip(j).step_by(2).copied().collect() };
        assert!((product(&column(0), &column(0)) - 1.0).abs() < 1e-6);
        assert!(product(&column(0), &column(1)).abs() < 1e-6);
    }

    #[test]
    fn dirac_passes_channels_through_the_middle() {
        assert_eq!(
            filled(&[3, 2, 3], |p| dirac_(p, 1)),
            [
                0.0, 1.0, 0.0, 0.0, 0.0, 0.0, //
                0.0, 0.0, 0.0, 0.0, 1.0, 0.0, //
                0.0, 0.0, 0.0, 0.0, 0.0, 0.0,
            ]
        );
        let grouped = filled(&[4, 2, 2, 3], |p| dirac_(p, 2));
        let ones: Vec<usize> = (0..grouped.len()).filter(|&i| grouped[i] == 1.0).collect();
        // The middle of (2, 3) is cell (1, 1), the fifth.
        assert_eq!(ones, [4, 12 + 6 + 4, 24 + 4, 36 + 6 + 4]);
        assert_eq!(grouped.iter().sum::<f32>(), 4.0);
        assert!(filled(&[2, 2, 0], |p| dirac_(p, 1)).is_empty());
    }

    #[test]
    fn eye_and_sparse_are_what_they_say() {
        assert_eq!(filled(&[2, 3], eye_), [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
        let values = filled(&[10, 30], |p| sparse_(p, 0.25, 0.5));
        for column in 0..30 {
            assert_eq!((0..10).filter(|row| values[row * 30 + column] == 0.0).count(), 3);
        }
        let square: f32 = values.iter().map(|x| x * x).sum();
        assert!((square / 210.0 - 0.25).abs() < 0.06, "{}", square / 210.0);
    }

    #[test]
    fn what_has_no_such_shape_is_refused() {
        let refused = |shape: &[usize], fill: &dyn Fn(&mut Parameter) -> Result<()>, part: &str| {
            let text = fill(&mut Parameter::new(shape, Init::Ones)).unwrap_err().to_string();
            assert!(text.contains(part), "{text}");
        };
        refused(&[3], &eye_, "shape [3]: it must have 2 axes");
        refused(&[3, 3], &|p| dirac_(p, 1), "3, 4 or 5 axes");
        refused(&[3, 3, 3], &|p| dirac_(p, 2), "3 outputs");
        refused(&[3, 3, 3], &|p| dirac_(p, 0), "0 groups");
        refused(&[3], &|p| orthogonal_(p, 1.0), "2 or more axes");
        refused(&[3, 3, 3], &|p| sparse_(p, 0.1, 0.1), "2 axes");
        refused(&[3, 3], &|p| sparse_(p, 1.5, 0.1), "sparsity 1.5");
    }
}
