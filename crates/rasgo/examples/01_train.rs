//! Trains the default model on MNIST for one epoch: `cargo run --release -p rasgo --example 01_train`
#![allow(clippy::print_stdout, reason = "an example talks to a person")]

use rasgo::prelude::*;

fn main() -> Result<()> {
    let config = TrainConfig { epochs: 1, ..TrainConfig::default() };
    let folder = format!("runs/example-{}", std::process::id());
    let outcome = Trainer::new().run(&config, &folder, &mut train::Silent)?;
    let test = outcome.test.expect("MNIST has test images");
    println!("{:.2} % of the test images; the run is in {folder}", 100.0 * test.accuracy);
    Ok(())
}
