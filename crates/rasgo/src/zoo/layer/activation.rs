//! Activations of a model file that have options.

use rasgo_core::{Error, Result};

use super::options::options;
use crate::nn::{self, Function, Module};

options! {
    /// The slope of a leaky ReLU.
    LeakySpec {
        required {}
        optional {
            /// Below zero; 0.01 by default.
            negative_slope: f64,
        }
    }
    /// The number of a learned ReLU's slopes.
    PreluSpec {
        required {}
        optional {
            /// 1, the default, or as many as channels.
            num_parameters: usize,
        }
    }
    /// The option of an exponential unit.
    EluSpec {
        required {}
        optional {
            /// Minus the value far below zero; 1 by default.
            alpha: f64,
        }
    }
    /// The form of a GELU.
    GeluSpec {
        required {}
        optional {
            /// `"none"`, the default, or `"tanh"`.
            approximate: String,
        }
    }
    /// The bounds of a hard tanh.
    HardtanhSpec {
        required {}
        optional {
            /// The least value; -1 by default.
            min_val: f64,
            /// The largest value; 1 by default.
            max_val: f64,
        }
    }
    /// The options of a softplus.
    SoftplusSpec {
        required {}
        optional {
            /// Steepness; 1 by default.
            beta: f64,
            /// Where it is taken to be linear; 20 by default.
            threshold: f64,
        }
    }
}

fn activation(function: Function) -> Box<dyn Module> {
    Box::new(nn::Activation::new(function))
}

impl LeakySpec {
    pub(super) fn build(&self) -> Box<dyn Module> {
        activation(Function::LeakyReLU(self.negative_slope.unwrap_or(0.01)))
    }
}

impl PreluSpec {
    pub(super) fn build(&self) -> Box<dyn Module> {
        Box::new(nn::PReLU::new(self.num_parameters.unwrap_or(1)))
    }
}

impl EluSpec {
    pub(super) fn build(&self) -> Box<dyn Module> {
        activation(Function::ELU(self.alpha.unwrap_or(1.0)))
    }
}

impl GeluSpec {
    pub(super) fn build(&self) -> Result<Box<dyn Module>> {
        match self.approximate.as_deref() {
            None | Some("none") => Ok(Box::new(nn::GELU())),
            Some("tanh") => Ok(Box::new(nn::GELUTanh())),
            Some(other) => {
                Err(Error::config(format!("approximate {other:?}")).hint("give \"none\" or \"tanh\""))
            }
        }
    }
}

impl HardtanhSpec {
    pub(super) fn build(&self) -> Box<dyn Module> {
        activation(Function::Hardtanh(self.min_val.unwrap_or(-1.0), self.max_val.unwrap_or(1.0)))
    }
}

impl SoftplusSpec {
    pub(super) fn build(&self) -> Box<dyn Module> {
        let (beta, threshold) = (self.beta.unwrap_or(1.0), self.threshold.unwrap_or(20.0));
        activation(Function::Softplus { beta, threshold })
    }
}
