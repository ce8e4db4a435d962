//! Batch normalisation, with the activation and the max pooling after it in the same pass.
//!
//! ```text
//! y = (x - mean[c]) / sqrt(var[c] + eps) * gamma[c] + beta[c]      then relu, then the largest of each window
//! ```
//! Training takes mean and (biased) variance over everything but the channel; evaluation takes the running ones.
//! The composite keeps x and one byte for each window, where the separate ops keep three maps.

use rasgo_kernels::{Buffer, Float, norm};

use super::pool::MaxPoolOptions;
use super::{expect_float, float, no_second_gradient};
use crate::error::{Error, Result};
use crate::meta::{DType, Meta};
use crate::op::{Grads, Input, LayoutRule, Mask, Metas, Op, Output, Saved, Saves, apply_all};
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
    /// Whether max(y, 0) follows.
    pub relu: bool,
    /// Whether a max pooling follows.
    pub pool: Option<PoolAfter>,
}

impl Default for BatchNormOptions {
    fn default() -> Self {
        BatchNormOptions { eps: 1e-5, relu: false, pool: None }
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
}

/// Inputs x, gamma, beta and, in evaluation, mean and var.
/// Outputs y, mean, var and, with a pooling, the position of each maximum.
#[derive(Debug, Clone, Copy)]
struct BatchNorm {
    options: BatchNormOptions,
    training: bool,
}

impl BatchNorm {
    fn pool(&self) -> Option<MaxPoolOptions> {
        self.options.pool.map(|pool| MaxPoolOptions::new(pool.kernel))
    }
}

impl Op for BatchNorm {
    fn name(&self) -> &'static str {
        "batch_norm"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        let dtype = expect_float(inputs)?;
        let x = &inputs[0].shape;
        if x.len() < 2 || x.len() > 5 {
            return Err(Error::shape(format!("input {x}: it must be (N, C) or (N, C, …)")));
        }
        let c = x[1];
        for (input, name) in inputs[1..].iter().zip(["weight", "bias", "running_mean", "running_var"]) {
            if *input.shape != [c] {
                return Err(Error::shape(format!("{name} {} for input {x} with {c} channels", input.shape))
                    .hint(format!("make the layer BatchNorm({c})")));
            }
        }
        let values = x.elements() / c.max(1);
        if self.training && values == 1 {
            return Err(Error::shape(format!(
                "input {x} has one value for each channel, which has no variance"
            ))
            .hint("train with a batch of 2 or more, or call .eval() on the model"));
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
        outputs.push(Meta::plain([c], dtype));
        outputs.push(Meta::plain([c], dtype));
        if self.options.pool.is_some() {
            outputs.push(Meta::channels_last(outputs[0].shape.clone(), DType::U8));
        }
        Ok(outputs)
    }

    fn layout(&self) -> LayoutRule {
        LayoutRule::ChannelsLast(Mask::of(&[0]))
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        let shape = inputs[0].meta().shape.clone();
        let (n, c, _) = shape.image();
        let relu = self.options.relu;
        float!(inputs[0].meta().dtype, T => {
            let (x, gamma, beta) = (inputs[0].values::<T>(), inputs[1].values::<T>(), inputs[2].values::<T>());
            let rows = x.len() / c.max(1);
            let rows_per_sample = rows / n.max(1);
            let (first, rest) = outputs.split_at_mut(1);
            let (mean, rest) = rest.split_at_mut(1);
            let (var, rest) = rest.split_at_mut(1);
            let y_shape = first[0].meta().shape.clone();
            let (y, mean, var) = (first[0].values::<T>(), mean[0].values::<T>(), var[0].values::<T>());
            if self.training {
                norm::stats(rows, rows_per_sample, c, x, mean, var);
            } else {
                mean.copy_from_slice(inputs[3].values::<T>());
                var.copy_from_slice(inputs[4].values::<T>());
            }
            let channels = Channels::new(mean, var, gamma, beta, self.options.eps);
            let (scale, shift) = (channels.scale(), channels.shift());
            match self.pool() {
                None => norm::normalize(x, scale, shift, relu, y),
                Some(pool) => {
                    let p = pool.problem(&shape, &y_shape);
                    norm::normalize_relu_max_pool(&p, x, scale, shift, relu, y, rest[0].values::<u8>());
                }
            }
        });
    }

    fn saves(&self) -> Saves {
        let outputs = if self.options.pool.is_some() { Mask::of(&[1, 2, 3]) } else { Mask::of(&[1, 2]) };
        Saves { inputs: Mask::of(&[0, 1, 2]), outputs }
    }

    fn grad(&self, mut saved: Saved, mut dy: Grads, _needs: Mask) -> Result<Grads> {
        let dy = dy[0].take().expect("the normalised map has a gradient");
        let mut inputs =
            vec![dy, saved.input(0), saved.input(1), saved.input(2), saved.output(1), saved.output(2)];
        if self.options.pool.is_some() {
            inputs.push(saved.output(3));
        }
        let grads = apply_all(BatchNormGrad(*self), inputs)?;
        Ok(grads.into_iter().map(Some).chain([None, None]).take(saved_inputs(self)).collect())
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
    fn new(mean: &[T], var: &[T], gamma: &[T], beta: &[T], eps: f64) -> Self {
        let c = mean.len();
        let mut values = Buffer::new::<T>(3 * c);
        let (rstd, rest) = values.as_mut_slice::<T>().split_at_mut(c);
        let (scale, shift) = rest.split_at_mut(c);
        for (rstd, &var) in rstd.iter_mut().zip(var) {
            *rstd = T::ONE / (var + T::from_f64(eps)).sqrt();
        }
        norm::scale_shift(mean, rstd, Some(gamma), Some(beta), scale, shift);
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

/// dx, dgamma, dbeta from dy, x, gamma, beta, mean, var and, with a pooling, the positions.
#[derive(Debug)]
struct BatchNormGrad(BatchNorm);

impl Op for BatchNormGrad {
    fn name(&self) -> &'static str {
        "batch_norm"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        let c = inputs[1].shape[1];
        let parameter = Meta::plain([c], inputs[0].dtype);
        Ok(Metas::from_iter([inputs[1].clone(), parameter.clone(), parameter]))
    }

    fn layout(&self) -> LayoutRule {
        LayoutRule::ChannelsLast(Mask::of(&[0, 1, 6]))
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        let shape = inputs[1].meta().shape.clone();
        let (n, c, _) = shape.image();
        let op = &self.0;
        float!(inputs[0].meta().dtype, T => {
            let (dy, x) = (inputs[0].values::<T>(), inputs[1].values::<T>());
            let (gamma, beta) = (inputs[2].values::<T>(), inputs[3].values::<T>());
            let (mean, var) = (inputs[4].values::<T>(), inputs[5].values::<T>());
            let channels = Channels::new(mean, var, gamma, beta, op.options.eps);
            let (scale, shift, relu) = (channels.scale(), channels.shift(), op.options.relu);
            let g = norm::NormGrad { mean, rstd: channels.rstd(), scale, shift, relu };
            let [dx, dgamma, dbeta] = outputs else { unreachable!("three outputs") };
            let (dx, dgamma, dbeta) = (dx.values::<T>(), dgamma.values::<T>(), dbeta.values::<T>());
            let rows = x.len() / c.max(1);
            let zeros = Buffer::zeroed::<T>(c);
            match op.pool() {
                None => {
                    norm::grad_sums(rows, rows / n.max(1), &g, x, dy, dbeta, dgamma);
                    if op.training {
                        norm::grad_input(rows, &g, x, dy, dbeta, dgamma, dx);
                    } else {
                        norm::grad_input_eval(x, dy, scale, shift, relu, dx);
                    }
                }
                Some(pool) => {
                    let p = pool.problem(&shape, &inputs[0].meta().shape);
                    let positions = inputs[6].values::<u8>();
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
    /// Normalises with the statistics of this batch, which come back too, for the running ones.
    #[track_caller]
    pub fn batch_norm(
        &self,
        gamma: &Tensor,
        beta: &Tensor,
        options: BatchNormOptions,
    ) -> Result<BatchNormOutput> {
        let op = BatchNorm { options, training: true };
        let mut outputs = apply_all(op, [self.clone(), gamma.clone(), beta.clone()])?.into_iter();
        let mut next = || outputs.next().expect("three outputs or more");
        Ok(BatchNormOutput { output: next(), mean: next().detach(), var: next().detach() })
    }

    /// Normalises with given statistics, as in evaluation.
    #[track_caller]
    pub fn batch_norm_with(
        &self,
        gamma: &Tensor,
        beta: &Tensor,
        mean: &Tensor,
        var: &Tensor,
        options: BatchNormOptions,
    ) -> Result<Tensor> {
        let op = BatchNorm { options, training: false };
        let inputs = [self, gamma, beta, mean, var].map(Tensor::clone);
        Ok(apply_all(op, inputs)?.swap_remove(0))
    }
}

#[cfg(test)]
mod tests {
    use super::super::grad_check::{check, normal};
    use super::*;

    fn all_options() -> Vec<BatchNormOptions> {
        let pool = Some(PoolAfter { kernel: [1, 2, 3] });
        [(false, None), (true, None), (false, pool), (true, pool)]
            .map(|(relu, pool)| BatchNormOptions { relu, pool, ..Default::default() })
            .to_vec()
    }

    #[test]
    fn batch_norm_has_the_gradients_of_its_differences() {
        for options in all_options() {
            let inputs = [normal([3, 2, 5, 7], 1), normal([2], 2), normal([2], 3)];
            check(&inputs, |x| Ok(x[0].batch_norm(&x[1], &x[2], options)?.output));
            let (mean, var) = (normal([2], 4), normal([2], 5).square().unwrap());
            check(&inputs, |x| x[0].batch_norm_with(&x[1], &x[2], &mean, &var, options));
        }
    }

    #[test]
    fn the_composite_is_the_ops_one_after_the_other() {
        let (x, gamma, beta) = (normal([3, 2, 5, 7], 1), normal([2], 2), normal([2], 3));
        for dtype in [DType::F32, DType::F64] {
            let [x, gamma, beta] = [&x, &gamma, &beta].map(|t| t.to_dtype(dtype).unwrap());
            for options in all_options() {
                let fused = x.batch_norm(&gamma, &beta, options).unwrap().output;
                let plain = BatchNormOptions::default();
                let mut apart = x.batch_norm(&gamma, &beta, plain).unwrap().output;
                if options.relu {
                    apart = apart.relu().unwrap();
                }
                if let Some(pool) = options.pool {
                    apart = apart.max_pool(&MaxPoolOptions::new(pool.kernel)).unwrap();
                }
                assert_eq!(fused.to_f64_vec().unwrap(), apart.to_f64_vec().unwrap());
            }
        }
    }

    #[test]
    fn one_value_for_each_channel_is_refused_in_training() {
        let one = Tensor::ones([2], DType::F32).unwrap();
        let x = Tensor::ones([1, 2, 1, 1], DType::F32).unwrap();
        let error = x.batch_norm(&one, &one, BatchNormOptions::default()).unwrap_err();
        assert!(error.to_string().contains("no variance"), "{error}");
    }
}
