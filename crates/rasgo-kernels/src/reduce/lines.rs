//! What is done to each line along an axis: running sums, products without one, order.

use std::cmp::Ordering;

use crate::buffer::Element;
use crate::elementwise::Number;
use crate::rows::CHUNK;
use crate::threads::parallel_chunks;

/// Runs `body(src line, dst line)` for each line of `[outer, axis, inner]`; the lines are gathered and put back.
fn each_line<S: Element, D: Element + Default>(
    axis: usize,
    inner: usize,
    src: &[S],
    dst: &mut [D],
    body: impl Fn(&[S], &mut [D]) + Sync,
) {
    if dst.is_empty() {
        return;
    }
    assert_eq!(src.len(), dst.len(), "source and destination have the same length");
    let block = axis * inner;
    let group = (CHUNK / block).max(1);
    parallel_chunks(dst, group * block, |i, dst| {
        let from = &src[i * group * block..];
        let mut line = Vec::with_capacity(axis);
        let mut result = vec![D::default(); axis];
        for (dst, src) in dst.chunks_exact_mut(block).zip(from.chunks_exact(block)) {
            for column in 0..inner {
                line.clear();
                line.extend(src[column..].iter().step_by(inner));
                body(&line, &mut result);
                for (y, x) in dst[column..].iter_mut().step_by(inner).zip(&result) {
                    *y = *x;
                }
            }
        }
    });
}

/// A running sum: floats in f64, as PyTorch has them, integers wrapping.
pub trait Running: Number {
    /// The type of the sum.
    type Sum: Copy + Default;
    /// `sum + x`
    fn add_to(self, sum: Self::Sum) -> Self::Sum;
    /// The sum so far.
    fn of(sum: Self::Sum) -> Self;
}

macro_rules! running {
    ($($t:ty as $sum:ty, $add:expr;)*) => {$(
        impl Running for $t {
            type Sum = $sum;
            #[inline(always)]
            fn add_to(self, sum: $sum) -> $sum {
                let add: fn($sum, $sum) -> $sum = $add;
                add(sum, self as $sum)
            }
            #[inline(always)]
            fn of(sum: $sum) -> Self {
                sum as $t
            }
        }
    )*};
}
running! {
    f32 as f64, |a, b| a + b;
    f64 as f64, |a, b| a + b;
    i64 as i64, i64::wrapping_add;
}

/// `dst[i] = src[0] + … + src[i]` along the axis; from the other end if `reverse`.
pub fn cumsum<T: Running>(axis: usize, inner: usize, reverse: bool, src: &[T], dst: &mut [T]) {
    each_line(axis, inner, src, dst, |src, dst| {
        let mut sum = T::Sum::default();
        let mut step = |x: &T, y: &mut T| {
            sum = x.add_to(sum);
            *y = T::of(sum);
        };
        if reverse {
            src.iter().zip(dst).rev().for_each(|(x, y)| step(x, y));
        } else {
            src.iter().zip(dst).for_each(|(x, y)| step(x, y));
        }
    });
}

/// `dst[i]` = the product of all of the line but `src[i]`: the slope of the product, also where elements are 0.
pub fn products_of_others<T: Number>(axis: usize, inner: usize, src: &[T], dst: &mut [T]) {
    each_line(axis, inner, src, dst, |src, dst| {
        let mut product = T::UNIT;
        for (x, y) in src.iter().zip(dst.iter_mut()) {
            *y = product;
            product = product.times(*x);
        }
        let mut product = T::UNIT;
        for (x, y) in src.iter().zip(dst).rev() {
            *y = y.times(product);
            product = product.times(*x);
        }
    });
}

/// The positions on the axis in rising (or falling) order of the values: equal ones in the order of their positions, a
/// NaN as the largest.
pub fn argsort<T: Number>(axis: usize, inner: usize, descending: bool, src: &[T], dst: &mut [i64]) {
    each_line(axis, inner, src, dst, |src, dst| {
        for (i, place) in dst.iter_mut().enumerate() {
            *place = i as i64;
        }
        dst.sort_by(|&a, &b| {
            let order = rising(src[a as usize], src[b as usize]);
            if descending { order.reverse() } else { order }
        });
    });
}

fn rising<T: Number>(a: T, b: T) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan_number().cmp(&b.is_nan_number()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::{assert_close, numbers, poison, same_everywhere};

    #[test]
    fn running_sums_go_both_ways() {
        let (outer, axis, inner) = (3, 700, 11);
        let src = numbers::<f32>(3, outer * axis * inner);
        for reverse in [false, true] {
            let mut want = vec![0.0f64; src.len()];
            for o in 0..outer {
                for k in 0..inner {
                    let mut sum = 0.0;
                    for i in 0..axis {
                        let i = if reverse { axis - 1 - i } else { i };
                        sum += f64::from(src[(o * axis + i) * inner + k]);
                        want[(o * axis + i) * inner + k] = sum;
                    }
                }
            }
            let got = same_everywhere(|| {
                let mut dst = poison(src.len());
                cumsum(axis, inner, reverse, &src, &mut dst);
                dst
            });
            assert_close(&got, &want, 1e-7, "cumsum");
        }
        let mut whole = [0; 2];
        cumsum(2, 1, false, &[i64::MAX, 1], &mut whole);
        assert_eq!(whole, [i64::MAX, i64::MIN]);
    }

    #[test]
    fn products_leave_out_their_own() {
        let mut dst = [0.0f64; 6];
        products_of_others(3, 2, &[2.0, 0.0, 3.0, 5.0, 0.0, 7.0], &mut dst);
        assert_eq!(dst, [0.0, 35.0, 0.0, 0.0, 6.0, 0.0]);
    }

    #[test]
    fn equals_keep_their_order_both_ways_and_nan_is_largest() {
        let src = [2.0f32, f32::NAN, 1.0, 2.0, f32::NAN, 1.0];
        let of = |descending| {
            let mut dst = [9; 6];
            argsort(6, 1, descending, &src, &mut dst);
            dst
        };
        assert_eq!(of(false), [2, 5, 0, 3, 1, 4]);
        assert_eq!(of(true), [1, 4, 0, 3, 2, 5]);
    }
}
