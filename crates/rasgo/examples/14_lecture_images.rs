//! Pictures as tensors: (H, W, C) of Pillow and OpenCV, (C, H, W) of PyTorch and rasgo, batches (N, C, H, W):
//! `cargo run --release -p rasgo --example 14_lecture_images`
#![allow(clippy::print_stdout, reason = "an example talks to a person")]

use rasgo::formats::pixels;
use rasgo::prelude::*;

pub(crate) fn main() -> Result<()> {
    // Two rows of three pixels with 24 bits each, as Pillow has them: red, green and blue of a pixel lie together.
    #[rustfmt::skip]
    let pillow = [
        255, 0, 0,   0, 255, 0,   0, 0, 255,
        10, 20, 30,  40, 50, 60,  70, 80, 90,
    ];
    let picture = pixels::from_hwc_rgb(&pillow, 2, 3)?;
    println!("(H, W, C) = (2, 3, 3) becomes (C, H, W) = {}\n{picture}", picture.shape());
    assert_eq!(picture.shape()[..], [3, 2, 3]);
    for (c, name) in ["red", "green", "blue"].into_iter().enumerate() {
        println!("\n{name}\n{}", picture.select(0, c as isize)?);
    }
    assert_eq!(picture.select(0, 0)?.to_vec::<u8>()?, [255, 0, 0, 10, 40, 70]);

    // OpenCV has blue first. Who takes one for the other gets red skies.
    let opencv = pixels::to_hwc_bgr(&picture)?;
    println!("\nthe first pixel: {:?} in Pillow, {:?} in OpenCV", &pillow[..3], &opencv[..3]);
    assert_eq!(opencv[..3], [0, 0, 255]);
    assert_eq!(pixels::from_hwc_bgr(&opencv, 2, 3)?.to_vec::<u8>()?, picture.to_vec::<u8>()?);
    assert_ne!(pixels::from_hwc_rgb(&opencv, 2, 3)?.to_vec::<u8>()?, picture.to_vec::<u8>()?);
    assert_eq!(pixels::to_hwc_rgb(&picture)?, pillow);

    // Networks take floats.
    let floats = pixels::u8_to_f32_unit(&picture)?;
    assert_eq!(floats.to_vec::<f32>()?[0], 1.0);

    // The lecture's batch: two colour pictures of 5 x 5 pixels.
    let batch = Tensor::randint(0, 256, [2, 3, 5, 5])?;
    println!("\na batch (N, C, H, W) = {}\n{batch}", batch.shape());
    let pair = Tensor::stack(&[floats.clone(), floats], 0)?;
    assert_eq!(**pair.shape(), [2, 3, 2, 3]);

    // 32 colour pictures of 224 x 512 pixels; only the shape is needed to see what a layer makes of it.
    let many = Tensor::shape_only([32, 3, 224, 512], DType::F32);
    let maps = nn::shape_only_forward(|| nn::Conv2d::new(3, 8, 3).padding(1).forward(many.clone()))?;
    println!("\n{} becomes {}", many.shape(), maps.shape());
    assert_eq!(**maps.shape(), [32, 8, 224, 512]);
    Ok(())
}
