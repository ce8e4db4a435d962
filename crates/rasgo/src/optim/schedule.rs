//! Learning-rate schedules.

use serde::{Deserialize, Serialize};

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
    /// The factor at a step of a run; the first `warmup` share of it rises in a line from 1/25 to 1. A warm-up outside 0..=1
    /// is no share: the factor is NaN, a learning rate that [`Optimizer::step`](super::Optimizer::step) refuses.
    pub fn factor(self, step: u64, steps: u64, warmup: f64) -> f64 {
        if !(0.0..=1.0).contains(&warmup) {
            return f64::NAN;
        }
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

    #[test]
    fn schedules_begin_and_end_where_they_say() {
        assert!((Schedule::OneCycle.factor(0, 100, 0.25) - 0.04).abs() < 1e-12);
        assert!((Schedule::OneCycle.factor(25, 100, 0.25) - 1.0).abs() < 1e-12);
        assert!(Schedule::Cosine.factor(99, 100, 0.0) < 0.001);
        assert_eq!(Schedule::Constant.factor(70, 100, 0.0), 1.0);
    }

    #[test]
    fn a_warm_up_that_is_no_share_has_no_factor() {
        // Steps in the place of a share would have warmed up for ever.
        for warmup in [100.0, -0.1, f64::NAN] {
            assert!(Schedule::Linear.factor(0, 1000, warmup).is_nan());
        }
        assert_eq!(Schedule::Linear.factor(50, 100, 1.0), 0.04 + 0.96 * 0.5);
    }
}
