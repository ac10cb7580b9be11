//! Which events were seen, and who used which key.

use std::collections::BTreeMap;

use super::*;
use crate::model::{KeyArn, Network, OTHERS, Unattributed, UsageOutcome};

const NONE: Vec<u64> = Vec::new();

fn block(hour: i64) -> Block {
    Block { account: "111122223333".to_owned(), region: "eu-central-1".to_owned(), hour }
}

/// Takes fingerprints in a transaction of their own; gives those that are new.
async fn take(store: &Store, cache: &mut SeenCache, blocks: &[(Block, Vec<u64>)]) -> Vec<Vec<u64>> {
    let mut transaction = store.begin().await.unwrap().into_transaction();
    let taken = seen::take(&mut transaction, cache, blocks, at(0)).await.unwrap();
    transaction.commit().await.unwrap();
    let fresh = blocks.iter().zip(&taken.duplicates).map(|((_, prints), places)| {
        let is_fresh = |(place, _): &(usize, &u64)| !places.contains(place);
        prints.iter().enumerate().filter(is_fresh).map(|(_, print)| *print).collect()
    });
    let fresh = fresh.collect();
    taken.committed(cache);
    fresh
}

async fn number(store: &Store, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(&store.pool).await.unwrap()
}

pub(super) async fn an_event_is_new_once_in_its_block(bench: &Bench) {
    let store = bench.store().await;
    let (mut one, mut other) = (SeenCache::default(), SeenCache::new(2));
    let first = [(block(1), vec![0, 5, u64::MAX]), (block(2), vec![5])];
    assert_eq!(take(&store, &mut one, &first).await, [vec![0, 5, u64::MAX], vec![5]]);
    let second = [(block(-30), vec![5]), (block(1), vec![4, 5, 6])];
    assert_eq!(take(&store, &mut one, &second).await, [vec![5], vec![4, 6]]);
    // Another instance, which has read nothing and can hold nearly nothing, knows the same.
    let third = [(block(1), vec![4, 5, 6, 7, u64::MAX]), (block(2), vec![5, 6])];
    assert_eq!(take(&store, &mut other, &third).await, [vec![7], vec![6]]);
    // And the first learns of what the other wrote.
    assert_eq!(take(&store, &mut one, &third).await, [NONE, NONE]);
    assert_eq!(take(&store, &mut one, &[]).await, Vec::<Vec<u64>>::new());
    let heard = store.heard().await.unwrap();
    assert_eq!((heard.len(), heard[0].records, heard[0].hours), (1, 9, 3));
    let hour = |hour: i64| DateTime::from_timestamp(hour * 3_600, 0).unwrap();
    assert_eq!((heard[0].first, heard[0].last), (hour(-30), hour(3)));
}

pub(super) async fn what_was_not_committed_was_not_seen(bench: &Bench) {
    let store = bench.store().await;
    let mut cache = SeenCache::default();
    take(&store, &mut cache, &[(block(1), vec![1])]).await;
    let mut transaction = store.begin().await.unwrap().into_transaction();
    let taken = seen::take(&mut transaction, &mut cache, &[(block(1), vec![1, 2])], at(0)).await.unwrap();
    assert_eq!(taken.duplicates, [[0]]);
    drop(transaction);
    drop(taken);
    assert_eq!(take(&store, &mut cache, &[(block(1), vec![1, 2])]).await, [[2]]);
    assert_eq!(take(&store, &mut SeenCache::default(), &[(block(1), vec![1, 2])]).await, [NONE]);
}

pub(super) async fn many_runs_become_few_and_nothing_is_lost(bench: &Bench) {
    let store = bench.store().await;
    let (mut writer, mut reader) = (SeenCache::default(), SeenCache::default());
    for batch in 0..60_u64 {
        let prints: Vec<u64> = (0..5).map(|n| n * 1_000 + batch).collect();
        assert_eq!(take(&store, &mut writer, &[(block(1), prints)]).await[0].len(), 5);
        if batch == 7 {
            take(&store, &mut reader, &[(block(1), vec![0])]).await;
        }
        assert!(number(&store, "SELECT COUNT(*) FROM seen").await <= 16);
    }
    let all: Vec<u64> = (0..5).flat_map(|n| (0..60).map(move |batch| n * 1_000 + batch)).collect();
    for cache in [&mut reader, &mut SeenCache::default(), &mut writer] {
        assert_eq!(take(&store, cache, &[(block(1), all.clone())]).await, [NONE]);
    }
}

pub(super) async fn a_block_that_was_forgotten_begins_anew_for_everybody(bench: &Bench) {
    let store = bench.store().await;
    let (mut one, mut other) = (SeenCache::default(), SeenCache::default());
    for cache in [&mut one, &mut other] {
        take(&store, cache, &[(block(1), vec![1, 2, 3])]).await;
    }
    let retention =
        Retention { history: TimeDelta::days(900), events: TimeDelta::days(8), usage: TimeDelta::days(900) };
    assert_eq!(store.prune(at(8 * 86_400), retention).await.unwrap(), Pruned::default());
    assert_eq!(store.prune(at(8 * 86_400 + 1), retention).await.unwrap().runs, 1);
    assert_eq!(take(&store, &mut SeenCache::default(), &[(block(1), vec![1])]).await, [[1]]);
    take(&store, &mut one, &[(block(1), vec![4])]).await;
    assert_eq!(
        take(&store, &mut other, &[(block(1), vec![4])]).await,
        [NONE],
        "a run after the last it read"
    );
}

pub(super) async fn of_many_writers_one_has_each_event(bench: &Bench) {
    let store = bench.store().await;
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..4_u64 {
        let store = store.clone();
        tasks.spawn(async move {
            let mut cache = SeenCache::new(50);
            let mut fresh = Vec::new();
            for batch in 0..30 {
                // Each print is brought by two or more writers.
                let prints: Vec<u64> = (0..20).map(|n| 10 * (batch + writer) + n).collect();
                let hour = i64::try_from((batch + writer) % 3).unwrap();
                fresh.extend(take(&store, &mut cache, &[(block(hour), prints)]).await.into_iter().flatten());
            }
            fresh
        });
    }
    let mut fresh = Vec::new();
    while let Some(done) = tasks.join_next().await {
        fresh.extend(done.unwrap());
    }
    let runs = store.heard().await.unwrap();
    assert_eq!(runs[0].records, fresh.len() as u64);
    let mut truth = BTreeSet::new();
    for start in 0..33_u64 {
        truth.extend((0..20).map(|n| (start % 3, 10 * start + n)));
    }
    assert_eq!(fresh.len(), truth.len());
}

fn usage(number: u32, principal: u32, operation: &str, outcome: UsageOutcome) -> Usage {
    Usage {
        hour: 500_000,
        key: key(number).to_string(),
        principal: format!("arn:aws:iam::111122223333:role/{principal}"),
        operation: operation.to_owned(),
        outcome,
        account: "111122223333".to_owned(),
        network: if principal.is_multiple_of(2) { Network::Public } else { Network::VpcEndpoint },
        context: "s3".to_owned(),
    }
}

fn times(count: u64, first: i64, last: i64) -> UsageCount {
    UsageCount { count, first: at(first), last: at(last) }
}

async fn add(store: &Store, deltas: &[(Usage, UsageCount)], bound: usize) -> u64 {
    let mut transaction = store.begin().await.unwrap().into_transaction();
    let folded = usage::write(&mut transaction, deltas, bound).await.unwrap();
    transaction.commit().await.unwrap();
    folded
}

/// The lines of a key up to an hour.
async fn lines_of(store: &Store, key: &KeyArn, to: i64) -> Vec<KeyUsage> {
    let place = (key.key_set(), key.region.clone());
    store.usage_in_regions(&[place], to).await.unwrap().into_values().flatten().collect()
}

/// When a key was last used.
async fn last_used(store: &Store, key: &KeyArn) -> Option<LastUse> {
    let mut all = store.all_last_uses().await.unwrap();
    let of_set = all.remove(key.key_set().as_str())?;
    of_set.into_iter().find(|used| used.key == key.to_string() && used.outcome == UsageOutcome::Success)
}

/// What every way to write them has to add up to.
fn totals(lines: &[(Usage, UsageCount)]) -> BTreeMap<(String, UsageOutcome), UsageCount> {
    let mut totals: BTreeMap<_, UsageCount> = BTreeMap::new();
    for (usage, count) in lines {
        let of = (usage.operation.clone(), usage.outcome);
        totals.entry(of).and_modify(|total| total.add(*count)).or_insert(*count);
    }
    totals
}

pub(super) async fn totals_are_true_in_any_order_and_batches(bench: &Bench) {
    let store = bench.store().await;
    let outcomes = [UsageOutcome::Success, UsageOutcome::Denied, UsageOutcome::DryRun];
    let deltas = |key: u32| {
        let one = move |n: u32| {
            let outcome = outcomes[n as usize % 3];
            let operation = if n.is_multiple_of(2) { "Decrypt" } else { "GenerateDataKey" };
            let seconds = i64::from(n * 37 % 100);
            (usage(key, n % 23, operation, outcome), times(u64::from(n % 5 + 1), seconds, seconds + 3))
        };
        (0..200).map(one).collect::<Vec<_>>()
    };
    for (number, size, is_reversed) in [(1, 200, false), (2, 7, false), (3, 1, true), (4, 40, true)] {
        let mut deltas = deltas(number);
        let truth = totals(&deltas);
        if is_reversed {
            deltas.reverse();
        }
        let mut lines_by_bound = Vec::new();
        for (bound, hours) in [(LINES_A_KEY, 0), (10, 1), (0, 2)] {
            let mut folded = 0;
            for batch in deltas.chunks(size) {
                let mut merged: BTreeMap<Usage, UsageCount> = BTreeMap::new();
                for (usage, count) in batch {
                    let usage = Usage { hour: usage.hour + hours, ..usage.clone() };
                    merged.entry(usage).and_modify(|total| total.add(*count)).or_insert(*count);
                }
                folded += add(&store, &merged.into_iter().collect::<Vec<_>>(), bound).await;
            }
            let hour = 500_000 + hours;
            let mut lines = lines_of(&store, &key(number), hour).await;
            lines.retain(|(usage, _)| usage.hour == hour);
            assert_eq!(totals(&lines), truth, "{size} a batch, at most {bound} lines");
            let in_folded: u64 =
                lines.iter().filter(|(usage, _)| usage.is_folded()).map(|(_, count)| count.count).sum();
            assert_eq!(folded, in_folded);
            lines_by_bound.push(lines.iter().filter(|(usage, _)| usage.principal != OTHERS).count());
        }
        assert_eq!(lines_by_bound, [138, 10, 0]);
    }
}

pub(super) async fn a_set_is_asked_for_in_all_its_regions(bench: &Bench) {
    let store = bench.store().await;
    let primary: KeyArn = "arn:aws:kms:eu-central-1:111122223333:key/mrk-1234abcd".parse().unwrap();
    let replica = primary.in_region("us-east-1".parse().unwrap());
    let line = |arn: &KeyArn, hour, outcome, last| {
        let usage = Usage { key: arn.to_string(), hour, ..usage(1, 1, "Decrypt", outcome) };
        (usage, times(2, 0, last))
    };
    let deltas = [
        line(&primary, 500_000, UsageOutcome::Success, 7),
        line(&replica, 500_001, UsageOutcome::Denied, 50),
        line(&replica, 500_002, UsageOutcome::Success, 20),
        (usage(1, 1, "Decrypt", UsageOutcome::Success), times(1, 0, 1)),
    ];
    add(&store, &deltas, LINES_A_KEY).await;
    assert_eq!(lines_of(&store, &primary, i64::MAX).await, deltas[..1]);
    assert_eq!(lines_of(&store, &replica, i64::MAX).await, deltas[1..3]);
    let used = last_used(&store, &replica).await.unwrap();
    assert_eq!((used.at, used.operation.as_str(), used.network), (at(20), "Decrypt", Network::VpcEndpoint));
    // What comes late does not make it older, and what was refused is no use.
    let late = [
        line(&replica, 499_000, UsageOutcome::Success, 10),
        line(&replica, 500_003, UsageOutcome::Error, 99),
    ];
    add(&store, &late, LINES_A_KEY).await;
    assert_eq!(last_used(&store, &replica).await, Some(used));
    assert_eq!(last_used(&store, &key(9)).await, None);
    let all = store.all_last_uses().await.unwrap();
    let of_set = all[primary.key_set().as_str()].iter().map(|used| (used.key.as_str(), used.outcome));
    let (one, other) = (primary.to_string(), replica.to_string());
    let expected = [
        (one.as_str(), UsageOutcome::Success),
        (other.as_str(), UsageOutcome::Success),
        (other.as_str(), UsageOutcome::Denied),
        (other.as_str(), UsageOutcome::Error),
    ];
    assert_eq!((all.len(), of_set.collect::<Vec<_>>()), (2, expected.to_vec()));
    let places = [(primary.key_set(), replica.region.clone()), (key(1).key_set(), replica.region.clone())];
    let outside = store.usage_in_regions(&places, 500_002).await.unwrap();
    assert_eq!(outside.into_iter().collect::<Vec<_>>().len(), 1);
    let outside = store.usage_in_regions(&places, 500_001).await.unwrap();
    assert_eq!(outside[primary.key_set().as_str()], [late[0].clone(), deltas[1].clone()]);
}

pub(super) async fn old_lines_are_pruned_and_the_last_use_stays(bench: &Bench) {
    let store = bench.store().await;
    let lines: Vec<_> = [500_000, 500_024, 500_025]
        .into_iter()
        .map(|hour| (Usage { hour, ..usage(1, 1, "Sign", UsageOutcome::Success) }, times(1, 0, hour)))
        .collect();
    add(&store, &lines, LINES_A_KEY).await;
    take(&store, &mut SeenCache::default(), &[(block(500_000), vec![1]), (block(500_025), vec![2, 3])]).await;
    let of = Unattributed {
        hour: 500_000,
        account: "111122223333".to_owned(),
        region: "eu-central-1".to_owned(),
        operation: "Decrypt".to_owned(),
        outcome: UsageOutcome::Denied,
    };
    let others = [(of.clone(), times(3, 0, 1)), (Unattributed { hour: 500_025, ..of }, times(4, 0, 1))];
    for _ in 0..2 {
        let mut transaction = store.begin().await.unwrap().into_transaction();
        usage::write_unattributed(&mut transaction, &others).await.unwrap();
        transaction.commit().await.unwrap();
    }
    let place = ("111122223333".to_owned(), "eu-central-1".to_owned());
    assert_eq!(store.unattributed(500_025).await.unwrap()[&place], 14);
    let days = |days| TimeDelta::days(days);
    let retention = Retention { history: days(90_000), events: days(90_000), usage: TimeDelta::hours(1) };
    let now = DateTime::from_timestamp(500_026 * 3_600 - 1, 0).unwrap();
    let pruned = store.prune(now, retention).await.unwrap();
    assert_eq!(pruned, Pruned { usage: 1, ..Pruned::default() });
    assert_eq!(lines_of(&store, &key(1), i64::MAX).await, lines[1..]);
    assert_eq!(store.unattributed(500_025).await.unwrap()[&place], 8);
    assert_eq!(store.heard().await.unwrap()[0].records, 2);
    let retention = Retention { usage: TimeDelta::zero(), ..retention };
    store.prune(now + days(9), retention).await.unwrap();
    assert!(lines_of(&store, &key(1), i64::MAX).await.is_empty());
    assert_eq!(last_used(&store, &key(1)).await.unwrap().at, at(500_025));
}
