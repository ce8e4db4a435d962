//! Convolutional networks: train them, look at them, run them, on the CPU.
//!
//! ```no_run
//! use rasgo::prelude::*;
//!
//! let config = TrainConfig { epochs: 1, ..TrainConfig::default() };
//! let outcome = Trainer::new().run(&config, "runs/first", &mut train::Silent)?;
//! println!("{:.2} % of the test digits", 100.0 * outcome.test.unwrap().accuracy);
//! # Ok::<(), rasgo::Error>(())
//! ```
//!
//! Layers are in [`nn`], models in [`zoo`], data sets in [`data`], the training loop in [`train`]. Tensors and their
//! operations come from `rasgo-core`.

// The derive names this crate by its name, also inside it.
extern crate self as rasgo;

pub mod data;
pub mod formats;
pub mod init;
pub mod nn;
pub mod optim;
mod text_file;
pub mod train;
pub mod zoo;

pub use rasgo_core::{
    Bf16, Counters, DType, Element, Error, ErrorKind, Gradients, Isa, Layout, Meta, Result, Shape, Tensor,
    conv_kernels, counters, grad, no_grad, observe, ops, peak, random, reach, settings, threads, trim_memory,
};

pub use rasgo_core::random::manual_seed;

/// What most programs use.
pub mod prelude {
    pub use crate::data::{self, Dataset, Loader, LoaderOptions, Sample};
    pub use crate::nn::{self, Module, ModuleExt};
    pub use crate::optim::{self, Optimizer};
    pub use crate::train::{self, TrainConfig, Trainer};
    pub use crate::zoo;
    pub use crate::{DType, Error, Result, Shape, Tensor, manual_seed, no_grad};
}

/// The one of `names` that is nearest to a mistyped name, if one is near.
pub fn nearest<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = name.to_lowercase();
    let best = names
        .into_iter()
        .map(|near| (strsim::damerau_levenshtein(&lower, &near.to_lowercase()), near))
        .min()?;
    (best.0 <= 2.max(name.len() / 3)).then_some(best.1)
}

/// The README's code is compiled and run with the other examples.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
