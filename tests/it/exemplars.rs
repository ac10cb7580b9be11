//! The facts that event exemplars give are those that Keyward computes from their records.

use std::collections::BTreeSet;

use keyward::config::AuditPolicy;
use keyward::facts::{AccountScope, Context, Estate, OwnIdentity, event_enrichment};
use keyward::jurisdiction::{Assignments, Atlas};
use keyward::model::{EventRecord, Fact, FactMap, SubjectKind};
use keyward::rules::{Exemplar, RuleSet, builtin_files};

/// What depends on the keys that were read, which an exemplar does not tell.
fn depends_on_the_inventory(path: &str) -> bool {
    path.starts_with("boundary.") || path == "target.outside"
}

fn leaves(facts: &FactMap, above: &str, found: &mut Vec<(String, Fact)>) {
    for (name, fact) in facts {
        let path = if above.is_empty() { name.clone() } else { format!("{above}.{name}") };
        match fact {
            Fact::Map(below) => leaves(below, &path, found),
            _ => found.push((path, fact.clone())),
        }
    }
}

fn computed(record: &EventRecord) -> Fact {
    let atlas = Atlas::builtin().unwrap();
    let assignments = Assignments::compile(&[], &atlas).unwrap();
    let accounts = AccountScope {
        audited: BTreeSet::from(["111122223333".parse().unwrap()]),
        ..AccountScope::default()
    };
    let context = Context {
        atlas: &atlas,
        assignments: &assignments,
        policy: &AuditPolicy::default(),
        accounts: &accounts,
        own: &OwnIdentity { role: Some("KeywardReader".to_owned()), ..OwnIdentity::default() },
        now: record.time(),
    };
    event_enrichment(record, &Estate::default(), &context).root
}

/// Where an exemplar says something else than what its record tells.
fn differences(exemplar: &Exemplar) -> Vec<String> {
    let single = exemplar.event.iter().map(|record| (record, &exemplar.facts));
    let several = exemplar.events.iter().map(|(record, facts)| (record, facts));
    single.chain(several).flat_map(|(record, facts)| differences_of(exemplar, record, facts)).collect()
}

fn differences_of(exemplar: &Exemplar, record: &serde_json::Value, given_facts: &FactMap) -> Vec<String> {
    let record = EventRecord::new(record.clone()).unwrap();
    let facts = computed(&record);
    let (mut given, mut wrong) = (Vec::new(), Vec::new());
    leaves(given_facts, "", &mut given);
    for (path, expected) in given.into_iter().filter(|(path, _)| !depends_on_the_inventory(path)) {
        let found = facts.at(&path);
        if found != Some(&expected) {
            wrong.push(format!("{}: {path} is {found:?}, not {expected:?}", exemplar.name));
        }
    }
    for path in exemplar.unknown.iter().filter(|path| !depends_on_the_inventory(path)) {
        let found = facts.at(path);
        if !matches!(found, Some(Fact::Unknown(_))) {
            wrong.push(format!("{}: {path} is {found:?}, not unknown", exemplar.name));
        }
    }
    wrong
}

#[test]
fn exemplars_say_of_their_records_what_the_records_tell() {
    let pack = RuleSet::compile(&builtin_files(), &[]).unwrap_or_else(|errors| panic!("{errors}"));
    let mut wrong = Vec::new();
    for rule in pack.rules().iter().filter(|rule| rule.kind == SubjectKind::Event) {
        let differing = rule.exemplars.iter().flat_map(differences);
        wrong.extend(differing.map(|difference| format!("{}: {difference}", rule.name)));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
