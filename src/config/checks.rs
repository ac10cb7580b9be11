//! What does not fit together in a configuration whose every value is of its kind.

use std::collections::{BTreeMap, BTreeSet};

use url::Url;

use super::problem::Report;
use super::{Accounts, Config, Http, Lookup, Queue, QueueUrl, SnsTopic, StoreConfig};
use crate::jurisdiction::{Assignments, Atlas, ResidencyAssignment, ResidencyMatch, did_you_mean};
use crate::model::{AccountId, Region};

/// CloudTrail delivers within about 5 minutes on average and guarantees nothing; below this overlap, in
/// seconds, late events are likely to be missed.
const SAFE_OVERLAP_SECS: u64 = 900;
/// The longest that SQS keeps a message, in days.
const QUEUE_RETENTION_DAYS: u32 = 14;
/// A day in seconds.
const DAY_SECS: u64 = 86_400;

/// Reports everything, in no order: the report sorts by place.
pub(super) fn check(config: &Config, atlas: &Atlas, report: &mut Report) {
    accounts(&config.accounts, report);
    known_regions("regions.include", &config.regions.include, atlas, report);
    known_regions("policy.approved_regions", &config.policy.approved_regions, atlas, report);
    if config.policy.classification_tag.as_deref().is_some_and(|tag| tag.trim().is_empty()) {
        report.error("policy.classification_tag", "a tag's name cannot be empty; leave it out".to_owned());
    }
    residency(config, atlas, report);
    lookup(&config.lookup, report);
    queues(&config.queue, atlas, report);
    store(&config.store, report);
    event_memory(config, report);
    http(&config.http, report);
    topics(&config.sns, report);
    for name in config.rules.disable.iter().filter(|name| name.trim().is_empty()) {
        report.error("rules.disable", format!("`{name}` is not the name of a rule"));
    }
}

fn accounts(accounts: &Accounts, report: &mut Report) {
    let Accounts { fixed, organization, role, external_id, trusted: _ } = accounts;
    if *organization && !fixed.is_empty() {
        let message =
            "give either `static` or `organization`; with both it is unclear which accounts are meant";
        report.error("accounts.static", message.to_owned());
    }
    if role.is_none() && (*organization || fixed.len() > 1) {
        let message = "other accounts than the caller's own are audited; name the role to assume in them";
        report.error("accounts.role", message.to_owned());
    }
    if let Some(role) = role.as_deref()
        && !is_role(role)
    {
        let message = format!("`{role}` is not the name of an IAM role; give its name, not its ARN");
        report.error("accounts.role", message);
    }
    if let Some(id) = external_id.as_deref() {
        self::external_id("accounts.external_id", id, role.is_some(), report);
    }
    for account in repeated(fixed) {
        report.warning("accounts.static", format!("`{account}` is listed twice"));
    }
}

fn external_id(setting: &str, id: &str, has_role: bool, report: &mut Report) {
    if !is_word(id, "+=,.@:/-", 2, 1224) {
        let message = "an external id has 2 to 1224 letters, digits or any of `_+=,.@:/-`";
        report.error(setting, message.to_owned());
    }
    if !has_role {
        report.warning(setting, "it has no effect without `role`".to_owned());
    }
}

fn known_regions(setting: &str, regions: &[Region], atlas: &Atlas, report: &mut Report) {
    for region in regions.iter().filter(|region| atlas.region(region).is_none()) {
        let names = atlas.all_regions().map(|info| info.region.as_str());
        let hint = did_you_mean(region.as_str(), names);
        let message = format!("the Region `{region}` is not known, and is outside every boundary{hint}");
        report.warning(setting, message);
    }
}

fn residency(config: &Config, atlas: &Atlas, report: &mut Report) {
    if let Err(error) = Assignments::compile(&config.residency, atlas) {
        for problem in error.problems {
            report.error(&format!("residency[{}].{}", problem.index, problem.field), problem.message);
        }
    }
    for (at, assignment) in config.residency.iter().enumerate() {
        let path = format!("residency[{at}].match");
        known_regions(&format!("{path}.regions"), &assignment.matches.regions, atlas, report);
        units(&format!("{path}.ous"), assignment, config.accounts.organization, report);
    }
    let matches_all = |assignment: &ResidencyAssignment| assignment.matches == ResidencyMatch::default();
    if let Some(at) = config.residency.iter().position(matches_all)
        && at + 1 < config.residency.len()
    {
        let message = "it matches every key set, so the ones after it never count; put it last";
        report.warning(&format!("residency[{at}]"), message.to_owned());
    }
}

fn units(setting: &str, assignment: &ResidencyAssignment, organization: bool, report: &mut Report) {
    let ous = &assignment.matches.ous;
    for ou in ous.iter().filter(|ou| !is_unit(ou)) {
        let message =
            format!("`{ou}` is not the id of an organizational unit; one looks like `ou-ab12-34cd56ef`");
        report.error(setting, message);
    }
    if !ous.is_empty() && !organization {
        let message = "organizational units are read with `accounts.organization = true` only; without it the boundary \
                       of what gets here is unknown";
        report.warning(setting, message.to_owned());
    }
}

fn lookup(lookup: &Lookup, report: &mut Report) {
    if lookup.enabled && lookup.overlap_secs < SAFE_OVERLAP_SECS {
        let message = format!(
            "CloudTrail delivers late without a guarantee; below {SAFE_OVERLAP_SECS} seconds events may be missed"
        );
        report.warning("lookup.overlap_secs", message);
    }
}

fn queues(queues: &[Queue], atlas: &Atlas, report: &mut Report) {
    let mut first = BTreeMap::new();
    for (at, queue) in queues.iter().enumerate() {
        let setting = |name: &str| format!("queue[{at}].{name}");
        match QueueUrl::parse(&queue.url) {
            Err(message) => report.error(&setting("url"), message),
            Ok(url) => match (&queue.region, url.region) {
                (None, None) => {
                    let message =
                        format!("the Region of `{}` is not in its URL; give it as `region`", queue.url);
                    report.error(&setting("url"), message);
                }
                (Some(given), Some(found)) if *given != found => {
                    let message = format!("the queue is in `{found}` by its URL; leave `region` out");
                    report.error(&setting("region"), message);
                }
                (given, found) => {
                    let regions: Vec<Region> = given.clone().or(found).into_iter().collect();
                    known_regions(&setting("region"), &regions, atlas, report);
                }
            },
        }
        if let Some(earlier) = first.insert(queue.url.as_str(), at) {
            let message = format!("`queue[{earlier}]` is the same queue; raise its `max_in_flight` instead");
            report.error(&setting("url"), message);
        }
        queue_role(&setting, queue, report);
    }
}

fn queue_role(setting: &dyn Fn(&str) -> String, queue: &Queue, report: &mut Report) {
    if let Some(role) = queue.role.as_deref()
        && !is_role_arn(role)
    {
        let remedy = "one looks like `arn:aws:iam::111122223333:role/KeywardLogs`";
        report.error(&setting("role"), format!("`{role}` is not the ARN of an IAM role; {remedy}"));
    }
    let Some(id) = queue.external_id.as_deref() else { return };
    external_id(&setting("external_id"), id, queue.role.is_some(), report);
}

fn store(store: &StoreConfig, report: &mut Report) {
    let url = store.url.as_str();
    if url == "sqlite:" || url == "sqlite://" {
        report.error("store.url", "the path is missing; one looks like `sqlite:keyward.db`".to_owned());
    } else if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        if let Err(error) = Url::parse(url) {
            // The URL is not repeated: it may hold a password.
            report.error("store.url", format!("not a URL: {error}"));
        }
    } else if !url.starts_with("sqlite:") {
        let scheme = url.split(':').next().unwrap_or_default();
        let hint = did_you_mean(scheme, ["sqlite", "postgres", "postgresql"]);
        let message = format!("a store is `sqlite:PATH` or `postgres://…`, not `{scheme}:…`{hint}");
        report.error("store.url", message);
    }
}

/// What comes again once it is forgotten counts again.
fn event_memory(config: &Config, report: &mut Report) {
    let (setting, days) = ("store.event_memory_days", config.store.event_memory_days);
    let overlap = config.lookup.overlap_secs;
    if config.lookup.enabled && u64::from(days) * DAY_SECS < overlap {
        let message = format!(
            "every look-up goes back {overlap} seconds (`lookup.overlap_secs`), and events that are forgotten by then would \
             count again; give at least {} days",
            overlap.div_ceil(DAY_SECS)
        );
        report.error(setting, message);
    } else if !config.queue.is_empty() && days < QUEUE_RETENTION_DAYS {
        let message = format!(
            "SQS keeps a message for up to {QUEUE_RETENTION_DAYS} days, and events that are forgotten by then would count \
             again; give no less than the queue's retention"
        );
        report.warning(setting, message);
    }
}

fn http(http: &Http, report: &mut Report) {
    let Some(url) = http.external_url.as_deref() else { return };
    let usable = Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    if !usable {
        let message = format!("`{url}` is not a web address; one looks like `https://keyward.example.com`");
        report.error("http.external_url", message);
    }
}

fn topics(topics: &[SnsTopic], report: &mut Report) {
    let mut first = BTreeMap::new();
    for (at, topic) in topics.iter().enumerate() {
        let setting = format!("sns[{at}].topic");
        topic_arn(&setting, &topic.topic, report);
        if let Some(earlier) = first.insert(topic.topic.as_str(), at) {
            let message = format!("`sns[{earlier}]` has the same topic; every alert would be sent twice");
            report.error(&setting, message);
        }
        let Some(fallback) = &topic.fallback else { continue };
        let setting = format!("sns[{at}].fallback");
        topic_arn(&setting, fallback, report);
        if *fallback == topic.topic {
            report.error(&setting, "a topic cannot be its own fallback".to_owned());
        }
    }
}

fn topic_arn(setting: &str, arn: &str, report: &mut Report) {
    if is_topic(arn) {
        return;
    }
    let name = arn.rsplit(':').next().unwrap_or_default();
    let remedy = if arn.split(':').count() == 7 {
        "this is a subscription; give the ARN of its topic".to_owned()
    } else if arn.starts_with("arn:") && name.contains('.') {
        format!("the name `{name}` has a dot, which only the suffix `.fifo` of a FIFO topic has")
    } else {
        "one looks like `arn:aws:sns:eu-central-1:111122223333:alerts`".to_owned()
    };
    report.error(setting, format!("`{arn}` is not the ARN of an SNS topic; {remedy}"));
}

/// Whether a text is letters, digits, underscores and the given marks, and of a length within bounds.
fn is_word(text: &str, marks: &str, least: usize, most: usize) -> bool {
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || marks.contains(letter);
    (least..=most).contains(&text.len()) && text.chars().all(allowed)
}

/// Whether a text names an IAM role, with or without its path.
fn is_role(text: &str) -> bool {
    let (path, name) = text.rsplit_once('/').unwrap_or(("", text));
    is_word(name, "+=,.@-", 1, 64) && is_word(path, "+=,.@-/", 0, 512)
}

/// Whether a text is the ARN of an IAM role.
fn is_role_arn(text: &str) -> bool {
    let ["arn", partition, "iam", "", account, role] = text.split(':').collect::<Vec<_>>()[..] else {
        return false;
    };
    partition.starts_with("aws")
        && account.parse::<AccountId>().is_ok()
        && role.strip_prefix("role/").is_some_and(is_role)
}

/// Whether a text is the id of an organizational unit, `ou-ROOT-UNIT`, or of a root, `r-ROOT`.
fn is_unit(text: &str) -> bool {
    let is_id = |part: &str, least| {
        (least..=32).contains(&part.len())
            && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
    };
    match text.split('-').collect::<Vec<_>>().as_slice() {
        ["ou", root, unit] => is_id(root, 4) && is_id(unit, 8),
        ["r", root] => is_id(root, 4),
        _ => false,
    }
}

/// Whether a text is the ARN of an SNS topic.
fn is_topic(text: &str) -> bool {
    let ["arn", partition, "sns", region, account, name] = text.split(':').collect::<Vec<_>>()[..] else {
        return false;
    };
    partition.starts_with("aws")
        && region.parse::<Region>().is_ok()
        && account.parse::<AccountId>().is_ok()
        && is_word(name.strip_suffix(".fifo").unwrap_or(name), "-", 1, 256)
}

fn repeated<T: Ord>(items: &[T]) -> BTreeSet<&T> {
    let mut seen = BTreeSet::new();
    items.iter().filter(|item| !seen.insert(*item)).collect()
}
