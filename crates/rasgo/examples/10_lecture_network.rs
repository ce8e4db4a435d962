//! The lecture's class `Conv`: convolution, pooling, flatten, linear, and the number 18:
//! `cargo run --release -p rasgo --example 10_lecture_network`
#![allow(clippy::print_stdout, reason = "an example talks to a person")]

mod lecture;

use lecture::{bias, filters, picture};
use rasgo::init;
use rasgo::prelude::*;

#[derive(Debug, Module)]
struct Conv {
    conv: nn::Conv2d,
    max_pool: nn::MaxPool2d,
    fc: nn::Linear,
}
fn conv() -> Result<Conv> {
    let (mut conv, mut fc) = (nn::Conv2d::new(1, 2, 3), nn::Linear::new(8, 1));
    conv.weight.set(filters()?)?;
    conv.bias.as_mut().expect("a bias").set(bias()?)?;
    init::ones_(&mut fc.weight);
    init::ones_(fc.bias.as_mut().expect("a bias"));
    Ok(Conv { conv, max_pool: nn::MaxPool2d::new(2), fc })
}
impl Module for Conv {
    fn forward(&self, x: Tensor) -> Result<Tensor> {
        let (x, _indices) = self.max_pool.forward_with_indices(self.conv.forward(x)?)?;
        self.fc.forward(x.flatten(1)?)
    }
}

pub(crate) fn main() -> Result<()> {
    let model = conv()?;
    for (name, values) in model.state_dict() {
        println!("{name} {}", values.shape());
    }
    let logits = model.forward(picture()?)?;
    println!("\nlogits = {logits}");
    assert_eq!(logits.to_vec::<f32>()?, [18.0]);

    // The same, a step at a time.
    let m = model.max_pool.forward(model.conv.forward(picture()?)?)?;
    let f = m.reshape([1, 8])?;
    println!("\nf {}\n{f}", f.shape());
    assert_eq!(f.to_vec::<f32>()?, [5.0, -1.0, -1.0, 6.0, 5.0, 3.0, -4.0, 4.0]);
    let (w_fc, b_fc) = (Tensor::ones([8, 1], DType::F32)?, Tensor::ones([1], DType::F32)?);
    let z = (f.matmul(&w_fc)? + b_fc)?;
    println!("\nZ = f W_fc + b_fc = {z}");
    assert_eq!(z.to_vec::<f32>()?, [18.0]);
    assert_eq!(model.parameter_count(), 2 * 9 + 2 + 8 + 1);
    Ok(())
}
