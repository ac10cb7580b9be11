//! Whether a trail logs, and how its deliveries go.

use chrono::{DateTime, SecondsFormat, TimeDelta, TimeZone, Utc};
use serde_json::{Map, Value, json};

use super::trails::{Desk, Trail};
use crate::sandbox::call::{Answer, ApiError};
use crate::sandbox::kms::epoch;

/// How often a trail delivers.
const DELIVERY_MINUTES: i64 = 5;

pub(super) fn start_logging(desk: &mut Desk<'_>) -> Answer {
    let key = desk.own("Name")?;
    let now = desk.now;
    match desk.state.trails.get_mut(&key) {
        Some(trail) if !trail.logging => {
            trail.logging = true;
            trail.started = Some(now);
        }
        _ => {}
    }
    Ok(json!({}))
}

pub(super) fn stop_logging(desk: &mut Desk<'_>) -> Answer {
    let key = desk.own("Name")?;
    let now = desk.now;
    match desk.state.trails.get_mut(&key) {
        Some(trail) if trail.logging => {
            trail.logging = false;
            trail.stopped = Some(now);
        }
        _ => {}
    }
    Ok(json!({}))
}

pub(super) fn get_trail_status(desk: &Desk<'_>) -> Result<Value, ApiError> {
    let (_, trail) = desk.seen("Name")?;
    let mut status = Map::new();
    let mut tell = |name: &str, time: Option<DateTime<Utc>>| {
        if let Some(time) = time {
            status.insert(name.to_owned(), epoch(time));
            let legacy = time.to_rfc3339_opts(SecondsFormat::Secs, true);
            match name {
                "StartLoggingTime" => status.insert("TimeLoggingStarted".to_owned(), json!(legacy)),
                "StopLoggingTime" => status.insert("TimeLoggingStopped".to_owned(), json!(legacy)),
                _ => None,
            };
        }
    };
    tell("StartLoggingTime", trail.started);
    tell("StopLoggingTime", trail.stopped);
    let latest = &trail.shipping.latest;
    if trail.shipping.real {
        tell("LatestDeliveryTime", latest.delivery);
        tell("LatestDigestDeliveryTime", latest.digest);
        tell("LatestNotificationTime", latest.notification);
        for (name, error) in
            [("LatestDeliveryError", latest.error), ("LatestNotificationError", latest.notification_error)]
        {
            if let Some(error) = error {
                status.insert(name.to_owned(), json!(error));
            }
        }
    } else {
        pretend(trail, desk.now, tell);
    }
    status.insert("IsLogging".to_owned(), json!(trail.logging));
    if let Some(error) = &trail.delivery_error {
        status.insert("LatestDeliveryError".to_owned(), json!(error));
    }
    Ok(Value::Object(status))
}

/// What a trail whose bucket is elsewhere says: that everything was delivered in time.
fn pretend(trail: &Trail, now: DateTime<Utc>, mut tell: impl FnMut(&str, Option<DateTime<Utc>>)) {
    let end = if trail.logging { Some(now) } else { trail.stopped };
    let latest = |minutes: i64| {
        let at = last_delivery(end?, minutes)?;
        trail.started.filter(|started| *started <= at).map(|_| at)
    };
    if trail.delivery_error.is_none() {
        tell("LatestDeliveryTime", latest(DELIVERY_MINUTES));
    }
    if trail.validation {
        tell("LatestDigestDeliveryTime", latest(60));
    }
}

/// The last delivery before a time, if one is made every so many minutes.
fn last_delivery(before: DateTime<Utc>, minutes: i64) -> Option<DateTime<Utc>> {
    let period = TimeDelta::minutes(minutes).num_seconds();
    let seconds = before.timestamp();
    Utc.timestamp_opt(seconds - seconds.rem_euclid(period), 0).single()
}
