//! Everything of the estate but the keys: the organization, roles, topics, AWS Config and the trails.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::super::cloudtrail;
use super::super::config::Setup;
use super::super::geography::OptIn;
use super::super::identity::{Permissions, Role};
use super::super::organizations::Organization;
use super::super::{Actor, World};
use super::{
    ACCOUNTS, EXTERNAL_ID, EstateError, LOG_BUCKET, LOG_LETTERS, LOG_QUEUE, MANAGEMENT, PAYMENTS,
    PAYMENTS_TRAIL, ROLE, account, region,
};
use crate::model::{AccountId, IdError};
use crate::sandbox::call::Principal;

/// What the audit may do: what `deploy/iam` grants, and nothing that it has no use for.
const AUDIT: &[&str] = &[
    "account:ListRegions",
    "cloudtrail:DescribeTrails",
    "cloudtrail:GetEventSelectors",
    "cloudtrail:GetTrailStatus",
    "cloudtrail:ListPublicKeys",
    "cloudtrail:LookupEvents",
    "config:DescribeConfigRules",
    "config:DescribeConfigurationRecorderStatus",
    "config:DescribeConfigurationRecorders",
    "config:DescribeDeliveryChannelStatus",
    "config:GetComplianceDetailsByConfigRule",
    "kms:DescribeCustomKeyStores",
    "kms:DescribeKey",
    "kms:GetKeyLastUsage",
    "kms:GetKeyPolicy",
    "kms:GetKeyRotationStatus",
    "kms:ListAliases",
    "kms:ListGrants",
    "kms:ListKeyRotations",
    "kms:ListKeys",
    "kms:ListResourceTags",
    "s3:GetObject",
    "s3:ListBucket",
];

/// What applications may do with keys.
const USE: &[&str] =
    &["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:Sign", "kms:Verify"];

pub(super) fn build(world: &mut World) -> Result<(), EstateError> {
    let founded = world.now() - TimeDelta::days(900);
    build_organization(world, founded)?;
    for (id, _) in ACCOUNTS {
        let id = account(id)?;
        world.geography.enable(&id, &region("af-south-1")?);
        build_identities(world, &id)?;
        build_config(world, &id);
    }
    build_topics(world)?;
    build_trails(world)
}

fn build_organization(world: &mut World, founded: DateTime<Utc>) -> Result<(), IdError> {
    let mut organization = Organization::new("o-demo123456", &account(MANAGEMENT)?, "management", founded);
    let workloads = organization.add_unit("workloads", &organization.root_id());
    let parents = ["europe", "global", "asia-pacific"].map(|name| organization.add_unit(name, &workloads));
    let [europe, global, asia_pacific] = parents;
    let members = ACCOUNTS.iter().skip(1).zip([&europe, &europe, &global, &asia_pacific]);
    for ((id, name), parent) in members {
        organization.add_account(&account(id)?, name, parent, founded);
    }
    world.organizations.add(organization);
    Ok(())
}

fn build_identities(world: &mut World, id: &AccountId) -> Result<(), IdError> {
    let management = account(MANAGEMENT)?;
    if *id != management {
        let auditor = Role {
            external_id: Some(EXTERNAL_ID.to_owned()),
            permissions: Permissions::only(AUDIT),
            ..Role::new(ROLE, &management)
        };
        world.identity.put_role(id, auditor);
    }
    let application = Role { permissions: Permissions::only(USE), ..Role::new("Application", id) };
    world.identity.put_role(id, application);
    world.identity.put_role(id, Role::new("KeyAdministrator", id));
    world.identity.put_user(id, "contractor", Permissions::only(&["s3:GetObject", "kms:ListAliases"]));
    Ok(())
}

/// AWS Config records and delivers in every Region that the account has enabled.
fn build_config(world: &mut World, id: &AccountId) {
    let since = world.now() - TimeDelta::days(700);
    let delivered = world.now() - TimeDelta::hours(3);
    for (region, status) in world.geography.regions(id, "aws") {
        if status != OptIn::Disabled {
            let mut setup = Setup::complete(since);
            if let Some(delivery) = setup.delivery.as_mut() {
                delivery.last = delivered;
            }
            *world.config.setup_mut(id, &region) = setup;
        }
    }
}

fn build_topics(world: &mut World) -> Result<(), EstateError> {
    for (name, attributes) in [
        ("keyward-alerts", json!({})),
        ("keyward-alerts.fifo", json!({ "FifoTopic": "true", "ContentBasedDeduplication": "false" })),
    ] {
        let input = json!({ "Name": name, "Attributes": attributes });
        act_in_the_past(world, MANAGEMENT, "eu-central-1", "sns:CreateTopic", input)?;
    }
    Ok(())
}

/// The organization's trail, which records everything everywhere, and one of the payments account's own.
fn build_trails(world: &mut World) -> Result<(), EstateError> {
    let organization = json!({
        "Name": "organization", "S3BucketName": LOG_BUCKET, "IsMultiRegionTrail": true,
        "IsOrganizationTrail": true, "EnableLogFileValidation": true, "IncludeGlobalServiceEvents": true,
        "KmsKeyId": "arn:aws:kms:eu-central-1:111122223333:alias/trail-logs",
    });
    let payments = json!({
        "Name": PAYMENTS_TRAIL, "S3BucketName": "acme-payments-trail", "IsMultiRegionTrail": true,
        "EnableLogFileValidation": true, "IncludeGlobalServiceEvents": true,
    });
    for (of, input) in [(MANAGEMENT, organization), (PAYMENTS, payments)] {
        let name = json!({ "Name": input.get("Name") });
        act_in_the_past(world, of, "eu-central-1", "cloudtrail:CreateTrail", input)?;
        act_in_the_past(world, of, "eu-central-1", "cloudtrail:StartLogging", name)?;
    }
    Ok(())
}

/// The bucket for the organization's log files, and the queue that hears of them. Until now everything was
/// delivered, and taken away.
pub(super) fn build_archive(world: &mut World) -> Result<(), EstateError> {
    let queue = |name: &str, attributes: Value| json!({ "QueueName": name, "Attributes": attributes });
    let redrive = json!({ "deadLetterTargetArn": LOG_LETTERS, "maxReceiveCount": 5 }).to_string();
    let constraint = json!({ "LocationConstraint": "eu-central-1" });
    let configuration = json!({ "QueueConfiguration": {
        "Id": "keyward", "Queue": LOG_QUEUE, "Event": "s3:ObjectCreated:*",
        "Filter": { "S3Key": { "FilterRule": { "Name": "prefix", "Value": "AWSLogs/" } } },
    }});
    for (call, input) in [
        (
            "sqs:CreateQueue",
            queue("keyward-logs-dead-letters", json!({ "MessageRetentionPeriod": "1209600" })),
        ),
        (
            "sqs:CreateQueue",
            queue("keyward-logs", json!({ "VisibilityTimeout": "60", "RedrivePolicy": redrive })),
        ),
        ("s3:CreateBucket", json!({ "Bucket": LOG_BUCKET, "Document": constraint })),
        ("s3:PutBucketNotificationConfiguration", json!({ "Bucket": LOG_BUCKET, "Document": configuration })),
    ] {
        act_in_the_past(world, MANAGEMENT, "eu-central-1", call, input)?;
    }
    cloudtrail::settle(world, &account(MANAGEMENT)?);
    world.s3.kept = Some(TimeDelta::hours(12));
    Ok(())
}

/// Makes a call that was made 700 days ago, so that no look-up finds it.
pub(super) fn act_in_the_past(
    world: &mut World,
    of: &str,
    at: &str,
    call: &'static str,
    input: Value,
) -> Result<Value, EstateError> {
    let actor = Actor::new(&account(of)?, Principal::Root);
    let at = region(at)?;
    world.clock.advance(-TimeDelta::days(700));
    let answer = world.act(&actor, &at, call, input);
    world.clock.advance(TimeDelta::days(700));
    answer.map_err(|error| EstateError::of_call(call, error))
}
