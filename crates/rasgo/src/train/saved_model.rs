//! A model in one file: weights, architecture, classes, normalisation.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rasgo_core::{Error, ErrorKind, Result, Tensor};

use super::precision::Precision;
use super::views::Views;
use crate::data::{Normalize, batch_of, samples_called};
use crate::formats::{Disk, ImageOptions, ResizeRule, read_image, safetensors};
use crate::nn::{Module, ModuleExt, expect_unfused};
use crate::zoo::{Architecture, Network};

/// A value as JSON.
fn json(values: &impl serde::Serialize) -> String {
    serde_json::to_string(values).expect("plain data have a text")
}

/// What a prediction needs besides the network.
#[derive(Clone, Debug)]
pub struct ModelInfo {
    /// The classes' names.
    pub classes: Vec<String>,
    /// Mean and deviation of the training images.
    pub normalize: Normalize,
    /// How an image is brought to the model's size.
    pub resize: ResizeRule,
    /// The data it was trained on.
    pub data: String,
    /// What a prediction is the mean of.
    pub views: Views,
    /// The type of the values between layers.
    pub precision: Precision,
}

impl ModelInfo {
    /// The output of a network in evaluation for a batch, as float32.
    pub fn forward(&self, network: &Network, batch: Tensor) -> Result<Tensor> {
        self.views.mean(batch, |view| self.precision.run(view, |x| network.predict(x)))
    }

    /// Writes the one file: the weights, and in its metadata the rest.
    ///
    /// # Errors
    /// [`ErrorKind::Io`]; [`ErrorKind::State`] of a network that is [fused](ModuleExt::fuse).
    pub fn save(&self, network: &Network, disk: &Disk, path: impl AsRef<Path>) -> Result<()> {
        expect_unfused(network)?;
        let mut metadata = BTreeMap::from([
            ("format".to_string(), "pt".to_string()),
            ("rasgo.architecture".to_string(), network.architecture().to_toml()),
            ("rasgo.classes".to_string(), json(&self.classes)),
            ("rasgo.mean".to_string(), json(&self.normalize.mean)),
            ("rasgo.std".to_string(), json(&self.normalize.std)),
            ("rasgo.resize".to_string(), self.resize.name().to_string()),
            ("rasgo.data".to_string(), self.data.clone()),
            ("rasgo.version".to_string(), env!("CARGO_PKG_VERSION").to_string()),
            ("rasgo.isa".to_string(), rasgo_core::Isa::current().name().to_string()),
        ]);
        if self.views != Views::ONE {
            metadata.insert("rasgo.views".to_string(), json(&self.views));
        }
        if self.precision != Precision::default() {
            metadata.insert("rasgo.precision".to_string(), self.precision.name().to_string());
        }
        safetensors::save(disk, path, &network.state_dict(), &metadata)
    }
}

/// A trained network with all that a prediction needs.
///
/// `predict` may be called from many threads at once.
#[derive(Debug)]
pub struct SavedModel {
    /// The network, in evaluation.
    pub network: Network,
    /// The rest.
    pub info: ModelInfo,
}

impl SavedModel {
    /// The file of a run folder, or the file itself.
    pub fn file_of(run: impl AsRef<Path>) -> PathBuf {
        let run = run.as_ref();
        if run.is_dir() { run.join("model.safetensors") } else { run.to_path_buf() }
    }

    /// Reads a run folder or a model file.
    ///
    /// # Errors
    /// If the file is missing, is no model, or its weights are not the architecture's.
    pub fn load(run: impl AsRef<Path>) -> Result<SavedModel> {
        let path = SavedModel::file_of(run);
        let loaded = safetensors::load(&path)?;
        let field = |name: &str| {
            loaded.metadata.get(name).ok_or_else(|| {
                Error::new(ErrorKind::Format, format!("the metadata has no {name}"))
                    .file(&path)
                    .hint("give a model.safetensors that rasgo train wrote")
            })
        };
        let broken = |error: serde_json::Error| Error::format(&path, format!("broken metadata: {error}"));
        let architecture =
            Architecture::from_toml(field("rasgo.architecture")?).map_err(|error| error.file(&path))?;
        let mut network = architecture.build().map_err(|error| error.file(&path))?;
        network.load_state_dict(&loaded.tensors).map_err(|error| error.file(&path))?;
        network.eval();
        let numbers = |name: &str| serde_json::from_str::<Vec<f32>>(field(name)?).map_err(broken);
        let views = loaded.metadata.get("rasgo.views").map(|text| serde_json::from_str(text));
        let precision = loaded.metadata.get("rasgo.precision").map(|name| Precision::from_name(name));
        let info = ModelInfo {
            classes: serde_json::from_str(field("rasgo.classes")?).map_err(broken)?,
            normalize: Normalize::new(numbers("rasgo.mean")?, numbers("rasgo.std")?)?,
            resize: ResizeRule::from_name(field("rasgo.resize")?)?,
            data: field("rasgo.data")?.clone(),
            views: views.transpose().map_err(broken)?.unwrap_or_default(),
            precision: precision.transpose().map_err(|error| error.file(&path))?.unwrap_or_default(),
        };
        let (named, wanted) = (info.classes.len(), network.classes());
        if named != wanted {
            let text = format!("names {named} classes, and the network has {wanted}");
            return Err(Error::format(&path, text));
        }
        let input = &network.architecture().input;
        info.normalize.check(input[0]).map_err(|error| error.file(&path))?;
        info.views.check(input).map_err(|error| error.file(&path))?;
        Ok(SavedModel { network, info })
    }

    /// The output for a batch that is normalised: the mean over the views, if there are several.
    pub fn forward(&self, batch: Tensor) -> Result<Tensor> {
        self.info.forward(&self.network, batch)
    }

    /// The probabilities of the classes for one sample: an image (C, H, W), a sequence (C, L) or a video (C, D, H, W).
    pub fn predict(&self, image: &Tensor) -> Result<Vec<f32>> {
        let batch = batch_of(std::slice::from_ref(image), Some(&self.info.normalize))?;
        self.forward(batch)?.softmax(1)?.to_vec()
    }

    /// The probabilities of the classes for each of these samples, as rows: (N, classes). Each row is what
    /// [`predict`](SavedModel::predict) gives, to the bit.
    pub fn predict_all(&self, samples: &[Tensor]) -> Result<Tensor> {
        let mut rows = Vec::with_capacity(samples.len() * self.info.classes.len());
        for part in samples.chunks(250) {
            let batch = batch_of(part, Some(&self.info.normalize))?;
            rows.extend(self.forward(batch)?.softmax(1)?.to_vec::<f32>()?);
        }
        Tensor::from_vec(rows, [samples.len(), self.info.classes.len()])
    }

    /// The probabilities of the classes for an image file of any size and mode.
    pub fn predict_file(&self, path: impl AsRef<Path>) -> Result<Vec<f32>> {
        self.predict(&self.read(path)?)
    }

    /// Reads an image file and brings it to the model's input.
    pub fn read(&self, path: impl AsRef<Path>) -> Result<Tensor> {
        let (path, input) = (path.as_ref(), &self.network.architecture().input);
        let [channels, height, width] = input[..] else {
            return Err(Error::config(format!("the model takes {}, no images", samples_called(input)))
                .file(path)
                .hint("give a .npy file of one of them or a batch, or an .npz or .safetensors file with x"));
        };
        read_image(path, &ImageOptions::new(channels).size(height, width).rule(self.info.resize))
    }
}
