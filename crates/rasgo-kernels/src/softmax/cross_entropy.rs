//! Softmax and negative log-likelihood in one.

use super::rows::max_and_log_sum;
use super::{group, row_sum};
use crate::isa::isa_fn;
use crate::threads::{SharedMut, parallel, parallel_chunks};
use crate::{Float, Isa};

/// The options of the loss.
#[derive(Debug, Clone, Copy)]
pub struct CrossEntropy<'a, T> {
    /// Number of classes, the length of a row.
    pub classes: usize,
    /// Share of the target that is spread over all classes, 0 to 1.
    pub label_smoothing: f64,
    /// A weight for each class.
    pub weights: Option<&'a [T]>,
    /// The target whose rows do not count.
    pub ignore_index: Option<i64>,
}

/// The first row whose target is neither a class nor `ignore_index`, and its target. The loss may be computed
/// where there is none.
pub fn bad_target(targets: &[i64], classes: usize, ignore_index: Option<i64>) -> Option<(usize, i64)> {
    let bad = |target: i64| Some(target) != ignore_index && !(0..classes as i64).contains(&target);
    targets.iter().copied().enumerate().find(|&(_, target)| bad(target))
}

/// The sum of the weights of the targets that count, by which PyTorch's mean divides.
pub fn target_weight_sum<T: Float>(p: &CrossEntropy<'_, T>, targets: &[i64]) -> f64 {
    let weight = |target: &i64| p.weights.map_or(1.0, |weights| weights[*target as usize].to_f64());
    targets.iter().filter(|&&target| Some(target) != p.ignore_index).map(weight).sum()
}

/// The loss of each row, before any mean or sum, and `lse[r] = ln(sum of e^logits)`, which backward reads:
/// `(1 - s) * w[t] * (lse - logits[t]) + s / classes * sum over j of w[j] * (lse - logits[j])`.
/// Rows that are ignored have loss 0.
pub fn cross_entropy_forward<T: Float>(
    p: &CrossEntropy<'_, T>,
    logits: &[T],
    targets: &[i64],
    losses: &mut [T],
    lse: &mut [T],
) {
    let rows = targets.len();
    check(p, rows, logits.len());
    assert!(losses.len() == rows && lse.len() == rows, "a loss for each row");
    let (isa, group) = (Isa::current(), group(p.classes));
    let (losses, lse) = (SharedMut::new(losses), SharedMut::new(lse));
    parallel(rows.div_ceil(group), |i| {
        let (start, len) = (i * group, group.min(rows - i * group));
        // SAFETY: each task has rows of its own.
        let (losses, lse) = unsafe { (losses.slice(start, len), lse.slice(start, len)) };
        let logits = &logits[start * p.classes..(start + len) * p.classes];
        forward_rows(isa, p, logits, &targets[start..start + len], losses, lse);
    });
}

/// `dx = dy[r] * d loss[r] / d logits`, where `dy` has an element for each row, or one for all.
pub fn cross_entropy_backward<T: Float>(
    p: &CrossEntropy<'_, T>,
    logits: &[T],
    lse: &[T],
    targets: &[i64],
    dy: &[T],
    dx: &mut [T],
) {
    let rows = targets.len();
    check(p, rows, logits.len());
    assert!(lse.len() == rows && (dy.len() == rows || dy.len() == 1), "values of each row");
    assert_eq!(dx.len(), logits.len(), "the gradient has rows * classes elements");
    let (isa, group) = (Isa::current(), group(p.classes));
    parallel_chunks(dx, group * p.classes.max(1), |i, dx| {
        let rows = i * group..i * group + dx.len() / p.classes;
        let logits = &logits[rows.start * p.classes..rows.end * p.classes];
        let dy = if dy.len() == 1 { dy } else { &dy[rows.clone()] };
        backward_rows(isa, p, logits, &lse[rows.clone()], &targets[rows], dy, dx);
    });
}

fn check<T>(p: &CrossEntropy<'_, T>, rows: usize, logits: usize) {
    assert_eq!(logits, rows * p.classes, "the logits have rows * classes elements");
    assert!(p.weights.is_none_or(|weights| weights.len() == p.classes), "a weight for each class");
}

isa_fn! {
    fn forward_rows<T: Float>(
        p: &CrossEntropy<'_, T>, logits: &[T], targets: &[i64], losses: &mut [T], lse: &mut [T],
    ) {
        let (hard, soft) = shares(p);
        for (r, (row, &target)) in logits.chunks_exact(p.classes).zip(targets).enumerate() {
            let (max, sum) = max_and_log_sum(row);
            lse[r] = max + sum;
            if Some(target) == p.ignore_index {
                losses[r] = T::ZERO;
                continue;
            }
            let target = target as usize;
            // The logit's distance from the maximum is exact; from `lse` it would be rounded twice.
            let loss = |j: usize| p.weights.map_or(T::ONE, |weights| weights[j]) * (sum - (row[j] - max));
            losses[r] = loss(target);
            if p.label_smoothing != 0.0 {
                losses[r] = hard * loss(target) + soft * row_sum(p.classes, loss);
            }
        }
    }
}

/// The factors of the target's class and of every class.
#[inline(always)]
fn shares<T: Float>(p: &CrossEntropy<'_, T>) -> (T, T) {
    (T::from_f64(1.0 - p.label_smoothing), T::from_f64(p.label_smoothing / p.classes as f64))
}

isa_fn! {
    fn backward_rows<T: Float>(
        p: &CrossEntropy<'_, T>, logits: &[T], lse: &[T], targets: &[i64], dy: &[T], dx: &mut [T],
    ) {
        let (hard, soft) = shares(p);
        let total = p.weights.map_or(T::from_f64(p.classes as f64), |w| row_sum(p.classes, |j| w[j]));
        let rows = logits.chunks_exact(p.classes).zip(dx.chunks_exact_mut(p.classes));
        for (r, (row, dx)) in rows.enumerate() {
            if Some(targets[r]) == p.ignore_index {
                dx.fill(T::ZERO);
                continue;
            }
            if p.classes == 1 {
                // The class is certain: 0, which the rounding of the shares would not leave; NaN of what is not finite.
                dx[0] = (row[0] - lse[r]) * T::ZERO;
                continue;
            }
            let (target, dy, lse) = (targets[r] as usize, dy[if dy.len() == 1 { 0 } else { r }], lse[r]);
            let one = hard * p.weights.map_or(T::ONE, |weights| weights[target]);
            let (scale, spread) = (dy * (one + soft * total), dy * soft);
            match p.weights {
                Some(weights) if p.label_smoothing != 0.0 => {
                    for ((dx, x), weight) in dx.iter_mut().zip(row).zip(weights) {
                        *dx = (*x - lse).exp() * scale - *weight * spread;
                    }
                }
                _ => {
                    for (dx, x) in dx.iter_mut().zip(row) {
                        *dx = (*x - lse).exp() * scale - spread;
                    }
                }
            }
            dx[target] = dx[target] - dy * one;
        }
    }
}
