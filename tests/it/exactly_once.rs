//! Two instances on one PostgreSQL take a stream with repetitions, redeliveries and no order, and are killed again
//! and again: what is in the store then is the truth, as computed from the input, and each alert was sent once.
//!
//! `KEYWARD_TEST_RUNS` says how many runs there are, each with other moments of death; one if it does not.

mod lab;
mod stream;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use keyward::sandbox::clock::Clock;
use keyward::sandbox::estate::{STANDARD_TOPIC, TOPIC};
use sqlx::{AssertSqlSafe, Connection as _};
use tempfile::TempDir;

use crate::support::Running;
use lab::Lab;
use stream::{FILES, HOURS, Stream, Truth};

const DEATHS: u64 = 12;
const LIMIT: Duration = Duration::from_mins(5);
/// How long a death waits for the moment that it is to come at.
const FOR_THE_MOMENT: Duration = Duration::from_secs(6);
/// From one delivery to the next: the stream lasts about as long as there are deaths.
const DELIVERY: Duration = Duration::from_millis(300);

/// Numbers from a seed (Knuth's MMIX).
struct Moments(u64);

impl Moments {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// What the deaths of a run came upon.
#[derive(Debug, Default)]
struct Deaths {
    /// With messages in the queue.
    at_work: u64,
    /// Files that were committed and not deleted from the queue.
    before_deletion: BTreeSet<u64>,
    /// Right after something was published.
    after_publication: u64,
}

/// Kills instances and starts them again: at any moment, all between a commit and the deletion of its messages,
/// and all between a publication and its mark.
fn kill_again_and_again(lab: &Lab, running: &mut [Running], seed: u64) -> Deaths {
    let mut moments = Moments(seed);
    let mut deaths = Deaths::default();
    for death in 0..DEATHS {
        let all = 0..running.len();
        let victims = match death % 4 {
            1 => {
                lab.hold_deletions(true);
                wait_at_most(FOR_THE_MOMENT, || !lab.undeleted().is_subset(&deaths.before_deletion));
                all
            }
            3 => {
                let said = lab.published();
                let is_said = || lab.published() > said;
                deaths.after_publication += u64::from(wait_at_most(FOR_THE_MOMENT, is_said));
                all
            }
            _ => {
                std::thread::sleep(Duration::from_millis(900 + moments.below(2_200)));
                let one = usize::try_from(moments.below(running.len() as u64)).unwrap();
                one..one + 1
            }
        };
        for victim in &mut running[victims.clone()] {
            victim.0.kill().unwrap();
        }
        for victim in &mut running[victims.clone()] {
            victim.0.wait().unwrap();
        }
        deaths.at_work += u64::from(lab.waiting() > 0);
        if victims.len() == running.len() {
            deaths.before_deletion.extend(lab.undeleted());
        }
        lab.hold_deletions(false);
        for victim in victims {
            running[victim] = lab.instance(victim);
        }
    }
    deaths
}

fn wait_at_most(limit: Duration, is_there: impl Fn() -> bool) -> bool {
    let started = Instant::now();
    while started.elapsed() < limit {
        if is_there() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    false
}

/// One run; gives how long it took.
fn run(seed: u64, store: &str, instances: usize) -> Duration {
    let lab = Lab::new(store);
    // Recent, or the findings would age out while they are made.
    let hour = Clock::default().now().timestamp().div_euclid(3_600);
    let stream = Stream { begin: (hour - HOURS - 2) * 3_600 };
    let truth = stream.truth();
    let files: Vec<Vec<u8>> = (0..FILES).map(|file| stream.file(file)).collect();
    let started = Instant::now();
    let mut running: Vec<Running> = (0..instances).map(|number| lab.instance(number)).collect();
    let is_delivered = AtomicBool::new(false);
    let deaths = std::thread::scope(|scope| {
        scope.spawn(|| {
            for (number, file) in files.iter().enumerate() {
                lab.deliver(number, file);
                std::thread::sleep(DELIVERY);
            }
            is_delivered.store(true, Ordering::Relaxed);
        });
        kill_again_and_again(&lab, &mut running, seed)
    });
    assert!(is_delivered.load(Ordering::Relaxed));
    while !is_over(&lab, &truth) {
        assert!(started.elapsed() < LIMIT, "{}", trouble(&lab, &truth, seed));
        std::thread::sleep(Duration::from_millis(500));
    }
    // What came twice would be counted twice by now, and said twice.
    std::thread::sleep(Duration::from_secs(3));
    for instance in running {
        assert!(lab::terminate(instance).success());
    }
    check(&lab, &truth);
    assert!(deaths.at_work * 2 >= DEATHS, "{deaths:?}: most were idle when they died");
    assert_ne!(deaths.before_deletion, [].into(), "none died between a commit and its deletions");
    println!(
        "  of {DEATHS} deaths {} at work, {} right after a publication; {} files committed and not deleted; \
         {} messages, {} repetitions suppressed",
        deaths.at_work,
        deaths.after_publication,
        deaths.before_deletion.len(),
        lab.published(),
        lab.suppressed(),
    );
    started.elapsed()
}

fn is_over(lab: &Lab, truth: &Truth) -> bool {
    let is_said = || {
        let standing: BTreeSet<String> = lab.standing().into_keys().collect();
        [TOPIC, STANDARD_TOPIC]
            .iter()
            .all(|topic| lab.opened(topic).into_keys().collect::<BTreeSet<_>>() == standing)
    };
    lab.waiting() == 0 && lab.kept() == *truth && is_said()
}

fn check(lab: &Lab, truth: &Truth) {
    let kept = lab.kept();
    assert_eq!(kept.heard, truth.heard);
    assert_eq!(kept.found, truth.found);
    assert!(kept.ledger == truth.ledger, "{} instead of {}", sum(&kept), sum(truth));
    assert_eq!(lab.files_taken().len() as u64, FILES);
    let standing = lab.standing();
    assert!(truth.found.keys().all(|id| standing.contains_key(id)));
    assert_eq!(lab.opened(TOPIC), standing, "each finding is said to be open once");
    let told: BTreeSet<String> = lab.opened(STANDARD_TOPIC).into_keys().collect();
    assert_eq!(told, standing.into_keys().collect(), "what was said on a standard topic");
}

fn sum(truth: &Truth) -> u64 {
    truth.ledger.values().sum()
}

/// What is wrong when a run does not come to its end.
fn trouble(lab: &Lab, truth: &Truth, seed: u64) -> String {
    let kept = lab.kept();
    let by_rule = |of: &Truth| {
        let mut rules: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        for (rule, events) in of.found.values() {
            let (findings, all) = rules.entry(rule.clone()).or_default();
            *findings += 1;
            *all += events;
        }
        rules
    };
    format!(
        "after {LIMIT:?} with seed {seed}: {} messages wait, {} of {} uses, heard as it is true: {}, {:?} instead of {:?}, \
         {} and {} of {} findings said to be open; the log, newest first:\n{}",
        lab.waiting(),
        sum(&kept),
        sum(truth),
        kept.heard == truth.heard,
        by_rule(&kept),
        by_rule(truth),
        lab.opened(TOPIC).len(),
        lab.opened(STANDARD_TOPIC).len(),
        lab.standing().len(),
        lab.end_of_log(),
    )
}

#[expect(clippy::disallowed_methods, reason = "the one place where this test asks what it is to do")]
fn asked_for(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[test]
fn a_stream_is_counted_once_whoever_dies() {
    let runs: u64 = asked_for("KEYWARD_TEST_RUNS").and_then(|text| text.parse().ok()).unwrap_or(1);
    sqlx::any::install_default_drivers();
    let Some(server) = asked_for("KEYWARD_TEST_POSTGRES") else {
        lab::say("LEFT OUT: two instances on one PostgreSQL, since KEYWARD_TEST_POSTGRES is not set");
        let dir = TempDir::new().unwrap();
        let store = format!("sqlite:{}?mode=rwc", dir.path().join("once.db").display());
        println!("one instance on SQLite: {:?}", run(1, &store, 1));
        return;
    };
    for seed in 1..=runs {
        let schema = format!("once_{seed}");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut admin = sqlx::AnyConnection::connect(&server).await.unwrap();
            for sql in [format!("DROP SCHEMA IF EXISTS {schema} CASCADE"), format!("CREATE SCHEMA {schema}")]
            {
                sqlx::query(AssertSqlSafe(sql)).execute(&mut admin).await.unwrap();
            }
            admin.close().await.unwrap();
        });
        let separator = if server.contains('?') { '&' } else { '?' };
        let store = format!("{server}{separator}options[search_path]={schema}");
        println!("run {seed}: {:?}", run(seed, &store, 2));
    }
}
