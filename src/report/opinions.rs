//! The second opinion: what AWS Config's own KMS rules say, held against ours.

use super::model::Opinion;
use crate::audit::Auditor;
use crate::model::{Observed, Outcome, SubjectKind};

/// AWS Config's managed rules about KMS, and the rule of ours that asks the same question.
const SAME_QUESTION: [(&str, &str); 3] = [
    ("CMK_BACKING_KEY_ROTATION_ENABLED", "rotation-disabled"),
    ("KMS_CMK_NOT_SCHEDULED_FOR_DELETION", "key-pending-deletion"),
    ("KMS_KEY_POLICY_NO_PUBLIC_ACCESS", "key-policy-public"),
];

/// Where AWS Config and Keyward differ, and how many opinions were compared.
pub(super) fn disagreements(auditor: &Auditor) -> (Vec<Opinion>, u64) {
    let mut found = Vec::new();
    let mut compared = 0;
    for region in auditor.estate().regions() {
        let Observed::Known(opinions) = &region.opinions else { continue };
        for opinion in opinions {
            let Some((_, rule)) = SAME_QUESTION.iter().find(|(id, _)| *id == opinion.identifier) else {
                continue;
            };
            let arn = format!(
                "arn:{}:kms:{}:{}:key/{}",
                region.partition, region.region, region.account, opinion.key_id
            );
            let Some(outcome) = auditor.outcome(SubjectKind::Key, &arn, rule) else { continue };
            compared += 1;
            let agree = match opinion.compliance.as_str() {
                "COMPLIANT" => outcome == Outcome::Pass,
                "NON_COMPLIANT" => outcome == Outcome::Fail,
                _ => outcome == Outcome::NotApplicable,
            };
            if !agree {
                found.push(Opinion {
                    account: region.account.clone(),
                    region: region.region.clone(),
                    key_id: opinion.key_id.clone(),
                    config_rule: opinion.rule.clone(),
                    config_says: opinion.compliance.clone(),
                    rule: (*rule).to_owned(),
                    keyward_says: outcome.to_string(),
                });
            }
        }
    }
    found.sort();
    (found, compared)
}
