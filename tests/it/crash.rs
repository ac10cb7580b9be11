//! `kill -9` again and again while things happen: nothing is lost, and nothing is said twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use keyward::sandbox::estate::{ANALYTICS, APAC, CUSTOMERS, PAYMENTS, STANDARD_TOPIC, TOPIC};
use keyward::sandbox::scenario::{INCIDENTS, Scenario};

use crate::daemon_lab::{Alert, Lab, PATIENCE, Settings, lock};
use crate::support::wait_for;

/// The scenario takes a hundred seconds as it is written.
const SPEED: f64 = 4.0;
/// At least so often the daemon is killed at any moment, and so often right after something was published.
const KILLS: usize = 12;
const KILLS_AT_PUBLICATIONS: usize = 4;
/// As many messages as one turn of the outbox publishes.
const A_TURN: usize = 10;

const SETTINGS: Settings = Settings {
    accounts: &[PAYMENTS, CUSTOMERS, ANALYTICS, APAC],
    regions: &["ap-southeast-1", "eu-central-1", "eu-west-1", "us-east-1", "us-west-2"],
    sweep_secs: 5,
    usage: true,
    topics: &[TOPIC, STANDARD_TOPIC],
    disabled: &[],
    residency: true,
};

/// Plays the incidents. What is put right is put right only once it was seen that it was wrong: else the
/// runs would rightly differ.
fn play(lab: &Lab) {
    let world = lab.shared_world();
    let started = Instant::now();
    for step in Scenario::incidents().steps() {
        let at = Duration::from_secs(step.at_secs).div_f64(SPEED);
        std::thread::sleep(at.saturating_sub(started.elapsed()));
        for rule in step.resolves {
            let key = lab.key_id(step.key.unwrap());
            wait_for("the alert before the repair", PATIENCE, || {
                let opened = lab.alerts_of(TOPIC, "opened");
                opened.into_iter().find(|(opened, place)| opened == rule && place.ends_with(&key))
            });
        }
        step.run(&mut lock(&world)).unwrap();
    }
}

/// A fixed sequence of moments between 0.3 and 3 seconds: a linear congruential generator (Knuth's MMIX).
struct Moments(u64);

impl Iterator for Moments {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Some(Duration::from_millis(300 + (self.0 >> 33) % 2700))
    }
}

/// How much was published to each topic when a daemon died.
type Deaths = Vec<BTreeMap<&'static str, usize>>;

fn published(lab: &Lab) -> BTreeMap<&'static str, usize> {
    [TOPIC, STANDARD_TOPIC].map(|topic| (topic, lab.alerts(topic).len())).into()
}

/// Starts the daemon and kills it until the scenario is over and it was killed often enough.
fn kill_again_and_again(lab: &Lab, is_over: &AtomicBool) -> Deaths {
    let mut deaths = Deaths::new();
    let mut moments = Moments(20_261_123);
    let mut at_publications = 0;
    while !is_over.load(Ordering::Relaxed) || deaths.len() < KILLS || at_publications < KILLS_AT_PUBLICATIONS
    {
        let before = published(lab);
        let daemon = lab.daemon();
        let born = Instant::now();
        let moment = moments.next().unwrap();
        // Every third one lives until it publishes, and dies between that and its mark, or soon after.
        let waits = deaths.len() % 3 == 2;
        let limit = if waits { Duration::from_secs(6) } else { moment };
        while born.elapsed() < limit && !(waits && published(lab) != before) {
            std::thread::sleep(Duration::from_millis(1));
        }
        daemon.kill();
        let after = published(lab);
        at_publications += usize::from(waits && after != before);
        deaths.push(after);
        // There may be little left to say once all is over.
        if is_over.load(Ordering::Relaxed) && deaths.len() >= KILLS + 2 * KILLS_AT_PUBLICATIONS {
            break;
        }
    }
    deaths
}

#[test]
fn alerts_survive_kill_9_and_none_is_doubled_on_a_fifo_topic() {
    let (disturbed, calm) = (Lab::with(&SETTINGS), Lab::with(&SETTINGS));
    let is_over = AtomicBool::new(false);
    let (deaths, expected) = std::thread::scope(|scope| {
        scope.spawn(|| {
            play(&disturbed);
            is_over.store(true, Ordering::Relaxed);
        });
        let undisturbed = scope.spawn(|| run_undisturbed(&calm));
        let deaths = kill_again_and_again(&disturbed, &is_over);
        (deaths, undisturbed.join().unwrap())
    });
    assert!(deaths.len() >= KILLS);

    let daemon = disturbed.daemon();
    let started = Instant::now();
    while daemon.all_findings() != expected.findings {
        if started.elapsed() > PATIENCE {
            break;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    assert_same(&daemon.all_findings(), &expected.findings);
    wait_for("the same alerts as without kills", PATIENCE, || {
        let said: BTreeSet<Alert> = disturbed.alerts(TOPIC).into_iter().collect();
        (said == expected.alerts).then_some(())
    });
    // Whatever would be said a second time is said now: sweeps, look-ups and the outbox go on.
    std::thread::sleep(Duration::from_secs(6));
    assert_same(&daemon.all_findings(), &expected.findings);
    check_fifo(&disturbed, &expected.alerts);
    check_standard(&disturbed, &expected.alerts, &deaths);
    println!(
        "{} kills; {} findings; {} messages on the FIFO topic, {} repetitions suppressed; {} on the standard topic",
        deaths.len(),
        expected.findings.len(),
        disturbed.alerts(TOPIC).len(),
        disturbed.world(|world| world.sns.suppressed()),
        disturbed.alerts(STANDARD_TOPIC).len(),
    );
}

fn assert_same(found: &BTreeSet<Alert>, expected: &BTreeSet<Alert>) {
    assert_eq!(expected.difference(found).collect::<Vec<_>>(), Vec::<&Alert>::new(), "missing");
    assert_eq!(found.difference(expected).collect::<Vec<_>>(), Vec::<&Alert>::new(), "too much");
}

/// What an undisturbed run finds and says.
struct Outcome {
    findings: BTreeSet<Alert>,
    alerts: BTreeSet<Alert>,
}

fn run_undisturbed(lab: &Lab) -> Outcome {
    let daemon = lab.daemon();
    daemon.ready();
    play(lab);
    let expected: BTreeSet<&str> = INCIDENTS.iter().flat_map(|step| step.violates).copied().collect();
    wait_for("all incidents in the undisturbed run", PATIENCE, || {
        let found = daemon.all_findings();
        let missing = expected.iter().any(|rule| !found.iter().any(|finding| finding.rule == **rule));
        (!missing && daemon.findings("resolved").len() == 1).then_some(())
    });
    // The outbox is drained once a second.
    let findings = daemon.all_findings();
    wait_for("all alerts of the undisturbed run", PATIENCE, || {
        (lab.alerts(TOPIC).len() == findings.len() + 1).then_some(())
    });
    Outcome { findings: daemon.all_findings(), alerts: lab.alerts(TOPIC).into_iter().collect() }
}

fn check_fifo(lab: &Lab, expected: &BTreeSet<Alert>) {
    let mut alerts = lab.alerts(TOPIC);
    alerts.sort();
    assert_eq!(alerts, expected.iter().cloned().collect::<Vec<_>>(), "each exactly once");
}

/// On a standard topic nothing is lost, and only what a death left unmarked comes again: it is among the last
/// messages before that death.
fn check_standard(lab: &Lab, expected: &BTreeSet<Alert>, deaths: &Deaths) {
    let alerts = lab.alerts(STANDARD_TOPIC);
    let said: BTreeSet<Alert> = alerts.iter().cloned().collect();
    assert_eq!(&said, expected, "nothing is lost");
    let mut last: BTreeMap<&Alert, usize> = BTreeMap::new();
    for (at, alert) in alerts.iter().enumerate() {
        if let Some(before) = last.insert(alert, at) {
            let is_unmarked = |death: &BTreeMap<&str, usize>| {
                let at_death = death[STANDARD_TOPIC];
                // A request that was under way at the death may have arrived after the count.
                (before..before + 2 * A_TURN).contains(&at_death) && at + A_TURN >= at_death
            };
            assert!(deaths.iter().any(is_unmarked), "{alert:?} at {before} and {at}, deaths at {deaths:?}");
        }
    }
}
