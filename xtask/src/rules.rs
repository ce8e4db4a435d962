//! The rules of the tree that a program can hold.

use std::fs;
use std::path::{Path, PathBuf};

/// A file longer than this must be split.
const MOST_LINES: usize = 800;

/// Names that say nothing.
const EMPTY_NAMES: [&str; 5] = ["utils", "common", "base", "v2", "helpers"];

/// Checks every Rust file; lists all that break a rule.
pub(crate) fn check() -> Result<(), String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("xtask lies in the workspace")?;
    let mut files = Vec::new();
    for folder in ["crates", "xtask", "examples"] {
        collect(&root.join(folder), &mut files).map_err(|error| format!("{folder}: {error}"))?;
    }
    let mut broken = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        let shown = file.strip_prefix(root).unwrap_or(&file).to_string_lossy().replace('\\', "/");
        broken.extend(check_file(&shown, &text));
    }
    if broken.is_empty() { Ok(()) } else { Err(format!("\n{}", broken.join("\n"))) }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    if !folder.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

fn check_file(path: &str, text: &str) -> Vec<String> {
    let mut broken = Vec::new();
    let lines: Vec<&str> = text.lines().collect();
    if lines.len() > MOST_LINES {
        broken.push(format!("{path}: {} lines; split it below {MOST_LINES}", lines.len()));
    }
    let stem = Path::new(path).file_stem().map_or(String::new(), |stem| stem.to_string_lossy().into_owned());
    if EMPTY_NAMES.contains(&stem.as_str()) {
        broken.push(format!("{path}: the name says nothing of the subject"));
    }
    let kernels = path.starts_with("crates/rasgo-kernels/");
    let own_rules = path.starts_with("xtask/");
    for (i, line) in lines.iter().enumerate() {
        let code = code_of(line);
        let at = format!("{path}:{}", i + 1);
        if own_rules {
            continue;
        }
        if has_unsafe(code) {
            if !kernels {
                broken.push(format!("{at}: unsafe code belongs to rasgo-kernels"));
            } else if opens_unsafe(code) && !is_explained(&lines, i) {
                broken.push(format!("{at}: say above why it is sound, // SAFETY: …"));
            }
        }
        if code.contains("#[allow(") && !lines[i..lines.len().min(i + 4)].iter().any(|line| line.contains("reason"))
        {
            broken.push(format!("{at}: give a reason to the allow"));
        }
    }
    broken
}

/// The part of a line before a comment.
fn code_of(line: &str) -> &str {
    line.split("//").next().unwrap_or(line)
}

fn has_unsafe(code: &str) -> bool {
    code.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "unsafe")
}

fn opens_unsafe(code: &str) -> bool {
    code.contains("unsafe {") || code.contains("unsafe impl")
}

/// Whether the lines above, up to the last one that ends a statement or block, say SAFETY.
fn is_explained(lines: &[&str], i: usize) -> bool {
    lines[i.saturating_sub(12)..=i].iter().any(|line| line.contains("SAFETY"))
}

#[cfg(test)]
mod tests {
    use super::check_file;

    #[test]
    fn unsafe_outside_the_kernels_is_found() {
        let text = "fn f() {\n    unsafe { g() }\n}\n// unsafe in a comment\n";
        assert_eq!(check_file("crates/rasgo/src/a.rs", text).len(), 1);
        assert!(check_file("crates/rasgo/src/a.rs", "#![deny(unsafe_op_in_unsafe_fn)]\n").is_empty());
    }

    #[test]
    fn unsafe_in_the_kernels_needs_its_reason() {
        let path = "crates/rasgo-kernels/src/a.rs";
        assert_eq!(check_file(path, "fn f() {\n    unsafe { g() }\n}\n").len(), 1);
        assert!(check_file(path, "fn f() {\n    // SAFETY: g is fine.\n    unsafe { g() }\n}\n").is_empty());
    }

    #[test]
    fn a_long_file_an_empty_name_and_a_bare_allow_are_found() {
        assert_eq!(check_file("crates/a/src/b.rs", &"\n".repeat(801)).len(), 1);
        assert_eq!(check_file("crates/a/src/utils.rs", "").len(), 1);
        assert_eq!(check_file("crates/a/src/b.rs", "#[allow(dead_code)]\nfn f() {}\n\n\n").len(), 1);
    }
}
