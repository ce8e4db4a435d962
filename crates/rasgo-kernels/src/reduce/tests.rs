use super::*;
use crate::checks::{assert_close, narrowed, numbers, poison, same_everywhere, wide, widened};

#[test]
fn column_sums_agree_with_f64_for_every_width() {
    for cols in [1, 2, 3, 4, 5, 6, 7, 8, 9, 17, 63, 64, 100, 300] {
        for rows in [0, 1, 2, 7, 130, 3001] {
            let src = numbers::<f32>(1, rows * cols);
            let want: Vec<f64> =
                (0..cols).map(|j| (0..rows).map(|r| f64::from(src[r * cols + j])).sum()).collect();
            let got = same_everywhere(|| {
                let mut dst = poison(cols);
                column_sums(rows, cols, &src, &mut dst);
                dst
            });
            assert_close(&got, &want, 3e-5, &format!("{rows} {cols}"));
        }
    }
}

#[test]
fn columns_of_bf16_have_the_sums_of_f32() {
    for cols in [1, 3, 8, 17, 64, 100] {
        for rows in [0, 1, 7, 130, 3001] {
            let src = narrowed(&numbers(1, rows * cols));
            let (wide_src, mut want) = (widened(&src), poison::<f32>(cols));
            column_sums(rows, cols, &wide_src, &mut want);
            let got = same_everywhere(|| {
                let mut dst = poison(cols);
                column_sums(rows, cols, &src, &mut dst);
                dst
            });
            assert_close(&got, &wide(&want), 0.0, &format!("{rows} {cols}"));
        }
    }
}

#[test]
fn sums_over_any_axes_agree_with_f64() {
    let shapes: [&[usize]; 7] =
        [&[3, 4, 5], &[2, 1, 7, 3], &[1], &[0, 3], &[3, 0, 2], &[2, 300, 130], &[2, 70_000]];
    for shape in shapes {
        let len: usize = shape.iter().product();
        let src = numbers::<f32>(2, len);
        for bits in 0..1usize << shape.len() {
            let reduced: Vec<bool> = (0..shape.len()).map(|a| bits >> a & 1 == 1).collect();
            let kept: usize = (0..shape.len()).filter(|&a| !reduced[a]).map(|a| shape[a]).product();
            let mut want = vec![0.0; kept];
            for (mut i, x) in src.iter().enumerate() {
                let (mut at, mut stride) = (0, 1);
                for a in (0..shape.len()).rev() {
                    if !reduced[a] {
                        at += i % shape[a] * stride;
                        stride *= shape[a];
                    }
                    i /= shape[a];
                }
                want[at] += f64::from(*x);
            }
            let got = same_everywhere(|| {
                let mut dst = poison(kept);
                sum_axes(shape, &reduced, &src, &mut dst);
                dst
            });
            assert_close(&got, &want, 2e-4, &format!("{shape:?} {reduced:?}"));
        }
    }
}

#[test]
fn sums_of_a_sample_do_not_depend_on_its_batch() {
    for (axis, inner) in [(49, 17), (7, 1), (3000, 40)] {
        let src = numbers::<f32>(3, 5 * axis * inner);
        let (mut all, mut one) = (poison::<f32>(5 * inner), poison(inner));
        sum_axes(&[5, axis, inner], &[false, true, false], &src, &mut all);
        for n in 0..5 {
            let sample = &src[n * axis * inner..(n + 1) * axis * inner];
            sum_axes(&[1, axis, inner], &[false, true, false], sample, &mut one);
            assert_eq!(one, all[n * inner..(n + 1) * inner]);
        }
    }
}

#[test]
fn flat_sums_are_exact_to_rounding() {
    for len in [0, 1, 31, 33, 16_384, 50_001] {
        let (a, b) = (numbers::<f32>(4, len), numbers::<f32>(5, len));
        let sum = |f: fn(f64, f64) -> f64| a.iter().zip(&b).map(|(a, b)| f((*a).into(), (*b).into())).sum();
        let want: [f64; 3] = [sum(|a, _| a), sum(|a, b| a * b), sum(|a, _| a * a).sqrt()];
        let got = same_everywhere(|| vec![sum_all(&a), dot(&a, &b), norm2(&a)]);
        assert_close(&got, &want, 1e-6, &format!("{len}"));
    }
    assert_eq!(norm2(&[3e30f32, 4e30]), 5e30);
}

#[test]
fn the_first_maximum_wins_and_nan_over_all() {
    for (outer, axis, inner) in [(3, 5, 1), (2, 7, 3), (1, 1, 4), (0, 3, 2), (40, 100, 17)] {
        // Few distinct values, so that ties are many.
        let mut src: Vec<f32> = numbers::<f32>(6, outer * axis * inner).iter().map(|x| x.round()).collect();
        if src.len() > 20 {
            src[13] = f32::NAN;
        }
        let (mut want, mut want_at) = (Vec::new(), Vec::new());
        for o in 0..outer * inner {
            let x = |k: usize| src[(o / inner * axis + k) * inner + o % inner];
            let nan = (0..axis).find(|&k| x(k).is_nan());
            let best =
                nan.unwrap_or_else(|| (1..axis).fold(0, |best, k| if x(k) > x(best) { k } else { best }));
            want.push(f64::from(x(best)));
            want_at.push(best as f64);
        }
        want.extend(want_at);
        let got = same_everywhere(|| {
            let (mut values, mut at) = (poison::<f32>(outer * inner), vec![-1; outer * inner]);
            fold_axes(&[outer, axis, inner], &[false, true, false], &src, &mut values, 0.0, |a, b| {
                extreme(true, a, b)
            });
            arg_extreme(true, axis, inner, &src, &mut at);
            values.extend(at.iter().map(|&k| k as f32));
            // The smallest of the numbers with the other sign is the same place.
            let other: Vec<f32> = src.iter().map(|x| -x).collect();
            let mut low = vec![-1; outer * inner];
            arg_extreme(false, axis, inner, &other, &mut low);
            assert_eq!(low, at);
            values
        });
        assert_close(&got, &want, 0.0, &format!("{outer} {axis} {inner}"));
    }
}

#[test]
fn long_axes_are_folded_in_parts_of_any_rest() {
    for (outer, axis, inner) in
        [(2, 70_000, 1), (1, 16_384 * 5, 1), (3, 9001, 9), (0, 3, 4), (2, 0, 3), (1, 3, 40_000)]
    {
        let src: Vec<i64> = (0..(outer * axis * inner) as i64).map(|i| i * 7919 % 10_007).collect();
        let mut dst = vec![-1; outer * inner];
        let marks = [false, true, false];
        fold_axes(&[outer, axis, inner], &marks, &src, &mut dst, 0, |a, b| a + b);
        for (i, sum) in dst.iter().enumerate() {
            let (o, k) = (i / inner, i % inner);
            assert_eq!(*sum, (0..axis).map(|a| src[(o * axis + a) * inner + k]).sum::<i64>());
        }
    }
}
