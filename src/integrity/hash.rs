//! Hashes of what gzip files hold, computed as the bytes come.

use std::fmt;
use std::io::{self, Write};

use aws_lc_rs::digest;
use flate2::write::MultiGzDecoder;

/// A SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sha256([u8; 32]);

impl Sha256 {
    /// The hash of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self::finished(&digest::digest(&digest::SHA256, bytes))
    }

    /// A hash as documents give it: 64 hexadecimal digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        Some(Self(bytes))
    }

    fn finished(digest: &digest::Digest) -> Self {
        let mut bytes = [0; 32];
        for (to, from) in bytes.iter_mut().zip(digest.as_ref()) {
            *to = *from;
        }
        Self(bytes)
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Takes a gzip file in pieces, and gives the hash of what is in it; all members count, and so does what comes
/// after them.
#[derive(Debug)]
pub struct Inflater(MultiGzDecoder<Sink>);

/// What a gzip file held.
#[derive(Debug)]
pub struct Inflated {
    /// The hash of the content.
    pub hash: Sha256,
    /// The content, if it was to be kept.
    pub content: Vec<u8>,
}

struct Sink {
    hash: digest::Context,
    content: Option<Vec<u8>>,
    left: u64,
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sink").field("left", &self.left).finish_non_exhaustive()
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(left) = self.left.checked_sub(bytes.len() as u64) else {
            return Err(io::Error::other("it holds more than is read of such a file"));
        };
        self.left = left;
        self.hash.update(bytes);
        if let Some(content) = &mut self.content {
            content.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Inflater {
    /// For a file whose content is only hashed, up to a number of bytes.
    pub fn hashing(limit: u64) -> Self {
        Self::new(limit, None)
    }

    /// For a file whose content is kept, up to a number of bytes.
    pub fn keeping(limit: u64) -> Self {
        Self::new(limit, Some(Vec::new()))
    }

    fn new(limit: u64, content: Option<Vec<u8>>) -> Self {
        let hash = digest::Context::new(&digest::SHA256);
        Self(MultiGzDecoder::new(Sink { hash, content, left: limit }))
    }

    /// Takes the next piece.
    ///
    /// # Errors
    /// If this is no gzip, or holds more than the limit.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.0.write_all(bytes).map_err(|error| problem(&error))
    }

    /// What it held, once all pieces were taken.
    ///
    /// # Errors
    /// If the file is cut short or its checksum is wrong.
    pub fn finish(self) -> Result<Inflated, String> {
        let sink = self.0.finish().map_err(|error| problem(&error))?;
        Ok(Inflated {
            hash: Sha256::finished(&sink.hash.finish()),
            content: sink.content.unwrap_or_default(),
        })
    }
}

fn problem(error: &io::Error) -> String {
    format!("it cannot be decompressed: {error}")
}
