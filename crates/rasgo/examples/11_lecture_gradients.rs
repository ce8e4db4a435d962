//! The gradients of the lecture's network twice: by its im2col formulas, where the gradient of im2col is col2im, and by
//! `backward`: `cargo run --release -p rasgo --example 11_lecture_gradients`
//!
//! ```text
//! Z = f W_fc + b_fc          df = dZ W_fc^T        dW_fc = f^T dZ        db_fc = dZ
//! M_flat = max of h_col      dh_col = dM at the cells of the maxima, 0 elsewhere
//! h_col = im2col(H)          dH = col2im(dh_col)
//! H_col = W_row X_col + b 1^T
//!                            dW_row = dH_col X_col^T    db = dH_col 1    dX_col = W_row^T dH_col
//! X_col = im2col(X)          dX = col2im(dX_col)
//! ```
//! The 1 has one entry for each of the 16 patches (see `08_lecture_convolution`), so that db sums over patches.
#![allow(clippy::print_stdout, reason = "an example talks to a person")]

mod lecture;

use lecture::{bias, filters, picture};
use rasgo::ops::{ConvOptions, MaxPoolOptions, UnfoldOptions};
use rasgo::prelude::*;

pub(crate) fn main() -> Result<()> {
    let patches = UnfoldOptions::new([3, 3]);
    let windows = UnfoldOptions { stride: [2, 2], ..UnfoldOptions::new([2, 2]) };
    let (x, w, b) = (picture()?, filters()?, bias()?);
    let (w_fc, b_fc) = (Tensor::ones([1, 8], DType::F32)?, Tensor::ones([1], DType::F32)?);

    // Forward by im2col.
    let (x_col, w_row) = (x.unfold(&patches)?.reshape([9, 16])?, w.reshape([2, 9])?);
    let h = (w_row.matmul(&x_col)? + b.reshape([2, 1])?)?.reshape([1, 2, 4, 4])?;
    let h_col = h.unfold(&windows)?.reshape([1, 2, 4, 4])?;
    let (m, cells) = h_col.max(2, true)?;
    let f = m.reshape([1, 8])?;

    // Backward from dZ = 1.
    let dz = Tensor::ones([1, 1], DType::F32)?;
    let dw_fc = dz.transpose(0, 1)?.matmul(&f)?;
    let dm = dz.matmul(&w_fc)?.reshape([1, 2, 1, 4])?;
    let dh_col = Tensor::zeros([1, 2, 4, 4], DType::F32)?.scatter(2, &cells, &dm)?;
    let dh = dh_col.reshape([1, 8, 4])?.fold([4, 4], &windows)?;
    println!("dH\n{dh}");
    let dh_col = dh.reshape([2, 16])?;
    let dw = dh_col.matmul(&x_col.transpose(0, 1)?)?.reshape([2, 1, 3, 3])?;
    let db = dh_col.matmul(&Tensor::ones([16, 1], DType::F32)?)?.reshape([2])?;
    let dx_col = w_row.transpose(0, 1)?.matmul(&dh_col)?;
    let dx = dx_col.reshape([1, 9, 16])?.fold([6, 6], &patches)?;
    println!("\ndW\n{dw}\n\ndb\n{db}\n\ndX\n{dx}\n\ndW_fc\n{dw_fc}");

    // PyTorch's numbers.
    #[rustfmt::skip]
    let numbers: [(&Tensor, &[f32]); 5] = [
        (&dh, &[
            1.0, 0.0, 1.0, 0.0,
            0.0, 0.0, 0.0, 0.0,
            1.0, 0.0, 1.0, 0.0,
            0.0, 0.0, 0.0, 0.0,

            0.0, 1.0, 1.0, 0.0,
            0.0, 0.0, 0.0, 0.0,
            0.0, 0.0, 1.0, 0.0,
            0.0, 1.0, 0.0, 0.0,
        ]),
        (&dw, &[
            25.0, 17.0, 13.0,
            22.0, 23.0, 17.0,
            22.0, 12.0, 9.0,

            20.0, 23.0, 18.0,
            21.0, 20.0, 11.0,
            9.0, 15.0, 18.0,
        ]),
        (&db, &[4.0, 4.0]),
        (&dx, &[
            1.0, 2.0, 3.0, 2.0, 0.0, 0.0,
            -1.0, 0.0, -2.0, 1.0, -2.0, 0.0,
            1.0, -1.0, 0.0, 0.0, -2.0, 0.0,
            -1.0, 2.0, -2.0, 2.0, -2.0, 0.0,
            0.0, -2.0, -1.0, -2.0, -2.0, 0.0,
            0.0, -1.0, 0.0, -1.0, 0.0, 0.0,
        ]),
        (&dw_fc, &[5.0, -1.0, -1.0, 6.0, 5.0, 3.0, -4.0, 4.0]),
    ];
    for (grad, expected) in numbers {
        assert_eq!(grad.to_vec::<f32>()?, expected);
    }

    // The same by backward.
    let leaves = [x, w, b, w_fc, b_fc].map(Tensor::requires_grad);
    let [x, w, b, w_fc, b_fc] = &leaves;
    let h = x.conv(w, Some(b), &ConvOptions::default())?;
    h.retain_grad();
    let m = h.max_pool(&MaxPoolOptions::new([1, 2, 2]))?;
    let z = m.flatten(1)?.linear(w_fc, Some(b_fc))?;
    let grads = z.backward()?;
    for (leaf, by_hand) in [(&h, &dh), (x, &dx), (w, &dw), (b, &db), (w_fc, &dw_fc)] {
        let grad = grads.get(leaf).expect("everything has a gradient");
        assert_eq!(grad.to_vec::<f32>()?, by_hand.to_vec::<f32>()?);
    }
    println!("\nbackward gives the same from Z = {z}");
    Ok(())
}
