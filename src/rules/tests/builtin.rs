//! The rule pack that comes with the program.

use super::super::builtin_files;
use super::*;

#[test]
fn every_rule_of_the_pack_loads_without_a_word_from_the_linter() {
    let files = builtin_files();
    if let Err(errors) = RuleSet::compile(&files, &[]) {
        panic!("{errors}");
    }
    let warnings: Vec<String> =
        files.iter().flat_map(RuleFile::warnings).map(|warning| warning.to_string()).collect();
    assert_eq!(warnings, Vec::<String>::new());
}

#[test]
fn every_exemplar_of_the_pack_holds() {
    let (rules, _) = RuleSet::load(&builtin_files(), &[]);
    let failed: Vec<ExemplarResult> =
        rules.rules().iter().flat_map(RuleSet::run_exemplars).filter(|result| !result.passed()).collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn every_event_rule_of_the_pack_is_indexed() {
    let (rules, _) = RuleSet::load(&builtin_files(), &[]);
    assert!(
        !rules.wants("nothing.amazonaws.com", "Nothing"),
        "a rule without a provable `eventSource` or `eventName` makes every event of an account be parsed"
    );
}
