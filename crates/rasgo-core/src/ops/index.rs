//! Picking and placing by an index: index_select, index_add, gather, scatter, scatter_add.

use std::panic::Location;

use rasgo_kernels::elementwise::Number;
use rasgo_kernels::movement;

use super::{any, axis_of, blocks, number};
use crate::error::{Error, ErrorKind, Result};
use crate::meta::{DType, Meta, Shape};
use crate::op::{Grads, Input, LayoutRule, Mask, Metas, Op, Output, Saved, Saves, apply};
use crate::reach::{self, Reaches};
use crate::tensor::Tensor;

/// Checks an index's dtype, and its values where it has them, against the axis that it points into.
pub(super) fn expect_index(index: &Tensor, axis: usize, size: usize) -> Result<()> {
    if index.dtype() != DType::I64 {
        return Err(Error::new(
            ErrorKind::DType,
            format!("an index of {} where int64 is wanted", index.dtype()),
        )
        .hint("convert it with .to_dtype(DType::I64)"));
    }
    if index.is_shape_only() {
        return Ok(());
    }
    let values = index.to_vec::<i64>()?;
    let Some(at) = values.iter().position(|&i| usize::try_from(i).map_or(true, |i| i >= size)) else {
        return Ok(());
    };
    let mut rest = at;
    let mut place: Vec<usize> = index
        .shape()
        .iter()
        .rev()
        .map(|&n| {
            let i = rest % n;
            rest /= n;
            i
        })
        .collect();
    place.reverse();
    Err(Error::new(
        ErrorKind::Index,
        format!("index {} at {place:?} is outside axis {axis} of size {size}", values[at]),
    )
    .hint(match size {
        0 => "the axis has no elements".into(),
        _ => format!("give 0..={}", size - 1),
    }))
}

/// y[…, i, …] = x[…, index[i], …] along the axis.
#[derive(Debug, Clone)]
struct IndexSelect {
    axis: usize,
}

impl Op for IndexSelect {
    fn name(&self) -> &'static str {
        "index_select"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        let index = &inputs[1].shape;
        if index.len() > 1 {
            return Err(Error::shape(format!("an index of shape {index}; it must have one axis"))
                .hint("flatten it, or use .gather for a place per element"));
        }
        let mut sizes = inputs[0].shape.to_vec();
        sizes[self.axis] = index.elements();
        Ok(Metas::from_iter([Meta::plain(sizes, inputs[0].dtype)]))
    }

    fn layout(&self) -> LayoutRule {
        LayoutRule::Plain
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        let (_, size, inner) = blocks(inputs[0].meta(), self.axis);
        any!(inputs[0].meta().dtype, T => {
            let index = inputs[1].values::<i64>();
            movement::index_select(size, inner, inputs[0].values::<T>(), index, outputs[0].values::<T>());
        });
    }

    fn reach(&self, which: usize, inputs: &[Shape], output: &Shape) -> Reaches {
        reach::whole_axis(&inputs[which], output, self.axis)
    }

    fn saves(&self) -> Saves {
        Saves { inputs: Mask::of(&[1]), outputs: Mask::NONE }
    }

    fn grad(&self, mut saved: Saved, mut dy: Grads, _needs: Mask) -> Result<Grads> {
        let dy = dy[0].take().expect("one output");
        let zeros = Tensor::zeros(saved.input_shape(0), dy.dtype())?;
        Ok(Grads::from_iter([Some(apply(IndexAdd { axis: self.axis }, [zeros, saved.input(1), dy])?), None]))
    }
}

/// y = x, and y[…, index[i], …] += source[…, i, …] along the axis.
#[derive(Debug, Clone)]
struct IndexAdd {
    axis: usize,
}

impl Op for IndexAdd {
    fn name(&self) -> &'static str {
        "index_add"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        let [x, index, source] = inputs else { unreachable!("three inputs") };
        super::expect_numbers(&[x.clone(), source.clone()])?;
        let mut wanted = x.shape.to_vec();
        wanted[self.axis] = index.shape.elements();
        if index.shape.len() > 1 || *source.shape != wanted[..] {
            return Err(Error::shape(format!(
                "a source of shape {} for an index of shape {} along axis {} of {}",
                source.shape, index.shape, self.axis, x.shape
            ))
            .hint(format!("the source must be {wanted:?}")));
        }
        Ok(Metas::from_iter([x.clone()]))
    }

    fn layout(&self) -> LayoutRule {
        LayoutRule::Plain
    }

    fn in_place(&self) -> Option<usize> {
        Some(0)
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        let (_, size, inner) = blocks(inputs[0].meta(), self.axis);
        number!(inputs[0].meta().dtype, T => {
            let dst = outputs[0].values::<T>();
            if !inputs[0].is_donated() {
                dst.copy_from_slice(inputs[0].values::<T>());
            }
            let (index, source) = (inputs[1].values::<i64>(), inputs[2].values::<T>());
            movement::index_add(size, inner, index, source, dst, T::plus);
        });
    }

    fn reach(&self, which: usize, inputs: &[Shape], output: &Shape) -> Reaches {
        match which {
            0 => reach::by_shape(&inputs[0], output),
            _ => reach::whole_axis(&inputs[which], output, self.axis),
        }
    }

    fn saves(&self) -> Saves {
        Saves { inputs: Mask::of(&[1]), outputs: Mask::NONE }
    }

    fn grad(&self, mut saved: Saved, mut dy: Grads, needs: Mask) -> Result<Grads> {
        let (index, dy) = (saved.input(1), dy[0].take().expect("one output"));
        let select = IndexSelect { axis: self.axis };
        let dsource = needs
            .has(2)
            .then(|| apply(select, [dy.clone(), index]).and_then(|dx| dx.reshape(saved.input_shape(2))));
        Ok(Grads::from_iter([needs.has(0).then_some(dy), None, dsource.transpose()?]))
    }
}

/// y[…, i, …] = x[…, index[…, i, …], …]; x and index have the same sizes along the other axes.
#[derive(Debug, Clone)]
struct Gather {
    axis: usize,
}

impl Op for Gather {
    fn name(&self) -> &'static str {
        "gather"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        Ok(Metas::from_iter([Meta::plain(inputs[1].shape.clone(), inputs[0].dtype)]))
    }

    fn layout(&self) -> LayoutRule {
        LayoutRule::Plain
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        let (_, size, inner) = blocks(inputs[0].meta(), self.axis);
        let rows = inputs[1].meta().shape[self.axis];
        any!(inputs[0].meta().dtype, T => {
            let (x, index) = (inputs[0].values::<T>(), inputs[1].values::<i64>());
            movement::gather(size, rows, inner, x, index, outputs[0].values::<T>());
        });
    }

    fn reach(&self, which: usize, inputs: &[Shape], output: &Shape) -> Reaches {
        reach::whole_axis(&inputs[which], output, self.axis)
    }

    fn saves(&self) -> Saves {
        Saves { inputs: Mask::of(&[1]), outputs: Mask::NONE }
    }

    fn grad(&self, mut saved: Saved, mut dy: Grads, _needs: Mask) -> Result<Grads> {
        let dy = dy[0].take().expect("one output");
        let zeros = Tensor::zeros(saved.input_shape(0), dy.dtype())?;
        let op = Scatter { axis: self.axis, add: true };
        Ok(Grads::from_iter([Some(apply(op, [zeros, saved.input(1), dy])?), None]))
    }
}

/// y = x, and y[…, index[…, i, …], …] = src[…, i, …], added to what is there if `add`; all have the same sizes along
/// the other axes. Without `add` the last of several for one place stays.
#[derive(Debug, Clone)]
struct Scatter {
    axis: usize,
    add: bool,
}

impl Op for Scatter {
    fn name(&self) -> &'static str {
        if self.add { "scatter_add" } else { "scatter" }
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        super::expect_numbers(&[inputs[0].clone(), inputs[2].clone()])?;
        Ok(Metas::from_iter([inputs[0].clone()]))
    }

    fn layout(&self) -> LayoutRule {
        LayoutRule::Plain
    }

    fn in_place(&self) -> Option<usize> {
        Some(0)
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        let (_, size, inner) = blocks(inputs[0].meta(), self.axis);
        let rows = inputs[1].meta().shape[self.axis];
        number!(inputs[0].meta().dtype, T => {
            let dst = outputs[0].values::<T>();
            if !inputs[0].is_donated() {
                dst.copy_from_slice(inputs[0].values::<T>());
            }
            let (index, src) = (inputs[1].values::<i64>(), inputs[2].values::<T>());
            if self.add {
                movement::scatter(size, rows, inner, index, src, dst, T::plus);
            } else {
                movement::scatter(size, rows, inner, index, src, dst, |_, x| x);
            }
        });
    }

    fn reach(&self, which: usize, inputs: &[Shape], output: &Shape) -> Reaches {
        match which {
            0 => reach::by_shape(&inputs[0], output),
            _ => reach::whole_axis(&inputs[which], output, self.axis),
        }
    }

    fn saves(&self) -> Saves {
        Saves { inputs: Mask::of(&[1]), outputs: Mask::NONE }
    }

    fn grad(&self, mut saved: Saved, mut dy: Grads, needs: Mask) -> Result<Grads> {
        let (index, dy) = (saved.input(1), dy[0].take().expect("one output"));
        let dsrc = needs.has(2).then(|| apply(Gather { axis: self.axis }, [dy.clone(), index.clone()]));
        let dx = needs.has(0).then(|| match self.add {
            true => Ok(dy),
            false => {
                let zeros = Tensor::zeros(saved.input_shape(2), dy.dtype())?;
                apply(self.clone(), [dy, index, zeros])
            }
        });
        Ok(Grads::from_iter([dx.transpose()?, None, dsrc.transpose()?]))
    }
}

/// The error where an index of `scatter` or `gather` has another rank, or more elements than `other` along an axis that
/// counts.
fn expect_within(index: &Shape, other: &Shape, what: &str, counts: impl Fn(usize) -> bool) -> Result<()> {
    let fits = index.len() == other.len()
        && (0..index.len()).all(|axis| !counts(axis) || index[axis] <= other[axis]);
    if fits {
        return Ok(());
    }
    Err(Error::shape(format!("an index of shape {index} for {what} of shape {other}"))
        .hint("both have as many axes, and the index is nowhere larger but along the axis it points into"))
}

impl Tensor {
    /// The elements of an axis that the index (i64, one axis) names, in its order; one may come more than once.
    ///
    /// ```
    /// # use rasgo_core::Tensor;
    /// let x = Tensor::arange(0.0, 6.0, 1.0)?.reshape([2, 3])?;
    /// let y = x.index_select(1, &Tensor::from_vec(vec![2i64, 0], [2])?)?;
    /// assert_eq!(y.to_vec::<f32>()?, [2.0, 0.0, 5.0, 3.0]);
    /// # Ok::<(), rasgo_core::Error>(())
    /// ```
    #[track_caller]
    pub fn index_select(&self, axis: isize, index: &Tensor) -> Result<Tensor> {
        let at = Location::caller();
        let check = || {
            let axis = axis_of(axis, self.shape().len())?;
            expect_index(index, axis, self.shape()[axis])?;
            Ok(axis)
        };
        let axis = check().map_err(|error: Error| error.op("index_select").at(at))?;
        apply(IndexSelect { axis }, [self.clone(), index.clone()])
    }

    /// This tensor with element i of the source's axis added at `index[i]`; an index may come more than once.
    #[track_caller]
    pub fn index_add(&self, axis: isize, index: &Tensor, source: &Tensor) -> Result<Tensor> {
        let at = Location::caller();
        let check = || {
            let axis = axis_of(axis, self.shape().len())?;
            expect_index(index, axis, self.shape()[axis])?;
            Ok(axis)
        };
        let axis = check().map_err(|error: Error| error.op("index_add").at(at))?;
        apply(IndexAdd { axis }, [self.clone(), index.clone(), source.clone()])
    }

    /// `y[i][j] = x[index[i][j]][j]` along axis 0, and so along others: an element of the axis for each place of the
    /// index, which is nowhere larger than this tensor but along the axis.
    ///
    /// ```
    /// # use rasgo_core::Tensor;
    /// let x = Tensor::arange(0.0, 6.0, 1.0)?.reshape([2, 3])?;
    /// let y = x.gather(1, &Tensor::from_vec(vec![2i64, 0], [2, 1])?)?;
    /// assert_eq!(y.to_vec::<f32>()?, [2.0, 3.0]);
    /// # Ok::<(), rasgo_core::Error>(())
    /// ```
    #[track_caller]
    pub fn gather(&self, axis: isize, index: &Tensor) -> Result<Tensor> {
        let at = Location::caller();
        let (x, places) = (self.with_an_axis()?, index.with_an_axis()?);
        let nothing = index.shape().checked_elements() == Some(0);
        let check = || {
            let axis = axis_of(axis, x.shape().len())?;
            if !nothing {
                expect_within(places.shape(), x.shape(), "a tensor", |other| other != axis)?;
            }
            expect_index(&places, axis, x.shape()[axis])?;
            Ok(axis)
        };
        let axis = check().map_err(|error: Error| error.op("gather").at(at))?;
        if nothing {
            // Of any shape, as in PyTorch.
            return x.flatten(0)?.narrow(0, 0, 0)?.reshape(index.shape());
        }
        let mut part = x;
        for (other, &size) in places.shape().iter().enumerate() {
            if other != axis && size < part.shape()[other] {
                part = part.narrow(other as isize, 0, size)?;
            }
        }
        apply(Gather { axis }, [part, places])?.reshape(index.shape())
    }

    /// This tensor with `src[i][j]` added at `[index[i][j]][j]` along axis 0, and so along others: the gradient of
    /// [`gather`](Self::gather).
    #[track_caller]
    pub fn scatter_add(&self, axis: isize, index: &Tensor, src: &Tensor) -> Result<Tensor> {
        self.scatter_with(axis, index, src, true)
    }

    /// This tensor with `src[i][j]` in the place of `[index[i][j]][j]` along axis 0, and so along others. Of several
    /// for one place the last stays.
    #[track_caller]
    pub fn scatter(&self, axis: isize, index: &Tensor, src: &Tensor) -> Result<Tensor> {
        self.scatter_with(axis, index, src, false)
    }

    #[track_caller]
    fn scatter_with(&self, axis: isize, index: &Tensor, src: &Tensor, add: bool) -> Result<Tensor> {
        let at = Location::caller();
        let op = Scatter { axis: 0, add };
        let (mut x, index) = (self.with_an_axis()?, index.with_an_axis()?);
        let mut src = src.with_an_axis()?;
        let nothing = index.shape().checked_elements() == Some(0);
        let check = || {
            let axis = axis_of(axis, x.shape().len())?;
            if !nothing {
                expect_within(index.shape(), x.shape(), "a tensor", |other| other != axis)?;
                expect_within(index.shape(), src.shape(), "a source", |_| true)?;
            }
            expect_index(&index, axis, x.shape()[axis])?;
            Ok(axis)
        };
        let axis = check().map_err(|error: Error| error.op(op.name()).at(at))?;
        if nothing {
            return Ok(self.clone());
        }
        for (other, &size) in index.shape().iter().enumerate() {
            if size < src.shape()[other] {
                src = src.narrow(other as isize, 0, size)?;
            }
        }
        // What the index does not reach is cut off before and joined after.
        let mut tails = Vec::new();
        for (other, &reached) in index.shape().iter().enumerate().filter(|(other, _)| *other != axis) {
            let size = x.shape()[other];
            if reached < size {
                tails.push((other as isize, x.narrow(other as isize, reached, size - reached)?));
                x = x.narrow(other as isize, 0, reached)?;
            }
        }
        let mut y = apply(Scatter { axis, ..op }, [x, index, src])?;
        for (other, tail) in tails.into_iter().rev() {
            y = Tensor::cat(&[&y, &tail], other)?;
        }
        y.reshape(self.shape())
    }

    /// A scalar as an axis of one: so PyTorch takes it here.
    fn with_an_axis(&self) -> Result<Tensor> {
        if self.shape().is_empty() { self.reshape([1]) } else { Ok(self.clone()) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::grad_check::{check, normal};
    use crate::{DType, Tensor};

    fn index(values: &[i64], shape: &[usize]) -> Tensor {
        Tensor::from_slice(values, shape).unwrap()
    }

    #[test]
    fn picking_and_placing_have_the_gradients_of_their_differences() {
        let x = normal([3, 4, 2], 1);
        let rows = index(&[2, 0, 2, 1, 2], &[5]);
        check(std::slice::from_ref(&x), |x| x[0].index_select(0, &rows));
        check(std::slice::from_ref(&x), |x| x[0].index_select(1, &rows));
        check(&[x.clone(), normal([3, 5, 2], 2)], |x| x[0].index_add(1, &rows, &x[1]));
        let places = index(&[3, 0, 1, 3, 3, 2], &[3, 2, 1]);
        check(std::slice::from_ref(&x), |x| x[0].gather(1, &places));
        check(&[x.clone(), normal([3, 3, 2], 2)], |x| x[0].scatter_add(1, &places, &x[1]));
        let once = index(&[3, 0, 1, 3, 2, 0], &[3, 2, 1]);
        check(&[x.clone(), normal([3, 2, 1], 2)], |x| x[0].scatter(1, &once, &x[1]));
        let map = normal([2, 3, 4, 5], 3).to_channels_last();
        check(&[map], |x| x[0].index_select(-3, &index(&[1, 1], &[2])));
    }

    #[test]
    fn every_dtype_is_picked() {
        let bytes = Tensor::from_vec(vec![1u8, 2, 3, 4, 5, 6], [2, 3]).unwrap();
        let picked = bytes.index_select(-1, &index(&[2, 2], &[2])).unwrap();
        assert_eq!(picked.to_vec::<u8>().unwrap(), [3, 3, 6, 6]);
        assert_eq!(**bytes.index_select(0, &index(&[], &[0])).unwrap().shape(), [0, 3]);
        assert_eq!(**bytes.index_select(0, &Tensor::scalar(1i64)).unwrap().shape(), [1, 3]);
        let odd = Tensor::zeros([2, 3], DType::F32).unwrap().gather(0, &index(&[], &[0, 2, 2, 1])).unwrap();
        assert_eq!(**odd.shape(), [0, 2, 2, 1]);
        assert_eq!(Tensor::scalar(5i64).gather(0, &Tensor::scalar(0i64)).unwrap().item::<i64>().unwrap(), 5);
        let one = index(&[1, 2], &[2]).scatter_add(0, &Tensor::scalar(1i64), &index(&[7, 9], &[2])).unwrap();
        assert_eq!(one.to_vec::<i64>().unwrap(), [1, 9]);
        let whole = index(&[i64::MAX, 1], &[2]);
        let added = whole.scatter_add(0, &index(&[0, 0], &[2]), &index(&[1, 1], &[2])).unwrap();
        assert_eq!(added.to_vec::<i64>().unwrap(), [i64::MIN + 1, 1]);
    }

    #[test]
    fn an_index_outside_is_named_with_its_place() {
        let x = Tensor::zeros([2, 3], DType::F32).unwrap();
        let error = x.gather(1, &index(&[0, 2, 1, 3], &[2, 2])).unwrap_err();
        assert!(
            error.to_string().contains("gather: index 3 at [1, 1] is outside axis 1 of size 3"),
            "{error}"
        );
        assert_eq!(error.location().unwrap().file(), file!());
        let text = x.index_select(0, &index(&[0, -1], &[2])).unwrap_err().to_string();
        assert!(text.contains("index -1 at [1] is outside axis 0 of size 2"), "{text}");
        let text = x.index_select(0, &Tensor::zeros([2], DType::F32).unwrap()).unwrap_err().to_string();
        assert!(text.contains("an index of float32 where int64 is wanted"), "{text}");
        assert!(x.index_select(0, &index(&[0; 4], &[2, 2])).unwrap_err().to_string().contains("one axis"));
        assert!(
            x.gather(1, &index(&[0; 3], &[3, 1])).unwrap_err().to_string().contains("index of shape [3, 1]")
        );
        assert!(x.gather(1, &index(&[0], &[1])).is_err());
        assert!(x.scatter_add(0, &index(&[0; 4], &[2, 2]), &x.narrow(1, 0, 1).unwrap()).is_err());
        assert!(x.index_add(0, &index(&[0], &[1]), &x).unwrap_err().to_string().contains("must be [1, 3]"));
        let none = Tensor::zeros([0, 3], DType::F32).unwrap();
        assert!(
            none.index_select(0, &index(&[0], &[1])).unwrap_err().to_string().contains("has no elements")
        );
    }
}
