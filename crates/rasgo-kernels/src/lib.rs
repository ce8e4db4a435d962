//! CPU kernels: slices in, slices out.
//!
//! This crate knows no tensors. It holds the thread pool ([`threads`]), the buffer pool ([`buffer`]), the
//! choice of instruction set ([`isa`]) and the kernels by family. All `unsafe` code of rasgo is here.
//!
//! Activations are channels-last: a map of `n` images, `h` rows, `w` columns and `c` channels is the matrix
//! `[n*h*w, c]`, row-major. Every kernel gives the same bits at any number of threads: work is cut by the
//! problem, never by the threads, and sums have a fixed order.

pub mod bf16;
pub mod buffer;
pub mod epilogue;
pub mod float;
pub mod isa;
pub mod settings;
pub mod threads;

pub use bf16::{Bf16, Stored};
pub use buffer::Buffer;
pub use epilogue::{Activation, Epilogue};
pub use float::Float;
pub use isa::Isa;

pub mod conv;
pub mod elementwise;
pub mod gemm;
pub mod loss;
pub mod movement;
pub mod norm;
pub mod optim;
pub mod peak;
pub mod pool;
pub mod reduce;
pub mod resample;
pub mod softmax;
pub mod transpose;
pub mod unfold;

#[cfg(test)]
mod checks;
mod rows;
mod simd;
mod transcendental;
