//! A proxy between the program and AWS that breaks some answers.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{Response, StatusCode};
use futures::stream;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What becomes of an answer.
pub(crate) enum Tampered {
    /// This body is given in its place.
    Body(String),
    /// The connection breaks in the middle of the body.
    Truncated,
}

/// What becomes of the answer to a call: from its operation, its request and the answer's body. None: it is
/// passed on as it is.
pub(crate) type Tamper = fn(operation: &str, request: &str, answer: &str) -> Option<Tampered>;

#[derive(Clone)]
struct Proxy {
    upstream: SocketAddr,
    tamper: Arc<Tamper>,
}

/// Starts the proxy in front of `upstream`; gives its URL.
pub(crate) async fn start(upstream: SocketAddr, tamper: Tamper) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let app = Router::new().fallback(pass).with_state(Proxy { upstream, tamper: Arc::new(tamper) });
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    url
}

async fn pass(State(proxy): State<Proxy>, request: Request) -> Response<Body> {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let target = head.headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
    let operation = target.rsplit('.').next().unwrap_or_default().to_owned();

    let mut message = format!("{} {} HTTP/1.1\r\nconnection: close\r\n", head.method, head.uri).into_bytes();
    for (name, value) in &head.headers {
        if name != "connection" {
            message.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
        }
    }
    message.extend(b"\r\n");
    message.extend(&body);
    let mut stream = TcpStream::connect(proxy.upstream).await.unwrap();
    stream.write_all(&message).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    answer_of(&answer, |answer| (proxy.tamper)(&operation, &String::from_utf8_lossy(&body), answer))
}

/// The answer as it was, or what became of it. The sandbox's answers give their length.
fn answer_of(answer: &[u8], tamper: impl FnOnce(&str) -> Option<Tampered>) -> Response<Body> {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap();
    let mut response = Response::builder().status(StatusCode::from_bytes(status.as_bytes()).unwrap());
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        if !["content-length", "transfer-encoding", "connection"]
            .contains(&name.to_ascii_lowercase().as_str())
        {
            response = response.header(name, value);
        }
    }
    let body = match tamper(body) {
        None => Body::from(body.to_owned()),
        Some(Tampered::Body(text)) => Body::from(text),
        Some(Tampered::Truncated) => {
            response = response.header("content-length", body.len());
            let half = Bytes::copy_from_slice(&body.as_bytes()[..body.len() / 2]);
            Body::from_stream(stream::iter([Ok(half), Err(std::io::Error::other("cut off"))]))
        }
    };
    response.body(body).unwrap()
}
