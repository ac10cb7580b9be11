//! STS as the SDK sees it.

use aws_credential_types::Credentials;
use aws_sdk_sts::Client;
use chrono::TimeDelta;

use super::*;
use crate::sandbox::testing::{account, code, other_account, root, sdk, start, world};
use crate::sandbox::{Sandbox, World};

const ROLE: &str = "arn:aws:iam::222233334444:role/KeywardReader";

/// The other account has a role that the tests' account may assume with an external id.
fn world_with_role() -> World {
    let mut world = world();
    let role = Role {
        external_id: Some("keyward-demo".to_owned()),
        permissions: Permissions::all_but(&["kms:GetKeyPolicy"]),
        ..Role::new("KeywardReader", &account())
    };
    world.identity.put_role(&other_account(), role);
    world
}

fn client(sandbox: &Sandbox, credentials: Credentials) -> Client {
    Client::new(&sdk(sandbox, "eu-central-1", credentials))
}

async fn session(sandbox: &Sandbox) -> Credentials {
    let answer = client(sandbox, root(&account()))
        .assume_role()
        .role_arn(ROLE)
        .role_session_name("keyward")
        .external_id("keyward-demo")
        .send()
        .await
        .unwrap();
    let given = answer.credentials.unwrap();
    Credentials::new(given.access_key_id, given.secret_access_key, Some(given.session_token), None, "tests")
}

#[tokio::test]
async fn a_session_acts_as_its_role_in_its_account() {
    let sandbox = start(world_with_role()).await;
    let credentials = session(&sandbox).await;
    assert!(credentials.access_key_id().starts_with("ASIA"));
    let identity = client(&sandbox, credentials.clone()).get_caller_identity().send().await.unwrap();
    assert_eq!(identity.account(), Some("222233334444"));
    assert_eq!(identity.arn(), Some("arn:aws:sts::222233334444:assumed-role/KeywardReader/keyward"));
    assert!(identity.user_id().unwrap().starts_with("AROA"));
    let kms = aws_sdk_kms::Client::new(&sdk(&sandbox, "eu-central-1", credentials));
    assert_eq!(code(kms.get_key_policy().key_id("any").send().await), "AccessDeniedException");
}

#[tokio::test]
async fn a_session_ends_and_needs_its_token() {
    let sandbox = start(world_with_role()).await;
    let credentials = session(&sandbox).await;
    let id = credentials.access_key_id().to_owned();
    let without_token = Credentials::new(id, "any", None, None, "tests");
    let result = client(&sandbox, without_token).get_caller_identity().send().await;
    assert_eq!(code(result), "InvalidClientTokenId");

    sandbox.world().lock().unwrap().clock.advance(TimeDelta::seconds(3600));
    let result = client(&sandbox, credentials.clone()).get_caller_identity().send().await;
    assert_eq!(code(result), "ExpiredToken");
    let kms = aws_sdk_kms::Client::new(&sdk(&sandbox, "eu-central-1", credentials));
    assert_eq!(code(kms.list_keys().send().await), "ExpiredTokenException");
}

#[tokio::test]
async fn a_role_is_not_assumed_by_whom_it_does_not_trust() {
    let sandbox = start(world_with_role()).await;
    let assume = async |caller: &AccountId, role: &str, external_id: Option<&str>| {
        let request = client(&sandbox, root(caller)).assume_role().role_arn(role);
        let request = request.role_session_name("keyward").set_external_id(external_id.map(str::to_owned));
        code(request.send().await)
    };
    let right = Some("keyward-demo");
    let elsewhere = "arn:aws:iam::222233334444:role/Nobody";
    let in_china = "arn:aws-cn:iam::222233334444:role/KeywardReader";
    for (caller, role, external_id) in [
        (account(), ROLE, None),
        (account(), ROLE, Some("wrong")),
        (account(), elsewhere, right),
        (account(), in_china, right),
        (other_account(), ROLE, right),
    ] {
        assert_eq!(assume(&caller, role, external_id).await, "AccessDenied", "{caller} {role}");
    }
}

#[tokio::test]
async fn names_and_lengths_of_sessions_are_checked() {
    let sandbox = start(world_with_role()).await;
    let sts = client(&sandbox, root(&account()));
    let assume = |name: &str, seconds: i32| {
        let request = sts.assume_role().role_arn(ROLE).role_session_name(name).duration_seconds(seconds);
        request.external_id("keyward-demo").send()
    };
    assert!(assume("keyward", 900).await.is_ok());
    for (name, seconds) in
        [("k", 900), ("key ward", 900), ("keyward", 899), ("keyward", 3601), ("keyward", 43_201)]
    {
        assert_eq!(code(assume(name, seconds).await), "ValidationError", "{name} {seconds}");
    }
}

#[tokio::test]
async fn a_session_from_a_session_lasts_an_hour_at_most() {
    let mut world = world_with_role();
    let role = Role { max_session_secs: 43_200, ..Role::new("Second", &other_account()) };
    world.identity.put_role(&account(), role);
    let sandbox = start(world).await;
    let sts = client(&sandbox, session(&sandbox).await);
    let assume = |seconds: i32| {
        let request = sts.assume_role().role_arn("arn:aws:iam::111122223333:role/Second");
        request.role_session_name("chained").duration_seconds(seconds).send()
    };
    assert_eq!(code(assume(7200).await), "ValidationError");
    assert!(assume(3600).await.is_ok());
}

#[test]
fn whom_nobody_seeded_may_do_everything() {
    let state = State::default();
    let call = Call {
        principal: Principal::User { name: "nobody".to_owned() },
        ..crate::sandbox::testing::call("eu-west-1", "kms", "ListKeys")
    };
    assert_eq!(state.decision(&call), Decision::Allowed);
}
