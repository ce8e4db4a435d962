//! Pictures in memory and tensors, each way named after its order.
//!
//! A picture is a tensor (C, H, W) of bytes, 0..=255, and the channels are red, green, blue (and alpha): PyTorch's
//! order. Elsewhere pixels lie together, (H, W, C):
//!
//! | from | order | to a tensor | back |
//! |---|---|---|---|
//! | Pillow, `np.asarray(Image.open(path))` | (H, W, C), RGB | [`from_hwc_rgb`] | [`to_hwc_rgb`] |
//! | Pillow, mode `RGBA` | (H, W, C), RGBA | [`from_hwc_rgba`] | [`to_hwc_rgba`] |
//! | OpenCV, `cv2.imread(path)` | (H, W, C), BGR | [`from_hwc_bgr`] | [`to_hwc_bgr`] |
//! | OpenCV, `IMREAD_UNCHANGED` with alpha | (H, W, C), BGRA | [`from_hwc_bgra`] | [`to_hwc_bgra`] |
//! | either, one grey channel | (H, W) | [`from_hw_grey`] | [`to_hw_grey`] |
//! | PyTorch, `.permute(2, 0, 1)` | (C, H, W) | [`from_chw`] | [`to_chw`] |
//! | the [`image`] crate, `GrayImage` | | [`from_gray_image`] | [`to_gray_image`] |
//! | the [`image`] crate, `RgbImage` | | [`from_rgb_image`] | [`to_rgb_image`] |
//! | the [`image`] crate, `RgbaImage` | | [`from_rgba_image`] | [`to_rgba_image`] |
//! | the [`image`] crate, `DynamicImage` | | [`from_dynamic_image`] | [`to_dynamic_image`] |
//!
//! No function converts values beside the order. Bytes become floats by [`u8_to_f32_unit`] (0..1, torchvision's
//! `ToTensor`) or [`u8_to_f32_255`] (0..255), and go back by [`f32_unit_to_u8`] or [`f32_255_to_u8`].
//!
//! A batch (N, C, H, W) is made of pictures of one size: `reshape([1, c, h, w])` adds the axis to one of them.
//!
//! ```
//! use rasgo::formats::pixels;
//! // One row of two pixels, a red one and a blue one, as Pillow and as OpenCV have them.
//! let pillow = [255, 0, 0, /**/ 0, 0, 255];
//! let opencv = [0, 0, 255, /**/ 255, 0, 0];
//! let picture = pixels::from_hwc_rgb(&pillow, 1, 2)?;
//! assert_eq!(picture.shape()[..], [3, 1, 2]);
//! assert_eq!(picture.to_vec::<u8>()?, [/* red */ 255, 0, /* green */ 0, 0, /* blue */ 0, 255]);
//! assert_eq!(pixels::from_hwc_bgr(&opencv, 1, 2)?.to_vec::<u8>()?, picture.to_vec::<u8>()?);
//! assert_eq!(pixels::to_hwc_bgr(&picture)?, opencv);
//! # Ok::<(), rasgo::Error>(())
//! ```

use std::panic::Location;

use image::{DynamicImage, GrayImage, ImageBuffer, Pixel, RgbImage, RgbaImage};
use rasgo_core::{DType, Error, ErrorKind, Result, Shape, Tensor};

/// The plane of each byte of a pixel.
const GREY: &[usize] = &[0];
const RGB: &[usize] = &[0, 1, 2];
const BGR: &[usize] = &[2, 1, 0];
const RGBA: &[usize] = &[0, 1, 2, 3];
const BGRA: &[usize] = &[2, 1, 0, 3];

/// One grey channel, row by row, to (1, H, W).
///
/// ```
/// let picture = rasgo::formats::pixels::from_hw_grey(&[0, 50, 100, 150, 200, 250], 2, 3)?;
/// assert_eq!(picture.shape()[..], [1, 2, 3]);
/// # Ok::<(), rasgo::Error>(())
/// ```
///
/// # Errors
/// [`ErrorKind::Shape`] for another number of bytes than height times width.
#[track_caller]
pub fn from_hw_grey(bytes: &[u8], height: usize, width: usize) -> Result<Tensor> {
    from_interleaved("from_hw_grey", bytes, height, width, GREY)
}

/// Pixels of red, green and blue, as Pillow has them, to (3, H, W) with red first.
///
/// ```
/// let picture = rasgo::formats::pixels::from_hwc_rgb(&[10, 20, 30, 11, 21, 31], 1, 2)?;
/// assert_eq!(picture.to_vec::<u8>()?, [10, 11, 20, 21, 30, 31]);
/// # Ok::<(), rasgo::Error>(())
/// ```
///
/// # Errors
/// [`ErrorKind::Shape`] for another number of bytes than height times width times 3.
#[track_caller]
pub fn from_hwc_rgb(bytes: &[u8], height: usize, width: usize) -> Result<Tensor> {
    from_interleaved("from_hwc_rgb", bytes, height, width, RGB)
}

/// Pixels of blue, green and red, as OpenCV has them, to (3, H, W) with red first.
///
/// ```
/// let picture = rasgo::formats::pixels::from_hwc_bgr(&[30, 20, 10, 31, 21, 11], 1, 2)?;
/// assert_eq!(picture.to_vec::<u8>()?, [10, 11, 20, 21, 30, 31]);
/// # Ok::<(), rasgo::Error>(())
/// ```
///
/// # Errors
/// [`ErrorKind::Shape`] for another number of bytes than height times width times 3.
#[track_caller]
pub fn from_hwc_bgr(bytes: &[u8], height: usize, width: usize) -> Result<Tensor> {
    from_interleaved("from_hwc_bgr", bytes, height, width, BGR)
}

/// Pixels of red, green, blue and alpha to (4, H, W) in that order.
///
/// ```
/// let picture = rasgo::formats::pixels::from_hwc_rgba(&[10, 20, 30, 255], 1, 1)?;
/// assert_eq!(picture.to_vec::<u8>()?, [10, 20, 30, 255]);
/// # Ok::<(), rasgo::Error>(())
/// ```
///
/// # Errors
/// [`ErrorKind::Shape`] for another number of bytes than height times width times 4.
#[track_caller]
pub fn from_hwc_rgba(bytes: &[u8], height: usize, width: usize) -> Result<Tensor> {
    from_interleaved("from_hwc_rgba", bytes, height, width, RGBA)
}

/// Pixels of blue, green, red and alpha, as OpenCV has them, to (4, H, W) with red first and alpha last.
///
/// ```
/// let picture = rasgo::formats::pixels::from_hwc_bgra(&[30, 20, 10, 255], 1, 1)?;
/// assert_eq!(picture.to_vec::<u8>()?, [10, 20, 30, 255]);
/// # Ok::<(), rasgo::Error>(())
/// ```
///
/// # Errors
/// [`ErrorKind::Shape`] for another number of bytes than height times width times 4.
#[track_caller]
pub fn from_hwc_bgra(bytes: &[u8], height: usize, width: usize) -> Result<Tensor> {
    from_interleaved("from_hwc_bgra", bytes, height, width, BGRA)
}

/// Planes one after the other, as PyTorch has them after `.permute(2, 0, 1)`, to (C, H, W). The planes keep their
/// order, whatever they show.
///
/// ```
/// let picture = rasgo::formats::pixels::from_chw(&[1, 2, 3, 4, 5, 6], 3, 1, 2)?;
/// assert_eq!(picture.shape()[..], [3, 1, 2]);
/// assert_eq!(picture.to_vec::<u8>()?, [1, 2, 3, 4, 5, 6]);
/// # Ok::<(), rasgo::Error>(())
/// ```
///
/// # Errors
/// [`ErrorKind::Shape`] for another number of bytes than channels times height times width.
#[track_caller]
pub fn from_chw(bytes: &[u8], channels: usize, height: usize, width: usize) -> Result<Tensor> {
    let sizes = [("channels", channels), ("height", height), ("width", width)];
    expect_bytes("from_chw", bytes.len(), &sizes)?;
    Tensor::from_slice(bytes, [channels, height, width])
}

/// The bytes of a picture (1, H, W), row by row.
///
/// # Errors
/// [`ErrorKind::Shape`] for another number of channels, [`ErrorKind::DType`] for values that are no bytes.
#[track_caller]
pub fn to_hw_grey(picture: &Tensor) -> Result<Vec<u8>> {
    to_interleaved("to_hw_grey", picture, GREY)
}

/// The pixels of a picture (3, H, W), red, green and blue each: Pillow's order.
///
/// # Errors
/// [`ErrorKind::Shape`] for another number of channels, [`ErrorKind::DType`] for values that are no bytes.
#[track_caller]
pub fn to_hwc_rgb(picture: &Tensor) -> Result<Vec<u8>> {
    to_interleaved("to_hwc_rgb", picture, RGB)
}

/// The pixels of a picture (3, H, W), blue, green and red each: OpenCV's order.
///
/// # Errors
/// [`ErrorKind::Shape`] for another number of channels, [`ErrorKind::DType`] for values that are no bytes.
#[track_caller]
pub fn to_hwc_bgr(picture: &Tensor) -> Result<Vec<u8>> {
    to_interleaved("to_hwc_bgr", picture, BGR)
}

/// The pixels of a picture (4, H, W), red, green, blue and alpha each.
///
/// # Errors
/// [`ErrorKind::Shape`] for another number of channels, [`ErrorKind::DType`] for values that are no bytes.
#[track_caller]
pub fn to_hwc_rgba(picture: &Tensor) -> Result<Vec<u8>> {
    to_interleaved("to_hwc_rgba", picture, RGBA)
}

/// The pixels of a picture (4, H, W), blue, green, red and alpha each: OpenCV's order.
///
/// # Errors
/// [`ErrorKind::Shape`] for another number of channels, [`ErrorKind::DType`] for values that are no bytes.
#[track_caller]
pub fn to_hwc_bgra(picture: &Tensor) -> Result<Vec<u8>> {
    to_interleaved("to_hwc_bgra", picture, BGRA)
}

/// The planes of a picture (C, H, W), one after the other.
///
/// # Errors
/// [`ErrorKind::Shape`] for other than three axes, [`ErrorKind::DType`] for values that are no bytes.
#[track_caller]
pub fn to_chw(picture: &Tensor) -> Result<Vec<u8>> {
    planes("to_chw", picture, picture.shape().first().copied().unwrap_or(0))
}

/// A grey picture of the `image` crate to (1, H, W).
pub fn from_gray_image(image: &GrayImage) -> Tensor {
    from_buffer(image)
}

/// A colour picture of the `image` crate to (3, H, W), red first.
///
/// ```
/// use rasgo::formats::{image, pixels};
/// let red = image::RgbImage::from_pixel(2, 1, image::Rgb([255, 0, 0]));
/// let picture = pixels::from_rgb_image(&red);
/// assert_eq!(picture.to_vec::<u8>()?, [255, 255, 0, 0, 0, 0]);
/// assert_eq!(pixels::to_rgb_image(&picture)?, red);
/// # Ok::<(), rasgo::Error>(())
/// ```
pub fn from_rgb_image(image: &RgbImage) -> Tensor {
    from_buffer(image)
}

/// A colour picture with alpha of the `image` crate to (4, H, W), red first and alpha last.
pub fn from_rgba_image(image: &RgbaImage) -> Tensor {
    from_buffer(image)
}

/// A picture of the `image` crate with the channels that it has: grey 1, grey and alpha 2, colour 3, colour and alpha
/// 4. Other depths than 8 bits are scaled to 8.
///
/// Alpha is kept, as Pillow keeps it; [`decode_image`](super::decode_image) lays a picture over a background instead.
pub fn from_dynamic_image(image: &DynamicImage) -> Tensor {
    match (image.color().has_color(), image.color().has_alpha()) {
        (false, false) => from_buffer(&image.to_luma8()),
        (false, true) => from_buffer(&image.to_luma_alpha8()),
        (true, false) => from_buffer(&image.to_rgb8()),
        (true, true) => from_buffer(&image.to_rgba8()),
    }
}

/// A picture (1, H, W) as the `image` crate's.
///
/// # Errors
/// [`ErrorKind::Shape`] for another shape, [`ErrorKind::DType`] for values that are no bytes.
#[track_caller]
pub fn to_gray_image(picture: &Tensor) -> Result<GrayImage> {
    to_buffer("to_gray_image", picture, GREY)
}

/// A picture (3, H, W) as the `image` crate's.
///
/// # Errors
/// [`ErrorKind::Shape`] for another shape, [`ErrorKind::DType`] for values that are no bytes.
#[track_caller]
pub fn to_rgb_image(picture: &Tensor) -> Result<RgbImage> {
    to_buffer("to_rgb_image", picture, RGB)
}

/// A picture (4, H, W) as the `image` crate's.
///
/// # Errors
/// [`ErrorKind::Shape`] for another shape, [`ErrorKind::DType`] for values that are no bytes.
#[track_caller]
pub fn to_rgba_image(picture: &Tensor) -> Result<RgbaImage> {
    to_buffer("to_rgba_image", picture, RGBA)
}

/// A picture of 1 (grey), 2 (grey, alpha), 3 (colour) or 4 channels (colour, alpha) as the `image` crate's.
///
/// # Errors
/// [`ErrorKind::Shape`] for another shape, [`ErrorKind::DType`] for values that are no bytes.
#[track_caller]
pub fn to_dynamic_image(picture: &Tensor) -> Result<DynamicImage> {
    const OP: &str = "to_dynamic_image";
    Ok(match picture.shape()[..] {
        [1, _, _] => DynamicImage::ImageLuma8(to_buffer(OP, picture, GREY)?),
        [2, _, _] => DynamicImage::ImageLumaA8(to_buffer(OP, picture, &[0, 1])?),
        [4, _, _] => DynamicImage::ImageRgba8(to_buffer(OP, picture, RGBA)?),
        _ => DynamicImage::ImageRgb8(to_buffer(OP, picture, RGB)?),
    })
}

/// Bytes 0..=255 to floats 0..=1, divided by 255: torchvision's `ToTensor`.
///
/// ```
/// use rasgo::{Tensor, formats::pixels};
/// let bytes = Tensor::from_vec(vec![0u8, 51, 255], [1, 1, 3])?;
/// let floats = pixels::u8_to_f32_unit(&bytes)?;
/// assert_eq!(floats.to_vec::<f32>()?, [0.0, 0.2, 1.0]);
/// assert_eq!(pixels::f32_unit_to_u8(&floats)?.to_vec::<u8>()?, [0, 51, 255]);
/// # Ok::<(), rasgo::Error>(())
/// ```
///
/// # Errors
/// [`ErrorKind::DType`] for values that are no bytes.
#[track_caller]
pub fn u8_to_f32_unit(bytes: &Tensor) -> Result<Tensor> {
    to_floats("u8_to_f32_unit", bytes, |byte| f32::from(byte) / 255.0)
}

/// Bytes 0..=255 to floats 0..=255.
///
/// # Errors
/// [`ErrorKind::DType`] for values that are no bytes.
#[track_caller]
pub fn u8_to_f32_255(bytes: &Tensor) -> Result<Tensor> {
    to_floats("u8_to_f32_255", bytes, f32::from)
}

/// Floats 0..=1 to the nearest of the bytes 0..=255.
///
/// # Errors
/// [`ErrorKind::Argument`] for a value outside 0..=1, NaN among them: floats 0..=255 are not taken for these.
/// [`ErrorKind::DType`] for values that are no f32.
#[track_caller]
pub fn f32_unit_to_u8(floats: &Tensor) -> Result<Tensor> {
    to_bytes("f32_unit_to_u8", floats, 1.0)
}

/// Floats 0..=255 to the nearest byte.
///
/// # Errors
/// [`ErrorKind::Argument`] for a value outside 0..=255, NaN among them; [`ErrorKind::DType`] for values that are no f32.
#[track_caller]
pub fn f32_255_to_u8(floats: &Tensor) -> Result<Tensor> {
    to_bytes("f32_255_to_u8", floats, 255.0)
}

/// Planes of pixels whose bytes lie together: byte `k` of each goes to plane `order[k]`.
fn separate(bytes: &[u8], pixels: usize, order: &[usize], planes: &mut [u8]) {
    for (k, &plane) in order.iter().enumerate() {
        let values = bytes[k.min(bytes.len())..].iter().step_by(order.len());
        planes[plane * pixels..(plane + 1) * pixels]
            .iter_mut()
            .zip(values)
            .for_each(|(to, from)| *to = *from);
    }
}

/// The bytes of each pixel together: byte `k` comes from plane `order[k]`.
pub(super) fn interleaved(planes: &[u8], order: &[usize]) -> Vec<u8> {
    let pixels = planes.len() / order.len();
    (0..pixels).flat_map(|pixel| order.iter().map(move |plane| planes[plane * pixels + pixel])).collect()
}

#[track_caller]
fn from_interleaved(
    op: &'static str,
    bytes: &[u8],
    height: usize,
    width: usize,
    order: &[usize],
) -> Result<Tensor> {
    let sizes = [("height", height), ("width", width), ("channels", order.len())];
    let sizes = if order.len() == 1 { &sizes[..2] } else { &sizes };
    expect_bytes(op, bytes.len(), sizes)?;
    Ok(Tensor::from_fn([order.len(), height, width], |planes| separate(bytes, height * width, order, planes)))
}

pub(super) fn from_buffer<P: Pixel<Subpixel = u8>>(image: &ImageBuffer<P, Vec<u8>>) -> Tensor {
    let (width, height) = (image.width() as usize, image.height() as usize);
    let channels = usize::from(P::CHANNEL_COUNT);
    Tensor::from_fn([channels, height, width], |planes| {
        separate(image.as_raw(), height * width, &RGBA[..channels], planes);
    })
}

#[track_caller]
fn to_interleaved(op: &'static str, picture: &Tensor, order: &[usize]) -> Result<Vec<u8>> {
    Ok(interleaved(&planes(op, picture, order.len())?, order))
}

#[track_caller]
fn to_buffer<P: Pixel<Subpixel = u8>>(
    op: &'static str,
    picture: &Tensor,
    order: &[usize],
) -> Result<ImageBuffer<P, Vec<u8>>> {
    let pixels = to_interleaved(op, picture, order)?;
    let (height, width) = (picture.shape()[1], picture.shape()[2]);
    match (u32::try_from(width), u32::try_from(height)) {
        (Ok(w), Ok(h)) => Ok(ImageBuffer::from_raw(w, h, pixels).expect("as many bytes as pixels")),
        _ => Err(Error::shape(format!("{height} x {width} pixels; the sides of an image are below 2^32"))
            .op(op)
            .at(Location::caller())),
    }
}

/// The bytes of a picture with so many channels, in the order (C, H, W).
#[track_caller]
fn planes(op: &'static str, picture: &Tensor, channels: usize) -> Result<Vec<u8>> {
    let at = Location::caller();
    let shape = picture.shape();
    if shape.len() != 3 || shape[0] != channels {
        let wanted = if op == "to_chw" { "(C, H, W)".to_string() } else { format!("({channels}, H, W)") };
        let error = Error::shape(format!("a tensor of shape {shape} where {wanted} is wanted"));
        let error = match shape[..] {
            [n, c, h, w] if c == channels || op == "to_chw" => error.hint(format!(
                "it is a batch of {n}: take one picture with .narrow(0, i, 1)?.reshape([{c}, {h}, {w}])?"
            )),
            [h, w] => error.hint(format!("give a plane its channel: .reshape([1, {h}, {w}])?")),
            [1, _, _] => error.hint("one channel is grey: to_hw_grey, to_gray_image"),
            [3, _, _] => error.hint("three channels are colour: to_hwc_rgb, to_hwc_bgr, to_rgb_image"),
            [4, _, _] => {
                error.hint("four channels are colour and alpha: to_hwc_rgba, to_hwc_bgra, to_rgba_image")
            }
            [.., c] if c == channels => {
                error.hint("the channels come first; a picture (H, W, C) is read by from_hwc_rgb")
            }
            _ => error,
        };
        return Err(error.op(op).at(at));
    }
    expect_dtype(op, picture, DType::U8)?;
    picture.to_vec::<u8>()
}

#[track_caller]
fn expect_dtype(op: &'static str, tensor: &Tensor, dtype: DType) -> Result<()> {
    if tensor.dtype() == dtype {
        return Ok(());
    }
    let hint = match dtype {
        DType::U8 => "floats become bytes by f32_unit_to_u8 (0..1) or f32_255_to_u8 (0..255)",
        _ => "convert it with .to_dtype(DType::F32); bytes become floats by u8_to_f32_unit or u8_to_f32_255",
    };
    Err(Error::new(ErrorKind::DType, format!("a tensor of {} where {dtype} is wanted", tensor.dtype()))
        .hint(hint)
        .op(op)
        .at(Location::caller()))
}

#[track_caller]
fn expect_bytes(op: &'static str, found: usize, sizes: &[(&str, usize)]) -> Result<()> {
    let wanted = sizes.iter().map(|(_, size)| *size).collect::<Shape>().checked_elements();
    if wanted == Some(found) {
        return Ok(());
    }
    let join = |parts: Vec<String>, by: &str| parts.join(by);
    let product = join(sizes.iter().map(|(_, size)| size.to_string()).collect(), " * ");
    let names = join(sizes.iter().map(|(name, _)| (*name).to_string()).collect(), " * ");
    let wanted_text = wanted.map_or("more than any memory".to_string(), |wanted| wanted.to_string());
    let error =
        Error::shape(format!("{found} bytes where {names} = {product} = {wanted_text} are wanted")).op(op);
    // The usual mistake is another number of channels.
    let pixels = sizes.iter().filter(|(name, _)| *name != "channels");
    let pixels = pixels.fold(1usize, |product, (_, size)| product.saturating_mul(*size));
    let error = match found.checked_div(pixels) {
        Some(1) if pixels == found => error.hint("one byte a pixel is grey: from_hw_grey"),
        Some(3) if pixels.checked_mul(3) == Some(found) => {
            error.hint("three bytes a pixel are colour: from_hwc_rgb or from_hwc_bgr")
        }
        Some(4) if pixels.checked_mul(4) == Some(found) => {
            error.hint("four bytes a pixel are colour and alpha: from_hwc_rgba or from_hwc_bgra")
        }
        _ => error.hint("rows that are padded, as some cameras' are, must be cut to width first"),
    };
    Err(error.at(Location::caller()))
}

#[track_caller]
fn to_floats(op: &'static str, bytes: &Tensor, convert: impl Fn(u8) -> f32) -> Result<Tensor> {
    expect_dtype(op, bytes, DType::U8)?;
    let values = bytes.to_vec::<u8>()?.into_iter().map(convert).collect::<Vec<f32>>();
    Tensor::from_vec(values, bytes.shape().clone())
}

/// Floats 0..=most to bytes.
#[track_caller]
fn to_bytes(op: &'static str, floats: &Tensor, most: f32) -> Result<Tensor> {
    expect_dtype(op, floats, DType::F32)?;
    let values = floats.to_vec::<f32>()?;
    let outside: Vec<f32> = values.iter().copied().filter(|x| !(0.0..=most).contains(x)).collect();
    if let Some(first) = outside.first() {
        let text = format!("{} of {} values are outside 0..={most}, as {first}", outside.len(), values.len());
        let in_bytes = most == 1.0 && outside.iter().all(|x| (0.0..=255.0).contains(x));
        let hint = if in_bytes {
            "floats 0..255 become bytes by f32_255_to_u8"
        } else {
            "bring them into the range first: a normalisation must be undone, and what overshoots be clamped"
        };
        return Err(Error::argument(text).hint(hint).op(op).at(Location::caller()));
    }
    let scale = 255.0 / most;
    let bytes = values.into_iter().map(|x| (x * scale + 0.5) as u8).collect::<Vec<u8>>();
    Tensor::from_vec(bytes, floats.shape().clone())
}
