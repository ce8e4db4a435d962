//! Batches: the same to the bit for any number of threads and workers, whatever happens in between.

mod data_made;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use data_made::Made;
use rasgo::data::{Augment, Batch, Dataset, Loader, LoaderOptions, Normalize, Sample, batch_of};
use rasgo::{ErrorKind, Result, Shape, Tensor, settings};

type Bits = Vec<(Vec<u32>, Vec<i64>, Vec<usize>)>;

fn bits(batch: &Batch) -> (Vec<u32>, Vec<i64>, Vec<usize>) {
    let values = batch.input.to_vec::<f32>().unwrap().into_iter().map(f32::to_bits).collect();
    (values, batch.target.to_vec().unwrap(), batch.indices.clone())
}

fn epoch_bits(loader: &Loader, epoch: u64) -> Bits {
    loader.epoch(epoch).map(|batch| bits(&batch.unwrap())).collect()
}

fn full() -> LoaderOptions {
    let augment =
        Augment { rotation: 20.0, scale: (0.8, 1.2), shift: 1.5, shear: 5.0, flip: true, crop: 2, cutout: 4 };
    LoaderOptions::new()
        .batch_size(7)
        .shuffle(11)
        .augment(augment)
        .normalize(Normalize::new(vec![0.4, 0.6], vec![0.2, 0.3]).unwrap())
}

fn loader(options: LoaderOptions) -> Loader {
    Loader::new(Arc::new(Made::new(50)), options).unwrap()
}

#[test]
fn batches_are_the_same_for_any_number_of_workers_and_threads() {
    let expected = settings::with_threads(1, || epoch_bits(&loader(full()), 3));
    assert_eq!(expected.len(), 8);
    for workers in [0, 1, 4] {
        for threads in [1, 2, 3] {
            let found = settings::with_threads(threads, || epoch_bits(&loader(full().workers(workers)), 3));
            assert!(found == expected, "{workers} workers, {threads} threads");
        }
    }
}

#[test]
fn an_epoch_continues_at_any_batch() {
    for workers in [0, 2] {
        let loader = loader(full().workers(workers));
        let whole = epoch_bits(&loader, 1);
        for first in [0, 1, 5, 7, 8, 100] {
            let rest: Bits = loader.epoch_from(1, first).map(|batch| bits(&batch.unwrap())).collect();
            assert!(rest == whole[first.min(8)..], "{first}");
            assert_eq!(loader.epoch_from(1, first).len(), 8 - first.min(8));
        }
    }
}

#[test]
fn each_epoch_has_every_sample_once_in_another_order() {
    let loader = loader(full());
    let orders: Vec<Vec<usize>> = (0..3)
        .map(|epoch| epoch_bits(&loader, epoch).into_iter().flat_map(|batch| batch.2).collect())
        .collect();
    for order in &orders {
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..50).collect::<Vec<_>>());
        assert_ne!(*order, sorted);
    }
    assert_ne!(orders[0], orders[1]);
    assert_ne!(orders[1], orders[2]);
}

#[test]
fn augmentation_follows_from_seed_epoch_and_sample_and_not_from_the_batch() {
    let by_sample = |options: LoaderOptions, epoch: u64| {
        let mut found = vec![Vec::new(); 50];
        for (values, _, indices) in epoch_bits(&loader(options), epoch) {
            for (i, index) in indices.iter().enumerate() {
                found[*index] = values[i * 30..(i + 1) * 30].to_vec();
            }
        }
        found
    };
    let expected = by_sample(full(), 2);
    assert!(by_sample(full().batch_size(13).workers(3), 2) == expected);
    assert!(by_sample(full().shuffle(99).augment_seed(11), 2) == expected);
    assert!(by_sample(full(), 3) != expected);
    assert!(by_sample(full().augment_seed(12), 2) != expected);
}

#[test]
fn bytes_are_scaled_and_normalised_as_pytorch_does_and_floats_only_normalised() {
    let (mean, std) = ([0.4f32, 0.6], [0.2f32, 0.3]);
    let normalize = Normalize::new(mean.to_vec(), std.to_vec()).unwrap();
    let options = LoaderOptions::new().batch_size(4).indices(vec![9, 3, 9]).normalize(normalize.clone());
    let mut floats = Made::new(50);
    floats.float = true;
    let (bytes, floats): (Arc<dyn Dataset>, Arc<dyn Dataset>) = (Arc::new(Made::new(50)), Arc::new(floats));
    let batch = Loader::new(bytes.clone(), options.clone()).unwrap().epoch(0).next().unwrap().unwrap();
    assert_eq!(batch.input.shape()[..], [3, 2, 5, 3]);
    assert!(batch.input.meta().is_channels_last());
    assert_eq!(batch.target.to_vec::<i64>().unwrap(), [1, 3, 1]);
    assert_eq!((batch.len(), batch.indices.clone()), (3, vec![9, 3, 9]));
    let found = batch.input.to_vec::<f32>().unwrap();
    for (n, index) in [9, 3, 9].into_iter().enumerate() {
        for (i, byte) in Made::values(index).into_iter().enumerate() {
            let c = i / 15;
            assert_eq!(found[n * 30 + i], (f32::from(byte) / 255.0 - mean[c]) / std[c]);
        }
    }
    let same = Loader::new(floats, options).unwrap().epoch(0).next().unwrap().unwrap();
    assert_eq!(bits(&same), bits(&batch));
    // Prediction goes the same way.
    let images: Vec<Tensor> = [9, 3, 9].into_iter().map(|i| bytes.get(i).unwrap().input).collect();
    let stacked = batch_of(&images, Some(&normalize)).unwrap();
    assert_eq!(stacked.to_vec::<f32>().unwrap(), found);
    assert!(stacked.meta().is_channels_last());
}

#[test]
fn an_augmentation_that_changes_nothing_gives_the_same_bits_as_none() {
    let normalize = Normalize::new(vec![0.4, 0.6], vec![0.2, 0.3]).unwrap();
    let options = LoaderOptions::new().normalize(normalize);
    let plain = epoch_bits(&loader(options.clone()), 0);
    assert!(epoch_bits(&loader(options.augment(Augment::default())), 0) == plain);
}

#[test]
fn the_last_batch_is_kept_or_dropped() {
    assert_eq!(loader(LoaderOptions::new().batch_size(16)).batches(), 4);
    let dropped = loader(LoaderOptions::new().batch_size(16).drop_last(true));
    assert_eq!((dropped.batches(), dropped.epoch(0).count()), (3, 3));
    assert_eq!(loader(LoaderOptions::new().batch_size(25)).epoch(0).len(), 2);
    assert_eq!(loader(LoaderOptions::new().batch_size(1000)).batches(), 1);
}

#[test]
fn a_failing_sample_is_an_error_at_its_batch_and_the_others_come() {
    for workers in [0, 1, 4] {
        let mut data = Made::new(50);
        (data.fails, data.panics) = (Some(23), Some(37));
        let loader =
            Loader::new(Arc::new(data), LoaderOptions::new().batch_size(10).workers(workers)).unwrap();
        let batches: Vec<Result<Batch>> = loader.epoch(0).collect();
        let good: Vec<bool> = batches.iter().map(Result::is_ok).collect();
        assert_eq!(good, [true, true, false, false, true]);
        let error = batches[2].as_ref().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Format);
        assert_eq!(error.to_string(), "sample 23: photo.jpg: is truncated; download it again");
        let error = batches[3].as_ref().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Data);
        assert_eq!(error.to_string(), "sample 37: the data set panicked: no such pixel");
    }
}

#[test]
fn an_iterator_that_is_dropped_early_ends_its_workers_and_reads_little_ahead() {
    for workers in [1, 4] {
        for taken in [0, 1, 3] {
            let data = Arc::new(Made::new(10_000));
            let loader =
                Loader::new(data.clone(), LoaderOptions::new().batch_size(10).workers(workers)).unwrap();
            let mut epoch = loader.epoch(0);
            for _ in 0..taken {
                epoch.next().unwrap().unwrap();
            }
            drop(epoch);
            let read = data.read.load(Ordering::Relaxed);
            assert!(
                read <= (taken + 2 * workers) * 10,
                "{read} samples for {taken} batches, {workers} workers"
            );
            std::thread::sleep(std::time::Duration::from_millis(5));
            assert_eq!(data.read.load(Ordering::Relaxed), read);
        }
    }
}

#[test]
fn samples_that_do_not_fit_are_named() {
    struct Odd(Made, i64);
    impl Dataset for Odd {
        fn len(&self) -> usize {
            3
        }
        fn get(&self, index: usize) -> Result<Sample> {
            let sizes = if index == 1 && self.1 == 0 { [2, 3, 5] } else { [2, 5, 3] };
            Ok(Sample { input: Tensor::from_vec(vec![0u8; 30], sizes)?, label: self.1 })
        }
        fn classes(&self) -> &[String] {
            self.0.classes()
        }
        fn shape(&self) -> &Shape {
            self.0.shape()
        }
        fn name(&self, index: usize) -> String {
            format!("photos/{index}.png")
        }
    }
    let first = |label: i64| {
        let loader = Loader::new(Arc::new(Odd(Made::new(3), label)), LoaderOptions::new()).unwrap();
        loader.epoch(0).next().unwrap().unwrap_err().to_string()
    };
    assert!(first(0).starts_with("sample 1 (photos/1.png): has the shape [2, 3, 5]"), "{}", first(0));
    assert!(first(4).contains("sample 0 (photos/0.png): has the label 4, and there are 4 classes"));
    assert!(first(-1).contains("has the label -1"));
}

#[test]
fn options_that_make_no_sense_are_refused_with_a_hint() {
    let nan = Normalize { mean: vec![f32::NAN, 0.0], std: vec![1.0, 1.0] };
    let zero = Normalize { mean: vec![0.0, 0.0], std: vec![1.0, 0.0] };
    let grey = Normalize::new(vec![0.5], vec![0.5]).unwrap();
    let new = LoaderOptions::new;
    let cases = [
        (new().batch_size(0), "batch size of 0"),
        (new().workers(100_000), "100000 workers"),
        (new().indices(vec![]), "no samples"),
        (new().indices(vec![3, 50]), "no sample 50"),
        (new().batch_size(51).drop_last(true), "no batch of 51"),
        (new().normalize(nan), "mean NaN"),
        (new().normalize(zero), "deviation 0"),
        (new().normalize(grey), "1 means and 1 deviations for 2 channels"),
        (new().augment(Augment { shift: -1.0, ..Augment::default() }), "shift -1"),
        (new().augment_seed(1), "without augmentation"),
    ];
    for (options, part) in cases {
        let error = Loader::new(Arc::new(Made::new(50)), options).unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
        assert!(error.hint_text().is_some(), "{error}");
    }
    assert!(Loader::new(Arc::new(Made::new(0)), new()).is_err());
    assert!(batch_of(&[], None).is_err());
}
