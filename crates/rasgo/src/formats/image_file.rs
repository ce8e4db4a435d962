//! Pictures from files: any size and mode to a tensor of one stated size and mode.

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use image::error::ImageError;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};
use rasgo_core::{Error, Result, Tensor};
use serde::{Deserialize, Serialize};

use super::{image_pixels, looks_like, picture_end, read_whole};

/// The most pixels of a picture: Pillow's limit for what it calls a decompression bomb.
const MAX_PIXELS: u64 = 178_956_970;

/// The most bytes of an image file.
const MAX_FILE: u64 = 1 << 30;

/// How a picture of another shape becomes one of the wanted size. It is stored with a model, and used in training
/// and prediction alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ResizeRule {
    /// Height and width are scaled each by its own factor.
    #[default]
    Stretch,
    /// Both are scaled by one factor so that all of the picture fits; the rest has the background's value.
    Pad,
}

impl ResizeRule {
    /// The name in configurations and model files.
    pub fn name(self) -> &'static str {
        match self {
            ResizeRule::Stretch => "stretch",
            ResizeRule::Pad => "pad",
        }
    }

    /// The rule of that name.
    ///
    /// # Errors
    /// [`ErrorKind::Argument`](rasgo_core::ErrorKind::Argument) for another name.
    pub fn from_name(name: &str) -> Result<Self> {
        [ResizeRule::Stretch, ResizeRule::Pad].into_iter().find(|rule| rule.name() == name).ok_or_else(|| {
            Error::argument(format!("no resize rule is called {name:?}"))
                .hint("the rules are stretch and pad")
        })
    }
}

/// What a picture is turned into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageOptions {
    /// 1 for grey, 3 for red, green and blue.
    pub channels: usize,
    /// Height and width; `None` keeps the picture's own.
    pub size: Option<(usize, usize)>,
    /// How the picture is brought to that size.
    pub rule: ResizeRule,
    /// What lies behind transparent pixels and beside a padded picture: 255 is white.
    pub background: u8,
}

impl ImageOptions {
    /// The picture's own size, stretched where a size is set, over white.
    pub fn new(channels: usize) -> Self {
        ImageOptions { channels, size: None, rule: ResizeRule::default(), background: 255 }
    }

    /// Sets height and width.
    #[must_use]
    pub fn size(mut self, height: usize, width: usize) -> Self {
        self.size = Some((height, width));
        self
    }

    /// Sets how the picture is brought to the size.
    #[must_use]
    pub fn rule(mut self, rule: ResizeRule) -> Self {
        self.rule = rule;
        self
    }

    /// Sets what lies behind transparent pixels and beside a padded picture.
    #[must_use]
    pub fn background(mut self, background: u8) -> Self {
        self.background = background;
        self
    }

    fn check(&self) -> Result<()> {
        if self.channels != 1 && self.channels != 3 {
            return Err(Error::argument(format!("a picture cannot have {} channels", self.channels))
                .hint("1 is grey, 3 is red, green and blue"));
        }
        match self.size {
            Some((h, w)) if h == 0 || w == 0 || h > 1 << 16 || w > 1 << 16 => {
                Err(Error::argument(format!("a picture cannot be {h} x {w} pixels"))
                    .hint("height and width are from 1 to 65536"))
            }
            _ => Ok(()),
        }
    }
}

/// Reads a picture: a u8 tensor (channels, height, width).
///
/// PNG, JPEG, GIF and WebP (the first frame), BMP, TIFF and PNM, told by content and not by the file's name. The EXIF
/// orientation is applied, 16 bits are scaled to 8, palettes and CMYK resolved, transparency laid over the background.
/// Grey from colour is (299 R + 587 G + 114 B) / 1000. Resizing takes every pixel into account.
///
/// # Errors
/// [`ErrorKind::Format`](rasgo_core::ErrorKind::Format) naming the file and what it seems to be: empty, truncated, a
/// text, a page, a format that is not supported, too large; [`ErrorKind::Io`](rasgo_core::ErrorKind::Io);
/// [`ErrorKind::Argument`](rasgo_core::ErrorKind::Argument) for options that make no picture.
pub fn read_image(path: impl AsRef<Path>, options: &ImageOptions) -> Result<Tensor> {
    let path = path.as_ref();
    options.check()?;
    let bytes = read_whole(path, MAX_FILE)?;
    decode_image(&bytes, options).map_err(|e| e.file(path))
}

/// As [`read_image`], from the bytes of a file.
///
/// # Errors
/// As [`read_image`].
pub fn decode_image(bytes: &[u8], options: &ImageOptions) -> Result<Tensor> {
    options.check()?;
    // A decoder is foreign code on hostile bytes: should it panic, that is a damaged file and not our end.
    catch_unwind(AssertUnwindSafe(|| decode(bytes).map(|image| image_pixels::to_tensor(&image, options))))
        .unwrap_or_else(|_| Err(damaged("the decoder gave up".to_string(), bytes)))
}

fn decode(bytes: &[u8]) -> Result<DynamicImage> {
    let format = image::guess_format(bytes).ok().filter(ImageFormat::reading_enabled);
    let Some(format) = format else {
        let kind = looks_like(bytes);
        return Err(Error::new(
            rasgo_core::ErrorKind::Format,
            format!("is no image that can be read, but {kind}"),
        )
        .hint(hint_for(kind)));
    };
    if !picture_end::reaches_its_end(bytes, format) {
        return Err(damaged("the file ends before the picture does".to_string(), bytes));
    }
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::default();
    limits.max_alloc = Some(2 << 30);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(|e| refused(e, bytes))?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(too_large(format!("{width} x {height} pixels")));
    }
    if width == 0 || height == 0 {
        return Err(damaged("the picture has no pixels".to_string(), bytes));
    }
    // A damaged EXIF block is no reason to lose the picture.
    let orientation = decoder.orientation().unwrap_or(image::metadata::Orientation::NoTransforms);
    let mut image = DynamicImage::from_decoder(decoder).map_err(|e| refused(e, bytes))?;
    image.apply_orientation(orientation);
    Ok(image)
}

fn refused(error: ImageError, bytes: &[u8]) -> Error {
    match error {
        ImageError::Limits(e) => too_large(e.to_string()),
        ImageError::Unsupported(e) => {
            let kind = looks_like(bytes);
            Error::new(
                rasgo_core::ErrorKind::Format,
                format!("is {kind} of a kind that is not supported: {e}"),
            )
            .hint("save it as an ordinary PNG or JPEG")
        }
        other => damaged(other.to_string(), bytes),
    }
}

fn damaged(reason: String, bytes: &[u8]) -> Error {
    let kind = looks_like(bytes);
    Error::new(rasgo_core::ErrorKind::Format, format!("is {kind} that is truncated or damaged: {reason}"))
        .hint("copy or download it again")
}

fn too_large(what: String) -> Error {
    Error::new(rasgo_core::ErrorKind::Format, format!("is an image that is too large: {what}"))
        .hint(format!("pictures of up to {MAX_PIXELS} pixels are read; make it smaller"))
}

fn hint_for(kind: &str) -> &'static str {
    match kind {
        "a HEIC photo"
        | "an AVIF image"
        | "a JPEG XL image"
        | "a Photoshop document"
        | "an SVG drawing"
        | "a PDF document" => "convert it to PNG or JPEG",
        "an HTML page" => "a web page was saved in place of the picture; download the picture itself",
        "a Git LFS pointer instead of the file itself" => "run `git lfs pull`",
        "an empty file" | "a file of zeros" => "the copy or download did not finish; repeat it",
        _ => "PNG, JPEG, GIF, WebP, BMP, TIFF and PNM are read",
    }
}
