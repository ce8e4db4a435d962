//! Threads: what many compute at once with one model is what one computes alone.

mod data_made;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

use data_made::Made;
use rasgo::data::{Augment, Loader, LoaderOptions, Normalize};
use rasgo::formats::{ResizeRule, weights_hash};
use rasgo::nn::{self, Module, ModuleExt, Sequential};
use rasgo::optim::Optimizer;
use rasgo::train::{ModelInfo, Precision, SavedModel, Views};
use rasgo::{ErrorKind, Result, Tensor, no_grad, random, settings, zoo};

const THREADS: usize = 8;

/// Runs `compute` for every image alone, then for all of them on eight threads at once, each in another order.
fn expect_the_same_bits_at_once(what: &str, images: &[Tensor], compute: impl Fn(&Tensor) -> Vec<f32> + Sync) {
    let bits = |image: &Tensor| -> Vec<u32> { compute(image).into_iter().map(f32::to_bits).collect() };
    let alone: Vec<Vec<u32>> = images.iter().map(bits).collect();
    assert!(alone.windows(2).all(|pair| pair[0] != pair[1]), "{what}: the images are told apart");
    thread::scope(|scope| {
        for first in 0..THREADS {
            let (alone, bits) = (&alone, &bits);
            scope.spawn(move || {
                for i in (0..2 * images.len()).map(|i| (first + i) % images.len()) {
                    assert!(bits(&images[i]) == alone[i], "{what}: image {i} in thread {first}");
                }
            });
        }
    });
}

#[test]
fn a_model_predicts_from_eight_threads_at_once_what_it_predicts_alone() {
    for model in zoo::models().iter().filter(|model| model.input != [3, 224, 224]) {
        let mut network = model.architecture().build().unwrap();
        network.eval();
        let saved = SavedModel {
            network,
            info: ModelInfo {
                classes: (0..model.classes).map(|class| class.to_string()).collect(),
                normalize: Normalize::new(vec![0.1; model.input[0]], vec![0.3; model.input[0]]).unwrap(),
                resize: ResizeRule::default(),
                data: "mnist".to_string(),
                views: Views::ONE,
                precision: Precision::F32,
            },
        };
        let images: Vec<Tensor> = (0..10).map(|_| Tensor::rand(model.input.to_vec())).collect();
        expect_the_same_bits_at_once(model.name, &images, |image| saved.predict(image).unwrap());
    }
}

fn conv_norm(classes: usize) -> Sequential {
    Sequential::new()
        .add(nn::Conv2d::new(2, 12, 3).padding(1))
        .add(nn::BatchNorm2d::new(12))
        .add(nn::ReLU())
        .add(nn::Conv2d::new(12, 12, 3).padding(1).groups(12))
        .add(nn::BatchNorm2d::new(12))
        .add(nn::Flatten::new())
        .add(nn::Linear::new(12 * 5 * 3, classes))
}

#[test]
fn batches_of_different_sizes_at_once_share_the_statistics_of_a_normalisation() {
    let mut network = conv_norm(4);
    for _ in 0..3 {
        network.forward(Tensor::randn([16, 2, 5, 3])).unwrap();
    }
    network.eval();
    let batches: Vec<Tensor> = (1..9).map(|n| Tensor::randn([n, 2, 5, 3])).collect();
    expect_the_same_bits_at_once("conv and norm", &batches, |batch| {
        no_grad(|| network.forward(batch.clone()).unwrap().to_vec().unwrap())
    });
}

/// Every tensor of a normalisation, running statistics and count among them.
fn state(norm: &nn::BatchNorm2d) -> Vec<Vec<f64>> {
    norm.state_dict().iter().map(|(_, tensor)| tensor.to_f64_vec().unwrap()).collect()
}

#[test]
fn a_training_forward_during_another_is_an_error_and_changes_nothing() {
    let norm = nn::BatchNorm2d::new(3);
    let before = state(&norm);
    let claim = norm.num_batches_tracked.as_ref().unwrap().claim().unwrap();
    let forward = || norm.forward(Tensor::randn([4, 3, 5, 5]));
    let error = thread::scope(|scope| scope.spawn(|| forward().unwrap_err()).join().unwrap());
    assert_eq!(error.kind(), ErrorKind::State);
    assert!(error.to_string().contains("BatchNorm2d"), "{error}");
    assert!(error.hint_text().unwrap().contains(".eval()"), "{error}");
    assert_eq!(state(&norm), before);
    drop(claim);
    assert!(forward().is_ok());
}

#[test]
fn training_forwards_of_many_threads_each_count_whole_or_not_at_all() {
    // With many channels the statistics take most of a forward, and few forwards leave each update visible in them.
    let x = Tensor::randn([2, 4096, 2, 2]);
    for round in 0..20 {
        let norm = nn::BatchNorm2d::new(4096);
        let alone = norm.clone();
        let (done, start) = (AtomicU64::new(0), Barrier::new(4));
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    start.wait();
                    for _ in 0..10 {
                        match norm.forward(x.clone()) {
                            Ok(_) => _ = done.fetch_add(1, Ordering::Relaxed),
                            Err(error) => assert_eq!(error.kind(), ErrorKind::State),
                        }
                    }
                });
            }
        });
        for _ in 0..done.into_inner() {
            alone.forward(x.clone()).unwrap();
        }
        assert!(state(&norm) == state(&alone), "round {round}");
    }
}

fn weights_after_training(workers: usize) -> Result<String> {
    random::manual_seed(5);
    let mut network = conv_norm(4);
    let augment = Augment { rotation: 10.0, shift: 1.0, flip: true, ..Augment::default() };
    let options = LoaderOptions::new().batch_size(8).shuffle(3).augment(augment).workers(workers);
    let loader = Loader::new(Arc::new(Made::new(50)), options)?;
    let mut opt = Optimizer::adamw(0.01);
    for epoch in 0..3 {
        for batch in loader.epoch(epoch) {
            let batch = batch?;
            let loss = network.forward(batch.input)?.cross_entropy(&batch.target, Default::default())?;
            opt.step(&mut network, loss.backward()?)?;
        }
    }
    weights_hash(&network.state_dict())
}

#[test]
fn trained_weights_are_the_same_for_any_number_of_workers_and_threads() {
    let expected = settings::with_threads(1, || weights_after_training(0)).unwrap();
    for workers in [0, 1, 4] {
        for threads in [1, 3] {
            let found = settings::with_threads(threads, || weights_after_training(workers)).unwrap();
            assert_eq!(found, expected, "{workers} workers, {threads} threads");
        }
    }
}
