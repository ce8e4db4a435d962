//! Patches as columns, and columns as a map.

use rasgo_core::ops::UnfoldOptions;
use rasgo_core::{Result, Tensor};
use rasgo_derive::Module;

use super::module::Module;
use super::parameter::LayerName;
use super::size::Size;

/// The patches of (N, C, H, W) as the columns of (N, C kh kw, L), as `torch.nn.Unfold`; see
/// [`Tensor::unfold`].
///
/// ```
/// use rasgo::prelude::*;
/// let columns = nn::Unfold::new(3).forward(Tensor::rand([1, 1, 6, 6]))?;
/// assert_eq!(**columns.shape(), [1, 9, 16]);
/// # Ok::<(), rasgo::Error>(())
/// ```
#[derive(Clone, Debug, Module)]
pub struct Unfold {
    name: LayerName,
    #[module(skip)]
    options: UnfoldOptions,
}

/// Columns (N, C kh kw, L) added up to (N, C, H, W), as `torch.nn.Fold`; see [`Tensor::fold`].
///
/// ```
/// use rasgo::prelude::*;
/// let map = nn::Fold::new([6, 6], 3).forward(Tensor::rand([1, 9, 16]))?;
/// assert_eq!(**map.shape(), [1, 1, 6, 6]);
/// # Ok::<(), rasgo::Error>(())
/// ```
#[derive(Clone, Debug, Module)]
pub struct Fold {
    name: LayerName,
    #[module(skip)]
    output_size: Size<2>,
    #[module(skip)]
    options: UnfoldOptions,
}

/// The options that both have.
macro_rules! options {
    ($($name:ident)*) => {$(
        impl $name {
            /// The distance of the window's cells.
            pub fn dilation(mut self, dilation: impl Into<Size<2>>) -> Self {
                self.options.dilation = dilation.into().0;
                self
            }

            /// Zeros added on both sides of the map.
            pub fn padding(mut self, padding: impl Into<Size<2>>) -> Self {
                self.options.padding = padding.into().0;
                self
            }

            /// The step of the window.
            pub fn stride(mut self, stride: impl Into<Size<2>>) -> Self {
                self.options.stride = stride.into().0;
                self
            }
        }
    )*};
}
options!(Unfold Fold);

impl Unfold {
    /// A window of that size at every place.
    pub fn new(kernel_size: impl Into<Size<2>>) -> Self {
        Unfold { name: LayerName::new("Unfold"), options: UnfoldOptions::new(kernel_size.into().0) }
    }
}

impl Fold {
    /// To a map of that size, from the columns of a window at every place.
    pub fn new(output_size: impl Into<Size<2>>, kernel_size: impl Into<Size<2>>) -> Self {
        let options = UnfoldOptions::new(kernel_size.into().0);
        Fold { name: LayerName::new("Fold"), output_size: output_size.into(), options }
    }
}

impl Module for Unfold {
    fn forward(&self, x: Tensor) -> Result<Tensor> {
        self.name.run(|| x.unfold(&self.options))
    }
}

impl Module for Fold {
    fn forward(&self, x: Tensor) -> Result<Tensor> {
        self.name.run(|| x.fold(self.output_size.0, &self.options))
    }
}
