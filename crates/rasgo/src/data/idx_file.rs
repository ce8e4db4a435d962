//! One IDX file: four magic bytes, the sizes as big-endian u32, the values; raw or gzip, told by content.

use std::io::{Cursor, ErrorKind as IoKind, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use rasgo_core::{Error, Result};

use crate::formats::{looks_like, open_file};

/// The most bytes of values: the file is held in memory.
const MAX_BYTES: u128 = 1 << 34;

/// What a deflate stream can at most expand a byte to.
const MAX_EXPANSION: u128 = 1032;

/// Sizes and values of a file of unsigned bytes.
#[derive(Debug)]
pub(super) struct IdxFile {
    pub(super) sizes: Vec<usize>,
    pub(super) values: Vec<u8>,
}

/// Reads a file with that many axes: 3 for images, 1 for labels. Everything is checked, the length in both directions,
/// and no more memory is taken than the file's length vouches for.
pub(super) fn read(path: &Path, axes: usize) -> Result<IdxFile> {
    let (mut file, length) = open_file(path)?;
    let mut start = Vec::new();
    file.by_ref().take(512).read_to_end(&mut start).map_err(|source| Error::io(path, source))?;
    let zipped = start.starts_with(&[0x1f, 0x8b]);
    let kind = looks_like(&start);
    let file = Cursor::new(start).chain(file);
    let mut reader: Box<dyn Read> = if zipped { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };

    let mut header = Vec::new();
    let header_length = 4 + 4 * axes;
    read_up_to(&mut reader, header_length as u64, &mut header, path)?;
    check_magic(&header, axes, path, kind)?;
    let sizes: Vec<usize> = header[4..]
        .chunks_exact(4)
        .map(|size| u32::from_be_bytes([size[0], size[1], size[2], size[3]]) as usize)
        .collect();
    let expected =
        sizes.iter().map(|&size| size as u128).try_fold(1u128, u128::checked_mul).unwrap_or(u128::MAX);
    let announced = format!("its header announces {expected} bytes of values ({})", product(&sizes));
    if expected == 0 {
        return Err(Error::format(path, format!("holds no {}: {announced}", content(axes))));
    }
    let room = if zipped { u128::from(length) * MAX_EXPANSION } else { MAX_BYTES };
    if expected > room || expected > MAX_BYTES {
        return Err(Error::format(path, format!("{announced}, more than the file can hold"))
            .hint("the header is damaged, or the file is no IDX file"));
    }
    let found = u128::from(length) - if zipped { 0 } else { header_length as u128 };
    if !zipped && found != expected {
        return Err(wrong_length(path, &announced, &format!("{found} bytes"), found < expected));
    }
    let mut values = Vec::with_capacity(expected.min(1 << 28) as usize + 1);
    // One byte more than there should be: it shows a tail, and reaching the end checks the gzip sum.
    read_up_to(&mut reader, expected as u64 + 1, &mut values, path)?;
    if values.len() as u128 != expected {
        let short = (values.len() as u128) < expected;
        let found = if short { format!("{} bytes", values.len()) } else { "more".to_string() };
        return Err(wrong_length(path, &announced, &found, short));
    }
    Ok(IdxFile { sizes, values })
}

fn read_up_to(reader: &mut dyn Read, limit: u64, into: &mut Vec<u8>, path: &Path) -> Result<()> {
    match reader.take(limit).read_to_end(into) {
        Ok(_) => Ok(()),
        Err(e) if e.kind() == IoKind::UnexpectedEof => Err(Error::format(path, "the gzip file is truncated")
            .hint("the copy or download did not finish; repeat it")
            .source(e)),
        Err(e) if matches!(e.kind(), IoKind::InvalidInput | IoKind::InvalidData) => {
            Err(Error::format(path, format!("the gzip file is damaged: {e}"))
                .hint("copy or download it again")
                .source(e))
        }
        Err(e) => Err(Error::io(path, e)),
    }
}

fn check_magic(header: &[u8], axes: usize, path: &Path, kind: &str) -> Result<()> {
    let expected = [0, 0, 8, axes as u8];
    let content = content(axes);
    if header.get(..4) == Some(&expected) {
        return if header.len() == 4 + 4 * axes {
            Ok(())
        } else {
            Err(Error::format(path, format!("ends after {} bytes, inside its header", header.len()))
                .hint("the copy or download did not finish; repeat it"))
        };
    }
    let found = &header[..header.len().min(4)];
    let error =
        Error::format(path, format!("starts with {found:?}, and an IDX file of {content} with {expected:?}"));
    Err(match found {
        [0, 0, 8, 1 | 3] => {
            error.hint(format!("it holds {}; are two files swapped?", self::content(usize::from(found[3]))))
        }
        [0, 0, 8, n] => error.hint(format!("it has {n} axes; {content} have {axes}")),
        [0, 0, 0x09..=0x0e, _] => error.hint("its values are no unsigned bytes, which is not supported"),
        _ if kind == "a gzip file" => error.hint("it is no IDX file under its gzip"),
        _ => error.hint(format!("it seems to be {kind}")),
    })
}

fn wrong_length(path: &Path, announced: &str, found: &str, short: bool) -> Error {
    let error = Error::format(path, format!("{announced}, but {found} follow"));
    if short {
        error.hint("the file is truncated; copy or download it again")
    } else {
        error.hint("something was appended, or the header is damaged; copy or download it again")
    }
}

fn content(axes: usize) -> &'static str {
    if axes == 1 { "labels" } else { "images" }
}

fn product(sizes: &[usize]) -> String {
    sizes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" x ")
}
