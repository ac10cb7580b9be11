//! A world to try things in.

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::model::{AccountId, Region};
use crate::sandbox::World;
use crate::sandbox::call::{Answer, Call, Principal};
use crate::sandbox::testing::{call, world};

/// A world whose clock stands, and a caller.
pub(in crate::sandbox) struct Lab {
    pub(in crate::sandbox) world: World,
    pub(in crate::sandbox) region: &'static str,
    pub(in crate::sandbox) account: AccountId,
    pub(in crate::sandbox) principal: Principal,
}

impl Lab {
    /// Root of account 111122223333 in Frankfurt.
    pub(in crate::sandbox) fn new() -> Self {
        let mut world = world();
        world.quotas.enabled = false;
        let account = crate::sandbox::testing::account();
        Self { world, region: "eu-central-1", account, principal: Principal::Root }
    }

    pub(in crate::sandbox) fn region(&self) -> Region {
        self.region.parse().unwrap()
    }

    /// The same caller in another Region, for the calls of a closure.
    pub(in crate::sandbox) fn within<T>(
        &mut self,
        region: &'static str,
        act: impl FnOnce(&mut Self) -> T,
    ) -> T {
        let before = std::mem::replace(&mut self.region, region);
        let result = act(self);
        self.region = before;
        result
    }

    /// Another caller, for the calls of a closure.
    pub(in crate::sandbox) fn by<T>(
        &mut self,
        account: &str,
        principal: Principal,
        act: impl FnOnce(&mut Self) -> T,
    ) -> T {
        let account = std::mem::replace(&mut self.account, account.parse().unwrap());
        let principal = std::mem::replace(&mut self.principal, principal);
        let result = act(self);
        self.account = account;
        self.principal = principal;
        result
    }

    pub(in crate::sandbox) fn ask(&mut self, action: &str, input: Value) -> Answer {
        let (service, operation) = action.split_once(':').unwrap();
        let request_id = self.world.ids.uuid();
        let (account, principal) = (self.account.clone(), self.principal.clone());
        self.world.call(&Call {
            account,
            principal,
            input,
            request_id,
            ..call(self.region, service, operation)
        })
    }

    /// The answer of a KMS call that has to succeed.
    #[track_caller]
    pub(in crate::sandbox) fn ok(&mut self, operation: &str, input: Value) -> Value {
        self.ask(&format!("kms:{operation}"), input).unwrap_or_else(|error| panic!("{operation}: {error:?}"))
    }

    /// The error code of a KMS call that has to fail.
    #[track_caller]
    pub(in crate::sandbox) fn code(&mut self, operation: &str, input: Value) -> String {
        match self.ask(&format!("kms:{operation}"), input) {
            Ok(answer) => panic!("{operation} succeeded: {answer}"),
            Err(error) => error.code,
        }
    }

    /// A new key's id.
    pub(in crate::sandbox) fn key(&mut self, input: Value) -> String {
        let answer = self.ok("CreateKey", input);
        answer["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned()
    }

    /// The id of a new multi-Region key with replicas.
    pub(in crate::sandbox) fn key_set(&mut self, replicas: &[&str]) -> String {
        let key = self.key(json!({ "MultiRegion": true }));
        for region in replicas {
            self.ok("ReplicateKey", json!({ "KeyId": key, "ReplicaRegion": region }));
        }
        key
    }

    pub(in crate::sandbox) fn describe(&mut self, key: &str) -> Value {
        self.ok("DescribeKey", json!({ "KeyId": key }))["KeyMetadata"].clone()
    }

    pub(in crate::sandbox) fn state_of(&mut self, key: &str) -> String {
        self.describe(key)["KeyState"].as_str().unwrap().to_owned()
    }

    pub(in crate::sandbox) fn pass_days(&mut self, days: i64) {
        self.world.clock.advance(TimeDelta::days(days));
    }

    pub(in crate::sandbox) fn arn(&self, key: &str) -> String {
        format!("arn:aws:kms:{}:{}:key/{key}", self.region, self.account)
    }

    /// All records of the caller's account in a Region, newest first.
    pub(in crate::sandbox) fn records(&mut self, region: &'static str) -> Vec<Value> {
        self.within(region, |lab| {
            let mut records = Vec::new();
            let mut input = json!({});
            loop {
                let answer = lab.ask("cloudtrail:LookupEvents", input.clone()).unwrap();
                for event in answer["Events"].as_array().unwrap() {
                    records.push(serde_json::from_str(event["CloudTrailEvent"].as_str().unwrap()).unwrap());
                }
                match answer.get("NextToken") {
                    Some(token) => input = json!({ "NextToken": token }),
                    None => return records,
                }
            }
        })
    }

    /// The newest record with this name.
    #[track_caller]
    pub(in crate::sandbox) fn record(&mut self, region: &'static str, name: &str) -> Value {
        let records = self.records(region);
        records
            .into_iter()
            .find(|record| record["eventName"] == name)
            .unwrap_or_else(|| panic!("no {name} in {region}"))
    }
}

/// A session of a role.
pub(in crate::sandbox) fn role(name: &str) -> Principal {
    Principal::AssumedRole { role: name.to_owned(), session: "tester".to_owned() }
}
