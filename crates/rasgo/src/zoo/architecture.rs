//! A network as a list of layers: what a model file says.

use std::path::Path;

use rasgo_core::{DType, Error, ErrorKind, Result, Tensor};
use serde::{Deserialize, Serialize};

use super::initialisation::Initialisation;
use super::layer::LayerSpec;
use super::layer_entry::{LayerEntry, check_names, paths};
use super::model_file;
use super::models::default_for;
use super::network::Network;
use crate::data::samples_called;
use crate::nn::{Module, Sequential, shape_only_forward};
use crate::text_file::read_text;

/// A network as a list of layers.
///
/// A model file of one's own gives `input` and `layer`s; the head begins at the first `Flatten`. The zoo's models name
/// their parts, and layers where a number is not their name, after the networks whose weights they take.
///
/// ```
/// let architecture = rasgo::zoo::Architecture::from_toml(r#"
///     input = [1, 28, 28]
///     [[layer]]
///     type = "Conv2d"
///     out_channels = 8
///     kernel_size = 3
///     padding = "same"
///     [[layer]]
///     type = "Flatten"
///     [[layer]]
///     type = "Linear"
/// "#)?;
/// let network = architecture.classes(10).build()?;
/// # Ok::<(), rasgo::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Architecture {
    /// A name for reports.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub name: Option<String>,
    /// The shape of one input: (C, L), (C, H, W) or (C, D, H, W).
    pub input: Vec<usize>,
    /// The number of classes, for linear layers that do not give their `out_features`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub classes: Option<usize>,
    /// The names of backbone, neck and head among the weights; a part of an empty name does not show there.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub parts: Option<[String; 3]>,
    /// How the first weights are made; by each layer's default where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub init: Option<Initialisation>,
    /// All layers, of a file that does not name the parts.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub layer: Vec<LayerEntry>,
    /// The layers that find features.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub backbone: Vec<LayerEntry>,
    /// What stands between: layers without weights.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub neck: Vec<LayerEntry>,
    /// The layers that predict.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub head: Vec<LayerEntry>,
}

impl Architecture {
    /// Reads a model file's text.
    pub fn from_toml(text: &str) -> Result<Architecture> {
        toml::from_str(text).map_err(|error| model_file::described(text, &error))
    }

    /// Reads a model file.
    pub fn read(path: impl AsRef<Path>) -> Result<Architecture> {
        let path = path.as_ref();
        let text = read_text(path)?;
        let mut architecture = Architecture::from_toml(&text).map_err(|error| error.file(path))?;
        if architecture.name.is_none() {
            architecture.name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        }
        Ok(architecture)
    }

    /// The text of a model file.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("an architecture has a text")
    }

    /// Another number of classes.
    pub fn classes(mut self, classes: usize) -> Architecture {
        self.classes = Some(classes);
        self
    }

    /// The number of classes; 10 where nothing is said.
    pub(super) fn class_count(&self) -> usize {
        self.classes.unwrap_or(10)
    }

    /// Another input.
    pub fn input(mut self, input: impl AsRef<[usize]>) -> Architecture {
        self.input = input.as_ref().to_vec();
        self
    }

    /// The names of backbone, neck and head.
    pub(super) fn part_names(&self) -> [&str; 3] {
        match &self.parts {
            Some([backbone, neck, head]) => [backbone, neck, head],
            None => ["backbone", "neck", "head"],
        }
    }

    /// Makes the network for samples of that shape and so many classes.
    ///
    /// # Errors
    /// As [`build`](Architecture::build); where the model is for images and the samples are sequences or the like, or the
    /// samples look as if their channels came last, that is told.
    pub fn build_for(&self, samples: &[usize], classes: usize) -> Result<Network> {
        self.clone().classes(classes).input(samples).build().map_err(|error| self.misfit(samples, error))
    }

    /// The error of layers that do not fit these samples.
    fn misfit(&self, samples: &[usize], error: Error) -> Error {
        let (wanted, found) = (self.input.len(), samples.len());
        if wanted != found {
            let axes = ["", "", "(C, L)", "(C, H, W)", "(C, D, H, W)"];
            let text = format!(
                "{} takes {} {}, and the data are {} of ({})",
                self.name.as_deref().unwrap_or("the model"),
                samples_called(&self.input),
                axes.get(wanted).copied().unwrap_or(""),
                samples_called(samples),
                samples.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")
            );
            return Error::new(ErrorKind::Config, text)
                .hint(format!("use --model {}, or one of your own for such samples", default_for(samples)));
        }
        // Channels are few, but for sequences, which are then longer than that.
        let channels_last =
            matches!(*samples, [first, .., last] if last < first && (last <= 4 || found == 2));
        if !channels_last {
            return error;
        }
        let axes: Vec<String> = [0, found].into_iter().chain(1..found).map(|axis| axis.to_string()).collect();
        error.hint(format!(
            "if the channels come last in x, they must be put first: x.transpose({})",
            axes.join(", ")
        ))
    }

    /// Makes the network: infers the channels of each layer from what comes into it, and checks that all fit.
    ///
    /// # Errors
    /// Names the layer that does not fit, with the arithmetic.
    pub fn build(&self) -> Result<Network> {
        if !(2..=4).contains(&self.input.len()) || self.input.contains(&0) {
            return Err(Error::config(format!("input {:?}", self.input))
                .hint("give the shape of one input, as [1, 28, 28] for (C, H, W)"));
        }
        let split = self.layer.iter().position(|layer| matches!(layer.spec, LayerSpec::Flatten(_)));
        let (front, back) = self.layer.split_at(split.unwrap_or(self.layer.len()));
        let parts = match self.layer.is_empty() {
            true => [&self.backbone[..], &self.neck[..], &self.head[..]],
            false => [front, &[], back],
        };
        if parts.iter().all(|part| part.is_empty()) {
            return Err(Error::config("a model without layers").hint("add [[layer]] entries with a type"));
        }
        let [backbone, neck, head] = self.part_names();
        let names = [paths(backbone, parts[0]), paths(neck, parts[1]), paths(head, parts[2])];
        check_names(names.iter().flatten().map(String::as_str))?;
        let shape: Vec<usize> = std::iter::once(1).chain(self.input.iter().copied()).collect();
        let mut x = Tensor::shape_only(shape, DType::F32);
        if x.shape().checked_elements().is_none() {
            return Err(Error::config(format!("input {:?} is too large for any memory", self.input)));
        }
        let mut built = Vec::new();
        for (part, names) in parts.into_iter().zip(&names) {
            let mut sequence = Sequential::new();
            for (LayerEntry { name, spec }, path) in part.iter().zip(names) {
                let at = format!("{path} ({})", spec.type_name());
                let layer = spec.build(&x, self.class_count()).map_err(|error| error.layer(&at))?;
                let before = x.shape().clone();
                x = shape_only_forward(|| layer.forward(x)).map_err(|error| {
                    Error::new(
                        ErrorKind::Config,
                        format!("{} (it gets {})", without_layer(&error), shown(&before)),
                    )
                    .layer(&at)
                    .hint(error.hint_text().unwrap_or("change this layer or those before it").to_string())
                })?;
                match name {
                    Some(name) => sequence.push_named(name, layer),
                    None => sequence.push(layer),
                }
            }
            built.push(sequence);
        }
        let [backbone, neck, head] = built.try_into().expect("three parts");
        let mut network = Network::new(self.clone(), backbone, neck, head);
        if let Some(init) = &self.init {
            init.apply(&mut network)?;
        }
        let classes = self.class_count();
        if x.shape().len() != 2 || x.shape()[1] != classes {
            return Err(Error::config(format!(
                "the model gives {} for each input, not {classes} classes",
                shown(x.shape())
            ))
            .hint("end it with Flatten and a Linear without out_features"));
        }
        Ok(network)
    }
}

/// A shape without its batch axis.
fn shown(shape: &[usize]) -> String {
    shape[1..].iter().map(usize::to_string).collect::<Vec<_>>().join("x")
}

fn without_layer(error: &Error) -> String {
    let text = error.summary();
    match error.layer_path() {
        Some(layer) => text.replacen(&format!("layer {layer}: "), "", 1),
        None => text,
    }
}
