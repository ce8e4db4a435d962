//! The machine: its arithmetic, its memory, and a large matrix product.

use std::hint::black_box;

use rasgo::{Result, Tensor, no_grad};
use serde_json::json;

use super::measure::{measured_peak, median_time, print_machine, report, share};
use crate::terminal::print;

pub(super) fn run(json: bool) -> Result<()> {
    const SIDE: usize = 1536;
    let peak = measured_peak();
    let bandwidth = rasgo::peak::read_bandwidth();
    let (a, b) = (Tensor::randn([SIDE, SIDE]), Tensor::randn([SIDE, SIDE]));
    let time = no_grad(|| median_time(0.6, || a.matmul(&b).map(|product| drop(black_box(product)))))?;
    let product = 2.0 * (SIDE as f64).powi(3) / time / 1e9;
    if json {
        let rows = [json!(["matmul", "float32", product]), json!(["read", "float32", bandwidth])];
        return print(&report(peak, &rows));
    }
    print_machine(peak)?;
    print(&format!("reads of memory: {bandwidth:.1} GB/s"))?;
    print(&format!(
        "matrix product of {SIDE} cubed: {product:.0} GFLOP/s, {} of the peak",
        share(product, peak)
    ))
}
