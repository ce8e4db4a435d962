//! What went wrong elsewhere: each test is a mistake that a library of the field has made.

use super::super::super::grad_check::{check, normal};
use super::*;
use crate::ops::PadMode;

fn f32_of(x: &Tensor) -> Tensor {
    x.to_dtype(DType::F32).unwrap()
}

/// Different numbers on every axis, in 1, 2 and 3 dimensions.
fn cases() -> Vec<(Vec<usize>, Vec<usize>, ConvOptions)> {
    let o = (0, 0);
    vec![
        (vec![2, 4, 11], vec![6, 2, 3], options([1, 1, 2], [o, o, (1, 2)], [1, 1, 3], 2)),
        (vec![2, 3, 9, 12], vec![5, 3, 2, 3], options([1, 3, 2], [o, (2, 0), (1, 3)], [1, 1, 2], 1)),
        (
            vec![2, 2, 6, 7, 8],
            vec![3, 2, 1, 2, 3],
            options([1, 2, 3], [(0, 1), (1, 0), (2, 1)], [3, 2, 1], 1),
        ),
    ]
}

#[test]
fn stride_padding_and_dilation_of_each_axis_are_its_own() {
    for (x, w, options) in cases() {
        let (x, w) = (normal(x, 1), normal(w, 2));
        let y = x.conv(&w, None, &options).unwrap();
        assert_near(&y, &formula(&x, &w, &options, y.shape()), 1e-12);
        let y = f32_of(&x).conv(&f32_of(&w), None, &options).unwrap();
        assert_near(&y, &formula(&x, &w, &options, y.shape()), 1e-5);
    }
}

#[test]
fn a_narrowed_permuted_or_channels_last_input_or_kernel_gives_the_same_values_and_gradients() {
    let options = options([1, 2, 1], [(0, 0), (1, 0), (0, 2)], [1, 1, 2], 1);
    let (x, w) = (normal([2, 3, 7, 6], 1), normal([4, 3, 3, 2], 2));
    let results = |x: &Tensor, w: &Tensor| -> Vec<Vec<f64>> {
        let (x, w) = (x.clone().requires_grad(), w.clone().requires_grad());
        let y = x.conv(&w, None, &options).unwrap();
        let grads = y.clone().square().unwrap().sum().unwrap().backward().unwrap();
        [&y, grads.get(&x).unwrap(), grads.get(&w).unwrap()].map(|x| x.to_f64_vec().unwrap()).to_vec()
    };
    let want = results(&x, &w);
    let turned = |x: &Tensor| x.permute(&[0, 1, 3, 2]).unwrap().permute(&[0, 1, 3, 2]).unwrap();
    // A part of a longer tensor.
    let within = |x: &Tensor| {
        let longer = x.pad(&[(2, 1), (0, 0), (0, 0), (0, 0)], PadMode::Constant(9.0)).unwrap();
        longer.narrow(0, 2, x.shape()[0]).unwrap()
    };
    for (a, b) in [
        (x.clone().to_channels_last(), w.clone()),
        (x.clone(), w.clone().to_channels_last()),
        (turned(&x), turned(&w)),
        (within(&x), within(&w)),
        (within(&x.clone().to_channels_last()), within(&w.clone().to_channels_last())),
    ] {
        assert_eq!(results(&a, &b), want);
    }
}

#[test]
fn nothing_that_was_not_written_reaches_an_output_or_a_gradient() {
    rasgo_kernels::buffer::set_poison(true);
    for channels in 1..=9 {
        for groups in [1, channels] {
            let options = options([1, 2, 1], [(0, 0), (1, 1), (0, 1)], [1, 1, 1], groups);
            let x = f32_of(&normal([2, channels, 6, 5], 1)).requires_grad();
            let w = f32_of(&normal([channels, channels / groups, 2, 3], 2)).requires_grad();
            let b = Tensor::zeros([channels], DType::F32).unwrap().requires_grad();
            let y = x.conv(&w, Some(&b), &options).unwrap();
            let grads = y.sum().unwrap().backward().unwrap();
            for tensor in [&y, grads.get(&x).unwrap(), grads.get(&w).unwrap(), grads.get(&b).unwrap()] {
                assert!(tensor.to_vec::<f32>().unwrap().iter().all(|x| x.is_finite()), "{channels} {groups}");
            }
        }
    }
}

#[test]
fn the_gradient_to_an_input_whose_tail_the_stride_drops_has_the_inputs_length() {
    // As the second layer, so that there is a gradient to the input: (length - kernel) mod stride from 0 to stride - 1.
    for length in 9..14 {
        let second = options([1, 1, 5], [(0, 0); 3], [1; 3], 1);
        check(&[normal([2, 2, length + 1], 1), normal([3, 2, 2], 2), normal([2, 3, 4], 3)], |x| {
            x[0].conv(&x[1], None, &ConvOptions::default())?.conv(&x[2], None, &second)
        });
    }
}

#[test]
fn every_number_of_output_channels_agrees_with_the_formula() {
    for channels in [1, 2, 3, 5, 8, 9, 17, 33, 70, 130, 257] {
        let options = options([1, 1, 2], [(0, 0), (1, 0), (0, 1)], [1; 3], 1);
        let (x, w) = (normal([1, 7, 4, 5], 1), normal([channels, 7, 3, 2], 2));
        let y = f32_of(&x).conv(&f32_of(&w), None, &options).unwrap();
        assert_near(&y, &formula(&x, &w, &options, y.shape()), 1e-5);
    }
}

#[test]
fn same_keeps_the_size_and_pads_one_more_at_the_end_of_even_kernels() {
    for (kernel, dilation) in [([1, 2, 3], [1, 1, 1]), ([4, 3, 2], [2, 1, 3]), ([3, 6, 1], [1, 3, 5])] {
        for dims in 1..=3 {
            let kernel = &kernel[3 - dims..];
            let options = ConvOptions { dilation, ..ConvOptions::default() }.same(kernel).unwrap();
            for (axis, kernel) in (3 - dims..3).zip(kernel) {
                let (before, after) = options.padding[axis];
                assert_eq!(before + after, dilation[axis] * (kernel - 1));
                assert!(after == before || after == before + 1);
            }
            let x: Vec<usize> = [1, 2].into_iter().chain([5, 4, 3][3 - dims..].iter().copied()).collect();
            let w: Vec<usize> = [3, 2].into_iter().chain(kernel.iter().copied()).collect();
            let y = normal(x.clone(), 1).conv(&normal(w, 2), None, &options).unwrap();
            assert_eq!(y.shape()[2..], x[2..]);
        }
    }
}

#[test]
fn same_with_a_stride_is_refused_with_what_to_do() {
    for (dims, name) in [(1, "conv1d"), (2, "conv2d"), (3, "conv3d")] {
        let strided = ConvOptions { stride: [1, 1, 2], ..ConvOptions::default() };
        let text = strided.same(&[3, 3, 3][..dims]).unwrap_err().to_string();
        assert!(
            text.contains(name) && text.contains("needs stride 1") && text.contains("traps.rs"),
            "{text}"
        );
    }
    // An axis that is not there has no stride.
    let other = ConvOptions { stride: [2, 2, 1], ..ConvOptions::default() };
    assert_eq!(other.same(&[3]).unwrap().padding[2], (1, 1));
}

#[test]
fn an_empty_batch_works_and_empty_channels_or_axes_are_named_errors() {
    let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32).unwrap();
    let padded = options([1; 3], [(2, 2); 3], [1; 3], 1);
    for (x, y) in [([0, 3, 5, 4], [0, 4, 7, 7]), ([0, 3, 0, 4], [0, 4, 2, 7])] {
        let (x, w) = (zeros(&x).requires_grad(), zeros(&[4, 3, 3, 2]).requires_grad());
        let result = x.conv(&w, None, &padded).unwrap();
        assert_eq!(**result.shape(), y);
        let grads = result.sum().unwrap().backward().unwrap();
        assert_eq!(grads.get(&w).unwrap().to_vec::<f32>().unwrap(), [0.0; 72]);
        assert_eq!(grads.get(&x).unwrap().shape(), x.shape());
    }
    let refuse = |x: &[usize], w: &[usize]| zeros(x).conv(&zeros(w), None, &padded).unwrap_err().to_string();
    let text = refuse(&[2, 3, 0, 4], &[4, 3, 3, 2]);
    assert!(text.starts_with("conv2d") && text.contains("nothing along height"), "{text}");
    let text = refuse(&[2, 3, 0], &[4, 3, 3]);
    assert!(text.starts_with("conv1d") && text.contains("nothing along width"), "{text}");
    let text = refuse(&[2, 0, 4, 4], &[4, 0, 3, 2]);
    assert!(text.contains("no channels"), "{text}");
    let text = refuse(&[2, 3, 4, 4, 4], &[0, 3, 3, 2, 1]);
    assert!(text.starts_with("conv3d") && text.contains("no channels"), "{text}");
    let text = refuse(&[2, 3, 4, 4], &[4, 3, 0, 2]);
    assert!(text.contains("kernel 0"), "{text}");
}

#[test]
fn errors_of_gradients_carry_the_name_of_the_operation() {
    for (dims, name) in [(1, "conv1d"), (2, "conv2d"), (3, "conv3d")] {
        let shape = |first: [usize; 2]| first.into_iter().chain(vec![3; dims]).collect::<Vec<usize>>();
        let (x, w) = (normal(shape([1, 2]), 1).requires_grad(), normal(shape([2, 2]), 2).requires_grad());
        let y = x.conv(&w, None, &ConvOptions::default()).unwrap().sum().unwrap();
        let (_, events) = crate::observe(|| y.backward().unwrap());
        let names: Vec<&str> = events
            .iter()
            .filter_map(|event| match event {
                crate::op::Event::Op { name, .. } => Some(*name),
                _ => None,
            })
            .collect();
        assert_eq!(names.iter().filter(|found| **found == name).count(), 2, "{names:?}");
    }
}

#[test]
fn a_stride_of_millions_takes_no_time() {
    let options = options([1, 1 << 30, 1 << 31], [(0, 0); 3], [1; 3], 1);
    let (x, w) = (f32_of(&normal([1, 2, 4, 5], 1)).requires_grad(), f32_of(&normal([3, 2, 2, 2], 2)));
    let grads = x.conv(&w, None, &options).unwrap().sum().unwrap().backward().unwrap();
    assert_eq!(grads.get(&x).unwrap().shape(), x.shape());
}
