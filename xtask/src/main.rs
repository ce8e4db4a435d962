//! `cargo xtask check`: everything that must hold before a change lands, cheapest first.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this program reports to a person")]

mod manifest;
mod rules;
mod source;
mod steps;
mod tree;

use std::process::ExitCode;

const HELP: &str = "\
cargo xtask check    rules, format, lints, docs, tests; stops at the first that fails
cargo xtask rules    the rules of the tree alone
cargo xtask help     this text";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let outcome = match (arguments.next().as_deref(), arguments.next()) {
        (Some("check"), None) => steps::check(),
        (Some("rules"), None) => steps::rules(),
        (None | Some("help" | "--help" | "-h"), None) => {
            println!("{HELP}");
            Ok(())
        }
        _ => Err(format!("there is no such subcommand:\n{HELP}")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::FAILURE
        }
    }
}
