use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use rasgo::data::{self, Dataset, Loader, LoaderOptions};
use rasgo::train::{Evaluation, SavedModel, evaluate};
use rasgo::{Error, ErrorKind, Result};
use serde_json::json;

use crate::terminal::{print, table, whole};

/// Accuracy, loss, precision and recall of each class, and the confusion matrix.
#[derive(Debug, Args)]
pub(crate) struct Eval {
    /// A run folder, or a model.safetensors
    run: PathBuf,
    /// `mnist`, or a folder of IDX files; the run's own by default
    data: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Evaluates a saved model on data whose images and classes must be its own.
pub(crate) fn evaluate_on(model: &SavedModel, data: Arc<dyn Dataset>) -> Result<Evaluation> {
    let (found, wanted) = (data.classes().len(), model.info.classes.len());
    if found != wanted {
        return Err(Error::new(ErrorKind::Data, format!("the data has {found} classes, the model {wanted}")));
    }
    if data.shape()[..] != model.network.architecture().input[..] {
        let (found, wanted) = (data.shape(), &model.network.architecture().input);
        return Err(Error::new(ErrorKind::Data, format!("images of {found} for a model of {wanted:?}")));
    }
    let options = LoaderOptions::new().batch_size(250).normalize(model.info.normalize.clone());
    evaluate(&model.network, &Loader::new(data, options)?)
}

impl Eval {
    pub(crate) fn run(self) -> Result<()> {
        let model = SavedModel::load(&self.run)?;
        let splits = data::open(self.data.as_ref().unwrap_or(&model.info.data))?;
        let result = evaluate_on(&model, splits.test.unwrap_or(splits.train))?;
        let classes = &model.info.classes;
        let images = |class: usize| result.confusion[class].iter().sum::<usize>();
        if self.json {
            let rows: Vec<_> = (0..classes.len())
                .map(|class| {
                    let (precision, recall) = (result.precision(class), result.recall(class));
                    json!({"name": classes[class], "images": images(class), "precision": precision, "recall": recall})
                })
                .collect();
            let text = json!({
                "accuracy": result.accuracy, "loss": result.loss, "classes": rows, "confusion": result.confusion
            });
            print(&text.to_string())?;
            return Ok(());
        }
        let all: usize = (0..classes.len()).map(images).sum();
        print(&format!(
            "accuracy {:.2} % of {} images, loss {:.4}",
            100.0 * result.accuracy,
            whole(all as u64),
            result.loss
        ))?;
        let mut rows = vec![["class", "images", "precision", "recall"].map(String::from).to_vec()];
        for class in 0..classes.len() {
            let percent = |x: f64| format!("{:.2} %", 100.0 * x);
            let (precision, recall) = (percent(result.precision(class)), percent(result.recall(class)));
            rows.push(vec![classes[class].clone(), images(class).to_string(), precision, recall]);
        }
        print(&format!(
            "\n{}\n\nconfusion: a row for each class, a column for each prediction",
            table(&rows)
        ))?;
        let head = std::iter::once(String::new()).chain(classes.iter().cloned()).collect();
        let body = result.confusion.iter().enumerate().map(|(class, row)| {
            std::iter::once(classes[class].clone()).chain(row.iter().map(usize::to_string)).collect()
        });
        print(&table(&std::iter::once(head).chain(body).collect::<Vec<_>>()))?;
        Ok(())
    }
}
