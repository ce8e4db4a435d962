//! Golden values are PyTorch 2's on `numbers`, whose values repeat after 23.

use super::*;
use crate::op::{Event, observe};
use crate::ops::grad_check::{check, check_twice, normal};
use crate::ops::stored_check::{self, rounded};
use crate::{DType, ErrorKind, Layout, Tensor};

/// -11, 3, -6, 8, …: (37 i mod 23) - 11.
fn numbers(shape: impl Into<Shape>) -> Tensor {
    Tensor::from_fn(shape, |x: &mut [f64]| {
        x.iter_mut().enumerate().for_each(|(i, x)| *x = (i * 37 % 23) as f64 - 11.0);
    })
}

fn values(x: &Tensor) -> Vec<f64> {
    x.to_f64_vec().unwrap()
}

#[track_caller]
fn assert_near(x: &Tensor, want: &[f64]) {
    let got = values(x);
    let near = got.len() == want.len() && got.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-6);
    assert!(near, "{got:?} is not {want:?}");
}

/// What `f` refuses, in words.
fn refusal<R>(result: Result<R>) -> String {
    result.err().expect("it is refused").to_string()
}

fn max(kernel: [usize; 3], stride: [usize; 3], padding: [usize; 3]) -> MaxPoolOptions {
    MaxPoolOptions { stride, padding, ..MaxPoolOptions::new(kernel) }
}

fn avg(kernel: [usize; 3], stride: [usize; 3], padding: [usize; 3]) -> AvgPoolOptions {
    AvgPoolOptions { stride, padding, ..AvgPoolOptions::new(kernel) }
}

/// Maps of one, two and three axes with a pooling that is different on every axis; the last has windows of more cells
/// than a byte numbers.
fn cases() -> Vec<(Vec<usize>, MaxPoolOptions)> {
    vec![
        (vec![2, 3, 9], MaxPoolOptions { ceil_mode: true, ..max([1, 1, 3], [1, 1, 2], [0, 0, 1]) }),
        (vec![2, 3, 7, 6], MaxPoolOptions { ceil_mode: true, ..max([1, 3, 2], [1, 2, 3], [0, 1, 0]) }),
        (vec![2, 2, 7, 8], MaxPoolOptions { dilation: [1, 2, 3], ..max([1, 3, 2], [1, 1, 2], [0, 1, 0]) }),
        (vec![1, 2, 4, 5, 6], max([2, 2, 3], [2, 1, 3], [1, 0, 1])),
        (vec![1, 2, 19, 20], max([1, 17, 16], [1, 2, 3], [0, 3, 2])),
    ]
}

#[test]
fn poolings_have_the_gradients_of_their_differences_and_so_have_these() {
    for (shape, options) in cases() {
        let x = normal(shape, 1);
        check(std::slice::from_ref(&x), |x| x[0].max_pool(&options));
        let MaxPoolOptions { kernel, stride, padding, ceil_mode, .. } = options;
        let divisor_override = (x.shape().len() > 3).then_some(-3);
        for (count_include_pad, divisor_override) in [(true, None), (false, None), (true, divisor_override)] {
            let options =
                AvgPoolOptions { kernel, stride, padding, ceil_mode, count_include_pad, divisor_override };
            check(std::slice::from_ref(&x), |x| x[0].avg_pool(&options));
        }
        check(std::slice::from_ref(&x), |x| x[0].adaptive_avg_pool([2, 3, 4]));
        check(std::slice::from_ref(&x), |x| x[0].adaptive_max_pool([2, 3, 4]));
        if x.shape().elements() < 300 {
            check_twice(std::slice::from_ref(&x), |x| x[0].max_pool(&options));
            check_twice(std::slice::from_ref(&x), |x| x[0].avg_pool(&avg(kernel, stride, padding)));
            check_twice(std::slice::from_ref(&x), |x| x[0].adaptive_avg_pool([Some(2), None, Some(11)]));
            check_twice(std::slice::from_ref(&x), |x| x[0].adaptive_max_pool([Some(2), None, Some(11)]));
        }
    }
    let x = normal([1, 1, 17, 19], 2);
    check_twice(std::slice::from_ref(&x), |x| x[0].max_pool(&max([1, 17, 16], [1, 1, 2], [0; 3])));
    check(&[normal([2, 3, 5, 4], 1)], |x| x[0].adaptive_avg_pool([1, 1, 1]));
}

#[test]
fn unpooling_has_the_gradient_of_its_differences_and_so_has_that() {
    for (shape, options) in cases().into_iter().take(4) {
        // Windows side by side, so that no index comes twice.
        let options = MaxPoolOptions { dilation: [1; 3], ..max(options.kernel, options.kernel, [0; 3]) };
        let x = normal(shape, 1);
        let (y, indices) = x.max_pool_with_indices(&options).unwrap();
        let (_, _, size) = x.shape().image();
        let unpool = MaxUnpoolOptions { output_size: Some(size), ..MaxUnpoolOptions::new(options.kernel) };
        check(std::slice::from_ref(&y), |y| y[0].max_unpool(&indices, &unpool));
        check_twice(std::slice::from_ref(&y), |x| x[0].max_unpool(&indices, &unpool));
    }
}

#[test]
fn kernel_stride_padding_and_dilation_of_one_axis_are_not_another_axis_s() {
    let options =
        MaxPoolOptions { dilation: [1, 1, 2], ceil_mode: true, ..max([1, 3, 2], [1, 2, 3], [0, 1, 0]) };
    let (y, i) = numbers([1, 2, 5, 7]).max_pool_with_indices(&options).unwrap();
    let want = [0., 8., 10., 7., 8., 10., 7., 9., 5., 7., 3., 11., 8., 10., 6., 2., 10., 6.];
    assert_eq!(values(&y), want);
    let want = [9., 3., 13., 21., 26., 13., 21., 31., 34., 9., 12., 6., 14., 24., 27., 30., 24., 27.];
    assert_eq!(values(&i), want);
    let options = MaxPoolOptions { dilation: [1, 2, 1], ..max([2, 3, 2], [2, 1, 3], [1, 0, 1]) };
    let (y, i) = numbers([1, 1, 4, 5, 6]).max_pool_with_indices(&options).unwrap();
    assert_eq!(values(&y), [3., 8., 4., 9., 11., 10., 7., 10., 8.]);
    assert_eq!(values(&i), [24., 3., 29., 54., 87., 59., 90., 105., 95.]);
    let options = AvgPoolOptions { ceil_mode: true, ..avg([2, 3, 2], [2, 2, 3], [1, 1, 0]) };
    let y = numbers([1, 1, 3, 4, 5]).avg_pool(&options).unwrap();
    let want = [-1.1666666, 1.3333334, -1.0, 2.75, -0.25, 1.625, -0.25, -1.0, -1.75, 0.0, -0.375, 0.5];
    assert_near(&y, &want);
}

#[test]
fn layouts_narrowed_and_permuted_inputs_pool_alike_for_every_channel_count() {
    for c in (1..10).chain([17, 33]) {
        for (shape, options) in cases() {
            let shape: Vec<usize> = [3, c].into_iter().chain(shape[2..].iter().copied()).collect();
            let plain = numbers(shape.clone());
            let mut order: Vec<isize> = (0..shape.len() as isize).collect();
            order.swap(1, 2);
            let swapped = plain.permute(&order).unwrap();
            let whole = numbers([&[5], &shape[1..]].concat());
            let inputs = [
                (plain.clone(), plain.clone()),
                (plain.clone().to_channels_last(), plain.clone()),
                (swapped.permute(&order).unwrap(), plain.clone()),
                (whole.narrow(0, 1, 3).unwrap(), whole.narrow(0, 1, 3).unwrap().deep_copy()),
                (whole.clone().to_channels_last().narrow(0, 1, 3).unwrap(), whole.narrow(0, 1, 3).unwrap()),
            ];
            for (x, same) in inputs {
                let all = |x: &Tensor| {
                    let x = x.clone().requires_grad();
                    let MaxPoolOptions { kernel, stride, padding, .. } = options;
                    let (y, i) = x.max_pool_with_indices(&options).unwrap();
                    let mean = x.avg_pool(&avg(kernel, stride, padding)).unwrap();
                    let (a, j) = x.adaptive_max_pool_with_indices([2, 3, 5]).unwrap();
                    let b = x.adaptive_avg_pool([2, 3, 5]).unwrap();
                    let unpool = MaxUnpoolOptions { kernel: [8; 3], ..MaxUnpoolOptions::new([8, 8, 9]) };
                    let back = a.max_unpool(&j, &unpool).unwrap();
                    let mut found = Vec::new();
                    for y in [y, mean, a, b, back] {
                        let loss = y.clone().square().unwrap().sum().unwrap();
                        let dx = crate::grad(&loss, &[&x], false).unwrap().swap_remove(0);
                        found.extend([values(&y), values(&dx)]);
                    }
                    found.extend([values(&i), values(&j)]);
                    found
                };
                assert_eq!(all(&x), all(&same), "{c} channels, {shape:?}");
            }
        }
    }
    let y = numbers([2, 3, 4, 6]).max_pool(&MaxPoolOptions::new([1, 2, 2])).unwrap();
    assert_eq!(y.layout(), Layout::ChannelsLast);
}

#[test]
fn the_last_window_of_ceil_mode_does_not_begin_in_the_padding_in_1d_2d_and_3d() {
    let sizes: [&[usize]; 3] = [&[5], &[7, 5], &[9, 7, 5]];
    for size in sizes {
        let shape = [&[1, 1], size].concat();
        let x = Tensor::zeros(shape, DType::F32).unwrap();
        let options = MaxPoolOptions { ceil_mode: true, ..max([4, 3, 2], [4, 3, 2], [2, 1, 1]) };
        // 5 + 2 in steps of 2, 7 + 2 of 3, 9 + 4 of 4: one more would begin at 5 + 1, 7 + 1 and 9 + 2.
        let want: &[usize] = &[3, 3, 3][..size.len()];
        assert_eq!(&x.max_pool(&options).unwrap().shape()[2..], want);
        let means =
            AvgPoolOptions { ceil_mode: true, ..avg(options.kernel, options.stride, options.padding) };
        assert_eq!(&x.avg_pool(&means).unwrap().shape()[2..], want);
    }
    let options = MaxPoolOptions { ceil_mode: true, ..max([1, 1, 4], [1, 1, 3], [0, 0, 2]) };
    let (y, i) = numbers([1, 2, 11]).max_pool_with_indices(&options).unwrap();
    assert_eq!(values(&y), [3., 8., 4., 9., -9., 5., 10., 11., 11., 7.]);
    assert_eq!(values(&i), [1., 3., 6., 8., 10., 0., 2., 7., 7., 10.]);
}

#[test]
fn a_window_larger_than_the_map_counts_in_ceil_mode_where_a_step_reaches_it() {
    let x = Tensor::from_vec(vec![1.0f64, 2.0], [1, 1, 2]).unwrap();
    let pool = |stride, ceil_mode| {
        x.max_pool(&MaxPoolOptions { ceil_mode, ..max([1, 1, 5], [1, 1, stride], [0; 3]) })
    };
    assert_eq!(values(&pool(4, true).unwrap()), [2.0]);
    assert!(refusal(pool(3, true)).contains("spans 5 = 1 * (5 - 1) + 1 along width"));
    assert!(refusal(pool(4, false)).contains("only 2 = 2 + 2 * 0"));
    let mean = AvgPoolOptions { ceil_mode: true, ..avg([1, 1, 3], [1, 1, 2], [0; 3]) };
    assert_eq!(values(&x.avg_pool(&mean).unwrap()), [1.5]);
}

#[test]
fn padding_never_wins_over_negative_values_and_is_at_most_half_the_kernel() {
    let x = Tensor::full([1, 2, 3, 3], -5.0, DType::F32).unwrap();
    let y = x.max_pool(&max([1, 3, 3], [1, 1, 1], [0, 1, 1])).unwrap();
    assert_eq!(y.to_vec::<f32>().unwrap(), vec![-5.0; 18]);
    // Also not more than half of what a dilated window spans.
    let wide = MaxPoolOptions { dilation: [1, 1, 2], ..max([1, 3, 2], [1, 1, 1], [0, 1, 2]) };
    let text = refusal(x.max_pool(&wide));
    assert!(text.contains("padding 2 along width is more than half of kernel 2; give 1 or less"), "{text}");
    assert!(refusal(x.avg_pool(&avg([1, 3, 3], [1; 3], [0, 2, 0]))).contains("padding 2 along height"));
}

#[test]
fn overlapping_windows_add_their_gradients_whatever_kernel_and_stride() {
    for (stride, padding, want) in [
        (2, 0, vec![(8, 1.), (18, 16.), (21, 4.)]),
        (1, 1, vec![(3, 9.), (8, 81.), (13, 48.), (18, 171.), (21, 104.), (26, 97.), (31, 120.)]),
    ] {
        let x = numbers([1, 1, 5, 7]).requires_grad();
        let y = x.max_pool(&max([1, 3, 3], [1, stride, stride], [0, padding, padding])).unwrap();
        let dy = Tensor::from_fn(y.shape().clone(), |dy: &mut [f64]| {
            dy.iter_mut().enumerate().for_each(|(i, dy)| *dy = i as f64 + 1.0);
        });
        let dx = values(y.backward_with(dy).unwrap().get(&x).unwrap());
        let found: Vec<_> = dx.into_iter().enumerate().filter(|(_, dx)| *dx != 0.0).collect();
        assert_eq!(found, want);
    }
}

#[test]
fn the_first_of_equal_maxima_wins_and_of_nans_the_last() {
    let nan = f64::NAN;
    let mut x = vec![0.0; 16];
    (x[1], x[4], x[15]) = (nan, nan, nan);
    let x = Tensor::from_vec(x, [1, 1, 4, 4]).unwrap();
    let (y, i) = x.max_pool_with_indices(&MaxPoolOptions::new([1, 2, 2])).unwrap();
    assert_eq!(format!("{:?}", values(&y)), "[NaN, 0.0, 0.0, NaN]");
    assert_eq!(values(&i), [4., 2., 8., 15.]);
    let (y, i) = x.max_pool_with_indices(&max([1, 3, 3], [1; 3], [0, 1, 1])).unwrap();
    assert!(y.to_vec::<f64>().unwrap()[0].is_nan());
    assert_eq!(values(&i), [4., 4., 1., 2., 4., 4., 1., 2., 4., 4., 15., 15., 8., 8., 15., 15.]);
    let (_, i) = x.adaptive_max_pool_with_indices([1, 2, 2]).unwrap();
    assert_eq!(values(&i), [4., 2., 8., 15.]);
}

#[test]
fn windows_of_minus_infinity_have_their_first_cell_as_maximum() {
    let x = Tensor::full([1, 1, 4, 4], f64::NEG_INFINITY, DType::F64).unwrap().requires_grad();
    let (y, i) = x.max_pool_with_indices(&max([1, 2, 2], [1, 2, 2], [0, 1, 1])).unwrap();
    assert_eq!(values(&y), [f64::NEG_INFINITY; 9]);
    assert_eq!(values(&i), [0., 1., 3., 4., 5., 7., 12., 13., 15.]);
    let dy = Tensor::ones([1, 1, 3, 3], DType::F64).unwrap();
    let dx = values(y.backward_with(dy).unwrap().get(&x).unwrap());
    assert_eq!(dx, [1., 1., 0., 1., 1., 1., 0., 1., 0., 0., 0., 0., 1., 1., 0., 1.]);
}

#[test]
fn a_dilated_window_that_misses_the_map_has_pytorchs_index_and_no_gradient() {
    let x = Tensor::from_vec(vec![1.0f64, 2.0], [1, 1, 2]).unwrap().requires_grad();
    let options = MaxPoolOptions { dilation: [1, 1, 3], ..max([1, 1, 2], [1; 3], [0, 0, 1]) };
    let (y, i) = x.max_pool_with_indices(&options).unwrap();
    assert_eq!((values(&y), values(&i)), (vec![f64::NEG_INFINITY], vec![2.0]));
    let dy = Tensor::ones([1, 1, 1], DType::F64).unwrap();
    assert_eq!(values(y.backward_with(dy).unwrap().get(&x).unwrap()), [0.0, 0.0]);
}

#[test]
fn max_pooling_and_unpooling_go_round() {
    for (shape, options) in cases() {
        let x = normal(shape, 3);
        let (_, _, size) = x.shape().image();
        let MaxPoolOptions { kernel, stride, padding, .. } = options;
        let (y, indices) = x.max_pool_with_indices(&MaxPoolOptions { dilation: [1; 3], ..options }).unwrap();
        let unpool = MaxUnpoolOptions { kernel, stride, padding, output_size: Some(size) };
        // Ceil mode may make windows that reach beyond: their sizes are refused, as in PyTorch.
        let Ok(back) = y.max_unpool(&indices, &unpool) else { continue };
        assert_eq!(back.shape(), x.shape());
        // Every value that came back is the one that was there.
        let kept = values(&back).into_iter().zip(values(&x)).filter(|(back, _)| *back != 0.0);
        assert!(kept.clone().count() > 0 && kept.into_iter().all(|(back, x)| back == x));
    }
}

#[test]
fn of_equal_indices_the_last_value_stays_and_each_has_the_gradient_there() {
    let x = Tensor::from_vec(vec![1.0f64, 2.0, 3.0, 4.0], [1, 1, 2, 2]).unwrap().requires_grad();
    let indices = Tensor::from_vec(vec![0i64, 3, 3, 5], [1, 1, 2, 2]).unwrap();
    let y = x.max_unpool(&indices, &MaxUnpoolOptions::new([1, 2, 2])).unwrap();
    let mut want = [0.0; 16];
    (want[0], want[3], want[5]) = (1.0, 3.0, 4.0);
    assert_eq!(values(&y), want);
    let dy = Tensor::from_fn([1, 1, 4, 4], |dy: &mut [f64]| {
        dy.iter_mut().enumerate().for_each(|(i, dy)| *dy = i as f64);
    });
    assert_eq!(values(y.backward_with(dy).unwrap().get(&x).unwrap()), [0., 3., 3., 5.]);
}

#[test]
fn unpooling_refuses_what_pytorch_refuses() {
    let x = numbers([1, 1, 2, 2]);
    let indices = Tensor::from_vec(vec![0i64, 3, 3, 5], [1, 1, 2, 2]).unwrap();
    let options = MaxUnpoolOptions::new([1, 2, 2]);
    let to = |size| MaxUnpoolOptions { output_size: Some(size), ..options.clone() };
    assert_eq!(**x.max_unpool(&indices, &to([1, 5, 3])).unwrap().shape(), [1, 1, 5, 3]);
    for (size, along) in [([1, 6, 4], "height"), ([1, 2, 4], "height"), ([1, 4, 6], "width")] {
        let text = refusal(x.max_unpool(&indices, &to(size)));
        assert!(
            text.contains("is not within 2 of 4 = (2 - 1) * 2 + 2 - 2 * 0") && text.contains(along),
            "{text}"
        );
    }
    let error = x.max_unpool(&Tensor::full([1, 1, 2, 2], 16.0, DType::I64).unwrap(), &options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Index);
    let text = error.to_string();
    assert!(
        text.contains("max_unpool2d: index 16 in planes of 16 pixels, [4, 4]") && text.contains("tests.rs"),
        "{text}"
    );
    let negative = Tensor::full([1, 1, 2, 2], -1.0, DType::I64).unwrap();
    assert!(refusal(x.max_unpool(&negative, &options)).contains("index -1"));
    assert!(refusal(x.max_unpool(&x, &options)).contains("indices of float64"));
    let few = indices.narrow(0, 0, 1).unwrap().reshape([1, 1, 4, 1]).unwrap();
    assert!(refusal(x.max_unpool(&few, &options)).contains("indices [1, 1, 4, 1] for input [1, 1, 2, 2]"));
    let padded = MaxUnpoolOptions { padding: [0, 3, 0], ..options.clone() };
    assert!(refusal(x.max_unpool(&indices, &padded)).contains("less than 0"));
    let still = MaxUnpoolOptions { stride: [1, 0, 1], ..options };
    assert!(refusal(x.max_unpool(&indices, &still)).contains("must be 1 or more"));
}

#[test]
fn the_divisor_counts_padding_if_asked_and_never_what_ceil_mode_adds() {
    let options = AvgPoolOptions { ceil_mode: true, ..avg([1, 3, 2], [1, 2, 3], [0, 1, 1]) };
    let x = numbers([1, 1, 4, 5]);
    assert_near(&x.avg_pool(&options).unwrap(), &[-3.5, 1.0, -4.5, 3.0, -2.0, 2.0]);
    let excluded = AvgPoolOptions { count_include_pad: false, ..options.clone() };
    assert_near(&x.avg_pool(&excluded).unwrap(), &[-10.5, 1.5, -9.0, 3.0, -8.0, 4.0]);
    let fifths = AvgPoolOptions { divisor_override: Some(5), ..options.clone() };
    assert_near(&x.avg_pool(&fifths).unwrap(), &[-4.2, 1.2, -5.4, 3.6, -1.6, 1.6]);
    let zero = AvgPoolOptions { divisor_override: Some(0), ..options.clone() };
    assert!(refusal(x.avg_pool(&zero)).contains("avg_pool2d: divisor_override 0"));
    let line = AvgPoolOptions { ceil_mode: true, ..avg([1, 1, 2], [1, 1, 2], [0, 0, 1]) };
    assert_near(&numbers([1, 1, 5]).avg_pool(&line).unwrap(), &[-5.5, -1.5, 3.5]);
    let excluded = AvgPoolOptions { count_include_pad: false, ..line.clone() };
    assert_near(&numbers([1, 1, 5]).avg_pool(&excluded).unwrap(), &[-11.0, -1.5, 3.5]);
    let divided = AvgPoolOptions { divisor_override: Some(2), ..line };
    assert!(refusal(numbers([1, 1, 5]).avg_pool(&divided)).contains("in one dimension"));
}

#[test]
fn an_average_in_three_dimensions_needs_a_window_that_fits_without_padding() {
    let text = refusal(numbers([1, 1, 4, 2, 5]).avg_pool(&avg([3, 3, 2], [1; 3], [1, 1, 0])));
    assert!(text.contains("avg_pool3d: kernel 3 along height of 2"), "{text}");
    assert!(numbers([1, 1, 4, 2, 5]).max_pool(&max([3, 3, 2], [1; 3], [1, 1, 0])).is_ok());
    assert!(numbers([1, 1, 2, 5]).avg_pool(&avg([1, 3, 2], [1; 3], [0, 1, 0])).is_ok());
}

#[test]
fn adaptive_windows_are_floor_to_ceil_and_the_output_may_be_larger() {
    let x = numbers([1, 1, 5, 3]).requires_grad();
    let dy = Tensor::from_fn([1, 1, 2, 4], |dy: &mut [f64]| {
        dy.iter_mut().enumerate().for_each(|(i, dy)| *dy = i as f64 + 1.0);
    });
    let y = x.adaptive_avg_pool([1, 2, 4]).unwrap();
    assert_near(&y, &[0.3333333, -0.3333333, -1.6666666, -2.3333333, 0.0, -0.6666667, 1.8333334, 5.0]);
    let grads = y.backward_with(dy.clone()).unwrap();
    let want = [
        0.6666667, 0.8333334, 1.8333334, 0.6666667, 0.8333334, 1.8333334, 3.3333333, 3.0, 5.666667,
        2.6666665, 2.1666665, 3.8333335, 2.6666665, 2.1666665, 3.8333335,
    ];
    assert_near(grads.get(&x).unwrap(), &want);
    let (y, i) = x.adaptive_max_pool_with_indices([1, 2, 4]).unwrap();
    assert_eq!(values(&y), [8., 8., 9., 9., 4., 10., 10., 9.]);
    assert_eq!(values(&i), [3., 3., 8., 8., 6., 13., 13., 8.]);
    let want = [0., 0., 0., 3., 0., 0., 5., 0., 15., 0., 0., 0., 0., 13., 0.];
    assert_eq!(values(y.backward_with(dy).unwrap().get(&x).unwrap()), want);
}

#[test]
fn an_adaptive_axis_may_keep_its_size_or_vanish() {
    let x = numbers([2, 3, 5, 4]).requires_grad();
    for (output, want) in [
        ([None, None, Some(2)], [2, 3, 5, 2]),
        ([Some(9), Some(7), None], [2, 3, 7, 4]),
        ([None, Some(0), Some(3)], [2, 3, 0, 3]),
    ] {
        let y = x.adaptive_avg_pool(output).unwrap();
        let (z, i) = x.adaptive_max_pool_with_indices(output).unwrap();
        assert_eq!((&**y.shape(), &**z.shape(), &**i.shape()), (&want[..], &want[..], &want[..]));
        for y in [y, z] {
            let dy = Tensor::ones(y.shape().clone(), DType::F64).unwrap();
            let dx = values(y.backward_with(dy).unwrap().get(&x).unwrap());
            assert_eq!(dx.iter().all(|dx| *dx == 0.0), want[2] == 0);
        }
    }
}

#[test]
fn an_empty_batch_pools_and_any_other_empty_axis_is_a_named_error() {
    type Pool = fn(&Tensor) -> Result<Tensor>;
    let pools: [(&str, Pool); 5] = [
        ("max_pool", |x| x.max_pool(&MaxPoolOptions::new([1, 1, 2]))),
        ("avg_pool", |x| x.avg_pool(&AvgPoolOptions::new([1, 1, 2]))),
        ("adaptive_avg_pool", |x| x.adaptive_avg_pool([3, 2, 1])),
        ("adaptive_max_pool", |x| x.adaptive_max_pool([3, 2, 1])),
        ("max_unpool", |x| {
            let indices = Tensor::zeros(x.shape().clone(), DType::I64)?;
            x.max_unpool(&indices, &MaxUnpoolOptions::new([2, 2, 2]))
        }),
    ];
    for spatial in [&[4][..], &[3, 4], &[5, 3, 4]] {
        for (name, pool) in &pools {
            let name = format!("{name}{}d", spatial.len());
            let x = Tensor::zeros([&[0, 3], spatial].concat(), DType::F32).unwrap().requires_grad();
            let y = pool(&x).unwrap();
            assert_eq!(y.shape()[..2], [0, 3]);
            let grads = y.sum().unwrap().backward().unwrap();
            assert_eq!(grads.get(&x).unwrap().shape(), x.shape());
            for axis in 1..spatial.len() + 2 {
                let mut shape = [&[2, 3], spatial].concat();
                shape[axis] = 0;
                let text = refusal(pool(&Tensor::zeros(shape, DType::F32).unwrap()));
                assert!(text.starts_with(&name) && text.contains("empty axis"), "{text}");
            }
        }
    }
    let text = refusal(Tensor::zeros([2, 3], DType::F32).unwrap().max_pool(&MaxPoolOptions::new([1; 3])));
    assert!(text.contains("has 2 axes; give (N, C, L)"), "{text}");
    assert!(refusal(Tensor::zeros([1; 6], DType::F32).unwrap().adaptive_avg_pool([1; 3])).contains("6 axes"));
}

#[test]
fn an_empty_batch_of_endless_axes_costs_nothing() {
    let x = Tensor::zeros([0, 1, 1 << 31], DType::F32).unwrap().requires_grad();
    let y = x.max_pool(&MaxPoolOptions::new([1, 1, 2])).unwrap();
    y.sum().unwrap().backward().unwrap();
    x.avg_pool(&AvgPoolOptions::new([1, 1, 2])).unwrap().sum().unwrap().backward().unwrap();
    x.adaptive_max_pool([1, 1, 1 << 31]).unwrap().sum().unwrap().backward().unwrap();
    x.adaptive_avg_pool([1, 1, 1 << 31]).unwrap().sum().unwrap().backward().unwrap();
    assert!(refusal(x.adaptive_avg_pool([1, 1, (1 << 31) + 1])).contains("is the most"));
}

#[test]
fn a_shape_without_values_is_pooled_as_a_shape() {
    let x = Tensor::shape_only([2, 3, 20, 30], DType::F32);
    for kernel in [[1, 2, 3], [1, 17, 16]] {
        let (y, i) = x.max_pool_with_indices(&MaxPoolOptions::new(kernel)).unwrap();
        assert_eq!((i.dtype(), i.shape(), i.is_shape_only()), (DType::I64, y.shape(), true));
        let back = y.max_unpool(&i, &MaxUnpoolOptions::new(kernel)).unwrap();
        assert!(back.is_shape_only());
    }
}

#[test]
fn poolings_of_bfloat16_are_those_of_float32_rounded() {
    for (shape, options) in cases() {
        let x = [rounded(shape, 1)];
        stored_check::check(&x, &[], |x| x[0].max_pool(&options));
        let MaxPoolOptions { kernel, stride, padding, ceil_mode, .. } = options;
        let options = AvgPoolOptions { kernel, stride, padding, ceil_mode, ..AvgPoolOptions::new(kernel) };
        stored_check::check(&x, &[], |x| x[0].avg_pool(&options));
        stored_check::check(&x, &[], |x| x[0].adaptive_avg_pool([1, 1, 1]));
        stored_check::check(&x, &[], |x| x[0].adaptive_avg_pool([2, 3, 2]));
        stored_check::check(&x, &[], |x| x[0].adaptive_max_pool([1, 2, 2]));
    }
}

#[test]
fn a_norm_an_activation_and_a_pooling_of_bfloat16_change_no_dtype() {
    let x = rounded([2, 5, 6, 7], 1).to_dtype(DType::Bf16).unwrap().requires_grad();
    let y = stored_check::no_casts(|| {
        let y = x.batch_norm(None, None, Default::default()).unwrap().output;
        let y = (y.clone().relu().unwrap() + y.relu6().unwrap()).unwrap();
        let y = y.max_pool(&MaxPoolOptions::new([1, 2, 2])).unwrap();
        y.adaptive_avg_pool([1, 1, 1]).unwrap()
    });
    assert_eq!(y.dtype(), DType::Bf16);
    let loss = y.sum().unwrap();
    let (grads, events) = observe(|| loss.backward().unwrap());
    assert_eq!(grads.get(&x).unwrap().dtype(), DType::Bf16);
    // The sum is computed around bfloat16, and so is its gradient; no map of pixels is.
    let of_map = |event: &Event| matches!(event, Event::Op { name: "to_dtype", output, .. } if output.shape.elements() > 10);
    assert!(!events.iter().any(of_map), "{events:?}");
}
