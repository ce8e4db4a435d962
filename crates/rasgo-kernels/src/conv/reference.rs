//! The three passes as their formulas say: the oracle, and the way of `f64`.

use super::ConvProblem;
use crate::threads::parallel_chunks;
use crate::{Epilogue, Float};

/// Calls `visit(output pixel, input pixel, tap)` for every pair of pixels of one image that a tap joins.
fn for_each_tap(p: &ConvProblem, mut visit: impl FnMut(usize, usize, usize)) {
    let ([_, ih, iw], [od, oh, ow], [kd, kh, kw]) = (p.input, p.output, p.kernel);
    for (d, h, w) in triples([od, oh, ow]) {
        for (a, b, c) in triples([kd, kh, kw]) {
            let sources = (p.source(0, d, a), p.source(1, h, b), p.source(2, w, c));
            if let (Some(id), Some(jh), Some(jw)) = sources {
                visit((d * oh + h) * ow + w, (id * ih + jh) * iw + jw, (a * kh + b) * kw + c);
            }
        }
    }
}

fn triples([x, y, z]: [usize; 3]) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..x).flat_map(move |a| (0..y).flat_map(move |b| (0..z).map(move |c| (a, b, c))))
}

/// `dst = src * weight` and the epilogue, an image at a time.
pub(super) fn forward<T: Float>(
    p: &ConvProblem,
    src: &[T],
    weight: &[T],
    epilogue: Epilogue<'_, T>,
    dst: &mut [T],
) {
    let (gi, go, taps) = (p.group_ic(), p.group_oc(), p.taps());
    let (src_len, dst_len) = (p.input_pixels() * p.ic, p.output_pixels() * p.oc);
    if dst.is_empty() {
        return;
    }
    parallel_chunks(dst, dst_len, |image, dst| {
        let src = &src[image * src_len..][..src_len];
        dst.fill(T::ZERO);
        for_each_tap(p, |out, from, tap| {
            for oc in 0..p.oc {
                let first = oc / go * gi;
                for ic in 0..gi {
                    dst[out * p.oc + oc] +=
                        src[from * p.ic + first + ic] * weight[(oc * gi + ic) * taps + tap];
                }
            }
        });
        for (i, x) in dst.iter_mut().enumerate() {
            *x = epilogue.apply(image * dst_len + i, p.oc, *x);
        }
    });
}

/// `dx = dy * weight^T (+ bias)`, an image at a time.
pub(super) fn grad_input<T: Float>(
    p: &ConvProblem,
    dy: &[T],
    weight: &[T],
    bias: Option<&[T]>,
    dx: &mut [T],
) {
    let (gi, go, taps) = (p.group_ic(), p.group_oc(), p.taps());
    let (src_len, dst_len) = (p.input_pixels() * p.ic, p.output_pixels() * p.oc);
    if dx.is_empty() {
        return;
    }
    parallel_chunks(dx, src_len, |image, dx| {
        let dy = &dy[image * dst_len..][..dst_len];
        dx.fill(T::ZERO);
        for_each_tap(p, |out, to, tap| {
            for oc in 0..p.oc {
                let first = oc / go * gi;
                for ic in 0..gi {
                    dx[to * p.ic + first + ic] += dy[out * p.oc + oc] * weight[(oc * gi + ic) * taps + tap];
                }
            }
        });
        if let Some(bias) = bias {
            for pixel in dx.chunks_exact_mut(p.ic) {
                pixel.iter_mut().zip(bias).for_each(|(x, bias)| *x += *bias);
            }
        }
    });
}

/// `dw = src^T * dy`, an output channel at a time.
pub(super) fn grad_weight<T: Float>(p: &ConvProblem, src: &[T], dy: &[T], dw: &mut [T]) {
    let (gi, go, taps) = (p.group_ic(), p.group_oc(), p.taps());
    let (src_len, dst_len) = (p.input_pixels() * p.ic, p.output_pixels() * p.oc);
    parallel_chunks(dw, gi * taps, |oc, dw| {
        dw.fill(T::ZERO);
        let first = oc / go * gi;
        for image in 0..p.n {
            for_each_tap(p, |out, from, tap| {
                let grad = dy[image * dst_len + out * p.oc + oc];
                for ic in 0..gi {
                    dw[ic * taps + tap] += src[image * src_len + from * p.ic + first + ic] * grad;
                }
            });
        }
    });
}
