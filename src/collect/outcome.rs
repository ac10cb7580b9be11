//! What came of a call: an answer, "there is none", or why it could not be read.

use std::error::Error as StdError;
use std::fmt::Display;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use super::api::Api;
use crate::model::{Gap, Observed, ReadingResult};

/// The longest `detail` that is kept of an error.
const DETAIL_CHARS: usize = 240;

/// Error codes that mean: you may not, or not here.
const DENIED: &[&str] = &[
    "AuthFailure",
    "AuthorizationError",
    "AuthorizationErrorException",
    "AWSOrganizationsNotInUseException",
    "Blocked",
    "CloudTrailAccessNotEnabledException",
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "KMSAccessDeniedException",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "NotAuthorized",
    "OperationNotPermittedException",
    "OptInRequired",
    "RegionDisabledException",
    "SignatureDoesNotMatch",
    "SubscriptionRequiredException",
    "UnauthorizedException",
    "UnauthorizedOperation",
    "UnrecognizedClientException",
];

/// Error codes that mean: the Region is not enabled in the account, so that its credentials mean nothing there.
const NOT_ENABLED: &[&str] = &[
    "AuthFailure",
    "InvalidClientTokenId",
    "OptInRequired",
    "RegionDisabledException",
    "SubscriptionRequiredException",
    "UnrecognizedClientException",
];

/// Error codes that mean: too fast. Those that the SDK retries, and those that it does not know.
const THROTTLED: &[&str] = &[
    "BandwidthLimitExceeded",
    "EC2ThrottledException",
    "LimitExceededException",
    "PriorRequestNotComplete",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "SlowDown",
    "ThrottledException",
    "Throttled",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
    "TransactionInProgressException",
];

/// What an error code and an HTTP status mean for coverage.
pub(crate) fn classify(code: Option<&str>, status: Option<u16>) -> ReadingResult {
    let is_one_of = |codes: &[&str]| code.is_some_and(|code| codes.contains(&code));
    if is_one_of(THROTTLED) || status == Some(429) {
        ReadingResult::Throttled
    } else if is_one_of(DENIED)
        || code.is_some_and(|code| code.starts_with("AccessDenied"))
        || (code.is_none() && matches!(status, Some(401 | 403)))
    {
        ReadingResult::Denied
    } else {
        ReadingResult::Unreachable
    }
}

/// A call that brought no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The call as IAM names it.
    pub(crate) api: &'static str,
    /// What kind of failure; meaningless if `absent`.
    pub(crate) result: ReadingResult,
    /// The error is an answer: there is no such thing ([`Api::absent`]).
    pub(crate) absent: bool,
    /// The Region is not enabled in the account.
    pub(crate) not_enabled: bool,
    /// The error as AWS gave it, shortened.
    pub(crate) detail: String,
}

impl Failure {
    /// What the SDK's error means for a call.
    pub(crate) fn of<E>(api: Api, error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + StdError + 'static,
    {
        let status = error.raw_response().map(|response| response.status().as_u16());
        if let Some(service_error) = error.as_service_error() {
            return Self::from_metadata(api, service_error, status);
        }
        // Credentials that could not be had: the error of the call that would have brought them counts.
        let assume_role = chain(error)
            .find_map(|cause| cause.downcast_ref::<aws_sdk_sts::operation::assume_role::AssumeRoleError>());
        match assume_role {
            Some(refusal) => Self::from_metadata(api, refusal, None),
            None => Self::unusable(api, &chain_text(error), status),
        }
    }

    /// An answer that cannot be used, or none.
    pub(crate) fn unusable(api: Api, detail: &str, status: Option<u16>) -> Self {
        let result = classify(None, status);
        Self { api: api.name, result, absent: false, not_enabled: false, detail: shorten(detail) }
    }

    pub(crate) fn from_metadata(api: Api, error: &dyn ProvideErrorMetadata, status: Option<u16>) -> Self {
        let code = error.code();
        let text = match (code, error.message()) {
            (Some(code), Some(message)) => format!("{code}: {message}"),
            (Some(only), None) | (None, Some(only)) => only.to_owned(),
            (None, None) => format!("an error without a code, HTTP status {}", status.unwrap_or_default()),
        };
        Self {
            api: api.name,
            result: classify(code, status),
            absent: code.is_some_and(|code| api.absent.contains(&code)),
            not_enabled: code.is_some_and(|code| NOT_ENABLED.contains(&code)),
            detail: shorten(&text),
        }
    }

    /// The gap that this failure leaves.
    pub(crate) fn gap(&self) -> Gap {
        Gap { api: self.api.to_owned(), result: self.result }
    }
}

/// What is known of an attribute after a call: its value, that there is none, or the gap.
pub(crate) fn observed<T>(result: Result<T, Failure>) -> Observed<T> {
    match result {
        Ok(value) => Observed::Known(value),
        Err(failure) if failure.absent => Observed::NotApplicable,
        Err(failure) => Observed::Unknown(failure.gap()),
    }
}

/// An error and its causes.
pub(crate) fn chain<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let error = next?;
        next = error.source();
        Some(error)
    })
}

/// The causes of an error in one line, each said once.
pub(crate) fn chain_text(error: &(dyn StdError + 'static)) -> String {
    let mut text = String::new();
    for cause in chain(error) {
        append_cause(&mut text, cause);
    }
    text
}

fn append_cause(text: &mut String, cause: &dyn Display) {
    let cause = cause.to_string();
    if !text.ends_with(&cause) {
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&cause);
    }
}

/// One line of at most [`DETAIL_CHARS`] characters.
fn shorten(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= DETAIL_CHARS {
        return line;
    }
    line.chars().take(DETAIL_CHARS - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use aws_smithy_types::error::ErrorMetadata;

    use super::super::api::{DESCRIBE_KEY, GET_KEY_ROTATION_STATUS, LIST_KEYS};
    use super::*;

    fn failure(api: Api, code: &str, status: u16) -> Failure {
        let error = ErrorMetadata::builder().code(code).message("no").build();
        Failure::from_metadata(api, &error, Some(status))
    }

    #[test]
    fn refusals_throttles_and_faults_are_told_apart() {
        for code in ["AccessDenied", "AccessDeniedException", "UnrecognizedClientException", "OptInRequired"]
        {
            assert_eq!(classify(Some(code), Some(400)), ReadingResult::Denied, "{code}");
        }
        for code in ["ThrottlingException", "Throttled", "TooManyRequestsException", "LimitExceededException"]
        {
            assert_eq!(classify(Some(code), Some(400)), ReadingResult::Throttled, "{code}");
        }
        assert_eq!(classify(None, Some(429)), ReadingResult::Throttled);
        assert_eq!(classify(None, Some(403)), ReadingResult::Denied);
        for (code, status) in [(Some("KMSInternalException"), 500), (None, 503), (Some("Unheard"), 400)] {
            assert_eq!(classify(code, Some(status)), ReadingResult::Unreachable, "{code:?}");
        }
        assert_eq!(classify(None, None), ReadingResult::Unreachable);
    }

    #[test]
    fn there_is_none_is_an_answer_only_where_the_call_says_so() {
        assert!(failure(GET_KEY_ROTATION_STATUS, "UnsupportedOperationException", 400).absent);
        assert!(failure(DESCRIBE_KEY, "NotFoundException", 400).absent);
        assert!(!failure(DESCRIBE_KEY, "UnsupportedOperationException", 400).absent);
        assert!(!failure(LIST_KEYS, "NotFoundException", 400).absent);
        let refused = observed::<()>(Err(failure(DESCRIBE_KEY, "AccessDeniedException", 400)));
        let gap = Gap { api: "kms:DescribeKey".to_owned(), result: ReadingResult::Denied };
        assert_eq!(refused, Observed::Unknown(gap));
    }

    #[test]
    fn a_detail_is_one_short_line() {
        let long = format!("two\n lines {}", "é".repeat(500));
        let short = shorten(&long);
        assert_eq!(short.chars().count(), DETAIL_CHARS);
        assert!(short.starts_with("two lines é") && short.ends_with('…'));
    }

    #[test]
    fn a_network_error_is_unreachable_and_tells_its_cause() {
        let io = std::io::Error::new(std::io::ErrorKind::ConnectionRefused, "connection refused");
        let error: SdkError<aws_sdk_kms::operation::list_keys::ListKeysError, HttpResponse> =
            SdkError::dispatch_failure(aws_smithy_runtime_api::client::result::ConnectorError::io(io.into()));
        let failure = Failure::of(LIST_KEYS, &error);
        assert_eq!(failure.result, ReadingResult::Unreachable);
        assert!(failure.detail.contains("connection refused"), "{}", failure.detail);
    }
}
