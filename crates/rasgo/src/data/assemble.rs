//! What becomes of one sample on its way into a batch.

use rasgo_core::random::Key;
use rasgo_core::{DType, Error, ErrorKind, Result, Shape, Tensor};

use super::augment::Augment;
use super::resample::{Affine, resample};
use super::transform::Normalize;

/// How a sample of one shape is changed: resampled, scaled to 0..1, normalised, in this order.
#[derive(Clone, Debug)]
pub(super) struct Recipe {
    shape: Shape,
    normalize: Option<Normalize>,
    augment: Option<Augment>,
    /// What each byte becomes, channel after channel; computed by the same operations as a single value.
    table: Vec<[f32; 256]>,
}

impl Recipe {
    pub(super) fn new(shape: &Shape, normalize: Option<Normalize>, augment: Option<Augment>) -> Result<Self> {
        if shape.is_empty() || shape.elements() == 0 {
            return Err(Error::shape(format!("samples of shape {shape} have no values"))
                .hint("the shape of a sample is (C, H, W)"));
        }
        if let Some(normalize) = &normalize {
            normalize.check(shape[0])?;
        }
        if let Some(augment) = &augment {
            augment.check()?;
            let [_, height, width] = shape[..] else {
                return Err(Error::argument(format!("samples of shape {shape} cannot be augmented"))
                    .hint("augmentation is for pictures (C, H, W)"));
            };
            augment.check_size(height, width)?;
        }
        let mut recipe = Recipe { shape: shape.clone(), normalize, augment, table: Vec::new() };
        recipe.table = (0..shape[0])
            .map(|c| std::array::from_fn(|byte| recipe.normalized(c, scaled(byte as f32))))
            .collect();
        Ok(recipe)
    }

    fn normalized(&self, channel: usize, value: f32) -> f32 {
        self.normalize.as_ref().map_or(value, |normalize| normalize.apply(channel, value))
    }

    /// Writes a sample channels-last to `dst`. With a key it is augmented.
    pub(super) fn write(&self, input: Tensor, key: Option<Key>, dst: &mut [f32]) -> Result<()> {
        if *input.shape() != self.shape {
            return Err(Error::shape(format!(
                "has the shape {}, and the others have {}",
                input.shape(),
                self.shape
            ))
            .hint("all samples of a batch have one shape"));
        }
        let affine = match (&self.augment, key) {
            (Some(augment), Some(key)) => Some(augment.draw(key, self.shape[1], self.shape[2])),
            _ => None,
        };
        let plain = input.to_plain();
        match plain.dtype() {
            DType::U8 => self.write_bytes(plain.as_slice()?, affine, dst),
            DType::F32 => self.write_floats(plain.as_slice()?, affine, dst),
            other => {
                return Err(Error::new(ErrorKind::DType, format!("has values of {other}"))
                    .hint("samples are uint8 or float32"));
            }
        }
        Ok(())
    }

    fn write_bytes(&self, src: &[u8], affine: Option<Affine>, dst: &mut [f32]) {
        match affine {
            None => self.interleave(src, dst, |c, byte| self.table[c][usize::from(byte)]),
            Some(affine) => self.resample(&affine, src, dst, |c, value| self.normalized(c, scaled(value))),
        }
    }

    fn write_floats(&self, src: &[f32], affine: Option<Affine>, dst: &mut [f32]) {
        match affine {
            None => self.interleave(src, dst, |c, value| self.normalized(c, value)),
            Some(affine) => self.resample(&affine, src, dst, |c, value| self.normalized(c, value)),
        }
    }

    /// Planes to pixels: `dst[pixel, c] = change(c, src[c, pixel])`.
    fn interleave<T: Copy>(&self, src: &[T], dst: &mut [f32], change: impl Fn(usize, T) -> f32) {
        let channels = self.shape[0];
        for (c, plane) in src.chunks_exact(src.len() / channels).enumerate() {
            for (dst, &value) in dst[c..].iter_mut().step_by(channels).zip(plane) {
                *dst = change(c, value);
            }
        }
    }

    fn resample<T: Copy + Into<f32>>(
        &self,
        affine: &Affine,
        src: &[T],
        dst: &mut [f32],
        change: impl Fn(usize, f32) -> f32,
    ) {
        let channels = self.shape[0];
        resample(affine, src, channels, self.shape[1], self.shape[2], |c, pixel, value| {
            dst[pixel * channels + c] = change(c, value);
        });
    }
}

/// A byte's value as a share of its range.
fn scaled(byte: f32) -> f32 {
    byte / 255.0
}
