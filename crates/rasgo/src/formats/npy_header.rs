//! The header of a `.npy` array: a magic number, a version, a length, and a Python dictionary as text.

use std::io::Read;

use safetensors::Dtype;

use super::element_bytes::ByteOrder;
use super::looks_like;

/// The first bytes of every array.
pub(super) const MAGIC: &[u8; 6] = b"\x93NUMPY";

/// The longest text that is read; NumPy itself writes one above a hundred bytes for structured types only, and takes
/// ten thousand.
const MAX_TEXT: u64 = 1 << 16;

/// The most axes, as in NumPy 2.
const MAX_AXES: usize = 64;

/// What the elements are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Elements {
    /// Numbers.
    Numbers(Dtype),
    /// Texts of that many characters, four bytes each.
    Texts(usize),
}

/// What a header says, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) elements: Elements,
    pub(super) order: ByteOrder,
    /// Whether the first index runs fastest.
    pub(super) fortran: bool,
    pub(super) shape: Vec<usize>,
}

impl Header {
    /// Bytes of all values.
    pub(super) fn bytes(&self) -> Option<u64> {
        let size = match self.elements {
            Elements::Numbers(dtype) => dtype.bitsize() / 8,
            Elements::Texts(characters) => characters.checked_mul(4)?,
        };
        let count = self.shape.iter().try_fold(1usize, |product, &size| product.checked_mul(size))?;
        u64::try_from(count.checked_mul(size)?).ok()
    }
}

/// Reads a header that is followed by its values and nothing else, all in `length` bytes; the reader stands at the
/// first value afterwards. The error is what is wrong, for the end of "is no valid array: ".
pub(super) fn read(file: &mut impl Read, length: u64) -> Result<Header, String> {
    let mut start = Vec::new();
    let mut take = |start: &mut Vec<u8>, count: u64| -> Result<(), String> {
        let wanted = start.len() as u64 + count;
        file.by_ref().take(count).read_to_end(start).map_err(|error| error.to_string())?;
        match start.len() as u64 == wanted {
            true => Ok(()),
            false => Err(format!("it ends after {} bytes, within its header", start.len())),
        }
    };
    let whole = take(&mut start, 8);
    if !start.starts_with(MAGIC) {
        return Err(format!("it seems to be {}", looks_like(&start)));
    }
    whole?;
    let digits = match start[6] {
        1 => 2,
        2 | 3 => 4,
        version => return Err(format!("its version is {version}.{}, and 1 to 3 are known", start[7])),
    };
    take(&mut start, digits)?;
    let size = start[8..].iter().rev().fold(0u64, |size, &byte| size << 8 | u64::from(byte));
    if size > MAX_TEXT {
        return Err(format!("it announces a header of {size} bytes, and {MAX_TEXT} are read at most"));
    }
    let mut text = Vec::new();
    take(&mut text, size)?;
    let text = std::str::from_utf8(&text).map_err(|_| "its header is no text".to_string())?;
    let header = Parser { rest: text }.dictionary()?;
    if header.shape.len() > MAX_AXES {
        return Err(format!("it has {} axes, and {MAX_AXES} are the most", header.shape.len()));
    }
    // An axis of 0 hides what overflows beside it.
    if header.shape.iter().try_fold(16usize, |product, &size| product.checked_mul(size.max(1))).is_none() {
        return Err(format!("its shape {:?} is too large", header.shape));
    }
    let found = length.saturating_sub(8 + digits + size);
    match header.bytes() {
        Some(bytes) if bytes == found => Ok(header),
        Some(bytes) => Err(format!(
            "its header tells of the shape {:?} and {bytes} bytes of values, and {found} follow",
            header.shape
        )),
        None => Err(format!("its shape {:?} is too large", header.shape)),
    }
}

/// The header of an array of numbers, in row-major order; as NumPy, padded so that the values begin at a multiple of
/// 64 bytes.
pub(super) fn write(dtype: Dtype, shape: &[usize]) -> Vec<u8> {
    let descr = match dtype {
        Dtype::F32 => "<f4",
        Dtype::F64 => "<f8",
        Dtype::I64 => "<i8",
        _ => "|u1",
    };
    let sizes: Vec<String> = shape.iter().map(usize::to_string).collect();
    let comma = if shape.len() == 1 { "," } else { "" };
    let mut text =
        format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({}{comma}), }}", sizes.join(", "));
    // Version 2 has four bytes for the length; only a shape of thousands of axes needs them.
    let long = text.len() + 64 > usize::from(u16::MAX);
    let before = if long { 12 } else { 10 };
    let padding = (before + text.len() + 1).next_multiple_of(64) - (before + text.len() + 1);
    text.extend(std::iter::repeat_n(' ', padding));
    text.push('\n');
    let mut header = MAGIC.to_vec();
    header.extend([if long { 2 } else { 1 }, 0]);
    header.extend_from_slice(&(text.len() as u32).to_le_bytes()[..before - 8]);
    header.extend_from_slice(text.as_bytes());
    header
}

/// Reads the few forms of Python's literals that a header has.
struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn dictionary(mut self) -> Result<Header, String> {
        let (mut elements, mut fortran, mut shape) = (None, None, None);
        self.expect('{')?;
        while !self.next_is('}') {
            let key = self.string()?;
            self.expect(':')?;
            let twice = match key {
                "descr" if self.next_is_structure() => {
                    return Err("its elements are structured: save each field as an array of its own".into());
                }
                "descr" => elements.replace(self.string()?).is_some(),
                "fortran_order" => fortran.replace(self.truth()?).is_some(),
                "shape" => shape.replace(self.sizes()?).is_some(),
                other => return Err(format!("its header has the unknown key {other:?}")),
            };
            if twice {
                return Err(format!("its header has the key {key:?} twice"));
            }
            if !self.next_is(',') {
                self.expect('}')?;
                break;
            }
        }
        if !self.rest.trim().is_empty() {
            return Err(format!("its header goes on after its end: {:?}", shortened(self.rest)));
        }
        let (Some(descr), Some(fortran), Some(shape)) = (elements, fortran, shape) else {
            return Err("its header lacks one of descr, fortran_order and shape".to_string());
        };
        let (elements, order) = elements_of(descr)?;
        Ok(Header { elements, order, fortran, shape })
    }

    /// Goes past a character, if it comes next.
    fn next_is(&mut self, wanted: char) -> bool {
        self.rest = self.rest.trim_start();
        match self.rest.strip_prefix(wanted) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// A list of fields, or a pair of a type and its shape.
    fn next_is_structure(&self) -> bool {
        self.rest.trim_start().starts_with(['[', '('])
    }

    fn expect(&mut self, wanted: char) -> Result<(), String> {
        match self.next_is(wanted) {
            true => Ok(()),
            false => Err(format!("its header has {:?} where {wanted:?} belongs", shortened(self.rest))),
        }
    }

    fn string(&mut self) -> Result<&'a str, String> {
        let quote = if self.next_is('"') { '"' } else { '\'' };
        if quote == '\'' {
            self.expect('\'')?;
        }
        let end = self.rest.find(quote).ok_or("its header has a text without an end")?;
        let text = &self.rest[..end];
        self.rest = &self.rest[end + 1..];
        Ok(text)
    }

    fn truth(&mut self) -> Result<bool, String> {
        self.rest = self.rest.trim_start();
        for (text, value) in [("True", true), ("False", false)] {
            if let Some(rest) = self.rest.strip_prefix(text) {
                self.rest = rest;
                return Ok(value);
            }
        }
        Err(format!("its header has {:?} where True or False belongs", shortened(self.rest)))
    }

    fn sizes(&mut self) -> Result<Vec<usize>, String> {
        self.expect('(')?;
        let mut sizes = Vec::new();
        while !self.next_is(')') {
            self.rest = self.rest.trim_start();
            let end = self.rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest.len());
            let size = self.rest[..end].parse();
            sizes.push(size.map_err(|_| format!("its header has the size {:?}", shortened(self.rest)))?);
            self.rest = &self.rest[end..];
            // Python 2 wrote long numbers as 5L.
            self.next_is('L');
            if !self.next_is(',') {
                self.expect(')')?;
                break;
            }
        }
        Ok(sizes)
    }
}

fn shortened(text: &str) -> String {
    text.trim_start().chars().take(20).collect()
}

/// What NumPy's name of an element type means, as `<f4`: a byte order, a kind, and a size.
fn elements_of(descr: &str) -> Result<(Elements, ByteOrder), String> {
    let refused = |what: &str| Err(format!("its elements are {what} ({descr:?})"));
    let mut characters = descr.chars();
    let (order, kind, size) = (characters.next(), characters.next(), characters.as_str());
    match kind {
        Some('O') => {
            return refused(
                "Python objects, which only unpickling could read: save numbers, or texts as str, x.astype(str)",
            );
        }
        Some('c') => return refused("complex numbers: save real and imaginary part as two arrays"),
        Some('M' | 'm') => return refused("times: save them as numbers"),
        Some('S' | 'a') => return refused("byte strings: save texts as str, x.astype(str), or numbers"),
        Some('V') => return refused("raw bytes or structured: save each field as an array of its own"),
        _ => {}
    }
    let Ok(size) = size.parse::<usize>() else { return refused("of an unknown type") };
    let order = match order {
        Some('<') => ByteOrder::Little,
        Some('>') => ByteOrder::Big,
        Some('|') if size == 1 => ByteOrder::Little,
        _ => return refused("of an unknown byte order"),
    };
    let dtype = match (kind, size) {
        // However many there are, they take no bytes.
        (Some('U'), 0) => return refused("texts without characters"),
        (Some('U'), characters) => return Ok((Elements::Texts(characters), order)),
        (Some('f'), 2) => Dtype::F16,
        (Some('f'), 4) => Dtype::F32,
        (Some('f'), 8) => Dtype::F64,
        (Some('i'), 1) => Dtype::I8,
        (Some('i'), 2) => Dtype::I16,
        (Some('i'), 4) => Dtype::I32,
        (Some('i'), 8) => Dtype::I64,
        (Some('u'), 1) => Dtype::U8,
        (Some('u'), 2) => Dtype::U16,
        (Some('u'), 4) => Dtype::U32,
        (Some('u'), 8) => Dtype::U64,
        (Some('b'), 1) => Dtype::BOOL,
        (Some('f'), _) => return refused("floats of a size that is not read: save float32 or float64"),
        _ => return refused("of an unknown type"),
    };
    Ok((Elements::Numbers(dtype), order))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Header, String> {
        Parser { rest: text }.dictionary()
    }

    #[test]
    fn headers_of_numpy_and_of_python_2_are_read() {
        let header = parsed("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }   \n").unwrap();
        let f32s = Elements::Numbers(Dtype::F32);
        let expected = Header { elements: f32s, order: ByteOrder::Little, fortran: false, shape: vec![3, 4] };
        assert_eq!(header, expected);
        let header = parsed(r#"{"shape": (5L,), "fortran_order": True, "descr": ">i2"}"#).unwrap();
        assert_eq!((header.shape, header.fortran, header.order), (vec![5], true, ByteOrder::Big));
        assert_eq!(parsed("{'descr':'|b1','fortran_order':False,'shape':()}").unwrap().shape, [0; 0]);
        let header = parsed("{'descr': '<U7', 'fortran_order': False, 'shape': (2,), }").unwrap();
        assert_eq!((header.elements, header.bytes()), (Elements::Texts(7), Some(56)));
    }

    #[test]
    fn each_wrong_header_says_what_is_wrong() {
        let with = |descr: &str| format!("{{'descr': {descr}, 'fortran_order': False, 'shape': (2,), }}");
        let cases = [
            (with("'|O'"), "unpickling"),
            (with("'<c8'"), "complex"),
            (with("'<M8[ns]'"), "times"),
            (with("'|S5'"), "byte strings"),
            (with("'|V12'"), "structured"),
            (with("[('a', '<f4'), ('b', '<i8')]"), "structured"),
            (with("('<f4', (2,))"), "structured"),
            (with("'<f16'"), "float64"),
            (with("'=f4'"), "byte order"),
            (with("'|f4'"), "byte order"),
            (with("'<U0'"), "without characters"),
            (with("'<x4'"), "unknown type"),
            (with("'<i3'"), "unknown type"),
            (with("''"), "unknown type"),
            (with("'é'"), "unknown type"),
            (with("3"), "belongs"),
            ("{}".into(), "lacks"),
            ("{'descr': '<f4', 'descr': '<f4'}".into(), "twice"),
            ("{'descr': '<f4', 'colour': '<f4'}".into(), "colour"),
            ("{'fortran_order': 1}".into(), "True or False"),
            ("{'shape': (-1,)}".into(), "size \"-1"),
            ("{'shape': (3,,)}".into(), "size"),
            ("{'shape': (99999999999999999999,)}".into(), "size"),
            ("{'shape': (3".into(), "belongs"),
            ("{'descr': '<f4".into(), "without an end"),
            ("".into(), "belongs"),
            ("__import__('os')".into(), "belongs"),
            (with("'<f4'") + "; more", "after its end"),
        ];
        for (text, expected) in cases {
            let error = parsed(&text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn a_written_header_is_aligned_and_read_back() {
        for shape in [&[][..], &[7], &[0, 3], &[2, 3, 5], &[1; 64]] {
            for dtype in [Dtype::F32, Dtype::F64, Dtype::I64, Dtype::U8] {
                let bytes = write(dtype, shape);
                assert!(bytes.len().is_multiple_of(64) && bytes.ends_with(b"\n"), "{shape:?}");
                let values = shape.iter().product::<usize>() * dtype.bitsize() / 8;
                let header = read(&mut &bytes[..], (bytes.len() + values) as u64).unwrap();
                assert_eq!((header.elements, &header.shape[..]), (Elements::Numbers(dtype), shape));
            }
        }
    }
}
