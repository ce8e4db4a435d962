//! What labels must be, where no names of classes are given.

use std::collections::BTreeSet;

use rasgo_core::{Error, ErrorKind, Result};

/// A label above 9 is taken for damage unless all classes from 1 on occur (some sets count from 1): else one wrong
/// label would make a network with as many outputs.
pub(super) fn check_gaps(labels: impl Iterator<Item = usize> + Clone, what: &str) -> Result<()> {
    let seen: BTreeSet<usize> = labels.clone().collect();
    let largest = seen.last().copied().unwrap_or(0);
    match (1..largest).find(|class| !seen.contains(class)) {
        Some(gap) if largest > 9 => {
            let at = labels.clone().position(|label| label == largest).unwrap_or(0);
            Err(Error::new(ErrorKind::Data, format!("{what} {at} is {largest}, but no {what} is {gap}"))
                .hint("labels must lie in 0 to 9, or in 0 to n - 1 with every class present"))
        }
        _ => Ok(()),
    }
}
