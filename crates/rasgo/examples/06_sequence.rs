//! A series whose class is the order of its parts: three notes, low, middle and high, in a noise as loud as they are.
//! `cargo run --release -p rasgo --example 06_sequence`
//!
//! The convolutions hear which note comes after which. The same network, trained on the same series whose blocks of 16
//! steps are in a random order, has every note before it and not their order: it can only guess.
//! With `--write DIR` the data is written, for `rasgo train DIR/melodies.safetensors`.
#![allow(clippy::print_stdout, reason = "an example talks to a person")]

use std::f64::consts::TAU;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use rasgo::data::Splits;
use rasgo::formats::Disk;
use rasgo::prelude::*;
use rasgo::random::Key;

const LENGTH: usize = 256;
/// A whole number of blocks, and so are the places where notes begin: no block has two notes in it.
const NOTE: usize = 64;
const BLOCK: usize = 16;
const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

/// Sample i follows from the seed and i.
struct Melodies {
    seed: u64,
    len: usize,
    in_order: bool,
    shape: Shape,
    classes: Vec<String>,
}

impl Melodies {
    fn new(seed: u64, len: usize, in_order: bool) -> Arc<Melodies> {
        let name = |order: [usize; 3]| order.map(|note| ["low", "middle", "high"][note]).join("-");
        let classes = ORDERS.map(name).to_vec();
        Arc::new(Melodies { seed, len, in_order, shape: [1, LENGTH].into(), classes })
    }
}

impl Dataset for Melodies {
    fn len(&self) -> usize {
        self.len
    }

    fn get(&self, index: usize) -> Result<Sample> {
        let key = Key::new(self.seed, index as u64);
        let between = |position: u64, low: f64, high: f64| low + (high - low) * key.uniform_f64(position);
        let label = index % ORDERS.len();
        let noise = key.named("noise");
        let mut series: Vec<f32> = (0..LENGTH).map(|i| noise.normal(i as u64) as f32).collect();
        let begin = BLOCK * key.below(0, ((LENGTH - 3 * NOTE) / BLOCK + 1) as u64) as usize;
        for (place, note) in ORDERS[label].into_iter().enumerate() {
            let position = 1 + 3 * note as u64;
            let cycles = [0.06, 0.09, 0.13][note] * between(position, 0.9, 1.1);
            let (phase, strength) = (between(position + 1, 0.0, 1.0), between(position + 2, 0.5, 1.0));
            for (i, value) in series[begin + place * NOTE..][..NOTE].iter_mut().enumerate() {
                *value += (strength * (TAU * (cycles * i as f64 + phase)).sin()) as f32;
            }
        }
        if !self.in_order {
            let order = key.named("blocks").permutation(LENGTH / BLOCK);
            series = order.into_iter().flat_map(|block| series[block * BLOCK..][..BLOCK].to_vec()).collect();
        }
        Ok(Sample { input: Tensor::from_vec(series, self.shape.clone())?, label: label as i64 })
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn shape(&self) -> &Shape {
        &self.shape
    }
}

/// Series to train on and others to test on; another seed draws others.
pub(crate) fn melodies(train: usize, test: usize, in_order: bool) -> Splits {
    Splits {
        train: Melodies::new(1, train, in_order),
        test: Some(Melodies::new(2, test, in_order)),
        description: format!("melodies, {}", if in_order { "in order" } else { "in shuffled blocks" }),
    }
}

/// Trains the zoo's model for sequences; the share of the test series whose class it finds.
pub(crate) fn train_and_test(data: Splits, epochs: u64, folder: &Path) -> Result<f64> {
    let config = TrainConfig { data: "melodies".to_string(), epochs, ..TrainConfig::default() };
    let outcome = Trainer::new().data(data).run(&config, folder, &mut train::Silent)?;
    Ok(outcome.test.expect("there are test series").accuracy)
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, folder] = &arguments[..]
        && flag == "--write"
    {
        let path = Path::new(folder).join("melodies.safetensors");
        melodies(12_000, 3_000, true).save(&Disk::default(), &path)?;
        println!("written: {}", path.display());
        return Ok(());
    }
    for (in_order, what) in [(true, "in order"), (false, "blocks shuffled")] {
        let start = Instant::now();
        let folder = format!("runs/example-{}-{}", std::process::id(), what.replace(' ', "-"));
        let accuracy = train_and_test(melodies(12_000, 3_000, in_order), 5, Path::new(&folder))?;
        let seconds = start.elapsed().as_secs_f64();
        println!(
            "{what}: {:.2} % of the test series, {seconds:.1} s; the run is in {folder}",
            100.0 * accuracy
        );
    }
    println!("chance: {:.2} %", 100.0 / ORDERS.len() as f64);
    Ok(())
}
