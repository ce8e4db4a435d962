//! A layer as it stands in a model file: its type, and its options under PyTorch's names.

mod activation;
mod axes;
mod block;
mod conv;
mod norm;
mod options;
mod pool;
mod resize;

use rasgo_core::{Result, Tensor};
use serde::{Deserialize, Serialize};

pub(super) use self::activation::*;
pub(super) use self::axes::{AdaptiveAxes, AdaptiveAxis, Axes, PaddingSpec};
pub(super) use self::block::*;
pub(super) use self::conv::*;
pub(super) use self::norm::*;
use self::options::options;
pub(super) use self::pool::*;
pub(super) use self::resize::*;
use crate::nn::{self, Module};

options! {
    /// The options of a linear layer; `in_features` follows from the input.
    LinearSpec {
        required {}
        optional {
            /// Output features; the number of classes by default.
            out_features: usize,
            /// Whether there is a bias; true by default.
            bias: bool,
        }
    }
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
    InstanceNorm1d(InstanceNormSpec),
    /// Normalisation of each channel of images.
    InstanceNorm2d(InstanceNormSpec),
    /// Normalisation of each channel of video.
    InstanceNorm3d(InstanceNormSpec),
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
    /// Convolution, batch normalisation and activation.
    Conv2dNormActivation(ConvNormActSpec),
    /// The block of ResNet-18 and 34.
    BasicBlock(ResidualSpec),
    /// The block of ResNet-50 and deeper.
    Bottleneck(ResidualSpec),
    /// The block of MobileNetV2.
    InvertedResidual(InvertedResidualSpec),
}

impl LayerSpec {
    /// The layer for an input of that shape.
    pub(super) fn build(&self, x: &Tensor, classes: usize) -> Result<Box<dyn Module>> {
        use LayerSpec as S;
        let channels = x.shape().get(1).copied().unwrap_or(0);
        Ok(match self {
            S::Conv1d(spec) => spec.build::<1>(channels)?,
            S::Conv2d(spec) => spec.build::<2>(channels)?,
            S::Conv3d(spec) => spec.build::<3>(channels)?,
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
            S::BatchNorm1d(spec) => spec.build::<1>(channels),
            S::BatchNorm2d(spec) => spec.build::<2>(channels),
            S::BatchNorm3d(spec) => spec.build::<3>(channels),
            S::GroupNorm(spec) => spec.build(channels),
            S::InstanceNorm1d(spec) => spec.build::<1>(channels),
            S::InstanceNorm2d(spec) => spec.build::<2>(channels),
            S::InstanceNorm3d(spec) => spec.build::<3>(channels),
            S::LayerNorm(spec) => spec.build(x),
            S::MaxPool1d(spec) => spec.build::<1>()?,
            S::MaxPool2d(spec) => spec.build::<2>()?,
            S::MaxPool3d(spec) => spec.build::<3>()?,
            S::AvgPool1d(spec) => spec.build::<1>()?,
            S::AvgPool2d(spec) => spec.build::<2>()?,
            S::AvgPool3d(spec) => spec.build::<3>()?,
            S::AdaptiveAvgPool1d(spec) => spec.average::<1>()?,
            S::AdaptiveAvgPool2d(spec) => spec.average::<2>()?,
            S::AdaptiveAvgPool3d(spec) => spec.average::<3>()?,
            S::AdaptiveMaxPool1d(spec) => spec.max::<1>()?,
            S::AdaptiveMaxPool2d(spec) => spec.max::<2>()?,
            S::AdaptiveMaxPool3d(spec) => spec.max::<3>()?,
            S::Unfold(spec) => spec.build()?,
            S::Fold(spec) => spec.build()?,
            S::Flatten(_) => Box::new(nn::Flatten::new()),
            S::Linear(spec) => {
                let features = x.shape().last().copied().unwrap_or(0);
                let layer = nn::Linear::new(features, spec.out_features.unwrap_or(classes));
                Box::new(layer.bias(spec.bias.unwrap_or(true)))
            }
            S::Dropout(spec) => Box::new(nn::Dropout::new(spec.p()?)),
            S::Dropout1d(spec) => Box::new(nn::Dropout1d::new(spec.p()?)),
            S::Dropout2d(spec) => Box::new(nn::Dropout2d::new(spec.p()?)),
            S::Dropout3d(spec) => Box::new(nn::Dropout3d::new(spec.p()?)),
            S::ReLU(_) => Box::new(nn::ReLU()),
            S::ReLU6(_) => Box::new(nn::ReLU6()),
            S::LeakyReLU(spec) => spec.build(),
            S::PReLU(spec) => spec.build(),
            S::ELU(spec) => spec.build(),
            S::SELU(_) => Box::new(nn::SELU()),
            S::GELU(spec) => spec.build()?,
            S::SiLU(_) => Box::new(nn::SiLU()),
            S::Hardswish(_) => Box::new(nn::Hardswish()),
            S::Hardsigmoid(_) => Box::new(nn::Hardsigmoid()),
            S::Hardtanh(spec) => spec.build(),
            S::Mish(_) => Box::new(nn::Mish()),
            S::Softplus(spec) => spec.build(),
            S::Sigmoid(_) => Box::new(nn::Sigmoid()),
            S::Tanh(_) => Box::new(nn::Tanh()),
            S::ScaledTanh(_) => Box::new(nn::historic::ScaledTanh::new()),
            S::Subsample2d(_) => Box::new(nn::historic::Subsample2d::new(channels)),
            S::ConnectedConv2d(spec) => spec.build(channels)?,
            S::Conv2dNormActivation(spec) => spec.build(channels)?,
            S::BasicBlock(spec) => spec.basic(channels),
            S::Bottleneck(spec) => spec.bottleneck(channels)?,
            S::InvertedResidual(spec) => spec.build(channels),
        })
    }
}
