//! `rasgo bench`: the machine, layers, training steps, predictions, memory.

mod infer;
mod layers;
mod measure;
mod memory;
mod networks;
mod peak;
mod steps;

use clap::{Args, Subcommand};
use rasgo::Result;
use rasgo::train::Precision;

use crate::numbers::above_zero;
use crate::precision::precision;

/// Measure this machine, and the speed and memory of training and predicting on it.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Bench {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Measure the arithmetic and memory speed of the machine, and a large matrix product
    Peak {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Time the three passes of convolution layers of named networks: forward, gradient to the input, gradient to the
    /// weight. Each layer is first checked against the formula
    Layers(Timing),
    /// Time whole training steps: forward, loss, backward, SGD with momentum
    Steps(Timing),
    /// Time predictions, as `rasgo predict` makes them, of one image and of 32 at once
    Infer(Timing),
    /// Measure the memory of three training steps: how far the peak rises above what the process held before it
    /// made the model, after two steps of a tiny one
    Memory {
        /// A model of the zoo
        #[arg(long, value_name = "NAME")]
        model: String,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
}

/// What is timed, and for how long.
#[derive(Debug, Args)]
struct Timing {
    /// Only the rows of that name, or whose names begin with these words; all by default
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// The type of the values between layers, as in `rasgo train --precision`
    #[arg(long, value_name = "TYPE", default_value = "f32", value_parser = precision())]
    precision: Precision,
    /// How long to repeat one thing: 5 to 200 times, of which the median counts
    #[arg(long, value_name = "S", default_value_t = 1.0, allow_negative_numbers = true, value_parser = above_zero)]
    seconds: f64,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Bench {
    pub(crate) fn run(self) -> Result<()> {
        match self.what {
            What::Peak { json } => peak::run(json),
            What::Layers(timing) => layers::run(&timing),
            What::Steps(timing) => steps::run(&timing),
            What::Infer(timing) => infer::run(&timing),
            What::Memory { model, json } => memory::run(&model, json),
        }
    }
}
