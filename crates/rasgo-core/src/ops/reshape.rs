//! Other names for the same values: reshape, flatten, unflatten, squeeze, unsqueeze.

use std::panic::Location;

use super::{axes_of, axis_of};
use crate::error::{Error, Result};
use crate::meta::{Meta, Shape};
use crate::op::{Bf16Rule, Grads, Input, LayoutRule, Mask, Metas, Op, Output, Saved, apply};
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
        let (from, elements) = (&self.from, |shape: &Shape| shape.checked_elements());
        if elements(&self.to) != elements(from) {
            let shown = |shape| elements(shape).map_or("more than memory holds".into(), |n| n.to_string());
            let (has, wants) = (shown(from), shown(&self.to));
            return Err(Error::shape(format!("shape {from} has {has} elements, {} has {wants}", self.to))
                .hint("the products must be equal; .view(&[…, -1]) leaves one size open"));
        }
        Ok(Metas::from_iter([Meta::plain(self.to.clone(), inputs[0].dtype)]))
    }

    fn layout(&self) -> LayoutRule {
        LayoutRule::Plain
    }

    fn view(&self, _inputs: &[Meta]) -> Option<usize> {
        Some(0)
    }

    fn bf16(&self) -> Bf16Rule {
        Bf16Rule::Moves
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

/// The sizes that a user wrote, of which one may be -1: it takes what the others leave of `elements`.
fn sizes_of(sizes: &[isize], elements: usize) -> Result<Vec<usize>> {
    let (mut product, mut open) = (1usize, None);
    for (place, &size) in sizes.iter().enumerate() {
        match usize::try_from(size) {
            Ok(size) => product = product.saturating_mul(size),
            Err(_) if size == -1 && open.is_none() => open = Some(place),
            Err(_) if size == -1 => {
                return Err(
                    Error::argument(format!("two sizes of {sizes:?} are -1")).hint("give all sizes but one")
                );
            }
            Err(_) => return Err(Error::argument(format!("size {size} in {sizes:?}"))),
        }
    }
    let mut found: Vec<usize> = sizes.iter().map(|&size| usize::try_from(size).unwrap_or(0)).collect();
    if let Some(place) = open {
        if product == 0 {
            let text = format!("the size -1 of {sizes:?} could be any, as the others have the product 0");
            return Err(Error::shape(text).hint("give it as a number"));
        }
        if !elements.is_multiple_of(product) {
            let text =
                format!("{elements} elements are no multiple of {product}, the other sizes of {sizes:?}");
            return Err(Error::shape(text));
        }
        found[place] = elements / product;
    }
    Ok(found)
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
        if to == *self.shape() {
            return Ok(self.clone());
        }
        apply(Reshape { from: self.shape().clone(), to }, [self.clone()])
    }

    /// As [`reshape`](Self::reshape), where one size may be -1: it is what the others leave.
    ///
    /// ```
    /// # use rasgo_core::Tensor;
    /// let x = Tensor::arange(0.0, 6.0, 1.0)?.view(&[2, -1])?;
    /// assert_eq!(**x.shape(), [2, 3]);
    /// # Ok::<(), rasgo_core::Error>(())
    /// ```
    #[track_caller]
    pub fn view(&self, sizes: &[isize]) -> Result<Tensor> {
        let elements = self.shape().checked_elements().unwrap_or(usize::MAX);
        match sizes_of(sizes, elements) {
            Ok(sizes) => self.reshape(sizes),
            Err(error) => Err(error.op("reshape").at(Location::caller())),
        }
    }

    /// Joins the axes from `start` on: (N, C, H, W) becomes (N, C*H*W) for `start` 1. A negative one counts from the
    /// end.
    #[track_caller]
    pub fn flatten(&self, start: isize) -> Result<Tensor> {
        self.flatten_axes(start, -1)
    }

    /// Joins the axes from `start` to `end`, both included, as PyTorch's `flatten(start_dim, end_dim)`.
    ///
    /// ```
    /// # use rasgo_core::{DType, Tensor};
    /// let x = Tensor::zeros([2, 3, 5, 7], DType::F32)?;
    /// assert_eq!(**x.flatten_axes(1, -2)?.shape(), [2, 15, 7]);
    /// # Ok::<(), rasgo_core::Error>(())
    /// ```
    #[track_caller]
    pub fn flatten_axes(&self, start: isize, end: isize) -> Result<Tensor> {
        let at = Location::caller();
        let shape = self.shape();
        // PyTorch makes one axis of a scalar.
        let rank = shape.len().max(1);
        let place = |axis| axis_of(axis, rank).map_err(|error| error.op("flatten").at(at));
        let (start, end) = (place(start)?, place(end)?);
        if start > end {
            return Err(Error::argument(format!("axes {start} to {end} of a tensor of shape {shape}"))
                .hint("the first axis comes before the last")
                .op("flatten")
                .at(at));
        }
        if shape.is_empty() {
            return self.reshape([1]);
        }
        let mut sizes = shape[..start].to_vec();
        sizes.push(shape[start..=end].iter().fold(1, |product: usize, &size| product.saturating_mul(size)));
        sizes.extend_from_slice(&shape[end + 1..]);
        self.reshape(sizes)
    }

    /// Cuts one axis into several, of which one size may be -1: the inverse of [`flatten_axes`](Self::flatten_axes).
    #[track_caller]
    pub fn unflatten(&self, axis: isize, sizes: &[isize]) -> Result<Tensor> {
        let at = Location::caller();
        let shape = self.shape();
        let axis = axis_of(axis, shape.len()).map_err(|error| error.op("unflatten").at(at))?;
        let parts = sizes_of(sizes, shape[axis]).map_err(|error| error.op("unflatten").at(at))?;
        let product = parts.iter().fold(1, |product: usize, &size| product.saturating_mul(size));
        if sizes.is_empty() || product != shape[axis] {
            let text = format!("{} along axis {axis} are not the product of {sizes:?}", shape[axis]);
            return Err(Error::shape(text).op("unflatten").at(at));
        }
        let all: Shape = shape[..axis].iter().chain(&parts).chain(&shape[axis + 1..]).copied().collect();
        self.reshape(all)
    }

    /// Without the named axes where their size is 1; without all of size 1 if `axes` is empty.
    #[track_caller]
    pub fn squeeze(&self, axes: &[isize]) -> Result<Tensor> {
        let shape = self.shape();
        let mut named = match axes_of(axes, shape.len().max(1)) {
            Ok(named) => named,
            Err(error) => return Err(error.op("squeeze").at(Location::caller())),
        };
        if axes.is_empty() {
            named = (0..shape.len()).collect();
        }
        let stays = |axis: usize| shape[axis] != 1 || !named.contains(&axis);
        let sizes: Shape = (0..shape.len()).filter(|&axis| stays(axis)).map(|axis| shape[axis]).collect();
        self.reshape(sizes)
    }

    /// With an axis of size 1 more, at `axis` of the result.
    ///
    /// ```
    /// # use rasgo_core::{DType, Tensor};
    /// let x = Tensor::zeros([2, 3], DType::F32)?;
    /// assert_eq!(**x.unsqueeze(-1)?.shape(), [2, 3, 1]);
    /// # Ok::<(), rasgo_core::Error>(())
    /// ```
    #[track_caller]
    pub fn unsqueeze(&self, axis: isize) -> Result<Tensor> {
        let mut sizes = self.shape().to_vec();
        match axis_of(axis, sizes.len() + 1) {
            Ok(axis) => sizes.insert(axis, 1),
            Err(error) => return Err(error.op("unsqueeze").at(Location::caller())),
        }
        self.reshape(sizes)
    }
}

#[cfg(test)]
mod tests {
    use super::super::grad_check::{check, normal};
    use crate::{DType, Tensor};

    #[test]
    fn views_have_the_gradients_of_their_differences() {
        check(&[normal([2, 3, 2], 1)], |x| x[0].reshape([3, 4]));
        check(&[normal([2, 3, 1, 4], 1)], |x| x[0].flatten_axes(1, -2)?.unsqueeze(1)?.squeeze(&[1, 3]));
    }

    #[test]
    fn a_map_is_flattened_in_the_order_of_the_shape() {
        let x = normal([2, 3, 4, 5], 1);
        let last = x.clone().to_channels_last();
        assert_ne!(x.as_slice::<f64>().unwrap(), last.as_slice::<f64>().unwrap());
        let (plain, map) = (x.flatten(1).unwrap(), last.flatten(1).unwrap());
        assert_eq!(plain.to_f64_vec().unwrap(), map.to_f64_vec().unwrap());
    }

    #[test]
    fn shapes_come_out_as_pytorch_gives_them() {
        let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::I64).unwrap();
        let x = zeros(&[2, 1, 6, 1]);
        let shape = |y: crate::Result<Tensor>| y.unwrap().shape().to_vec();
        assert_eq!(shape(x.squeeze(&[])), [2, 6]);
        assert_eq!(shape(x.squeeze(&[0, -1])), [2, 1, 6]);
        assert_eq!(shape(x.unflatten(2, &[3, -1])), [2, 1, 3, 2, 1]);
        assert_eq!(shape(x.view(&[-1, 4])), [3, 4]);
        assert_eq!(shape(zeros(&[]).flatten(0)), [1]);
        assert_eq!(shape(zeros(&[]).unsqueeze(-1)), [1]);
        assert_eq!(shape(zeros(&[0, 3]).view(&[3, -1])), [3, 0]);
        assert_eq!(shape(zeros(&[2, 0, 3]).flatten(1)), [2, 0]);
    }

    #[test]
    fn sizes_that_do_not_fit_are_refused_with_the_arithmetic() {
        let x = Tensor::zeros([2, 3], DType::F32).unwrap();
        let text = |y: crate::Result<Tensor>| y.unwrap_err().to_string();
        assert!(text(x.reshape([4])).contains("[2, 3] has 6 elements, [4] has 4"));
        assert!(text(x.view(&[4, -1])).contains("6 elements are no multiple of 4"));
        assert!(text(x.view(&[-1, -1])).contains("two sizes"));
        assert!(text(x.view(&[-2, 3])).contains("size -2"));
        assert!(text(Tensor::zeros([0], DType::F32).unwrap().view(&[0, -1])).contains("could be any"));
        assert!(text(x.flatten_axes(1, 0)).contains("axes 1 to 0"));
        assert!(text(x.unflatten(1, &[2, 2])).contains("3 along axis 1"));
        assert!(text(x.unsqueeze(3)).contains("axis 3 of a tensor with 3 axes"));
        assert!(text(x.flatten(2)).contains("flatten: axis 2"));
        assert!(text(x.squeeze(&[0, 0])).contains("comes twice"));
    }
}
