//! Which cells of a tensor some output depends on.

use std::collections::BTreeMap;

use super::{Between, Cells, Key, Reaches};
use crate::error::{Error, ErrorKind, Result};
use crate::meta::Shape;
use crate::tensor::Tensor;

/// A set of cells in space: the product of a set for each axis.
type Region = Vec<Cells>;

/// The cells in space of an input that at least one cell of an output depends on.
///
/// ```
/// use rasgo_core::{DType, Tensor, ops::ConvOptions, reach::Coverage};
/// // 28 cells: windows of 5 every 2 cells begin at 0, 2, …, 22, and the last cell is in none.
/// let x = Tensor::shape_only([1, 1, 28], DType::F32).requires_grad();
/// let w = Tensor::shape_only([4, 1, 5], DType::F32);
/// let y = x.conv(&w, None, &ConvOptions { stride: [2; 3], ..Default::default() })?;
/// let coverage = Coverage::of(&y, &x)?;
/// assert_eq!((coverage.seen(), coverage.total()), (27, 28));
/// assert_eq!(coverage.unseen(0).ranges(), [27..28]);
/// # Ok::<(), rasgo_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coverage {
    sizes: Vec<usize>,
    /// Their union is what is seen; none holds another.
    regions: Vec<Region>,
}

impl Coverage {
    /// Which cells of x the cells of y depend on, by the records between them.
    ///
    /// # Errors
    /// [`ErrorKind::State`] if x needs no gradient, so that operations on it left no records;
    /// [`ErrorKind::Argument`] for an axis of more than 2^22 cells with windows that leave gaps, or of
    /// as many gaps, or of more than 2^20 that an operation reads one by one (as an interpolation).
    #[track_caller]
    pub fn of(y: &Tensor, x: &Tensor) -> Result<Coverage> {
        let at = std::panic::Location::caller();
        let sizes = x.shape().iter().skip(2).copied().collect();
        let Some(between) = Between::new(y, x) else {
            return Err(Error::new(ErrorKind::State, "the coverage of a tensor that needs no gradient")
                .op("coverage")
                .hint("call .requires_grad() on it before it is used")
                .at(at));
        };
        let mut waiting: BTreeMap<Key, Vec<Region>> = BTreeMap::new();
        if let Some(from) = between.from {
            let whole = y.shape().iter().skip(2).map(|&size| Cells::all(size)).collect();
            add(waiting.entry(from).or_default(), whole);
        }
        // What reads a tensor is younger than it, so that all regions of the youngest are known.
        while let Some((key, regions)) = waiting.pop_last() {
            if key == between.to {
                return Ok(Coverage { sizes, regions });
            }
            let Some(record) = between.records.get(&key.0) else { continue };
            for (edge, input, reaches) in between.inputs(record, &between.shapes[&key]) {
                let into = waiting.entry(edge).or_default();
                for region in &regions {
                    let Some(read) = read(region, &reaches, input) else {
                        let text = "is too long to list what is seen of it";
                        return Err(Error::argument(format!("an input of shape {input} {text}"))
                            .op("coverage")
                            .at(at));
                    };
                    add(into, read);
                }
            }
        }
        Ok(Coverage { sizes, regions: Vec::new() })
    }

    /// The sizes of the spatial axes.
    pub fn sizes(&self) -> &[usize] {
        &self.sizes
    }

    /// The cells in space that there are.
    pub fn total(&self) -> u64 {
        self.sizes.iter().map(|&size| size as u64).product()
    }

    /// The cells in space that are seen.
    pub fn seen(&self) -> u64 {
        count(&self.regions.iter().map(Vec::as_slice).collect::<Vec<_>>())
    }

    /// The share that is seen, from 0 to 1; of no cells all are seen.
    pub fn share(&self) -> f64 {
        if self.is_complete() { 1.0 } else { self.seen() as f64 / self.total() as f64 }
    }

    /// Whether every cell is seen.
    pub fn is_complete(&self) -> bool {
        self.seen() == self.total()
    }

    /// Whether the cell at that place in space is seen.
    pub fn contains(&self, place: &[usize]) -> bool {
        place.len() == self.sizes.len()
            && self.regions.iter().any(|region| region.iter().zip(place).all(|(cells, i)| cells.contains(*i)))
    }

    /// The cells of a spatial axis of which nothing is seen, wherever one goes along the others. Networks without
    /// branches see a product, and these cells of all axes are all that they miss.
    ///
    /// # Panics
    /// If there is no such axis.
    pub fn unseen(&self, axis: usize) -> Cells {
        let seen = self.regions.iter().fold(Cells::default(), |seen, region| seen.union(&region[axis]));
        seen.missing(self.sizes[axis])
    }

    /// Whether the cells that are missed are those of [`unseen`](Self::unseen), and no others.
    pub fn is_product(&self) -> bool {
        let seen = (0..self.sizes.len()).map(|axis| (self.sizes[axis] - self.unseen(axis).len()) as u64);
        seen.product::<u64>() == self.seen()
    }
}

/// What a region of the output reads of the input; `None` where that is too long a list.
fn read(region: &Region, reaches: &Reaches, input: &Shape) -> Option<Region> {
    // An output without the input's axes reads all of them; a region has at least one cell.
    let some = Cells::all(1);
    let outputs = (0..reaches.len()).map(|axis| region.get(axis).unwrap_or(&some));
    outputs
        .zip(reaches)
        .zip(&input[2.min(input.len())..])
        .map(|((cells, reach), &size)| cells.read(reach, size))
        .collect()
}

/// Adds a region to a union.
fn add(union: &mut Vec<Region>, mut region: Region) {
    if region.iter().any(Cells::is_empty) {
        return;
    }
    loop {
        if union.iter().any(|other| other.iter().zip(&region).all(|(other, own)| other.covers(own))) {
            return;
        }
        union.retain(|other| !region.iter().zip(other).all(|(own, other)| own.covers(other)));
        // Two that differ along one axis alone are one.
        let differ = |other: &Region| other.iter().zip(&region).filter(|(a, b)| a != b).count();
        let Some(near) = union.iter().position(|other| differ(other) == 1) else { break };
        let other = union.swap_remove(near);
        region = region.iter().zip(&other).map(|(own, other)| own.union(other)).collect();
    }
    union.push(region);
}

/// The cells of a union of products.
fn count(regions: &[&[Cells]]) -> u64 {
    match regions {
        [] => return 0,
        [region] => return region.iter().map(|cells| cells.len() as u64).product(),
        _ if regions[0].is_empty() => return 1,
        _ => {}
    }
    // The first axis in pieces, each with the regions that hold it.
    let bounds =
        regions.iter().flat_map(|region| region[0].ranges()).flat_map(|range| [range.start, range.end]);
    let mut bounds: Vec<usize> = bounds.collect();
    bounds.sort_unstable();
    bounds.dedup();
    let mut lengths: BTreeMap<Vec<usize>, u64> = BTreeMap::new();
    for piece in bounds.windows(2) {
        let holders = (0..regions.len()).filter(|&i| regions[i][0].contains(piece[0])).collect();
        *lengths.entry(holders).or_default() += (piece[1] - piece[0]) as u64;
    }
    let rest = |holders: &[usize]| count(&holders.iter().map(|&i| &regions[i][1..]).collect::<Vec<_>>());
    lengths.iter().map(|(holders, length)| length * rest(holders)).sum()
}
