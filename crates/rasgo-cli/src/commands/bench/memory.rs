//! Memory of training steps.

use rasgo::Result;
use rasgo::train::Precision;
use rasgo::zoo::Architecture;
use serde_json::json;

use super::measure::{measured_peak, print_machine, report};
use super::networks::{Timed, Training};
use crate::machine::ResidentMemory;
use crate::terminal::print;

/// A network that touches the code and starts the threads that others use too; the peer's benchmark has the same.
const TINY: &str = r#"
    input = [1, 8, 8]
    classes = 10
    layer = [
        { type = "Conv2d", out_channels = 4, kernel_size = 3 }, { type = "BatchNorm2d" }, { type = "ReLU" },
        { type = "MaxPool2d", kernel_size = 2 }, { type = "Flatten" }, { type = "Linear" },
    ]
"#;

pub(super) fn run(model: &str, json: bool) -> Result<()> {
    let Timed { name, model, batch } = Timed::of(model)?;
    let precision = Precision::F32;
    let mut tiny = Training::new(&Architecture::from_toml(TINY)?, 8, precision)?;
    tiny.step()?;
    tiny.step()?;
    drop(tiny);
    rasgo::trim_memory();
    let resident = ResidentMemory::watch()?;
    let mut training = Training::new(&model.architecture(), batch, precision)?;
    for _ in 0..3 {
        training.step()?;
    }
    let megabytes = resident.growth()? as f64 / 1e6;
    // The peak comes after: it must not leave memory that the model then finds.
    let peak = measured_peak();
    if json {
        return print(&report(peak, &[json!(["memory", name, precision.name(), megabytes])]));
    }
    print_machine(peak)?;
    print(&format!("{name}: three training steps take {megabytes:.1} MB"))
}
