//! NumPy's files: what NumPy wrote, and what is broken.

use std::path::PathBuf;

use proptest::prelude::*;
use rasgo::formats::{Disk, Npz, npy};
use rasgo::{DType, ErrorKind, Tensor};
use serde_json::Value;
use tempfile::TempDir;

fn golden() -> Value {
    serde_json::from_str(include_str!("golden/numpy_arrays.json")).unwrap()
}

fn bytes_of(hex: &Value) -> Vec<u8> {
    let digits = hex.as_str().unwrap().as_bytes();
    digits.chunks(2).map(|d| u8::from_str_radix(std::str::from_utf8(d).unwrap(), 16).unwrap()).collect()
}

struct Place(TempDir);

impl Place {
    fn new() -> Place {
        Place(tempfile::tempdir().unwrap())
    }

    fn put(&self, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join("made.file");
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

#[test]
fn every_array_of_numpy_is_read_without_loss() {
    let place = Place::new();
    let golden = golden();
    let cases = golden["cases"].as_array().unwrap();
    assert!(cases.len() > 40);
    for case in cases {
        let read = npy::load(place.put(&bytes_of(&case["file"]))).unwrap();
        let name = case["name"].as_str().unwrap();
        let dtype = match case["dtype"].as_str().unwrap() {
            "f32" => DType::F32,
            "f64" => DType::F64,
            "i64" => DType::I64,
            _ => DType::U8,
        };
        assert_eq!(read.dtype(), dtype, "{name}");
        let shape: Vec<u64> = read.shape().iter().map(|&size| size as u64).collect();
        assert_eq!(serde_json::json!(shape), case["shape"], "{name}");
        let expected: Vec<f64> =
            case["values"].as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect();
        assert_eq!(read.to_f64_vec().unwrap(), expected, "{name}");
    }
}

#[test]
fn what_holds_no_numbers_is_refused_with_a_way_out() {
    let place = Place::new();
    let golden = golden();
    let expected = [
        ("objects", "unpickling"),
        ("structured", "each field"),
        ("complex", "two arrays"),
        ("texts", "texts"),
        ("byte strings", "save texts as str"),
        ("times", "times"),
        ("beyond", "9223372036854775808"),
    ];
    assert_eq!(golden["refused"].as_object().unwrap().len(), expected.len());
    for (name, part) in expected {
        let path = place.put(&bytes_of(&golden["refused"][name]));
        let error = npy::load(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Format, "{error}");
        assert!(error.to_string().contains(part) && error.path() == Some(&path), "{name}: {error}");
    }
}

#[test]
fn a_written_array_is_what_numpy_writes() {
    let place = Place::new();
    let golden = golden();
    let written = |tensor: &Tensor| {
        let path = place.0.path().join("written.npy");
        npy::save(&Disk::default(), &path, tensor).unwrap();
        std::fs::read(path).unwrap()
    };
    let mut compared = 0;
    for case in golden["cases"].as_array().unwrap() {
        // The types that rasgo has, in the order that it writes.
        let ours = ["<f4", "<f8", "<i8", "<u1"]
            .iter()
            .any(|kind| case["name"].as_str().unwrap() == format!("{kind} by rows"));
        if ours || case["name"] == "no numbers" || case["name"] == "one number" {
            let file = bytes_of(&case["file"]);
            assert_eq!(written(&npy::load(place.put(&file)).unwrap()), file, "{}", case["name"]);
            compared += 1;
        }
    }
    assert_eq!(compared, 6);
    // A tensor of the other layout is written in the order that users see.
    let x = Tensor::from_vec((0..30).map(|i| i as f32).collect(), [1, 2, 5, 3]).unwrap();
    assert_eq!(written(&x.clone().to_channels_last()), written(&x));
    // The old contents stay where writing fails.
    let path = place.put(b"old");
    for n in 1..=4 {
        assert!(npy::save(&Disk::failing_at(n), &path, &x).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"old", "{n}");
    }
}

#[test]
fn archives_of_numpy_are_read_stored_and_deflated() {
    let place = Place::new();
    let golden = golden();
    for kind in ["stored", "deflated"] {
        let npz = Npz::open(place.put(&bytes_of(&golden["archives"][kind]))).unwrap();
        assert_eq!(npz.names().collect::<Vec<_>>(), ["x", "y", "classes"]);
        let x = npz.array("x").unwrap().unwrap();
        assert_eq!(x.shape()[..], [2, 3, 4]);
        assert_eq!(x.to_vec::<f32>().unwrap(), (0..24).map(|i| i as f32).collect::<Vec<_>>());
        assert_eq!(npz.array("y").unwrap().unwrap().to_vec::<i64>().unwrap(), [0, 1]);
        assert_eq!(npz.texts("classes").unwrap().unwrap(), ["up", "наверх", "上"]);
        assert!(npz.array("z").unwrap().is_none());
        assert!(npz.array("classes").unwrap_err().to_string().contains("texts"));
        assert!(npz.texts("y").unwrap_err().to_string().contains("list of texts"));
    }
}

/// An array of zeros whose header tells of that shape, with so many bytes behind it.
fn array_file(shape: &str, bytes: usize) -> Vec<u8> {
    let text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n");
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((text.len() as u16).to_le_bytes());
    file.extend(text.bytes());
    file.resize(file.len() + bytes, 0);
    file
}

#[test]
fn each_broken_array_is_named_and_nothing_large_is_allocated() {
    let place = Place::new();
    let good = array_file("(2, 3)", 24);
    assert!(npy::load(place.put(&good)).is_ok());
    let mut version = good.clone();
    version[6] = 9;
    let mut huge_header = good.clone();
    huge_header[6] = 2;
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (vec![], "an empty file"),
        (b"\x89PNG\r\n\x1a\n".to_vec(), "a PNG image"),
        (b"<html><body>".to_vec(), "an HTML page"),
        (good[..7].to_vec(), "within its header"),
        (good[..30].to_vec(), "within its header"),
        (good[..good.len() - 1].to_vec(), "24 bytes of values, and 23 follow"),
        ([&good[..], &[0]].concat(), "and 25 follow"),
        (version, "version is 9"),
        (huge_header, "are read at most"),
        (array_file("(1000000000000,)", 24), "4000000000000 bytes of values, and 24 follow"),
        (array_file("(4294967296, 4294967296, 4294967296)", 24), "too large"),
        (array_file("(0, 9223372036854775807, 9)", 0), "too large"),
        (array_file(&format!("({})", "1, ".repeat(65)), 4), "65 axes"),
    ];
    for (bytes, expected) in cases {
        let path = place.put(&bytes);
        let error = npy::load(&path).unwrap_err();
        assert!(error.to_string().contains(expected), "{expected}: {error}");
        assert_eq!((error.kind(), error.path()), (ErrorKind::Format, Some(&*path)));
    }
    let error = npy::load(place.0.path()).unwrap_err();
    assert!(error.to_string().contains("a folder"), "{error}");
}

#[test]
fn values_that_no_memory_holds_are_an_error_with_the_file() {
    let place = Place::new();
    // A file of holes: four terabytes of bytes, which are eight times as many as 64-bit integers.
    let count = 1u64 << 42;
    let mut header = array_file(&format!("({count},)"), 0);
    let at = header.windows(3).position(|three| three == b"<f4").unwrap();
    header[at..at + 3].copy_from_slice(b"|i1");
    let path = place.put(&header);
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(header.len() as u64 + count).unwrap();
    let error = npy::load(&path).unwrap_err();
    assert_eq!((error.kind(), error.path()), (ErrorKind::Memory, Some(&*path)), "{error}");
}

/// An archive, and where its directory begins.
fn stored_archive() -> (Vec<u8>, usize) {
    let file = bytes_of(&golden()["archives"]["stored"]);
    let directory = file.windows(4).position(|four| four == b"PK\x01\x02").unwrap();
    (file, directory)
}

#[test]
fn each_broken_archive_is_named() {
    let place = Place::new();
    let (good, directory) = stored_archive();
    let deflated = bytes_of(&golden()["archives"]["deflated"]);
    let its_directory = deflated.windows(4).position(|four| four == b"PK\x01\x02").unwrap();
    let changed = |file: &[u8], at: usize, value: &[u8]| {
        let mut bytes = file.to_vec();
        bytes[at..at + value.len()].copy_from_slice(value);
        bytes
    };
    // In the directory's entry of x: flags at 8, method at 10, checksum at 16, sizes at 20 (packed) and 24.
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (vec![], "an empty file"),
        (b"PK\x03\x04".to_vec(), "truncated or damaged"),
        (b"\x93NUMPY\x01\0".to_vec(), "a NumPy array"),
        (good[..good.len() / 2].to_vec(), "truncated or damaged"),
        (changed(&good, directory + 8, &[1]), "encrypted"),
        (changed(&good, directory + 10, &[14]), "LZMA"),
        (changed(&good, directory + 16, &[1, 2, 3, 4]), "hecksum"),
        (changed(&good, directory + 24, &[0xff, 0xff, 0xff, 0x7f]), "announces 2147483647 bytes"),
        (changed(&good, directory + 20, &[0xff, 0xff, 0xff, 0x7f]), "tells of arrays that take"),
        // A bomb: a few bytes that announce two gigabytes.
        (changed(&deflated, its_directory + 24, &[0xff, 0xff, 0xff, 0x7f]), "hold no more than"),
    ];
    for (bytes, expected) in cases {
        let path = place.put(&bytes);
        let error = Npz::open(&path).and_then(|npz| npz.array("x")).unwrap_err();
        assert!(error.to_string().contains(expected), "{expected}: {error}");
        assert_eq!((error.kind(), error.path()), (ErrorKind::Format, Some(&*path)), "{error}");
    }
}

#[test]
fn two_arrays_of_one_name_are_refused() {
    let place = Place::new();
    let (good, _) = stored_archive();
    // The name of y becomes x, in both places.
    let mut bytes = good;
    for at in 0..bytes.len() - 5 {
        if bytes[at..].starts_with(b"y.npy") {
            bytes[at] = b'x';
        }
    }
    let error = Npz::open(place.put(&bytes)).unwrap_err();
    assert!(error.to_string().contains("two arrays of the name \"x\""), "{error}");
}

proptest! {
    #[test]
    fn no_damage_of_an_array_panics(at in 0usize..200, value: u8, cut in 0usize..200) {
        let place = Place::new();
        let mut bytes = array_file("(2, 3)", 24);
        let length = bytes.len();
        bytes[at % length] = value;
        let _ = npy::load(place.put(&bytes));
        bytes.truncate(cut);
        let _ = npy::load(place.put(&bytes));
    }

    #[test]
    fn no_damage_of_an_archive_panics(deflated: bool, at in 0usize..2000, value: u8) {
        let place = Place::new();
        let mut bytes = bytes_of(&golden()["archives"][if deflated { "deflated" } else { "stored" }]);
        let length = bytes.len();
        bytes[at % length] = value;
        if let Ok(npz) = Npz::open(place.put(&bytes)) {
            for name in ["x", "y", "classes"] {
                let _ = npz.array(name);
                let _ = npz.texts(name);
            }
        }
    }

    #[test]
    fn every_shape_goes_there_and_back(shape in proptest::collection::vec(0usize..5, 0..6)) {
        let place = Place::new();
        let count: usize = shape.iter().product();
        let x = Tensor::from_vec((0..count).map(|i| i as f64 / 3.0).collect(), shape).unwrap();
        let path = place.0.path().join("x.npy");
        npy::save(&Disk::default(), &path, &x).unwrap();
        let back = npy::load(&path).unwrap();
        prop_assert_eq!(back.shape(), x.shape());
        prop_assert_eq!(back.to_vec::<f64>().unwrap(), x.to_vec::<f64>().unwrap());
    }
}
