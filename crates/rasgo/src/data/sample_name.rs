//! One sample by name.

use std::sync::Arc;

use rasgo_core::{Error, ErrorKind, Result};

use super::dataset::{Dataset, no_such_sample};
use super::find::{find_mnist, open, open_mnist_part};
use super::idx::Part;

/// Whether a text names a sample of a data set, as `mnist:test:42` does, and not a file.
///
/// ```
/// use rasgo::data::is_sample_name;
/// assert!(is_sample_name("mnist:test:42"));
/// assert!(!is_sample_name("C:/pictures/seven.png"));
/// ```
pub fn is_sample_name(text: &str) -> bool {
    parse(text).is_some_and(|(_, part, _)| part_of(part).is_some())
}

/// The data set and index that `DATA:train:N` or `DATA:test:N` names; DATA is as for [`open`].
///
/// # Errors
/// [`ErrorKind::Argument`] if it is no such name, [`ErrorKind::Index`] if the part has fewer samples, and all that
/// [`open`] finds wrong.
pub fn sample_by_name(name: &str) -> Result<(Arc<dyn Dataset>, usize)> {
    let wrong = |what: String| {
        Error::argument(what)
            .hint("a sample is named as mnist:test:42 or FOLDER:train:0, or data.npz:train:0")
    };
    let Some((data, part, index)) = parse(name) else {
        return Err(wrong(format!("{name:?} is not the name of a sample")));
    };
    let Some(part) = part_of(part) else {
        return Err(wrong(format!("{name:?} asks for a part called {part:?}; the parts are train and test")));
    };
    let Ok(index) = index.parse::<usize>() else {
        return Err(wrong(format!("{name:?} asks for sample {index:?}, which is no number")));
    };
    let dataset: Arc<dyn Dataset> = if data == "mnist" {
        Arc::new(open_mnist_part(&find_mnist()?, part)?)
    } else {
        let splits = open(data)?;
        match part {
            Part::Train => splits.train,
            Part::Test => splits
                .test
                .ok_or_else(|| Error::new(ErrorKind::Data, "the data set has no test part").file(data))?,
        }
    };
    if index >= dataset.len() {
        return Err(no_such_sample(index, dataset.len(), &format!("{data}:{part}")));
    }
    Ok((dataset, index))
}

/// Data set, part and index; the first may have colons in it.
fn parse(name: &str) -> Option<(&str, &str, &str)> {
    let (rest, index) = name.rsplit_once(':')?;
    let (data, part) = rest.rsplit_once(':')?;
    (!data.is_empty()).then_some((data, part, index))
}

fn part_of(name: &str) -> Option<Part> {
    [Part::Train, Part::Test].into_iter().find(|part| part.name() == name)
}
