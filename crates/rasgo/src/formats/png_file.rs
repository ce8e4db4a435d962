//! Pictures to PNG.

use std::io::Cursor;
use std::path::Path;

use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};
use rasgo_core::{DType, Error, Result, Tensor};

use super::Disk;
use super::pixels::interleaved;

/// The bytes of a PNG file that shows a tensor (H, W) or (C, H, W): one channel is grey, three are red, green and
/// blue, four have transparency. Bytes are taken as they are; floats are clamped to 0..1 and scaled to 0..255.
///
/// ```
/// use rasgo::formats::{ImageOptions, decode_image, png_bytes};
/// use rasgo_core::Tensor;
/// let picture = Tensor::from_vec(vec![0u8, 50, 100, 150, 200, 250], [1, 2, 3])?;
/// let back = decode_image(&png_bytes(&picture)?, &ImageOptions::new(1))?;
/// assert_eq!(back.to_vec::<u8>()?, picture.to_vec::<u8>()?);
/// # Ok::<(), rasgo_core::Error>(())
/// ```
///
/// # Errors
/// [`ErrorKind::Shape`](rasgo_core::ErrorKind::Shape) or [`ErrorKind::DType`](rasgo_core::ErrorKind::DType) for a
/// tensor that is no picture.
pub fn png_bytes(tensor: &Tensor) -> Result<Vec<u8>> {
    let (channels, height, width) = match tensor.shape()[..] {
        [h, w] => (1, h, w),
        [c, h, w] => (c, h, w),
        _ => (0, 0, 0),
    };
    let color = match channels {
        1 => ExtendedColorType::L8,
        3 => ExtendedColorType::Rgb8,
        4 => ExtendedColorType::Rgba8,
        _ => ExtendedColorType::Unknown(0),
    };
    let sizes = u32::try_from(width).ok().zip(u32::try_from(height).ok());
    let (true, Some((w, h))) = (height * width > 0 && color != ExtendedColorType::Unknown(0), sizes) else {
        return Err(Error::shape(format!("a tensor of shape {} is no picture", tensor.shape()))
            .op("png_bytes")
            .hint("pictures are (H, W) or (C, H, W) with 1, 3 or 4 channels"));
    };
    let planes = match tensor.dtype() {
        DType::F32 => {
            // A NaN becomes 0.
            tensor.to_vec::<f32>()?.into_iter().map(|x| (x.clamp(0.0, 1.0) * 255.0 + 0.5) as u8).collect()
        }
        _ => tensor.to_vec::<u8>()?,
    };
    let interleaved = interleaved(&planes, &[0, 1, 2, 3][..channels]);
    let mut file = Cursor::new(Vec::new());
    PngEncoder::new(&mut file)
        .write_image(&interleaved, w, h, color)
        .map_err(|e| Error::argument(format!("the picture cannot be encoded: {e}")).op("png_bytes"))?;
    Ok(file.into_inner())
}

/// Writes the PNG file of [`png_bytes`], whole or not at all.
///
/// # Errors
/// As [`png_bytes`]; [`ErrorKind::Io`](rasgo_core::ErrorKind::Io).
pub fn write_png(disk: &Disk, path: impl AsRef<Path>, tensor: &Tensor) -> Result<()> {
    let path = path.as_ref();
    let bytes = png_bytes(tensor).map_err(|e| e.file(path))?;
    disk.write_whole(path, |file| file.put(&bytes))
}
