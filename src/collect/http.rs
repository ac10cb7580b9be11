//! The HTTP layer that all clients share, and the wait for a turn before every retry.

use std::fmt;
use std::sync::{Arc, OnceLock};

use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::{Connector, tls};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;

use super::pace::Paces;

/// One pool of connections for every client of the process: the SDK would otherwise make one a client, and
/// with them one set of root certificates each. Proxy variables of the environment count, as they do in
/// the SDK's own client.
pub(crate) fn shared_client() -> SharedHttpClient {
    let connector: OnceLock<SharedHttpConnector> = OnceLock::new();
    http_client_fn(move |settings, components| {
        connector.get_or_init(|| build_connector(settings, components)).clone()
    })
}

fn build_connector(settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
    let mut builder = Connector::builder()
        .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::AwsLc))
        .connector_settings(settings.clone())
        .proxy_config(ProxyConfig::from_env());
    builder.set_sleep_impl(components.sleep_impl());
    SharedHttpConnector::new(builder.build())
}

/// Wraps the shared client for one account and Region: a request that is a retry waits for a turn.
pub(crate) fn paced_client(inner: SharedHttpClient, paces: Arc<Paces>) -> SharedHttpClient {
    SharedHttpClient::new(PacedClient { inner, paces })
}

struct PacedClient {
    inner: SharedHttpClient,
    paces: Arc<Paces>,
}

impl fmt::Debug for PacedClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PacedClient")
    }
}

impl HttpClient for PacedClient {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let inner = self.inner.http_connector(settings, components);
        SharedHttpConnector::new(PacedConnector { inner, paces: Arc::clone(&self.paces) })
    }
}

#[derive(Debug)]
struct PacedConnector {
    inner: SharedHttpConnector,
    paces: Arc<Paces>,
}

impl HttpConnector for PacedConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        if !is_retry(&request) {
            return self.inner.call(request);
        }
        let (inner, paces) = (self.inner.clone(), Arc::clone(&self.paces));
        HttpConnectorFuture::new(async move {
            if let Some(operation) = operation(&request) {
                paces.another_turn(operation).await;
            }
            inner.call(request).await
        })
    }
}

/// Whether the SDK sends a request for the second time or more (`amz-sdk-request: attempt=2; max=3`).
fn is_retry(request: &HttpRequest) -> bool {
    request.headers().get("amz-sdk-request").is_some_and(|info| {
        let attempt = info.split("; ").find_map(|pair| pair.strip_prefix("attempt="));
        attempt.and_then(|attempt| attempt.parse::<u32>().ok()).is_some_and(|attempt| attempt > 1)
    })
}

/// The operation of a JSON protocol (`x-amz-target: TrentService.ListKeys`); all paced services speak one.
fn operation(request: &HttpRequest) -> Option<&str> {
    request.headers().get("x-amz-target")?.rsplit('.').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retry_is_told_from_a_first_attempt() {
        let mut request = HttpRequest::empty();
        assert!(!is_retry(&request));
        request.headers_mut().insert("amz-sdk-request", "attempt=1; max=3");
        request.headers_mut().insert("x-amz-target", "TrentService.ListKeys");
        assert!(!is_retry(&request));
        assert_eq!(operation(&request), Some("ListKeys"));
        request.headers_mut().insert("amz-sdk-request", "ttl=20261123T190000Z; attempt=2; max=3");
        assert!(is_retry(&request));
    }
}
