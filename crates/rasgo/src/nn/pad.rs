//! Paddings.

use rasgo_core::ops::PadMode;
use rasgo_core::{Result, Tensor};
use rasgo_derive::Module;

use super::module::Module;
use super::parameter::LayerName;
use super::size::expect_spatial;

/// Cells before and after each spatial axis, in the order of the axes; negative numbers cut off. One number stands for
/// all sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sides<const D: usize>(pub [(isize, isize); D]);

impl<const D: usize> From<isize> for Sides<D> {
    fn from(all: isize) -> Self {
        Sides([(all, all); D])
    }
}

impl<const D: usize> From<[(isize, isize); D]> for Sides<D> {
    fn from(sides: [(isize, isize); D]) -> Self {
        Sides(sides)
    }
}

macro_rules! paddings {
    ($(
        $(#[$doc:meta])* $name:ident: [$one:ident, $two:ident, $three:ident],
        new($($argument:ident: $Type:ty)?) = $mode:expr;
    )*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Module)]
        pub struct $name<const D: usize> {
            name: LayerName,
            #[module(skip)]
            sides: Sides<D>,
            #[module(skip)]
            mode: PadMode,
        }

        /// Pads (N, C, L).
        pub type $one = $name<1>;
        /// Pads (N, C, H, W).
        pub type $two = $name<2>;
        /// Pads (N, C, D, H, W).
        pub type $three = $name<3>;

        impl<const D: usize> $name<D> {
            /// A padding of so many cells.
            pub fn new(padding: impl Into<Sides<D>> $(, $argument: $Type)?) -> Self {
                let kind = [stringify!($one), stringify!($two), stringify!($three)][D - 1];
                $name { name: LayerName::new(kind), sides: padding.into(), mode: $mode }
            }
        }

        impl<const D: usize> Module for $name<D> {
            fn forward(&self, x: Tensor) -> Result<Tensor> {
                self.name.run(|| {
                    expect_spatial::<D>(&x).map_err(|error| error.op("pad"))?;
                    x.pad(&self.sides.0, self.mode)
                })
            }
        }
    )*};
}

paddings! {
    /// Zeros around (N, C, …), as `torch.nn.ZeroPad1d`, `ZeroPad2d`, `ZeroPad3d`.
    ///
    /// ```
    /// use rasgo::prelude::*;
    /// let pad = nn::ZeroPad2d::new([(1, 0), (2, 3)]);
    /// assert_eq!(**pad.forward(Tensor::rand([1, 2, 4, 5]))?.shape(), [1, 2, 5, 10]);
    /// # Ok::<(), rasgo::Error>(())
    /// ```
    ZeroPad: [ZeroPad1d, ZeroPad2d, ZeroPad3d], new() = PadMode::Constant(0.0);
    /// A value around (N, C, …), as `torch.nn.ConstantPad1d`, `ConstantPad2d`, `ConstantPad3d`.
    ConstantPad: [ConstantPad1d, ConstantPad2d, ConstantPad3d], new(value: f64) = PadMode::Constant(value);
    /// (N, C, …) mirrored at its edges, as `torch.nn.ReflectionPad1d`, `ReflectionPad2d`, `ReflectionPad3d`.
    ReflectionPad: [ReflectionPad1d, ReflectionPad2d, ReflectionPad3d], new() = PadMode::Reflect;
    /// (N, C, …) with its edges repeated, as `torch.nn.ReplicationPad1d`, `ReplicationPad2d`, `ReplicationPad3d`.
    ReplicationPad: [ReplicationPad1d, ReplicationPad2d, ReplicationPad3d], new() = PadMode::Replicate;
    /// (N, C, …) as if its ends were joined, as `torch.nn.CircularPad1d`, `CircularPad2d`, `CircularPad3d`.
    CircularPad: [CircularPad1d, CircularPad2d, CircularPad3d], new() = PadMode::Circular;
}
