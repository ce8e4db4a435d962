//! What resume needs, written whole at the start and after every epoch.
//!
//! `checkpoint/<step>.safetensors` holds weights, state, running means and counters; `checkpoint/latest` names the
//! one that is complete, and is renamed into place last.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rasgo_core::{Error, ErrorKind, Result, Tensor};

use crate::formats::{Disk, safetensors};
use crate::nn::{Item, ItemMut, ModuleExt, walk, walk_mut};
use crate::optim::Optimizer;
use crate::zoo::Network;

/// Where a run stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Position {
    /// Epochs that are done.
    pub(super) epoch: u64,
    /// Steps that are done.
    pub(super) step: u64,
    /// Bytes of `metrics.jsonl` that belong to them.
    pub(super) metrics_bytes: u64,
}

fn folder(run: &Path) -> PathBuf {
    run.join("checkpoint")
}

pub(super) fn write(
    disk: &Disk,
    run: &Path,
    network: &Network,
    optimizer: &Optimizer,
    position: Position,
    data: u64,
) -> Result<()> {
    let mut tensors: Vec<(String, Tensor)> =
        network.state_dict().into_iter().map(|(name, tensor)| (format!("model/{name}"), tensor)).collect();
    tensors.extend(optimizer.state().into_iter().map(|(name, tensor)| (format!("optimizer/{name}"), tensor)));
    walk(network, |path, item| {
        if let Item::Counter(counter) = item {
            tensors.push((format!("counter/{path}"), Tensor::scalar(counter.get() as i64)));
        }
    });
    let metadata = BTreeMap::from([
        ("epoch".to_string(), position.epoch.to_string()),
        ("step".to_string(), position.step.to_string()),
        ("metrics_bytes".to_string(), position.metrics_bytes.to_string()),
        ("data".to_string(), format!("{data:016x}")),
        ("isa".to_string(), rasgo_core::Isa::current().name().to_string()),
        ("version".to_string(), env!("CARGO_PKG_VERSION").to_string()),
    ]);
    let folder = folder(run);
    disk.create_folder(&folder)?;
    let name = format!("{:08}.safetensors", position.step);
    safetensors::save(disk, folder.join(&name), &tensors, &metadata)?;
    let before = std::fs::read_to_string(folder.join("latest")).ok();
    disk.write_whole(folder.join("latest"), |file| file.put(name.as_bytes()))?;
    if let Some(before) = before.filter(|before| *before != name) {
        disk.remove_file(folder.join(before))?;
    }
    Ok(())
}

/// Takes the latest checkpoint; `None` if the run was stopped before its first.
pub(super) fn read(
    run: &Path,
    network: &mut Network,
    optimizer: &mut Optimizer,
    data: u64,
) -> Result<Option<Position>> {
    let folder = folder(run);
    let Ok(name) = std::fs::read_to_string(folder.join("latest")) else { return Ok(None) };
    let path = folder.join(name.trim());
    let loaded = safetensors::load(&path)?;
    let number =
        |key: &str| -> Result<u64> {
            loaded.metadata.get(key).and_then(|text| text.parse().ok()).ok_or_else(|| {
                Error::new(ErrorKind::Format, format!("the checkpoint has no {key}")).file(&path)
            })
        };
    if loaded.metadata.get("data").is_none_or(|hash| *hash != format!("{data:016x}")) {
        return Err(Error::new(ErrorKind::Data, "the data has changed since the run began")
            .file(&path)
            .hint("resume with the same data, or begin a new run with --out"));
    }
    let part = |prefix: &str| -> Vec<(String, Tensor)> {
        let own =
            loaded.tensors.iter().filter_map(|(name, tensor)| Some((name.strip_prefix(prefix)?, tensor)));
        own.map(|(name, tensor)| (name.to_string(), tensor.clone())).collect()
    };
    network.load_state_dict(&part("model/")).map_err(|error| error.file(&path))?;
    let mut paths = Vec::new();
    walk(network, |path, item| {
        if let Item::Parameter(_) = item {
            paths.push(path.to_string());
        }
    });
    optimizer.load_state(&paths, &part("optimizer/")).map_err(|error| error.file(&path))?;
    let counters = part("counter/");
    walk_mut(network, |path, item| {
        if let ItemMut::Counter(counter) = item {
            let saved =
                counters.iter().find(|(name, _)| name == path).and_then(|(_, n)| n.item::<i64>().ok());
            counter.set(saved.unwrap_or(0).unsigned_abs());
        }
    });
    Ok(Some(Position {
        epoch: number("epoch")?,
        step: number("step")?,
        metrics_bytes: number("metrics_bytes")?,
    }))
}
