//! A layer of one's own, and a network of it: `cargo run --release -p rasgo --example 03_own_layer`
#![allow(clippy::print_stdout, reason = "an example talks to a person")]

use rasgo::init::Init;
use rasgo::nn::Parameter;
use rasgo::prelude::*;

/// y = x * scale, one factor for each channel of (N, C, H, W).
#[derive(Debug, Module)]
struct Scale {
    weight: Parameter,
}

impl Module for Scale {
    fn forward(&self, x: Tensor) -> Result<Tensor> {
        x * self.weight.tensor().reshape([1, self.weight.shape()[0], 1, 1])?
    }
}

fn main() -> Result<()> {
    let mut model = nn::Sequential::new()
        .add(nn::Conv2d::new(3, 8, 3).padding(1))
        .add(Scale { weight: Parameter::new([8], Init::Ones) })
        .add(nn::ReLU());
    let x = Tensor::rand([4, 3, 16, 16]);
    let mut opt = Optimizer::sgd(0.1);
    for step in 0..5 {
        let loss = model.forward(x.clone())?.square()?.mean()?;
        println!("step {step}: {}", loss.item::<f32>()?);
        opt.step(&mut model, loss.backward()?)?;
    }
    println!("{} parameters", model.parameter_count());
    Ok(())
}
