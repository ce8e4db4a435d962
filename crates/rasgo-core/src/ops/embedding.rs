//! Rows of a table, by index.
//!
//! ```text
//! y[…, d] = weight[index[…], d]
//! dweight[r, d] = sum of dy[…, d] over the places, in order, where index is r; 0 where r is padding_idx
//! ```

use rasgo_kernels::threads::parallel_chunks;

use super::{expect_float, float};
use crate::error::{Error, ErrorKind, Result};
use crate::meta::{DType, Meta, Shape};
use crate::op::{Grads, Input, LayoutRule, Mask, Metas, Op, Output, Saved, Saves, apply};
use crate::scope;
use crate::tensor::Tensor;

/// Elements of a task.
const CHUNK: usize = 1 << 14;

/// Inputs: the table (rows, dim), and the indices.
#[derive(Debug, Clone, Copy)]
struct Embedding {
    /// A row that learns nothing.
    padding: Option<usize>,
    /// Whether that row reads as zeros: so it does in the gradient of the gradient, which does not depend on it.
    hidden: bool,
}

impl Op for Embedding {
    fn name(&self) -> &'static str {
        "embedding"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        let (weight, index) = (&inputs[0], &inputs[1]);
        let dtype = expect_float(&inputs[..1])?;
        if index.dtype != DType::I64 {
            let text = format!("an index of {} where int64 is wanted", index.dtype);
            return Err(Error::new(ErrorKind::DType, text).hint("convert it with .to_dtype(DType::I64)"));
        }
        let &[_, dim] = &weight.shape[..] else {
            return Err(Error::shape(format!("weight {}: it must be (rows, features)", weight.shape)));
        };
        let shape: Shape = index.shape.iter().copied().chain([dim]).collect();
        Ok(Metas::from_iter([Meta::plain(shape, dtype)]))
    }

    fn layout(&self) -> LayoutRule {
        LayoutRule::Plain
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        let dim = inputs[0].meta().shape[1];
        let index = inputs[1].values::<i64>();
        let hidden = self.padding.filter(|_| self.hidden);
        float!(inputs[0].meta().dtype, T => {
            let weight = inputs[0].values::<T>();
            let group = (CHUNK / dim.max(1)).max(1);
            parallel_chunks(outputs[0].values::<T>(), group * dim.max(1), |chunk, dst| {
                for (dst, &row) in dst.chunks_exact_mut(dim).zip(&index[chunk * group..]) {
                    let row = row as usize;
                    match hidden == Some(row) {
                        true => dst.fill(0.0),
                        false => dst.copy_from_slice(&weight[row * dim..(row + 1) * dim]),
                    }
                }
            });
        });
    }

    fn saves(&self) -> Saves {
        Saves { inputs: Mask::of(&[1]), outputs: Mask::NONE }
    }

    fn grad(&self, mut saved: Saved, mut dy: Grads, _needs: Mask) -> Result<Grads> {
        let op = EmbeddingGrad { rows: saved.input_shape(0)[0], padding: self.padding };
        let dweight = apply(op, [dy[0].take().expect("one output"), saved.input(1)])?;
        Ok(Grads::from_iter([Some(dweight), None]))
    }
}

/// dweight from dy and the indices.
#[derive(Debug)]
struct EmbeddingGrad {
    rows: usize,
    padding: Option<usize>,
}

impl Op for EmbeddingGrad {
    fn name(&self) -> &'static str {
        "embedding"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        let dim = *inputs[0].shape.last().expect("rows of the table");
        Ok(Metas::from_iter([Meta::plain([self.rows, dim], inputs[0].dtype)]))
    }

    fn layout(&self) -> LayoutRule {
        LayoutRule::Plain
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        let dim = outputs[0].meta().shape[1];
        // The places of each row, in order: so a row's sum has one order, and rows can be shared among threads.
        let index = inputs[1].values::<i64>();
        let mut ends = vec![0; self.rows + 1];
        index.iter().for_each(|&row| ends[row as usize + 1] += 1);
        (0..self.rows).for_each(|row| ends[row + 1] += ends[row]);
        let mut next = ends.clone();
        let mut places = vec![0; index.len()];
        for (place, &row) in index.iter().enumerate() {
            places[next[row as usize]] = place;
            next[row as usize] += 1;
        }
        float!(inputs[0].meta().dtype, T => {
            let dy = inputs[0].values::<T>();
            let group = (CHUNK / dim.max(1)).max(1);
            parallel_chunks(outputs[0].values::<T>(), group * dim.max(1), |chunk, dst| {
                for (row, dst) in (chunk * group..).zip(dst.chunks_exact_mut(dim)) {
                    dst.fill(0.0);
                    if self.padding == Some(row) {
                        continue;
                    }
                    for &place in &places[ends[row]..ends[row + 1]] {
                        let dy = &dy[place * dim..(place + 1) * dim];
                        dst.iter_mut().zip(dy).for_each(|(sum, dy)| *sum += *dy);
                    }
                }
            });
        });
    }

    fn saves(&self) -> Saves {
        Saves { inputs: Mask::of(&[1]), outputs: Mask::NONE }
    }

    fn grad(&self, mut saved: Saved, mut dy: Grads, _needs: Mask) -> Result<Grads> {
        let op = Embedding { padding: self.padding, hidden: true };
        let ddy = apply(op, [dy[0].take().expect("one output"), saved.input(1)])?;
        Ok(Grads::from_iter([Some(ddy), None]))
    }
}

impl Tensor {
    /// The rows of this table (rows, features) that an i64 tensor of any shape names: (…, features). The row
    /// `padding_idx`, counted from the end where negative, is read as it is, and gets no gradient.
    ///
    /// ```
    /// # use rasgo_core::Tensor;
    /// let table = Tensor::arange(0.0, 6.0, 1.0)?.reshape([3, 2])?;
    /// let index = Tensor::from_vec(vec![2i64, 0], [2])?;
    /// assert_eq!(table.embedding(&index, None)?.to_vec::<f32>()?, [4.0, 5.0, 0.0, 1.0]);
    /// # Ok::<(), rasgo_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// An index outside of the table is named with its place.
    #[track_caller]
    pub fn embedding(&self, index: &Tensor, padding_idx: Option<i64>) -> Result<Tensor> {
        let at = std::panic::Location::caller();
        let refuse = |error: Error| scope::annotate(error.op("embedding")).at(at);
        let rows = self.shape().first().copied().unwrap_or(0);
        let count = i64::try_from(rows).unwrap_or(i64::MAX);
        let padding = match padding_idx {
            Some(row) if !(-count..count).contains(&row) => {
                let text = format!("padding_idx {row} of a table of {rows} rows");
                let hint = format!("give {}..={}, or none", -count, count - 1);
                let error = Error::argument(text);
                return Err(refuse(if rows == 0 { error } else { error.hint(hint) }));
            }
            Some(row) => Some(row.rem_euclid(count) as usize),
            None => None,
        };
        let index = &index.clone().to_plain();
        if !self.is_shape_only() && !index.is_shape_only() && index.dtype() == DType::I64 {
            let outside = |&(_, &row): &(usize, &i64)| !(0..count).contains(&row);
            if let Some((place, row)) = index.raw::<i64>().iter().enumerate().find(outside) {
                let text = format!("index {row} at {} is not in 0..{rows}", index.shape().place(place));
                return Err(refuse(
                    Error::new(ErrorKind::Index, text).hint("make the table larger, or check the indices"),
                ));
            }
        }
        apply(Embedding { padding, hidden: false }, [self.clone(), index.clone()])
    }
}

#[cfg(test)]
mod tests {
    use super::super::grad_check::{check, normal};
    use super::*;

    fn index(values: &[i64], shape: impl Into<Shape>) -> Tensor {
        Tensor::from_slice(values, shape).unwrap()
    }

    #[test]
    fn an_embedding_has_the_gradient_of_its_differences() {
        let i = index(&[3, 0, 3, 3, 1, 0], [2, 3]);
        check(&[normal([4, 5], 1)], |x| x[0].embedding(&i, None));
        check(&[normal([4, 1], 1)], |x| x[0].embedding(&index(&[2], []), Some(1)));
        let w = normal([4, 5], 1).requires_grad();
        for padding in [None, Some(-1)] {
            // The gradient of the table's gradient.
            check(&[normal([2, 3, 5], 2)], |x| {
                let loss = (w.embedding(&i, padding)? * &x[0])?.square()?.sum()?;
                Ok(crate::grad(&loss, &[&w], true)?.remove(0))
            });
        }
    }

    #[test]
    fn the_padding_row_is_read_and_learns_nothing() {
        let w = normal([4, 2], 1).requires_grad();
        let y = w.embedding(&index(&[3, 1, 3], [3]), Some(-1)).unwrap();
        assert_eq!(y.to_vec::<f64>().unwrap()[..2], w.to_vec::<f64>().unwrap()[6..]);
        let grads = y.sum().unwrap().backward().unwrap();
        assert_eq!(grads.get(&w).unwrap().to_vec::<f64>().unwrap(), [0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn no_index_and_no_features_are_allowed() {
        let w = normal([4, 2], 1).requires_grad();
        let y = w.embedding(&index(&[], [0, 3]), None).unwrap();
        assert_eq!(y.shape()[..], [0, 3, 2]);
        let grads = y.sum().unwrap().backward().unwrap();
        assert_eq!(grads.get(&w).unwrap().to_vec::<f64>().unwrap(), [0.0; 8]);
        let none = Tensor::zeros([4, 0], DType::F32).unwrap().requires_grad();
        let y = none.embedding(&index(&[1], [1]), None).unwrap();
        assert_eq!(y.shape()[..], [1, 0]);
        assert!(y.sum().unwrap().backward().unwrap().get(&none).is_some());
        let empty = Tensor::zeros([0, 2], DType::F32).unwrap();
        assert_eq!(empty.embedding(&index(&[], [0]), None).unwrap().shape()[..], [0, 2]);
    }

    #[test]
    fn an_index_outside_names_value_and_place() {
        let w = normal([4, 2], 1);
        let text = |result: Result<Tensor>| result.unwrap_err().to_string();
        let wrong = text(w.embedding(&index(&[0, 1, 2, 3, -1, 0], [2, 3]), None));
        assert!(wrong.contains("index -1 at [1, 1] is not in 0..4"), "{wrong}");
        assert!(text(w.embedding(&index(&[4], []), None)).contains("index 4 at []"));
        assert!(text(w.embedding(&index(&[1], [1]), Some(4))).contains("give -4..=3"));
        assert!(text(w.embedding(&normal([1], 1), None)).contains("int64"));
        assert!(
            text(w.reshape([8]).unwrap().embedding(&index(&[1], [1]), None)).contains("(rows, features)")
        );
    }
}
