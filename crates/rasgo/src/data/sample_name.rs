//! One sample by name.

use std::path::Path;
use std::sync::Arc;

use rasgo_core::{Error, ErrorKind, Result};

use super::dataset::{Dataset, no_such_sample};
use super::find::{find_mnist, open, open_mnist_part};
use super::idx::Part;

/// The data set that is known by name.
const MNIST: &str = "mnist";

/// Whether a text names a sample of a data set, as `mnist:test:42` does, and not a file; also one whose part is wrong or
/// left out, as [`sample_by_name`] says then.
///
/// ```
/// use rasgo::data::is_sample_name;
/// assert!(is_sample_name("mnist:test:42") && is_sample_name("data.npz:3"));
/// assert!(!is_sample_name("C:/pictures/seven.png"));
/// ```
pub fn is_sample_name(text: &str) -> bool {
    let named = |(data, index): (&str, &str)| {
        !data.is_empty() && !index.is_empty() && index.bytes().all(|byte| byte.is_ascii_digit())
    };
    parse(text).is_some_and(|(_, part, _)| part_of(part).is_some())
        || text.rsplit_once(':').is_some_and(named)
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
    if let Some((data, index)) = without_part(name) {
        return Err(Error::argument(format!("{name:?} does not say which part of the data"))
            .hint(format!("write {data}:train:{index}, or {data}:test:{index} for the test part")));
    }
    let Some((data, part, index)) = parse(name) else {
        return Err(wrong(format!("{name:?} is not the name of a sample")));
    };
    let Some(part) = part_of(part) else {
        let has_test = data == MNIST || open(data)?.test.is_some();
        return Err(Error::argument(format!("{name:?} asks for a part called {part:?}"))
            .hint(format!("{data} has train{}", if has_test { " and test" } else { ", and no test part" })));
    };
    let Ok(index) = index.parse::<usize>() else {
        return Err(wrong(format!("{name:?} asks for sample {index:?}, which is no number")));
    };
    let dataset: Arc<dyn Dataset> = if data == MNIST {
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

/// Data set and index of a name without the part, as `data.npz:3`.
fn without_part(name: &str) -> Option<(&str, &str)> {
    let (data, index) = name.rsplit_once(':')?;
    let whole = data == MNIST || Path::new(data).exists() || !data.contains(':');
    (whole && is_sample_name(name)).then_some((data, index))
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
