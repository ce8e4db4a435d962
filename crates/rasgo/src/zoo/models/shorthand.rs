//! Layers as the lists of the models write them.

use crate::zoo::LayerEntry;
use crate::zoo::layer::{
    AdaptiveAxes, AdaptiveAxis, AdaptiveSpec, Axes, ConvSpec, DropoutSpec, LayerSpec, LinearSpec,
    MaxPoolSpec, NormSpec, PaddingSpec, Plain,
};

pub(super) fn conv(out_channels: usize, kernel_size: usize, padding: usize) -> ConvSpec {
    ConvSpec {
        padding: (padding > 0).then_some(PaddingSpec::Axes(Axes::One(padding))),
        ..ConvSpec::new(out_channels, Axes::One(kernel_size))
    }
}

pub(super) fn max_pool(kernel_size: usize, stride: Option<usize>) -> LayerSpec {
    let stride = stride.map(Axes::One);
    LayerSpec::MaxPool2d(MaxPoolSpec { stride, ..MaxPoolSpec::new(Axes::One(kernel_size)) })
}

pub(super) fn relu() -> LayerSpec {
    LayerSpec::ReLU(Plain {})
}

pub(super) fn flatten() -> LayerSpec {
    LayerSpec::Flatten(Plain {})
}

pub(super) fn linear(out_features: impl Into<Option<usize>>) -> LayerSpec {
    LayerSpec::Linear(LinearSpec { out_features: out_features.into(), bias: None })
}

pub(super) fn size_of(size: usize) -> AdaptiveSpec {
    AdaptiveSpec { output_size: AdaptiveAxes::One(AdaptiveAxis::Size(size)) }
}

pub(super) fn average_to(size: usize) -> LayerSpec {
    LayerSpec::AdaptiveAvgPool2d(size_of(size))
}

/// Convolution without bias, normalisation, ReLU.
pub(super) fn conv_norm_relu(out_channels: usize, kernel_size: usize, padding: usize) -> [LayerSpec; 3] {
    let spec = ConvSpec { bias: Some(false), ..conv(out_channels, kernel_size, padding) };
    [LayerSpec::Conv2d(spec), LayerSpec::BatchNorm2d(NormSpec::new()), relu()]
}

pub(super) fn norm() -> LayerSpec {
    LayerSpec::BatchNorm2d(NormSpec::new())
}

pub(super) fn dropout(p: f64) -> LayerSpec {
    LayerSpec::Dropout(DropoutSpec { p: Some(p) })
}

/// Layers that are named by their numbers.
pub(super) fn numbered(layers: impl IntoIterator<Item = LayerSpec>) -> Vec<LayerEntry> {
    layers.into_iter().map(LayerEntry::from).collect()
}
