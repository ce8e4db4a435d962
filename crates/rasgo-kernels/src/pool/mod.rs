//! Pooling of channels-last maps in one, two and three dimensions.
//!
//! Forward computes each output pixel from its window; backward gathers: each input pixel adds, in rising order,
//! what the windows that cover it pass on. So no two tasks write the same place, overlapping windows add in a
//! fixed order, and nothing depends on the rest of the batch.

mod adaptive;
mod avg;
mod max;
mod max_grad;
pub(crate) mod max_vector;
mod plane;
mod positions;
mod problem;
#[cfg(test)]
mod tests;
pub(crate) mod windows;

pub use adaptive::{AdaptiveProblem, adaptive_avg_backward, adaptive_avg_forward, adaptive_max_forward};
pub use avg::{AvgOptions, avg_backward, avg_forward};
pub use max::{max_forward, max_forward_flat};
pub use max_grad::max_backward;
pub use plane::{PlaneProblem, gather, scatter, scatter_last};
pub use positions::{Position, window_to_flat_indices};
pub use problem::PoolProblem;
