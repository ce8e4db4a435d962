//! Files: the one place that writes them, and the formats that are read and written.
//!
//! - [`Disk`]: every write of rasgo; a file is written whole or not at all.
//! - [`safetensors`]: weights and other named tensors.
//! - [`npy`] and [`npz`]: NumPy's arrays.
//! - [`image_file`]: pictures from files to tensors.
//! - [`pixels`]: pictures in memory to tensors and back, by the order of their bytes.
//! - [`Hash64`]: the hash of weights and data sets.

pub mod disk;
pub mod disk_file;
mod element_bytes;
mod float16;
mod hash;
pub mod image_file;
mod image_pixels;
pub mod npy;
mod npy_header;
pub mod npz;
mod picture_end;
pub mod pixels;
mod png_file;
mod read;
pub mod safetensors;
mod safetensors_header;
mod sniff;

/// The version of the `image` crate whose types [`pixels`] takes and gives.
pub use image;

pub use disk::Disk;
pub use disk_file::FileWriter;
pub use hash::Hash64;
pub use image_file::{ImageOptions, ResizeRule, decode_image, read_image};
pub use npz::Npz;
pub use png_file::{png_bytes, write_png};
pub use safetensors::{Loaded, weights_hash};

pub(crate) use element_bytes::{Array, for_each_piece};
pub(crate) use read::{first_of, open_file, read_whole};
pub(crate) use sniff::looks_like;
