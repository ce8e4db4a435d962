//! One file for each command.

mod bench;
mod eval;
mod info;
mod op;
mod predict;
mod runs;
mod summary;
mod train;

use clap::Subcommand;
use rasgo::Result;

pub(crate) use eval::{evaluate_on, own_part};

use crate::terminal::print;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Train a network and leave a run folder
    Train(Box<train::Train>),
    /// Measure a trained network on the test samples
    Eval(eval::Eval),
    /// Name the class of images, sequences or videos
    Predict(predict::Predict),
    /// Run one operation, and its gradients, on the tensors of a file
    Op(op::Op),
    /// Show a model layer by layer
    Summary(summary::Summary),
    /// List the runs of a folder
    Runs(runs::Runs),
    /// Measure this machine, and the speed and memory of training and predicting on it
    Bench(bench::Bench),
    /// Show versions, processor and instruction set
    Info(info::Info),
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

impl Command {
    pub(crate) fn run(self, cli: &mut clap::Command) -> Result<()> {
        match self {
            Command::Train(command) => command.run(),
            Command::Eval(command) => command.run(),
            Command::Predict(command) => command.run(),
            Command::Op(command) => command.run(cli),
            Command::Summary(command) => command.run(),
            Command::Runs(command) => command.run(),
            Command::Bench(command) => command.run(),
            Command::Info(command) => command.run(),
            Command::Completions { shell } => {
                let mut text = Vec::new();
                clap_complete::generate(shell, cli, "rasgo", &mut text);
                print(String::from_utf8_lossy(&text).trim_end())
            }
        }
    }
}
