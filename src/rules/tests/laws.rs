//! What holds of every rule and every document.

use proptest::prelude::*;

use super::*;
use crate::records::{self, Envelope, Field, Limits, Malformed, Place, Sink};
use crate::rules::{NOT_LOOKED_AT, Screened};

const SELECTIONS: &str = "    a: { tags.a: x }\n    b: { tags.b|exists: true }\n    c: { tags.c|neq: y }\n    d: { tags.d|startswith: [x, y] }\n    e: { tags.a|fieldref: tags.e }\n    f: { tags.e: [null, x] }\n";

/// A condition over the selections above.
fn condition() -> impl Strategy<Value = String> {
    let leaf =
        prop::sample::select(vec!["a", "b", "c", "d", "e", "f", "2 of them", "all of them", "1 of them"]);
    leaf.prop_map(str::to_owned).prop_recursive(4, 16, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|part| format!("not ({part})")),
            (inner.clone(), inner.clone()).prop_map(|(one, other)| format!("({one}) and ({other})")),
            (inner.clone(), inner).prop_map(|(one, other)| format!("({one}) or ({other})")),
        ]
    })
}

fn known() -> impl Strategy<Value = Option<Fact>> {
    prop_oneof![
        Just(None),
        Just(Some(Fact::Null)),
        Just(Some(Fact::from("x"))),
        Just(Some(Fact::from("y"))),
        Just(Some(Fact::Bool(true))),
        Just(Some(Fact::texts(["x", "z"]))),
    ]
}

fn leaf() -> impl Strategy<Value = Option<Fact>> {
    prop_oneof![known(), known(), Just(Some(Fact::Unknown("kms:ListResourceTags denied".to_owned())))]
}

fn document(leaves: [Option<Fact>; 5]) -> Fact {
    let named =
        ["a", "b", "c", "d", "e"].into_iter().zip(leaves).filter_map(|(name, leaf)| Some((name, leaf?)));
    Fact::map([("tags", Fact::map(named))])
}

fn says(condition: &str, root: &Fact) -> Verdict {
    on_key(&posture("key", &format!("{SELECTIONS}    condition: {condition}\n")), root.clone())
}

fn any_json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<u64>().prop_map(Json::from),
        any::<f64>().prop_map(Json::from),
        ".{0,8}".prop_map(Json::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        let names = prop::sample::select(vec![
            "eventName",
            "eventSource",
            "errorCode",
            "userIdentity",
            "type",
            "requestParameters",
            "items",
            "resources",
        ]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            prop::collection::btree_map(names.prop_map(str::to_owned), inner, 0..5)
                .prop_map(|map| map.into_iter().collect()),
        ]
    })
}

/// What a look at a record tells of rules.
fn screened(rules: &RuleSet, event: &Json) -> Screened {
    struct Screening<'a>(&'a RuleSet, Option<Screened>);

    impl Sink for Screening<'_> {
        fn record(&mut self, envelope: &Envelope<'_>, _: Place) {
            let text = |field| envelope.text(field).unwrap();
            let rules = self.0.candidates(&text(Field::EventSource), &text(Field::EventName));
            self.1 = Some(self.0.screen(
                &self.0.grouped(&rules),
                envelope,
                &Fact::Unknown(NOT_LOOKED_AT.to_owned()),
            ));
        }

        fn malformed(&mut self, malformed: Malformed) {
            panic!("{malformed:?}");
        }
    }

    let mut screening = Screening(rules, None);
    records::read(event.to_string().as_bytes(), &Limits::default(), &mut screening);
    screening.1.unwrap()
}

/// The fields that are asked for texts.
const ASKED: [&str; 4] = ["userIdentity.arn", "userAgent", "requestParameters.names", "eventName"];

/// Detections that ask for texts, in all the ways that there are to ask.
fn asking() -> impl Strategy<Value = String> {
    let way = prop::sample::select(vec![
        "",
        "|contains",
        "|startswith",
        "|endswith",
        "|cased",
        "|contains|all",
        "|re",
        "|neq",
        "|windash",
        "|wide|base64offset|contains",
    ]);
    let text = prop::sample::select(vec!["ab", "b", "Kb", "a*b", "*", "?", "7", "\u{212a}"]);
    let texts = prop::collection::vec(text, 1..4);
    let selection = (prop::sample::select(ASKED.to_vec()), way, texts).prop_map(|(field, way, texts)| {
        let texts: Vec<&str> = if way == "|re" { vec!["a.?b"] } else { texts };
        format!("{{ {field}{way}: ['{}'] }}", texts.join("', '"))
    });
    let condition = prop::sample::select(vec!["a and b", "a or b", "a", "a and not b", "2 of them"]);
    (selection.clone(), selection, condition).prop_map(|(one, other, condition)| {
        format!("    a: {one}\n    b: {other}\n    condition: {condition}")
    })
}

/// So many rules for each field that it is looked at for all of them at once, and none that holds.
fn beside() -> Vec<RuleFile> {
    let rule = |field: &str, at| {
        event_rule(
            &format!("{}-{at}", field.replace('.', "-").to_lowercase()),
            &format!("    s: {{ {field}|contains: zzzz-{at} }}\n    condition: s"),
        )
    };
    ASKED.iter().flat_map(|field| (0..8).map(move |at| rule(field, at))).collect()
}

/// What may be in a field that is asked for texts.
fn answering() -> impl Strategy<Value = Json> {
    let plain = || "[abkB7]{0,5}".prop_map(Json::from);
    prop_oneof![
        plain(),
        plain(),
        prop::collection::vec(plain(), 0..3).prop_map(Json::from),
        "[ab\u{212a}\"\\\\]{0,4}".prop_map(Json::from),
        prop::sample::select(vec![
            json!(null),
            json!(7),
            json!({ "ab": "Kb" }),
            json!([7, null, ["ab"]]),
            json!("\u{212a}b")
        ]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn de_morgan(one in condition(), other in condition(), leaves in prop::array::uniform5(leaf())) {
        let root = document(leaves);
        let and = says(&format!("not (({one}) and ({other}))"), &root);
        let or = says(&format!("not ({one}) or not ({other})"), &root);
        prop_assert_eq!((and.outcome, and.reasons), (or.outcome, or.reasons));
    }

    #[test]
    fn negation_turns_answers_and_keeps_unknowns(condition in condition(), leaves in prop::array::uniform5(leaf())) {
        let root = document(leaves);
        let expected = match says(&condition, &root).outcome {
            Outcome::Pass => Outcome::Fail,
            Outcome::Fail => Outcome::Pass,
            other => other,
        };
        prop_assert_eq!(says(&format!("not ({condition})"), &root).outcome, expected);
    }

    /// Whatever an unknown leaf turns out to be, it never turns an answer that was given without it.
    #[test]
    fn learning_more_never_turns_an_answer(
        condition in condition(),
        leaves in prop::array::uniform5(leaf()),
        learnt in prop::array::uniform5(known()),
    ) {
        let before = says(&condition, &document(leaves.clone()));
        let mut after = leaves;
        for (leaf, known) in after.iter_mut().zip(learnt) {
            if matches!(leaf, Some(Fact::Unknown(_))) {
                *leaf = known;
            }
        }
        let after = says(&condition, &document(after));
        prop_assert_ne!(after.outcome, Outcome::Unknown);
        prop_assert!(after.reasons.is_empty());
        if before.outcome == Outcome::Unknown {
            prop_assert!(!before.reasons.is_empty());
        } else {
            prop_assert_eq!(before.outcome, after.outcome);
        }
    }

    #[test]
    fn any_record_is_judged_without_panic_and_the_same_way_twice(more in any_json(), enrichment in any_json()) {
        let detection = "    a: { userIdentity.type: x }\n    b: { requestParameters.items.type|contains: [a, b] }\n    c: { resources|exists: true }\n    d: { event.denied: true }\n    k: [x, y]\n    condition: a or b or not c or d or k";
        let rules = RuleSet::compile(&[event_rule("any", detection)], &[]).unwrap();
        let fields = if more.is_object() { more } else { json!({ "requestParameters": more }) };
        let mut fields = fields;
        for envelope in ["eventName", "eventSource"] {
            fields.as_object_mut().unwrap().remove(envelope);
        }
        let event = record("X", &fields);
        let enrichment = facts(SubjectKind::Event, Fact::map([("event", Fact::from(&enrichment))]));
        let once = rules.detect(&enrichment, &event);
        prop_assert_eq!(&once, &rules.detect(&enrichment, &event));

        // As one document of facts, which is another way to read the same.
        let mut whole = Fact::from(event.record());
        if let (Fact::Map(whole), Fact::Map(more)) = (&mut whole, &enrichment.root) {
            whole.extend(more.clone());
        }
        let rule = &rules.rules()[0];
        prop_assert_eq!(rule.program.outcome(&whole) == Outcome::Fail, once.iter().any(|verdict| verdict.outcome == Outcome::Fail));
    }

    #[test]
    fn any_text_is_a_rule_or_an_error(text in "(title|logsource|detection|condition|keyward|level|[a-z|*:{}\\[\\]&!' \n-]){0,40}") {
        let (rules, errors) = RuleSet::load(&[file("any", &text)], &[]);
        prop_assert!(rules.rules().is_empty() != errors.is_empty());
    }

    #[test]
    fn any_detection_is_compiled_or_refused(key in "[a-z.|]{0,24}", value in any_json(), condition in "[s ()12ofandrtem*_]{0,24}") {
        let rule = json!({
            "title": "Any",
            "logsource": { "product": "aws", "service": "cloudtrail" },
            "detection": { "s": { key: value }, "condition": condition },
        });
        let (rules, errors) = RuleSet::load(&[file("any", &rule.to_string())], &[]);
        prop_assert!(rules.rules().is_empty() != errors.is_empty());
    }

    /// The index may make an event meet a rule in vain, and never keeps it from one that would speak.
    #[test]
    fn the_index_hides_nothing(
        condition in "(not )?[abcde] (and|or) (not )?[abcde] (and|or) (not )?\\([abcde] (and|or) [abcde]\\)|[12] of them|all of [abcde]",
        source in prop::sample::select(vec!["kms.amazonaws.com", "KMS.amazonaws.com", "s3.amazonaws.com"]),
        name in prop::sample::select(vec!["CreateKey", "createkey", "DisableKey", "Decrypt"]),
    ) {
        let detection = format!(
            "    a: {{ eventSource: kms.amazonaws.com }}\n    b: {{ eventName: [CreateKey, DisableKey] }}\n    c: {{ eventName|startswith: Create }}\n    d: [ {{ eventName: DisableKey }}, {{ eventSource: s3.amazonaws.com, eventName|contains: a }} ]\n    e: {{ eventName|cased: CreateKey, eventName|neq: DisableKey }}\n    condition: {condition}"
        );
        let rules = RuleSet::compile(&[event_rule("any", &detection)], &[]).unwrap();
        let event = record(name, &json!({ "eventSource": source }));
        let document = EventDocument { record: event.record(), enrichment: &Fact::Null };
        let speaks = rules.rules()[0].outcome(&document) == Outcome::Fail;
        prop_assert!(!speaks || rules.wants(source, name));
        prop_assert_eq!(speaks, rules.detect(&facts(SubjectKind::Event, Fact::Null), &event).len() == 1);
    }

    /// Verdicts come by the rules' names, however the files are ordered.
    #[test]
    fn the_order_of_files_does_not_matter(turn in 0_usize..4) {
        let mut files: Vec<RuleFile> = ["a", "b", "c", "d"]
            .map(|name| event_rule(name, "    s: { eventName: [X, Y] }\n    condition: s"))
            .to_vec();
        let in_order = RuleSet::compile(&files, &[]).unwrap();
        files.rotate_left(turn);
        let turned = RuleSet::compile(&files, &[]).unwrap();
        let (event, nothing) = (record("Y", &json!({})), facts(SubjectKind::Event, Fact::map::<String>([])));
        prop_assert_eq!(in_order.detect(&nothing, &event), turned.detect(&nothing, &event));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Rules that are ruled out together are those that would be ruled out one by one.
    #[test]
    fn guards_rule_out_what_does_not_hold(
        asking in prop::collection::vec(asking(), 4),
        fields in prop::array::uniform3(answering()),
    ) {
        let [arn, agent, names] = fields;
        let event = record("ab", &json!({
            "userIdentity": { "arn": arn }, "userAgent": agent, "requestParameters": { "names": names },
        }));
        let may_hold = |files: &[RuleFile]| {
            let (rules, _) = RuleSet::load(files, &[]);
            screened(&rules, event.record()).may_hold
        };
        let holds_beside = |file: &RuleFile| may_hold(std::slice::from_ref(file));
        let all = beside();
        // Of fields that take more than a look, those beside may hold themselves.
        let (odd, quiet): (Vec<RuleFile>, Vec<RuleFile>) = all.iter().cloned().partition(holds_beside);
        for detection in asking {
            let rule = event_rule("the-rule", &detection);
            let by_itself = holds_beside(&rule);
            for (others, others_may_hold) in [(&all, !odd.is_empty()), (&quiet, false)] {
                let together: Vec<RuleFile> = others.iter().cloned().chain([rule.clone()]).collect();
                prop_assert_eq!(may_hold(&together), by_itself || others_may_hold, "{}", detection);
            }
        }
    }
}
