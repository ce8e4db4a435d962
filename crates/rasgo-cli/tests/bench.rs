//! The benchmark command: what it prints as JSON, and what it refuses.

use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rasgo")).args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn error_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The object on standard output, which must be one and hold the machine's fields.
fn object(output: &Output) -> Value {
    assert!(output.status.success(), "{}", error_of(output));
    let object: Value = serde_json::from_slice(&output.stdout).expect("one JSON object and nothing else");
    assert!(object["threads"].as_u64().unwrap() >= 1);
    assert!(!object["cpu"].as_str().unwrap().is_empty());
    assert!(rasgo::Isa::from_name(object["isa"].as_str().unwrap()).is_some());
    assert!(object["peak"].as_f64().unwrap() > 0.1);
    object
}

#[test]
fn peak_tells_a_matrix_product_that_stays_below_the_peak() {
    let object = object(&run(&["bench", "peak", "--json"]));
    let rows = object["rows"].as_array().unwrap();
    let row = rows.iter().find(|row| row[0] == "matmul").unwrap();
    assert_eq!(row[1], "float32");
    let product = row[2].as_f64().unwrap();
    // The two are measured one after the other on a machine that may be busy.
    assert!(product > 0.1 && product < 3.0 * object["peak"].as_f64().unwrap(), "{object}");
    assert!(rows.iter().any(|row| row[0] == "read" && row[2].as_f64().unwrap() > 0.1), "{object}");
}

#[test]
fn steps_of_one_model_are_one_row() {
    let name = "lenet5 1x28x28 b128";
    let object =
        object(&run(&["bench", "steps", "--only", name, "--seconds", "0.05", "--json", "--threads", "1"]));
    assert_eq!(object["threads"], 1);
    let rows = object["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!((&rows[0][0], &rows[0][1], &rows[0][2]), (&"step".into(), &name.into(), &"f32".into()));
    assert!(rows[0][3].as_f64().unwrap() > 10.0, "{object}");
}

#[test]
fn steps_for_people_are_a_table_with_the_share_of_the_peak() {
    let output = run(&["bench", "steps", "--only", "lenet5", "--seconds", "0.05"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("images/s") && text.contains("lenet5 1x28x28 b128") && text.contains(" %"),
        "{text}"
    );
}

/// The rows of a short run.
fn rows(arguments: &[&str]) -> Vec<Value> {
    let object = object(&run(&[&["bench"], arguments, &["--seconds", "0.01", "--json"]].concat()));
    object["rows"].as_array().unwrap().clone()
}

#[test]
fn a_layer_is_a_row_of_three_passes() {
    let rows = rows(&["layers", "--only", "lenet2"]);
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].as_array().unwrap()[..3], ["layer", "lenet2 6>16 14 k5", "f32"]);
    assert_eq!(rows[0].as_array().unwrap().len(), 6);
    for pass in 3..6 {
        assert!(rows[0][pass].as_f64().unwrap() > 0.01, "{rows:?}");
    }
}

#[test]
fn inference_is_a_row_of_one_image_and_of_thirty_two() {
    let rows = rows(&["infer", "--only", "lenet5"]);
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].as_array().unwrap()[..3], ["infer", "lenet5 1x28x28 b128", "f32"]);
    let (milliseconds, images) = (rows[0][3].as_f64().unwrap(), rows[0][4].as_f64().unwrap());
    // 32 at once take no longer for each than one alone, but for a machine that is busy.
    assert!(milliseconds > 0.0 && images > 100.0 / milliseconds, "{rows:?}");
}

#[test]
fn the_first_words_of_a_name_or_a_models_name_choose_rows() {
    let names = |only: &str| -> Vec<String> {
        let rows = rows(&["infer", "--only", only]);
        rows.iter().map(|row| row[1].as_str().unwrap().to_string()).collect()
    };
    assert_eq!(names("resnet18-cifar"), ["resnet18 3x32x32 b64"]);
    assert_eq!(names("lenet5 1x28x28"), ["lenet5 1x28x28 b128"]);
}

#[test]
fn everything_in_bf16_is_a_row_of_that_precision() {
    let lenet5 = "lenet5 1x28x28 b128";
    for (what, name, row) in
        [("layers", "lenet2 6>16 14 k5", "layer"), ("steps", lenet5, "step"), ("infer", lenet5, "infer")]
    {
        let rows = rows(&[what, "--only", name, "--precision", "bf16"]);
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].as_array().unwrap()[..3], [row, name, "bf16"]);
        assert!(rows[0][3].as_f64().unwrap() > 0.0, "{rows:?}");
    }
}

#[test]
fn a_precision_that_is_not_there_is_refused() {
    for what in ["layers", "steps", "infer"] {
        let output = run(&["bench", what, "--precision", "f16"]);
        assert_eq!(output.status.code(), Some(2));
        let expected = "[possible values: f32, bf16]";
        assert!(output.stdout.is_empty() && error_of(&output).contains(expected), "{}", error_of(&output));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn memory_holds_at_least_the_weights_their_gradients_and_the_momentum() {
    let object = object(&run(&["bench", "memory", "--model", "mlp", "--json"]));
    let row = &object["rows"][0];
    assert_eq!((&row[0], &row[1], &row[2]), (&"memory".into(), &"mlp 1x28x28 b128".into(), &"f32".into()));
    let megabytes = row[3].as_f64().unwrap();
    assert!((3.0 * 4.0 * 0.235..500.0).contains(&megabytes), "{object}");
}

#[test]
fn an_unknown_name_is_refused_with_the_nearest() {
    for (arguments, near) in [
        (["bench", "steps", "--only", "lenet"], "is \"lenet5\" meant?"),
        (["bench", "steps", "--only", "lenet5 1x28x28 b12"], "is \"lenet5 1x28x28 b128\" meant?"),
        (["bench", "layers", "--only", "lecture3 128>256 8"], "is \"lecture3 128>256 7\" meant?"),
        (["bench", "infer", "--only", "resnet 18"], "is \"resnet18\" meant?"),
        (["bench", "memory", "--model", "lectur"], "is \"lecture\" meant?"),
    ] {
        let output = run(&arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(output.stdout.is_empty() && error_of(&output).contains(near), "{}", error_of(&output));
    }
}

#[test]
fn seconds_that_are_no_time_are_refused() {
    for seconds in ["0", "-1", "nan", "inf"] {
        assert_eq!(run(&["bench", "steps", "--seconds", seconds]).status.code(), Some(2), "{seconds}");
    }
}
