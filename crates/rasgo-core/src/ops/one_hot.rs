//! Classes as rows of zeros and a one.

use std::panic::Location;

use crate::error::{Error, ErrorKind, Result};
use crate::meta::{DType, Meta};
use crate::op::{Grads, Input, LayoutRule, Mask, Metas, Op, Output, Saved, apply};
use crate::tensor::Tensor;

/// y[…, c] = 1 where x[…] = c, else 0.
#[derive(Debug)]
struct OneHot {
    classes: usize,
}

impl Op for OneHot {
    fn name(&self) -> &'static str {
        "one_hot"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        let mut sizes = inputs[0].shape.to_vec();
        sizes.push(self.classes);
        Ok(Metas::from_iter([Meta::plain(sizes, DType::I64)]))
    }

    fn layout(&self) -> LayoutRule {
        LayoutRule::Plain
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        let dst = outputs[0].values::<i64>();
        dst.fill(0);
        for (row, &class) in dst.chunks_exact_mut(self.classes.max(1)).zip(inputs[0].values::<i64>()) {
            row[class as usize] = 1;
        }
    }

    fn grad(&self, _saved: Saved, _dy: Grads, _needs: Mask) -> Result<Grads> {
        Ok(Grads::from_iter([None]))
    }
}

impl Tensor {
    /// A last axis of `classes` zeros with a 1 at each class number (i64 in and out); `None` takes one class more than
    /// the largest number.
    ///
    /// ```
    /// # use rasgo_core::Tensor;
    /// let x = Tensor::from_vec(vec![2i64, 0], [2])?;
    /// assert_eq!(x.one_hot(3)?.to_vec::<i64>()?, [0, 0, 1, 1, 0, 0]);
    /// assert_eq!(**x.one_hot(None)?.shape(), [2, 3]);
    /// # Ok::<(), rasgo_core::Error>(())
    /// ```
    #[track_caller]
    pub fn one_hot(&self, classes: impl Into<Option<usize>>) -> Result<Tensor> {
        let at = Location::caller();
        let classes = self.classes(classes.into()).map_err(|error| error.op("one_hot").at(at))?;
        apply(OneHot { classes }, [self.clone()])
    }

    fn classes(&self, wanted: Option<usize>) -> Result<usize> {
        if self.dtype() != DType::I64 {
            return Err(Error::new(
                ErrorKind::DType,
                format!("class numbers of {} where int64 is wanted", self.dtype()),
            )
            .hint("convert them with .to_dtype(DType::I64)"));
        }
        let nothing = self.shape().checked_elements() == Some(0);
        match wanted {
            None if nothing => {
                return Err(Error::argument(format!(
                    "no class number in a tensor of shape {}",
                    self.shape()
                ))
                .hint("give the number of classes"));
            }
            Some(0) => return Err(Error::argument("0 classes").hint("give 1 or more")),
            Some(classes) if nothing || self.is_shape_only() => return Ok(classes),
            _ => {}
        }
        let values = self.to_vec::<i64>()?;
        let largest = values.iter().copied().max().unwrap_or(0);
        let classes = wanted.unwrap_or(usize::try_from(largest).unwrap_or(0).saturating_add(1));
        super::index::expect_index(self, self.shape().len(), classes)?;
        Ok(classes)
    }
}

#[cfg(test)]
mod tests {
    use crate::{DType, Tensor};

    #[test]
    fn class_numbers_outside_are_refused_with_value_and_place() {
        let x = Tensor::from_vec(vec![0i64, 1, 5, 2], [2, 2]).unwrap();
        let text = x.one_hot(4).unwrap_err().to_string();
        assert!(text.contains("one_hot: index 5 at [1, 0] is outside axis 2 of size 4"), "{text}");
        let below = Tensor::from_vec(vec![0i64, -1], [2]).unwrap();
        assert!(below.one_hot(None).unwrap_err().to_string().contains("index -1 at [1]"));
        let none = Tensor::zeros([0, 2], DType::I64).unwrap();
        assert!(none.one_hot(None).unwrap_err().to_string().contains("no class number"));
        assert_eq!(**none.one_hot(3).unwrap().shape(), [0, 2, 3]);
        assert!(Tensor::zeros([2], DType::F32).unwrap().one_hot(3).is_err() && x.one_hot(0).is_err());
    }
}
