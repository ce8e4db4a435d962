//! Elementwise arithmetic of two tensors, with broadcasting.

use rasgo_kernels::elementwise::{self, Binary};
use smallvec::SmallVec;

use super::{expect_float, float};
use crate::error::{Error, Result};
use crate::meta::{Layout, Meta, Shape};
use crate::op::{Grads, Input, LayoutRule, Mask, Metas, Op, Output, Saved, Saves, apply};
use crate::tensor::Tensor;

#[derive(Debug)]
struct Arithmetic {
    op: Binary,
    /// Whether the shapes are equal; only then the result may take the place of `a`.
    same: bool,
}

/// z = a op b; axes are aligned at the end, and an axis of size 1 is repeated.
#[track_caller]
pub fn binary(op: Binary, a: Tensor, b: Tensor) -> Result<Tensor> {
    let same = a.shape() == b.shape();
    apply(Arithmetic { op, same }, [a, b])
}

/// The shape that both shapes broadcast to.
pub(crate) fn broadcast_shape(a: &Shape, b: &Shape) -> Result<Shape> {
    let rank = a.len().max(b.len());
    let size = |shape: &Shape, axis: usize| (axis + shape.len()).checked_sub(rank).map_or(1, |i| shape[i]);
    (0..rank)
        .map(|axis| match (size(a, axis), size(b, axis)) {
            (x, y) if x == y => Ok(x),
            (1, y) => Ok(y),
            (x, 1) => Ok(x),
            (x, y) => Err(Error::shape(format!(
                "shapes {a} and {b} do not broadcast: sizes {x} and {y} at axis {axis} (aligned at the end)"
            ))
            .hint("make the sizes equal, or one of them 1 with .reshape")),
        })
        .collect()
}

/// Strides for reading `meta` as `target`, in the order of the target's memory: 0 along repeated axes.
fn broadcast_strides(meta: &Meta, target: &Meta) -> SmallVec<[usize; 6]> {
    let own = meta.strides();
    let missing = target.shape.len() - meta.shape.len();
    let stride = |axis: usize| match axis.checked_sub(missing) {
        Some(i) if meta.shape[i] != 1 => own[i],
        _ => 0,
    };
    target.memory_order().into_iter().map(stride).collect()
}

/// The sizes of the axes in the order of memory.
fn memory_sizes(meta: &Meta) -> SmallVec<[usize; 6]> {
    meta.memory_order().into_iter().map(|axis| meta.shape[axis]).collect()
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
        }
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        expect_float(inputs)?;
        if inputs[0].shape == inputs[1].shape {
            return Ok(Metas::from_iter([inputs[0].clone()]));
        }
        let shape = broadcast_shape(&inputs[0].shape, &inputs[1].shape)?;
        // A map stays channels-last beside whatever is repeated over it.
        let map = |input: &Meta| input.layout == Layout::ChannelsLast && input.shape.len() == shape.len();
        let channels_last = inputs.iter().any(map);
        let dtype = inputs[0].dtype;
        let meta = if channels_last { Meta::channels_last(shape, dtype) } else { Meta::plain(shape, dtype) };
        Ok(Metas::from_iter([meta]))
    }

    fn layout(&self) -> LayoutRule {
        if self.same { LayoutRule::Same } else { LayoutRule::AsIs }
    }

    fn in_place(&self) -> Option<usize> {
        self.same.then_some(0)
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        let (a, b) = (&inputs[0], &inputs[1]);
        let meta = outputs[0].meta().clone();
        float!(a.meta().dtype, T => {
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
        });
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
                let sign = if self.op == Binary::Add { 1.0 } else { -1.0 };
                let db =
                    needs.has(1).then(|| if sign > 0.0 { Ok(dy.clone()) } else { dy.clone().scale(sign) });
                finish(needs.has(0).then_some(Ok(dy)), db, &a, &b)
            }
            Binary::Mul => {
                let (a, b) = (saved.input(0), saved.input(1));
                finish(needs.has(0).then(|| &dy * &b), needs.has(1).then(|| &dy * &a), a.shape(), b.shape())
            }
            Binary::Div => {
                let (a, b) = (saved.input(0), saved.input(1));
                let da = needs.has(0).then(|| &dy / &b);
                let db = needs.has(1).then(|| ((&dy * &a)? / b.clone().square()?)?.scale(-1.0));
                finish(da, db, a.shape(), b.shape())
            }
            Binary::Max | Binary::Min => {
                let (a, b) = (saved.input(0).detach(), saved.input(1).detach());
                // Where the two are equal each gets half, as in PyTorch.
                let first = half_step(self.op, &a, &b)?;
                let second = first.clone().scale(-1.0)?.add_scalar(1.0)?;
                finish(
                    needs.has(0).then(|| &dy * first),
                    needs.has(1).then(|| &dy * second),
                    a.shape(),
                    b.shape(),
                )
            }
        }
    }
}

/// 1 where `a` is the chosen one, 1/2 where the two are equal, 0 elsewhere.
fn half_step(op: Binary, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let difference = if op == Binary::Max { (a - b)? } else { (b - a)? };
    let sign = apply(Sign, [difference])?;
    sign.scale(0.5)?.add_scalar(0.5)
}

/// The gradients, summed over the axes that broadcasting repeated.
fn finish(da: Option<Result<Tensor>>, db: Option<Result<Tensor>>, a: &Shape, b: &Shape) -> Result<Grads> {
    let fit = |grad: Option<Result<Tensor>>, shape: &Shape| {
        grad.map(|grad| grad.and_then(|grad| grad.sum_to(shape))).transpose()
    };
    Ok(Grads::from_iter([fit(da, a)?, fit(db, b)?]))
}

/// -1, 0 or 1; constant in pieces, so no gradient passes.
#[derive(Debug)]
struct Sign;

impl Op for Sign {
    fn name(&self) -> &'static str {
        "sign"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        Ok(Metas::from_iter([inputs[0].clone()]))
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        float!(inputs[0].meta().dtype, T => {
            for (y, &x) in outputs[0].values::<T>().iter_mut().zip(inputs[0].values::<T>()) {
                *y = if x > 0.0 { 1.0 } else if x < 0.0 { -1.0 } else { x };
            }
        });
    }

    fn grad(&self, _saved: Saved, _dy: Grads, _needs: Mask) -> Result<Grads> {
        Ok(Grads::from_iter([None]))
    }
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

    /// Repeats axes of size 1, and adds leading ones, up to the given shape.
    #[track_caller]
    pub fn broadcast_to(&self, shape: impl Into<Shape>) -> Result<Tensor> {
        apply(Broadcast(shape.into()), [self.clone()])
    }
}

#[derive(Debug)]
struct Broadcast(Shape);

impl Op for Broadcast {
    fn name(&self) -> &'static str {
        "broadcast_to"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        expect_float(inputs)?;
        let shape = broadcast_shape(&inputs[0].shape, &self.0)?;
        if shape != self.0 {
            return Err(Error::shape(format!("shape {} does not broadcast to {}", inputs[0].shape, self.0)));
        }
        Ok(Metas::from_iter([Meta { shape, dtype: inputs[0].dtype, layout: Layout::Plain }]))
    }

    fn layout(&self) -> LayoutRule {
        LayoutRule::Plain
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        float!(inputs[0].meta().dtype, T => {
            let strides = broadcast_strides(inputs[0].meta(), outputs[0].meta());
            elementwise::copy_strided(&self.0, inputs[0].values::<T>(), &strides, outputs[0].values::<T>());
        });
    }

    fn grad(&self, saved: Saved, mut dy: Grads, _needs: Mask) -> Result<Grads> {
        let shape = saved.input_shape(0);
        Ok(Grads::from_iter([Some(dy[0].take().expect("one output").sum_to(&shape)?)]))
    }
}

#[cfg(test)]
mod tests {
    use super::super::grad_check::{check, normal};
    use super::*;

    #[test]
    fn arithmetic_has_the_gradients_of_its_differences() {
        for op in [Binary::Add, Binary::Sub, Binary::Mul, Binary::Max, Binary::Min] {
            for (a, b) in [(vec![2, 3], vec![2, 3]), (vec![4, 1, 3], vec![2, 1]), (vec![3], vec![2, 3])] {
                check(&[normal(a, 1), normal(b, 2)], |x| binary(op, x[0].clone(), x[1].clone()));
            }
        }
        let divisor = normal([2, 1], 3).square().unwrap().add_scalar(1.0).unwrap();
        check(&[normal([4, 2, 3], 1), divisor], |x| &x[0] / &x[1]);
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
