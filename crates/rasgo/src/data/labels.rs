//! What labels must be, where no names of classes are given.

use std::collections::BTreeSet;

use rasgo_core::{Error, ErrorKind, Result};

use super::dataset::word_for;
use crate::formats::first_of;

/// What is worth saying of classes that no training sample has, if there are any.
pub(crate) fn unseen(train: &[i64], test: &[i64], classes: &[String]) -> Option<String> {
    let occurs = |labels: &[i64]| -> BTreeSet<usize> {
        labels.iter().filter_map(|&label| usize::try_from(label).ok()).collect()
    };
    let (train, test) = (occurs(train), occurs(test));
    let missing: Vec<usize> = (0..classes.len()).filter(|class| !train.contains(class)).collect();
    let tested: Vec<usize> = missing.iter().copied().filter(|class| test.contains(class)).collect();
    let named = |found: &[usize]| first_of(10, found.iter().map(|&class| classes[class].as_str()));
    if missing.is_empty() {
        return None;
    }
    let text = format!("no training sample is of {} {}", word_for(missing.len(), "classes"), named(&missing));
    Some(match tested.is_empty() {
        true => text,
        false => format!("{text}; the test part has samples of {}", named(&tested)),
    })
}

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

#[cfg(test)]
mod tests {
    use super::unseen;

    #[test]
    fn classes_without_training_samples_are_named_and_those_of_the_test_part_again() {
        let classes: Vec<String> = (0..40).map(|class| class.to_string()).collect();
        let text = |train: &[i64], test: &[i64], count: usize| unseen(train, test, &classes[..count]);
        assert_eq!(text(&[0, 1, 2], &[1, 2], 3), None);
        let gaps = text(&[0, 2, 5], &[], 6).unwrap();
        assert_eq!(gaps, "no training sample is of classes 1, 3, 4");
        let tested = text(&[0, 1], &[1, 2], 3).unwrap();
        assert_eq!(tested, "no training sample is of class 2; the test part has samples of 2");
        let many = text(&[0], &[], 40).unwrap();
        assert!(many.ends_with("9, 10 and 29 more"), "{many}");
    }
}
