//! Decoded pictures to bytes of one or three channels, and to another size.

use image::imageops::{self, FilterType};
use image::{DynamicImage, GrayImage, ImageBuffer, Luma, Pixel, Rgb, RgbImage};
use rasgo_core::Tensor;

use super::image_file::{ImageOptions, ResizeRule};
use super::pixels::from_buffer;

/// The tensor (C, H, W) of a picture.
pub(super) fn to_tensor(image: &DynamicImage, options: &ImageOptions) -> Tensor {
    if options.channels == 1 {
        from_buffer(&resized(&to_grey(image, options.background), options))
    } else {
        from_buffer(&resized(&to_rgb(image, options.background), options))
    }
}

fn to_grey(image: &DynamicImage, background: u8) -> GrayImage {
    if image.color().has_color() {
        let rgb = to_rgb(image, background);
        return ImageBuffer::from_fn(rgb.width(), rgb.height(), |x, y| Luma([luma(rgb.get_pixel(x, y).0)]));
    }
    if image.color().has_alpha() {
        let both = image.to_luma_alpha8();
        return ImageBuffer::from_fn(both.width(), both.height(), |x, y| {
            let [grey, alpha] = both.get_pixel(x, y).0;
            Luma([over(grey, alpha, background)])
        });
    }
    image.to_luma8()
}

fn to_rgb(image: &DynamicImage, background: u8) -> RgbImage {
    if !image.color().has_color() {
        let grey = to_grey(image, background);
        return ImageBuffer::from_fn(grey.width(), grey.height(), |x, y| Rgb([grey.get_pixel(x, y).0[0]; 3]));
    }
    if image.color().has_alpha() {
        let all = image.to_rgba8();
        return ImageBuffer::from_fn(all.width(), all.height(), |x, y| {
            let [r, g, b, alpha] = all.get_pixel(x, y).0;
            Rgb([r, g, b].map(|value| over(value, alpha, background)))
        });
    }
    image.to_rgb8()
}

/// (299 R + 587 G + 114 B) / 1000 in the 16-bit fixed point of Pillow's mode L, so that the bytes are the same.
fn luma([r, g, b]: [u8; 3]) -> u8 {
    ((u32::from(r) * 19595 + u32::from(g) * 38470 + u32::from(b) * 7471 + 0x8000) >> 16) as u8
}

fn over(value: u8, alpha: u8, background: u8) -> u8 {
    let (value, alpha, background) = (u32::from(value), u32::from(alpha), u32::from(background));
    ((value * alpha + background * (255 - alpha) + 127) / 255) as u8
}

type Picture<P> = ImageBuffer<P, Vec<u8>>;

/// The picture in the size of the options. The filter is a triangle as wide as a pixel of the result, so nothing is
/// skipped when the picture shrinks (Pillow's BILINEAR).
fn resized<P: Pixel<Subpixel = u8> + 'static>(image: &Picture<P>, options: &ImageOptions) -> Picture<P> {
    let Some((height, width)) = options.size.map(|(h, w)| (h as u32, w as u32)) else { return image.clone() };
    if image.dimensions() == (width, height) {
        return image.clone();
    }
    match options.rule {
        ResizeRule::Stretch => imageops::resize(image, width, height, FilterType::Triangle),
        ResizeRule::Pad => {
            let (w, h) = fitting(image.dimensions(), (width, height));
            let inner = imageops::resize(image, w, h, FilterType::Triangle);
            let fill = *P::from_slice(&[options.background; 4][..usize::from(P::CHANNEL_COUNT)]);
            let mut whole = ImageBuffer::from_pixel(width, height, fill);
            imageops::replace(&mut whole, &inner, i64::from((width - w) / 2), i64::from((height - h) / 2));
            whole
        }
    }
}

/// The largest size with the shape of `from` inside `into`, at least one pixel each way.
fn fitting(from: (u32, u32), into: (u32, u32)) -> (u32, u32) {
    let scale = (f64::from(into.0) / f64::from(from.0)).min(f64::from(into.1) / f64::from(from.1));
    let side = |from: u32, into: u32| ((f64::from(from) * scale + 0.5) as u32).clamp(1, into);
    (side(from.0, into.0), side(from.1, into.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn luma_is_pillows() {
        // Image.new("RGB", (1, 1), colour).convert("L").getpixel((0, 0)) in Pillow.
        assert_eq!(luma([255, 0, 0]), 76);
        assert_eq!(luma([0, 255, 0]), 150);
        assert_eq!(luma([0, 0, 255]), 29);
        assert_eq!(luma([255, 255, 255]), 255);
        assert_eq!(luma([10, 200, 30]), 124);
    }

    #[test]
    fn a_fitting_size_keeps_the_shape() {
        assert_eq!(fitting((100, 50), (28, 28)), (28, 14));
        assert_eq!(fitting((50, 100), (28, 56)), (28, 56));
        assert_eq!(fitting((3, 1000), (10, 20)), (1, 20));
    }
}
