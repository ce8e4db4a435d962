//! Optimisers, gradient clipping and learning-rate schedules.

mod rule;
mod schedule;

pub use rule::Rule;
pub use schedule::Schedule;

use std::collections::{BTreeMap, BTreeSet};

use rasgo_core::{DType, Error, ErrorKind, Gradients, Result, Shape, Tensor};

use crate::nn::{Item, ItemMut, Parameter, Visitable, walk, walk_mut};
use rule::Update;

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
    /// By the path of the parameter, so that a layer more or less leaves the others theirs.
    kept: BTreeMap<String, Kept>,
}

/// What is kept of a parameter.
#[derive(Default)]
struct Kept {
    /// The steps that it has made, fewer than the optimiser's where it was frozen or came late.
    steps: u64,
    /// Its running means.
    slots: Vec<Tensor>,
}

impl Optimizer {
    /// An optimiser with that rule.
    pub fn new(rule: Rule, lr: f64) -> Self {
        Optimizer { rule, lr, weight_decay: 0.0, group: None, steps: 0, kept: BTreeMap::new() }
    }

    /// Stochastic gradient descent.
    pub fn sgd(lr: f64) -> Self {
        Optimizer::new(Rule::Sgd { momentum: 0.0, dampening: 0.0, nesterov: false }, lr)
    }

    /// Adam with PyTorch's defaults.
    pub fn adam(lr: f64) -> Self {
        Optimizer::new(Rule::Adam { betas: (0.9, 0.999), eps: 1e-8, amsgrad: false }, lr)
    }

    /// AdamW with PyTorch's defaults, weight decay 0.01 among them.
    pub fn adamw(lr: f64) -> Self {
        Optimizer::new(Rule::AdamW { betas: (0.9, 0.999), eps: 1e-8, amsgrad: false }, lr).weight_decay(0.01)
    }

    /// RMSprop with PyTorch's defaults.
    pub fn rmsprop(lr: f64) -> Self {
        Optimizer::new(Rule::RmsProp { alpha: 0.99, eps: 1e-8, momentum: 0.0, centered: false }, lr)
    }

    /// Muon for weights of two or more axes, AdamW for the rest, with PyTorch's defaults, weight decay 0.1 among them. The
    /// learning rate is one that AdamW would have.
    pub fn muon(lr: f64) -> Self {
        let rule = Rule::Muon { momentum: 0.95, nesterov: true, betas: (0.9, 0.999), eps: 1e-8 };
        Optimizer::new(rule, lr).weight_decay(0.1)
    }

    /// The momentum of SGD, RMSprop or Muon.
    ///
    /// # Errors
    /// If the rule has none, or [cannot use](Rule::check) this one.
    pub fn momentum(mut self, value: f64) -> Result<Self> {
        match &mut self.rule {
            Rule::Sgd { momentum, .. } | Rule::RmsProp { momentum, .. } | Rule::Muon { momentum, .. } => {
                *momentum = value;
            }
            Rule::Adam { .. } | Rule::AdamW { .. } => {
                return Err(
                    Error::argument("momentum is an option of SGD, RMSprop and Muon").hint("Adam's is betas")
                );
            }
        }
        self.rule.check()?;
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

    /// The options of a parameter.
    fn group_of(&self, path: &str, shape: &[usize]) -> Group {
        let own = self.group.as_ref().and_then(|of| of(path, shape));
        own.unwrap_or(Group { lr_scale: 1.0, weight_decay: self.weight_decay })
    }

    /// Whether a step can be made.
    fn check(&self, model: &dyn Visitable, grads: &Gradients) -> Result<()> {
        self.rule.check()?;
        option("lr", self.lr)?;
        option("weight_decay", self.weight_decay)?;
        let (mut result, mut new) = (Ok(()), BTreeSet::new());
        walk(model, |path, item| {
            let Item::Parameter(parameter) = item else { return };
            if result.is_err() || parameter.is_frozen() {
                return;
            }
            let Some(grad) = grads.get(&parameter.tensor()) else { return };
            result = match self.kept.get(path) {
                Some(kept) => kept.check(path, parameter.shape()),
                None if new.insert(path.to_string()) => Ok(()),
                None => Err(Error::new(ErrorKind::State, format!("two parameters have the path {path:?}"))
                    .hint("give each field a name of its own where the model is visited")),
            }
            .and_then(|()| self.check_one(path, parameter, grad));
        });
        result
    }

    fn check_one(&self, path: &str, parameter: &Parameter, grad: &Tensor) -> Result<()> {
        let Group { lr_scale, weight_decay } = self.group_of(path, parameter.shape());
        option("lr_scale", lr_scale)
            .and_then(|()| option("lr times lr_scale", self.lr * lr_scale))
            .and_then(|()| option("weight_decay", weight_decay))
            .map_err(|error| error.layer(path))?;
        if grad.shape() != parameter.shape() || grad.dtype() != DType::F32 {
            let (is, of) = (grad.dtype(), grad.shape());
            let text = format!("a gradient of {is} and shape {of} for float32 of {}", parameter.shape());
            return Err(Error::new(ErrorKind::State, text).layer(path));
        }
        Ok(())
    }

    /// One step: every parameter that has a gradient moves. Means belong to the path of a parameter.
    ///
    /// # Errors
    /// Before anything moves: [`ErrorKind::Argument`] if an option has a value that cannot be used;
    /// [`ErrorKind::State`] if the model is not the one of the steps before, as the means of a path have another shape, or if
    /// a gradient is not like its parameter.
    pub fn step(&mut self, model: &mut dyn Visitable, mut grads: Gradients) -> Result<()> {
        self.check(model, &grads)?;
        self.steps += 1;
        let mut result = Ok(());
        walk_mut(model, |path, item| {
            let ItemMut::Parameter(parameter) = item else { return };
            if result.is_err() || parameter.is_frozen() {
                return;
            }
            let Some(grad) = grads.remove(&parameter.tensor()) else { return };
            let group = self.group_of(path, parameter.shape());
            let kept = self.kept.entry(path.to_string()).or_default();
            let (lr, decay) = (self.lr * group.lr_scale, group.weight_decay);
            kept.steps += 1;
            let update = Update { rule: self.rule, lr, decay, step: kept.steps };
            result = update.apply(&mut kept.slots, &grad.to_plain(), parameter);
        });
        result
    }

    /// What is kept, by name, for a checkpoint: `rule`, a text in bytes, `steps`, and of each parameter that has moved
    /// `path/steps` and its means under PyTorch's names, as `path/exp_avg`.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        let rule = self.rule.name().as_bytes();
        let mut state = vec![
            ("steps".to_string(), Tensor::scalar(self.steps as i64)),
            ("rule".to_string(), Tensor::from_fn([rule.len()], |text: &mut [u8]| text.copy_from_slice(rule))),
        ];
        for (path, kept) in self.kept.iter().filter(|(_, kept)| !kept.slots.is_empty()) {
            state.push((format!("{path}/steps"), Tensor::scalar(kept.steps as i64)));
            let names = self.rule.slots(kept.slots[0].shape());
            state
                .extend(names.iter().zip(&kept.slots).map(|(n, slot)| (format!("{path}/{n}"), slot.clone())));
        }
        state
    }

    /// Takes what a checkpoint holds, for a model whose parameters have these paths and shapes.
    ///
    /// # Errors
    /// [`ErrorKind::Format`] if it is not of this rule and these parameters, whether something is missing, of another shape,
    /// or of neither; nothing is changed.
    pub fn load_state(&mut self, parameters: &[(String, Shape)], state: &[(String, Tensor)]) -> Result<()> {
        let wrong = |text: String| Error::new(ErrorKind::Format, text);
        let mut entries: BTreeMap<&str, &Tensor> = state.iter().map(|(n, t)| (n.as_str(), t)).collect();
        let count = |name: &str, tensor: &Tensor| {
            let number = tensor.item::<i64>().ok().and_then(|number| u64::try_from(number).ok());
            number.ok_or_else(|| {
                let values = tensor.to_f64_vec().unwrap_or_default();
                wrong(format!("{name} of the checkpoint is {values:?}, and no number of steps"))
            })
        };
        let steps =
            entries.remove("steps").ok_or_else(|| wrong("a checkpoint without its steps".to_string()))?;
        let steps = count("steps", steps)?;
        // Before a state told its rule, means had numbers for names, and all parameters one count.
        let rule = entries.remove("rule");
        if let Some(rule) = rule {
            let rule = String::from_utf8(rule.to_vec().unwrap_or_default()).unwrap_or_default();
            if rule != self.rule.name() {
                let text = format!("the checkpoint is of {rule}, and this optimiser is {}", self.rule.name());
                return Err(wrong(text).hint("make the optimiser that it was saved from"));
            }
        }
        let mut all = BTreeMap::new();
        for (path, shape) in parameters {
            let names = self.rule.slots(shape).iter().enumerate();
            let names = names
                .map(|(i, n)| if rule.is_some() { format!("{path}/{n}") } else { format!("{path}/{i}") });
            let found: Vec<(String, Option<&Tensor>)> =
                names.map(|name| (name.clone(), entries.remove(name.as_str()))).collect();
            if found.iter().all(|(_, slot)| slot.is_none()) {
                continue;
            }
            let own = format!("{path}/steps");
            let steps = match entries.remove(own.as_str()) {
                Some(number) => count(&own, number)?,
                None if rule.is_none() => steps,
                None => return Err(wrong(format!("the checkpoint has means of {path} and no {own}"))),
            };
            let mut slots = Vec::new();
            for (name, slot) in found {
                let slot = slot.ok_or_else(|| wrong(format!("the checkpoint has no {name}")))?;
                if slot.dtype() != DType::F32 || slot.shape() != shape {
                    let (is, of) = (slot.dtype(), slot.shape());
                    let text = format!(
                        "{name} of the checkpoint is {is} of {of}, and the parameter float32 of {shape}"
                    );
                    return Err(wrong(text));
                }
                slots.push(slot.deep_copy());
            }
            all.insert(path.clone(), Kept { steps, slots });
        }
        if let Some(name) = entries.keys().next() {
            let text = match entries.len() - 1 {
                0 => format!("the checkpoint has {name}"),
                more => format!("the checkpoint has {name} and {more} more"),
            };
            return Err(wrong(format!("{text}, of no parameter of this model under {:?}", self.rule)));
        }
        (self.steps, self.kept) = (steps, all);
        Ok(())
    }
}

impl Kept {
    /// Refuses a parameter of another shape than these means are of.
    fn check(&self, path: &str, shape: &Shape) -> Result<()> {
        match self.slots.iter().find(|slot| slot.shape() != shape) {
            Some(slot) => {
                let text = format!(
                    "the parameter has the shape {shape}, and its means here are of {}",
                    slot.shape()
                );
                Err(Error::new(ErrorKind::State, text)
                    .layer(path)
                    .hint("an optimiser belongs to one model: make a new one for another"))
            }
            None => Ok(()),
        }
    }
}

impl std::fmt::Debug for Optimizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Optimizer({:?}, lr {}, step {})", self.rule, self.lr, self.steps)
    }
}

/// Refuses a number that is no finite one of 0 or more.
fn option(name: &str, value: f64) -> Result<()> {
    if value >= 0.0 && value.is_finite() {
        return Ok(());
    }
    Err(Error::argument(format!("{name} {value}")).hint("give a finite number of 0 or more"))
}

/// Scales the gradients of a model's parameters so that their joint 2-norm is at most `max`; gives the norm before.
///
/// # Errors
/// If `max` is negative or no number; infinity only measures.
pub fn clip_grad_norm(model: &mut dyn Visitable, grads: &mut Gradients, max: f64) -> Result<f64> {
    if max.is_nan() || max < 0.0 {
        return Err(Error::argument(format!("max {max}")).hint("give a norm of 0 or more"));
    }
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

#[cfg(test)]
mod tests;
