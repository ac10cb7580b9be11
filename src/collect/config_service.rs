//! AWS Config: whether it records KMS keys and delivers, and what its own KMS rules say.

use aws_sdk_config::types::{
    ConfigurationRecorder, DeliveryChannelStatus, DeliveryStatus, EvaluationResult, Owner, RecordingGroup,
    RecordingStrategyType, ResourceType,
};

use super::api::{
    DESCRIBE_CONFIG_RULES, DESCRIBE_DELIVERY_CHANNEL_STATUS, DESCRIBE_RECORDER_STATUS, DESCRIBE_RECORDERS,
    GET_COMPLIANCE_DETAILS,
};
use super::clients::RegionClients;
use super::outcome::Failure;
use super::readings::Readings;
use crate::model::{ConfigOpinion, ConfigPosture};

/// AWS's managed rules that judge KMS keys, by identifier.
const KMS_RULES: &[&str] = &[
    "CMK_BACKING_KEY_ROTATION_ENABLED",
    "KMS_CMK_NOT_SCHEDULED_FOR_DELETION",
    "KMS_KEY_POLICY_NO_PUBLIC_ACCESS",
];

/// A KMS key as Config names its type.
const KEY_TYPE: &str = "AWS::KMS::Key";

/// The recorder, its state, and whether it delivers.
pub(crate) async fn posture(clients: &RegionClients, readings: &Readings) -> Result<ConfigPosture, Failure> {
    let recorders = clients.config.describe_configuration_recorders().send();
    let recorders = clients.call(readings, DESCRIBE_RECORDERS, recorders).await?;
    let recorders = recorders.configuration_recorders();
    if recorders.is_empty() {
        return Ok(ConfigPosture {
            recorder: false,
            recording: false,
            records_kms: false,
            last_status: None,
            delivering: None,
        });
    }
    let states = clients.config.describe_configuration_recorder_status().send();
    let states = clients.call(readings, DESCRIBE_RECORDER_STATUS, states).await?;
    let channels = clients.config.describe_delivery_channel_status().send();
    let channels = clients.call(readings, DESCRIBE_DELIVERY_CHANNEL_STATUS, channels).await?;
    let states = states.configuration_recorders_status();
    let running = states.iter().find(|state| state.recording());
    let last_status = running.or(states.first()).and_then(|state| state.last_status());
    Ok(ConfigPosture {
        recorder: true,
        recording: running.is_some(),
        records_kms: recorders.iter().any(records_kms),
        last_status: last_status.map(|status| status.as_str().to_owned()),
        delivering: delivering(channels.delivery_channels_status()),
    })
}

fn records_kms(recorder: &ConfigurationRecorder) -> bool {
    recorder.recording_group().is_none_or(group_records_kms)
}

/// By its strategy, which is the newer statement; else by the older members. A recorder without a group
/// records everything.
fn group_records_kms(group: &RecordingGroup) -> bool {
    let named = |types: &[ResourceType]| types.iter().any(|kind| kind.as_str() == KEY_TYPE);
    let strategy = group.recording_strategy().and_then(|strategy| strategy.use_only());
    match strategy {
        Some(RecordingStrategyType::AllSupportedResourceTypes) => true,
        Some(RecordingStrategyType::InclusionByResourceTypes) => named(group.resource_types()),
        Some(RecordingStrategyType::ExclusionByResourceTypes) => {
            !group.exclusion_by_resource_types().is_some_and(|excluded| named(excluded.resource_types()))
        }
        _ => group.all_supported() || named(group.resource_types()),
    }
}

/// Whether the last deliveries succeeded; none if there was none yet.
fn delivering(channels: &[DeliveryChannelStatus]) -> Option<bool> {
    let states: Vec<&DeliveryStatus> = channels
        .iter()
        .flat_map(|channel| {
            let history = channel.config_history_delivery_info().and_then(|info| info.last_status());
            let stream = channel.config_stream_delivery_info().and_then(|info| info.last_status());
            history.into_iter().chain(stream)
        })
        .collect();
    if states.contains(&&DeliveryStatus::Failure) {
        Some(false)
    } else {
        states.contains(&&DeliveryStatus::Success).then_some(true)
    }
}

/// What Config's managed KMS rules say of each key, sorted.
pub(crate) async fn opinions(
    clients: &RegionClients,
    readings: &Readings,
) -> Result<Vec<ConfigOpinion>, Failure> {
    let mut opinions = Vec::new();
    for (rule, identifier) in kms_rules(clients, readings).await? {
        let mut token = None;
        loop {
            let request = clients.config.get_compliance_details_by_config_rule().config_rule_name(&rule);
            let request = request.limit(100).set_next_token(token.take()).send();
            let page = match clients.call(readings, GET_COMPLIANCE_DETAILS, request).await {
                Err(failure) if failure.absent => break,
                page => page?,
            };
            let results = page.evaluation_results.unwrap_or_default();
            opinions.extend(results.iter().filter_map(|result| opinion(&rule, &identifier, result)));
            token = page.next_token.filter(|token| !token.is_empty());
            if token.is_none() {
                break;
            }
        }
    }
    opinions.sort();
    Ok(opinions)
}

/// The managed KMS rules of the Region: (name, identifier).
async fn kms_rules(clients: &RegionClients, readings: &Readings) -> Result<Vec<(String, String)>, Failure> {
    let (mut rules, mut token) = (Vec::new(), None);
    loop {
        let request = clients.config.describe_config_rules().set_next_token(token.take()).send();
        let page = clients.call(readings, DESCRIBE_CONFIG_RULES, request).await?;
        for rule in page.config_rules() {
            let managed = rule.source().filter(|source| *source.owner() == Owner::Aws);
            let identifier = managed.and_then(|source| source.source_identifier());
            if let (Some(name), Some(identifier)) = (rule.config_rule_name(), identifier)
                && KMS_RULES.contains(&identifier)
            {
                rules.push((name.to_owned(), identifier.to_owned()));
            }
        }
        token = page.next_token.filter(|token| !token.is_empty());
        if token.is_none() {
            return Ok(rules);
        }
    }
}

fn opinion(rule: &str, identifier: &str, result: &EvaluationResult) -> Option<ConfigOpinion> {
    let qualifier = result.evaluation_result_identifier()?.evaluation_result_qualifier()?;
    if qualifier.resource_type() != Some(KEY_TYPE) {
        return None;
    }
    let id = qualifier.resource_id()?;
    Some(ConfigOpinion {
        rule: rule.to_owned(),
        identifier: identifier.to_owned(),
        // Some rules name keys by ARN.
        key_id: id.rsplit_once(":key/").map_or(id, |(_, id)| id).to_owned(),
        compliance: result.compliance_type()?.as_str().to_owned(),
        annotation: result.annotation().map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{FakeAws, ok};
    use super::*;

    async fn posture_of(recorders: serde_json::Value, stream: &str) -> ConfigPosture {
        let delivery = json!({ "configStreamDeliveryInfo": { "lastStatus": stream } });
        let aws = FakeAws::start(move |call| match call.operation.as_str() {
            "DescribeConfigurationRecorders" => ok(&json!({ "ConfigurationRecorders": recorders })),
            "DescribeConfigurationRecorderStatus" => ok(
                &json!({ "ConfigurationRecordersStatus": [{ "recording": true, "lastStatus": "SUCCESS" }] }),
            ),
            "DescribeDeliveryChannelStatus" => ok(&json!({ "DeliveryChannelsStatus": [delivery] })),
            _ => call.unexpected(),
        })
        .await;
        let clients = aws.clients().await;
        let region =
            clients.region(&"111122223333".parse().unwrap(), &"eu-central-1".parse().unwrap()).unwrap();
        posture(&region, &Readings::default()).await.unwrap()
    }

    #[tokio::test]
    async fn without_a_recorder_nothing_else_is_asked() {
        let posture = posture_of(json!([]), "Success").await;
        assert!(!posture.recorder && !posture.recording && posture.delivering.is_none());
    }

    #[tokio::test]
    async fn what_is_recorded_is_read_from_the_strategy_and_from_the_older_members() {
        let inclusion = json!({ "useOnly": "INCLUSION_BY_RESOURCE_TYPES" });
        let exclusion = json!({ "useOnly": "EXCLUSION_BY_RESOURCE_TYPES" });
        for (group, expected) in [
            (json!({ "allSupported": true }), true),
            (json!({ "allSupported": false, "resourceTypes": ["AWS::S3::Bucket"] }), false),
            (json!({ "recordingStrategy": inclusion, "resourceTypes": ["AWS::KMS::Key"] }), true),
            (
                json!({ "recordingStrategy": exclusion,
                    "exclusionByResourceTypes": { "resourceTypes": ["AWS::KMS::Key"] } }),
                false,
            ),
            (
                json!({ "recordingStrategy": exclusion,
                    "exclusionByResourceTypes": { "resourceTypes": ["AWS::S3::Bucket"] } }),
                true,
            ),
        ] {
            let text = group.to_string();
            let posture =
                posture_of(json!([{ "name": "default", "recordingGroup": group }]), "Success").await;
            assert_eq!(posture.records_kms, expected, "{text}");
            assert!(posture.recorder && posture.recording);
        }
    }

    #[tokio::test]
    async fn a_delivery_that_failed_shows() {
        let recorders = json!([{ "name": "default", "recordingGroup": { "allSupported": true } }]);
        assert_eq!(posture_of(recorders.clone(), "Failure").await.delivering, Some(false));
        assert_eq!(posture_of(recorders.clone(), "Success").await.delivering, Some(true));
        assert_eq!(posture_of(recorders, "Not_Applicable").await.delivering, None);
    }

    #[tokio::test]
    async fn only_awss_own_kms_rules_are_asked_and_only_keys_are_taken() {
        let aws = FakeAws::start(|call| match (call.operation.as_str(), call.token()) {
            ("DescribeConfigRules", None) => ok(&json!({ "NextToken": "2", "ConfigRules": [
                { "ConfigRuleName": "mine", "Source": { "Owner": "CUSTOM_LAMBDA",
                    "SourceIdentifier": "CMK_BACKING_KEY_ROTATION_ENABLED" } },
                { "ConfigRuleName": "s3", "Source": { "Owner": "AWS", "SourceIdentifier": "S3_BUCKET_SSL" } },
            ]})),
            ("DescribeConfigRules", _) => ok(&json!({ "ConfigRules": [
                { "ConfigRuleName": "rotation", "Source": { "Owner": "AWS",
                    "SourceIdentifier": "CMK_BACKING_KEY_ROTATION_ENABLED" } },
            ]})),
            ("GetComplianceDetailsByConfigRule", None) => ok(&json!({ "NextToken": "2", "EvaluationResults": [] })),
            ("GetComplianceDetailsByConfigRule", _) => {
                let result = |kind: &str, id: &str| json!({ "ComplianceType": "NON_COMPLIANT",
                    "EvaluationResultIdentifier": { "EvaluationResultQualifier": {
                        "ConfigRuleName": "rotation", "ResourceType": kind, "ResourceId": id } } });
                let arn = "arn:aws:kms:eu-central-1:111122223333:key/abc";
                ok(&json!({ "EvaluationResults": [result("AWS::KMS::Key", arn), result("AWS::::Account", "1")] }))
            }
            _ => call.unexpected(),
        })
        .await;
        let clients = aws.clients().await;
        let region =
            clients.region(&"111122223333".parse().unwrap(), &"eu-central-1".parse().unwrap()).unwrap();
        let opinions = opinions(&region, &Readings::default()).await.unwrap();
        assert_eq!(opinions.len(), 1);
        assert_eq!((opinions[0].key_id.as_str(), opinions[0].compliance.as_str()), ("abc", "NON_COMPLIANT"));
        assert_eq!(aws.calls("GetComplianceDetailsByConfigRule"), 2);
    }
}
