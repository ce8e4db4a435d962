//! Folders of images: their order, their parts, and every way in which they can be wrong.

use std::fs;
use std::path::{Path, PathBuf};

use rasgo::data::{Dataset, ImageFolder, open, sample_by_name};
use rasgo::formats::image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use rasgo::{Error, ErrorKind};

/// A folder of images in the making.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Place {
        Place(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes bytes into a file, and its folders.
    fn put(&self, name: &str, bytes: &[u8]) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), bytes).unwrap();
    }

    /// An image of 4 rows and 6 columns, all of one colour.
    fn image(&self, name: &str, color: [u8; 3]) {
        self.sized(name, color, 6, 4);
    }

    fn sized(&self, name: &str, color: [u8; 3], width: u32, height: u32) {
        let format = ImageFormat::from_path(name).unwrap();
        let mut bytes = std::io::Cursor::new(Vec::new());
        DynamicImage::from(RgbImage::from_pixel(width, height, Rgb(color)))
            .write_to(&mut bytes, format)
            .unwrap();
        self.put(name, &bytes.into_inner());
    }

    fn error(&self) -> Error {
        let error = open(self.0.path()).unwrap_err();
        assert!(error.hint_text().is_some(), "{error}");
        error
    }
}

/// Cats and dogs, two each to train on, one to test on.
fn pets() -> Place {
    let place = Place::new();
    for (i, name) in ["cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png"].into_iter().enumerate() {
        place.image(&format!("train/{name}"), [i as u8, 100, 200]);
    }
    place.image("test/dog/9.png", [9, 100, 200]);
    place
}

fn reds(data: &dyn Dataset) -> Vec<u8> {
    (0..data.len()).map(|i| data.get(i).unwrap().input.to_vec::<u8>().unwrap()[0]).collect()
}

#[test]
fn classes_and_files_come_in_torchvisions_order_whatever_else_lies_there() {
    let place = Place::new();
    // What torchvision.datasets.ImageFolder makes of these names, read with the same loop in Python.
    let in_order = [
        "Zebra/b.PNG",
        "ant/10.png",
        "ant/9.png",
        "ant/x/1.png",
        "ant/x-/1.png",
        "ant/x/y/0.png",
        "bee/a.bmp",
    ];
    for (i, name) in in_order.iter().enumerate().rev() {
        place.image(name, [i as u8 + 1, 0, 0]);
    }
    place.put("ant/notes.txt", b"x");
    place.put("ant/.hidden.png", b"x");
    place.put(".cache/1.png", b"x");
    place.put("labels.csv", b"x");
    let data = ImageFolder::open(place.0.path()).unwrap();
    let files: Vec<PathBuf> = in_order.iter().map(|name| place.path(name)).collect();
    assert_eq!(data.files(), files);
    assert_eq!(data.classes(), ["Zebra", "ant", "bee"]);
    assert_eq!(data.labels().unwrap(), [0, 1, 1, 1, 1, 1, 2]);
    assert_eq!(reds(&data), [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(data.name(2), place.path("ant/9.png").display().to_string());
    assert_eq!(data.shape()[..], [3, 4, 6]);
    assert!(data.get(7).is_err());
}

#[test]
fn a_folder_has_a_test_part_or_none() {
    let place = pets();
    let splits = open(place.0.path()).unwrap();
    let test = splits.test.unwrap();
    assert_eq!((reds(&*splits.train), reds(&*test)), (vec![0, 1, 2, 3], vec![9]));
    // The label is that of the training part, though there is no cat.
    assert_eq!((test.classes(), test.label(0).unwrap()), (splits.train.classes(), 1));
    let told = "images: 4 training and 1 test image, 4 x 6, 2 classes, from ";
    assert!(splits.description.starts_with(told), "{}", splits.description);
    let (data, index) = sample_by_name(&format!("{}:test:0", place.0.path().display())).unwrap();
    assert_eq!(data.get(index).unwrap().input.to_vec::<u8>().unwrap()[0], 9);

    fs::rename(place.path("test"), place.path("val")).unwrap();
    assert_eq!(open(place.0.path()).unwrap().test.unwrap().len(), 1);
    place.image("test/cat/1.png", [0, 0, 0]);
    assert!(place.error().to_string().contains("beside train there are test, val"));
    assert!(open(place.path("train")).unwrap().test.is_none());
}

#[test]
fn contents_change_the_fingerprint_and_names_of_files_do_not() {
    let place = pets();
    let fingerprint = || open(place.0.path()).unwrap().train.fingerprint();
    let before = fingerprint();
    fs::rename(place.path("train/dog/2.png"), place.path("train/dog/3.png")).unwrap();
    assert_eq!(fingerprint(), before);
    place.image("train/dog/3.png", [77, 100, 200]);
    assert_ne!(fingerprint(), before);
}

#[test]
fn a_file_that_is_no_image_is_named() {
    let whole = pets();
    whole.image("train/cat/0.jpg", [7, 100, 200]);
    let jpeg = fs::read(whole.path("train/cat/0.jpg")).unwrap();
    for (bytes, told) in [
        (&b"dear diary"[..], "a text"),
        (b"", "an empty file"),
        (&jpeg[..jpeg.len() - 40], "a JPEG image that is truncated"),
        (b"<html><p>404", "an HTML page"),
    ] {
        for name in ["train/cat/0.jpg", "train/dog/7.jpg", "test/dog/1.jpeg"] {
            let place = pets();
            place.put(name, bytes);
            let error = place.error();
            let text = error.to_string();
            assert_eq!(error.kind(), ErrorKind::Format, "{text}");
            assert!(text.contains(told) && text.contains(name), "{text}");
        }
    }
    // Of several, the first in order is told, whatever thread comes to it first.
    let place = pets();
    for name in ["dog/3.jpg", "dog/4.jpg", "cat/4.jpg", "cat/3.jpg"] {
        place.put(&format!("train/{name}"), b"x");
    }
    assert!(place.error().to_string().contains("cat/3.jpg"));
}

#[test]
fn what_does_not_fit_is_named_with_its_place() {
    let told = |change: &dyn Fn(&Place), parts: &[&str]| {
        let place = pets();
        change(&place);
        let error = place.error();
        assert_eq!(error.kind(), ErrorKind::Data);
        let text = error.to_string();
        for part in parts {
            assert!(text.contains(part), "{part}: {text}");
        }
    };
    let folder = |place: &Place, name: &str| fs::create_dir(place.path(name)).unwrap();
    told(&|place| folder(place, "train/eel"), &["the class has no image", "train/eel"]);
    told(&|place| place.put("train/eel/1.heic", b"x"), &["no image, but 1.heic", "train/eel"]);
    told(&|place| place.image("test/eel/1.png", [0; 3]), &["no class \"eel\"", "test/eel", "cat, dog"]);
    let sized = |name: &'static str| move |place: &Place| place.sized(name, [0; 3], 8, 5);
    told(&sized("train/dog/3.png"), &["5 x 8", "train/dog/3.png", "cat/1.png, is 4 x 6"]);
    told(&sized("test/dog/3.png"), &["5 x 8", "test/dog/3.png", "cat/1.png, is 4 x 6"]);
    told(&|place| fs::rename(place.path("train"), place.path("a")).unwrap(), &["deeper, as in a"]);

    let place = Place::new();
    place.image("1.png", [0; 3]);
    assert!(place.error().to_string().contains("nothing says which classes"));
    place.put("train/notes.txt", b"x");
    assert!(place.error().to_string().contains("no sub-folders, and so no classes"));
    let missing = ImageFolder::open(Path::new("no/such/folder")).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::Io);
}
