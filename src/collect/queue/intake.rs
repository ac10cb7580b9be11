//! What the queue's consumer hands over to.

use std::io::Read;

use crate::model::{Reading, SourceKind};

/// What takes events in: harvests and commits.
pub trait Intake: Send + Sync + 'static {
    /// What was taken from one input, not yet committed.
    type Part: Send;

    /// Reads one object's bytes on a blocking thread; many at once are fine. `mark` names the input.
    ///
    /// A read that fails means that the object could not be had, and the part is then thrown away: what is wrong with
    /// the content shows in the part only. The reads block, so they panic on a thread that runs async tasks.
    ///
    /// # Errors
    /// When reading fails for a reason that is not the content's; the message comes again.
    fn harvest(
        &self,
        mark: String,
        object: Box<dyn Read + Send>,
    ) -> impl Future<Output = Result<Self::Part, String>> + Send;

    /// Takes records that came in a message.
    ///
    /// # Errors
    /// The same.
    fn harvest_records(
        &self,
        mark: String,
        records: Vec<serde_json::Value>,
    ) -> impl Future<Output = Result<Self::Part, String>> + Send;

    /// Commits the parts in one transaction; parts that were committed before change nothing. Once it is done the
    /// messages are deleted.
    ///
    /// # Errors
    /// When nothing was committed; the messages come again.
    fn commit(
        &self,
        source: SourceKind,
        parts: Vec<Self::Part>,
        readings: Vec<Reading>,
    ) -> impl Future<Output = anyhow::Result<()>> + Send;
}
