//! Matrix products: of `f32`, and of bfloat16 (`half`).

pub(crate) mod driver;
mod few_rows;
pub(crate) mod half;
pub(crate) mod packed;
mod reference;
pub(crate) mod strided;
pub(crate) mod transposed;
pub(crate) mod view;

pub use packed::PackedWeight;

use crate::threads::SharedMut;
use crate::{Epilogue, Float, Isa};
use driver::{Place, Right, pack_right, rows_product, steps_product};
use packed::{Form, WeightShape};
use view::View;

/// The largest right matrix (in elements) that is packed as a whole; larger ones are packed block by block.
const PACK_WHOLE: usize = 1 << 20;

fn matrix_shape(n: usize, k: usize) -> WeightShape {
    WeightShape { groups: 1, out: n, inputs: k, taps: 1, form: Form::Panels }
}

/// Arranges the weight `[n, k]` of a linear layer for [`gemm`] with `trans_b`, once for many calls; `None` of one so
/// large that a second copy costs more memory, and time at first, than it saves later.
pub fn pack_weight(n: usize, k: usize, weight: &[f32]) -> Option<PackedWeight> {
    (n * k <= PACK_WHOLE).then(|| PackedWeight::new(matrix_shape(n, k), weight, Isa::current()))
}

/// `dst[m, n] = op(a) * op(b)`, and then the epilogue.
///
/// `a` is row-major `[m, k]` or, with `trans_a`, `[k, m]`; `b` is `[k, n]` or, with `trans_b`, `[n, k]`.
/// Without `trans_a` the order of sums depends on `k` alone: a row's result is the same to the bit whatever
/// rows stand beside it. `f32` is fast, `f64` is the plain formula. `packed` is what [`pack_weight`] made of the same
/// `b`, or `None`; it saves time, not more.
pub fn gemm<T: Float>(
    m: usize,
    n: usize,
    k: usize,
    a: &[T],
    trans_a: bool,
    b: &[T],
    trans_b: bool,
    packed: Option<&PackedWeight>,
    epilogue: Epilogue<'_, T>,
    dst: &mut [T],
) {
    assert_eq!(Some(a.len()), m.checked_mul(k), "the left matrix has m * k elements");
    assert_eq!(Some(b.len()), k.checked_mul(n), "the right matrix has k * n elements");
    assert_eq!(Some(dst.len()), m.checked_mul(n), "the result has m * n elements");
    epilogue.check(n, dst.len());
    let (Some(af), Some(bf)) = (T::as_f32(a), T::as_f32(b)) else {
        return reference::gemm(m, n, k, a, trans_a, b, trans_b, epilogue, dst);
    };
    let epilogue = epilogue.as_f32();
    let dst = T::as_f32_mut(dst).expect("one type for all");
    if m == 0 || n == 0 {
        return;
    }
    if trans_a && k > 0 {
        by_steps(m, n, k, af, bf, trans_b, dst);
        finish_rows(n, epilogue, dst);
    } else {
        by_rows(m, n, k, af, bf, trans_b, packed, epilogue, dst);
    }
}

fn by_rows(
    m: usize,
    n: usize,
    k: usize,
    a: &[f32],
    b: &[f32],
    trans_b: bool,
    packed: Option<&PackedWeight>,
    epilogue: Epilogue<'_, f32>,
    dst: &mut [f32],
) {
    let isa = Isa::current();
    let left = View::matrix(a, m, k, 0..k);
    let steps = View::matrix(if trans_b { &[] } else { b }, if trans_b { 0 } else { k }, n, 0..n);
    let right = if trans_b { Right::Transposed(b) } else { Right::Steps(&steps) };
    let place = Place { base: 0, stride: [0, 0, 0, n] };
    if let Some(packed) = packed.filter(|packed| trans_b && packed.fits(matrix_shape(n, k), isa)) {
        let dst = SharedMut::new(dst);
        return rows_product(isa, &left, Right::Packed(packed.group(0)), n, dst, place, epilogue);
    }
    if trans_b && m <= few_rows::ROWS {
        return few_rows::few_rows(isa, [m, n, k], a, b, epilogue, dst);
    }
    // With few rows each piece of the right matrix is used by one task only.
    let dst = SharedMut::new(dst);
    if m > 128 && n * k <= PACK_WHOLE {
        let packed = pack_right(isa, right, n, k);
        rows_product(isa, &left, Right::Packed(packed.as_slice()), n, dst, place, epilogue);
    } else {
        rows_product(isa, &left, right, n, dst, place, epilogue);
    }
}

/// The left matrix lies transposed: one step of the sum is a row of it.
fn by_steps(m: usize, n: usize, k: usize, a: &[f32], b: &[f32], trans_b: bool, dst: &mut [f32]) {
    let left = View::matrix(a, k, m, 0..m);
    let steps = View::matrix(if trans_b { &[] } else { b }, if trans_b { 0 } else { k }, n, 0..n);
    let right = if trans_b { Right::Transposed(b) } else { Right::Steps(&steps) };
    steps_product(Isa::current(), &left, right, n, SharedMut::new(dst));
}

fn finish_rows(n: usize, epilogue: Epilogue<'_, f32>, dst: &mut [f32]) {
    if epilogue.is_none() {
        return;
    }
    crate::threads::parallel_chunks(dst, n, |i, row| {
        for (j, x) in row.iter_mut().enumerate() {
            *x = epilogue.apply(i * n + j, n, *x);
        }
    });
}
