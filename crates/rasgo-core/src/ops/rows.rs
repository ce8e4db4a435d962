//! Picking and placing rows along axis 0.

use super::{expect_float, float};
use crate::error::{Error, ErrorKind, Result};
use crate::meta::Meta;
use crate::op::{Grads, Input, LayoutRule, Mask, Metas, Op, Output, Saved, apply};
use crate::tensor::Tensor;

/// y[i] = x[rows[i]]
#[derive(Debug, Clone)]
struct IndexSelect(Vec<usize>);

/// y[rows[i]] += x[i], over zeros: the gradient of the other, and the other way round.
#[derive(Debug, Clone)]
struct IndexAdd {
    rows: Vec<usize>,
    size: usize,
}

fn check(rows: &[usize], size: usize) -> Result<()> {
    match rows.iter().find(|&&row| row >= size) {
        Some(row) => Err(Error::new(ErrorKind::Index, format!("row {row} of an axis of {size}"))),
        None => Ok(()),
    }
}

fn with_rows(meta: &Meta, rows: usize) -> Meta {
    let mut sizes = meta.shape.to_vec();
    sizes[0] = rows;
    Meta::plain(sizes, meta.dtype)
}

impl Op for IndexSelect {
    fn name(&self) -> &'static str {
        "index_select"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        expect_float(inputs)?;
        check(&self.0, inputs[0].shape.first().copied().unwrap_or(0))?;
        Ok(Metas::from_iter([with_rows(&inputs[0], self.0.len())]))
    }

    fn layout(&self) -> LayoutRule {
        LayoutRule::Plain
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        let len: usize = inputs[0].meta().shape[1..].iter().product();
        float!(inputs[0].meta().dtype, T => {
            let (src, dst) = (inputs[0].values::<T>(), outputs[0].values::<T>());
            for (i, &row) in self.0.iter().enumerate() {
                dst[i * len..(i + 1) * len].copy_from_slice(&src[row * len..(row + 1) * len]);
            }
        });
    }

    fn grad(&self, saved: Saved, mut dy: Grads, _needs: Mask) -> Result<Grads> {
        let op = IndexAdd { rows: self.0.clone(), size: saved.input_shape(0)[0] };
        Ok(Grads::from_iter([Some(apply(op, [dy[0].take().expect("one output")])?)]))
    }
}

impl Op for IndexAdd {
    fn name(&self) -> &'static str {
        "index_add"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        expect_float(inputs)?;
        check(&self.rows, self.size)?;
        if inputs[0].shape.first() != Some(&self.rows.len()) {
            return Err(Error::shape(format!(
                "{} rows for a tensor of {}",
                self.rows.len(),
                inputs[0].shape
            )));
        }
        Ok(Metas::from_iter([with_rows(&inputs[0], self.size)]))
    }

    fn layout(&self) -> LayoutRule {
        LayoutRule::Plain
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        let len: usize = inputs[0].meta().shape[1..].iter().product();
        float!(inputs[0].meta().dtype, T => {
            let (src, dst) = (inputs[0].values::<T>(), outputs[0].values::<T>());
            dst.fill(0.0);
            for (i, &row) in self.rows.iter().enumerate() {
                let place = &mut dst[row * len..(row + 1) * len];
                place.iter_mut().zip(&src[i * len..(i + 1) * len]).for_each(|(y, x)| *y += *x);
            }
        });
    }

    fn grad(&self, _saved: Saved, mut dy: Grads, _needs: Mask) -> Result<Grads> {
        let dy = dy[0].take().expect("one output");
        Ok(Grads::from_iter([Some(apply(IndexSelect(self.rows.clone()), [dy])?)]))
    }
}

impl Tensor {
    /// The given rows of axis 0, in the given order; a row may come more than once.
    #[track_caller]
    pub fn index_select(&self, rows: &[usize]) -> Result<Tensor> {
        apply(IndexSelect(rows.to_vec()), [self.clone()])
    }

    /// A tensor of `size` rows, zero but where a row of this tensor is added: row i at `rows[i]`.
    #[track_caller]
    pub fn index_add(&self, rows: &[usize], size: usize) -> Result<Tensor> {
        apply(IndexAdd { rows: rows.to_vec(), size }, [self.clone()])
    }
}

#[cfg(test)]
mod tests {
    use super::super::grad_check::{check, normal};

    #[test]
    fn rows_have_the_gradients_of_their_differences() {
        check(&[normal([3, 2], 1)], |x| x[0].index_select(&[2, 0, 2, 1]));
        check(&[normal([3, 2], 1)], |x| x[0].index_add(&[1, 4, 1], 5));
    }
}
