//! Splits, subsets and statistics.

mod data_made;

use std::sync::Arc;

use data_made::Made;
use rasgo::data::{Dataset, Normalize, Subset, split};
use rasgo::{ErrorKind, settings};

#[test]
fn statistics_are_of_the_given_samples_only_and_exact() {
    let data = Made::new(200);
    let indices: Vec<usize> = (0..150).collect();
    let found = settings::with_threads(3, || Normalize::measure(&data, &indices)).unwrap();
    assert_eq!(found, settings::with_threads(1, || Normalize::measure(&data, &indices)).unwrap());
    for c in 0..2 {
        let values: Vec<f64> = indices
            .iter()
            .flat_map(|&i| Made::values(i)[c * 15..(c + 1) * 15].to_vec())
            .map(|x| f64::from(x) / 255.0)
            .collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let var = values.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / values.len() as f64;
        assert!((f64::from(found.mean[c]) - mean).abs() < 1e-6);
        assert!((f64::from(found.std[c]) - var.sqrt()).abs() < 1e-6);
    }
    assert_ne!(found, Normalize::measure(&data, &(0..151).collect::<Vec<_>>()).unwrap());
    assert!(Normalize::measure(&data, &[]).is_err());
    let mut floats = Made::new(200);
    floats.float = true;
    let same = Normalize::measure(&floats, &indices).unwrap();
    assert!((same.mean[1] - found.mean[1]).abs() < 1e-6 && (same.std[1] - found.std[1]).abs() < 1e-6);
}

#[test]
fn a_split_is_stratified_disjoint_and_follows_from_its_seed() {
    let data: Arc<dyn Dataset> = Arc::new(Made::new(203));
    let (train, held_out) = split(data.clone(), 41, 5).unwrap();
    assert_eq!((train.len(), held_out.len()), (162, 41));
    let mut all = [train.indices(), held_out.indices()].concat();
    all.sort_unstable();
    assert_eq!(all, (0..203).collect::<Vec<_>>());
    for class in 0..4 {
        let count = held_out.labels().unwrap().iter().filter(|&&label| label == class).count();
        assert!((10..=11).contains(&count), "{count} of class {class}");
    }
    assert_eq!(split(data.clone(), 41, 5).unwrap().1.indices(), held_out.indices());
    assert_ne!(split(data.clone(), 41, 6).unwrap().1.indices(), held_out.indices());
    assert!(split(data.clone(), 0, 5).is_err());
    assert!(split(data, 203, 5).is_err());
}

#[test]
fn a_subset_shows_the_samples_of_the_whole() {
    let data: Arc<dyn Dataset> = Arc::new(Made::new(20));
    let part = Subset::new(data.clone(), vec![7, 2]).unwrap();
    assert_eq!((part.len(), part.name(1)), (2, "sample 2".to_string()));
    assert_eq!(part.get(0).unwrap().input.to_vec::<u8>().unwrap(), Made::values(7));
    assert_eq!(part.labels().unwrap(), [3, 2]);
    assert_eq!(part.get(2).unwrap_err().kind(), ErrorKind::Index);
    assert!(Subset::new(data.clone(), vec![20]).is_err());
    assert_ne!(part.fingerprint(), data.fingerprint());
    assert_ne!(part.fingerprint(), Subset::new(data.clone(), vec![2, 7]).unwrap().fingerprint());
    assert_eq!(data.fingerprint(), Made::new(20).fingerprint());
    assert_ne!(data.fingerprint(), Made::new(21).fingerprint());
}
