//! Sets of cells of one axis.

use std::ops::Range;

use super::{MOST_LISTED, Reach, Window};

/// Axes with windows that leave gaps are marked cell by cell up to this length.
const MOST_MARKED: usize = 1 << 22;

/// The most marks that are made on one.
const MOST_WORK: usize = 1 << 26;

/// A set of cells of an axis, as ranges that rise and do not touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cells(Vec<Range<usize>>);

impl Cells {
    /// All cells of an axis of that length.
    pub fn all(length: usize) -> Cells {
        Cells::of(std::iter::once(0..length).collect())
    }

    /// The cells of some ranges.
    pub fn of(mut ranges: Vec<Range<usize>>) -> Cells {
        ranges.retain(|range| !range.is_empty());
        ranges.sort_unstable_by_key(|range| range.start);
        let mut joined: Vec<Range<usize>> = Vec::with_capacity(ranges.len());
        for range in ranges {
            match joined.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => joined.push(range),
            }
        }
        Cells(joined)
    }

    /// The ranges, rising.
    pub fn ranges(&self) -> &[Range<usize>] {
        &self.0
    }

    /// How many cells there are.
    pub fn len(&self) -> usize {
        self.0.iter().map(Range::len).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the cell is in the set.
    pub fn contains(&self, cell: usize) -> bool {
        let after = self.0.partition_point(|range| range.end <= cell);
        self.0.get(after).is_some_and(|range| range.contains(&cell))
    }

    /// Whether all of `other` is in the set.
    pub fn covers(&self, other: &Cells) -> bool {
        let mut own = self.0.iter().peekable();
        other.0.iter().all(|range| {
            while own.next_if(|own| own.end < range.end).is_some() {}
            own.peek().is_some_and(|own| own.start <= range.start && range.end <= own.end)
        })
    }

    /// The cells of either set.
    pub fn union(&self, other: &Cells) -> Cells {
        Cells::of(self.0.iter().chain(&other.0).cloned().collect())
    }

    /// The cells of an axis of that length that are not in the set.
    pub fn missing(&self, length: usize) -> Cells {
        let starts = std::iter::once(0).chain(self.0.iter().map(|range| range.end));
        let ends = self.0.iter().map(|range| range.start).chain([length]);
        Cells(starts.zip(ends).filter(|(start, end)| start < end).map(|(start, end)| start..end).collect())
    }

    /// The cells of an input's axis of that length that these cells of the output's read. `None` for an axis too long
    /// to list what is read of it.
    pub(super) fn read(&self, reach: &Reach, length: usize) -> Option<Cells> {
        match reach {
            Reach::Same => Some(self.clone()),
            Reach::All => Some(if self.is_empty() { Cells::default() } else { Cells::all(length) }),
            Reach::Fixed(cells) => Some(if self.is_empty() { Cells::default() } else { cells.clone() }),
            Reach::Ranges(ranges) => {
                let cells = self.0.iter().flat_map(|outputs| outputs.clone()).map(|o| ranges[o].clone());
                Some(Cells::of(cells.collect()))
            }
            Reach::Unlisted => self.is_empty().then(Cells::default),
            Reach::Window(window) => self.under(window, length),
            Reach::Transposed(window) => self.above(window, length),
        }
    }

    fn under(&self, window: &Window, length: usize) -> Option<Cells> {
        let Window { kernel, stride, padding, dilation } = *window;
        let clip = |cell: i128| cell.clamp(0, length as i128) as usize;
        let start = |o: usize| o as i128 * stride as i128 - padding as i128;
        let shifted = |outputs: &Range<usize>, tap: usize, cells: usize| {
            let tap = tap as i128 * dilation as i128;
            clip(start(outputs.start) + tap)..clip(start(outputs.end - 1) + tap + cells as i128)
        };
        if kernel == 1 && stride == 1 || dilation == 1 && kernel >= stride {
            return Some(Cells::of(self.0.iter().map(|outputs| shifted(outputs, 0, kernel)).collect()));
        }
        if stride == 1 {
            let taps = |outputs: &Range<usize>| {
                window.taps(-start(outputs.end - 1), length as i128 - 1 - start(outputs.start))
            };
            if self.0.iter().map(|outputs| taps(outputs).len()).sum::<usize>() <= MOST_LISTED {
                let ranges = |outputs| taps(outputs).map(move |tap| shifted(outputs, tap, 1));
                return Some(Cells::of(self.0.iter().flat_map(ranges).collect()));
            }
        }
        // The outputs whose window is not in the padding alone.
        let span = dilation as i128 * (kernel as i128 - 1);
        let place = |cell: i128| -> usize {
            let o = cell.max(0).div_euclid(stride as i128) + i128::from(cell.max(0) % stride as i128 > 0);
            usize::try_from(o).unwrap_or(usize::MAX)
        };
        let (first, end) = (place(padding as i128 - span), place(length as i128 + padding as i128));
        let outputs = || self.0.iter().map(|run| run.start.max(first)..run.end.min(end));
        let work =
            outputs().map(|run| run.len().saturating_mul(kernel.min(length))).fold(0, usize::saturating_add);
        if length > MOST_MARKED || work > MOST_WORK {
            return None;
        }
        let mut marked = vec![false; length];
        for o in outputs().flatten() {
            for tap in window.taps(-start(o), length as i128 - 1 - start(o)) {
                marked[(start(o) + tap as i128 * dilation as i128) as usize] = true;
            }
        }
        let mut ranges: Vec<Range<usize>> = Vec::new();
        for (cell, _) in marked.iter().enumerate().filter(|(_, marked)| **marked) {
            match ranges.last_mut() {
                Some(last) if last.end == cell => last.end += 1,
                _ => ranges.push(cell..cell + 1),
            }
        }
        Some(Cells(ranges))
    }

    /// The cells i with `i * stride - padding + t * dilation` in the set.
    fn above(&self, window: &Window, length: usize) -> Option<Cells> {
        let Window { kernel, stride, padding, dilation } = *window;
        // The first i that begins at `cell` or later, as the output counts.
        let first = |cell: i128| {
            let distance = cell + padding as i128;
            let i = distance.div_euclid(stride as i128) + i128::from(distance.rem_euclid(stride as i128) > 0);
            i.clamp(0, length as i128) as usize
        };
        if dilation == 1 {
            let cells =
                |run: &Range<usize>| first(run.start as i128 - kernel as i128 + 1)..first(run.end as i128);
            return Some(Cells::of(self.0.iter().map(cells).collect()));
        }
        let taps = |run: &Range<usize>| {
            let last = (length as i128 - 1) * stride as i128;
            window.taps(run.start as i128 + padding as i128 - last, run.end as i128 - 1 + padding as i128)
        };
        if self.0.iter().map(|run| taps(run).len()).fold(0, usize::saturating_add) > MOST_LISTED {
            return None;
        }
        let cells = |run: &Range<usize>| {
            let (start, end) = (run.start as i128, run.end as i128);
            taps(run)
                .map(move |tap| tap as i128 * dilation as i128)
                .map(move |tap| first(start - tap)..first(end - tap))
        };
        Some(Cells::of(self.0.iter().flat_map(cells).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every set of cells of an axis of six.
    fn sets() -> Vec<(u32, Cells)> {
        let of = |bits: u32| Cells::of((0..6).filter(|i| bits >> i & 1 == 1).map(|i| i..i + 1).collect());
        (0..1 << 6).map(|bits| (bits, of(bits))).collect()
    }

    fn bits(cells: &Cells) -> u32 {
        (0..6).filter(|&i| cells.contains(i)).map(|i| 1 << i).sum()
    }

    #[test]
    fn sets_are_those_of_their_bits() {
        for (a, x) in sets() {
            assert_eq!((bits(&x), x.len(), x.is_empty()), (a, a.count_ones() as usize, a == 0));
            assert!(x.ranges().windows(2).all(|pair| pair[0].end < pair[1].start), "{x:?} does not touch");
            assert_eq!(bits(&x.missing(6)), !a & 0b11_1111);
            for (b, y) in sets() {
                assert_eq!(bits(&x.union(&y)), a | b);
                assert_eq!(x.covers(&y), a & b == b, "{x:?} {y:?}");
            }
        }
    }

    #[test]
    fn windows_read_the_cells_of_the_formula_and_transposed_ones_are_read_by_them() {
        let numbers = [1, 2, 3];
        for (kernel, stride, dilation) in numbers
            .into_iter()
            .flat_map(|k| numbers.into_iter().flat_map(move |s| numbers.map(|d| (k, s, d))))
        {
            for padding in [-2, 0, 1, 3] {
                let window = Window { kernel, stride, padding, dilation };
                let reads = |o: usize, i: usize| {
                    (0..kernel).any(|t| (o * stride + t * dilation) as isize - padding == i as isize)
                };
                for (a, x) in sets() {
                    let of = |reads: &dyn Fn(usize, usize) -> bool| -> u32 {
                        let read = |i| (0..6).any(|o| a >> o & 1 == 1 && reads(o, i));
                        (0..6).filter(|&i| read(i)).map(|i| 1 << i).sum()
                    };
                    let under = x.read(&Reach::Window(window), 6).unwrap();
                    assert_eq!(bits(&under), of(&reads), "{window:?} of {x:?}");
                    let above = x.read(&Reach::Transposed(window), 6).unwrap();
                    assert_eq!(bits(&above), of(&|o, i| reads(i, o)), "{window:?} transposed of {x:?}");
                }
            }
        }
    }
}
