//! The command `op`: how attributes are written, what it prints, and what it refuses.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rasgo::Tensor;
use rasgo::formats::{Disk, safetensors};

fn rasgo(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rasgo")).args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// A folder with an IN file, and what runs an operation on it.
struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    fn new(tensors: &[(&str, Tensor)]) -> Bench {
        let bench = Bench { dir: tempfile::tempdir().unwrap() };
        let tensors: Vec<(String, Tensor)> =
            tensors.iter().map(|(name, tensor)| (name.to_string(), tensor.clone())).collect();
        safetensors::save(&Disk::default(), bench.path("in.safetensors"), &tensors, &BTreeMap::new())
            .unwrap();
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn run(&self, name: &str, attributes: &[&str]) -> Output {
        let (input, output) = (self.path("in.safetensors"), self.path("out.safetensors"));
        let mut arguments = vec!["op", name, input.to_str().unwrap()];
        arguments.extend(attributes);
        arguments.push(output.to_str().unwrap());
        rasgo(&arguments)
    }

    fn output(&self, name: &str, attributes: &[&str]) -> safetensors::Loaded {
        let done = self.run(name, attributes);
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        safetensors::load(self.path("out.safetensors")).unwrap()
    }

    /// The message of a refusal, which must leave no file.
    fn refusal(&self, name: &str, attributes: &[&str]) -> String {
        let done = self.run(name, attributes);
        assert_eq!(done.status.code(), Some(1));
        assert!(!self.path("out.safetensors").exists(), "a refused operation leaves no file");
        String::from_utf8(done.stderr).unwrap()
    }
}

fn lecture_image() -> Tensor {
    let x = [
        7, 6, 8, 5, 1, 3, 8, 6, 5, 3, 5, 5, 9, 1, 1, 5, 3, 5, 4, 5, 5, 9, 2, 6, 9, 5, 3, 1, 2, 2, 4, 4, 8, 8,
        9, 8,
    ];
    Tensor::from_vec(x.map(|x| x as f32).to_vec(), [1, 1, 6, 6]).unwrap()
}

fn lecture_filters() -> Tensor {
    let w = [1, 1, 0, -1, 1, -1, 0, -1, -1, 1, 1, 0, -1, 1, -1, -1, 0, -1];
    Tensor::from_vec(w.map(|w| w as f32).to_vec(), [2, 1, 3, 3]).unwrap()
}

#[test]
fn the_lectures_convolution_and_its_gradients() {
    let bias = Tensor::from_vec(vec![1.0f32, 1.0], [2]).unwrap();
    let grad = Tensor::ones([1, 2, 4, 4], rasgo::DType::F32).unwrap();
    let bench = Bench::new(&[
        ("input", lecture_image()),
        ("weight", lecture_filters()),
        ("bias", bias),
        ("grad_output", grad),
    ]);
    let found = bench.output("conv2d", &[]);
    let names: Vec<&str> = found.tensors.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["grad_bias", "grad_input", "grad_weight", "output"]);
    let output = found.get("output").unwrap().to_vec::<f32>().unwrap();
    assert_eq!(output[..8], [5.0, 5.0, -1.0, -4.0, -4.0, -7.0, -1.0, -6.0]);
    assert_eq!(found.get("grad_bias").unwrap().to_vec::<f32>().unwrap(), [16.0, 16.0]);
}

#[test]
fn attributes_stand_with_a_space_or_an_equals_sign_and_flags_alone() {
    let bench = Bench::new(&[("input", lecture_image())]);
    let shape =
        |attributes: &[&str]| bench.output("max_pool2d", attributes).get("output").unwrap().shape().to_vec();
    assert_eq!(shape(&["--kernel-size", "4,3", "--stride=3,2"]), [1, 1, 1, 2]);
    assert_eq!(shape(&["--kernel-size=4,3", "--stride", "3,2", "--ceil-mode"]), [1, 1, 2, 3]);
    assert_eq!(shape(&["--ceil-mode=true", "--kernel_size=4,3", "--stride", "3,2"]), [1, 1, 2, 3]);
    assert_eq!(shape(&["--kernel-size=4,3", "--stride=3,2", "--ceil-mode=false"]), [1, 1, 1, 2]);
}

#[test]
fn one_sample_may_come_without_the_batch_axis() {
    let bench = Bench::new(&[
        ("input", lecture_image().reshape([1, 6, 6]).unwrap()),
        ("weight", lecture_filters()),
        ("grad_output", Tensor::ones([2, 4, 4], rasgo::DType::F32).unwrap()),
    ]);
    let found = bench.output("conv2d", &[]);
    assert_eq!(found.get("output").unwrap().shape()[..], [2, 4, 4]);
    assert_eq!(found.get("grad_input").unwrap().shape()[..], [1, 6, 6]);
}

#[test]
fn indices_are_whole_numbers() {
    let bench = Bench::new(&[("input", lecture_image())]);
    let found = bench.output("max_pool2d", &["--kernel-size", "2"]);
    assert_eq!(found.get("indices").unwrap().to_vec::<i64>().unwrap(), [6, 2, 10, 12, 21, 23, 24, 32, 34]);
}

#[test]
fn what_does_not_fit_is_said_in_a_line_and_a_hint_without_a_line_of_code() {
    let bench = Bench::new(&[("input", lecture_image()), ("weight", lecture_filters())]);
    for (attributes, expected) in [
        (&["--groups", "2"][..], "conv2d: groups 2 must divide the 1 input channels"),
        (&["--stride", "0"], "conv2d: kernel 3, stride 0 and dilation 1 along height must be 1 or more"),
        (&["--stride", "-1"], "conv2d: --stride -1: it must be whole numbers of 0 or more"),
        (&["--stride", "1,2,3"], "conv2d: --stride has 3 values"),
        (&["--dilation", "4"], "conv2d: the kernel spans 9"),
        (&["--strode", "1"], "conv2d: there is no attribute --strode"),
        (&["--stride", "1", "--stride", "2"], "conv2d: --stride stands twice"),
    ] {
        let text = bench.refusal("conv2d", attributes);
        assert!(text.starts_with(&format!("error: {expected}")), "{text}");
        assert!(!text.contains(".rs"), "{text}");
        assert!(text.trim_end().lines().count() <= 2, "{text}");
    }
    let text = bench.refusal("conv1d", &[]);
    assert!(text.contains("has 4 axes, not 3"), "{text}");
    let text = bench.refusal("relu", &[]);
    assert!(text.contains("\"weight\" is not one of its inputs"), "{text}");
    let text = bench.refusal("conv3", &[]);
    assert!(
        text.contains("there is no operation \"conv3\"") && text.contains("did you mean conv3d?"),
        "{text}"
    );
    let text = bench.refusal("linear", &[]);
    assert!(text.contains("linear: "), "{text}");
}

#[test]
fn a_gradient_of_another_shape_is_refused() {
    let bench = Bench::new(&[("input", lecture_image()), ("grad_output", Tensor::scalar(1.0f32))]);
    let text = bench.refusal("relu", &[]);
    assert!(
        text.contains("grad_output is float32 of shape [], and the output float32 of shape [1, 1, 6, 6]"),
        "{text}"
    );
}

#[test]
fn files_that_are_missing_or_too_many_are_named() {
    let text =
        String::from_utf8(rasgo(&["op", "relu", "nowhere.safetensors", "out.safetensors"]).stderr).unwrap();
    assert!(text.contains("nowhere.safetensors"), "{text}");
    assert!(!Path::new("out.safetensors").exists());
    let done = rasgo(&["op", "relu", "a", "b", "c"]);
    assert_eq!(done.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&done.stderr).contains("3 files are named"));
    let done = rasgo(&["op", "avg_pool2d", "in", "--kernel-size", "2", "--ceil-mode", "true", "out"]);
    let text = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(text.contains("3 files are named") && text.contains("is --ceil-mode=true meant?"), "{text}");
}

#[test]
fn a_refusal_names_what_was_called() {
    let whole = Tensor::from_vec(vec![1i64, 2, 3, 4], [1, 1, 2, 2]).unwrap();
    type Case<'a> = (&'a str, &'a [(&'a str, Tensor)], &'a [&'a str], &'a str);
    let cases: [Case<'_>; 5] = [
        ("gelu", &[("input", whole.clone())], &[], "int64"),
        // In the library these are other operations.
        ("rsub", &[("input", whole.clone()), ("other", lecture_image())], &[], "int64"),
        ("dropout2d", &[("input", lecture_image())], &["--p", "1.5"], "1.5"),
        (
            "interpolate",
            &[("input", lecture_image())],
            &["--size", "3", "--align-corners"],
            "with mode nearest\n",
        ),
        (
            "pad",
            &[("input", lecture_image())],
            &["--pad", "1,1", "--mode", "reflect", "--value", "2"],
            "with mode reflect\n",
        ),
    ];
    for (name, tensors, attributes, expected) in cases {
        let text = Bench::new(tensors).refusal(name, attributes);
        assert!(text.starts_with(&format!("error: {name}: ")) && text.contains(expected), "{text}");
    }
}

#[test]
fn the_list_and_the_help_say_what_there_is() {
    let list = String::from_utf8(rasgo(&["op", "--list"]).stdout).unwrap();
    assert!(list.lines().any(|line| line.starts_with("conv_transpose3d ")), "{list}");
    let help = String::from_utf8(rasgo(&["op", "conv2d", "--help"]).stdout).unwrap();
    for part in ["output[n, o, p]", "weight (O, C / groups, kh, kw)", "--stride N[,N…]", "input weight bias?"]
    {
        assert!(help.contains(part), "{help}");
    }
}
