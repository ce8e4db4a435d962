//! Batch normalisation, with what follows it in the same pass: a shortcut, an activation, a max pooling.
//!
//! ```text
//! y = act((x - mean[c]) / sqrt(var[c] + eps) * gamma[c] + beta[c] + shortcut)      then the largest of each window
//! ```
//! Training takes mean and (biased) variance over everything but the channel; evaluation takes the running ones.
//! The composite keeps x, and for a pooling one byte for each window, where the separate ops keep three maps. What the
//! activation let pass is computed again from x; after a shortcut y tells it, which what follows keeps anyway.

use rasgo_kernels::{Buffer, Float, Stored, norm};

use super::group_norm::RunningStatistics;
use super::norm_grad::{Moments, composed};
use super::pool::MaxPoolOptions;
use super::{Activation, expect_float, expect_maps_and_channels, float, no_second_gradient, stored, unary};
use crate::error::{Error, Result};
use crate::meta::{DType, Meta, Shape};
use crate::op::{
    Bf16Rule, Grads, Input, LayoutRule, Mask, Metas, Op, Output, Saved, Saves, apply_all, grad_enabled,
};
use crate::reach::{self, Reach, Reaches};
use crate::tensor::Tensor;

/// A max pooling of windows side by side, without padding, that follows the normalisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolAfter {
    /// Cells of the window, and its step.
    pub kernel: [usize; 3],
}

/// Options of [`Tensor::batch_norm`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchNormOptions {
    /// Added to the variance.
    pub eps: f64,
    /// What follows, after the shortcut if there is one.
    pub activation: Activation,
    /// Whether a max pooling follows; after nothing else than a ReLU.
    pub pool: Option<PoolAfter>,
}

impl Default for BatchNormOptions {
    fn default() -> Self {
        BatchNormOptions { eps: 1e-5, activation: Activation::None, pool: None }
    }
}

/// What a normalisation with the statistics of its batch gives.
#[derive(Debug)]
pub struct BatchNormOutput {
    /// The result.
    pub output: Tensor,
    /// The mean of each channel.
    pub mean: Tensor,
    /// The biased variance of each channel.
    pub var: Tensor,
    /// Values of a channel.
    values: usize,
}

impl BatchNormOutput {
    /// The running statistics after this batch: `(1 - momentum)` of those before and `momentum` of the batch's, whose
    /// variance is made the unbiased one. A batch without values changes nothing.
    #[track_caller]
    pub fn running(&self, before: (&Tensor, &Tensor), momentum: f64) -> Result<RunningStatistics> {
        if self.values == 0 {
            return Ok((before.0.detach(), before.1.detach()));
        }
        let values = self.values as f64;
        running_pair("batch_norm", before, &self.mean, &self.var, momentum, values / (values - 1.0).max(1.0))
    }
}

/// `(1 - momentum) running + momentum batch`, where the batch's variance is multiplied by a factor.
#[track_caller]
pub(super) fn running_pair(
    op: &'static str,
    before: (&Tensor, &Tensor),
    mean: &Tensor,
    var: &Tensor,
    momentum: f64,
    factor: f64,
) -> Result<RunningStatistics> {
    let at = std::panic::Location::caller();
    let mut blended = Vec::with_capacity(2);
    for ((before, batch), factor) in [before.0, before.1].into_iter().zip([mean, var]).zip([1.0, factor]) {
        if before.shape() != batch.shape() {
            let text = format!("running statistics {} for {} channels", before.shape(), batch.shape());
            return Err(Error::shape(text).op(op).at(at));
        }
        expect_float(&[before.meta().clone()]).map_err(|error| error.op(op).at(at))?;
        let batch = batch.to_dtype(before.dtype())?;
        blended.push(float!(before.dtype(), T => {
            let (old, new) = (before.as_slice::<T>()?, batch.as_slice::<T>()?);
            let (share, factor) = (momentum as T, factor as T);
            Tensor::from_fn(before.shape().clone(), |dst: &mut [T]| {
                for (i, dst) in dst.iter_mut().enumerate() {
                    *dst = (1.0 - share) * old[i] + share * (new[i] * factor);
                }
            })
        }));
    }
    let var = blended.pop().expect("two were blended");
    Ok((blended.pop().expect("two were blended"), var))
}

/// Inputs x, gamma, beta, in evaluation mean and var, and the shortcut if there is one.
/// Outputs y, mean, var and, with a pooling, the position of each maximum.
#[derive(Debug, Clone, Copy)]
struct BatchNorm {
    options: BatchNormOptions,
    training: bool,
    shortcut: bool,
}

impl BatchNorm {
    /// Where the shortcut is among the inputs.
    fn shortcut_at(&self) -> Option<usize> {
        self.shortcut.then_some(if self.training { 3 } else { 5 })
    }

    /// The inputs that are maps.
    fn maps(&self) -> Mask {
        match self.shortcut_at() {
            Some(at) => Mask::of(&[0, at]),
            None => Mask::of(&[0]),
        }
    }

    /// Whether y is kept, to tell what the activation let pass.
    fn keeps_output(&self) -> bool {
        self.shortcut && self.options.activation != Activation::None
    }

    fn pool(&self) -> Option<MaxPoolOptions> {
        self.options.pool.map(|pool| MaxPoolOptions::new(pool.kernel))
    }
}

impl Op for BatchNorm {
    fn name(&self) -> &'static str {
        "batch_norm"
    }

    fn reach(&self, which: usize, inputs: &[Shape], output: &Shape) -> Reaches {
        match self.pool() {
            Some(pool) if which == 0 => reach::of_axes(&inputs[0], |axis| Reach::Window(pool.window(axis))),
            _ => reach::by_shape(&inputs[which], output),
        }
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        let dtype = expect_maps_and_channels(inputs, self.maps())?;
        let x = &inputs[0].shape;
        if x.len() < 2 || x.len() > 5 {
            return Err(Error::shape(format!("input {x}: it must be (N, C) or (N, C, …)")));
        }
        let c = x[1];
        let channels = &inputs[1..self.shortcut_at().unwrap_or(inputs.len())];
        for (input, name) in channels.iter().zip(["weight", "bias", "running_mean", "running_var"]) {
            if *input.shape != [c] {
                return Err(Error::shape(format!("{name} {} for input {x} with {c} channels", input.shape))
                    .hint(format!("give {name} [{c}]; a layer is made with num_features {c}")));
            }
        }
        let values = x[0].saturating_mul(x[2..].iter().product());
        if self.training && self.options.eps <= 0.0 {
            return Err(Error::argument(format!(
                "eps {}: in training it must be positive",
                self.options.eps
            ))
            .hint("give 1e-5"));
        }
        if self.training && values == 1 {
            return Err(Error::shape(format!(
                "input {x} has one value for each channel, which has no variance"
            ))
            .hint("train with a batch of 2 or more, or call .eval() on the model"));
        }
        if let Some(shortcut) = self.shortcut_at().map(|at| &inputs[at].shape)
            && shortcut != x
        {
            return Err(Error::shape(format!("shortcut {shortcut} for input {x}: they must be the same"))
                .hint("bring it to that shape before, as by a 1x1 convolution"));
        }
        if self.options.pool.is_some() && (self.shortcut || self.options.activation == Activation::Relu6) {
            return Err(Error::argument("a pooling in the same pass as a shortcut or a ReLU6")
                .hint("pool in an operation of its own"));
        }
        let mut outputs = Metas::new();
        match self.pool() {
            None => outputs.push(inputs[0].clone()),
            Some(pool) => {
                let shape = pool.output_shape(x)?;
                if !pool.cells_fit_a_byte(x) {
                    return Err(Error::argument(format!(
                        "a pooling of {:?} after it: more than 256 cells",
                        pool.kernel
                    ))
                    .hint("pool in an operation of its own"));
                }
                outputs.push(Meta::channels_last(shape, dtype));
            }
        }
        // Mean, variance, and what the mean lost by rounding.
        outputs.extend([(); 3].map(|()| Meta::plain([c], dtype.wide())));
        if self.options.pool.is_some() {
            outputs.push(Meta::channels_last(outputs[0].shape.clone(), DType::U8));
        }
        Ok(outputs)
    }

    fn layout(&self) -> LayoutRule {
        LayoutRule::ChannelsLast(self.maps())
    }

    fn bf16(&self) -> Bf16Rule {
        Bf16Rule::Inside(self.maps())
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        let shape = inputs[0].meta().shape.clone();
        let (n, c, _) = shape.image();
        let activation = self.options.activation;
        stored!(inputs[0].meta().dtype, S => {
            type T = <S as Stored>::Wide;
            let (x, gamma, beta) = (inputs[0].values::<S>(), inputs[1].values::<T>(), inputs[2].values::<T>());
            let rows = x.len() / c.max(1);
            let rows_per_sample = rows / n.max(1);
            let [y, mean, var, low, rest @ ..] = outputs else { unreachable!("four outputs or more") };
            let y_shape = y.meta().shape.clone();
            let (y, mean, var, low) = (y.values::<S>(), mean.values::<T>(), var.values::<T>(), low.values::<T>());
            if self.training {
                norm::stats(rows, rows_per_sample, c, x, mean, low, var);
            } else {
                mean.copy_from_slice(inputs[3].values::<T>());
                var.copy_from_slice(inputs[4].values::<T>());
                low.fill(0.0);
            }
            let channels = Channels::new(low, var, gamma, beta, self.options.eps);
            let (scale, shift) = (channels.scale(), channels.shift());
            match self.pool() {
                None => {
                    let add = self.shortcut_at().map(|at| inputs[at].values::<S>());
                    norm::normalize(x, mean, scale, shift, add, activation, y);
                }
                Some(pool) => {
                    let (p, relu) = (pool.problem(&shape, &y_shape), activation == Activation::Relu);
                    norm::normalize_relu_max_pool(&p, x, mean, scale, shift, relu, y, rest[0].values::<u8>());
                }
            }
        });
    }

    fn saves(&self) -> Saves {
        let outputs = match self.options.pool {
            Some(_) => Mask::of(&[1, 2, 3, 4]),
            None if self.keeps_output() => Mask::of(&[0, 1, 2, 3]),
            None => Mask::of(&[1, 2, 3]),
        };
        Saves { inputs: Mask::of(&[0, 1, 2]), outputs }
    }

    fn grad(&self, mut saved: Saved, mut dy: Grads, _needs: Mask) -> Result<Grads> {
        let dy = dy[0].take().expect("the normalised map has a gradient");
        if !self.shortcut {
            return self.grad_past_shortcut(saved, dy);
        }
        // Past the activation both sides of the sum have the same gradient.
        let dy = unary::activation_grad(self.options.activation, || saved.output(0), dy)?;
        let options = BatchNormOptions { activation: Activation::None, ..self.options };
        let mut grads = BatchNorm { options, ..*self }.grad_past_shortcut(saved, dy.clone())?;
        grads.push(Some(dy));
        Ok(grads)
    }
}

impl BatchNorm {
    /// The gradients of all inputs but the shortcut.
    fn grad_past_shortcut(&self, mut saved: Saved, dy: Tensor) -> Result<Grads> {
        if grad_enabled() && self.options.pool.is_none() {
            return self.composed_grad(saved, dy);
        }
        let mut inputs = vec![dy, saved.input(0), saved.input(1), saved.input(2)];
        let statistics_and_positions = 1..4 + usize::from(self.options.pool.is_some());
        inputs.extend(statistics_and_positions.map(|output| saved.output(output)));
        let grads = apply_all(BatchNormGrad(*self), inputs)?;
        Ok(grads.into_iter().map(Some).chain([None, None]).take(saved_inputs(self)).collect())
    }

    /// The gradients as compositions of ops, which have gradients themselves.
    fn composed_grad(&self, mut saved: Saved, dy: Tensor) -> Result<Grads> {
        let (x, gamma, beta) = (saved.input(0), saved.input(1), saved.input(2));
        let dtype = x.dtype();
        let (x, mut dy) = (x.to_dtype(dtype.wide())?, dy.to_dtype(dtype.wide())?);
        let c = x.shape()[1];
        let mut aligned = vec![1; x.shape().len()];
        aligned[1] = c;
        let axes: Vec<isize> = (0..x.shape().len() as isize).filter(|&axis| axis != 1).collect();
        let [gamma, beta] = [gamma.reshape(aligned.clone())?, beta.reshape(aligned.clone())?];
        let statistics = match self.training {
            true => None,
            false => {
                let [mean, var] = [saved.output(1), saved.output(2)].map(|statistic| statistic.detach());
                Some([mean.reshape(aligned.clone())?, var.reshape(aligned.clone())?])
            }
        };
        let moments = || match &statistics {
            Some([mean, var]) => Moments::Given(mean, var),
            None => Moments::Own(&axes),
        };
        if self.options.activation != Activation::None {
            let (_, hat) = composed(&x, &dy, moments(), self.options.eps)?;
            let before = ((hat * &gamma)? + &beta)?.detach();
            dy = unary::activation_grad(self.options.activation, || before, dy)?;
        }
        let (dx, hat) = composed(&x, &(&dy * gamma)?, moments(), self.options.eps)?;
        let dgamma = (&dy * hat)?.sum_axes(&axes, false)?;
        let grads = [Some(dx.to_dtype(dtype)?), Some(dgamma), Some(dy.sum_axes(&axes, false)?), None, None];
        Ok(grads.into_iter().take(saved_inputs(self)).collect())
    }
}

fn saved_inputs(op: &BatchNorm) -> usize {
    if op.training { 3 } else { 5 }
}

/// What the kernels want for each channel: 1 / sqrt(var + eps), scale and shift.
struct Channels<T> {
    values: Buffer,
    c: usize,
    _type: std::marker::PhantomData<T>,
}

impl<T: Float + rasgo_kernels::buffer::Element> Channels<T> {
    fn new(low: &[T], var: &[T], gamma: &[T], beta: &[T], eps: f64) -> Self {
        let c = var.len();
        let mut values = Buffer::new::<T>(3 * c);
        let (rstd, rest) = values.as_mut_slice::<T>().split_at_mut(c);
        let (scale, shift) = rest.split_at_mut(c);
        for (rstd, &var) in rstd.iter_mut().zip(var) {
            *rstd = T::ONE / (var + T::from_f64(eps)).sqrt();
        }
        norm::scale_shift(rstd, low, gamma, beta, scale, shift);
        Channels { values, c, _type: std::marker::PhantomData }
    }

    fn rstd(&self) -> &[T] {
        &self.values.as_slice::<T>()[..self.c]
    }

    fn scale(&self) -> &[T] {
        &self.values.as_slice::<T>()[self.c..2 * self.c]
    }

    fn shift(&self) -> &[T] {
        &self.values.as_slice::<T>()[2 * self.c..]
    }
}

/// dx, dgamma, dbeta from dy, x, gamma, beta, mean, var, what the mean lost and, with a pooling, the positions.
#[derive(Debug)]
struct BatchNormGrad(BatchNorm);

impl Op for BatchNormGrad {
    fn name(&self) -> &'static str {
        "batch_norm"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        let c = inputs[1].shape[1];
        let parameter = Meta::plain([c], inputs[0].dtype.wide());
        Ok(Metas::from_iter([inputs[1].clone(), parameter.clone(), parameter]))
    }

    fn layout(&self) -> LayoutRule {
        LayoutRule::ChannelsLast(Mask::of(&[0, 1, 7]))
    }

    fn bf16(&self) -> Bf16Rule {
        Bf16Rule::Inside(Mask::of(&[0, 1]))
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        let shape = inputs[1].meta().shape.clone();
        let (n, c, _) = shape.image();
        let op = &self.0;
        stored!(inputs[0].meta().dtype, S => {
            type T = <S as Stored>::Wide;
            let (dy, x) = (inputs[0].values::<S>(), inputs[1].values::<S>());
            let (gamma, beta) = (inputs[2].values::<T>(), inputs[3].values::<T>());
            let [mean, var, low] = [4, 5, 6].map(|i| inputs[i].values::<T>());
            let channels = Channels::new(low, var, gamma, beta, op.options.eps);
            let (scale, shift, activation) = (channels.scale(), channels.shift(), op.options.activation);
            let g = norm::NormGrad { mean, low, rstd: channels.rstd(), scale, shift, activation };
            let [dx, dgamma, dbeta] = outputs else { unreachable!("three outputs") };
            let (dx, dgamma, dbeta) = (dx.values::<S>(), dgamma.values::<T>(), dbeta.values::<T>());
            let rows = x.len() / c.max(1);
            if rows == 0 {
                // Without values there are no statistics to compute with, and the sums are 0.
                dgamma.fill(0.0);
                dbeta.fill(0.0);
                return;
            }
            let zeros = Buffer::zeroed::<T>(c);
            match op.pool() {
                None => {
                    norm::grad_sums(rows, rows / n.max(1), &g, x, dy, dbeta, dgamma);
                    if op.training {
                        norm::grad_input(rows, &g, x, dy, dbeta, dgamma, dx);
                    } else {
                        norm::grad_input_eval(&g, x, dy, dx);
                    }
                }
                Some(pool) => {
                    let p = pool.problem(&shape, &inputs[0].meta().shape);
                    let positions = inputs[7].values::<u8>();
                    norm::pooled_grad_sums(&p, &g, x, dy, positions, dbeta, dgamma);
                    // With constant statistics the two means do not come in.
                    let (mean_dy, mean_dy_x) =
                        if op.training { (&*dbeta, &*dgamma) } else { (zeros.as_slice::<T>(), zeros.as_slice::<T>()) };
                    norm::pooled_grad_input(&p, &g, x, dy, positions, mean_dy, mean_dy_x, dx);
                }
            }
        });
    }

    fn grad(&self, _saved: Saved, _dy: Grads, _needs: Mask) -> Result<Grads> {
        Err(no_second_gradient())
    }
}

impl Tensor {
    /// Normalises each channel of (N, C, …) with the statistics of this batch, which come back too, for the running
    /// ones. A missing weight is 1, a missing bias 0.
    ///
    /// ```
    /// # use rasgo_core::{Tensor, ops::BatchNormOptions};
    /// let x = Tensor::from_vec(vec![1.0f32, 10.0, 3.0, 30.0], [2, 2])?;
    /// let batch = x.batch_norm(None, None, BatchNormOptions { eps: 1e-30, ..Default::default() })?;
    /// assert_eq!(batch.output.to_vec::<f32>()?, [-1.0, -1.0, 1.0, 1.0]);
    /// assert_eq!(batch.mean.to_vec::<f32>()?, [2.0, 20.0]);
    /// # Ok::<(), rasgo_core::Error>(())
    /// ```
    #[track_caller]
    pub fn batch_norm(
        &self,
        weight: Option<&Tensor>,
        bias: Option<&Tensor>,
        options: BatchNormOptions,
    ) -> Result<BatchNormOutput> {
        self.normalize_batch(weight, bias, None, options)
    }

    /// `act(batch_norm(x) + shortcut)` in one pass, for a shortcut of the shape of x: the end of a residual block.
    ///
    /// ```
    /// # use rasgo_core::{Tensor, ops::{Activation, BatchNormOptions}};
    /// let x = Tensor::from_vec(vec![1.0f32, 3.0], [2, 1])?;
    /// let options = BatchNormOptions { eps: 1e-30, activation: Activation::Relu, ..Default::default() };
    /// let batch = x.batch_norm_add(None, None, &x, options)?;
    /// assert_eq!(batch.output.to_vec::<f32>()?, [0.0, 4.0]);
    /// # Ok::<(), rasgo_core::Error>(())
    /// ```
    #[track_caller]
    pub fn batch_norm_add(
        &self,
        weight: Option<&Tensor>,
        bias: Option<&Tensor>,
        shortcut: &Tensor,
        options: BatchNormOptions,
    ) -> Result<BatchNormOutput> {
        self.normalize_batch(weight, bias, Some(shortcut), options)
    }

    #[track_caller]
    fn normalize_batch(
        &self,
        weight: Option<&Tensor>,
        bias: Option<&Tensor>,
        shortcut: Option<&Tensor>,
        options: BatchNormOptions,
    ) -> Result<BatchNormOutput> {
        let x = self.join_spatial()?;
        let mut inputs = vec![x.clone(), x.channels_of(weight, 1.0)?, x.channels_of(bias, 0.0)?];
        if let Some(shortcut) = shortcut {
            inputs.push(shortcut.join_spatial()?);
        }
        let op = BatchNorm { options, training: true, shortcut: shortcut.is_some() };
        let mut outputs = apply_all(op, inputs)?.into_iter();
        let mut next = || outputs.next().expect("three outputs or more");
        let (output, mean, var) = (next(), next().detach(), next().detach());
        let output = if self.shape().len() > 5 { output.reshape(self.shape().clone())? } else { output };
        let values = x.shape()[0] * x.shape()[2..].iter().product::<usize>();
        Ok(BatchNormOutput { output, mean, var, values })
    }

    /// Normalises each channel with given statistics, as in evaluation.
    #[track_caller]
    pub fn batch_norm_with(
        &self,
        weight: Option<&Tensor>,
        bias: Option<&Tensor>,
        mean: &Tensor,
        var: &Tensor,
        options: BatchNormOptions,
    ) -> Result<Tensor> {
        self.normalize_with(weight, bias, [mean, var], None, options)
    }

    /// As [`batch_norm_add`](Self::batch_norm_add), with given statistics.
    #[track_caller]
    pub fn batch_norm_add_with(
        &self,
        weight: Option<&Tensor>,
        bias: Option<&Tensor>,
        mean: &Tensor,
        var: &Tensor,
        shortcut: &Tensor,
        options: BatchNormOptions,
    ) -> Result<Tensor> {
        self.normalize_with(weight, bias, [mean, var], Some(shortcut), options)
    }

    #[track_caller]
    fn normalize_with(
        &self,
        weight: Option<&Tensor>,
        bias: Option<&Tensor>,
        [mean, var]: [&Tensor; 2],
        shortcut: Option<&Tensor>,
        options: BatchNormOptions,
    ) -> Result<Tensor> {
        let x = self.join_spatial()?;
        let (weight, bias) = (x.channels_of(weight, 1.0)?, x.channels_of(bias, 0.0)?);
        let op = BatchNorm { options, training: false, shortcut: shortcut.is_some() };
        let mut inputs = vec![x, weight, bias, mean.clone(), var.clone()];
        if let Some(shortcut) = shortcut {
            inputs.push(shortcut.join_spatial()?);
        }
        let output = apply_all(op, inputs)?.swap_remove(0);
        if self.shape().len() > 5 { output.reshape(self.shape().clone()) } else { Ok(output) }
    }

    /// The value of each channel, or a constant where it is missing.
    #[track_caller]
    fn channels_of(&self, given: Option<&Tensor>, missing: f64) -> Result<Tensor> {
        let c = self.shape().get(1).copied().unwrap_or(0);
        match given {
            Some(given) => Ok(given.clone()),
            None if self.is_shape_only() => Ok(Tensor::shape_only([c], self.dtype().wide())),
            None => Tensor::full([c], missing, self.dtype().wide()),
        }
    }
}

#[cfg(test)]
mod tests;
