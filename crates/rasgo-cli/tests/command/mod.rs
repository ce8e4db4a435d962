//! Running the binary, and what its runs leave.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

pub(crate) fn rasgo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rasgo"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

pub(crate) fn run(arguments: &[&str]) -> Output {
    rasgo(arguments).output().unwrap()
}

pub(crate) fn error_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The hash of the last line of a run's metrics.
pub(crate) fn hash(run: &Path) -> String {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let (_, rest) = text.trim().rsplit_once("\"weights_hash\":\"").unwrap();
    rest[..16].to_string()
}

pub(crate) fn as_str(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

/// A case for [`refused`]: arguments, exit code, what the error says.
pub(crate) type Case<'a> = (&'a [&'a str], i32, &'a str);

pub(crate) fn refused(cases: &[Case<'_>], out: &str) {
    for (arguments, code, expected) in cases {
        let output = run(arguments);
        let error = error_of(&output);
        assert_eq!(output.status.code(), Some(*code), "{arguments:?}: {error}");
        assert!(error.contains(expected) && !error.contains("panicked"), "{arguments:?}: {error}");
        assert!(!Path::new(out).exists(), "{arguments:?} made the run folder");
        if *code == 1 {
            assert!(error.lines().count() <= 2, "{arguments:?}: one line and a hint, not\n{error}");
        }
    }
}
