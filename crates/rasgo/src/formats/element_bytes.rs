//! Tensors to and from the bytes of files, in pieces: a second copy of all values is never held. Little-endian bytes
//! are written; both orders are read.

use std::io::{self, Read};

use rasgo_core::{Bf16, DType, Element, Error, ErrorKind, Result, Shape, Tensor};
use safetensors::Dtype;

use super::float16::from_f16;

/// An array as a file has it.
#[derive(Debug)]
pub(crate) struct Array {
    pub(crate) tensor: Tensor,
    /// Whether its elements are truth values: in memory they are bytes as all others, 0 and 1.
    pub(crate) is_bool: bool,
}

/// The size of a piece; a multiple of every element's.
const PIECE: usize = 1 << 16;

/// Which byte of an element comes first in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ByteOrder {
    /// The least.
    Little,
    /// The greatest.
    Big,
}

/// Gives the little-endian bytes of a tensor, in row-major order, to `take`, piece by piece.
pub(crate) fn for_each_piece(tensor: &Tensor, take: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let plain = tensor.clone().to_plain();
    match plain.dtype() {
        DType::F32 => encode(plain.as_slice()?, f32::to_le_bytes, take),
        DType::F64 => encode(plain.as_slice()?, f64::to_le_bytes, take),
        DType::Bf16 => encode(plain.as_slice()?, Bf16::to_le_bytes, take),
        DType::I64 => encode(plain.as_slice()?, i64::to_le_bytes, take),
        DType::U8 => encode(plain.as_slice()?, u8::to_le_bytes, take),
        other => Err(Error::new(ErrorKind::DType, format!("tensors of {other} cannot be written"))),
    }
}

fn encode<T: Element, const N: usize>(
    values: &[T],
    to_bytes: impl Fn(T) -> [u8; N],
    mut take: impl FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let mut piece = vec![0; PIECE];
    for part in values.chunks(PIECE / N) {
        let bytes = &mut piece[..part.len() * N];
        for (slot, &value) in bytes.as_chunks_mut::<N>().0.iter_mut().zip(part) {
            *slot = to_bytes(value);
        }
        take(bytes)?;
    }
    Ok(())
}

/// The dtype of a file's element type in memory, if rasgo reads it.
pub(super) fn dtype_of(dtype: Dtype) -> Option<DType> {
    Some(match dtype {
        Dtype::F32 | Dtype::F16 | Dtype::BF16 => DType::F32,
        Dtype::F64 => DType::F64,
        Dtype::I64 | Dtype::I32 | Dtype::I16 | Dtype::I8 => DType::I64,
        Dtype::U64 | Dtype::U32 | Dtype::U16 => DType::I64,
        Dtype::U8 | Dtype::BOOL => DType::U8,
        _ => return None,
    })
}

/// The element type in a file of a dtype in memory.
pub(super) fn dtype_in_file(dtype: DType) -> Option<Dtype> {
    Some(match dtype {
        DType::F32 => Dtype::F32,
        DType::F64 => Dtype::F64,
        DType::Bf16 => Dtype::BF16,
        DType::I64 => Dtype::I64,
        DType::U8 => Dtype::U8,
        _ => return None,
    })
}

/// Reads the values of a tensor whose elements lie in the file as `dtype`, one for which [`dtype_of`] has an answer.
///
/// # Errors
/// `InvalidData` for a `U64` that no i64 holds, and a `BOOL` other than 0 and 1; `OutOfMemory` for more values than the
/// system gives memory for; whatever reading meets.
pub(super) fn read_tensor(
    file: &mut impl Read,
    dtype: Dtype,
    order: ByteOrder,
    shape: &[usize],
) -> io::Result<Tensor> {
    let shape: Shape = shape.iter().copied().collect();
    let (mut too_large, mut untrue) = (None, None);
    let tensor = match dtype {
        Dtype::F32 => decode(file, order, shape, f32::from_le_bytes),
        Dtype::F16 => decode(file, order, shape, |bytes| from_f16(u16::from_le_bytes(bytes))),
        Dtype::BF16 => decode(file, order, shape, |bytes| Bf16::from_le_bytes(bytes).to_f32()),
        Dtype::F64 => decode(file, order, shape, f64::from_le_bytes),
        Dtype::I64 => decode(file, order, shape, i64::from_le_bytes),
        Dtype::I32 => decode(file, order, shape, |bytes| i64::from(i32::from_le_bytes(bytes))),
        Dtype::I16 => decode(file, order, shape, |bytes| i64::from(i16::from_le_bytes(bytes))),
        Dtype::I8 => decode(file, order, shape, |bytes| i64::from(i8::from_le_bytes(bytes))),
        Dtype::U64 => decode(file, order, shape, |bytes| {
            let value = u64::from_le_bytes(bytes);
            i64::try_from(value).unwrap_or_else(|_| {
                too_large.get_or_insert(value);
                0
            })
        }),
        Dtype::U32 => decode(file, order, shape, |bytes| i64::from(u32::from_le_bytes(bytes))),
        Dtype::U16 => decode(file, order, shape, |bytes| i64::from(u16::from_le_bytes(bytes))),
        Dtype::U8 => decode(file, order, shape, u8::from_le_bytes),
        Dtype::BOOL => decode(file, order, shape, |[byte]| {
            if byte > 1 {
                untrue.get_or_insert(byte);
            }
            byte
        }),
        _ => Err(io::Error::from(io::ErrorKind::Unsupported)),
    }?;
    let wrong = |text: String| Err(io::Error::new(io::ErrorKind::InvalidData, text));
    match (too_large, untrue) {
        (Some(value), _) => wrong(format!("it holds {value}, and whole numbers are read up to {}", i64::MAX)),
        (_, Some(byte)) => wrong(format!("it holds the truth value {byte}, and they are 0 and 1")),
        _ => Ok(tensor),
    }
}

/// The error of reading values, with what `otherwise` makes of one that is not about memory.
pub(super) fn read_error(source: io::Error, otherwise: impl FnOnce(io::Error) -> Error) -> Error {
    match source.kind() {
        io::ErrorKind::OutOfMemory => Error::new(ErrorKind::Memory, source.to_string()),
        _ => otherwise(source),
    }
}

fn decode<T: Element, const N: usize>(
    file: &mut impl Read,
    order: ByteOrder,
    shape: Shape,
    mut from_bytes: impl FnMut([u8; N]) -> T,
) -> io::Result<Tensor> {
    let mut result = Ok(());
    let tensor = Tensor::try_from_fn(shape, |values: &mut [T]| {
        let mut piece = vec![0; PIECE];
        for part in values.chunks_mut(PIECE / N) {
            let bytes = &mut piece[..part.len() * N];
            result = file.read_exact(bytes);
            if result.is_err() {
                return;
            }
            for (value, slot) in part.iter_mut().zip(bytes.as_chunks_mut::<N>().0) {
                if order == ByteOrder::Big {
                    slot.reverse();
                }
                *value = from_bytes(*slot);
            }
        }
    });
    let tensor = tensor.map_err(|error| io::Error::new(io::ErrorKind::OutOfMemory, error.to_string()))?;
    result.map(|()| tensor)
}
