//! Matrix products against the formula in `f64`, at every instruction set.

use rasgo_kernels::gemm::{gemm, pack_weight};
use rasgo_kernels::settings::{with_isa, with_threads};
use rasgo_kernels::{Activation, Epilogue, Isa};

fn values(seed: u64, n: usize) -> Vec<f32> {
    let mut x = seed;
    (0..n)
        .map(|_| {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (x >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        })
        .collect()
}

fn check(m: usize, n: usize, k: usize) {
    rasgo_kernels::buffer::set_poison(true);
    let wide = |x: &[f32]| x.iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
    let (a, b, bias) = (values(1, m * k), values(2, k * n), values(3, n));
    let add: Vec<f32> = values(4, m * n).iter().map(|x| 9.0 * x).collect();
    let (a64, b64, bias64, add64) = (wide(&a), wide(&b), wide(&bias), wide(&add));
    for case in 0..24 {
        let (trans_a, trans_b, with_bias) = (case & 1 > 0, case & 2 > 0, case & 4 > 0);
        let activation = [Activation::None, Activation::Relu, Activation::Relu6][case / 8];
        let with_add = with_bias != trans_b;
        let mut want = vec![f64::NAN; m * n];
        let (bias64, add64) = (with_bias.then_some(&bias64[..]), with_add.then_some(&add64[..]));
        let epilogue = Epilogue { bias: bias64, add: add64, activation };
        gemm(m, n, k, &a64, trans_a, &b64, trans_b, None, epilogue, &mut want);
        let run = |threads: usize, pack: bool| {
            let packed = if pack { pack_weight(n, k, &b) } else { None };
            let (bias, add) = (with_bias.then_some(&bias[..]), with_add.then_some(&add[..]));
            let epilogue = Epilogue { bias, add, activation };
            let mut got = vec![f32::NAN; m * n];
            with_threads(threads, || {
                gemm(m, n, k, &a, trans_a, &b, trans_b, packed.as_ref(), epilogue, &mut got);
            });
            got
        };
        for isa in Isa::available() {
            let got = with_isa(isa, || run(1, false));
            for (i, (got, want)) in got.iter().zip(&want).enumerate() {
                let error = (f64::from(*got) - want).abs();
                let what = format!("{} {m}x{n}x{k} case {case} at {i}: {got}, not {want}", isa.name());
                assert!(error <= 4e-6 * (k as f64).sqrt().max(1.0), "{what}");
            }
            // Only a weight as a linear layer has it, `[n, k]`, has a packed form.
            for (threads, pack) in [(2, false), (1, trans_b), (2, trans_b)] {
                let same = with_isa(isa, || run(threads, pack));
                assert!(
                    got.iter().zip(&same).all(|(a, b)| a.to_bits() == b.to_bits()),
                    "{m}x{n}x{k} at {threads} threads, packed: {pack}"
                );
            }
        }
    }
}

#[test]
fn products_agree_with_the_formula() {
    for [m, n, k] in [
        [1, 1, 1],
        [1, 10, 84],
        [3, 5, 7],
        // Few rows, of which the columns of the last vector and the steps of the last piece are not all there.
        [2, 37, 600],
        [3, 16, 288],
        [4, 75, 301],
        [5, 75, 301],
        [14, 32, 288],
        [15, 33, 289],
        [29, 47, 600],
        [113, 65, 31],
        [130, 70, 40],
        [300, 24, 5],
        [5, 300, 17],
        [128, 10, 300],
        [257, 129, 65],
    ] {
        check(m, n, k);
    }
    for i in 1..40 {
        check(1 + i * 7 % 31, i, 1 + i * 5 % 13);
    }
}

#[test]
fn empty_axes_give_the_bias_or_nothing() {
    check(0, 5, 3);
    check(4, 0, 3);
    check(4, 5, 0);
    check(0, 0, 0);
}

#[test]
fn a_row_of_a_batch_equals_the_row_alone() {
    let (m, n, k) = (203, 75, 700);
    let (a, b) = (values(5, m * k), values(6, n * k));
    for isa in Isa::available() {
        for trans_b in [false, true] {
            with_isa(isa, || {
                let mut all = vec![f32::NAN; m * n];
                gemm(m, n, k, &a, false, &b, trans_b, None, Epilogue::NONE, &mut all);
                for i in (0..m).step_by(17) {
                    let mut row = vec![f32::NAN; n];
                    gemm(1, n, k, &a[i * k..][..k], false, &b, trans_b, None, Epilogue::NONE, &mut row);
                    assert!(
                        row.iter().zip(&all[i * n..]).all(|(a, b)| a.to_bits() == b.to_bits()),
                        "row {i}"
                    );
                }
            });
        }
    }
}
