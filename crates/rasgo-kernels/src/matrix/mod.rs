//! Products of matrices of bfloat16, summed in `f32`.

#[cfg(target_arch = "x86_64")]
pub(crate) mod amx;
