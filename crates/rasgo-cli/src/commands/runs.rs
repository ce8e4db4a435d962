use std::path::PathBuf;

use clap::Args;
use rasgo::train::{EpochMetrics, TrainConfig};
use rasgo::{Error, Result};

use crate::paths::from_here;
use crate::terminal::{print, table};

/// Model, data, accuracy and time of each run.
#[derive(Debug, Args)]
pub(crate) struct Runs {
    /// The folder that holds the runs
    #[arg(default_value = "runs")]
    folder: PathBuf,
}

impl Runs {
    pub(crate) fn run(self) -> Result<()> {
        let entries = std::fs::read_dir(&self.folder).map_err(|error| {
            Error::io(&self.folder, error)
                .hint("give the folder that holds the runs, or train one: rasgo train")
        })?;
        let mut folders: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        folders.retain(|path| path.join("config.toml").exists());
        folders.sort();
        let head = ["run", "model", "data", "seed", "epochs", "held-out", "test", "seconds"];
        let mut rows = vec![head.map(String::from).to_vec()];
        for folder in &folders {
            let config = TrainConfig::read(folder.join("config.toml"))?;
            let text = std::fs::read_to_string(folder.join("metrics.jsonl")).unwrap_or_default();
            let last: Option<EpochMetrics> =
                text.lines().last().and_then(|line| serde_json::from_str(line).ok());
            let percent =
                |value: Option<f64>| value.map_or("-".to_string(), |x| format!("{:.2} %", 100.0 * x));
            rows.push(vec![
                folder.file_name().map_or(String::new(), |name| name.to_string_lossy().into_owned()),
                config.model.map_or("-".to_string(), |model| from_here(&model)),
                from_here(&config.data),
                config.seed.to_string(),
                format!("{}/{}", last.as_ref().map_or(0, |last| last.epoch), config.epochs),
                percent(last.as_ref().and_then(|last| last.val_accuracy)),
                percent(last.as_ref().and_then(|last| last.test_accuracy)),
                last.map_or("-".to_string(), |last| format!("{:.0}", last.seconds)),
            ]);
        }
        print(&if folders.is_empty() {
            format!("no runs in {}", self.folder.display())
        } else {
            table(&rows)
        })?;
        Ok(())
    }
}
