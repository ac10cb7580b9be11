//! The pure rooms see no clock, no I/O, no SDK, and none of the rooms after them.

use std::path::{Path, PathBuf};

/// Each pure room, with the rooms of this program that it may name.
const ROOMS: [(&str, &[&str]); 10] = [
    ("src/model", &[]),
    ("src/integrity", &["model"]),
    ("src/jurisdiction", &["model"]),
    ("src/facts", &["model", "jurisdiction", "config"]),
    ("src/rules", &["model", "facts", "records"]),
    ("src/findings", &["model"]),
    ("src/ledger", &["model", "records"]),
    ("src/records", &[]),
    ("src/harvest", &["model", "facts", "records", "ledger", "rules"]),
    ("src/audit", &["model", "jurisdiction", "config", "facts", "rules", "findings"]),
];

/// What no pure room may name.
const IMPURE: [&str; 15] = [
    "tokio",
    "sqlx",
    "aws_config",
    "aws_sdk",
    "aws_smithy",
    "aws_types",
    "axum",
    "Utc::now",
    "SystemTime",
    "Instant::now",
    "std::fs",
    "std::env",
    "std::net::Tcp",
    "std::net::Udp",
    "std::process",
];

fn rust_files(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let entries = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries
        .filter(|path| path.is_dir() || path.extension().is_some_and(|extension| extension == "rs"))
        .filter(|path| path.file_stem().is_none_or(|name| name != "tests"))
        .flat_map(|path| rust_files(&path))
        .collect();
    files.sort();
    files
}

/// The code of a file without its comments and its tests, with line numbers.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .take_while(|(_, line)| !line.starts_with("#[cfg(test)]"))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .map(|(at, line)| (at + 1, line))
}

fn rooms_named(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices("crate::").map(|(at, prefix)| {
        let rest = line.split_at(at + prefix.len()).1;
        rest.split(|letter: char| !letter.is_alphanumeric() && letter != '_').next().unwrap_or_default()
    })
}

#[test]
fn the_pure_rooms_import_nothing_impure() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut wrong = Vec::new();
    let mut files = 0;
    for (room, allowed) in ROOMS {
        let own = Path::new(room).file_stem().unwrap().to_str().unwrap();
        for path in rust_files(&root.join(room)) {
            files += 1;
            let text = std::fs::read_to_string(&path).unwrap();
            for (number, line) in code_lines(&text) {
                let place =
                    || format!("{}:{number}: {}", path.strip_prefix(root).unwrap().display(), line.trim());
                if IMPURE.iter().any(|word| line.contains(word)) {
                    wrong.push(place());
                }
                let is_foreign = |named: &str| named != own && !allowed.contains(&named);
                if rooms_named(line).any(is_foreign) {
                    wrong.push(place());
                }
            }
        }
    }
    assert!(files > 20, "only {files} files were read");
    assert!(wrong.is_empty(), "pure rooms name what they must not:\n{}", wrong.join("\n"));
}
