//! Another order of the axes, as a copy.

use rasgo_kernels::elementwise;

use super::float;
use crate::counters::count_copy;
use crate::error::{Error, Result};
use crate::meta::{DType, Meta, Shape};
use crate::op::{Grads, Input, LayoutRule, Mask, Metas, Op, Output, Saved, apply};
use crate::reach::{self, Reaches};
use crate::tensor::Tensor;

#[derive(Debug)]
struct Permute(Vec<usize>);

impl Op for Permute {
    fn name(&self) -> &'static str {
        "permute"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        let shape = &inputs[0].shape;
        let mut seen = vec![false; shape.len()];
        let once = self.0.iter().all(|&axis| axis < shape.len() && !std::mem::replace(&mut seen[axis], true));
        if !once || self.0.len() != shape.len() {
            return Err(Error::argument(format!("{:?} does not name each axis of {shape} once", self.0)));
        }
        if inputs[0].dtype == DType::U8 || inputs[0].dtype == DType::I64 {
            return Err(Error::new(crate::ErrorKind::DType, format!("a tensor of {}", inputs[0].dtype))
                .hint("convert it with .to_dtype(DType::F32)"));
        }
        let sizes: Shape = self.0.iter().map(|&axis| shape[axis]).collect();
        Ok(Metas::from_iter([Meta::plain(sizes, inputs[0].dtype)]))
    }

    fn layout(&self) -> LayoutRule {
        LayoutRule::Plain
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        count_copy();
        let own = inputs[0].meta().shape.strides();
        let strides: Vec<usize> = self.0.iter().map(|&axis| own[axis]).collect();
        let shape = outputs[0].meta().shape.clone();
        float!(inputs[0].meta().dtype, T => {
            elementwise::copy_strided(&shape, inputs[0].values::<T>(), &strides, outputs[0].values::<T>());
        });
    }

    fn reach(&self, _which: usize, inputs: &[Shape], output: &Shape) -> Reaches {
        let in_place = (2..self.0.len()).all(|axis| self.0[axis] == axis);
        if in_place { reach::by_shape(&inputs[0], output) } else { reach::everything(&inputs[0]) }
    }

    fn grad(&self, _saved: Saved, mut dy: Grads, _needs: Mask) -> Result<Grads> {
        let mut back = vec![0; self.0.len()];
        for (to, &from) in self.0.iter().enumerate() {
            back[from] = to;
        }
        Ok(Grads::from_iter([Some(dy[0].take().expect("one output").permute(&back)?)]))
    }
}

impl Tensor {
    /// Axis `i` of the result is axis `order[i]` of this tensor.
    #[track_caller]
    pub fn permute(&self, order: &[usize]) -> Result<Tensor> {
        apply(Permute(order.to_vec()), [self.clone()])
    }
}

#[cfg(test)]
mod tests {
    use super::super::grad_check::{check, normal};

    #[test]
    fn a_permutation_and_its_gradient_are_inverse() {
        check(&[normal([2, 3, 4], 1)], |x| x[0].permute(&[2, 0, 1]));
        let x = normal([2, 3, 4, 5], 1);
        let back = x.permute(&[3, 1, 0, 2]).unwrap().permute(&[2, 1, 3, 0]).unwrap();
        assert_eq!(back.to_f64_vec().unwrap(), x.to_f64_vec().unwrap());
    }
}
