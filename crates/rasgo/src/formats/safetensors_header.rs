//! The header of a safetensors file: eight bytes of length, then JSON with names, dtypes, shapes and offsets.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::io::Read;
use std::path::Path;

use rasgo_core::{Error, Result, Tensor};
use safetensors::tensor::{Metadata, TensorInfo};
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

use super::element_bytes::{dtype_in_file, dtype_of};
use super::looks_like;

/// The longest header that is read, the limit of the reference implementation.
const MAX_HEADER: u64 = 100_000_000;

/// The name in the header under which the metadata stand.
const METADATA: &str = "__metadata__";

/// What a header says: tensors in the order of their bytes, and the metadata.
pub(super) struct Header {
    pub(super) tensors: Vec<(String, TensorInfo)>,
    pub(super) metadata: BTreeMap<String, String>,
}

/// Reads and checks the header of a file of `length` bytes; the reader stands at the first value afterwards.
pub(super) fn read(file: &mut impl Read, length: u64, path: &Path) -> Result<Header> {
    let mut size = [0; 8];
    if length < 8 {
        let mut start = Vec::new();
        file.read_to_end(&mut start).map_err(|source| Error::io(path, source))?;
        return Err(damaged(path, &start, format!("has {length} bytes, too few for a header")));
    }
    file.read_exact(&mut size).map_err(|source| Error::io(path, source))?;
    let size = u64::from_le_bytes(size);
    let room = length - 8;
    if size > MAX_HEADER || size > room {
        let mut start = size.to_le_bytes().to_vec();
        file.take(500).read_to_end(&mut start).map_err(|source| Error::io(path, source))?;
        let message = format!("its first 8 bytes announce a header of {size} bytes, but {room} follow");
        return Err(damaged(path, &start, message));
    }
    let mut json = vec![0; size as usize];
    file.read_exact(&mut json).map_err(|source| Error::io(path, source))?;
    let header = parse(&json).map_err(|message| damaged(path, &json, message))?;
    let end = header.tensors.last().map_or(0, |(_, info)| info.data_offsets.1 as u64);
    if end != room - size {
        let found = room - size;
        let what = if found < end { "truncated" } else { "followed by something else" };
        return Err(Error::format(
            path,
            format!("holds {found} bytes of values where the header tells of {end}"),
        )
        .hint(format!("the file is {what}; copy or download it again")));
    }
    Ok(header)
}

fn parse(json: &[u8]) -> Result<Header, String> {
    let text = std::str::from_utf8(json).map_err(|_| "its header is no text".to_string())?;
    if let Some(name) = first_duplicate(text)? {
        return Err(format!("its header has the name {name:?} twice"));
    }
    let metadata: Metadata = serde_json::from_str(text).map_err(|e| format!("its header is wrong: {e}"))?;
    let mut tensors: Vec<(String, TensorInfo)> =
        metadata.tensors().into_iter().map(|(name, info)| (name, info.clone())).collect();
    // An empty tensor begins where the next one does; the name decides, so that the order is always the same.
    tensors.sort_by(|a, b| (a.1.data_offsets, &a.0).cmp(&(b.1.data_offsets, &b.0)));
    for (name, info) in &tensors {
        if dtype_of(info.dtype).is_none() {
            return Err(format!(
                "tensor {name} has the element type {:?}, which is not supported",
                info.dtype
            ));
        }
        // The crate's own check stops at a size of 0, after which any others pass.
        if info.shape.iter().try_fold(1usize, |product, &size| product.checked_mul(size.max(1))).is_none() {
            return Err(format!("tensor {name} has the shape {:?}, which is too large", info.shape));
        }
    }
    let metadata = metadata.metadata().clone().unwrap_or_default().into_iter().collect();
    Ok(Header { tensors, metadata })
}

fn damaged(path: &Path, start: &[u8], message: String) -> Error {
    let error = Error::format(path, format!("is no valid safetensors file: {message}"));
    match looks_like(start) {
        "a file of an unknown kind" | "a text" => {
            error.hint("the file is truncated, damaged or of another kind")
        }
        kind => error.hint(format!("it seems to be {kind}")),
    }
}

/// The first name that an object has twice: parsers keep the last and say nothing.
fn first_duplicate(json: &str) -> Result<Option<String>, String> {
    struct Names;
    impl<'de> Visitor<'de> for Names {
        type Value = Option<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object of tensors by name")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut seen = HashSet::new();
            let mut duplicate = None;
            while let Some((name, IgnoredAny)) = map.next_entry::<String, IgnoredAny>()? {
                if !seen.insert(name.clone()) {
                    duplicate.get_or_insert(name);
                }
            }
            Ok(duplicate)
        }
    }
    let mut parser = serde_json::Deserializer::from_str(json);
    parser
        .deserialize_map(Names)
        .and_then(|found| parser.end().map(|()| found))
        .map_err(|e| format!("its header is no JSON object: {e}"))
}

/// The bytes of a header for these tensors, and the order in which their values follow: larger elements first, so
/// that all are aligned, then by name, as the reference implementation has it.
pub(super) fn write(
    tensors: &[(String, Tensor)],
    metadata: &BTreeMap<String, String>,
) -> Result<(Vec<u8>, Vec<usize>)> {
    let mut order: Vec<usize> = (0..tensors.len()).collect();
    order.sort_by(|&a, &b| {
        let key = |i: usize| (std::cmp::Reverse(tensors[i].1.dtype().size()), &tensors[i].0);
        key(a).cmp(&key(b))
    });
    let mut entries = Vec::new();
    if !metadata.is_empty() {
        entries.push(format!("{}:{}", quoted(METADATA), serde_json::json!(metadata)));
    }
    let mut names = HashSet::new();
    let mut start = 0;
    for &i in &order {
        let (name, tensor) = &tensors[i];
        if name == METADATA || !names.insert(name) {
            let what = if name == METADATA { "is reserved" } else { "is there twice" };
            return Err(Error::argument(format!("the tensor name {name:?} {what}")));
        }
        let Some(dtype) = dtype_in_file(tensor.dtype()) else {
            return Err(Error::argument(format!("tensor {name} of {} cannot be written", tensor.dtype())));
        };
        let end = start + tensor.meta().bytes();
        entries.push(format!(
            "{}:{{\"dtype\":\"{dtype:?}\",\"shape\":{},\"data_offsets\":[{start},{end}]}}",
            quoted(name),
            serde_json::json!(&tensor.shape()[..])
        ));
        start = end;
    }
    let mut json = format!("{{{}}}", entries.join(",")).into_bytes();
    json.resize(json.len().next_multiple_of(8), b' ');
    let mut header = (json.len() as u64).to_le_bytes().to_vec();
    header.extend_from_slice(&json);
    Ok((header, order))
}

fn quoted(text: &str) -> String {
    serde_json::json!(text).to_string()
}
