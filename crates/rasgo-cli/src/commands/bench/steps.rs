//! Whole training steps.

use rasgo::Result;
use rasgo::zoo::{Summary, summarize};
use serde_json::json;

use super::Timing;
use super::measure::{measured_peak, median_time, print_rows, share};
use super::networks::{Timed, Training};
use crate::terminal::note;

/// Multiply-adds of one image's training step. Each layer has three products, but nobody asks for the gradient to the
/// input of the first.
fn step_multiply_adds(summary: &Summary) -> u64 {
    let first = summary.layers.iter().map(|layer| layer.multiply_adds).find(|&count| count > 0);
    3 * summary.multiply_adds - first.unwrap_or(0)
}

pub(super) fn run(timing: &Timing) -> Result<()> {
    let networks = Timed::chosen(timing.only.as_deref())?;
    let peak = measured_peak();
    let (mut rows, mut lines) = (Vec::new(), Vec::new());
    for Timed { name, model, batch } in networks {
        note(&format!("{name} …"));
        let mut training = Training::new(&model.architecture(), batch, timing.precision)?;
        let time = median_time(timing.seconds, || training.step())?;
        let speed = batch as f64 / time;
        let precision = timing.precision.name();
        rows.push(json!(["step", name, precision, speed]));
        let counts = step_multiply_adds(&summarize(model.name, &training.network, model.input)?);
        let gflops = 2.0 * counts as f64 * speed / 1e9;
        lines.push(vec![
            name,
            precision.to_string(),
            format!("{speed:.0}"),
            format!("{:.2}", 1e3 * time),
            format!("{gflops:.0}"),
            share(gflops, peak),
        ]);
        drop(training);
        // The next model is measured as if it were the only one.
        rasgo::trim_memory();
    }
    let head = ["training step", "precision", "images/s", "ms a step", "GFLOP/s", "of the peak"];
    print_rows(timing.json, peak, &rows, &head, lines)
}
