use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use rasgo::data::{
    self, Dataset, Loader, LoaderOptions, Sample, Splits, Subset, samples_called, split_indices,
    transposition, word_for,
};
use rasgo::train::{Evaluation, SavedModel, TrainConfig, evaluate_by};
use rasgo::{Error, ErrorKind, Result, Shape};
use serde_json::json;

use crate::terminal::{note, print, table, whole};

/// Accuracy, loss, precision and recall of each class, and the confusion matrix. The model computes in the type of values that
/// it was trained in, f32 or bf16, so that the figures are those of its run.
#[derive(Debug, Args)]
pub(crate) struct Eval {
    /// A run folder, or a model.safetensors
    run: PathBuf,
    /// `mnist`, a folder of images or of IDX files, or an .npz or .safetensors file with x and y; the run's own by default.
    /// Where there is a test part (x_test and y_test), that is measured
    data: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Data under the model's names of the classes, which may be more than occur in it.
struct Named {
    data: Arc<dyn Dataset>,
    classes: Vec<String>,
}

impl Dataset for Named {
    fn len(&self) -> usize {
        self.data.len()
    }

    fn get(&self, index: usize) -> Result<Sample> {
        self.data.get(index)
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn shape(&self) -> &Shape {
        self.data.shape()
    }

    fn name(&self, index: usize) -> String {
        self.data.name(index)
    }

    fn label(&self, index: usize) -> Result<i64> {
        self.data.label(index)
    }
}

/// Opens the data that a model was trained on.
fn own_data(model: &SavedModel) -> Result<Splits> {
    let path = &model.info.data;
    data::open(path).map_err(|error| match path == "mnist" || Path::new(path).exists() {
        true => error,
        false => {
            Error::new(error.kind(), format!("the model was trained on {path}, and nothing is there now"))
                .hint("put it back, or give the data as in rasgo eval RUN DATA")
        }
    })
}

/// Evaluates a saved model on data from `path`, whose samples and classes must be its own.
pub(crate) fn evaluate_on(model: &SavedModel, data: Arc<dyn Dataset>, path: &str) -> Result<Evaluation> {
    let (found, wanted) = (data.classes(), &model.info.classes);
    let other =
        format!("give data such as the model was trained on, or train one on these: rasgo train {path}");
    if found.len() > wanted.len() {
        let text = format!("the data has {} classes, the model {}", found.len(), wanted.len());
        return Err(Error::new(ErrorKind::Data, text).file(path).hint(other));
    }
    // Labels that are only numbers have the names that the model gives them.
    let numbered =
        |names: &[String]| names.iter().enumerate().all(|(class, name)| *name == class.to_string());
    let differs = (0..found.len()).find(|&class| found[class] != wanted[class]);
    if let Some(class) = differs.filter(|_| !numbered(found) && !numbered(wanted)) {
        let text = format!(
            "class {class} is called {:?} in the data and {:?} in the model",
            found[class], wanted[class]
        );
        return Err(Error::new(ErrorKind::Data, text)
            .file(path)
            .hint("number the classes as in the data that the model was trained on"));
    }
    if data.shape()[..] != model.network.architecture().input[..] {
        let (found, wanted) = (data.shape(), &model.network.architecture().input);
        let text = format!(
            "{} of {found}, and the model takes {} of {wanted:?}",
            samples_called(found),
            samples_called(wanted)
        );
        let hint = transposition(&[&[data.len()], &found[..]].concat(), wanted).unwrap_or(other);
        return Err(Error::new(ErrorKind::Data, text).file(path).hint(hint));
    }
    let data: Arc<dyn Dataset> = match found == wanted {
        true => data,
        false => Arc::new(Named { data, classes: wanted.clone() }),
    };
    let options = LoaderOptions::new().batch_size(250).normalize(model.info.normalize.clone());
    evaluate_by(|batch| model.forward(batch), &Loader::new(data, options)?)
}

/// What a run is measured on: the test part of its data, or what it held out of them, with the name of that part; `None`
/// if there is neither.
pub(crate) fn own_part(
    splits: &Splits,
    held_out: Option<usize>,
) -> Result<Option<(Arc<dyn Dataset>, &'static str)>> {
    if let Some(test) = &splits.test {
        return Ok(Some((Arc::clone(test), "test")));
    }
    let Some(held_out) = held_out.filter(|&held_out| held_out > 0) else { return Ok(None) };
    let (_, held_out) = split_indices(&splits.train.labels()?, held_out, 0)?;
    Ok(Some((Arc::new(Subset::new(Arc::clone(&splits.train), held_out)?), "held-out")))
}

impl Eval {
    /// What is evaluated: the test part; or of other data all there is; or of the run's own what was held out.
    fn part(&self, splits: Splits) -> Result<Arc<dyn Dataset>> {
        let (own, tested) = (self.data.is_none(), splits.test.is_some());
        let config = TrainConfig::read(self.run.join("config.toml")).ok();
        let held_out = config.and_then(|config| config.held_out).filter(|_| own);
        match own_part(&splits, held_out)? {
            Some((part, _)) => {
                if !tested {
                    note("the data has no test part: these are the samples that were held out");
                }
                Ok(part)
            }
            None => {
                if own {
                    note(
                        "the data has no test part: these are all samples, those that were trained on among them",
                    );
                }
                Ok(splits.train)
            }
        }
    }

    pub(crate) fn run(self) -> Result<()> {
        // Not fused: its figures are those that the run measured, to the last digit.
        let model = SavedModel::load(&self.run)?;
        let splits = self.data.as_ref().map_or_else(|| own_data(&model), data::open)?;
        let data = self.part(splits)?;
        let samples = samples_called(data.shape());
        let path = self.data.as_ref().unwrap_or(&model.info.data);
        let result = evaluate_on(&model, data, path)?;
        let classes = &model.info.classes;
        let count = |class: usize| result.confusion[class].iter().sum::<usize>();
        if self.json {
            let rows: Vec<_> = (0..classes.len())
                .map(|class| {
                    let (precision, recall) = (result.precision(class), result.recall(class));
                    json!({"name": classes[class], "images": count(class), "precision": precision, "recall": recall})
                })
                .collect();
            let text = json!({
                "accuracy": result.accuracy, "loss": result.loss, "classes": rows, "confusion": result.confusion
            });
            print(&text.to_string())?;
            return Ok(());
        }
        let all: usize = (0..classes.len()).map(count).sum();
        print(&format!(
            "accuracy {:.2} % of {} {}, loss {:.4}",
            100.0 * result.accuracy,
            whole(all as u64),
            word_for(all, samples),
            result.loss
        ))?;
        let mut rows = vec![["class", samples, "precision", "recall"].map(String::from).to_vec()];
        for class in 0..classes.len() {
            let percent =
                |share: Option<f64>| share.map_or("–".to_string(), |x| format!("{:.2} %", 100.0 * x));
            let (precision, recall) = (percent(result.precision(class)), percent(result.recall(class)));
            rows.push(vec![classes[class].clone(), count(class).to_string(), precision, recall]);
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
