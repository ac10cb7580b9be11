//! What the rules said.

use super::*;

pub(super) async fn verdicts_are_replaced_and_counted(bench: &Bench) {
    let store = bench.store().await;
    for (number, outcome) in [(1, Outcome::Unknown), (2, Outcome::Pass), (3, Outcome::Pass)] {
        let changes = judged(number, &[("r1", outcome), ("r2", Outcome::NotApplicable)], 0);
        store.commit(&batch(&number.to_string(), at(0)), &changes).await.unwrap();
    }
    let unknown = &store.verdict_rows(&VerdictFilter::default()).await.unwrap()[0];
    assert_eq!(unknown.subject, key_subject(1));
    assert_eq!(unknown.outcomes[0].reasons, ["kms:GetKeyPolicy denied"]);
    let changes = judged(1, &[("r1", Outcome::Fail), ("r2", Outcome::NotApplicable)], 60);
    store.commit(&batch("again", at(60)), &changes).await.unwrap();
    let count = |rule: &str, outcome, subjects| VerdictCount { rule: rule.to_owned(), outcome, subjects };
    assert_eq!(
        store.verdict_counts().await.unwrap(),
        [
            count("r1", Outcome::Pass, 2),
            count("r1", Outcome::Fail, 1),
            count("r2", Outcome::NotApplicable, 3)
        ]
    );
}

pub(super) async fn verdicts_come_in_pages(bench: &Bench) {
    let store = bench.store().await;
    for number in 1..=5 {
        let changes = judged(number, &[("r1", Outcome::Pass)], 0);
        store.commit(&batch(&number.to_string(), at(0)), &changes).await.unwrap();
    }
    let mut filter = VerdictFilter { limit: Some(2), ..VerdictFilter::default() };
    let mut seen = Vec::new();
    loop {
        let page = store.verdict_rows(&filter).await.unwrap();
        let Some(last) = page.last() else { break };
        filter.after = Some((last.subject.kind, last.subject.id.clone()));
        seen.extend(page.into_iter().map(|judged| judged.subject));
    }
    assert_eq!(seen, (1..=5).map(key_subject).collect::<Vec<_>>());
    assert_eq!(store.judged_subjects().await.unwrap().len(), 5);
    let nobody = VerdictFilter { kind: Some(SubjectKind::Trail), ..VerdictFilter::default() };
    assert_eq!(store.verdict_rows(&nobody).await.unwrap(), []);
}

pub(super) async fn findings_are_kept_with_their_history(bench: &Bench) {
    let store = bench.store().await;
    let rules = rules(&[("r1", Level::High)]);
    let mut previous = Vec::new();
    for (seconds, outcome) in [
        (0, Outcome::Fail),
        (60, Outcome::Fail),
        (120, Outcome::Unknown),
        (180, Outcome::Pass),
        (240, Outcome::Fail),
    ] {
        let changes = Changes {
            findings: settle(
                &[verdict("r1", outcome)],
                &rules,
                &previous,
                &Exceptions::default(),
                at(seconds),
            ),
            ..Changes::default()
        };
        store.commit(&batch(&seconds.to_string(), at(seconds)), &changes).await.unwrap();
        previous = store.findings_of_subjects(SubjectKind::Key, &[key(1).to_string()]).await.unwrap();
    }
    let [finding] = previous.as_slice() else { panic!("{previous:?}") };
    assert_eq!((finding.opened_count, finding.first_seen), (2, at(240)));
    let history = store.history(&finding.id).await.unwrap();
    let steps: Vec<_> = history.iter().map(|entry| (entry.at, entry.transition, entry.state)).collect();
    assert_eq!(
        steps,
        [
            (at(0), Transition::Opened, FindingState::Open),
            (at(120), Transition::Staled, FindingState::Open),
            (at(180), Transition::Resolved, FindingState::Resolved),
            (at(240), Transition::Opened, FindingState::Open),
        ]
    );
}

pub(super) async fn findings_are_filtered(bench: &Bench) {
    let store = bench.store().await;
    for number in 1..=3 {
        let changes = judged(number, &[("r1", Outcome::Fail), ("r2", Outcome::Fail)], i64::from(number));
        store.commit(&batch(&number.to_string(), at(i64::from(number))), &changes).await.unwrap();
    }
    let found = async |filter: FindingFilter| {
        let findings = store.findings(&filter).await.unwrap();
        findings.into_iter().map(|finding| (finding.rule, finding.subject.id)).collect::<Vec<_>>()
    };
    let all = found(FindingFilter::standing()).await;
    assert_eq!(all.len(), 6);
    assert_eq!(all[0], ("r1".to_owned(), key(3).to_string()), "worst and newest first");
    let severe = FindingFilter { min_level: Some(Level::Medium), ..FindingFilter::default() };
    assert_eq!(found(severe).await.len(), 3);
    let one = FindingFilter {
        rule: Some("r2".to_owned()),
        subject: Some((SubjectKind::Key, key(2).to_string())),
        account: Some("111122223333".parse().unwrap()),
        ..FindingFilter::standing()
    };
    assert_eq!(found(one).await, [("r2".to_owned(), key(2).to_string())]);
    let page = FindingFilter { offset: 2, limit: Some(3), ..FindingFilter::default() };
    assert_eq!(found(page).await, all[2..5]);
    let resolved = FindingFilter { states: [FindingState::Resolved].into(), ..FindingFilter::default() };
    assert_eq!(found(resolved).await, []);
    let by_id = store.findings_by_id(&["nobody".to_owned()]).await.unwrap();
    assert_eq!(by_id, []);
}
