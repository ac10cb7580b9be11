//! The keys that AWS services make for themselves in an account.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::key::{Key, Rotation, Shared};
use super::policy::Policy;
use super::spec::{Origin, SYMMETRIC};
use super::state::{Due, Spot, State};
use super::turn::Turn;
use crate::model::{AccountId, KeyArn, Region};
use crate::sandbox::call::ApiError;
use crate::sandbox::identity::{self, Decision};

/// The services whose alias AWS shows in every account, before there is a key.
pub(super) const PREDEFINED: &[&str] = &[
    "alias/aws/dynamodb",
    "alias/aws/ebs",
    "alias/aws/elasticfilesystem",
    "alias/aws/es",
    "alias/aws/glue",
    "alias/aws/kinesisvideo",
    "alias/aws/rds",
    "alias/aws/redshift",
    "alias/aws/s3",
    "alias/aws/ssm",
];

/// Other services that make a key when they need one.
const OTHERS: &[&str] = &[
    "alias/aws/acm",
    "alias/aws/backup",
    "alias/aws/codecommit",
    "alias/aws/fsx",
    "alias/aws/kinesis",
    "alias/aws/lambda",
    "alias/aws/secretsmanager",
    "alias/aws/sns",
    "alias/aws/sqs",
    "alias/aws/workspaces",
    "alias/aws/xray",
];

/// Makes the key of an alias of AWS that has none yet, if the reference is such an alias of the caller's account.
pub(super) fn ensure(turn: &mut Turn<'_>, reference: &str) {
    let (account, region) = (&turn.call.account, &turn.call.region);
    let arn_prefix = format!("arn:{}:kms:{region}:{account}:", turn.call.partition);
    let name = reference.strip_prefix(arn_prefix.as_str()).unwrap_or(reference);
    if PREDEFINED.contains(&name) || OTHERS.contains(&name) {
        turn.state.ensure_aws_managed(&turn.call.partition, account, region, name, turn.now);
    }
}

impl State {
    /// Makes the AWS managed key of an alias such as `alias/aws/s3`, if there is none; gives its id.
    pub(super) fn ensure_aws_managed(
        &mut self,
        partition: &str,
        account: &AccountId,
        region: &Region,
        alias: &str,
        created: DateTime<Utc>,
    ) -> String {
        if let Some(id) = self.key_id_of_alias(account, region, alias) {
            return id;
        }
        let service = alias.strip_prefix("alias/aws/").unwrap_or(alias);
        let id = self.new_key_id(false);
        let arn =
            KeyArn { partition: partition.to_owned(), region: region.clone(), account: account.clone(), id };
        let rotation =
            Rotation { enabled: true, next: Some(created + TimeDelta::days(365)), ..Rotation::default() };
        let mut shared = Shared {
            spec: SYMMETRIC,
            usage: "ENCRYPT_DECRYPT",
            origin: Origin::AwsKms,
            related: None,
            rotation,
            materials: Vec::new(),
            current: None,
        };
        self.add_first_material(&mut shared);
        let policy = policy(partition, account, region, service);
        let mut key = Key::new(arn, created, Arc::new(policy));
        key.aws_managed = true;
        key.description = format!("Default key that protects my {service} data when no other key is defined");
        key.aliases.insert(alias.to_owned());
        let spot = Spot { account: account.clone(), region: region.clone(), id: key.arn.id.clone() };
        let id = spot.id.clone();
        self.agenda.add(created + TimeDelta::days(365), spot, Due::Rotation);
        self.insert(key, shared);
        id
    }
}

fn policy(partition: &str, account: &AccountId, region: &Region, service: &str) -> Policy {
    let document = json!({
        "Version": "2012-10-17",
        "Id": format!("auto-{service}-2"),
        "Statement": [
            {
                "Sid": format!("Allow access through {service} for all principals in the account that are authorized to use it"),
                "Effect": "Allow",
                "Principal": { "AWS": "*" },
                "Action": ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:CreateGrant", "kms:DescribeKey"],
                "Resource": "*",
                "Condition": { "StringEquals": {
                    "kms:CallerAccount": account.as_str(),
                    "kms:ViaService": format!("{service}.{region}.amazonaws.com"),
                } },
            },
            {
                "Sid": "Allow direct access to key metadata to the account",
                "Effect": "Allow",
                "Principal": { "AWS": format!("arn:{partition}:iam::{account}:root") },
                "Action": ["kms:Describe*", "kms:Get*", "kms:List*", "kms:RevokeGrant"],
                "Resource": "*",
            },
        ],
    })
    .to_string();
    // The document is our own and well formed; were it not, the key would fall back to the default policy.
    Policy::parse(&document).unwrap_or_else(|_| Policy::default_of(partition, account))
}

/// Refuses an operation on no particular key that IAM does not allow.
pub(super) fn require_iam(turn: &Turn<'_>) -> Result<(), ApiError> {
    if turn.around.iam_allows {
        return Ok(());
    }
    Err(identity::denied(turn.call, Decision::NotAllowed, None))
}
