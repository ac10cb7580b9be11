//! The world: every service's state, and the one way in.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio_util::bytes::Bytes;

use super::call::{Answer, ApiError, Call, Principal};
use super::clock::Clock;
use super::faults::Faults;
use super::geography::{self, Geography};
use super::identity::Decision;
use super::ids::Ids;
use super::quotas::Quotas;
use super::tally::Tally;
use super::{account, cloudtrail, config, events, identity, kms, organizations, s3, sns, sqs};
use crate::model::{AccountId, Region};

/// The whole of the in-memory AWS.
#[derive(Debug)]
pub struct World {
    /// What time it is.
    pub clock: Clock,
    /// Where new ids come from.
    pub ids: Ids,
    /// The Regions, and which accounts have enabled which.
    pub geography: Geography,
    /// Users, roles and sessions.
    pub identity: identity::State,
    /// Keys.
    pub kms: kms::State,
    /// Trails and records.
    pub cloudtrail: cloudtrail::State,
    /// The organizations.
    pub organizations: organizations::State,
    /// Topics and what was published to them.
    pub sns: sns::State,
    /// Queues and the messages in them.
    pub sqs: sqs::State,
    /// Buckets and the objects in them.
    pub s3: s3::State,
    /// EventBridge's rules.
    pub events: events::State,
    /// AWS Config's recorders and rules.
    pub config: config::State,
    /// What is to go wrong.
    pub faults: Faults,
    /// The published request quotas.
    pub quotas: Quotas,
    /// How often what was called.
    pub tally: Tally,
}

/// Somebody who makes calls from inside the process: the demo's estate and its scenario.
#[derive(Debug, Clone)]
pub struct Actor {
    /// The account of the caller.
    pub account: AccountId,
    /// Who in it.
    pub principal: Principal,
    /// Where the calls come from.
    pub source_ip: IpAddr,
    /// The caller's software.
    pub user_agent: String,
}

impl Actor {
    /// An actor in an account, calling with the AWS CLI from a documentation address.
    pub fn new(account: &AccountId, principal: Principal) -> Self {
        Self {
            account: account.clone(),
            principal,
            source_ip: IpAddr::V4(Ipv4Addr::new(203, 0, 113, 10)),
            user_agent: "aws-cli/2.31.0".to_owned(),
        }
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new(Clock::default())
    }
}

impl World {
    /// An empty world: every account id is an account of its own, without keys, users or an organization.
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            ids: Ids::new("sandbox"),
            geography: Geography::default(),
            identity: identity::State::default(),
            kms: kms::State::default(),
            cloudtrail: cloudtrail::State::default(),
            organizations: organizations::State::default(),
            sns: sns::State::default(),
            sqs: sqs::State::default(),
            s3: s3::State::default(),
            events: events::State::default(),
            config: config::State::default(),
            faults: Faults::default(),
            quotas: Quotas::default(),
            tally: Tally::default(),
        }
    }

    /// The time in this world.
    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// Goes on with ids that no other world has: what a restarted sandbox calls by an id is not what the
    /// one before it did.
    pub fn reseed_at_random(&mut self) {
        self.ids.reseed_at_random();
        self.kms.reseed_at_random();
        self.cloudtrail.reseed_at_random();
    }

    /// Whether an account has enabled a Region; false for a Region that there is not.
    pub fn region_enabled(&self, account: &AccountId, region: &Region) -> bool {
        self.geography.is_enabled(account, region)
    }

    /// The organization that an account is in.
    pub fn membership(&self, account: &AccountId) -> Option<cloudtrail::Membership> {
        self.organizations.of(account).map(|organization| cloudtrail::Membership {
            id: organization.id.clone(),
            management: organization.management.clone(),
        })
    }

    /// Answers one call, as AWS would: faults and quotas, permissions, the service, the CloudTrail record.
    ///
    /// Delays and resets are the connection's business and do not happen here.
    ///
    /// # Errors
    ///
    /// The error that the service gives.
    pub fn call(&mut self, call: &Call) -> Answer {
        let now = self.clock.now();
        self.kms.advance(now);
        cloudtrail::deliver_due(self);
        let (answer, recorded) = match self.admit(call) {
            Err(refusal) => (Err(refusal.error), refusal.recorded),
            Ok(()) => (self.dispatch(call), true),
        };
        self.tally.count(call, &answer);
        if recorded {
            cloudtrail::record(self, call, &answer);
        }
        answer
    }

    /// How long a call may be kept waiting for something to answer: a long poll of a queue.
    pub(super) fn patience(&self, call: &Call) -> Duration {
        if call.service == "sqs" { sqs::patience(self, call) } else { Duration::ZERO }
    }

    /// Whether such a call would find nothing now; one that is going to fail does not wait.
    pub(super) fn would_wait(&mut self, call: &Call) -> bool {
        cloudtrail::deliver_due(self);
        let admitted = self.faults.spares(call)
            && self.geography.is_enabled(&call.account, &call.region)
            && self.identity.decision(call) == Decision::Allowed;
        admitted && sqs::would_wait(self, call)
    }

    /// Makes a call from inside the process.
    ///
    /// # Errors
    ///
    /// The error that the service gives.
    pub fn act(&mut self, actor: &Actor, region: &Region, action: &str, input: Value) -> Answer {
        let (service, operation) = action.split_once(':').unwrap_or((action, ""));
        let call = Call {
            account: actor.account.clone(),
            partition: geography::partition_of(region).to_owned(),
            region: region.clone(),
            service: service.to_owned(),
            operation: operation.to_owned(),
            principal: actor.principal.clone(),
            access_key: None,
            input,
            body: Bytes::new(),
            source_ip: actor.source_ip,
            user_agent: actor.user_agent.clone(),
            request_id: self.ids.uuid(),
        };
        self.call(&call)
    }

    /// Lets a call through, or says why not.
    fn admit(&mut self, call: &Call) -> Result<(), Refusal> {
        if let Some(error) = self.faults.refusal(call) {
            // AWS logs a call that it refused for want of permission, but not one that it was too busy for.
            let recorded = super::call::is_denial(&error.code);
            return Err(Refusal { error, recorded });
        }
        if !self.quotas.admits(call, self.clock.now()) {
            return Err(Refusal { error: throttled(call), recorded: false });
        }
        if !self.geography.is_enabled(&call.account, &call.region) {
            let error = ApiError { status: 403, ..invalid_token(&call.service) };
            return Err(Refusal { error, recorded: false });
        }
        let decision = self.identity.decision(call);
        // A key policy can allow what IAM does not speak of, so KMS itself decides about the latter.
        if decision == Decision::Denied || (decision == Decision::NotAllowed && call.service != "kms") {
            return Err(Refusal { error: identity::denied(call, decision, None), recorded: true });
        }
        Ok(())
    }

    fn dispatch(&mut self, call: &Call) -> Answer {
        match call.service.as_str() {
            "kms" => kms::handle(self, call),
            "cloudtrail" => cloudtrail::handle(self, call),
            "sts" => identity::handle(self, call),
            "organizations" => organizations::handle(self, call),
            "account" => account::handle(self, call),
            "sns" => sns::handle(self, call),
            "config" => config::handle(self, call),
            "events" => events::handle(self, call),
            "s3" => s3::handle(self, call),
            "sqs" => sqs::handle(self, call),
            _ => Err(unknown_operation(call)),
        }
    }
}

/// Why a call did not reach its service.
struct Refusal {
    error: ApiError,
    /// Whether CloudTrail hears of it.
    recorded: bool,
}

/// The error of a call that came too soon after others.
pub(super) fn throttled(call: &Call) -> ApiError {
    let (status, code) = match call.service.as_str() {
        "sns" => (429, "Throttled"),
        "sqs" => (403, "RequestThrottled"),
        "s3" => (503, "SlowDown"),
        "sts" => (400, "Throttling"),
        "account" | "organizations" => (429, "TooManyRequestsException"),
        _ => (400, "ThrottlingException"),
    };
    ApiError { status, code: code.to_owned(), message: "Rate exceeded".to_owned() }
}

/// The error of an operation that the sandbox, or the service in this partition, does not have.
pub(super) fn unknown_operation(call: &Call) -> ApiError {
    let code = match call.service.as_str() {
        "sts" | "sns" => "InvalidAction",
        "s3" => "NotImplemented",
        _ => "UnknownOperationException",
    };
    ApiError::client(code, format!("the sandbox does not know {}:{}", call.service, call.operation))
}

/// The error of credentials that AWS does not know, or not in this Region.
pub(super) fn invalid_token(service: &str) -> ApiError {
    let (status, code) = match service {
        "sts" | "sns" => (403, "InvalidClientTokenId"),
        "s3" => (403, "InvalidAccessKeyId"),
        _ => (400, "UnrecognizedClientException"),
    };
    let message = "The security token included in the request is invalid.".to_owned();
    ApiError { status, code: code.to_owned(), message }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::identity::{Permissions, Role};
    use crate::sandbox::testing::{account, ask, call, other_account, world};
    use crate::sandbox::{clock::Clock, faults::Effect, testing};

    #[test]
    fn a_region_that_was_not_enabled_does_not_know_the_caller() {
        let mut world = world();
        let in_cape_town = call("af-south-1", "sts", "GetCallerIdentity");
        assert_eq!(world.call(&in_cape_town).unwrap_err().code, "InvalidClientTokenId");
        world.geography.enable(&account(), &"af-south-1".parse().unwrap());
        assert!(world.call(&in_cape_town).is_ok());
    }

    #[test]
    fn iam_denials_stop_a_call_and_silence_stops_it_outside_kms() {
        let mut world = world();
        let permissions =
            Permissions { allow: vec!["sns:ListTopics".to_owned()], deny: vec!["kms:ListKeys".to_owned()] };
        world.identity.put_role(&account(), Role { permissions, ..Role::new("Auditor", &other_account()) });
        let mut error_of = |service: &str, operation: &str| {
            let principal =
                Principal::AssumedRole { role: "Auditor".to_owned(), session: "keyward".to_owned() };
            let call = Call { principal, ..call("eu-central-1", service, operation) };
            world.call(&call).err()
        };
        assert_eq!(error_of("sns", "ListTopics"), None);
        let error = error_of("kms", "ListKeys").unwrap();
        assert_eq!(error.code, "AccessDeniedException");
        assert_eq!(
            error.message,
            "User: arn:aws:sts::111122223333:assumed-role/Auditor/keyward is not authorized to perform: kms:ListKeys with an explicit deny in an identity-based policy"
        );
        let error = error_of("config", "DescribeConfigRules").unwrap();
        assert!(error.message.contains("no identity-based policy allows the config:DescribeConfigRules"));
        assert_eq!(error_of("sts", "GetCallerIdentity"), None);
    }

    #[test]
    fn every_call_is_counted_with_its_result() {
        let mut world = world();
        world.faults.add(testing::fault("sns", "ListTopics", Effect::Throttle));
        for _ in 0..3 {
            assert_eq!(ask(&mut world, "sns:ListTopics", Value::Null).unwrap_err().status, 429);
        }
        assert!(ask(&mut world, "config:DescribeConfigRules", Value::Null).is_ok());
        assert_eq!((world.tally.throttled(), world.tally.calls("config", "DescribeConfigRules")), (3, 1));
        let tally = world.tally.to_json();
        assert_eq!(tally["total"], 4);
        assert_eq!(tally["calls"][1]["result"], "Throttled");
        assert_eq!(tally["calls"][1]["count"], 3);
    }

    #[test]
    fn an_actor_calls_as_somebody_in_an_account() {
        let mut world = World::new(Clock::default());
        let actor = Actor::new(&other_account(), Principal::User { name: "ana".to_owned() });
        let identity = world
            .act(&actor, &"us-gov-west-1".parse().unwrap(), "sts:GetCallerIdentity", Value::Null)
            .unwrap();
        assert_eq!(identity["Arn"], "arn:aws-us-gov:iam::222233334444:user/ana");
        let unknown = world.act(&actor, &"eu-west-1".parse().unwrap(), "ec2:RunInstances", Value::Null);
        assert_eq!(unknown.unwrap_err().code, "UnknownOperationException");
    }
}
