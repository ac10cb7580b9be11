//! What every reader of a CloudTrail record of AWS KMS has to agree on: which calls use a key, what a refusal is, who
//! called. A record is given as the function that reads one of its texts, since there are records of several forms.

use std::borrow::Cow;

use super::{AccountId, Region};

/// AWS KMS's name as an event source. Other services have calls of the same names.
pub const KMS: &str = "kms.amazonaws.com";

/// Calls that use key material, the most frequent first. All of them are logged as reads.
pub const CRYPTOGRAPHIC: [&str; 14] = [
    "Decrypt",
    "GenerateDataKey",
    "Encrypt",
    "GenerateDataKeyWithoutPlaintext",
    "ReEncrypt",
    "Sign",
    "Verify",
    "GenerateMac",
    "VerifyMac",
    "GenerateDataKeyPair",
    "GenerateDataKeyPairWithoutPlaintext",
    "DeriveSharedSecret",
    "Encapsulate",
    "Decapsulate",
];

/// Where a ReEncrypt names its two keys, if its `resources` do not.
pub const REENCRYPTED: [&[&str]; 2] =
    [&["requestParameters", "sourceKeyId"], &["requestParameters", "destinationKeyId"]];

/// Whether a record of a source and name tells of a use of key material, whatever came of it.
pub fn is_use(source: &str, name: &str) -> bool {
    source == KMS && CRYPTOGRAPHIC.contains(&name)
}

/// Whether an error code says that permission was wanting. Services write that each in their own way: `AccessDenied`,
/// `AccessDeniedException`, `Client.UnauthorizedOperation`. A `DryRunOperationException` says that the call would have
/// been permitted.
pub fn is_refusal(code: &str) -> bool {
    let code = code.to_ascii_lowercase();
    ["accessdenied", "unauthorized", "notauthorized", "authorizationerror"]
        .iter()
        .any(|part| code.contains(part))
}

/// Whether an error code says that a dry run went well.
pub fn is_dry_run(code: &str) -> bool {
    code.contains("DryRunOperation")
}

/// Who called, with sessions folded to their role, so that one role is one principal.
pub fn principal<'a>(text: impl Fn(&[&str]) -> Option<Cow<'a, str>>) -> Option<Cow<'a, str>> {
    let field = |name| text(&["userIdentity", name]).filter(|text| !text.is_empty());
    if field("type").as_deref() == Some("AWSService") {
        return field("invokedBy").or_else(|| text(&["sourceIPAddress"]));
    }
    if let Some(arn) = field("arn") {
        return Some(folded(arn, || text(&["userIdentity", "sessionContext", "sessionIssuer", "arn"])));
    }
    // In the key owner's log a caller of another account may have no more than a unique id and a session.
    let by_id = field("principalId").map(|id| match id.split_once(':') {
        Some((unique, _)) => Cow::Owned(unique.to_owned()),
        None => id,
    });
    by_id.or_else(|| field("userName")).or_else(|| field("invokedBy")).or_else(|| field("accountId"))
}

fn folded<'a>(arn: Cow<'a, str>, issuer: impl FnOnce() -> Option<Cow<'a, str>>) -> Cow<'a, str> {
    let Some((role, _)) = assumed_role(&arn) else { return arn };
    // The issuer's ARN has the role's path, which the session's lacks.
    if let Some(issuer) = issuer().filter(|issuer| issuer.contains(":role/")) {
        return issuer;
    }
    let mut parts = arn.split(':');
    let partition = parts.nth(1).unwrap_or("aws");
    let account = parts.nth(2).unwrap_or_default();
    Cow::Owned(format!("arn:{partition}:iam::{account}:role/{role}"))
}

/// Role name and session name of `arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION`.
pub fn assumed_role(arn: &str) -> Option<(&str, &str)> {
    arn.splitn(6, ':').nth(5)?.strip_prefix("assumed-role/")?.split_once('/')
}

/// The caller's account, where the record names it; an AWS service that calls for itself has none.
///
/// # Errors
/// When the caller is no service and no account is named.
pub fn caller_account<'a>(
    text: impl Fn(&[&str]) -> Option<Cow<'a, str>>,
) -> Result<Option<AccountId>, String> {
    if text(&["userIdentity", "type"]).as_deref() == Some("AWSService") {
        return Ok(None);
    }
    let direct = text(&["userIdentity", "accountId"]);
    let arn = text(&["userIdentity", "arn"]);
    let in_arn = arn.as_deref().and_then(|arn| arn.split(':').nth(4)).map(str::to_owned);
    let issuer = || text(&["userIdentity", "sessionContext", "sessionIssuer", "accountId"]);
    let parsed = |text: &str| text.parse().ok();
    let found = direct
        .as_deref()
        .and_then(parsed)
        .or_else(|| in_arn.as_deref().and_then(parsed))
        .or_else(|| issuer().as_deref().and_then(parsed));
    found.map(Some).ok_or_else(|| "the record names no account of the caller".to_owned())
}

/// The account whose log a record is in.
pub fn recorded_in<'a>(text: impl Fn(&[&str]) -> Option<Cow<'a, str>>) -> Option<AccountId> {
    let paths: [&[&str]; 2] = [&["recipientAccountId"], &["userIdentity", "accountId"]];
    paths.into_iter().find_map(|path| text(path)?.parse().ok())
}

/// The partition of a Region by the beginning of its name.
pub fn partition_of(region: &Region) -> &'static str {
    const BEGINNINGS: [(&str, &str); 7] = [
        ("cn-", "aws-cn"),
        ("us-gov-", "aws-us-gov"),
        ("eusc-", "aws-eusc"),
        ("us-iso-", "aws-iso"),
        ("us-isob-", "aws-iso-b"),
        ("eu-isoe-", "aws-iso-e"),
        ("us-isof-", "aws-iso-f"),
    ];
    let found = BEGINNINGS.iter().find(|(beginning, _)| region.as_str().starts_with(beginning));
    found.map_or("aws", |(_, partition)| partition)
}
