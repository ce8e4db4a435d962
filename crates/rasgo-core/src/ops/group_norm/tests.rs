use rasgo_kernels::settings::with_threads;

use super::super::grad_check::{check, check_twice, normal};
use super::*;

/// Of torch.nn.functional, for `example()`, eps 1e-3: the first sample.
const GROUP: [f64; 12] = [
    -1.118195184,
    -0.516263446,
    1.805473258,
    0.744604906,
    1.260546396,
    -1.663122047,
    0.33938791,
    -0.275063483,
    0.055794959,
    6.591779417,
    0.069141558,
    -0.781637293,
];
const INSTANCE: [f64; 12] = [
    -0.832083016,
    -0.354674642,
    1.486757658,
    1.188926362,
    1.99804793,
    -2.586974292,
    0.89502976,
    -0.326347116,
    0.331317356,
    4.617422093,
    -1.321396772,
    -2.09602532,
];
const LAYER: [f64; 12] = [
    -0.832083016,
    1.109349284,
    0.993378829,
    -0.394463181,
    1.99804793,
    0.996743573,
    1.290059521,
    2.705388465,
    0.331317356,
    1.505807364,
    1.347597848,
    -0.11600422,
];
/// After instance_norm with momentum 0.3 from 0 and 1.
const RUNNING_MEAN: [f64; 4] = [-0.13, -0.15, -0.72, -0.79];
const RUNNING_VAR: [f64; 4] = [2.027, 1.142, 1.172, 1.487];

fn example() -> [Tensor; 3] {
    let x = Tensor::from_fn([2, 4, 3], |x: &mut [f64]| {
        x.iter_mut().enumerate().for_each(|(i, x)| *x = (i * i % 7) as f64 - 0.3 * i as f64);
    });
    let four = |values: [f64; 4]| Tensor::from_slice(&values, [4]).unwrap();
    [x, four([1.0, -2.0, 0.5, 3.0]), four([0.1, 0.2, 0.3, 0.4])]
}

#[track_caller]
fn near(found: &Tensor, wanted: &[f64], tolerance: f64) {
    let found = found.to_f64_vec().unwrap();
    assert!(found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < tolerance), "{found:?}");
}

#[test]
fn the_values_are_those_of_pytorch() {
    for (dtype, tolerance) in [(DType::F64, 2e-9), (DType::F32, 2e-6)] {
        let [x, weight, bias] = example().map(|x| x.to_dtype(dtype).unwrap());
        for x in [x.clone(), x.clone().to_channels_last()] {
            near(&x.group_norm(2, Some(&weight), Some(&bias), 1e-3).unwrap(), &GROUP, tolerance);
            near(&x.instance_norm(Some(&weight), Some(&bias), 1e-3).unwrap(), &INSTANCE, tolerance);
            let [weight, bias] = [&weight, &bias].map(|tensor| tensor.narrow(0, 0, 3).unwrap());
            near(&x.layer_norm([3], Some(&weight), Some(&bias), 1e-3).unwrap(), &LAYER, tolerance);
            let [mean, var] = [0.0, 1.0].map(|value| Tensor::full([4], value, dtype).unwrap());
            let (_, (mean, var)) = x.instance_norm_running((&mean, &var), None, None, 0.3, 1e-5).unwrap();
            near(&mean, &RUNNING_MEAN, tolerance);
            near(&var, &RUNNING_VAR, tolerance);
        }
    }
}

#[test]
fn every_input_has_the_gradients_of_its_differences_twice() {
    for shape in [vec![2, 6, 5], vec![3, 6], vec![2, 6, 3, 2], vec![2, 6, 1, 2, 3, 2]] {
        let x = normal(shape.clone(), 1);
        let mut tensors = vec![x.clone()];
        if shape.len() == 4 {
            tensors.push(x.to_channels_last());
        }
        for x in tensors {
            let affine = [x.clone(), normal([6], 2), normal([6], 3)];
            check(&affine, |x| x[0].group_norm(3, Some(&x[1]), Some(&x[2]), 1e-3));
            check(&affine[..2], |x| x[0].group_norm(2, None, Some(&x[1]), 1e-3));
            check(&affine[..2], |x| x[0].group_norm(2, Some(&x[1]), None, 1e-3));
            check_twice(&affine, |x| x[0].group_norm(3, Some(&x[1]), Some(&x[2]), 1e-3));
            if shape.len() > 2 {
                check(&affine, |x| x[0].instance_norm(Some(&x[1]), Some(&x[2]), 1e-3));
                check(&affine[..1], |x| x[0].instance_norm(None, None, 1e-3));
                check_twice(&affine, |x| x[0].instance_norm(Some(&x[1]), Some(&x[2]), 1e-3));
            }
            let last = &shape[1..];
            let affine = [x, normal(last, 2), normal(last, 3)];
            check(&affine, |x| x[0].layer_norm(last, Some(&x[1]), Some(&x[2]), 1e-3));
            check(&affine[..1], |x| x[0].layer_norm(&last[last.len() - 1..], None, None, 1e-3));
            check_twice(&affine, |x| x[0].layer_norm(last, Some(&x[1]), Some(&x[2]), 1e-3));
        }
    }
}

#[test]
fn narrowed_and_permuted_inputs_have_the_values_of_their_copies() {
    let x = normal([3, 4, 2, 5], 1);
    let turned = x.permute(&[0, 1, 3, 2]).unwrap();
    let copy = Tensor::from_vec(turned.to_vec::<f64>().unwrap(), [3, 4, 5, 2]).unwrap();
    let maps: [fn(&Tensor) -> Tensor; 3] = [
        |x| x.group_norm(2, None, None, 1e-5).unwrap(),
        |x| x.instance_norm(None, None, 1e-5).unwrap(),
        |x| x.layer_norm(&x.shape()[2..], None, None, 1e-5).unwrap(),
    ];
    for map in maps {
        assert_eq!(map(&turned).to_f64_vec().unwrap(), map(&copy).to_f64_vec().unwrap());
        let part = map(&x.narrow(0, 1, 1).unwrap()).to_f64_vec().unwrap();
        assert_eq!(part, map(&x).to_f64_vec().unwrap()[40..80]);
    }
}

#[test]
fn a_row_of_a_batch_is_the_single_prediction_to_the_bit() {
    let x = normal([5, 6, 40, 30], 1).to_dtype(DType::F32).unwrap();
    let all = x.group_norm(3, None, None, 1e-5).unwrap().to_f64_vec().unwrap();
    let one = x.narrow(0, 3, 1).unwrap().group_norm(3, None, None, 1e-5).unwrap();
    assert_eq!(one.to_f64_vec().unwrap(), all[3 * 7200..4 * 7200]);
}

#[test]
fn empty_batches_work_and_empty_groups_are_as_in_pytorch() {
    let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32).unwrap().requires_grad();
    for (x, y) in [
        (zeros(&[0, 4, 3]), zeros(&[0, 4, 3]).group_norm(2, None, None, 1e-5)),
        (zeros(&[0, 4, 3]), zeros(&[0, 4, 3]).instance_norm(None, None, 1e-5)),
        (zeros(&[2, 4, 0]), zeros(&[2, 4, 0]).instance_norm(None, None, 1e-5)),
        (zeros(&[2, 0, 3]), zeros(&[2, 0, 3]).instance_norm(None, None, 1e-5)),
        (zeros(&[0, 3]), zeros(&[0, 3]).layer_norm([3], None, None, 1e-5)),
        (zeros(&[2, 0]), zeros(&[2, 0]).layer_norm([0], None, None, 1e-5)),
    ] {
        let y = y.unwrap();
        assert_eq!(y.shape(), x.shape());
        y.sum().unwrap().backward().unwrap();
    }
    let weight = Tensor::ones([4], DType::F32).unwrap().requires_grad();
    let y = zeros(&[0, 4, 3]).group_norm(2, Some(&weight), None, 1e-5).unwrap();
    let grads = y.sum().unwrap().backward().unwrap();
    assert_eq!(grads.get(&weight).unwrap().to_vec::<f32>().unwrap(), [0.0; 4]);
}

#[test]
fn groups_that_do_not_divide_and_other_bad_shapes_are_named() {
    let x = |shape: &[usize]| Tensor::ones(shape, DType::F32).unwrap();
    let group =
        |shape: &[usize], groups| x(shape).group_norm(groups, None, None, 1e-5).unwrap_err().to_string();
    for (found, part) in [
        (group(&[2, 5, 3], 2), "5 channels of input [2, 5, 3] in 2 groups: 1 are left over"),
        (group(&[2, 4, 3], 0), "0 groups"),
        (group(&[2, 4, 0], 2), "empty spatial axis"),
        (group(&[1, 2], 2), "no variance"),
        (group(&[4], 2), "must be (N, C)"),
        (x(&[2, 4, 1]).instance_norm(None, None, 1e-5).unwrap_err().to_string(), "no variance"),
        (x(&[2, 4]).instance_norm(None, None, 1e-5).unwrap_err().to_string(), "no variance"),
        (x(&[2, 4]).layer_norm([3], None, None, 1e-5).unwrap_err().to_string(), "does not end with"),
        (x(&[2, 4]).layer_norm([], None, None, 1e-5).unwrap_err().to_string(), "has no axis"),
    ] {
        assert!(found.contains(part), "{found}");
    }
    let error = x(&[2, 4, 3]).group_norm(2, None, Some(&x(&[3])), 1e-5).unwrap_err();
    assert!(error.to_string().contains("group_norm: bias [3] for input [2, 4, 3]"), "{error}");
    assert_eq!(error.location().unwrap().file(), file!());
}

#[test]
fn a_group_of_one_value_is_the_bias_and_has_gradient_zero() {
    let x = normal([3, 2], 1).to_dtype(DType::F32).unwrap().requires_grad();
    let weight = normal([2], 2).to_dtype(DType::F32).unwrap();
    let y = x.group_norm(2, Some(&weight), None, 1e-5).unwrap();
    assert_eq!(y.to_vec::<f32>().unwrap(), [0.0; 6]);
    let dy = normal([3, 2], 3).to_dtype(DType::F32).unwrap();
    let grads = y.backward_with(dy).unwrap();
    assert_eq!(grads.get(&x).unwrap().to_vec::<f32>().unwrap(), [0.0; 6]);
}

#[test]
fn a_denormal_weight_counts_as_zero_on_every_thread() {
    let x = normal([4, 8, 70, 30], 1).to_dtype(DType::F32).unwrap();
    let weight = Tensor::full([8], 1e-40, DType::F32).unwrap();
    for threads in [1, 2, 3] {
        let outputs = with_threads(threads, || {
            let batch = x.batch_norm(Some(&weight), None, BatchNormOptions::default()).unwrap().output;
            [x.group_norm(2, Some(&weight), None, 1e-5).unwrap(), batch]
        });
        for y in outputs {
            assert!(y.to_vec::<f32>().unwrap().iter().all(|&y| y == 0.0), "{threads} threads");
        }
    }
}
