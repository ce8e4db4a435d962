//! IDX files: both spellings, raw and gzip, and every way in which they can be wrong.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use rasgo::data::{Dataset, IdxDataset, Part, is_sample_name, open, sample_by_name};
use rasgo::{Error, ErrorKind};

const IMAGES: &str = "train-images-idx3-ubyte";
const LABELS: &str = "train-labels-idx1-ubyte";

fn idx(sizes: &[u32], values: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, sizes.len() as u8];
    sizes.iter().for_each(|size| bytes.extend(size.to_be_bytes()));
    bytes.extend(values);
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Six images of 2 x 3 pixels.
fn images() -> Vec<u8> {
    idx(&[6, 2, 3], &(0..36).map(|i| i * 7).collect::<Vec<u8>>())
}

fn labels() -> Vec<u8> {
    idx(&[6], &[1, 0, 2, 1, 0, 2])
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new(files: &[(&str, &[u8])]) -> Self {
        let folder = Folder(tempfile::tempdir().unwrap());
        for (name, bytes) in files {
            fs::write(folder.0.path().join(name), bytes).unwrap();
        }
        folder
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn error(&self) -> Error {
        IdxDataset::open(self.path(), Part::Train).unwrap_err()
    }
}

/// The error for these bytes in place of the images, which must name the file.
fn images_error(bytes: &[u8]) -> String {
    let folder = Folder::new(&[(IMAGES, bytes), (LABELS, &labels())]);
    let error = folder.error();
    assert_eq!(error.path(), Some(&*folder.path().join(IMAGES)), "{error}");
    error.to_string()
}

#[test]
fn all_spellings_give_the_same_samples() {
    let plain = Folder::new(&[(IMAGES, &images()), (LABELS, &labels())]);
    let dotted = Folder::new(&[
        ("train-images.idx3-ubyte", &images()),
        ("train-labels.idx1-ubyte.gz", &gzip(&labels())),
    ]);
    // Unpacked by a browser that kept the name, and the other way round.
    let lying = Folder::new(&[("train-images-idx3-ubyte.gz", &images()), (LABELS, &gzip(&labels()))]);
    let sets = [&plain, &dotted, &lying].map(|f| IdxDataset::open(f.path(), Part::Train).unwrap());
    for set in &sets {
        assert_eq!(set.len(), 6);
        assert_eq!(set.shape()[..], [1, 2, 3]);
        assert_eq!(set.classes(), ["0", "1", "2"]);
        assert_eq!(set.labels().unwrap(), [1, 0, 2, 1, 0, 2]);
        let sample = set.get(4).unwrap();
        assert_eq!(sample.label, 0);
        assert_eq!(sample.input.to_vec::<u8>().unwrap(), [168, 175, 182, 189, 196, 203]);
        assert_eq!(set.fingerprint(), sets[0].fingerprint());
    }
    assert_eq!(sets[0].name(4), format!("{}:train:4", plain.path().display()));
    let error = sets[0].get(6).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Index);
    assert!(error.to_string().contains("from 0 to 5"), "{error}");
}

#[test]
fn the_fingerprint_sees_every_byte() {
    let prints = (0..3).map(|change| {
        let (mut images, mut labels) = (images(), labels());
        match change {
            1 => images[20] ^= 1,
            2 => labels[9] = 2,
            _ => {}
        }
        let folder = Folder::new(&[(IMAGES, &images), (LABELS, &labels)]);
        IdxDataset::open(folder.path(), Part::Train).unwrap().fingerprint()
    });
    assert_eq!(prints.collect::<std::collections::HashSet<u64>>().len(), 3);
}

#[test]
fn missing_files_are_named() {
    let error = Folder::new(&[(IMAGES, &images())]).error();
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(error.to_string().contains(LABELS) && !error.to_string().contains(IMAGES), "{error}");
    let error = Folder::new(&[]).error();
    assert!(error.to_string().contains(LABELS) && error.to_string().contains(IMAGES), "{error}");
}

#[test]
fn a_wrong_magic_number_is_told_with_what_was_expected() {
    let text = images_error(&labels());
    assert!(
        text.contains("[0, 0, 8, 1]") && text.contains("[0, 0, 8, 3]") && text.contains("swapped"),
        "{text}"
    );
    let text = images_error(&[0, 0, 0x0d, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0]);
    assert!(text.contains("no unsigned bytes"), "{text}");
    assert!(images_error(&idx(&[1, 1, 1, 1], &[0])).contains("4 axes"));
    assert!(images_error(b"<!DOCTYPE html><html></html>").contains("an HTML page"));
    assert!(images_error(b"").contains("an empty file"));
    assert!(images_error(&gzip(b"some text that is no IDX file")).contains("under its gzip"));
    assert!(images_error(&images()[..9]).contains("ends after 9 bytes"));
}

#[test]
fn lengths_must_be_exact_in_both_directions_raw_and_gzip() {
    let whole = images();
    let text = images_error(&whole[..whole.len() - 1]);
    assert!(text.contains("36 bytes of values (6 x 2 x 3), but 35 bytes follow"), "{text}");
    assert!(text.contains("truncated"), "{text}");
    let longer = [&whole[..], b"\n"].concat();
    let text = images_error(&longer);
    assert!(text.contains("37 bytes follow") && text.contains("appended"), "{text}");
    assert!(images_error(&gzip(&whole[..whole.len() - 1])).contains("35 bytes follow"));
    assert!(images_error(&gzip(&longer)).contains("more follow"));
}

#[test]
fn a_gzip_file_cut_anywhere_or_damaged_is_an_error() {
    let zipped = gzip(&images());
    for length in 2..zipped.len() {
        assert!(!images_error(&zipped[..length]).is_empty());
    }
    assert!(images_error(&zipped[..zipped.len() - 3]).contains("truncated"));
    let mut damaged = zipped.clone();
    let sum = damaged.len() - 8;
    damaged[sum] ^= 1;
    assert!(images_error(&damaged).contains("gzip file is damaged"));
    assert!(images_error(&[&zipped[..], b"tail"].concat()).contains("gzip file is"));
}

#[test]
fn a_hostile_header_allocates_nothing() {
    for sizes in [[u32::MAX, 1, 1], [u32::MAX; 3], [60_000, 28, 28], [1 << 20, 1 << 20, 1]] {
        let bytes = idx(&sizes, &[1, 2, 3]);
        assert!(images_error(&bytes).contains("header announces"), "{sizes:?}");
        assert!(images_error(&gzip(&bytes)).contains("header announces"), "{sizes:?}");
    }
    // A gzip bomb: more zeros than the header tells of.
    let bomb = gzip(&idx(&[6, 2, 3], &vec![0; 50 << 20]));
    assert!(images_error(&bomb).contains("more follow"));
    assert!(images_error(&idx(&[0, 28, 28], &[])).contains("holds no images"));
    assert!(images_error(&idx(&[6, 0, 3], &[])).contains("holds no images"));
}

#[test]
fn images_and_labels_must_be_as_many() {
    let folder = Folder::new(&[(IMAGES, &images()), (LABELS, &idx(&[5], &[1, 0, 2, 1, 0]))]);
    let error = folder.error();
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(error.to_string().contains("6 images, but 5 labels"), "{error}");
}

#[test]
fn a_stray_label_is_an_error_and_not_two_hundred_classes() {
    let folder = Folder::new(&[(IMAGES, &images()), (LABELS, &idx(&[6], &[1, 0, 2, 200, 0, 2]))]);
    let error = folder.error();
    assert_eq!(error.path(), Some(&*folder.path().join(LABELS)));
    assert!(error.to_string().contains("label 3 is 200"), "{error}");
    let set = IdxDataset::open(Folder::new(&[(IMAGES, &images()), (LABELS, &labels())]).path(), Part::Train);
    let error = set.unwrap().with_classes(vec!["no".into(), "yes".into()]).unwrap_err();
    assert!(error.to_string().contains("train:2 has the label 2, and there are 2 classes"), "{error}");
}

#[test]
fn a_folder_opens_with_its_parts_and_the_classes_of_both() {
    let test_images = idx(&[2, 2, 3], &[9; 12]);
    let test_labels = idx(&[2], &[3, 0]);
    let folder = Folder::new(&[
        (IMAGES, &images()),
        (LABELS, &labels()),
        ("t10k-images-idx3-ubyte.gz", &gzip(&test_images)),
        ("t10k-labels-idx1-ubyte", &test_labels),
    ]);
    let data = open(folder.path()).unwrap();
    let test = data.test.unwrap();
    assert_eq!((data.train.len(), test.len()), (6, 2));
    assert_eq!((data.train.classes().len(), test.classes().len()), (4, 4));
    assert!(
        data.description.contains("6 training and 2 test images, 2 x 3, 4 classes"),
        "{}",
        data.description
    );

    let name = format!("{}:test:1", folder.path().display());
    assert!(is_sample_name(&name));
    let (dataset, index) = sample_by_name(&name).unwrap();
    assert_eq!((dataset.get(index).unwrap().label, dataset.name(index)), (0, name.clone()));
    let error = sample_by_name(&name.replace("test:1", "test:2")).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Index);
    assert!(error.to_string().contains("has 2") && error.to_string().contains("from 0 to 1"), "{error}");
}

#[test]
fn parts_of_different_sizes_do_not_go_together() {
    let folder = Folder::new(&[
        (IMAGES, &images()),
        (LABELS, &labels()),
        ("t10k-images-idx3-ubyte", &idx(&[2, 3, 3], &[9; 18])),
        ("t10k-labels-idx1-ubyte", &idx(&[2], &[2, 0])),
    ]);
    let error = open(folder.path()).unwrap_err();
    assert!(error.to_string().contains("[1, 2, 3]") && error.to_string().contains("[1, 3, 3]"), "{error}");
}

#[test]
fn a_folder_without_a_test_part_has_none() {
    let folder = Folder::new(&[(IMAGES, &images()), (LABELS, &labels())]);
    assert!(open(folder.path()).unwrap().test.is_none());
    let name = format!("{}:test:0", folder.path().display());
    assert!(sample_by_name(&name).err().unwrap().to_string().contains("no test part"));
    // Half a test part is not passed over.
    fs::write(folder.path().join("t10k-images-idx3-ubyte"), images()).unwrap();
    assert!(open(folder.path()).unwrap_err().to_string().contains("t10k-labels-idx1-ubyte"));
}

#[test]
fn what_is_no_data_set_is_told_apart() {
    let text = |path: &Path| {
        let error = open(path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Data);
        assert!(error.hint_text().is_some());
        error.to_string()
    };
    let folder = tempfile::tempdir().unwrap();
    let inside = |name: &str| -> PathBuf { folder.path().join(name) };
    assert!(text(&inside("nothing")).contains("no data set or folder of that name"));
    assert!(text(folder.path()).contains("the folder is empty"));
    fs::write(inside("notes.txt"), "x").unwrap();
    assert!(text(&inside("notes.txt")).contains("this is a file"));
    assert!(text(folder.path()).contains("holds no data set, but notes.txt"));
}

#[test]
fn names_of_samples_are_checked() {
    for (name, part) in [
        ("seven.png", "not the name of a sample"),
        ("mnist:validation:3", "a part called \"validation\"; mnist has train and test"),
        ("mnist:3", "write mnist:train:3"),
        ("mnist:test:x", "no number"),
        ("mnist:test:-1", "no number"),
    ] {
        let error = sample_by_name(name).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Argument);
        assert!(error.to_string().contains(part), "{error}");
    }
}

/// Runs where MNIST lies in `data/mnist` above the working directory.
#[test]
fn mnist_is_read_where_it_is_present() {
    let Ok(data) = open("mnist") else { return };
    let test = data.test.unwrap();
    assert_eq!((data.train.len(), test.len()), (60_000, 10_000));
    assert_eq!(data.train.shape()[..], [1, 28, 28]);
    assert!(
        data.description.starts_with("MNIST: 60000 training and 10000 test images"),
        "{}",
        data.description
    );
    let (dataset, index) = sample_by_name("mnist:test:42").unwrap();
    assert_eq!((dataset.get(index).unwrap().label, dataset.name(index)), (4, "mnist:test:42".to_string()));
    let all: Vec<usize> = (0..60_000).collect();
    let normalize = rasgo::data::Normalize::measure(&*data.train, &all).unwrap();
    assert!((normalize.mean[0] - 0.1307).abs() < 5e-5 && (normalize.std[0] - 0.3081).abs() < 5e-5);
    assert!(sample_by_name("mnist:test:10000").is_err());
}
