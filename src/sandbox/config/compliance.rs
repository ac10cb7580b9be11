//! What AWS's managed rules about KMS say of a key.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::super::call::Call;
use super::super::kms::KeyView;

/// A managed rule, by its identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ManagedRule {
    /// `CMK_BACKING_KEY_ROTATION_ENABLED`.
    RotationEnabled,
    /// `KMS_CMK_NOT_SCHEDULED_FOR_DELETION`.
    NotScheduledForDeletion,
    /// `KMS_KEY_POLICY_NO_PUBLIC_ACCESS`.
    NoPublicAccess,
}

impl ManagedRule {
    /// Every rule.
    pub const ALL: [Self; 3] = [Self::RotationEnabled, Self::NotScheduledForDeletion, Self::NoPublicAccess];

    /// The name that the console gives it.
    pub fn name(self) -> &'static str {
        match self {
            Self::RotationEnabled => "cmk-backing-key-rotation-enabled",
            Self::NotScheduledForDeletion => "kms-cmk-not-scheduled-for-deletion",
            Self::NoPublicAccess => "kms-key-policy-no-public-access",
        }
    }

    /// AWS's identifier.
    pub fn identifier(self) -> &'static str {
        match self {
            Self::RotationEnabled => "CMK_BACKING_KEY_ROTATION_ENABLED",
            Self::NotScheduledForDeletion => "KMS_CMK_NOT_SCHEDULED_FOR_DELETION",
            Self::NoPublicAccess => "KMS_KEY_POLICY_NO_PUBLIC_ACCESS",
        }
    }

    /// What the rule says of a key: `COMPLIANT`, `NON_COMPLIANT`, or nothing if it does not look at it.
    pub(super) fn judge(self, key: &KeyView) -> Option<&'static str> {
        let looked_at = key.manager == "CUSTOMER"
            && match self {
                // AWS: symmetric keys with material of KMS's own, and not while they are being deleted.
                Self::RotationEnabled => {
                    key.spec == "SYMMETRIC_DEFAULT" && key.origin == "AWS_KMS" && key.state == "Enabled"
                }
                Self::NotScheduledForDeletion | Self::NoPublicAccess => true,
            };
        let complies = match self {
            Self::RotationEnabled => key.rotation_enabled,
            // As the rule is: it does not see a primary that waits for its replicas to go.
            Self::NotScheduledForDeletion => key.state != "PendingDeletion",
            Self::NoPublicAccess => !is_public(&key.policy),
        };
        looked_at.then_some(if complies { "COMPLIANT" } else { "NON_COMPLIANT" })
    }

    pub(super) fn to_json(self, call: &Call, name: &str) -> Value {
        let (partition, region, account) = (&call.partition, &call.region, &call.account);
        json!({
            "ConfigRuleName": name,
            "ConfigRuleArn": format!("arn:{partition}:config:{region}:{account}:config-rule/config-rule-{name}"),
            "ConfigRuleId": format!("config-rule-{name}"),
            "Source": { "Owner": "AWS", "SourceIdentifier": self.identifier() },
            "ConfigRuleState": "ACTIVE",
            "MaximumExecutionFrequency": "TwentyFour_Hours",
            "EvaluationModes": [{ "Mode": "DETECTIVE" }],
        })
    }
}

/// One row of `GetComplianceDetailsByConfigRule`.
pub(super) fn result_json(rule: &str, key: &KeyView, compliance: &str, now: DateTime<Utc>) -> Value {
    json!({
        "EvaluationResultIdentifier": {
            "EvaluationResultQualifier": {
                "ConfigRuleName": rule, "ResourceType": "AWS::KMS::Key", "ResourceId": key.id,
                "EvaluationMode": "DETECTIVE",
            },
            "OrderingTimestamp": now.timestamp(),
        },
        "ComplianceType": compliance,
        "ResultRecordedTime": now.timestamp(),
        "ConfigRuleInvokedTime": now.timestamp(),
    })
}

/// AWS's rule takes a policy for public if a statement allows everybody and no condition holds fixed values.
fn is_public(policy: &str) -> bool {
    let Ok(document) = serde_json::from_str::<Value>(policy) else { return false };
    let statements = document.get("Statement").map(as_list).unwrap_or_default();
    statements.into_iter().any(|statement| {
        let allows = statement.get("Effect").is_some_and(|effect| effect == "Allow");
        let everybody = statement.get("Principal").is_some_and(names_everybody);
        allows && everybody && !has_fixed_condition(statement)
    })
}

fn as_list(value: &Value) -> Vec<&Value> {
    value.as_array().map_or_else(|| vec![value], |list| list.iter().collect())
}

fn names_everybody(principal: &Value) -> bool {
    let is_star = |value: &Value| as_list(value).into_iter().any(|name| name == "*");
    is_star(principal) || principal.get("AWS").is_some_and(is_star)
}

fn has_fixed_condition(statement: &Value) -> bool {
    let Some(condition) = statement.get("Condition").and_then(Value::as_object) else { return false };
    let mut values = condition.values().filter_map(Value::as_object).flat_map(|keys| keys.values());
    values.any(|value| {
        let texts = as_list(value);
        !texts.is_empty() && texts.iter().all(|text| text.as_str().is_some_and(|text| !text.contains('*')))
    })
}
