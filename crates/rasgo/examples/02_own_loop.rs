//! One's own loop over epochs: `cargo run --release -p rasgo --example 02_own_loop`
#![allow(clippy::print_stdout, reason = "an example talks to a person")]

use rasgo::prelude::*;

fn main() -> Result<()> {
    let mnist = data::open("mnist")?;
    let normalize = data::Normalize::new(vec![0.1307], vec![0.3081])?;
    let loader =
        Loader::new(mnist.train, LoaderOptions::new().batch_size(128).shuffle(1).normalize(normalize))?;
    let mut model = zoo::named("lenet5")?.architecture().build()?;
    let mut opt = Optimizer::adamw(2e-3);
    for epoch in 0..2 {
        let mut sum = 0.0;
        for batch in loader.epoch(epoch) {
            let batch = batch?;
            let loss = model.forward(batch.input)?.cross_entropy(&batch.target, Default::default())?;
            sum += loss.item::<f32>()?;
            opt.step(&mut model, loss.backward()?)?;
        }
        println!("epoch {}: loss {:.4}", epoch + 1, sum / loader.batches() as f32);
    }
    Ok(())
}
