//! Receptive fields: how wide the part of the input is that one cell depends on, and where it lies.

use std::collections::HashMap;
use std::ops::Range;

use super::{Between, Key, MOST_LISTED, Reach, Window};
use crate::tensor::Tensor;

/// The receptive field of a tensor's cells along one axis of the input. Cells in padding count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Input cells from the first to the last that one cell depends on; of cells that differ, the widest.
    pub size: usize,
    /// Input cells from one cell's field to the next one's; `None` where it is not the same everywhere.
    pub stride: Option<usize>,
    /// How far before the input the first cell's field begins; negative inside. `None` as the stride.
    pub padding: Option<i64>,
}

/// The receptive fields of the cells of y in x, one for each spatial axis of x.
///
/// Through a window of k cells at distance d, step s and padding p (Araujo et al., *Computing receptive fields of
/// convolutional neural networks*, Distill 2019):
/// ```text
/// size += d (k - 1) * stride     padding += p * stride     stride *= s
/// ```
/// What has seen all of an axis, as after a global pooling or a linear layer, has a field of the axis's length, and
/// no stride. Where branches meet, it is the field that holds both.
///
/// ```
/// use rasgo_core::{DType, Tensor, ops::ConvOptions, reach::fields};
/// let x = Tensor::shape_only([1, 1, 28], DType::F32).requires_grad();
/// let w = Tensor::shape_only([1, 1, 5], DType::F32);
/// let options = ConvOptions { stride: [2; 3], padding: [(1, 1); 3], ..Default::default() };
/// let y = x.conv(&w, None, &options)?.conv(&w, None, &options)?;
/// let field = fields(&y, &x)[0];
/// assert_eq!((field.size, field.stride, field.padding), (5 + 4 * 2, Some(4), Some(1 + 2)));
/// # Ok::<(), rasgo_core::Error>(())
/// ```
///
/// Where y does not depend on x, or x needs no gradient, fields have the size 0.
pub fn fields(y: &Tensor, x: &Tensor) -> Vec<Field> {
    let axes = x.shape().len().saturating_sub(2);
    let none = vec![Field { size: 0, stride: None, padding: None }; axes];
    let Some(between) = Between::new(y, x) else { return none };
    let Some(from) = between.from else { return none };
    let sizes = &x.shape()[2.min(x.shape().len())..];
    let mut known: HashMap<Key, Vec<Extent>> = HashMap::new();
    known.insert(between.to, vec![Extent::Regular { start: 0, size: 1, stride: 1 }; axes]);
    let mut keys: Vec<Key> = between.shapes.keys().copied().filter(|key| *key != between.to).collect();
    keys.sort_unstable();
    for key in keys {
        let Some(record) = between.records.get(&key.0) else { continue };
        let output = &between.shapes[&key];
        let mut joined: Option<Vec<Extent>> = None;
        for (edge, input, reaches) in between.inputs(record, output) {
            let Some(extents) = known.get(&edge) else { continue };
            // Axes of the input x; a tensor on the way that has others has seen all of them.
            let same_axes = reaches.len() == axes;
            let through = extents.iter().enumerate().map(|(axis, extent)| match same_axes {
                true => {
                    let length = output.get(axis + 2).copied().unwrap_or(1);
                    extent.through(&reaches[axis], input[axis + 2], length, sizes[axis])
                }
                false => extent.whole(positions(input, axes, axis), sizes[axis]),
            });
            let through: Vec<Extent> = through.collect();
            joined = Some(match joined {
                None => through,
                Some(before) => {
                    let pairs = before.iter().zip(&through).enumerate();
                    pairs
                        .map(|(axis, (a, b))| a.join(b, positions(output, axes, axis), sizes[axis]))
                        .collect()
                }
            });
        }
        if let Some(extents) = joined {
            known.insert(key, extents);
        }
    }
    known.get(&from).map_or(none, |extents| extents.iter().map(Extent::field).collect())
}

/// How many cells a tensor has along an axis of x: one where it has no such axes.
fn positions(shape: &crate::Shape, axes: usize, axis: usize) -> usize {
    if shape.len() == axes + 2 { shape[axis + 2] } else { 1 }
}

/// From the first to behind the last cell of the input that each cell of a tensor depends on, along one axis.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Extent {
    /// Cell o has `start + o * stride`, and `size` cells from there. A stride of 0: all have the same.
    Regular { start: i64, size: i64, stride: i64 },
    /// One for each cell; a cell that depends on nothing has an end before its start.
    Listed(Vec<(i64, i64)>),
}

const NOTHING: (i64, i64) = (i64::MAX, i64::MIN);

fn both(a: (i64, i64), b: (i64, i64)) -> (i64, i64) {
    (a.0.min(b.0), a.1.max(b.1))
}

impl Extent {
    fn at(&self, o: usize) -> (i64, i64) {
        match self {
            Extent::Regular { start, size, stride } => {
                let first = start.saturating_add(stride.saturating_mul(o as i64));
                (first, first.saturating_add(*size))
            }
            Extent::Listed(extents) => extents.get(o).copied().unwrap_or(NOTHING),
        }
    }

    /// What a cell depends on that reads all `length` cells of the axis.
    fn whole(&self, length: usize, input: usize) -> Extent {
        if let (Extent::Regular { start, size, .. }, 1) = (self, length) {
            return Extent::Regular { start: *start, size: *size, stride: 0 };
        }
        let (start, end) = match self {
            Extent::Regular { .. } if length > 0 => both(self.at(0), self.at(length - 1)),
            Extent::Regular { .. } => NOTHING,
            Extent::Listed(extents) => extents.iter().copied().fold(NOTHING, both),
        };
        let (start, end) = (start.clamp(0, input as i64), end.clamp(0, input as i64));
        Extent::Regular { start, size: (end - start).max(0), stride: 0 }
    }

    /// What the `output` cells depend on that read the axis of `length` cells so.
    fn through(&self, reach: &Reach, length: usize, output: usize, input: usize) -> Extent {
        match (self, reach) {
            (_, Reach::Same) => self.clone(),
            (_, Reach::All | Reach::Fixed(_) | Reach::Unlisted) => self.whole(length, input),
            (Extent::Regular { start, size, stride }, Reach::Window(window)) => {
                // A model file may say any number.
                let times = |number: i64| stride.saturating_mul(number);
                let reach = (window.dilation as i64).saturating_mul(window.kernel as i64 - 1);
                Extent::Regular {
                    start: start.saturating_sub(times(window.padding as i64)),
                    size: size.saturating_add(times(reach)),
                    stride: times(window.stride as i64),
                }
            }
            _ if output.saturating_mul(self.reads(reach)) > MOST_LISTED => self.whole(length, input),
            _ => Extent::Listed((0..output).map(|o| self.read(reach, o, length)).collect()),
        }
    }

    /// At most how many cells are looked at for one that reads the axis so.
    fn reads(&self, reach: &Reach) -> usize {
        match (self, reach) {
            (_, Reach::Window(window) | Reach::Transposed(window)) => window.kernel,
            (Extent::Listed(_), Reach::Ranges(ranges)) => ranges.iter().map(Range::len).max().unwrap_or(0),
            _ => 1,
        }
    }

    /// What cell `o` depends on, which reads a few of the axis's cells.
    fn read(&self, reach: &Reach, o: usize, length: usize) -> (i64, i64) {
        let over = |cells: &mut dyn Iterator<Item = usize>| cells.map(|i| self.at(i)).fold(NOTHING, both);
        match reach {
            // The ends of a range of regular cells hold what is between them.
            Reach::Ranges(ranges) if matches!(self, Extent::Regular { .. }) && !ranges[o].is_empty() => {
                both(self.at(ranges[o].start), self.at(ranges[o].end - 1))
            }
            Reach::Ranges(ranges) => over(&mut ranges[o].clone()),
            Reach::Window(window) => {
                let Window { stride, padding, dilation, .. } = *window;
                let first = o as i128 * stride as i128 - padding as i128;
                let taps = window.taps(-first, length as i128 - 1 - first);
                over(&mut taps.map(|tap| (first + tap as i128 * dilation as i128) as usize))
            }
            Reach::Transposed(window) => {
                let Window { kernel, stride, padding, dilation } = *window;
                let place = o as i128 + padding as i128;
                let inputs = (0..kernel).map(|tap| place - tap as i128 * dilation as i128);
                let whole = inputs.filter(|from| from.rem_euclid(stride as i128) == 0);
                let cells = whole.map(|from| from / stride as i128);
                over(&mut cells.filter(|i| (0..length as i128).contains(i)).map(|i| i as usize))
            }
            Reach::Same | Reach::Fixed(_) | Reach::All | Reach::Unlisted => {
                unreachable!("done for all cells at once")
            }
        }
    }

    fn join(&self, other: &Extent, positions: usize, input: usize) -> Extent {
        match (self, other) {
            (
                Extent::Regular { start: a, size: m, stride },
                Extent::Regular { start: b, size: n, stride: same },
            ) if stride == same => {
                let end = a.saturating_add(*m).max(b.saturating_add(*n));
                let start = *a.min(b);
                Extent::Regular { start, size: end.saturating_sub(start), stride: *stride }
            }
            _ if positions > MOST_LISTED => Extent::Regular { start: 0, size: input as i64, stride: 0 },
            _ => Extent::Listed((0..positions).map(|o| both(self.at(o), other.at(o))).collect()),
        }
    }

    fn field(&self) -> Field {
        match self {
            Extent::Regular { size, stride: 0, .. } => {
                Field { size: (*size).max(0) as usize, stride: None, padding: None }
            }
            Extent::Regular { start, size, stride } => Field {
                size: (*size).max(0) as usize,
                stride: Some(*stride as usize),
                padding: Some(start.saturating_neg()),
            },
            Extent::Listed(extents) => {
                let widest = extents.iter().map(|(start, end)| end.saturating_sub(*start)).max();
                Field { size: widest.unwrap_or(0).max(0) as usize, stride: None, padding: None }
            }
        }
    }
}
