//! The gradient to the bias: sums of columns.

use crate::isa::isa_fn;
use crate::threads::{SharedMut, parallel};
use crate::{Buffer, Float, Isa};

/// Rows that are summed one after the other; the sums of such blocks are added in order.
const ROWS: usize = 512;
/// Columns of a block.
const COLS: usize = 256;

/// `db[oc] = sum over rows of dy[rows, oc]`.
///
/// Blocks of a fixed number of rows are summed each for itself, then one after the other, so the sums do not
/// depend on the number of threads.
pub fn grad_bias<T: Float>(rows: usize, oc: usize, dy: &[T], db: &mut [T]) {
    assert_eq!(dy.len(), rows * oc, "the gradient has rows * oc elements");
    assert_eq!(db.len(), oc, "the bias has oc elements");
    let isa = Isa::current();
    let blocks = rows.div_ceil(ROWS);
    // Sums are kept in f64: free beside the reading of `dy`, and exact to f32's rounding.
    let mut sums = Buffer::new::<f64>(blocks * oc);
    let shared = SharedMut::new(sums.as_mut_slice::<f64>());
    parallel(blocks, |block| {
        // SAFETY: each block has a row of its own.
        let sums = unsafe { shared.slice(block * oc, oc) };
        let dy = &dy[block * ROWS * oc..rows.min((block + 1) * ROWS) * oc];
        add_rows(isa, oc, dy, sums);
    });
    let sums = sums.as_slice::<f64>();
    for (j, db) in db.iter_mut().enumerate() {
        *db = T::from_f64((0..blocks).map(|block| sums[block * oc + j]).sum());
    }
}

isa_fn! {
    fn add_rows<T: Float>(oc: usize, dy: &[T], sums: &mut [f64]) {
        sums.fill(0.0);
        for start in (0..oc).step_by(COLS) {
            let sums = &mut sums[start..oc.min(start + COLS)];
            for row in dy.chunks_exact(oc) {
                for (sum, x) in sums.iter_mut().zip(&row[start..]) {
                    *sum += x.to_f64();
                }
            }
        }
    }
}
