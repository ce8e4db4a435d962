//! Convolutions of `f32` between two conversions, so few images at a time that what is converted stays in the cache.

use std::ops::Range;

use crate::bf16::{narrow, widen};
use crate::conv::{self, ConvProblem};
use crate::{Bf16, Buffer, Epilogue};

/// Elements of both maps that are converted at a time, about.
const PART: usize = 1 << 19;

/// The images in parts, and the problem of each.
fn parts(p: &ConvProblem) -> impl Iterator<Item = (ConvProblem, Range<usize>)> {
    let image = (p.src_len() + p.dst_len()) / p.n.max(1);
    let (p, most) = (*p, (PART / image.max(1)).max(1));
    (0..p.n).step_by(most).map(move |start| {
        let images = start..p.n.min(start + most);
        (ConvProblem { n: images.len(), ..p }, images)
    })
}

/// The elements of some images of a map that all are parts of.
fn of(images: &Range<usize>, len: usize, n: usize) -> Range<usize> {
    let image = len / n;
    images.start * image..images.end * image
}

/// A part of a map, widened.
fn wide(map: &[Bf16]) -> Buffer {
    let mut wide = Buffer::new::<f32>(map.len());
    widen(map, &mut wide.as_mut_slice::<f32>()[..map.len()]);
    wide
}

pub(super) fn forward(
    p: &ConvProblem,
    src: &[Bf16],
    weight: &[f32],
    epilogue: Epilogue<'_, Bf16>,
    dst: &mut [Bf16],
) {
    let packed = conv::pack_weight(p, weight);
    for (part, images) in parts(p) {
        let (from, to) = (of(&images, p.src_len(), p.n), of(&images, p.dst_len(), p.n));
        let (src, mut sums) = (wide(&src[from.clone()]), Buffer::new::<f32>(to.len()));
        let sums = &mut sums.as_mut_slice::<f32>()[..to.len()];
        let add = epilogue.add.map(|add| wide(&add[to.clone()]));
        let add = add.as_ref().map(|add| &add.as_slice::<f32>()[..to.len()]);
        let epilogue = Epilogue { bias: epilogue.bias, add, activation: epilogue.activation };
        conv::forward(&part, &src.as_slice::<f32>()[..from.len()], weight, packed.as_ref(), epilogue, sums);
        narrow(sums, &mut dst[to]);
    }
}

pub(super) fn grad_input(
    p: &ConvProblem,
    dy: &[Bf16],
    weight: &[f32],
    bias: Option<&[f32]>,
    dx: &mut [Bf16],
) {
    for (part, images) in parts(p) {
        let (from, to) = (of(&images, p.dst_len(), p.n), of(&images, p.src_len(), p.n));
        let (dy, mut sums) = (wide(&dy[from.clone()]), Buffer::new::<f32>(to.len()));
        let sums = &mut sums.as_mut_slice::<f32>()[..to.len()];
        conv::grad_input(&part, &dy.as_slice::<f32>()[..from.len()], weight, bias, sums);
        narrow(sums, &mut dx[to]);
    }
}

pub(super) fn grad_weight(p: &ConvProblem, src: &[Bf16], dy: &[Bf16], dw: &mut [f32]) {
    dw.fill(0.0);
    let mut sums = Buffer::new::<f32>(dw.len());
    let sums = &mut sums.as_mut_slice::<f32>()[..dw.len()];
    for (part, images) in parts(p) {
        let (x, y) = (of(&images, p.src_len(), p.n), of(&images, p.dst_len(), p.n));
        let (src, dy) = (wide(&src[x.clone()]), wide(&dy[y.clone()]));
        let (src, dy) = (&src.as_slice::<f32>()[..x.len()], &dy.as_slice::<f32>()[..y.len()]);
        conv::grad_weight(&part, src, dy, sums);
        for (dw, sum) in dw.iter_mut().zip(&*sums) {
            *dw += *sum;
        }
    }
}
