//! One array in a file: NumPy's `.npy`.
//!
//! The format: [numpy.lib.format](https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html), versions 1
//! to 3. Nothing is ever unpickled: an array of Python objects is refused.

use std::io::{self, BufReader, Read};
use std::path::Path;

use rasgo_core::{DType, Element, Error, ErrorKind, Result, Tensor};
use safetensors::Dtype;

use super::element_bytes::{Array, ByteOrder, dtype_in_file, for_each_piece, read_error, read_tensor};
use super::npy_header::{self, Elements, Header};
use super::{Disk, open_file};

/// Reads an array. `f2` becomes f32, integers other than `u1` i64, `b1` u8 of 0 and 1: no value changes, and what is lost is
/// that they were truth values. Both byte orders and both orders of the axes are read.
///
/// # Errors
/// [`ErrorKind::Format`] if the file is empty, truncated, something else, has a header that contradicts itself or the
/// length of the file, or elements that are no numbers; [`ErrorKind::Io`]; [`ErrorKind::Memory`] where
/// the values need more than the system gives. At most eight times the file is allocated: `i1` becomes 64 bits.
pub fn load(path: impl AsRef<Path>) -> Result<Tensor> {
    Ok(load_array(path.as_ref())?.tensor)
}

/// As [`load`], with what the tensor does not tell.
pub(crate) fn load_array(path: &Path) -> Result<Array> {
    let (file, length) = open_file(path)?;
    read(&mut BufReader::with_capacity(1 << 16, file), length, &|message| {
        Error::format(path, format!("is no valid array: {message}"))
    })
    .map_err(|error| error.file(path))
}

/// Writes a tensor, whole or not at all, in row-major order.
///
/// ```
/// use rasgo::formats::{Disk, npy};
/// use rasgo_core::Tensor;
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("x.npy");
/// let x = Tensor::from_vec(vec![1.0f32, -2.0, 0.5], [3, 1])?;
/// npy::save(&Disk::default(), &path, &x)?;
/// assert_eq!(npy::load(&path)?.to_vec::<f32>()?, [1.0, -2.0, 0.5]);
/// # Ok::<(), rasgo_core::Error>(())
/// ```
///
/// # Errors
/// A tensor without values or of a dtype that NumPy does not have; [`ErrorKind::Io`].
pub fn save(disk: &Disk, path: impl AsRef<Path>, tensor: &Tensor) -> Result<()> {
    let path = path.as_ref();
    let Some(dtype) = dtype_in_file(tensor.dtype()).filter(|&dtype| dtype != Dtype::BF16) else {
        return Err(Error::new(ErrorKind::DType, format!("a tensor of {}", tensor.dtype()))
            .file(path)
            .hint("convert it with .to_dtype(DType::F32)"));
    };
    disk.write_whole(path, |file| {
        file.put(&npy_header::write(dtype, tensor.shape()))?;
        for_each_piece(tensor, |piece| file.put(piece)).map_err(|error| error.file(path))
    })
}

/// Reads an array of numbers that fills `length` bytes. `wrong` makes an error of what is wrong.
pub(super) fn read(mut file: &mut dyn Read, length: u64, wrong: &dyn Fn(String) -> Error) -> Result<Array> {
    let header = npy_header::read(&mut file, length).map_err(wrong)?;
    let Elements::Numbers(dtype) = header.elements else {
        return Err(wrong("its elements are texts, and numbers are needed".to_string()));
    };
    let is_bool = dtype == Dtype::BOOL;
    let mut values = |shape: &[usize]| {
        read_tensor(&mut file, dtype, header.order, shape)
            .map_err(|error| read_error(error, |error| wrong(of_reading(&error))))
    };
    if !header.fortran {
        return Ok(Array { tensor: values(&header.shape)?, is_bool });
    }
    let reversed: Vec<usize> = header.shape.iter().rev().copied().collect();
    let tensor = values(&reversed)?;
    let tensor = match tensor.dtype() {
        DType::F32 => row_major::<f32>(&tensor, &header),
        DType::F64 => row_major::<f64>(&tensor, &header),
        DType::I64 => row_major::<i64>(&tensor, &header),
        _ => row_major::<u8>(&tensor, &header),
    }?;
    Ok(Array { tensor, is_bool })
}

/// Reads a list of texts that fills `length` bytes.
pub(super) fn read_texts(
    mut file: &mut dyn Read,
    length: u64,
    wrong: &dyn Fn(String) -> Error,
) -> Result<Vec<String>> {
    let header = npy_header::read(&mut file, length).map_err(wrong)?;
    let (Elements::Texts(characters), &[count]) = (header.elements, &header.shape[..]) else {
        return Err(wrong(format!("it has the shape {:?}, and a list of texts is needed", header.shape)));
    };
    let mut texts = Vec::new();
    for _ in 0..count {
        let mut bytes = vec![0; 4 * characters];
        file.read_exact(&mut bytes).map_err(|error| wrong(of_reading(&error)))?;
        let text: Option<String> = bytes
            .as_chunks::<4>()
            .0
            .iter()
            .map(|&bytes| match header.order {
                ByteOrder::Little => u32::from_le_bytes(bytes),
                ByteOrder::Big => u32::from_be_bytes(bytes),
            })
            .map(char::from_u32)
            .collect();
        let text = text.ok_or_else(|| wrong("it has a character that does not exist".to_string()))?;
        // Shorter texts are filled up with zeros.
        texts.push(text.trim_end_matches('\0').to_string());
    }
    Ok(texts)
}

fn of_reading(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "it is truncated".to_string(),
        _ => error.to_string(),
    }
}

/// The values of an array whose first index runs fastest, in the order of its last.
fn row_major<T: Element>(columns: &Tensor, header: &Header) -> Result<Tensor> {
    let src = columns.as_slice::<T>()?;
    let shape = &header.shape;
    let strides: Vec<usize> = shape
        .iter()
        .scan(1, |stride, &size| {
            let own = *stride;
            *stride *= size;
            Some(own)
        })
        .collect();
    let (mut index, mut at) = (vec![0; shape.len()], 0);
    Tensor::try_from_fn(shape.clone(), |dst: &mut [T]| {
        for value in dst {
            *value = src[at];
            for axis in (0..shape.len()).rev() {
                index[axis] += 1;
                at += strides[axis];
                if index[axis] < shape[axis] {
                    break;
                }
                at -= strides[axis] * shape[axis];
                index[axis] = 0;
            }
        }
    })
}
