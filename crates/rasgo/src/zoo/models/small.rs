//! Our own models: few parameters, fast on small samples.

use super::shorthand::{
    average_to, conv, conv_norm_relu, flatten, linear, max_pool, numbered, relu, size_of,
};
use crate::zoo::Architecture;
use crate::zoo::layer::{Axes, ConvSpec, LayerSpec, MaxPoolSpec, NormSpec, PaddingSpec};

/// Our own: the first convolution halves the map, few channels while maps are large, and an average at the end.
pub(super) fn small(model: &mut Architecture) {
    let mut first = conv_norm_relu(16, 5, 0);
    if let LayerSpec::Conv2d(spec) = &mut first[0] {
        spec.stride = Some(Axes::One(2));
    }
    model.backbone.extend(numbered(first));
    model.backbone.extend(numbered(conv_norm_relu(32, 3, 0)));
    model.backbone.extend(numbered(conv_norm_relu(32, 3, 0)));
    model.backbone.push(max_pool(2, None).into());
    model.backbone.extend(numbered(conv_norm_relu(64, 3, 1)));
    model.backbone.extend(numbered(conv_norm_relu(64, 3, 1)));
    model.head = numbered([average_to(1), flatten(), linear(None)]);
}

/// The same idea along one axis. Maps halve three times, so that the last layer sees 101 steps.
pub(super) fn small_1d(model: &mut Architecture) {
    let conv_norm_relu = |channels: usize, kernel_size: usize, stride: Option<usize>| {
        let spec = ConvSpec {
            bias: Some(false),
            stride: stride.map(Axes::One),
            ..conv(channels, kernel_size, kernel_size / 2)
        };
        [LayerSpec::Conv1d(spec), LayerSpec::BatchNorm1d(NormSpec::new()), relu()]
    };
    let pool = || LayerSpec::MaxPool1d(MaxPoolSpec::new(Axes::One(2)));
    model.backbone.extend(numbered(conv_norm_relu(16, 7, Some(2))));
    model.backbone.extend(numbered(conv_norm_relu(32, 5, None)));
    model.backbone.push(pool().into());
    model.backbone.extend(numbered(conv_norm_relu(32, 5, None)));
    model.backbone.push(pool().into());
    model.backbone.extend(numbered(conv_norm_relu(64, 5, None)));
    model.backbone.extend(numbered(conv_norm_relu(64, 5, None)));
    model.head = numbered([LayerSpec::AdaptiveAvgPool1d(size_of(1)), flatten(), linear(None)]);
}

/// And over time and space. Frames halve at once; time stays as long as it is, for few frames are usual.
pub(super) fn small_3d(model: &mut Architecture) {
    let conv_norm_relu = |channels: usize, spec: ConvSpec| {
        let spec = ConvSpec { out_channels: channels, bias: Some(false), ..spec };
        [LayerSpec::Conv3d(spec), LayerSpec::BatchNorm3d(NormSpec::new()), relu()]
    };
    let first = ConvSpec {
        kernel_size: Axes::Each(vec![3, 5, 5]),
        stride: Some(Axes::Each(vec![1, 2, 2])),
        padding: Some(PaddingSpec::Axes(Axes::Each(vec![1, 2, 2]))),
        ..conv(0, 3, 1)
    };
    let pool = || LayerSpec::MaxPool3d(MaxPoolSpec::new(Axes::Each(vec![1, 2, 2])));
    model.backbone.extend(numbered(conv_norm_relu(8, first)));
    model.backbone.extend(numbered(conv_norm_relu(16, conv(0, 3, 1))));
    model.backbone.push(pool().into());
    model.backbone.extend(numbered(conv_norm_relu(32, conv(0, 3, 1))));
    model.backbone.push(pool().into());
    model.backbone.extend(numbered(conv_norm_relu(64, conv(0, 3, 1))));
    model.backbone.extend(numbered(conv_norm_relu(64, conv(0, 3, 1))));
    model.head = numbered([LayerSpec::AdaptiveAvgPool3d(size_of(1)), flatten(), linear(None)]);
}
