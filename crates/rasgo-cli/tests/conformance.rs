//! Small problems with PyTorch's answers, through `rasgo op`; `tests/conformance/README.md` says how they are made.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rasgo::formats::{Disk, safetensors};
use rasgo::{DType, Tensor};
use serde_json::Value;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/conformance/golden")
}

fn op(arguments: &[&str], isa: Option<&str>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rasgo"));
    if let Some(isa) = isa {
        command.env("RASGO_MAX_ISA", isa);
    }
    command.args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// One case of a golden file.
struct Case {
    inputs: Vec<(String, Tensor)>,
    outputs: BTreeMap<String, Tensor>,
    arguments: Vec<String>,
    refused: bool,
    allowed: BTreeMap<String, f64>,
}

fn read(path: &Path) -> Vec<Case> {
    let file = safetensors::load(path).unwrap();
    let described: Value = serde_json::from_str(&file.metadata["cases"]).unwrap();
    let part = |number: usize, side: &str| {
        let prefix = format!("{number}/{side}/");
        let named = file.tensors.iter().filter_map(move |(name, tensor)| {
            name.strip_prefix(&prefix).map(|name| (name.to_string(), tensor.clone()))
        });
        named.collect::<Vec<_>>()
    };
    let cases = described.as_array().unwrap().iter().enumerate();
    cases
        .map(|(number, case)| Case {
            inputs: part(number, "in"),
            outputs: part(number, "out").into_iter().collect(),
            arguments: case["arguments"]
                .as_array()
                .unwrap()
                .iter()
                .map(|a| a.as_str().unwrap().into())
                .collect(),
            refused: case["refused"].as_bool().unwrap(),
            allowed: case["allowed"]
                .as_object()
                .unwrap()
                .iter()
                .map(|(name, allowed)| (name.clone(), allowed.as_f64().unwrap()))
                .collect(),
        })
        .collect()
}

/// What is wrong with an output.
fn difference(found: &Tensor, expected: &Tensor, allowed: Option<f64>) -> Option<String> {
    if found.shape() != expected.shape() {
        return Some(format!("shape {} for {}", found.shape(), expected.shape()));
    }
    if found.dtype().is_float() != expected.dtype().is_float() {
        return Some(format!("dtype {} for {}", found.dtype(), expected.dtype()));
    }
    let (a, b) = (found.to_f64_vec().unwrap(), expected.to_f64_vec().unwrap());
    let close = |a: f64, b: f64| match b.is_finite() {
        true => (a - b).abs() <= allowed.unwrap_or(0.0),
        false => a == b || a.is_nan() && b.is_nan(),
    };
    let at = a.iter().zip(&b).position(|(&a, &b)| !close(a, b))?;
    Some(format!("{} for {} at element {at}, allowed {allowed:?}", a[at], b[at]))
}

/// What is wrong with a case.
fn run(name: &str, case: &Case, dir: &Path, isa: Option<&str>) -> Option<String> {
    let (input, output) = (dir.join("in.safetensors"), dir.join("out.safetensors"));
    safetensors::save(&Disk::default(), &input, &case.inputs, &BTreeMap::new()).unwrap();
    let _ = std::fs::remove_file(&output);
    let (input, output_text) = (input.to_str().unwrap(), output.to_str().unwrap());
    let mut arguments = vec!["op", name, input];
    arguments.extend(case.arguments.iter().map(String::as_str));
    arguments.push(output_text);
    let done = op(&arguments, isa);
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    if case.refused {
        let right = done.status.code() == Some(1) && said.starts_with("error: ") && !output.exists();
        return (!right).then(|| format!("PyTorch refuses; exit {:?}, {said}", done.status.code()));
    }
    if !done.status.success() {
        return Some(format!("exit {:?}: {said}", done.status.code()));
    }
    let found = safetensors::load(&output).unwrap().tensors;
    let names: Vec<&String> = found.iter().map(|(name, _)| name).collect();
    let expected: Vec<&String> = case.outputs.keys().collect();
    if names != expected {
        return Some(format!("outputs {names:?} for {expected:?}"));
    }
    found.iter().find_map(|(name, tensor)| {
        let wrong = difference(tensor, &case.outputs[name], case.allowed.get(name).copied());
        wrong.map(|wrong| format!("{name}: {wrong}"))
    })
}

fn check_all(isa: Option<&str>) {
    let dir = tempfile::tempdir().unwrap();
    let mut wrong = Vec::new();
    let mut count = 0;
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_string();
        for (number, case) in read(&path).iter().enumerate() {
            count += 1;
            if let Some(what) = run(&name, case, dir.path(), isa) {
                wrong.push(format!("{name} {number} {:?}: {what}", case.arguments));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {count} cases:\n{}", wrong.len(), wrong.join("\n"));
    assert!(count > 100, "{count} cases are all");
}

#[test]
fn operations_agree_with_pytorch() {
    check_all(None);
}

#[test]
fn operations_agree_with_pytorch_on_the_portable_level() {
    check_all(Some("portable"));
}

#[test]
fn every_operation_has_golden_cases() {
    let listed = String::from_utf8(op(&["op", "--list"], None).stdout).unwrap();
    for name in listed.lines().map(|line| line.split_whitespace().next().unwrap()) {
        let path = folder().join(format!("{name}.safetensors"));
        assert!(
            path.exists(),
            "{name}: write its cases with tests/conformance/run.py --golden 8 --only {name}"
        );
        assert!(read(&path).iter().filter(|case| !case.refused).count() >= 3, "{name} has too few cases");
    }
}

#[test]
fn the_golden_dtypes_are_those_that_operations_read() {
    let mut seen = [false; 2];
    for case in read(&folder().join("conv2d.safetensors")) {
        for (_, tensor) in case.inputs {
            seen[usize::from(tensor.dtype() == DType::F64)] = true;
        }
    }
    assert_eq!(seen, [true; 2], "both float dtypes are among the cases");
}
