//! Products of bfloat16 in tiles (AMX).

/// Whether the processor has the tiles, and the system gives them to this process.
pub(crate) fn is_usable() -> bool {
    false
}
