//! Group, layer and instance normalisation: statistics within one sample, so that they do not depend on the batch.
//!
//! ```text
//! y = (x - mean) / sqrt(var + eps) * weight + bias          mean and biased variance over
//! group_norm      C / num_groups channels of a sample, and all spatial axes     weight, bias (C)
//! instance_norm   the spatial axes of one channel of a sample                   weight, bias (C)
//! layer_norm      the last axes, of the given shape                             weight, bias of that shape
//! ```
//! Wu and He 2018; Ulyanov, Vedaldi and Lempitsky 2016; Ba, Kiros and Hinton 2016.

use rasgo_kernels::norm::{self, GroupStats, Groups};

use super::batch_norm::{BatchNormOptions, running_pair};
use super::norm_grad::{Moments, composed};
use super::{expect_float, float, no_second_gradient};
use crate::error::{Error, Result};
use crate::meta::{DType, Meta, Shape};
use crate::op::{Grads, Input, LayoutRule, Mask, Metas, Op, Output, Saved, Saves, apply_all, grad_enabled};
use crate::scope;
use crate::tensor::Tensor;

/// What is normalised together.
#[derive(Debug, Clone, PartialEq)]
enum Over {
    /// So many groups of channels.
    Groups(usize),
    /// Each channel.
    Channels,
    /// The last axes.
    Last(Shape),
}

/// Inputs x and, where they are given, weight and bias. Outputs y, and mean and variance of each group in f64.
#[derive(Debug, Clone)]
struct GroupedNorm {
    over: Over,
    eps: f64,
    weight: bool,
    bias: bool,
}

impl GroupedNorm {
    fn problem(&self, x: &Shape) -> Groups {
        match &self.over {
            Over::Last(last) => {
                let lead = x.len() - last.len();
                let samples = x[..lead].iter().product();
                Groups { samples, rows: 1, cols: x[lead..].iter().product(), groups: 1 }
            }
            Over::Groups(_) | Over::Channels => {
                let groups = if let Over::Groups(groups) = self.over { groups } else { x[1].max(1) };
                Groups { samples: x[0], rows: x[2..].iter().product(), cols: x[1], groups }
            }
        }
    }

    /// The shape of weight and bias.
    fn affine(&self, x: &Shape) -> Shape {
        match &self.over {
            Over::Last(last) => last.clone(),
            _ => [x[1]].into(),
        }
    }

    fn check(&self, x: &Shape) -> Result<()> {
        match &self.over {
            Over::Last(last) if last.is_empty() => {
                Err(Error::argument("normalized_shape [] has no axis")
                    .hint("give the sizes of the last axes"))
            }
            Over::Last(last) if x.len() < last.len() || x[x.len() - last.len()..] != **last => {
                Err(Error::shape(format!("input {x} does not end with normalized_shape {last}"))
                    .hint("give the sizes of the input's last axes"))
            }
            Over::Last(_) => Ok(()),
            _ if x.len() < 2 => Err(Error::shape(format!("input {x}: it must be (N, C) or (N, C, …)"))),
            Over::Groups(0) => Err(Error::argument("0 groups").hint("give num_groups 1 or more")),
            Over::Groups(groups) if x[1] == 0 || !x[1].is_multiple_of(*groups) => Err(Error::shape(format!(
                "{} channels of input {x} in {groups} groups: {} are left over",
                x[1],
                x[1] % groups
            ))
            .hint("let num_groups divide the channels")),
            Over::Groups(_) if x[2..].contains(&0) => {
                Err(Error::shape(format!("input {x} has an empty spatial axis"))
                    .hint("give values to normalise"))
            }
            // So does PyTorch count, over all samples.
            Over::Groups(groups) if x.elements() == *groups => Err(Error::shape(format!(
                "input {x} has one value for each of {groups} groups, which has no variance"
            ))
            .hint("give fewer groups or a larger input")),
            Over::Groups(_) => Ok(()),
            Over::Channels if x.len() < 3 || x[2..].iter().all(|&size| size == 1) => {
                Err(Error::shape(format!("input {x} has one value for each channel, which has no variance"))
                    .hint("give more than one spatial element, or normalise with running statistics"))
            }
            Over::Channels => Ok(()),
        }
    }
}

impl Op for GroupedNorm {
    fn name(&self) -> &'static str {
        match self.over {
            Over::Groups(_) => "group_norm",
            Over::Channels => "instance_norm",
            Over::Last(_) => "layer_norm",
        }
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        expect_float(inputs)?;
        let x = &inputs[0].shape;
        self.check(x)?;
        let wanted = self.affine(x);
        let names = [(self.weight, "weight"), (self.bias, "bias")];
        for (input, (_, name)) in inputs[1..].iter().zip(names.iter().filter(|given| given.0)) {
            if input.shape != wanted {
                return Err(Error::shape(format!("{name} {} for input {x}", input.shape))
                    .hint(format!("give {name} {wanted}")));
            }
        }
        let p = self.problem(x);
        let stats = Meta::plain([p.samples, p.groups], DType::F64);
        Ok(Metas::from_iter([inputs[0].clone(), stats.clone(), stats]))
    }

    fn layout(&self) -> LayoutRule {
        match self.over {
            Over::Last(_) => LayoutRule::Plain,
            _ => LayoutRule::ChannelsLast(Mask::of(&[0])),
        }
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        let p = self.problem(&inputs[0].meta().shape);
        let [y, mean, var] = outputs else { unreachable!("three outputs") };
        let (mean, var) = (mean.values::<f64>(), var.values::<f64>());
        float!(inputs[0].meta().dtype, T => {
            let x = inputs[0].values::<T>();
            norm::group_stats(&p, x, mean, var);
            let stats = GroupStats { mean, var, eps: self.eps };
            let weight = self.weight.then(|| inputs[1].values::<T>());
            let bias = self.bias.then(|| inputs[1 + usize::from(self.weight)].values::<T>());
            norm::group_normalize(&p, x, &stats, weight, bias, y.values::<T>());
        });
    }

    fn saves(&self) -> Saves {
        let inputs = if self.weight { Mask::of(&[0, 1]) } else { Mask::of(&[0]) };
        Saves { inputs, outputs: Mask::of(&[1, 2]) }
    }

    fn grad(&self, mut saved: Saved, mut dy: Grads, _needs: Mask) -> Result<Grads> {
        let dy = dy[0].take().expect("the normalised tensor has a gradient");
        let (x, weight) = (saved.input(0), self.weight.then(|| saved.input(1)));
        let (dx, dweight, dbias) = if grad_enabled() {
            self.composed_grad(&x, weight.as_ref(), &dy)?
        } else {
            let inputs = [dy, x, saved.output(1), saved.output(2)].into_iter().chain(weight);
            let mut grads = apply_all(GroupedNormGrad(self.clone()), inputs)?.into_iter();
            let mut next = || grads.next().expect("three gradients");
            (next(), next(), next())
        };
        let parameters = [(self.weight, dweight), (self.bias, dbias)];
        let parameters = parameters.into_iter().filter(|(given, _)| *given).map(|(_, grad)| Some(grad));
        Ok([Some(dx)].into_iter().chain(parameters).collect())
    }
}

impl GroupedNorm {
    /// dx, dweight and dbias as compositions of ops, which have gradients themselves.
    fn composed_grad(
        &self,
        x: &Tensor,
        weight: Option<&Tensor>,
        dy: &Tensor,
    ) -> Result<(Tensor, Tensor, Tensor)> {
        let (p, shape) = (self.problem(x.shape()), x.shape());
        let mut aligned = self.affine(shape).to_vec();
        if !matches!(self.over, Over::Last(_)) {
            aligned.extend(vec![1; shape.len() - 2]);
        }
        let apart = [p.samples, p.groups, p.values()];
        let g = match weight {
            Some(weight) => (dy * weight.reshape(aligned.clone())?)?,
            None => dy.clone(),
        };
        let (dx, hat) = composed(&x.reshape(apart)?, &g.reshape(apart)?, Moments::Own(&[2]), self.eps)?;
        let hat = hat.reshape(shape.clone())?;
        let (affine, aligned) = (self.affine(shape), aligned.into());
        let dweight = (dy * hat)?.sum_to(&aligned)?.reshape(affine.clone())?;
        Ok((dx.reshape(shape.clone())?, dweight, dy.sum_to(&aligned)?.reshape(affine)?))
    }
}

/// dx, dweight and dbias from dy, x, mean, var and, where it was given, weight.
#[derive(Debug)]
struct GroupedNormGrad(GroupedNorm);

impl Op for GroupedNormGrad {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        let affine = Meta::plain(self.0.affine(&inputs[1].shape), inputs[1].dtype);
        Ok(Metas::from_iter([inputs[1].clone(), affine.clone(), affine]))
    }

    fn layout(&self) -> LayoutRule {
        match self.0.over {
            Over::Last(_) => LayoutRule::Plain,
            _ => LayoutRule::ChannelsLast(Mask::of(&[0, 1])),
        }
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        let p = self.0.problem(&inputs[1].meta().shape);
        let [dx, dweight, dbias] = outputs else { unreachable!("three outputs") };
        let (mean, var) = (inputs[2].values::<f64>(), inputs[3].values::<f64>());
        let stats = GroupStats { mean, var, eps: self.0.eps };
        float!(inputs[1].meta().dtype, T => {
            let (dy, x) = (inputs[0].values::<T>(), inputs[1].values::<T>());
            let weight = self.0.weight.then(|| inputs[4].values::<T>());
            if self.0.weight || self.0.bias {
                norm::group_affine_sums(&p, x, dy, &stats, dweight.values::<T>(), dbias.values::<T>());
            } else {
                // Nobody takes them.
                dweight.values::<T>().fill(0.0);
                dbias.values::<T>().fill(0.0);
            }
            norm::group_grad_input(&p, x, dy, &stats, weight, dx.values::<T>());
        });
    }

    fn grad(&self, _saved: Saved, _dy: Grads, _needs: Mask) -> Result<Grads> {
        Err(no_second_gradient())
    }
}

/// Running mean and variance, (C) each.
pub type RunningStatistics = (Tensor, Tensor);

impl Tensor {
    /// y, mean and variance; more than three spatial axes are one, which changes nothing.
    #[track_caller]
    fn grouped_norm(
        &self,
        over: Over,
        weight: Option<&Tensor>,
        bias: Option<&Tensor>,
        eps: f64,
    ) -> Result<[Tensor; 3]> {
        let op = GroupedNorm { over, eps, weight: weight.is_some(), bias: bias.is_some() };
        let x = if matches!(op.over, Over::Last(_)) { self.clone() } else { self.join_spatial()? };
        let mut outputs = apply_all(op, [Some(&x), weight, bias].into_iter().flatten().cloned())?.into_iter();
        let mut next = || outputs.next().expect("three outputs");
        Ok([next().reshape(self.shape().clone())?, next().detach(), next().detach()])
    }

    /// (N, C, …) with at most three spatial axes: beyond, there is no channels-last order.
    #[track_caller]
    pub(super) fn join_spatial(&self) -> Result<Tensor> {
        match &**self.shape() {
            [n, c, spatial @ ..] if spatial.len() > 3 => {
                let pixels = spatial.iter().fold(1, |product: usize, &size| product.saturating_mul(size));
                self.reshape([*n, *c, pixels])
            }
            _ => Ok(self.clone()),
        }
    }

    /// Normalises each of `num_groups` groups of channels of each sample of (N, C, …).
    ///
    /// ```
    /// # use rasgo_core::Tensor;
    /// let x = Tensor::from_vec(vec![1.0f32, 3.0, 10.0, 30.0], [1, 4, 1])?;
    /// let y = x.group_norm(2, None, None, 0.0)?;
    /// assert_eq!(y.to_vec::<f32>()?, [-1.0, 1.0, -1.0, 1.0]);
    /// # Ok::<(), rasgo_core::Error>(())
    /// ```
    #[track_caller]
    pub fn group_norm(
        &self,
        num_groups: usize,
        weight: Option<&Tensor>,
        bias: Option<&Tensor>,
        eps: f64,
    ) -> Result<Tensor> {
        let [y, ..] = self.grouped_norm(Over::Groups(num_groups), weight, bias, eps)?;
        Ok(y)
    }

    /// Normalises over the last axes, whose sizes are `normalized_shape`.
    ///
    /// ```
    /// # use rasgo_core::Tensor;
    /// let x = Tensor::from_vec(vec![1.0f32, 3.0, 10.0, 30.0], [2, 2])?;
    /// let y = x.layer_norm([2], None, None, 0.0)?;
    /// assert_eq!(y.to_vec::<f32>()?, [-1.0, 1.0, -1.0, 1.0]);
    /// # Ok::<(), rasgo_core::Error>(())
    /// ```
    #[track_caller]
    pub fn layer_norm(
        &self,
        normalized_shape: impl Into<Shape>,
        weight: Option<&Tensor>,
        bias: Option<&Tensor>,
        eps: f64,
    ) -> Result<Tensor> {
        let [y, ..] = self.grouped_norm(Over::Last(normalized_shape.into()), weight, bias, eps)?;
        Ok(y)
    }

    /// Normalises each channel of each sample of (N, C, …) with its own statistics.
    #[track_caller]
    pub fn instance_norm(&self, weight: Option<&Tensor>, bias: Option<&Tensor>, eps: f64) -> Result<Tensor> {
        let [y, ..] = self.grouped_norm(Over::Channels, weight, bias, eps)?;
        Ok(y)
    }

    /// As [`instance_norm`](Self::instance_norm), and the running statistics after it: `(1 - momentum)` of those before
    /// and `momentum` of the mean over the samples, of the unbiased variances.
    #[track_caller]
    pub fn instance_norm_running(
        &self,
        running: (&Tensor, &Tensor),
        weight: Option<&Tensor>,
        bias: Option<&Tensor>,
        momentum: f64,
        eps: f64,
    ) -> Result<(Tensor, RunningStatistics)> {
        let [y, mean, var] = self.grouped_norm(Over::Channels, weight, bias, eps)?;
        if self.shape().contains(&0) || self.is_shape_only() {
            return Ok((y, (running.0.detach(), running.1.detach())));
        }
        let values = self.shape()[2..].iter().product::<usize>() as f64;
        let mean = mean.mean_axes(&[0], false)?;
        let var = var.mean_axes(&[0], false)?;
        let after = running_pair("instance_norm", running, &mean, &var, momentum, values / (values - 1.0))?;
        Ok((y, after))
    }

    /// Normalises each channel with given statistics, as `instance_norm` with `use_input_stats=False`.
    #[track_caller]
    pub fn instance_norm_with(
        &self,
        running: (&Tensor, &Tensor),
        weight: Option<&Tensor>,
        bias: Option<&Tensor>,
        eps: f64,
    ) -> Result<Tensor> {
        let _scope = scope::enter_op("instance_norm");
        let options = BatchNormOptions { eps, ..BatchNormOptions::default() };
        self.batch_norm_with(weight, bias, running.0, running.1, options)
    }
}

#[cfg(test)]
mod tests;
