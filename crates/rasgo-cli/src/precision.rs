//! What `--precision` takes.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use rasgo::train::Precision;

/// The parser of a precision by its name, which lists the names in help and errors.
pub(crate) fn precision() -> impl TypedValueParser<Value = Precision> {
    PossibleValuesParser::new(Precision::ALL.map(Precision::name)).try_map(|name| Precision::from_name(&name))
}

/// What is said of a precision after other words: nothing of f32.
pub(crate) fn in_precision(precision: Precision) -> String {
    match precision {
        Precision::F32 => String::new(),
        other => format!(", in {}", other.name()),
    }
}
