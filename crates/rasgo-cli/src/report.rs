//! `report.html` of a run: one file, with its pictures inside.

use std::path::Path;

use rasgo::formats::Disk;
use rasgo::train::{EpochMetrics, TrainConfig};
use rasgo::{Error, Result};

/// Writes the report from what the run folder holds.
pub(crate) fn write(folder: &Path) -> Result<()> {
    let config = TrainConfig::read(folder.join("config.toml"))?;
    let path = folder.join("metrics.jsonl");
    let text = std::fs::read_to_string(&path).map_err(|error| Error::io(&path, error))?;
    let lines: Vec<EpochMetrics> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    Disk::default().write_whole(folder.join("report.html"), |file| file.put(page(&config, &lines).as_bytes()))
}

fn page(config: &TrainConfig, lines: &[EpochMetrics]) -> String {
    let title = format!("{} on {}", escape(&config.model), escape(&config.data));
    let percent = |value: Option<f64>| value.map_or("–".to_string(), |x| format!("{:.2} %", 100.0 * x));
    let rows: String = lines
        .iter()
        .map(|m| {
            format!(
                "<tr><td>{}<td>{:.4}<td>{}<td>{}<td>{}<td>{:.0}<td>{:.0}</tr>",
                m.epoch,
                m.train_loss,
                m.val_loss.map_or("–".to_string(), |x| format!("{x:.4}")),
                percent(m.val_accuracy),
                percent(m.test_accuracy),
                m.images_per_second,
                m.seconds
            )
        })
        .collect();
    let train: Vec<f64> = lines.iter().map(|m| m.train_loss).collect();
    let held_out: Vec<f64> = lines.iter().filter_map(|m| m.val_loss).collect();
    let accuracy: Vec<f64> = lines.iter().filter_map(|m| m.val_accuracy).map(|x| 100.0 * x).collect();
    let loss = curves("loss by epoch", &[("training", "#c33", &train), ("held out", "#36c", &held_out)]);
    let accuracy = curves("accuracy on held-out images by epoch, %", &[("held out", "#36c", &accuracy)]);
    format!(
        "<!doctype html><meta charset=utf-8><title>{title}</title><style>\
         body{{font:15px system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em}}\
         td,th{{padding:.2em .8em;text-align:right}}pre{{background:#f4f4f4;padding:1em}}</style>\
         <h1>{title}</h1>{loss}{accuracy}<table><tr><th>epoch<th>training loss<th>held-out loss<th>held out<th>test\
         <th>images/s<th>seconds</tr>{rows}</table><h2>Configuration</h2><pre>{}</pre>",
        escape(&config.to_toml())
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

/// A plot of one or more curves over the epochs, from 1.
fn curves(title: &str, lines: &[(&str, &str, &[f64])]) -> String {
    let values = || lines.iter().flat_map(|line| line.2.iter().copied());
    let (low, high) = (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
    let epochs = lines.iter().map(|line| line.2.len()).max().unwrap_or(0);
    if epochs == 0 || !low.is_finite() {
        return String::new();
    }
    let span = if high > low { high - low } else { 1.0 };
    let x = |i: usize| 60.0 + 500.0 * if epochs > 1 { i as f64 / (epochs - 1) as f64 } else { 0.5 };
    let y = |value: f64| 200.0 - 170.0 * (value - low) / span;
    let mut body = String::new();
    for (position, (name, colour, values)) in lines.iter().enumerate() {
        let points: Vec<String> =
            values.iter().enumerate().map(|(i, &value)| format!("{:.1},{:.1}", x(i), y(value))).collect();
        body +=
            &format!("<polyline points='{}' fill=none stroke='{colour}' stroke-width=2 />", points.join(" "));
        for point in &points {
            let (cx, cy) = point.split_once(',').unwrap_or(("0", "0"));
            body += &format!("<circle cx={cx} cy={cy} r=3 fill='{colour}' />");
        }
        body += &format!("<text x=570 y={} fill='{colour}'>{name}</text>", 40 + 20 * position);
    }
    for value in [low, low + span / 2.0, low + span] {
        body += &format!("<text x=52 y={:.1} text-anchor=end>{value:.3}</text>", y(value) + 4.0);
        body += &format!("<line x1=60 x2=560 y1={0:.1} y2={0:.1} stroke='#ddd' />", y(value));
    }
    for i in (0..epochs).step_by(epochs.div_ceil(10)) {
        body += &format!("<text x={:.1} y=222 text-anchor=middle>{}</text>", x(i), i + 1);
    }
    format!("<h2>{title}</h2><svg viewBox='0 0 660 230' width=660 font-size=12>{body}</svg>")
}
