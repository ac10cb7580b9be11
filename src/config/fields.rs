//! Every setting, with its kind of value, default and meaning.
//!
//! The shape of a file is checked against this table and `docs/configuration.md` is written from it; a test
//! holds it to the structs.

use std::net::SocketAddr;

use toml::Value;

use crate::model::{AccountId, Country, Level, Region};

/// What values a setting takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Bool,
    /// A whole number within bounds, both included.
    Int(i64, i64),
    /// A text.
    Text,
    /// A path of the file system; a relative one begins at the working directory.
    Path,
    /// An address and port.
    Address,
    /// An AWS account id.
    Account,
    /// An AWS Region.
    Region,
    /// A country code.
    Country,
    /// One of the five levels.
    Level,
    /// Texts by name.
    Map,
    /// A list of values of one kind.
    List(&'static Kind),
}

impl Kind {
    /// Whether a value is of this kind; if not, why, and what to write.
    ///
    /// # Errors
    /// With the message.
    pub fn check(self, value: &Value) -> Result<(), String> {
        match (self, value) {
            (Self::Bool, Value::Boolean(_)) | (Self::Text | Self::Path, Value::String(_)) => Ok(()),
            (Self::Int(least, most), Value::Integer(number)) => {
                if (least..=most).contains(number) {
                    Ok(())
                } else {
                    Err(format!("{number} is not within {least} to {most}"))
                }
            }
            (Self::Address, Value::String(text)) => text
                .parse::<SocketAddr>()
                .map(drop)
                .map_err(|_| format!("`{text}` is not an address and port; one looks like `127.0.0.1:9464`")),
            (Self::Account, Value::String(text)) => identifier::<AccountId>(text),
            (Self::Region, Value::String(text)) => identifier::<Region>(text),
            (Self::Country, Value::String(text)) => identifier::<Country>(text),
            (Self::Level, Value::String(text)) => identifier::<Level>(text),
            (Self::Map, Value::Table(map)) => {
                let wrong = map.iter().find(|(_, value)| !value.is_str());
                wrong.map_or(Ok(()), |(name, _)| {
                    Err(format!("the value of `{name}` has to be text, in quotes"))
                })
            }
            (Self::List(kind), Value::Array(items)) => {
                let check = |(at, item)| kind.check(item).map_err(|why| format!("item {}: {why}", at + 1));
                items.iter().enumerate().try_for_each(check)
            }
            (_, other) => Err(self.mismatch(other)),
        }
    }

    fn mismatch(self, value: &Value) -> String {
        let quotes =
            self.is_text() && matches!(value, Value::Integer(_) | Value::Float(_) | Value::Boolean(_));
        let remedy = if quotes { "; put it in quotes" } else { "" };
        format!("this has to be {}, and is of type {}{remedy}", self.describe(), value.type_str())
    }

    /// Whether a value is written as text.
    pub fn is_text(self) -> bool {
        !matches!(self, Self::Bool | Self::Int(..) | Self::Map | Self::List(_))
    }

    /// The kind for people, such as `list of account ids`.
    pub fn describe(self) -> String {
        match self {
            Self::Bool => "true or false".to_owned(),
            Self::Int(least, most) => format!("a whole number from {least} to {most}"),
            Self::Text => "text".to_owned(),
            Self::Path => "a path".to_owned(),
            Self::Address => "an address and port".to_owned(),
            Self::Account => "an account id".to_owned(),
            Self::Region => "a Region".to_owned(),
            Self::Country => "a country code".to_owned(),
            Self::Level => "a level".to_owned(),
            Self::Map => "a table of texts".to_owned(),
            Self::List(kind) => {
                let what = match kind {
                    Self::Path => "paths",
                    Self::Account => "account ids",
                    Self::Region => "Regions",
                    Self::Country => "country codes",
                    _ => "texts",
                };
                format!("a list of {what}")
            }
        }
    }
}

fn identifier<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<(), String> {
    text.parse::<T>().map(drop).map_err(|error| error.to_string())
}

/// What a setting is when it is not given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// It has to be given.
    Required,
    /// It is not set.
    Unset,
    /// This value, in TOML.
    Value(&'static str),
}

/// One setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Its path; `[]` stands behind a section of which there can be several.
    pub path: &'static str,
    /// What values it takes.
    pub kind: Kind,
    /// What it is when it is not given.
    pub default: Preset,
    /// What it means.
    pub meaning: &'static str,
}

impl Field {
    /// The last part of its path.
    pub fn name(&self) -> &'static str {
        self.path.rsplit('.').next().unwrap_or(self.path)
    }

    /// The path of the section that it is in.
    pub fn section(&self) -> &'static str {
        self.path.rsplit_once('.').map_or("", |(section, _)| section)
    }
}

/// One section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Section {
    /// Its path, as in [`Field::path`].
    pub path: &'static str,
    /// What it is about.
    pub meaning: &'static str,
}

const fn section(path: &'static str, meaning: &'static str) -> Section {
    Section { path, meaning }
}

const fn field(path: &'static str, kind: Kind, default: Preset, meaning: &'static str) -> Field {
    Field { path, kind, default, meaning }
}

use Kind::{
    Account, Address, Bool, Country as CountryCode, Int, Level as LevelName, List, Map, Path,
    Region as RegionName, Text,
};
use Preset::{Required, Unset, Value as Is};

/// A year, in seconds.
const YEAR: i64 = 31_536_000;
/// How far back CloudTrail keeps events, in seconds: 90 days.
const EVENT_HISTORY: i64 = 7_776_000;
/// The longest that SQS hides a message, in seconds: twelve hours.
const VISIBILITY: i64 = 43_200;
/// The longest that events are remembered, in days: ten years.
const EVENT_MEMORY: i64 = 3650;
/// A hundred years, in days.
const CENTURY: i64 = 36_500;

/// The sections, in the order of the documentation.
pub const SECTIONS: &[Section] = &[
    section(
        "accounts",
        "Which accounts are audited. With neither `static` nor `organization` it is the caller's own account.",
    ),
    section("regions", "Which Regions are audited."),
    section("policy", "What your organization has decided; the rules judge by it."),
    section(
        "residency[]",
        "Assigns a boundary to the key sets that match. The first section that matches counts. Where what a match depends on \
         could not be read, the boundary is unknown, and no later section stands in for it. Without any section the boundary is \
         inferred from where the primary key is.",
    ),
    section(
        "residency[].match",
        "What has to match. Everything that is given has to; with nothing given, every key set matches.",
    ),
    section("inventory", "The sweep of keys, trails and AWS Config."),
    section("lookup", "CloudTrail look-ups."),
    section(
        "queue[]",
        "An SQS queue that announces CloudTrail's log files, or carries CloudTrail's events through EventBridge; there can be \
         several. What it is to be fed with is in [events.md](events.md).",
    ),
    section("trails", "Whether the log files of trails are all there and unchanged."),
    section("store", "Where facts, findings and cursors are kept."),
    section("http", "Metrics, API and pages."),
    section("sns[]", "A topic that takes alerts; there can be several."),
    section("rules", "Which rules are loaded."),
    section("alerts", "When alerts are repeated."),
];

/// The settings, in the order of the documentation.
pub const FIELDS: &[Field] = &[
    field("accounts.static", List(&Account), Is("[]"), "These accounts."),
    field(
        "accounts.organization",
        Bool,
        Is("false"),
        "Every active account of the caller's organization. Needs the management account or a delegated administrator.",
    ),
    field(
        "accounts.role",
        Text,
        Unset,
        "The name of the role that is assumed in every account but the caller's own; needed as soon as there is another one.",
    ),
    field("accounts.external_id", Text, Unset, "The external id that the role's trust policy asks for."),
    field(
        "accounts.trusted",
        List(&Account),
        Is("[]"),
        "Accounts outside the audited ones and their organization that may appear in policies and grants.",
    ),
    field(
        "regions.include",
        List(&RegionName),
        Is("[]"),
        "Only these. Empty: every Region that is enabled in the account.",
    ),
    field(
        "policy.approved_regions",
        List(&RegionName),
        Is("[]"),
        "Regions in which customer keys may exist. Empty: no such decision, and nothing is judged by it.",
    ),
    field(
        "policy.single_region_accounts",
        List(&Account),
        Is("[]"),
        "Accounts that may hold single-Region keys only.",
    ),
    field(
        "policy.classification_tag",
        Text,
        Unset,
        "The tag that states a key's data class. Unset: no such decision.",
    ),
    field(
        "policy.max_rotation_period_days",
        Int(90, 2560),
        Is("365"),
        "The longest rotation period allowed, in days; AWS takes 90 to 2560.",
    ),
    field(
        "policy.rotation_grace_days",
        Int(0, CENTURY),
        Is("3"),
        "How late an automatic rotation may be before it is called overdue, in days.",
    ),
    field(
        "policy.imported_material_max_age_days",
        Int(1, CENTURY),
        Is("365"),
        "How old imported key material may get before it has to be rotated on demand, in days.",
    ),
    field(
        "policy.expiry_warning_days",
        Int(0, CENTURY),
        Is("30"),
        "How long before imported material expires it is reported, in days.",
    ),
    field(
        "policy.adequacy_counts",
        Bool,
        Is("false"),
        "Whether a country with an EU adequacy decision goes together with the EEA where no boundary is declared. Decisions that \
         depend on the recipient, such as that for the United States, never count.",
    ),
    field(
        "residency[].boundary",
        Text,
        Required,
        "The name of a boundary in `rules/jurisdictions/boundaries.yml`, such as `eea`.",
    ),
    field(
        "residency[].home",
        List(&CountryCode),
        Is("[]"),
        "The countries in which the primary has to be. Empty: anywhere within the boundary.",
    ),
    field(
        "residency[].match.tags",
        Map,
        Is("{}"),
        "Tags that the key set has to carry, on its primary or any readable member.",
    ),
    field("residency[].match.accounts", List(&Account), Is("[]"), "The owning account is one of these."),
    field(
        "residency[].match.aliases",
        Text,
        Unset,
        "A regular expression that one of the set's alias names, without `alias/`, has to match.",
    ),
    field(
        "residency[].match.regions",
        List(&RegionName),
        Is("[]"),
        "The primary is in one of these Regions.",
    ),
    field(
        "residency[].match.ous",
        List(&Text),
        Is("[]"),
        "The owning account is in one of these organizational units (ids, `ou-…` or a root's `r-…`), at any depth. They are read \
         with `accounts.organization = true` only.",
    ),
    field(
        "inventory.interval_secs",
        Int(1, YEAR),
        Is("3600"),
        "From the start of one full sweep to the start of the next, in seconds.",
    ),
    field(
        "inventory.quota_percent",
        Int(1, 100),
        Is("50"),
        "The share of AWS's published request quotas that Keyward may use, in percent.",
    ),
    field("inventory.config", Bool, Is("true"), "Whether AWS Config is read."),
    field(
        "inventory.last_usage",
        Bool,
        Is("true"),
        "Whether `GetKeyLastUsage` is sampled (5 keys a second at most, by AWS's quota).",
    ),
    field("lookup.enabled", Bool, Is("true"), "Whether events are looked up at all."),
    field(
        "lookup.interval_secs",
        Int(1, YEAR),
        Is("60"),
        "From the start of one look-up to the start of the next, in seconds.",
    ),
    field(
        "lookup.overlap_secs",
        Int(0, EVENT_HISTORY),
        Is("7200"),
        "How far every look-up goes back beyond the last one, in seconds: CloudTrail delivers late.",
    ),
    field(
        "lookup.first_secs",
        Int(0, EVENT_HISTORY),
        Is("86400"),
        "How far the first look-up goes back, in seconds; CloudTrail keeps 90 days.",
    ),
    field(
        "lookup.usage",
        Bool,
        Is("false"),
        "Whether uses of keys (Decrypt, GenerateDataKey, …) are looked up too: at most 100 events a second.",
    ),
    field(
        "queue[].url",
        Text,
        Required,
        "The queue's URL, such as `https://sqs.eu-central-1.amazonaws.com/111122223333/keyward-events`.",
    ),
    field(
        "queue[].region",
        RegionName,
        Unset,
        "The queue's Region. Unset: the one in the URL; an endpoint of your own has none there.",
    ),
    field(
        "queue[].role",
        Text,
        Unset,
        "The ARN of a role that is assumed to take from the queue and to read what it announces. Unset: Keyward's own \
         credentials.",
    ),
    field("queue[].external_id", Text, Unset, "The external id that this role's trust policy asks for."),
    field("queue[].max_in_flight", Int(1, 256), Is("8"), "How many log files are read at the same time."),
    field(
        "queue[].visibility_secs",
        Int(15, VISIBILITY),
        Is("120"),
        "For how long a message is hidden from other instances once it was received, in seconds; extended while it is being \
         worked on.",
    ),
    field(
        "trails.verify",
        Bool,
        Is("true"),
        "Whether the digest and log files of trails with log file validation are verified. Needs access to their buckets.",
    ),
    field(
        "trails.verify_interval_secs",
        Int(1, YEAR),
        Is("3600"),
        "From the start of one verification to the start of the next, in seconds.",
    ),
    field(
        "trails.verify_first_secs",
        Int(0, YEAR),
        Is("86400"),
        "How far the first verification goes back, in seconds.",
    ),
    field("store.url", Text, Is("\"sqlite:keyward.db\""), "`sqlite:PATH` or `postgres://…`."),
    field(
        "store.retention_days",
        Int(1, CENTURY),
        Is("400"),
        "How long resolved findings, old snapshots and events are kept, in days.",
    ),
    field(
        "store.event_memory_days",
        Int(1, EVENT_MEMORY),
        Is("91"),
        "For how long it is remembered which events were counted, in days; one that comes again later counts again. About 6.4 \
         bytes an event: with 10 million events a day, 91 days take 5.8 GB. Not less than a message may stay in the queues (SQS \
         keeps one for 14 days at most) nor than `lookup.overlap_secs`.",
    ),
    field("http.listen", Address, Is("\"127.0.0.1:9464\""), "The address and port to listen on."),
    field(
        "http.external_url",
        Text,
        Unset,
        "How this Keyward is reached from outside; the links in alerts begin with it.",
    ),
    field("sns[].topic", Text, Required, "The topic's ARN; a FIFO topic's ends in `.fifo`."),
    field(
        "sns[].min_level",
        LevelName,
        Is("\"medium\""),
        "Alerts below this level are not sent: `informational`, `low`, `medium`, `high` or `critical`.",
    ),
    field(
        "sns[].fallback",
        Text,
        Unset,
        "The ARN of the topic that is used when this one fails for good, such as when its own key is disabled.",
    ),
    field("rules.dirs", List(&Path), Is("[]"), "Folders of rules beside the built-in pack."),
    field("rules.disable", List(&Text), Is("[]"), "Names of rules that are not loaded."),
    field("rules.exceptions", Path, Unset, "The file of exceptions."),
    field(
        "alerts.reminder_hours",
        Int(0, YEAR),
        Is("24"),
        "After how many hours an open finding is sent again; 0: never.",
    ),
    field(
        "alerts.detection_max_age_days",
        Int(1, CENTURY),
        Is("30"),
        "After how many days without a like event a detection ages out.",
    ),
    field(
        "alerts.exception_notice_days",
        Int(0, CENTURY),
        Is("14"),
        "How many days before an exception expires that is said.",
    ),
];

/// What a path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Node {
    /// A section.
    Section,
    /// A section of which there can be several.
    Tables,
    /// A setting.
    Field(&'static Field),
}

/// What a path names, if anything.
pub(super) fn node(path: &str) -> Option<Node> {
    let below =
        |field: &Field, mark: &str| field.path.strip_prefix(path).is_some_and(|rest| rest.starts_with(mark));
    if let Some(field) = FIELDS.iter().find(|field| field.path == path) {
        Some(Node::Field(field))
    } else if FIELDS.iter().any(|field| below(field, "[].")) {
        Some(Node::Tables)
    } else if FIELDS.iter().any(|field| below(field, ".")) {
        Some(Node::Section)
    } else {
        None
    }
}

/// The names right below a section, in the order of the table; those of the sections for an empty path.
pub(super) fn children(path: &str) -> Vec<&'static str> {
    let mut names = Vec::new();
    for field in FIELDS {
        let below = if path.is_empty() {
            Some(field.path)
        } else {
            field.path.strip_prefix(path).and_then(|rest| rest.strip_prefix('.'))
        };
        let name = below.and_then(|rest| rest.split(['.', '[']).next());
        names.extend(name.filter(|name| !names.contains(name)));
    }
    names
}

/// The settings of a section that have to be given.
pub(super) fn required(path: &str) -> impl Iterator<Item = &'static Field> {
    FIELDS.iter().filter(move |field| field.default == Required && field.section() == path)
}

/// The paths that an environment variable can stand for: settings, and lists of sections as a whole.
pub(super) fn overridable() -> impl Iterator<Item = &'static str> {
    let lists = SECTIONS.iter().filter_map(|section| section.path.strip_suffix("[]"));
    FIELDS.iter().map(|field| field.path).filter(|path| !path.contains("[]")).chain(lists)
}
