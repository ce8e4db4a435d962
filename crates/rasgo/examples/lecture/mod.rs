//! The numbers of the lecture's worked example.

use rasgo::prelude::*;

/// X: one picture of one channel, 6 x 6.
pub(crate) fn picture() -> Result<Tensor> {
    #[rustfmt::skip]
    let x = vec![
        7.0f32, 6.0, 8.0, 5.0, 1.0, 3.0,
        8.0, 6.0, 5.0, 3.0, 5.0, 5.0,
        9.0, 1.0, 1.0, 5.0, 3.0, 5.0,
        4.0, 5.0, 5.0, 9.0, 2.0, 6.0,
        9.0, 5.0, 3.0, 1.0, 2.0, 2.0,
        4.0, 4.0, 8.0, 8.0, 9.0, 8.0,
    ];
    Tensor::from_vec(x, [1, 1, 6, 6])
}

/// given_w: two filters of one channel, 3 x 3.
pub(crate) fn filters() -> Result<Tensor> {
    #[rustfmt::skip]
    let w = vec![
        1.0f32, 1.0, 0.0,
        -1.0, 1.0, -1.0,
        0.0, -1.0, -1.0,

        1.0, 1.0, 0.0,
        -1.0, 1.0, -1.0,
        -1.0, 0.0, -1.0,
    ];
    Tensor::from_vec(w, [2, 1, 3, 3])
}

/// given_bias: one number a filter.
pub(crate) fn bias() -> Result<Tensor> {
    Tensor::from_vec(vec![1.0f32, 1.0], [2])
}
