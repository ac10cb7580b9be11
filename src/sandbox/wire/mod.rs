//! The sandbox's server: one port that speaks every protocol the SDKs use.
//!
//! KMS, CloudTrail, Config and Organizations come as awsJson1.1 (`X-Amz-Target`), SQS as awsJson1.0, STS and
//! SNS as AWS query (a form, answered in XML), Account Management as rest-json, S3 as rest-xml. Account, Region and service are taken from
//! the SigV4 credential scope; **the signature itself is not verified**, hence loopback only.
//!
//! `/_sandbox/…` is the sandbox's own: `health`, `calls`, `sns`, `faults`, `deliver`, `clock`.

mod answer;
mod chunked;
mod control;
mod form;
mod line;
mod request;
mod s3_answer;
mod s3_request;
mod tree;
mod xml;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::World;
use super::call::{Answer, Call};
use super::geography::partition_of;
use line::{Door, Peer};
use request::{Incoming, Protocol};

/// The largest request taken, in bytes: SNS's 1 MiB, percent-encoded.
const LARGEST_BODY: usize = 4 << 20;
/// The largest object taken, in bytes, with what its encoding adds.
const LARGEST_OBJECT: usize = 512 << 20;
/// How often a long poll looks whether the sandbox's clock was moved.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long a shutdown waits for calls in progress.
const PATIENCE: Duration = Duration::from_secs(2);

/// A running sandbox. Dropping it stops it.
#[derive(Debug)]
pub struct Sandbox {
    addr: SocketAddr,
    world: Arc<Mutex<World>>,
    stop: CancellationToken,
    task: Option<JoinHandle<io::Result<()>>>,
}

impl Sandbox {
    /// Serves a world on a listener. From here on the world's new ids differ from every other run's.
    ///
    /// # Errors
    ///
    /// If the listener is not on a loopback address: nothing here is protected.
    pub fn start(listener: TcpListener, mut world: World) -> io::Result<Self> {
        let addr = listener.local_addr()?;
        check_address(addr)?;
        world.reseed_at_random();
        let world = Arc::new(Mutex::new(world));
        let stop = CancellationToken::new();
        let app = router(Arc::clone(&world)).into_make_service_with_connect_info::<Peer>();
        let server =
            axum::serve(Door::new(listener), app).with_graceful_shutdown(stop.clone().cancelled_owned());
        let task = Some(tokio::spawn(server.into_future()));
        Ok(Self { addr, world, stop, task })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What the SDK takes as its endpoint URL.
    pub fn endpoint_url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// The world behind it.
    pub fn world(&self) -> Arc<Mutex<World>> {
        Arc::clone(&self.world)
    }

    /// Stops it: no new connections, and calls in progress have two seconds.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        lock(&self.world).sqs.stop_waiting();
        if let Some(mut task) = self.task.take()
            && tokio::time::timeout(PATIENCE, &mut task).await.is_err()
        {
            task.abort();
        }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.stop.cancel();
        lock(&self.world).sqs.stop_waiting();
    }
}

fn check_address(addr: SocketAddr) -> io::Result<()> {
    if addr.ip().is_loopback() {
        return Ok(());
    }
    let message = format!("the sandbox listens on loopback addresses only, not on {addr}");
    Err(io::Error::new(io::ErrorKind::InvalidInput, message))
}

/// What the handlers share.
type Shared = Arc<Mutex<World>>;

/// A panic in one call leaves the world as it is; the next call goes on with it.
fn lock(world: &Mutex<World>) -> MutexGuard<'_, World> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}

fn router(world: Shared) -> Router {
    Router::new()
        .route("/_sandbox/health", get(control::health))
        .route("/_sandbox/calls", get(control::calls))
        .route("/_sandbox/sns", get(control::sns))
        .route("/_sandbox/faults", get(control::faults).post(control::set_faults))
        .route("/_sandbox/deliver", post(control::deliver))
        .route("/_sandbox/clock", post(control::move_clock))
        .fallback(serve)
        .with_state(world)
}

async fn serve(
    State(world): State<Shared>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    let largest = if request::is_s3(&head) { LARGEST_OBJECT } else { LARGEST_BODY };
    let Ok(body) = to_bytes(body, largest).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let (protocol, incoming) = request::read(&head, body);
    let request_id = lock(&world).ids.uuid();
    let user_agent = request::header(&head, "user-agent").unwrap_or_default().to_owned();
    let call =
        incoming.and_then(|incoming| admit(&world, incoming, peer.addr, user_agent, request_id.clone()));
    let call = match call {
        Ok(call) => call,
        Err(error) => return answer::error(protocol, &error, &request_id),
    };
    let disturbance = lock(&world).faults.disturbance(&call);
    tokio::time::sleep(disturbance.delay).await;
    if disturbance.reset {
        peer.cut();
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let (answer, body) = answer_in_time(&world, &call).await;
    match (protocol, answer) {
        (Protocol::S3, Ok(output)) => s3_answer::output(&call, &output, body),
        (Protocol::S3, Err(error)) => s3_answer::error(&lock(&world), &call, &error),
        (_, Ok(output)) => answer::output(protocol, &call, output),
        (_, Err(error)) => answer::error(protocol, &error, &request_id),
    }
}

/// Answers a call, and gives the content that comes beside the answer; a long poll first waits for a message.
async fn answer_in_time(world: &Mutex<World>, call: &Call) -> (Answer, Bytes) {
    let deadline = tokio::time::Instant::now() + lock(world).patience(call);
    loop {
        let mut arrivals = {
            let mut world = lock(world);
            if tokio::time::Instant::now() >= deadline || !world.would_wait(call) {
                let answer = world.call(call);
                return (answer, world.s3.take_body());
            }
            world.sqs.arrivals()
        };
        let next_look = deadline.min(tokio::time::Instant::now() + LOOK_EVERY);
        tokio::select! {
            _ = arrivals.changed() => {}
            () = tokio::time::sleep_until(next_look) => {}
        }
    }
}

/// Finds out who calls.
fn admit(
    world: &Mutex<World>,
    incoming: Incoming,
    peer: SocketAddr,
    user_agent: String,
    request_id: String,
) -> Result<Call, super::call::ApiError> {
    let Incoming { access_key, token, region, service, operation, input, body } = incoming;
    let world = lock(world);
    let (account, principal) = world
        .identity
        .authenticate(&access_key, token.as_deref(), world.now())
        .map_err(|error| request::refused(&service, error))?;
    Ok(Call {
        account,
        partition: partition_of(&region).to_owned(),
        region,
        service,
        operation,
        principal,
        access_key: Some(access_key),
        input,
        body,
        source_ip: peer.ip(),
        user_agent,
        request_id,
    })
}

#[cfg(test)]
mod tests;
