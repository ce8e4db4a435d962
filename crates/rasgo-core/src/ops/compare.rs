//! Comparisons and logic: u8 tensors of 0 and 1, which are rasgo's masks. No gradient flows through them.

use rasgo_kernels::elementwise::{self, Compare};

use super::broadcast::{broadcast_meta, broadcast_strides, memory_sizes};
use super::operand::Operand;
use super::{any, expect_same};
use crate::error::Result;
use crate::meta::{DType, Meta};
use crate::op::{Grads, Input, LayoutRule, Mask, Metas, Op, Output, Saved, apply};
use crate::tensor::Tensor;

/// y = 1 where a op b, else 0; broadcasting.
#[derive(Debug)]
struct Comparison {
    op: Compare,
    same: bool,
}

fn name(op: Compare) -> &'static str {
    match op {
        Compare::Eq => "eq",
        Compare::Ne => "ne",
        Compare::Lt => "lt",
        Compare::Le => "le",
        Compare::Gt => "gt",
        Compare::Ge => "ge",
        Compare::And => "logical_and",
        Compare::Or => "logical_or",
        Compare::Xor => "logical_xor",
    }
}

impl Op for Comparison {
    fn name(&self) -> &'static str {
        name(self.op)
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        expect_same(inputs)?;
        Ok(Metas::from_iter([broadcast_meta(inputs, DType::U8)?]))
    }

    fn layout(&self) -> LayoutRule {
        if self.same { LayoutRule::Same } else { LayoutRule::AsIs }
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        let (a, b) = (&inputs[0], &inputs[1]);
        let meta = outputs[0].meta().clone();
        any!(a.meta().dtype, T => {
            let dst = outputs[0].values::<u8>();
            if self.same {
                elementwise::compare(self.op, a.values::<T>(), b.values::<T>(), dst);
            } else {
                let (a_strides, b_strides) =
                    (broadcast_strides(a.meta(), &meta), broadcast_strides(b.meta(), &meta));
                let (a, b) = (a.values::<T>(), b.values::<T>());
                elementwise::compare_broadcast(self.op, &memory_sizes(&meta), a, &a_strides, b, &b_strides, dst);
            }
        });
    }

    fn grad(&self, _saved: Saved, _dy: Grads, _needs: Mask) -> Result<Grads> {
        Ok(Grads::from_iter([None, None]))
    }
}

#[track_caller]
fn comparison(op: Compare, a: &Tensor, b: Operand) -> Result<Tensor> {
    let b = b.beside(a.dtype(), name(op))?;
    let same = a.shape() == b.shape();
    apply(Comparison { op, same }, [a.detach(), b.detach()])
}

macro_rules! methods {
    ($($(#[$doc:meta])* $name:ident => $op:expr;)*) => {
        impl Tensor {$(
            $(#[$doc])*
            #[track_caller]
            pub fn $name(&self, other: impl Into<Operand>) -> Result<Tensor> {
                comparison($op, self, other.into())
            }
        )*}
    };
}

methods! {
    /// 1 where the two are equal, of a tensor or a number; broadcasting. A NaN is unequal to itself.
    ///
    /// ```
    /// # use rasgo_core::Tensor;
    /// let x = Tensor::from_vec(vec![1.0f32, 2.0, 3.0], [3])?;
    /// assert_eq!(x.eq(2.0)?.to_vec::<u8>()?, [0, 1, 0]);
    /// # Ok::<(), rasgo_core::Error>(())
    /// ```
    eq => Compare::Eq;
    /// 1 where the two are not equal.
    ne => Compare::Ne;
    /// 1 where this is less.
    lt => Compare::Lt;
    /// 1 where this is less or equal.
    le => Compare::Le;
    /// 1 where this is greater.
    gt => Compare::Gt;
    /// 1 where this is greater or equal.
    ge => Compare::Ge;
    /// 1 where neither is 0.
    logical_and => Compare::And;
    /// 1 where not both are 0.
    logical_or => Compare::Or;
    /// 1 where just one is 0.
    logical_xor => Compare::Xor;
}

impl Tensor {
    /// 1 where this is 0.
    #[track_caller]
    pub fn logical_not(&self) -> Result<Tensor> {
        self.eq(0.0)
    }

    /// 1 where this is NaN.
    #[track_caller]
    pub fn isnan(&self) -> Result<Tensor> {
        self.ne(self)
    }

    /// 1 where this is infinite.
    #[track_caller]
    pub fn isinf(&self) -> Result<Tensor> {
        match self.dtype().is_float() {
            true => self.detach().abs()?.eq(f64::INFINITY),
            false => self.ne(self),
        }
    }

    /// 1 where this is neither NaN nor infinite.
    #[track_caller]
    pub fn isfinite(&self) -> Result<Tensor> {
        match self.dtype().is_float() {
            true => self.detach().abs()?.lt(f64::INFINITY),
            false => self.eq(self),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::grad_check::normal;
    use crate::{DType, Layout, Tensor};

    #[test]
    fn every_dtype_compares_with_tensors_and_numbers() {
        let of = |y: crate::Result<Tensor>| y.unwrap().to_vec::<u8>().unwrap();
        for dtype in [DType::F32, DType::F64, DType::I64, DType::U8] {
            let x = Tensor::arange(0.0, 3.0, 1.0).unwrap().to_dtype(dtype).unwrap();
            let y = Tensor::full([3], 1.0, dtype).unwrap();
            assert_eq!(of(x.lt(&y)), [1, 0, 0]);
            assert_eq!(of(x.ge(&y)), [0, 1, 1]);
            assert_eq!(of(x.ne(1.0)), [1, 0, 1]);
            assert_eq!(of(x.gt(x.reshape([3, 1]).unwrap())), [0, 1, 1, 0, 0, 1, 0, 0, 0]);
            assert_eq!(of(x.logical_and(&y)), [0, 1, 1]);
            assert_eq!(of(x.logical_or(0.0)), [0, 1, 1]);
            assert_eq!(of(x.logical_xor(&y)), [1, 0, 0]);
            assert_eq!(of(x.logical_not()), [1, 0, 0]);
            assert_eq!(of(x.isfinite()), [1; 3]);
        }
        let odd = Tensor::from_vec(vec![f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0], [4]).unwrap();
        assert_eq!(of(odd.isnan()), [1, 0, 0, 0]);
        assert_eq!(of(odd.isinf()), [0, 1, 1, 0]);
        assert_eq!(of(odd.isfinite()), [0, 0, 0, 1]);
    }

    #[test]
    fn a_number_that_the_dtype_does_not_hold_is_refused() {
        let x = Tensor::zeros([3], DType::I64).unwrap();
        let error = x.gt(0.5).unwrap_err();
        assert!(error.to_string().contains("gt: 0.5 beside a tensor of int64"), "{error}");
        assert_eq!(error.location().unwrap().file(), file!());
        assert!(x.eq(Tensor::zeros([3], DType::U8).unwrap()).is_err());
        assert!(Tensor::zeros([3], DType::U8).unwrap().lt(256.0).is_err());
    }

    #[test]
    fn a_map_is_compared_as_it_lies() {
        let (x, y) = (normal([2, 3, 4, 5], 1), normal([2, 3, 4, 5], 2));
        let map = x.clone().to_channels_last();
        for other in [y.clone(), y.narrow(1, 0, 1).unwrap(), y.to_channels_last()] {
            let mask = map.gt(&other).unwrap();
            assert_eq!(mask.layout(), Layout::ChannelsLast);
            assert_eq!(mask.to_vec::<u8>().unwrap(), x.gt(&other).unwrap().to_vec::<u8>().unwrap());
        }
    }
}
