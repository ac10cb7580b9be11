//! A local AWS for tests: a closure answers the calls, and a log remembers them.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::clients::{Clients, sdk_config_for};
use crate::config::Accounts;

/// One call as it came over the wire.
#[derive(Debug, Clone)]
pub(crate) struct WireCall {
    pub(crate) operation: String,
    pub(crate) region: String,
    pub(crate) access_key: String,
    pub(crate) user_agent: String,
    pub(crate) input: Value,
}

/// What is answered.
pub(crate) type Reply = (u16, String);

impl WireCall {
    pub(crate) fn error(&self, status: u16, code: &str) -> Reply {
        if self.operation == "AssumeRole" || self.operation == "GetCallerIdentity" {
            let error = format!("<Error><Type>Sender</Type><Code>{code}</Code><Message>no</Message></Error>");
            return (status, format!("<ErrorResponse>{error}<RequestId>1</RequestId></ErrorResponse>"));
        }
        (status, json!({ "__type": code, "message": "as the test wants it" }).to_string())
    }

    pub(crate) fn unexpected(&self) -> Reply {
        (400, json!({ "__type": "UnexpectedCall", "message": self.operation }).to_string())
    }

    /// The paging token, under whichever name.
    pub(crate) fn token(&self) -> Option<&str> {
        self.input.get("NextToken").or_else(|| self.input.get("Marker")).and_then(Value::as_str)
    }

    pub(crate) fn text(&self, member: &str) -> &str {
        self.input.get(member).and_then(Value::as_str).unwrap_or_default()
    }

    /// `GetCallerIdentity` and `AssumeRole` (the assumed session's access key is `AS` and the account).
    pub(crate) fn sts(&self) -> Reply {
        let body = if self.operation == "GetCallerIdentity" {
            "<GetCallerIdentityResponse><GetCallerIdentityResult>\
             <Arn>arn:aws:iam::111122223333:root</Arn><UserId>u</UserId><Account>111122223333</Account>\
             </GetCallerIdentityResult></GetCallerIdentityResponse>"
                .to_owned()
        } else {
            let account = self.text("RoleArn").split(':').nth(4).unwrap_or_default();
            format!(
                "<AssumeRoleResponse><AssumeRoleResult><Credentials>\
                 <AccessKeyId>AS{account}</AccessKeyId><SecretAccessKey>s</SecretAccessKey>\
                 <SessionToken>t</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>\
                 <AssumedRoleUser><AssumedRoleId>a:keyward</AssumedRoleId>\
                 <Arn>arn:aws:sts::{account}:assumed-role/R/keyward</Arn></AssumedRoleUser>\
                 </AssumeRoleResult></AssumeRoleResponse>"
            )
        };
        (200, body)
    }
}

/// An answer.
pub(crate) fn ok(output: &Value) -> Reply {
    (200, output.to_string())
}

type Handler = Arc<dyn Fn(&WireCall) -> Reply + Send + Sync>;

/// A local AWS.
pub(crate) struct FakeAws {
    address: SocketAddr,
    log: Arc<Mutex<Vec<WireCall>>>,
    server: tokio::task::JoinHandle<()>,
}

impl FakeAws {
    pub(crate) async fn start(handler: impl Fn(&WireCall) -> Reply + Send + Sync + 'static) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let log: Arc<Mutex<Vec<WireCall>>> = Arc::default();
        let (handler, calls): (Handler, _) = (Arc::new(handler), Arc::clone(&log));
        let app = axum::Router::new().fallback(move |uri: Uri, headers: HeaderMap, body: Bytes| {
            let (handler, calls) = (Arc::clone(&handler), Arc::clone(&calls));
            async move { answer(&handler, &calls, &uri, &headers, &body) }
        });
        let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { address, log, server }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Clients for this AWS, with no pace.
    pub(crate) async fn clients(&self) -> Clients {
        let mut clients = self.paced_clients(&Accounts::default()).await;
        clients.hurry();
        clients.set_own(&"111122223333".parse().unwrap());
        clients
    }

    pub(crate) async fn paced_clients(&self, accounts: &Accounts) -> Clients {
        let region = "eu-central-1".parse().unwrap();
        let base = sdk_config_for(&self.endpoint(), "111122223333", "test", &region).await;
        Clients::new(base, accounts, 100)
    }

    pub(crate) fn log(&self) -> Vec<WireCall> {
        self.log.lock().unwrap().clone()
    }

    /// How often an operation was called, the SDK's retries included.
    pub(crate) fn calls(&self, operation: &str) -> usize {
        self.log().iter().filter(|call| call.operation == operation).count()
    }
}

impl Drop for FakeAws {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn answer(
    handler: &Handler,
    log: &Mutex<Vec<WireCall>>,
    uri: &Uri,
    headers: &HeaderMap,
    body: &[u8],
) -> Response {
    let call = parse(uri, headers, body);
    log.lock().unwrap().push(call.clone());
    let (status, text) = handler(&call);
    let kind = if text.starts_with('<') { "text/xml" } else { "application/x-amz-json-1.1" };
    (StatusCode::from_u16(status).unwrap(), [("content-type", kind)], text).into_response()
}

fn parse(uri: &Uri, headers: &HeaderMap, body: &[u8]) -> WireCall {
    let header =
        |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let authorization = header("authorization");
    let scope: Vec<&str> = authorization
        .split("Credential=")
        .nth(1)
        .unwrap_or_default()
        .split(',')
        .next()
        .unwrap()
        .split('/')
        .collect();
    let (operation, input) =
        if let Some(target) = header("x-amz-target").rsplit('.').next().filter(|name| !name.is_empty()) {
            (target.to_owned(), serde_json::from_slice(body).unwrap_or_default())
        } else if uri.path() == "/listRegions" {
            ("ListRegions".to_owned(), serde_json::from_slice(body).unwrap_or_default())
        } else {
            let form: std::collections::BTreeMap<String, String> =
                form_urlencoded::parse(body).into_owned().collect();
            (form.get("Action").cloned().unwrap_or_default(), json!(form))
        };
    WireCall {
        operation,
        region: (*scope.get(2).unwrap_or(&"")).to_owned(),
        access_key: (*scope.first().unwrap_or(&"")).to_owned(),
        user_agent: header("user-agent") + " " + &header("x-amz-user-agent"),
        input,
    }
}
