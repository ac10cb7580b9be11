//! The steps do what they say.

use super::*;
use crate::sandbox::clock::Clock;
use crate::sandbox::estate;
use crate::sandbox::kms::KeyView;

fn world() -> World {
    estate::demo(Clock::standing("2026-11-23T12:00:00Z".parse().unwrap())).unwrap()
}

fn view(world: &World, key: KeyRef, region: &str) -> Option<KeyView> {
    let id = id_of(world, key).unwrap();
    let views = world.kms.views(&key.account.parse().unwrap(), &region.parse().unwrap());
    views.into_iter().find(|view| view.id == id)
}

#[test]
fn every_step_succeeds_and_changes_what_it_names() {
    let mut world = world();
    assert!(view(&world, REPLICATED, ABROAD).is_none());
    for step in Scenario::incidents().steps() {
        let result = step.run(&mut world);
        assert!(result.is_ok(), "{}: {result:?}", step.name);
        if step.violates.contains(&"rotation-disabled") {
            assert!(!view(&world, UNROTATED, UNROTATED.region).unwrap().rotation_enabled);
        }
    }
    assert!(view(&world, UNROTATED, UNROTATED.region).unwrap().rotation_enabled);
    let abroad = view(&world, REPLICATED, ABROAD).unwrap();
    assert!(abroad.replica && abroad.policy == view(&world, REPLICATED, REPLICATED.region).unwrap().policy);
    let alias = world.kms.key_id_of_alias(
        &REPLICATED.account.parse().unwrap(),
        &ABROAD.parse().unwrap(),
        REPLICATED.name,
    );
    assert_eq!(alias, Some(abroad.id));
    assert_eq!(view(&world, DELETED, DELETED.region).unwrap().state, "PendingDeletion");
    assert!(view(&world, PUBLISHED, PUBLISHED.region).unwrap().policy.contains("TemporaryDebugging"));
    assert!(world.tally.calls("kms", "Decrypt") > 100);
    assert_eq!(world.tally.throttled(), 0);
}

#[test]
fn the_steps_are_in_order_and_last_about_a_hundred_seconds() {
    let scenario = Scenario::incidents();
    assert!(scenario.steps().is_sorted_by_key(|step| step.at_secs));
    assert_eq!(scenario.steps().last().map(|step| step.at_secs), Some(LENGTH));
    for name in Scenario::NAMES {
        assert!(Scenario::named(name).is_some(), "{name}");
    }
    assert!(Scenario::named("unknown").is_none());
    assert!(Scenario::quiet().steps().iter().all(|step| step.violates.is_empty()));
}

#[tokio::test(start_paused = true)]
async fn it_plays_in_its_time_and_stops_when_cancelled() {
    let world = Arc::new(Mutex::new(world()));
    let begun = tokio::time::Instant::now();
    let (mut names, mut failures) = (Vec::new(), 0);
    Scenario::incidents()
        .play(Arc::clone(&world), 10.0, CancellationToken::new(), |step, result| {
            names.push(step.name);
            failures += usize::from(result.is_err());
        })
        .await;
    assert_eq!((begun.elapsed().as_secs(), failures), (10, 0));
    for incident in INCIDENTS {
        assert_eq!(names.iter().filter(|name| **name == incident.name).count(), 1, "{}", incident.name);
    }

    let cancelled = CancellationToken::new();
    cancelled.cancel();
    let mut steps = 0;
    Scenario::incidents().play(world, 0.0, cancelled, |_, _| steps += 1).await;
    assert!(steps <= 1);
}
