mod bf16;

use super::*;
use crate::Float;
use crate::checks::{assert_close, numbers, poison, same_everywhere, wide};

const OPS: [Unary; 21] = [
    Unary::Relu,
    Unary::Relu6,
    Unary::LeakyRelu(0.1),
    Unary::LeakyRelu(-0.2),
    Unary::Elu(0.7),
    Unary::Elu(-0.5),
    Unary::Gelu,
    Unary::GeluTanh,
    Unary::Silu,
    Unary::Hardswish,
    Unary::Hardsigmoid,
    Unary::Sigmoid,
    Unary::Tanh,
    Unary::Softplus { beta: 1.0, threshold: 20.0 },
    Unary::Softplus { beta: 2.5, threshold: 200.0 },
    Unary::Logsigmoid,
    Unary::Selu,
    Unary::Celu(0.6),
    Unary::Celu(-1.5),
    Unary::Hardtanh(-0.7, 2.1),
    Unary::Mish,
];

fn exact(op: Unary, x: f64) -> f64 {
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    match op {
        Unary::Relu => {
            if x < 0.0 {
                0.0
            } else {
                x
            }
        }
        Unary::Relu6 => x.clamp(0.0, 6.0),
        Unary::LeakyRelu(a) => {
            if x > 0.0 {
                x
            } else {
                a * x
            }
        }
        Unary::Elu(a) => {
            if x > 0.0 {
                x
            } else {
                a * (x.exp() - 1.0)
            }
        }
        Unary::Gelu => x / 2.0 * (1.0 + libm::erf(x / 2f64.sqrt())),
        Unary::GeluTanh => {
            x / 2.0 * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh())
        }
        Unary::Silu => x * sigmoid(x),
        Unary::Hardswish => x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
        Unary::Hardsigmoid => (x + 3.0).clamp(0.0, 6.0) / 6.0,
        Unary::Sigmoid => sigmoid(x),
        Unary::Tanh => x.tanh(),
        Unary::Softplus { beta, .. } => (beta * x).exp().ln_1p() / beta,
        Unary::Logsigmoid => -(-x).exp().ln_1p(),
        Unary::Selu if x > 0.0 => SELU_SCALE * x,
        Unary::Selu => SELU_SCALE * SELU_ALPHA * (x.exp() - 1.0),
        Unary::Celu(_) if x > 0.0 => x,
        Unary::Celu(a) => a * ((x / a).exp() - 1.0),
        Unary::Mish => x * x.exp().ln_1p().tanh(),
        Unary::Hardtanh(low, high) => x.clamp(low, high),
    }
}

/// Numbers from -8 to 8 without the corners of any function.
fn arguments<T: Float>(len: usize) -> Vec<T> {
    numbers::<T>(7, len).into_iter().map(|x| T::from_f64(x.to_f64() * 4.0 + 0.003)).collect()
}

fn check_unary<T: Float>(op: Unary, tolerance: f64) {
    for len in [0, 1, 5, 17, 1000, 40_000] {
        let src = arguments::<T>(len);
        let want: Vec<f64> = src.iter().map(|x| exact(op, x.to_f64())).collect();
        let got = same_everywhere(|| {
            let mut dst = poison(len);
            unary(op, &src, &mut dst);
            let mut data = src.clone();
            unary_in_place(op, &mut data);
            assert_eq!(data, dst, "{op:?} in place");
            dst
        });
        assert_close(&got, &want, tolerance, &format!("{op:?} of {len}"));
    }
}

#[test]
fn unary_functions_agree_with_f64_on_every_instruction_set() {
    for op in OPS {
        check_unary::<f32>(op, 1e-6);
        check_unary::<f64>(op, 1e-14);
    }
}

#[test]
fn unary_gradients_are_the_slopes_of_the_functions() {
    for op in OPS {
        let len = 500;
        let x = arguments::<f64>(len);
        let dy = numbers::<f64>(8, len);
        let mut y = poison(len);
        unary(op, &x, &mut y);
        let reads = match op.grad_reads() {
            GradReads::Input => &x,
            GradReads::Output => &y,
        };
        let h = 1e-6;
        let want: Vec<f64> =
            (0..len).map(|i| dy[i] * (exact(op, x[i] + h) - exact(op, x[i] - h)) / (2.0 * h)).collect();
        let mut dx = poison(len);
        unary_grad(op, reads, &dy, &mut dx);
        assert_close(&dx, &want, 2e-7, &format!("{op:?}"));
        let mut data = dy.clone();
        unary_grad_in_place(op, reads, &mut data);
        assert_eq!(data, dx);
        let [reads, dy]: [Vec<f32>; 2] = [reads, &dy].map(|v| v.iter().map(|&x| x as f32).collect());
        let dx = same_everywhere(|| {
            let mut dx = poison(len);
            unary_grad(op, &reads, &dy, &mut dx);
            dx
        });
        assert_close(&dx, &want, 1e-5, &format!("{op:?} in f32"));
    }
}

#[test]
fn nan_goes_through_every_function() {
    for op in OPS {
        let mut dst = [0.0f32; 20];
        unary(op, &[f32::NAN; 20], &mut dst);
        assert!(dst.iter().all(|x| x.is_nan()), "{op:?}");
    }
    for op in [Binary::Max, Binary::Min] {
        let mut dst = [0.0f32; 2];
        binary(op, &[f32::NAN, 1.0], &[1.0, f32::NAN], &mut dst);
        assert!(dst.iter().all(|x| x.is_nan()), "{op:?}");
    }
}

#[test]
fn saturating_functions_stay_finite_far_out() {
    for x in [-1e4f32, -200.0, -95.0, 95.0, 200.0, 1e4] {
        for op in [
            Unary::Silu,
            Unary::Sigmoid,
            Unary::Tanh,
            Unary::Softplus { beta: 1.0, threshold: 20.0 },
            Unary::Mish,
            Unary::Elu(1.0),
        ] {
            let mut dst = [0.0];
            unary(op, &[x], &mut dst);
            assert_close(
                &dst,
                &[exact(op, f64::from(x))].map(|y| if y.is_nan() { f64::from(x) } else { y }),
                1e-6,
                "far",
            );
        }
    }
}

fn apply_exact(op: Binary, a: f64, b: f64) -> f64 {
    match op {
        Binary::Add => a + b,
        Binary::Sub => a - b,
        Binary::Mul => a * b,
        Binary::Div => a / b,
        Binary::Max => a.max(b),
        Binary::Min => a.min(b),
        Binary::Pow => unreachable!("tested beside the others: it is NaN for most numbers"),
    }
}

const BINARY: [Binary; 6] = [Binary::Add, Binary::Sub, Binary::Mul, Binary::Div, Binary::Max, Binary::Min];

#[test]
fn binary_functions_agree_with_f64() {
    for op in BINARY {
        for len in [0, 1, 7, 33_000] {
            let (a, b) = (numbers::<f32>(1, len), numbers::<f32>(2, len));
            let want: Vec<f64> =
                a.iter().zip(&b).map(|(a, b)| apply_exact(op, (*a).into(), (*b).into())).collect();
            let got = same_everywhere(|| {
                let mut dst = poison(len);
                binary(op, &a, &b, &mut dst);
                let mut data = a.clone();
                binary_in_place(op, &mut data, &b);
                assert_eq!(data, dst);
                dst
            });
            assert_close(&got, &want, 1e-7, &format!("{op:?}"));
        }
    }
    let (mut sum, mut ones) = (vec![1.5f32; 3], vec![f32::NAN; 20_000]);
    accumulate(&mut sum, &[1.0, 2.0, 3.0]);
    assert_eq!(sum, [2.5, 3.5, 4.5]);
    fill(&mut ones, 1.0);
    assert_eq!(ones, [1.0; 20_000]);
}

#[test]
fn operands_broadcast_along_any_axes() {
    // Shape, strides of a, strides of b.
    let cases: [(&[usize], &[usize], &[usize]); 9] = [
        (&[3, 5, 7], &[35, 7, 1], &[0, 0, 1]),
        (&[3, 5, 7], &[35, 7, 1], &[1, 0, 0]),
        (&[3, 5, 7], &[0, 7, 1], &[5, 1, 0]),
        (&[2, 3, 4, 5], &[60, 20, 5, 1], &[0, 4, 1, 0]),
        (&[4, 6], &[1, 4], &[6, 1]),
        (&[4, 1, 6], &[6, 6, 1], &[0, 0, 0]),
        (&[0, 6], &[6, 1], &[0, 1]),
        (&[], &[], &[]),
        (&[90, 30, 17], &[510, 17, 1], &[0, 0, 1]),
    ];
    for (shape, a_strides, b_strides) in cases {
        let len: usize = shape.iter().product();
        let (a, b) = (numbers::<f32>(3, len.max(1)), numbers::<f32>(4, len.max(1)));
        let at = |mut i: usize, strides: &[usize]| {
            let mut offset = 0;
            for axis in (0..shape.len()).rev() {
                offset += i % shape[axis] * strides[axis];
                i /= shape[axis];
            }
            offset
        };
        for op in BINARY {
            let want: Vec<f64> = (0..len)
                .map(|i| apply_exact(op, a[at(i, a_strides)].into(), b[at(i, b_strides)].into()))
                .collect();
            let got = same_everywhere(|| {
                let mut dst = poison(len);
                binary_broadcast(op, shape, &a, a_strides, &b, b_strides, &mut dst);
                dst
            });
            assert_close(&got, &want, 1e-7, &format!("{op:?} {shape:?}"));
        }
        for (src, strides) in [(&a, a_strides), (&b, b_strides)] {
            let want: Vec<f32> = (0..len).map(|i| src[at(i, strides)]).collect();
            let got = same_everywhere(|| {
                let mut dst = poison(len);
                copy_strided(shape, src, strides, &mut dst);
                dst
            });
            assert_eq!(wide(&got), wide(&want));
        }
    }
}

#[test]
fn whole_numbers_wrap() {
    let of = |op, a: i64, b: i64| {
        let mut dst = [0];
        binary(op, &[a], &[b], &mut dst);
        dst[0]
    };
    assert_eq!(of(Binary::Add, i64::MAX, 1), i64::MIN);
    assert_eq!(of(Binary::Mul, i64::MIN, -1), i64::MIN);
    assert_eq!(of(Binary::Div, i64::MIN, -1), i64::MIN);
    assert_eq!(of(Binary::Div, 7, 0), 0);
    assert_eq!(of(Binary::Pow, -3, 5), -243);
    assert_eq!(of(Binary::Pow, 2, -1), 0);
    assert_eq!(of(Binary::Pow, -1, -3), -1);
    assert_eq!(of(Binary::Pow, 3, 64), 3i64.wrapping_pow(64));
    assert_eq!(of(Binary::Max, -4, 3), 3);
}

#[test]
fn a_number_stands_on_either_side() {
    let mut dst = [0.0f64; 2];
    with_number(Binary::Sub, Side::Left, &[1.0, 2.0], 5.0, &mut dst);
    assert_eq!(dst, [4.0, 3.0]);
    with_number_in_place(Binary::Div, Side::Right, 2.0, &mut dst);
    assert_eq!(dst, [2.0, 1.5]);
}

#[test]
fn comparisons_answer_with_bytes() {
    let (a, b) = ([1.0f32, 2.0, f32::NAN, 0.0], [1.0f32, 1.0, f32::NAN, 3.0]);
    let of = |op| {
        let mut dst = [9; 4];
        compare(op, &a, &b, &mut dst);
        let mut repeated = [9; 4];
        compare_broadcast(op, &[4], &a, &[1], &b, &[1], &mut repeated);
        assert_eq!(dst, repeated);
        dst
    };
    assert_eq!(of(Compare::Eq), [1, 0, 0, 0]);
    assert_eq!(of(Compare::Ne), [0, 1, 1, 1]);
    assert_eq!(of(Compare::Lt), [0, 0, 0, 1]);
    assert_eq!(of(Compare::Le), [1, 0, 0, 1]);
    assert_eq!(of(Compare::Gt), [0, 1, 0, 0]);
    assert_eq!(of(Compare::Ge), [1, 1, 0, 0]);
    assert_eq!(of(Compare::And), [1, 1, 1, 0]);
    assert_eq!(of(Compare::Or), [1, 1, 1, 1]);
    assert_eq!(of(Compare::Xor), [0, 0, 0, 1]);
}

#[test]
fn powers_agree_with_f64() {
    let base: Vec<f32> = numbers::<f32>(1, 33_000).iter().map(|x| x.abs()).collect();
    let exponent = numbers::<f32>(2, 33_000);
    let want: Vec<f64> = base.iter().zip(&exponent).map(|(a, b)| f64::from(*a).powf((*b).into())).collect();
    let got = same_everywhere(|| {
        let mut dst = poison(base.len());
        binary(Binary::Pow, &base, &exponent, &mut dst);
        dst
    });
    assert_close(&got, &want, 1e-6, "pow");
}
