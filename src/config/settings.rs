//! The sections of `keyward.toml`, as they are once they have been read and checked.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::jurisdiction::ResidencyAssignment;
use crate::model::{AccountId, Level, Region};

/// The whole configuration. Every section may be left out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Which accounts are audited.
    pub accounts: Accounts,
    /// Which Regions are audited.
    pub regions: Regions,
    /// What this organization has decided; the rules judge by it.
    pub policy: AuditPolicy,
    /// Which boundary a key set has to stay in; the first that matches counts.
    pub residency: Vec<ResidencyAssignment>,
    /// The sweep of keys, trails and AWS Config.
    pub inventory: Inventory,
    /// CloudTrail look-ups.
    pub lookup: Lookup,
    /// Queues that announce log files or carry events.
    pub queue: Vec<Queue>,
    /// Whether the log files of trails are whole.
    pub trails: Trails,
    /// Where facts, findings and cursors are kept.
    pub store: StoreConfig,
    /// Metrics, API and pages.
    pub http: Http,
    /// Where alerts go.
    pub sns: Vec<SnsTopic>,
    /// Which rules are loaded.
    pub rules: RulesConfig,
    /// When alerts are repeated.
    pub alerts: Alerts,
}

/// Which accounts are audited. Neither `static` nor `organization`: the caller's own account.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Accounts {
    /// These accounts.
    #[serde(rename = "static")]
    pub fixed: Vec<AccountId>,
    /// Every active account of the caller's organization.
    pub organization: bool,
    /// The role assumed in every account but the caller's own; needed as soon as there is another one.
    pub role: Option<String>,
    /// The external id that the role's trust policy asks for.
    pub external_id: Option<String>,
    /// Accounts outside the audited ones and their organization that may appear in policies and grants.
    pub trusted: Vec<AccountId>,
}

/// Which Regions are audited.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Regions {
    /// Only these. Empty: every Region that is enabled in the account.
    pub include: Vec<Region>,
}

/// What this organization has decided; the rules judge by it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuditPolicy {
    /// Regions in which customer keys may exist. Empty: no such decision, and nothing is judged by it.
    pub approved_regions: Vec<Region>,
    /// Accounts that may hold single-Region keys only.
    pub single_region_accounts: Vec<AccountId>,
    /// The tag that states a key's data class. None: no such decision.
    pub classification_tag: Option<String>,
    /// The longest rotation period allowed, in days.
    pub max_rotation_period_days: i64,
    /// How late an automatic rotation may be before it is called overdue, in days.
    pub rotation_grace_days: i64,
    /// How old imported key material may get before it has to be rotated on demand, in days.
    pub imported_material_max_age_days: i64,
    /// How long before imported material expires it is reported, in days.
    pub expiry_warning_days: i64,
    /// Whether a country with an EU adequacy decision goes together with the EEA where no boundary is declared.
    pub adequacy_counts: bool,
}

impl Default for AuditPolicy {
    fn default() -> Self {
        Self {
            approved_regions: Vec::new(),
            single_region_accounts: Vec::new(),
            classification_tag: None,
            max_rotation_period_days: 365,
            rotation_grace_days: 3,
            imported_material_max_age_days: 365,
            expiry_warning_days: 30,
            adequacy_counts: false,
        }
    }
}

/// The sweep of keys, trails and AWS Config.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Inventory {
    /// From the start of one full sweep to the start of the next, in seconds.
    pub interval_secs: u64,
    /// The share of AWS's published request quotas that Keyward may use, in percent.
    pub quota_percent: u8,
    /// Whether AWS Config is read.
    pub config: bool,
    /// Whether `GetKeyLastUsage` is sampled (5 keys a second at most, by AWS's quota).
    pub last_usage: bool,
}

impl Default for Inventory {
    fn default() -> Self {
        Self { interval_secs: 3600, quota_percent: 50, config: true, last_usage: true }
    }
}

/// CloudTrail look-ups.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Lookup {
    /// Whether events are looked up at all.
    pub enabled: bool,
    /// From the start of one look-up to the start of the next, in seconds.
    pub interval_secs: u64,
    /// How far every look-up goes back beyond the last one, in seconds: CloudTrail delivers late.
    pub overlap_secs: u64,
    /// How far the first look-up goes back, in seconds; CloudTrail keeps 90 days.
    pub first_secs: u64,
    /// Whether uses of keys (Decrypt, GenerateDataKey, …) are looked up too: at most 100 events a second.
    pub usage: bool,
}

impl Default for Lookup {
    fn default() -> Self {
        Self { enabled: true, interval_secs: 60, overlap_secs: 7200, first_secs: 86_400, usage: false }
    }
}

/// An SQS queue that announces log files or carries events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Queue {
    /// The queue's URL.
    pub url: String,
    /// The queue's Region. None: the one in the URL.
    #[serde(default)]
    pub region: Option<Region>,
    /// The ARN of the role that is assumed for the queue and what it announces.
    #[serde(default)]
    pub role: Option<String>,
    /// The external id that this role's trust policy asks for.
    #[serde(default)]
    pub external_id: Option<String>,
    /// How many log files are read at the same time.
    #[serde(default = "default_in_flight")]
    pub max_in_flight: usize,
    /// For how long a message is hidden from other instances once it was received, in seconds.
    #[serde(default = "default_visibility")]
    pub visibility_secs: u32,
}

impl Queue {
    /// A queue with the defaults.
    pub fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            region: None,
            role: None,
            external_id: None,
            max_in_flight: default_in_flight(),
            visibility_secs: default_visibility(),
        }
    }
}

fn default_in_flight() -> usize {
    8
}

fn default_visibility() -> u32 {
    120
}

/// Whether the log files of trails are whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Trails {
    /// Whether the digest and log files of trails are verified.
    pub verify: bool,
    /// From the start of one verification to the start of the next, in seconds.
    pub verify_interval_secs: u64,
    /// How far the first verification goes back, in seconds.
    pub verify_first_secs: u64,
}

impl Default for Trails {
    fn default() -> Self {
        Self { verify: true, verify_interval_secs: 3600, verify_first_secs: 86_400 }
    }
}

/// Where facts, findings and cursors are kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreConfig {
    /// `sqlite:PATH` or `postgres://…`.
    pub url: String,
    /// How long resolved findings, old snapshots and events are kept, in days.
    pub retention_days: u32,
    /// For how long it is remembered which events were counted, in days.
    pub event_memory_days: u32,
}

impl Default for StoreConfig {
    fn default() -> Self {
        // CloudTrail's event history goes back 90 days: even a look-up of all of it finds what was taken before.
        Self { url: "sqlite:keyward.db".to_owned(), retention_days: 400, event_memory_days: 91 }
    }
}

/// Metrics, API and pages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// The address and port to listen on.
    pub listen: SocketAddr,
    /// How this Keyward is reached from outside; the links in alerts begin with it.
    pub external_url: Option<String>,
}

impl Default for Http {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 9464)), external_url: None }
    }
}

/// A topic that takes alerts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnsTopic {
    /// The topic's ARN; a FIFO topic's ends in `.fifo`.
    pub topic: String,
    /// Alerts below this level are not sent.
    #[serde(default = "default_min_level")]
    pub min_level: Level,
    /// The topic that is used when this one fails for good, such as when its own key is disabled.
    #[serde(default)]
    pub fallback: Option<String>,
}

fn default_min_level() -> Level {
    Level::Medium
}

/// Which rules are loaded.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RulesConfig {
    /// Folders of rules beside the built-in pack.
    pub dirs: Vec<PathBuf>,
    /// Names of rules that are not loaded.
    pub disable: Vec<String>,
    /// The file of exceptions.
    pub exceptions: Option<PathBuf>,
}

/// When alerts are repeated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Alerts {
    /// After how many hours an open finding is sent again; 0: never.
    pub reminder_hours: u64,
    /// After how many days without a like event a detection ages out.
    pub detection_max_age_days: u64,
    /// How many days before an exception expires that is said.
    pub exception_notice_days: u64,
}

impl Default for Alerts {
    fn default() -> Self {
        Self { reminder_hours: 24, detection_max_age_days: 30, exception_notice_days: 14 }
    }
}
