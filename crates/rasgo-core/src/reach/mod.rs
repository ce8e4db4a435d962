//! Which cells of a tensor another one depends on: the records walked as `backward` walks them, without values.
//!
//! Each op says for each spatial axis of an input which of its cells a cell of the output reads ([`Op::reach`]); that
//! does not depend on values, so tensors without values serve as well. Of a value of each cell enough is asked: which
//! cells *can* matter, not which have a weight of 0 or lost a maximum. The statistics of a normalisation are not
//! counted, and channels are not told apart.
//!
//! [`Op::reach`]: crate::op::Op::reach

mod cells;
mod coverage;
mod field;

pub use cells::Cells;
pub use coverage::Coverage;
pub use field::{Field, fields};

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::meta::Shape;
use crate::record::Record;
use crate::tensor::Tensor;

/// Which cells of an input's axis the cell `o` of the output's axis reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Cell `o`.
    Same,
    /// The cells of a window, where they exist.
    Window(Window),
    /// Those whose window, laid on the output, holds `o`: the way of a transposed convolution.
    Transposed(Window),
    /// A range for each `o`.
    Ranges(Vec<Range<usize>>),
    /// These cells, whichever `o` is; where the axes of input and output are others.
    Fixed(Cells),
    /// Every cell.
    All,
    /// Cells of which there are too many to list.
    Unlisted,
}

impl Reach {
    /// What all `outputs` cells of an axis together read of one of `inputs` cells.
    pub(crate) fn of_all(&self, outputs: usize, inputs: usize) -> Reach {
        Cells::all(outputs).read(self, inputs).map_or(Reach::Unlisted, Reach::Fixed)
    }
}

/// The cells `o * stride - padding + t * dilation` for t in 0..kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Cells of the window.
    pub kernel: usize,
    /// Step of the window.
    pub stride: usize,
    /// How far before the axis the first window begins; negative inside the axis.
    pub padding: isize,
    /// Distance of the window's cells.
    pub dilation: usize,
}

impl Window {
    /// The taps t with `low <= t * dilation <= high`.
    fn taps(&self, low: i128, high: i128) -> Range<usize> {
        let dilation = self.dilation as i128;
        let clip = |tap: i128| tap.clamp(0, self.kernel as i128) as usize;
        let first = low.div_euclid(dilation) + i128::from(low.rem_euclid(dilation) > 0);
        clip(first)..clip(high.div_euclid(dilation) + 1).max(clip(first))
    }

    /// Cell `o + by` alone.
    pub fn shifted(by: isize) -> Window {
        Window { kernel: 1, stride: 1, padding: -by, dilation: 1 }
    }
}

/// A reach for each spatial axis (those after N and C) of an input.
pub type Reaches = SmallVec<[Reach; 3]>;

/// What holds where an op says nothing else: an axis that keeps its size is read cell by cell, of another one
/// everything is.
pub fn by_shape(input: &Shape, output: &Shape) -> Reaches {
    let same = |axis: usize| input.len() == output.len() && input[axis] == output[axis];
    (2..input.len()).map(|axis| if same(axis) { Reach::Same } else { Reach::All }).collect()
}

/// Every cell of every axis.
pub fn everything(input: &Shape) -> Reaches {
    (2..input.len()).map(|_| Reach::All).collect()
}

/// As [`by_shape`], but along one axis everything is read.
pub(crate) fn whole_axis(input: &Shape, output: &Shape, axis: usize) -> Reaches {
    along(input, output, axis, |_| Reach::All)
}

/// As [`by_shape`], with another reach along one axis, given its size in the output.
pub(crate) fn along(input: &Shape, output: &Shape, axis: usize, reach: impl Fn(usize) -> Reach) -> Reaches {
    let mut reaches = by_shape(input, output);
    if axis >= 2
        && input.len() == output.len()
        && let Some(place) = reaches.get_mut(axis - 2)
    {
        *place = reach(output[axis]);
    }
    reaches
}

/// The last of three axes that an input of that rank has, as reaches.
pub(crate) fn of_axes(input: &Shape, axis: impl Fn(usize) -> Reach) -> Reaches {
    (5usize.saturating_sub(input.len())..3).map(axis).collect()
}

/// The windows of an adaptive pooling: floor(o in / out) .. ceil((o + 1) in / out).
pub(crate) fn adaptive(input: &Shape, output: &Shape) -> Reaches {
    (2..input.len()).map(|axis| adaptive_axis(input[axis], output[axis])).collect()
}

/// The most cells of an axis for each of which a range is kept.
pub(crate) const MOST_LISTED: usize = 1 << 20;

/// A range for each of the output's cells, of no more than a list should have.
pub(crate) fn ranges(output: usize, of: impl Fn(usize) -> Range<usize>) -> Reach {
    if output > MOST_LISTED { Reach::Unlisted } else { Reach::Ranges((0..output).map(of).collect()) }
}

fn adaptive_axis(input: usize, output: usize) -> Reach {
    if input == output {
        return Reach::Same;
    }
    if output == 1 {
        return Reach::All;
    }
    if output > 0 && input.is_multiple_of(output) {
        let kernel = input / output;
        return Reach::Window(Window { kernel, stride: kernel, padding: 0, dilation: 1 });
    }
    let start = |o: usize| (o as u128 * input as u128 / output as u128) as usize;
    let end = |o: usize| ((o as u128 + 1) * input as u128).div_ceil(output as u128) as usize;
    ranges(output, |o| start(o)..end(o))
}

type Key = (u64, usize);

/// The records between two tensors, and the shapes of the tensors between them.
struct Between {
    records: BTreeMap<u64, Arc<Record>>,
    shapes: HashMap<Key, Shape>,
    from: Option<Key>,
    to: Key,
}

impl Between {
    /// `None` where x is no tensor that operations leave records for.
    fn new(y: &Tensor, x: &Tensor) -> Option<Between> {
        let to = x.origin.as_ref()?.key();
        let mut found = Between {
            records: BTreeMap::new(),
            shapes: HashMap::new(),
            from: y.origin.as_ref().map(|origin| origin.key()),
            to,
        };
        let mut waiting: Vec<Arc<Record>> = Vec::new();
        if let Some(origin) = &y.origin {
            found.shapes.insert(origin.key(), y.shape().clone());
            waiting.push(Arc::clone(&origin.record));
        }
        while let Some(record) = waiting.pop() {
            // Records have rising numbers: nothing before x depends on it.
            if record.id <= to.0 || found.records.contains_key(&record.id) {
                continue;
            }
            for (edge, shape) in record.edges.iter().zip(&record.shapes) {
                if let Some(edge) = edge {
                    found.shapes.insert(edge.key(), shape.clone());
                    waiting.push(Arc::clone(&edge.record));
                }
            }
            found.records.insert(record.id, record);
        }
        Some(found)
    }

    /// The inputs of a record's output that may lead to x, each with its reaches.
    fn inputs<'a>(
        &'a self,
        record: &'a Record,
        output: &'a Shape,
    ) -> impl Iterator<Item = (Key, &'a Shape, Reaches)> {
        let op = record.op.as_ref();
        record.edges.iter().enumerate().filter_map(move |(which, edge)| {
            let (key, input) = (edge.as_ref()?.key(), &record.shapes[which]);
            let reaches = op?.reach(which, &record.shapes, output);
            debug_assert_eq!(reaches.len(), input.len().saturating_sub(2), "a reach for each spatial axis");
            Some((key, input, reaches))
        })
    }
}
