//! The training loop, and what it leaves behind.

mod checkpoint;
mod config;
mod evaluate;
mod observer;
mod precision;
mod saved_model;
mod session;
mod trainer;
mod views;
mod weight_mean;

pub use config::{AugmentConfig, TrainConfig};
pub use evaluate::{Evaluation, Mistake, evaluate, evaluate_by};
pub use observer::{EpochMetrics, Observer, Outcome, Progress, Setup, Silent};
pub use precision::Precision;
pub use saved_model::{ModelInfo, SavedModel};
pub use trainer::Trainer;
pub use views::Views;
