//! Which log files there are, on disk or in a bucket, and how each is opened.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use aws_config::SdkConfig;
use thiserror::Error;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use super::buckets::{BucketObject, Buckets};
use crate::integrity::NO_EVENTS;

/// An input that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{input}: {problem}")]
pub struct InputError {
    /// Which.
    pub input: String,
    /// Why.
    pub problem: String,
}

/// A log file.
#[derive(Debug, Clone)]
pub struct Input {
    /// Its path, or `s3://BUCKET/KEY`.
    pub name: String,
    /// Under what it is marked as processed: changes with its content.
    pub mark: String,
    /// Its size as it lies there, in bytes.
    pub size: u64,
    /// Whether it was found in a folder, and so may be something else than a log.
    pub was_found: bool,
    pub(super) place: InputPlace,
}

#[derive(Debug, Clone)]
pub(super) enum InputPlace {
    Disk(PathBuf),
    Bucket(BucketObject),
}

impl Input {
    /// Opens it. It blocks, as its reads do, but not beyond `shutdown`.
    ///
    /// # Errors
    /// When it is not there any more, or may not be read, or at shutdown.
    pub fn open(&self, shutdown: &CancellationToken) -> Result<Box<dyn Read + Send>, InputError> {
        let failed = |error: &dyn std::fmt::Display| InputError {
            input: self.name.clone(),
            problem: error.to_string(),
        };
        match &self.place {
            InputPlace::Disk(path) => match File::open(path) {
                Ok(file) => Ok(Box::new(file)),
                Err(error) => Err(failed(&error)),
            },
            InputPlace::Bucket(object) => match object.open(&self.mark, shutdown) {
                Ok(stream) => Ok(stream),
                Err(problem) => Err(failed(&problem)),
            },
        }
    }
}

/// The log files at some paths, in order, each once: files, folders with all that is below them, and
/// `s3://BUCKET/PREFIX`. What could not be looked at is told beside. `sdk` is asked only if there is a bucket: it may
/// look for a Region in the network, which files on disk do not need.
pub async fn find_inputs(
    paths: &[String],
    sdk: impl AsyncFn() -> SdkConfig,
) -> (Vec<Input>, Vec<InputError>) {
    let (mut inputs, mut errors) = (Vec::new(), Vec::new());
    let buckets = OnceCell::new();
    for path in paths {
        let found = match path.strip_prefix("s3://") {
            Some(place) => buckets.get_or_init(async || Buckets::new(&sdk().await)).await.find(place).await,
            None => on_disk(Path::new(path)),
        };
        match found {
            Ok(found) => inputs.extend(found),
            Err(error) => errors.push(error),
        }
    }
    let mut seen = BTreeSet::new();
    inputs.retain(|input| seen.insert(input.mark.clone()));
    (inputs, errors)
}

fn on_disk(path: &Path) -> Result<Vec<Input>, InputError> {
    let failed =
        |error: io::Error| InputError { input: path.display().to_string(), problem: error.to_string() };
    let metadata = fs::metadata(path).map_err(failed)?;
    if !metadata.is_dir() {
        return Ok(vec![file(path, &metadata, false)]);
    }
    let mut found = Vec::new();
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        let failed =
            |error: io::Error| InputError { input: folder.display().to_string(), problem: error.to_string() };
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            // A link may lead round in a circle; what it leads to is found where it is.
            let metadata = fs::symlink_metadata(&path).map_err(failed)?;
            let holds_no_events =
                path.file_name().is_some_and(|name| NO_EVENTS.iter().any(|kind| name == *kind));
            if metadata.is_dir() && !holds_no_events {
                folders.push(path);
            } else if metadata.is_file() {
                found.push(file(&path, &metadata, true));
            }
        }
    }
    found.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(found)
}

fn file(path: &Path, metadata: &fs::Metadata, was_found: bool) -> Input {
    let changed = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let full = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let changed = changed.unwrap_or_default().as_micros();
    Input {
        name: path.display().to_string(),
        mark: format!("file/{}@{}-{changed}", full.display(), metadata.len()),
        size: metadata.len(),
        was_found,
        place: InputPlace::Disk(path.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn files_on_disk_need_no_aws() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("log.json"), "{}").unwrap();
        let paths = [folder.path().display().to_string()];
        let (inputs, errors) = find_inputs(&paths, async || panic!("no bucket is named")).await;
        assert_eq!((inputs.len(), errors), (1, Vec::new()));
    }
}
