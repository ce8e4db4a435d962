//! softmax and log_softmax over the classes of (N, C).

use rasgo_kernels::softmax;

use super::{expect_float, float, no_second_gradient};
use crate::error::{Error, Result};
use crate::meta::Meta;
use crate::op::{Grads, Input, LayoutRule, Mask, Metas, Op, Output, Saved, Saves, apply};
use crate::tensor::Tensor;

/// y = e^x / sum e^x in each row, or the logarithm of that.
#[derive(Debug, Clone, Copy)]
struct Softmax {
    log: bool,
}

impl Op for Softmax {
    fn name(&self) -> &'static str {
        if self.log { "log_softmax" } else { "softmax" }
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        expect_float(inputs)?;
        if inputs[0].shape.len() != 2 {
            return Err(Error::shape(format!("input {}: it must be (N, classes)", inputs[0].shape))
                .hint("flatten the other axes first"));
        }
        Ok(Metas::from_iter([inputs[0].clone()]))
    }

    fn layout(&self) -> LayoutRule {
        LayoutRule::Plain
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        let classes = inputs[0].meta().shape[1];
        float!(inputs[0].meta().dtype, T => {
            let kernel = if self.log { softmax::log_softmax } else { softmax::softmax };
            kernel(classes, inputs[0].values::<T>(), outputs[0].values::<T>());
        });
    }

    fn saves(&self) -> Saves {
        Saves { inputs: Mask::NONE, outputs: Mask::of(&[0]) }
    }

    fn grad(&self, mut saved: Saved, mut dy: Grads, _needs: Mask) -> Result<Grads> {
        let dy = dy[0].take().expect("one output");
        Ok(Grads::from_iter([Some(apply(SoftmaxGrad(*self), [dy, saved.output(0)])?)]))
    }
}

#[derive(Debug)]
struct SoftmaxGrad(Softmax);

impl Op for SoftmaxGrad {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        Ok(Metas::from_iter([inputs[0].clone()]))
    }

    fn layout(&self) -> LayoutRule {
        LayoutRule::Plain
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        let classes = inputs[0].meta().shape[1];
        float!(inputs[0].meta().dtype, T => {
            let (dy, y) = (inputs[0].values::<T>(), inputs[1].values::<T>());
            let kernel = if self.0.log { softmax::log_softmax_grad } else { softmax::softmax_grad };
            kernel(classes, y, dy, outputs[0].values::<T>());
        });
    }

    fn grad(&self, _saved: Saved, _dy: Grads, _needs: Mask) -> Result<Grads> {
        Err(no_second_gradient())
    }
}

impl Tensor {
    /// e^x / sum e^x over the classes of (N, C).
    #[track_caller]
    pub fn softmax(&self) -> Result<Tensor> {
        apply(Softmax { log: false }, [self.clone()])
    }

    /// x - ln(sum e^x) over the classes of (N, C).
    #[track_caller]
    pub fn log_softmax(&self) -> Result<Tensor> {
        apply(Softmax { log: true }, [self.clone()])
    }
}

#[cfg(test)]
mod tests {
    use super::super::grad_check::{check, normal};
    use super::*;

    #[test]
    fn softmax_has_the_gradient_of_its_differences() {
        check(&[normal([3, 5], 1)], |x| x[0].softmax());
        check(&[normal([3, 5], 1)], |x| x[0].log_softmax());
    }

    #[test]
    fn large_logits_do_not_overflow() {
        let x = Tensor::from_vec(vec![1000.0f32, 0.0, -1000.0], [1, 3]).unwrap();
        assert_eq!(x.softmax().unwrap().to_vec::<f32>().unwrap(), [1.0, 0.0, 0.0]);
    }
}
