//! Weights go to PyTorch and come from it: the same names, the same shapes, the same logits.
//!
//! What PyTorch computed lies in `golden/`, written by `pytorch_round_trip.py make`. The trip with PyTorch itself is the
//! last test; it is left out unless asked for:
//!
//! ```sh
//! RASGO_PYTHON=python3 cargo test -p rasgo --test pytorch -- --ignored --nocapture
//! ```
#![allow(clippy::print_stdout, reason = "the tests report the differences that they measured")]

mod pytorch_formula;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use pytorch_formula::{Answer, golden, tensor, weights};
use rasgo::data::Normalize;
use rasgo::formats::{Disk, ResizeRule, safetensors, weights_hash};
use rasgo::nn::{Module, ModuleExt};
use rasgo::train::{ModelInfo, Precision, SavedModel, Views};
use rasgo::zoo::{self, Network};
use rasgo::{Tensor, no_grad, random};

/// Differences of logits that pass, relative to the largest logit or to 1.
const TOLERANCE: f32 = 1e-5;

fn network(model: &str) -> Network {
    let mut network = zoo::named(model).unwrap().architecture().build().unwrap();
    network.eval();
    network
}

fn logits(network: &Network, x: &Tensor) -> Vec<f32> {
    no_grad(|| network.forward(x.clone()).unwrap().to_vec().unwrap())
}

/// The largest difference and the largest logit, once they are seen to be near enough: within [`TOLERANCE`], or within
/// twice `rounding`, what PyTorch itself loses in single precision.
fn assert_same(what: &str, ours: &[f32], theirs: &[f32], rounding: f32) -> (f32, f32) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    assert!(ours.iter().chain(theirs).all(|value| value.is_finite()), "{what}");
    let largest = theirs.iter().fold(0.0f32, |most, value| most.max(value.abs()));
    let difference = ours.iter().zip(theirs).fold(0.0f32, |most, (a, b)| most.max((a - b).abs()));
    let allowed = (TOLERANCE * largest.max(1.0)).max(2.0 * rounding);
    assert!(difference <= allowed, "{what}: {difference:e} of {largest}, PyTorch's rounding is {rounding:e}");
    (difference, largest)
}

fn assert_golden(model: &str) {
    let golden = &golden()[model];
    let mut network = network(model);
    network.load_state_dict(&weights(model, golden)).unwrap();
    let x = tensor(model, "input", &golden.input);
    let assert_near = |mode: &str, ours: &[f32], answer: &Answer| {
        let what = format!("{model:14} {mode}");
        let (difference, largest) = assert_same(&what, ours, &answer.logits, answer.rounding);
        println!("{what}: {difference:.2e} of {largest:.2}; PyTorch's rounding {:.2e}", answer.rounding);
    };
    assert_near("golden logits", &logits(&network, &x), &golden.evaluated);
    network.train();
    // Its dropout draws other numbers than PyTorch's. No head has a batch normalisation.
    network.head_mut().eval();
    let classes = network.classes();
    for (mode, answer) in ["in training", "after training"].into_iter().zip(&golden.trained) {
        let ours = logits(&network, &x);
        let first: Vec<f32> = ours.chunks(classes).flat_map(|row| &row[..classes.min(16)]).copied().collect();
        assert_near(mode, &first, answer);
        network.eval();
    }
}

/// A file beside the golden logits.
fn beside(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

#[test]
fn every_model_of_the_zoo_has_golden_logits() {
    let mut names: Vec<&str> = zoo::models().iter().map(|model| model.name).collect();
    names.sort_unstable();
    let golden = golden();
    let known: Vec<&String> = golden.keys().collect();
    assert_eq!(known, names, "write the model in pytorch_round_trip.py and run its `make`");
}

#[test]
fn every_small_model_gives_the_logits_of_the_same_network_in_pytorch() {
    for model in zoo::models().iter().filter(|model| !["alexnet", "vgg16"].contains(&model.name)) {
        assert_golden(model.name);
    }
}

/// Apart, since each takes as long as all the others.
#[test]
fn alexnet_gives_the_logits_of_the_same_network_in_pytorch() {
    assert_golden("alexnet");
}

#[test]
fn vgg16_gives_the_logits_of_the_same_network_in_pytorch() {
    assert_golden("vgg16");
}

#[test]
fn a_state_dict_that_pytorch_saved_is_loaded_to_the_bit_and_gives_its_logits() {
    for model in ["rasgo-small", "lecun1990"] {
        let golden = &golden()[model];
        let loaded = safetensors::load(beside(&format!("{model}.safetensors"))).unwrap();
        let same = weights_hash(&weights(model, golden)).unwrap();
        assert_eq!(weights_hash(&loaded.tensors).unwrap(), same, "{model}");
        let mut network = network(model);
        network.load_state_dict(&loaded.tensors).unwrap();
        assert_eq!(weights_hash(&network.state_dict()).unwrap(), same, "{model}");
        let x = tensor(model, "input", &golden.input);
        let answer = &golden.evaluated;
        assert_same(model, &logits(&network, &x), &answer.logits, answer.rounding);
    }
}

#[test]
fn missing_unexpected_and_mis_shaped_keys_are_all_listed_and_nothing_is_changed() {
    let mut tensors = safetensors::load(beside("rasgo-small.safetensors")).unwrap().tensors;
    let zeros = |shape: &[usize]| Tensor::from_fn(shape.to_vec(), |values: &mut [f32]| values.fill(0.0));
    tensors.retain(|(name, _)| name != "backbone.1.num_batches_tracked" && name != "head.2.weight");
    tensors.push(("fc.weight".into(), zeros(&[10, 64])));
    tensors.push(("epoch".into(), Tensor::scalar(3i64)));
    for (name, value) in &mut tensors {
        match name.as_str() {
            "backbone.0.weight" => *value = zeros(&[16, 3, 5, 5]),
            "backbone.1.running_var" => *value = zeros(&[16, 1]),
            _ => {}
        }
    }
    let mut network = network("rasgo-small");
    let before = weights_hash(&network.state_dict()).unwrap();
    let error = network.load_state_dict(&tensors).unwrap_err().to_string();
    let listed = [
        "missing: backbone.1.num_batches_tracked [], head.2.weight [10, 64]",
        "unexpected: epoch [], fc.weight [10, 64]",
        "of another shape: backbone.0.weight is [16, 3, 5, 5] in the file and [16, 1, 5, 5] in the model, \
         backbone.1.running_var is [16, 1] in the file and [16] in the model",
    ];
    assert!(error.contains(&listed.join("; ")), "{error}");
    assert_eq!(weights_hash(&network.state_dict()).unwrap(), before);
}

/// Runs the Python that has PyTorch; gives back what it printed.
fn pytorch(subcommand: &str, folder: &Path) -> String {
    let python = std::env::var_os("RASGO_PYTHON")
        .expect("set RASGO_PYTHON to a Python interpreter that has torch, torchvision and safetensors");
    let mut command = Command::new(&python);
    let done = command.arg(beside("pytorch_round_trip.py")).arg(subcommand).arg(folder).output();
    let done = done.unwrap_or_else(|error| panic!("RASGO_PYTHON {python:?} does not start: {error}"));
    let printed = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "{subcommand}: {printed}{}", String::from_utf8_lossy(&done.stderr));
    printed
}

/// A model's file as `rasgo train` writes it, from random weights, and its logits for a random input.
fn write_ours(model: &zoo::Model, folder: &Path) {
    // Photos are smaller here than the models are made for: the weights are the same.
    let input = match model.input {
        [3, 224, 224] if model.name != "alexnet" => &[3, 64, 64],
        input => input,
    };
    let batch = |images: usize| Tensor::randn([&[images], input].concat());
    let mut network = network(model.name);
    if network.state_dict().iter().any(|(name, _)| name.ends_with("running_mean")) {
        // Some forwards in training, so that the running statistics are not those of a new network.
        network.train();
        (0..3).for_each(|_| no_grad(|| drop(network.forward(batch(8)).unwrap())));
        network.eval();
    }
    let x = batch(if model.name == "alexnet" { 1 } else { 3 });
    let ours = logits(&network, &x);
    let values = Tensor::from_vec(ours.clone(), [x.shape()[0], model.classes]).unwrap();
    let disk = Disk::default();
    let both = [("input".to_string(), x.clone()), ("logits".to_string(), values)];
    let file = folder.join(format!("{}.logits.safetensors", model.name));
    safetensors::save(&disk, file, &both, &BTreeMap::new()).unwrap();
    let info = ModelInfo {
        classes: (0..model.classes).map(|class| class.to_string()).collect(),
        normalize: Normalize::new(vec![0.0; model.input[0]], vec![1.0; model.input[0]]).unwrap(),
        resize: ResizeRule::default(),
        data: "none".to_string(),
        views: Views::ONE,
        precision: Precision::F32,
    };
    let file = folder.join(format!("{}.safetensors", model.name));
    info.save(&network, &disk, &file).unwrap();
    let back = SavedModel::load(&file).unwrap();
    assert_eq!(logits(&back.network, &x), ours, "{}", model.name);
}

/// Takes a minute, and a gigabyte in the folder for temporary files.
#[test]
#[ignore = "needs PyTorch: set RASGO_PYTHON to a Python interpreter that has torch, torchvision and safetensors"]
fn weights_of_every_model_go_to_pytorch_and_come_back_with_the_same_logits() {
    random::manual_seed(1);
    let folder = tempfile::tempdir().unwrap();
    zoo::models().iter().for_each(|model| write_ours(model, folder.path()));
    print!("{}", pytorch("check", folder.path()));
    pytorch("save", folder.path());
    for model in zoo::models() {
        let file = |end: &str| folder.path().join(format!("{}{end}", model.name));
        let mut network = network(model.name);
        network.load_state_dict(&safetensors::load(file(".safetensors")).unwrap().tensors).unwrap();
        let theirs = safetensors::load(file(".logits.safetensors")).unwrap();
        let (x, theirs) = (theirs.get("input").unwrap(), theirs.get("logits").unwrap());
        let (difference, largest) =
            assert_same(model.name, &logits(&network, x), &theirs.to_vec::<f32>().unwrap(), 0.0);
        println!("{:14} PyTorch to rasgo: {difference:.2e} of {largest:.2}", model.name);
    }
}
