//! One error type for everything a user can run into.

use std::fmt;
use std::panic::Location;
use std::path::{Path, PathBuf};

use crate::meta::Shape;

/// The result of everything that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of thing went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Shapes do not fit each other or the operation.
    Shape,
    /// A dtype that the operation does not take.
    DType,
    /// An argument or option has a value that is not allowed.
    Argument,
    /// An index or label lies outside its range.
    Index,
    /// The object is not in a state that allows the call (a second `backward`, a value of a shape-only tensor).
    State,
    /// A value became NaN or infinite.
    NotFinite,
    /// More memory than the system gives.
    Memory,
    /// A file could not be read or written.
    Io,
    /// A file's contents are not what they should be.
    Format,
    /// A data set is not usable.
    Data,
    /// A configuration or model description is wrong.
    Config,
    /// What should be made is there already, or somebody else is making it.
    Exists,
    /// The work was stopped on request.
    Interrupted,
}

/// What went wrong, where, and what would mend it.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    op: Option<&'static str>,
    message: String,
    hint: Option<String>,
    file: Option<PathBuf>,
    layer: Option<String>,
    at: Option<&'static Location<'static>>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of that kind. The message says what is wrong with the values in it.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Error(Box::new(Inner {
            kind,
            op: None,
            message: message.into(),
            hint: None,
            file: None,
            layer: None,
            at: None,
            source: None,
        }))
    }

    /// A shape error.
    pub fn shape(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Shape, message)
    }

    /// A wrong argument.
    pub fn argument(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Argument, message)
    }

    /// More memory than the system gives, for values of that shape.
    pub(crate) fn memory(shape: &Shape, bytes: usize) -> Self {
        let gigabytes = bytes as f64 / 1e9;
        Error::new(
            ErrorKind::Memory,
            format!("values of shape {shape} take {gigabytes:.1} GB, more than the system gives"),
        )
    }

    /// A wrong configuration.
    pub fn config(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Config, message)
    }

    /// A file that could not be read or written.
    pub fn io(file: impl AsRef<Path>, source: std::io::Error) -> Self {
        Error::new(ErrorKind::Io, source.to_string()).file(file).source(source)
    }

    /// A file whose contents are wrong.
    pub fn format(file: impl AsRef<Path>, message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Format, message).file(file)
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Adds the file that it is about.
    #[must_use]
    pub fn file(mut self, file: impl AsRef<Path>) -> Self {
        self.0.file.get_or_insert_with(|| file.as_ref().to_path_buf());
        self
    }

    /// Adds the operation, unless it has one.
    #[must_use]
    pub fn op(mut self, op: &'static str) -> Self {
        self.0.op.get_or_insert(op);
        self
    }

    /// Puts another operation in the place of the one that refused: the one that was called.
    #[must_use]
    pub fn renamed(mut self, op: &'static str) -> Self {
        self.0.op = Some(op);
        self
    }

    /// Adds the layer's path, unless it has one.
    #[must_use]
    pub fn layer(mut self, path: impl Into<String>) -> Self {
        self.0.layer.get_or_insert_with(|| path.into());
        self
    }

    /// Adds the caller's line, unless it has one.
    #[must_use]
    pub fn at(mut self, at: &'static Location<'static>) -> Self {
        self.0.at.get_or_insert(at);
        self
    }

    /// Adds the layer's path, unless it has one, and puts the operation, if it is one, and line that the program called
    /// in the place of those that refused.
    #[must_use]
    pub(crate) fn called_by(
        mut self,
        layer: Option<&str>,
        op: Option<&'static str>,
        at: &'static Location<'static>,
    ) -> Self {
        self.0.op = op.or(self.0.op);
        self.0.at = Some(at);
        match layer {
            Some(layer) => self.layer(layer),
            None => self,
        }
    }

    /// Adds the error beneath this one.
    #[must_use]
    pub fn source(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.0.source = Some(Box::new(source));
        self
    }

    /// The kind.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The operation that refused, by PyTorch's functional name.
    pub fn op_name(&self) -> Option<&'static str> {
        self.0.op
    }

    /// The path of the layer it happened in.
    pub fn layer_path(&self) -> Option<&str> {
        self.0.layer.as_deref()
    }

    /// The file it is about.
    pub fn path(&self) -> Option<&Path> {
        self.0.file.as_deref()
    }

    /// What to do about it.
    pub fn hint_text(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// The line of the caller.
    pub fn location(&self) -> Option<&'static Location<'static>> {
        self.0.at
    }

    /// The message with the operation, layer and file, without hint and line.
    pub fn summary(&self) -> String {
        let mut text = String::new();
        if let Some(file) = &self.0.file {
            text.push_str(&format!("{}: ", file.display()));
        }
        if let Some(layer) = &self.0.layer {
            text.push_str(&format!("layer {layer}: "));
        }
        if let Some(op) = self.0.op {
            text.push_str(&format!("{op}: "));
        }
        text.push_str(&self.0.message);
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.summary())?;
        if let Some(hint) = &self.0.hint {
            write!(f, "; {hint}")?;
        }
        if let Some(at) = self.0.at {
            write!(f, " (at {}:{})", at.file(), at.line())?;
        }
        Ok(())
    }
}

/// For people too: it is what `fn main() -> Result<()>` and `unwrap` print.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_ref().map(|source| source.as_ref() as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_main_prints_is_for_people() {
        let error = Error::argument("a batch size of 0").hint("use 1 or more");
        assert_eq!(format!("{error:?}"), "a batch size of 0; use 1 or more");
    }
}
