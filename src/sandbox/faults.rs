//! What is to go wrong: throttling, errors, refusals, delays and broken connections, for the calls that
//! match.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::call::{ApiError, Call};
use super::identity::{self, Decision};
use super::world;
use crate::model::{AccountId, Region};

/// One thing that goes wrong. What is not given matches every call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// The caller's account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountId>,
    /// The Region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<Region>,
    /// The service as IAM prefixes it: `kms`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The operation: `GetKeyPolicy`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// What happens.
    pub effect: Effect,
    /// How many calls it happens to. None: until it is cleared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
}

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// The service's throttling error.
    Throttle,
    /// A failure on AWS's side with this HTTP status, such as 503.
    Error(u16),
    /// The service's refusal for want of permission.
    Deny,
    /// The answer comes this many milliseconds later.
    DelayMs(u64),
    /// The connection breaks without an answer.
    Reset,
}

impl Fault {
    /// Something that goes wrong for every call until it is cleared; narrow it by setting fields.
    pub fn every(effect: Effect) -> Self {
        Self { account: None, region: None, service: None, operation: None, effect, times: None }
    }

    fn matches(&self, call: &Call) -> bool {
        self.account.as_ref().is_none_or(|account| *account == call.account)
            && self.region.as_ref().is_none_or(|region| *region == call.region)
            && self.service.as_ref().is_none_or(|service| *service == call.service)
            && self.operation.as_ref().is_none_or(|operation| *operation == call.operation)
    }

    /// Uses the fault once; false if it is used up.
    fn strike(&mut self) -> bool {
        match &mut self.times {
            None => true,
            Some(0) => false,
            Some(left) => {
                *left -= 1;
                true
            }
        }
    }
}

/// What happens to the connection of a call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Disturbance {
    /// How long the call is held up.
    pub delay: Duration,
    /// Whether the connection breaks.
    pub reset: bool,
}

/// Everything that goes wrong now.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    list: Vec<Fault>,
}

impl Faults {
    /// Adds a fault after those that there are.
    pub fn add(&mut self, fault: Fault) {
        self.list.push(fault);
    }

    /// Puts these faults in the place of those that there are.
    pub fn replace(&mut self, list: Vec<Fault>) {
        self.list = list;
    }

    /// Nothing goes wrong any more.
    pub fn clear(&mut self) {
        self.list.clear();
    }

    /// The faults that there are, those that are used up among them.
    pub fn list(&self) -> &[Fault] {
        &self.list
    }

    /// What happens to the connection of a call: every matching delay, and a reset if any matches.
    pub fn disturbance(&mut self, call: &Call) -> Disturbance {
        let mut found = Disturbance::default();
        for fault in self.list.iter_mut().filter(|fault| fault.matches(call)) {
            match fault.effect {
                Effect::DelayMs(milliseconds) => {
                    if fault.strike() {
                        found.delay += Duration::from_millis(milliseconds);
                    }
                }
                Effect::Reset => found.reset = found.reset || fault.strike(),
                Effect::Throttle | Effect::Error(_) | Effect::Deny => {}
            }
        }
        found
    }

    /// Whether no fault makes an error of a call.
    pub fn spares(&self, call: &Call) -> bool {
        let strikes = |fault: &Fault| {
            fault.matches(call)
                && fault.times != Some(0)
                && !matches!(fault.effect, Effect::DelayMs(_) | Effect::Reset)
        };
        !self.list.iter().any(strikes)
    }

    /// The error that a call gets by the first fault that matches and is an error.
    pub fn refusal(&mut self, call: &Call) -> Option<ApiError> {
        let is_error = |fault: &&mut Fault| !matches!(fault.effect, Effect::DelayMs(_) | Effect::Reset);
        let matching = self.list.iter_mut().filter(|fault| fault.matches(call)).filter(is_error);
        for fault in matching {
            if !fault.strike() {
                continue;
            }
            return match fault.effect {
                Effect::Throttle => Some(world::throttled(call)),
                Effect::Error(status) => Some(failure(status)),
                Effect::Deny => Some(identity::denied(call, Decision::NotAllowed, None)),
                Effect::DelayMs(_) | Effect::Reset => None,
            };
        }
        None
    }
}

/// A failure on AWS's side.
fn failure(status: u16) -> ApiError {
    let code = if status == 503 { "ServiceUnavailable" } else { "InternalFailure" };
    ApiError { status, code: code.to_owned(), message: "an injected fault".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::testing::{call, fault};

    #[test]
    fn a_fault_strikes_what_it_names_and_nothing_else() {
        let mut faults = Faults::default();
        faults.add(Fault {
            region: Some("eu-west-1".parse().unwrap()),
            ..fault("kms", "GetKeyPolicy", Effect::Deny)
        });
        let hit = call("eu-west-1", "kms", "GetKeyPolicy");
        assert_eq!(faults.refusal(&hit).unwrap().code, "AccessDeniedException");
        assert_eq!(faults.refusal(&call("eu-central-1", "kms", "GetKeyPolicy")), None);
        assert_eq!(faults.refusal(&call("eu-west-1", "kms", "ListKeys")), None);
        assert_eq!(faults.refusal(&call("eu-west-1", "sns", "GetKeyPolicy")), None);
    }

    #[test]
    fn a_counted_fault_is_used_up_and_the_next_one_follows() {
        let mut faults = Faults::default();
        faults.add(Fault { times: Some(2), ..fault("kms", "ListKeys", Effect::Throttle) });
        faults.add(Fault { times: Some(1), ..fault("kms", "ListKeys", Effect::Error(503)) });
        let codes: Vec<Option<String>> = (0..4)
            .map(|_| faults.refusal(&call("eu-west-1", "kms", "ListKeys")).map(|error| error.code))
            .collect();
        let code = |text: &str| Some(text.to_owned());
        assert_eq!(
            codes,
            [code("ThrottlingException"), code("ThrottlingException"), code("ServiceUnavailable"), None]
        );
    }

    #[test]
    fn delays_add_up_and_are_no_errors() {
        let mut faults = Faults::default();
        faults.add(fault("kms", "ListKeys", Effect::DelayMs(20)));
        faults.add(fault("kms", "ListKeys", Effect::DelayMs(30)));
        faults.add(Fault { times: Some(1), ..fault("kms", "ListKeys", Effect::Reset) });
        let list_keys = call("eu-west-1", "kms", "ListKeys");
        assert_eq!(
            faults.disturbance(&list_keys),
            Disturbance { delay: Duration::from_millis(50), reset: true }
        );
        assert!(!faults.disturbance(&list_keys).reset);
        assert_eq!(faults.refusal(&list_keys), None);
    }

    #[test]
    fn faults_are_read_from_json_and_a_misspelt_one_is_refused() {
        let list: Vec<Fault> = serde_json::from_str(
            r#"[{"region":"eu-west-1","effect":{"error":503},"times":3},{"effect":"reset"}]"#,
        )
        .unwrap();
        assert_eq!(list[0].effect, Effect::Error(503));
        assert_eq!(list[1], Fault::every(Effect::Reset));
        assert!(serde_json::from_str::<Fault>(r#"{"regoin":"eu-west-1","effect":"reset"}"#).is_err());
    }
}
