//! A layer of one's own, a network of it, and its file: `cargo run --release -p rasgo --example 03_own_layer`
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

fn network() -> nn::Sequential {
    nn::Sequential::new()
        .add(nn::Conv2d::new(3, 8, 3).padding(1))
        .add(Scale { weight: Parameter::new([8], Init::Ones) })
        .add(nn::ReLU())
}

fn main() -> Result<()> {
    manual_seed(1);
    let mut model = network();
    let x = Tensor::rand([4, 3, 16, 16]);
    let mut opt = Optimizer::sgd(0.1);
    for step in 0..5 {
        let loss = model.forward(x.clone())?.square()?.mean()?;
        println!("step {step}: {}", loss.item::<f32>()?);
        opt.step(&mut model, loss.backward()?)?;
    }
    println!("{} parameters", model.parameter_count());

    // The file holds the weights; the network is made again as it was.
    let path = std::env::temp_dir().join(format!("own-layer-{}.safetensors", std::process::id()));
    model.save(&path)?;
    let mut again = network();
    again.load(&path)?;
    std::fs::remove_file(&path).map_err(|error| Error::io(&path, error))?;
    let difference = (model.forward(x.clone())? - again.forward(x)?)?.abs()?.max_all()?;
    println!("saved and loaded, the outputs differ by {}", difference.item::<f32>()?);
    Ok(())
}
