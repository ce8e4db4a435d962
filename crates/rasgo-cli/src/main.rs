//! The command `rasgo`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command talks to a person")]

mod commands;
mod configuration;
mod machine;
mod numbers;
mod operations;
mod paths;
mod plot;
mod precision;
mod report;
mod sample_picture;
mod terminal;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

/// Trains convolutional networks on images, sequences and video, and runs them.
#[derive(Debug, Parser)]
#[command(name = "rasgo", version, max_term_width = 100, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: commands::Command,
    /// Threads to compute on; all by default
    #[arg(long, global = true, display_order = 100, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: Option<u16>,
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    if let Some(threads) = cli.threads {
        rasgo::settings::set_threads(usize::from(threads));
    }
    match cli.command.run(&mut Cli::command()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            terminal::print_error(&error);
            ExitCode::from(if error.kind() == rasgo::ErrorKind::Interrupted { 130 } else { 1 })
        }
    }
}
