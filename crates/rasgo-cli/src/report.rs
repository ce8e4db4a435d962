//! `report.html` of a run: one file, with its pictures inside.

use std::path::Path;

use rasgo::data::{self, Dataset, samples_called};
use rasgo::formats::Disk;
use rasgo::train::{AugmentConfig, EpochMetrics, Evaluation, Outcome, SavedModel, TrainConfig};
use rasgo::{Error, Result, zoo};

use crate::commands::{evaluate_on, own_part};
use crate::paths::last_part;
use crate::plot::{Curve, plot};
use crate::precision::in_precision;
use crate::sample_picture::sample_picture;
use crate::terminal::whole;

const STYLE: &str = "
body { font: 15px/1.45 system-ui, sans-serif; color: #222; max-width: 62em; margin: 2em auto; padding: 0 1em }
h2 { font-size: 1.1em; margin: 2em 0 .5em }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
td, th { padding: .2em .7em; text-align: right; font-weight: normal }
th { color: #777 }
.plots { display: flex; flex-wrap: wrap; gap: 1em 2em }
.confusion td { min-width: 1.6em; border: 1px solid #fff }
.mistakes { display: flex; flex-wrap: wrap; gap: 1em }
figure { margin: 0; min-width: 104px; font-size: 12px; line-height: 1.3 }
figcaption { width: 0; min-width: 100% }
img { image-rendering: pixelated; background: #eee }
.picture { width: 104px }
.strip { height: 72px; max-width: 100% }
.series { display: block; width: 208px; background: #f5f5f5 }
pre { background: #f5f5f5; padding: 1em; overflow-x: auto }
.note { color: #777; max-width: 48em }
";

/// Writes the report of a run.
pub(crate) fn write(outcome: &Outcome) -> Result<()> {
    let folder = &outcome.folder;
    let config = TrainConfig::read(folder.join("config.toml"))?;
    let lines = metrics(&folder.join("metrics.jsonl"))?;
    let splits = data::open(&config.data)?;
    let samples = samples_called(splits.train.shape());
    let mut page = head(&config, &lines, samples);
    if let Some((data, part)) = own_part(&splits, config.held_out)? {
        let samples = format!("{part} {samples}");
        let evaluation = match &outcome.test {
            Some(evaluation) => evaluation,
            None => &evaluate_on(&SavedModel::load(folder)?, data.clone(), &config.data)?,
        };
        page += &confusion(data.classes(), evaluation, &samples);
        page += &mistakes(&*data, &config.data, evaluation, &samples)?;
    }
    page += &format!("<h2>Configuration</h2><pre>{}</pre>", escape(&config.to_toml()));
    Disk::default().write_whole(folder.join("report.html"), |file| file.put(page.as_bytes()))
}

fn metrics(path: &Path) -> Result<Vec<EpochMetrics>> {
    let text = std::fs::read_to_string(path).map_err(|error| Error::io(path, error))?;
    text.lines()
        .map(|line| {
            serde_json::from_str(line).map_err(|error| Error::format(path, format!("a broken line: {error}")))
        })
        .collect()
}

fn percent(value: f64) -> String {
    format!("{:.2} %", 100.0 * value)
}

fn head(config: &TrainConfig, lines: &[EpochMetrics], samples: &str) -> String {
    let model = config.model.as_deref().unwrap_or(zoo::DEFAULT);
    let title = format!("{} on {}", escape(last_part(model)), escape(last_part(&config.data)));
    let dash = || "–".to_string();
    let rows: String = lines
        .iter()
        .map(|m| {
            format!(
                "<tr><td>{}<td>{:.4}<td>{}<td>{}<td>{}<td>{}<td>{:.0}",
                m.epoch,
                m.train_loss,
                m.val_loss.map_or_else(dash, |x| format!("{x:.4}")),
                m.val_accuracy.map_or_else(dash, percent),
                m.test_accuracy.map_or_else(dash, percent),
                whole(m.images_per_second as u64),
                m.seconds
            )
        })
        .collect();
    let training: Vec<f64> = lines.iter().map(|m| m.train_loss).collect();
    let held_out: Vec<f64> = lines.iter().filter_map(|m| m.val_loss).collect();
    let accuracy: Vec<f64> = lines.iter().filter_map(|m| m.val_accuracy).map(|x| 100.0 * x).collect();
    let loss = plot(
        "loss by epoch",
        &[Curve::new("training", "#c0392b", &training), Curve::new("held out", "#2c6fbb", &held_out)],
    );
    let accuracy = plot(
        &format!("accuracy by epoch, %, held-out {samples}"),
        &[Curve::new("held out", "#2c6fbb", &accuracy)],
    );
    let augmented = match config.augment {
        Some(augment) if augment != AugmentConfig::NONE => "is of augmented images and ",
        _ => "",
    };
    let last = lines.last().and_then(|m| {
        let test = m.test_accuracy.map(|accuracy| (accuracy, "test"));
        test.or(m.val_accuracy.map(|accuracy| (accuracy, "held-out")))
    });
    let result = last.map_or(String::new(), |(accuracy, part)| {
        let precision = in_precision(config.precision);
        format!("<p><b>{}</b> of the {part} {samples}{precision}.</p>", percent(accuracy))
    });
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title><style>{STYLE}</style>\
         <h1>{title}</h1>{result}<div class=plots>{loss}{accuracy}</div>\
         <p class=note>The training loss {augmented}counts label smoothing ({}); the held-out loss does not, so it may well be \
         the lower one.</p>\
         <table><tr><th>epoch<th>training loss<th>held-out loss<th>held out<th>test<th>{samples}/s<th>seconds{rows}</table>",
        config.label_smoothing
    )
}

/// A row for each class, a column for each prediction; the darker, the larger a share of the class. `samples` says of
/// which part they are.
fn confusion(classes: &[String], evaluation: &Evaluation, samples: &str) -> String {
    let name = |class: usize| escape(&classes[class]);
    let head: String = (0..classes.len()).map(|class| format!("<th>{}", name(class))).collect();
    let mut rows = String::new();
    for (class, row) in evaluation.confusion.iter().enumerate() {
        let all = row.iter().sum::<usize>().max(1) as f64;
        rows += &format!("<tr><th>{}", name(class));
        for (prediction, &images) in row.iter().enumerate() {
            let share = images as f64 / all;
            // A few mistakes in a thousand should be seen as well as a hundred.
            let colour = match (images, class == prediction) {
                (0, _) => "#fafafa".to_string(),
                (_, true) => format!("rgba(44,111,187,{:.3})", 0.15 + 0.65 * share),
                (_, false) => format!("rgba(192,57,43,{:.3})", (share.sqrt() * 2.0).clamp(0.1, 0.9)),
            };
            let text = if images == 0 { String::new() } else { whole(images as u64) };
            rows += &format!("<td style='background:{colour}'>{text}");
        }
        rows += &format!("<td>{}", evaluation.recall(class).map_or_else(|| "–".to_string(), percent));
    }
    let mut title = samples.to_string();
    title[..1].make_ascii_uppercase();
    format!(
        "<h2>{title}: class by row, prediction by column</h2>\
         <table class=confusion><tr><th>{head}<th>found{rows}</table>"
    )
}

/// The samples that the network was surest of, and wrong; `path` is where the data are.
fn mistakes(data: &dyn Dataset, path: &str, evaluation: &Evaluation, samples: &str) -> Result<String> {
    let mut figures = String::new();
    for mistake in &evaluation.mistakes {
        let picture = sample_picture(&data.get(mistake.index)?.input)?;
        figures += &format!(
            "<figure>{picture}<figcaption><b>{}</b>, taken for <b>{}</b> at {:.0} %<br>{}</figcaption></figure>",
            escape(&data.classes()[mistake.class]),
            escape(&data.classes()[mistake.prediction]),
            100.0 * mistake.probability,
            escape(&data.name(mistake.index).replacen(path, last_part(path), 1))
        );
    }
    Ok(match figures.is_empty() {
        true => format!("<h2>No mistake on the {samples}</h2>"),
        false => format!("<h2>The surest mistakes on the {samples}</h2><div class=mistakes>{figures}</div>"),
    })
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('\'', "&#39;")
}
