use super::*;
use crate::checks::{assert_close, numbers, poison, same_everywhere, wide};

const SHAPES: [(usize, usize); 7] = [(0, 3), (1, 1), (5, 2), (3, 10), (7, 17), (2, 1000), (900, 33)];

fn exact_log_softmax(classes: usize, src: &[f64]) -> Vec<f64> {
    src.chunks_exact(classes)
        .flat_map(|row| {
            let max = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let lse = row.iter().map(|x| (x - max).exp()).sum::<f64>().ln() + max;
            row.iter().map(move |x| x - lse)
        })
        .collect()
}

#[test]
fn softmax_and_its_logarithm_agree_with_f64() {
    for (rows, classes) in SHAPES {
        let src: Vec<f32> = numbers::<f32>(1, rows * classes).iter().map(|x| x * 5.0 + 100.0).collect();
        let dy = numbers::<f32>(2, rows * classes);
        let log = exact_log_softmax(classes, &wide(&src));
        let soft: Vec<f64> = log.iter().map(|x| x.exp()).collect();
        let sum =
            |i: usize, f: &dyn Fn(usize) -> f64| (i / classes * classes..).take(classes).map(f).sum::<f64>();
        let g = |i: usize| f64::from(dy[i]);
        let soft_grad: Vec<f64> =
            (0..log.len()).map(|i| soft[i] * (g(i) - sum(i, &|j| g(j) * soft[j]))).collect();
        let log_grad: Vec<f64> = (0..log.len()).map(|i| g(i) - soft[i] * sum(i, &g)).collect();
        let got = same_everywhere(|| {
            let mut all: [Vec<f32>; 4] = std::array::from_fn(|_| poison(src.len()));
            let [a, b, c, d] = &mut all;
            softmax(Axis::rows(rows, classes), &src, a);
            log_softmax(Axis::rows(rows, classes), &src, b);
            softmax_grad(Axis::rows(rows, classes), a, &dy, c);
            log_softmax_grad(Axis::rows(rows, classes), b, &dy, d);
            all.concat()
        });
        assert_close(&got, &[soft, log, soft_grad, log_grad].concat(), 4e-6, &format!("{rows} {classes}"));
    }
}

#[test]
fn cross_entropy_agrees_with_f64_and_its_gradient_with_differences() {
    for (rows, classes) in SHAPES {
        let logits = numbers::<f64>(3, rows * classes);
        let weights: Vec<f64> = numbers::<f64>(4, classes).iter().map(|x| x.abs() + 0.1).collect();
        let mut targets: Vec<i64> = (0..rows).map(|r| (r * 7 % classes) as i64).collect();
        if rows > 2 {
            targets[1] = -100;
        }
        let dy = numbers::<f64>(5, rows);
        for (label_smoothing, weighted) in [(0.0, false), (0.1, false), (0.0, true), (0.2, true)] {
            let p = CrossEntropy {
                classes,
                label_smoothing,
                weights: weighted.then_some(&weights[..]),
                ignore_index: Some(-100),
            };
            let loss = |logits: &[f64]| -> Vec<f64> {
                let log = exact_log_softmax(classes, logits);
                let row = |r: usize| {
                    let nll = |j: usize| -log[r * classes + j] * if weighted { weights[j] } else { 1.0 };
                    let all: f64 = (0..classes).map(nll).sum();
                    (1.0 - label_smoothing) * nll(targets[r] as usize)
                        + label_smoothing / classes as f64 * all
                };
                (0..rows).map(|r| if targets[r] < 0 { 0.0 } else { row(r) }).collect()
            };
            let (mut losses, mut lse) = (poison(rows), poison(rows));
            cross_entropy_forward(&p, &logits, &targets, &mut losses, &mut lse);
            assert_close(&losses, &loss(&logits), 1e-12, "loss");
            let mut dx = poison(logits.len());
            cross_entropy_backward(&p, &logits, &lse, &targets, &dy, &mut dx);
            // Every class of a column at once: rows do not depend on each other.
            let mut want = vec![0.0; logits.len()];
            for j in (0..classes).filter(|j| j % (classes / 20).max(1) == 0) {
                let shifted = |h: f64| {
                    let mut logits = logits.clone();
                    (0..rows).for_each(|r| logits[r * classes + j] += h);
                    loss(&logits)
                };
                for (r, (up, down)) in shifted(1e-5).into_iter().zip(shifted(-1e-5)).enumerate() {
                    want[r * classes + j] = dy[r] * (up - down) / 2e-5;
                    assert_close(
                        &dx[r * classes + j..][..1],
                        &want[r * classes + j..][..1],
                        1e-8,
                        "gradient",
                    );
                }
            }
            let narrow = |v: &[f64]| v.iter().map(|&x| x as f32).collect::<Vec<_>>();
            let (logits, weights, dy) = (narrow(&logits), narrow(&weights), narrow(&dy));
            let p = CrossEntropy {
                classes,
                label_smoothing,
                weights: weighted.then_some(&weights[..]),
                ignore_index: Some(-100),
            };
            let got = same_everywhere(|| {
                let (mut losses, mut lse, mut dx) = (poison(rows), poison(rows), poison(logits.len()));
                cross_entropy_forward(&p, &logits, &targets, &mut losses, &mut lse);
                cross_entropy_backward(&p, &logits, &lse, &targets, &dy, &mut dx);
                losses.extend(dx);
                losses
            });
            assert_close(&got, &[wide(&losses), wide(&dx)].concat(), 2e-5, "f32");
        }
        let p =
            CrossEntropy { classes, label_smoothing: 0.0, weights: Some(&weights), ignore_index: Some(-100) };
        let want: f64 = targets.iter().filter(|&&t| t >= 0).map(|&t| weights[t as usize]).sum();
        assert_eq!(target_weight_sum(&p, &targets), want);
    }
}

#[test]
fn a_target_that_is_no_class_is_found() {
    assert_eq!(bad_target(&[0, 2, -100], 3, Some(-100)), None);
    assert_eq!(bad_target(&[0, 3, -1], 3, None), Some((1, 3)));
    assert_eq!(bad_target(&[0, -1], 3, Some(-100)), Some((1, -1)));
}

#[test]
fn one_gradient_serves_all_rows() {
    let logits = numbers::<f32>(6, 30);
    let p = CrossEntropy { classes: 10, label_smoothing: 0.1, weights: None, ignore_index: None };
    let targets = [3, 0, 9];
    let (mut losses, mut lse) = (poison(3), poison(3));
    cross_entropy_forward(&p, &logits, &targets, &mut losses, &mut lse);
    let (mut one, mut each) = (poison(30), poison(30));
    cross_entropy_backward(&p, &logits, &lse, &targets, &[0.3], &mut one);
    cross_entropy_backward(&p, &logits, &lse, &targets, &[0.3; 3], &mut each);
    assert_eq!(one, each);
}

#[test]
fn a_softmax_along_a_middle_axis_is_that_of_the_rows_to_the_bit() {
    for (outer, classes, inner) in [(2, 3, 5), (1, 10, 17), (3, 1, 40), (0, 3, 4), (2, 0, 3), (4, 21, 16)] {
        let len = outer * classes * inner;
        let (x, dy) = (numbers::<f32>(1, len), numbers::<f32>(2, len));
        let swap = |x: &[f32], classes: usize, inner: usize| -> Vec<f32> {
            let at = |i: usize| {
                let (o, rest) = (i / (classes * inner), i % (classes * inner));
                x[o * classes * inner + rest % classes * inner + rest / classes]
            };
            (0..x.len()).map(at).collect()
        };
        let [x_rows, dy_rows] = [&x, &dy].map(|x| swap(x, classes, inner));
        let run = |axis: Axis, x: &[f32], dy: &[f32]| -> [Vec<f32>; 4] {
            let mut all: [Vec<f32>; 4] = std::array::from_fn(|_| poison(len));
            let [a, b, c, d] = &mut all;
            softmax(axis, x, a);
            log_softmax(axis, x, b);
            softmax_grad(axis, a, dy, c);
            log_softmax_grad(axis, b, dy, d);
            all
        };
        let want = run(Axis::rows(outer * inner, classes), &x_rows, &dy_rows);
        let got = same_everywhere(|| {
            run(Axis { outer, classes, inner }, &x, &dy).map(|y| swap(&y, classes, inner)).concat()
        });
        assert_eq!(got, want.concat(), "{outer} {classes} {inner}");
    }
}
