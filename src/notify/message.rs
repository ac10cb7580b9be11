//! The messages: the document for machines, and what SNS is given. Pure.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};

use super::coverage::{self, Loss};
use super::text::{self, MAX_LINES, MAX_VALUE, reason_words, rfc3339, shortened, spoken};
use super::{Case, Reason};
use crate::config::SnsTopic;
use crate::findings::{EVENT_IDS, RECORDS};
use crate::model::{Finding, OutboxRow, Region};

/// What the document calls itself.
const SCHEMA: &str = "keyward.alert/v1";
/// What SNS takes by default: message and attributes together.
const MAX_BYTES: usize = 256 * 1024;
/// SNS takes subjects of less than 100 characters.
const MAX_SUBJECT: usize = 99;
/// One SMS.
const MAX_SMS: usize = 140;
/// How long the long texts of a rule may be when nothing else makes a message small enough.
const MAX_PROSE: usize = 4_000;

/// `keyward.alert/v1`, in the order in which it is written.
#[derive(Debug, Clone, Serialize)]
struct Document<'a> {
    schema: &'static str,
    status: &'static str,
    finding: Option<&'a str>,
    rule: &'a str,
    level: &'a str,
    title: &'a str,
    message: &'a str,
    account: String,
    region: Option<String>,
    key_set: Option<String>,
    key: Option<String>,
    boundary: Option<&'a str>,
    controls: &'a BTreeMap<String, Vec<String>>,
    first_seen: String,
    last_seen: String,
    evidence: Value,
    remediation: &'a str,
    link: Option<String>,
}

impl<'a> Document<'a> {
    fn of(finding: &'a Finding, status: &'static str, link: Option<&str>) -> Self {
        let subject = &finding.subject;
        Self {
            schema: SCHEMA,
            status,
            finding: Some(&finding.id),
            rule: &finding.rule,
            level: finding.level.as_str(),
            title: &finding.title,
            message: &finding.message,
            account: subject.account.to_string(),
            region: subject.region.as_ref().map(ToString::to_string),
            key_set: subject.key_set.as_ref().map(ToString::to_string),
            key: subject.key.as_ref().map(ToString::to_string),
            boundary: subject.boundary.as_deref(),
            controls: &finding.controls,
            first_seen: rfc3339(finding.first_seen),
            last_seen: rfc3339(finding.last_seen),
            evidence: finding.evidence.clone(),
            remediation: &finding.remediation,
            link: link.map(ToOwned::to_owned),
        }
    }
}

/// A finding with the fields of the alert document below its `schema`, for documents that hold many.
pub fn finding_fields(finding: &Finding, status: &'static str) -> Value {
    let mut shown = finding.clone();
    shown.evidence = shown_evidence(&finding.evidence);
    let mut fields = serde_json::to_value(Document::of(&shown, status, None)).unwrap_or_default();
    if let Some(fields) = fields.as_object_mut() {
        fields.remove("schema");
    }
    fields
}

/// The message about a finding.
pub(super) fn of_finding(
    case: &Case<'_>,
    reason: Reason,
    topic: &SnsTopic,
    id: &str,
    external_url: Option<&str>,
) -> OutboxRow {
    let link = external_url.map(|url| format!("{}/findings/{}", url.trim_end_matches('/'), case.finding.id));
    let mut finding = case.finding.clone();
    finding.message = spoken(case, reason);
    finding.evidence = shown_evidence(&case.finding.evidence);
    let row = finding_row(&finding, reason, topic, id, link.as_deref());
    if published_size(&row) <= MAX_BYTES {
        return row;
    }
    let size = finding.evidence.to_string().len();
    finding.evidence = json!({
        "note": format!("{size} bytes of evidence are left out, since SNS takes {MAX_BYTES} in all"),
    });
    if let (Value::Object(short), Some(ids)) = (&mut finding.evidence, case.finding.evidence.get(EVENT_IDS)) {
        short.insert(EVENT_IDS.to_owned(), ids.clone());
    }
    let row = finding_row(&finding, reason, topic, id, link.as_deref());
    if published_size(&row) <= MAX_BYTES {
        return row;
    }
    for text in [&mut finding.title, &mut finding.message, &mut finding.remediation] {
        *text = shortened(text, MAX_PROSE);
    }
    finding.evidence = json!({ "note": "all evidence is left out, since SNS takes 262144 bytes in all" });
    finding.controls = BTreeMap::new();
    finding_row(&finding, reason, topic, id, link.as_deref())
}

fn finding_row(
    finding: &Finding,
    reason: Reason,
    topic: &SnsTopic,
    id: &str,
    link: Option<&str>,
) -> OutboxRow {
    let document = Document::of(finding, reason.as_str(), link);
    let place = place_of(&document.account, document.region.as_deref());
    let headline = format!("{}: {} ({place})", reason_words(reason), finding.title);
    let topic_row = Addressed { topic, id, finding: Some(&finding.id), reason };
    let text = text::of_finding(finding, reason, &place, link);
    topic_row.row(&document, subject_line(&document, &headline), text)
}

/// The message about a part of the audit that can no longer be read.
pub(super) fn of_loss(loss: &Loss, topic: &SnsTopic, id: &str, now: DateTime<Utc>) -> OutboxRow {
    let place = place_of(loss.account.as_str(), loss.region.as_ref().map(Region::as_str));
    let calls: Vec<String> =
        loss.readings.iter().map(|reading| format!("{} ({})", reading.api, reading.result)).collect();
    let message = format!("{place} can no longer be read: {}", shortened(&calls.join(", "), MAX_PROSE));
    let remediation = "Restore the permissions of the role that Keyward assumes there, or the connection. \
        Until then what depends on these calls is unknown, and new violations are not seen.";
    let title = "Coverage Lost";
    let evidence: Vec<Value> = loss
        .readings
        .iter()
        .take(MAX_LINES)
        .map(|reading| {
            let detail = reading.detail.as_deref().map(|detail| shortened(detail, MAX_VALUE));
            json!({ "api": reading.api, "result": reading.result, "at": rfc3339(reading.at), "detail": detail })
        })
        .collect();
    let document = Document {
        schema: SCHEMA,
        status: Reason::CoverageLost.as_str(),
        finding: None,
        rule: "coverage-lost",
        level: coverage::LEVEL.as_str(),
        title,
        message: &message,
        account: loss.account.to_string(),
        region: loss.region.as_ref().map(ToString::to_string),
        key_set: None,
        key: None,
        boundary: None,
        controls: &BTreeMap::new(),
        first_seen: rfc3339(now),
        last_seen: rfc3339(now),
        evidence: json!({ "readings": evidence }),
        remediation,
        link: None,
    };
    let text = text::of_loss(loss, &message, remediation);
    let subject = subject_line(&document, &format!("{title} ({place})"));
    Addressed { topic, id, finding: None, reason: Reason::CoverageLost }.row(&document, subject, text)
}

/// Everything about a message but what it says.
struct Addressed<'a> {
    topic: &'a SnsTopic,
    id: &'a str,
    finding: Option<&'a str>,
    reason: Reason,
}

impl Addressed<'_> {
    fn row(&self, document: &Document<'_>, subject: String, text: String) -> OutboxRow {
        let mut attributes: BTreeMap<String, String> = [
            ("level", document.level),
            ("rule", document.rule),
            ("account", &document.account),
            ("status", document.status),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        // SNS refuses empty attributes, and what has no Region is in none.
        attributes.extend(document.region.clone().map(|region| ("region".to_owned(), region)));
        OutboxRow {
            id: self.id.to_owned(),
            topic: self.topic.topic.clone(),
            fallback: self.topic.fallback.clone(),
            finding: self.finding.map(ToOwned::to_owned),
            reason: self.reason.as_str().to_owned(),
            subject,
            // Texts, numbers and lists always have a JSON form.
            document: serde_json::to_string(document).unwrap_or_default(),
            text,
            attributes,
        }
    }
}

/// What SNS is given as the message with `MessageStructure=json`: each protocol takes its own text.
pub(super) fn envelope(row: &OutboxRow) -> String {
    let sms = shortened(&row.subject, MAX_SMS);
    json!({ "default": row.document, "email": row.text, "sms": sms }).to_string()
}

/// How much SNS will count: the message, and names, types and values of the attributes.
fn published_size(row: &OutboxRow) -> usize {
    let attributes: usize =
        row.attributes.iter().map(|(name, value)| name.len() + value.len() + "String".len()).sum();
    envelope(row).len() + attributes
}

fn place_of(account: &str, region: Option<&str>) -> String {
    region.map_or_else(|| account.to_owned(), |region| format!("{account}/{region}"))
}

fn subject_line(document: &Document<'_>, headline: &str) -> String {
    let line = format!("[{}] {headline}", document.level);
    let plain: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    shortened(&plain, MAX_SUBJECT)
}

/// The evidence without what only Keyward needs.
pub(crate) fn shown_evidence(evidence: &Value) -> Value {
    let mut shown = evidence.clone();
    if let Value::Object(map) = &mut shown {
        map.remove(RECORDS);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::fixtures::{at, key, rules, verdict};
    use crate::findings::{Exceptions, settle};
    use crate::model::{FindingChange, Level, Outcome, Reading, ReadingResult, Transition};
    use crate::notify::Notifier;

    fn opened() -> FindingChange {
        let rules = rules(&[("key-set-outside-boundary", Level::Critical)]);
        let verdicts = [verdict("key-set-outside-boundary", Outcome::Fail)];
        settle(&verdicts, &rules, &[], &Exceptions::default(), at(0)).pop().unwrap()
    }

    fn notifier() -> Notifier {
        let topic = "arn:aws:sns:eu-central-1:111122223333:alerts".to_owned();
        Notifier {
            topics: vec![SnsTopic { topic, min_level: Level::Medium, fallback: Some("fb".to_owned()) }],
            external_url: Some("https://keyward.example.com/".to_owned()),
            ..Notifier::default()
        }
    }

    fn row(change: &FindingChange) -> OutboxRow {
        let rows = notifier().about_changes(std::slice::from_ref(change), &Exceptions::default(), &[], at(0));
        let [row] = rows.as_slice() else { panic!("{rows:?}") };
        row.clone()
    }

    #[test]
    fn the_document_is_the_one_that_was_promised() {
        let row = row(&opened());
        let finding = opened().finding;
        let expected = format!(
            concat!(
                r#"{{"schema":"keyward.alert/v1","status":"opened","finding":"{id}","#,
                r#""rule":"key-set-outside-boundary","level":"critical","title":"A Title","#,
                r#""message":"it is wrong","account":"111122223333","region":"eu-central-1","#,
                r#""key_set":"{key}","key":"{key}","boundary":"eea","controls":{{"gdpr":["Art. 44"]}},"#,
                r#""first_seen":"2025-06-15T15:06:40Z","last_seen":"2025-06-15T15:06:40Z","#,
                r#""evidence":{{"key.state":"Enabled"}},"remediation":"mend it","#,
                r#""link":"https://keyward.example.com/findings/{id}"}}"#
            ),
            id = finding.id,
            key = key(1),
        );
        assert_eq!(row.document, expected);
        assert_eq!(row.finding, Some(finding.id));
        assert_eq!((row.reason.as_str(), row.fallback.as_deref()), ("opened", Some("fb")));
        let attributes: Vec<(&str, &str)> =
            row.attributes.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(
            attributes,
            [
                ("account", "111122223333"),
                ("level", "critical"),
                ("region", "eu-central-1"),
                ("rule", "key-set-outside-boundary"),
                ("status", "opened"),
            ]
        );
    }

    #[test]
    fn people_read_what_where_why_and_what_to_do() {
        let row = row(&opened());
        assert_eq!(row.subject, "[critical] New: A Title (111122223333/eu-central-1)");
        let key = key(1);
        let expected = format!(
            "New: A Title\n\nit is wrong\n\nWhat to do\n  mend it\n\nLevel: critical\n\
             Rule: key-set-outside-boundary\nWhere: 111122223333/eu-central-1\nKey: {key}\nBoundary: eea\n\
             First seen: 2025-06-15 15:06:40 UTC\nLast seen: 2025-06-15 15:06:40 UTC\n\n\
             What it rests on\n  key.state: Enabled\n\nControls concerned\n  gdpr: Art. 44\n\nFinding {id}\n\
             https://keyward.example.com/findings/{id}\n",
            id = opened().finding.id,
        );
        assert_eq!(row.text, expected);
    }

    #[test]
    fn subjects_and_text_messages_keep_to_what_sns_takes() {
        let mut change = opened();
        change.finding.title = format!("Ein\nSchlüssel\tist\u{7} weg {}", "ü".repeat(300));
        let row = row(&change);
        assert_eq!(row.subject.chars().count(), 99);
        assert!(row.subject.starts_with("[critical] New: Ein Schlüssel ist  weg"), "{}", row.subject);
        assert!(!row.subject.chars().any(char::is_control));
        let envelope: Value = serde_json::from_str(&envelope(&row)).unwrap();
        assert_eq!(envelope["default"], row.document);
        assert_eq!(envelope["email"], row.text);
        assert!(envelope["sms"].as_str().unwrap().chars().count() <= 140);
    }

    #[test]
    fn what_is_too_large_loses_its_evidence_and_says_so() {
        let mut change = opened();
        let ids: Vec<String> = (0..20).map(|number| format!("event-{number}")).collect();
        // Quotation marks grow fourfold, being escaped twice.
        change.finding.evidence =
            json!({ "event_ids": ids, "policy": "\"".repeat(100_000), "records": [1, 2] });
        let large = row(&change);
        assert!(published_size(&large) <= MAX_BYTES);
        let document: Value = serde_json::from_str(&large.document).unwrap();
        assert_eq!(document["evidence"]["event_ids"].as_array().unwrap().len(), 20);
        assert!(document["evidence"]["note"].as_str().unwrap().contains("bytes of evidence are left out"));
        change.finding.message = "x".repeat(MAX_BYTES);
        change.finding.evidence = json!({ "event_ids": ["y".repeat(MAX_BYTES)] });
        let enormous = row(&change);
        assert!(published_size(&enormous) <= MAX_BYTES);
        assert!(enormous.document.contains("all evidence is left out"));
    }

    #[test]
    fn what_only_keyward_needs_is_not_published() {
        let mut change = opened();
        change.finding.evidence = json!({ "event_ids": ["e"], "records": [{ "id": "e" }] });
        let row = row(&change);
        assert!(!row.document.contains("records") && !row.text.contains("records"));
    }

    #[test]
    fn the_end_says_why() {
        let rules = rules(&[("key-set-outside-boundary", Level::Critical)]);
        let previous = [opened().finding];
        let passes = [verdict("key-set-outside-boundary", Outcome::Pass)];
        let change = settle(&passes, &rules, &previous, &Exceptions::default(), at(60)).pop().unwrap();
        assert_eq!(change.transition, Transition::Resolved);
        let said = crate::store::LastSaid {
            topic: notifier().topics[0].topic.clone(),
            about: change.finding.id.clone(),
            reason: "opened".to_owned(),
            at: at(0),
        };
        let rows = notifier().about_changes(&[change], &Exceptions::default(), &[said], at(60));
        let document: Value = serde_json::from_str(&rows[0].document).unwrap();
        assert_eq!(document["status"], "resolved");
        assert_eq!(document["message"], "resolved, since the rule passes; it was: it is wrong");
        assert!(!rows[0].text.contains("What to do"), "there is nothing left to do");
    }

    #[test]
    fn a_loss_of_coverage_is_told_once_with_what_failed() {
        let reading = |api: &str, result, failed| Reading {
            account: "111122223333".parse().unwrap(),
            region: None,
            api: api.to_owned(),
            result,
            at: at(60),
            attempts: 1,
            failed,
            detail: Some("is not authorized to perform\nsts:AssumeRole".to_owned()),
        };
        let before = crate::store::StoredReading {
            reading: Reading { at: at(0), ..reading("sts:AssumeRole", ReadingResult::Ok, 0) },
            since: at(0),
        };
        let now = [reading("sts:AssumeRole", ReadingResult::Denied, 1)];
        let rows = notifier().about_coverage(std::slice::from_ref(&before), &now, &[], at(60));
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].finding, None);
        assert_eq!(rows[0].attributes.get("region"), None, "SNS takes no empty attribute");
        assert_eq!(rows[0].subject, "[high] Coverage Lost (111122223333)");
        assert!(rows[0].text.contains("sts:AssumeRole denied: is not authorized to perform sts:AssumeRole"));
        let document: Value = serde_json::from_str(&rows[0].document).unwrap();
        assert_eq!(document["message"], "111122223333 can no longer be read: sts:AssumeRole (denied)");
        assert_eq!(
            (document["finding"].clone(), document["rule"].clone()),
            (Value::Null, "coverage-lost".into())
        );
        assert_eq!(Notifier::coverage_subjects(&now), [rows[0].about()]);
        let said = crate::store::LastSaid {
            topic: rows[0].topic.clone(),
            about: rows[0].about(),
            reason: "coverage_lost".to_owned(),
            at: at(60),
        };
        assert_eq!(notifier().about_coverage(&[before], &now, &[said], at(120)), []);
    }

    #[test]
    fn the_same_decision_is_the_same_message() {
        let first = row(&opened());
        assert_eq!(first.id, row(&opened()).id);
        let mut again = opened();
        again.finding.opened_count = 2;
        assert_ne!(first.id, row(&again).id, "another life is another message");
        let mut elsewhere = notifier();
        elsewhere.topics[0].topic.push_str("-other");
        let rows = elsewhere.about_changes(&[opened()], &Exceptions::default(), &[], at(0));
        assert_ne!(first.id, rows[0].id);
    }

    #[test]
    fn each_reminder_is_a_message_of_its_own() {
        let finding = opened().finding;
        let said = |at| crate::store::LastSaid {
            topic: notifier().topics[0].topic.clone(),
            about: finding.id.clone(),
            reason: "opened".to_owned(),
            at,
        };
        let remind = |last: i64| {
            let standing = std::slice::from_ref(&finding);
            let now = at(last + 90_000);
            notifier().about_standing(standing, &Exceptions::default(), &[said(at(last))], now).pop().unwrap()
        };
        assert_eq!(remind(0).reason, "reminder");
        assert_eq!(remind(0).id, remind(0).id);
        assert_ne!(remind(0).id, remind(90_000).id);
    }
}
