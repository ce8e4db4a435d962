//! The transposed convolution, and the mistakes that libraries of the field have made with it.

use super::super::super::Activation;
use super::super::super::grad_check::{check, normal};
use super::*;

type Case = (Vec<usize>, Vec<usize>, ConvTransposeOptions);

/// Different numbers on every axis, in 1, 2 and 3 dimensions, with groups.
fn cases() -> Vec<Case> {
    let base = ConvTransposeOptions::default();
    vec![
        (
            vec![2, 4, 5],
            vec![4, 3, 4],
            ConvTransposeOptions {
                stride: [1, 1, 3],
                padding: [0, 0, 2],
                output_padding: [0, 0, 2],
                groups: 2,
                ..base.clone()
            },
        ),
        (
            vec![3, 2, 3, 4],
            vec![2, 3, 2, 3],
            ConvTransposeOptions {
                stride: [1, 3, 2],
                padding: [0, 1, 0],
                output_padding: [0, 2, 1],
                dilation: [1, 1, 2],
                ..base.clone()
            },
        ),
        (
            // More added than the stride: the dilation allows it.
            vec![1, 3, 3, 2],
            vec![3, 1, 2, 2],
            ConvTransposeOptions {
                dilation: [1, 3, 4],
                output_padding: [0, 2, 3],
                groups: 3,
                ..base.clone()
            },
        ),
        (
            vec![2, 2, 2, 3, 4],
            vec![2, 2, 1, 2, 3],
            ConvTransposeOptions {
                stride: [3, 2, 1],
                padding: [0, 1, 2],
                output_padding: [2, 1, 0],
                dilation: [1, 2, 3],
                ..base
            },
        ),
    ]
}

fn shared(options: &ConvTransposeOptions) -> ConvOptions {
    ConvOptions {
        stride: options.stride,
        padding: options.padding.map(|both| (both, both)),
        dilation: options.dilation,
        groups: options.groups,
        activation: Activation::None,
    }
}

/// The transposed convolution as its formula says.
fn scattered(x: &Tensor, w: &Tensor, options: &ConvTransposeOptions, y: &Shape) -> Vec<f64> {
    let (from, weight) = (x.to_f64_vec().unwrap(), w.to_f64_vec().unwrap());
    let mut sums = vec![0.0; y.elements()];
    for_each_product(&shared(options), [y, w.shape(), x.shape()], |n, [o, c, channel], out, tap, place| {
        sums[at(y, [n, channel], place)] +=
            from[at(x.shape(), [n, o], out)] * weight[at(w.shape(), [o, c], tap)];
    });
    sums
}

#[test]
fn transposed_convolutions_follow_the_formula_axis_by_axis() {
    for (x, w, options) in cases() {
        let (x, w) = (normal(x, 1), normal(w, 2));
        let y = x.conv_transpose(&w, None, &options).unwrap();
        for axis in 2..x.shape().len() {
            let at = axis + 3 - x.shape().len();
            let size =
                (x.shape()[axis] - 1) * options.stride[at] + options.dilation[at] * (w.shape()[axis] - 1) + 1;
            assert_eq!(y.shape()[axis], size + options.output_padding[at] - 2 * options.padding[at]);
        }
        assert_near(&y, &scattered(&x, &w, &options, y.shape()), 1e-12);
        let single = |x: &Tensor| x.to_dtype(DType::F32).unwrap();
        let y = single(&x).conv_transpose(&single(&w), None, &options).unwrap();
        assert_near(&y, &scattered(&x, &w, &options, y.shape()), 1e-5);
    }
}

#[test]
fn transposed_convolutions_have_the_gradients_of_their_differences() {
    for (x, w, options) in cases() {
        let bias = normal([w[1] * options.groups], 3);
        check(&[normal(x, 1), normal(w, 2), bias], |x| x[0].conv_transpose(&x[1], Some(&x[2]), &options));
    }
}

#[test]
fn the_gradient_of_their_gradient_has_the_gradient_of_its_differences() {
    let (x, w, options) = cases().swap_remove(1);
    check(&[normal(x, 1), normal(w, 2)], |x| {
        let leaves: Vec<Tensor> =
            x.iter().map(|x| if x.needs_grad() { x.clone() } else { x.clone().requires_grad() }).collect();
        let y = leaves[0].conv_transpose(&leaves[1], None, &options)?.square()?.sum()?;
        let g = grad(&y, &[&leaves[0], &leaves[1]], true)?;
        g[0].clone().square()?.sum()? + g[1].clone().square()?.sum()?
    });
}

#[test]
fn it_is_what_the_gradient_of_a_convolution_makes() {
    let options =
        ConvTransposeOptions { stride: [1, 2, 3], padding: [0, 1, 0], ..ConvTransposeOptions::default() };
    let (x, w, y) =
        (normal([2, 3, 7, 8], 1).requires_grad(), normal([4, 3, 3, 2], 2), normal([2, 4, 4, 3], 3));
    let product = (x.conv(&w, None, &shared(&options)).unwrap() * y.clone()).unwrap().sum().unwrap();
    let grads = product.backward().unwrap();
    let back = y.conv_transpose(&w, None, &options).unwrap();
    assert_eq!(back.shape(), x.shape());
    assert_eq!(back.to_f64_vec().unwrap(), grads.get(&x).unwrap().to_f64_vec().unwrap());
}

#[test]
fn a_batch_is_its_images_one_by_one_and_its_gradient_their_sum() {
    for (x, w, options) in cases() {
        let (x, w) = (normal(x, 1), normal(w, 2).requires_grad());
        let run = |x: &Tensor| {
            let y = x.conv_transpose(&w, None, &options).unwrap();
            let grads = y.clone().square().unwrap().sum().unwrap().backward().unwrap();
            (y.to_f64_vec().unwrap(), grads.get(&w).unwrap().to_f64_vec().unwrap())
        };
        let (whole, dw) = run(&x);
        let (mut rows, mut sum) = (Vec::new(), vec![0.0; dw.len()]);
        for image in 0..x.shape()[0] {
            let (row, dw) = run(&x.narrow(0, image, 1).unwrap());
            rows.extend(row);
            sum.iter_mut().zip(dw).for_each(|(sum, dw)| *sum += dw);
        }
        assert_eq!(rows, whole);
        dw.iter().zip(sum).for_each(|(a, b)| assert!((a - b).abs() < 1e-9));
    }
}

#[test]
fn every_layout_of_the_input_gives_the_same() {
    let (x, w, options) = cases().swap_remove(1);
    let (x, w) = (normal(x, 1), normal(w, 2));
    let want = x.conv_transpose(&w, None, &options).unwrap().to_f64_vec().unwrap();
    let turned = x.permute(&[0, 1, 3, 2]).unwrap().permute(&[0, 1, 3, 2]).unwrap();
    for x in [x.clone().to_channels_last(), turned] {
        assert_eq!(x.conv_transpose(&w, None, &options).unwrap().to_f64_vec().unwrap(), want);
    }
    let part = x.to_channels_last().narrow(0, 1, 1).unwrap().conv_transpose(&w, None, &options).unwrap();
    assert_eq!(part.to_f64_vec().unwrap(), want[want.len() / 3..2 * want.len() / 3]);
}

#[test]
fn nothing_that_was_not_written_reaches_a_transposed_output() {
    rasgo_kernels::buffer::set_poison(true);
    let options = ConvTransposeOptions {
        stride: [1, 4, 3],
        output_padding: [0, 3, 2],
        ..ConvTransposeOptions::default()
    };
    for channels in 1..=9 {
        let x = Tensor::ones([2, channels, 3, 2], DType::F32).unwrap();
        let w = Tensor::ones([channels, channels, 2, 1], DType::F32).unwrap();
        let y = x.conv_transpose(&w, None, &options).unwrap().to_vec::<f32>().unwrap();
        assert!(y.iter().all(|&x| x == 0.0 || x == channels as f32));
        // What no tap reaches is the bias alone.
        let b = Tensor::full([channels], 0.5, DType::F32).unwrap();
        let with = x.conv_transpose(&w, Some(&b), &options).unwrap().to_vec::<f32>().unwrap();
        assert!(with.iter().zip(y).all(|(with, without)| *with == without + 0.5));
    }
}

#[test]
fn an_output_size_is_one_of_those_that_the_stride_joins_also_with_dilation() {
    // PyTorch's ConvTranspose2d(3, 2, 3, stride=(2, 3), dilation=(1, 2)) on (4, 5): 9..10 by 17..19.
    let (x, w) = (normal([2, 3, 4, 5], 1), normal([3, 2, 3, 3], 2));
    let options = |output_size| ConvTransposeOptions {
        stride: [1, 2, 3],
        dilation: [1, 1, 2],
        output_size: Some(output_size),
        ..ConvTransposeOptions::default()
    };
    for (h, width) in [(9, 17), (10, 19), (9, 18)] {
        let y = x.conv_transpose(&w, None, &options([1, h, width])).unwrap();
        assert_eq!(**y.shape(), [2, 2, h, width]);
        let padded = ConvTransposeOptions {
            output_padding: [0, h - 9, width - 17],
            output_size: None,
            ..options([1, h, width])
        };
        let same = x.conv_transpose(&w, None, &padded).unwrap();
        assert_eq!(same.to_f64_vec().unwrap(), y.to_f64_vec().unwrap());
        check(&[x.clone(), w.clone()], |x| x[0].conv_transpose(&x[1], None, &options([1, h, width])));
    }
    for (h, width) in [(8, 17), (11, 17), (9, 16), (9, 20)] {
        let text = x.conv_transpose(&w, None, &options([1, h, width])).unwrap_err().to_string();
        assert!(text.starts_with("conv_transpose2d: output_size"), "{text}");
    }
}

#[test]
fn an_output_padding_below_neither_stride_nor_dilation_is_refused() {
    let (x, w) = (normal([2, 3, 4, 5], 1), normal([3, 2, 3, 3], 2));
    let with = |output_padding, stride, dilation| {
        let options =
            ConvTransposeOptions { stride, output_padding, dilation, ..ConvTransposeOptions::default() };
        x.conv_transpose(&w, None, &options)
    };
    assert_eq!(**with([0, 1, 0], [1; 3], [1, 2, 1]).unwrap().shape(), [2, 2, 9, 7]);
    assert_eq!(**with([0, 1, 0], [1, 2, 1], [1; 3]).unwrap().shape(), [2, 2, 10, 7]);
    let text = with([0, 0, 1], [1, 2, 1], [1, 2, 1]).unwrap_err().to_string();
    assert!(text.contains("output_padding 1 along width") && text.contains("stride 1"), "{text}");
}

#[test]
fn what_does_not_fit_is_refused_with_the_arithmetic() {
    let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32).unwrap();
    let refuse = |x: &[usize], w: &[usize], options: ConvTransposeOptions| {
        zeros(x).conv_transpose(&zeros(w), None, &options).unwrap_err().to_string()
    };
    let base = ConvTransposeOptions::default;
    let text = refuse(&[2, 4, 5], &[3, 2, 3], base());
    assert!(text.starts_with("conv_transpose1d") && text.contains("ConvTranspose1d(4, 2, …)"), "{text}");
    let text = refuse(&[2, 3, 5], &[3, 2, 3], ConvTransposeOptions { groups: 2, ..base() });
    assert!(text.contains("groups 2"), "{text}");
    let text = refuse(&[2, 3, 2, 2, 2], &[3, 2, 3, 3, 3], ConvTransposeOptions { padding: [2; 3], ..base() });
    assert!(
        text.starts_with("conv_transpose3d") && text.contains("(2 - 1) * 1 - 2 * 2 + 1 * (3 - 1) + 1 = 0"),
        "{text}"
    );
    let text = refuse(&[2, 3, 0, 4], &[3, 2, 3, 3], base());
    assert!(text.contains("nothing along height"), "{text}");
    let text = refuse(&[2, 3, 4, 4], &[3, 0, 3, 3], base());
    assert!(text.contains("no channels"), "{text}");
    let text = refuse(&[2, 3], &[3, 2], base());
    assert!(text.contains("2 axes") && text.contains("transposed.rs"), "{text}");
    let text = refuse(&[2, 3, 4], &[3, 2, 3], ConvTransposeOptions { stride: [1, 1, 1 << 40], ..base() });
    assert!(text.contains("is the most"), "{text}");
    let text = refuse(&[2, 3, 4], &[3, 2, 3], ConvTransposeOptions { groups: 0, ..base() });
    assert!(text.contains("groups 0"), "{text}");
    let bias = zeros(&[3]);
    let error = zeros(&[2, 3, 4]).conv_transpose(&zeros(&[3, 2, 3]), Some(&bias), &base()).unwrap_err();
    assert!(error.to_string().contains("bias [3] for 2 output channels"), "{error}");
    let empty = zeros(&[0, 3, 4]).conv_transpose(&zeros(&[3, 2, 3]), None, &base()).unwrap();
    assert_eq!(**empty.shape(), [0, 2, 6]);
}
