//! The command on a small data set in IDX files: bits, resume, and what it refuses.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// Bars whose direction is the class, at places and strengths that follow from a counter.
fn write_data(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    for (part, count) in [("train", 400u32), ("t10k", 100)] {
        let (mut images, mut labels) = (vec![0u8, 0, 8, 3], vec![0u8, 0, 8, 1]);
        for size in [count, 28, 28] {
            images.extend(size.to_be_bytes());
        }
        labels.extend(count.to_be_bytes());
        for i in 0..count {
            let class = i % 2;
            let line = 6 + (i * 7 % 16);
            labels.push(class as u8);
            for y in 0..28u32 {
                for x in 0..28u32 {
                    let along = if class == 0 { y } else { x };
                    images.push(if along.abs_diff(line) < 2 { 120 + (i % 100) as u8 } else { 0 });
                }
            }
        }
        fs::write(folder.join(format!("{part}-images-idx3-ubyte")), images).unwrap();
        fs::write(folder.join(format!("{part}-labels-idx1-ubyte")), labels).unwrap();
    }
}

fn rasgo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rasgo"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(arguments: &[&str]) -> Output {
    rasgo(arguments).output().unwrap()
}

fn error_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The hash of the last line of a run's metrics.
fn hash(run: &Path) -> String {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let (_, rest) = text.trim().rsplit_once("\"weights_hash\":\"").unwrap();
    rest[..16].to_string()
}

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        let folder = tempfile::tempdir().unwrap();
        write_data(&folder.path().join("bars"));
        Place { folder }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_string()
    }

    /// The arguments of a run into a folder of that name.
    fn train(&self, name: &str) -> Vec<String> {
        let fixed = ["--epochs", "3", "--batch-size", "32", "--held-out", "40", "--seed", "5", "--out"];
        let mut all = vec!["train".to_string(), self.path("bars")];
        all.extend(fixed.map(String::from));
        all.push(self.path(name));
        all
    }
}

fn as_str(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

#[test]
fn a_run_has_the_same_bits_at_any_number_of_threads_and_learns() {
    let place = Place::new();
    let mut hashes = Vec::new();
    for threads in ["1", "2", "3", "8"] {
        let mut arguments = place.train(threads);
        arguments.extend(["--threads".to_string(), threads.to_string()]);
        let output = run(&as_str(&arguments));
        assert!(output.status.success(), "{}", error_of(&output));
        hashes.push(hash(Path::new(&place.path(threads))));
    }
    assert!(hashes.iter().all(|hash| *hash == hashes[0]), "{hashes:?}");
    let output = run(&["eval", &place.path("1"), "--json"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("\"accuracy\":1.0"), "{text}");
    for file in ["model.safetensors", "config.toml", "metrics.jsonl", "report.html", "checkpoint/latest"] {
        assert!(Path::new(&place.path("1")).join(file).exists(), "{file}");
    }
}

#[test]
fn a_killed_run_goes_on_to_the_same_bits() {
    let place = Place::new();
    assert!(run(&as_str(&place.train("whole"))).status.success());
    let whole = hash(Path::new(&place.path("whole")));
    for (i, milliseconds) in [60u64, 250, 600].into_iter().enumerate() {
        let name = format!("killed{i}");
        let mut child = rasgo(&as_str(&place.train(&name))).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(milliseconds));
        let _ = child.kill();
        child.wait().unwrap();
        let folder = place.path(&name);
        if !Path::new(&folder).join("config.toml").exists() {
            continue;
        }
        let output = run(&["train", "--resume", &folder]);
        assert!(output.status.success(), "{}", error_of(&output));
        assert_eq!(hash(Path::new(&folder)), whole, "killed after {milliseconds} ms");
    }
    let output = run(&["train", "--resume", &place.path("whole")]);
    assert!(output.status.success() && error_of(&output).contains("finished already"));
}

#[test]
fn bad_input_is_one_clear_line_and_nothing_is_made() {
    let place = Place::new();
    fs::create_dir(place.path("empty")).unwrap();
    fs::write(place.path("text.png"), "no image").unwrap();
    let (bars, empty, out) = (place.path("bars"), place.path("empty"), place.path("out"));
    let cases: &[(&[&str], i32, &str)] = &[
        (&["train", &bars, "--model", "lectur", "--out", &out], 1, "is \"lecture\" meant?"),
        (&["train", &empty, "--out", &out], 1, "empty"),
        (&["train", &bars, "--batch-size", "0", "--out", &out], 2, "1 or more"),
        (&["train", &bars, "--batch-size", "5000", "--held-out", "40", "--out", &out], 1, "batch size 5000"),
        (&["train", &bars, "--epochs", "-1", "--out", &out], 2, "--epochs"),
        (&["train", &bars, "--lr", "nan", "--out", &out], 2, "above 0"),
        (&["train", &bars, "--threads", "0", "--out", &out], 2, "--threads"),
        (&["train", &bars, "--ephocs", "2"], 2, "--epochs"),
        (&["train", "--resume", &empty], 1, "config.toml"),
        (&["eval", &empty], 1, "model.safetensors"),
        (&["summary", "lecture", "--input", "28"], 1, "1x28x28"),
    ];
    for (arguments, code, expected) in cases {
        let output = run(arguments);
        let error = error_of(&output);
        assert_eq!(output.status.code(), Some(*code), "{arguments:?}: {error}");
        assert!(error.contains(expected) && !error.contains("panicked"), "{arguments:?}: {error}");
        assert!(!Path::new(&out).exists(), "{arguments:?} made the run folder");
    }
    assert!(run(&as_str(&place.train("run"))).status.success());
    let again = run(&as_str(&place.train("run")));
    assert!(again.status.code() == Some(1) && error_of(&again).contains("holds a run"));
    let output = run(&["predict", &place.path("run"), &place.path("text.png")]);
    assert!(
        output.status.code() == Some(1) && error_of(&output).contains("text.png"),
        "{}",
        error_of(&output)
    );
    let model = Path::new(&place.path("run")).join("model.safetensors");
    let bytes = fs::read(&model).unwrap();
    fs::write(&model, &bytes[..bytes.len() / 2]).unwrap();
    let output = run(&["predict", &place.path("run"), "mnist:test:1"]);
    assert!(output.status.code() == Some(1) && error_of(&output).contains("model.safetensors"));
}
