//! The attributes of convolutions.

use std::panic::Location;

use super::super::Activation;
use super::conv_name;
use crate::error::{Error, Result};
use crate::scope;

/// The attributes of a convolution, one for each spatial axis; of fewer than three axes the last are used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConvOptions {
    /// Step of the window.
    pub stride: [usize; 3],
    /// Zeros before and after each axis.
    pub padding: [(usize, usize); 3],
    /// Distance of the kernel's cells.
    pub dilation: [usize; 3],
    /// Groups of channels that do not see each other.
    pub groups: usize,
    /// What follows in the same pass.
    pub activation: Activation,
}

impl Default for ConvOptions {
    fn default() -> Self {
        ConvOptions {
            stride: [1; 3],
            padding: [(0, 0); 3],
            dilation: [1; 3],
            groups: 1,
            activation: Activation::None,
        }
    }
}

impl ConvOptions {
    /// With the padding that keeps the size, PyTorch's `padding="same"`: `dilation * (kernel - 1)` cells an axis, of which
    /// an odd one goes to the end. `kernel` are the cells of the kernel along its one, two or three axes.
    ///
    /// ```
    /// # use rasgo_core::ops::ConvOptions;
    /// let options = ConvOptions { dilation: [1, 1, 3], ..ConvOptions::default() };
    /// assert_eq!(options.same(&[3, 2])?.padding, [(0, 0), (1, 1), (1, 2)]);
    /// # Ok::<(), rasgo_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// If a stride is more than 1, as in PyTorch: the size is not kept then.
    #[track_caller]
    pub fn same(mut self, kernel: &[usize]) -> Result<ConvOptions> {
        let spatial = kernel.len().min(3);
        let first = 3 - spatial;
        let stride = &self.stride[first..];
        if stride.iter().any(|&stride| stride > 1) {
            let error = Error::argument(format!("padding=same with stride {stride:?}"))
                .op(conv_name(spatial))
                .hint("'same' keeps the size, so it needs stride 1; give the padding in numbers");
            return Err(scope::annotate(error).at(Location::caller()));
        }
        for (axis, kernel) in (first..3).zip(kernel) {
            let total = self.dilation[axis].saturating_mul(kernel.saturating_sub(1));
            self.padding[axis] = (total / 2, total - total / 2);
        }
        Ok(self)
    }
}

/// The attributes of a transposed convolution, one for each spatial axis; of fewer than three axes the last are used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConvTransposeOptions {
    /// Step of the window over the result.
    pub stride: [usize; 3],
    /// Cells cut from both ends of each axis of the result.
    pub padding: [usize; 3],
    /// Cells added at the end of each axis of the result; less than the stride or the dilation.
    pub output_padding: [usize; 3],
    /// Distance of the kernel's cells.
    pub dilation: [usize; 3],
    /// Groups of channels that do not see each other.
    pub groups: usize,
    /// The spatial size of the result, instead of `output_padding`: one of the `stride` sizes from which a convolution
    /// would come to the input's.
    pub output_size: Option<[usize; 3]>,
}

impl Default for ConvTransposeOptions {
    fn default() -> Self {
        ConvTransposeOptions {
            stride: [1; 3],
            padding: [0; 3],
            output_padding: [0; 3],
            dilation: [1; 3],
            groups: 1,
            output_size: None,
        }
    }
}
