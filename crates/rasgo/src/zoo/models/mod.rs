//! The zoo: models by name.

mod shorthand;
mod small;
mod taught;
mod torchvision;

use rasgo_core::{Error, Result};

use super::Architecture;

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
            init: None,
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
    const PHOTO: &[usize] = &[3, 224, 224];
    &[
        Model {
            name: DEFAULT,
            about: "five convolutions with batch norm, for small images: fast, and the default",
            input: MNIST,
            classes: 10,
            layers: small::small,
        },
        Model {
            name: DEFAULT_1D,
            about: "five convolutions over time with batch norm, for sequences: the default for (C, L)",
            input: &[1, 128],
            classes: 10,
            layers: small::small_1d,
        },
        Model {
            name: DEFAULT_3D,
            about: "five convolutions over time and space with batch norm, for small videos: the default for (C, D, H, W)",
            input: &[1, 8, 28, 28],
            classes: 10,
            layers: small::small_3d,
        },
        Model {
            name: "mlp",
            about: "the feed-forward network of the lecture: 256, 128, classes",
            input: MNIST,
            classes: 10,
            layers: taught::mlp,
        },
        Model {
            name: "lecture",
            about: "the lecture's network: three blocks of conv 3x3, batch norm, ReLU, max pool; 64, 128, 256 channels",
            input: MNIST,
            classes: 10,
            layers: taught::lecture,
        },
        Model {
            name: "lecun1990",
            about: "LeCun et al. 1990: the first network read from post-office digits, with its table of connections",
            input: MNIST,
            classes: 10,
            layers: taught::lecun1990,
        },
        Model {
            name: "lenet5",
            about: "LeNet-5 (LeCun et al. 1998) with ReLU and max pooling",
            input: MNIST,
            classes: 10,
            layers: taught::lenet5,
        },
        Model {
            name: "alexnet",
            about: "AlexNet (Krizhevsky 2014), as torchvision's",
            input: PHOTO,
            classes: 1000,
            layers: torchvision::alexnet,
        },
        Model {
            name: "vgg16",
            about: "VGG-16 (Simonyan and Zisserman 2014), as torchvision's",
            input: PHOTO,
            classes: 1000,
            layers: torchvision::vgg16,
        },
        Model {
            name: "resnet18",
            about: "ResNet-18 (He et al. 2015), as torchvision's",
            input: PHOTO,
            classes: 1000,
            layers: torchvision::resnet18,
        },
        Model {
            name: "resnet18-cifar",
            about: "ResNet-18 for images of 32x32: a first convolution of 3x3 with stride 1, no max pool",
            input: &[3, 32, 32],
            classes: 10,
            layers: torchvision::resnet18_cifar,
        },
        Model {
            name: "mobilenet_v2",
            about: "MobileNetV2 (Sandler et al. 2018), as torchvision's",
            input: PHOTO,
            classes: 1000,
            layers: torchvision::mobilenet_v2,
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
        assert_eq!(parameters("vgg16", &[3, 224, 224]), 138_357_544);
        assert_eq!(parameters("resnet18", &[3, 224, 224]), 11_689_512);
        assert_eq!(parameters("resnet18-cifar", &[3, 32, 32]), 11_173_962);
        assert_eq!(parameters("mobilenet_v2", &[3, 224, 224]), 3_504_872);
    }

    #[test]
    fn multiply_adds_are_those_of_convolutions_and_linear_layers() {
        for (name, expected) in [
            ("alexnet", 714_188_480),
            ("vgg16", 15_470_264_320),
            ("resnet18", 1_814_073_344),
            ("mobilenet_v2", 300_774_272),
        ] {
            let model = named(name).unwrap();
            let network = model.architecture().build().unwrap();
            assert_eq!(summarize(name, &network, model.input).unwrap().multiply_adds, expected, "{name}");
        }
    }

    /// Fewer pixels where a model's own would make a test long; linear layers keep their features.
    fn small_input(model: &Model) -> Vec<usize> {
        if model.input == [3, 224, 224] { vec![3, 64, 64] } else { model.input.to_vec() }
    }

    #[test]
    fn every_model_trains_a_step_and_names_its_layers() {
        for model in models().iter().filter(|model| !["alexnet", "vgg16"].contains(&model.name)) {
            let mut network = model.architecture().build().unwrap();
            let x = Tensor::rand([&[4], &small_input(model)[..]].concat());
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
        for name in [
            DEFAULT,
            DEFAULT_1D,
            DEFAULT_3D,
            "lecture",
            "lenet5",
            "mlp",
            "lecun1990",
            "resnet18",
            "mobilenet_v2",
        ] {
            let model = named(name).unwrap();
            let mut network = model.architecture().classes(10).build().unwrap();
            network.eval();
            let x = Tensor::rand([&[5], &small_input(model)[..]].concat());
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
