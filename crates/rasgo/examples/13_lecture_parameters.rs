//! The lecture's parameters, counted: `cargo run --release -p rasgo --example 13_lecture_parameters`
//!
//! `rasgo summary mlp --input 1x512x512` shows the same, layer by layer. No values are computed: a network of 67 million
//! parameters is counted in a moment.
#![allow(clippy::print_stdout, reason = "an example talks to a person")]

use rasgo::prelude::*;

fn parameters(name: &str, input: &[usize]) -> Result<usize> {
    Ok(zoo::named(name)?.architecture().input(input).build()?.parameter_count())
}

pub(crate) fn main() -> Result<()> {
    // 28 x 28 pixels are 784 features.
    let layers = [(784, 256, 200_960), (256, 128, 32_896), (128, 10, 1_290)];
    let mut sum = 0;
    for (i, (features, outputs, expected)) in layers.into_iter().enumerate() {
        let layer = nn::Linear::new(features, outputs);
        println!("W_{} = {features} * {outputs} + {outputs} = {}", i + 1, layer.parameter_count());
        assert_eq!(layer.parameter_count(), expected);
        sum += layer.parameter_count();
    }
    println!("total = {sum}\n");
    assert_eq!(sum, 235_146);

    // Without the weight of a convolution's size: its filters are as many at any size of the picture.
    for (name, input, expected) in [
        ("mlp", [1, 28, 28], 235_146),
        ("mlp", [1, 512, 512], 67_143_306),
        ("lecture", [1, 28, 28], 373_130),
        ("lecture", [1, 512, 512], 373_130),
        ("lecun1990", [1, 28, 28], 2_578),
        ("lenet5", [1, 28, 28], 61_706),
        ("alexnet", [3, 224, 224], 61_100_840),
    ] {
        let count = parameters(name, &input)?;
        println!("{name:10} {:3} x {:3}: {count:>11}", input[1], input[2]);
        assert_eq!(count, expected, "{name}");
    }
    Ok(())
}
