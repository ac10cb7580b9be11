//! What is known of a trail's logs over many looks at them.

use chrono::{DateTime, TimeDelta, Utc};

use super::report::Report;
use crate::model::{AccountId, LogCheck, LogIssue, LogIssueNature, Region};

/// The issues that are kept of one trail, over all of its accounts and Regions.
const MAX_KEPT: usize = 200;

/// One look at one account and Region.
#[derive(Debug)]
pub struct Checked {
    /// What was found from the cursor on.
    pub fresh: Report,
    /// The spans of digests, by their end and both ends included, that were looked at.
    pub spans: Vec<(DateTime<Utc>, DateTime<Utc>)>,
    /// What still stands in the way in the spans that were looked at again.
    pub rechecked: Vec<LogIssue>,
    /// When.
    pub at: DateTime<Utc>,
}

/// The spans of digests, by their end, that have to be looked at again: something stood in the way there. What
/// was found does not go away with time; it stays until it verifies.
pub fn spans_to_recheck(
    known: Option<&LogCheck>,
    account: &AccountId,
    region: &Region,
    before: DateTime<Utc>,
) -> Vec<(DateTime<Utc>, DateTime<Utc>)> {
    let issues = known.into_iter().flat_map(|check| &check.issues);
    let of_chain = issues.filter(|issue| is_of(issue, account, region) && issue.at < before);
    let mut spans: Vec<_> = of_chain.map(|issue| (issue.at, issue.until.unwrap_or(issue.at))).collect();
    spans.sort();
    spans.dedup();
    spans
}

/// After which time log files have to be read, if everything up to the cursor was looked at: those of the digest at
/// the cursor are read again only if something stood in the way there.
pub fn logs_after(
    known: Option<&LogCheck>,
    account: &AccountId,
    region: &Region,
    cursor: DateTime<Utc>,
) -> DateTime<Utc> {
    let mut issues = known.into_iter().flat_map(|check| &check.issues);
    let is_open = issues.any(|issue| is_of(issue, account, region) && issue.at == cursor);
    if is_open { cursor - TimeDelta::seconds(1) } else { cursor }
}

/// Lays one look over what is known. Gives whether all of it could be kept: if not, the same has to be looked
/// at again.
pub fn fold(known: Option<&LogCheck>, checked: Checked) -> (LogCheck, bool) {
    let Checked { fresh, spans, rechecked, at } = checked;
    let was_looked_at =
        |issue: &LogIssue| spans.iter().any(|(from, to)| issue.at >= *from && issue.at <= *to);
    let mut check = known.cloned().unwrap_or_else(|| nothing_known(at));
    let is_open = |issue: &LogIssue| !(is_of(issue, &fresh.account, &fresh.region) && was_looked_at(issue));
    check.issues.retain(is_open);
    let found = fresh.issues.into_iter().chain(rechecked);
    let counts = |issue: &LogIssue| issue.kind.nature() != LogIssueNature::Notice && was_looked_at(issue);
    check.issues.extend(found.filter(counts));
    check.issues.sort();
    check.issues.dedup();
    check.left_out = fresh.left_out + check.issues.len().saturating_sub(MAX_KEPT) as u64;
    // The oldest are kept: the others are found again, since the cursor stays.
    check.issues.truncate(MAX_KEPT);
    check.at = at;
    check.digests += fresh.digests;
    check.logs += fresh.logs;
    check.from = check.from.into_iter().chain(fresh.from).min();
    check.to = check.to.max(fresh.to);
    let is_whole = check.left_out == 0;
    (check, is_whole)
}

/// What is known before the first look.
pub fn nothing_known(at: DateTime<Utc>) -> LogCheck {
    LogCheck { at, digests: 0, logs: 0, from: None, to: None, issues: Vec::new(), left_out: 0 }
}

fn is_of(issue: &LogIssue, account: &AccountId, region: &Region) -> bool {
    issue.account == *account && issue.region == *region
}
