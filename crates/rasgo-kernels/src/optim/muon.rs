//! Steps along the nearest orthogonal matrix of the momentum (Jordan 2024).

use crate::buffer::Element;
use crate::gemm::gemm;
use crate::isa::isa_fn;
use crate::reduce::norm2;
use crate::rows::CHUNK;
use crate::threads::parallel_chunks;
use crate::{Buffer, Epilogue, Float, Isa};

/// The quintic of the iteration, chosen by Jordan for its slope at 0: singular values end between 0.7 and 1.2.
const QUINTIC: [f64; 3] = [3.4445, -4.7750, 2.0315];
/// Iterations.
const STEPS: usize = 5;
/// The least norm to divide by.
const EPS: f64 = 1e-7;

/// Options of [`muon`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Muon {
    /// Learning rate.
    pub lr: f64,
    /// Share of the mean of gradients that is kept.
    pub momentum: f64,
    /// Whether to step along the next mean.
    pub nesterov: bool,
    /// Decay of the parameter itself.
    pub weight_decay: f64,
    /// Rows of the matrix: the outputs of a layer, or of a convolution.
    pub rows: usize,
}

/// `m += (grad - m) * (1 - momentum)`; `u = m`, or with Nesterov `u = grad + (m - grad) * momentum`;
/// `p *= 1 - lr * weight_decay; p -= lr * 0.2 * sqrt(max(rows, columns)) * orthogonal(u)`.
///
/// The factor makes a step as long as Adam's (Liu et al. 2025), so that both can have one learning rate.
pub fn muon<T: Float + Element>(o: &Muon, param: &mut [T], grad: &[T], m: &mut [T]) {
    let len = param.len();
    assert!(grad.len() == len && m.len() == len, "all arrays have the same length");
    if len == 0 {
        return;
    }
    assert!(len.is_multiple_of(o.rows), "whole rows");
    let columns = len / o.rows;
    let isa = Isa::current();
    let mut update = Buffer::new::<T>(len);
    let update = update.as_mut_slice::<T>();
    super::for_two(m, update, |range, m, update| momentum_chunk(isa, o, m, &grad[range], update));
    orthogonalize(o.rows, columns, update);
    let scale = o.lr * 0.2 * (o.rows.max(columns) as f64).sqrt();
    mix(1.0 - o.lr * o.weight_decay, param, -scale, update);
}

/// Replaces a matrix by one with the same singular vectors and singular values near 1:
/// `x /= |x|`, then five times `x = a x + (b s + c s^2) x` with `s = x x^T` (Newton and Schulz, of degree five).
fn orthogonalize<T: Float + Element>(rows: usize, columns: usize, x: &mut [T]) {
    let norm = norm2(x).to_f64().max(EPS);
    super::scale_in_place(x, 1.0 / norm);
    let small = rows.min(columns);
    let [mut square, mut fourth] = [small * small; 2].map(Buffer::new::<T>);
    let mut next = Buffer::new::<T>(x.len());
    let (square, fourth) = (square.as_mut_slice::<T>(), fourth.as_mut_slice::<T>());
    let next = next.as_mut_slice::<T>();
    let (wide, [a, b, c]) = (rows <= columns, QUINTIC);
    for _ in 0..STEPS {
        // Of the two products of x with its transpose, the smaller.
        gemm(small, small, rows.max(columns), x, !wide, x, wide, None, Epilogue::NONE, square);
        gemm(small, small, small, square, false, square, false, None, Epilogue::NONE, fourth);
        mix(b, square, c, fourth);
        match wide {
            true => gemm(rows, columns, rows, square, false, x, false, None, Epilogue::NONE, next),
            false => gemm(rows, columns, columns, x, false, square, false, None, Epilogue::NONE, next),
        }
        mix(a, x, 1.0, next);
    }
}

/// `x = a * x + b * y`
fn mix<T: Float>(a: f64, x: &mut [T], b: f64, y: &[T]) {
    let (isa, a, b) = (Isa::current(), T::from_f64(a), T::from_f64(b));
    parallel_chunks(x, CHUNK, |i, x| mix_chunk(isa, a, x, b, &y[i * CHUNK..]));
}

isa_fn! {
    fn mix_chunk<T: Float>(a: T, x: &mut [T], b: T, y: &[T]) {
        for (x, y) in x.iter_mut().zip(y) {
            *x = a * *x + b * *y;
        }
    }
}

isa_fn! {
    fn momentum_chunk<T: Float>(o: &Muon, m: &mut [T], grad: &[T], update: &mut [T]) {
        let (keep, take) = (T::from_f64(o.momentum), T::from_f64(1.0 - o.momentum));
        for ((m, g), update) in m.iter_mut().zip(grad).zip(update) {
            *m += (*g - *m) * take;
            *update = if o.nesterov { *g + (*m - *g) * keep } else { *m };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::{assert_close, numbers, wide};
    use crate::settings::{with_isa, with_threads};

    #[test]
    fn singular_values_come_near_one_and_vectors_stay() {
        for (rows, columns) in [(1, 1), (4, 9), (9, 4), (32, 75), (64, 64)] {
            let x = numbers::<f64>(1, rows * columns);
            let mut y = x.clone();
            orthogonalize(rows, columns, &mut y);
            // x and y have the same singular vectors: the smaller product of x^T y is symmetric.
            let small = rows.min(columns);
            let product = |a: &[f64], b: &[f64]| -> Vec<f64> {
                let mut dst = vec![0.0; small * small];
                gemm(
                    small,
                    small,
                    rows.max(columns),
                    a,
                    rows > columns,
                    b,
                    rows <= columns,
                    None,
                    Epilogue::NONE,
                    &mut dst,
                );
                dst
            };
            let mixed = product(&x, &y);
            let own = product(&y, &y);
            let mut trace = 0.0;
            for i in 0..small {
                for j in 0..small {
                    let (a, b) = (mixed[i * small + j], mixed[j * small + i]);
                    assert!((a - b).abs() < 1e-9 * (1.0 + a.abs()), "{rows} {columns}: {a} {b}");
                }
                trace += own[i * small + i];
            }
            // The mean of the squares of singular values; the smallest of a square matrix stay behind.
            let mean = trace / small as f64;
            assert!((0.45..1.4).contains(&mean), "{rows} {columns}: {mean}");
        }
    }

    #[test]
    fn a_step_is_the_formula_in_f64_at_any_number_of_threads() {
        for (rows, columns) in [(5, 27), (27, 5), (70, 130), (0, 3)] {
            let len = rows * columns;
            let (start, grads) = (numbers::<f32>(1, len), [numbers::<f32>(2, len), numbers(3, len)]);
            for nesterov in [false, true] {
                let o = Muon { lr: 0.02, momentum: 0.95, nesterov, weight_decay: 0.1, rows };
                let (mut p, mut m) = (wide(&start), vec![0.0; len]);
                for grad in &grads {
                    muon(&o, &mut p, &wide(grad), &mut m);
                }
                // Products have other bits on each instruction set, but not on each number of threads.
                for isa in Isa::available() {
                    let run = |threads| {
                        let (mut p, mut m) = (start.clone(), vec![0.0; len]);
                        with_isa(isa, || {
                            with_threads(threads, || {
                                grads.iter().for_each(|grad| muon(&o, &mut p, grad, &mut m));
                            });
                        });
                        p
                    };
                    let one = run(1);
                    assert_close(&one, &p, 1e-4, &format!("{rows} {columns}"));
                    assert_eq!(run(2), one);
                    assert_eq!(run(3), one);
                }
            }
        }
    }
}
