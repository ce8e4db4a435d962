//! The training loop, and what it leaves behind.

mod checkpoint;
mod config;
mod evaluate;
mod run;
mod saved_model;

pub use config::{AugmentConfig, TrainConfig};
pub use evaluate::{Evaluation, evaluate};
pub use run::{EpochMetrics, Observer, Outcome, Progress, Silent, resume, run};
pub use saved_model::SavedModel;
