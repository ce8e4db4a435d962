//! `rasgo summary` as a person and as a program reads it.

use std::fs;
use std::process::{Command, Output};

use serde_json::Value;

fn summary(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rasgo")).arg("summary").args(arguments).output().unwrap()
}

fn text(arguments: &[&str]) -> String {
    let output = summary(arguments);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn json(arguments: &[&str]) -> Value {
    serde_json::from_str(&text(&[arguments, &["--json"]].concat())).unwrap()
}

/// Two convolutions whose strides drop rows and columns, and a pooling that drops more.
fn model_file(folder: &tempfile::TempDir) -> String {
    let path = folder.path().join("model.toml");
    let conv = "[[layer]]\ntype = \"Conv2d\"\nout_channels = 2\n";
    let text = format!(
        "input = [1, 28, 30]\n{conv}kernel_size = 3\nstride = 2\n\
         {conv}kernel_size = 2\nstride = [3, 2]\n[[layer]]\ntype = \"MaxPool2d\"\nkernel_size = [3, 2]\n\
         [[layer]]\ntype = \"Flatten\"\n[[layer]]\ntype = \"Linear\"\n"
    );
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_string()
}

#[test]
fn the_table_says_what_no_output_sees_and_from_which_layer_on() {
    let folder = tempfile::tempdir().unwrap();
    let model = model_file(&folder);
    // 13 x 14 windows of 3 every 2 pixels see 27 x 29. Of 13 rows the next windows skip every third and the rest; the
    // pooling drops the fourth row of windows, and the last column.
    let table = text(&[&model]);
    let line =
        |start: &str| table.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{table}"));
    assert!(line("layer").ends_with("receptive field  stride  padding  coverage"), "{table}");
    assert!(line("backbone.0").contains("3x3") && line("backbone.0").ends_with("93.2 %"), "{table}");
    assert!(table.contains("coverage: "), "{table}");
    assert!(table.contains("  from backbone.0 on, no output sees: last row, last column\n"), "{table}");
    assert!(table.contains("  from backbone.1 on, no output sees: "), "{table}");
    let whole = text(&["lenet5"]);
    assert!(whole.contains("coverage: 100 % of the input\nmemory"), "{whole}");
}

#[test]
fn the_json_object_has_fields_strides_and_coverage_of_every_layer() {
    let lenet = json(&["lenet5"]);
    assert_eq!((&lenet["coverage"], &lenet["unseen"]), (&1.0.into(), &0.into()));
    let last = &lenet["layers"][5];
    assert_eq!(last["receptive_field"], serde_json::json!([16, 16]));
    assert_eq!(last["effective_stride"], serde_json::json!([4, 4]));
    assert_eq!(last["effective_padding"], serde_json::json!([2, 2]));
    let flat = &lenet["layers"][6];
    assert_eq!(flat["type"], "Flatten");
    assert_eq!(flat["effective_stride"], serde_json::json!([null, null]));

    let small = json(&["rasgo-small"]);
    assert_eq!(small["unseen"], 28 * 28 - 27 * 27);
    assert_eq!(small["unseen_ranges"], serde_json::json!([[[27, 27]], [[27, 27]]]));
    let coverage = small["coverage"].as_f64().unwrap();
    assert!((coverage - 729.0 / 784.0).abs() < 1e-12, "{coverage}");
    for layer in small["layers"].as_array().unwrap() {
        for key in ["path", "type", "output", "parameters", "multiply_adds", "receptive_field", "coverage"] {
            assert!(layer.get(key).is_some(), "{key} of {layer}");
        }
    }
}

#[test]
fn a_network_without_space_sees_it_all() {
    let mlp = text(&["mlp", "--input", "1x512x512"]);
    assert!(mlp.contains("67,143,306 parameters") && mlp.contains("coverage: 100 % of the input"), "{mlp}");
}

#[test]
fn much_memory_is_given_in_large_units() {
    let large = text(&["alexnet", "--batch-size", "10000"]);
    assert!(large.contains("MiB, all layers' outputs ") && large.trim_end().ends_with(" GiB"), "{large}");
    assert!(text(&["lenet5"]).trim_end().ends_with(" MiB"));
}

#[test]
fn an_input_of_another_kind_is_told_with_the_model_that_takes_it() {
    let output = summary(&["lenet5", "--input", "2x64"]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        error.contains("lenet5 takes images (C, H, W)") && error.contains("rasgo-small-1d takes such"),
        "{error}"
    );
}

/// The example that README links to.
const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/model.toml");

#[test]
fn any_model_is_printed_as_a_model_file_that_makes_the_same_model() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("printed.toml");
    let path = path.to_str().unwrap();
    let models = rasgo::zoo::models().iter().map(|model| model.name);
    for model in models.chain([model_file(&folder).as_str(), EXAMPLE]) {
        let printed = text(&[model, "--toml"]);
        fs::write(path, &printed).unwrap();
        assert_eq!(text(&[path, "--toml"]), printed);
        assert_eq!(json(&[path])["layers"], json(&[model])["layers"], "{model}");
    }
    let changed = text(&["lenet5", "--toml", "--input", "3x32x32", "--classes", "5"]);
    assert!(changed.contains("input = [3, 32, 32]\nclasses = 5\n"), "{changed}");
    assert_eq!(summary(&["lenet5", "--toml", "--json"]).status.code(), Some(2));
}

#[test]
fn the_help_of_train_shows_how_a_model_file_is_written() {
    let output = Command::new(env!("CARGO_BIN_EXE_rasgo")).args(["train", "--help"]).output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let (_, example) = help.split_once("  input = ").unwrap_or_else(|| panic!("{help}"));
    let example = format!("input = {}", example.split("\n\n").next().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("help.toml");
    fs::write(&path, example).unwrap();
    assert!(text(&[path.to_str().unwrap()]).contains("8x26x26"));
}
