//! The rule files that a command names.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::rules::{RuleFile, builtin_files};

/// The rule files at some paths: files as they are named, and every `.yml` file below a directory. Without any
/// path, the rules that come with the program.
///
/// # Errors
///
/// A path that cannot be read, by name.
pub(super) fn files_at(paths: &[PathBuf]) -> anyhow::Result<Vec<RuleFile>> {
    if paths.is_empty() {
        return Ok(builtin_files());
    }
    let mut files = Vec::new();
    for path in paths {
        add_files(path, &mut files)?;
    }
    Ok(files)
}

fn add_files(path: &Path, files: &mut Vec<RuleFile>) -> anyhow::Result<()> {
    let cannot_read = || format!("cannot read the rules at {}", path.display());
    if !path.is_dir() {
        let text = fs::read_to_string(path).with_context(cannot_read)?;
        files.push(RuleFile { path: path.display().to_string(), text });
        return Ok(());
    }
    let entries = fs::read_dir(path).with_context(cannot_read)?;
    let mut below = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()?;
    below.sort();
    for path in below {
        if path.is_dir() || path.extension().is_some_and(|extension| extension == "yml") {
            add_files(&path, files)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_from_files_and_directories() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("more")).unwrap();
        for (name, text) in [("b.yml", "b"), ("more/a.yml", "a"), ("readme.md", "no")] {
            fs::write(dir.path().join(name), text).unwrap();
        }
        let texts = |paths: &[PathBuf]| -> Vec<String> {
            files_at(paths).unwrap().into_iter().map(|file| file.text).collect()
        };
        assert_eq!(texts(&[dir.path().to_owned()]), ["b", "a"]);
        assert_eq!(texts(&[dir.path().join("more/a.yml"), dir.path().join("b.yml")]), ["a", "b"]);
        assert_eq!(files_at(&[]).unwrap(), builtin_files());
        let error = files_at(&[dir.path().join("nothing.yml")]).unwrap_err();
        assert!(error.to_string().ends_with("nothing.yml"), "{error}");
    }
}
