//! AWS Config: recorders, delivery channels, and what the managed rules about KMS say of the keys there are.

mod compliance;
mod recorder;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

pub use compliance::ManagedRule;
pub use recorder::{Delivery, Recorder};

use super::World;
use super::call::{Answer, ApiError, Call};
use super::paging;
use super::world::unknown_operation;
use crate::model::{AccountId, Region};

/// AWS's page of `DescribeConfigRules`.
const RULES_PAGE: usize = 25;
/// AWS's default and largest page of `GetComplianceDetailsByConfigRule`.
const DETAILS_PAGE: usize = 10;
const LARGEST_DETAILS_PAGE: usize = 100;

/// AWS Config in one account and Region.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// The recorder, if there is one.
    pub recorder: Option<Recorder>,
    /// The delivery channel, if there is one.
    pub delivery: Option<Delivery>,
    /// The rules, by name.
    pub rules: BTreeMap<String, ManagedRule>,
}

impl Setup {
    /// Everything is recorded and delivered since a time, and every rule about KMS is there.
    pub fn complete(since: DateTime<Utc>) -> Self {
        let rules = ManagedRule::ALL.map(|rule| (rule.name().to_owned(), rule));
        Self {
            recorder: Some(Recorder::everything(since)),
            delivery: Some(Delivery::healthy(since)),
            rules: BTreeMap::from(rules),
        }
    }
}

/// AWS Config everywhere.
#[derive(Debug, Default)]
pub struct State {
    setups: BTreeMap<(AccountId, Region), Setup>,
}

impl State {
    /// The setup in an account and Region, to be changed; an empty one is made where there is none.
    pub fn setup_mut(&mut self, account: &AccountId, region: &Region) -> &mut Setup {
        self.setups.entry((account.clone(), region.clone())).or_default()
    }
}

/// Answers a call to AWS Config.
///
/// # Errors
///
/// As AWS: `NoSuchConfigurationRecorderException`, `NoSuchDeliveryChannelException`,
/// `NoSuchConfigRuleException`, `InvalidNextTokenException`, `InvalidLimitException`,
/// `InvalidParameterValueException`.
pub fn handle(world: &mut World, call: &Call) -> Answer {
    let key = (call.account.clone(), call.region.clone());
    let empty = Setup::default();
    let setup = world.config.setups.get(&key).unwrap_or(&empty);
    match call.operation.as_str() {
        "DescribeConfigurationRecorders" => {
            recorder::list(setup, call, "ConfigurationRecorders", |recorder| recorder.to_json(call))
        }
        "DescribeConfigurationRecorderStatus" => {
            recorder::list(setup, call, "ConfigurationRecordersStatus", Recorder::status_json)
        }
        "DescribeDeliveryChannelStatus" => recorder::delivery_status(setup, call),
        "DescribeConfigRules" => describe_rules(setup, call),
        "GetComplianceDetailsByConfigRule" => compliance_details(world, setup, call),
        _ => Err(unknown_operation(call)),
    }
}

fn describe_rules(setup: &Setup, call: &Call) -> Answer {
    let asked = names(call, "ConfigRuleNames");
    if asked.len() > RULES_PAGE {
        let message = "Member must have length less than or equal to 25";
        return Err(ApiError::client("ValidationException", message));
    }
    if let Some(missing) = asked.iter().find(|name| !setup.rules.contains_key(**name)) {
        return Err(no_such_rule(missing));
    }
    let wanted = |name: &&String| asked.is_empty() || asked.contains(&name.as_str());
    let rows: Vec<Value> = setup
        .rules
        .iter()
        .filter(|(name, _)| wanted(name))
        .map(|(name, rule)| rule.to_json(call, name))
        .collect();
    let page = paging::page(
        &format!("{} {} rules", call.account, call.region),
        rows,
        call.text("NextToken"),
        RULES_PAGE,
    )
    .map_err(|_| invalid_token())?;
    Ok(json!({ "ConfigRules": page.items, "NextToken": page.next }))
}

fn compliance_details(world: &World, setup: &Setup, call: &Call) -> Answer {
    let name = call.text("ConfigRuleName").unwrap_or_default();
    let rule = setup.rules.get(name).ok_or_else(|| no_such_rule(name))?;
    let size = match call.integer("Limit") {
        None | Some(0) => DETAILS_PAGE,
        Some(size) => {
            usize::try_from(size).ok().filter(|size| *size <= LARGEST_DETAILS_PAGE).ok_or_else(|| {
                ApiError::client("InvalidParameterValueException", "Limit must be between 0 and 100")
            })?
        }
    };
    let types = names(call, "ComplianceTypes");
    // Without a recorder that knows keys, nothing is evaluated.
    let recorded = setup.recorder.as_ref().is_some_and(Recorder::records_keys);
    let views = if recorded { world.kms.views(&call.account, &call.region) } else { Vec::new() };
    let now = world.now();
    let rows: Vec<Value> = views
        .iter()
        .filter_map(|view| rule.judge(view).map(|compliance| (view, compliance)))
        .filter(|(_, compliance)| types.is_empty() || types.contains(compliance))
        .map(|(view, compliance)| compliance::result_json(name, view, compliance, now))
        .collect();
    let list = format!("{} {} {name} {types:?}", call.account, call.region);
    let page = paging::page(&list, rows, call.text("NextToken"), size).map_err(|_| invalid_token())?;
    Ok(json!({ "EvaluationResults": page.items, "NextToken": page.next }))
}

/// A member of the input that is a list of texts.
fn names<'a>(call: &'a Call, member: &str) -> Vec<&'a str> {
    let list = call.input.get(member).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).collect()
}

fn no_such_rule(name: &str) -> ApiError {
    let message = format!(
        "The ConfigRule '{name}' provided in the request is invalid. Please check the configRule name"
    );
    ApiError::client("NoSuchConfigRuleException", message)
}

fn invalid_token() -> ApiError {
    ApiError::client("InvalidNextTokenException", "The specified nextToken for pagination is not valid.")
}

#[cfg(test)]
mod tests;
