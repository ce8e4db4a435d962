//! The files of the project.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The folder of the workspace: cargo says it when it runs this. What it said at build time may be another checkout, if
/// two share a build folder, and then all checks would be of the other one.
pub(crate) fn root() -> PathBuf {
    let own = std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from("xtask"), PathBuf::from);
    own.parent().unwrap_or(&own).to_path_buf()
}

/// Paths below `root`, with `/` between the names: the files that git keeps or would keep; without git, all
/// but hidden folders and the outputs of builds and runs.
pub(crate) fn files(root: &Path) -> Result<Vec<String>, String> {
    let mut files = match listed_by_git(root) {
        Some(files) => files,
        None => {
            let mut files = Vec::new();
            walk(root, "", &mut files).map_err(|error| format!("{}: {error}", root.display()))?;
            files
        }
    };
    files.sort();
    files.dedup();
    Ok(files)
}

fn listed_by_git(root: &Path) -> Option<Vec<String>> {
    if !root.join(".git").exists() {
        return None;
    }
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .stderr(Stdio::null())
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    let names = String::from_utf8(output.stdout).ok()?;
    // A file that was removed but is still in the index is no file.
    let exists = |name: &&str| !name.is_empty() && root.join(name).is_file();
    Some(names.split('\0').filter(exists).map(str::to_owned).collect())
}

fn walk(folder: &Path, prefix: &str, files: &mut Vec<String>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let kind = entry.file_type()?;
        if kind.is_file() {
            files.push(format!("{prefix}{name}"));
        } else if kind.is_dir() {
            let hidden = name.starts_with('.') && ![".cargo", ".ci"].contains(&name.as_str());
            if !hidden && !["target", "runs", "__pycache__"].contains(&name.as_str()) {
                walk(&entry.path(), &format!("{prefix}{name}/"), files)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn git_and_the_walk_both_find_the_manifest_and_this_file() {
        let root = root();
        let mut walked = Vec::new();
        walk(&root, "", &mut walked).expect("the tree is readable");
        for list in [files(&root).expect("the tree is readable"), walked] {
            for name in ["Cargo.toml", "xtask/src/tree.rs"] {
                assert!(list.iter().any(|file| file == name), "{name}");
            }
            assert!(!list.iter().any(|file| file.starts_with("target/")));
        }
    }
}
