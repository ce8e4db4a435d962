//! The zoo: models by name.

use rasgo_core::{Error, Result};

use super::Architecture;
use super::layer::{
    AdaptiveAxes, AdaptiveAxis, AdaptiveSpec, Axes, ConnectedSpec, ConvSpec, DropoutSpec, LayerSpec,
    LinearSpec, MaxPoolSpec, NormSpec, PaddingSpec, Plain,
};

/// A model of the zoo.
#[derive(Clone, Copy, Debug)]
pub struct Model {
    /// Its name.
    pub name: &'static str,
    /// What it is, in a line.
    pub about: &'static str,
    /// The input it is known for.
    pub input: &'static [usize],
    /// The classes it is known for.
    pub classes: usize,
    layers: fn(&mut Architecture),
}

impl Model {
    /// The model's layers, for its own input and classes.
    pub fn architecture(&self) -> Architecture {
        let mut architecture = Architecture {
            name: Some(self.name.to_string()),
            input: self.input.to_vec(),
            classes: Some(self.classes),
            parts: None,
            layer: Vec::new(),
            backbone: Vec::new(),
            neck: Vec::new(),
            head: Vec::new(),
        };
        (self.layers)(&mut architecture);
        architecture
    }
}

/// The model that `rasgo train` takes for images without being told.
pub const DEFAULT: &str = "rasgo-small";

/// Its kin for sequences and video.
const DEFAULT_1D: &str = "rasgo-small-1d";
const DEFAULT_3D: &str = "rasgo-small-3d";

/// The model that `rasgo train` takes, without being told, for samples of that shape.
pub fn default_for(shape: &[usize]) -> &'static str {
    match shape.len() {
        2 => DEFAULT_1D,
        4 => DEFAULT_3D,
        _ => DEFAULT,
    }
}

/// Every model of the zoo.
pub fn models() -> &'static [Model] {
    const MNIST: &[usize] = &[1, 28, 28];
    &[
        Model {
            name: DEFAULT,
            about: "five convolutions with batch norm, for small images: fast, and the default",
            input: MNIST,
            classes: 10,
            layers: small,
        },
        Model {
            name: DEFAULT_1D,
            about: "five convolutions over time with batch norm, for sequences: the default for (C, L)",
            input: &[1, 128],
            classes: 10,
            layers: small_1d,
        },
        Model {
            name: DEFAULT_3D,
            about: "five convolutions over time and space with batch norm, for small videos: the default for (C, D, H, W)",
            input: &[1, 8, 28, 28],
            classes: 10,
            layers: small_3d,
        },
        Model {
            name: "mlp",
            about: "the feed-forward network of the lecture: 256, 128, classes",
            input: MNIST,
            classes: 10,
            layers: mlp,
        },
        Model {
            name: "lecture",
            about: "the lecture's network: three blocks of conv 3x3, batch norm, ReLU, max pool; 64, 128, 256 channels",
            input: MNIST,
            classes: 10,
            layers: lecture,
        },
        Model {
            name: "lecun1990",
            about: "LeCun et al. 1990: the first network read from post-office digits, with its table of connections",
            input: MNIST,
            classes: 10,
            layers: lecun1990,
        },
        Model {
            name: "lenet5",
            about: "LeNet-5 (LeCun et al. 1998) with ReLU and max pooling",
            input: MNIST,
            classes: 10,
            layers: lenet5,
        },
        Model {
            name: "alexnet",
            about: "AlexNet (Krizhevsky 2014), as torchvision's",
            input: &[3, 224, 224],
            classes: 1000,
            layers: alexnet,
        },
    ]
}

/// The model of that name.
///
/// # Errors
/// Names the nearest one.
pub fn named(name: &str) -> Result<&'static Model> {
    models().iter().find(|model| model.name == name).ok_or_else(|| {
        let names: Vec<&str> = models().iter().map(|model| model.name).collect();
        let error = Error::argument(format!("unknown model {name:?}"));
        match crate::nearest(name, names.iter().copied()) {
            Some(near) => error.hint(format!("is {near:?} meant? The models are {}", names.join(", "))),
            None => {
                error.hint(format!("the models are {}; or give a file, as my-model.toml", names.join(", ")))
            }
        }
    })
}

fn conv(out_channels: usize, kernel_size: usize, padding: usize) -> ConvSpec {
    ConvSpec {
        padding: (padding > 0).then_some(PaddingSpec::Axes(Axes::One(padding))),
        ..ConvSpec::new(out_channels, Axes::One(kernel_size))
    }
}

fn max_pool(kernel_size: usize, stride: Option<usize>) -> LayerSpec {
    let stride = stride.map(Axes::One);
    LayerSpec::MaxPool2d(MaxPoolSpec { stride, ..MaxPoolSpec::new(Axes::One(kernel_size)) })
}

fn relu() -> LayerSpec {
    LayerSpec::ReLU(Plain {})
}

fn flatten() -> LayerSpec {
    LayerSpec::Flatten(Plain {})
}

fn linear(out_features: impl Into<Option<usize>>) -> LayerSpec {
    LayerSpec::Linear(LinearSpec { out_features: out_features.into(), bias: None })
}

fn size_of(size: usize) -> AdaptiveSpec {
    AdaptiveSpec { output_size: AdaptiveAxes::One(AdaptiveAxis::Size(size)) }
}

fn average_to(size: usize) -> LayerSpec {
    LayerSpec::AdaptiveAvgPool2d(size_of(size))
}

/// Convolution without bias, normalisation, ReLU.
fn conv_norm_relu(out_channels: usize, kernel_size: usize, padding: usize) -> [LayerSpec; 3] {
    let spec = ConvSpec { bias: Some(false), ..conv(out_channels, kernel_size, padding) };
    [LayerSpec::Conv2d(spec), LayerSpec::BatchNorm2d(NormSpec::new()), relu()]
}

/// Our own: the first convolution halves the map, few channels while maps are large, and an average at the end.
fn small(model: &mut Architecture) {
    let mut first = conv_norm_relu(16, 5, 0);
    if let LayerSpec::Conv2d(spec) = &mut first[0] {
        spec.stride = Some(Axes::One(2));
    }
    model.backbone.extend(first);
    model.backbone.extend(conv_norm_relu(32, 3, 0));
    model.backbone.extend(conv_norm_relu(32, 3, 0));
    model.backbone.push(max_pool(2, None));
    model.backbone.extend(conv_norm_relu(64, 3, 1));
    model.backbone.extend(conv_norm_relu(64, 3, 1));
    model.head = vec![average_to(1), flatten(), linear(None)];
}

/// The same idea along one axis. Maps halve three times, so that the last layer sees 101 steps.
fn small_1d(model: &mut Architecture) {
    let conv_norm_relu = |channels: usize, kernel_size: usize, stride: Option<usize>| {
        let spec = ConvSpec {
            bias: Some(false),
            stride: stride.map(Axes::One),
            ..conv(channels, kernel_size, kernel_size / 2)
        };
        [LayerSpec::Conv1d(spec), LayerSpec::BatchNorm1d(NormSpec::new()), relu()]
    };
    let pool = || LayerSpec::MaxPool1d(MaxPoolSpec::new(Axes::One(2)));
    model.backbone.extend(conv_norm_relu(16, 7, Some(2)));
    model.backbone.extend(conv_norm_relu(32, 5, None));
    model.backbone.push(pool());
    model.backbone.extend(conv_norm_relu(32, 5, None));
    model.backbone.push(pool());
    model.backbone.extend(conv_norm_relu(64, 5, None));
    model.backbone.extend(conv_norm_relu(64, 5, None));
    model.head = vec![LayerSpec::AdaptiveAvgPool1d(size_of(1)), flatten(), linear(None)];
}

/// And over time and space. Frames halve at once; time stays as long as it is, for few frames are usual.
fn small_3d(model: &mut Architecture) {
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
    model.backbone.extend(conv_norm_relu(8, first));
    model.backbone.extend(conv_norm_relu(16, conv(0, 3, 1)));
    model.backbone.push(pool());
    model.backbone.extend(conv_norm_relu(32, conv(0, 3, 1)));
    model.backbone.push(pool());
    model.backbone.extend(conv_norm_relu(64, conv(0, 3, 1)));
    model.backbone.extend(conv_norm_relu(64, conv(0, 3, 1)));
    model.head = vec![LayerSpec::AdaptiveAvgPool3d(size_of(1)), flatten(), linear(None)];
}

/// 784-256-128-10 with ReLU between.
fn mlp(model: &mut Architecture) {
    model.backbone = vec![flatten(), linear(256), relu(), linear(128), relu()];
    model.head = vec![linear(None)];
}

/// The number of parameters does not depend on the image's size.
fn lecture(model: &mut Architecture) {
    for channels in [64, 128, 256] {
        model.backbone.push(LayerSpec::Conv2d(conv(channels, 3, 1)));
        model.backbone.push(LayerSpec::BatchNorm2d(NormSpec::new()));
        model.backbone.extend([relu(), max_pool(2, None)]);
    }
    model.head = vec![average_to(1), flatten(), linear(None)];
}

/// Two convolutions and three linear layers. The 1998 network squashed with tanh, subsampled with trained
/// coefficients and ended in radial basis functions; this is the form that is taught today.
fn lenet5(model: &mut Architecture) {
    model.backbone = vec![
        LayerSpec::Conv2d(conv(6, 5, 2)),
        relu(),
        max_pool(2, None),
        LayerSpec::Conv2d(conv(16, 5, 0)),
        relu(),
        max_pool(2, None),
    ];
    model.head = vec![flatten(), linear(120), relu(), linear(84), relu(), linear(None)];
}

/// The network of LeCun et al. 1990, with its 2,578 parameters: H1 4 maps of 24x24 (104), H2 subsampling (8), H3 12
/// maps of 8x8 from one or two maps of H2 by a table (20 kernels, 512), H4 subsampling (24), 10 outputs (1,930).
///
/// What today's networks do otherwise: ReLU instead of a scaled tanh after every layer, max pooling instead of
/// subsampling with a trained coefficient and bias, every map connected to every map, cross entropy instead of the
/// mean squared error to targets of ±1. The input was 16x16 digits centred in 28x28; MNIST's are 20x20 in 28x28.
fn lecun1990(model: &mut Architecture) {
    let tanh = || LayerSpec::ScaledTanh(Plain {});
    let subsample = || LayerSpec::Subsample2d(Plain {});
    let half = [vec![0], vec![0, 1], vec![0, 1], vec![1], vec![0, 1], vec![0, 1]];
    let connections = [0, 2]
        .iter()
        .flat_map(|first| half.iter().map(move |maps| maps.iter().map(|map| map + first).collect()))
        .collect();
    model.backbone = vec![
        LayerSpec::Conv2d(conv(4, 5, 0)),
        tanh(),
        subsample(),
        tanh(),
        LayerSpec::ConnectedConv2d(ConnectedSpec { connections, kernel_size: 5 }),
        tanh(),
        subsample(),
        tanh(),
    ];
    model.head = vec![flatten(), linear(None)];
}

/// torchvision's AlexNet, under its names.
fn alexnet(model: &mut Architecture) {
    model.parts = Some(["features", "avgpool", "classifier"].map(String::from));
    let first = ConvSpec { stride: Some(Axes::One(4)), ..conv(64, 11, 2) };
    model.backbone = vec![
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
    ];
    model.neck = vec![average_to(6), flatten()];
    let dropout = || LayerSpec::Dropout(DropoutSpec { p: Some(0.5) });
    model.head = vec![dropout(), linear(4096), relu(), dropout(), linear(4096), relu(), linear(None)];
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::{Module, ModuleExt};
    use crate::zoo::summarize;
    use rasgo_core::{Tensor, no_grad};

    fn parameters(name: &str, input: &[usize]) -> usize {
        let network = named(name).unwrap().architecture().input(input).build().unwrap();
        let summary = summarize(name, &network, input).unwrap();
        assert_eq!(
            summary.parameters,
            summary.layers.iter().map(|row| row.parameters).sum::<usize>(),
            "{name}"
        );
        summary.parameters
    }

    #[test]
    fn models_have_the_parameters_of_their_papers() {
        assert_eq!(parameters("mlp", &[1, 28, 28]), 235_146);
        assert_eq!(parameters("mlp", &[1, 512, 512]), 67_143_306);
        assert_eq!(parameters("lecture", &[1, 28, 28]), 373_130);
        assert_eq!(parameters("lecture", &[1, 512, 512]), 373_130);
        assert_eq!(parameters("lenet5", &[1, 28, 28]), 61_706);
        assert_eq!(parameters("lecun1990", &[1, 28, 28]), 2_578);
        assert_eq!(parameters("alexnet", &[3, 224, 224]), 61_100_840);
    }

    #[test]
    fn every_model_trains_a_step_and_names_its_layers() {
        for model in models().iter().filter(|model| model.name != "alexnet") {
            let mut network = model.architecture().build().unwrap();
            let x = Tensor::rand([4].into_iter().chain(model.input.iter().copied()).collect::<Vec<_>>());
            let target = Tensor::from_vec(vec![0i64, 1, 2, 3], [4]).unwrap();
            let mut opt = crate::optim::Optimizer::sgd(0.01);
            let mut losses = Vec::new();
            for _ in 0..8 {
                let loss =
                    network.forward(x.clone()).unwrap().cross_entropy(&target, Default::default()).unwrap();
                losses.push(loss.item::<f32>().unwrap());
                opt.step(&mut network, loss.backward().unwrap()).unwrap();
            }
            assert!(losses[7] < losses[0], "{}: {losses:?}", model.name);
            assert!(network.state_dict().iter().all(|(name, _)| name.contains('.')), "{}", model.name);
        }
    }

    #[test]
    fn each_row_of_a_batch_is_predicted_to_the_bit_as_alone() {
        for name in [DEFAULT, DEFAULT_1D, DEFAULT_3D, "lecture", "lenet5", "mlp", "lecun1990"] {
            let model = named(name).unwrap();
            let mut network = model.architecture().build().unwrap();
            network.eval();
            let x = Tensor::rand([5].into_iter().chain(model.input.iter().copied()).collect::<Vec<_>>());
            let predict = |x: Tensor| no_grad(|| network.forward(x).unwrap().to_vec::<f32>().unwrap());
            let batch = predict(x.clone());
            for row in 0..5 {
                assert_eq!(predict(x.narrow(0, row, 1).unwrap()), batch[row * 10..(row + 1) * 10], "{name}");
            }
        }
    }

    #[test]
    fn a_mistyped_name_gets_the_nearest() {
        assert!(named("lectur").unwrap_err().to_string().contains("is \"lecture\" meant?"));
    }

    #[test]
    fn a_model_that_does_not_fit_names_the_layer_and_the_arithmetic() {
        let text = "input = [1, 8, 8]\n[[layer]]\ntype = \"Conv2d\"\nout_channels = 4\nkernel_size = 11\n";
        let error = Architecture::from_toml(text).unwrap().build().unwrap_err().to_string();
        assert!(error.contains("backbone.0 (Conv2d)") && error.contains("spans 11"), "{error}");
        let error = Architecture::from_toml(&text.replace("Conv2d", "Conv2")).unwrap_err().to_string();
        assert!(error.contains("is \"Conv2d\" meant?"), "{error}");
    }
}
