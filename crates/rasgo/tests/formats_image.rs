//! Pictures of every mode become the stated tensor, and what is no picture is told by what it is.

use std::fs;
use std::io::Cursor;
use std::path::Path;

use image::{DynamicImage, ImageBuffer, ImageFormat, Luma, LumaA, Rgb, Rgba};
use rasgo::formats::{Disk, ImageOptions, ResizeRule, decode_image, png_bytes, read_image, write_png};
use rasgo::{DType, ErrorKind, Tensor};

fn encoded(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    image.into().write_to(&mut file, format).unwrap();
    file.into_inner()
}

fn grey(bytes: &[u8]) -> Vec<u8> {
    decode_image(bytes, &ImageOptions::new(1)).unwrap().to_vec().unwrap()
}

fn color(bytes: &[u8]) -> Vec<u8> {
    decode_image(bytes, &ImageOptions::new(3)).unwrap().to_vec().unwrap()
}

fn message(bytes: &[u8]) -> String {
    let error = decode_image(bytes, &ImageOptions::new(1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Format, "{error}");
    assert!(error.hint_text().is_some(), "{error}");
    error.to_string()
}

/// 3 x 2 pixels, all different.
fn picture() -> ImageBuffer<Rgb<u8>, Vec<u8>> {
    ImageBuffer::from_fn(3, 2, |x, y| {
        Rgb([(10 + x * 40 + y * 7) as u8, (200 - x * 30) as u8, (y * 90) as u8])
    })
}

fn jpeg() -> Vec<u8> {
    let smooth = ImageBuffer::from_fn(40, 24, |x, y| Rgb([(x * 6) as u8, (y * 10) as u8, 90]));
    encoded(DynamicImage::ImageRgb8(smooth), ImageFormat::Jpeg)
}

#[test]
fn planes_come_in_the_order_channel_row_column() {
    let bytes = encoded(picture(), ImageFormat::Png);
    let tensor = decode_image(&bytes, &ImageOptions::new(3)).unwrap();
    assert_eq!(tensor.shape()[..], [3, 2, 3]);
    let expected = [10, 50, 90, 17, 57, 97, 200, 170, 140, 200, 170, 140, 0, 0, 0, 90, 90, 90];
    assert_eq!(tensor.to_vec::<u8>().unwrap(), expected);
}

#[test]
fn every_format_gives_the_same_bytes_whatever_its_name_says() {
    let expected = color(&encoded(picture(), ImageFormat::Png));
    let folder = tempfile::tempdir().unwrap();
    for format in [ImageFormat::Bmp, ImageFormat::Tiff, ImageFormat::Pnm, ImageFormat::WebP, ImageFormat::Png]
    {
        let path = folder.path().join("picture.JPG");
        fs::write(&path, encoded(picture(), format)).unwrap();
        let found = read_image(&path, &ImageOptions::new(3)).unwrap();
        assert_eq!(found.to_vec::<u8>().unwrap(), expected, "{format:?}");
    }
    let two = ImageBuffer::from_fn(
        4,
        4,
        |x, _| if x < 2 { Rgba([255, 0, 0, 255]) } else { Rgba([0, 0, 255, 255]) },
    );
    let gif = color(&encoded(DynamicImage::ImageRgba8(two), ImageFormat::Gif));
    assert_eq!((gif[0], gif[3], gif[32], gif[35]), (255, 0, 0, 255));
    let near = color(&jpeg());
    assert!(near[20].abs_diff(120) < 6, "{}", near[20]);
}

#[test]
fn a_jpeg_is_decoded_nearly_as_by_pillow() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let read =
        |name: &str| read_image(golden.join(name), &ImageOptions::new(3)).unwrap().to_vec::<u8>().unwrap();
    let (ours, pillows) = (read("jpeg.jpg"), read("jpeg.png"));
    assert_eq!((ours.len(), pillows.len()), (3 * 30 * 45, 3 * 30 * 45));
    let apart: Vec<u32> = ours.iter().zip(&pillows).map(|(a, b)| u32::from(a.abs_diff(*b))).collect();
    // Decoders round differently, in the transform and where colours are interpolated.
    let mean = apart.iter().sum::<u32>() as f64 / apart.len() as f64;
    assert!(
        apart.iter().all(|&apart| apart <= 10) && mean < 0.6,
        "mean {mean}, most {:?}",
        apart.iter().max()
    );
}

#[test]
fn colour_becomes_grey_by_luma_and_grey_becomes_three_equal_channels() {
    let pure = ImageBuffer::from_fn(3, 1, |x, _| Rgb([[255u8, 0, 0], [0, 255, 0], [0, 0, 255]][x as usize]));
    assert_eq!(grey(&encoded(pure, ImageFormat::Png)), [76, 150, 29]);
    let levels: ImageBuffer<Luma<u8>, Vec<u8>> = ImageBuffer::from_fn(3, 1, |x, _| Luma([x as u8 * 100]));
    let bytes = encoded(levels, ImageFormat::Png);
    assert_eq!(grey(&bytes), [0, 100, 200]);
    assert_eq!(color(&bytes), [0, 100, 200, 0, 100, 200, 0, 100, 200]);
}

#[test]
fn transparency_shows_the_background_white_unless_asked() {
    let image = ImageBuffer::from_fn(3, 1, |x, _| Rgba([100, 200, 0, [255, 0, 51][x as usize]]));
    let bytes = encoded(DynamicImage::ImageRgba8(image), ImageFormat::Png);
    assert_eq!(color(&bytes), [100, 255, 224, 200, 255, 244, 0, 255, 204]);
    let black = decode_image(&bytes, &ImageOptions::new(3).background(0)).unwrap();
    assert_eq!(black.to_vec::<u8>().unwrap(), [100, 0, 20, 200, 0, 40, 0, 0, 0]);
    let both = ImageBuffer::from_fn(2, 1, |x, _| LumaA([10u8, x as u8 * 255]));
    assert_eq!(grey(&encoded(DynamicImage::ImageLumaA8(both), ImageFormat::Png)), [255, 10]);
}

#[test]
fn sixteen_bits_are_scaled_and_not_clipped() {
    let levels: ImageBuffer<Luma<u16>, Vec<u16>> =
        ImageBuffer::from_fn(4, 1, |x, _| Luma([[0, 0x8080, 300, 65535][x as usize]]));
    assert_eq!(grey(&encoded(DynamicImage::ImageLuma16(levels), ImageFormat::Png)), [0, 128, 1, 255]);
    let levels: ImageBuffer<Rgb<u16>, Vec<u16>> =
        ImageBuffer::from_fn(1, 1, |_, _| Rgb([0x4040, 0xffff, 0x0101]));
    assert_eq!(color(&encoded(DynamicImage::ImageRgb16(levels), ImageFormat::Png)), [64, 255, 1]);
}

/// A JPEG with that EXIF orientation: a segment APP1 behind the first two bytes.
fn turned(jpeg: &[u8], orientation: u8) -> Vec<u8> {
    let exif = [
        &b"Exif\0\0II*\0\x08\0\0\0"[..],
        &[1, 0, 0x12, 1, 3, 0, 1, 0, 0, 0, orientation, 0, 0, 0, 0, 0, 0, 0],
    ]
    .concat();
    let length = (exif.len() as u16 + 2).to_be_bytes();
    [&jpeg[..2], &[0xff, 0xe1], &length, &exif, &jpeg[2..]].concat()
}

#[test]
fn all_eight_orientations_are_applied() {
    let jpeg = jpeg();
    let upright = decode_image(&jpeg, &ImageOptions::new(1)).unwrap();
    let (h, w) = (24, 40);
    let src = upright.to_vec::<u8>().unwrap();
    for orientation in 1..=8u8 {
        let found = decode_image(&turned(&jpeg, orientation), &ImageOptions::new(1)).unwrap();
        let (fh, fw) = if orientation < 5 { (h, w) } else { (w, h) };
        assert_eq!(found.shape()[..], [1, fh, fw], "{orientation}");
        let found = found.to_vec::<u8>().unwrap();
        for y in 0..fh {
            for x in 0..fw {
                // Where the row 0 and column 0 of the stored picture lie, by the EXIF table.
                let (sy, sx) = match orientation {
                    1 => (y, x),
                    2 => (y, w - 1 - x),
                    3 => (h - 1 - y, w - 1 - x),
                    4 => (h - 1 - y, x),
                    5 => (x, y),
                    6 => (h - 1 - x, y),
                    7 => (h - 1 - x, w - 1 - y),
                    _ => (x, w - 1 - y),
                };
                assert_eq!(found[y * fw + x], src[sy * w + sx], "{orientation} {y} {x}");
            }
        }
    }
}

#[test]
fn resizing_takes_every_pixel_into_account_and_pads_on_request() {
    // Black and white columns: a filter that skips pixels would give one or the other.
    let stripes: ImageBuffer<Luma<u8>, Vec<u8>> =
        ImageBuffer::from_fn(64, 32, |x, _| Luma([(x % 2) as u8 * 255]));
    let bytes = encoded(stripes, ImageFormat::Png);
    let small = decode_image(&bytes, &ImageOptions::new(1).size(8, 8)).unwrap();
    assert_eq!(small.shape()[..], [1, 8, 8]);
    assert!(small.to_vec::<u8>().unwrap().iter().all(|x| x.abs_diff(127) < 12));

    let plain: ImageBuffer<Luma<u8>, Vec<u8>> = ImageBuffer::from_pixel(20, 10, Luma([9]));
    let bytes = encoded(plain, ImageFormat::Png);
    let options = ImageOptions::new(1).size(8, 8).rule(ResizeRule::Pad).background(200);
    let padded = decode_image(&bytes, &options).unwrap().to_vec::<u8>().unwrap();
    for (y, row) in padded.chunks(8).enumerate() {
        assert_eq!(row, [if (2..6).contains(&y) { 9 } else { 200 }; 8], "{y}");
    }
    let same = decode_image(&bytes, &ImageOptions::new(1).size(10, 20)).unwrap();
    assert_eq!(same.to_vec::<u8>().unwrap(), [9; 200]);
}

#[test]
fn rules_have_names_that_are_stored() {
    for rule in [ResizeRule::Stretch, ResizeRule::Pad] {
        assert_eq!(ResizeRule::from_name(rule.name()).unwrap(), rule);
        assert_eq!(serde_json::to_string(&rule).unwrap(), format!("{:?}", rule.name()));
    }
    assert!(ResizeRule::from_name("crop").unwrap_err().to_string().contains("stretch and pad"));
}

#[test]
fn what_is_no_picture_is_told_by_what_it_is() {
    assert!(message(b"").contains("an empty file"));
    assert!(message(&[0; 100]).contains("a file of zeros"));
    assert!(message(b"<html><body>404</body></html>").contains("an HTML page"));
    assert!(message(b"version https://git-lfs.github.com/spec/v1\n").contains("Git LFS"));
    assert!(message(b"hello there, I am a text").contains("a text"));
    assert!(message(b"\0\0\0\x18ftypheic\0\0\0\0").contains("a HEIC photo"));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("photo.jpg");
    fs::write(&path, "x").unwrap();
    assert_eq!(read_image(&path, &ImageOptions::new(1)).unwrap_err().path(), Some(&*path));
    assert!(read_image(folder.path(), &ImageOptions::new(1)).unwrap_err().to_string().contains("a folder"));
    let error = read_image(folder.path().join("none.png"), &ImageOptions::new(1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
}

#[test]
fn a_picture_cut_anywhere_is_an_error() {
    let noise = ImageBuffer::from_fn(33, 21, |x, y| {
        Rgb([(x * 71 + y * 13) as u8, (x * y * 3) as u8, (y * 57) as u8])
    });
    let formats = [
        ImageFormat::Png,
        ImageFormat::Jpeg,
        ImageFormat::Bmp,
        ImageFormat::Pnm,
        ImageFormat::WebP,
        ImageFormat::Tiff,
        ImageFormat::Gif,
    ];
    for format in formats {
        let image = DynamicImage::ImageRgb8(noise.clone());
        let image = if format == ImageFormat::Gif { image.to_rgba8().into() } else { image };
        let bytes = encoded(image, format);
        // The trailer of a PNG, and the end code and trailer of a GIF, hold nothing of the picture.
        let end = match format {
            ImageFormat::Png => bytes.len() - 12,
            ImageFormat::Gif => bytes.len() - 8,
            _ => bytes.len(),
        };
        for length in (0..end).step_by(7).chain([end - 1]) {
            assert!(decode_image(&bytes[..length], &ImageOptions::new(3)).is_err(), "{format:?} {length}");
        }
    }
    assert!(message(&jpeg()[..300]).contains("a JPEG image that is truncated"));
}

#[test]
fn a_decompression_bomb_is_refused_at_its_header() {
    let mut bytes = encoded(picture(), ImageFormat::Bmp);
    bytes[18..22].copy_from_slice(&60_000u32.to_le_bytes());
    bytes[22..26].copy_from_slice(&60_000u32.to_le_bytes());
    assert!(message(&bytes).contains("too large"), "{}", message(&bytes));
    let pnm = b"P5 1000000 1000000 255\n";
    assert!(message(pnm).contains("too large"), "{}", message(pnm));
}

#[test]
fn options_that_make_no_picture_are_refused() {
    let bytes = encoded(picture(), ImageFormat::Png);
    for options in
        [ImageOptions::new(2), ImageOptions::new(1).size(0, 5), ImageOptions::new(1).size(5, 1 << 20)]
    {
        assert_eq!(decode_image(&bytes, &options).unwrap_err().kind(), ErrorKind::Argument);
    }
}

#[test]
fn png_files_hold_what_they_are_given() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.png");
    let values: Vec<u8> = (0..3 * 4 * 5).map(|i| i * 4).collect();
    let tensor = Tensor::from_vec(values.clone(), [3, 4, 5]).unwrap();
    write_png(&Disk::default(), &path, &tensor).unwrap();
    assert_eq!(read_image(&path, &ImageOptions::new(3)).unwrap().to_vec::<u8>().unwrap(), values);
    let floats = Tensor::from_vec(vec![-1.0f32, 0.0, 0.5, 1.0, 7.0, f32::NAN], [2, 3]).unwrap();
    assert_eq!(grey(&png_bytes(&floats).unwrap()), [0, 0, 128, 255, 255, 0]);
    for shape in [vec![2, 3, 3], vec![18], vec![3, 0, 4]] {
        let tensor = Tensor::zeros(shape, DType::U8).unwrap();
        assert_eq!(png_bytes(&tensor).unwrap_err().kind(), ErrorKind::Shape);
    }
    assert_eq!(png_bytes(&Tensor::zeros([2, 2], DType::I64).unwrap()).unwrap_err().kind(), ErrorKind::DType);
    assert!(write_png(&Disk::failing_at(2), &path, &floats).is_err());
    assert_eq!(read_image(&path, &ImageOptions::new(3)).unwrap().to_vec::<u8>().unwrap(), values);
}

#[test]
fn a_changed_byte_never_panics() {
    for format in
        [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::Gif, ImageFormat::WebP, ImageFormat::Tiff]
    {
        let image = DynamicImage::ImageRgb8(picture());
        let image = if format == ImageFormat::Gif { image.to_rgba8().into() } else { image };
        let bytes = encoded(image, format);
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x55;
            let _ = decode_image(&changed, &ImageOptions::new(3));
        }
    }
}
