//! Exceptions: recorded, owned, dated permissions to violate a rule.
//!
//! ```yaml
//! exceptions:
//!     - id: EXC-2026-004
//!       rule: key-set-outside-boundary
//!       scope: { accounts: ["111122223333"], regions: [eu-west-2] }
//!       owner: payments@example.com
//!       reason: The London site moves to Dublin by spring.
//!       legal_basis: GDPR Art. 45, adequacy decision for the United Kingdom
//!       approver: dpo@example.com
//!       expires: 2027-03-31
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use chrono::{DateTime, Days, NaiveDate, NaiveTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_saphyr::Spanned;

use crate::model::{AccountId, KeyArn, Region, Subject};

/// One recorded permission.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Exception {
    /// Its id, unique in the file; findings that it permits name it.
    pub id: String,
    /// The rule that may be violated.
    pub rule: String,
    /// Where.
    pub scope: Scope,
    /// Who answers for it.
    pub owner: String,
    /// Why it is needed.
    pub reason: String,
    /// On what legal ground it stands.
    pub legal_basis: String,
    /// Who approved it.
    pub approver: String,
    /// The first instant at which it no longer holds.
    pub expires: DateTime<Utc>,
}

/// What an exception covers: subjects that fit everything that is given. What a subject does not have
/// (a trail has no key) does not fit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scope {
    /// The subject's account is one of these.
    pub accounts: BTreeSet<AccountId>,
    /// The subject's key set is one of these (an ARN with `*` for the Region, or a single-Region key's ARN).
    pub key_sets: BTreeSet<String>,
    /// The subject's key is one of these.
    pub keys: BTreeSet<KeyArn>,
    /// The subject's Region is one of these.
    pub regions: BTreeSet<Region>,
    /// The subject's key set has this boundary.
    pub boundary: Option<String>,
}

impl Scope {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the subject fits everything that is given.
    pub fn covers(&self, subject: &Subject) -> bool {
        let key_set = subject.key_set.as_ref().map(|set| set.as_str().to_owned());
        fits(&self.accounts, Some(&subject.account))
            && fits(&self.key_sets, key_set.as_ref())
            && fits(&self.keys, subject.key.as_ref())
            && fits(&self.regions, subject.region.as_ref())
            && (self.boundary.is_none() || self.boundary == subject.boundary)
    }
}

fn fits<T: Ord>(wanted: &BTreeSet<T>, actual: Option<&T>) -> bool {
    wanted.is_empty() || actual.is_some_and(|actual| wanted.contains(actual))
}

/// What is wrong with an exceptions file, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ExceptionError {
    /// The file, as it was named.
    pub path: String,
    /// The line, counted from 1; 0 if the parser could not tell.
    pub line: u64,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub suggestion: Option<String>,
}

impl fmt::Display for ExceptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.message)?;
        match &self.suggestion {
            Some(suggestion) => write!(f, "; {suggestion}"),
            None => Ok(()),
        }
    }
}

/// All exceptions on record, in the order of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exceptions {
    all: Vec<Exception>,
}

impl Exceptions {
    /// Reads an exceptions file. `rules` are the names of all rules, whether enabled or not: an exception
    /// for a rule that does not exist would permit nothing, and nobody would notice.
    ///
    /// # Errors
    /// Everything that is wrong with it; a file with an error is not used at all.
    pub fn parse(path: &str, text: &str, rules: &BTreeSet<String>) -> Result<Self, Vec<ExceptionError>> {
        if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
            return Ok(Self::default());
        }
        let file: RawFile = serde_saphyr::from_str(text).map_err(|error| vec![syntax_error(path, &error)])?;
        let mut all = Vec::new();
        let mut errors = Vec::new();
        let mut lines: BTreeMap<String, u64> = BTreeMap::new();
        for raw in file.exceptions {
            let line = raw.referenced.line();
            let complain = |message: String, suggestion: Option<String>| ExceptionError {
                path: path.to_owned(),
                line,
                message,
                suggestion,
            };
            match check(raw.value, rules) {
                Ok(exception) => {
                    if let Some(first) = lines.insert(exception.id.clone(), line) {
                        errors.push(complain(
                            format!("the id `{}` is taken by the exception in line {first}", exception.id),
                            Some("give each exception its own id".to_owned()),
                        ));
                    }
                    all.push(exception);
                }
                Err(problems) => errors.extend(problems.into_iter().map(|problem| {
                    let at = if problem.line == 0 { line } else { problem.line };
                    ExceptionError { line: at, ..complain(problem.message, problem.suggestion) }
                })),
            }
        }
        if errors.is_empty() { Ok(Self { all }) } else { Err(errors) }
    }

    /// The first exception that permits the rule's violation by the subject now.
    pub fn permitting(&self, rule: &str, subject: &Subject, now: DateTime<Utc>) -> Option<&Exception> {
        self.all.iter().find(|exception| {
            exception.rule == rule && now < exception.expires && exception.scope.covers(subject)
        })
    }

    /// The exception of this id.
    pub fn get(&self, id: &str) -> Option<&Exception> {
        self.all.iter().find(|exception| exception.id == id)
    }

    /// Those that hold now and will not hold any more when `notice` has passed.
    pub fn expiring(&self, now: DateTime<Utc>, notice: TimeDelta) -> impl Iterator<Item = &Exception> {
        self.all.iter().filter(move |exception| now < exception.expires && exception.expires <= now + notice)
    }

    /// Every exception on record, expired ones included.
    pub fn iter(&self) -> impl Iterator<Item = &Exception> {
        self.all.iter()
    }
}

/// The file as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    exceptions: Vec<Spanned<RawException>>,
}

/// An entry as it is written. All is optional here, so that one answer names everything that is missing.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawException {
    id: Option<String>,
    rule: Option<Spanned<String>>,
    #[serde(default)]
    scope: Scope,
    owner: Option<String>,
    reason: Option<String>,
    legal_basis: Option<String>,
    approver: Option<String>,
    expires: Option<Spanned<String>>,
}

/// What is wrong with an entry; line 0 means the entry's first.
struct Problem {
    line: u64,
    message: String,
    suggestion: Option<String>,
}

fn check(raw: RawException, rules: &BTreeSet<String>) -> Result<Exception, Vec<Problem>> {
    let name = raw.id.clone().unwrap_or_else(|| "(without id)".to_owned());
    let mut problems = Vec::new();
    let mut required = |field: &str, value: Option<String>, suggestion: &str| {
        let value = value.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        value.unwrap_or_else(|| {
            let message = format!("exception `{name}` has no `{field}`");
            problems.push(Problem { line: 0, message, suggestion: Some(suggestion.to_owned()) });
            String::new()
        })
    };
    let rule_line = raw.rule.as_ref().map_or(0, |rule| rule.referenced.line());
    let expires_line = raw.expires.as_ref().map_or(0, |expires| expires.referenced.line());
    let rule = required("rule", raw.rule.map(|rule| rule.value), "name the rule that may be violated");
    let expires = required(
        "expires",
        raw.expires.map(|expires| expires.value),
        "every exception ends: add a date such as `expires: 2027-03-31`",
    );
    let exception = Exception {
        id: required("id", raw.id, "give it an id such as `EXC-2026-004`; findings refer to it"),
        scope: raw.scope,
        owner: required("owner", raw.owner, "say who answers for it"),
        reason: required("reason", raw.reason, "say why it is needed"),
        legal_basis: required("legal_basis", raw.legal_basis, "say on what legal ground it stands"),
        approver: required("approver", raw.approver, "say who approved it"),
        expires: parse_expiry(&expires).unwrap_or_default(),
        rule,
    };
    if exception.scope.is_empty() {
        let message = format!("exception `{name}` has no `scope`");
        let suggestion = "limit it to accounts, key_sets, keys, regions or a boundary".to_owned();
        problems.push(Problem { line: 0, message, suggestion: Some(suggestion) });
    }
    if !exception.rule.is_empty() && !rules.contains(&exception.rule) {
        let message = format!("there is no rule `{}`", exception.rule);
        let suggestion = closest(&exception.rule, rules.iter().map(String::as_str));
        problems.push(Problem { line: rule_line, message, suggestion });
    }
    if !expires.is_empty() && parse_expiry(&expires).is_none() {
        let message = format!("`{expires}` is neither a date nor a time");
        let suggestion = "write `2027-03-31` (holds to the end of that day, UTC) or `2027-03-31T12:00:00Z`";
        problems.push(Problem { line: expires_line, message, suggestion: Some(suggestion.to_owned()) });
    }
    if problems.is_empty() { Ok(exception) } else { Err(problems) }
}

/// A date holds to the end of that day in UTC.
fn parse_expiry(text: &str) -> Option<DateTime<Utc>> {
    if let Ok(date) = text.parse::<NaiveDate>() {
        return Some(date.checked_add_days(Days::new(1))?.and_time(NaiveTime::MIN).and_utc());
    }
    DateTime::parse_from_rfc3339(text).ok().map(|time| time.with_timezone(&Utc))
}

fn syntax_error(path: &str, error: &serde_saphyr::Error) -> ExceptionError {
    let bare = error.without_snippet();
    let suggestion = match bare {
        serde_saphyr::Error::SerdeUnknownField { field, expected, .. } => {
            closest(field, expected.iter().copied())
        }
        _ => None,
    };
    // The position is told apart from the message, so the message's own is cut off.
    let message = bare.to_string().lines().next().unwrap_or_default().to_owned();
    let line = error.location().map_or(0, |location| location.line());
    ExceptionError { path: path.to_owned(), line, message, suggestion }
}

/// A suggestion, where one of the candidates is near enough to be what was meant.
fn closest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<String> {
    candidates
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|one, other| one.0.total_cmp(&other.0))
        .map(|(_, candidate)| format!("did you mean `{candidate}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::fixtures::{at, key, key_subject};
    use crate::model::SubjectKind;

    const GOOD: &str = "\
# who may do what
exceptions:
    - id: E1
      rule: key-set-outside-boundary
      scope: { accounts: ['111122223333'], regions: [eu-central-1] }
      owner: payments@example.com
      reason: moving
      legal_basis: GDPR Art. 45
      approver: dpo@example.com
      expires: 2027-03-31
";

    fn rules() -> BTreeSet<String> {
        ["key-set-outside-boundary", "rotation-disabled"].map(ToOwned::to_owned).into()
    }

    fn parse(text: &str) -> Result<Exceptions, Vec<String>> {
        Exceptions::parse("ops/exceptions.yaml", text, &rules())
            .map_err(|errors| errors.iter().map(ToString::to_string).collect())
    }

    /// The errors of the good file with one line replaced.
    fn errors_with(line: &str, replacement: &str) -> Vec<String> {
        assert!(GOOD.contains(line));
        parse(&GOOD.replace(line, replacement)).unwrap_err()
    }

    #[test]
    fn a_date_holds_to_the_end_of_its_day() {
        let exceptions = parse(GOOD).unwrap();
        let end: DateTime<Utc> = "2027-04-01T00:00:00Z".parse().unwrap();
        assert_eq!(exceptions.get("E1").unwrap().expires, end);
        let rule = "key-set-outside-boundary";
        let permitted =
            |rule, now| exceptions.permitting(rule, &key_subject(1), now).map(|found| found.id.as_str());
        assert_eq!(permitted(rule, end - TimeDelta::microseconds(1)), Some("E1"));
        assert_eq!(permitted(rule, end), None);
        assert_eq!(permitted("rotation-disabled", at(0)), None);
        let notice = TimeDelta::days(14);
        assert_eq!(exceptions.expiring(end - notice - TimeDelta::seconds(1), notice).count(), 0);
        assert_eq!(exceptions.expiring(end - notice, notice).count(), 1);
        assert_eq!(exceptions.expiring(end, notice).count(), 0);
        assert_eq!(exceptions.iter().count(), 1);
    }

    #[test]
    fn everything_given_has_to_fit_and_what_is_missing_does_not() {
        let scope = |text: &str| serde_saphyr::from_str::<Scope>(text).unwrap();
        let subject = key_subject(1);
        for (text, fits) in [
            ("accounts: ['111122223333']", true),
            ("accounts: ['999999999999']", false),
            ("accounts: ['111122223333']\nregions: [us-east-1]", false),
            ("regions: [us-east-1, eu-central-1]", true),
            ("boundary: eea", true),
            ("boundary: sg", false),
        ] {
            assert_eq!(scope(text).covers(&subject), fits, "{text}");
        }
        assert!(scope(&format!("keys: ['{}']", key(1))).covers(&subject));
        assert!(scope(&format!("key_sets: ['{}']", key(1).key_set())).covers(&subject));
        let trail = Subject { kind: SubjectKind::Trail, key: None, key_set: None, region: None, ..subject };
        assert!(!scope(&format!("keys: ['{}']", key(1))).covers(&trail));
        assert!(!scope("regions: [eu-central-1]").covers(&trail));
    }

    #[test]
    fn one_without_an_expiry_does_not_load() {
        assert_eq!(
            errors_with("      expires: 2027-03-31\n", ""),
            [
                "ops/exceptions.yaml:3: exception `E1` has no `expires`; every exception ends: add a date such as \
              `expires: 2027-03-31`"
            ]
        );
    }

    #[test]
    fn errors_name_the_line_and_the_remedy() {
        assert_eq!(
            errors_with("rule: key-set-outside-boundary", "rule: key-set-outside-boundry"),
            ["ops/exceptions.yaml:4: there is no rule `key-set-outside-boundry`; did you mean \
              `key-set-outside-boundary`?"]
        );
        assert_eq!(
            errors_with("expires: 2027-03-31", "expires: next spring"),
            [
                "ops/exceptions.yaml:10: `next spring` is neither a date nor a time; write `2027-03-31` (holds to \
              the end of that day, UTC) or `2027-03-31T12:00:00Z`"
            ]
        );
        let unknown = errors_with("legal_basis:", "legal_base:");
        assert_eq!(unknown.len(), 1);
        assert!(unknown[0].starts_with("ops/exceptions.yaml:8: "), "{unknown:?}");
        assert!(unknown[0].ends_with("did you mean `legal_basis`?"), "{unknown:?}");
        let account = errors_with("'111122223333'", "'1111'");
        assert!(account[0].starts_with("ops/exceptions.yaml:5: "), "{account:?}");
        assert!(account[0].contains("`1111` is not an AWS account id"), "{account:?}");
    }

    #[test]
    fn all_that_is_wrong_is_said_at_once() {
        let text = "exceptions:\n- rule: nothing-like-it\n- {id: E2, scope: {boundary: eea}}\n";
        let errors = parse(text).unwrap_err();
        for expected in
            ["2: exception `(without id)` has no `expires`", "2: there is no rule", "has no `scope`"]
        {
            assert!(errors.iter().any(|error| error.contains(expected)), "{expected} in {errors:?}");
        }
        assert!(
            errors.iter().any(|error| error.contains(":3: exception `E2` has no `approver`")),
            "{errors:?}"
        );
    }

    #[test]
    fn an_id_is_given_once() {
        let twice = format!("{GOOD}{}", GOOD.split_once("exceptions:\n").unwrap().1);
        let errors = parse(&twice).unwrap_err();
        assert_eq!(errors.len(), 1);
        assert!(errors[0].contains("the id `E1` is taken by the exception in line 3"), "{errors:?}");
    }

    #[test]
    fn an_empty_file_permits_nothing() {
        for text in ["", "# nothing yet\n", "exceptions: []\n"] {
            assert_eq!(parse(text), Ok(Exceptions::default()), "{text:?}");
        }
    }
}
