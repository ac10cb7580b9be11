//! The least HTTP that asks a server on loopback for a page.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// Longer than any page takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// The body of a page, or what went wrong.
pub(super) fn get(server: SocketAddr, path: &str) -> Result<String, String> {
    let problem = |error: std::io::Error| format!("GET http://{server}{path}: {error}");
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE).map_err(problem)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(problem)?;
    // HTTP/1.0: the answer is not chunked, and ends with the connection.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {server}\r\n\r\n").map_err(problem)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map_err(problem)?;
    let answer = String::from_utf8(answer).map_err(|error| format!("GET {path}: {error}"))?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| format!("GET {path}: {answer}"))?;
    let status = head.split(' ').nth(1).unwrap_or_default();
    if status == "200" { Ok(body.to_owned()) } else { Err(format!("GET {path}: {head}\n{body}")) }
}

/// The body as JSON.
pub(super) fn get_json(server: SocketAddr, path: &str) -> Result<Value, String> {
    let body = get(server, path)?;
    serde_json::from_str(&body).map_err(|error| format!("GET {path}: {error}: {body}"))
}
