//! Options that stand for all axes at once or for each of them.

use rasgo_core::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::nn::{self, AdaptiveSize, Padding, Size};

/// A number for all axes, or one for each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "give a whole number, or a list of one for each axis")]
pub enum Axes {
    /// For all axes.
    One(usize),
    /// For each axis.
    Each(Vec<usize>),
}

impl Axes {
    pub(super) fn size<const D: usize>(&self, name: &str) -> Result<Size<D>> {
        match self {
            Axes::One(value) => Ok((*value).into()),
            Axes::Each(values) => Ok(for_each_axis::<_, D>(values, name)?.into()),
        }
    }
}

pub(super) fn for_each_axis<T: Copy, const D: usize>(values: &[T], name: &str) -> Result<[T; D]> {
    <[T; D]>::try_from(values)
        .map_err(|_| Error::config(format!("{name} has {} values for {D} axes", values.len())))
}

/// Padding as PyTorch takes it: numbers, `"same"` or `"valid"`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "give a whole number, a list of one or of [before, after] for each axis, \"same\" or \"valid\""
)]
pub enum PaddingSpec {
    /// In numbers.
    Axes(Axes),
    /// `[before, after]` for each axis.
    Sides(Vec<(usize, usize)>),
    /// By name.
    Named(String),
}

impl PaddingSpec {
    pub(super) fn padding<const D: usize>(&self) -> Result<Padding<D>> {
        match self {
            PaddingSpec::Axes(axes) => Ok(Padding::Each(axes.size("padding")?)),
            PaddingSpec::Sides(sides) => Ok(Padding::Sides(for_each_axis(sides, "padding")?)),
            PaddingSpec::Named(name) if name == "same" => Ok(Padding::Same),
            PaddingSpec::Named(name) if name == "valid" => Ok(0.into()),
            PaddingSpec::Named(name) => {
                Err(Error::config(format!("padding {name:?}")).hint("give numbers, \"same\" or \"valid\""))
            }
        }
    }
}

/// The size that an adaptive pooling makes of an axis.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "give a whole number, or \"none\" for an axis that keeps its size")]
pub enum AdaptiveAxis {
    /// That many cells.
    Size(usize),
    /// As many as the input has.
    Kept(Kept),
}

/// `"none"`: the axis keeps its size.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Kept {
    /// `"none"`
    #[serde(rename = "none")]
    None,
}

impl AdaptiveAxis {
    fn size(self) -> Option<usize> {
        match self {
            AdaptiveAxis::Size(size) => Some(size),
            AdaptiveAxis::Kept(Kept::None) => None,
        }
    }
}

/// A size for all axes, or one for each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "give a whole number, or a list of one or \"none\" for each axis")]
pub enum AdaptiveAxes {
    /// For all axes.
    One(AdaptiveAxis),
    /// For each axis.
    Each(Vec<AdaptiveAxis>),
}

impl AdaptiveAxes {
    pub(super) fn size<const D: usize>(&self) -> Result<AdaptiveSize<D>> {
        let axes = match self {
            AdaptiveAxes::One(axis) => [*axis; D],
            AdaptiveAxes::Each(axes) => for_each_axis(axes, "output_size")?,
        };
        Ok(axes.map(AdaptiveAxis::size).into())
    }
}

/// A factor for all axes, or one for each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "give a number, or a list of one for each axis")]
pub enum Factors {
    /// For all axes.
    One(f64),
    /// For each axis.
    Each(Vec<f64>),
}

/// Cells around a map: a number for all sides, or `[before, after]` for each axis in the order of the axes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "give a whole number, or a list of [before, after] for each axis")]
pub enum SidesSpec {
    /// On all sides.
    One(i32),
    /// On each side of each axis.
    Each(Vec<(i32, i32)>),
}

impl SidesSpec {
    pub(super) fn sides<const D: usize>(&self) -> Result<nn::Sides<D>> {
        let sides = match self {
            SidesSpec::One(all) => [(*all, *all); D],
            SidesSpec::Each(sides) => for_each_axis(sides, "padding")?,
        };
        Ok(nn::Sides(sides.map(|(before, after)| (before as isize, after as isize))))
    }
}
