//! Matrix products, and the linear layer.
//!
//! ```text
//! linear: y[…, o] = sum over i of x[…, i] * weight[o, i] + bias[o]
//! ```

use rasgo_kernels::{Epilogue, gemm, reduce};

use super::{Activation, ConvOptions, expect_float, float, stored, unary};
use crate::error::{Error, Result};
use crate::meta::{DType, Meta, Shape};
use crate::op::{Bf16Rule, Grads, Input, LayoutRule, Mask, Metas, Op, Output, Saved, Saves, apply};
use crate::reach::{self, Reaches};
use crate::scope;
use crate::tensor::Tensor;

/// dst[M,N] = op(a) op(b): op transposes where its flag says so.
#[derive(Debug, Clone, Copy)]
pub(super) struct MatMul {
    pub(super) trans_a: bool,
    pub(super) trans_b: bool,
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
        "matmul"
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
            return Err(Error::shape(format!("{a} and {b}: inner sizes {k} and {k2} differ"))
                .hint("the last axis of the first must be as long as the first axis of the second; .transpose(0, 1) turns one"));
        }
        Ok(Metas::from_iter([Meta::plain([m, n], dtype)]))
    }

    fn layout(&self) -> LayoutRule {
        LayoutRule::Plain
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        let (m, n, k, _) = self.sizes(inputs[0].meta(), inputs[1].meta());
        float!(inputs[0].meta().dtype, T => {
            let (a, b) = (inputs[0].values::<T>(), inputs[1].values::<T>());
            let dst = outputs[0].values::<T>();
            gemm::gemm(m, n, k, a, self.trans_a, b, self.trans_b, None, Epilogue::NONE, dst);
        });
    }

    fn saves(&self) -> Saves {
        Saves { inputs: Mask::of(&[0, 1]), outputs: Mask::NONE }
    }

    fn grad(&self, mut saved: Saved, mut dy: Grads, needs: Mask) -> Result<Grads> {
        let dy = dy[0].take().expect("one output");
        let product = |a: &Tensor, trans_a, b: &Tensor, trans_b| {
            apply(MatMul { trans_a, trans_b }, [a.clone(), b.clone()])
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
        Ok(Grads::from_iter([da.transpose()?, db.transpose()?]))
    }

    fn multiply_adds(&self, inputs: &[Meta], _outputs: &[Meta]) -> u64 {
        let (m, n, k, _) = self.sizes(&inputs[0], &inputs[1]);
        (m as u64).saturating_mul(n as u64).saturating_mul(k as u64)
    }
}

/// y = act(x W^T (+ bias)) over the last axis of x; all others are rows.
#[derive(Debug)]
struct Linear(Activation);

impl Op for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        let dtype = expect_float(inputs)?;
        let (x, weight) = (&inputs[0].shape, &inputs[1].shape);
        let (Some(&features), &[out, wanted]) = (x.last(), &weight[..]) else {
            return Err(Error::shape(format!("input {x} and weight {weight}"))
                .hint("give an input (…, in) and a weight (out, in)"));
        };
        if features != wanted {
            let text = format!("input {x} has {features} features, weight {weight} wants {wanted}");
            return Err(Error::shape(text)
                .hint(format!("make the layer Linear({features}, {out}), or flatten to {wanted} features")));
        }
        if let Some(bias) = inputs.get(2)
            && *bias.shape != [out]
        {
            return Err(Error::shape(format!("bias {} for {out} outputs: it must be [{out}]", bias.shape))
                .hint("give one value for each output, or no bias"));
        }
        let mut shape = x.clone();
        shape.set(x.len() - 1, out);
        Ok(Metas::from_iter([Meta::plain(shape, dtype)]))
    }

    fn layout(&self) -> LayoutRule {
        LayoutRule::Plain
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        let (n, k) = (inputs[1].meta().shape[0], inputs[1].meta().shape[1]);
        let m = rows(&inputs[0].meta().shape);
        float!(inputs[0].meta().dtype, T => {
            let bias = inputs.get(2).map(|bias| bias.values::<T>());
            let epilogue = Epilogue { bias, add: None, activation: self.0 };
            let (x, weight) = (inputs[0].values::<T>(), inputs[1].values::<T>());
            let packed = inputs[1].packed(|weight| gemm::pack_weight(n, k, weight));
            gemm::gemm(m, n, k, x, false, weight, true, packed, epilogue, outputs[0].values::<T>());
        });
    }

    fn reach(&self, which: usize, inputs: &[Shape], output: &Shape) -> Reaches {
        match which {
            0 => reach::whole_axis(&inputs[0], output, inputs[0].len() - 1),
            _ => reach::everything(&inputs[which]),
        }
    }

    fn saves(&self) -> Saves {
        // y tells where its activation has a slope.
        let outputs = if self.0 == Activation::None { Mask::NONE } else { Mask::of(&[0]) };
        Saves { inputs: Mask::of(&[0, 1]), outputs }
    }

    fn grad(&self, mut saved: Saved, mut dy: Grads, needs: Mask) -> Result<Grads> {
        let dy = dy[0].take().expect("one output");
        let dy = unary::activation_grad(self.0, || saved.output(0), dy)?;
        let (x, weight) = (saved.input(0), saved.input(1));
        let (shape, m) = (x.shape().clone(), rows(x.shape()));
        let dy = dy.reshape([m, weight.shape()[0]])?;
        let dx = needs.has(0).then(|| dy.matmul(&weight)?.reshape(shape));
        let dweight = needs.has(1).then(|| {
            let x = x.reshape([m, weight.shape()[1]])?;
            apply(MatMul { trans_a: true, trans_b: false }, [dy.clone(), x])
        });
        let dbias = needs.has(2).then(|| apply(ColumnSums(dy.dtype()), [dy.clone()]));
        Ok(Grads::from_iter([dx.transpose()?, dweight.transpose()?, dbias.transpose()?]))
    }

    fn multiply_adds(&self, inputs: &[Meta], outputs: &[Meta]) -> u64 {
        let outputs =
            outputs[0].shape.iter().fold(1u64, |product, &size| product.saturating_mul(size as u64));
        outputs.saturating_mul(inputs[1].shape[1] as u64)
    }
}

/// The vectors along the last axis.
fn rows(shape: &Shape) -> usize {
    shape[..shape.len() - 1].iter().product()
}

/// y[C] = sum of x[N, C, …] over everything but C: the gradient of a bias, float32 where x, of that dtype, is bfloat16.
#[derive(Debug)]
pub(super) struct ColumnSums(pub(super) DType);

impl Op for ColumnSums {
    fn name(&self) -> &'static str {
        "sum"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        Ok(Metas::from_iter([Meta::plain([inputs[0].shape[1]], inputs[0].dtype.wide())]))
    }

    fn layout(&self) -> LayoutRule {
        LayoutRule::ChannelsLast(Mask::of(&[0]))
    }

    fn bf16(&self) -> Bf16Rule {
        Bf16Rule::Inside(Mask::of(&[0]))
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        let (_, c, _) = inputs[0].meta().shape.image();
        stored!(inputs[0].meta().dtype, S => {
            let src = inputs[0].values::<S>();
            reduce::column_sums(src.len() / c.max(1), c, src, outputs[0].values());
        });
    }

    fn grad(&self, saved: Saved, mut dy: Grads, _needs: Mask) -> Result<Grads> {
        let shape = saved.input_shape(0);
        let mut column = vec![1; shape.len()];
        column[1] = shape[1];
        let dy = dy[0].take().expect("one output").to_dtype(self.0)?;
        Ok(Grads::from_iter([Some(dy.reshape(column)?.broadcast_to(shape)?)]))
    }
}

impl Tensor {
    /// y = x W^T + b along the last axis of x (…, in), for a weight W (out, in) and a bias b (out): (…, out). A weight
    /// (in) with a bias of one number has one output, and its axis is left out.
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
        self.linear_act(weight, bias, Activation::None)
    }

    /// [`linear`](Self::linear) and an activation in one pass: `y = act(x W^T + b)`.
    #[track_caller]
    pub fn linear_act(
        &self,
        weight: &Tensor,
        bias: Option<&Tensor>,
        activation: Activation,
    ) -> Result<Tensor> {
        if let (&[features], false) = (&weight.shape()[..], self.shape().is_empty()) {
            let bias = match bias {
                Some(bias) if bias.shape().is_empty() => Some(bias.reshape([1])?),
                other => other.cloned(),
            };
            let y = self.linear_act(&weight.reshape([1, features])?, bias.as_ref(), activation)?;
            return y.reshape(&self.shape()[..self.shape().len() - 1]);
        }
        let op = Linear(activation);
        let inputs = [Some(self), Some(weight), bias].into_iter().flatten();
        if self.dtype() == DType::Bf16 && weight.shape().elements() > 0 {
            let wide = |input: &Tensor| Meta { dtype: DType::F32, ..input.meta().clone() };
            // What is no linear layer goes on to the error below.
            if let Ok(y) = op.infer(&inputs.clone().map(wide).collect::<Metas>()) {
                return self.linear_of_pixels(weight, bias, activation, &y[0].shape);
            }
        }
        apply(op, inputs.cloned())
    }

    /// Rows of bfloat16 as single pixels: a convolution of those has products of bfloat16, and sums its gradients as
    /// float32.
    #[track_caller]
    fn linear_of_pixels(
        &self,
        weight: &Tensor,
        bias: Option<&Tensor>,
        activation: Activation,
        shape: &Shape,
    ) -> Result<Tensor> {
        let _scope = scope::enter_op("linear");
        let (rows, [out, features]) = (rows(self.shape()), [weight.shape()[0], weight.shape()[1]]);
        let (x, weight) = (self.reshape([rows, features, 1])?, weight.reshape([out, features, 1])?);
        let options = ConvOptions { activation, ..ConvOptions::default() };
        x.conv(&weight, bias, &options)?.reshape(shape)
    }
}

#[cfg(test)]
mod tests {
    use super::super::grad_check::{check, check_twice, normal};
    use super::super::stored_check;
    use super::*;
    use crate::DType;

    #[test]
    fn products_have_the_gradients_of_their_differences() {
        check(&[normal([3, 4], 1), normal([4, 2], 2)], |x| x[0].matmul(&x[1]));
        check(&[normal([3, 4], 1), normal([2, 4], 2), normal([2], 3)], |x| x[0].linear(&x[1], Some(&x[2])));
        for (trans_a, trans_b) in [(true, false), (true, true)] {
            let a = normal([4, 3], 1);
            let b = if trans_b { normal([2, 4], 2) } else { normal([4, 2], 2) };
            check(&[a, b], |x| apply(MatMul { trans_a, trans_b }, [x[0].clone(), x[1].clone()]));
        }
    }

    #[test]
    fn sums_of_columns_of_bfloat16_are_float32() {
        for shape in [vec![70, 5], vec![2, 3, 4, 5]] {
            let x = normal(shape, 1).to_dtype(DType::Bf16).unwrap();
            let sum = stored_check::no_casts(|| apply(ColumnSums(x.dtype()), [x.clone()]).unwrap());
            let wanted = apply(ColumnSums(DType::F32), [x.to_dtype(DType::F32).unwrap()]).unwrap();
            assert_eq!(sum.to_vec::<f32>().unwrap(), wanted.to_vec::<f32>().unwrap());
            let x = x.requires_grad();
            let sum = apply(ColumnSums(x.dtype()), [x.clone()]).unwrap();
            let grads = sum.square().unwrap().sum().unwrap().backward().unwrap();
            assert_eq!(grads.get(&x).unwrap().dtype(), DType::Bf16);
        }
    }

    #[test]
    fn a_linear_layer_of_bfloat16_is_near_that_of_float32_and_its_gradients_are_float32() {
        let round = |x: Tensor| x.to_dtype(DType::Bf16).unwrap();
        let (x, w) = (round(normal([2, 5, 40], 1)), normal([7, 40], 2).to_dtype(DType::F32).unwrap());
        let b = normal([7], 3).to_dtype(DType::F32).unwrap();
        let run = |x: &Tensor| {
            let [x, w, b] = [x, &w, &b].map(|x| x.clone().requires_grad());
            let y = stored_check::no_casts(|| x.linear_act(&w, Some(&b), Activation::Relu).unwrap());
            let mut grads =
                y.to_dtype(DType::F32).unwrap().square().unwrap().sum().unwrap().backward().unwrap();
            [y, grads.remove(&x).unwrap(), grads.remove(&w).unwrap(), grads.remove(&b).unwrap()]
        };
        let (found, wanted) = (run(&x), run(&x.to_dtype(DType::F32).unwrap()));
        assert_eq!(found.each_ref().map(Tensor::dtype), [DType::Bf16, DType::Bf16, DType::F32, DType::F32]);
        for (found, wanted) in found.iter().zip(&wanted) {
            assert_eq!(found.shape(), wanted.shape());
            let (found, wanted) = (found.to_f64_vec().unwrap(), wanted.to_f64_vec().unwrap());
            let largest = wanted.iter().fold(0.0f64, |most, x| most.max(x.abs()));
            for (found, wanted) in found.iter().zip(wanted) {
                assert!((found - wanted).abs() < 0.02 * largest, "{found} {wanted}");
            }
        }
    }

    #[test]
    fn a_linear_layer_reads_the_last_axis_of_any_rank() {
        let (w, b) = (normal([3, 4], 2), normal([3], 3));
        for shape in [vec![4], vec![5, 4], vec![2, 5, 4], vec![2, 3, 1, 4], vec![2, 3, 5, 2, 4]] {
            let x = normal(shape.clone(), 1);
            check(&[x.clone(), w.clone(), b.clone()], |x| x[0].linear(&x[1], Some(&x[2])));
            check(&[x.clone(), w.clone()], |x| x[0].linear(&x[1], None));
            let flat = x.reshape([x.shape().elements() / 4, 4]).unwrap();
            let expected = flat.linear(&w, Some(&b)).unwrap().to_vec::<f64>().unwrap();
            let found = x.clone().to_channels_last().linear(&w, Some(&b)).unwrap();
            assert_eq!(found.shape()[..], [&shape[..shape.len() - 1], &[3]].concat());
            assert_eq!(found.to_vec::<f64>().unwrap(), expected);
        }
        let (w, b) = (normal([4], 2), normal([], 3));
        check(&[normal([2, 5, 4], 1), w.clone(), b.clone()], |x| x[0].linear(&x[1], Some(&x[2])));
        assert_eq!(normal([2, 5, 4], 1).linear(&w, Some(&b)).unwrap().shape()[..], [2, 5]);
    }

    #[test]
    fn an_activation_in_the_layer_is_the_one_after_it() {
        let inputs = [normal([3, 40], 1), normal([5, 40], 2), normal([5], 3)];
        for activation in [Activation::Relu, Activation::Relu6] {
            check(&inputs, |x| x[0].linear_act(&x[1], Some(&x[2]), activation));
            check_twice(&inputs, |x| x[0].linear_act(&x[1], Some(&x[2]), activation));
            let [x, w, b] = inputs.each_ref().map(|t| t.to_dtype(DType::F32).unwrap());
            let sums = x.linear(&w, Some(&b)).unwrap();
            let apart = if activation == Activation::Relu { sums.relu() } else { sums.relu6() }.unwrap();
            let fused = x.linear_act(&w, Some(&b), activation).unwrap();
            assert_eq!(fused.to_vec::<f32>().unwrap(), apart.to_vec::<f32>().unwrap());
        }
    }

    #[test]
    fn a_linear_layer_takes_no_rows_and_no_features() {
        let (b, zeros) = (normal([3], 3), |shape: &[usize]| Tensor::zeros(shape, DType::F64).unwrap());
        let y = zeros(&[2, 0]).linear(&zeros(&[3, 0]), Some(&b)).unwrap();
        assert_eq!(y.to_vec::<f64>().unwrap(), b.to_vec::<f64>().unwrap().repeat(2));
        let (x, w) = (zeros(&[0, 5, 4]).requires_grad(), normal([3, 4], 1).requires_grad());
        let grads = x.linear(&w, Some(&b)).unwrap().sum().unwrap().backward().unwrap();
        assert_eq!(grads.get(&x).unwrap().shape()[..], [0, 5, 4]);
        assert_eq!(grads.get(&w).unwrap().to_vec::<f64>().unwrap(), [0.0; 12]);
    }

    #[test]
    fn a_linear_layer_has_second_gradients() {
        let (w, b) = (normal([3, 4], 2).requires_grad(), normal([3], 3));
        check(&[normal([2, 2, 4], 1)], |x| {
            let loss = x[0].linear(&w, Some(&b))?.square()?.sum()?;
            Ok(crate::grad(&loss, &[&w], true)?.remove(0))
        });
    }

    #[test]
    fn shapes_that_are_no_linear_layer_are_refused() {
        let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32).unwrap();
        let refused = |x: &[usize], w: &[usize], b: &[usize], part: &str| {
            let text = zeros(x).linear(&zeros(w), Some(&zeros(b))).unwrap_err().to_string();
            assert!(text.contains(part), "{text}");
        };
        refused(&[], &[3, 4], &[3], "input [] and weight [3, 4]");
        refused(&[], &[4], &[], "input [] and weight [4]");
        refused(&[2, 4], &[1, 3, 4], &[3], "weight [1, 3, 4]");
        refused(&[2, 4], &[3, 4], &[4], "it must be [3]");
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
