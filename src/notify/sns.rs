//! Publishing to Amazon SNS.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use aws_sdk_sns::Client;
use aws_sdk_sns::config::retry::RetryConfig;
use aws_sdk_sns::config::timeout::TimeoutConfig;
use aws_sdk_sns::config::{Builder, Region};
use aws_sdk_sns::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sns::operation::publish::PublishError as SnsError;
use aws_sdk_sns::types::MessageAttributeValue;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_types::SdkConfig;

use super::message::envelope;
use super::{Failure, PublishError, Publisher};
use crate::findings::hash_of;
use crate::model::OutboxRow;

/// How much of an error is kept.
const MAX_ERROR: usize = 500;

/// SNS error codes after which another attempt at the same topic cannot help. With those that begin with `KMS`
/// the topic's own key cannot be used, which may well be a key under audit.
const PERMANENT: [&str; 15] = [
    "AccessDenied",
    "AuthorizationError",
    "EndpointDisabled",
    "InvalidParameter",
    "InvalidParameterValue",
    "InvalidSecurity",
    "KMSAccessDenied",
    "KMSDisabled",
    "KMSInvalidState",
    "KMSNotFound",
    "KMSOptInRequired",
    "NotFound",
    "ParameterValueInvalid",
    "PlatformApplicationDisabled",
    "Validation",
];

/// Publishes to SNS, with one client for each topic's Region: SNS takes messages in the topic's Region only.
#[derive(Debug)]
pub struct SnsPublisher {
    config: SdkConfig,
    clients: Mutex<BTreeMap<String, Client>>,
}

impl SnsPublisher {
    /// Credentials, endpoints and the HTTP client come from `config`; its Region does not matter.
    pub fn new(config: SdkConfig) -> Self {
        Self { config, clients: Mutex::default() }
    }

    fn client(&self, region: &str) -> Client {
        // A thread that panicked with the lock held left the map whole.
        let mut clients = self.clients.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        clients.entry(region.to_owned()).or_insert_with(|| self.new_client(region)).clone()
    }

    /// The outbox retries, with its own backoff and in order; the SDK's retries would hold up its claim.
    fn new_client(&self, region: &str) -> Client {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(Duration::from_secs(3))
            .operation_timeout(Duration::from_secs(8))
            .build();
        let config = Builder::from(&self.config)
            .region(Region::new(region.to_owned()))
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts)
            .build();
        Client::from_conf(config)
    }
}

impl Publisher for SnsPublisher {
    async fn publish(&self, topic: &str, row: &OutboxRow) -> Result<String, PublishError> {
        let region = region_of(topic).ok_or_else(|| PublishError {
            failure: Failure::Permanent,
            message: format!("`{topic}` is not the ARN of an SNS topic"),
        })?;
        let mut request = self
            .client(region)
            .publish()
            .topic_arn(topic)
            .subject(&row.subject)
            .message_structure("json")
            .message(envelope(row));
        for (name, value) in &row.attributes {
            request = request.message_attributes(name, attribute(value)?);
        }
        if is_fifo(topic) {
            request = request.message_group_id(group_of(row)).message_deduplication_id(&row.id);
        }
        let published = request.send().await.map_err(|error| explain(&error))?;
        Ok(published.message_id.unwrap_or_default())
    }
}

fn attribute(value: &str) -> Result<MessageAttributeValue, PublishError> {
    MessageAttributeValue::builder().data_type("String").string_value(value).build().map_err(|error| {
        PublishError {
            failure: Failure::Permanent,
            message: format!("a message attribute is not valid: {error}"),
        }
    })
}

/// The Region of a topic's ARN: `arn:PARTITION:sns:REGION:ACCOUNT:NAME`.
fn region_of(topic: &str) -> Option<&str> {
    let mut parts = topic.split(':');
    let is_topic = parts.next() == Some("arn") && parts.nth(1) == Some("sns");
    parts.next().filter(|region| is_topic && !region.is_empty())
}

fn is_fifo(topic: &str) -> bool {
    topic.rsplit_once('.').is_some_and(|(_, suffix)| suffix == "fifo")
}

/// Messages about one thing keep their order. A group's name may be 128 characters long and has no `/`.
fn group_of(row: &OutboxRow) -> String {
    row.finding.clone().unwrap_or_else(|| hash_of([row.about().as_str()]))
}

fn explain(error: &SdkError<SnsError, HttpResponse>) -> PublishError {
    let status = error.raw_response().map(|response| response.status().as_u16());
    let failure = classify(error.code(), status);
    let words = match (error.code(), error.message()) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => code.to_owned(),
        _ => chain(error),
    };
    PublishError { failure, message: words.chars().take(MAX_ERROR).collect() }
}

/// The error and its causes: the SDK's own texts are as short as "dispatch failure".
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// What SNS refuses for good. The SDK does not know SNS's `Throttled`, and everything that is not known for sure
/// to be final (429, 5xx, expired credentials, the network) is worth another attempt: an alert must not be lost
/// for an error that passes.
fn classify(code: Option<&str>, status: Option<u16>) -> Failure {
    let passes = status.is_some_and(|status| status == 429 || status >= 500);
    let is_final =
        code.is_some_and(|code| PERMANENT.contains(&code.strip_suffix("Exception").unwrap_or(code)));
    if is_final && !passes { Failure::Permanent } else { Failure::Transient }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use aws_credential_types::Credentials;
    use aws_credential_types::provider::SharedCredentialsProvider;
    use aws_sdk_sns::config::BehaviorVersion;
    use axum::extract::State;
    use axum::http::StatusCode;

    use super::*;

    const OK: &str = r#"<PublishResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><PublishResult>
        <MessageId>id-1</MessageId></PublishResult></PublishResponse>"#;

    type Calls = Arc<Mutex<Vec<BTreeMap<String, String>>>>;

    /// An SNS that gives one answer to everything and keeps what it was asked.
    async fn sns(status: u16, body: &str) -> (SnsPublisher, Calls) {
        let calls = Calls::default();
        let answer = (StatusCode::from_u16(status).unwrap(), body.to_owned());
        let handler = move |State(calls): State<Calls>, form: String| async move {
            let form = form_urlencoded::parse(form.as_bytes()).into_owned().collect();
            calls.lock().unwrap().push(form);
            answer
        };
        let app = axum::Router::new().fallback(handler).with_state(Arc::clone(&calls));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        (publisher_at(&endpoint), calls)
    }

    fn publisher_at(endpoint: &str) -> SnsPublisher {
        let credentials = Credentials::new("111122223333", "test", None, None, "test");
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .endpoint_url(endpoint)
            .build();
        SnsPublisher::new(config)
    }

    fn row() -> OutboxRow {
        OutboxRow {
            id: "row-1".to_owned(),
            topic: "arn:aws:sns:eu-west-1:111122223333:alerts".to_owned(),
            fallback: None,
            finding: Some("finding-1".to_owned()),
            reason: "opened".to_owned(),
            subject: "[high] New: Ein Schlüssel".to_owned(),
            document: r#"{"schema":"keyward.alert/v1"}"#.to_owned(),
            text: "a text".to_owned(),
            attributes: [("level".to_owned(), "high".to_owned())].into(),
        }
    }

    #[tokio::test]
    async fn a_message_is_published_with_all_its_forms() {
        let (publisher, calls) = sns(200, OK).await;
        assert_eq!(publisher.publish(&row().topic, &row()).await.unwrap(), "id-1");
        let call = calls.lock().unwrap().pop().unwrap();
        for (name, expected) in [
            ("Action", "Publish"),
            ("TopicArn", "arn:aws:sns:eu-west-1:111122223333:alerts"),
            ("Subject", "[high] New: Ein Schlüssel"),
            ("MessageStructure", "json"),
            ("MessageAttributes.entry.1.Name", "level"),
            ("MessageAttributes.entry.1.Value.DataType", "String"),
            ("MessageAttributes.entry.1.Value.StringValue", "high"),
        ] {
            assert_eq!(call.get(name).map(String::as_str), Some(expected), "{name} in {call:?}");
        }
        let message: serde_json::Value = serde_json::from_str(&call["Message"]).unwrap();
        assert_eq!(message["default"], row().document);
        assert_eq!(message["email"], "a text");
        assert_eq!(message["sms"], "[high] New: Ein Schlüssel");
        assert!(!call.contains_key("MessageGroupId"), "standard topics know no groups");
    }

    #[tokio::test]
    async fn a_fifo_topic_gets_the_group_and_the_deduplication_id() {
        let (publisher, calls) = sns(200, OK).await;
        let topic = "arn:aws:sns:eu-west-1:111122223333:alerts.fifo";
        publisher.publish(topic, &row()).await.unwrap();
        publisher.publish(topic, &OutboxRow { finding: None, ..row() }).await.unwrap();
        let calls = calls.lock().unwrap();
        assert_eq!(calls[0]["MessageGroupId"], "finding-1");
        assert_eq!(calls[0]["MessageDeduplicationId"], "row-1");
        assert_eq!(calls[1]["MessageGroupId"].len(), 32, "what concerns the audit has a group of its own");
    }

    #[tokio::test]
    async fn what_sns_says_is_classified_and_told_and_asked_once() {
        for (status, code, expected) in [
            (429, "Throttled", Failure::Transient),
            (400, "Throttling", Failure::Transient),
            (400, "KMSThrottling", Failure::Transient),
            (500, "InternalError", Failure::Transient),
            (503, "ServiceUnavailable", Failure::Transient),
            (403, "ExpiredToken", Failure::Transient),
            (400, "KMSDisabled", Failure::Permanent),
            (400, "KMSAccessDenied", Failure::Permanent),
            (400, "KMSInvalidState", Failure::Permanent),
            (404, "NotFound", Failure::Permanent),
            (403, "AuthorizationError", Failure::Permanent),
            (400, "InvalidParameter", Failure::Permanent),
        ] {
            let body = format!(
                "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>so it is</Message></Error>\
                 <RequestId>r</RequestId></ErrorResponse>"
            );
            let (publisher, calls) = sns(status, &body).await;
            let error = publisher.publish(&row().topic, &row()).await.unwrap_err();
            assert_eq!((error.failure, error.message.as_str()), (expected, &*format!("{code}: so it is")));
            assert_eq!(calls.lock().unwrap().len(), 1, "the SDK does not retry {code}");
        }
    }

    #[tokio::test]
    async fn no_answer_and_no_sense_are_worth_another_attempt() {
        let error = publisher_at("http://127.0.0.1:1").publish(&row().topic, &row()).await.unwrap_err();
        assert_eq!(error.failure, Failure::Transient);
        assert!(error.message.len() > "dispatch failure".len(), "{}", error.message);
        let (publisher, _calls) = sns(502, "<html>bad gateway</html>").await;
        assert_eq!(publisher.publish(&row().topic, &row()).await.unwrap_err().failure, Failure::Transient);
    }

    #[tokio::test]
    async fn what_is_no_topic_is_refused() {
        for topic in ["", "alerts", "arn:aws:sqs:eu-west-1:111122223333:queue", "arn:aws:sns::1:x"] {
            let error = publisher_at("http://127.0.0.1:1").publish(topic, &row()).await.unwrap_err();
            assert_eq!(error.failure, Failure::Permanent, "{topic}");
        }
        assert_eq!(region_of("arn:aws-eusc:sns:eusc-de-east-1:111122223333:t"), Some("eusc-de-east-1"));
    }

    #[test]
    fn names_with_and_without_their_suffix_are_the_same() {
        assert_eq!(classify(Some("NotFoundException"), Some(404)), Failure::Permanent);
        assert_eq!(classify(Some("ValidationException"), Some(400)), Failure::Permanent);
        assert_eq!(classify(Some("NotFound"), Some(503)), Failure::Transient);
        assert_eq!(classify(None, Some(400)), Failure::Transient);
        assert_eq!(classify(None, None), Failure::Transient);
    }
}
