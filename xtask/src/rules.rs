//! The rules of the tree that a program can hold.

use std::fs;
use std::path::Path;

use crate::manifest;
use crate::source::{attributes, code_of, test_lines, words};
use crate::tree;

/// A file longer than this must be split.
const MOST_LINES: usize = 800;

/// A file whose code without tests is longer than this is listed, to be looked at.
const MANY_LINES: usize = 500;

/// Names that say nothing of the subject.
const EMPTY_NAMES: [&str; 5] = ["utils", "common", "base", "v2", "helpers"];

/// Absolute paths of one machine; in pieces, so that this file holds none.
const MACHINE_PATHS: [&str; 2] = [concat!("/work", "/"), concat!("/tmp", "/target")];

/// MNIST, which the project carries; the sizes of the compressed files.
const MNIST: [(&str, u64); 4] = [
    ("data/mnist/train-images-idx3-ubyte.gz", 9_719_462),
    ("data/mnist/train-labels-idx1-ubyte.gz", 28_881),
    ("data/mnist/t10k-images-idx3-ubyte.gz", 1_616_531),
    ("data/mnist/t10k-labels-idx1-ubyte.gz", 4_540),
];

/// What the rules found, each as `path:line: what to do`.
#[derive(Default)]
pub(crate) struct Found {
    /// What must change.
    pub(crate) broken: Vec<String>,
    /// What should be looked at.
    pub(crate) notes: Vec<String>,
}

/// Checks every file of the tree.
pub(crate) fn check(root: &Path) -> Result<Found, String> {
    let mut found = Found::default();
    for path in tree::files(root)? {
        if let Some(text) = read_text(&root.join(&path)).map_err(|error| format!("{path}: {error}"))? {
            check_text(&path, &text, &mut found);
        }
    }
    for (path, size) in MNIST {
        let real = fs::metadata(root.join(path)).map(|file| file.len());
        check_size(path, real.ok(), size, &mut found);
    }
    Ok(found)
}

/// The text of a file; `None` if it is none.
fn read_text(path: &Path) -> std::io::Result<Option<String>> {
    let bytes = fs::read(path)?;
    Ok(if bytes.contains(&0) { None } else { String::from_utf8(bytes).ok() })
}

fn check_size(path: &str, real: Option<u64>, size: u64, found: &mut Found) {
    match real {
        Some(real) if real == size => {}
        Some(real) => {
            found.broken.push(format!("{path}:1: {real} bytes where {size} belong; restore it from git"))
        }
        None => found.broken.push(format!("{path}:1: missing; restore it from git")),
    }
}

fn check_text(path: &str, text: &str, found: &mut Found) {
    let mut broken = Vec::new();
    for (line, content) in text.lines().enumerate() {
        if MACHINE_PATHS.iter().any(|path| begins_path(content, path)) {
            broken.push((line, "a path of one machine; name it by an option or a relative path".to_owned()));
        }
    }
    let name = path.strip_prefix("crates/").and_then(|path| path.strip_suffix("/Cargo.toml"));
    if let Some(name) = name.filter(|name| !name.contains('/')) {
        broken.extend(manifest::wrong_uses(name, text));
    }
    if path.ends_with(".rs") {
        check_rust(path, text, &mut broken, &mut found.notes);
    }
    broken.sort();
    found.broken.extend(broken.into_iter().map(|(line, advice)| format!("{path}:{}: {advice}", line + 1)));
}

/// Whether `text` holds `path` other than as the end of a longer one.
fn begins_path(text: &str, path: &str) -> bool {
    let longer = |c: char| c.is_alphanumeric() || "._-~}".contains(c);
    text.match_indices(path).any(|(at, _)| !text[..at].ends_with(longer))
}

fn check_rust(path: &str, text: &str, broken: &mut Vec<(usize, String)>, notes: &mut Vec<String>) {
    let code = code_of(text);
    let lines: Vec<&str> = text.lines().collect();
    let code_lines: Vec<&str> = code.lines().collect();
    let tests = test_lines(&code);

    let without_tests = tests.iter().filter(|test| !**test).count();
    if lines.len() > MOST_LINES {
        broken.push((MOST_LINES, format!("{} lines; split the file below {MOST_LINES}", lines.len())));
    } else if without_tests > MANY_LINES {
        notes.push(format!("{path}:1: note: {without_tests} lines without tests; has it one subject?"));
    }

    let names = path.trim_end_matches(".rs").split('/');
    if let Some(name) = names.into_iter().find(|name| EMPTY_NAMES.contains(name)) {
        broken.push((0, format!("`{name}` says nothing of the subject; name the file after it")));
    }

    for attribute in attributes(&code) {
        let mut words = words(attribute.text);
        if words.any(|word| word == "allow") && !words.any(|word| word == "reason") {
            broken.push((attribute.line, "an allow says why: add `reason = \"…\"`".into()));
        }
    }

    let kernels = path.starts_with("crates/rasgo-kernels/");
    for (i, code) in code_lines.iter().enumerate() {
        if words(code).any(|word| word == "unsafe") {
            if !kernels {
                broken.push((i, "unsafe code belongs to crates/rasgo-kernels".into()));
            } else if opens_unsafe(code) && !says_safety(&lines, &code_lines, i) {
                broken.push((i, "say on the lines directly above why it is sound: `// SAFETY: …`".into()));
            }
        }
        let mut pairs = words(code).zip(words(code).skip(1));
        if let Some((_, name)) = pairs.find(|(word, name)| *word == "mod" && EMPTY_NAMES.contains(name)) {
            broken.push((i, format!("`{name}` says nothing of the subject; name the module after it")));
        }
        if !tests[i] {
            check_output(path, code, i, broken);
        }
    }
}

/// Below the command a library neither prints nor exits, and its settings come from one place.
fn check_output(path: &str, code: &str, i: usize, broken: &mut Vec<(usize, String)>) {
    let program =
        ["crates/rasgo-cli/", "xtask/", "bench/", "examples/"].iter().any(|at| path.starts_with(at));
    let aside =
        path.split('/').any(|name| ["tests", "tests.rs", "examples", "benches", "build.rs"].contains(&name));
    if program || aside {
        return;
    }
    for name in ["print!", "println!", "eprint!", "eprintln!"] {
        if holds_word(code, name) {
            broken.push((i, format!("`{name}` below the command; return the text or an error")));
        }
    }
    if code.contains("process::exit") {
        broken.push((i, "`process::exit` below the command; return an error".into()));
    }
    if code.contains("env::var") && path != "crates/rasgo-kernels/src/settings.rs" {
        broken.push((
            i,
            "the environment is read in rasgo-kernels' settings.rs alone; add a setting there".into(),
        ));
    }
}

/// Whether `code` holds `name` other than as the end of a longer one.
fn holds_word(code: &str, name: &str) -> bool {
    code.match_indices(name).any(|(at, _)| !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
}

/// Whether the line opens an unsafe block or implementation; the words may be a macro's.
fn opens_unsafe(code: &str) -> bool {
    code.match_indices("unsafe").any(|(at, word)| {
        let rest = code[at + word.len()..].trim_start();
        rest.is_empty() || rest.starts_with('{') || rest.starts_with("impl")
    })
}

/// Whether a comment with `SAFETY:` stands on the line, or above the statement that the line belongs to, with
/// nothing but comments and attributes between.
fn says_safety(lines: &[&str], code_lines: &[&str], i: usize) -> bool {
    if lines[i].contains("SAFETY:") {
        return true;
    }
    for j in (0..i).rev() {
        let code = code_lines[j].trim();
        if code.is_empty() {
            if lines[j].contains("SAFETY:") {
                return true;
            }
            if lines[j].trim().is_empty() {
                return false;
            }
        } else if code.ends_with([';', '{', '}']) {
            return false;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(path: &str, text: &str) -> Vec<String> {
        let mut found = Found::default();
        check_text(path, text, &mut found);
        found.broken
    }

    const KERNEL: &str = "crates/rasgo-kernels/src/a.rs";
    const OTHER: &str = "crates/rasgo/src/a.rs";

    #[test]
    fn a_long_file_is_broken_and_a_fairly_long_one_noted_without_its_tests() {
        assert_eq!(broken(OTHER, &"\n".repeat(801)).len(), 1);
        let notes = |text: &str| {
            let mut found = Found::default();
            check_text(OTHER, text, &mut found);
            assert!(found.broken.is_empty());
            found.notes.len()
        };
        assert_eq!(notes(&"\n".repeat(501)), 1);
        assert_eq!(
            notes(&format!("{}#[cfg(test)]\nmod tests {{\n{}}}\n", "\n".repeat(450), "\n".repeat(90))),
            0
        );
    }

    #[test]
    fn unsafe_outside_the_kernels_is_broken() {
        assert_eq!(
            broken(OTHER, "fn f() {\n    unsafe { g() }\n}\n")[0].split(' ').next(),
            Some("crates/rasgo/src/a.rs:2:")
        );
        assert!(
            broken(OTHER, "// unsafe\n#![deny(unsafe_op_in_unsafe_fn)]\nlet a = \"unsafe {\";\n").is_empty()
        );
    }

    #[test]
    fn unsafe_in_the_kernels_says_why() {
        assert_eq!(broken(KERNEL, "fn f() {\n    unsafe { g() }\n}\n").len(), 1);
        assert_eq!(broken(KERNEL, "// SAFETY: far off.\n\nunsafe impl Send for A {}\n").len(), 1);
        assert_eq!(broken(KERNEL, "// SAFETY: of g.\ng();\nunsafe { h() }\n").len(), 1);
        assert!(
            broken(KERNEL, "// SAFETY: g is fine\n// on two lines.\n#[cfg(a)]\nunsafe { g() }\n").is_empty()
        );
        assert!(broken(KERNEL, "// SAFETY: g is fine.\nlet a =\n    unsafe { g() };\n").is_empty());
        assert!(broken(KERNEL, "/// # Safety\n/// Never null.\nunsafe fn f() {}\n").is_empty());
    }

    #[test]
    fn names_that_say_nothing_are_broken() {
        for path in ["crates/a/src/utils.rs", "crates/a/src/helpers/x.rs"] {
            assert_eq!(broken(path, "").len(), 1, "{path}");
        }
        assert_eq!(broken(OTHER, "pub(crate) mod common;\n").len(), 1);
        assert!(broken(OTHER, "mod baseline;\nlet base = 1;\n").is_empty());
    }

    #[test]
    fn an_allow_without_a_reason_is_broken() {
        assert_eq!(broken(OTHER, "#[allow(dead_code)]\nfn f() {}\n").len(), 1);
        assert_eq!(broken(OTHER, "#[cfg_attr(a, allow(dead_code))]\nfn f() {}\n").len(), 1);
        assert!(broken(OTHER, "#[allow(\n    dead_code,\n    reason = \"b\"\n)]\nfn f() {}\n").is_empty());
    }

    #[test]
    fn a_library_does_not_print_exit_or_read_the_environment() {
        for line in
            ["println!(\"a\");", "eprintln!();", "std::process::exit(1);", "let a = std::env::var_os(\"B\");"]
        {
            assert_eq!(broken(OTHER, line).len(), 1, "{line}");
            for path in
                ["crates/rasgo-cli/src/main.rs", "crates/rasgo/tests/a.rs", "crates/rasgo/examples/b.rs"]
            {
                assert!(broken(path, line).is_empty(), "{path} {line}");
            }
            let test = format!("#[cfg(test)]\nmod tests {{\n    fn f() {{ {line} }}\n}}\n");
            assert!(broken(OTHER, &test).is_empty(), "{line}");
        }
        assert!(broken("crates/rasgo-kernels/src/settings.rs", "std::env::var(\"A\")").is_empty());
        assert!(broken(OTHER, "/// println!(\"a\");\nmy_println!();\n").is_empty());
    }

    #[test]
    fn a_manifest_against_the_order_and_a_machine_path_are_broken() {
        let text = "[dependencies]\nrasgo.workspace = true\n";
        assert_eq!(broken("crates/rasgo-core/Cargo.toml", text).len(), 1);
        assert!(broken("crates/rasgo-cli/Cargo.toml", text).is_empty());
        assert_eq!(broken("README.md", &format!("a\nin {}home\n", MACHINE_PATHS[0])).len(), 1);
        assert!(broken("README.md", &format!("the work / the rest, ~{}home\n", MACHINE_PATHS[0])).is_empty());
    }

    #[test]
    fn a_data_file_of_another_size_or_none_is_broken() {
        let mut found = Found::default();
        check_size("a", Some(3), 3, &mut found);
        assert!(found.broken.is_empty());
        check_size("a", Some(2), 3, &mut found);
        check_size("a", None, 3, &mut found);
        assert_eq!(found.broken.len(), 2);
    }

    #[test]
    fn the_tree_keeps_its_data() {
        for (path, size) in MNIST {
            let real = fs::metadata(tree::root().join(path)).map(|file| file.len());
            assert_eq!(real.ok(), Some(size), "{path}");
        }
    }
}
