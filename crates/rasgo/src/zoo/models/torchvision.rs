//! Models of torchvision, under the names of its weights and with its initialisation.

use super::shorthand::{average_to, conv, dropout, flatten, linear, max_pool, norm, numbered, relu};
use crate::zoo::layer::{
    Axes, ConvNormActSpec, ConvSpec, InvertedResidualSpec, LayerSpec, MaxPoolSpec, ResidualSpec,
};
use crate::zoo::{Architecture, ConvInit, Initialisation, LayerEntry};

/// The parts' names where all layers are numbered.
fn name_parts(model: &mut Architecture) {
    model.parts = Some(["features", "avgpool", "classifier"].map(String::from));
}

/// Five convolutions and three linear layers, with the layers' own initialisation.
pub(super) fn alexnet(model: &mut Architecture) {
    name_parts(model);
    let first = ConvSpec { stride: Some(Axes::One(4)), ..conv(64, 11, 2) };
    model.backbone = numbered([
        LayerSpec::Conv2d(first),
        relu(),
        max_pool(3, Some(2)),
        LayerSpec::Conv2d(conv(192, 5, 2)),
        relu(),
        max_pool(3, Some(2)),
        LayerSpec::Conv2d(conv(384, 3, 1)),
        relu(),
        LayerSpec::Conv2d(conv(256, 3, 1)),
        relu(),
        LayerSpec::Conv2d(conv(256, 3, 1)),
        relu(),
        max_pool(3, Some(2)),
    ]);
    model.neck = numbered([average_to(6), flatten()]);
    let half = || dropout(0.5);
    model.head = numbered([half(), linear(4096), relu(), half(), linear(4096), relu(), linear(None)]);
}

/// Thirteen convolutions of 3x3 in five groups, each before a max pool, and three linear layers.
pub(super) fn vgg16(model: &mut Architecture) {
    name_parts(model);
    model.init = Some(Initialisation { conv: Some(ConvInit::KaimingNormal), linear_std: Some(0.01) });
    for (channels, convolutions) in [(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)] {
        for _ in 0..convolutions {
            model.backbone.extend(numbered([LayerSpec::Conv2d(conv(channels, 3, 1)), relu()]));
        }
        model.backbone.push(max_pool(2, Some(2)).into());
    }
    model.neck = numbered([average_to(7), flatten()]);
    let half = || dropout(0.5);
    model.head = numbered([linear(4096), relu(), half(), linear(4096), relu(), half(), linear(None)]);
}

/// A first convolution and eight blocks: their top-level names have nothing in common, so the parts have none.
fn residual(model: &mut Architecture, first: ConvSpec, pool: Option<LayerSpec>) {
    let named = LayerEntry::named;
    model.parts = Some(["", "", ""].map(String::from));
    model.init = Some(Initialisation { conv: Some(ConvInit::KaimingNormal), linear_std: None });
    let first = LayerSpec::Conv2d(ConvSpec { bias: Some(false), ..first });
    model.backbone = vec![named("conv1", first), named("bn1", norm()), named("relu", relu())];
    model.backbone.extend(pool.map(|pool| named("maxpool", pool)));
    for (stage, out_channels) in [(1, 64), (2, 128), (3, 256), (4, 512)] {
        for block in 0..2 {
            let stride = (stage > 1 && block == 0).then_some(2);
            let spec = ResidualSpec { stride, ..ResidualSpec::new(out_channels) };
            model.backbone.push(named(&format!("layer{stage}.{block}"), LayerSpec::BasicBlock(spec)));
        }
    }
    model.neck = vec![named("avgpool", average_to(1)), named("flatten", flatten())];
    model.head = vec![named("fc", linear(None))];
}

/// Maps of 56x56 after the first convolution and the max pool.
pub(super) fn resnet18(model: &mut Architecture) {
    let first = ConvSpec { stride: Some(Axes::One(2)), ..conv(64, 7, 3) };
    let spec = MaxPoolSpec {
        stride: Some(Axes::One(2)),
        padding: Some(Axes::One(1)),
        ..MaxPoolSpec::new(Axes::One(3))
    };
    residual(model, first, Some(LayerSpec::MaxPool2d(spec)));
}

/// As it is used for CIFAR: the first convolution leaves small images their size.
pub(super) fn resnet18_cifar(model: &mut Architecture) {
    residual(model, conv(64, 3, 1), None);
}

/// Seventeen inverted residual blocks between two convolutions, with ReLU6.
pub(super) fn mobilenet_v2(model: &mut Architecture) {
    name_parts(model);
    model.init = Some(Initialisation { conv: Some(ConvInit::KaimingNormal), linear_std: Some(0.01) });
    let end = |out_channels: usize, kernel_size: Option<usize>, stride: Option<usize>| {
        let activation_layer = Some("ReLU6".to_string());
        let spec =
            ConvNormActSpec { kernel_size, stride, activation_layer, ..ConvNormActSpec::new(out_channels) };
        LayerEntry::from(LayerSpec::Conv2dNormActivation(spec))
    };
    model.backbone.push(end(32, None, Some(2)));
    // The table of the paper: expansion, channels, blocks, stride of the first.
    for (expand_ratio, out_channels, blocks, stride) in [
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    ] {
        for block in 0..blocks {
            let stride = (block == 0 && stride > 1).then_some(stride);
            let expand_ratio = Some(expand_ratio);
            let spec =
                InvertedResidualSpec { stride, expand_ratio, ..InvertedResidualSpec::new(out_channels) };
            model.backbone.push(LayerSpec::InvertedResidual(spec).into());
        }
    }
    model.backbone.push(end(1280, Some(1), None));
    model.neck = numbered([average_to(1), flatten()]);
    model.head = numbered([dropout(0.2), linear(None)]);
}
