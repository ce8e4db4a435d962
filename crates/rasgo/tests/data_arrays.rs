//! Data sets of arrays in the library.

mod data_made;

use std::sync::Arc;

use data_made::Made;
use rasgo::data::{self, ArrayDataset, Dataset, Splits};
use rasgo::formats::Disk;
use rasgo::{ErrorKind, Tensor};

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
