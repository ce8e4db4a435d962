//! Of maps of bfloat16: what is computed from the same values as `f32`, rounded once.

use super::*;
use crate::Stored;
use crate::checks::{narrowed, rounded, unwritten, widened};

const LENGTHS: [usize; 3] = [0, 7, 33_000];

/// A function and its gradient, each to another place and in place.
fn unary_passes<S: Stored<Wide = f32>>(op: Unary, [x, dy]: [&[S]; 2]) -> Vec<f32> {
    let (mut y, mut dx) = (unwritten::<S>(x.len()), unwritten::<S>(x.len()));
    unary(op, x, &mut y);
    unary_grad(op, x, dy, &mut dx);
    let (mut y_there, mut dx_there) = (x.to_vec(), dy.to_vec());
    unary_in_place(op, &mut y_there);
    unary_grad_in_place(op, x, &mut dx_there);
    [rounded(&y), rounded(&dx), rounded(&y_there), rounded(&dx_there)].concat()
}

fn binary_passes<S: Stored<Wide = f32> + Number>(op: Binary, [a, b]: [&[S]; 2]) -> Vec<f32> {
    let (mut y, mut there) = (unwritten::<S>(a.len()), a.to_vec());
    binary(op, a, b, &mut y);
    binary_in_place(op, &mut there, b);
    let mut repeated = unwritten::<S>(a.len());
    binary_broadcast(op, &[a.len()], a, &[1], b, &[0], &mut repeated);
    [rounded(&y), rounded(&there), rounded(&repeated)].concat()
}

/// So large that every function comes to its bounds, and a NaN.
fn map(seed: u64, len: usize) -> Vec<crate::Bf16> {
    let mut values: Vec<f32> = numbers::<f32>(seed, len).iter().map(|x| 4.0 * x).collect();
    if let Some(x) = values.get_mut(5) {
        *x = f32::NAN;
    }
    narrowed(&values)
}

#[test]
fn functions_of_maps_of_bf16_are_those_of_f32_rounded() {
    for len in LENGTHS {
        let maps = [1, 2].map(|seed| map(seed, len));
        let floats = maps.each_ref().map(|map| widened(map));
        for op in OPS {
            let want = unary_passes(op, floats.each_ref().map(|map| &map[..]));
            let got = same_everywhere(|| unary_passes(op, maps.each_ref().map(|map| &map[..])));
            assert_close(&got, &wide(&want), 0.0, &format!("{op:?}"));
        }
        for op in BINARY.into_iter().chain([Binary::Pow]).filter(|_| len > 0) {
            let want = binary_passes(op, floats.each_ref().map(|map| &map[..]));
            let got = same_everywhere(|| binary_passes(op, maps.each_ref().map(|map| &map[..])));
            assert_close(&got, &wide(&want), 0.0, &format!("{op:?}"));
        }
    }
}
