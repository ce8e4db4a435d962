//! Pixel shuffle and its inverse: channels become pixels (Shi et al. 2016, sub-pixel convolution).
//!
//! ```text
//! y[…, c, h * r + i, w * r + j] = x[…, c * r * r + i * r + j, h, w]
//! ```
//! Compositions of reshape and permute, whose gradients they have.

use std::panic::Location;

use crate::error::{Error, Result};
use crate::scope;
use crate::tensor::Tensor;

#[track_caller]
fn refuse(op: &'static str, error: Error) -> Error {
    scope::annotate(error.op(op)).at(Location::caller())
}

/// The axes before the channels, then channels, height and width of a tensor.
#[track_caller]
fn image_axes<'a>(x: &'a Tensor, factor: usize, op: &'static str) -> Result<(&'a [usize], [usize; 3])> {
    let shape = x.shape();
    if shape.len() < 3 {
        let error = Error::shape(format!("input {shape} has {} axes", shape.len()));
        return Err(refuse(op, error.hint("give (…, C, H, W)")));
    }
    if factor == 0 || factor.checked_mul(factor).is_none() {
        return Err(refuse(op, Error::argument(format!("a factor of {factor}")).hint("give 1 or more")));
    }
    let (lead, image) = shape.split_at(shape.len() - 3);
    Ok((lead, [image[0], image[1], image[2]]))
}

/// Moves the axes after the leading ones to `order`, given the split sizes, and joins them to `joined`.
#[track_caller]
fn rearrange(
    x: &Tensor,
    lead: &[usize],
    split: [usize; 5],
    order: [isize; 5],
    joined: [usize; 3],
) -> Result<Tensor> {
    // Leading axes are one, so that any number of them will do.
    let batch = lead.iter().fold(1usize, |product, &size| product.saturating_mul(size));
    let order: Vec<isize> = std::iter::once(0).chain(order.map(|axis| axis + 1)).collect();
    let split: Vec<usize> = std::iter::once(batch).chain(split).collect();
    let joined: Vec<usize> = lead.iter().copied().chain(joined).collect();
    x.reshape(split)?.permute(&order)?.reshape(joined)
}

impl Tensor {
    /// (…, C * r², H, W) to (…, C, H * r, W * r), as `torch.nn.functional.pixel_shuffle`.
    ///
    /// ```
    /// # use rasgo_core::Tensor;
    /// let x = Tensor::arange(0.0, 8.0, 1.0)?.reshape([1, 4, 1, 2])?;
    /// let y = x.pixel_shuffle(2)?;
    /// assert_eq!(**y.shape(), [1, 1, 2, 4]);
    /// assert_eq!(y.to_vec::<f32>()?, [0.0, 2.0, 1.0, 3.0, 4.0, 6.0, 5.0, 7.0]);
    /// # Ok::<(), rasgo_core::Error>(())
    /// ```
    #[track_caller]
    pub fn pixel_shuffle(&self, upscale_factor: usize) -> Result<Tensor> {
        let r = upscale_factor;
        let (lead, [c, h, w]) = image_axes(self, r, "pixel_shuffle")?;
        if !c.is_multiple_of(r * r) {
            let (shape, square) = (self.shape(), r * r);
            let text = format!("the {c} channels of input {shape} do not divide by {r} * {r} = {square}");
            let hint = format!("a convolution to a multiple of {square} channels before it");
            return Err(refuse("pixel_shuffle", Error::shape(text).hint(hint)));
        }
        let channels = c / (r * r);
        rearrange(
            self,
            lead,
            [channels, r, r, h, w],
            [0, 3, 1, 4, 2],
            [channels, h.saturating_mul(r), w.saturating_mul(r)],
        )
    }

    /// (…, C, H * r, W * r) to (…, C * r², H, W), the inverse of [`pixel_shuffle`](Self::pixel_shuffle).
    #[track_caller]
    pub fn pixel_unshuffle(&self, downscale_factor: usize) -> Result<Tensor> {
        let r = downscale_factor;
        let (lead, [c, h, w]) = image_axes(self, r, "pixel_unshuffle")?;
        if !h.is_multiple_of(r) || !w.is_multiple_of(r) {
            let text = format!("height {h} or width {w} of input {} does not divide by {r}", self.shape());
            return Err(refuse("pixel_unshuffle", Error::shape(text).hint("pad it to a multiple first")));
        }
        rearrange(
            self,
            lead,
            [c, h / r, r, w / r, r],
            [0, 2, 4, 1, 3],
            [c.saturating_mul(r * r), h / r, w / r],
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::grad_check::{check, normal};
    use crate::{DType, Tensor};

    #[test]
    fn shuffles_have_the_gradients_of_their_differences_and_undo_each_other() {
        check(&[normal([2, 8, 3, 2], 1)], |x| x[0].pixel_shuffle(2));
        check(&[normal([2, 3, 4, 6], 1)], |x| x[0].pixel_unshuffle(2));
        for shape in [vec![18, 2, 3], vec![2, 9, 2, 4], vec![2, 3, 1, 9, 2, 4]] {
            let x = normal(shape, 1);
            let y = x.pixel_shuffle(3).unwrap();
            assert_eq!(y.pixel_unshuffle(3).unwrap().to_f64_vec().unwrap(), x.to_f64_vec().unwrap());
            let last = x.clone().to_channels_last().pixel_shuffle(3).unwrap();
            assert_eq!(last.to_f64_vec().unwrap(), y.to_f64_vec().unwrap());
        }
        let empty = Tensor::zeros([0, 4, 3, 2], DType::F32).unwrap();
        assert_eq!(**empty.pixel_shuffle(2).unwrap().shape(), [0, 1, 6, 4]);
        assert_eq!(**empty.pixel_unshuffle(1).unwrap().shape(), [0, 4, 3, 2]);
    }

    #[test]
    fn what_does_not_divide_is_refused() {
        let x = Tensor::zeros([2, 6, 3, 4], DType::F32).unwrap();
        let text = x.pixel_shuffle(2).unwrap_err().to_string();
        assert!(text.contains("2 * 2 = 4") && text.contains("pixel_shuffle.rs"), "{text}");
        let text = x.pixel_unshuffle(2).unwrap_err().to_string();
        assert!(text.contains("height 3"), "{text}");
        assert!(x.pixel_shuffle(0).unwrap_err().to_string().contains("factor of 0"));
        assert!(x.pixel_unshuffle(1 << 40).unwrap_err().to_string().contains("factor of"));
        let flat = Tensor::zeros([3, 4], DType::F32).unwrap();
        assert!(flat.pixel_shuffle(1).unwrap_err().to_string().contains("2 axes"));
    }
}
