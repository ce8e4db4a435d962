//! Optimisers, gradient clipping and learning-rate schedules.

use rasgo_core::{DType, Error, ErrorKind, Gradients, Result, Shape, Tensor};
use serde::{Deserialize, Serialize};

use rasgo_core::optim as kernels;

use crate::nn::{ItemMut, Parameter, Visitable, walk_mut};

/// The rule of an update. Formulas and defaults are PyTorch's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "lowercase", deny_unknown_fields)]
#[non_exhaustive]
pub enum Rule {
    /// v = momentum v + g + decay w; w -= lr v, or with Nesterov w -= lr (g + decay w + momentum v).
    Sgd {
        /// Share of the last step that is kept.
        momentum: f64,
        /// Whether the step looks ahead (Nesterov).
        nesterov: bool,
    },
    /// Adam (Kingma and Ba 2015), the decay as part of the gradient.
    Adam {
        /// Decay of the two running means.
        betas: (f64, f64),
        /// Added to the root.
        eps: f64,
    },
    /// Adam with the decay beside the gradient (Loshchilov and Hutter 2019).
    AdamW {
        /// Decay of the two running means.
        betas: (f64, f64),
        /// Added to the root.
        eps: f64,
    },
}

impl Rule {
    /// Running means of each parameter.
    fn slots(self) -> usize {
        match self {
            Rule::Sgd { momentum: 0.0, .. } => 0,
            Rule::Sgd { .. } => 1,
            Rule::Adam { .. } | Rule::AdamW { .. } => 2,
        }
    }

    /// Whether the numbers can be used.
    ///
    /// # Errors
    /// Names the one that cannot.
    pub fn check(self) -> Result<()> {
        let shares = match self {
            Rule::Sgd { momentum, .. } => [("momentum", momentum), ("momentum", momentum)],
            Rule::Adam { betas, .. } | Rule::AdamW { betas, .. } => [("betas", betas.0), ("betas", betas.1)],
        };
        for (name, share) in shares {
            if !(0.0..1.0).contains(&share) {
                return Err(
                    Error::argument(format!("{name} {share}")).hint("give 0 or more, and less than 1")
                );
            }
        }
        match self {
            Rule::Adam { eps, .. } | Rule::AdamW { eps, .. } if !(eps > 0.0 && eps.is_finite()) => {
                Err(Error::argument(format!("eps {eps}")).hint("give a small number above 0, as 1e-8"))
            }
            _ => Ok(()),
        }
    }
}

/// Options of some of the parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Group {
    /// Factor on the learning rate.
    pub lr_scale: f64,
    /// Weight decay.
    pub weight_decay: f64,
}

type GroupOf = Box<dyn Fn(&str, &[usize]) -> Option<Group> + Send>;

/// Updates a model's parameters, in place, one pass for each.
///
/// ```
/// use rasgo::prelude::*;
/// let mut model = nn::Linear::new(4, 3);
/// let mut opt = Optimizer::sgd(0.1).momentum(0.9)?.weight_decay(5e-4);
/// let x = Tensor::rand([8, 4]);
/// let target = Tensor::from_vec(vec![0i64, 1, 2, 0, 1, 2, 0, 1], [8])?;
/// for _ in 0..3 {
///     let loss = model.forward(x.clone())?.cross_entropy(&target, Default::default())?;
///     let grads = loss.backward()?;
///     opt.step(&mut model, grads)?;
/// }
/// # Ok::<(), rasgo::Error>(())
/// ```
pub struct Optimizer {
    rule: Rule,
    lr: f64,
    weight_decay: f64,
    group: Option<GroupOf>,
    steps: u64,
    /// Running means by parameter, in the order of the walk.
    slots: Vec<(String, Vec<Tensor>)>,
}

impl Optimizer {
    /// An optimiser with that rule.
    pub fn new(rule: Rule, lr: f64) -> Self {
        Optimizer { rule, lr, weight_decay: 0.0, group: None, steps: 0, slots: Vec::new() }
    }

    /// Stochastic gradient descent.
    pub fn sgd(lr: f64) -> Self {
        Optimizer::new(Rule::Sgd { momentum: 0.0, nesterov: false }, lr)
    }

    /// Adam with PyTorch's defaults.
    pub fn adam(lr: f64) -> Self {
        Optimizer::new(Rule::Adam { betas: (0.9, 0.999), eps: 1e-8 }, lr)
    }

    /// AdamW with PyTorch's defaults, weight decay 0.01 among them.
    pub fn adamw(lr: f64) -> Self {
        Optimizer::new(Rule::AdamW { betas: (0.9, 0.999), eps: 1e-8 }, lr).weight_decay(0.01)
    }

    /// The momentum of SGD.
    ///
    /// # Errors
    /// If the rule has none.
    pub fn momentum(mut self, value: f64) -> Result<Self> {
        match &mut self.rule {
            Rule::Sgd { momentum, .. } => *momentum = value,
            _ => return Err(Error::argument("momentum is an option of SGD").hint("Adam's is betas")),
        }
        Ok(self)
    }

    /// Decay of all parameters that no group names.
    pub fn weight_decay(mut self, weight_decay: f64) -> Self {
        self.weight_decay = weight_decay;
        self
    }

    /// Options of some parameters, by path and shape; `None` leaves a parameter to the general ones.
    pub fn group(mut self, of: impl Fn(&str, &[usize]) -> Option<Group> + Send + 'static) -> Self {
        self.group = Some(Box::new(of));
        self
    }

    /// The learning rate of the next step.
    pub fn lr(&self) -> f64 {
        self.lr
    }

    /// Sets the learning rate of the next step.
    pub fn set_lr(&mut self, lr: f64) {
        self.lr = lr;
    }

    /// One step: every parameter that has a gradient moves.
    pub fn step(&mut self, model: &mut dyn Visitable, mut grads: Gradients) -> Result<()> {
        self.steps += 1;
        let mut result = Ok(());
        let mut index = 0;
        walk_mut(model, |path, item| {
            let ItemMut::Parameter(parameter) = item else { return };
            let position = index;
            index += 1;
            if result.is_err() || parameter.is_frozen() {
                return;
            }
            let Some(grad) = grads.remove(&parameter.tensor()) else { return };
            if self.slots.len() <= position {
                self.slots.resize_with(position + 1, Default::default);
            }
            let (name, slots) = &mut self.slots[position];
            if name.is_empty() {
                *name = path.to_string();
            }
            let group = self.group.as_ref().and_then(|of| of(path, parameter.shape()));
            let group = group.unwrap_or(Group { lr_scale: 1.0, weight_decay: self.weight_decay });
            let update = Update { rule: self.rule, lr: self.lr * group.lr_scale, decay: group.weight_decay };
            result = update.apply(self.steps, slots, &grad.to_plain(), parameter);
        });
        result
    }

    /// The running means, by name, for a checkpoint.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        let mut state = vec![("steps".to_string(), Tensor::scalar(self.steps as i64))];
        for (name, slots) in &self.slots {
            for (i, slot) in slots.iter().enumerate() {
                state.push((format!("{name}/{i}"), slot.clone()));
            }
        }
        state
    }

    /// Takes the running means of a checkpoint, for a model whose parameters have these paths and shapes.
    ///
    /// # Errors
    /// If they are not those of this rule and these parameters; nothing is changed.
    pub fn load_state(&mut self, parameters: &[(String, Shape)], state: &[(String, Tensor)]) -> Result<()> {
        let find = |name: &str| state.iter().find(|(own, _)| own == name).map(|(_, tensor)| tensor);
        let steps =
            find("steps").ok_or_else(|| Error::new(ErrorKind::Format, "a checkpoint without its steps"))?;
        let steps = steps.item::<i64>()?.unsigned_abs();
        let mut all = Vec::new();
        for (path, shape) in parameters {
            let slots: Vec<Tensor> =
                (0..2).map_while(|i| find(&format!("{path}/{i}"))).map(Tensor::deep_copy).collect();
            let fits = |slot: &Tensor| slot.dtype() == DType::F32 && slot.shape() == shape;
            if !slots.iter().all(fits) || !(slots.is_empty() || slots.len() == self.rule.slots()) {
                let text = format!("the checkpoint's means of {path} are not this optimiser's");
                return Err(Error::new(ErrorKind::Format, text));
            }
            all.push((path.clone(), slots));
        }
        (self.steps, self.slots) = (steps, all);
        Ok(())
    }
}

impl std::fmt::Debug for Optimizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Optimizer({:?}, lr {}, step {})", self.rule, self.lr, self.steps)
    }
}

struct Update {
    rule: Rule,
    lr: f64,
    decay: f64,
}

impl Update {
    fn apply(
        &self,
        step: u64,
        slots: &mut Vec<Tensor>,
        grad: &Tensor,
        parameter: &mut Parameter,
    ) -> Result<()> {
        while slots.len() < self.rule.slots() {
            slots.push(Tensor::lasting_zeros(grad.shape().clone()));
        }
        let g = grad.as_slice::<f32>()?;
        match slots.as_mut_slice() {
            [] => parameter.update(|w| self.run(step, w, g, &mut [], &mut [])),
            [m] => m.update(|m| parameter.update(|w| self.run(step, w, g, m, &mut [])))?,
            [m, v, ..] => m.update(|m| v.update(|v| parameter.update(|w| self.run(step, w, g, m, v))))??,
        }
    }

    fn run(&self, step: u64, w: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32]) {
        match self.rule {
            Rule::Sgd { momentum, nesterov } => {
                let weight_decay = self.decay;
                let options = kernels::Sgd { lr: self.lr, momentum, dampening: 0.0, nesterov, weight_decay };
                kernels::sgd(&options, w, g, (!m.is_empty()).then_some(m), step == 1);
            }
            Rule::Adam { betas, eps } | Rule::AdamW { betas, eps } => {
                let decoupled = matches!(self.rule, Rule::AdamW { .. });
                let correction = |beta: f64| 1.0 - libm::pow(beta, step as f64);
                let options = kernels::Adam {
                    lr: self.lr,
                    beta1: betas.0,
                    beta2: betas.1,
                    eps,
                    weight_decay: self.decay,
                    decoupled,
                    bias_correction1: correction(betas.0),
                    bias_correction2: correction(betas.1),
                };
                kernels::adam(&options, w, g, m, v);
            }
        }
    }
}

/// Scales the gradients of a model's parameters so that their joint 2-norm is at most `max`; gives the norm before.
pub fn clip_grad_norm(model: &mut dyn Visitable, grads: &mut Gradients, max: f64) -> Result<f64> {
    let mut squares = 0.0;
    let mut leaves = Vec::new();
    walk_mut(model, |_, item| {
        if let ItemMut::Parameter(parameter) = item {
            leaves.push(parameter.tensor());
        }
    });
    for leaf in &leaves {
        if let Some(grad) = grads.get(leaf) {
            squares += grad.as_slice::<f32>()?.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>();
        }
    }
    let norm = squares.sqrt();
    if norm > max {
        for leaf in &leaves {
            if let Some(grad) = grads.remove(leaf) {
                grads.insert(leaf, grad.scale(max / norm)?);
            }
        }
    }
    Ok(norm)
}

/// The learning rate over a run, as a factor of its peak.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Schedule {
    /// 1
    Constant,
    /// From 1 down to 0 in a line.
    Linear,
    /// From 1 down to 0 along half a cosine.
    Cosine,
    /// A tenth at 50 % and a hundredth at 75 % of the run.
    Step,
    /// Up in a line over the warm-up, then down to 0 in a line (Smith and Topin 2018).
    OneCycle,
}

impl Schedule {
    /// The factor at a step of a run; the first `warmup` share of it rises in a line from 1/25 to 1.
    pub fn factor(self, step: u64, steps: u64, warmup: f64) -> f64 {
        let total = steps.max(1) as f64;
        let rise = (warmup * total).floor();
        let at = step as f64;
        if at < rise {
            return 0.04 + 0.96 * at / rise;
        }
        let done = ((at - rise) / (total - rise).max(1.0)).min(1.0);
        match self {
            Schedule::Constant => 1.0,
            Schedule::Linear | Schedule::OneCycle => 1.0 - done,
            Schedule::Cosine => 0.5 * (1.0 + libm::cos(std::f64::consts::PI * done)),
            Schedule::Step if done < 0.5 => 1.0,
            Schedule::Step if done < 0.75 => 0.1,
            Schedule::Step => 0.01,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::init::Init;
    use crate::nn::Parameter;

    /// Three steps on f(w) = sum of w^2 / 2 from 1, beside the formulas in f64.
    fn descend(mut opt: Optimizer) -> f64 {
        let mut parameter = Parameter::new([3], Init::Ones);
        for _ in 0..3 {
            let loss = parameter.tensor().square().unwrap().sum().unwrap().scale(0.5).unwrap();
            let grads = loss.backward().unwrap();
            opt.step(&mut parameter, grads).unwrap();
        }
        f64::from(parameter.tensor().to_vec::<f32>().unwrap()[1])
    }

    #[test]
    fn updates_follow_their_formulas() {
        let (mut w, mut v) = (1.0, 0.0);
        for step in 0..3 {
            let g = w + 0.1 * w;
            v = if step == 0 { g } else { 0.9 * v + g };
            w -= 0.1 * (g + 0.9 * v);
        }
        let rule = Rule::Sgd { momentum: 0.9, nesterov: true };
        assert!((descend(Optimizer::new(rule, 0.1).weight_decay(0.1)) - w).abs() < 1e-6);
        let (mut w, mut m, mut v) = (1.0f64, 0.0, 0.0);
        for step in 1..=3 {
            let g = w;
            w -= 0.1 * 0.01 * w;
            m = 0.9 * m + 0.1 * g;
            v = 0.999 * v + 0.001 * g * g;
            let (mh, vh) = (m / (1.0 - 0.9f64.powi(step)), v / (1.0 - 0.999f64.powi(step)));
            w -= 0.1 * mh / (vh.sqrt() + 1e-8);
        }
        assert!((descend(Optimizer::adamw(0.1)) - w).abs() < 1e-6);
    }

    #[test]
    fn schedules_begin_and_end_where_they_say() {
        assert!((Schedule::OneCycle.factor(0, 100, 0.25) - 0.04).abs() < 1e-12);
        assert!((Schedule::OneCycle.factor(25, 100, 0.25) - 1.0).abs() < 1e-12);
        assert!(Schedule::Cosine.factor(99, 100, 0.0) < 0.001);
        assert_eq!(Schedule::Constant.factor(70, 100, 0.0), 1.0);
    }

    #[test]
    fn an_option_that_the_rule_lacks_is_refused() {
        assert!(Optimizer::adam(0.1).momentum(0.9).is_err());
    }
}
