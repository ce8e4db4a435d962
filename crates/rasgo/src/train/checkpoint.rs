//! What resume needs, written whole at the start, after every epoch, every few minutes, and when a run is stopped.
//!
//! `checkpoint/<step>.safetensors` holds weights, state, running means and counters; `checkpoint/latest` names the
//! one that is complete, and is renamed into place last.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rasgo_core::{Error, ErrorKind, Result, Tensor};
use serde::{Deserialize, Serialize};

use super::weight_mean::WeightMean;
use crate::formats::{Disk, safetensors};
use crate::nn::{Item, ItemMut, ModuleExt, expect_unfused, walk, walk_mut};
use crate::optim::Optimizer;
use crate::zoo::Network;

/// Where a run stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Position {
    /// Epochs that are done.
    pub(super) epoch: u64,
    /// Steps that are done in the epoch after those.
    pub(super) epoch_step: u64,
    /// Steps that are done in all.
    pub(super) step: u64,
    /// The losses of this epoch's batches.
    pub(super) loss_sum: f64,
    /// Bytes of `metrics.jsonl` that belong to them.
    pub(super) metrics_bytes: u64,
    /// Seconds that the run took so far.
    pub(super) seconds: f64,
}

/// What a run must not change between its stops.
pub(super) struct Identity {
    /// The text of the whole configuration.
    pub(super) configuration: String,
    /// The fingerprint of the data to train on.
    pub(super) data: u64,
}

/// What training changes.
pub(super) struct Trained {
    pub(super) network: Network,
    /// The mean of the weights, where it is asked for.
    pub(super) mean: Option<WeightMean>,
    pub(super) optimizer: Optimizer,
}

impl Trained {
    /// The network that is evaluated and saved.
    pub(super) fn result(&self) -> &Network {
        self.mean.as_ref().map_or(&self.network, |mean| &mean.network)
    }
}

fn folder(run: &Path) -> PathBuf {
    run.join("checkpoint")
}

pub(super) fn write(
    disk: &Disk,
    run: &Path,
    trained: &Trained,
    position: Position,
    identity: &Identity,
) -> Result<()> {
    let Trained { network, mean, optimizer } = trained;
    expect_unfused(network)?;
    let mut tensors = Vec::new();
    let mut add = |prefix: &str, part: Vec<(String, Tensor)>| {
        tensors.extend(part.into_iter().map(|(name, tensor)| (format!("{prefix}/{name}"), tensor)));
    };
    add("model", network.state_dict());
    add("optimizer", optimizer.state());
    if let Some(mean) = mean {
        add("mean", mean.network.state_dict());
    }
    walk(network, |path, item| {
        if let Item::Counter(counter) = item {
            tensors.push((format!("counter/{path}"), Tensor::scalar(counter.get() as i64)));
        }
    });
    let metadata = BTreeMap::from([
        ("position".to_string(), serde_json::to_string(&position).expect("a position has a text")),
        ("architecture".to_string(), network.architecture().to_toml()),
        ("configuration".to_string(), identity.configuration.clone()),
        ("data".to_string(), format!("{:016x}", identity.data)),
        ("isa".to_string(), rasgo_core::Isa::current().name().to_string()),
        ("version".to_string(), env!("CARGO_PKG_VERSION").to_string()),
    ]);
    let folder = folder(run);
    disk.create_folder(&folder)?;
    let name = format!("{:08}.safetensors", position.step);
    safetensors::save(disk, folder.join(&name), &tensors, &metadata)?;
    let before = latest(&folder)?;
    disk.write_whole(folder.join("latest"), |file| file.put(name.as_bytes()))?;
    if let Some(before) = before.filter(|before| *before != name) {
        disk.remove_file(folder.join(before))?;
    }
    Ok(())
}

/// Whether that is the name of a checkpoint, and so no path to somewhere else.
fn is_name(name: &str) -> bool {
    let step = name.strip_suffix(".safetensors");
    step.is_some_and(|step| step.len() >= 8 && step.bytes().all(|byte| byte.is_ascii_digit()))
}

/// What `latest` names; `None` if the run was stopped before its first checkpoint.
fn latest(folder: &Path) -> Result<Option<String>> {
    let path = folder.join("latest");
    match std::fs::read_to_string(&path) {
        // Who writes it by hand, as the hints say, ends the line.
        Ok(name) if is_name(name.trim_end()) => Ok(Some(name.trim_end().to_string())),
        Ok(name) => Err(Error::format(&path, format!("names no checkpoint: {name:?}"))
            .hint("write into it the name of the newest .safetensors file beside it")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            // Only the checkpoint of step 0 may be there without `latest`.
            let lost = std::fs::read_dir(folder).into_iter().flatten().flatten().find(|entry| {
                let name = entry.file_name();
                name.to_str().is_some_and(|name| is_name(name) && name != "00000000.safetensors")
            });
            match lost {
                Some(entry) => Err(Error::format(&path, "is missing beside a checkpoint".to_string())
                    .hint(format!("write into it {}", entry.file_name().display()))),
                None => Ok(None),
            }
        }
        Err(error) => Err(Error::io(&path, error)),
    }
}

/// Removes what a killed run left: files that are not whole, and all checkpoints but the latest.
pub(super) fn remove_leftovers(disk: &Disk, run: &Path) -> Result<()> {
    disk.remove_unfinished(run)?;
    let folder = folder(run);
    let Ok(entries) = std::fs::read_dir(&folder) else { return Ok(()) };
    let latest = latest(&folder)?;
    for entry in entries.flatten() {
        let name = entry.file_name();
        if name.to_str().is_some_and(|name| is_name(name) && latest.as_deref() != Some(name)) {
            disk.remove_file(entry.path())?;
        }
    }
    disk.remove_unfinished(&folder)
}

/// Takes the latest checkpoint; `None` if the run was stopped before its first.
pub(super) fn read(run: &Path, trained: &mut Trained, identity: &Identity) -> Result<Option<Position>> {
    let folder = folder(run);
    let Some(name) = latest(&folder)? else { return Ok(None) };
    let path = folder.join(name);
    let loaded = safetensors::load(&path)?;
    let field = |key: &str| {
        loaded.metadata.get(key).ok_or_else(|| Error::format(&path, format!("the checkpoint has no {key}")))
    };
    let changed = |what: &str| {
        Error::new(ErrorKind::Data, format!("{what} has changed since the run began"))
            .file(&path)
            .hint("resume with what it began with, or begin a new run with --out")
    };
    if *field("data")? != format!("{:016x}", identity.data) {
        return Err(changed("the data"));
    }
    if *field("configuration")? != identity.configuration {
        return Err(changed("config.toml"));
    }
    let Trained { network, mean, optimizer } = trained;
    if *field("architecture")? != network.architecture().to_toml() {
        return Err(changed("the model file"));
    }
    let position = serde_json::from_str(field("position")?)
        .map_err(|error| Error::format(&path, format!("the checkpoint's position is broken: {error}")))?;
    let part = |prefix: &str| -> Vec<(String, Tensor)> {
        let own =
            loaded.tensors.iter().filter_map(|(name, tensor)| Some((name.strip_prefix(prefix)?, tensor)));
        own.map(|(name, tensor)| (name.to_string(), tensor.clone())).collect()
    };
    network.load_state_dict(&part("model/")).map_err(|error| error.file(&path))?;
    if let Some(mean) = mean {
        mean.network.load_state_dict(&part("mean/")).map_err(|error| error.file(&path))?;
    }
    let mut parameters = Vec::new();
    walk(network, |path, item| {
        if let Item::Parameter(parameter) = item {
            parameters.push((path.to_string(), parameter.shape().clone()));
        }
    });
    optimizer.load_state(&parameters, &part("optimizer/")).map_err(|error| error.file(&path))?;
    let mut counters: BTreeMap<String, Tensor> = part("counter/").into_iter().collect();
    let mut broken = None;
    walk_mut(network, |path, item| {
        if let ItemMut::Counter(counter) = item {
            let saved = counters.remove(path).and_then(|count| u64::try_from(count.item::<i64>().ok()?).ok());
            match saved {
                Some(count) => counter.set(count),
                None => broken = Some(path.to_string()),
            }
        }
    });
    match broken.or_else(|| counters.into_keys().next()) {
        None => Ok(Some(position)),
        Some(layer) => {
            let text = format!("the checkpoint's count of {layer} is missing, broken or of no layer");
            Err(Error::format(path, text))
        }
    }
}
