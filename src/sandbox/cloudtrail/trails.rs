//! Trails: one is managed in its home Region, and shows in others as a shadow.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use super::logs::Shipping;
use super::selectors::Selectors;
use super::{Membership, State};
use crate::model::{AccountId, Region};
use crate::sandbox::call::{Answer, ApiError, Call};

/// How many trails an account may have in a Region.
const MOST: usize = 5;

/// A trail.
#[derive(Debug, Clone)]
pub(super) struct Trail {
    pub(super) name: String,
    pub(super) arn: String,
    pub(super) home: Region,
    pub(super) scope: Scope,
    pub(super) validation: bool,
    /// The settings that are plain texts, by the API's names: `S3BucketName`, `KmsKeyId`, …
    pub(super) settings: Map<String, Value>,
    pub(super) selectors: Selectors,
    pub(super) logging: bool,
    pub(super) started: Option<DateTime<Utc>>,
    pub(super) stopped: Option<DateTime<Utc>>,
    pub(super) delivery_error: Option<String>,
    pub(super) shipping: Shipping,
}

impl Trail {
    fn setting(&self, name: &str) -> Option<&str> {
        self.settings.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    pub(super) fn bucket(&self) -> &str {
        self.setting("S3BucketName").unwrap_or_default()
    }

    pub(super) fn prefix(&self) -> Option<&str> {
        self.setting("S3KeyPrefix")
    }

    pub(super) fn topic(&self) -> Option<&str> {
        self.setting("SnsTopicARN")
    }
}

/// What a trail covers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scope {
    pub(super) multi_region: bool,
    pub(super) organization: bool,
    pub(super) global_events: bool,
}

/// Where a trail is kept.
pub(super) type TrailKey = (AccountId, Region, String);

/// One call about trails.
pub(super) struct Desk<'a> {
    pub(super) state: &'a mut State,
    pub(super) call: &'a Call,
    pub(super) now: DateTime<Utc>,
    pub(super) membership: Option<&'a Membership>,
}

impl State {
    /// Makes a trail's deliveries fail from now on (`AccessDenied`, `NoSuchBucket`, …), or succeed again. Whether there is such a trail.
    pub fn set_delivery_error(&mut self, trail_arn: &str, error: Option<&str>) -> bool {
        let trail = self.trails.values_mut().find(|trail| trail.arn == trail_arn);
        let found = trail.is_some();
        if let Some(trail) = trail {
            trail.delivery_error = error.map(str::to_owned);
        }
        found
    }
}

impl Desk<'_> {
    pub(super) fn create_trail(&mut self) -> Answer {
        let name = self.required("Name")?.to_owned();
        check_name(&name)?;
        let key = (self.call.account.clone(), self.call.region.clone(), name.clone());
        if self.state.trails.contains_key(&key) {
            let message = format!("Trail {name} already exists for customer: {}", self.call.account);
            return Err(ApiError::client("TrailAlreadyExistsException", message));
        }
        let here = self
            .state
            .trails
            .keys()
            .filter(|(account, region, _)| *account == key.0 && *region == key.1)
            .count();
        if here >= MOST {
            let message =
                format!("User: {} already has {MOST} trails in {}.", self.call.account, self.call.region);
            return Err(ApiError::client("MaximumNumberOfTrailsExceededException", message));
        }
        if self.call.text("S3BucketName").is_none_or(str::is_empty) {
            return Err(ApiError::client("InvalidS3BucketNameException", "Bucket name cannot be blank!"));
        }
        let Call { partition, region, account, .. } = self.call;
        let mut trail = Trail {
            arn: format!("arn:{partition}:cloudtrail:{region}:{account}:trail/{name}"),
            name,
            home: region.clone(),
            scope: Scope { multi_region: false, organization: false, global_events: true },
            validation: false,
            settings: Map::new(),
            selectors: Selectors::default(),
            logging: false,
            started: None,
            stopped: None,
            delivery_error: None,
            shipping: Shipping::default(),
        };
        self.apply(&mut trail)?;
        let answer = changed(&trail);
        self.state.trails.insert(key, trail);
        Ok(answer)
    }

    pub(super) fn update_trail(&mut self) -> Answer {
        let key = self.own("Name")?;
        let Some(mut trail) = self.state.trails.get(&key).cloned() else { return Err(self.unknown(&key.2)) };
        self.apply(&mut trail)?;
        let answer = changed(&trail);
        self.state.trails.insert(key, trail);
        Ok(answer)
    }

    pub(super) fn delete_trail(&mut self) -> Answer {
        let key = self.own("Name")?;
        self.state.trails.remove(&key);
        Ok(json!({}))
    }

    /// Takes the settings that the input names.
    fn apply(&self, trail: &mut Trail) -> Result<(), ApiError> {
        const TEXTS: [&str; 6] = [
            "S3BucketName",
            "S3KeyPrefix",
            "SnsTopicName",
            "CloudWatchLogsLogGroupArn",
            "CloudWatchLogsRoleArn",
            "KmsKeyId",
        ];
        let flag =
            |name: &str, before: bool| self.call.input.get(name).and_then(Value::as_bool).unwrap_or(before);
        trail.scope.multi_region = flag("IsMultiRegionTrail", trail.scope.multi_region);
        trail.scope.organization = flag("IsOrganizationTrail", trail.scope.organization);
        trail.scope.global_events = flag("IncludeGlobalServiceEvents", trail.scope.global_events);
        trail.validation = flag("EnableLogFileValidation", trail.validation);
        if trail.scope.multi_region && !trail.scope.global_events {
            let message = "Multi-Region trail must include global service events.";
            return Err(ApiError::client("InvalidParameterCombinationException", message));
        }
        if trail.scope.organization {
            self.require_management()?;
        }
        for name in TEXTS {
            if let Some(text) = self.call.text(name) {
                trail.settings.insert(name.to_owned(), json!(text));
            }
        }
        if let Some(topic) = self.call.text("SnsTopicName") {
            let Call { partition, region, account, .. } = self.call;
            let arn = if topic.starts_with("arn:") {
                topic.to_owned()
            } else {
                format!("arn:{partition}:sns:{region}:{account}:{topic}")
            };
            trail.settings.insert("SnsTopicARN".to_owned(), json!(arn));
        }
        Ok(())
    }

    fn require_management(&self) -> Result<(), ApiError> {
        match self.membership {
            None => Err(ApiError::client(
                "OrganizationsNotInUseException",
                "The account is not a member of an organization.",
            )),
            Some(membership) if membership.management != self.call.account => Err(ApiError::client(
                "NotOrganizationMasterAccountException",
                "The account is not the management account of the organization.",
            )),
            Some(_) => Ok(()),
        }
    }

    pub(super) fn describe_trails(&self) -> Value {
        let named: Vec<&str> = ["TrailNameList", "trailNameList"]
            .iter()
            .filter_map(|member| self.call.input.get(member)?.as_array())
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let shadows = ["IncludeShadowTrails", "includeShadowTrails"]
            .iter()
            .find_map(|member| self.call.input.get(member)?.as_bool());
        let trails = self.visible().filter(|(key, trail)| {
            let at_home = self.is_home(key);
            let wanted = named.is_empty()
                || named.iter().any(|name| *name == trail.arn || (at_home && *name == trail.name));
            wanted && (at_home || shadows.unwrap_or(true))
        });
        json!({ "trailList": trails.map(|(_, trail)| describe(trail)).collect::<Vec<_>>() })
    }

    pub(super) fn get_trail(&self) -> Answer {
        Ok(json!({ "Trail": describe(self.seen("Name")?.1) }))
    }

    pub(super) fn list_trails(&self) -> Value {
        let organization = self.membership.map(|membership| &membership.management);
        let trails = self.state.trails.iter().filter(|((account, ..), trail)| {
            *account == self.call.account || (trail.scope.organization && Some(account) == organization)
        });
        let entries = trails.map(|(_, trail)| json!({ "TrailARN": trail.arn, "Name": trail.name, "HomeRegion": trail.home.as_str() }));
        json!({ "Trails": entries.collect::<Vec<_>>() })
    }

    /// The trails that show in the call's account and Region: its own, the multi-Region ones, the organization's.
    fn visible(&self) -> impl Iterator<Item = (&TrailKey, &Trail)> {
        let management = self.membership.map(|membership| &membership.management);
        self.state.trails.iter().filter(move |((account, home, _), trail)| {
            let mine =
                *account == self.call.account || (trail.scope.organization && Some(account) == management);
            mine && (trail.scope.multi_region || *home == self.call.region)
        })
    }

    fn is_home(&self, (account, region, _): &TrailKey) -> bool {
        *account == self.call.account && *region == self.call.region
    }

    /// A trail that the input names, by ARN, or by name where it is at home.
    pub(super) fn seen(&self, member: &str) -> Result<(&TrailKey, &Trail), ApiError> {
        let reference = self.required(member)?;
        let found = self
            .visible()
            .find(|(key, trail)| trail.arn == reference || (trail.name == reference && self.is_home(key)));
        found.ok_or_else(|| self.unknown(reference))
    }

    /// A trail that the input names and that may be changed here: at home, by its owner.
    pub(super) fn own(&self, member: &str) -> Result<TrailKey, ApiError> {
        let reference = self.required(member)?;
        let found = self.visible().find(|(_, trail)| trail.arn == reference || trail.name == reference);
        let (key, trail) = found.ok_or_else(|| self.unknown(reference))?;
        if key.0 != self.call.account {
            self.require_management()?;
        }
        if key.1 != self.call.region {
            let message =
                format!("Trail {} can only be changed in its home Region {}", trail.name, trail.home);
            return Err(ApiError::client("InvalidHomeRegionException", message));
        }
        Ok(key.clone())
    }

    pub(super) fn required(&self, member: &str) -> Result<&str, ApiError> {
        let value = self.call.text(member).filter(|value| !value.is_empty());
        value.ok_or_else(|| ApiError::client("InvalidTrailNameException", "Trail name cannot be blank!"))
    }

    pub(super) fn unknown(&self, name: &str) -> ApiError {
        let message = format!("Unknown trail: {name} for the user: {}", self.call.account);
        ApiError::client("TrailNotFoundException", message)
    }
}

fn check_name(name: &str) -> Result<(), ApiError> {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '-');
    if (3..=128).contains(&name.len()) && name.chars().all(plain) {
        return Ok(());
    }
    Err(ApiError::client(
        "InvalidTrailNameException",
        "Trail name or ARN can only contain letters, numbers, periods (.), hyphens (-), and underscores (_), \
         and has to be 3 to 128 characters long.",
    ))
}

/// What creating or changing a trail answers.
fn changed(trail: &Trail) -> Value {
    let mut answer = trail.settings.clone();
    answer.extend(members(trail));
    Value::Object(answer)
}

fn describe(trail: &Trail) -> Value {
    let mut described = changed(trail);
    if let Some(described) = described.as_object_mut() {
        described.insert("HomeRegion".to_owned(), json!(trail.home.as_str()));
        described.insert("HasCustomEventSelectors".to_owned(), json!(trail.selectors.are_custom()));
        described.insert("HasInsightSelectors".to_owned(), json!(false));
    }
    described
}

fn members(trail: &Trail) -> Map<String, Value> {
    let members = [
        ("Name", json!(trail.name)),
        ("TrailARN", json!(trail.arn)),
        ("IncludeGlobalServiceEvents", json!(trail.scope.global_events)),
        ("IsMultiRegionTrail", json!(trail.scope.multi_region)),
        ("IsOrganizationTrail", json!(trail.scope.organization)),
        ("LogFileValidationEnabled", json!(trail.validation)),
    ];
    members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
