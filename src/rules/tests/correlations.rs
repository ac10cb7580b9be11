//! Correlations, filters and collections: files in, what is found out.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::model::{CorrelationKey, CorrelationState, Remembered};
use crate::rules::Match;

const OFF: &str = "title: Off\nname: off\nid: 3a1d0c3e-6a54-4a3e-9a5e-2f3d4b5c6d7e\nlogsource: { product: aws, service: cloudtrail }\ndetection:\n    s: { eventSource: kms.amazonaws.com, eventName: [DisableKey, ScheduleKeyDeletion] }\n    condition: s\n";
const MANY: &str = "title: Many Off\nname: many\ncorrelation:\n    type: value_count\n    rules: [off]\n    group-by: [userIdentity.arn]\n    timespan: 15m\n    condition: { field: requestParameters.keyId, gte: 3 }\nlevel: critical\n";

fn load(files: &[(&str, String)]) -> (RuleSet, String) {
    let files: Vec<RuleFile> = files.iter().map(|(name, text)| file(name, text)).collect();
    let (rules, errors) = RuleSet::load(&files, &[]);
    (rules, errors.to_string())
}

/// `name` of a call, by whom, on what, how many seconds after noon.
fn call(name: &str, by: &str, key: &str, second: i64) -> EventRecord {
    let time = chrono::DateTime::from_timestamp(1_780_000_000 + second, 0).unwrap();
    record(
        name,
        &json!({
            "eventID": format!("{name}-{by}-{key}-{second}"), "eventTime": time.to_rfc3339(),
            "userIdentity": { "arn": by }, "requestParameters": { "keyId": key },
        }),
    )
}

/// A store and what was told to the outside, as batches come.
#[derive(Default)]
struct Memory {
    states: BTreeMap<CorrelationKey, CorrelationState>,
    told: Vec<(String, Remembered)>,
    said: BTreeMap<(String, Vec<String>), String>,
}

impl Memory {
    fn take(&mut self, rules: &RuleSet, batch: &[EventRecord]) -> Vec<Verdict> {
        let (mut alone, mut matches) = (Vec::new(), Vec::new());
        for event in batch {
            assert!(rules.wants(event.source(), event.name()));
            let found = rules.find(&facts(SubjectKind::Event, Fact::Map([].into())), event);
            alone.extend(found.verdicts);
            matches.extend(found.matches);
        }
        while !matches.is_empty() {
            let mut groups: BTreeMap<CorrelationKey, Vec<Match>> = BTreeMap::new();
            for one in std::mem::take(&mut matches) {
                groups.entry(one.key.clone()).or_default().push(one);
            }
            for (key, group) in groups {
                let now = chrono::DateTime::from_timestamp(1_780_000_000, 0).unwrap();
                let known = self.states.remove(&key);
                let done = rules.correlate(&key, known, &group, now).unwrap();
                // What is stored is what comes back.
                let stored = serde_json::to_string(&done.state.matches).unwrap();
                let matches_again = serde_json::from_str(&stored).unwrap();
                assert_eq!(done.state.matches, matches_again);
                self.states.insert(key.clone(), CorrelationState { matches: matches_again, ..done.state });
                matches.extend(done.further);
                if let Some(verdict) = done.verdict {
                    let told = done.told.into_iter();
                    self.told.extend(told.map(|event| (key.rule.clone(), event)));
                    self.said.insert((verdict.rule, verdict.group), verdict.message);
                }
            }
        }
        alone
    }

    fn told(&self) -> Vec<&str> {
        let mut told: Vec<&str> = self.told.iter().map(|(_, event)| event.event.as_str()).collect();
        told.sort_unstable();
        told
    }
}

#[test]
fn distinct_values_are_counted_by_group_over_batches() {
    let (rules, errors) = load(&[("off", OFF.to_owned()), ("many", MANY.to_owned())]);
    assert_eq!(errors, "");
    let mut memory = Memory::default();
    let first = [call("DisableKey", "a", "k1", 0), call("DisableKey", "b", "k2", 1)];
    let alone = memory.take(&rules, &first);
    assert_eq!(alone.len(), 2, "a rule in a file of its own is not silenced");
    memory.take(&rules, &[call("ScheduleKeyDeletion", "a", "k2", 400), call("DisableKey", "a", "k2", 500)]);
    memory.take(&rules, &[call("DisableKey", "a", "k3", 901)]);
    assert_eq!(memory.told(), [""; 0], "the first is a second too old, and two are of one key");
    memory.take(&rules, &[call("DisableKey", "a", "k1", 1)]);
    assert_eq!(memory.told().len(), 4, "k1 a second later, k2 twice, k3");
    let said: Vec<_> = memory.said.iter().collect();
    assert_eq!(said, [(&("many".to_owned(), vec!["a".to_owned()]), &"Many Off: 3 within 15m, a".to_owned())]);
}

#[test]
fn rules_beside_their_correlation_only_count_unless_it_says_otherwise() {
    for (generate, alone) in [("", 0), ("generate: false\n", 0), ("generate: true\n", 1)] {
        let (rules, errors) = load(&[("both", format!("{MANY}{generate}---\n{OFF}"))]);
        assert_eq!(errors, "");
        let names: Vec<&str> = rules.rules().iter().map(|rule| rule.name.as_str()).collect();
        assert_eq!(names.len(), 1 + alone, "{names:?}");
        let mut memory = Memory::default();
        let batch: Vec<_> = (0..3).map(|at| call("DisableKey", "a", &format!("k{at}"), at)).collect();
        assert_eq!(memory.take(&rules, &batch).len(), 3 * alone);
        assert_eq!(memory.told().len(), 3);
    }
    let broken = MANY.replace("gte: 3", "gte: x");
    let (rules, _) = load(&[("both", format!("{broken}---\n{OFF}"))]);
    assert_eq!(rules.rules().len(), 1, "a broken correlation silences nobody");
    let files = [file("off", OFF), file("many", MANY)];
    let (rules, errors) = RuleSet::load(&files, &["off".to_owned()]);
    assert!(errors.is_empty());
    let mut memory = Memory::default();
    let batch: Vec<_> = (0..3).map(|at| call("DisableKey", "a", &format!("k{at}"), at)).collect();
    assert!(memory.take(&rules, &batch).is_empty(), "a disabled rule says nothing");
    assert_eq!(memory.told().len(), 3, "and goes on counting");
}

#[test]
fn correlations_count_correlations_and_use_aliases() {
    let refused = "title: Refused\nname: refused\nlogsource: { product: aws, service: cloudtrail }\ndetection:\n    s: { eventName: Decrypt }\n    condition: s\n";
    let probing = "title: Probing\nname: probing\ncorrelation:\n    type: event_count\n    rules: [refused]\n    group-by: [userIdentity.arn]\n    timespan: 1m\n    condition: { gt: 1, lte: 100 }\n";
    let then = "title: Then\nname: then\ncorrelation:\n    type: temporal_ordered\n    rules: [probing, off]\n    group-by: [who]\n    timespan: 5m\n    aliases:\n        who: { probing: userIdentity.arn, off: requestParameters.keyId }\n";
    let (rules, errors) = load(&[("all", [then, probing, refused, OFF].join("---\n"))]);
    assert_eq!(errors, "");
    assert_eq!(rules.rules().iter().map(|rule| rule.name.as_str()).collect::<Vec<_>>(), ["then"]);
    let mut memory = Memory::default();
    memory.take(&rules, &[call("DisableKey", "x", "a", 30), call("Decrypt", "a", "k", 0)]);
    assert_eq!(memory.told.len(), 0);
    memory.take(&rules, &[call("Decrypt", "a", "k", 20), call("Decrypt", "a", "k", 200)]);
    assert_eq!(memory.told(), ["Decrypt-a-k-20", "DisableKey-x-a-30"]);
    memory.take(&rules, &[call("Decrypt", "a", "k", 10)]);
    assert_eq!(memory.told(), ["Decrypt-a-k-10", "Decrypt-a-k-20", "DisableKey-x-a-30"]);
}

fn correlation(section: &str) -> String {
    format!("title: C\ncorrelation:\n    rules: [off]\n    timespan: 5m\n{section}")
}

#[test]
fn mistakes_in_correlations_are_told_with_their_lines() {
    let counted = "    type: event_count\n    condition: ";
    for (text, what) in [
        (
            correlation("    type: event_cuont\n    condition: { gte: 2 }\n"),
            ":5: unknown type of correlation `event_cuont`; did you mean `event_count`?",
        ),
        (
            correlation("    type: value_sum\n    condition: { gte: 2, field: x }\n"),
            ":5: `value_sum` is not evaluated: an event that comes late could take its answer back",
        ),
        (correlation(&format!("{counted}{{ lt: 3 }}\n")), ":6: the condition has no lower bound"),
        (correlation(&format!("{counted}{{ gt: 5, lt: 6 }}\n")), ":6: no count meets the condition"),
        (correlation(&format!("{counted}{{ gte: 10001 }}\n")), "no more than 10000 are remembered"),
        (correlation(&format!("{counted}{{ gte: 2, field: x }}\n")), "only `value_count` counts the values"),
        (correlation("    type: value_count\n    condition: { gte: 2 }\n"), "the condition has no `field`"),
        (
            correlation(&format!("{counted}{{ gte: 2 }}\n    group_by: [x]\n")),
            "unknown key `group_by` in `correlation`; did you mean `group-by`?",
        ),
        (correlation(&format!("{counted}{{ gte: 2 }}\n    window: tumbling\n")), "windows always slide"),
        (correlation(&format!("{counted}{{ gte: 2 }}\n")).replace("5m", "5x"), ":4: `5x` is no timespan"),
        (correlation("    type: temporal\n    condition: not off\n"), "`not` cannot be told"),
        (correlation("    type: temporal\n    condition: offf\n"), "did you mean `off`?"),
        (
            correlation(&format!("{counted}{{ gte: 2 }}\n")).replace("[off]", "[of]"),
            ":3: `of` is no rule; did you mean `off`?",
        ),
        (
            correlation(&format!("{counted}{{ gte: 2 }}\n")).replace("[off]", "[bad]"),
            "`bad` has a mistake of its own",
        ),
        (
            correlation(&format!("{counted}{{ gte: 2 }}\n")).replace("[off]", "[posture]"),
            "`posture` judges a key, and events are correlated",
        ),
        (correlation(&format!("{counted}{{ gte: 2 }}\n")).replace("[off]", "[test]"), "they name each other"),
        (
            correlation(&format!(
                "{counted}{{ gte: 2 }}\n    aliases: {{ who: {{ of: x }} }}\n    group-by: [who]\n"
            )),
            "which is not correlated; did you mean `off`?",
        ),
    ] {
        let posture = "title: P\nlogsource: { product: aws, service: kms, category: key }\ndetection: { s: { key.enabled: true }, condition: s }\n";
        let (rules, errors) = load(&[
            ("test", text),
            ("off", OFF.to_owned()),
            ("bad", "title: [".to_owned()),
            ("posture", posture.to_owned()),
        ]);
        assert!(errors.contains(what), "{what} is not in {errors}");
        assert_eq!(rules.rules().len(), 2);
        assert!(rules.left_out().contains("test"));
    }
}

#[test]
fn what_is_for_others_is_left_out_with_a_reason() {
    let windows = "title: W\nname: logon\nlogsource: { product: windows, service: security }\ndetection: { s: { EventID: 1 }, condition: s }\n";
    let by_category = windows.replace("product: windows, service: security", "category: process_creation");
    let correlating = MANY.replace("[off]", "[off, logon]");
    let (rules, errors) = load(&[
        ("w", windows.to_owned()),
        ("c", by_category.replace("logon", "other")),
        ("g", windows.replace("windows, service: security", "aws, service: guardduty")),
        ("off", OFF.to_owned()),
        ("many", correlating),
    ]);
    assert_eq!(errors, "");
    let foreign: Vec<String> = rules.foreign().iter().map(ToString::to_string).collect();
    assert_eq!(
        foreign,
        [
            "kms/c.yml:3: `c` is left out: it is for the category `process_creation` of any product",
            "kms/g.yml:3: `g` is left out: it is for the service `guardduty`",
            "kms/many.yml:3: `many` is left out: it correlates `logon`, and it is for the product `windows`",
            "kms/w.yml:3: `w` is left out: it is for the product `windows`",
        ]
    );
    assert_eq!(rules.rules().len(), 1);
}

#[test]
fn filters_are_laid_over_the_rules_that_they_name() {
    let filter = |rules: &str| {
        format!(
            "title: F\nlogsource: {{ product: aws, service: cloudtrail }}\nfilter:\n    rules: {rules}\n    robots: {{ userIdentity.arn|endswith: robot }}\n    condition: not robots\n"
        )
    };
    for rules in ["any", "[off]", "[3a1d0c3e-6a54-4a3e-9a5e-2f3d4b5c6d7e]"] {
        let (rules, errors) = load(&[("off", OFF.to_owned()), ("f", filter(rules))]);
        assert_eq!(errors, "");
        let found = |by| Memory::default().take(&rules, &[call("DisableKey", by, "k", 0)]).len();
        assert_eq!((found("a robot"), found("mallory")), (0, 1));
    }
    let (_, errors) = load(&[("off", OFF.to_owned()), ("f", filter("[of]"))]);
    assert!(errors.contains("kms/f.yml:4: `of` is no rule; did you mean `off`?"), "{errors}");
}

proptest! {
    /// Any order, any batches, any redelivery: the same is told, once.
    #[test]
    fn what_is_told_does_not_hang_on_the_order(
        calls in prop::collection::vec((0..3_usize, 0..4_usize, 0..40_i64), 1..25),
        again in prop::collection::vec((0..25_usize, 0..25_usize), 0..20),
        cuts in prop::collection::vec(1..6_usize, 1..30),
    ) {
        let ordered = "title: O\nname: ordered\ncorrelation:\n    type: temporal_ordered\n    rules: [many, off]\n    group-by: [userIdentity.arn]\n    timespan: 15m\ngenerate: true\n";
        let (rules, errors) = load(&[("o", format!("{MANY}---\n{ordered}---\n{OFF}"))]);
        prop_assert_eq!(errors, "");
        let events: Vec<EventRecord> = calls
            .iter()
            .map(|(by, key, at)| call("DisableKey", ["a", "b", "c"][*by], ["k", "l", "m", "n"][*key], at * 60))
            .collect();
        let mut at_once = Memory::default();
        at_once.take(&rules, &events);
        let mut shuffled = events.clone();
        for (from, to) in again {
            let (from, to) = (from % shuffled.len(), to % shuffled.len());
            let event = shuffled[from].clone();
            shuffled.swap(from, to);
            shuffled.push(event);
        }
        let mut piecewise = Memory::default();
        let mut cuts = cuts.into_iter().cycle();
        let mut rest = shuffled.as_slice();
        while !rest.is_empty() {
            let (batch, left) = rest.split_at(cuts.next().unwrap().min(rest.len()));
            piecewise.take(&rules, batch);
            rest = left;
        }
        prop_assert_eq!(at_once.told(), piecewise.told());
        prop_assert_eq!(at_once.said, piecewise.said);
    }
}
