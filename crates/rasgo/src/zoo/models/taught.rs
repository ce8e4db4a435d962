//! The models that are taught: the lecture's, and those of LeCun et al.

use super::shorthand::{average_to, conv, flatten, linear, max_pool, norm, numbered, relu};
use crate::zoo::Architecture;
use crate::zoo::layer::{ConnectedSpec, LayerSpec, Plain};

/// 784-256-128-10 with ReLU between.
pub(super) fn mlp(model: &mut Architecture) {
    model.backbone = numbered([flatten(), linear(256), relu(), linear(128), relu()]);
    model.head = numbered([linear(None)]);
}

/// The number of parameters does not depend on the image's size.
pub(super) fn lecture(model: &mut Architecture) {
    for channels in [64, 128, 256] {
        model.backbone.push(LayerSpec::Conv2d(conv(channels, 3, 1)).into());
        model.backbone.push(norm().into());
        model.backbone.extend(numbered([relu(), max_pool(2, None)]));
    }
    model.head = numbered([average_to(1), flatten(), linear(None)]);
}

/// Two convolutions and three linear layers. The 1998 network squashed with tanh, subsampled with trained
/// coefficients and ended in radial basis functions; this is the form that is taught today.
pub(super) fn lenet5(model: &mut Architecture) {
    model.backbone = numbered([
        LayerSpec::Conv2d(conv(6, 5, 2)),
        relu(),
        max_pool(2, None),
        LayerSpec::Conv2d(conv(16, 5, 0)),
        relu(),
        max_pool(2, None),
    ]);
    model.head = numbered([flatten(), linear(120), relu(), linear(84), relu(), linear(None)]);
}

/// The network of LeCun et al. 1990, with its 2,578 parameters: H1 4 maps of 24x24 (104), H2 subsampling (8), H3 12
/// maps of 8x8 from one or two maps of H2 by a table (20 kernels, 512), H4 subsampling (24), 10 outputs (1,930).
///
/// What today's networks do otherwise: ReLU instead of a scaled tanh after every layer, max pooling instead of
/// subsampling with a trained coefficient and bias, every map connected to every map, cross entropy instead of the
/// mean squared error to targets of ±1. The input was 16x16 digits centred in 28x28; MNIST's are 20x20 in 28x28.
pub(super) fn lecun1990(model: &mut Architecture) {
    let tanh = || LayerSpec::ScaledTanh(Plain {});
    let subsample = || LayerSpec::Subsample2d(Plain {});
    let half = [vec![0], vec![0, 1], vec![0, 1], vec![1], vec![0, 1], vec![0, 1]];
    let connections = [0, 2]
        .iter()
        .flat_map(|first| half.iter().map(move |maps| maps.iter().map(|map| map + first).collect()))
        .collect();
    model.backbone = numbered([
        LayerSpec::Conv2d(conv(4, 5, 0)),
        tanh(),
        subsample(),
        tanh(),
        LayerSpec::ConnectedConv2d(ConnectedSpec { connections, kernel_size: 5 }),
        tanh(),
        subsample(),
        tanh(),
    ]);
    model.head = numbered([flatten(), linear(None)]);
}
