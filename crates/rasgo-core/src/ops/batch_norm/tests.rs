use super::super::grad_check::{check, check_twice, normal};
use super::super::stored_check::{self, rounded};
use super::*;

fn all_options() -> Vec<BatchNormOptions> {
    let pool = Some(PoolAfter { kernel: [1, 2, 3] });
    [
        (Activation::None, None),
        (Activation::Relu, None),
        (Activation::Relu6, None),
        (Activation::None, pool),
        (Activation::Relu, pool),
    ]
    .map(|(activation, pool)| BatchNormOptions { activation, pool, ..Default::default() })
    .to_vec()
}

/// A weight that makes some values larger than 6.
fn steep() -> Tensor {
    Tensor::from_vec(vec![6.0, -9.0], [2]).unwrap()
}

fn activated(y: Tensor, activation: Activation) -> Result<Tensor> {
    match activation {
        Activation::None => Ok(y),
        Activation::Relu => y.relu(),
        Activation::Relu6 => y.relu6(),
    }
}

#[test]
fn a_shortcut_in_the_same_pass_is_the_sum_after_it_in_value_and_gradients() {
    let (mean, var) = (normal([2], 4), normal([2], 5).square().unwrap());
    let inputs = [normal([3, 2, 5], 1), steep(), normal([2], 3), normal([3, 2, 5], 6)];
    for activation in [Activation::None, Activation::Relu, Activation::Relu6] {
        let options = BatchNormOptions { activation, ..Default::default() };
        let batch = |x: &[Tensor]| Ok(x[0].batch_norm_add(Some(&x[1]), Some(&x[2]), &x[3], options)?.output);
        let given =
            |x: &[Tensor]| x[0].batch_norm_add_with(Some(&x[1]), Some(&x[2]), &mean, &var, &x[3], options);
        check(&inputs, batch);
        check(&inputs, given);
        check_twice(&inputs, batch);
        check_twice(&inputs, given);
        let apart = |y: Tensor, dtype| {
            activated((y + inputs[3].to_dtype(dtype).unwrap()).unwrap(), activation).unwrap()
        };
        for dtype in [DType::F32, DType::F64] {
            let x = inputs.each_ref().map(|t| t.to_dtype(dtype).unwrap());
            let plain = BatchNormOptions::default();
            let wanted = x[0].batch_norm(Some(&x[1]), Some(&x[2]), plain).unwrap().output;
            let wanted = apart(wanted, dtype).to_f64_vec().unwrap();
            assert_eq!(batch(&x).unwrap().to_f64_vec().unwrap(), wanted, "{activation:?}");
        }
    }
}

#[test]
fn what_does_not_go_into_one_pass_is_refused() {
    let x = normal([3, 2, 4, 4], 1);
    let pool = Some(PoolAfter { kernel: [1, 2, 2] });
    let relu6 = BatchNormOptions { activation: Activation::Relu6, pool, ..Default::default() };
    let plain = BatchNormOptions { pool, ..Default::default() };
    for error in
        [x.batch_norm(None, None, relu6).unwrap_err(), x.batch_norm_add(None, None, &x, plain).unwrap_err()]
    {
        assert!(error.to_string().contains("a pooling in the same pass"), "{error}");
    }
    let other = normal([3, 2, 4, 3], 2);
    let error = x.batch_norm_add(None, None, &other, BatchNormOptions::default()).unwrap_err();
    assert!(error.to_string().contains("shortcut [3, 2, 4, 3] for input [3, 2, 4, 4]"), "{error}");
}

#[test]
fn batch_norm_has_the_gradients_of_its_differences() {
    for options in all_options() {
        let inputs = [normal([3, 2, 5, 7], 1), steep(), normal([2], 3)];
        check(&inputs, |x| Ok(x[0].batch_norm(Some(&x[1]), Some(&x[2]), options)?.output));
        let (mean, var) = (normal([2], 4), normal([2], 5).square().unwrap());
        check(&inputs, |x| x[0].batch_norm_with(Some(&x[1]), Some(&x[2]), &mean, &var, options));
    }
}

#[test]
fn the_composite_is_the_ops_one_after_the_other() {
    let (x, gamma, beta) = (normal([3, 2, 5, 7], 1), steep(), normal([2], 3));
    for dtype in [DType::F32, DType::F64] {
        let [x, gamma, beta] = [&x, &gamma, &beta].map(|t| t.to_dtype(dtype).unwrap());
        for options in all_options() {
            let fused = x.batch_norm(Some(&gamma), Some(&beta), options).unwrap().output;
            let plain = BatchNormOptions::default();
            let mut apart = x.batch_norm(Some(&gamma), Some(&beta), plain).unwrap().output;
            apart = activated(apart, options.activation).unwrap();
            if let Some(pool) = options.pool {
                apart = apart.max_pool(&MaxPoolOptions::new(pool.kernel)).unwrap();
            }
            assert_eq!(fused.to_f64_vec().unwrap(), apart.to_f64_vec().unwrap());
        }
    }
}

#[test]
fn batch_norm_has_the_second_gradients_of_its_differences() {
    let statistics = [normal([2], 4), normal([2], 5).square().unwrap()];
    for activation in [Activation::None, Activation::Relu, Activation::Relu6] {
        let options = BatchNormOptions { activation, ..Default::default() };
        let inputs = [normal([3, 2, 5], 1), steep(), normal([2], 3)];
        check_twice(&inputs, |x| Ok(x[0].batch_norm(Some(&x[1]), Some(&x[2]), options)?.output));
        let [mean, var] = &statistics;
        check_twice(&inputs, |x| x[0].batch_norm_with(Some(&x[1]), Some(&x[2]), mean, var, options));
    }
}

#[test]
fn a_missing_weight_is_one_and_a_missing_bias_zero_at_any_rank() {
    for shape in [vec![4, 3], vec![2, 3, 4], vec![2, 3, 1, 4, 2, 3]] {
        let x = normal(shape, 1);
        let [one, zero] = [1.0, 0.0].map(|value| Tensor::full([3], value, DType::F64).unwrap());
        let options = BatchNormOptions::default();
        let wanted = x.batch_norm(Some(&one), Some(&zero), options).unwrap();
        let found = x.batch_norm(None, None, options).unwrap();
        assert_eq!(found.output.shape(), x.shape());
        assert_eq!(found.output.to_f64_vec().unwrap(), wanted.output.to_f64_vec().unwrap());
        check(std::slice::from_ref(&x), |x| Ok(x[0].batch_norm(None, None, options)?.output));
        let (mean, var) = (&found.mean, &found.var);
        let found = x.batch_norm_with(None, None, mean, var, options).unwrap();
        assert_eq!(found.to_f64_vec().unwrap(), wanted.output.to_f64_vec().unwrap());
    }
}

#[test]
fn a_map_has_the_values_of_the_plain_tensor() {
    let x = normal([2, 3, 4, 5], 1);
    let options = BatchNormOptions::default();
    let wanted = x.batch_norm(None, None, options).unwrap().output.to_f64_vec().unwrap();
    let map = x.clone().to_channels_last().batch_norm(None, None, options).unwrap();
    assert_eq!(map.output.to_f64_vec().unwrap(), wanted);
    let turned = x.permute(&[0, 1, 3, 2]).unwrap().batch_norm(None, None, options).unwrap().output;
    let turned = turned.permute(&[0, 1, 3, 2]).unwrap().to_f64_vec().unwrap();
    assert!(turned.iter().zip(&wanted).all(|(a, b)| (a - b).abs() < 1e-12));
}

#[test]
fn running_statistics_hold_the_unbiased_variance_and_an_empty_batch_changes_nothing() {
    // torch.nn.functional.batch_norm with momentum 0.3.
    let x = Tensor::from_vec(vec![1.0f64, 2.0, 4.0, 8.0, 16.0, 40.0], [3, 2]).unwrap();
    let before = [5.0, 3.0].map(|value| Tensor::full([2], value, DType::F64).unwrap());
    let batch = x.batch_norm(None, None, BatchNormOptions::default()).unwrap();
    let (mean, var) = batch.running((&before[0], &before[1]), 0.3).unwrap();
    let near = |found: Tensor, wanted: [f64; 2]| {
        let found = found.to_vec::<f64>().unwrap();
        assert!(found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?}");
    };
    near(mean, [5.6, 8.5]);
    near(var, [21.0, 127.3]);
    for shape in [[0, 2, 3], [3, 2, 0]] {
        let empty = Tensor::zeros(shape, DType::F64).unwrap().requires_grad();
        let batch = empty.batch_norm(None, None, BatchNormOptions::default()).unwrap();
        let (mean, var) = batch.running((&before[0], &before[1]), 0.3).unwrap();
        near(mean, [5.0, 5.0]);
        near(var, [3.0, 3.0]);
        let grads = batch.output.sum().unwrap().backward().unwrap();
        assert_eq!(**grads.get(&empty).unwrap().shape(), shape);
        let weight = Tensor::ones([2], DType::F64).unwrap().requires_grad();
        let batch = empty.detach().batch_norm(Some(&weight), None, BatchNormOptions::default()).unwrap();
        near(batch.output.sum().unwrap().backward().unwrap().remove(&weight).unwrap(), [0.0, 0.0]);
    }
}

#[test]
fn an_eps_that_lets_the_deviation_be_zero_is_refused_in_training() {
    let x = Tensor::ones([4, 2], DType::F32).unwrap();
    let error = x.batch_norm(None, None, BatchNormOptions { eps: 0.0, ..Default::default() }).unwrap_err();
    assert!(error.to_string().contains("must be positive"), "{error}");
}

#[test]
fn one_value_for_each_channel_is_refused_in_training() {
    let one = Tensor::ones([2], DType::F32).unwrap();
    let x = Tensor::ones([1, 2, 1, 1], DType::F32).unwrap();
    let error = x.batch_norm(Some(&one), Some(&one), BatchNormOptions::default()).unwrap_err();
    assert!(error.to_string().contains("no variance"), "{error}");
}

#[test]
fn maps_of_bfloat16_stay_so_and_statistics_and_parameters_float32() {
    let (mean, var) = (rounded([2], 4), rounded([2], 5).square().unwrap());
    let channels = [steep().to_dtype(DType::F32).unwrap(), rounded([2], 3)];
    for x in [rounded([3, 2, 5, 7], 1), rounded([3, 2, 5, 7], 1).to_channels_last()] {
        for options in all_options() {
            let maps = std::slice::from_ref(&x);
            stored_check::check(maps, &channels, |x| {
                let batch = x[0].batch_norm(Some(&x[1]), Some(&x[2]), options)?;
                assert_eq!([batch.mean.dtype(), batch.var.dtype()], [DType::F32; 2]);
                let (mean, _) = batch.running((&mean, &var), 0.1)?;
                assert_eq!(mean.dtype(), DType::F32);
                Ok(batch.output)
            });
            stored_check::check(maps, &channels, |x| {
                x[0].batch_norm_with(Some(&x[1]), Some(&x[2]), &mean, &var, options)
            });
            stored_check::check(maps, &[], |x| Ok(x[0].batch_norm(None, None, options)?.output));
            if options.pool.is_none() {
                let maps = [x.clone(), rounded([3, 2, 5, 7], 6)];
                stored_check::check(&maps, &channels, |x| {
                    Ok(x[0].batch_norm_add(Some(&x[2]), Some(&x[3]), &x[1], options)?.output)
                });
                stored_check::check(&maps, &channels, |x| {
                    x[0].batch_norm_add_with(Some(&x[2]), Some(&x[3]), &mean, &var, &x[1], options)
                });
            }
        }
    }
}

#[test]
fn gradients_with_gradients_of_bfloat16_have_the_dtypes_of_their_inputs() {
    let x = rounded([3, 2, 5], 1).to_dtype(DType::Bf16).unwrap().requires_grad();
    let gamma = rounded([2], 2).requires_grad();
    let options = BatchNormOptions { activation: Activation::Relu, ..Default::default() };
    let loss = x.batch_norm(Some(&gamma), None, options).unwrap().output.square().unwrap().sum().unwrap();
    let grads = crate::grad(&loss, &[&x, &gamma], true).unwrap();
    assert_eq!([grads[0].dtype(), grads[1].dtype()], [DType::Bf16, DType::F32]);
}
