//! The rules of updates, and one update of one parameter.

use rasgo_core::optim as kernels;
use rasgo_core::{Error, Result, Tensor};
use serde::{Deserialize, Serialize};

use crate::nn::Parameter;

/// The rule of an update: w is a parameter, g its gradient. Formulas and defaults are PyTorch's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "lowercase", deny_unknown_fields)]
#[non_exhaustive]
pub enum Rule {
    /// g += decay w; v = momentum v + (1 - dampening) g, and g in the first step; w -= lr v, or with Nesterov
    /// w -= lr (g + momentum v).
    Sgd {
        /// Share of the last step that is kept.
        momentum: f64,
        /// Share of the gradient that does not enter the step.
        #[serde(default, skip_serializing_if = "is_zero")]
        dampening: f64,
        /// Whether the step looks ahead (Nesterov).
        nesterov: bool,
    },
    /// Adam (Kingma and Ba 2015), the decay as part of the gradient.
    Adam {
        /// Decay of the two running means.
        betas: (f64, f64),
        /// Added to the root.
        eps: f64,
        /// Whether the largest mean of squares so far takes the place of the mean (Reddi et al. 2018).
        #[serde(default, skip_serializing_if = "is_false")]
        amsgrad: bool,
    },
    /// Adam with the decay beside the gradient (Loshchilov and Hutter 2019).
    AdamW {
        /// Decay of the two running means.
        betas: (f64, f64),
        /// Added to the root.
        eps: f64,
        /// Whether the largest mean of squares so far takes the place of the mean (Reddi et al. 2018).
        #[serde(default, skip_serializing_if = "is_false")]
        amsgrad: bool,
    },
    /// g += decay w; s = alpha s + (1 - alpha) g^2; b = momentum b + g / (sqrt(s) + eps); w -= lr b (Tieleman and Hinton
    /// 2012). Centered, the root is of s less the square of the mean of g (Graves 2013).
    RmsProp {
        /// Decay of the running means.
        alpha: f64,
        /// Added to the root.
        eps: f64,
        /// Share of the last step that is kept.
        momentum: f64,
        /// Whether the root is of the variance.
        centered: bool,
    },
    /// For each weight of two or more axes, as a matrix (out, all others): m = momentum m + (1 - momentum) g;
    /// w = (1 - lr decay) w - lr 0.2 sqrt(max(out, others)) O, where O is m, or with Nesterov
    /// momentum m + (1 - momentum) g, made nearly orthogonal by five steps of Newton and Schulz (Jordan 2024). The factor
    /// is PyTorch's `match_rms_adamw` (Liu et al. 2025), so that one learning rate serves all parameters; the others
    /// follow AdamW.
    Muon {
        /// Share of the mean of gradients that is kept.
        momentum: f64,
        /// Whether the step looks ahead (Nesterov).
        nesterov: bool,
        /// Decay of AdamW's running means.
        betas: (f64, f64),
        /// Added to AdamW's root.
        eps: f64,
    },
}

fn is_zero(number: &f64) -> bool {
    *number == 0.0
}

fn is_false(flag: &bool) -> bool {
    !flag
}

impl Rule {
    /// Its name in configurations and states.
    pub(super) fn name(self) -> &'static str {
        match self {
            Rule::Sgd { .. } => "sgd",
            Rule::Adam { .. } => "adam",
            Rule::AdamW { .. } => "adamw",
            Rule::RmsProp { .. } => "rmsprop",
            Rule::Muon { .. } => "muon",
        }
    }

    /// The tensors that are kept of a parameter of that shape, by PyTorch's names, in the order that an update takes.
    pub(super) fn slots(self, shape: &[usize]) -> &'static [&'static str] {
        const ADAM: [&str; 3] = ["exp_avg", "exp_avg_sq", "max_exp_avg_sq"];
        match self {
            Rule::Sgd { momentum: 0.0, .. } => &[],
            Rule::Sgd { .. } => &["momentum_buffer"],
            Rule::Adam { amsgrad, .. } | Rule::AdamW { amsgrad, .. } => &ADAM[..2 + usize::from(amsgrad)],
            Rule::RmsProp { momentum, centered, .. } => match (centered, momentum != 0.0) {
                (false, false) => &["square_avg"],
                (false, true) => &["square_avg", "momentum_buffer"],
                (true, false) => &["square_avg", "grad_avg"],
                (true, true) => &["square_avg", "grad_avg", "momentum_buffer"],
            },
            Rule::Muon { .. } if is_matrix(shape) => &["momentum_buffer"],
            Rule::Muon { .. } => &ADAM[..2],
        }
    }

    /// Whether the numbers can be used.
    ///
    /// # Errors
    /// Names the one that cannot.
    pub fn check(self) -> Result<()> {
        let shares = match self {
            Rule::Sgd { momentum, dampening, .. } => vec![("momentum", momentum), ("dampening", dampening)],
            Rule::Adam { betas, .. } | Rule::AdamW { betas, .. } => {
                vec![("betas", betas.0), ("betas", betas.1)]
            }
            Rule::RmsProp { alpha, momentum, .. } => vec![("alpha", alpha), ("momentum", momentum)],
            Rule::Muon { momentum, betas, .. } => {
                vec![("momentum", momentum), ("betas", betas.0), ("betas", betas.1)]
            }
        };
        for (name, share) in shares {
            if !(0.0..1.0).contains(&share) {
                return Err(
                    Error::argument(format!("{name} {share}")).hint("give 0 or more, and less than 1")
                );
            }
        }
        match self {
            Rule::Sgd { momentum, dampening, nesterov: true } if momentum == 0.0 || dampening != 0.0 => {
                Err(Error::argument(format!("nesterov with momentum {momentum} and dampening {dampening}"))
                    .hint("give a momentum above 0, as 0.9, and no dampening"))
            }
            Rule::Adam { eps, .. }
            | Rule::AdamW { eps, .. }
            | Rule::RmsProp { eps, .. }
            | Rule::Muon { eps, .. }
                if !(eps > 0.0 && eps.is_finite()) =>
            {
                Err(Error::argument(format!("eps {eps}")).hint("give a small number above 0, as 1e-8"))
            }
            _ => Ok(()),
        }
    }
}

/// Whether Muon takes a parameter for a matrix.
fn is_matrix(shape: &[usize]) -> bool {
    shape.len() >= 2
}

/// One update.
pub(super) struct Update {
    pub(super) rule: Rule,
    pub(super) lr: f64,
    pub(super) decay: f64,
    /// The parameter's own, from 1: a mean that begins later is corrected as any that begins.
    pub(super) step: u64,
}

impl Update {
    pub(super) fn apply(
        &self,
        slots: &mut Vec<Tensor>,
        grad: &Tensor,
        parameter: &mut Parameter,
    ) -> Result<()> {
        let shape = parameter.shape().clone();
        let first = slots.is_empty();
        slots.resize_with(self.rule.slots(&shape).len(), || Tensor::lasting_zeros(shape.clone()));
        let g = grad.as_slice::<f32>()?;
        let mut run = |slots: &mut [&mut [f32]]| parameter.update(|w| self.run(first, &shape, w, g, slots));
        match slots.as_mut_slice() {
            [] => run(&mut []),
            [a] => a.update(|a| run(&mut [a]))?,
            [a, b] => a.update(|a| b.update(|b| run(&mut [a, b])))??,
            [a, b, c, ..] => a.update(|a| b.update(|b| c.update(|c| run(&mut [a, b, c]))))???,
        }
    }

    fn run(&self, first: bool, shape: &[usize], w: &mut [f32], g: &[f32], slots: &mut [&mut [f32]]) {
        let (lr, weight_decay) = (self.lr, self.decay);
        let mut slots = slots.iter_mut().map(|slot| &mut **slot);
        let mut next = || slots.next().expect("as many as the rule says");
        let mut adam = |betas: (f64, f64), eps, decoupled, amsgrad: bool| {
            let correction = |beta: f64| 1.0 - libm::pow(beta, self.step as f64);
            let options = kernels::Adam {
                lr,
                beta1: betas.0,
                beta2: betas.1,
                eps,
                weight_decay,
                decoupled,
                bias_correction1: correction(betas.0),
                bias_correction2: correction(betas.1),
            };
            let (m, v) = (next(), next());
            kernels::adam(&options, w, g, m, v, amsgrad.then(&mut next));
        };
        match self.rule {
            Rule::Adam { betas, eps, amsgrad } => adam(betas, eps, false, amsgrad),
            Rule::AdamW { betas, eps, amsgrad } => adam(betas, eps, true, amsgrad),
            Rule::Muon { betas, eps, .. } if !is_matrix(shape) => adam(betas, eps, true, false),
            Rule::Muon { momentum, nesterov, .. } => {
                let options = kernels::Muon { lr, momentum, nesterov, weight_decay, rows: shape[0] };
                kernels::muon(&options, w, g, next());
            }
            Rule::Sgd { momentum, dampening, nesterov } => {
                let options = kernels::Sgd { lr, momentum, dampening, nesterov, weight_decay };
                kernels::sgd(&options, w, g, (momentum != 0.0).then(&mut next), first);
            }
            Rule::RmsProp { alpha, eps, momentum, centered } => {
                let options = kernels::RmsProp { lr, alpha, eps, weight_decay, momentum };
                let square = next();
                let mean = centered.then(&mut next);
                let step = (momentum != 0.0).then(&mut next);
                kernels::rmsprop(&options, w, g, kernels::RmsPropState { square, mean, step });
            }
        }
    }
}
