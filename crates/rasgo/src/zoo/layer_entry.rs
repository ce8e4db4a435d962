//! A layer at its place in a model: its type and options, and the name that it has there.

use rasgo_core::{Error, Result};
use serde::{Deserialize, Serialize};

use super::layer::LayerSpec;

/// A layer of a model file, with a name where its number is not its name.
///
/// The name is a path among the weights, as `conv1` or `layer1.0`: so networks that do not number their layers keep the
/// names that their weights have elsewhere.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerEntry {
    /// The name within the part; without one, the layer's number there.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub name: Option<String>,
    /// The type and its options.
    #[serde(flatten)]
    pub spec: LayerSpec,
}

impl LayerEntry {
    /// A layer of that name.
    pub fn named(name: &str, spec: LayerSpec) -> LayerEntry {
        LayerEntry { name: Some(name.to_string()), spec }
    }
}

impl From<LayerSpec> for LayerEntry {
    fn from(spec: LayerSpec) -> LayerEntry {
        LayerEntry { name: None, spec }
    }
}

/// The paths of the layers of a part among all weights; a part without a name does not show.
pub(super) fn paths(part: &str, layers: &[LayerEntry]) -> Vec<String> {
    let name = |(i, layer): (usize, &LayerEntry)| layer.name.clone().unwrap_or_else(|| i.to_string());
    let joined = |name: String| if part.is_empty() { name } else { format!("{part}.{name}") };
    layers.iter().enumerate().map(name).map(joined).collect()
}

/// Refuses names that are none, and two layers whose weights could have one name.
pub(super) fn check_names<'a>(paths: impl IntoIterator<Item = &'a str>) -> Result<()> {
    let mut paths: Vec<&str> = paths.into_iter().collect();
    let is_name =
        |part: &str| !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-');
    if let Some(path) = paths.iter().find(|path| !path.split('.').all(is_name)) {
        return Err(Error::config(format!("{path:?} is no name of a layer"))
            .hint("give letters, digits, _ and -, joined by dots, as \"conv1\" or \"layer1.0\""));
    }
    // With the dot as the least character, what stands within a path follows it directly.
    paths.sort_by(|a, b| a.split('.').cmp(b.split('.')));
    let within = |inner: &str, outer: &str| {
        inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    match paths.windows(2).find(|pair| within(pair[1], pair[0])) {
        None => Ok(()),
        Some(pair) if pair[0] == pair[1] => {
            Err(Error::config(format!("two layers are named {:?}", pair[0])).hint("give one another name"))
        }
        Some(pair) => Err(Error::config(format!("layer {:?} stands within layer {:?}", pair[1], pair[0]))
            .hint("give one another name")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_layers_of_one_name_and_one_within_another_are_refused() {
        assert!(check_names(["0", "1", "10", "layer1.0", "layer1.1", "layer10.0", "conv1"]).is_ok());
        for (names, expected) in [
            (["a", "b", "a"], "two layers are named \"a\""),
            (["a", "a-b", "a.b"], "\"a.b\" stands within layer \"a\""),
            (["a.b.c", "a.bc", "a.b"], "\"a.b.c\" stands within layer \"a.b\""),
            (["a", "b..c", "d"], "\"b..c\" is no name"),
            (["a", "", "d"], "\"\" is no name"),
            (["a", "b c", "d"], "\"b c\" is no name"),
        ] {
            let error = check_names(names).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
