//! The orders of Pillow, OpenCV, PyTorch and the `image` crate, each as it really is (tests/golden/image_orders.py).

use std::path::PathBuf;

use rasgo::formats::{image, pixels};
use rasgo::{DType, Error, ErrorKind, Result, Tensor};
use serde_json::Value;

const MODES: [&str; 4] = ["L", "LA", "RGB", "RGBA"];

fn golden_file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

struct Golden {
    height: usize,
    width: usize,
    modes: Value,
}

impl Golden {
    fn read() -> Golden {
        let text = std::fs::read_to_string(golden_file("image_orders.json")).unwrap();
        let modes: Value = serde_json::from_str(&text).unwrap();
        let size = |name: &str| modes[name].as_u64().unwrap() as usize;
        Golden { height: size("height"), width: size("width"), modes }
    }

    fn bytes(&self, mode: &str, from: &str) -> Vec<u8> {
        let values = self.modes[mode][from].as_array().unwrap();
        values.iter().map(|value| value.as_u64().unwrap() as u8).collect()
    }

    fn floats(&self, mode: &str) -> Vec<f32> {
        let values = self.modes[mode]["torch_unit"].as_array().unwrap();
        values.iter().map(|value| value.as_f64().unwrap() as f32).collect()
    }
}

fn bytes(tensor: &Tensor) -> Vec<u8> {
    tensor.to_vec().unwrap()
}

/// An order: from where, in which mode, from bytes and back.
type Order =
    (&'static str, &'static str, fn(&[u8], usize, usize) -> Result<Tensor>, fn(&Tensor) -> Result<Vec<u8>>);

const ORDERS: [Order; 6] = [
    ("pillow", "L", pixels::from_hw_grey, pixels::to_hw_grey),
    ("opencv", "L", pixels::from_hw_grey, pixels::to_hw_grey),
    ("pillow", "RGB", pixels::from_hwc_rgb, pixels::to_hwc_rgb),
    ("opencv", "RGB", pixels::from_hwc_bgr, pixels::to_hwc_bgr),
    ("pillow", "RGBA", pixels::from_hwc_rgba, pixels::to_hwc_rgba),
    ("opencv", "RGBA", pixels::from_hwc_bgra, pixels::to_hwc_bgra),
];

#[test]
fn the_orders_are_pillows_and_opencvs() {
    let golden = Golden::read();
    for (from, mode, read, write) in ORDERS {
        let held = golden.bytes(mode, from);
        let picture = read(&held, golden.height, golden.width).unwrap();
        assert_eq!(bytes(&picture), golden.bytes(mode, "torch_chw"), "{from} {mode}");
        assert_eq!(picture.shape()[1..], [golden.height, golden.width]);
        assert_eq!(write(&picture).unwrap(), held, "{from} {mode}");
    }
    assert_ne!(golden.bytes("RGB", "pillow"), golden.bytes("RGB", "opencv"), "the two orders differ");
}

#[test]
fn planes_keep_their_order_and_floats_are_pytorchs() {
    let golden = Golden::read();
    for (channels, mode) in MODES.iter().enumerate() {
        let planes = golden.bytes(mode, "torch_chw");
        let picture = pixels::from_chw(&planes, channels + 1, golden.height, golden.width).unwrap();
        assert_eq!(picture.shape()[..], [channels + 1, golden.height, golden.width]);
        assert_eq!(pixels::to_chw(&picture).unwrap(), planes);
        let unit = pixels::u8_to_f32_unit(&picture).unwrap();
        assert_eq!(unit.to_vec::<f32>().unwrap(), golden.floats(mode));
        assert_eq!(bytes(&pixels::f32_unit_to_u8(&unit).unwrap()), planes);
        let whole = pixels::u8_to_f32_255(&picture).unwrap();
        assert_eq!(whole.to_vec::<f32>().unwrap(), planes.iter().map(|&x| f32::from(x)).collect::<Vec<_>>());
        assert_eq!(bytes(&pixels::f32_255_to_u8(&whole).unwrap()), planes);
    }
}

#[test]
fn pictures_of_the_image_crate_have_the_same_planes() {
    let golden = Golden::read();
    for mode in MODES {
        let path = golden_file(&format!("image_orders_{}.png", mode.to_lowercase()));
        let read = image::open(path).unwrap();
        let picture = pixels::from_dynamic_image(&read);
        assert_eq!(bytes(&picture), golden.bytes(mode, "torch_chw"), "{mode}");
        assert_eq!(pixels::to_dynamic_image(&picture).unwrap(), read, "{mode}");
        match mode {
            "L" => {
                assert_eq!(bytes(&pixels::from_gray_image(&read.to_luma8())), bytes(&picture));
                assert_eq!(pixels::to_gray_image(&picture).unwrap(), read.to_luma8());
            }
            "RGB" => {
                assert_eq!(bytes(&pixels::from_rgb_image(&read.to_rgb8())), bytes(&picture));
                assert_eq!(pixels::to_rgb_image(&picture).unwrap(), read.to_rgb8());
            }
            "RGBA" => {
                assert_eq!(bytes(&pixels::from_rgba_image(&read.to_rgba8())), bytes(&picture));
                assert_eq!(pixels::to_rgba_image(&picture).unwrap(), read.to_rgba8());
            }
            _ => {}
        }
    }
}

#[test]
fn all_bytes_come_back_from_floats_and_halves_are_rounded_up() {
    let all = Tensor::from_vec((0..=255u8).collect(), [1, 16, 16]).unwrap();
    assert_eq!(bytes(&pixels::f32_unit_to_u8(&pixels::u8_to_f32_unit(&all).unwrap()).unwrap()), bytes(&all));
    let floats = Tensor::from_vec(vec![0.0f32, 0.5, 1.49, 1.5, 254.6, 255.0], [6]).unwrap();
    assert_eq!(bytes(&pixels::f32_255_to_u8(&floats).unwrap()), [0, 1, 1, 2, 255, 255]);
}

#[test]
fn a_picture_of_no_pixels_has_none() {
    for (_, mode, read, write) in ORDERS {
        let picture = read(&[], 0, 4).unwrap();
        assert_eq!(picture.shape()[..], [mode.len(), 0, 4]);
        assert!(write(&picture).unwrap().is_empty());
    }
}

#[test]
fn channels_last_batches_of_one_and_narrowed_ones_are_the_same_picture() {
    let planes: Vec<u8> = (0..2 * 3 * 2 * 4).collect();
    let batch = Tensor::from_vec(planes.clone(), [2, 3, 2, 4]).unwrap();
    for batch in [batch.clone(), batch.to_channels_last()] {
        let second = batch.to_plain().narrow(0, 1, 1).unwrap().reshape([3, 2, 4]).unwrap();
        assert_eq!(pixels::to_chw(&second).unwrap(), planes[24..]);
        assert_eq!(pixels::to_hwc_rgb(&second.to_channels_last()).unwrap()[..3], [24, 32, 40]);
    }
}

fn refused(result: Result<impl std::fmt::Debug>, kind: ErrorKind, parts: &[&str]) {
    let error: Error = result.unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    let text = error.to_string();
    for part in parts {
        assert!(text.contains(part), "{text:?} lacks {part:?}");
    }
    assert!(error.hint_text().is_some() && error.op_name().is_some(), "{text}");
    assert!(
        error.location().is_some_and(|at| at.file().ends_with("pixels.rs") && at.file().contains("tests")),
        "{text}"
    );
}

#[test]
fn what_does_not_fit_is_refused_with_the_arithmetic() {
    use ErrorKind::{Argument, DType as Type, Shape};
    let wrong = "from_hwc_rgb: 17 bytes where height * width * channels = 2 * 3 * 3 = 18 are wanted";
    refused(pixels::from_hwc_rgb(&[0; 17], 2, 3), Shape, &[wrong]);
    refused(pixels::from_hwc_bgr(&[0; 6], 2, 3), Shape, &["from_hwc_bgr", "from_hw_grey"]);
    refused(pixels::from_hwc_rgb(&[0; 24], 2, 3), Shape, &["from_hwc_rgba or from_hwc_bgra"]);
    refused(pixels::from_hw_grey(&[0; 18], 2, 3), Shape, &["height * width = 2 * 3 = 6", "from_hwc_rgb"]);
    refused(pixels::from_chw(&[0; 3], 1, 1, 2), Shape, &["channels * height * width = 1 * 1 * 2 = 2"]);
    refused(pixels::from_hwc_rgba(&[0; 3], usize::MAX, 2), Shape, &["more than any memory"]);
    refused(pixels::from_chw(&[], 0, usize::MAX, 9), Shape, &["more than any memory"]);
    let of = |shape: &[usize], dtype| Tensor::zeros(shape, dtype).unwrap();
    refused(pixels::to_hwc_rgb(&of(&[1, 2, 3], DType::U8)), Shape, &["(3, H, W)", "to_hw_grey"]);
    refused(pixels::to_hw_grey(&of(&[3, 2, 3], DType::U8)), Shape, &["(1, H, W)", "to_hwc_bgr"]);
    refused(pixels::to_hw_grey(&of(&[2, 3], DType::U8)), Shape, &[".reshape([1, 2, 3])"]);
    refused(pixels::to_hwc_bgr(&of(&[5, 3, 2, 4], DType::U8)), Shape, &["batch of 5", ".reshape([3, 2, 4])"]);
    refused(pixels::to_chw(&of(&[5, 3, 2, 4], DType::U8)), Shape, &["(C, H, W)", ".reshape([3, 2, 4])"]);
    refused(pixels::to_rgb_image(&of(&[2, 5, 3], DType::U8)), Shape, &["the channels come first"]);
    refused(
        pixels::to_dynamic_image(&of(&[4, 3, 3], DType::F32)),
        Type,
        &["f32_unit_to_u8", "f32_255_to_u8"],
    );
    refused(pixels::u8_to_f32_unit(&of(&[4], DType::F32)), Type, &["float32 where uint8"]);
    refused(pixels::f32_unit_to_u8(&of(&[4], DType::U8)), Type, &["u8_to_f32_unit"]);
    let floats = |values: &[f32]| Tensor::from_slice(values, [values.len()]).unwrap();
    let text = "2 of 3 values are outside 0..=1, as 2";
    refused(pixels::f32_unit_to_u8(&floats(&[1.0, 2.0, 200.0])), Argument, &[text, "f32_255_to_u8"]);
    refused(pixels::f32_unit_to_u8(&floats(&[-0.1])), Argument, &["clamped"]);
    refused(
        pixels::f32_255_to_u8(&floats(&[f32::NAN])),
        Argument,
        &["1 of 1 values are outside 0..=255, as NaN"],
    );
}
