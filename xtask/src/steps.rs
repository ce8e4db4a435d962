//! The steps of the check, cheapest first.

use std::process::Command;
use std::time::Instant;

use crate::{rules, tree};

type Outcome = Result<(), String>;

/// All steps; stops at the first that fails.
pub(crate) fn check() -> Outcome {
    let start = Instant::now();
    rules()?;
    step("format", || cargo("fmt --all -- --check", &[]))?;
    step("lints", || cargo("clippy --workspace --all-targets --locked -- -D warnings", &[]))?;
    step("docs", || cargo("doc --workspace --no-deps --locked", &[("RUSTDOCFLAGS", "-D warnings")]))?;
    step("tests", || cargo("test --workspace --locked", &[]))?;
    println!("xtask: all steps passed in {:.1} s", start.elapsed().as_secs_f64());
    Ok(())
}

/// The rules of the tree.
pub(crate) fn rules() -> Outcome {
    step("rules", || {
        let found = rules::check(&tree::root())?;
        for note in &found.notes {
            println!("{note}");
        }
        for finding in &found.broken {
            eprintln!("{finding}");
        }
        match found.broken.len() {
            0 => Ok(()),
            1 => Err("one place breaks a rule".into()),
            n => Err(format!("{n} places break a rule")),
        }
    })
}

fn step(name: &str, run: impl FnOnce() -> Outcome) -> Outcome {
    println!("xtask: {name} …");
    let start = Instant::now();
    let outcome = run();
    let seconds = start.elapsed().as_secs_f64();
    outcome.map_err(|error| format!("{name} failed after {seconds:.1} s: {error}"))?;
    println!("xtask: {name} passed in {seconds:.1} s");
    Ok(())
}

fn cargo(arguments: &str, environment: &[(&str, &str)]) -> Outcome {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(program)
        .args(arguments.split_whitespace())
        .envs(environment.iter().copied())
        .current_dir(tree::root())
        .status()
        .map_err(|error| format!("cargo does not start: {error}"))?;
    if status.success() {
        return Ok(());
    }
    let prefix: String = environment.iter().map(|(name, value)| format!("{name}='{value}' ")).collect();
    Err(format!("to see it alone: {prefix}cargo {arguments}"))
}
