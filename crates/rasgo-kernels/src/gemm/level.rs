//! The micro-kernels of each instruction set, and how the columns of a product are cut into their panels.

use std::ops::Range;

use super::micro::Micro;
use crate::Isa;

/// Micro-kernels of one width.
#[derive(Debug)]
pub(crate) struct Kind {
    /// Columns of a tile and of a packed panel.
    pub(crate) width: usize,
    /// For a left matrix packed row by row, rows [`ROW`](super::micro::ROW) apart; one entry per height.
    pub(crate) by_row: &'static [Micro],
    /// For a left matrix packed step by step, steps [`Level::step`] apart; one entry per height.
    pub(crate) by_step: &'static [Micro],
}

/// The micro-kernels of one instruction set.
#[derive(Debug)]
pub(crate) struct Level {
    /// Widest first, each half as wide as the one before.
    pub(crate) kinds: &'static [Kind],
    /// The height of tiles of a left matrix that is packed step by step.
    pub(crate) step: usize,
}

impl Level {
    /// The level of an instruction set.
    pub(crate) fn of(isa: Isa) -> &'static Level {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => &super::micro_avx512::LEVEL,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => &super::micro_avx2::LEVEL,
            _ => &super::micro_portable::LEVEL,
        }
    }

    /// Cuts `n` columns into panels: as many of the widest as fit, the rest so that the fewest are wasted
    /// (24 columns are 16 and 8).
    pub(crate) fn panels(&self, n: usize) -> Vec<Panel> {
        let mut panels = Vec::with_capacity(n / self.kinds[0].width + self.kinds.len());
        let (mut start, mut at) = (0, 0);
        while start < n {
            let (left, narrowest) = (n - start, self.kinds[self.kinds.len() - 1].width);
            let needed = left.div_ceil(narrowest) * narrowest;
            let kind = self.kinds.iter().position(|kind| kind.width <= needed).expect("the narrowest fits");
            let width = self.kinds[kind].width;
            panels.push(Panel { cols: start..n.min(start + width), kind, width, at });
            at += width;
            start += width;
        }
        panels
    }
}

/// A strip of columns, as wide as one micro-kernel.
#[derive(Debug, Clone)]
pub(crate) struct Panel {
    /// The columns it covers; fewer than `width` at the end.
    pub(crate) cols: Range<usize>,
    /// Which of [`Level::kinds`].
    pub(crate) kind: usize,
    /// That kind's width.
    pub(crate) width: usize,
    /// Columns (with the padding) of the panels before: in the packed matrix this one begins at `at * k`.
    pub(crate) at: usize,
}

/// The length of the packed form of a right matrix with `k` rows.
pub(crate) fn packed_len(panels: &[Panel], k: usize) -> usize {
    panels.last().map_or(0, |last| last.at + last.width) * k
}
