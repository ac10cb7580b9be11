//! The events of the stream, and what they say: the truth that a store is held to.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, SecondsFormat};
use keyward::findings::detection_id;
use serde_json::{Value, json};

const EVENTS: u64 = 200_000;
pub(super) const FILES: u64 = 80;
/// Of so many events of a file one is in another one too.
const ONE_REPEATED_IN: u64 = 5;
pub(super) const HOURS: i64 = 4;

/// Nobody audits these, so that nothing but the events tells of their keys.
const ACCOUNTS: [&str; 3] = ["999900001111", "999900002222", "999900003333"];
const REGIONS: [&str; 2] = ["eu-west-3", "eu-north-1"];
const KEYS: u64 = 60;
const USERS: u64 = 9;

/// One of so many events is a refusal, or disables a key. They have no divisor in common with the number of files, so
/// that these are in all of them.
const REFUSED: u64 = 997;
const DISABLED: u64 = 2_503;

/// How many different keys the correlation rules ask for.
const TOGETHER: usize = 5;

/// The id of the key, its Region, the principal, the operation, the outcome, and the hour since 1970.
pub(super) type Line = (String, String, String, String, String, i64);

/// What is in a store that has all of the stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Truth {
    /// How often each line of the ledger came.
    pub(super) ledger: BTreeMap<Line, u64>,
    /// By account, Region and day since 1970: the hours as bits, and how many records.
    pub(super) heard: BTreeMap<(String, String, i64), (i64, u64)>,
    /// By the finding's id: the rule, and how many events.
    pub(super) found: BTreeMap<String, (String, u64)>,
}

/// The events that begin at a time, in seconds since 1970.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stream {
    pub(super) begin: i64,
}

/// One event, as its number makes it.
struct Event {
    number: u64,
    at: i64,
    key: u64,
    user: String,
    name: &'static str,
    is_refused: bool,
}

/// `SplitMix64`'s finalizer.
fn mixed(number: u64) -> u64 {
    let mut bits = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

fn index(number: u64) -> usize {
    usize::try_from(number).unwrap()
}

impl Event {
    fn account(&self) -> &'static str {
        ACCOUNTS[index(self.key) % ACCOUNTS.len()]
    }

    fn region(&self) -> &'static str {
        REGIONS[index(self.key) / ACCOUNTS.len() % REGIONS.len()]
    }

    fn key_id(&self) -> String {
        format!("{:08x}-0000-4000-8000-000000000000", self.key)
    }

    fn key_arn(&self) -> String {
        format!("arn:aws:kms:{}:{}:key/{}", self.region(), self.account(), self.key_id())
    }

    fn principal(&self) -> String {
        format!("arn:aws:iam::{}:user/{}", ACCOUNTS[0], self.user)
    }

    fn is_use(&self) -> bool {
        self.name != "DisableKey"
    }

    fn line(&self) -> Line {
        let outcome = if self.is_refused { "denied" } else { "success" };
        let hour = self.at.div_euclid(3_600);
        let (name, outcome) = (self.name.to_owned(), outcome.to_owned());
        (self.key_id(), self.region().to_owned(), self.principal(), name, outcome, hour)
    }

    fn record(&self) -> Value {
        let Self { number, name, .. } = self;
        let at = DateTime::from_timestamp(self.at, 0).unwrap();
        let mut record = json!({
            "eventVersion": "1.11", "eventName": name, "eventSource": "kms.amazonaws.com",
            "eventID": format!("{number:08x}-1111-4000-8000-{:012x}", mixed(*number) >> 16),
            "requestID": format!("{number:08x}-2222-4000-8000-000000000000"),
            "eventTime": at.to_rfc3339_opts(SecondsFormat::Secs, true), "awsRegion": self.region(),
            "eventType": "AwsApiCall", "readOnly": self.is_use(), "recipientAccountId": self.account(),
            "sourceIPAddress": "198.51.100.7", "managementEvent": true, "eventCategory": "Management",
            "userIdentity": { "type": "IAMUser", "accountId": ACCOUNTS[0], "arn": self.principal() },
            "requestParameters": { "keyId": self.key_arn() },
            "resources": [{ "ARN": self.key_arn(), "accountId": self.account() }],
        });
        if self.is_refused {
            record["errorCode"] = json!("AccessDenied");
        }
        record
    }
}

impl Stream {
    /// Two users do what only many events together tell of: one is refused key after key, one disables them.
    fn event(self, number: u64) -> Event {
        let bits = mixed(number);
        let (is_refused, is_disabling) = (number % REFUSED == 3, number % DISABLED == 17);
        let user = match number {
            100_000..108_000 if is_refused => "prober".to_owned(),
            125_000..145_000 if is_disabling => "wrecker".to_owned(),
            _ => format!("user{}", (bits >> 16) % USERS),
        };
        let calls = ["Decrypt", "GenerateDataKey", "Encrypt"];
        Event {
            number,
            at: self.begin + i64::try_from(number).unwrap() * HOURS * 3_600 / i64::try_from(EVENTS).unwrap(),
            key: (bits >> 32) % KEYS,
            user,
            name: if is_disabling { "DisableKey" } else { calls[index((bits >> 8) % 3)] },
            is_refused,
        }
    }

    fn events(self) -> impl Iterator<Item = Event> {
        (0..EVENTS).map(move |number| self.event(number))
    }

    /// The files as they are delivered; some of their events stand in the file before, too.
    pub(super) fn file(self, file: u64) -> Vec<u8> {
        let of = |file: u64| (0..EVENTS / FILES).map(move |at| at * FILES + file);
        let before = of((file + FILES - 1) % FILES);
        let repeated = before.filter(|number| (number / FILES).is_multiple_of(ONE_REPEATED_IN));
        let records: Vec<Value> =
            of(file).chain(repeated).map(|number| self.event(number).record()).collect();
        gzip(&json!({ "Records": records }).to_string())
    }

    pub(super) fn truth(self) -> Truth {
        let mut truth = Truth { ledger: BTreeMap::new(), heard: BTreeMap::new(), found: BTreeMap::new() };
        let (mut refused, mut disabled) = (Vec::new(), Vec::new());
        for event in self.events() {
            let hour = event.at.div_euclid(3_600);
            let place = (event.account().to_owned(), event.region().to_owned(), hour.div_euclid(24));
            let (hours, records) = truth.heard.entry(place).or_default();
            *hours |= 1 << hour.rem_euclid(24);
            *records += 1;
            if event.is_use() {
                *truth.ledger.entry(event.line()).or_default() += 1;
                refused.extend(event.is_refused.then_some(event));
            } else {
                disabled.push(event);
            }
        }
        let mut find = |rule: &str, group: &[String], events: u64| {
            let found = truth.found.entry(detection_id(rule, group)).or_insert((rule.to_owned(), 0));
            found.1 += events;
        };
        for event in &refused {
            find("unauthorized-key-access", &[event.principal(), event.key_arn()], 1);
        }
        for event in &disabled {
            find("key-disabled", &[event.key_arn()], 1);
        }
        for (rule, seconds, events) in
            [("key-access-probing", 600, &refused), ("mass-key-disablement", 900, &disabled)]
        {
            for (principal, events) in together(events, seconds) {
                find(rule, &[principal], events);
            }
        }
        truth
    }
}

/// By principal, how many events lie in a time of so many seconds with enough different keys.
fn together(events: &[Event], seconds: i64) -> BTreeMap<String, u64> {
    let mut by_principal: BTreeMap<String, Vec<&Event>> = BTreeMap::new();
    for event in events {
        by_principal.entry(event.principal()).or_default().push(event);
    }
    let count = |events: &[&Event]| {
        let mut part = BTreeSet::new();
        for last in events {
            let inside = || events.iter().filter(|event| (0..=seconds).contains(&(last.at - event.at)));
            if inside().map(|event| event.key).collect::<BTreeSet<_>>().len() >= TOGETHER {
                part.extend(inside().map(|event| event.number));
            }
        }
        part.len() as u64
    };
    let counts = by_principal.into_iter().map(|(principal, events)| (principal, count(&events)));
    counts.filter(|(_, events)| *events > 0).collect()
}

fn gzip(text: &str) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}
