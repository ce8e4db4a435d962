use super::super::grad_check::{check, check_twice, normal};
use super::super::stored_check::{self, rounded};
use super::*;
use crate::DType;

const INF: f64 = f64::INFINITY;
const NAN: f64 = f64::NAN;

/// The arguments of `GOLDEN`.
const ARGUMENTS: [f64; 12] = [NAN, INF, -INF, 0.0, -3.0, 3.0, 6.0, -1.0, 0.5, -12.0, 30.0, -90.0];

/// PyTorch's values and gradients at them, in f64, by its vector kernels (its scalar ones differ at NaN).
const GOLDEN: &[(Unary, [f64; 12], [f64; 12])] = &[
    (
        Unary::Relu,
        [NAN, INF, 0.0, 0.0, 0.0, 3.0, 6.0, 0.0, 0.5, 0.0, 30.0, 0.0],
        [1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0],
    ),
    (
        Unary::Relu6,
        [NAN, 6.0, 0.0, 0.0, 0.0, 3.0, 6.0, 0.0, 0.5, 0.0, 6.0, 0.0],
        [0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0],
    ),
    (
        Unary::LeakyRelu(0.1),
        [NAN, INF, -INF, 0.0, -0.3, 3.0, 6.0, -0.1, 0.5, -1.2, 30.0, -9.0],
        [0.1, 1.0, 0.1, 0.1, 0.1, 1.0, 1.0, 0.1, 1.0, 0.1, 1.0, 0.1],
    ),
    (
        Unary::LeakyRelu(-0.2),
        [NAN, INF, INF, -0.0, 0.6, 3.0, 6.0, 0.2, 0.5, 2.4, 30.0, 18.0],
        [-0.2, 1.0, -0.2, -0.2, -0.2, 1.0, 1.0, -0.2, 1.0, -0.2, 1.0, -0.2],
    ),
    (
        Unary::LeakyRelu(0.0),
        [NAN, INF, NAN, 0.0, -0.0, 3.0, 6.0, -0.0, 0.5, -0.0, 30.0, -0.0],
        [0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0],
    ),
    (
        Unary::Elu(1.3),
        [NAN, INF, -1.3, 0.0, -1.23527681112, 3.0, 6.0, -0.821756726477, 0.5, -1.29999201252, 30.0, -1.3],
        [
            NAN,
            1.0,
            0.0,
            1.3,
            0.0647231888782,
            1.0,
            1.0,
            0.478243273523,
            1.0,
            7.98747605933e-06,
            1.0,
            1.06522164112e-39,
        ],
    ),
    (
        Unary::Elu(-0.5),
        [NAN, INF, 0.5, 0.0, 0.475106465816, 3.0, 6.0, 0.316060279414, 0.5, 0.499996927894, 30.0, 0.5],
        [
            NAN,
            1.0,
            -0.0,
            -0.5,
            -0.0248935341839,
            1.0,
            1.0,
            -0.183939720586,
            1.0,
            -3.07210617666e-06,
            1.0,
            -4.097006312e-40,
        ],
    ),
    (
        Unary::Selu,
        [
            NAN,
            INF,
            -1.75809934085,
            0.0,
            -1.67056872877,
            3.15210296207,
            6.30420592413,
            -1.11133073781,
            0.525350493678,
            -1.75808853871,
            31.5210296207,
            -1.75809934085,
        ],
        [
            NAN,
            1.05070098736,
            0.0,
            1.75809934085,
            0.0875306120803,
            1.05070098736,
            1.05070098736,
            0.646768603035,
            1.05070098736,
            1.08021356884e-05,
            1.05070098736,
            1.44058881931e-39,
        ],
    ),
    (
        Unary::Celu(0.7),
        [NAN, INF, -0.7, 0.0, -0.690365349287, 3.0, 6.0, -0.532244274491, 0.5, -0.699999974878, 30.0, -0.7],
        [
            NAN,
            1.0,
            0.0,
            1.00000001703,
            0.0137637859629,
            1.0,
            1.0,
            0.239651034693,
            1.0,
            3.58881952815e-08,
            1.0,
            1.45257009058e-56,
        ],
    ),
    (
        Unary::Gelu,
        [
            NAN,
            INF,
            NAN,
            0.0,
            -0.00404969409489,
            2.99595030591,
            5.99999999408,
            -0.158655253931,
            0.345731230637,
            -0.0,
            30.0,
            -0.0,
        ],
        [
            NAN,
            NAN,
            NAN,
            0.5,
            -0.0119456472042,
            1.0119456472,
            1.00000003547,
            -0.0833154705877,
            0.867495124656,
            -2.5756604828e-31,
            1.0,
            0.0,
        ],
    ),
    (
        Unary::GeluTanh,
        [
            NAN,
            INF,
            NAN,
            0.0,
            -0.00363739208177,
            2.99636260792,
            5.99999999992,
            -0.158808009392,
            0.345714009825,
            -0.0,
            30.0,
            -0.0,
        ],
        [
            NAN,
            NAN,
            NAN,
            0.5,
            -0.011584166631,
            1.01158416663,
            1.00000000077,
            -0.0829640838458,
            0.867369903535,
            0.0,
            1.0,
            0.0,
        ],
    ),
    (
        Unary::Silu,
        [
            NAN,
            INF,
            NAN,
            0.0,
            -0.142277619533,
            2.85772238047,
            5.98516426106,
            -0.26894142137,
            0.311229665601,
            -7.37300952266e-05,
            30.0,
            -7.37461136159e-38,
        ],
        [
            NAN,
            NAN,
            NAN,
            0.5,
            -0.0881041060152,
            1.08810410602,
            1.01232643259,
            0.0723294881285,
            0.739961187303,
            -6.75854676138e-05,
            1.0,
            -7.29267123535e-38,
        ],
    ),
    (
        Unary::Hardswish,
        [NAN, INF, NAN, 0.0, -0.0, 3.0, 6.0, -0.333333333333, 0.291666666667, -0.0, 30.0, -0.0],
        [NAN, 1.0, 0.0, 0.5, 0.0, 1.0, 1.0, 0.166666666667, 0.666666666667, 0.0, 1.0, 0.0],
    ),
    (
        Unary::Hardsigmoid,
        [NAN, 1.0, 0.0, 0.5, 0.0, 1.0, 1.0, 0.333333333333, 0.583333333333, 0.0, 1.0, 0.0],
        [0.0, 0.0, 0.0, 0.166666671634, 0.0, 0.0, 0.0, 0.166666671634, 0.166666671634, 0.0, 0.0, 0.0],
    ),
    (
        Unary::Hardtanh(-1.0, 3.0),
        [NAN, 3.0, -1.0, 0.0, -1.0, 3.0, 3.0, -1.0, 0.5, -1.0, 3.0, -1.0],
        [0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0],
    ),
    (
        Unary::Sigmoid,
        [
            NAN,
            1.0,
            0.0,
            0.5,
            0.0474258731776,
            0.952574126822,
            0.997527376843,
            0.26894142137,
            0.622459331202,
            6.14417460221e-06,
            1.0,
            8.19401262399e-40,
        ],
        [
            NAN,
            0.0,
            0.0,
            0.25,
            0.0451766597309,
            0.0451766597309,
            0.00246650929136,
            0.196611933241,
            0.235003712202,
            6.14413685133e-06,
            9.34807786734e-14,
            8.19401262399e-40,
        ],
    ),
    (
        Unary::Tanh,
        [
            NAN,
            1.0,
            -1.0,
            0.0,
            -0.995054753687,
            0.995054753687,
            0.999987711651,
            -0.761594155956,
            0.46211715726,
            -0.999999999924,
            1.0,
            -1.0,
        ],
        [
            NAN,
            0.0,
            0.0,
            1.0,
            0.00986603716544,
            0.00986603716544,
            2.45765474053e-05,
            0.419974341614,
            0.786447732966,
            1.51005430376e-10,
            0.0,
            0.0,
        ],
    ),
    (
        Unary::Softplus { beta: 2.0, threshold: 10.0 },
        [
            NAN,
            INF,
            0.0,
            0.34657359028,
            0.00123784256887,
            3.00123784257,
            6.0,
            0.0634640055215,
            0.656630843759,
            1.8875672721e-11,
            30.0,
            3.35709214411e-79,
        ],
        [
            NAN,
            1.0,
            0.0,
            0.5,
            0.00247262315663,
            0.997527376843,
            1.0,
            0.119202922022,
            0.73105857863,
            3.77513454414e-11,
            1.0,
            6.71418428821e-79,
        ],
    ),
    (
        Unary::Mish,
        [
            NAN,
            INF,
            NAN,
            0.0,
            -0.145647461276,
            2.98653500497,
            5.99992663407,
            -0.303401461374,
            0.375245211305,
            -7.37303217319e-05,
            30.0,
            -7.37461136159e-38,
        ],
        [
            NAN,
            NAN,
            NAN,
            0.6,
            -0.0933931145323,
            1.02110691093,
            1.00013414051,
            0.0592167558774,
            0.886424375358,
            -6.75859017461e-05,
            1.0,
            -7.29267123535e-38,
        ],
    ),
    (
        Unary::Logsigmoid,
        [
            NAN,
            0.0,
            -INF,
            -std::f64::consts::LN_2,
            -3.04858735157,
            -0.0485873515737,
            -0.00247568513773,
            -1.31326168752,
            -0.47407698418,
            -12.0000061442,
            -9.35762296884e-14,
            -90.0,
        ],
        [
            NAN,
            0.0,
            1.0,
            0.5,
            0.952574126822,
            0.0474258731776,
            0.00247262315663,
            0.73105857863,
            0.377540668798,
            0.999993855825,
            9.35762296884e-14,
            1.0,
        ],
    ),
];

fn values(x: &[f64], dtype: DType) -> Tensor {
    Tensor::from_slice(x, [x.len()]).unwrap().to_dtype(dtype).unwrap()
}

/// Equal as f32, NaN to NaN and infinity to infinity.
fn agrees(found: f64, wanted: f64, tolerance: f64) -> bool {
    found == wanted
        || found.is_nan() && wanted.is_nan()
        || (found - wanted).abs() <= tolerance * wanted.abs().max(1e-2)
}

#[test]
fn values_and_slopes_at_corners_and_far_out_are_those_of_pytorch() {
    for (dtype, tolerance) in [(DType::F64, 1e-10), (DType::F32, 2e-5)] {
        for (op, y, slope) in GOLDEN {
            let x = values(&ARGUMENTS, dtype).requires_grad();
            let found = apply(Map(*op), [x.clone()]).unwrap();
            let grads = found.backward_with(Tensor::ones([ARGUMENTS.len()], dtype).unwrap()).unwrap();
            let (found, dx) = (found.to_f64_vec().unwrap(), grads.get(&x).unwrap().to_f64_vec().unwrap());
            for (i, at) in ARGUMENTS.iter().enumerate() {
                assert!(
                    agrees(found[i], y[i], tolerance),
                    "{op:?}({at}) in {dtype}: {} for {}",
                    found[i],
                    y[i]
                );
                assert!(
                    agrees(dx[i], slope[i], tolerance),
                    "{op:?}'({at}) in {dtype}: {} for {}",
                    dx[i],
                    slope[i]
                );
            }
        }
    }
}

fn smooth() -> Vec<Unary> {
    vec![
        Unary::Elu(1.3),
        Unary::Elu(-0.4),
        Unary::Selu,
        Unary::Celu(0.6),
        Unary::Celu(-1.5),
        Unary::Gelu,
        Unary::GeluTanh,
        Unary::Silu,
        Unary::Hardswish,
        Unary::Sigmoid,
        Unary::Tanh,
        Unary::Softplus { beta: 1.0, threshold: 20.0 },
        Unary::Softplus { beta: 1.7, threshold: 1.0 },
        Unary::Logsigmoid,
        Unary::Mish,
    ]
}

#[test]
fn every_map_has_the_gradient_of_its_differences() {
    let in_pieces = [
        Unary::Relu,
        Unary::Relu6,
        Unary::LeakyRelu(0.1),
        Unary::LeakyRelu(-0.3),
        Unary::Hardsigmoid,
        Unary::Hardtanh(-0.5, 0.7),
    ];
    for op in smooth().into_iter().chain(in_pieces) {
        check(&[normal([2, 3, 5], 1)], |x| apply(Map(op), [x[0].clone()]));
    }
    check(&[normal([2, 3, 5], 1)], |x| x[0].clone().softsign());
}

#[test]
fn smooth_maps_have_the_second_gradients_of_their_differences() {
    for op in smooth() {
        check_twice(&[normal([2, 3, 5], 1)], |x| apply(Map(op), [x[0].clone()]));
    }
    check_twice(&[normal([2, 3, 5], 1)], |x| x[0].clone().softsign());
}

#[test]
fn a_gradient_of_a_gradient_goes_through_a_saved_output() {
    // Were y held as a constant, (e^x)'' would be 0.
    let x = Tensor::from_vec(vec![0.5f64], []).unwrap().requires_grad();
    let slope = crate::grad(&x.clone().exp().unwrap(), &[&x], true).unwrap().remove(0);
    let second = crate::grad(&slope, &[&x], false).unwrap().remove(0);
    assert_eq!(second.item::<f64>().unwrap(), slope.item::<f64>().unwrap());
}

#[test]
fn nothing_has_activations_too() {
    for (op, ..) in GOLDEN {
        let x = Tensor::zeros([0, 3, 2], DType::F32).unwrap().requires_grad();
        let y = apply(Map(*op), [x.clone()]).unwrap();
        assert_eq!(**y.shape(), [0, 3, 2]);
        let grads = y.sum().unwrap().backward().unwrap();
        assert_eq!(**grads.get(&x).unwrap().shape(), [0, 3, 2]);
    }
}

#[test]
fn a_map_goes_over_channels_last_and_narrowed_tensors_as_they_lie() {
    let x = normal([4, 3, 2, 5], 1);
    for (op, ..) in GOLDEN {
        let apply = |x: &Tensor| apply(Map(*op), [x.clone()]).unwrap().to_vec::<f64>().unwrap();
        assert_eq!(apply(&x.clone().to_channels_last()), apply(&x));
        assert_eq!(apply(&x.narrow(0, 1, 2).unwrap()), apply(&x)[30..90]);
    }
}

#[test]
fn numbers_that_define_no_function_are_refused() {
    let x = Tensor::zeros([2], DType::F32).unwrap();
    let error = x.clone().celu(0.0).unwrap_err();
    assert_eq!(error.op_name(), Some("celu"));
    let error = x.hardtanh(1.0, -1.0).unwrap_err();
    assert!(error.to_string().contains("min_val 1 is above max_val -1"), "{error}");
}

#[test]
fn a_map_writes_in_place_only_when_nobody_else_holds_the_values() {
    let x = Tensor::from_vec(vec![-1.0f32, 2.0], [2]).unwrap();
    let y = x.clone().relu().unwrap();
    assert_eq!(x.to_vec::<f32>().unwrap(), [-1.0, 2.0]);
    assert_eq!(y.to_vec::<f32>().unwrap(), [0.0, 2.0]);
    let address = y.as_slice::<f32>().unwrap().as_ptr();
    let z = y.scale(3.0).unwrap();
    assert_eq!(z.as_slice::<f32>().unwrap().as_ptr(), address);
    assert_eq!(z.to_vec::<f32>().unwrap(), [0.0, 6.0]);
}

#[test]
fn functions_of_bfloat16_are_those_of_float32_rounded() {
    let x = [rounded([2, 3, 4, 5], 1)];
    for (op, ..) in GOLDEN {
        match on_maps(*op, Mask::of(&[0])) {
            Bf16Rule::Inside(_) => stored_check::check(&x, &[], |x| apply(Map(*op), [x[0].clone()])),
            _ => assert!(matches!(op, Unary::Sigmoid | Unary::Tanh), "{op:?}"),
        }
    }
}
