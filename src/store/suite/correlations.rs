//! What correlation rules remember.

use super::*;
use crate::model::{CorrelationKey, CorrelationState, Remembered};
use crate::store::correlations::{load, prune, save, save_at_most};

fn state(rule: &str, group: &str, touched: i64, events: usize) -> CorrelationState {
    let event = |number: usize| Remembered {
        at: 7,
        event: format!("event-{number}"),
        call: "c".to_owned(),
        rules: vec![0, 2],
        values: vec!["a key".to_owned()],
        account: "111122223333".to_owned(),
        region: None,
        arrived: 8,
        told: number.is_multiple_of(2),
        ended: false,
        lifts: Vec::new(),
    };
    CorrelationState {
        key: CorrelationKey { rule: rule.to_owned(), group: group.to_owned() },
        touched_at: sql::micros(at(touched)),
        expires_at: sql::micros(at(touched + 100)),
        matches: (0..events).map(event).collect(),
    }
}

async fn stored(store: &Store, states: &[CorrelationState]) -> Vec<CorrelationState> {
    let keys = states.iter().map(|state| state.key.clone()).collect();
    let mut transaction = store.begin().await.unwrap().into_transaction();
    load(&mut transaction, &keys).await.unwrap()
}

pub(super) async fn what_is_remembered_comes_back_and_expires(bench: &Bench) {
    let store = bench.store().await;
    let states = [state("a", "g", 0, 3), state("a", "h", 50, 1), state("b", "g", 0, 0)];
    assert_eq!(stored(&store, &states).await, []);
    let mut transaction = store.begin().await.unwrap().into_transaction();
    assert_eq!(save(&mut transaction, &states).await.unwrap(), 0);
    transaction.rollback().await.unwrap();
    assert_eq!(stored(&store, &states).await, [], "it goes with the batch");

    let mut transaction = store.begin().await.unwrap().into_transaction();
    save(&mut transaction, &states).await.unwrap();
    let changed = [state("a", "g", 10, 60)];
    save(&mut transaction, &changed).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(stored(&store, &states).await, [changed[0].clone(), states[1].clone(), states[2].clone()]);

    let mut transaction = store.begin().await.unwrap().into_transaction();
    assert_eq!(prune(&mut transaction, at(111)).await.unwrap(), 2);
    transaction.commit().await.unwrap();
    assert_eq!(stored(&store, &states).await, [states[1].clone()]);
}

pub(super) async fn groups_are_forgotten_from_the_oldest_on(bench: &Bench) {
    let store = bench.store().await;
    let groups: Vec<CorrelationState> =
        (0..7).map(|number| state("a", &format!("g{number}"), 7 - number, 1)).collect();
    let mut transaction = store.begin().await.unwrap().into_transaction();
    save(&mut transaction, &[state("b", "g", 0, 1)]).await.unwrap();
    assert_eq!(save_at_most(&mut transaction, &groups, 4).await.unwrap(), 3);
    transaction.commit().await.unwrap();
    assert_eq!(stored(&store, &groups).await, groups[..4]);
    assert_eq!(stored(&store, &[state("b", "g", 0, 1)]).await.len(), 1);
}

pub(super) async fn what_is_remembered_outlives_a_restart(bench: &Bench) {
    let states = [state("a", "g", 0, 3)];
    let store = bench.store().await;
    let mut transaction = store.begin().await.unwrap().into_transaction();
    save(&mut transaction, &states).await.unwrap();
    transaction.commit().await.unwrap();
    drop(store);
    assert_eq!(stored(&bench.store().await, &states).await, states);
}
