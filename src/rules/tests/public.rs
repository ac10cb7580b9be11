//! Rules in the manner of the public Sigma collection, as they are.

use serde_json::json;

use super::*;

const IMPORTED: &str = r"
title: AWS KMS Imported Key Material Usage
id: 1279262f-1464-422f-ac0d-5b545320c526
status: experimental
description: |
    Detects the import or deletion of key material in AWS KMS, which can be used as part of ransomware attacks. This activity is uncommon and provides a high certainty signal.
references:
    - https://awstip.com/threat-actors-hijack-kms
author: somebody
date: 2024-11-16
tags:
    - attack.impact
    - attack.t1486
    - attack.resource-development
    - attack.t1608.003
logsource:
    product: aws
    service: cloudtrail
detection:
    selection:
        eventSource: 'kms.amazonaws.com'
        eventName:
            - 'ImportKeyMaterial'
            - 'DeleteImportedKeyMaterial'
    condition: selection
falsepositives:
    - Legitimate use cases for imported key material are rare, but may include, organizations with hybrid cloud architectures
level: high
";

/// The shapes that the collection's CloudTrail rules have, beyond the plainest one.
const SHAPES: [(&str, &str, &str); 7] = [
    (
        "console-login-without-mfa",
        "    selection:\n        eventName: ConsoleLogin\n        additionalEventData.MFAUsed: 'NO'\n        responseElements.ConsoleLogin: Success\n    filter:\n        - userIdentity.sessionContext.sessionIssuer.type|contains: AWSReservedSSO\n        - userIdentity.type: AWSAccount\n    condition: selection and not filter",
        r#"{"eventName": "ConsoleLogin", "additionalEventData": {"MFAUsed": "No"}, "responseElements": {"ConsoleLogin": "Success"}, "userIdentity": {"type": "IAMUser"}}"#,
    ),
    (
        "root-usage",
        "    selection_usertype:\n        userIdentity.type: Root\n    selection_eventtype:\n        eventType: AwsServiceEvent\n    condition: selection_usertype and not selection_eventtype",
        r#"{"userIdentity": {"type": "Root"}, "eventType": "AwsApiCall"}"#,
    ),
    (
        "opened-to-the-world",
        "    selection:\n        eventSource: ec2.amazonaws.com\n        eventName:\n            - AuthorizeSecurityGroupEgress\n            - AuthorizeSecurityGroupIngress\n        requestParameters.ipPermissions.items.ipRanges.items.cidrIp|contains: 0.0.0.0/0\n    condition: 1 of selection*",
        r#"{"eventSource": "ec2.amazonaws.com", "eventName": "AuthorizeSecurityGroupIngress", "requestParameters": {"ipPermissions": {"items": [{"ipRanges": {"items": [{"cidrIp": "10.0.0.0/8"}, {"cidrIp": "0.0.0.0/0"}]}}]}}}"#,
    ),
    (
        "keywords",
        "    selection_source:\n        eventSource: iam.amazonaws.com\n    keywords:\n        - AdministratorAccess\n        - PowerUser\n    condition: all of them",
        r#"{"eventSource": "iam.amazonaws.com", "requestParameters": {"policyArn": "arn:aws:iam::aws:policy/AdministratorAccess"}}"#,
    ),
    (
        "errors",
        "    selection:\n        eventName|startswith:\n            - Describe\n            - List\n        errorCode|re: '^(Client\\.)?(AccessDenied|UnauthorizedOperation)'\n        userAgent|contains|all: [kali, boto]\n    condition:\n        - selection",
        r#"{"eventName": "ListKeys", "errorCode": "Client.UnauthorizedOperation", "userAgent": "Boto3 on Kali"}"#,
    ),
    (
        "whole-object",
        "    selection:\n        eventName: PutBucketPolicy\n        requestParameters|contains|all:\n            - '\"Principal\":\"*\"'\n            - '\"Effect\":\"Allow\"'\n    condition: selection",
        r#"{"eventName": "PutBucketPolicy", "requestParameters": {"bucketPolicy": {"Statement": [{"Effect": "Allow", "Principal": "*"}]}}}"#,
    ),
    (
        "no-error",
        "    selection:\n        eventName: DeleteTrail\n        errorMessage: null\n        errorCode|exists: false\n    condition: selection",
        r#"{"eventName": "DeleteTrail"}"#,
    ),
];

#[test]
fn a_rule_of_the_collection_loads_and_runs_as_it_is() {
    let rules = RuleSet::compile(&[file("aws_kms_imported_key_material", IMPORTED)], &[]).unwrap();
    let rule = &rules.rules()[0];
    assert_eq!(rule.name, "aws_kms_imported_key_material");
    assert_eq!((rule.kind, rule.level), (SubjectKind::Event, crate::model::Level::High));
    assert!(rules.wants("kms.amazonaws.com", "ImportKeyMaterial"));
    assert!(!rules.wants("kms.amazonaws.com", "Decrypt"));
    let verdicts = rules.detect(
        &facts(SubjectKind::Event, Fact::map::<String>([])),
        &record("DeleteImportedKeyMaterial", &json!({})),
    );
    assert_eq!(verdicts[0].outcome, Outcome::Fail);
    assert_eq!(verdicts[0].message, "AWS KMS Imported Key Material Usage");
}

#[test]
fn the_shapes_of_the_collection_find_what_they_are_for() {
    let files: Vec<RuleFile> =
        SHAPES.iter().map(|(name, detection, _)| event_rule(name, detection)).collect();
    let rules = RuleSet::compile(&files, &[]).unwrap();
    let no_facts = facts(SubjectKind::Event, Fact::map::<String>([]));
    for (name, _, more) in SHAPES {
        let event = record("Anything", &serde_json::from_str(more).unwrap());
        let found: Vec<String> =
            rules.detect(&no_facts, &event).into_iter().map(|verdict| verdict.rule).collect();
        assert_eq!(found, [name]);
    }
    let harmless = record("Decrypt", &json!({}));
    assert_eq!(rules.detect(&no_facts, &harmless), []);
}
