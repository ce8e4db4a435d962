//! One of two values by a mask: where, masked_fill, tril, triu.

use std::panic::Location;

use rasgo_kernels::elementwise::{self, Strided};

use super::broadcast::{broadcast_meta, broadcast_strides, memory_sizes};
use super::operand::Operand;
use super::{any, expect_same};
use crate::error::{Error, ErrorKind, Result};
use crate::meta::{DType, Meta};
use crate::op::{Grads, Input, LayoutRule, Mask, Metas, Op, Output, Saved, Saves, apply};
use crate::tensor::Tensor;

/// y = a where mask, else b; the three broadcast.
#[derive(Debug)]
struct Where {
    name: &'static str,
}

impl Op for Where {
    fn name(&self) -> &'static str {
        self.name
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        if inputs[0].dtype != DType::U8 {
            return Err(Error::new(
                ErrorKind::DType,
                format!("a condition of {} where uint8 is wanted", inputs[0].dtype),
            )
            .hint("compare, as in x.gt(0.0), or convert it with .to_dtype(DType::U8)"));
        }
        let dtype = expect_same(&inputs[1..])?;
        Ok(Metas::from_iter([broadcast_meta(inputs, dtype)?]))
    }

    fn layout(&self) -> LayoutRule {
        LayoutRule::AsIs
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        let meta = outputs[0].meta().clone();
        let [mask, a, b] = [0, 1, 2].map(|i| broadcast_strides(inputs[i].meta(), &meta));
        any!(meta.dtype, T => {
            elementwise::select(
                &memory_sizes(&meta),
                Strided { values: inputs[0].values::<u8>(), strides: &mask },
                Strided { values: inputs[1].values::<T>(), strides: &a },
                Strided { values: inputs[2].values::<T>(), strides: &b },
                outputs[0].values::<T>(),
            );
        });
    }

    fn saves(&self) -> Saves {
        Saves { inputs: Mask::of(&[0]), outputs: Mask::NONE }
    }

    fn grad(&self, mut saved: Saved, mut dy: Grads, needs: Mask) -> Result<Grads> {
        let (mask, dy) = (saved.input(0), dy[0].take().expect("one output"));
        let (a, b) = (saved.input_shape(1), saved.input_shape(2));
        let da = needs.has(1).then(|| mask.where_(&dy, 0.0)?.sum_to(&a)).transpose()?;
        let db = needs.has(2).then(|| mask.where_(0.0, &dy)?.sum_to(&b)).transpose()?;
        Ok(Grads::from_iter([None, da, db]))
    }
}

impl Tensor {
    /// `a` where this mask (u8) is not 0, else `b`; the three broadcast, and one of a and b may be a number.
    ///
    /// ```
    /// # use rasgo_core::Tensor;
    /// let x = Tensor::from_vec(vec![-1.0f32, 2.0], [2])?;
    /// assert_eq!(x.gt(0.0)?.where_(&x, 0.0)?.to_vec::<f32>()?, [0.0, 2.0]);
    /// # Ok::<(), rasgo_core::Error>(())
    /// ```
    #[track_caller]
    pub fn where_(&self, a: impl Into<Operand>, b: impl Into<Operand>) -> Result<Tensor> {
        let (a, b) = (a.into(), b.into());
        let dtype = match (&a, &b) {
            (Operand::Tensor(tensor), _) | (_, Operand::Tensor(tensor)) => tensor.dtype(),
            _ => DType::F32,
        };
        let (a, b) = (a.beside(dtype, "where")?, b.beside(dtype, "where")?);
        apply(Where { name: "where" }, [self.clone(), a, b])
    }

    /// `value` where the mask (u8) is not 0; the two broadcast.
    ///
    /// ```
    /// # use rasgo_core::Tensor;
    /// let x = Tensor::from_vec(vec![-1.0f32, 2.0], [2])?;
    /// assert_eq!(x.masked_fill(&x.lt(0.0)?, 9.0)?.to_vec::<f32>()?, [9.0, 2.0]);
    /// # Ok::<(), rasgo_core::Error>(())
    /// ```
    #[track_caller]
    pub fn masked_fill(&self, mask: &Tensor, value: f64) -> Result<Tensor> {
        let value = Operand::Number(value).beside(self.dtype(), "masked_fill")?;
        apply(Where { name: "masked_fill" }, [mask.clone(), value, self.clone()])
    }

    /// The values on and below the diagonal of the last two axes, 0 elsewhere; the diagonal lies `diagonal` to the right.
    #[track_caller]
    pub fn tril(&self, diagonal: isize) -> Result<Tensor> {
        self.triangle("tril", |row, column| column <= row.saturating_add(diagonal))
    }

    /// The values on and above the diagonal of the last two axes, 0 elsewhere; the diagonal lies `diagonal` to the right.
    #[track_caller]
    pub fn triu(&self, diagonal: isize) -> Result<Tensor> {
        self.triangle("triu", |row, column| column >= row.saturating_add(diagonal))
    }

    #[track_caller]
    fn triangle(&self, op: &'static str, keeps: impl Fn(isize, isize) -> bool) -> Result<Tensor> {
        let [.., rows, columns] = self.shape()[..] else {
            let text = format!("a tensor of shape {}, which is no matrix", self.shape());
            return Err(Error::shape(text).hint("give two axes or more").op(op).at(Location::caller()));
        };
        let mask = Tensor::from_fn([rows, columns], |mask: &mut [u8]| {
            for (i, mask) in mask.iter_mut().enumerate() {
                *mask = u8::from(keeps((i / columns) as isize, (i % columns) as isize));
            }
        });
        mask.where_(self, 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::grad_check::{check, normal};
    use crate::{DType, Layout, Tensor};

    #[test]
    fn a_choice_sends_the_gradient_to_what_was_chosen() {
        let mask = normal([2, 3, 1, 5], 9).gt(0.0).unwrap();
        for b in [vec![2, 3, 4, 5], vec![4, 1], vec![3, 1, 1]] {
            check(&[normal([2, 3, 4, 5], 1).to_channels_last(), normal(b.clone(), 2)], |x| {
                mask.where_(&x[0], &x[1])
            });
        }
        check(&[normal([2, 3, 4, 5], 1)], |x| x[0].masked_fill(&mask, 7.0));
        check(&[normal([2, 3, 4], 1)], |x| x[0].tril(-1));
        check(&[normal([2, 3, 4], 1)], |x| x[0].triu(1));
    }

    #[test]
    fn what_is_not_chosen_does_not_spoil_the_gradient() {
        let x = Tensor::from_vec(vec![0.0f32, 4.0], [2]).unwrap().requires_grad();
        let y = x.gt(0.0).unwrap().where_(x.clone().sqrt().unwrap(), 0.0).unwrap();
        let grads = y.sum().unwrap().backward().unwrap();
        // As in PyTorch: 0 * inf at the root is NaN, the choice itself passes 0.
        let dx = grads.get(&x).unwrap().to_vec::<f32>().unwrap();
        assert!(dx[0].is_nan() && dx[1] == 0.25, "{dx:?}");
    }

    #[test]
    fn layouts_and_dtypes_are_kept() {
        let x = normal([2, 3, 4, 5], 1);
        let map = x.clone().to_channels_last();
        let y = map.gt(0.0).unwrap().where_(&map, &x).unwrap();
        assert_eq!((y.layout(), y.to_f64_vec().unwrap()), (Layout::ChannelsLast, x.to_f64_vec().unwrap()));
        let whole = Tensor::from_vec(vec![1i64, 2, 3, 4], [2, 2]).unwrap();
        assert_eq!(whole.tril(0).unwrap().to_vec::<i64>().unwrap(), [1, 0, 3, 4]);
        assert_eq!(whole.triu(0).unwrap().to_vec::<i64>().unwrap(), [1, 2, 0, 4]);
    }

    #[test]
    fn conditions_are_masks() {
        let x = Tensor::zeros([2, 3], DType::F32).unwrap();
        let text = x.where_(&x, &x).unwrap_err().to_string();
        assert!(text.contains("a condition of float32 where uint8 is wanted"), "{text}");
        let other = Tensor::zeros([4, 3], DType::U8).unwrap();
        let text = x.masked_fill(&other, 0.0).unwrap_err().to_string();
        assert!(text.contains("masked_fill: shapes") && text.contains("do not broadcast"), "{text}");
        assert!(Tensor::zeros([3], DType::F32).unwrap().tril(0).is_err());
    }
}
