//! Coverage as reports show it: the share of the input that is seen, and where the rest lies.

use std::ops::Range;

use rasgo_core::reach::{Cells, Coverage};
use serde::Serialize;

/// Which part of a model's input is seen, and which is dropped by strides and paddings.
///
/// Only geometry counts: a pixel that a window holds is seen, whatever weight it has there.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Seen {
    /// The share of the input's pixels that some output depends on, from 0 to 1. `None` where the input is too long for
    /// an exact answer (an axis of over 2^22 pixels with gaps between windows).
    pub coverage: Option<f64>,
    /// The pixels that no output depends on.
    pub unseen: Option<u64>,
    /// For each spatial axis the first and last index of every run of rows, columns, … of which nothing is seen.
    pub unseen_ranges: Vec<Vec<[usize; 2]>>,
    /// Whether pixels outside those rows and columns are unseen too, as between branches that see crosses.
    #[serde(skip)]
    more: bool,
    #[serde(skip)]
    sizes: Vec<usize>,
}

/// What one step along an axis is called, for so many spatial axes.
fn axis_names(axes: usize) -> &'static [[&'static str; 2]] {
    const NAMES: [[&str; 2]; 3] = [["frame", "frames"], ["row", "rows"], ["column", "columns"]];
    match axes {
        1 => &[["step", "steps"]],
        2 => &NAMES[1..],
        _ => &NAMES,
    }
}

impl Seen {
    /// Of so many spatial axes.
    pub(super) fn of(coverage: Option<Coverage>, axes: usize) -> Seen {
        let Some(coverage) = coverage else {
            let unseen_ranges = vec![Vec::new(); axes];
            return Seen { coverage: None, unseen: None, unseen_ranges, more: false, sizes: vec![0; axes] };
        };
        let runs = |cells: Cells| cells.ranges().iter().map(|run| [run.start, run.end - 1]).collect();
        Seen {
            coverage: Some(coverage.share()),
            unseen: Some(coverage.total() - coverage.seen()),
            unseen_ranges: (0..axes).map(|axis| runs(coverage.unseen(axis))).collect(),
            more: !coverage.is_product(),
            sizes: coverage.sizes().to_vec(),
        }
    }

    /// Whether every pixel is seen.
    pub fn is_complete(&self) -> bool {
        self.unseen == Some(0)
    }

    /// The share as a text; only what is complete is called 100 %.
    ///
    /// ```
    /// # use rasgo::zoo::{named, summarize};
    /// let model = named("lenet5")?.architecture();
    /// let summary = summarize("lenet5", &model.build()?, &model.input)?;
    /// assert_eq!(summary.seen.share(), "100 %");
    /// # Ok::<(), rasgo::Error>(())
    /// ```
    pub fn share(&self) -> String {
        match self.coverage {
            None => "?".to_string(),
            Some(_) if self.is_complete() => "100 %".to_string(),
            Some(share) => format!("{:.1} %", (share * 1000.0).floor() / 10.0),
        }
    }

    /// Where the unseen pixels lie, as `last row, last 2 columns`; empty if there are none.
    pub fn unseen_text(&self) -> String {
        let names = axis_names(self.unseen_ranges.len());
        if self
            .unseen_ranges
            .iter()
            .zip(&self.sizes)
            .any(|(runs, &size)| runs.first() == Some(&[0, size.wrapping_sub(1)]))
        {
            return "everything".to_string();
        }
        let axes = self.unseen_ranges.iter().zip(names).zip(&self.sizes);
        let mut parts: Vec<String> =
            axes.filter_map(|((runs, name), &size)| along(runs, *name, size)).collect();
        if self.more {
            parts.push(
                if parts.is_empty() { "pixels between branches" } else { "pixels between branches too" }
                    .to_string(),
            );
        }
        parts.join(", ")
    }
}

/// The runs along one axis in words.
fn along(runs: &[[usize; 2]], name: [&str; 2], size: usize) -> Option<String> {
    let runs: Vec<Range<usize>> = runs.iter().map(|&[first, last]| first..last + 1).collect();
    let named = |count: usize| name[usize::from(count != 1)];
    let ends = |word: &str, run: &Range<usize>| match run.len() {
        1 => format!("{word} {}", name[0]),
        count => format!("{word} {count} {}", name[1]),
    };
    let leading = runs.first().filter(|run| run.start == 0);
    let trailing = runs.last().filter(|run| run.end == size);
    let inner: Vec<&Range<usize>> = runs.iter().filter(|run| run.start > 0 && run.end < size).collect();
    let mut parts = Vec::new();
    parts.extend(leading.map(|run| ends("first", run)));
    if !inner.is_empty() {
        const SHOWN: usize = 3;
        let count = inner.iter().map(|run| run.len()).sum();
        let place = |run: &&Range<usize>| match run.len() {
            1 => run.start.to_string(),
            _ => format!("{}-{}", run.start, run.end - 1),
        };
        let mut places: Vec<String> = inner.iter().take(SHOWN).map(place).collect();
        if inner.len() > SHOWN {
            places.push("…".to_string());
        }
        parts.push(format!("{count} {} between ({})", named(count), places.join(", ")));
    }
    parts.extend(trailing.map(|run| ends("last", run)));
    (!parts.is_empty()).then(|| parts.join(", "))
}
