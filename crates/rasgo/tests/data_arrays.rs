//! Data sets of arrays in the library.

mod data_made;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use data_made::Made;
use rasgo::data::{self, ArrayDataset, Dataset, Splits, read_samples};
use rasgo::formats::{Disk, Npz, npy, safetensors};
use rasgo::{DType, ErrorKind, Tensor};

/// The bytes of a `.npy` file.
fn npy_bytes(descr: &str, shape: &str, values: &[u8]) -> Vec<u8> {
    let text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
    let length = (text.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\x00", &length[..], text.as_bytes(), values].concat()
}

/// Writes files into an archive, stored.
fn write_npz(path: &Path, files: impl IntoIterator<Item = (String, Vec<u8>)>) {
    let mut archive = rawzip::ZipArchiveWriter::new(std::fs::File::create(path).unwrap());
    for (name, bytes) in files {
        let store = rawzip::CompressionMethod::STORE;
        let (mut entry, config) =
            archive.new_file(format!("{name}.npy")).compression_method(store).start().unwrap();
        let mut writer = config.wrap(&mut entry);
        writer.write_all(&bytes).unwrap();
        let (_, descriptor) = writer.finish().unwrap();
        entry.finish(descriptor).unwrap();
    }
    archive.finish().unwrap();
}

/// `x` of truth values (4, 1, 2), `one` where they are true, and bool labels, as all three kinds of file.
fn files_of_bools(folder: &Path, one: u8) -> [PathBuf; 3] {
    let x = [0, one, one, 0, 0, 0, one, one];
    let y = [0, 1, 0, 1];
    let paths = ["x.npy", "xy.npz", "xy.safetensors"].map(|name| folder.join(name));
    std::fs::write(&paths[0], npy_bytes("|b1", "(4, 1, 2)", &x)).unwrap();
    let files = [("x", npy_bytes("|b1", "(4, 1, 2)", &x)), ("y", npy_bytes("|b1", "(4,)", &y))];
    write_npz(&paths[1], files.map(|(name, bytes)| (name.to_string(), bytes)));
    let header = r#"{"x":{"dtype":"BOOL","shape":[4,1,2],"data_offsets":[0,8]},"y":{"dtype":"BOOL","shape":[4],"data_offsets":[8,12]}}"#;
    let length = (header.len() as u64).to_le_bytes();
    std::fs::write(&paths[2], [&length[..], header.as_bytes(), &x, &y].concat()).unwrap();
    paths
}

#[test]
fn truth_values_count_as_0_and_1_and_not_as_shares_of_255() {
    let folder = tempfile::tempdir().unwrap();
    let paths = files_of_bools(folder.path(), 1);
    let expected = [0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0];
    for path in &paths {
        let samples = read_samples(path, &[1, 2]).unwrap().unwrap();
        assert_eq!(samples.to_vec::<f32>().unwrap(), expected, "{}", path.display());
    }
    for path in &paths[1..] {
        let train = data::open(path).unwrap().train;
        assert_eq!(train.labels().unwrap(), [0, 1, 0, 1]);
        let normalize = data::Normalize::measure(&*train, &[0, 1, 2, 3]).unwrap();
        assert!((normalize.mean[0] - 0.5).abs() < 1e-6, "{}: {normalize:?}", path.display());
    }
    // The readers keep what a mask is: bytes.
    let masks = [
        npy::load(&paths[0]).unwrap(),
        Npz::open(&paths[1]).unwrap().array("x").unwrap().unwrap(),
        safetensors::load(&paths[2]).unwrap().get("x").unwrap().clone(),
    ];
    for mask in masks {
        assert_eq!(mask.dtype(), DType::U8);
        assert_eq!(mask.to_f64_vec().unwrap(), expected.map(f64::from));
    }
}

#[test]
fn truth_values_other_than_0_and_1_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    for path in files_of_bools(folder.path(), 255) {
        let error = read_samples(&path, &[1, 2]).unwrap_err();
        assert!(error.to_string().contains("the truth value 255"), "{error}");
        assert_eq!((error.kind(), error.path()), (ErrorKind::Format, Some(&*path)));
    }
}

#[test]
fn any_data_set_is_saved_and_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("made.safetensors");
    for float in [false, true] {
        let made = |len: usize| {
            let mut made = Made::new(len);
            made.float = float;
            Arc::new(made) as Arc<dyn Dataset>
        };
        let splits = Splits { train: made(30), test: Some(made(7)), description: String::new() };
        splits.save(&Disk::default(), &path).unwrap();
        let back = data::open(&path).unwrap();
        let test = back.test.unwrap();
        assert_eq!((back.train.len(), test.len()), (30, 7));
        assert!(back.description.contains("30 training and 7 test images, 2 x 5 x 3, 4 classes"));
        for (theirs, ours) in [(&back.train, &splits.train), (&test, splits.test.as_ref().unwrap())] {
            assert_eq!((theirs.classes(), theirs.shape()), (ours.classes(), ours.shape()));
            for i in 0..ours.len() {
                let (theirs, ours) = (theirs.get(i).unwrap(), ours.get(i).unwrap());
                assert_eq!((theirs.label, theirs.input.dtype()), (ours.label, ours.input.dtype()));
                assert_eq!(theirs.input.to_f64_vec().unwrap(), ours.input.to_f64_vec().unwrap());
            }
        }
        assert_eq!(test.name(3), format!("{}:test:3", path.display()));
        assert_eq!(test.get(7).unwrap_err().kind(), ErrorKind::Index);
    }
}

#[test]
fn the_fingerprint_counts_values_labels_and_names() {
    let of = |first: f32, label: i64, names: [&str; 2]| {
        let x = Tensor::from_vec(vec![first, 2.0, 3.0, 4.0], [2, 1, 2]).unwrap();
        let y = Tensor::from_vec(vec![0, label], [2]).unwrap();
        ArrayDataset::new(x, y).unwrap().with_classes(names.map(String::from).to_vec()).unwrap().fingerprint()
    };
    let first = of(1.0, 1, ["a", "b"]);
    assert_eq!(first, of(1.0, 1, ["a", "b"]));
    for other in [of(1.5, 1, ["a", "b"]), of(1.0, 0, ["a", "b"]), of(1.0, 1, ["a", "c"])] {
        assert_ne!(first, other);
    }
}

#[test]
fn whole_numbers_are_taken_as_they_are_and_bytes_as_shares() {
    let y = || Tensor::from_vec(vec![0i64, 1], [2]).unwrap();
    let whole = Tensor::from_vec(vec![-32768i64, 32767, 5, 200], [2, 1, 2]).unwrap();
    let audio = ArrayDataset::new(whole, y()).unwrap();
    assert_eq!(audio.get(0).unwrap().input.to_vec::<f32>().unwrap(), [-32768.0, 32767.0]);
    let bytes = Tensor::from_vec(vec![0u8, 255, 51, 102], [2, 1, 2]).unwrap();
    let data = ArrayDataset::new(bytes, y()).unwrap();
    let normalize = data::Normalize::measure(&data, &[0, 1]).unwrap();
    assert!((normalize.mean[0] - (1.0 + 0.2 + 0.4) / 4.0).abs() < 1e-6, "{normalize:?}");
}

#[test]
fn a_file_of_many_arrays_is_read_at_once_and_its_error_names_a_few() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("many.npz");
    let one = npy_bytes("|u1", "(1,)", &[1]);
    write_npz(&path, (0..60_000).map(|i| (format!("array{i}"), one.clone())));
    let start = Instant::now();
    let error = data::open(&path).unwrap_err().to_string();
    assert!(error.contains("no array x, but array0, array1, ") && error.contains("array7 and 59992 more"));
    assert!(error.len() < 500, "{} bytes", error.len());
    let npz = Npz::open(&path).unwrap();
    assert!(npz.array("array59999").unwrap().is_some() && format!("{npz:?}").len() < 500);
    // A search of all names for each took six seconds.
    assert!(start.elapsed().as_secs_f64() < 3.0, "{:?}", start.elapsed());
}

#[test]
fn two_of_many_classes_of_one_name_are_found_at_once() {
    let mut names: Vec<String> = (0..100_000).map(|class| class.to_string()).collect();
    let set = |names: Vec<String>| {
        let x = Tensor::from_vec(vec![1.0f32; 2], [1, 1, 2]).unwrap();
        let y = Tensor::from_vec(vec![0i64], [1]).unwrap();
        ArrayDataset::new(x, y).unwrap().with_classes(names)
    };
    let start = Instant::now();
    assert!(set(names.clone()).is_ok());
    names[99_999] = "5".to_string();
    assert!(set(names).unwrap_err().to_string().contains("two classes are called \"5\""));
    assert!(start.elapsed().as_secs_f64() < 2.0, "{:?}", start.elapsed());
}

#[test]
fn an_axis_of_0_is_named_and_not_the_number_of_axes() {
    let refused = |shape: &[usize]| {
        let x = Tensor::zeros(shape, DType::F32).unwrap();
        ArrayDataset::new(x, Tensor::from_vec(vec![0i64, 1], [2]).unwrap()).unwrap_err().to_string()
    };
    assert!(refused(&[2, 3, 0]).contains("x has the shape [2, 3, 0]: it is (N, C, L), and L is 0"));
    assert!(refused(&[2, 0, 4, 4]).contains("it is (N, C, H, W), and C is 0"));
    assert!(refused(&[2, 1, 4, 0, 4]).contains("it is (N, C, D, H, W), and H is 0"));
    assert!(refused(&[0, 3, 4]).contains("N is 0: there are no samples"));
    assert!(refused(&[2, 0]).contains("x[:, None]"));
}

#[test]
fn labels_that_are_texts_are_refused_with_the_line_that_makes_numbers_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("texts.npz");
    let texts: Vec<u8> = ['a', 'b'].into_iter().flat_map(|letter| (letter as u32).to_le_bytes()).collect();
    let x = || npy_bytes("<f4", "(2, 1, 1)", &[0; 8]);
    let y = || npy_bytes("<i8", "(2,)", &[0; 16]);
    let texts = || npy_bytes("<U1", "(2,)", &texts);
    let train = [("x", x()), ("y", texts())];
    let test = [("x", x()), ("y", y()), ("x_test", x()), ("y_test", texts())];
    for (files, name) in [(train.to_vec(), "y"), (test.to_vec(), "y_test")] {
        write_npz(&path, files.into_iter().map(|(name, bytes)| (name.to_string(), bytes)));
        let error = data::open(&path).unwrap_err();
        assert_eq!((error.kind(), error.path()), (ErrorKind::Data, Some(&*path)), "{error}");
        let line = format!("names, {name} = np.unique({name}, return_inverse=True)");
        assert!(error.to_string().contains(&line) && error.to_string().contains("as classes"), "{error}");
    }
}
