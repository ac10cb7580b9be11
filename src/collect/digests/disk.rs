//! Digest and log files in a copy of a bucket on disk.

use std::io;
use std::path::{Path, PathBuf};

use tokio::io::AsyncReadExt;

use super::MAX_LOG;
use crate::collect::api::LIST_BUCKET;
use crate::collect::outcome::Failure;
use crate::integrity::{
    Digest, Fetched, Inflated, Inflater, ListedLog, LogOutcome, MAX_DIGEST, Signature, below_logs,
};

/// The pieces in which a file is read.
const PIECE: usize = 64 << 10;
/// The folders that are gone into at most, so that a link to itself ends.
const MAX_DEPTH: usize = 24;

/// A copy of a bucket, or of a part of it.
#[derive(Debug)]
pub(crate) struct Disk {
    /// What stands for the bucket.
    base: PathBuf,
    /// Only what is below this, of the form `a/b/`.
    within: String,
}

impl Disk {
    /// A copy whose root is a folder, or which that folder is a part of: above its `AWSLogs`.
    pub(super) fn new(path: &Path) -> Self {
        let mut base = PathBuf::new();
        let mut within = String::new();
        for part in path.components() {
            if !within.is_empty() || part.as_os_str() == "AWSLogs" {
                within.push_str(&part.as_os_str().to_string_lossy());
                within.push('/');
            } else {
                base.push(part);
            }
        }
        if base.as_os_str().is_empty() {
            base.push(".");
        }
        Self { base, within }
    }

    /// Where an object is. A copy may have lost the prefix of the bucket's keys, or have it put elsewhere.
    fn path(&self, key: &str) -> Option<PathBuf> {
        let is_safe = key.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
        let whole = self.base.join(key);
        if !is_safe {
            None
        } else if whole.exists() {
            Some(whole)
        } else {
            Some(self.base.join(below_logs(key)))
        }
    }

    pub(super) fn list(&self, prefix: &str, after: &str) -> Result<Vec<String>, Failure> {
        let mut keys = Vec::new();
        let folder = prefix.rfind('/').and_then(|end| prefix.get(..end)).unwrap_or_default();
        collect(&self.base.join(folder), folder, MAX_DEPTH, &mut keys).map_err(|error| unlisted(&error))?;
        let is_wanted = |key: &String| {
            key.starts_with(prefix) && key.as_str() > after && below_logs(key).starts_with(&self.within)
        };
        keys.retain(is_wanted);
        keys.sort();
        Ok(keys)
    }

    pub(super) fn folders(&self, prefix: &str) -> Result<Vec<String>, Failure> {
        let folder = self.base.join(prefix);
        let entries = match std::fs::read_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(|error| unlisted(&error))?,
        };
        let mut folders = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|error| unlisted(&error))?;
            if entry.path().is_dir() {
                folders.push(format!("{prefix}{}/", entry.file_name().to_string_lossy()));
            }
        }
        folders.retain(|folder| {
            let below = below_logs(folder);
            !below.starts_with("AWSLogs/")
                || below.starts_with(&self.within)
                || self.within.starts_with(below)
        });
        folders.sort();
        Ok(folders)
    }

    pub(super) async fn digest(&self, key: &str) -> Fetched {
        match self.inflate(key, Inflater::keeping(MAX_DIGEST)).await {
            Ok(Ok(inflated)) => Digest::parse(&inflated.content).map_or_else(Fetched::Malformed, |digest| {
                Fetched::Digest(Box::new(digest), Signature::NotKept)
            }),
            Ok(Err(problem)) => Fetched::Malformed(problem),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Fetched::Missing,
            Err(error) => Fetched::Unread(error.to_string()),
        }
    }

    pub(super) async fn log(&self, log: &ListedLog) -> LogOutcome {
        match self.inflate(&log.object, Inflater::hashing(MAX_LOG)).await {
            Ok(Ok(inflated)) => LogOutcome::Read(inflated.hash),
            Ok(Err(problem)) => LogOutcome::Malformed(problem),
            Err(error) if error.kind() == io::ErrorKind::NotFound => LogOutcome::Missing,
            Err(error) => LogOutcome::Unread(error.to_string()),
        }
    }

    async fn inflate(&self, key: &str, mut inflater: Inflater) -> io::Result<Result<Inflated, String>> {
        let path = self.path(key).ok_or(io::ErrorKind::NotFound)?;
        let mut file = tokio::fs::File::open(path).await?;
        let mut piece = vec![0; PIECE];
        loop {
            let read = file.read(&mut piece).await?;
            let Some(bytes) = piece.get(..read).filter(|bytes| !bytes.is_empty()) else {
                return Ok(inflater.finish());
            };
            if let Err(problem) = inflater.push(bytes) {
                return Ok(Err(problem));
            }
        }
    }
}

/// The files below a folder, as keys. A folder that is not there holds none.
fn collect(folder: &Path, key: &str, depth: usize, keys: &mut Vec<String>) -> io::Result<()> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let key = if key.is_empty() { name } else { format!("{key}/{name}") };
        if !entry.path().is_dir() {
            keys.push(key);
        } else if depth > 0 {
            collect(&entry.path(), &key, depth - 1, keys)?;
        }
    }
    Ok(())
}

fn unlisted(error: &io::Error) -> Failure {
    Failure::unusable(LIST_BUCKET, &error.to_string(), None)
}
