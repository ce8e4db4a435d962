//! Videos whose class is a direction: MNIST's digits move right, left, down or up.
//! `cargo run --release -p rasgo --example 07_video`
//!
//! A digit goes as one reads: to the end of its line, and on in the next; whoever leaves the picture comes back on the
//! other side. So in nine frames it visits the same nine places whatever its direction, and only the order of the frames
//! tells one from another. The same network, trained on the same videos with their frames in a random order, can only
//! guess. With `--write DIR` the data is written, for `rasgo train DIR/digits.safetensors`.
#![allow(clippy::print_stdout, reason = "an example talks to a person")]

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use rasgo::data::Splits;
use rasgo::formats::Disk;
use rasgo::prelude::*;
use rasgo::random::Key;

/// Frames: three lines of three places.
const FRAMES: usize = 9;
/// Rows and columns of a frame.
const SIZE: usize = 24;
/// Pixels from one place to the next, around the picture in three steps.
const STEP: usize = SIZE / 3;
/// MNIST's digits at half their size.
const DIGIT: usize = 14;
const DIRECTIONS: [&str; 4] = ["right", "left", "down", "up"];

/// Sample i follows from the seed, i, and the digits.
struct MovingDigits {
    digits: Arc<dyn Dataset>,
    seed: u64,
    len: usize,
    in_order: bool,
    shape: Shape,
    classes: Vec<String>,
}

impl MovingDigits {
    fn new(digits: Arc<dyn Dataset>, seed: u64, len: usize, in_order: bool) -> Arc<MovingDigits> {
        let classes = DIRECTIONS.map(String::from).to_vec();
        let shape = [1, FRAMES, SIZE, SIZE].into();
        Arc::new(MovingDigits { digits, seed, len, in_order, shape, classes })
    }
}

impl Dataset for MovingDigits {
    fn len(&self) -> usize {
        self.len
    }

    fn get(&self, index: usize) -> Result<Sample> {
        let key = Key::new(self.seed, index as u64);
        let below = |position: u64, end: usize| key.below(position, end as u64) as usize;
        let label = index % DIRECTIONS.len();
        let digit = self.digits.get(below(0, self.digits.len()))?.input.to_vec::<u8>()?;
        let half = |y: usize, x: usize| {
            let at = |dy: usize, dx: usize| u32::from(digit[(2 * y + dy) * 2 * DIGIT + 2 * x + dx]);
            ((at(0, 0) + at(0, 1) + at(1, 0) + at(1, 1)) / 4) as u8
        };
        let (top, left) = (below(1, SIZE), below(2, SIZE));
        let order = match self.in_order {
            true => (0..FRAMES).collect(),
            false => key.named("frames").permutation(FRAMES),
        };
        let mut video = vec![0u8; FRAMES * SIZE * SIZE];
        for (frame, time) in video.chunks_exact_mut(SIZE * SIZE).zip(order) {
            let time = if label.is_multiple_of(2) { time } else { FRAMES - 1 - time };
            let (line, place) = (time / 3, time % 3);
            let (down, right) = if label < 2 { (line, place) } else { (place, line) };
            for y in 0..DIGIT {
                for x in 0..DIGIT {
                    let row = (top + down * STEP + y) % SIZE;
                    frame[row * SIZE + (left + right * STEP + x) % SIZE] = half(y, x);
                }
            }
        }
        Ok(Sample { input: Tensor::from_vec(video, self.shape.clone())?, label: label as i64 })
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn shape(&self) -> &Shape {
        &self.shape
    }
}

/// Videos of MNIST's training digits to train on, and of its test digits to test on.
pub(crate) fn videos(train: usize, test: usize, in_order: bool) -> Result<Splits> {
    let mnist = data::open("mnist")?;
    let test_digits = mnist.test.expect("MNIST has test images");
    Ok(Splits {
        train: MovingDigits::new(mnist.train, 1, train, in_order),
        test: Some(MovingDigits::new(test_digits, 2, test, in_order)),
        description: format!("moving digits, frames {}", if in_order { "in order" } else { "shuffled" }),
    })
}

/// Trains the zoo's model for video; the share of the test videos whose class it finds.
pub(crate) fn train_and_test(data: Splits, epochs: u64, folder: &Path) -> Result<f64> {
    let config = TrainConfig { data: "moving digits".to_string(), epochs, ..TrainConfig::default() };
    let outcome = Trainer::new().data(data).run(&config, folder, &mut train::Silent)?;
    Ok(outcome.test.expect("there are test videos").accuracy)
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, folder] = &arguments[..]
        && flag == "--write"
    {
        let path = Path::new(folder).join("digits.safetensors");
        videos(4_000, 2_000, true)?.save(&Disk::default(), &path)?;
        println!("written: {}", path.display());
        return Ok(());
    }
    for (in_order, what) in [(true, "in order"), (false, "frames shuffled")] {
        let start = Instant::now();
        let folder = format!("runs/example-{}-{}", std::process::id(), what.replace(' ', "-"));
        let accuracy = train_and_test(videos(4_000, 2_000, in_order)?, 3, Path::new(&folder))?;
        let seconds = start.elapsed().as_secs_f64();
        println!(
            "{what}: {:.2} % of the test videos, {seconds:.1} s; the run is in {folder}",
            100.0 * accuracy
        );
    }
    println!("chance: {:.2} %", 100.0 / DIRECTIONS.len() as f64);
    Ok(())
}
