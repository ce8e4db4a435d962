//! Depthwise convolution: each channel is convolved with a filter of its own.
//!
//! No matrix product hides here: an output pixel is the sum over taps of two rows of channels multiplied
//! element by element, so the kernels go along the channels, on blocks that stay in registers.

use super::ConvProblem;
use crate::isa::isa_fn;
use crate::threads::{SharedMut, parallel};
use crate::{Buffer, Isa};

/// Channels of a block.
const LANES: usize = 32;
/// Images of a chunk of the gradient to the weight are this many pixels or one image.
const CHUNK: usize = 4096;

pub(super) fn accepts(p: &ConvProblem, _: Isa) -> bool {
    p.groups == p.ic && p.oc == p.ic && p.ic >= 8
}

/// The filters as `[tap][channel]`, so that a tap's row lies beside the map's.
fn by_tap(p: &ConvProblem, weight: &[f32]) -> Buffer {
    let taps = p.taps();
    let mut rows = Buffer::new::<f32>(weight.len());
    for (tap, row) in rows.as_mut_slice::<f32>().chunks_exact_mut(p.ic).enumerate() {
        row.iter_mut().zip(weight[tap..].iter().step_by(taps)).for_each(|(to, from)| *to = *from);
    }
    rows
}

/// For each place of an axis of the result, the (tap, place) pairs it reads, in the order of taps.
fn pairs(p: &ConvProblem, axis: usize, backward: bool) -> Vec<Vec<(usize, usize)>> {
    let len = if backward { p.input[axis] } else { p.output[axis] };
    let mut pairs = vec![Vec::new(); len];
    for o in 0..p.output[axis] {
        for k in 0..p.kernel[axis] {
            if let Some(i) = p.source(axis, o, k) {
                pairs[if backward { i } else { o }].push((k, if backward { o } else { i }));
            }
        }
    }
    if backward {
        pairs.iter_mut().for_each(|list| list.sort_unstable());
    }
    pairs
}

/// One line of the result: `to[w, c] = sum over taps of from[place, c] * weight[tap, c]`.
struct Line<'a> {
    ch: usize,
    /// (first tap, first element of the line in the map)
    lines: &'a [(usize, usize)],
    across: &'a [Vec<(usize, usize)>],
    from: &'a [f32],
    weight: &'a [f32],
    bias: Option<&'a [f32]>,
    relu: bool,
}

isa_fn! {
    fn line(work: &Line<'_>, to: &mut [f32]) {
        let (ch, len) = (work.ch, work.across.len());
        let mut w = 0;
        macro_rules! channels {
            ($pixels:ident, $to:expr) => {{
                let mut c = 0;
                while c + LANES <= ch {
                    $pixels::<LANES>(work, w, c, $to);
                    c += LANES;
                }
                while c + 8 <= ch {
                    $pixels::<8>(work, w, c, $to);
                    c += 8;
                }
                while c < ch {
                    $pixels::<1>(work, w, c, $to);
                    c += 1;
                }
            }};
        }
        while w < len {
            // Neighbours that read by the same taps share the loads of the weight.
            let alike = |q: usize| {
                let (one, other) = (&work.across[w], &work.across[w + q]);
                one.len() == other.len() && one.iter().zip(other).all(|(a, b)| a.0 == b.0)
            };
            if w + 4 <= len && alike(1) && alike(2) && alike(3) {
                channels!(four_pixels, &mut to[w * ch..(w + 4) * ch]);
                w += 4;
            } else {
                channels!(pixel, &mut to[w * ch..(w + 1) * ch]);
                w += 1;
            }
        }
    }
}

/// One pixel, `N` channels from `c` on.
#[inline(always)]
fn pixel<const N: usize>(work: &Line<'_>, w: usize, c: usize, to: &mut [f32]) {
    let mut sum = [0.0f32; N];
    for &(tap, start) in work.lines {
        for &(k, place) in &work.across[w] {
            let weight = &work.weight[(tap + k) * work.ch + c..][..N];
            add_product(&mut sum, &work.from[start + place * work.ch + c..], weight);
        }
    }
    finish(work, c, sum, to);
}

/// Four pixels from `w` on. The sums are four variables, since the compiler keeps an array of them in memory.
#[inline(always)]
fn four_pixels<const N: usize>(work: &Line<'_>, w: usize, c: usize, to: &mut [f32]) {
    let (mut s0, mut s1, mut s2, mut s3) = ([0.0f32; N], [0.0f32; N], [0.0f32; N], [0.0f32; N]);
    let len = work.across[w].len();
    let at = |q: usize| &work.across[w + q][..len];
    let (a0, a1, a2, a3) = (at(0), at(1), at(2), at(3));
    for &(tap, start) in work.lines {
        let from = &work.from[start + c..];
        for j in 0..len {
            let weight = &work.weight[(tap + a0[j].0) * work.ch + c..][..N];
            add_product(&mut s0, &from[a0[j].1 * work.ch..], weight);
            add_product(&mut s1, &from[a1[j].1 * work.ch..], weight);
            add_product(&mut s2, &from[a2[j].1 * work.ch..], weight);
            add_product(&mut s3, &from[a3[j].1 * work.ch..], weight);
        }
    }
    finish(work, c, s0, to);
    finish(work, c, s1, &mut to[work.ch..]);
    finish(work, c, s2, &mut to[2 * work.ch..]);
    finish(work, c, s3, &mut to[3 * work.ch..]);
}

#[inline(always)]
fn add_product<const N: usize>(sum: &mut [f32; N], from: &[f32], weight: &[f32]) {
    let (from, weight) = (&from[..N], &weight[..N]);
    for i in 0..N {
        sum[i] += from[i] * weight[i];
    }
}

#[inline(always)]
fn finish<const N: usize>(work: &Line<'_>, c: usize, mut sum: [f32; N], to: &mut [f32]) {
    if let Some(bias) = work.bias {
        let bias = &bias[c..c + N];
        for i in 0..N {
            sum[i] += bias[i];
        }
    }
    if work.relu {
        for i in 0..N {
            sum[i] = if sum[i] < 0.0 { 0.0 } else { sum[i] };
        }
    }
    to[c..c + N].copy_from_slice(&sum);
}

/// Forward and the gradient to the input are the same gather, over other pairs.
fn gather(
    p: &ConvProblem,
    backward: bool,
    src: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    relu: bool,
    dst: &mut [f32],
    isa: Isa,
) {
    let ([fd, fh, fw], [td, th, tw]) = if backward { (p.output, p.input) } else { (p.input, p.output) };
    let (ch, [_, kh, kw]) = (p.ic, p.kernel);
    let weight = by_tap(p, weight);
    let [deep, down, across] = [0, 1, 2].map(|axis| pairs(p, axis, backward));
    let dst = SharedMut::new(dst);
    parallel(p.n * td * th, |task| {
        let (image, d, h) = (task / (td * th), task / th % td, task % th);
        let mut lines = Vec::with_capacity(deep[d].len() * down[h].len());
        for &(a, z) in &deep[d] {
            for &(b, y) in &down[h] {
                lines.push(((a * kh + b) * kw, ((image * fd + z) * fh + y) * fw * ch));
            }
        }
        let weight = weight.as_slice();
        let work = Line { ch, lines: &lines, across: &across, from: src, weight, bias, relu };
        // SAFETY: each task has a line of its own.
        line(isa, &work, unsafe { dst.slice(task * tw * ch, tw * ch) });
    });
}

pub(super) fn forward(
    p: &ConvProblem,
    src: &[f32],
    weight: &[f32],
    _: Option<&crate::gemm::PackedWeight>,
    bias: Option<&[f32]>,
    relu: bool,
    dst: &mut [f32],
    isa: Isa,
) {
    gather(p, false, src, weight, bias, relu, dst, isa);
}

pub(super) fn grad_input(
    p: &ConvProblem,
    dy: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    dx: &mut [f32],
    isa: Isa,
) {
    gather(p, true, dy, weight, bias, false, dx, isa);
}

/// `dw[c, tap] = sum over pixels of src[pixel at the tap, c] * dy[pixel, c]`, by chunks of images, whose sums
/// are added by a pairwise tree.
pub(super) fn grad_weight(p: &ConvProblem, src: &[f32], dy: &[f32], dw: &mut [f32], isa: Isa) {
    let (ch, taps) = (p.ic, p.taps());
    let chunk = 1 << (CHUNK / p.output_pixels().max(1)).max(1).ilog2();
    let chunks = p.n.div_ceil(chunk).max(1);
    let len = taps * ch;
    let mut sums = Buffer::new::<f32>(chunks * len);
    let shared = SharedMut::new(sums.as_mut_slice::<f32>());
    parallel(chunks, |i| {
        // SAFETY: each chunk has a part of its own.
        let sums = unsafe { shared.slice(i * len, len) };
        sums.fill(0.0);
        add_images(isa, p, i * chunk, p.n.min((i + 1) * chunk), src, dy, sums);
    });
    let sums = sums.as_mut_slice::<f32>();
    let mut distance = 1;
    while distance < chunks {
        for i in (0..chunks - distance).step_by(2 * distance) {
            let (left, right) = sums.split_at_mut((i + distance) * len);
            left[i * len..][..len].iter_mut().zip(&right[..len]).for_each(|(sum, x)| *sum += *x);
        }
        distance *= 2;
    }
    for (c, filter) in dw.chunks_exact_mut(taps).enumerate() {
        filter.iter_mut().enumerate().for_each(|(tap, x)| *x = sums[tap * ch + c]);
    }
}

isa_fn! {
    /// Adds images `begin .. end` to `sums[tap][channel]`, block after block of channels, line after line.
    fn add_images(p: &ConvProblem, begin: usize, end: usize, src: &[f32], dy: &[f32], sums: &mut [f32]) {
        let ([id, ih, iw], [od, oh, ow], [kd, kh, kw]) = (p.input, p.output, p.kernel);
        for image_line in begin * od * oh..end * od * oh {
            let (image, d, h) = (image_line / (od * oh), image_line / oh % od, image_line % oh);
            for tap_line in 0..kd * kh {
                let (Some(z), Some(y)) = (p.source(0, d, tap_line / kh), p.source(1, h, tap_line % kh)) else {
                    continue;
                };
                let start = ((image * id + z) * ih + y) * iw * p.ic;
                for k in 0..kw {
                    let to = &mut sums[(tap_line * kw + k) * p.ic..][..p.ic];
                    let mut c = 0;
                    while c + 2 * LANES <= p.ic {
                        add_line::<{ 2 * LANES }>(p, k, c, &src[start..], &dy[image_line * ow * p.ic..], to);
                        c += 2 * LANES;
                    }
                    while c + LANES <= p.ic {
                        add_line::<LANES>(p, k, c, &src[start..], &dy[image_line * ow * p.ic..], to);
                        c += LANES;
                    }
                    while c < p.ic {
                        add_line::<1>(p, k, c, &src[start..], &dy[image_line * ow * p.ic..], to);
                        c += 1;
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn add_line<const N: usize>(p: &ConvProblem, k: usize, c: usize, src: &[f32], dy: &[f32], sums: &mut [f32]) {
    let mut sum = [0.0f32; N];
    for w in 0..p.output[2] {
        if let Some(x) = p.source(2, w, k) {
            let (a, b) = (&src[x * p.ic + c..][..N], &dy[w * p.ic + c..][..N]);
            for i in 0..N {
                sum[i] += a[i] * b[i];
            }
        }
    }
    for i in 0..N {
        sums[c + i] += sum[i];
    }
}
