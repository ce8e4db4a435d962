//! Named tensors in one file: weights, and whatever else has names and values.
//!
//! The format: [safetensors](https://github.com/huggingface/safetensors). The same tensors and metadata give the
//! same bytes, whatever order they are passed in.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufReader};
use std::path::Path;

use rasgo_core::{Error, Result, Tensor};
use safetensors::Dtype;

use super::element_bytes::{Array, ByteOrder, for_each_piece, read_error, read_tensor};
use super::{Disk, Hash64, open_file, safetensors_header};

/// What [`load`] has read.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The tensors, sorted by name.
    pub tensors: Vec<(String, Tensor)>,
    /// The texts that stand beside them.
    pub metadata: BTreeMap<String, String>,
    /// The names of those whose elements were truth values.
    bools: BTreeSet<String>,
}

impl Loaded {
    /// The tensor of that name.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        let at = self.tensors.binary_search_by(|(other, _)| other.as_str().cmp(name)).ok()?;
        Some(&self.tensors[at].1)
    }

    /// The tensor of that name, with what it does not tell.
    pub(crate) fn find(&self, name: &str) -> Option<Array> {
        let tensor = self.get(name)?.clone();
        Some(Array { tensor, is_bool: self.bools.contains(name) })
    }
}

/// Writes tensors and texts to a file, whole or not at all. The values go out piece by piece, not through a copy.
///
/// ```
/// use rasgo::formats::{Disk, safetensors};
/// use rasgo_core::Tensor;
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("model.safetensors");
/// let weight = Tensor::from_vec(vec![1.0f32, -2.0, 0.5], [3, 1])?;
/// let about = [("epoch".to_string(), "3".to_string())].into();
/// safetensors::save(&Disk::default(), &path, &[("fc.weight".to_string(), weight)], &about)?;
///
/// let loaded = safetensors::load(&path)?;
/// assert_eq!(loaded.get("fc.weight").unwrap().to_vec::<f32>()?, [1.0, -2.0, 0.5]);
/// assert_eq!(loaded.metadata["epoch"], "3");
/// # Ok::<(), rasgo_core::Error>(())
/// ```
///
/// # Errors
/// A name that is used twice or reserved; a tensor without values; [`ErrorKind::Io`](rasgo_core::ErrorKind::Io).
pub fn save(
    disk: &Disk,
    path: impl AsRef<Path>,
    tensors: &[(String, Tensor)],
    metadata: &BTreeMap<String, String>,
) -> Result<()> {
    let path = path.as_ref();
    let (header, order) = safetensors_header::write(tensors, metadata).map_err(|e| e.file(path))?;
    disk.write_whole(path, |file| {
        file.put(&header)?;
        for i in order {
            let (name, tensor) = &tensors[i];
            for_each_piece(tensor, |piece| file.put(piece)).map_err(|e| e.layer(name).file(path))?;
        }
        Ok(())
    })
}

/// Reads a file of tensors. `F16` and `BF16` become f32, other integers i64, `BOOL` u8 of 0 and 1: no value changes, and what
/// is lost is that they were truth values.
///
/// # Errors
/// [`ErrorKind::Format`](rasgo_core::ErrorKind::Format) if the file is empty, truncated, something else, or has a
/// header that contradicts itself or the length of the file, or another element type;
/// [`ErrorKind::Io`](rasgo_core::ErrorKind::Io); [`ErrorKind::Memory`](rasgo_core::ErrorKind::Memory) where the values
/// need more than the system gives. At most eight times the file is allocated: an 8-bit integer becomes 64 bits.
pub fn load(path: impl AsRef<Path>) -> Result<Loaded> {
    let path = path.as_ref();
    let (file, length) = open_file(path)?;
    let mut file = BufReader::with_capacity(1 << 16, file);
    let header = safetensors_header::read(&mut file, length, path)?;
    let mut tensors = Vec::with_capacity(header.tensors.len());
    let mut bools = BTreeSet::new();
    for (name, info) in header.tensors {
        let tensor =
            read_tensor(&mut file, info.dtype, ByteOrder::Little, &info.shape).map_err(|source| {
                read_error(source, |source| match source.kind() {
                    io::ErrorKind::InvalidData => Error::format(path, source.to_string()),
                    _ => Error::io(path, source),
                })
                .file(path)
                .layer(&name)
            })?;
        if info.dtype == Dtype::BOOL {
            bools.insert(name.clone());
        }
        tensors.push((name, tensor));
    }
    tensors.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(Loaded { tensors, metadata: header.metadata, bools })
}

/// The hash of weights, 16 hexadecimal digits: [`Hash64`] over the number of tensors and, sorted by name, the name,
/// dtype, shape and row-major bytes of each. It does not depend on the order they are passed in, nor on the layout.
///
/// # Errors
/// A tensor without values.
pub fn weights_hash(tensors: &[(String, Tensor)]) -> Result<String> {
    let mut sorted: Vec<&(String, Tensor)> = tensors.iter().collect();
    sorted.sort_by(|a, b| a.0.cmp(&b.0));
    let mut hash = Hash64::new();
    hash.write_number(sorted.len() as u64);
    for (name, tensor) in sorted {
        hash.write_text(name);
        hash.write_text(tensor.dtype().name());
        hash.write_number(tensor.shape().len() as u64);
        tensor.shape().iter().for_each(|&size| hash.write_number(size as u64));
        for_each_piece(tensor, |piece| {
            hash.write(piece);
            Ok(())
        })
        .map_err(|e| e.layer(name))?;
    }
    Ok(format!("{:016x}", hash.finish()))
}
