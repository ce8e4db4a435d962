//! Normalisations and dropout of a model file.

use rasgo_core::{Error, Result, Tensor};
use serde::{Deserialize, Serialize};

use super::axes::Kept;
use super::options::{options, with_values};
use crate::nn::{self, Module};

options! {
    /// The options of a batch normalisation.
    NormSpec {
        required {}
        optional {
            /// Added to the variance; 1e-5 by default.
            eps: f64,
            /// Share of the batch in the running statistics, 0.1 by default; `"none"`: the plain mean over all batches.
            momentum: Momentum,
            /// Whether there are weight and bias; true by default.
            affine: bool,
            /// Whether running statistics are kept; true by default.
            track_running_stats: bool,
        }
    }
    /// The options of an instance normalisation.
    InstanceNormSpec {
        required {}
        optional {
            /// Added to the variance; 1e-5 by default.
            eps: f64,
            /// Share of the batch in the running statistics; 0.1 by default.
            momentum: f64,
            /// Whether there are weight and bias; false by default.
            affine: bool,
            /// Whether running statistics are kept; false by default.
            track_running_stats: bool,
        }
    }
    /// The options of a group normalisation; `num_channels` follows from the input.
    GroupNormSpec {
        required {
            /// Groups; they divide the channels.
            num_groups: usize,
        }
        optional {
            /// Added to the variance; 1e-5 by default.
            eps: f64,
            /// Whether there are weight and bias; true by default.
            affine: bool,
        }
    }
    /// The options of a layer normalisation.
    LayerNormSpec {
        required {}
        optional {
            /// The last axes; all but the batch by default.
            normalized_shape: Vec<usize>,
            /// Added to the variance; 1e-5 by default.
            eps: f64,
            /// Whether there are weight and bias; true by default.
            elementwise_affine: bool,
            /// Whether there is a bias beside the weight; true by default.
            bias: bool,
        }
    }
    /// The probability of a dropout.
    DropoutSpec {
        required {}
        optional {
            /// Probability of zero; 0.5 by default.
            p: f64,
        }
    }
}

/// How much a batch counts in running statistics.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "give a share from 0 to 1, or \"none\" for the plain mean")]
pub enum Momentum {
    /// That share.
    Share(f64),
    /// As much as each batch before it.
    Mean(Kept),
}

impl NormSpec {
    pub(super) fn build<const D: usize>(&self, channels: usize) -> Box<dyn Module> {
        let mut layer = nn::BatchNorm::<D>::new(channels);
        match self.momentum {
            Some(Momentum::Share(share)) => layer = layer.momentum(share),
            Some(Momentum::Mean(Kept::None)) => layer = layer.momentum(None),
            None => {}
        }
        Box::new(with_values!(layer, self, eps affine track_running_stats))
    }
}

impl InstanceNormSpec {
    pub(super) fn build<const D: usize>(&self, channels: usize) -> Box<dyn Module> {
        let layer = nn::InstanceNorm::<D>::new(channels);
        Box::new(with_values!(layer, self, eps momentum affine track_running_stats))
    }
}

impl GroupNormSpec {
    pub(super) fn build(&self, channels: usize) -> Box<dyn Module> {
        let layer = nn::GroupNorm::new(self.num_groups, channels);
        Box::new(with_values!(layer, self, eps affine))
    }
}

impl LayerNormSpec {
    pub(super) fn build(&self, x: &Tensor) -> Box<dyn Module> {
        let shape = self.normalized_shape.clone().unwrap_or_else(|| x.shape()[1..].to_vec());
        let layer = nn::LayerNorm::new(shape);
        Box::new(with_values!(layer, self, eps elementwise_affine bias))
    }
}

impl DropoutSpec {
    /// The probability.
    pub(super) fn p(&self) -> Result<f64> {
        let p = self.p.unwrap_or(0.5);
        match (0.0..=1.0).contains(&p) {
            true => Ok(p),
            false => Err(Error::config(format!("p {p} is not in 0..1"))),
        }
    }
}
