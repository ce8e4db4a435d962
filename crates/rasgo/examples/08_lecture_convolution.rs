//! The lecture's convolution three times, by loops, by im2col and by the layer:
//! `cargo run --release -p rasgo --example 08_lecture_convolution`
//!
//! im2col makes one matrix product of it: `H_col = W_row X_col + b 1^T`. The lecture gives the row of ones as many
//! entries as a filter has weights, 9 (`1^T_{C_in*kH*kW}`). Then the shapes would not fit: W_row X_col is 2 x 16, so b (2 x 1)
//! times the row must be 2 x 16 as well. The row has one entry for each patch: 16.
#![allow(clippy::print_stdout, reason = "an example talks to a person")]

mod lecture;

use lecture::{bias, filters, picture};
use rasgo::ops::UnfoldOptions;
use rasgo::prelude::*;

/// floor((in + 2 padding - dilation (kernel - 1) - 1) / stride + 1)
fn calculate_out(size: usize, kernel: usize, stride: usize, dilation: usize, padding: usize) -> usize {
    (size + 2 * padding - dilation * (kernel - 1) - 1) / stride + 1
}

pub(crate) fn main() -> Result<()> {
    let (x, w, b) = (picture()?, filters()?, bias()?);
    let (h_out, w_out) = (calculate_out(6, 3, 1, 1, 0), calculate_out(6, 3, 1, 1, 0));
    println!("X {} and filters {} make a map of {h_out} x {w_out}", x.shape(), w.shape());

    // By loops: each output is a patch times a filter, summed.
    let mut o = Vec::new();
    for filter in 0..2 {
        for i in 0..h_out {
            for j in 0..w_out {
                let patch = x.narrow(2, i, 3)?.narrow(3, j, 3)?;
                let product = (patch * w.narrow(0, filter, 1)?)?;
                o.push(product.sum()?.item::<f32>()? + b.to_vec::<f32>()?[filter]);
            }
        }
    }
    let o = Tensor::from_vec(o, [1, 2, h_out, w_out])?;
    println!("\nO\n{o}");

    // By im2col: each column of X_col is a patch, 3 x 3 laid flat; there are 16.
    let x_col = x.unfold(&UnfoldOptions::new([3, 3]))?;
    println!("\nX_col {}\n{x_col}", x_col.shape());
    let w_row = w.reshape([2, 9])?;
    println!("\nW_row {}\n{w_row}", w_row.shape());
    let ones = Tensor::ones([1, 16], DType::F32)?;
    let h_col = (w_row.matmul(&x_col)? + b.reshape([2, 1])?.matmul(&ones)?)?;
    let h = h_col.reshape([1, 2, h_out, w_out])?;
    println!("\nH {}\n{h}", h.shape());
    // Broadcasting does what the row of ones does.
    assert_eq!((w_row.matmul(&x_col)? + b.reshape([2, 1])?)?.to_vec::<f32>()?, h_col.to_vec::<f32>()?);

    // By the layer, with its weights set by hand.
    let mut conv = nn::Conv2d::new(1, 2, 3);
    conv.weight.set(w)?;
    conv.bias.as_mut().expect("a bias, if nobody says otherwise").set(b)?;
    let layer = conv.forward(x)?;

    #[rustfmt::skip]
    let expected = [
        5.0, 5.0, -1.0, -4.0,
        -4.0, -7.0, -1.0, -6.0,
        -1.0, -10.0, 6.0, -8.0,
        -9.0, -8.0, -6.0, -6.0,

        -3.0, 5.0, 3.0, -6.0,
        -3.0, -7.0, 3.0, -13.0,
        -5.0, -12.0, 4.0, -7.0,
        -9.0, -4.0, -6.0, -5.0,
    ];
    for map in [&o, &h, &layer] {
        assert_eq!(map.to_vec::<f32>()?, expected);
    }
    let first: Vec<f32> = x_col.to_vec::<f32>()?.into_iter().step_by(16).collect();
    assert_eq!(first, [7.0, 6.0, 8.0, 8.0, 6.0, 5.0, 9.0, 1.0, 1.0], "the patch at the top left");
    Ok(())
}
