//! Which of our crates a crate may use.

/// The crates, each of which uses only those above it.
const CRATES: [&str; 5] = ["rasgo-kernels", "rasgo-core", "rasgo-derive", "rasgo", "rasgo-cli"];

/// Lines (from 0) of the manifest of crate `name` that name one of our crates against the order, and what to do.
pub(crate) fn wrong_uses(name: &str, text: &str) -> Vec<(usize, String)> {
    let Some(own) = CRATES.iter().position(|of| *of == name) else {
        let order = CRATES.join(", ");
        return vec![(0, format!("crate `{name}` has no place in the order {order}; give it one in xtask"))];
    };
    // The derive's output names the traits by path, so it needs none of ours.
    let allowed = if name == "rasgo-derive" { &[] } else { &CRATES[..own] };
    dependencies(text)
        .into_iter()
        .filter(|(_, used)| {
            used != name && CRATES.contains(&used.as_str()) && !allowed.contains(&used.as_str())
        })
        .map(|(line, used)| {
            (line, format!("`{name}` must not use `{used}`; move what it needs to a crate above"))
        })
        .collect()
}

/// The line and name of each dependency of any kind.
fn dependencies(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut inside = false;
    for (i, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or(line).trim();
        if let Some(section) = line.strip_prefix('[') {
            let section = section.trim_end_matches(']');
            inside = section.ends_with("dependencies");
            if let Some((_, name)) = section.rsplit_once("dependencies.") {
                found.push((i, name.trim_matches('"').to_owned()));
            }
        } else if inside && let Some((key, value)) = line.split_once('=') {
            let key = key.trim().split('.').next().unwrap_or(key).trim_matches('"');
            let renamed = value.split_once("package").and_then(|(_, rest)| rest.split('"').nth(1));
            found.push((i, renamed.unwrap_or(key).to_owned()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_uses_those_above_it_only() {
        let text = "[dependencies]\nrasgo-kernels.workspace = true\nlibm = \"0.2\"\n";
        assert!(wrong_uses("rasgo-core", text).is_empty());
        let text = "[package]\nname = \"rasgo-core\"\n[dependencies]\nrasgo = { path = \"../rasgo\" }\n";
        assert_eq!(wrong_uses("rasgo-core", text)[0].0, 3);
        assert_eq!(wrong_uses("rasgo-kernels", "[dev-dependencies.rasgo-core]\npath = \"x\"\n").len(), 1);
        assert_eq!(wrong_uses("rasgo", "[dependencies]\nx = { package = \"rasgo-cli\" }\n").len(), 1);
    }

    #[test]
    fn the_derive_uses_none_of_ours() {
        assert_eq!(wrong_uses("rasgo-derive", "[dependencies]\nrasgo-core.workspace = true\n").len(), 1);
        assert!(wrong_uses("rasgo-derive", "[dependencies]\nsyn.workspace = true\n").is_empty());
    }

    #[test]
    fn a_crate_outside_the_order_is_named() {
        assert!(wrong_uses("rasgo-gpu", "")[0].1.contains("rasgo-gpu"));
    }
}
