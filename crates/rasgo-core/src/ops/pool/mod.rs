//! Max, average and adaptive pooling in 1, 2 and 3 dimensions, and max unpooling.
//!
//! ```text
//! out = floor((in + 2 padding - dilation (kernel - 1) - 1) / stride) + 1     (ceil with ceil_mode)
//! ```
//! With `ceil_mode` the last window must still begin inside the input or its leading padding.
//!
//! All of them are linear in the values that they take, so their gradients are maps of the same families: a max pooling
//! sends each gradient to the place of its maximum, and the gradient of that picks from these places.

mod adaptive;
mod avg;
mod max;
mod plane;
#[cfg(test)]
mod tests;
mod unpool;

pub use avg::AvgPoolOptions;
pub use max::MaxPoolOptions;
pub use unpool::MaxUnpoolOptions;

use crate::error::{Error, Result};
use crate::meta::Shape;

/// Which of the three names of an operation is right for (N, C, …) of that shape.
fn name_of(names: [&'static str; 3], x: &Shape) -> &'static str {
    names[x.len().clamp(3, 5) - 3]
}

/// Checks (N, C, …): 1 to 3 spatial axes, and nothing empty but the batch.
fn expect_maps(x: &Shape) -> Result<()> {
    let rank = x.len();
    if !(3..=5).contains(&rank) {
        return Err(Error::shape(format!("input {x} has {rank} axes"))
            .hint("give (N, C, L), (N, C, H, W) or (N, C, D, H, W); add the batch axis with .reshape"));
    }
    if x[1..].contains(&0) {
        return Err(
            Error::shape(format!("input {x} has an empty axis")).hint("only the batch, axis 0, may be empty")
        );
    }
    Ok(())
}

/// (N, C, …) with other spatial sizes, the last of `sizes`.
fn with_spatial(x: &Shape, sizes: [usize; 3]) -> Shape {
    x[..2].iter().chain(&sizes[5 - x.len()..]).copied().collect()
}
