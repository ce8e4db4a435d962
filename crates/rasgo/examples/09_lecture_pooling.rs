//! The lecture's max pooling through im2col, with the places of the maxima, and by the layer:
//! `cargo run --release -p rasgo --example 09_lecture_pooling`
//!
//! The lecture says that im2col makes a matrix product of pooling. That is so for the average, whose product is with a row
//! of quarters; the maximum is taken of each column instead.
#![allow(clippy::print_stdout, reason = "an example talks to a person")]

mod lecture;

use lecture::{bias, filters, picture};
use rasgo::ops::{ConvOptions, MaxUnpoolOptions, UnfoldOptions};
use rasgo::prelude::*;

pub(crate) fn main() -> Result<()> {
    let h = picture()?.conv(&filters()?, Some(&bias()?), &ConvOptions::default())?;
    let windows = UnfoldOptions { stride: [2, 2], ..UnfoldOptions::new([2, 2]) };

    // Patches of all channels at once: 8 rows are 2 channels of 4 cells.
    let h_col = h.unfold(&windows)?;
    println!("h_col {}\n{h_col}", h_col.shape());
    let h_col = h_col.reshape([1, 2, 4, 4])?;
    println!("\nby channels {}\n{h_col}", h_col.shape());

    // The maximum of each column, and which of the 4 cells it was.
    let (m, cells) = h_col.max(2, false)?;
    println!("\nM_flat\n{m}\n\ncells of the maxima\n{cells}");
    let m = m.reshape([1, 2, 2, 2])?;
    println!("\nM {}\n{m}", m.shape());
    assert_eq!(m.to_vec::<f32>()?, [5.0, -1.0, -1.0, 6.0, 5.0, 3.0, -4.0, 4.0]);
    assert_eq!(cells.to_vec::<i64>()?, [0, 0, 0, 0, 1, 0, 3, 0]);

    // The layer counts places in the map of 4 x 4, not in the window.
    let (layer, indices) = nn::MaxPool2d::new(2).forward_with_indices(h.clone())?;
    println!("\nindices of the layer\n{indices}");
    assert_eq!(layer.to_vec::<f32>()?, m.to_vec::<f32>()?);
    assert_eq!(indices.to_vec::<i64>()?, [0, 2, 8, 10, 1, 2, 13, 10]);
    for (i, (cell, index)) in cells.to_vec::<i64>()?.into_iter().zip(indices.to_vec::<i64>()?).enumerate() {
        let (row, column) = (i as i64 / 2 % 2, i as i64 % 2);
        assert_eq!(index, (2 * row + cell / 2) * 4 + 2 * column + cell % 2);
    }

    // Unpooling puts the maxima back to their places.
    let back = layer.max_unpool(&indices, &MaxUnpoolOptions::new([1, 2, 2]))?;
    println!("\nunpooled\n{back}");
    assert_eq!(back.sum()?.item::<f32>()?, m.sum()?.item::<f32>()?);

    // The average is a product.
    let quarters = Tensor::full([1, 4], 0.25, DType::F32)?;
    let average = quarters.matmul(&h_col)?.reshape([1, 2, 2, 2])?;
    assert_eq!(average.to_vec::<f32>()?, nn::AvgPool2d::new(2).forward(h)?.to_vec::<f32>()?);
    Ok(())
}
