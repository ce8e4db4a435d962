//! Predictions: one image, and 32 at once.

use std::hint::black_box;

use rasgo::Result;
use rasgo::nn::{Module, ModuleExt};
use rasgo::zoo::summarize;
use serde_json::json;

use super::Timing;
use super::measure::{measured_peak, median_time, print_rows, share};
use super::networks::{Timed, images};
use crate::terminal::note;

/// Images of the larger batch.
const BATCH: usize = 32;

pub(super) fn run(timing: &Timing) -> Result<()> {
    let networks = Timed::chosen(timing.only.as_deref())?;
    let peak = measured_peak();
    let (mut rows, mut lines) = (Vec::new(), Vec::new());
    for Timed { name, model, .. } in networks {
        note(&format!("{name} …"));
        let architecture = model.architecture();
        let mut network = architecture.build()?;
        network.eval();
        let multiply_adds = summarize(model.name, &network, model.input)?.multiply_adds;
        network.fuse()?;
        let time = |batch| {
            let x = images(&architecture, batch);
            let predict = || timing.precision.run(x.clone(), |x| network.predict(x));
            median_time(timing.seconds, || predict().map(|y| drop(black_box(y))))
        };
        let (one, many) = (time(1)?, time(BATCH)?);
        let (milliseconds, speed) = (1e3 * one, BATCH as f64 / many);
        let precision = timing.precision.name();
        rows.push(json!(["infer", name, precision, milliseconds, speed]));
        let gflops = 2.0 * multiply_adds as f64 * speed / 1e9;
        lines.push(vec![
            name,
            precision.to_string(),
            format!("{milliseconds:.3}"),
            format!("{speed:.0}"),
            format!("{gflops:.0}"),
            share(gflops, peak),
        ]);
        drop(network);
        // The next model is measured as if it were the only one.
        rasgo::trim_memory();
    }
    let head =
        ["inference", "precision", "ms, one image", "images/s of 32 at once", "GFLOP/s of 32", "of the peak"];
    print_rows(timing.json, peak, &rows, &head, lines)
}
