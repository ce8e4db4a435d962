mod transposed;
mod traps;

use super::super::Activation;
use super::super::grad_check::{check, check_twice, normal};
use super::*;
use crate::{DType, Tensor, grad};

/// Every place of a range of three axes.
fn places([x, y, z]: [usize; 3]) -> impl Iterator<Item = [usize; 3]> {
    (0..x).flat_map(move |a| (0..y).flat_map(move |b| (0..z).map(move |c| [a, b, c])))
}

/// Where (channel or image, channel, place) lies in a plain tensor.
fn at(shape: &Shape, [n, c]: [usize; 2], place: [usize; 3]) -> usize {
    let (_, channels, size) = shape.image();
    (((n * channels + c) * size[0] + place[0]) * size[1] + place[1]) * size[2] + place[2]
}

/// Calls `visit(n, o, c within the group, p, t, place read)` for everything that a convolution multiplies.
fn for_each_product(
    options: &ConvOptions,
    [x, w, y]: [&Shape; 3],
    mut visit: impl FnMut(usize, [usize; 3], [usize; 3], [usize; 3], [usize; 3]),
) {
    let p = problem(options, x, w, y);
    for n in 0..p.n {
        for o in 0..p.oc {
            for c in 0..p.group_ic() {
                let channel = o / p.group_oc() * p.group_ic() + c;
                for (out, tap) in places(p.output).flat_map(|out| places(p.kernel).map(move |tap| (out, tap)))
                {
                    let place: [Option<usize>; 3] = [0, 1, 2].map(|axis| {
                        let place = out[axis] * p.stride[axis] + tap[axis] * p.dilation[axis];
                        place.checked_sub(p.padding[axis]).filter(|&place| place < p.input[axis])
                    });
                    if let [Some(d), Some(h), Some(w)] = place {
                        visit(n, [o, c, channel], out, tap, [d, h, w]);
                    }
                }
            }
        }
    }
}

/// The convolution as its formula says.
fn formula(x: &Tensor, w: &Tensor, options: &ConvOptions, y: &Shape) -> Vec<f64> {
    let (from, weight) = (x.to_f64_vec().unwrap(), w.to_f64_vec().unwrap());
    let mut sums = vec![0.0; y.elements()];
    for_each_product(options, [x.shape(), w.shape(), y], |n, [o, c, channel], out, tap, place| {
        sums[at(y, [n, o], out)] +=
            from[at(x.shape(), [n, channel], place)] * weight[at(w.shape(), [o, c], tap)];
    });
    sums
}

#[track_caller]
fn assert_near(got: &Tensor, want: &[f64], tolerance: f64) {
    let got = got.to_f64_vec().unwrap();
    assert_eq!(got.len(), want.len());
    let largest = want.iter().fold(1.0f64, |most, x| most.max(x.abs()));
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        assert!((got - want).abs() <= tolerance * largest, "element {i}: {got}, not {want}");
    }
}

fn options(
    stride: [usize; 3],
    padding: [(usize, usize); 3],
    dilation: [usize; 3],
    groups: usize,
) -> ConvOptions {
    ConvOptions { stride, padding, dilation, groups, activation: Activation::None }
}

#[test]
fn convolutions_have_the_gradients_of_their_differences() {
    let one = (0, 0);
    let cases = [
        (vec![2, 3, 9], vec![4, 3, 3], options([1, 1, 2], [one, one, (2, 1)], [1, 1, 2], 1)),
        (vec![2, 2, 7, 6], vec![4, 1, 3, 2], options([1, 2, 3], [one, (1, 2), (0, 1)], [1, 1, 2], 2)),
        (vec![1, 2, 4, 5, 6], vec![3, 2, 2, 3, 1], options([1, 2, 1], [(1, 0), (1, 1), one], [2, 1, 1], 1)),
        (vec![1, 1, 5, 5], vec![1, 1, 5, 5], ConvOptions::default()),
    ];
    for (x, w, options) in cases {
        let bias = normal([w[0]], 3);
        check(&[normal(x, 1), normal(w, 2), bias], |x| x[0].conv(&x[1], Some(&x[2]), &options));
    }
}

#[test]
fn options_of_axes_that_are_missing_change_nothing() {
    let (x, w) = (normal([2, 3, 5, 4], 1), normal([4, 3, 3, 3], 2));
    let plain = options([1, 2, 1], [(0, 0), (1, 1), (1, 1)], [1, 1, 1], 1);
    let odd = options([0, 2, 1], [(1, 1); 3], [0, 1, 1], 1);
    let values = |options: &ConvOptions| x.conv(&w, None, options).unwrap().to_f64_vec().unwrap();
    assert_eq!(values(&odd), values(&plain));
    check(&[x.clone(), w.clone()], |x| x[0].conv(&x[1], None, &odd));
}

#[test]
fn what_follows_in_the_convolution_is_what_would_follow_it() {
    let (x, w, b) = (normal([2, 3, 5, 4], 1), normal([4, 3, 3, 3], 2), normal([4], 3));
    // Some of the sums are above 6.
    let shortcut = normal([2, 4, 3, 2], 4).scale(4.0).unwrap();
    let plain = ConvOptions::default();
    for activation in [Activation::None, Activation::Relu, Activation::Relu6] {
        let fused = ConvOptions { activation, ..plain.clone() };
        let act = |y: Tensor| match activation {
            Activation::None => Ok(y),
            Activation::Relu => y.relu(),
            Activation::Relu6 => y.relu6(),
        };
        let inputs = [x.clone(), w.clone(), b.clone(), shortcut.clone()];
        check(&inputs[..3], |x| x[0].conv(&x[1], Some(&x[2]), &fused));
        check(&inputs, |x| x[0].conv_add(&x[1], Some(&x[2]), &x[3], &fused));
        let without_bias = [x.clone(), w.clone(), shortcut.clone()];
        check(&without_bias, |x| x[0].conv_add(&x[1], None, &x[2], &fused));
        check_twice(&without_bias, |x| x[0].conv_add(&x[1], None, &x[2], &fused));
        for dtype in [DType::F32, DType::F64] {
            let [x, w, b, s] = inputs.each_ref().map(|t| t.to_dtype(dtype).unwrap());
            let sums = || x.conv(&w, Some(&b), &plain).unwrap();
            let same = |fused: Tensor, apart: Tensor| {
                assert_eq!(fused.to_f64_vec().unwrap(), apart.to_f64_vec().unwrap(), "{activation:?}");
            };
            same(x.conv(&w, Some(&b), &fused).unwrap(), act(sums()).unwrap());
            same(x.conv_add(&w, Some(&b), &s, &fused).unwrap(), act((sums() + s).unwrap()).unwrap());
        }
    }
}

#[test]
fn a_shortcut_of_another_shape_is_refused() {
    let (x, w) = (normal([2, 3, 5, 4], 1), normal([4, 3, 3, 3], 2));
    let error = x.conv_add(&w, None, &normal([2, 4, 3, 1], 3), &ConvOptions::default()).unwrap_err();
    assert!(error.to_string().contains("shortcut [2, 4, 3, 1] for an output of [2, 4, 3, 2]"), "{error}");
}

#[test]
fn the_gradient_of_a_gradient_has_the_gradient_of_its_differences() {
    let options = options([1, 2, 1], [(0, 0), (1, 1), (0, 1)], [1, 1, 2], 1);
    check(&[normal([2, 2, 5, 6], 1), normal([3, 2, 3, 2], 2)], |x| {
        let y = x[0].conv(&x[1], None, &options)?.square()?.sum()?;
        if y.needs_grad() {
            let g = grad(&y, &[&x[0], &x[1]], true)?;
            g[0].clone().square()?.sum()? + g[1].clone().square()?.sum()?
        } else {
            // The differences run without leaves; give them some.
            let leaves = [x[0].clone().requires_grad(), x[1].clone().requires_grad()];
            let y = leaves[0].conv(&leaves[1], None, &options)?.square()?.sum()?;
            let g = grad(&y, &[&leaves[0], &leaves[1]], false)?;
            g[0].clone().square()?.sum()? + g[1].clone().square()?.sum()?
        }
    });
}

#[test]
fn what_does_not_fit_is_refused_with_the_arithmetic() {
    let x = Tensor::zeros([2, 3, 8, 4], DType::F32).unwrap();
    let refuse = |w: [usize; 4], options: ConvOptions| {
        x.conv(&Tensor::zeros(w, DType::F32).unwrap(), None, &options).unwrap_err().to_string()
    };
    let text = refuse([5, 4, 3, 3], ConvOptions::default());
    assert!(
        text.contains("3 channels") && text.contains("Conv2d(3, 5") && text.contains("tests/mod.rs"),
        "{text}"
    );
    let text = refuse([5, 3, 3, 7], ConvOptions::default());
    assert!(text.contains("spans 7") && text.contains("width"), "{text}");
    let text = refuse([5, 3, 3, 3], ConvOptions { groups: 2, ..ConvOptions::default() });
    assert!(text.contains("groups 2"), "{text}");
    let text = refuse([5, 3, 3, 3], ConvOptions { stride: [1, 0, 1], ..ConvOptions::default() });
    assert!(text.contains("must be 1 or more"), "{text}");
}

#[test]
fn six_axes_and_huge_strides_are_refused() {
    let x = Tensor::rand([1, 2, 3, 2, 2, 2]);
    let error = x.conv(&Tensor::rand([1, 2, 1, 1, 1, 1]), None, &ConvOptions::default()).unwrap_err();
    assert!(error.to_string().contains("6 axes"), "{error}");
    let options = ConvOptions { stride: [1, 1 << 62, 1], ..ConvOptions::default() };
    let error = Tensor::rand([1, 1, 4, 4]).conv(&Tensor::rand([4, 1, 2, 2]), None, &options).unwrap_err();
    assert!(error.to_string().contains("is the most"), "{error}");
}
