//! The calls to SQS: receive, keep hidden, give back, delete.

use std::convert::Infallible;
use std::time::Duration;

use aws_sdk_sqs::operation::change_message_visibility_batch::ChangeMessageVisibilityBatchOutput;
use aws_sdk_sqs::operation::delete_message_batch::DeleteMessageBatchOutput;
use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry as Change, DeleteMessageBatchRequestEntry as Deletion, Message,
    MessageSystemAttributeName,
};

use super::super::api::{CHANGE_VISIBILITY, DELETE_MESSAGE, RECEIVE_MESSAGE};
use super::super::outcome::Failure;
use super::consumer::Consumer;
use super::intake::Intake;

/// The largest batch of SQS.
const BATCH: i32 = 10;

/// A message as it was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Received {
    pub(super) id: String,
    pub(super) handle: String,
    /// How often it was received by now, at least 1.
    pub(super) count: u32,
    pub(super) body: String,
}

impl From<Message> for Received {
    fn from(message: Message) -> Self {
        let attributes = message.attributes.unwrap_or_default();
        let count = attributes.get(&MessageSystemAttributeName::ApproximateReceiveCount);
        Self {
            id: message.message_id.unwrap_or_default(),
            handle: message.receipt_handle.unwrap_or_default(),
            count: count.and_then(|count| count.parse().ok()).unwrap_or(1).max(1),
            body: message.body.unwrap_or_default(),
        }
    }
}

impl<I: Intake> Consumer<I> {
    /// The next messages, after a long poll of so many seconds if there are none.
    pub(super) async fn receive(&self, poll_secs: i32) -> Result<Vec<Received>, Failure> {
        let request = self.aws.sqs.receive_message().queue_url(&self.queue.url);
        let request = request
            .max_number_of_messages(BATCH)
            .wait_time_seconds(poll_secs)
            .visibility_timeout(self.visibility())
            .message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount);
        let answer = request.send().await.map_err(|error| Failure::of(RECEIVE_MESSAGE, &error));
        self.record(None, RECEIVE_MESSAGE, answer.as_ref().err());
        self.health.set(&self.metrics, &self.queue.url, answer.is_ok());
        Ok(answer?.messages.unwrap_or_default().into_iter().map(Received::from).collect())
    }

    fn visibility(&self) -> i32 {
        i32::try_from(self.queue.visibility_secs).unwrap_or(i32::MAX)
    }

    /// Keeps messages hidden for as long as this is polled.
    pub(super) async fn keep_hidden(&self, messages: &[Received]) -> Infallible {
        let third = Duration::from_secs(u64::from(self.queue.visibility_secs)) / 3;
        loop {
            tokio::time::sleep(third.max(Duration::from_millis(300))).await;
            let all: Vec<(&Received, i32)> =
                messages.iter().map(|message| (message, self.visibility())).collect();
            self.hide(&all).await;
        }
    }

    /// Hides each message for so many seconds from now; 0 gives it back.
    pub(super) async fn hide(&self, messages: &[(&Received, i32)]) {
        if messages.is_empty() {
            return;
        }
        let entries = messages.iter().enumerate().filter_map(|(at, (message, seconds))| {
            let entry = Change::builder().id(at.to_string()).receipt_handle(&message.handle);
            entry.visibility_timeout(*seconds).build().ok()
        });
        let request = self.aws.sqs.change_message_visibility_batch().queue_url(&self.queue.url);
        let answer = request.set_entries(Some(entries.collect())).send().await;
        let failure = answer.as_ref().err().map(|error| Failure::of(CHANGE_VISIBILITY, error));
        self.record(None, CHANGE_VISIBILITY, failure.as_ref());
        if let Some(failure) = &failure {
            tracing::warn!(
                queue = self.aws.name,
                error = failure.detail,
                "messages could not be kept or given back"
            );
        }
        for refused in answer.iter().flat_map(ChangeMessageVisibilityBatchOutput::failed) {
            // It was deleted, or has been received by somebody else: its events are counted once all the same.
            tracing::debug!(
                queue = self.aws.name,
                code = refused.code(),
                "a message is in other hands by now"
            );
        }
    }

    /// Deletes messages; gives those that are gone, by their position.
    pub(super) async fn delete(&self, messages: &[&Received]) -> Vec<usize> {
        if messages.is_empty() {
            return Vec::new();
        }
        let entries = messages.iter().enumerate().filter_map(|(at, message)| {
            Deletion::builder().id(at.to_string()).receipt_handle(&message.handle).build().ok()
        });
        let request = self.aws.sqs.delete_message_batch().queue_url(&self.queue.url);
        let answer = request.set_entries(Some(entries.collect())).send().await;
        let failure = answer.as_ref().err().map(|error| Failure::of(DELETE_MESSAGE, error));
        self.record(None, DELETE_MESSAGE, failure.as_ref());
        if let Some(failure) = &failure {
            tracing::warn!(
                queue = self.aws.name,
                error = failure.detail,
                "messages could not be deleted and will come again"
            );
        }
        for refused in answer.iter().flat_map(DeleteMessageBatchOutput::failed) {
            let code = refused.code();
            tracing::warn!(queue = self.aws.name, code, "a message could not be deleted and will come again");
        }
        let deleted = answer.iter().flat_map(DeleteMessageBatchOutput::successful);
        deleted.filter_map(|entry| entry.id().parse().ok()).collect()
    }
}
