//! Attributes of operations: how they are declared, and how they stand on the command line.

use std::collections::BTreeMap;

use rasgo::{Error, Result};

use super::Operation;

/// What values an attribute takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// True when it stands alone; a value only after `=`.
    Flag,
    /// A whole number.
    Integer,
    /// Whole numbers with commas between; `none` for one that is left open.
    Integers,
    /// A number, also `inf` and `nan`.
    Number,
    /// Numbers with commas between.
    Numbers,
    /// A word.
    Text,
}

/// One attribute.
#[derive(Clone, Debug)]
pub(crate) struct Attribute {
    /// PyTorch's keyword.
    pub(crate) name: &'static str,
    /// What it takes.
    pub(crate) kind: Kind,
    /// What holds without it, for the help.
    pub(crate) default: &'static str,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident => $kind:ident;)*) => {
        impl Attribute {$(
            $(#[$doc])*
            pub(crate) fn $name(name: &'static str, default: &'static str) -> Self {
                Attribute { name, kind: Kind::$kind, default }
            }
        )*}
    };
}

kinds! {
    /// A whole number.
    integer => Integer;
    /// Whole numbers, one for all axes or one for each.
    axes => Integers;
    /// Whole numbers.
    integers => Integers;
    /// A number.
    number => Number;
    /// Numbers.
    numbers => Numbers;
    /// A word.
    text => Text;
    /// A flag with another default than false.
    flag_or => Flag;
}

impl Attribute {
    /// A flag that is false without it.
    pub(crate) fn flag(name: &'static str) -> Self {
        Attribute::flag_or(name, "false")
    }

    /// How it stands on the command line.
    pub(crate) fn option(&self) -> String {
        let name = self.name.replace('_', "-");
        match self.kind {
            Kind::Flag => format!("--{name}[=true|false]"),
            Kind::Integer => format!("--{name} N"),
            Kind::Integers => format!("--{name} N[,N…]"),
            Kind::Number => format!("--{name} X"),
            Kind::Numbers => format!("--{name} X[,X…]"),
            Kind::Text => format!("--{name} WORD"),
        }
    }
}

/// The attributes that a command line gives, by keyword, and the two files.
#[derive(Debug, Default)]
pub(crate) struct Given {
    /// Text by keyword.
    pub(crate) values: BTreeMap<&'static str, String>,
    /// What is not an attribute.
    pub(crate) files: Vec<String>,
    /// How a flag is written whose value stands after it as a file would.
    pub(crate) stray: Option<String>,
}

impl Given {
    /// Takes a command line apart. Every attribute must be one of the operation's, and stand once.
    pub(crate) fn parse(operation: &Operation, arguments: &[String]) -> Result<Given> {
        let mut given = Given::default();
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let Some(option) = argument.strip_prefix("--").filter(|option| !option.is_empty()) else {
                given.files.push(argument.clone());
                continue;
            };
            let (name, value) = match option.split_once('=') {
                Some((name, value)) => (name, Some(value.to_string())),
                None => (option, None),
            };
            let keyword = name.replace('-', "_");
            let Some(attribute) = operation.attributes.iter().find(|known| known.name == keyword) else {
                return Err(unknown(operation, name));
            };
            let value = match (value, attribute.kind) {
                (Some(value), _) => value,
                (None, Kind::Flag) => {
                    let next = rest.as_slice().first().map(|next| next.to_ascii_lowercase());
                    if let Some(value) = next.filter(|next| next == "true" || next == "false") {
                        given.stray = Some(format!("--{name}={value}"));
                    }
                    "true".to_string()
                }
                (None, _) => match rest.next() {
                    Some(value) => value.clone(),
                    None => {
                        return Err(Error::argument(format!("--{name} has no value"))
                            .op(operation.name)
                            .hint(format!("give {}", attribute.option())));
                    }
                },
            };
            if given.values.insert(attribute.name, value).is_some() {
                return Err(Error::argument(format!("--{name} stands twice")).op(operation.name));
            }
        }
        Ok(given)
    }
}

fn unknown(operation: &Operation, name: &str) -> Error {
    let error = Error::argument(format!("there is no attribute --{name}")).op(operation.name);
    match operation.attributes.is_empty() {
        _ if name == "threads" => error.hint(format!("rasgo --threads N op {} …", operation.name)),
        true => error.hint("it has none"),
        false => {
            let known: Vec<String> =
                operation.attributes.iter().map(|a| format!("--{}", a.name.replace('_', "-"))).collect();
            error.hint(format!("it has {}", known.join(", ")))
        }
    }
}
