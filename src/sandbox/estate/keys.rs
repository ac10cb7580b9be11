//! The keys of the estate.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value, json};

use super::services::act_in_the_past;
use super::{
    ACCOUNTS, ANALYTICS, APAC, CLASSIFICATION_TAG, CUSTOMERS, EstateError, MANAGEMENT, NAMELESS, PAYMENTS,
    account, policies, region,
};
use crate::model::Region;
use crate::sandbox::World;
use crate::sandbox::kms::Origin;
use crate::sandbox::kms::seed::{GrantSeed, KeySeed, MemberSeed};

/// What kind of key it is.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// Symmetric, rotated every so many days.
    Rotating(i64),
    /// Symmetric, and nobody turned rotation on.
    Unrotated,
    /// Of this spec and, where the spec leaves a choice, this usage.
    Of(&'static str, Option<&'static str>),
    /// With imported material, rotated on demand so many days ago, that expires in so many days if at all.
    Imported(i64, Option<i64>),
    /// In the CloudHSM key store.
    CloudHsm,
    /// In the external key store.
    External,
}

use Kind::{CloudHsm, External, Imported, Of, Rotating, Unrotated};

/// One key set.
#[derive(Debug)]
struct Row {
    account: &'static str,
    region: &'static str,
    name: &'static str,
    class: &'static str,
    kind: Kind,
    /// Where its replicas are.
    replicas: &'static [&'static str],
}

const fn row(
    account: &'static str,
    region: &'static str,
    name: &'static str,
    class: &'static str,
    kind: Kind,
    replicas: &'static [&'static str],
) -> Row {
    Row { account, region, name, class, kind, replicas }
}

const EU: &str = "personal-eu";
const SHARED: &str = "personal-eu-shared";
const SG: &str = "personal-sg";
const INTERNAL: &str = "internal";

const SIGN: Option<&str> = Some("SIGN_VERIFY");

/// The key sets by account, multi-Region ones first.
const ROWS: &[Row] = &[
    // Payments.
    row(PAYMENTS, "eu-central-1", "payments-ledger", EU, Rotating(365), &["eu-north-1", "eu-west-1"]),
    row(PAYMENTS, "eu-west-1", "card-tokens", EU, Rotating(180), &["eu-central-1"]),
    row(PAYMENTS, "eu-central-1", "webhook-hmac", EU, Of("HMAC_256", None), &["eu-north-1"]),
    row(PAYMENTS, "eu-central-1", "acquirer-link", EU, Imported(120, Some(300)), &["eu-west-1"]),
    row(PAYMENTS, "eu-central-1", "settlement-files", EU, Rotating(365), &[]),
    row(PAYMENTS, "eu-central-1", "pin-translation", EU, CloudHsm, &[]),
    row(PAYMENTS, "eu-central-1", "receipt-signing", INTERNAL, Of("ECC_NIST_P256", SIGN), &[]),
    row(PAYMENTS, "eu-central-1", "statement-signing", INTERNAL, Of("ML_DSA_65", None), &[]),
    row(PAYMENTS, "eu-west-1", "dispute-archive", EU, Rotating(365), &[]),
    row(PAYMENTS, "eu-west-1", "fraud-scores", EU, Rotating(90), &[]),
    row(PAYMENTS, "eu-north-1", "backup-vault", EU, Rotating(365), &[]),
    row(PAYMENTS, "eu-west-2", "uk-open-banking", SHARED, Rotating(365), &[]),
    row(PAYMENTS, "us-east-1", "billing-exports", INTERNAL, Rotating(730), &[]),
    row(PAYMENTS, "us-east-1", "edge-signing", INTERNAL, Of("RSA_2048", SIGN), &[]),
    // Customer data.
    row(CUSTOMERS, "eu-central-1", "customer-profile", EU, Rotating(365), &["eu-west-1"]),
    row(CUSTOMERS, "eu-north-1", "customer-documents", EU, Rotating(365), &["eu-central-1"]),
    row(CUSTOMERS, "eu-west-1", "loyalty", SHARED, Rotating(365), &["eu-west-2"]),
    row(CUSTOMERS, "eu-central-1", "consent-log", EU, Rotating(365), &[]),
    row(CUSTOMERS, "eu-central-1", "support-tickets", EU, Rotating(270), &[]),
    row(CUSTOMERS, "eu-central-1", "identity-documents", EU, External, &[]),
    row(CUSTOMERS, "eu-central-1", "e-mail-tokens", EU, Of("HMAC_384", None), &[]),
    row(CUSTOMERS, "eu-west-1", "marketing-segments", EU, Rotating(365), &[]),
    row(CUSTOMERS, "eu-west-1", "data-exchange", EU, Of("RSA_4096", Some("ENCRYPT_DECRYPT")), &[]),
    row(CUSTOMERS, "eu-north-1", "hr-vault", EU, Rotating(365), &[]),
    row(CUSTOMERS, "eu-north-1", "call-recordings", EU, Rotating(365), &[]),
    row(CUSTOMERS, "eu-west-2", "uk-customers", SHARED, Rotating(365), &[]),
    row(CUSTOMERS, "sa-east-1", "br-customers", SHARED, Rotating(365), &[]),
    row(CUSTOMERS, "sa-east-1", "br-backups", SHARED, Rotating(365), &[]),
    // Analytics.
    row(ANALYTICS, "us-east-1", "analytics-lake", INTERNAL, Rotating(365), &["us-west-2"]),
    row(ANALYTICS, "us-west-2", "model-signing", INTERNAL, Of("ECC_NIST_P384", SIGN), &["us-east-1"]),
    row(ANALYTICS, "us-east-1", "legacy-reports", INTERNAL, Unrotated, &[]),
    row(ANALYTICS, "us-east-1", "event-stream", INTERNAL, Rotating(365), &[]),
    row(ANALYTICS, "us-east-1", "notebooks", INTERNAL, Rotating(365), &[]),
    row(ANALYTICS, "us-west-2", "analytics-archive", INTERNAL, Rotating(365), &[]),
    row(ANALYTICS, "us-west-2", "feature-store", INTERNAL, Rotating(200), &[]),
    row(
        ANALYTICS,
        "us-west-2",
        "partner-key-agreement",
        INTERNAL,
        Of("ECC_NIST_P521", Some("KEY_AGREEMENT")),
        &[],
    ),
    row(ANALYTICS, "eu-west-1", "eu-aggregates", EU, Rotating(365), &[]),
    row(ANALYTICS, "eu-west-1", "post-quantum-trial", INTERNAL, Of("ML_KEM_768", None), &[]),
    row(ANALYTICS, "sa-east-1", "br-aggregates", INTERNAL, Rotating(365), &[]),
    row(ANALYTICS, "af-south-1", "za-aggregates", INTERNAL, Rotating(365), &[]),
    // Asia and the Pacific.
    row(APAC, "ap-southeast-1", "sg-accounts", SG, Rotating(365), &[]),
    row(APAC, "ap-southeast-1", "sg-documents", SG, Rotating(365), &[]),
    row(APAC, "ap-southeast-1", "sg-session-mac", SG, Of("HMAC_512", None), &[]),
    row(APAC, "ap-southeast-1", "partner-import", SG, Imported(90, Some(12)), &[]),
    row(APAC, "ap-southeast-1", "sg-signing", INTERNAL, Of("RSA_3072", SIGN), &[]),
    row(APAC, "ap-northeast-1", "jp-accounts", SHARED, Rotating(365), &[]),
    row(APAC, "ap-northeast-1", "jp-documents", SHARED, Rotating(365), &[]),
    row(APAC, "ap-northeast-1", "partner-exchange", INTERNAL, Rotating(365), &[]),
    row(APAC, "ap-northeast-1", "jp-blockchain", INTERNAL, Of("ECC_SECG_P256K1", SIGN), &[]),
    row(APAC, "af-south-1", "za-support", INTERNAL, Rotating(365), &[]),
    // Management.
    row(MANAGEMENT, "eu-central-1", "trail-logs", INTERNAL, Rotating(365), &[]),
    row(MANAGEMENT, "eu-central-1", "terraform-state", INTERNAL, Rotating(365), &[]),
    row(MANAGEMENT, "eu-central-1", "release-signing", INTERNAL, Of("ECC_NIST_EDWARDS25519", SIGN), &[]),
    row(MANAGEMENT, "us-east-1", "edge-config", INTERNAL, Rotating(365), &[]),
    row(MANAGEMENT, "eu-north-1", "disaster-recovery", INTERNAL, Imported(60, None), &[]),
];

/// The AWS managed keys that every account has in the Regions it works in most.
const AWS_MANAGED: &[(&str, &str)] =
    &[("eu-central-1", "ebs"), ("eu-central-1", "s3"), ("eu-west-1", "rds"), ("us-east-1", "s3")];

pub(super) fn build(world: &mut World) -> Result<(), EstateError> {
    let now = world.now();
    let cloud_hsm = build_cloud_hsm(world)?;
    let external = build_external(world)?;
    for (number, row) in (0_i64..).zip(ROWS) {
        let store = match row.kind {
            CloudHsm => Some(cloud_hsm.as_str()),
            External => Some(external.as_str()),
            _ => None,
        };
        world.kms.plant(&seed(row, number, store, now)?)?;
    }
    let nameless = member(PAYMENTS, INTERNAL, None, None);
    let (payments, ireland) = (account(PAYMENTS)?, region("eu-west-1")?);
    let created = now - TimeDelta::days(610);
    let nameless = with_rotation(KeySeed::new(&payments, &ireland, created).id(NAMELESS), 610, 365, now)
        .member(nameless.description("made by a script for a trial"));
    world.kms.plant(&nameless)?;
    for (id, _) in ACCOUNTS {
        for (at, service) in AWS_MANAGED {
            let created = now - TimeDelta::days(800);
            world.kms.plant(&KeySeed::new(&account(id)?, &region(at)?, created).aws_managed(service))?;
        }
    }
    Ok(())
}

/// The key set of a row. The number spreads ages and last uses.
fn seed(row: &Row, number: i64, store: Option<&str>, now: DateTime<Utc>) -> Result<KeySeed, EstateError> {
    let age = 150 + (number * 37) % 600;
    let (owner, home) = (account(row.account)?, region(row.region)?);
    let base = KeySeed::new(&owner, &home, now - TimeDelta::days(age));
    let mut seed = match row.kind {
        Rotating(period) => with_rotation(base, age, period, now),
        Unrotated => base,
        Of(spec, usage) => base.spec(spec, usage),
        Imported(days_ago, _) => base.origin(Origin::External).rotated(now - TimeDelta::days(days_ago), true),
        CloudHsm => base.origin(Origin::AwsCloudHsm),
        External => base.origin(Origin::ExternalKeyStore),
    };
    let used = now - TimeDelta::minutes(20 + number * 7);
    let own = |last_use: Option<DateTime<Utc>>| {
        let member = member(row.account, row.class, Some(row), last_use);
        let expires = if let Imported(_, days) = row.kind { days } else { None };
        match (expires, store) {
            (Some(days), _) => member.material_expires(now + TimeDelta::days(days)),
            (None, Some(store)) => member.custom_store(store),
            (None, None) => member,
        }
    };
    seed = seed.member(own(Some(used)));
    for name in row.replicas {
        let replica: Region = region(name)?;
        seed = seed.replica(&replica, own(None).created(now - TimeDelta::days(age - 10)));
    }
    Ok(seed)
}

/// Turns automatic rotation on from the creation, with the rotations that there have been since.
fn with_rotation(seed: KeySeed, age: i64, period: i64, now: DateTime<Utc>) -> KeySeed {
    let rotations = (1..=age / period).map(|turn| now - TimeDelta::days(age - turn * period));
    rotations.fold(seed, |seed, at| seed.rotated(at, false)).rotation(period)
}

/// What a member of the set has for itself: the same everywhere.
fn member(owner: &str, class: &str, row: Option<&Row>, last_use: Option<DateTime<Utc>>) -> MemberSeed {
    let mut member = MemberSeed::default().tag(CLASSIFICATION_TAG, class).tag("managed-by", "terraform");
    let Some(row) = row else { return member.policy(&policies::single_region(owner)) };
    member = member
        .alias(&format!("alias/{}", row.name))
        .description(&row.name.replace('-', " "))
        .policy(&policy_of(row));
    if row.name.ends_with("archive") || row.name.ends_with("backups") {
        member = member.grant(grant(owner));
    }
    match (row.kind, last_use) {
        (Rotating(_) | Unrotated, Some(at)) => member.last_use("GenerateDataKey", at),
        _ => member,
    }
}

fn policy_of(row: &Row) -> String {
    match row.name {
        "partner-exchange" => policies::with_partner(row.account),
        "hr-vault" => policies::without_auditor(row.account),
        // Copied from another team: the condition is there, and it lets the key out of its boundary.
        "customer-profile" => policies::multi_region(row.account, &["eu-west-1", "us-east-1"]),
        _ if row.replicas.is_empty() => policies::single_region(row.account),
        _ => policies::multi_region(row.account, row.replicas),
    }
}

fn grant(owner: &str) -> GrantSeed {
    let mut constraints = Map::new();
    constraints.insert("EncryptionContextSubset".to_owned(), json!({ "purpose": "backup" }));
    GrantSeed {
        grantee: format!("arn:aws:iam::{owner}:role/Application"),
        retiring: Some(format!("arn:aws:iam::{owner}:role/KeyAdministrator")),
        operations: ["Decrypt", "GenerateDataKey"].map(str::to_owned).to_vec(),
        constraints,
    }
}

fn build_cloud_hsm(world: &mut World) -> Result<String, EstateError> {
    let input = json!({
        "CustomKeyStoreName": "payments-hsm", "CloudHsmClusterId": "cluster-1a23b4cdefg",
        "KeyStorePassword": "only-a-sandbox", "TrustAnchorCertificate": "none",
    });
    build_store(world, PAYMENTS, input)
}

fn build_external(world: &mut World) -> Result<String, EstateError> {
    let input = json!({
        "CustomKeyStoreName": "frankfurt-xks", "CustomKeyStoreType": "EXTERNAL_KEY_STORE",
        "XksProxyConnectivity": "PUBLIC_ENDPOINT", "XksProxyUriEndpoint": "https://xks.example.com",
        "XksProxyUriPath": "/kms/xks/v1",
        "XksProxyAuthenticationCredential": {
            "AccessKeyId": "ABE12345670EXAMPLE234", "RawSecretAccessKey": "only-a-sandbox",
        },
    });
    build_store(world, CUSTOMERS, input)
}

/// A connected key store in Frankfurt; gives its id.
fn build_store(world: &mut World, owner: &str, input: Value) -> Result<String, EstateError> {
    let made = act_in_the_past(world, owner, "eu-central-1", "kms:CreateCustomKeyStore", input)?;
    let id = made.get("CustomKeyStoreId").and_then(Value::as_str).unwrap_or_default().to_owned();
    let input = json!({ "CustomKeyStoreId": id });
    act_in_the_past(world, owner, "eu-central-1", "kms:ConnectCustomKeyStore", input)?;
    Ok(id)
}
