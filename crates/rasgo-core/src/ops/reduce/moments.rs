//! Variance, standard deviation, norms, and the logarithm of a sum of exponentials: compositions.

use super::super::float;
use super::{count, finish};
use crate::error::{Error, Result};
use crate::meta::{DType, Meta};
use crate::op::{Grads, Input, LayoutRule, Mask, Metas, Op, Output, Saved, Saves, apply};
use crate::scope;
use crate::tensor::Tensor;

/// A reduction of x (input 0) whose value (input 1) operations have computed apart: this op gives it PyTorch's gradient,
/// and not that of the operations.
#[derive(Debug)]
enum Reduced {
    /// The variance, or its root. The gradient leaves out what the mean contributes: 0 but for rounding, or a NaN where
    /// an element is infinite.
    Variance {
        axes: Vec<isize>,
        /// The number of elements less the correction.
        freedom: f64,
        /// Whether it is the standard deviation.
        root: bool,
    },
    /// The p-norm. The gradient is 0 where the norm is.
    Norm { p: f64 },
    /// ln(sum of e^x): the gradient is e^(x - y), which nothing makes overflow.
    LogSumExp,
}

impl Op for Reduced {
    fn name(&self) -> &'static str {
        match self {
            Reduced::Variance { root: false, .. } => "var",
            Reduced::Variance { root: true, .. } => "std",
            Reduced::Norm { .. } => "norm",
            Reduced::LogSumExp => "logsumexp",
        }
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
        let reads_output = !matches!(self, Reduced::Variance { root: false, .. });
        Saves { inputs: Mask::of(&[0]), outputs: if reads_output { Mask::of(&[0]) } else { Mask::NONE } }
    }

    fn grad(&self, mut saved: Saved, mut dy: Grads, _needs: Mask) -> Result<Grads> {
        let (x, dy) = (saved.input(0), dy[0].take().expect("one output"));
        let dx = match self {
            Reduced::Variance { axes, freedom, root: false } => variance_grad(x, dy, axes, *freedom)?,
            Reduced::Variance { axes, freedom, root: true } => {
                // At 0 none of the deviations has a direction: PyTorch's gradient is 0 and not infinite.
                let y = saved.output(0);
                let slope = (dy / y.clone().scale(2.0)?)?.masked_fill(&y.detach().eq(0.0)?, 0.0)?;
                variance_grad(x, slope, axes, *freedom)?
            }
            Reduced::Norm { p } => norm_grad(x, saved.output(0), dy, *p)?,
            Reduced::LogSumExp => (dy * (x - saved.output(0))?.exp()?)?,
        };
        Ok(Grads::from_iter([Some(dx), None]))
    }
}

/// 2 (x - mean) / freedom
fn variance_grad(x: Tensor, dy: Tensor, axes: &[isize], freedom: f64) -> Result<Tensor> {
    let mean = x.mean_axes(axes, true)?;
    if freedom <= 0.0 && (axes.is_empty() || x.shape().is_empty()) {
        // What PyTorch gives where no degree of freedom is left of all elements.
        let infinite = Tensor::full(x.shape(), f64::INFINITY, x.dtype())?;
        return dy * infinite.masked_fill(&x.detach().eq(mean.detach())?, f64::NAN)?;
    }
    dy.scale(2.0 / freedom)? * (x - mean)?
}

/// sign(x) (|x| / y)^(p - 1)
fn norm_grad(x: Tensor, y: Tensor, dy: Tensor, p: f64) -> Result<Tensor> {
    if p == 0.0 {
        return Tensor::zeros(x.shape(), x.dtype());
    }
    if p < 1.0 {
        // The slope at x = 0 would be infinite.
        let sizes = x.clone().abs()?.pow(p - 1.0)?.masked_fill(&x.detach().eq(0.0)?, 0.0)?;
        return x.sign()? * (sizes * (dy * y.pow(1.0 - p)?)?)?;
    }
    let none = y.detach().eq(0.0)?;
    if p == 2.0 {
        return x * (dy / y)?.masked_fill(&none, 0.0)?;
    }
    let scale = (dy / y.pow(p - 1.0)?)?.masked_fill(&none, 0.0)?;
    x.clone().sign()? * (x.abs()?.pow(p - 1.0)? * scale)?
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
        self.spread("var", axes, correction, keep)
    }

    /// The standard deviation: the root of [`var`](Self::var). Where it is 0 so is its gradient.
    #[track_caller]
    pub fn std(&self, axes: &[isize], correction: f64, keep: bool) -> Result<Tensor> {
        self.spread("std", axes, correction, keep)
    }

    #[track_caller]
    fn spread(&self, name: &'static str, axes: &[isize], correction: f64, keep: bool) -> Result<Tensor> {
        let _scope = scope::enter_op(name);
        let gone = self.float_marks(axes).map_err(scope::annotate)?;
        let freedom = count(self.shape(), &gone) as f64 - correction;
        let root = name == "std";
        // In f64, as PyTorch: squares of what f32 holds pass its range both ways.
        let x = self.detach().to_dtype(DType::F64)?;
        let squares = (&x - x.mean_axes(axes, true)?)?.square()?;
        let value = (squares.sum_axes(axes, true)? / freedom.max(0.0))?;
        let value = if root { value.sqrt()? } else { value }.to_dtype(self.dtype())?;
        let op = Reduced::Variance { axes: axes.to_vec(), freedom, root };
        finish(apply(op, [self.clone(), value])?, &gone, keep)
    }

    /// The p-norm over axes, all where none is named: (sum of |x|^p)^(1 / p), the largest |x| for p = infinity, the least
    /// for minus infinity, and for p = 0 the number of elements that are not 0. Its gradient at 0 is 0.
    ///
    /// ```
    /// # use rasgo_core::Tensor;
    /// let x = Tensor::from_vec(vec![3.0f32, -4.0, 0.0], [3])?;
    /// assert_eq!(x.norm(2.0, &[], false)?.item::<f32>()?, 5.0);
    /// assert_eq!(x.norm(0.0, &[], false)?.item::<f32>()?, 2.0);
    /// # Ok::<(), rasgo_core::Error>(())
    /// ```
    #[track_caller]
    pub fn norm(&self, p: f64, axes: &[isize], keep: bool) -> Result<Tensor> {
        let _scope = scope::enter_op("norm");
        let gone = self.float_marks(axes).map_err(scope::annotate)?;
        if p.is_nan() {
            return Err(scope::annotate(Error::argument("the norm of order NaN").hint("give a number")));
        }
        let x = self.detach();
        let value = match p {
            1.0 => return self.clone().abs()?.sum_axes(axes, keep),
            f64::INFINITY | f64::NEG_INFINITY => {
                return finish(self.clone().abs()?.most(&gone, p > 0.0, "norm")?, &gone, keep);
            }
            _ if p < 0.0 && count(self.shape(), &gone) == 0 => {
                let text = format!("the norm of order {p} of nothing, which input {} has", self.shape());
                return Err(scope::annotate(Error::shape(text).hint("leave empty axes out")));
            }
            0.0 => x.ne(0.0)?.to_dtype(x.dtype())?.sum_axes(axes, true)?,
            // Of one number it is the number's size, which no square takes out of range.
            _ if count(self.shape(), &gone) == 1 => x.abs()?.sum_axes(axes, true)?,
            2.0 => x.square()?.sum_axes(axes, true)?.sqrt()?,
            _ => x.abs()?.pow(p)?.sum_axes(axes, true)?.pow(1.0 / p)?,
        };
        finish(apply(Reduced::Norm { p }, [self.clone(), value])?, &gone, keep)
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
        let _scope = scope::enter_op("logsumexp");
        let gone = self.float_marks(axes).map_err(scope::annotate)?;
        let x = self.detach();
        if self.shape().checked_elements() == Some(0) {
            let value = x.exp()?.sum_axes(axes, true)?.log()?;
            return finish(apply(Reduced::LogSumExp, [self.clone(), value])?, &gone, keep);
        }
        // An infinite largest is left where it is: less itself it would be NaN.
        let most = x.amax(axes, true)?;
        let most = most.masked_fill(&most.isfinite()?.logical_not()?.logical_and(&most.eq(&most)?)?, 0.0)?;
        let value = ((x - &most)?.exp()?.sum_axes(axes, true)?.log()? + most)?;
        finish(apply(Reduced::LogSumExp, [self.clone(), value])?, &gone, keep)
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
                for p in [-2.0, 0.5, 1.0, 1.5, 2.0, 3.0, f64::INFINITY, f64::NEG_INFINITY] {
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
    fn what_f32_holds_has_a_deviation_in_f32() {
        let far = Tensor::from_vec(vec![1e20f32, -1e20, 3e19], [3]).unwrap().requires_grad();
        let std = far.std(&[], 1.0, false).unwrap();
        assert!((std.item::<f32>().unwrap() / 1.014_889e20 - 1.0).abs() < 1e-6, "{std}");
        let dx = std.backward().unwrap().get(&far).unwrap().to_vec::<f32>().unwrap();
        assert!((dx[0] - 0.443_4).abs() < 1e-3 && (dx[1] + 0.541_9).abs() < 1e-3, "{dx:?}");
        let near = Tensor::from_vec(vec![1e-23f32, 2e-23, 4e-23], [3]).unwrap();
        let std = near.std(&[], 1.0, false).unwrap().item::<f32>().unwrap();
        assert!((std / 1.527_525e-23 - 1.0).abs() < 1e-5, "{std}");
    }

    /// The values of PyTorch.
    #[test]
    fn norms_of_every_order_and_of_single_numbers() {
        let x = Tensor::from_vec(vec![3.0f32, -4.0, 0.0], [3]).unwrap().requires_grad();
        for (p, norm, slopes) in [
            (0.0, 2.0, [0.0; 3]),
            (0.5, 13.928_204, [2.154_701, -1.866_025, 0.0]),
            (3.0, 4.497_941, [0.444_846, -0.790_837, 0.0]),
            (f64::INFINITY, 4.0, [0.0, -1.0, 0.0]),
            (f64::NEG_INFINITY, 0.0, [0.0; 3]),
        ] {
            let y = x.norm(p, &[], false).unwrap();
            assert!((y.item::<f32>().unwrap() - norm).abs() < 1e-4, "{p}: {y}");
            let dx = y.backward().unwrap().get(&x).unwrap().to_vec::<f32>().unwrap();
            let near = dx.iter().zip(slopes).all(|(dx, slope)| (dx - slope).abs() < 1e-5);
            assert!(near, "{p}: {dx:?}");
        }
        let one = Tensor::from_vec(vec![-1e20f32, 1e-30], [2, 1]).unwrap();
        assert_eq!(one.norm(2.0, &[1], false).unwrap().to_vec::<f32>().unwrap(), [1e20, 1e-30]);
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
        assert!(one.norm(f64::NAN, &[], false).unwrap_err().to_string().contains("norm of order NaN"));
        assert!(Tensor::zeros([2], DType::I64).unwrap().var(&[], 1.0, false).is_err());
    }
}
