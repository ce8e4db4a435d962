//! Losses of pairs of an input x and a target t of one shape; d = x - t.
//!
//! ```text
//! mse_loss                          d^2
//! l1_loss                           |d|
//! huber_loss                        d^2 / 2 where |d| <= delta, delta (|d| - delta / 2) beyond
//! smooth_l1_loss                    huber_loss with delta = beta, divided by beta; l1_loss for beta = 0
//! binary_cross_entropy              -w (t ln x + (1 - t) ln(1 - x)), each logarithm at least -100
//! binary_cross_entropy_with_logits  w (p t ln(1 + e^-x) + (1 - t) ln(1 + e^x))
//! kl_div                            t (ln t - x), or e^t (t - x) where the target is a logarithm
//! ```

use std::panic::Location;

use rasgo_kernels::Float as _;
use rasgo_kernels::loss::{self, PairLoss, Part};

use super::Reduction;
use crate::error::{Error, Result};
use crate::meta::{Meta, Shape};
use crate::op::{Bf16Rule, Grads, Input, Mask, Metas, Op, Output, Saved, Saves, apply};
use crate::ops::broadcast::broadcast_shape;
use crate::ops::{expect_float, float, no_second_gradient};
use crate::scope;
use crate::tensor::Tensor;

/// Options of the losses of pairs; a [`Reduction`] stands for all of them.
#[derive(Clone, Debug, Default)]
pub struct LossOptions {
    /// A factor for each element; the axes of [`Tensor::binary_cross_entropy`]'s may be broadcast, others have the input's
    /// shape. The mean divides by the sum of the weights in [`Tensor::mse_loss`] and [`Tensor::l1_loss`], and by the
    /// number of elements elsewhere, as in PyTorch.
    pub weight: Option<Tensor>,
    /// What becomes of the losses of the elements.
    pub reduction: Reduction,
}

impl From<Reduction> for LossOptions {
    fn from(reduction: Reduction) -> Self {
        LossOptions { weight: None, reduction }
    }
}

/// Options of [`Tensor::binary_cross_entropy_with_logits`]. The axes of both factors may be broadcast.
#[derive(Clone, Debug, Default)]
pub struct BceWithLogitsOptions {
    /// A factor for each element.
    pub weight: Option<Tensor>,
    /// A factor on what positive targets cost: p in the formula.
    pub pos_weight: Option<Tensor>,
    /// What becomes of the losses of the elements.
    pub reduction: Reduction,
}

impl From<Reduction> for BceWithLogitsOptions {
    fn from(reduction: Reduction) -> Self {
        BceWithLogitsOptions { reduction, ..BceWithLogitsOptions::default() }
    }
}

/// Options of [`Tensor::kl_div`].
#[derive(Clone, Copy, Debug, Default)]
pub struct KlDivOptions {
    /// Whether the target is the logarithm of probabilities, as the input always is.
    pub log_target: bool,
    /// What becomes of the losses of the elements. The divergence of distributions is the sum divided by their number,
    /// which PyTorch calls `batchmean`; the mean divides by the number of elements.
    pub reduction: Reduction,
}

/// The value for inputs (x, t), or a derivative times a factor for inputs (factor, x, t).
#[derive(Debug, Clone, Copy)]
struct Pair {
    loss: PairLoss,
    part: Part,
    name: &'static str,
}

impl Pair {
    fn part(self, part: Part) -> Self {
        Pair { part, ..self }
    }

    /// The derivatives of this part for x and for t, where there are kernels for them.
    fn derivatives(self) -> Option<[Pair; 2]> {
        let [by_input, by_target] = match self.part {
            Part::Value => [Part::Input, Part::Target],
            Part::Input => [Part::InputInput, Part::InputTarget],
            Part::Target => [Part::InputTarget, Part::TargetTarget],
            _ => return None,
        };
        Some([self.part(by_input), self.part(by_target)])
    }
}

impl Op for Pair {
    fn name(&self) -> &'static str {
        self.name
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        expect_float(inputs)?;
        let (x, t) = (&inputs[inputs.len() - 2], &inputs[inputs.len() - 1]);
        if x.shape != t.shape {
            return Err(Error::shape(format!("input {} and target {}", x.shape, t.shape))
                .hint("give both one shape, with .reshape or .broadcast_to"));
        }
        Ok(Metas::from_iter([inputs[0].clone()]))
    }

    fn bf16(&self) -> Bf16Rule {
        Bf16Rule::Widened
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        float!(inputs[0].meta().dtype, T => {
            let values = |i: usize| inputs[i].values::<T>();
            let (factor, x, t) = match self.part {
                Part::Value => (None, values(0), values(1)),
                _ => (Some(values(0)), values(1), values(2)),
            };
            loss::pair(self.loss, self.part, x, t, factor, outputs[0].values::<T>());
        });
    }

    fn saves(&self) -> Saves {
        Saves { inputs: Mask::of(&[0, 1, 2]), outputs: Mask::NONE }
    }

    fn grad(&self, mut saved: Saved, mut dy: Grads, needs: Mask) -> Result<Grads> {
        let dy = dy[0].take().expect("one output");
        if self.part == Part::Value {
            let (x, t) = (saved.input(0), saved.input(1));
            let [by_x, by_t] = self.derivatives().expect("a value has derivatives");
            let grad = |by: Pair| apply(by, [dy.clone(), x.clone(), t.clone()]);
            let (dx, dt) = (needs.has(0).then(|| grad(by_x)), needs.has(1).then(|| grad(by_t)));
            return Ok(Grads::from_iter([dx.transpose()?, dt.transpose()?]));
        }
        let (factor, x, t) = (saved.input(0), saved.input(1), saved.input(2));
        let dfactor = needs.has(0).then(|| apply(*self, [dy.clone(), x.clone(), t.clone()])).transpose()?;
        if !needs.has(1) && !needs.has(2) {
            return Ok(Grads::from_iter([dfactor, None, None]));
        }
        let [by_x, by_t] = self.derivatives().ok_or_else(no_second_gradient)?;
        let factor = (dy * factor)?;
        let grad = |by: Pair| apply(by, [factor.clone(), x.clone(), t.clone()]);
        let (dx, dt) = (needs.has(1).then(|| grad(by_x)), needs.has(2).then(|| grad(by_t)));
        Ok(Grads::from_iter([dfactor, dx.transpose()?, dt.transpose()?]))
    }
}

/// The losses of the elements.
#[track_caller]
fn elements(loss: PairLoss, name: &'static str, x: &Tensor, t: &Tensor) -> Result<Tensor> {
    apply(Pair { loss, part: Part::Value, name }, [x.clone(), t.clone()])
}

/// Where shapes differ, both are broadcast to the shape that they share, as PyTorch does with a warning.
#[track_caller]
fn broadcast(op: &'static str, x: &Tensor, t: &Tensor) -> Result<(Tensor, Tensor)> {
    if x.shape() == t.shape() {
        return Ok((x.clone(), t.clone()));
    }
    let at = Location::caller();
    let shape =
        broadcast_shape(x.shape(), t.shape()).map_err(|error| scope::annotate(error.op(op)).at(at))?;
    Ok((x.broadcast_to(shape.clone())?, t.broadcast_to(shape)?))
}

/// A factor on the losses; it must broadcast to their shape and leave it as it is.
#[track_caller]
fn weighted(op: &'static str, name: &str, losses: Tensor, weight: &Tensor) -> Result<Tensor> {
    let shape = losses.shape().clone();
    if broadcast_shape(&shape, weight.shape()).is_ok_and(|all| all == shape) {
        return losses * weight;
    }
    Err(wrong_weight(op, name, &shape, weight.shape(), Location::caller()))
}

fn wrong_weight(
    op: &'static str,
    name: &str,
    losses: &Shape,
    weight: &Shape,
    at: &'static Location<'static>,
) -> Error {
    let text = format!("{name} {weight} for losses of shape {losses}");
    scope::annotate(Error::shape(text).op(op).hint(format!("give it the shape {losses}"))).at(at)
}

/// What is left of the losses of a difference: their weight has the input's shape.
#[track_caller]
fn finish(
    op: &'static str,
    x: &Tensor,
    losses: Tensor,
    options: LossOptions,
    by_weight: bool,
) -> Result<Tensor> {
    let Some(weight) = options.weight else { return options.reduction.reduce(losses) };
    if weight.shape() != x.shape() {
        return Err(wrong_weight(op, "weight", x.shape(), weight.shape(), Location::caller()));
    }
    let losses = weighted(op, "weight", losses, &weight)?;
    match options.reduction {
        Reduction::Mean if by_weight => losses.sum()? / weight.sum()?,
        reduction => reduction.reduce(losses),
    }
}

/// Checks a number that decides where the square ends.
#[track_caller]
fn check_bound(op: &'static str, name: &str, bound: f64, fits: bool) -> Result<()> {
    if fits {
        return Ok(());
    }
    let error = Error::argument(format!("{name} {bound}")).op(op).hint("give a number above 0, as 1.0");
    Err(scope::annotate(error).at(Location::caller()))
}

/// The first value of a tensor of floats that is no probability, with its place in row-major order.
fn outside_0_to_1(tensor: &Tensor) -> Option<(usize, f64)> {
    let plain = tensor.clone().to_plain();
    float!(plain.dtype(), T => {
        let values = plain.raw::<T>();
        let place = values.iter().position(|x| !(0.0..=1.0).contains(x))?;
        Some((place, values[place].to_f64()))
    })
}

impl Tensor {
    /// (x - t)^2.
    ///
    /// ```
    /// # use rasgo_core::{Tensor, ops::Reduction};
    /// let (x, t) = (Tensor::from_vec(vec![1.0f32, 4.0], [2])?, Tensor::from_vec(vec![2.0f32, 2.0], [2])?);
    /// assert_eq!(x.mse_loss(&t, Reduction::None)?.to_vec::<f32>()?, [1.0, 4.0]);
    /// assert_eq!(x.mse_loss(&t, Reduction::Mean)?.item::<f32>()?, 2.5);
    /// # Ok::<(), rasgo_core::Error>(())
    /// ```
    #[track_caller]
    pub fn mse_loss(&self, target: &Tensor, options: impl Into<LossOptions>) -> Result<Tensor> {
        let op = "mse_loss";
        let _scope = scope::enter_op(op);
        let (x, t) = broadcast(op, self, target)?;
        finish(op, self, elements(PairLoss::Squared, op, &x, &t)?, options.into(), true)
    }

    /// |x - t|.
    #[track_caller]
    pub fn l1_loss(&self, target: &Tensor, options: impl Into<LossOptions>) -> Result<Tensor> {
        let op = "l1_loss";
        let _scope = scope::enter_op(op);
        let (x, t) = broadcast(op, self, target)?;
        finish(op, self, elements(PairLoss::Absolute, op, &x, &t)?, options.into(), true)
    }

    /// (x - t)^2 / 2 up to a distance of delta, and a line beyond (Huber 1964); see the module for the formula.
    ///
    /// # Errors
    /// If delta is not above 0.
    #[track_caller]
    pub fn huber_loss(&self, target: &Tensor, delta: f64, options: impl Into<LossOptions>) -> Result<Tensor> {
        let op = "huber_loss";
        let _scope = scope::enter_op(op);
        check_bound(op, "delta", delta, delta > 0.0)?;
        let (x, t) = broadcast(op, self, target)?;
        finish(op, self, elements(PairLoss::Huber(delta), op, &x, &t)?, options.into(), false)
    }

    /// [`huber_loss`](Self::huber_loss) with delta = beta, divided by beta (Girshick 2015); [`l1_loss`](Self::l1_loss) for
    /// a beta of 0.
    ///
    /// # Errors
    /// If beta is negative.
    #[track_caller]
    pub fn smooth_l1_loss(
        &self,
        target: &Tensor,
        beta: f64,
        options: impl Into<LossOptions>,
    ) -> Result<Tensor> {
        let op = "smooth_l1_loss";
        let _scope = scope::enter_op(op);
        check_bound(op, "beta", beta, beta >= 0.0)?;
        let (x, t) = broadcast(op, self, target)?;
        let loss = if beta == 0.0 { PairLoss::Absolute } else { PairLoss::SmoothL1(beta) };
        finish(op, self, elements(loss, op, &x, &t)?, options.into(), false)
    }

    /// The cross entropy of probabilities x against targets t, both in 0..1; see the module for the formula. The gradient is
    /// bounded by 1e12, as PyTorch's.
    ///
    /// # Errors
    /// A value outside of 0..1 is named with its place.
    #[track_caller]
    pub fn binary_cross_entropy(&self, target: &Tensor, options: impl Into<LossOptions>) -> Result<Tensor> {
        let op = "binary_cross_entropy";
        let _scope = scope::enter_op(op);
        for (name, tensor) in [("input", self), ("target", target)] {
            if tensor.is_shape_only() || !tensor.dtype().is_float() {
                continue;
            }
            if let Some((place, value)) = outside_0_to_1(tensor) {
                let text = format!("{name} {value} at {} is not in 0..1", tensor.shape().place(place));
                let error = Error::argument(text).op(op);
                let hint = "give logits to binary_cross_entropy_with_logits, or apply .sigmoid() first";
                return Err(scope::annotate(error.hint(hint)).at(Location::caller()));
            }
        }
        let LossOptions { weight, reduction } = options.into();
        let mut losses = elements(PairLoss::Probability, op, self, target)?;
        if let Some(weight) = weight {
            losses = weighted(op, "weight", losses, &weight)?;
        }
        reduction.reduce(losses)
    }

    /// [`binary_cross_entropy`](Self::binary_cross_entropy) of sigmoid(x), without overflow; see the module for the formula.
    ///
    /// ```
    /// # use rasgo_core::{Tensor, ops::Reduction};
    /// let (x, t) = (Tensor::from_vec(vec![0.0f32, 200.0], [2])?, Tensor::from_vec(vec![1.0f32, 0.0], [2])?);
    /// let loss = x.binary_cross_entropy_with_logits(&t, Reduction::None)?.to_vec::<f32>()?;
    /// assert!((loss[0] - 2f32.ln()).abs() < 1e-6 && loss[1] == 200.0);
    /// # Ok::<(), rasgo_core::Error>(())
    /// ```
    #[track_caller]
    pub fn binary_cross_entropy_with_logits(
        &self,
        target: &Tensor,
        options: impl Into<BceWithLogitsOptions>,
    ) -> Result<Tensor> {
        let op = "binary_cross_entropy_with_logits";
        let _scope = scope::enter_op(op);
        let BceWithLogitsOptions { weight, pos_weight, reduction } = options.into();
        let mut positive = elements(PairLoss::LogitPositive, op, self, target)?;
        if let Some(pos_weight) = pos_weight {
            positive = weighted(op, "pos_weight", positive, &pos_weight)?;
        }
        let mut losses = (positive + elements(PairLoss::LogitNegative, op, self, target)?)?;
        if let Some(weight) = weight {
            losses = weighted(op, "weight", losses, &weight)?;
        }
        reduction.reduce(losses)
    }

    /// The terms of the divergence of Kullback and Leibler, t (ln t - x), of log-probabilities x from probabilities t; see
    /// [`KlDivOptions`] for the divisor.
    #[track_caller]
    pub fn kl_div(&self, target: &Tensor, options: KlDivOptions) -> Result<Tensor> {
        let op = "kl_div";
        let _scope = scope::enter_op(op);
        let (x, t) = broadcast(op, self, target)?;
        let losses = match options.log_target {
            true => (t.clone().exp()? * (&t - &x)?)?,
            false => elements(PairLoss::Divergence, op, &x, &t)?,
        };
        options.reduction.reduce(losses)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::grad_check::{check, normal};
    use super::*;
    use crate::DType;

    type Loss = fn(&Tensor, &Tensor, Reduction) -> Result<Tensor>;

    /// Every loss, for inputs in 0..1.
    const LOSSES: [(&str, Loss); 9] = [
        ("mse", |x, t, r| x.mse_loss(t, r)),
        ("l1", |x, t, r| x.l1_loss(t, r)),
        ("huber", |x, t, r| x.huber_loss(t, 0.2, r)),
        ("smooth l1", |x, t, r| x.smooth_l1_loss(t, 0.2, r)),
        ("smooth l1 of 0", |x, t, r| x.smooth_l1_loss(t, 0.0, r)),
        ("bce", |x, t, r| x.binary_cross_entropy(t, r)),
        ("bce with logits", |x, t, r| x.binary_cross_entropy_with_logits(t, r)),
        ("kl", |x, t, reduction| x.kl_div(t, KlDivOptions { reduction, ..Default::default() })),
        ("kl of logarithms", |x, t, reduction| x.kl_div(t, KlDivOptions { log_target: true, reduction })),
    ];

    fn share(shape: impl Into<Shape>, seed: u64) -> Tensor {
        normal(shape, seed).sigmoid().unwrap()
    }

    #[test]
    fn losses_have_the_gradients_of_their_differences() {
        for (_, loss) in LOSSES {
            for reduction in [Reduction::None, Reduction::Mean, Reduction::Sum] {
                check(&[share([2, 3], 1), share([2, 3], 2)], |x| loss(&x[0], &x[1], reduction));
                check(&[share([], 1), share([], 2)], |x| loss(&x[0], &x[1], reduction));
            }
        }
    }

    /// The values of PyTorch.
    #[test]
    fn a_smooth_l1_whose_square_is_tiny_is_the_distance() {
        for beta in [1e-40, 2e-38, 1e-30] {
            let x = Tensor::from_vec(vec![1.0f32, -2.0, 0.01, 0.0], [4]).unwrap().requires_grad();
            let t = Tensor::zeros([4], DType::F32).unwrap();
            let losses = x.smooth_l1_loss(&t, beta, Reduction::None).unwrap();
            assert_eq!(losses.to_vec::<f32>().unwrap(), [1.0, 2.0, 0.01, 0.0], "{beta}");
            let grads = losses.sum().unwrap().backward().unwrap();
            let dx = grads.get(&x).unwrap().to_vec::<f32>().unwrap();
            assert_eq!(dx, [1.0, -1.0, 1.0, 0.0], "{beta}");
        }
    }

    #[test]
    fn their_gradients_have_gradients() {
        for (_, loss) in LOSSES {
            check(&[share([2, 3], 1), share([2, 3], 2)], |x| {
                let loss = loss(&x[0], &x[1], Reduction::None)?.square()?.sum()?;
                let grads = crate::grad(&loss, &[&x[0], &x[1]], true)?;
                &grads[0] + (&grads[1] * 0.3)?
            });
        }
    }

    #[test]
    fn weights_have_gradients_and_divide_the_mean_as_in_pytorch() {
        let (x, t, w) = (share([2, 3], 1), share([2, 3], 2), share([2, 3], 3));
        for reduction in [Reduction::None, Reduction::Mean, Reduction::Sum] {
            let options = |w: &Tensor| LossOptions { weight: Some(w.clone()), reduction };
            let all = [x.clone(), t.clone(), w.clone()];
            check(&all, |x| x[0].mse_loss(&x[1], options(&x[2])));
            check(&all, |x| x[0].l1_loss(&x[1], options(&x[2])));
            check(&all, |x| x[0].huber_loss(&x[1], 0.2, options(&x[2])));
            check(&all, |x| x[0].binary_cross_entropy(&x[1], options(&x[2])));
            let row = [x.clone(), t.clone(), share([3], 3), share([2, 1], 4)];
            check(&row, |x| {
                let (weight, pos_weight) = (Some(x[2].clone()), Some(x[3].clone()));
                x[0].binary_cross_entropy_with_logits(
                    &x[1],
                    BceWithLogitsOptions { weight, pos_weight, reduction },
                )
            });
        }
        let pair = |a: [f64; 2]| Tensor::from_slice(&a, [2]).unwrap();
        let weight = Some(pair([1.0, 3.0]));
        let options = LossOptions { weight, reduction: Reduction::Mean };
        let mean = |loss: Result<Tensor>| loss.unwrap().item::<f64>().unwrap();
        let (x, t) = (pair([0.0, 0.0]), pair([1.0, 2.0]));
        assert_eq!(mean(x.mse_loss(&t, options.clone())), (1.0 + 12.0) / 4.0);
        assert_eq!(mean(x.huber_loss(&t, 9.0, options)), (0.5 + 6.0) / 2.0);
    }

    #[test]
    fn shapes_are_broadcast_where_pytorch_does_so() {
        for (name, loss) in LOSSES {
            let (x, t) = (share([2, 1], 1), share([3], 2));
            if name.starts_with("bce") {
                let error = loss(&x, &t, Reduction::None).unwrap_err();
                assert!(error.to_string().contains("input [2, 1] and target [3]"), "{error}");
                assert_eq!(error.location().unwrap().file(), file!());
                continue;
            }
            check(&[x, t.clone()], |x| loss(&x[0], &x[1], Reduction::None));
            let error = loss(&share([2], 1), &t, Reduction::Mean).unwrap_err();
            assert!(error.to_string().contains("do not broadcast"), "{error}");
        }
    }

    #[test]
    fn layouts_and_parts_give_the_same_values() {
        let (x, t) = (share([2, 3, 4, 5], 1), share([2, 3, 4, 5], 2));
        for (name, loss) in LOSSES {
            let values =
                |x: &Tensor, t: &Tensor| loss(x, t, Reduction::None).unwrap().to_vec::<f64>().unwrap();
            let expected = values(&x, &t);
            assert_eq!(values(&x.clone().to_channels_last(), &t), expected, "{name}");
            assert_eq!(values(&x, &t.clone().to_channels_last()), expected, "{name}");
            let part = |x: &Tensor| x.narrow(0, 1, 1).unwrap();
            assert_eq!(values(&part(&x), &part(&t)), expected[60..], "{name}");
        }
    }

    #[test]
    fn nothing_has_the_mean_nan_and_the_sum_zero() {
        let empty = Tensor::zeros([0, 3], DType::F32).unwrap();
        for (name, loss) in LOSSES {
            let value = |reduction| loss(&empty, &empty, reduction).unwrap().item::<f32>().unwrap();
            assert!(value(Reduction::Mean).is_nan() && value(Reduction::Sum) == 0.0, "{name}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let (x, t) = (share([2, 3], 1), share([2, 3], 2));
        let refused = |loss: Result<Tensor>, part: &str| {
            let error = loss.unwrap_err();
            assert_eq!(error.location().unwrap().file(), file!());
            assert!(error.to_string().contains(part), "{error}");
        };
        refused(x.huber_loss(&t, 0.0, Reduction::Mean), "delta 0");
        refused(x.smooth_l1_loss(&t, -1.0, Reduction::Mean), "beta -1");
        let options = || LossOptions { weight: Some(share([3], 1)), reduction: Reduction::Mean };
        refused(x.mse_loss(&t, options()), "weight [3] for losses of shape [2, 3]");
        let options = || LossOptions { weight: Some(share([4, 2, 3], 1)), reduction: Reduction::Mean };
        refused(x.binary_cross_entropy(&t, options()), "weight [4, 2, 3] for losses of shape [2, 3]");
        let logits = Tensor::from_vec(vec![0.5, 0.1, 0.2, 0.3, 1.5, 0.0], [2, 3]).unwrap();
        refused(logits.binary_cross_entropy(&t, Reduction::Mean), "input 1.5 at [1, 1] is not in 0..1");
        refused(t.binary_cross_entropy(&logits, Reduction::Mean), "target 1.5 at [1, 1] is not in 0..1");
        refused(x.mse_loss(&t.to_dtype(DType::F32).unwrap(), Reduction::Mean), "do not mix");
    }
}
