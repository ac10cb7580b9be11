//! What the sandbox's own tests share.

use std::net::{IpAddr, Ipv4Addr};

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_runtime_api::client::behavior_version::BehaviorVersion;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use aws_smithy_types::retry::RetryConfig;
use aws_types::SdkConfig;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::bytes::Bytes;

use super::call::{Answer, Call, Principal};
use super::clock::Clock;
use super::faults::{Effect, Fault};
use super::geography::partition_of;
use super::{Sandbox, World};
use crate::model::{AccountId, Region};

/// The account of the tests' callers.
pub(crate) fn account() -> AccountId {
    "111122223333".parse().unwrap()
}

/// Another account.
pub(crate) fn other_account() -> AccountId {
    "222233334444".parse().unwrap()
}

/// A call by the account's root without input.
pub(crate) fn call(region: &str, service: &str, operation: &str) -> Call {
    let region: Region = region.parse().unwrap();
    Call {
        account: account(),
        partition: partition_of(&region).to_owned(),
        region,
        service: service.to_owned(),
        operation: operation.to_owned(),
        principal: Principal::Root,
        access_key: None,
        input: json!({}),
        body: Bytes::new(),
        source_ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
        user_agent: "tests".to_owned(),
        request_id: "00000000-0000-4000-8000-000000000000".to_owned(),
    }
}

/// A fault for an operation, until it is cleared.
pub(crate) fn fault(service: &str, operation: &str, effect: Effect) -> Fault {
    Fault { service: Some(service.to_owned()), operation: Some(operation.to_owned()), ..Fault::every(effect) }
}

/// A world whose clock stands still.
pub(crate) fn world() -> World {
    World::new(Clock::standing("2026-11-23T12:00:00Z".parse().unwrap()))
}

/// A call by the account's root in Frankfurt.
pub(crate) fn ask(world: &mut World, action: &str, input: Value) -> Answer {
    let (service, operation) = action.split_once(':').unwrap();
    world.call(&Call { input, ..call("eu-central-1", service, operation) })
}

/// A started sandbox on a free port.
pub(crate) async fn start(world: World) -> Sandbox {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    Sandbox::start(listener, world).unwrap()
}

/// What the SDK's clients are made of: a Region, and credentials for a sandbox. No retries.
pub(crate) fn sdk(sandbox: &Sandbox, region: &str, credentials: Credentials) -> SdkConfig {
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .endpoint_url(sandbox.endpoint_url())
        .region(aws_types::region::Region::new(region.to_owned()))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .retry_config(RetryConfig::disabled())
        .build()
}

/// An account's root.
pub(crate) fn root(account: &AccountId) -> Credentials {
    Credentials::new(account.as_str(), "test", None, None, "tests")
}

/// The code of a failed call's error.
pub(crate) fn code<T, E: ProvideErrorMetadata, R>(result: Result<T, SdkError<E, R>>) -> String {
    let error = result.err().expect("an error");
    error.as_service_error().and_then(ProvideErrorMetadata::code).unwrap_or("(no code)").to_owned()
}
