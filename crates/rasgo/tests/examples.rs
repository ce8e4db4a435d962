//! The two examples of sequences and video, at a size that takes a moment.

#[allow(dead_code, reason = "the example's main is not called")]
#[path = "../examples/06_sequence.rs"]
mod sequence;
#[allow(dead_code, reason = "the example's main is not called")]
#[path = "../examples/07_video.rs"]
mod video;

use rasgo::data::{Dataset, open};
use rasgo::formats::Disk;

/// The values of a sample, sorted: all but their order.
fn sorted(data: &dyn Dataset, index: usize) -> Vec<u64> {
    let mut values: Vec<u64> =
        data.get(index).unwrap().input.to_f64_vec().unwrap().into_iter().map(f64::to_bits).collect();
    values.sort_unstable();
    values
}

#[test]
fn shuffled_samples_have_the_same_values_and_labels_in_another_order() {
    let pairs = [
        (sequence::melodies(12, 6, true), sequence::melodies(12, 6, false)),
        (video::videos(8, 4, true).unwrap(), video::videos(8, 4, false).unwrap()),
    ];
    for (ours, shuffled) in pairs {
        assert_eq!(ours.train.labels().unwrap(), shuffled.train.labels().unwrap());
        for i in 0..ours.train.len() {
            assert_eq!(sorted(&*ours.train, i), sorted(&*shuffled.train, i));
            let values = |data: &dyn Dataset| data.get(i).unwrap().input.to_f64_vec().unwrap();
            assert_ne!(values(&*ours.train), values(&*shuffled.train));
        }
    }
}

#[test]
fn a_few_series_are_trained_on_and_the_file_holds_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let data = sequence::melodies(300, 60, true);
    let path = folder.path().join("melodies.safetensors");
    data.save(&Disk::default(), &path).unwrap();
    let back = open(&path).unwrap();
    assert_eq!(sorted(&*back.train, 5), sorted(&*data.train, 5));
    assert_eq!(back.train.classes()[0], "low-middle-high");
    let accuracy = sequence::train_and_test(data, 1, &folder.path().join("run")).unwrap();
    assert!((0.0..=1.0).contains(&accuracy));
}

#[test]
fn a_few_videos_are_trained_on() {
    let folder = tempfile::tempdir().unwrap();
    let data = video::videos(160, 40, true).unwrap();
    let accuracy = video::train_and_test(data, 1, &folder.path().join("run")).unwrap();
    assert!((0.0..=1.0).contains(&accuracy));
}
