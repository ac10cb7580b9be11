//! One round of look-ups in one Region of one account.

use std::collections::{BTreeMap, VecDeque};

use aws_sdk_cloudtrail::types::{Event, LookupAttribute, LookupAttributeKey};
use aws_smithy_types::DateTime as SdkTime;
use chrono::{DateTime, Utc};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::super::api::LOOKUP_EVENTS;
use super::super::clients::RegionClients;
use super::super::outcome::Failure;
use super::super::readings::Readings;
use super::lanes::{KMS, Lane, MUTATIONS};
use super::pass::{Pass, is_due};
use super::{LookupReport, LookupRequest};
use crate::clock;
use crate::config;
use crate::model::{Batch, Cursor, EventRecord, ReadingResult, SourceKind};

/// Pages that a call name may take before the others have their turn. A flood of one name delays the rest
/// by two seconds and no more.
const PAGES_A_TURN: u32 = 4;

/// After this many failures in a row the round ends: the Region does not answer.
const FAILURES_TO_END: u32 = 3;

/// A pass whose pages fail in this many rounds begins anew: its token may be the reason.
const FAILURES_TO_RESTART: u32 = 2;

/// The passes that are under way, by cursor key.
pub(crate) type Passes = BTreeMap<String, Pass>;

/// One round.
pub(super) struct Round<'a> {
    pub(super) clients: &'a RegionClients,
    pub(super) config: &'a config::Lookup,
    pub(super) request: &'a LookupRequest<'a>,
    pub(super) batches: &'a mpsc::Sender<Batch>,
    pub(super) passes: &'a mut Passes,
    pub(super) readings: Readings,
    pub(super) report: LookupReport,
    pub(super) failures: u32,
    pub(super) deadline: Instant,
}

/// How a turn of a lane ended.
enum Turn {
    /// The pass is over.
    Over,
    /// There are more pages.
    More,
    /// A page failed.
    Failed(Failure),
}

impl Round<'_> {
    /// Every call name has its turn; then those with more pages have further turns until the interval is
    /// over; then uses of keys, if they are looked up, get the requests that are left.
    pub(super) async fn run(mut self) -> LookupReport {
        let mut waiting = VecDeque::new();
        for name in MUTATIONS {
            if self.is_futile() {
                break;
            }
            if let Turn::More = self.turn(Lane::Mutation(name)).await {
                waiting.push_back(Lane::Mutation(name));
            }
        }
        while let Some(lane) = waiting.pop_front() {
            if self.is_futile() || Instant::now() >= self.deadline {
                waiting.push_front(lane);
                break;
            }
            if let Turn::More = self.turn(lane).await {
                waiting.push_back(lane);
            }
        }
        self.report.unfinished = waiting.len();
        if self.config.usage {
            self.usage().await;
        }
        self.close().await;
        if self.batches.is_closed() {
            // What was handed over last may never be committed.
            self.passes.clear();
        }
        self.report
    }

    async fn usage(&mut self) {
        let key = Lane::Usage.cursor_key(&self.clients.account, &self.clients.region);
        let mut reached = self.request.cursors.get(&key).cloned();
        // One turn at least, even if the call names have taken the whole interval: it would never come else.
        let mut is_first = true;
        while !self.is_futile() && (std::mem::take(&mut is_first) || Instant::now() < self.deadline) {
            // Within a round the cursor is what the last pass reached, not what was stored before it.
            let pass = self.take_pass(Lane::Usage, &key, reached.as_deref());
            let cursor = pass.cursor();
            let up_to_date = pass.end + chrono::Duration::seconds(1) >= self.request.now;
            match self.advance(Lane::Usage, &key, pass).await {
                Turn::Over => reached = Some(cursor),
                Turn::More => continue,
                Turn::Failed(_) => break,
            }
            if up_to_date {
                break;
            }
        }
        let reached = reached.and_then(|text| DateTime::parse_from_rfc3339(&text).ok());
        self.report.usage_backlog_secs = Some(reached.map_or(self.config.first_secs, |reached| {
            u64::try_from((self.request.now - reached.with_timezone(&Utc)).num_seconds()).unwrap_or(0)
        }));
    }

    /// Whether going on makes no sense: nobody listens, or the Region does not answer.
    fn is_futile(&self) -> bool {
        self.failures >= FAILURES_TO_END || self.batches.is_closed()
    }

    async fn turn(&mut self, lane: Lane) -> Turn {
        let key = lane.cursor_key(&self.clients.account, &self.clients.region);
        let pass = self.take_pass(lane, &key, self.request.cursors.get(&key).map(String::as_str));
        self.advance(lane, &key, pass).await
    }

    fn take_pass(&mut self, lane: Lane, key: &str, cursor: Option<&str>) -> Pass {
        let under_way = self.passes.remove(key);
        under_way.unwrap_or_else(|| Pass::after(cursor, lane, self.config, self.request.now))
    }

    /// Reads some pages of a pass and gives what is new in them as one batch.
    async fn advance(&mut self, lane: Lane, key: &str, mut pass: Pass) -> Turn {
        let mut events = Vec::new();
        let mut turn = Turn::More;
        for _ in 0..PAGES_A_TURN {
            turn = self.read_page(lane, &mut pass, &mut events).await;
            if !matches!(turn, Turn::More) {
                break;
            }
        }
        match &turn {
            Turn::Over => self.failures = 0,
            Turn::More => {
                self.failures = 0;
                pass.failures = 0;
            }
            Turn::Failed(failure) => {
                pass.failures += 1;
                // A refusal is no passing fault: every other name would be refused too.
                let refused = failure.result == ReadingResult::Denied;
                self.failures = if refused { FAILURES_TO_END } else { self.failures + 1 };
            }
        }
        let over = matches!(turn, Turn::Over);
        self.send_events(lane, key, &mut pass, events, over).await;
        // Without a token nothing was read yet, and a new window may as well end later.
        if !over && pass.token.is_some() && pass.failures < FAILURES_TO_RESTART {
            self.passes.insert(key.to_owned(), pass);
        }
        turn
    }

    async fn read_page(&mut self, lane: Lane, pass: &mut Pass, events: &mut Vec<EventRecord>) -> Turn {
        let (attribute, value) = match lane {
            Lane::Mutation(name) => (LookupAttributeKey::EventName, name),
            Lane::Usage => (LookupAttributeKey::EventSource, KMS),
        };
        let attribute =
            match LookupAttribute::builder().attribute_key(attribute).attribute_value(value).build() {
                Ok(attribute) => attribute,
                Err(error) => {
                    return Turn::Failed(Failure::unusable(LOOKUP_EVENTS, &error.to_string(), None));
                }
            };
        let request = self
            .clients
            .cloudtrail
            .lookup_events()
            .lookup_attributes(attribute)
            .start_time(SdkTime::from_secs(pass.start.timestamp()))
            .end_time(SdkTime::from_secs(pass.end.timestamp()))
            .max_results(50)
            .set_next_token(pass.token.clone())
            .send();
        let page = match self.clients.call(&self.readings, LOOKUP_EVENTS, request).await {
            Ok(page) => page,
            Err(failure) => return Turn::Failed(failure),
        };
        events.extend(page.events().iter().filter_map(|event| self.take(lane, event)));
        match page.next_token.filter(|token| !token.is_empty()) {
            Some(token) if pass.token.as_ref() != Some(&token) => {
                pass.token = Some(token);
                Turn::More
            }
            Some(_) => {
                let detail = "the answer gives the token of the page that it is";
                Turn::Failed(self.clients.unusable(&self.readings, LOOKUP_EVENTS, detail))
            }
            None => Turn::Over,
        }
    }

    /// The record of an event, unless it is another service's, or known, or cannot be read.
    fn take(&mut self, lane: Lane, event: &Event) -> Option<EventRecord> {
        if event.event_source().is_some_and(|source| !lane.takes(source)) {
            return None;
        }
        if event.event_id().is_some_and(self.request.seen) {
            self.report.duplicates += 1;
            return None;
        }
        let record = event.cloud_trail_event().ok_or("CloudTrailEvent").and_then(parse);
        match record {
            Ok(record) if lane.takes(record.source()) => {
                self.report.events += 1;
                Some(record)
            }
            Ok(_) => None,
            Err(field) => {
                self.report.malformed += 1;
                let (account, region) = (&self.clients.account, &self.clients.region);
                let id = event.event_id().unwrap_or("without an id");
                tracing::warn!(%account, %region, event = id, field, "an event could not be read");
                None
            }
        }
    }

    /// Gives a batch if it tells anything: new events, or a cursor that has come far enough.
    async fn send_events(
        &mut self,
        lane: Lane,
        key: &str,
        pass: &mut Pass,
        mut events: Vec<EventRecord>,
        over: bool,
    ) {
        let stored = self.request.cursors.get(key).map(String::as_str);
        if events.is_empty() && !(over && is_due(stored, pass, self.config)) {
            return;
        }
        events.sort_by(|one, other| (one.time(), one.id()).cmp(&(other.time(), other.id())));
        events.dedup_by(|one, other| one.id() == other.id());
        pass.parts += 1;
        let id = format!("{}/{}", pass.window(), pass.parts);
        let mut batch = self.batch(&format!("{}/{id}", lane.path()));
        batch.events = events;
        batch.cursor = over.then(|| Cursor { key: key.to_owned(), value: pass.cursor() });
        self.send(batch).await;
    }

    /// The round's readings, as its last batch.
    async fn close(&mut self) {
        let end = self.request.now.to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
        let mut batch = self.batch(&format!("round/{end}"));
        batch.readings = self.readings.finish(batch.read_at);
        self.report.failed = batch.readings.iter().any(|reading| reading.failed > 0);
        self.send(batch).await;
    }

    fn batch(&self, id: &str) -> Batch {
        let (account, region) = (&self.clients.account, &self.clients.region);
        Batch {
            source: SourceKind::Lookup,
            id: format!("lookup/{account}/{region}/{id}"),
            account: Some(account.clone()),
            region: Some(region.clone()),
            read_at: clock::now(),
            snapshots: Vec::new(),
            events: Vec::new(),
            readings: Vec::new(),
            cursor: None,
            complete: false,
        }
    }

    /// Hands a batch over. If nobody takes it any more, the round ends at its next step.
    async fn send(&mut self, batch: Batch) {
        if self.batches.send(batch).await.is_err() {
            tracing::debug!("nobody takes the batches of a look-up any more");
        }
    }
}

fn parse(text: &str) -> Result<EventRecord, &'static str> {
    EventRecord::new(serde_json::from_str(text).map_err(|_| "CloudTrailEvent")?)
}
