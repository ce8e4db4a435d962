//! Matrix products of any rank, as `torch.matmul`: batches of matrices broadcast.

use std::panic::Location;

use rasgo_kernels::threads::parallel_chunks;
use rasgo_kernels::{Epilogue, gemm};

use super::broadcast::broadcast_shape;
use super::linear::MatMul;
use super::{expect_float, float};
use crate::error::{Error, Result};
use crate::meta::{Meta, Shape};
use crate::op::{Grads, Input, LayoutRule, Mask, Metas, Op, Output, Saved, Saves, apply};
use crate::reach::{self, Reach, Reaches};
use crate::tensor::Tensor;

/// Multiply-adds up to which the matrices of a batch are shared out; larger ones are cut up, each in its turn.
const SMALL: usize = 1 << 20;

/// y[…] = op(a[…]) op(b[…]): a product of matrices for each place of the leading axes, which broadcast; op transposes
/// where its flag says so.
#[derive(Debug, Clone, Copy)]
struct BatchMatMul {
    trans_a: bool,
    trans_b: bool,
}

/// M, N, and K of either side.
fn sizes(op: BatchMatMul, a: &Shape, b: &Shape) -> (usize, usize, usize, usize) {
    let last = |shape: &Shape, back: usize| shape[shape.len() - back];
    let (m, k) = if op.trans_a { (last(a, 1), last(a, 2)) } else { (last(a, 2), last(a, 1)) };
    let (k2, n) = if op.trans_b { (last(b, 1), last(b, 2)) } else { (last(b, 2), last(b, 1)) };
    (m, n, k, k2)
}

fn batch(shape: &Shape) -> Shape {
    Shape::from(&shape[..shape.len() - 2])
}

/// For each place of the batch, which matrix of an operand stands there.
fn places(own: &Shape, batch: &Shape) -> Vec<usize> {
    let missing = batch.len() - own.len();
    let strides = own.strides();
    let place = |mut i: usize| {
        let mut at = 0;
        for axis in (0..batch.len()).rev() {
            if axis >= missing && own[axis - missing] != 1 {
                at += i % batch[axis] * strides[axis - missing];
            }
            i /= batch[axis];
        }
        at
    };
    (0..batch.elements()).map(place).collect()
}

impl Op for BatchMatMul {
    fn name(&self) -> &'static str {
        "matmul"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        let dtype = expect_float(inputs)?;
        let (a, b) = (&inputs[0].shape, &inputs[1].shape);
        let (m, n, k, k2) = sizes(*self, a, b);
        if k != k2 {
            return Err(Error::shape(format!("{a} and {b}: inner sizes {k} and {k2} differ")));
        }
        let mut shape = broadcast_shape(&batch(a), &batch(b))?.to_vec();
        shape.extend([m, n]);
        Ok(Metas::from_iter([Meta::plain(shape, dtype)]))
    }

    fn layout(&self) -> LayoutRule {
        LayoutRule::Plain
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        let (a_shape, b_shape) = (&inputs[0].meta().shape, &inputs[1].meta().shape);
        let (m, n, k, _) = sizes(*self, a_shape, b_shape);
        let whole = batch(&outputs[0].meta().shape);
        let (a_at, b_at) = (places(&batch(a_shape), &whole), places(&batch(b_shape), &whole));
        float!(inputs[0].meta().dtype, T => {
            let (a, b, dst) = (inputs[0].values::<T>(), inputs[1].values::<T>(), outputs[0].values::<T>());
            if dst.is_empty() {
                return;
            }
            let product = |i: usize, dst: &mut [T]| {
                let (a, b) = (&a[a_at[i] * m * k..][..m * k], &b[b_at[i] * k * n..][..k * n]);
                gemm::gemm(m, n, k, a, self.trans_a, b, self.trans_b, None, Epilogue::NONE, dst);
            };
            if m.saturating_mul(n).saturating_mul(k) <= SMALL {
                parallel_chunks(dst, m * n, product);
            } else {
                dst.chunks_exact_mut(m * n).enumerate().for_each(|(i, dst)| product(i, dst));
            }
        });
    }

    fn reach(&self, which: usize, inputs: &[Shape], output: &Shape) -> Reaches {
        let rank = inputs[which].len();
        // Rows of the result read rows of a, columns read columns of b; what is summed over is read whole.
        let kept = match which {
            0 if !self.trans_a => Some(rank - 2),
            1 if !self.trans_b => Some(rank - 1),
            _ => None,
        };
        let mut reaches = reach::by_shape(&inputs[which], output);
        for axis in (rank - 2).max(2)..rank {
            if kept != Some(axis) {
                reaches[axis - 2] = Reach::All;
            }
        }
        reaches
    }

    fn saves(&self) -> Saves {
        Saves { inputs: Mask::of(&[0, 1]), outputs: Mask::NONE }
    }

    fn grad(&self, mut saved: Saved, mut dy: Grads, needs: Mask) -> Result<Grads> {
        let dy = dy[0].take().expect("one output");
        let product = |a: &Tensor, trans_a, b: &Tensor, trans_b, shape: &Shape| {
            apply(BatchMatMul { trans_a, trans_b }, [a.clone(), b.clone()])?.sum_to(shape)
        };
        let (a, b) = (saved.input(0), saved.input(1));
        // As for one product, summed over the places that share a matrix.
        let da = needs.has(0).then(|| match self.trans_a {
            false => product(&dy, false, &b, !self.trans_b, a.shape()),
            true => product(&b, self.trans_b, &dy, true, a.shape()),
        });
        let db = needs.has(1).then(|| match self.trans_b {
            false => product(&a, !self.trans_a, &dy, false, b.shape()),
            true => product(&dy, true, &a, self.trans_a, b.shape()),
        });
        Ok(Grads::from_iter([da.transpose()?, db.transpose()?]))
    }

    fn multiply_adds(&self, inputs: &[Meta], outputs: &[Meta]) -> u64 {
        let (_, _, k, _) = sizes(*self, &inputs[0].shape, &inputs[1].shape);
        (outputs[0].shape.elements() as u64).saturating_mul(k as u64)
    }
}

impl Tensor {
    /// The matrix product, as `torch.matmul`: the last two axes are matrices, those before them a batch that broadcasts.
    /// A vector on the left is a row, on the right a column, and the axis is gone from the result.
    ///
    /// ```
    /// # use rasgo_core::{DType, Tensor};
    /// let (a, b) = (Tensor::ones([5, 1, 2, 3], DType::F32)?, Tensor::ones([4, 3, 7], DType::F32)?);
    /// assert_eq!(**a.matmul(&b)?.shape(), [5, 4, 2, 7]);
    /// let v = Tensor::ones([3], DType::F32)?;
    /// assert_eq!(v.matmul(&v)?.item::<f32>()?, 3.0);
    /// # Ok::<(), rasgo_core::Error>(())
    /// ```
    #[track_caller]
    pub fn matmul(&self, other: &Tensor) -> Result<Tensor> {
        let (a, b) = (self.shape(), other.shape());
        let check = || {
            if a.is_empty() || b.is_empty() {
                return Err(
                    Error::shape(format!("{a} and {b}: a scalar is no matrix")).hint("multiply with *")
                );
            }
            let (k, k2) = (a[a.len() - 1], b[b.len().saturating_sub(2)]);
            if k != k2 {
                return Err(Error::shape(format!("{a} and {b}: inner sizes {k} and {k2} differ"))
                    .hint(format!("the right one needs {k} along axis {}", b.len().saturating_sub(2))));
            }
            Ok(())
        };
        if let Err(error) = check() {
            return Err(error.op("matmul").at(Location::caller()));
        }
        let left = if a.len() == 1 { self.unsqueeze(0)? } else { self.clone() };
        let right = if b.len() == 1 { other.unsqueeze(1)? } else { other.clone() };
        let (rows, columns) = (left.shape().len(), right.shape().len());
        let product = if columns == 2 {
            // One matrix on the right: all rows of the batch are rows of one product.
            let flat = left.flatten_axes(0, -2)?;
            let one = MatMul { trans_a: false, trans_b: false };
            let mut shape = left.shape().to_vec();
            shape[rows - 1] = right.shape()[1];
            apply(one, [flat, right])?.reshape(shape)?
        } else {
            apply(BatchMatMul { trans_a: false, trans_b: false }, [left, right])?
        };
        let mut shape = product.shape().to_vec();
        if b.len() == 1 {
            shape.pop();
        }
        if a.len() == 1 {
            shape.remove(shape.len() - if b.len() == 1 { 1 } else { 2 });
        }
        product.reshape(shape)
    }

    /// The products of (B, M, K) and (B, K, N), matrix by matrix.
    #[track_caller]
    pub fn bmm(&self, other: &Tensor) -> Result<Tensor> {
        let (a, b) = (self.shape(), other.shape());
        if a.len() != 3 || b.len() != 3 || a[0] != b[0] {
            return Err(Error::shape(format!("{a} and {b}: both have three axes, the first of one size"))
                .hint(".matmul takes other ranks and repeats the leading axes")
                .op("bmm")
                .at(Location::caller()));
        }
        apply(BatchMatMul { trans_a: false, trans_b: false }, [self.clone(), other.clone()])
    }
}

#[cfg(test)]
mod tests {
    use super::super::grad_check::{check, normal};
    use super::*;
    use crate::{DType, grad};

    const SHAPES: [(&[usize], &[usize]); 9] = [
        (&[3], &[3]),
        (&[3], &[3, 2]),
        (&[4, 3], &[3]),
        (&[4, 3], &[3, 2]),
        (&[2, 4, 3], &[3, 5]),
        (&[4, 3], &[2, 3, 5]),
        (&[2, 1, 4, 3], &[5, 3, 2]),
        (&[3], &[2, 3, 5]),
        (&[2, 4, 3], &[3]),
    ];

    #[test]
    fn products_of_every_rank_have_the_gradients_of_their_differences() {
        for (a, b) in SHAPES {
            check(&[normal(a, 1), normal(b, 2)], |x| x[0].matmul(&x[1]));
        }
        for (trans_a, trans_b) in [(true, false), (false, true), (true, true)] {
            let a: [usize; 3] = if trans_a { [2, 3, 4] } else { [2, 4, 3] };
            let b: [usize; 3] = if trans_b { [1, 5, 3] } else { [1, 3, 5] };
            let op = BatchMatMul { trans_a, trans_b };
            check(&[normal(a, 1), normal(b, 2)], |x| apply(op, [x[0].clone(), x[1].clone()]));
        }
    }

    #[test]
    fn products_have_second_gradients() {
        let (a, b) = (normal([2, 1, 4, 3], 1).requires_grad(), normal([5, 3, 2], 2).requires_grad());
        let slope = |a: &Tensor, b: &Tensor| {
            let y = a.matmul(b).unwrap().square().unwrap().sum().unwrap();
            let grads = grad(&y, &[a, b], true).unwrap();
            (grads[0].clone().square().unwrap().sum().unwrap()
                + grads[1].clone().square().unwrap().sum().unwrap())
            .unwrap()
        };
        let second = grad(&slope(&a, &b), &[&a, &b], false).unwrap();
        let values = a.to_vec::<f64>().unwrap();
        for i in [0, 7, 23] {
            let at = |step: f64| {
                let mut moved = values.clone();
                moved[i] += step;
                let a = Tensor::from_vec(moved, a.shape().clone()).unwrap().requires_grad();
                slope(&a, &b).item::<f64>().unwrap()
            };
            let numeric = (at(1e-5) - at(-1e-5)) / 2e-5;
            let found = second[0].to_vec::<f64>().unwrap()[i];
            assert!((found - numeric).abs() < 1e-5 * numeric.abs(), "{found} {numeric}");
        }
    }

    /// Over the limit of the products that are shared out, and under it.
    #[test]
    fn a_batch_has_the_same_bits_at_any_number_of_threads() {
        for (m, k, n) in [(5, 7, 3), (150, 90, 110)] {
            let of = |shape, seed| normal(shape, seed).to_dtype(DType::F32).unwrap();
            let (a, b) = (of([4, m, k], 1), of([4, k, n], 2));
            let run = |threads| {
                crate::settings::with_threads(threads, || a.bmm(&b).unwrap().to_vec::<f32>().unwrap())
            };
            let first = run(1);
            assert!(run(2) == first && run(3) == first);
            for i in 0..4 {
                let one = a.select(0, i).unwrap().matmul(&b.select(0, i).unwrap()).unwrap();
                let one = one.to_vec::<f32>().unwrap();
                let part = &first[i as usize * m * n..][..m * n];
                assert!(one.iter().zip(part).all(|(a, b)| (a - b).abs() < 1e-4));
            }
        }
    }

    #[test]
    fn products_over_nothing_are_zero() {
        for dtype in [DType::F32, DType::F64] {
            let zeros = |shape: &[usize]| Tensor::zeros(shape, dtype).unwrap();
            for (a, b) in
                [(&[2, 0][..], &[0, 3][..]), (&[4, 2, 0], &[4, 0, 3]), (&[0], &[0]), (&[4, 2, 0], &[0])]
            {
                let y = zeros(a).matmul(&zeros(b)).unwrap().to_f64_vec().unwrap();
                assert!(!y.is_empty() && y.iter().all(|&x| x == 0.0), "{a:?} {b:?} {y:?}");
            }
            assert_eq!(**zeros(&[0, 2, 3]).matmul(&zeros(&[3, 4])).unwrap().shape(), [0, 2, 4]);
            assert_eq!(**zeros(&[0, 2, 3]).bmm(&zeros(&[0, 3, 4])).unwrap().shape(), [0, 2, 4]);
            assert_eq!(**zeros(&[2, 3]).matmul(&zeros(&[5, 3, 0])).unwrap().shape(), [5, 2, 0]);
        }
    }

    #[test]
    fn sizes_that_do_not_meet_are_refused() {
        let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32).unwrap();
        let text = |a: &[usize], b: &[usize]| zeros(a).matmul(&zeros(b)).unwrap_err().to_string();
        assert!(text(&[2, 3], &[4, 5]).contains("[2, 3] and [4, 5]: inner sizes 3 and 4 differ"));
        assert!(text(&[], &[3]).contains("a scalar is no matrix"));
        assert!(text(&[2, 4, 3], &[5, 3, 2]).contains("do not broadcast"));
        assert!(zeros(&[2, 4, 3]).bmm(&zeros(&[1, 3, 2])).unwrap_err().to_string().contains("bmm"));
    }
}
