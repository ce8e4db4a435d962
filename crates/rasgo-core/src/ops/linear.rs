//! Matrix products, and the linear layer y = x W^T + b.

use rasgo_kernels::{gemm, reduce};

use super::{expect_float, float};
use crate::error::{Error, Result};
use crate::meta::Meta;
use crate::op::{Grads, Input, LayoutRule, Mask, Metas, Op, Output, Saved, Saves, apply};
use crate::tensor::Tensor;

/// dst[M,N] = op(a) op(b) (+ bias[N]) (relu): op transposes where its flag says so.
#[derive(Debug, Clone, Copy)]
pub(super) struct MatMul {
    pub(super) trans_a: bool,
    pub(super) trans_b: bool,
    pub(super) name: &'static str,
}

impl MatMul {
    fn sizes(&self, a: &Meta, b: &Meta) -> (usize, usize, usize, usize) {
        let (m, k) = if self.trans_a { (a.shape[1], a.shape[0]) } else { (a.shape[0], a.shape[1]) };
        let (k2, n) = if self.trans_b { (b.shape[1], b.shape[0]) } else { (b.shape[0], b.shape[1]) };
        (m, n, k, k2)
    }
}

impl Op for MatMul {
    fn name(&self) -> &'static str {
        self.name
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        let dtype = expect_float(inputs)?;
        let (a, b) = (&inputs[0].shape, &inputs[1].shape);
        if a.len() != 2 || b.len() != 2 {
            return Err(Error::shape(format!("{a} and {b}: both must have two axes"))
                .hint("flatten the leading axes first, with .flatten or .reshape"));
        }
        let (m, n, k, k2) = self.sizes(&inputs[0], &inputs[1]);
        if k != k2 {
            let error = Error::shape(match self.name {
                "linear" => format!("input {a} has {k} features, weight {b} wants {k2}"),
                _ => format!("{a} and {b}: inner sizes {k} and {k2} differ"),
            });
            return Err(match self.name {
                "linear" => {
                    error.hint(format!("make the layer Linear({k}, {n}), or flatten to {k2} features"))
                }
                _ => error,
            });
        }
        if let Some(bias) = inputs.get(2)
            && *bias.shape != [n]
        {
            return Err(Error::shape(format!("bias {} for {n} outputs: it must be [{n}]", bias.shape)));
        }
        Ok(Metas::from_iter([Meta::plain([m, n], dtype)]))
    }

    fn layout(&self) -> LayoutRule {
        LayoutRule::Plain
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        let (m, n, k, _) = self.sizes(inputs[0].meta(), inputs[1].meta());
        float!(inputs[0].meta().dtype, T => {
            let bias = inputs.get(2).map(|bias| bias.values::<T>());
            let (a, b) = (inputs[0].values::<T>(), inputs[1].values::<T>());
            let packed = match self.name {
                "linear" => inputs[1].packed(|b| gemm::pack_weight(n, k, b)),
                _ => None,
            };
            let dst = outputs[0].values::<T>();
            gemm::gemm(m, n, k, a, self.trans_a, b, self.trans_b, packed, bias, false, dst);
        });
    }

    fn saves(&self) -> Saves {
        Saves { inputs: Mask::of(&[0, 1]), outputs: Mask::NONE }
    }

    fn grad(&self, mut saved: Saved, mut dy: Grads, needs: Mask) -> Result<Grads> {
        let dy = dy[0].take().expect("one output");
        let product = |a: &Tensor, trans_a, b: &Tensor, trans_b| {
            apply(MatMul { trans_a, trans_b, name: "matmul" }, [a.clone(), b.clone()])
        };
        let (a, b) = (saved.input(0), saved.input(1));
        // For y = A B: dA = dy B^T and dB = A^T dy; each transposed flag moves over.
        let da = needs.has(0).then(|| match self.trans_a {
            false => product(&dy, false, &b, !self.trans_b),
            true => product(&b, self.trans_b, &dy, true),
        });
        let db = needs.has(1).then(|| match self.trans_b {
            false => product(&a, !self.trans_a, &dy, false),
            true => product(&dy, true, &a, self.trans_a),
        });
        let dbias = needs.has(2).then(|| apply(ColumnSums, [dy]));
        Ok(Grads::from_iter([da.transpose()?, db.transpose()?, dbias.transpose()?]))
    }

    fn multiply_adds(&self, inputs: &[Meta], _outputs: &[Meta]) -> u64 {
        let (m, n, k, _) = self.sizes(&inputs[0], &inputs[1]);
        (m as u64).saturating_mul(n as u64).saturating_mul(k as u64)
    }
}

/// y[C] = sum of x[N, C, …] over everything but C: the gradient of a bias.
#[derive(Debug)]
pub(super) struct ColumnSums;

impl Op for ColumnSums {
    fn name(&self) -> &'static str {
        "sum"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        Ok(Metas::from_iter([Meta::plain([inputs[0].shape[1]], inputs[0].dtype)]))
    }

    fn layout(&self) -> LayoutRule {
        LayoutRule::ChannelsLast(Mask::of(&[0]))
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        let (_, c, _) = inputs[0].meta().shape.image();
        float!(inputs[0].meta().dtype, T => {
            let src = inputs[0].values::<T>();
            reduce::column_sums(src.len() / c.max(1), c, src, outputs[0].values::<T>());
        });
    }

    fn grad(&self, saved: Saved, mut dy: Grads, _needs: Mask) -> Result<Grads> {
        let shape = saved.input_shape(0);
        let mut column = vec![1; shape.len()];
        column[1] = shape[1];
        Ok(Grads::from_iter([Some(dy[0].take().expect("one output").reshape(column)?.broadcast_to(shape)?)]))
    }
}

impl Tensor {
    /// y = x W^T + b for x (N, in), W (out, in), b (out): (N, out).
    ///
    /// ```
    /// # use rasgo_core::Tensor;
    /// let x = Tensor::from_vec(vec![5.0f32, -1.0, -1.0, 6.0, 5.0, 3.0, -4.0, 4.0], [1, 8])?;
    /// let w = Tensor::ones([1, 8], rasgo_core::DType::F32)?;
    /// let b = Tensor::ones([1], rasgo_core::DType::F32)?;
    /// assert_eq!(x.linear(&w, Some(&b))?.item::<f32>()?, 18.0);
    /// # Ok::<(), rasgo_core::Error>(())
    /// ```
    #[track_caller]
    pub fn linear(&self, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
        let op = MatMul { trans_a: false, trans_b: true, name: "linear" };
        apply(op, [Some(self), Some(weight), bias].into_iter().flatten().cloned())
    }
}

#[cfg(test)]
mod tests {
    use super::super::grad_check::{check, normal};
    use super::*;
    use crate::DType;

    #[test]
    fn products_have_the_gradients_of_their_differences() {
        check(&[normal([3, 4], 1), normal([4, 2], 2)], |x| x[0].matmul(&x[1]));
        check(&[normal([3, 4], 1), normal([2, 4], 2), normal([2], 3)], |x| x[0].linear(&x[1], Some(&x[2])));
        for (trans_a, trans_b) in [(true, false), (true, true)] {
            let a = normal([4, 3], 1);
            let b = if trans_b { normal([2, 4], 2) } else { normal([4, 2], 2) };
            check(&[a, b], |x| {
                apply(MatMul { trans_a, trans_b, name: "matmul" }, [x[0].clone(), x[1].clone()])
            });
        }
    }

    #[test]
    fn a_wrong_number_of_features_says_which_layer_would_fit() {
        let x = Tensor::zeros([2, 400], DType::F32).unwrap();
        let w = Tensor::zeros([120, 256], DType::F32).unwrap();
        let text = x.linear(&w, None).unwrap_err().to_string();
        assert!(text.contains("400 features") && text.contains("Linear(400, 120)"), "{text}");
    }

    #[test]
    fn sizes_that_no_memory_holds_are_refused() {
        use crate::{DType, Tensor};
        let empty = |shape: [usize; 2]| Tensor::zeros(shape, DType::F32).unwrap();
        let error = empty([1 << 44, 0]).linear(&empty([1 << 20, 0]), None).unwrap_err();
        assert!(error.to_string().contains("too large for any memory"), "{error}");
        let huge = Tensor::shape_only([1 << 40, 1 << 40], DType::F32);
        assert!(huge.relu().unwrap_err().to_string().contains("too large for any memory"));
    }
}
