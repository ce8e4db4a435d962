//! `cargo xtask check`: everything that must hold before a change lands, cheapest first.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this program reports to a person")]

mod rules;

use std::process::{Command, ExitCode};
use std::time::Instant;

const HELP: &str = "cargo xtask check    rules, format, lints, docs, tests; stops at the first that fails
cargo xtask rules    the rules of the tree alone";

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("check") => check(),
        Some("rules") => step("rules", rules::check),
        _ => {
            println!("{HELP}");
            return ExitCode::SUCCESS;
        }
    }
    .map_or_else(
        |message| {
            eprintln!("xtask: {message}");
            ExitCode::FAILURE
        },
        |()| ExitCode::SUCCESS,
    )
}

fn check() -> Result<(), String> {
    step("rules", rules::check)?;
    step("format", || cargo(&["fmt", "--all", "--", "--check"], &[]))?;
    step("lints", || {
        cargo(&["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"], &[])
    })?;
    step("docs", || cargo(&["doc", "--workspace", "--no-deps", "--locked"], &[("RUSTDOCFLAGS", "-D warnings")]))?;
    step("tests", || cargo(&["test", "--workspace", "--locked"], &[]))
}

fn step(name: &str, run: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    println!("xtask: {name}");
    let start = Instant::now();
    run().map_err(|error| format!("{name}: {error}"))?;
    println!("xtask: {name} done in {:.0} s", start.elapsed().as_secs_f64());
    Ok(())
}

fn cargo(arguments: &[&str], environment: &[(&str, &str)]) -> Result<(), String> {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(program)
        .args(arguments)
        .envs(environment.iter().copied())
        .status()
        .map_err(|error| format!("cargo does not start: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("cargo {} failed", arguments[0])) }
}
