//! Reshape, flatten, narrow: other names for the same values, or a part of them.

use super::float;
use crate::error::{Error, Result};
use crate::meta::{Meta, Shape};
use crate::op::{Grads, Input, LayoutRule, Mask, Metas, Op, Output, Saved, apply};
use crate::reach::{self, Reach, Reaches};
use crate::tensor::Tensor;

#[derive(Debug)]
struct Reshape {
    from: Shape,
    to: Shape,
}

impl Op for Reshape {
    fn name(&self) -> &'static str {
        "reshape"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        Ok(Metas::from_iter([Meta::plain(self.to.clone(), inputs[0].dtype)]))
    }

    fn layout(&self) -> LayoutRule {
        LayoutRule::Plain
    }

    fn view(&self, _inputs: &[Meta]) -> Option<usize> {
        Some(0)
    }

    fn eval(&self, _inputs: &[Input], _outputs: &mut [Output]) {
        unreachable!("a reshape is a view")
    }

    fn reach(&self, _which: usize, inputs: &[Shape], output: &Shape) -> Reaches {
        // In row-major order the last axes keep their cells apart, as long as all behind them do.
        let mut reaches = reach::by_shape(&inputs[0], output);
        let kept = reaches.iter().rev().take_while(|reach| **reach == Reach::Same).count();
        let lost = reaches.len() - kept;
        reaches[..lost].fill(Reach::All);
        reaches
    }

    fn grad(&self, _saved: Saved, mut dy: Grads, _needs: Mask) -> Result<Grads> {
        let dy = dy[0].take().expect("one output");
        Ok(Grads::from_iter([Some(dy.reshape(self.from.clone())?)]))
    }
}

/// A part of axis 0: a view.
#[derive(Debug)]
struct Narrow {
    start: usize,
    length: usize,
}

impl Op for Narrow {
    fn name(&self) -> &'static str {
        "narrow"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        let shape = &inputs[0].shape;
        match shape.first() {
            Some(&size) if self.start <= size && self.length <= size - self.start => {}
            _ => {
                let (start, length) = (self.start, self.length);
                return Err(Error::new(
                    crate::ErrorKind::Index,
                    format!("{length} of axis 0 from {start} on, of a tensor of shape {shape}"),
                ));
            }
        }
        let mut sizes = shape.to_vec();
        sizes[0] = self.length;
        Ok(Metas::from_iter([inputs[0].with_shape(sizes)]))
    }

    fn view(&self, inputs: &[Meta]) -> Option<usize> {
        Some(self.start * inputs[0].shape[1..].iter().product::<usize>())
    }

    fn eval(&self, _inputs: &[Input], _outputs: &mut [Output]) {
        unreachable!("a part of axis 0 is a view")
    }

    fn grad(&self, saved: Saved, mut dy: Grads, _needs: Mask) -> Result<Grads> {
        let dy = dy[0].take().expect("one output");
        let widen = Widen { shape: saved.input_shape(0), start: self.start };
        Ok(Grads::from_iter([Some(apply(widen, [dy])?)]))
    }
}

/// The gradient of `Narrow`: dy with zeros before and after along axis 0.
#[derive(Debug)]
struct Widen {
    shape: Shape,
    start: usize,
}

impl Op for Widen {
    fn name(&self) -> &'static str {
        "narrow"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        Ok(Metas::from_iter([inputs[0].with_shape(self.shape.clone())]))
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        let row: usize = self.shape[1..].iter().product();
        float!(inputs[0].meta().dtype, T => {
            let (src, dst) = (inputs[0].values::<T>(), outputs[0].values::<T>());
            dst.fill(0.0);
            dst[self.start * row..self.start * row + src.len()].copy_from_slice(src);
        });
    }

    fn grad(&self, saved: Saved, mut dy: Grads, _needs: Mask) -> Result<Grads> {
        let dy = dy[0].take().expect("one output");
        let length = saved.input_shape(0)[0];
        Ok(Grads::from_iter([Some(dy.narrow(0, self.start, length)?)]))
    }
}

impl Tensor {
    /// The same values in row-major order under another shape of as many elements. Free for plain tensors.
    ///
    /// ```
    /// # use rasgo_core::Tensor;
    /// let x = Tensor::arange(0.0, 6.0, 1.0)?.reshape([2, 3])?;
    /// assert_eq!(**x.shape(), [2, 3]);
    /// # Ok::<(), rasgo_core::Error>(())
    /// ```
    #[track_caller]
    pub fn reshape(&self, shape: impl Into<Shape>) -> Result<Tensor> {
        let to = shape.into();
        let (from, elements) = (self.shape(), |shape: &Shape| shape.checked_elements());
        if elements(from).is_none() || elements(&to) != elements(from) {
            let shown = |shape| elements(shape).map_or("more than memory holds".into(), |n| n.to_string());
            let text = format!("shape {from} has {} elements, {to} has {}", shown(from), shown(&to));
            return Err(Error::shape(text).op("reshape").at(std::panic::Location::caller()));
        }
        if to == *self.shape() {
            return Ok(self.clone());
        }
        apply(Reshape { from: self.shape().clone(), to }, [self.clone()])
    }

    /// Joins the axes from `start` on: (N, C, H, W) becomes (N, C*H*W) for `start` 1.
    #[track_caller]
    pub fn flatten(&self, start: usize) -> Result<Tensor> {
        if start >= self.shape().len() {
            return Err(Error::argument(format!("axis {start} of a tensor of shape {}", self.shape()))
                .op("flatten")
                .at(std::panic::Location::caller()));
        }
        let mut sizes = self.shape()[..start].to_vec();
        sizes
            .push(self.shape()[start..].iter().fold(1, |product: usize, &size| product.saturating_mul(size)));
        self.reshape(sizes)
    }

    /// `length` elements of an axis from `start` on. Free along axis 0; along another axis it copies.
    #[track_caller]
    pub fn narrow(&self, axis: usize, start: usize, length: usize) -> Result<Tensor> {
        if axis == 0 {
            return apply(Narrow { start, length }, [self.clone()]);
        }
        if axis >= self.shape().len() {
            return Err(Error::argument(format!("axis {axis} of a tensor of shape {}", self.shape()))
                .op("narrow")
                .at(std::panic::Location::caller()));
        }
        let mut order: Vec<usize> = (0..self.shape().len()).collect();
        order.swap(0, axis);
        self.permute(&order)?.narrow(0, start, length)?.permute(&order)
    }
}

#[cfg(test)]
mod tests {
    use super::super::grad_check::{check, normal};

    #[test]
    fn views_have_the_gradients_of_their_differences() {
        check(&[normal([2, 3, 2], 1)], |x| x[0].reshape([3, 4]));
        check(&[normal([4, 3], 1)], |x| x[0].narrow(0, 1, 2));
        check(&[normal([2, 5, 3], 1)], |x| x[0].narrow(1, 2, 3));
    }

    #[test]
    fn a_map_is_flattened_in_the_order_of_the_shape() {
        let x = normal([2, 3, 4, 5], 1);
        let last = x.clone().to_channels_last();
        assert_ne!(x.as_slice::<f64>().unwrap(), last.as_slice::<f64>().unwrap());
        assert_eq!(
            x.flatten(1).unwrap().to_f64_vec().unwrap(),
            last.flatten(1).unwrap().to_f64_vec().unwrap()
        );
        let part = last.narrow(0, 1, 1).unwrap();
        assert_eq!(part.to_f64_vec().unwrap(), x.narrow(0, 1, 1).unwrap().to_f64_vec().unwrap());
    }
}
