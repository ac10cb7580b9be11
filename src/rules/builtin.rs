//! The rule pack that comes with the program.

use rust_embed::Embed;

use super::RuleFile;

#[derive(Embed)]
#[folder = "rules/"]
struct Pack;

/// The folders of the pack that hold rules; the others hold data.
const FOLDERS: [&str; 3] = ["anomaly/", "cloudtrail/", "kms/"];

/// The rule files that come with the program, by path.
pub fn builtin_files() -> Vec<RuleFile> {
    let mut files: Vec<RuleFile> = Pack::iter()
        .filter(|path| path.ends_with(".yml") && FOLDERS.iter().any(|folder| path.starts_with(folder)))
        .filter_map(|path| {
            let text = String::from_utf8_lossy(&Pack::get(&path)?.data).into_owned();
            Some(RuleFile { path: format!("rules/{path}"), text })
        })
        .collect();
    files.sort_by(|one, other| one.path.cmp(&other.path));
    files
}
