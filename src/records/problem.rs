//! What can be wrong with a log file or with a record in it.

use thiserror::Error;

/// How much of a key of the input an error repeats.
const SHOWN: usize = 64;

/// What is wrong with a file or with one record of it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Problem {
    /// The input gave an error.
    #[error("the file could not be read further: {0}")]
    Read(String),
    /// The input ends before the compression or the text does.
    #[error("the file ends too early; fetch it again")]
    Truncated,
    /// What was decompressed differs from what was compressed.
    #[error("the checksum of the compressed file does not fit its content; fetch it again")]
    Checksum,
    /// The compressed data is no such data.
    #[error("the compressed data is damaged; fetch the file again")]
    Damaged,
    /// Something follows the compressed data.
    #[error("something that is not compressed follows the compressed data")]
    Trailing,
    /// A zstd frame that needs more memory than it is given.
    #[error("the zstd window is larger than {limit} bytes; compress the file with a smaller one")]
    Window {
        /// The largest window that is taken.
        limit: u64,
    },
    /// More comes out of the file than is allowed.
    #[error("the file inflates to more than {limit} bytes")]
    Bomb {
        /// How much is allowed.
        limit: u64,
    },
    /// So much more comes out of the file than is in it that it is no log.
    #[error("the file inflates to more than {ratio} times its size, as no log does")]
    Dense {
        /// How many times its size is allowed.
        ratio: u64,
    },
    /// The file is read well, and has no CloudTrail records.
    #[error("the file holds no records")]
    NoRecords,
    /// The file's first byte begins neither an object nor an array.
    #[error("not JSON: the file begins with neither an object nor an array")]
    OtherFormat,
    /// The text breaks the grammar of JSON.
    #[error("not JSON: {0}")]
    NotJson(String),
    /// An element of an array of records is no object.
    #[error("not a record: an object is expected")]
    NotAnObject,
    /// The record is larger than is allowed; it was skipped.
    #[error("the record is larger than {limit} bytes")]
    TooLarge {
        /// How much is allowed.
        limit: usize,
    },
    /// The record nests deeper than is allowed.
    #[error("the record nests deeper than {limit} levels")]
    TooDeep {
        /// How many levels are allowed.
        limit: usize,
    },
    /// The record has bytes that are no text.
    #[error("the record is not UTF-8")]
    NotUtf8,
    /// The same key twice in one object, of which readers would take either.
    #[error("duplicate key `{0}`")]
    DuplicateKey(String),
    /// A field that every record has is not there.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// A field that every record has is empty or no text of the form that it has to have.
    #[error("`{0}` is malformed")]
    WrongType(&'static str),
}

impl Problem {
    /// The kind in one word, as for a label.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Read(_) => "read",
            Self::Truncated => "truncated",
            Self::Checksum => "checksum",
            Self::Damaged => "damaged",
            Self::Trailing => "trailing",
            Self::Window { .. } => "window",
            Self::Bomb { .. } | Self::Dense { .. } => "bomb",
            Self::NoRecords => "no_records",
            Self::OtherFormat | Self::NotJson(_) => "not_json",
            Self::NotAnObject => "not_an_object",
            Self::TooLarge { .. } => "too_large",
            Self::TooDeep { .. } => "too_deep",
            Self::NotUtf8 => "not_utf8",
            Self::DuplicateKey(_) => "duplicate_key",
            Self::Missing(_) => "missing",
            Self::WrongType(_) => "wrong_type",
        }
    }

    /// Whether the whole file is concerned, so that what follows the place was not read.
    pub fn is_of_file(&self) -> bool {
        matches!(
            self,
            Self::Read(_)
                | Self::Truncated
                | Self::Checksum
                | Self::Damaged
                | Self::Trailing
                | Self::Window { .. }
                | Self::Bomb { .. }
                | Self::Dense { .. }
        )
    }

    pub(super) fn not_json(expected: &str) -> Self {
        Self::NotJson(format!("expected {expected}"))
    }

    /// Names a key that came twice, but no more of it than is fit to be shown.
    pub(super) fn duplicate(key: &str) -> Self {
        Self::DuplicateKey(key.chars().take(SHOWN).collect())
    }
}
