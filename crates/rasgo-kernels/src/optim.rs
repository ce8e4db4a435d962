//! Updates of parameters: each reads and writes every array once.
//!
//! The formulas are PyTorch's, in PyTorch's order. Options are f64 and are rounded once, to the parameters' type.

mod muon;

pub use muon::{Muon, muon};

use crate::buffer::Element;
use crate::elementwise::{Binary, Side, with_number_in_place};
use crate::isa::isa_fn;
use crate::rows::CHUNK;
use crate::threads::{SharedMut, parallel, parallel_chunks};
use crate::{Float, Isa};

/// Options of [`sgd`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sgd {
    /// Learning rate.
    pub lr: f64,
    /// Share of the velocity that is kept.
    pub momentum: f64,
    /// Share of the gradient that does not enter the velocity.
    pub dampening: f64,
    /// Whether to step along the next velocity.
    pub nesterov: bool,
    /// Factor of the parameter that is added to its gradient.
    pub weight_decay: f64,
}

/// Options of [`adam`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adam {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the mean of gradients.
    pub beta1: f64,
    /// Decay of the mean of squared gradients.
    pub beta2: f64,
    /// Added to the root.
    pub eps: f64,
    /// Decay of the parameter.
    pub weight_decay: f64,
    /// AdamW: the decay shrinks the parameter itself (`p *= 1 - lr * weight_decay`); else it enters the gradient.
    pub decoupled: bool,
    /// `1 - beta1^step`
    pub bias_correction1: f64,
    /// `1 - beta2^step`
    pub bias_correction2: f64,
}

/// Options of [`rmsprop`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RmsProp {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the mean of squared gradients, and of the mean of gradients.
    pub alpha: f64,
    /// Added to the root.
    pub eps: f64,
    /// Factor of the parameter that is added to its gradient.
    pub weight_decay: f64,
    /// Share of the last step that is kept.
    pub momentum: f64,
}

/// What [`rmsprop`] keeps of a parameter.
#[derive(Debug)]
pub struct RmsPropState<'a, T> {
    /// The mean of squared gradients.
    pub square: &'a mut [T],
    /// The mean of gradients, if it is taken from the square.
    pub mean: Option<&'a mut [T]>,
    /// The last step, if there is momentum.
    pub step: Option<&'a mut [T]>,
}

/// `g = grad + weight_decay * p; v = momentum * v + (1 - dampening) * g` (`v = g` in the first step);
/// `p -= lr * v`, or `p -= lr * (g + momentum * v)` with Nesterov; without a velocity `p -= lr * g`.
pub fn sgd<T: Float>(o: &Sgd, param: &mut [T], grad: &[T], velocity: Option<&mut [T]>, first_step: bool) {
    assert_eq!(param.len(), grad.len(), "a gradient for each parameter");
    let isa = Isa::current();
    let (lr, decay) = (T::from_f64(o.lr), T::from_f64(o.weight_decay));
    let Some(velocity) = velocity else {
        return parallel_chunks(param, CHUNK, |i, p| sgd_plain(isa, lr, decay, p, &grad[i * CHUNK..]));
    };
    assert_eq!(param.len(), velocity.len(), "a velocity for each parameter");
    for_two(param, velocity, |range, p, v| sgd_momentum(isa, o, first_step, p, &grad[range], v));
}

/// `g = grad + weight_decay * p` (coupled); `m += (g - m) * (1 - beta1); v = beta2 * v + (1 - beta2) * g^2`;
/// `p -= lr / bias_correction1 * m / (sqrt(v) / sqrt(bias_correction2) + eps)`. With `largest` (AMSGrad) the largest `v` so
/// far takes the place of `v`.
pub fn adam<T: Float>(
    o: &Adam,
    param: &mut [T],
    grad: &[T],
    m: &mut [T],
    v: &mut [T],
    largest: Option<&mut [T]>,
) {
    let len = param.len();
    assert!(grad.len() == len && m.len() == len && v.len() == len, "all arrays have the same length");
    assert!(largest.as_ref().is_none_or(|largest| largest.len() == len), "all arrays have the same length");
    let isa = Isa::current();
    let (v, largest) = (SharedMut::new(v), largest.map(SharedMut::new));
    for_two(param, m, |range, p, m| {
        // SAFETY: each task has a part of its own.
        let v = unsafe { v.slice(range.start, range.len()) };
        // SAFETY: as above.
        let largest = largest.as_ref().map(|largest| unsafe { largest.slice(range.start, range.len()) });
        adam_chunk(isa, o, p, &grad[range], m, v, largest);
    });
}

/// `g = grad + weight_decay * p; s = alpha * s + (1 - alpha) * g^2; d = g / (sqrt(s) + eps)`, where a mean `a` of gradients
/// makes it `sqrt(s - a^2)`; `p -= lr * d`, or with momentum `b = momentum * b + d; p -= lr * b`.
pub fn rmsprop<T: Float>(o: &RmsProp, param: &mut [T], grad: &[T], state: RmsPropState<'_, T>) {
    let len = param.len();
    let RmsPropState { square, mean, step } = state;
    assert!(grad.len() == len && square.len() == len, "all arrays have the same length");
    let fits = |array: &Option<&mut [T]>| array.as_ref().is_none_or(|array| array.len() == len);
    assert!(fits(&mean) && fits(&step), "all arrays have the same length");
    let isa = Isa::current();
    let (mean, step) = (mean.map(SharedMut::new), step.map(SharedMut::new));
    for_two(param, square, |range, p, square| {
        // SAFETY: each task has a part of its own.
        let mean = mean.as_ref().map(|mean| unsafe { mean.slice(range.start, range.len()) });
        // SAFETY: as above.
        let step = step.as_ref().map(|step| unsafe { step.slice(range.start, range.len()) });
        rmsprop_chunk(isa, o, p, &grad[range], square, mean, step);
    });
}

/// `ema = ema * decay + param * (1 - decay)`: the mean of the weights over the last steps.
pub fn ema<T: Float>(decay: f64, ema: &mut [T], param: &[T]) {
    assert_eq!(ema.len(), param.len(), "both have the same length");
    let isa = Isa::current();
    let (keep, take) = (T::from_f64(decay), T::from_f64(1.0 - decay));
    parallel_chunks(ema, CHUNK, |i, ema| ema_chunk(isa, keep, take, ema, &param[i * CHUNK..]));
}

/// `data *= factor`.
pub fn scale_in_place<T: Float + Element>(data: &mut [T], factor: f64) {
    with_number_in_place(Binary::Mul, Side::Right, T::from_f64(factor), data);
}

/// Runs `body` on the same chunks of two arrays.
fn for_two<T: Float>(
    a: &mut [T],
    b: &mut [T],
    body: impl Fn(std::ops::Range<usize>, &mut [T], &mut [T]) + Sync,
) {
    let len = a.len();
    let (a, b) = (SharedMut::new(a), SharedMut::new(b));
    parallel(len.div_ceil(CHUNK), |i| {
        let range = i * CHUNK..len.min((i + 1) * CHUNK);
        // SAFETY: each task has a part of its own.
        let (a, b) = unsafe { (a.slice(range.start, range.len()), b.slice(range.start, range.len())) };
        body(range, a, b);
    });
}

isa_fn! {
    fn sgd_plain<T: Float>(lr: T, decay: T, param: &mut [T], grad: &[T]) {
        for (p, g) in param.iter_mut().zip(grad) {
            *p = *p - lr * (*g + decay * *p);
        }
    }
}

isa_fn! {
    fn sgd_momentum<T: Float>(o: &Sgd, first: bool, param: &mut [T], grad: &[T], velocity: &mut [T]) {
        let [lr, momentum, decay, take] =
            [o.lr, o.momentum, o.weight_decay, 1.0 - o.dampening].map(T::from_f64);
        // In the first step the velocity may hold anything.
        if first {
            for ((p, g), v) in param.iter().zip(grad).zip(velocity.iter_mut()) {
                *v = *g + decay * *p;
            }
        } else {
            for ((p, g), v) in param.iter().zip(grad).zip(velocity.iter_mut()) {
                *v = momentum * *v + take * (*g + decay * *p);
            }
        }
        if o.nesterov {
            for ((p, g), v) in param.iter_mut().zip(grad).zip(velocity) {
                *p = *p - lr * ((*g + decay * *p) + momentum * *v);
            }
        } else {
            for (p, v) in param.iter_mut().zip(velocity) {
                *p = *p - lr * *v;
            }
        }
    }
}

isa_fn! {
    fn adam_chunk<T: Float>(
        o: &Adam, param: &mut [T], grad: &[T], m: &mut [T], v: &mut [T], largest: Option<&mut [T]>,
    ) {
        let coupled = if o.decoupled { 0.0 } else { o.weight_decay };
        let shrink = if o.decoupled { 1.0 - o.lr * o.weight_decay } else { 1.0 };
        let [coupled, shrink, beta2, eps] = [coupled, shrink, o.beta2, o.eps].map(T::from_f64);
        let [take1, take2] = [1.0 - o.beta1, 1.0 - o.beta2].map(T::from_f64);
        let [step, root] = [o.lr / o.bias_correction1, o.bias_correction2.sqrt()].map(T::from_f64);
        let means = |p: T, g: T, m: &mut T, v: &mut T| {
            let g = g + coupled * p;
            *m += (g - *m) * take1;
            *v = *v * beta2 + take2 * g * g;
        };
        let Some(largest) = largest else {
            for (((p, g), m), v) in param.iter_mut().zip(grad).zip(m).zip(v) {
                means(*p, *g, m, v);
                *p = *p * shrink - step * (*m / (v.sqrt() / root + eps));
            }
            return;
        };
        for ((((p, g), m), v), largest) in param.iter_mut().zip(grad).zip(m).zip(v).zip(largest) {
            means(*p, *g, m, v);
            // A NaN stays, as PyTorch's maximum lets it.
            *largest = if *v > *largest || v.is_nan() { *v } else { *largest };
            *p = *p * shrink - step * (*m / (largest.sqrt() / root + eps));
        }
    }
}

isa_fn! {
    fn rmsprop_chunk<T: Float>(
        o: &RmsProp, param: &mut [T], grad: &[T], square: &mut [T], mean: Option<&mut [T]>, step: Option<&mut [T]>,
    ) {
        let [lr, alpha, take, eps, decay, momentum] =
            [o.lr, o.alpha, 1.0 - o.alpha, o.eps, o.weight_decay, o.momentum].map(T::from_f64);
        let (mut mean, mut step) = (mean, step);
        for (i, ((p, g), square)) in param.iter_mut().zip(grad).zip(square).enumerate() {
            let g = *g + decay * *p;
            *square = alpha * *square + take * g * g;
            let root = match &mut mean {
                Some(mean) => {
                    mean[i] += (g - mean[i]) * take;
                    (*square - mean[i] * mean[i]).sqrt()
                }
                None => square.sqrt(),
            };
            let along = g / (root + eps);
            *p = *p - lr * match &mut step {
                Some(step) => {
                    step[i] = momentum * step[i] + along;
                    step[i]
                }
                None => along,
            };
        }
    }
}

isa_fn! {
    fn ema_chunk<T: Float>(keep: T, take: T, ema: &mut [T], param: &[T]) {
        for (ema, p) in ema.iter_mut().zip(param) {
            *ema = *ema * keep + *p * take;
        }
    }
}

#[cfg(test)]
mod tests;
