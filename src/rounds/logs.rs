//! Whether the log files of trails are all there and unchanged, hour by hour.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::{Rounds, interval};
use crate::clock;
use crate::collect::{Chain, LogReader, LogSource, Target, due};
use crate::facts::Place;
use crate::integrity::{Checked, TrailState, Window, fold, logs_after, nothing_known, spans_to_recheck};
use crate::model::{AccountId, Cursor, LogCheck, LogIssue, LogIssueKind, Reading, Region, TrailSnapshot};

/// Spans in which something stood in the way that are looked at again in one round, for each chain.
const RECHECKS: usize = 50;

/// How far a chain was verified, as it is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Progress {
    /// The end of the newest digest that was looked at.
    end: DateTime<Utc>,
    /// Where the chain's files are: it may be that none of them can be found any more.
    root: String,
}

/// One trail whose logs are verified.
struct Task {
    home: Place,
    trail: TrailSnapshot,
    /// `s3://bucket/prefix`
    source: String,
}

impl Rounds {
    /// Verifies what is new of the logs of every trail, on an interval. Begins after the first full sweep, which
    /// names the trails.
    pub async fn verify_logs(self, targets: watch::Receiver<Vec<Target>>, mut swept: watch::Receiver<bool>) {
        if !self.config.trails.verify {
            return;
        }
        match self.shutdown.run_until_cancelled(swept.wait_for(|swept| *swept)).await {
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return,
        }
        let mut ticks = interval(self.config.trails.verify_interval_secs);
        while self.tick(&mut ticks).await {
            let trails = self.pipeline.auditor().trails_to_verify();
            let targets = targets.borrow().clone();
            let round = async {
                for (home, trail) in trails {
                    let task = Task { source: source_of(&trail), home, trail };
                    Box::pin(self.verify_trail(&task, &targets)).await;
                }
            };
            if self.shutdown.run_until_cancelled(round).await.is_none() {
                return;
            }
            self.count_requests();
        }
    }

    async fn verify_trail(&self, task: &Task, targets: &[Target]) {
        let (account, region) = (&task.home.0, &task.home.1);
        let name = task.trail.bucket.as_deref().unwrap_or_default();
        let source = LogSource::Bucket { account, region, name };
        let reader = match self.collector.logs(source, None, None) {
            Ok(reader) => reader,
            Err(why) => return self.note_unread(task, &why, Vec::new()).await,
        };
        let prefix = task.trail.key_prefix.as_ref().map_or(String::new(), |prefix| format!("{prefix}/"));
        let stored = match self.pipeline.store().cursors(&cursor_key(task, "")).await {
            Ok(stored) => stored,
            Err(error) => {
                tracing::error!(
                    error = format!("{error:#}"),
                    trail = task.trail.arn,
                    "logs are not verified"
                );
                return;
            }
        };
        match reader.chains(&prefix).await {
            Ok(found) => {
                for (chain, from) in chains(task, found, &stored, targets, &prefix) {
                    self.verify_chain(task, &reader, &chain, from).await;
                }
            }
            Err(why) => self.note_unread(task, &why, reader.readings()).await,
        }
    }

    /// Verifies one chain from where it was left, and what stood in the way before, and stores what was found.
    async fn verify_chain(
        &self,
        task: &Task,
        reader: &LogReader<'_>,
        chain: &Chain,
        from: Option<DateTime<Utc>>,
    ) {
        let now = clock::now();
        let Task { home, trail, source } = task;
        let known = self.pipeline.auditor().log_check(home, &trail.arn).cloned();
        let known = known.map(|known| without(known, source));
        let first = i64::try_from(self.config.trails.verify_first_secs).ok().and_then(TimeDelta::try_seconds);
        let start =
            from.unwrap_or_else(|| first.and_then(|first| now.checked_sub_signed(first)).unwrap_or(now));
        let window = self.window(trail, chain, known.as_ref(), (start, now), from.is_some());
        let fresh = match reader.verify(chain, window, false, &()).await {
            Ok(report) => report,
            Err(why) => {
                let mut report = crate::integrity::Report::new(chain.account.clone(), chain.region.clone());
                report.push(LogIssueKind::Unread, &chain_uri(source, chain), start, why);
                report
            }
        };
        let newest = fresh.newest;
        let mut spans = vec![(start, now.max(newest.unwrap_or(now)))];
        let mut rechecked = Vec::new();
        let open = spans_to_recheck(known.as_ref(), &chain.account, &chain.region, start);
        for (from, to) in open.into_iter().take(RECHECKS) {
            if let Ok(report) = reader.verify(chain, Window::again(from, to), false, &()).await {
                rechecked.extend(report.issues);
                spans.push((from, from));
            }
        }
        let (check, whole) = fold(known.as_ref(), Checked { fresh, spans, rechecked, at: now });
        let progress = newest.filter(|_| whole).map(|end| Progress { end, root: chain.root.clone() });
        let value = progress.and_then(|progress| serde_json::to_string(&progress).ok());
        let key = cursor_key(task, &format!("{}/{}", chain.account, chain.region));
        self.keep(task, check, value.map(|value| Cursor { key, value }), reader.readings()).await;
    }

    fn window(
        &self,
        trail: &TrailSnapshot,
        chain: &Chain,
        known: Option<&LogCheck>,
        (start, now): (DateTime<Utc>, DateTime<Utc>),
        is_continued: bool,
    ) -> Window {
        let auditor = self.pipeline.auditor();
        let shown = auditor.trail_in(&chain.account, &chain.region, &trail.arn);
        let after = logs_after(known, &chain.account, &chain.region, start);
        Window {
            logs_after: is_continued.then_some(after),
            due: due(shown, now, now),
            trail: shown.map_or(TrailState::Unknown, TrailState::of),
            ..Window::new(start, now)
        }
    }

    /// The trail's bucket could not be read at all: what was found before stays, and the rest is unknown.
    async fn note_unread(&self, task: &Task, why: &str, readings: Vec<Reading>) {
        let now = clock::now();
        let known = self.pipeline.auditor().log_check(&task.home, &task.trail.arn).cloned();
        let mut check = known.map_or_else(|| nothing_known(now), |known| without(known, &task.source));
        check.at = now;
        check.issues.push(LogIssue {
            at: now,
            kind: LogIssueKind::Unread,
            object: task.source.clone(),
            account: task.home.0.clone(),
            region: task.home.1.clone(),
            until: None,
            detail: why.to_owned(),
        });
        self.keep(task, check, None, readings).await;
    }

    async fn keep(&self, task: &Task, check: LogCheck, cursor: Option<Cursor>, readings: Vec<Reading>) {
        let batch = {
            let auditor = self.pipeline.auditor();
            auditor.with_log_check(&task.home, &task.trail.arn, check, cursor, readings)
        };
        if let Some(batch) = batch {
            self.take(batch).await;
        }
    }
}

fn source_of(trail: &TrailSnapshot) -> String {
    let prefix = trail.key_prefix.as_deref().unwrap_or_default();
    format!("s3://{}/{prefix}", trail.bucket.as_deref().unwrap_or_default())
}

fn chain_uri(source: &str, chain: &Chain) -> String {
    format!("{source} ({} {})", chain.account, chain.region)
}

fn cursor_key(task: &Task, chain: &str) -> String {
    format!("digests/{}/{chain}", task.trail.arn)
}

/// What is known, without that the bucket as a whole could not be read.
fn without(mut check: LogCheck, source: &str) -> LogCheck {
    check.issues.retain(|issue| issue.kind != LogIssueKind::Unread || issue.object != source);
    check
}

/// The chains of a trail, with how far each was verified: those that there are, those that there were, and those
/// that there have to be. Of a chain whose files were all removed, the bucket shows nothing.
fn chains(
    task: &Task,
    found: Vec<Chain>,
    stored: &BTreeMap<String, String>,
    targets: &[Target],
    prefix: &str,
) -> Vec<(Chain, Option<DateTime<Utc>>)> {
    let Task { home: (owner, home), trail, .. } = task;
    let chain = |root: &str, account: &AccountId, region: &Region| Chain {
        root: root.to_owned(),
        account: account.clone(),
        region: region.clone(),
        trail: trail.name.clone(),
        home: home.clone(),
    };
    let mut all: BTreeSet<Chain> =
        found.into_iter().filter(|chain| chain.trail == trail.name && chain.home == *home).collect();
    let mut ends = BTreeMap::new();
    for (key, value) in stored {
        let place = key.strip_prefix(&cursor_key(task, "")).and_then(|place| place.split_once('/'));
        let place = place.and_then(|(account, region)| Some((account.parse().ok()?, region.parse().ok()?)));
        if let (Some((account, region)), Ok(progress)) = (place, serde_json::from_str::<Progress>(value)) {
            let was = chain(&progress.root, &account, &region);
            ends.insert(was.clone(), progress.end);
            all.insert(was);
        }
    }
    let root = all.iter().next().map(|chain| chain.root.clone());
    let root = root.or_else(|| (!trail.organization).then(|| format!("{prefix}AWSLogs/")));
    if let Some(root) = root {
        let is_shown =
            |target: &&Target| target.account == *owner && (trail.multi_region || target.region == *home);
        all.extend(targets.iter().filter(is_shown).map(|target| chain(&root, owner, &target.region)));
    }
    all.into_iter().map(|chain| (chain.clone(), ends.get(&chain).copied())).collect()
}
