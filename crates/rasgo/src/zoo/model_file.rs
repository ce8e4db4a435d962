//! What is wrong with a model file, in the words of a model file.

use rasgo_core::Error;
use serde::Deserialize;
use toml::{Spanned, Table, Value};

use super::layer::LayerSpec;
use super::layer_entry::LayerEntry;

/// Where a layer may stand.
const PARTS: [&str; 4] = ["layer", "backbone", "neck", "head"];

/// How a layer is written.
const LAYER: &str = "write each layer as a table: [[layer]], below it type = \"Conv2d\" and its options";

/// The parts of a file whose layers are tables, with the place of each.
#[derive(Deserialize)]
struct Layers {
    #[serde(default)]
    layer: Vec<Spanned<Table>>,
    #[serde(default)]
    backbone: Vec<Spanned<Table>>,
    #[serde(default)]
    neck: Vec<Spanned<Table>>,
    #[serde(default)]
    head: Vec<Spanned<Table>>,
}

/// The error of a text that is no architecture, from what serde says of it.
pub(super) fn described(text: &str, error: &toml::de::Error) -> Error {
    let line_of = |start: usize| text[..start].matches('\n').count() + 1;
    let line = error.span().map_or(String::new(), |span| format!("line {}: ", line_of(span.start)));
    let Ok(table) = text.parse::<Table>() else {
        return Error::config(format!("{line}{}", plain(error.message())));
    };
    if let Some(part) = PARTS.into_iter().find(|part| table.get(*part).is_some_and(|x| !is_tables(x))) {
        return Error::config(format!("{part} is not a list of tables"))
            .hint(LAYER.replace("layer]", &format!("{part}]")));
    }
    if let Ok(Layers { layer, backbone, neck, head }) = toml::from_str(text) {
        for (part, layers) in PARTS.into_iter().zip([layer, backbone, neck, head]) {
            for (i, layer) in layers.iter().enumerate() {
                let (line, number) = (line_of(layer.span().start), i + 1);
                if let Some(error) = wrong_layer(layer.get_ref(), &format!("line {line}: {part} {number}")) {
                    return error;
                }
            }
        }
    }
    let message = error.message();
    if missing(message) == Some("input") {
        return Error::config("input is missing").hint("give the shape of one input, as input = [1, 28, 28]");
    }
    match message.strip_prefix("unknown field `").and_then(|rest| rest.split('`').next()) {
        Some(name) => {
            let holds_layers = matches!(table.get(name), Some(Value::Array(_) | Value::Table(_)));
            let error = Error::config(format!("{line}a model file has no {name}"));
            match crate::nearest(name, known(message)).filter(|_| !holds_layers) {
                Some(near) => error.hint(format!("is {near} meant?")),
                None => error.hint(LAYER),
            }
        }
        None => Error::config(format!("{line}{}", plain(message))),
    }
}

fn is_tables(value: &Value) -> bool {
    value.as_array().is_some_and(|layers| layers.iter().all(Value::is_table))
}

/// What is wrong with a layer, if anything is. `at` is its place.
fn wrong_layer(layer: &Table, at: &str) -> Option<Error> {
    let Some(kind) = layer.get("type") else {
        return Some(Error::config(format!("{at}: type is missing")).hint(LAYER));
    };
    let Some(kind) = kind.as_str() else {
        return Some(Error::config(format!("{at}: type = {kind} is no text")).hint(LAYER));
    };
    if !LayerSpec::TYPES.contains(&kind) {
        let error = Error::config(format!("{at}: type {kind:?} is unknown"));
        return Some(match crate::nearest(kind, LayerSpec::TYPES.iter().copied()) {
            Some(near) => error.hint(format!("is {near:?} meant?")),
            None => error.hint(format!("the types are {}", LayerSpec::TYPES.join(", "))),
        });
    }
    let reading = |layer: Table| Value::Table(layer).try_into::<LayerEntry>().err();
    let error = reading(layer.clone())?;
    let at = format!("{at} ({kind})");
    if let Some(option) = missing(error.message()) {
        return Some(
            Error::config(format!("{at}: {option} is missing")).hint(format!("add {option} = … to it")),
        );
    }
    // An option is wrong if it is so alone, where all that may be said else is that others are missing.
    let alone = layer.iter().filter(|(option, _)| *option != "type").find_map(|(option, value)| {
        let pair = [("type".to_string(), Value::from(kind)), (option.clone(), value.clone())];
        let error = reading(pair.into_iter().collect())?;
        missing(error.message()).is_none().then_some((option, value, error))
    });
    Some(match alone {
        Some((option, _, error)) if error.message().starts_with("unknown field") => {
            unknown(&at, option, &error)
        }
        Some((option, value, error)) => {
            Error::config(format!("{at}: {option} = {value}: {}", plain(error.message())))
        }
        None => Error::config(format!("{at}: {}", plain(error.message()))),
    })
}

/// The error of an option that the layer does not have.
fn unknown(at: &str, option: &str, error: &toml::de::Error) -> Error {
    let known: Vec<&str> = known(error.message()).collect();
    let text = Error::config(format!("{at}: there is no option {option}"));
    match (crate::nearest(option, known.iter().copied()), known.is_empty()) {
        (Some(near), _) => text.hint(format!("is {near} meant? It has {}", known.join(", "))),
        (None, true) => text.hint("it has none"),
        (None, false) => text.hint(format!("it has {}", known.join(", "))),
    }
}

/// The names in "unknown field `name`, expected one of `a`, `b`".
fn known(message: &str) -> impl Iterator<Item = &str> {
    message.split('`').skip(3).step_by(2)
}

/// The name in "missing field `name`".
fn missing(message: &str) -> Option<&str> {
    message.strip_prefix("missing field `")?.strip_suffix('`')
}

/// A message on one line, without the names of Rust's types.
fn plain(message: &str) -> String {
    let mut text = message.replace('\n', " ");
    for (rust, word) in [
        ("expected usize", "expected a whole number of 0 or more"),
        ("expected i32", "expected a whole number"),
        ("expected f64", "expected a number"),
        ("expected a boolean", "expected true or false"),
        ("expected a sequence", "expected a list"),
        ("invalid type: map", "invalid type: a table"),
        ("invalid type: sequence", "invalid type: a list"),
    ] {
        text = text.replace(rust, word);
    }
    text
}

#[cfg(test)]
mod tests {
    use crate::zoo::Architecture;

    const GOOD: &str = "[[layer]]\ntype = \"ReLU\"\n\n";

    fn error(text: &str) -> String {
        Architecture::from_toml(&format!("input = [1, 28, 28]\n{text}")).unwrap_err().to_string()
    }

    #[test]
    fn an_error_of_a_layer_names_its_line_number_type_and_option() {
        let conv = |options: &str| error(&format!("{GOOD}[[layer]]\ntype = \"Conv2d\"\n{options}"));
        for (options, expected) in [
            (
                "kernel_size = 3",
                "line 5: layer 2 (Conv2d): out_channels is missing; add out_channels = … to it",
            ),
            ("out_channels = 8", "kernel_size is missing"),
            (
                "out_channels = \"8\"\nkernel_size = 3",
                "out_channels = \"8\": invalid type: string \"8\", expected a whole",
            ),
            ("out_channels = -8\nkernel_size = 3", "expected a whole number of 0 or more"),
            (
                "out_channels = 8\nkernel_size = \"3\"",
                "kernel_size = \"3\": give a whole number, or a list of one for each axis",
            ),
            ("out_channels = 8\nkernel_size = 3\npadding = 1.5", "padding = 1.5: give a whole number"),
            (
                "out_channels = 8\nkernel_size = 3\nbias = 1",
                "bias = 1: invalid type: integer `1`, expected true or false",
            ),
            ("out_channels = 8\nkernel_size = 3\nstrid = 2", "there is no option strid; is stride meant?"),
        ] {
            let text = conv(options);
            assert!(text.contains(expected) && text.contains("layer 2 (Conv2d)"), "{options}: {text}");
        }
        let text = error(&format!("{GOOD}[[layer]]\ntype = \"ReLU\"\nslope = 1\n"));
        assert!(text.contains("layer 2 (ReLU): there is no option slope; it has none"), "{text}");
        let text = error("[[backbone]]\ntype = \"Dropout\"\np = \"half\"\n");
        assert!(text.contains("line 2: backbone 1 (Dropout): p = \"half\""), "{text}");
    }

    #[test]
    fn layers_that_are_no_tables_are_told_how_they_are_written() {
        for text in [
            "layer = [\"Conv2d\"]",
            "layer = \"Conv2d\"",
            "[layer]\ntype = \"Conv2d\"",
            "layers = [\"Conv2d\"]",
            "layer = [{ kernel_size = 3 }]",
        ] {
            let found = error(text);
            assert!(found.contains("[[layer]]") && !found.contains("enum"), "{text}: {found}");
        }
        assert!(error("[[layer]\n").contains("line 2"));
        let found = Architecture::from_toml(GOOD).unwrap_err().to_string();
        assert!(found.contains("input is missing; give the shape"), "{found}");
    }
}
