//! Counts every request that leaves the process, retries included.

use std::sync::Arc;

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::FinalizerInterceptorContextRef;
use aws_smithy_runtime_api::client::interceptors::{Intercept, dyn_dispatch_hint};
use aws_smithy_runtime_api::client::orchestrator::{HttpResponse, Metadata};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;

use super::outcome::classify;
use super::readings::RequestCounts;
use crate::model::ReadingResult;

/// An interceptor that counts attempts by service, operation and result.
#[derive(Debug)]
pub(crate) struct CountRequests(Arc<RequestCounts>);

impl CountRequests {
    pub(crate) fn new(counts: Arc<RequestCounts>) -> Self {
        Self(counts)
    }
}

#[dyn_dispatch_hint]
impl Intercept for CountRequests {
    fn name(&self) -> &'static str {
        "CountRequests"
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let result = match context.output_or_error() {
            Some(Ok(_)) => ReadingResult::Ok,
            Some(Err(_)) | None => context.response().map_or(ReadingResult::Unreachable, classify_response),
        };
        if let Some(operation) = bag.load::<Metadata>() {
            self.0.count(&prefix_of(operation.service()), operation.name(), result);
        }
        Ok(())
    }
}

/// The name of a service as in IAM, from the SDK's name for it (`KMS`, `Config Service`).
fn prefix_of(service_id: &str) -> String {
    service_id.split(' ').next().unwrap_or(service_id).to_ascii_lowercase()
}

/// What a response that is an error means. The typed error is erased here, so its code is read again.
fn classify_response(response: &HttpResponse) -> ReadingResult {
    let status = Some(response.status().as_u16());
    let header = response.headers().get("x-amzn-errortype").map(str::to_owned);
    let code = header.or_else(|| response.body().bytes().and_then(error_code));
    classify(code.as_deref().map(plain_code), status)
}

/// The error code of a JSON body (`__type`) or of an XML one (`<Code>`).
fn error_code(body: &[u8]) -> Option<String> {
    if let Ok(json) = serde_json::from_slice::<serde_json::Value>(body) {
        return json.get("__type").or_else(|| json.get("code"))?.as_str().map(str::to_owned);
    }
    let text = std::str::from_utf8(body).ok()?;
    Some(text.split_once("<Code>")?.1.split_once("</Code>")?.0.to_owned())
}

/// A code without its namespace (`com.amazonaws.kms#NotFoundException`) and without the link that may follow.
fn plain_code(code: &str) -> &str {
    let code = code.rsplit_once('#').map_or(code, |(_, code)| code);
    code.split_once(':').map_or(code, |(code, _)| code)
}

#[cfg(test)]
mod tests {
    use aws_smithy_types::body::SdkBody;

    use super::*;

    fn response(status: u16, body: &str) -> HttpResponse {
        HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body))
    }

    #[test]
    fn an_error_is_read_from_the_header_or_from_either_kind_of_body() {
        let json = response(400, r#"{"__type":"com.amazonaws.kms#ThrottlingException"}"#);
        assert_eq!(classify_response(&json), ReadingResult::Throttled);
        let xml = "<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>";
        assert_eq!(classify_response(&response(403, xml)), ReadingResult::Denied);
        let mut named = response(400, "");
        named.headers_mut().insert("x-amzn-errortype", "AccessDeniedException:http://internal/");
        assert_eq!(classify_response(&named), ReadingResult::Denied);
        assert_eq!(classify_response(&response(503, "<html>")), ReadingResult::Unreachable);
    }
}
