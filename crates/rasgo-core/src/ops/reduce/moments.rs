//! Variance, standard deviation, norms, and the logarithm of a sum of exponentials: compositions.

use std::panic::Location;

use super::super::{expect_float, float};
use super::{count, finish};
use crate::error::{Error, Result};
use crate::meta::Meta;
use crate::op::{Grads, Input, LayoutRule, Mask, Metas, Op, Output, Saved, Saves, apply};
use crate::tensor::Tensor;

/// y = sqrt(x), whose gradient at 0 is 0 and not infinite: where all deviations are 0 none has a direction, and PyTorch
/// gives 0.
#[derive(Debug)]
struct Root {
    name: &'static str,
}

impl Op for Root {
    fn name(&self) -> &'static str {
        self.name
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        expect_float(inputs)?;
        Ok(Metas::from_iter([inputs[0].clone()]))
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        float!(inputs[0].meta().dtype, T => {
            for (y, x) in outputs[0].values::<T>().iter_mut().zip(inputs[0].values::<T>()) {
                *y = x.sqrt();
            }
        });
    }

    fn saves(&self) -> Saves {
        Saves { inputs: Mask::NONE, outputs: Mask::of(&[0]) }
    }

    fn grad(&self, mut saved: Saved, mut dy: Grads, _needs: Mask) -> Result<Grads> {
        let (y, dy) = (saved.output(0), dy[0].take().expect("one output"));
        let slope = (dy / y.clone().scale(2.0)?)?;
        Ok(Grads::from_iter([Some(slope.masked_fill(&y.eq(0.0)?, 0.0)?)]))
    }
}

/// y = the variance of x over axes, which operations have computed: this op gives it PyTorch's gradient, which leaves
/// out what the mean contributes. That is 0 but for rounding, or a NaN where an element is infinite.
#[derive(Debug)]
struct Variance {
    axes: Vec<isize>,
    /// The number of elements less the correction.
    freedom: f64,
}

impl Op for Variance {
    fn name(&self) -> &'static str {
        "var"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        Ok(Metas::from_iter([inputs[1].clone()]))
    }

    fn layout(&self) -> LayoutRule {
        LayoutRule::AsIs
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        float!(inputs[1].meta().dtype, T => {
            outputs[0].values::<T>().copy_from_slice(inputs[1].values::<T>());
        });
    }

    fn saves(&self) -> Saves {
        Saves { inputs: Mask::of(&[0]), outputs: Mask::NONE }
    }

    fn grad(&self, mut saved: Saved, mut dy: Grads, _needs: Mask) -> Result<Grads> {
        let (x, dy) = (saved.input(0), dy[0].take().expect("one output"));
        let away = (&x - x.mean_axes(&self.axes, true)?)?;
        if self.freedom <= 0.0 && (self.axes.is_empty() || x.shape().is_empty()) {
            // What PyTorch gives where no degree of freedom is left of all elements.
            let infinite = Tensor::full(x.shape(), f64::INFINITY, x.dtype())?;
            return Ok(Grads::from_iter([
                Some((dy * infinite.masked_fill(&away.eq(0.0)?, f64::NAN)?)?),
                None,
            ]));
        }
        Ok(Grads::from_iter([Some((dy.scale(2.0 / self.freedom)? * away)?), None]))
    }
}

impl Tensor {
    /// The variance over axes, all where none is named: the sum of the squared deviations by the number of elements less
    /// `correction` (PyTorch's default is 1; 0 is that of the population).
    ///
    /// ```
    /// # use rasgo_core::Tensor;
    /// let x = Tensor::from_vec(vec![1.0f32, 2.0, 3.0, 4.0], [4])?;
    /// assert_eq!(x.var(&[], 0.0, false)?.item::<f32>()?, 1.25);
    /// # Ok::<(), rasgo_core::Error>(())
    /// ```
    #[track_caller]
    pub fn var(&self, axes: &[isize], correction: f64, keep: bool) -> Result<Tensor> {
        let at = Location::caller();
        let gone = self.float_marks(axes).map_err(|error| error.op("var").at(at))?;
        let (x, count) = (self.detach(), count(self.shape(), &gone) as f64);
        let squares = (&x - x.mean_axes(axes, true)?)?.square()?;
        let value = (squares.sum_axes(axes, true)? / (count - correction).max(0.0))?;
        let axes = axes.to_vec();
        let op = Variance { axes, freedom: count - correction };
        finish(apply(op, [self.clone(), value])?, &gone, keep)
    }

    /// The standard deviation: the root of [`var`](Self::var). Where it is 0 so is its gradient.
    #[track_caller]
    pub fn std(&self, axes: &[isize], correction: f64, keep: bool) -> Result<Tensor> {
        let at = Location::caller();
        self.float_marks(axes).map_err(|error| error.op("std").at(at))?;
        apply(Root { name: "std" }, [self.var(axes, correction, keep)?])
    }

    /// The p-norm over axes, all where none is named, for p = 1, 2 or infinity: the sum of the absolute values, the
    /// Euclidean length, the largest absolute value. Its gradient at 0 is 0.
    #[track_caller]
    pub fn norm(&self, p: f64, axes: &[isize], keep: bool) -> Result<Tensor> {
        let at = Location::caller();
        let gone = self.float_marks(axes).map_err(|error| error.op("norm").at(at))?;
        match p {
            1.0 => self.clone().abs()?.sum_axes(axes, keep),
            2.0 => apply(Root { name: "norm" }, [self.clone().square()?.sum_axes(axes, keep)?]),
            f64::INFINITY => finish(self.clone().abs()?.largest(&gone, "norm")?, &gone, keep),
            _ => Err(Error::argument(format!("the norm of order {p}"))
                .hint("1, 2 and infinity are there; others are x.abs()?.pow(p)?.sum_axes(..)?.pow(1.0 / p)")
                .op("norm")
                .at(at)),
        }
    }

    /// ln(sum of e^x) over axes, all where none is named, without overflow.
    ///
    /// ```
    /// # use rasgo_core::Tensor;
    /// let x = Tensor::from_vec(vec![1000.0f32, 1000.0], [2])?;
    /// assert!((x.logsumexp(&[0], false)?.item::<f32>()? - 1000.6931).abs() < 1e-3);
    /// # Ok::<(), rasgo_core::Error>(())
    /// ```
    #[track_caller]
    pub fn logsumexp(&self, axes: &[isize], keep: bool) -> Result<Tensor> {
        let at = Location::caller();
        let gone = self.float_marks(axes).map_err(|error| error.op("logsumexp").at(at))?;
        if self.shape().checked_elements() == Some(0) {
            return self.clone().exp()?.sum_axes(axes, keep)?.log();
        }
        // An infinite largest is left where it is: less itself it would be NaN.
        let most = self.detach().amax(axes, true)?;
        let most = most.masked_fill(&most.isfinite()?.logical_not()?.logical_and(&most.eq(&most)?)?, 0.0)?;
        let kept = ((self - &most)?.exp()?.sum_axes(axes, true)?.log()? + most)?;
        finish(kept, &gone, keep)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::grad_check::{check, normal};
    use crate::{DType, Tensor};

    #[test]
    fn moments_have_the_gradients_of_their_differences() {
        for x in [normal([2, 3, 4, 5], 1), normal([2, 3, 4, 5], 1).to_channels_last()] {
            for axes in [vec![], vec![1], vec![0, -1]] {
                check(std::slice::from_ref(&x), |x| x[0].var(&axes, 1.0, false));
                check(std::slice::from_ref(&x), |x| x[0].std(&axes, 0.0, true));
                check(std::slice::from_ref(&x), |x| x[0].logsumexp(&axes, false));
                for p in [1.0, 2.0, f64::INFINITY] {
                    check(std::slice::from_ref(&x), |x| x[0].norm(p, &axes, true));
                }
            }
        }
    }

    #[test]
    fn a_far_mean_does_not_spoil_the_variance() {
        let x: Vec<f32> = (0..10_000).map(|i| 1e4 + (i % 7) as f32).collect();
        let variance = Tensor::from_vec(x, [10_000]).unwrap().var(&[], 1.0, false).unwrap();
        // That of 0 to 6, 1428 times and four more.
        assert!((variance.item::<f32>().unwrap() - 4.000_2).abs() < 4e-4, "{variance}");
    }

    /// The values of PyTorch.
    #[test]
    fn edges_are_those_of_pytorch() {
        let far = Tensor::from_vec(vec![1.0f32, f32::INFINITY, 2.0], [3]).unwrap().requires_grad();
        let grads = far.var(&[], 1.0, false).unwrap().backward().unwrap();
        let dx = grads.get(&far).unwrap().to_vec::<f32>().unwrap();
        assert!(dx[0] == -f32::INFINITY && dx[1].is_nan() && dx[2] == -f32::INFINITY, "{dx:?}");
        let same = Tensor::ones([3], DType::F32).unwrap().requires_grad();
        let grads = same.std(&[], 1.0, false).unwrap().backward().unwrap();
        assert_eq!(grads.get(&same).unwrap().to_vec::<f32>().unwrap(), [0.0; 3]);
        let one = Tensor::ones([1], DType::F32).unwrap();
        assert!(one.var(&[0], 1.0, false).unwrap().item::<f32>().unwrap().is_nan());
        assert!(
            Tensor::zeros([0], DType::F32)
                .unwrap()
                .var(&[], 0.0, false)
                .unwrap()
                .item::<f32>()
                .unwrap()
                .is_nan()
        );
        let (n, i) = (f32::NAN, f32::INFINITY);
        let x = Tensor::from_vec(vec![-i, -i, i, 1.0, n, 1.0, i, i], [4, 2]).unwrap().requires_grad();
        let y = x.logsumexp(&[1], false).unwrap();
        let values = y.to_vec::<f32>().unwrap();
        assert!(values[0] == -i && values[1] == i && values[2].is_nan() && values[3] == i, "{values:?}");
        let grads = y.sum().unwrap().backward().unwrap();
        let dx = grads.get(&x).unwrap().to_vec::<f32>().unwrap();
        assert!(dx[3] == 0.0 && (0..8).filter(|&k| k != 3).all(|k| dx[k].is_nan()), "{dx:?}");
        let none = Tensor::zeros([0, 3], DType::F32).unwrap();
        assert_eq!(none.logsumexp(&[0], false).unwrap().to_vec::<f32>().unwrap(), [-i; 3]);
        assert!(one.norm(3.0, &[], false).unwrap_err().to_string().contains("norm of order 3"));
        assert!(Tensor::zeros([2], DType::I64).unwrap().var(&[], 1.0, false).is_err());
    }
}
