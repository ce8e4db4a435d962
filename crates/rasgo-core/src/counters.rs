//! Public counters of work that a good step does not do.

use std::sync::atomic::{AtomicU64, Ordering};

static COPIES: AtomicU64 = AtomicU64::new(0);
static LAYOUT_COPIES: AtomicU64 = AtomicU64::new(0);

/// What this process has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Buffers handed out from those that the pool kept.
    pub pool_hits: u64,
    /// Buffers that had to be asked from the system.
    pub pool_misses: u64,
    /// Tensors copied because somebody else held the same values, or because of a narrowing or a permutation.
    pub copies: u64,
    /// Tensors copied from one layout to the other.
    pub layout_copies: u64,
}

/// Reads the counters.
pub fn counters() -> Counters {
    let pool = rasgo_kernels::buffer::counters();
    Counters {
        pool_hits: pool.hits,
        pool_misses: pool.misses,
        copies: COPIES.load(Ordering::Relaxed),
        layout_copies: LAYOUT_COPIES.load(Ordering::Relaxed),
    }
}

pub(crate) fn count_copy() {
    COPIES.fetch_add(1, Ordering::Relaxed);
}

pub(crate) fn count_layout_copy() {
    LAYOUT_COPIES.fetch_add(1, Ordering::Relaxed);
}
