//! Training on a small data set of one's own: what may change a result, and what may not.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rasgo::ErrorKind;
use rasgo::data::Splits;
use rasgo::formats::Disk;
use rasgo::optim::{Rule, Schedule};
use rasgo::prelude::*;
use rasgo::train::{AugmentConfig, Observer, Outcome, Precision, Progress, Silent, Views};

/// Bright upper or lower halves.
struct Halves {
    shape: Shape,
    classes: Vec<String>,
    len: usize,
}

impl Dataset for Halves {
    fn len(&self) -> usize {
        self.len
    }

    fn get(&self, index: usize) -> Result<Sample> {
        let label = index % 2;
        let pixels = (0..64).map(|i| {
            let bright = usize::from(i < 32) == label;
            (usize::from(bright) * 150 + (i * 31 + index * 17) % 90) as u8
        });
        Ok(Sample { input: Tensor::from_vec(pixels.collect(), [1, 8, 8])?, label: label as i64 })
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn shape(&self) -> &Shape {
        &self.shape
    }
}

fn halves(len: usize) -> Arc<dyn Dataset> {
    Arc::new(Halves { shape: [1, 8, 8].into(), classes: vec!["lower".into(), "upper".into()], len })
}

const LAYERS: &str = r#"
input = [1, 8, 8]
[[layer]]
type = "Conv2d"
out_channels = 4
kernel_size = 3
[[layer]]
type = "BatchNorm2d"
[[layer]]
type = "ReLU"
[[layer]]
type = "MaxPool2d"
kernel_size = 2
[[layer]]
type = "Flatten"
[[layer]]
type = "Dropout"
p = 0.2
[[layer]]
type = "Linear"
"#;

struct Place {
    folder: tempfile::TempDir,
    config: TrainConfig,
}

impl Place {
    fn new() -> Place {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("net.toml");
        std::fs::write(&model, LAYERS).unwrap();
        let config = TrainConfig {
            data: "halves".into(),
            model: Some(model.to_str().unwrap().into()),
            epochs: 2,
            batch_size: Some(8),
            held_out: Some(10),
            seed: 3,
            ..TrainConfig::default()
        };
        Place { folder, config }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, name: &str) -> Outcome {
        trainer().run(&self.config, self.path(name), &mut Silent).unwrap()
    }
}

fn trainer() -> Trainer {
    let description = "halves".to_string();
    Trainer::new().data(Splits { train: halves(60), test: Some(halves(20)), description })
}

/// Stops after a number of steps.
struct StopAfter(u64);

impl Observer for StopAfter {
    fn step(&mut self, _: Progress) -> bool {
        self.0 -= 1;
        self.0 > 0
    }
}

fn all_lines(folder: &Path) -> usize {
    std::fs::read_to_string(folder.join("metrics.jsonl")).unwrap().lines().count()
}

#[test]
fn a_run_that_is_stopped_after_any_step_goes_on_to_the_same_bits() {
    let mut place = Place::new();
    place.config.accumulate = 2;
    place.config.ema = 0.9;
    place.config.clip_grad_norm = 0.5;
    let whole = place.run("whole").metrics;
    assert_eq!(whole.step, 6, "50 images, 16 a step, two epochs");
    for stop in 1..=6 {
        let folder = place.path(&format!("stopped{stop}"));
        let error = trainer().run(&place.config, &folder, &mut StopAfter(stop)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Interrupted);
        assert!(error.hint_text().unwrap().contains("--resume"), "{error}");
        let metrics = trainer().resume(&folder, &mut Silent).unwrap().metrics;
        assert_eq!(metrics.weights_hash, whole.weights_hash, "stopped after step {stop}");
        assert_eq!(metrics.train_loss, whole.train_loss);
        assert_eq!(all_lines(&folder), 2);
    }
    assert!(trainer().resume(place.path("whole"), &mut Silent).unwrap().was_finished);
    std::fs::remove_file(place.path("whole/model.safetensors")).unwrap();
    assert!(trainer().resume(place.path("whole"), &mut Silent).unwrap().was_finished);
    assert!(place.path("whole/model.safetensors").exists(), "a lost model is written again");
}

#[test]
fn every_rule_goes_on_after_a_stop_and_at_any_number_of_threads_to_the_same_bits() {
    let mut place = Place::new();
    place.config.epochs = 1;
    let (betas, eps) = ((0.9, 0.99), 1e-8);
    let rules = [
        ("rmsprop", Rule::RmsProp { alpha: 0.9, eps, momentum: 0.9, centered: true }),
        ("muon", Rule::Muon { momentum: 0.95, nesterov: true, betas, eps }),
        ("amsgrad", Rule::AdamW { betas, eps, amsgrad: true }),
    ];
    for (name, rule) in rules {
        place.config.optimizer = rule;
        let whole = place.run(name).metrics.weights_hash;
        let folder = place.path(&format!("{name}-stopped"));
        assert!(trainer().run(&place.config, &folder, &mut StopAfter(2)).is_err());
        assert_eq!(trainer().resume(&folder, &mut Silent).unwrap().metrics.weights_hash, whole, "{name}");
        for threads in 1..=3 {
            let run = || place.run(&format!("{name}-{threads}")).metrics.weights_hash;
            assert_eq!(rasgo::settings::with_threads(threads, run), whole, "{name}, {threads} threads");
        }
    }
}

#[test]
fn workers_and_checkpoints_change_no_bit() {
    let mut place = Place::new();
    place.config.augment =
        Some(AugmentConfig { rotation: 20.0, scale: 0.2, shift: 1.0, flip: true, crop: 2, cutout: 3 });
    let whole = place.run("whole").metrics.weights_hash;
    for workers in [1, 4] {
        let often = trainer().workers(workers).checkpoint_every(Duration::ZERO);
        let metrics =
            often.run(&place.config, place.path(&format!("w{workers}")), &mut Silent).unwrap().metrics;
        assert_eq!(metrics.weights_hash, whole, "{workers} workers");
    }
    place.config.augment =
        Some(AugmentConfig { rotation: 20.0, scale: 0.2, shift: 1.0, flip: true, crop: 3, cutout: 3 });
    assert_ne!(place.run("other").metrics.weights_hash, whole);
}

#[test]
fn whatever_write_fails_the_run_can_go_on_to_the_same_bits() {
    let mut place = Place::new();
    place.config.epochs = 1;
    place.config.batch_size = Some(24);
    let counting = Disk::default();
    let often = || trainer().checkpoint_every(Duration::ZERO);
    let outcome =
        often().disk(counting.clone()).run(&place.config, place.path("whole"), &mut Silent).unwrap();
    let whole = outcome.metrics.weights_hash;
    let operations = counting.operations();
    assert!(operations > 40, "{operations}");
    type Fault = fn(u64) -> Disk;
    for (name, fault) in [("full", Disk::failing_at as Fault), ("crash", Disk::crashing_at as Fault)] {
        for n in 1..=operations {
            let folder = place.path(&format!("{name}{n}"));
            let result = often().disk(fault(n)).run(&place.config, &folder, &mut Silent);
            if let Err(error) = &result {
                assert_eq!(error.kind(), ErrorKind::Io, "{error}");
                assert!(error.to_string().contains(name_of(&folder)), "{error}");
            }
            let again = match folder.join("config.toml").exists() {
                true => {
                    // Going on may meet the same fault.
                    let _ = often().disk(fault(n.div_ceil(3))).resume(&folder, &mut Silent);
                    trainer().resume(&folder, &mut Silent)
                }
                false => trainer().run(&place.config, &folder, &mut Silent),
            };
            let metrics = again.unwrap_or_else(|error| panic!("{name} {n}: {error}")).metrics;
            assert_eq!(metrics.weights_hash, whole, "{name} {n}");
            assert_eq!(all_lines(&folder), 1, "{name} {n}");
            let model = train::SavedModel::load(&folder).unwrap();
            assert_eq!(rasgo::formats::weights_hash(&model.network.state_dict()).unwrap(), whole);
        }
    }
}

fn name_of(folder: &Path) -> &str {
    folder.file_name().unwrap().to_str().unwrap()
}

#[test]
fn a_loss_that_is_not_finite_ends_the_run_and_keeps_the_last_checkpoint() {
    let mut place = Place::new();
    place.config.lr = 1e30;
    place.config.schedule = Schedule::Constant;
    place.config.warmup = 0.0;
    let folder = place.path("nan");
    let error = trainer().run(&place.config, &folder, &mut Silent).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFinite);
    let text = error.to_string();
    assert!(text.contains("at step ") && text.contains("--lr") && text.contains("checkpoint"), "{text}");
    assert!(!folder.join("model.safetensors").exists());
    let latest = std::fs::read_to_string(folder.join("checkpoint/latest")).unwrap();
    let checkpoint = rasgo::formats::safetensors::load(folder.join("checkpoint").join(latest)).unwrap();
    for (name, tensor) in checkpoint.tensors {
        assert!(tensor.to_f64_vec().unwrap().iter().all(|x| x.is_finite()), "{name}");
    }
}

#[test]
fn accumulated_batches_step_like_one_large_batch() {
    let mut place = Place::new();
    // Statistics and dropout depend on the batch: leave them out.
    let lines: Vec<&str> =
        LAYERS.split("[[layer]]").filter(|part| !part.contains("Norm") && !part.contains("Drop")).collect();
    std::fs::write(place.path("net.toml"), lines.join("[[layer]]")).unwrap();
    place.config.optimizer = Rule::Sgd { momentum: 0.9, dampening: 0.0, nesterov: false };
    place.config.batch_size = Some(16);
    let large = weights(&place.run("large"));
    place.config.batch_size = Some(4);
    place.config.accumulate = 4;
    let small = weights(&place.run("small"));
    let first = weights(&{
        place.config.seed += 1;
        place.run("seed")
    });
    let distance = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(distance(&large, &small) < 1e-5, "{}", distance(&large, &small));
    assert!(distance(&large, &first) > 1e-2);
}

fn weights(outcome: &Outcome) -> Vec<f32> {
    let model = train::SavedModel::load(&outcome.folder).unwrap();
    model.network.state_dict().iter().flat_map(|(_, tensor)| tensor.to_vec::<f32>().unwrap()).collect()
}

#[test]
fn changed_data_or_a_changed_model_file_is_not_resumed() {
    let place = Place::new();
    let folder = place.path("run");
    trainer().run(&place.config, &folder, &mut StopAfter(2)).unwrap_err();
    let other = Splits { train: halves(58), test: None, description: "other".into() };
    let error = Trainer::new().data(other).resume(&folder, &mut Silent).unwrap_err();
    assert!(error.to_string().contains("the data has changed"), "{error}");
    std::fs::write(place.path("net.toml"), LAYERS.replace("p = 0.2", "p = 0.3")).unwrap();
    let error = trainer().resume(&folder, &mut Silent).unwrap_err();
    assert!(error.to_string().contains("the model file has changed"), "{error}");
}

/// A run that was stopped after its first steps.
fn stopped(place: &Place, name: &str) -> std::path::PathBuf {
    let folder = place.path(name);
    trainer().run(&place.config, &folder, &mut StopAfter(2)).unwrap_err();
    folder
}

#[test]
fn a_damaged_pointer_to_the_checkpoint_is_named_and_the_checkpoint_stays() {
    let place = Place::new();
    let whole = place.run("whole").metrics.weights_hash;
    let folder = stopped(&place, "stopped");
    let latest = folder.join("checkpoint/latest");
    let good = std::fs::read_to_string(&latest).unwrap();
    let victim = place.path("notes.txt");
    std::fs::write(&victim, "mine").unwrap();
    let damage: [Option<&str>; 4] = [None, Some(""), Some("00000099.safetensorz"), Some("../../notes.txt")];
    for text in damage {
        match text {
            Some(text) => std::fs::write(&latest, text).unwrap(),
            None => std::fs::remove_file(&latest).unwrap(),
        }
        let error = trainer().resume(&folder, &mut Silent).unwrap_err();
        assert!(error.to_string().contains("latest"), "{text:?}: {error}");
        assert!(folder.join("checkpoint").join(&good).exists(), "{text:?}");
    }
    assert!(victim.exists());
    std::fs::write(&latest, format!("{good}\n")).unwrap();
    assert_eq!(trainer().resume(&folder, &mut Silent).unwrap().metrics.weights_hash, whole);
}

#[test]
fn a_run_does_not_begin_over_what_another_left() {
    let place = Place::new();
    for left in ["metrics.jsonl", "model.safetensors", "checkpoint/latest", "config.toml"] {
        let folder = place.path(&left.replace('/', "-"));
        std::fs::create_dir_all(folder.join(left).parent().unwrap()).unwrap();
        std::fs::write(folder.join(left), "../../notes.txt").unwrap();
        let error = trainer().run(&place.config, &folder, &mut Silent).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Exists, "{left}: {error}");
        assert_eq!(std::fs::read_to_string(folder.join(left)).unwrap(), "../../notes.txt");
    }
    // What is not of a run is not in the way.
    let folder = place.path("mine");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("notes.txt"), "mine").unwrap();
    trainer().run(&place.config, &folder, &mut Silent).unwrap();
}

#[test]
fn two_do_not_train_in_one_folder() {
    struct Intruder<'a>(&'a Place, std::path::PathBuf, Vec<ErrorKind>);
    impl Observer for Intruder<'_> {
        fn step(&mut self, _: Progress) -> bool {
            self.2.push(trainer().resume(&self.1, &mut Silent).unwrap_err().kind());
            self.2.push(trainer().run(&self.0.config, &self.1, &mut Silent).unwrap_err().kind());
            true
        }
    }
    let place = Place::new();
    let whole = place.run("whole").metrics.weights_hash;
    let mut intruder = Intruder(&place, place.path("shared"), Vec::new());
    let metrics = trainer().run(&place.config, place.path("shared"), &mut intruder).unwrap().metrics;
    assert_eq!(metrics.weights_hash, whole);
    assert!(!intruder.2.is_empty() && intruder.2.iter().all(|kind| *kind == ErrorKind::Exists));
}

#[test]
fn a_changed_configuration_is_not_resumed() {
    let place = Place::new();
    let folder = stopped(&place, "stopped");
    let path = folder.join("config.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let precision = ("seed = 3\n", "seed = 3\nprecision = \"bf16\"\n");
    for (from, to) in [("epochs = 2", "epochs = 1"), ("lr = 0.01", "lr = 0.02"), ("adamw", "adam"), precision]
    {
        assert!(text.contains(from), "{text}");
        std::fs::write(&path, text.replace(from, to)).unwrap();
        let error = trainer().resume(&folder, &mut Silent).unwrap_err();
        assert!(error.to_string().contains("config.toml has changed"), "{error}");
    }
}

#[test]
fn numbers_that_no_run_can_use_are_refused_before_anything_is_made() {
    let place = Place::new();
    let adam = |betas, eps| Rule::AdamW { betas, eps, amsgrad: false };
    let changes: [&dyn Fn(&mut TrainConfig); 8] = [
        &|c| c.optimizer = adam((1.0, 0.9), 1e-8),
        &|c| c.optimizer = adam((0.9, f64::NAN), 1e-8),
        &|c| c.optimizer = adam((0.9, 0.9), 0.0),
        &|c| c.optimizer = Rule::Sgd { momentum: f64::NAN, dampening: 0.0, nesterov: false },
        &|c| c.lr = f64::INFINITY,
        &|c| c.ema = 1.0,
        &|c| c.clip_grad_norm = -1.0,
        &|c| c.batch_size = Some(usize::MAX),
    ];
    for (i, change) in changes.iter().enumerate() {
        let mut config = place.config.clone();
        change(&mut config);
        let error = trainer().run(&config, place.path("none"), &mut Silent).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Argument, "{i}: {error}");
        assert!(!place.path("none").exists(), "{i}");
    }
}

#[test]
fn a_mirrored_model_gives_an_image_and_its_mirror_image_the_same_everywhere() {
    let mut place = Place::new();
    place.config.epochs = 1;
    place.config.views.flip = true;
    let outcome = place.run("run");
    let test = outcome.test.as_ref().unwrap();
    let mut model = train::SavedModel::load(&outcome.folder).unwrap();
    let image = halves(20).get(3).unwrap().input;
    let mirror = image.flip(&[2]).unwrap();
    let mean = model.predict(&image).unwrap();
    assert_eq!(model.predict(&mirror).unwrap(), mean);
    let rows = model.predict_all(&[image.clone(), mirror.clone()]).unwrap().to_vec::<f32>().unwrap();
    assert_eq!(rows, [&mean[..], &mean[..]].concat());
    let options = LoaderOptions::new().normalize(model.info.normalize.clone());
    let loader = Loader::new(halves(20), options).unwrap();
    let loss = |model: &train::SavedModel| train::evaluate_by(|x| model.forward(x), &loader).unwrap().loss;
    assert!((loss(&model) - test.loss).abs() < 1e-6, "{} {}", loss(&model), test.loss);

    model.info.views = Views::ONE;
    assert_ne!(model.predict(&image).unwrap(), model.predict(&mirror).unwrap());
    assert!((loss(&model) - test.loss).abs() > 1e-6);
}

#[test]
fn a_run_in_bf16_goes_on_to_the_same_bits_and_its_model_is_measured_in_bf16() {
    let mut place = Place::new();
    place.config.views.flip = true;
    let of_f32 = place.run("f32").metrics.weights_hash;
    place.config.precision = Precision::Bf16;
    let outcome = place.run("whole");
    assert_ne!(outcome.metrics.weights_hash, of_f32);
    let folder = place.path("stopped");
    trainer().run(&place.config, &folder, &mut StopAfter(7)).unwrap_err();
    let again = trainer().resume(&folder, &mut Silent).unwrap().metrics;
    assert_eq!(again.weights_hash, outcome.metrics.weights_hash);
    assert_eq!((again.val_loss, again.test_loss), (outcome.metrics.val_loss, outcome.metrics.test_loss));

    let mut model = train::SavedModel::load(&outcome.folder).unwrap();
    let options = LoaderOptions::new().batch_size(250).normalize(model.info.normalize.clone());
    let loader = Loader::new(halves(20), options).unwrap();
    let loss = |model: &train::SavedModel| train::evaluate_by(|x| model.forward(x), &loader).unwrap().loss;
    assert_eq!(Some(loss(&model)), outcome.metrics.test_loss);
    model.info.precision = Precision::F32;
    assert_ne!(Some(loss(&model)), outcome.metrics.test_loss);
}

#[test]
fn only_images_have_views() {
    let x = Tensor::rand([20, 2, 8]);
    let y = Tensor::from_vec((0..20i64).map(|i| i % 2).collect(), [20]).unwrap();
    let series = rasgo::data::ArrayDataset::new(x, y).unwrap();
    let views = Views { flip: true, shift: 0 };
    let config = TrainConfig { views, ..TrainConfig::default() };
    let error = config.for_data(&series).unwrap_err();
    assert!(error.to_string().contains("[views] are of images, and these are sequences"), "{error}");
}

#[test]
fn a_network_for_other_classes_is_refused() {
    let place = Place::new();
    let outcome = place.run("run");
    let model = train::SavedModel::load(&outcome.folder).unwrap();
    let network = model.network.with_classes(3).unwrap();
    let loader = Loader::new(halves(20), LoaderOptions::new()).unwrap();
    let error = train::evaluate(&network, &loader).unwrap_err();
    assert!(error.to_string().contains("2 classes"), "{error}");
    // The names of the classes and the network must agree in a file.
    let path = place.path("other.safetensors");
    model.info.save(&network, &Disk::default(), &path).unwrap();
    let error = train::SavedModel::load(&path).unwrap_err();
    assert!(error.to_string().contains("names 2 classes, and the network has 3"), "{error}");
}

#[test]
fn the_recipe_for_cifar10_is_whole() {
    let file = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bench").join(name);
    TrainConfig::read(file("cifar10.toml")).unwrap().check().unwrap();
    let architecture = rasgo::zoo::Architecture::read(file("cifar10_net.toml")).unwrap();
    let network = architecture.build_for(&[3, 32, 32], 10).unwrap();
    assert_eq!(network.parameter_count(), 1_978_026);
}
