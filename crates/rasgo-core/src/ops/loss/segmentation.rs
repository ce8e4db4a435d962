//! Losses for classes of very different frequency, as the pixels of small objects.
//!
//! ```text
//! sigmoid_focal_loss: a (1 - p_t)^gamma bce(x, t)       p = sigmoid(x), p_t = p t + (1 - p)(1 - t),
//!                                                       a = alpha t + (1 - alpha)(1 - t)
//! dice_loss: 1 - (2 sum p t + smooth) / (sum p + sum t + smooth)
//! ```
//! The first is Lin et al. 2017, as torchvision has it; the second is Milletari et al. 2016, over all axes but the batch's
//! (or but those of batch and channels), with sums instead of sums of squares.

use std::panic::Location;

use super::Reduction;
use crate::error::{Error, Result};
use crate::scope;
use crate::tensor::Tensor;

/// Options of [`Tensor::sigmoid_focal_loss`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FocalLossOptions {
    /// The factor on positive targets, with 1 - alpha on negative ones; `None` has no such factors (-1 in torchvision).
    pub alpha: Option<f64>,
    /// How far easy examples are held down.
    pub gamma: f64,
    /// What becomes of the losses of the elements; none by default, as in torchvision.
    pub reduction: Reduction,
}

impl Default for FocalLossOptions {
    fn default() -> Self {
        FocalLossOptions { alpha: Some(0.25), gamma: 2.0, reduction: Reduction::None }
    }
}

/// Options of [`Tensor::dice_loss`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DiceLossOptions {
    /// Added above and below: with 0, the loss of two empty masks is NaN.
    pub smooth: f64,
    /// Whether each channel has a loss of its own; else one sample has one.
    pub per_channel: bool,
    /// What becomes of the losses of the samples or channels.
    pub reduction: Reduction,
}

impl Default for DiceLossOptions {
    fn default() -> Self {
        DiceLossOptions { smooth: 1.0, per_channel: false, reduction: Reduction::Mean }
    }
}

#[track_caller]
fn refuse<T>(op: &'static str, error: Error) -> Result<T> {
    Err(scope::annotate(error.op(op)).at(Location::caller()))
}

impl Tensor {
    /// The focal loss of logits x for targets t in 0..1 of the same shape; see the module for the formula.
    ///
    /// # Errors
    /// If alpha is not in 0..1.
    #[track_caller]
    pub fn sigmoid_focal_loss(&self, target: &Tensor, options: FocalLossOptions) -> Result<Tensor> {
        let op = "sigmoid_focal_loss";
        let _scope = scope::enter_op(op);
        let FocalLossOptions { alpha, gamma, reduction } = options;
        if let Some(alpha) = alpha.filter(|alpha| !(0.0..=1.0).contains(alpha)) {
            return refuse(
                op,
                Error::argument(format!("alpha {alpha} is not in 0..1")).hint("give none for no factor"),
            );
        }
        if self.shape() != target.shape() {
            let text = format!("input {} and target {}", self.shape(), target.shape());
            return refuse(op, Error::shape(text).hint("give both one shape"));
        }
        let negative = (1.0 - target)?;
        // 1 - p_t, of two parts that do not cancel.
        let missed =
            ((self.clone().sigmoid()? * &negative)? + (self.clone().scale(-1.0)?.sigmoid()? * target)?)?;
        let mut losses =
            (self.binary_cross_entropy_with_logits(target, Reduction::None)? * missed.pow(gamma)?)?;
        if let Some(alpha) = alpha {
            losses = (losses * (target.clone().scale(alpha)? + negative.scale(1.0 - alpha)?)?)?;
        }
        reduction.reduce(losses)
    }

    /// The dice loss of probabilities p (N, …) for targets t of the same shape, one for each sample, or for each channel of
    /// (N, C, …); see the module for the formula.
    ///
    /// ```
    /// # use rasgo_core::{Tensor, ops::DiceLossOptions};
    /// let mask = Tensor::from_vec(vec![1.0f32, 1.0, 0.0, 0.0], [1, 1, 2, 2])?;
    /// let half = Tensor::from_vec(vec![1.0f32, 0.0, 1.0, 0.0], [1, 1, 2, 2])?;
    /// let options = DiceLossOptions { smooth: 0.0, ..Default::default() };
    /// assert_eq!(mask.dice_loss(&mask, options)?.item::<f32>()?, 0.0);
    /// assert_eq!(half.dice_loss(&mask, options)?.item::<f32>()?, 0.5);
    /// # Ok::<(), rasgo_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the shapes differ or have no axis for the batch (and the channels).
    #[track_caller]
    pub fn dice_loss(&self, target: &Tensor, options: DiceLossOptions) -> Result<Tensor> {
        let _scope = scope::enter_op("dice_loss");
        let DiceLossOptions { smooth, per_channel, reduction } = options;
        let kept = if per_channel { 2 } else { 1 };
        if self.shape() != target.shape() || self.shape().len() < kept {
            let text = format!("input {} and target {}", self.shape(), target.shape());
            let hint =
                if per_channel { "give both one shape (N, C, …)" } else { "give both one shape (N, …)" };
            return refuse("dice_loss", Error::shape(text).hint(hint));
        }
        let axes: Vec<isize> = (kept..self.shape().len()).map(|axis| axis as isize).collect();
        // No axes would mean all of them.
        let sum = |x: Tensor| if axes.is_empty() { Ok(x) } else { x.sum_axes(&axes, false) };
        let both = sum((self * target)?)?.scale(2.0)?.add_scalar(smooth)?;
        let all = (sum(self.clone())? + sum(target.clone())?)?.add_scalar(smooth)?;
        reduction.reduce((1.0 - (both / all)?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::grad_check::{check, normal};
    use super::*;

    #[test]
    fn they_have_the_gradients_of_their_differences() {
        let share = |shape: &[usize], seed| normal(shape, seed).sigmoid().unwrap();
        for reduction in [Reduction::None, Reduction::Mean, Reduction::Sum] {
            for (alpha, gamma) in [(Some(0.25), 2.0), (None, 0.0), (Some(0.9), 1.5), (None, 1.0)] {
                check(&[normal([2, 3], 1), share(&[2, 3], 2)], |x| {
                    x[0].sigmoid_focal_loss(&x[1], FocalLossOptions { alpha, gamma, reduction })
                });
            }
            for per_channel in [false, true] {
                check(&[share(&[2, 3, 2, 2], 1), share(&[2, 3, 2, 2], 2)], |x| {
                    x[0].dice_loss(&x[1], DiceLossOptions { smooth: 0.3, per_channel, reduction })
                });
            }
        }
    }

    #[test]
    fn without_focus_it_is_the_binary_cross_entropy() {
        let (x, t) = (normal([2, 3], 1), normal([2, 3], 2).sigmoid().unwrap());
        let options = FocalLossOptions { alpha: None, gamma: 0.0, reduction: Reduction::None };
        assert_eq!(
            x.sigmoid_focal_loss(&t, options).unwrap().to_vec::<f64>().unwrap(),
            x.binary_cross_entropy_with_logits(&t, Reduction::None).unwrap().to_vec::<f64>().unwrap()
        );
    }

    #[test]
    fn dice_is_of_samples_or_of_channels() {
        let p = Tensor::from_vec(vec![0.5f64, 1.0, 0.0, 0.0, 1.0, 0.0, 1.0, 1.0], [2, 2, 2]).unwrap();
        let t = Tensor::from_vec(vec![1.0f64, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0], [2, 2, 2]).unwrap();
        let loss = |per_channel| {
            let options = DiceLossOptions { smooth: 1.0, per_channel, reduction: Reduction::None };
            p.dice_loss(&t, options).unwrap().to_vec::<f64>().unwrap()
        };
        assert_eq!(loss(false), [1.0 - 4.0 / 4.5, 1.0 - 5.0 / 7.0]);
        assert_eq!(loss(true), [1.0 - 4.0 / 4.5, 0.0, 1.0 - 1.0 / 3.0, 0.0]);
        // Without further axes each number is a sample, or a channel.
        let (p, t) = (normal([2, 3], 1).sigmoid().unwrap(), normal([2, 3], 2).sigmoid().unwrap());
        let options = DiceLossOptions { smooth: 0.5, per_channel: true, reduction: Reduction::None };
        let found = p.dice_loss(&t, options).unwrap();
        let (p, t) = (p.to_vec::<f64>().unwrap(), t.to_vec::<f64>().unwrap());
        let expected: Vec<f64> =
            p.iter().zip(&t).map(|(p, t)| 1.0 - (2.0 * p * t + 0.5) / (p + t + 0.5)).collect();
        assert_eq!(found.shape()[..], [2, 3]);
        let found = found.to_vec::<f64>().unwrap();
        assert!(found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-12));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let (x, t) = (normal([2, 3], 1), normal([2], 2));
        let focal = x.sigmoid_focal_loss(&t, FocalLossOptions::default()).unwrap_err();
        assert!(focal.to_string().contains("input [2, 3] and target [2]"), "{focal}");
        let options = FocalLossOptions { alpha: Some(-1.0), ..Default::default() };
        assert!(x.sigmoid_focal_loss(&x, options).unwrap_err().to_string().contains("alpha -1"));
        let options = DiceLossOptions { per_channel: true, ..Default::default() };
        let dice = t.dice_loss(&t, options).unwrap_err();
        assert!(dice.to_string().contains("(N, C, …)"), "{dice}");
        assert_eq!(dice.location().unwrap().file(), file!());
    }
}
