//! Samples side by side, as a network takes them.

use rasgo_core::{Error, Result, Tensor};

use super::assemble::Recipe;
use super::transform::Normalize;

/// Some samples as one tensor, with their labels.
#[derive(Clone, Debug)]
pub struct Batch {
    /// f32 (N, C, H, W), channels-last in memory.
    pub input: Tensor,
    /// i64 (N): the labels.
    pub target: Tensor,
    /// Which samples of the data set these are.
    pub indices: Vec<usize>,
}

impl Batch {
    /// The number of samples.
    pub fn len(&self) -> usize {
        self.indices.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.indices.is_empty()
    }
}

/// The tensor that a [`Loader`](super::Loader) without augmentation makes of these samples, to the bit: u8 or f32
/// pictures (C, H, W) of one shape become f32 (N, C, H, W), channels-last in memory, scaled and normalised.
///
/// ```
/// use rasgo::data::{Normalize, batch_of};
/// use rasgo_core::Tensor;
/// let picture = Tensor::from_vec(vec![0u8, 51, 102, 255], [1, 2, 2])?;
/// let batch = batch_of(&[picture], Some(&Normalize::new(vec![0.5], vec![0.5])?))?;
/// assert_eq!(batch.shape()[..], [1, 1, 2, 2]);
/// assert_eq!(batch.to_vec::<f32>()?[3], 1.0);
/// # Ok::<(), rasgo_core::Error>(())
/// ```
///
/// # Errors
/// No pictures, pictures of different shapes, a dtype other than u8 and f32, a normalisation for other channels.
pub fn batch_of(images: &[Tensor], normalize: Option<&Normalize>) -> Result<Tensor> {
    let Some(first) = images.first() else {
        return Err(Error::argument("a batch of no pictures").hint("pass at least one"));
    };
    let recipe = Recipe::new(first.shape(), normalize.cloned(), None)?;
    let sizes: Vec<usize> = std::iter::once(images.len()).chain(first.shape().iter().copied()).collect();
    let mut result = Ok(());
    let batch = Tensor::from_fn_channels_last(sizes, |dst: &mut [f32]| {
        for (i, (image, dst)) in images.iter().zip(dst.chunks_exact_mut(first.shape().elements())).enumerate()
        {
            if let Err(cause) = recipe.write(image.clone(), None, dst) {
                result =
                    Err(Error::new(cause.kind(), format!("picture {i} {}", cause.summary())).source(cause));
                return;
            }
        }
    });
    result.map(|()| batch)
}
