//! What a prediction for an image is the mean of.

use rasgo_core::{Error, ErrorKind, Result, Tensor, ops::PadMode};
use serde::{Deserialize, Serialize};

use crate::data::samples_called;

/// Views of an image over which the network's outputs are averaged wherever the model is measured or predicts
/// (test-time augmentation): twice or three times the work each, six times both.
///
/// ```
/// use rasgo::prelude::*;
/// use rasgo::train::Views;
/// let x = Tensor::rand([2, 3, 8, 8]);
/// let views = Views { flip: true, shift: 0 };
/// let sum = views.mean(x.clone(), |x| x.sum_axes(&[1, 2], false))?;
/// let mirrored = views.mean(x.flip(&[-1])?, |x| x.sum_axes(&[1, 2], false))?;
/// assert_eq!(sum.to_vec::<f32>()?, mirrored.to_vec::<f32>()?);
/// # Ok::<(), rasgo::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Views {
    /// Whether an image and its mirror image, left to right, count the same; not for what must not be mirrored, as
    /// letters.
    pub flip: bool,
    /// Pixels by which the image is moved up and left, and down and right, filled from its mirror image at the edges. Each
    /// counts half as much as the image where it is. 0 moves nothing.
    pub shift: usize,
}

impl Views {
    /// The image itself.
    pub const ONE: Views = Views { flip: false, shift: 0 };

    /// Checks that samples of this shape, without the batch, have these views.
    ///
    /// # Errors
    /// [`ErrorKind::Argument`] if they are no images, or too small to be moved so far.
    pub fn check(&self, sample: &[usize]) -> Result<()> {
        if *self == Views::ONE {
            return Ok(());
        }
        let [_, height, width] = sample[..] else {
            let text = format!(
                "[views] are of images, and these are {} of shape {sample:?}",
                samples_called(sample)
            );
            return Err(Error::new(ErrorKind::Argument, text).hint("leave [views] out of the configuration"));
        };
        if self.shift == 0 || self.shift < height.min(width) {
            return Ok(());
        }
        Err(Error::argument(format!("[views] has shift {} for images of {height} x {width}", self.shift))
            .hint("shift is less than height and width"))
    }

    /// The mean of what `predict` makes of each view of a batch of images (N, C, H, W).
    #[track_caller]
    pub fn mean(&self, batch: Tensor, mut predict: impl FnMut(Tensor) -> Result<Tensor>) -> Result<Tensor> {
        let mut both = |batch: Tensor| {
            if !self.flip {
                return predict(batch);
            }
            let mirrored = predict(batch.flip(&[-1])?)?;
            (predict(batch)? + mirrored)?.scale(0.5)
        };
        if self.shift == 0 {
            return both(batch);
        }
        let by = self.shift.cast_signed();
        let mut moved = |by: isize| both(batch.pad(&[(by, -by), (by, -by)], PadMode::Reflect)?);
        let sides = (moved(-by)? + moved(by)?)?.scale(0.25)?;
        both(batch)?.scale(0.5)? + sides
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_is_of_the_image_and_of_those_moved_by_the_shift() {
        // Of one row and one channel, so that what comes in from above and below is the same everywhere.
        let rows = |row: [f32; 4]| Tensor::from_vec(row.repeat(4), [1, 1, 4, 4]).unwrap();
        let views = |flip, shift| Views { flip, shift };
        let mean = |views: Views| {
            let mean = views.mean(rows([0.0, 4.0, 12.0, 20.0]), Ok).unwrap();
            mean.to_vec::<f32>().unwrap()[4..8].to_vec()
        };
        assert_eq!(mean(Views::ONE), [0.0, 4.0, 12.0, 20.0]);
        assert_eq!(mean(views(true, 0)), [10.0, 8.0, 8.0, 10.0]);
        // Moved left 4, 12, 20, 12; moved right 4, 0, 4, 12.
        assert_eq!(mean(views(false, 1)), [2.0, 5.0, 12.0, 16.0]);
        assert_eq!(mean(views(true, 1)), [9.0, 8.5, 8.5, 9.0]);
    }

    #[test]
    fn a_shift_is_less_than_the_image() {
        let views = Views { flip: false, shift: 8 };
        assert!(views.check(&[3, 9, 9]).is_ok());
        let error = views.check(&[3, 9, 8]).unwrap_err();
        assert!(error.to_string().contains("shift 8 for images of 9 x 8"), "{error}");
        let error = views.check(&[3, 9]).unwrap_err();
        assert!(error.to_string().contains("[views] are of images, and these are sequences"), "{error}");
    }
}
