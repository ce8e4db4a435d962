//! Files of tensors: round trips, stable bytes, and files that are not what they should be.

use std::collections::BTreeMap;
use std::fs;

use proptest::prelude::*;
use rasgo::formats::safetensors::{load, save};
use rasgo::formats::{Disk, weights_hash};
use rasgo::{DType, ErrorKind, Tensor};

fn tensors() -> Vec<(String, Tensor)> {
    let floats: Vec<f32> = (0..2 * 3 * 5).map(|i| i as f32 * 0.37 - 3.0).collect();
    let many: Vec<f32> = (0..40_000).map(|i| i as f32).collect();
    vec![
        ("conv1.weight".into(), Tensor::from_vec(floats, [2, 3, 5, 1]).unwrap()),
        ("large".into(), Tensor::from_vec(many, [200, 200]).unwrap()),
        ("bn.num_batches_tracked".into(), Tensor::scalar(7i64)),
        ("bytes".into(), Tensor::from_vec(vec![1u8, 2, 255], [3]).unwrap()),
        ("double".into(), Tensor::from_vec(vec![0.1f64, -2.5e300], [1, 2]).unwrap()),
        ("empty \"quoted\" é".into(), Tensor::zeros([0, 4], DType::F32).unwrap()),
    ]
}

fn about() -> BTreeMap<String, String> {
    [("classes".to_string(), "[\"zero\", \"línea\\n\"]".to_string()), ("epoch".to_string(), "3".to_string())]
        .into()
}

fn raw(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data].concat()
}

fn message(bytes: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    fs::write(&path, bytes).unwrap();
    let error = load(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Format, "{error}");
    assert_eq!(error.path(), Some(&*path));
    error.to_string()
}

#[test]
fn what_is_saved_is_loaded_sorted_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    save(&Disk::default(), &path, &tensors(), &about()).unwrap();
    let loaded = load(&path).unwrap();
    assert_eq!(loaded.metadata, about());
    assert!(loaded.tensors.is_sorted_by(|a, b| a.0 < b.0));
    assert_eq!(loaded.tensors.len(), tensors().len());
    for (name, tensor) in tensors() {
        let found = loaded.get(&name).unwrap();
        assert_eq!((found.shape(), found.dtype()), (tensor.shape(), tensor.dtype()), "{name}");
        assert_eq!(found.to_bytes().unwrap(), tensor.to_bytes().unwrap(), "{name}");
    }
    assert!(loaded.get("other").is_none());
    assert_eq!(weights_hash(&loaded.tensors).unwrap(), weights_hash(&tensors()).unwrap());
}

#[test]
fn the_reference_implementation_reads_it_and_values_are_aligned() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    save(&Disk::default(), &path, &tensors(), &about()).unwrap();
    let bytes = fs::read(&path).unwrap();
    let read = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(read.len(), tensors().len());
    for (name, tensor) in tensors() {
        let view = read.tensor(&name).unwrap();
        assert_eq!(view.data(), tensor.to_bytes().unwrap(), "{name}");
        let offset = view.data().as_ptr() as usize - bytes.as_ptr() as usize;
        assert_eq!(offset % tensor.dtype().size(), 0, "{name}");
    }
}

#[test]
fn the_bytes_do_not_depend_on_order_or_layout() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (folder.path().join("a"), folder.path().join("b"));
    let mut other: Vec<(String, Tensor)> = tensors().into_iter().rev().collect();
    let conv = other.iter_mut().find(|(name, _)| name == "conv1.weight").unwrap();
    conv.1 = conv.1.clone().to_channels_last();
    save(&Disk::default(), &a, &tensors(), &about()).unwrap();
    save(&Disk::default(), &b, &other, &about()).unwrap();
    assert!(fs::read(a).unwrap() == fs::read(b).unwrap());
    assert_eq!(weights_hash(&other).unwrap(), weights_hash(&tensors()).unwrap());
}

#[test]
fn the_hash_sees_names_shapes_dtypes_and_every_value() {
    let one = |name: &str, tensor: Tensor| vec![(name.to_string(), tensor)];
    let variants = [
        one("a", Tensor::from_vec(vec![1.0f32, 2.0], [2]).unwrap()),
        one("b", Tensor::from_vec(vec![1.0f32, 2.0], [2]).unwrap()),
        one("a", Tensor::from_vec(vec![1.0f32, 2.0], [1, 2]).unwrap()),
        one("a", Tensor::from_vec(vec![2.0f32, 1.0], [2]).unwrap()),
        one("a", Tensor::from_vec(vec![1.0f64, 2.0], [2]).unwrap()),
        one("a", Tensor::from_vec(vec![0.0f32, 0.0], [2]).unwrap()),
        one("a", Tensor::from_vec(vec![0.0f32, -0.0], [2]).unwrap()),
        vec![],
    ];
    let hashes: std::collections::HashSet<String> =
        variants.iter().map(|v| weights_hash(v).unwrap()).collect();
    assert_eq!(hashes.len(), variants.len());
    assert!(hashes.iter().all(|hash| hash.len() == 16 && hash.bytes().all(|c| c.is_ascii_hexdigit())));
    // Written in run folders: it may not change between versions.
    assert_eq!(weights_hash(&variants[0]).unwrap(), GOLDEN_HASH);
}

const GOLDEN_HASH: &str = "fe44fb96d1e1f029";

#[test]
fn a_failing_disk_leaves_the_old_weights() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let old = vec![("w".to_string(), Tensor::scalar(1.0f32))];
    let counter = Disk::default();
    save(&counter, &path, &tensors(), &about()).unwrap();
    for n in 1..counter.operations() {
        save(&Disk::default(), &path, &old, &BTreeMap::new()).unwrap();
        assert!(save(&Disk::failing_at(n), &path, &tensors(), &about()).is_err());
        assert_eq!(load(&path).unwrap().tensors.len(), 1, "operation {n}");
    }
}

#[test]
fn half_floats_and_small_integers_are_widened() {
    let header = r#"{"h":{"dtype":"F16","shape":[2],"data_offsets":[0,4]},"b":{"dtype":"BF16","shape":[1],"data_offsets":[4,6]},"i":{"dtype":"I32","shape":[1],"data_offsets":[6,10]},"t":{"dtype":"BOOL","shape":[2],"data_offsets":[10,12]}}"#;
    let mut data = vec![0x00, 0x3c, 0x00, 0xc0, 0x40, 0xc0];
    data.extend((-5i32).to_le_bytes());
    data.extend([1, 0]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("half.safetensors");
    fs::write(&path, raw(header, &data)).unwrap();
    let loaded = load(&path).unwrap();
    assert_eq!(loaded.get("h").unwrap().to_vec::<f32>().unwrap(), [1.0, -2.0]);
    assert_eq!(loaded.get("b").unwrap().to_vec::<f32>().unwrap(), [-3.0]);
    assert_eq!(loaded.get("i").unwrap().to_vec::<i64>().unwrap(), [-5]);
    assert_eq!(loaded.get("t").unwrap().to_vec::<u8>().unwrap(), [1, 0]);
}

#[test]
fn files_of_another_kind_are_told_by_what_they_are() {
    assert!(message(b"").contains("an empty file"));
    assert!(message(b"abc").contains("has 3 bytes"));
    assert!(message(b"<!DOCTYPE html><html>not found").contains("an HTML page"));
    assert!(message(b"version https://git-lfs.github.com/spec/v1\noid").contains("Git LFS"));
    assert!(message(b"PK\x03\x04 a checkpoint of PyTorch").contains("a ZIP archive"));
    assert!(message(&[0; 64]).contains("no valid safetensors"));
    let folder = tempfile::tempdir().unwrap();
    assert!(load(folder.path()).unwrap_err().to_string().contains("a folder"));
    assert!(load(folder.path().join("x")).unwrap_err().to_string().contains("no such file"));
}

#[test]
fn hostile_headers_are_refused_without_a_large_allocation() {
    assert!(message(&[&u64::MAX.to_le_bytes()[..], b"{}"].concat()).contains("announce"));
    assert!(message(&[&90_000_000u64.to_le_bytes()[..], b"{}"].concat()).contains("announce"));
    let tensor = |shape: &str, start: u64, end: u64| {
        format!(r#"{{"dtype":"F32","shape":{shape},"data_offsets":[{start},{end}]}}"#)
    };
    let one = |shape: &str, start, end| format!(r#"{{"a":{}}}"#, tensor(shape, start, end));
    // More values than the file holds, and fewer.
    assert!(message(&raw(&one("[1000000000000]", 0, 4_000_000_000_000), &[0; 8])).contains("truncated"));
    assert!(message(&raw(&one("[1]", 0, 4), &[0; 8])).contains("something else"));
    // A shape that contradicts the offsets; one that overflows; one that overflows behind a zero.
    message(&raw(&one("[3]", 0, 8), &[0; 8]));
    message(&raw(&one("[4294967296,4294967296,4]", 0, 8), &[0; 8]));
    assert!(message(&raw(&one("[0,4294967296,4294967296]", 0, 0), &[])).contains("too large"));
    message(&raw(&one("[-1]", 0, 4), &[0; 4]));
    message(&raw(&one("[1]", 4, 0), &[0; 4]));
    // Overlapping and gapped tensors, a name that comes twice, an unknown type.
    let two = |a, b, c, d| format!(r#"{{"a":{},"b":{}}}"#, tensor("[1]", a, b), tensor("[1]", c, d));
    message(&raw(&two(0, 4, 2, 6), &[0; 6]));
    message(&raw(&two(0, 4, 0, 4), &[0; 4]));
    message(&raw(&two(0, 4, 8, 12), &[0; 12]));
    let twice = format!(r#"{{"a":{0},"a":{0}}}"#, tensor("[1]", 0, 4));
    assert!(message(&raw(&twice, &[0; 4])).contains("\"a\" twice"));
    assert!(message(&raw(&one("[1]", 0, 8).replace("F32", "C64"), &[0; 8])).contains("C64"));
    message(&raw(&one("[1]", 0, 4).replace("F32", "QUUX"), &[0; 4]));
    message(&raw("[1,2]", &[]));
    message(&raw("{\"a\":", &[]));
    message(&raw("{} {}", &[]));
    message(&[&4u64.to_le_bytes()[..], b"{\xff\xff}"].concat());
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    message(&raw(&format!(r#"{{"a":{deep}}}"#), &[]));
}

#[test]
fn a_file_cut_anywhere_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let small = vec![("a".to_string(), Tensor::from_vec(vec![1.0f32; 12], [3, 4]).unwrap())];
    save(&Disk::default(), &path, &small, &about()).unwrap();
    let bytes = fs::read(&path).unwrap();
    for length in 0..bytes.len() {
        message(&bytes[..length]);
    }
    message(&[&bytes[..], b"\n"].concat());
}

#[test]
fn names_that_cannot_be_written_are_refused_before_anything_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    let tensor = Tensor::scalar(1.0f32);
    for names in [["a", "a"], ["a", "__metadata__"]] {
        let list: Vec<_> = names.iter().map(|name| (name.to_string(), tensor.clone())).collect();
        let disk = Disk::default();
        assert_eq!(save(&disk, &path, &list, &BTreeMap::new()).unwrap_err().kind(), ErrorKind::Argument);
        assert_eq!(disk.operations(), 0);
    }
    let hollow = vec![("w".to_string(), Tensor::shape_only([2, 2], DType::F32))];
    assert!(save(&Disk::default(), &path, &hollow, &BTreeMap::new()).is_err());
    assert!(!path.exists());
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), size in 0u64..40) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let _ = fs::write(&path, &bytes).map(|()| load(&path));
        fs::write(&path, [&size.to_le_bytes()[..], &bytes].concat()).unwrap();
        let _ = load(&path);
    }

    #[test]
    fn one_changed_byte_never_panics(at in 0usize..400, byte in any::<u8>()) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let small = vec![("a".to_string(), Tensor::from_vec(vec![1.0f32; 12], [3, 4]).unwrap())];
        save(&Disk::default(), &path, &small, &about()).unwrap();
        let mut bytes = fs::read(&path).unwrap();
        let at = at % bytes.len();
        bytes[at] = byte;
        fs::write(&path, bytes).unwrap();
        let _ = load(&path);
    }
}
