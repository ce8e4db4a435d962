//! Tensors, operations, and the records from which gradients follow.
//!
//! One mechanism: an operation runs at once; if one of its inputs needs a gradient it leaves a record. `backward`
//! walks the records. A tensor without values ([`Tensor::shape_only`]) goes through the same operations, for
//! summaries. See [`Tensor`] and [`op::Op`].

mod backward;
mod counters;
mod error;
mod meta;
pub mod op;
pub mod ops;
pub mod random;
pub mod reach;
mod record;
pub mod scope;
mod tensor;

pub use backward::{Gradients, grad};
pub use counters::{Counters, counters};
pub use error::{Error, ErrorKind, Result};
pub use meta::{DType, Element, Layout, Meta, Shape};
pub use op::{no_grad, observe};
pub use tensor::Tensor;

pub use rasgo_kernels::{Bf16, Isa, optim, peak, settings, threads};

/// The passes of a convolution as the kernels compute them, slices in, slices out, channels-last: for benchmarks.
pub mod conv_kernels {
    pub use rasgo_kernels::conv::{ConvProblem, forward, grad_input, grad_weight};
    pub use rasgo_kernels::{Buffer, Epilogue, Stored};
}

/// Gives the memory that the pool keeps back to the system, at the end of a phase of work.
pub fn trim_memory() {
    rasgo_kernels::buffer::trim();
}
