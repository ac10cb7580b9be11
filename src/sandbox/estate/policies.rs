//! The key policies of the estate.

use serde_json::{Value, json};

use super::{PARTNER, ROLE};

fn root_decides(account: &str) -> Value {
    json!({
        "Sid": "EnableIAMUserPermissions",
        "Effect": "Allow",
        "Principal": { "AWS": format!("arn:aws:iam::{account}:root") },
        "Action": "kms:*",
        "Resource": "*",
    })
}

fn policy(statements: &[Value]) -> String {
    json!({ "Version": "2012-10-17", "Id": "demo", "Statement": statements }).to_string()
}

/// The account's IAM decides, and an application may use the key.
pub(super) fn single_region(account: &str) -> String {
    let application = json!({
        "Sid": "Use",
        "Effect": "Allow",
        "Principal": { "AWS": format!("arn:aws:iam::{account}:role/Application") },
        "Action": ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*"],
        "Resource": "*",
    });
    policy(&[root_decides(account), application])
}

/// The account's IAM decides, but nobody replicates the key to another Region than these.
pub(super) fn multi_region(account: &str, replica_regions: &[&str]) -> String {
    let boundary = json!({
        "Sid": "ReplicateToTheseRegionsOnly",
        "Effect": "Deny",
        "Principal": { "AWS": "*" },
        "Action": "kms:ReplicateKey",
        "Resource": "*",
        "Condition": { "StringNotEquals": { "kms:ReplicaRegion": replica_regions } },
    });
    policy(&[root_decides(account), boundary])
}

/// A partner outside the organization may decrypt.
pub(super) fn with_partner(account: &str) -> String {
    let partner = json!({
        "Sid": "PartnerExchange",
        "Effect": "Allow",
        "Principal": { "AWS": format!("arn:aws:iam::{PARTNER}:root") },
        "Action": ["kms:Decrypt", "kms:DescribeKey"],
        "Resource": "*",
    });
    policy(&[root_decides(account), partner])
}

/// The auditor is shut out of the policy and the grants.
pub(super) fn without_auditor(account: &str) -> String {
    let shut_out = json!({
        "Sid": "NobodyElse",
        "Effect": "Deny",
        "Principal": { "AWS": format!("arn:aws:iam::{account}:role/{ROLE}") },
        "Action": ["kms:GetKeyPolicy", "kms:ListGrants"],
        "Resource": "*",
    });
    policy(&[root_decides(account), shut_out])
}

/// Everybody may decrypt: what the scenario puts in the place of [`single_region`].
pub(in crate::sandbox) fn public(account: &str) -> String {
    let everybody = json!({
        "Sid": "TemporaryDebugging",
        "Effect": "Allow",
        "Principal": "*",
        "Action": ["kms:Decrypt", "kms:DescribeKey"],
        "Resource": "*",
    });
    policy(&[root_decides(account), everybody])
}
