//! Elementwise arithmetic of two tensors, with broadcasting.

use rasgo_kernels::Bf16;
use rasgo_kernels::elementwise::{self, Binary, Number};

use super::broadcast::{broadcast_meta, broadcast_strides, memory_sizes};
use super::{expect_numbers, expect_same, number};
use crate::error::Result;
use crate::meta::{DType, Element, Meta, Shape};
use crate::op::{Bf16Rule, Grads, Input, LayoutRule, Mask, Metas, Op, Output, Saved, Saves, apply};
use crate::tensor::Tensor;

#[derive(Debug)]
struct Arithmetic {
    op: Binary,
    /// Whether the shapes are equal; only then the result may take the place of `a`.
    same: bool,
    /// Whether both are bfloat16; beside another dtype they are widened, and the other is not rounded.
    maps: bool,
}

/// z = a op b; axes are aligned at the end, and an axis of size 1 is repeated.
///
/// Both have one dtype, float32, float64 or int64. Whole numbers wrap at the ends of their range, and their quotient is
/// float32, as in PyTorch.
#[track_caller]
pub fn binary(op: Binary, a: Tensor, b: Tensor) -> Result<Tensor> {
    if op == Binary::Div && a.dtype() == DType::I64 && b.dtype() == DType::I64 {
        return binary(op, a.to_dtype(DType::F32)?, b.to_dtype(DType::F32)?);
    }
    let same = a.shape() == b.shape();
    let maps = a.dtype() == DType::Bf16 && b.dtype() == DType::Bf16;
    apply(Arithmetic { op, same, maps }, [a, b])
}

impl Op for Arithmetic {
    fn name(&self) -> &'static str {
        match self.op {
            Binary::Add => "add",
            Binary::Sub => "sub",
            Binary::Mul => "mul",
            Binary::Div => "div",
            Binary::Max => "maximum",
            Binary::Min => "minimum",
            Binary::Pow => "pow",
        }
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        let dtype = if self.maps { expect_same(inputs)? } else { expect_numbers(inputs)? };
        Ok(Metas::from_iter([broadcast_meta(inputs, dtype)?]))
    }

    fn bf16(&self) -> Bf16Rule {
        if self.maps { Bf16Rule::Inside(Mask::of(&[0, 1])) } else { Bf16Rule::Around }
    }

    fn layout(&self) -> LayoutRule {
        if self.same { LayoutRule::Same } else { LayoutRule::AsIs }
    }

    fn in_place(&self) -> Option<usize> {
        self.same.then_some(0)
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        match inputs[0].meta().dtype {
            DType::Bf16 => self.compute::<Bf16>(inputs, outputs),
            dtype => number!(dtype, T => self.compute::<T>(inputs, outputs)),
        }
    }

    fn saves(&self) -> Saves {
        match self.op {
            Binary::Add | Binary::Sub => Saves::default(),
            _ => Saves { inputs: Mask::of(&[0, 1]), outputs: Mask::NONE },
        }
    }

    fn grad(&self, mut saved: Saved, mut dy: Grads, needs: Mask) -> Result<Grads> {
        let dy = dy[0].take().expect("one output");
        match self.op {
            Binary::Add | Binary::Sub => {
                let (a, b) = (saved.input_shape(0), saved.input_shape(1));
                let db = needs.has(1).then(|| match self.op {
                    Binary::Add => Ok(dy.clone()),
                    _ => -&dy,
                });
                finish(needs.has(0).then_some(Ok(dy)), db, &a, &b)
            }
            Binary::Mul => {
                let (a, b) = (saved.input(0), saved.input(1));
                finish(needs.has(0).then(|| &dy * &b), needs.has(1).then(|| &dy * &a), a.shape(), b.shape())
            }
            Binary::Div => {
                let (a, b) = (saved.input(0), saved.input(1));
                let da = needs.has(0).then(|| &dy / &b);
                let db = needs.has(1).then(|| (-&dy)? * ((&a / &b)? / &b)?);
                finish(da, db, a.shape(), b.shape())
            }
            Binary::Max | Binary::Min => {
                let (a, b) = (saved.input(0).detach(), saved.input(1).detach());
                // Where the two are equal each gets half, and beside a NaN both get all, as in PyTorch.
                let equal = a.eq(&b)?;
                let dy = equal.where_(&(&dy * 0.5)?, &dy)?;
                let (a_loses, b_loses) = match self.op {
                    Binary::Max => (a.lt(&b)?, b.lt(&a)?),
                    _ => (a.gt(&b)?, b.gt(&a)?),
                };
                finish(
                    needs.has(0).then(|| a_loses.where_(0.0, &dy)),
                    needs.has(1).then(|| b_loses.where_(0.0, &dy)),
                    a.shape(),
                    b.shape(),
                )
            }
            Binary::Pow => {
                let (a, b) = (saved.input(0), saved.input(1));
                let da = needs.has(0).then(|| {
                    let slope = (&b * a.clone().pow(&(&b - 1.0)?)?)?;
                    b.eq(0.0)?.where_(0.0, &(&dy * slope)?)
                });
                let db = needs.has(1).then(|| {
                    // 0^b is 0 for every b > 0 and its logarithm has no value; the limit of the slope is 0.
                    let flat = a.eq(0.0)?.logical_and(&b.ge(0.0)?)?;
                    let slope = (a.clone().pow(&b)? * a.clone().log()?)?;
                    &dy * flat.where_(0.0, &slope)?
                });
                finish(da, db, a.shape(), b.shape())
            }
        }
    }
}

impl Arithmetic {
    fn compute<T: Element + Number>(&self, inputs: &[Input], outputs: &mut [Output]) {
        let (a, b) = (&inputs[0], &inputs[1]);
        let meta = outputs[0].meta().clone();
        let dst = outputs[0].values::<T>();
        if a.is_donated() {
            elementwise::binary_in_place(self.op, dst, b.values::<T>());
        } else if a.meta().shape == b.meta().shape {
            elementwise::binary(self.op, a.values::<T>(), b.values::<T>(), dst);
        } else {
            let (a_strides, b_strides) =
                (broadcast_strides(a.meta(), &meta), broadcast_strides(b.meta(), &meta));
            let (a, b) = (a.values::<T>(), b.values::<T>());
            elementwise::binary_broadcast(self.op, &memory_sizes(&meta), a, &a_strides, b, &b_strides, dst);
        }
    }
}

/// The gradients, summed over the axes that broadcasting repeated.
fn finish(da: Option<Result<Tensor>>, db: Option<Result<Tensor>>, a: &Shape, b: &Shape) -> Result<Grads> {
    let fit = |grad: Option<Result<Tensor>>, shape: &Shape| {
        grad.map(|grad| grad.and_then(|grad| grad.sum_to(shape))).transpose()
    };
    Ok(Grads::from_iter([fit(da, a)?, fit(db, b)?]))
}

impl Tensor {
    /// The larger of two, elementwise.
    #[track_caller]
    pub fn maximum(self, other: &Tensor) -> Result<Tensor> {
        binary(Binary::Max, self, other.clone())
    }

    /// The smaller of two, elementwise.
    #[track_caller]
    pub fn minimum(self, other: &Tensor) -> Result<Tensor> {
        binary(Binary::Min, self, other.clone())
    }

    /// Adds another tensor of the same shape, in place where nobody else holds the values.
    #[track_caller]
    pub(crate) fn accumulate(self, other: Tensor) -> Result<Tensor> {
        binary(Binary::Add, self, other)
    }
}

#[cfg(test)]
mod tests {
    use super::super::grad_check::{check, normal};
    use super::super::stored_check::{self, rounded};
    use super::*;
    use crate::Layout;

    #[test]
    fn arithmetic_has_the_gradients_of_its_differences() {
        for op in [Binary::Add, Binary::Sub, Binary::Mul, Binary::Max, Binary::Min] {
            for (a, b) in [(vec![2, 3], vec![2, 3]), (vec![4, 1, 3], vec![2, 1]), (vec![3], vec![2, 3])] {
                check(&[normal(a, 1), normal(b, 2)], |x| binary(op, x[0].clone(), x[1].clone()));
            }
        }
        let divisor = normal([2, 1], 3).square().unwrap().add_scalar(1.0).unwrap();
        check(&[normal([4, 2, 3], 1), divisor.clone()], |x| &x[0] / &x[1]);
        check(&[divisor, normal([4, 2, 3], 2)], |x| x[0].clone().pow(&x[1]));
    }

    #[test]
    fn arithmetic_of_bfloat16_is_that_of_float32_rounded() {
        for op in [Binary::Add, Binary::Sub, Binary::Mul] {
            // The products that a gradient of a repeated factor is the sum of are rounded each.
            let repeated = (op != Binary::Mul).then_some(vec![1, 3, 1, 1]);
            for shape in repeated.into_iter().chain([vec![2, 3, 4, 5]]) {
                let maps = [rounded([2, 3, 4, 5], 1), rounded(shape, 2)];
                stored_check::check(&maps, &[], |x| binary(op, x[0].clone(), x[1].clone()));
            }
        }
    }

    #[test]
    fn a_sum_of_bfloat16_that_nobody_else_holds_takes_the_place_of_its_first() {
        let [a, b] = [1, 2].map(|seed| rounded([4, 300], seed).to_dtype(DType::Bf16).unwrap());
        let wanted = (&a + &b).unwrap().to_vec::<Bf16>().unwrap();
        let alone = a.deep_copy();
        let place = alone.as_slice::<Bf16>().unwrap().as_ptr();
        let sum = stored_check::no_casts(|| alone.accumulate(b).unwrap());
        assert_eq!(
            (sum.as_slice::<Bf16>().unwrap().as_ptr(), sum.to_vec::<Bf16>().unwrap()),
            (place, wanted)
        );
    }

    #[test]
    fn whole_numbers_are_computed_as_whole_numbers() {
        let of = |values: Vec<i64>| Tensor::from_vec(values, [2]).unwrap();
        let (a, b) = (of(vec![i64::MAX, 7]), of(vec![1, -2]));
        assert_eq!((&a + &b).unwrap().to_vec::<i64>().unwrap(), [i64::MIN, 5]);
        assert_eq!((&a * 2.0).unwrap().to_vec::<i64>().unwrap(), [-2, 14]);
        assert_eq!((of(vec![1, 7]) / b).unwrap().to_vec::<f32>().unwrap(), [1.0, -3.5]);
        let text = (&a + 0.5).unwrap_err().to_string();
        assert!(text.contains("0.5 beside a tensor of int64"), "{text}");
        let text = (&a + Tensor::zeros([2], DType::F32).unwrap()).unwrap_err().to_string();
        assert!(text.contains("int64 and float32 do not mix"), "{text}");
    }

    /// Values of `torch.maximum` and `torch.pow` and their gradients.
    #[test]
    fn edges_are_those_of_pytorch() {
        let nan = f64::NAN;
        let leaf = |values: Vec<f64>| Tensor::from_vec(values, [4]).unwrap().requires_grad();
        let (a, b) = (leaf(vec![1.0, 2.0, nan, 3.0]), leaf(vec![1.0, 5.0, 1.0, nan]));
        let grads = a.clone().maximum(&b).unwrap().sum().unwrap().backward().unwrap();
        assert_eq!(grads.get(&a).unwrap().to_vec::<f64>().unwrap(), [0.5, 0.0, 1.0, 1.0]);
        assert_eq!(grads.get(&b).unwrap().to_vec::<f64>().unwrap(), [0.5, 1.0, 1.0, 1.0]);
        let (a, b) = (leaf(vec![0.0, 0.0, -2.0, 1.0]), leaf(vec![0.0, 2.0, 3.0, nan]));
        let y = a.clone().pow(&b).unwrap();
        assert_eq!(y.to_vec::<f64>().unwrap(), [1.0, 0.0, -8.0, 1.0]);
        let grads = y.sum().unwrap().backward().unwrap();
        let (da, db) = (grads.get(&a).unwrap().to_vec::<f64>(), grads.get(&b).unwrap().to_vec::<f64>());
        let (da, db) = (da.unwrap(), db.unwrap());
        assert!(da[..3] == [0.0, 0.0, 12.0] && da[3].is_nan(), "{da:?}");
        assert!(db[..2] == [0.0, 0.0] && db[2].is_nan() && db[3] == 0.0, "{db:?}");
    }

    #[test]
    fn nothing_broadcasts_with_one() {
        let empty = Tensor::zeros([0, 3], DType::F32).unwrap();
        let row = Tensor::ones([1, 3], DType::F32).unwrap();
        assert_eq!(**(&empty + &row).unwrap().shape(), [0, 3]);
    }

    #[test]
    fn a_map_stays_channels_last_and_has_the_same_values() {
        for shape in [vec![1, 3, 1, 1], vec![1, 1, 4, 5], vec![2, 1, 1, 5], vec![3, 1, 1], vec![2, 3, 4, 5]] {
            let (x, b) = (normal([2, 3, 4, 5], 1), normal(shape, 2));
            let map = x.clone().to_channels_last();
            let expected = (&x - &b).unwrap().to_vec::<f64>().unwrap();
            let found = (&map - &b).unwrap();
            assert_eq!(found.layout(), Layout::ChannelsLast);
            assert_eq!(found.to_vec::<f64>().unwrap(), expected);
            let expected: Vec<f64> = (&b - &x).unwrap().to_vec().unwrap();
            assert_eq!((&b - &map).unwrap().to_vec::<f64>().unwrap(), expected);
            check(&[map, b], |x| &x[0] * &x[1]);
        }
    }

    #[test]
    fn shapes_that_do_not_broadcast_are_refused_with_the_line() {
        let a = Tensor::zeros([2, 3], crate::DType::F32).unwrap();
        let b = Tensor::zeros([4, 3], crate::DType::F32).unwrap();
        let error = (&a + &b).unwrap_err();
        assert_eq!(error.location().unwrap().file(), file!());
        assert!(error.to_string().contains("[2, 3] and [4, 3]"), "{error}");
    }
}
