//! One of two values, by a mask.

use super::strided::Walk;
use crate::buffer::Element;
use crate::rows::CHUNK;
use crate::threads::parallel_chunks;

/// An array that is read with strides, 0 along the axes on which it is repeated.
#[derive(Debug, Clone, Copy)]
pub struct Strided<'a, T> {
    /// The values.
    pub values: &'a [T],
    /// The distance of neighbours along each axis.
    pub strides: &'a [usize],
}

/// `dst[shape] = a where the mask is not 0, else b`, `dst` row-major.
pub fn select<T: Element>(
    shape: &[usize],
    mask: Strided<'_, u8>,
    a: Strided<'_, T>,
    b: Strided<'_, T>,
    dst: &mut [T],
) {
    let walk = Walk::new(shape, [mask.strides, a.strides, b.strides]);
    walk.check([mask.values.len(), a.values.len(), b.values.len()], dst.len());
    let [sm, sa, sb] = walk.inner_strides();
    parallel_chunks(dst, CHUNK, |i, dst| {
        walk.segments(i * CHUNK, dst.len(), |at, len, [im, ia, ib]| {
            let (mask, a, b) = (&mask.values[im..], &a.values[ia..], &b.values[ib..]);
            for (k, dst) in dst[at..at + len].iter_mut().enumerate() {
                *dst = if mask[k * sm] != 0 { a[k * sa] } else { b[k * sb] };
            }
        });
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_side_is_read_with_its_own_strides() {
        let (mask, a, b) = ([1, 0, 2], [1.0f32, 2.0], [10.0f32, 20.0, 30.0, 40.0, 50.0, 60.0]);
        let mut dst = [f32::NAN; 6];
        select(
            &[2, 3],
            Strided { values: &mask, strides: &[0, 1] },
            Strided { values: &a, strides: &[1, 0] },
            Strided { values: &b, strides: &[3, 1] },
            &mut dst,
        );
        assert_eq!(dst, [1.0, 20.0, 1.0, 2.0, 50.0, 2.0]);
        let none: Strided<'_, f32> = Strided { values: &[], strides: &[0, 1] };
        select(&[0, 3], Strided { values: &mask, strides: &[0, 1] }, none, none, &mut []);
    }
}
