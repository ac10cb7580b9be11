//! Estates of any size, with keys of every common kind.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use keyward::model::{AccountId, Region};
use keyward::sandbox::call::Principal;
use keyward::sandbox::clock::Clock;
use keyward::sandbox::config::Setup;
use keyward::sandbox::identity::Role;
use keyward::sandbox::kms::seed::{GrantSeed, KeySeed, MemberSeed};
use keyward::sandbox::{Actor, World};
use serde_json::json;

/// The Regions that hold keys.
pub(crate) const REGIONS: [&str; 4] = ["eu-central-1", "eu-west-1", "us-east-1", "us-west-2"];
/// The role that is assumed in every account but the first.
pub(crate) const ROLE: &str = "KeywardReader";

/// A world of accounts with as many keys in each of [`REGIONS`]. It writes no CloudTrail records, which would
/// only fill the memory of the process that plays AWS.
pub(crate) fn world(accounts: &[AccountId], keys_a_region: usize) -> anyhow::Result<World> {
    let mut world = World::new(Clock::default());
    world.cloudtrail.most_records = 0;
    let now = world.now();
    for account in accounts {
        if let Some(first) = accounts.first() {
            world.identity.put_role(account, Role::new(ROLE, first));
        }
        record(&mut world, account)?;
        for (at, region) in REGIONS.iter().enumerate() {
            let neighbour = REGIONS.get((at + 1) % REGIONS.len()).unwrap_or(region);
            plant(
                &mut world,
                &Place { account, region: &region.parse()?, neighbour: &neighbour.parse()?, now },
                keys_a_region,
            )?;
        }
    }
    world.tally.clear();
    Ok(world)
}

/// A trail that records everything in every Region, and AWS Config in each Region that holds keys.
fn record(world: &mut World, account: &AccountId) -> anyhow::Result<()> {
    let actor = Actor::new(account, Principal::Root);
    let home = "eu-central-1".parse()?;
    let trail = json!({ "Name": "all", "S3BucketName": "all-trails", "IsMultiRegionTrail": true, "IncludeGlobalServiceEvents": true });
    for (call, input) in
        [("cloudtrail:CreateTrail", trail), ("cloudtrail:StartLogging", json!({ "Name": "all" }))]
    {
        world
            .act(&actor, &home, call, input)
            .map_err(|error| anyhow::anyhow!("{call}: {}", error.message))?;
    }
    let now = world.now();
    for region in REGIONS {
        *world.config.setup_mut(account, &region.parse()?) =
            Setup { rules: BTreeMap::new(), ..Setup::complete(now) };
    }
    Ok(())
}

struct Place<'a> {
    account: &'a AccountId,
    region: &'a Region,
    neighbour: &'a Region,
    now: DateTime<Utc>,
}

/// A tenth of a Region's keys are replicas of the Region before it, so as many are primaries of the next.
fn plant(world: &mut World, place: &Place<'_>, keys: usize) -> anyhow::Result<()> {
    let primaries = keys / 10;
    for number in 0..keys - primaries {
        let seed = if number < primaries { primary(place, number) } else { single(place, number) };
        world.kms.plant(&seed)?;
    }
    Ok(())
}

fn member(place: &Place<'_>, number: usize) -> MemberSeed {
    let member = MemberSeed::default()
        .description("holds what an application keeps")
        .policy(&policy(place.account))
        .alias(&format!("alias/{}/app-{number}", place.region))
        .tag("team", "payments")
        .tag("data-class", "internal");
    if number.is_multiple_of(5) { member.grant(grant(place.account)) } else { member }
}

fn primary(place: &Place<'_>, number: usize) -> KeySeed {
    KeySeed::new(place.account, place.region, place.now - TimeDelta::days(500))
        .rotation(365)
        .rotated(place.now - TimeDelta::days(135), false)
        .member(member(place, number))
        .replica(place.neighbour, member(place, number))
}

fn single(place: &Place<'_>, number: usize) -> KeySeed {
    let seed = KeySeed::new(place.account, place.region, place.now - TimeDelta::days(400))
        .member(member(place, number));
    match number % 10 {
        0 => seed.spec("RSA_2048", Some("SIGN_VERIFY")),
        1 => seed,
        _ => seed.rotation(365).rotated(place.now - TimeDelta::days(35), false),
    }
}

fn policy(account: &AccountId) -> String {
    format!(
        r#"{{"Version":"2012-10-17","Statement":[
        {{"Sid":"Account","Effect":"Allow","Principal":{{"AWS":"arn:aws:iam::{account}:root"}},"Action":"kms:*","Resource":"*"}},
        {{"Sid":"Administration","Effect":"Allow","Principal":{{"AWS":"arn:aws:iam::{account}:role/Admin"}},"Action":["kms:Create*","kms:Describe*","kms:Enable*","kms:List*","kms:Put*","kms:Update*","kms:Revoke*","kms:Disable*","kms:Get*","kms:Delete*","kms:TagResource","kms:UntagResource","kms:ScheduleKeyDeletion","kms:CancelKeyDeletion"],"Resource":"*"}},
        {{"Sid":"Use","Effect":"Allow","Principal":{{"AWS":["arn:aws:iam::{account}:role/App","arn:aws:iam::{account}:role/Batch"]}},"Action":["kms:Encrypt","kms:Decrypt","kms:ReEncrypt*","kms:GenerateDataKey*","kms:DescribeKey"],"Resource":"*"}},
        {{"Sid":"Services","Effect":"Allow","Principal":{{"AWS":"arn:aws:iam::{account}:role/App"}},"Action":["kms:CreateGrant","kms:ListGrants","kms:RevokeGrant"],"Resource":"*","Condition":{{"Bool":{{"kms:GrantIsForAWSResource":"true"}}}}}},
        {{"Sid":"Copies","Effect":"Deny","Principal":"*","Action":"kms:ReplicateKey","Resource":"*","Condition":{{"StringNotEquals":{{"kms:ReplicaRegion":{REGIONS:?}}}}}}}]}}"#
    )
}

fn grant(account: &AccountId) -> GrantSeed {
    GrantSeed {
        grantee: format!("arn:aws:iam::{account}:role/App"),
        retiring: None,
        operations: vec!["Decrypt".to_owned(), "GenerateDataKey".to_owned()],
        constraints: serde_json::Map::new(),
    }
}
