//! What has to be said about what a batch, a word or time has changed.

use chrono::{DateTime, Utc};

use super::Pipeline;
use crate::clock;
use crate::model::{Changes, Finding, FindingState, OutboxRow, Reading, ReadingResult};
use crate::notify::Notifier;
use crate::store::{StoreError, Writing};

impl Pipeline {
    pub(super) async fn what_to_say(
        &self,
        writing: &mut Writing,
        changes: &Changes,
    ) -> Result<Vec<OutboxRow>, StoreError> {
        let ids: Vec<String> = changes.findings.iter().map(|change| change.finding.id.clone()).collect();
        let said = writing.last_said(&ids).await?;
        let auditor = self.auditor();
        let exceptions = &auditor.standards().exceptions;
        Ok(self.notifier.about_changes(&changes.findings, exceptions, &said, clock::now()))
    }

    pub(super) async fn what_is_lost(
        &self,
        writing: &mut Writing,
        readings: &[Reading],
    ) -> Result<Vec<OutboxRow>, StoreError> {
        if readings.iter().all(|reading| reading.result == ReadingResult::Ok) {
            return Ok(Vec::new());
        }
        let before = writing.readings().await?;
        let said = writing.last_said(&Notifier::coverage_subjects(readings)).await?;
        Ok(self.notifier.about_coverage(&before, readings, &said, clock::now()))
    }

    pub(super) async fn what_still_stands(
        &self,
        writing: &mut Writing,
        now: DateTime<Utc>,
    ) -> Result<Vec<OutboxRow>, StoreError> {
        let standing: Vec<Finding> = self
            .auditor()
            .findings()
            .filter(|finding| finding.state != FindingState::Resolved)
            .cloned()
            .collect();
        let ids: Vec<String> = standing.iter().map(|finding| finding.id.clone()).collect();
        let said = writing.last_said(&ids).await?;
        let auditor = self.auditor();
        Ok(self.notifier.about_standing(&standing, &auditor.standards().exceptions, &said, now))
    }
}
