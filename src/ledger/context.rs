//! What kind of thing a key was used for, by the encryption context that AWS services document.

use crate::records::{Envelope, Field, Raw};

/// No encryption context.
pub(super) const NONE: &str = "none";
/// Keys of the caller's own.
const CUSTOM: &str = "custom";
/// A context of an AWS service that has no name of its own here.
const AWS: &str = "aws";

/// Services that begin their keys with `aws:NAME:`, those that tell more of the purpose first: CloudTrail names its
/// trail beside the object in S3 that it writes, and RDS its database beside the volume.
const SERVICES: [&str; 19] = [
    "cloudtrail",
    "rds",
    "redshift",
    "backup",
    "dynamodb",
    "elasticfilesystem",
    "acm",
    "lambda",
    "logs",
    "sqs",
    "sns",
    "kinesis",
    "ses",
    "workmail",
    "chime",
    "vpc-lattice",
    "s3express",
    "s3",
    "ebs",
];

/// The rank of what has no name, behind all that have.
const UNNAMED: (usize, &str) = (SERVICES.len(), AWS);
const OWN: (usize, &str) = (SERVICES.len() + 1, CUSTOM);

/// The kind of a record's encryption context: one of a bounded number of words.
pub(super) fn kind_of(envelope: &Envelope<'_>) -> &'static str {
    envelope.field(Field::RequestParameters).map_or(NONE, in_parameters)
}

/// The kind of the encryption context among request parameters. ReEncrypt has two, of which the one that the result
/// is bound to counts.
pub(super) fn in_parameters(parameters: Raw<'_>) -> &'static str {
    let mut found = NONE;
    for (name, value) in parameters.members() {
        match &*name {
            "encryptionContext" | "destinationEncryptionContext" => return of(value),
            "sourceEncryptionContext" => found = of(value),
            _ => {}
        }
    }
    found
}

fn of(context: Raw<'_>) -> &'static str {
    context.members().map(|(key, _)| ranked(&key)).min().map_or(NONE, |(_, kind)| kind)
}

fn ranked(key: &str) -> (usize, &'static str) {
    match key {
        "SecretARN" | "SecretVersionId" => return (0, "secretsmanager"),
        "PARAMETER_ARN" => return (0, "ssm"),
        _ => {}
    }
    let Some(rest) = key.strip_prefix("aws:") else { return OWN };
    let service = rest.split(':').next().unwrap_or_default();
    let known = SERVICES.iter().enumerate().find(|(_, name)| **name == service);
    known.map_or(UNNAMED, |(rank, name)| (rank, *name))
}
