//! A data set of one's own: circles, triangles and squares, drawn when they are asked for.
//! `cargo run --release -p rasgo --example 04_own_data`
#![allow(clippy::print_stdout, reason = "an example talks to a person")]

use std::f64::consts::TAU;
use std::sync::Arc;

use rasgo::data::Augment;
use rasgo::prelude::*;
use rasgo::random::Key;

const SIZE: usize = 24;

/// Sample i follows from the seed and i, so that several threads may draw at once and every epoch sees the same.
struct Figures {
    seed: u64,
    len: usize,
    shape: Shape,
    classes: Vec<String>,
}

impl Figures {
    fn new(seed: u64, len: usize) -> Arc<Figures> {
        let classes = ["circle", "triangle", "square"].map(String::from).to_vec();
        Arc::new(Figures { seed, len, shape: [1, SIZE, SIZE].into(), classes })
    }
}

impl Dataset for Figures {
    fn len(&self) -> usize {
        self.len
    }

    fn get(&self, index: usize) -> Result<Sample> {
        let key = Key::new(self.seed, index as u64);
        let between = |position: u64, low: f64, high: f64| low + (high - low) * key.uniform_f64(position);
        let label = index % 3;
        let radius = between(0, 5.0, 8.0);
        let (x0, y0) = (between(1, 8.0, 16.0), between(2, 8.0, 16.0));
        let (turn, paper, ink) = (between(3, 0.0, TAU), between(4, 0.0, 100.0), between(5, 150.0, 255.0));
        // How far a point is outside the figure, negative inside: a polygon is what lies behind all of its sides.
        let outside = |x: f64, y: f64| match [0, 3, 4][label] {
            0 => x.hypot(y) - radius,
            sides => (0..sides)
                .map(|side| turn + TAU * f64::from(side) / f64::from(sides))
                .map(|angle| {
                    x * angle.cos() + y * angle.sin() - radius * (TAU / 2.0 / f64::from(sides)).cos()
                })
                .fold(f64::MIN, f64::max),
        };
        let pixel = |i: usize| {
            let (x, y) = ((i % SIZE) as f64 + 0.5 - x0, (i / SIZE) as f64 + 0.5 - y0);
            // The share of the pixel that the figure covers: this makes soft edges.
            let covered = (0.5 - outside(x, y)).clamp(0.0, 1.0);
            (paper + (ink - paper) * covered) as u8
        };
        let input = Tensor::from_vec((0..SIZE * SIZE).map(pixel).collect(), self.shape.clone())?;
        Ok(Sample { input, label: label as i64 })
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn shape(&self) -> &Shape {
        &self.shape
    }
}

fn main() -> Result<()> {
    let augment = Augment { scale: (0.9, 1.1), shift: 1.0, shear: 5.0, flip: true, ..Augment::default() };
    let options = LoaderOptions::new().batch_size(50).shuffle(1).augment(augment).workers(1);
    let loader = Loader::new(Figures::new(1, 6000), options)?;
    // Another seed draws other figures: none of these is trained on.
    let held_out = Loader::new(Figures::new(2, 1500), LoaderOptions::new())?;

    let mut model = nn::Sequential::new()
        .add(nn::Conv2d::new(1, 16, 5).stride(2).padding(2))
        .add(nn::BatchNorm2d::new(16))
        .add(nn::ReLU())
        .add(nn::Conv2d::new(16, 32, 3).padding(1))
        .add(nn::BatchNorm2d::new(32))
        .add(nn::ReLU())
        .add(nn::MaxPool2d::new(2))
        .add(nn::Flatten::new())
        .add(nn::Linear::new(32 * 6 * 6, 3));
    let mut opt = Optimizer::adamw(3e-3);
    for epoch in 0..6 {
        model.train();
        opt.set_lr(3e-3 * (1.0 - epoch as f64 / 6.0));
        let mut sum = 0.0;
        for batch in loader.epoch(epoch) {
            let batch = batch?;
            let loss = model.forward(batch.input)?.cross_entropy(&batch.target, Default::default())?;
            sum += loss.item::<f32>()?;
            opt.step(&mut model, loss.backward()?)?;
        }
        model.eval();
        let found = train::evaluate(&model, &held_out)?.accuracy;
        let loss = sum / loader.batches() as f32;
        println!("epoch {}: loss {loss:.4}, {:.2} % of held-out figures", epoch + 1, 100.0 * found);
    }
    Ok(())
}
