//! A layer as it stands in a model file.

use rasgo_core::ops::PadMode;
use rasgo_core::{Error, Result, Tensor};
use serde::{Deserialize, Serialize};

use super::resize::{
    ConstantPadSpec, ConvTransposeSpec, PadSpec, PixelShuffleSpec, PixelUnshuffleSpec, UpsampleSpec,
};
use crate::nn::{self, AdaptiveSize, Function, Module, Padding, Size};

/// A number for all axes, or one for each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
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
#[serde(untagged)]
pub enum PaddingSpec {
    /// In numbers.
    Axes(Axes),
    /// `[before, after]` for each axis.
    Sides(Vec<(usize, usize)>),
    /// By name.
    Named(String),
}

impl PaddingSpec {
    fn padding<const D: usize>(&self) -> Result<Padding<D>> {
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

/// The options of a convolution, under PyTorch's names; `in_channels` follows from the input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConvSpec {
    /// Output channels.
    pub out_channels: usize,
    /// Cells of the kernel.
    pub kernel_size: Axes,
    /// Step.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub stride: Option<Axes>,
    /// Cells around the input.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub padding: Option<PaddingSpec>,
    /// What stands in them: `zeros` (the default), `reflect`, `replicate` or `circular`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub padding_mode: Option<String>,
    /// Distance of the kernel's cells.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub dilation: Option<Axes>,
    /// Groups of channels.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub groups: Option<usize>,
    /// Whether there is a bias; true by default.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub bias: Option<bool>,
}

macro_rules! pool_specs {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            /// Cells of the window.
            pub kernel_size: Axes,
            /// Step; the window's size by default.
            #[serde(skip_serializing_if = "Option::is_none", default)]
            pub stride: Option<Axes>,
            /// Cells added on both sides.
            #[serde(skip_serializing_if = "Option::is_none", default)]
            pub padding: Option<Axes>,
            /// Whether a last, incomplete window counts.
            #[serde(skip_serializing_if = "Option::is_none", default)]
            pub ceil_mode: Option<bool>,
            $(
                $(#[$field_doc])*
                #[serde(skip_serializing_if = "Option::is_none", default)]
                pub $field: Option<$type>,
            )*
        }

        impl $name {
            /// Windows of that size, with the defaults.
            pub fn new(kernel_size: Axes) -> Self {
                $name { kernel_size, stride: None, padding: None, ceil_mode: None, $($field: None,)* }
            }
        }
    )*};
}

pool_specs! {
    /// The options of a max pooling, under PyTorch's names.
    MaxPoolSpec {
        /// Distance of the window's cells.
        dilation: Axes,
    }
    /// The options of an average pooling, under PyTorch's names.
    AvgPoolSpec {
        /// Whether padding counts in the divisor; true by default.
        count_include_pad: bool,
        /// What each sum is divided by, instead of the number of its cells; not in one dimension.
        divisor_override: i64,
    }
}

/// The size that an adaptive pooling makes of an axis.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
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
#[serde(untagged)]
pub enum AdaptiveAxes {
    /// For all axes.
    One(AdaptiveAxis),
    /// For each axis.
    Each(Vec<AdaptiveAxis>),
}

/// The size that an adaptive pooling makes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdaptiveSpec {
    /// Output size; `"none"` keeps an axis.
    pub output_size: AdaptiveAxes,
}

impl AdaptiveSpec {
    fn size<const D: usize>(&self) -> Result<AdaptiveSize<D>> {
        let axes = match &self.output_size {
            AdaptiveAxes::One(axis) => [*axis; D],
            AdaptiveAxes::Each(axes) => for_each_axis(axes, "output_size")?,
        };
        Ok(axes.map(AdaptiveAxis::size).into())
    }
}

/// The options of an unfolding, under PyTorch's names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnfoldSpec {
    /// Cells of the window.
    pub kernel_size: Axes,
    /// Distance of the window's cells.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub dilation: Option<Axes>,
    /// Zeros added on both sides of the map.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub padding: Option<Axes>,
    /// Step of the window.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub stride: Option<Axes>,
}

/// The options of a folding, under PyTorch's names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FoldSpec {
    /// Height and width of the map.
    pub output_size: Axes,
    /// Cells of the window.
    pub kernel_size: Axes,
    /// Distance of the window's cells.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub dilation: Option<Axes>,
    /// Zeros added on both sides of the map.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub padding: Option<Axes>,
    /// Step of the window.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub stride: Option<Axes>,
}

/// The options of a linear layer; `in_features` follows from the input.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinearSpec {
    /// Output features; the number of classes by default.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub out_features: Option<usize>,
    /// Whether there is a bias; true by default.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub bias: Option<bool>,
}

/// The options of a batch or instance normalisation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NormSpec {
    /// Added to the variance; 1e-5 by default.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub eps: Option<f64>,
    /// Share of the batch in the running statistics; 0.1 by default.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub momentum: Option<f64>,
    /// Whether there are weight and bias; by default for batch normalisation.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub affine: Option<bool>,
    /// Whether running statistics are kept; by default for batch normalisation.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub track_running_stats: Option<bool>,
}

/// The options of a group normalisation; `num_channels` follows from the input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupNormSpec {
    /// Groups; they divide the channels.
    pub num_groups: usize,
    /// Added to the variance; 1e-5 by default.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub eps: Option<f64>,
    /// Whether there are weight and bias; true by default.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub affine: Option<bool>,
}

/// The options of a layer normalisation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerNormSpec {
    /// The last axes; all but the batch by default.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub normalized_shape: Option<Vec<usize>>,
    /// Added to the variance; 1e-5 by default.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub eps: Option<f64>,
    /// Whether there are weight and bias; true by default.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub elementwise_affine: Option<bool>,
    /// Whether there is a bias beside the weight; true by default.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub bias: Option<bool>,
}

/// The slope of a leaky ReLU.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeakySpec {
    /// Below zero; 0.01 by default.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub negative_slope: Option<f64>,
}

/// The number of a learned ReLU's slopes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PreluSpec {
    /// 1, the default, or as many as channels.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub num_parameters: Option<usize>,
}

/// The option of an exponential unit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EluSpec {
    /// Minus the value far below zero; 1 by default.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub alpha: Option<f64>,
}

/// The form of a GELU.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GeluSpec {
    /// `"none"`, the default, or `"tanh"`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub approximate: Option<String>,
}

/// The bounds of a hard tanh.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HardtanhSpec {
    /// The least value; -1 by default.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub min_val: Option<f64>,
    /// The largest value; 1 by default.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub max_val: Option<f64>,
}

/// The options of a softplus.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SoftplusSpec {
    /// Steepness; 1 by default.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub beta: Option<f64>,
    /// Where it is taken to be linear; 20 by default.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub threshold: Option<f64>,
}

/// A convolution with a table of connections.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConnectedSpec {
    /// The input maps that each output map sees.
    pub connections: Vec<Vec<usize>>,
    /// Cells of the kernel along both axes.
    pub kernel_size: usize,
}

/// The probability of a dropout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DropoutSpec {
    /// Probability of zero; 0.5 by default.
    #[serde(default = "half")]
    pub p: f64,
}

fn half() -> f64 {
    0.5
}

/// A layer without options.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plain {}

macro_rules! specs {
    ($($(#[$doc:meta])* $name:ident($spec:ty),)*) => {
        /// A layer of a model file: `type` and its options.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "type")]
        #[non_exhaustive]
        pub enum LayerSpec {
            $($(#[$doc])* $name($spec),)*
        }

        impl LayerSpec {
            /// Every type that a model file may name.
            pub const TYPES: &'static [&'static str] = &[$(stringify!($name)),*];

            /// The type.
            pub fn type_name(&self) -> &'static str {
                match self {
                    $(LayerSpec::$name(_) => stringify!($name),)*
                }
            }
        }
    };
}

specs! {
    /// Convolution of sequences.
    Conv1d(ConvSpec),
    /// Convolution of images.
    Conv2d(ConvSpec),
    /// Convolution of video.
    Conv3d(ConvSpec),
    /// Transposed convolution of sequences.
    ConvTranspose1d(ConvTransposeSpec),
    /// Transposed convolution of images.
    ConvTranspose2d(ConvTransposeSpec),
    /// Transposed convolution of video.
    ConvTranspose3d(ConvTransposeSpec),
    /// Interpolation to another size.
    Upsample(UpsampleSpec),
    /// Channels that become pixels.
    PixelShuffle(PixelShuffleSpec),
    /// Pixels that become channels.
    PixelUnshuffle(PixelUnshuffleSpec),
    /// Zeros around sequences.
    ZeroPad1d(PadSpec),
    /// Zeros around images.
    ZeroPad2d(PadSpec),
    /// Zeros around video.
    ZeroPad3d(PadSpec),
    /// A value around sequences.
    ConstantPad1d(ConstantPadSpec),
    /// A value around images.
    ConstantPad2d(ConstantPadSpec),
    /// A value around video.
    ConstantPad3d(ConstantPadSpec),
    /// The mirror around sequences.
    ReflectionPad1d(PadSpec),
    /// The mirror around images.
    ReflectionPad2d(PadSpec),
    /// The mirror around video.
    ReflectionPad3d(PadSpec),
    /// The edge around sequences.
    ReplicationPad1d(PadSpec),
    /// The edge around images.
    ReplicationPad2d(PadSpec),
    /// The edge around video.
    ReplicationPad3d(PadSpec),
    /// The other end around sequences.
    CircularPad1d(PadSpec),
    /// The other end around images.
    CircularPad2d(PadSpec),
    /// The other end around video.
    CircularPad3d(PadSpec),
    /// Batch normalisation of sequences.
    BatchNorm1d(NormSpec),
    /// Batch normalisation of images.
    BatchNorm2d(NormSpec),
    /// Batch normalisation of video.
    BatchNorm3d(NormSpec),
    /// Normalisation of groups of channels.
    GroupNorm(GroupNormSpec),
    /// Normalisation of each channel of sequences.
    InstanceNorm1d(NormSpec),
    /// Normalisation of each channel of images.
    InstanceNorm2d(NormSpec),
    /// Normalisation of each channel of video.
    InstanceNorm3d(NormSpec),
    /// Normalisation over the last axes.
    LayerNorm(LayerNormSpec),
    /// Max pooling of sequences.
    MaxPool1d(MaxPoolSpec),
    /// Max pooling of images.
    MaxPool2d(MaxPoolSpec),
    /// Max pooling of video.
    MaxPool3d(MaxPoolSpec),
    /// Average pooling of sequences.
    AvgPool1d(AvgPoolSpec),
    /// Average pooling of images.
    AvgPool2d(AvgPoolSpec),
    /// Average pooling of video.
    AvgPool3d(AvgPoolSpec),
    /// Average pooling of sequences to a size.
    AdaptiveAvgPool1d(AdaptiveSpec),
    /// Average pooling of images to a size.
    AdaptiveAvgPool2d(AdaptiveSpec),
    /// Average pooling of video to a size.
    AdaptiveAvgPool3d(AdaptiveSpec),
    /// Max pooling of sequences to a size.
    AdaptiveMaxPool1d(AdaptiveSpec),
    /// Max pooling of images to a size.
    AdaptiveMaxPool2d(AdaptiveSpec),
    /// Max pooling of video to a size.
    AdaptiveMaxPool3d(AdaptiveSpec),
    /// Patches of images as columns (N, C kh kw, L).
    Unfold(UnfoldSpec),
    /// Columns added up to images.
    Fold(FoldSpec),
    /// (N, C, …) to (N, features).
    Flatten(Plain),
    /// A linear layer.
    Linear(LinearSpec),
    /// Dropout.
    Dropout(DropoutSpec),
    /// Dropout of channels of sequences.
    Dropout1d(DropoutSpec),
    /// Dropout of channels of images.
    Dropout2d(DropoutSpec),
    /// Dropout of channels of video.
    Dropout3d(DropoutSpec),
    /// max(x, 0)
    ReLU(Plain),
    /// min(max(x, 0), 6)
    ReLU6(Plain),
    /// x, or slope * x below zero
    LeakyReLU(LeakySpec),
    /// x, or a learned slope * x below zero
    PReLU(PreluSpec),
    /// x, or alpha * (e^x - 1) below zero
    ELU(EluSpec),
    /// 1.0507 times ELU(1.6733)
    SELU(Plain),
    /// x * Phi(x)
    GELU(GeluSpec),
    /// x * sigmoid(x)
    SiLU(Plain),
    /// x * relu6(x + 3) / 6
    Hardswish(Plain),
    /// relu6(x + 3) / 6
    Hardsigmoid(Plain),
    /// min(max(x, min_val), max_val)
    Hardtanh(HardtanhSpec),
    /// x * tanh(softplus(x))
    Mish(Plain),
    /// ln(1 + e^(beta x)) / beta
    Softplus(SoftplusSpec),
    /// 1 / (1 + e^-x)
    Sigmoid(Plain),
    /// Hyperbolic tangent.
    Tanh(Plain),
    /// 1.7159 tanh(2 x / 3)
    ScaledTanh(Plain),
    /// The subsampling of 1990.
    Subsample2d(Plain),
    /// A convolution with a table of connections.
    ConnectedConv2d(ConnectedSpec),
}

fn conv<const D: usize>(spec: &ConvSpec, channels: usize) -> Result<Box<dyn Module>> {
    let mut layer = nn::Conv::<D>::new(channels, spec.out_channels, spec.kernel_size.size("kernel_size")?);
    if let Some(stride) = &spec.stride {
        layer = layer.stride(stride.size("stride")?);
    }
    if let Some(padding) = &spec.padding {
        layer = layer.padding(padding.padding()?);
    }
    if let Some(mode) = &spec.padding_mode {
        layer = layer.padding_mode(PadMode::named(mode, 0.0)?);
    }
    if let Some(dilation) = &spec.dilation {
        layer = layer.dilation(dilation.size("dilation")?);
    }
    if let Some(groups) = spec.groups {
        layer = layer.groups(groups);
    }
    Ok(Box::new(layer.bias(spec.bias.unwrap_or(true))))
}

/// A layer with those of its options that a spec gives.
macro_rules! with_axes {
    ($layer:expr, $spec:ident, $($option:ident)*) => {{
        let mut layer = $layer;
        $(if let Some(axes) = &$spec.$option {
            layer = layer.$option(axes.size(stringify!($option))?);
        })*
        layer
    }};
}

fn max_pool<const D: usize>(spec: &MaxPoolSpec) -> Result<Box<dyn Module>> {
    let layer = nn::MaxPool::<D>::new(spec.kernel_size.size("kernel_size")?);
    let layer = with_axes!(layer, spec, stride padding dilation);
    Ok(Box::new(layer.ceil_mode(spec.ceil_mode.unwrap_or(false))))
}

fn avg_pool<const D: usize>(spec: &AvgPoolSpec) -> Result<Box<dyn Module>> {
    let layer = nn::AvgPool::<D>::new(spec.kernel_size.size("kernel_size")?);
    let mut layer = with_axes!(layer, spec, stride padding);
    if let Some(divisor) = spec.divisor_override {
        layer = layer.divisor_override(divisor);
    }
    layer = layer.count_include_pad(spec.count_include_pad.unwrap_or(true));
    Ok(Box::new(layer.ceil_mode(spec.ceil_mode.unwrap_or(false))))
}

fn norm<const D: usize>(spec: &NormSpec, channels: usize) -> Box<dyn Module> {
    let layer =
        nn::BatchNorm::<D>::new(channels).eps(spec.eps.unwrap_or(1e-5)).affine(spec.affine.unwrap_or(true));
    let layer = layer.momentum(spec.momentum.unwrap_or(0.1));
    Box::new(layer.track_running_stats(spec.track_running_stats.unwrap_or(true)))
}

fn instance_norm<const D: usize>(spec: &NormSpec, channels: usize) -> Box<dyn Module> {
    let layer = nn::InstanceNorm::<D>::new(channels).eps(spec.eps.unwrap_or(1e-5));
    let layer = layer.momentum(spec.momentum.unwrap_or(0.1)).affine(spec.affine.unwrap_or(false));
    Box::new(layer.track_running_stats(spec.track_running_stats.unwrap_or(false)))
}

fn activation(function: Function) -> Box<dyn Module> {
    Box::new(nn::Activation::new(function))
}

impl LayerSpec {
    /// The layer for an input of that shape.
    pub(super) fn build(&self, x: &Tensor, classes: usize) -> Result<Box<dyn Module>> {
        use LayerSpec as S;
        let channels = x.shape().get(1).copied().unwrap_or(0);
        Ok(match self {
            S::Conv1d(spec) => conv::<1>(spec, channels)?,
            S::Conv2d(spec) => conv::<2>(spec, channels)?,
            S::Conv3d(spec) => conv::<3>(spec, channels)?,
            S::ConvTranspose1d(spec) => spec.build::<1>(channels)?,
            S::ConvTranspose2d(spec) => spec.build::<2>(channels)?,
            S::ConvTranspose3d(spec) => spec.build::<3>(channels)?,
            S::Upsample(spec) => spec.build(x.shape().len())?,
            S::PixelShuffle(spec) => Box::new(nn::PixelShuffle::new(spec.upscale_factor)),
            S::PixelUnshuffle(spec) => Box::new(nn::PixelUnshuffle::new(spec.downscale_factor)),
            S::ZeroPad1d(spec) => spec.zero::<1>()?,
            S::ZeroPad2d(spec) => spec.zero::<2>()?,
            S::ZeroPad3d(spec) => spec.zero::<3>()?,
            S::ConstantPad1d(spec) => spec.build::<1>()?,
            S::ConstantPad2d(spec) => spec.build::<2>()?,
            S::ConstantPad3d(spec) => spec.build::<3>()?,
            S::ReflectionPad1d(spec) => spec.reflection::<1>()?,
            S::ReflectionPad2d(spec) => spec.reflection::<2>()?,
            S::ReflectionPad3d(spec) => spec.reflection::<3>()?,
            S::ReplicationPad1d(spec) => spec.replication::<1>()?,
            S::ReplicationPad2d(spec) => spec.replication::<2>()?,
            S::ReplicationPad3d(spec) => spec.replication::<3>()?,
            S::CircularPad1d(spec) => spec.circular::<1>()?,
            S::CircularPad2d(spec) => spec.circular::<2>()?,
            S::CircularPad3d(spec) => spec.circular::<3>()?,
            S::BatchNorm1d(spec) => norm::<1>(spec, channels),
            S::BatchNorm2d(spec) => norm::<2>(spec, channels),
            S::BatchNorm3d(spec) => norm::<3>(spec, channels),
            S::GroupNorm(spec) => {
                let layer = nn::GroupNorm::new(spec.num_groups, channels).eps(spec.eps.unwrap_or(1e-5));
                Box::new(layer.affine(spec.affine.unwrap_or(true)))
            }
            S::InstanceNorm1d(spec) => instance_norm::<1>(spec, channels),
            S::InstanceNorm2d(spec) => instance_norm::<2>(spec, channels),
            S::InstanceNorm3d(spec) => instance_norm::<3>(spec, channels),
            S::LayerNorm(spec) => {
                let shape = spec.normalized_shape.clone().unwrap_or_else(|| x.shape()[1..].to_vec());
                let layer = nn::LayerNorm::new(shape).eps(spec.eps.unwrap_or(1e-5));
                let layer = layer.elementwise_affine(spec.elementwise_affine.unwrap_or(true));
                Box::new(layer.bias(spec.bias.unwrap_or(true)))
            }
            S::MaxPool1d(spec) => max_pool::<1>(spec)?,
            S::MaxPool2d(spec) => max_pool::<2>(spec)?,
            S::MaxPool3d(spec) => max_pool::<3>(spec)?,
            S::AvgPool1d(spec) => avg_pool::<1>(spec)?,
            S::AvgPool2d(spec) => avg_pool::<2>(spec)?,
            S::AvgPool3d(spec) => avg_pool::<3>(spec)?,
            S::AdaptiveAvgPool1d(spec) => Box::new(nn::AdaptiveAvgPool1d::new(spec.size()?)),
            S::AdaptiveAvgPool2d(spec) => Box::new(nn::AdaptiveAvgPool2d::new(spec.size()?)),
            S::AdaptiveAvgPool3d(spec) => Box::new(nn::AdaptiveAvgPool3d::new(spec.size()?)),
            S::AdaptiveMaxPool1d(spec) => Box::new(nn::AdaptiveMaxPool1d::new(spec.size()?)),
            S::AdaptiveMaxPool2d(spec) => Box::new(nn::AdaptiveMaxPool2d::new(spec.size()?)),
            S::AdaptiveMaxPool3d(spec) => Box::new(nn::AdaptiveMaxPool3d::new(spec.size()?)),
            S::Unfold(spec) => {
                let layer = nn::Unfold::new(spec.kernel_size.size("kernel_size")?);
                Box::new(with_axes!(layer, spec, dilation padding stride))
            }
            S::Fold(spec) => {
                let output_size = spec.output_size.size("output_size")?;
                let layer = nn::Fold::new(output_size, spec.kernel_size.size("kernel_size")?);
                Box::new(with_axes!(layer, spec, dilation padding stride))
            }
            S::Flatten(_) => Box::new(nn::Flatten::new()),
            S::Linear(spec) => {
                let features = x.shape().last().copied().unwrap_or(0);
                let layer = nn::Linear::new(features, spec.out_features.unwrap_or(classes));
                Box::new(layer.bias(spec.bias.unwrap_or(true)))
            }
            S::Dropout(spec) | S::Dropout1d(spec) | S::Dropout2d(spec) | S::Dropout3d(spec)
                if !(0.0..=1.0).contains(&spec.p) =>
            {
                return Err(Error::config(format!("p {} is not in 0..1", spec.p)));
            }
            S::Dropout(spec) => Box::new(nn::Dropout::new(spec.p)),
            S::Dropout1d(spec) => Box::new(nn::Dropout1d::new(spec.p)),
            S::Dropout2d(spec) => Box::new(nn::Dropout2d::new(spec.p)),
            S::Dropout3d(spec) => Box::new(nn::Dropout3d::new(spec.p)),
            S::ReLU(_) => Box::new(nn::ReLU()),
            S::ReLU6(_) => Box::new(nn::ReLU6()),
            S::LeakyReLU(spec) => activation(Function::LeakyReLU(spec.negative_slope.unwrap_or(0.01))),
            S::PReLU(spec) => Box::new(nn::PReLU::new(spec.num_parameters.unwrap_or(1))),
            S::ELU(spec) => activation(Function::ELU(spec.alpha.unwrap_or(1.0))),
            S::SELU(_) => Box::new(nn::SELU()),
            S::GELU(spec) => match spec.approximate.as_deref() {
                None | Some("none") => Box::new(nn::GELU()),
                Some("tanh") => Box::new(nn::GELUTanh()),
                Some(other) => {
                    let text = format!("approximate {other:?}");
                    return Err(Error::config(text).hint("give \"none\" or \"tanh\""));
                }
            },
            S::SiLU(_) => Box::new(nn::SiLU()),
            S::Hardswish(_) => Box::new(nn::Hardswish()),
            S::Hardsigmoid(_) => Box::new(nn::Hardsigmoid()),
            S::Hardtanh(spec) => {
                activation(Function::Hardtanh(spec.min_val.unwrap_or(-1.0), spec.max_val.unwrap_or(1.0)))
            }
            S::Mish(_) => Box::new(nn::Mish()),
            S::Softplus(spec) => {
                let (beta, threshold) = (spec.beta.unwrap_or(1.0), spec.threshold.unwrap_or(20.0));
                activation(Function::Softplus { beta, threshold })
            }
            S::Sigmoid(_) => Box::new(nn::Sigmoid()),
            S::Tanh(_) => Box::new(nn::Tanh()),
            S::ScaledTanh(_) => Box::new(nn::historic::ScaledTanh::new()),
            S::Subsample2d(_) => Box::new(nn::historic::Subsample2d::new(channels)),
            S::ConnectedConv2d(spec) if !(1..=1 << 16).contains(&spec.kernel_size) => {
                return Err(Error::config(format!("kernel_size {}", spec.kernel_size)).hint("give 1 or more"));
            }
            S::ConnectedConv2d(spec) => {
                if let Some(map) = spec.connections.iter().flatten().find(|&&map| map >= channels) {
                    return Err(Error::config(format!("a connection to map {map} of {channels}")));
                }
                Box::new(nn::historic::ConnectedConv2d::new(channels, &spec.connections, spec.kernel_size))
            }
        })
    }
}
