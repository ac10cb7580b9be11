use serde_json::{Value, json};

use super::Lab;
use super::lab::role;
use crate::sandbox::call::Principal;

const OWNER: &str = "arn:aws:iam::111122223333:root";

fn allow(principal: impl Into<Value>, action: impl Into<Value>) -> Value {
    let (principal, action) = (principal.into(), action.into());
    json!({ "Effect": "Allow", "Principal": principal, "Action": action, "Resource": "*" })
}

fn owner() -> Value {
    allow(json!({ "AWS": OWNER }), json!("kms:*"))
}

fn policy(statements: &[Value]) -> String {
    json!({ "Version": "2012-10-17", "Statement": statements }).to_string()
}

#[test]
fn a_denial_names_caller_action_and_key() {
    let mut lab = Lab::new();
    let deny = json!({ "Effect": "Deny", "Principal": { "AWS": "arn:aws:iam::111122223333:role/Auditor" }, "Action": "kms:GetKeyPolicy", "Resource": "*" });
    let key = lab.key(json!({ "Policy": policy(&[owner(), deny]) }));
    let arn = lab.arn(&key);
    lab.by("111122223333", role("Auditor"), |lab| {
        lab.ok("DescribeKey", json!({ "KeyId": key }));
        let error = lab.ask("kms:GetKeyPolicy", json!({ "KeyId": key })).unwrap_err();
        assert_eq!((error.status, error.code.as_str()), (400, "AccessDeniedException"));
        assert_eq!(
            error.message,
            format!(
                "User: arn:aws:sts::111122223333:assumed-role/Auditor/tester is not authorized to perform: kms:GetKeyPolicy \
                 on resource: {arn} with an explicit deny in a resource-based policy"
            )
        );
    });
    lab.ok("GetKeyPolicy", json!({ "KeyId": key }));
    let record = lab.record("eu-central-1", "GetKeyPolicy");
    assert!(record.get("errorCode").is_none());
    let denied =
        lab.records("eu-central-1").into_iter().find(|record| record["errorCode"] == "AccessDenied").unwrap();
    assert_eq!(denied["resources"][0]["ARN"], arn.as_str());
    assert_eq!(denied["responseElements"], Value::Null);
}

#[test]
fn without_the_delegation_to_the_account_nobody_but_the_named_may() {
    let mut lab = Lab::new();
    let named = allow(json!({ "AWS": "arn:aws:iam::111122223333:role/Only" }), json!(["kms:*"]));
    let key = lab.key(json!({ "Policy": policy(&[named]), "BypassPolicyLockoutSafetyCheck": true }));
    lab.by("111122223333", role("Only"), |lab| lab.ok("DescribeKey", json!({ "KeyId": key })));
    let error =
        lab.by("111122223333", role("Auditor"), |lab| lab.ask("kms:DescribeKey", json!({ "KeyId": key })));
    assert!(
        error
            .unwrap_err()
            .message
            .ends_with("because no resource-based policy allows the kms:DescribeKey action")
    );
    // The list of keys is the account's own business.
    lab.by("111122223333", role("Auditor"), |lab| {
        assert!(lab.ok("ListKeys", json!({})).to_string().contains(&key));
    });
}

#[test]
fn replication_can_be_bound_to_regions() {
    let mut lab = Lab::new();
    let deny = json!({
        "Effect": "Deny", "Principal": "*", "Action": "kms:ReplicateKey", "Resource": "*",
        "Condition": { "StringNotEquals": { "kms:ReplicaRegion": ["eu-west-1", "eu-west-3"] } },
    });
    let key = lab.key(json!({ "MultiRegion": true, "Policy": policy(&[owner(), deny]) }));
    assert_eq!(
        lab.code("ReplicateKey", json!({ "KeyId": key, "ReplicaRegion": "us-east-1" })),
        "AccessDeniedException"
    );
    lab.ok("ReplicateKey", json!({ "KeyId": key, "ReplicaRegion": "eu-west-3" }));
    let denied =
        lab.records("eu-central-1").into_iter().find(|record| record.get("errorCode").is_some()).unwrap();
    assert_eq!(denied["requestParameters"]["replicaRegion"], "us-east-1");
    assert!(lab.records("us-east-1").iter().all(|record| record["eventName"] != "CreateKey"));
}

#[test]
fn other_accounts_use_a_key_by_its_arn_where_its_policy_lets_them() {
    let mut lab = Lab::new();
    let theirs = allow(json!({ "AWS": "222233334444" }), json!(["kms:DescribeKey", "kms:Encrypt"]));
    let open = lab.key(json!({ "Policy": policy(&[owner(), theirs]) }));
    let shut = lab.key(json!({}));
    let (open_arn, shut_arn) = (lab.arn(&open), lab.arn(&shut));
    lab.by("222233334444", role("App"), |lab| {
        assert_eq!(
            lab.ok("DescribeKey", json!({ "KeyId": open_arn }))["KeyMetadata"]["AWSAccountId"],
            "111122223333"
        );
        assert_eq!(lab.code("DescribeKey", json!({ "KeyId": open })), "NotFoundException");
        let closed = lab.ask("kms:DescribeKey", json!({ "KeyId": shut_arn })).unwrap_err();
        let absent = lab
            .ask(
                "kms:DescribeKey",
                json!({ "KeyId": shut_arn.replace(&shut, "11111111-1111-4111-8111-111111111111") }),
            )
            .unwrap_err();
        assert_eq!(closed.code, "AccessDeniedException");
        // Whether the key exists does not show.
        assert_eq!(closed.message, absent.message);
        // AWS has no such call across accounts, whatever the policy says.
        assert_eq!(lab.code("GetKeyPolicy", json!({ "KeyId": open_arn })), "AccessDeniedException");
    });
}

#[test]
fn a_call_across_accounts_is_recorded_in_both_and_a_denied_one_in_the_callers() {
    let mut lab = Lab::new();
    let theirs = allow(json!({ "AWS": "arn:aws:iam::222233334444:root" }), json!("kms:Encrypt"));
    let key = lab.key(json!({ "Policy": policy(&[owner(), theirs]) }));
    let arn = lab.arn(&key);
    let (used, denied) = lab.by("222233334444", role("App"), |lab| {
        lab.ok(
            "Encrypt",
            json!({ "KeyId": arn, "Plaintext": "eA==", "EncryptionContext": { "Order": "1" } }),
        );
        assert_eq!(lab.code("Sign", json!({ "KeyId": arn, "Message": "eA==" })), "AccessDeniedException");
        (lab.record("eu-central-1", "Encrypt"), lab.record("eu-central-1", "Sign"))
    });
    let owners = lab.record("eu-central-1", "Encrypt");
    assert_eq!(used["sharedEventID"], owners["sharedEventID"]);
    assert!(used["sharedEventID"].is_string());
    assert_ne!(used["eventID"], owners["eventID"]);
    assert_eq!(
        (&used["recipientAccountId"], &owners["recipientAccountId"]),
        (&json!("222233334444"), &json!("111122223333"))
    );
    assert_eq!(used["userIdentity"]["type"], "AssumedRole");
    assert_eq!(owners["userIdentity"]["type"], "AWSAccount");
    assert_eq!(owners["userIdentity"]["accountId"], "222233334444");
    assert!(owners["userIdentity"].get("arn").is_none());
    assert_eq!(used["requestParameters"]["encryptionContext"], json!({ "Order": "1" }));
    assert!(
        used["requestParameters"].get("plaintext").is_none() && used.get("readOnly") == Some(&json!(true))
    );
    assert_eq!((&denied["errorCode"], denied.get("sharedEventID")), (&json!("AccessDenied"), None));
    assert!(lab.records("eu-central-1").iter().all(|record| record["eventName"] != "Sign"));
    let usage = lab.ok("GetKeyLastUsage", json!({ "KeyId": key }));
    assert_eq!(usage["KeyLastUsage"]["CloudTrailEventId"], owners["eventID"]);
}

#[test]
fn a_service_uses_a_key_through_its_name_and_through_a_grant() {
    let mut lab = Lab::new();
    let named = allow(json!({ "Service": "logs.amazonaws.com" }), json!("kms:GenerateDataKey*"));
    let bare =
        allow(json!({ "AWS": OWNER }), json!(["kms:CreateGrant", "kms:PutKeyPolicy", "kms:DescribeKey"]));
    let key = lab.key(json!({ "Policy": policy(&[bare, named]) }));
    let data_key = json!({ "KeyId": key, "KeySpec": "AES_256" });
    let service = |name: &str| Principal::Service { name: name.to_owned() };
    lab.by("111122223333", service("logs.amazonaws.com"), |lab| lab.ok("GenerateDataKey", data_key.clone()));
    let record = lab.record("eu-central-1", "GenerateDataKey");
    assert_eq!(record["userIdentity"], json!({ "type": "AWSService", "invokedBy": "logs.amazonaws.com" }));
    assert_eq!(record["sourceIPAddress"], "logs.amazonaws.com");
    assert!(record["additionalEventData"]["keyMaterialId"].is_string());
    let refused = lab.by("111122223333", role("App"), |lab| lab.code("GenerateDataKey", data_key.clone()));
    assert_eq!(refused, "AccessDeniedException");
    let constraints = json!({ "EncryptionContextSubset": { "table": "orders" } });
    let grant = lab.ok("CreateGrant", json!({ "KeyId": key, "GranteePrincipal": "arn:aws:iam::111122223333:role/App", "Operations": ["GenerateDataKey"], "Constraints": constraints }));
    lab.by("111122223333", role("App"), |lab| {
        assert_eq!(lab.code("GenerateDataKey", data_key.clone()), "AccessDeniedException");
        let mut input = data_key.clone();
        input["EncryptionContext"] = json!({ "table": "orders", "row": "1" });
        lab.ok("GenerateDataKey", input);
    });
    let record = lab.record("eu-central-1", "CreateGrant");
    assert_eq!(record["responseElements"], json!({ "grantId": grant["GrantId"], "keyId": lab.arn(&key) }));
}

#[test]
fn grants_are_made_once_by_name_and_end_by_retirement_or_revocation() {
    let mut lab = Lab::new();
    let key = lab.key(json!({}));
    let retiring = "arn:aws:iam::111122223333:role/Retirer";
    let input = json!({ "KeyId": key, "Name": "once", "GranteePrincipal": "arn:aws:iam::222233334444:role/App", "RetiringPrincipal": retiring, "Operations": ["Decrypt", "RetireGrant"] });
    let grant = lab.ok("CreateGrant", input.clone());
    assert_eq!(lab.ok("CreateGrant", input), grant);
    let service = lab.ok("CreateGrant", json!({ "KeyId": key, "GranteeServicePrincipal": "dynamodb.amazonaws.com", "Operations": ["Decrypt"] }));
    let listed =
        lab.ok("ListGrants", json!({ "KeyId": key, "GrantId": service["GrantId"] }))["Grants"][0].clone();
    assert_eq!(listed["GranteeServicePrincipal"], "dynamodb.amazonaws.com");
    assert_eq!(listed["IssuingAccount"], OWNER);
    assert!(listed.get("GranteePrincipal").is_none());
    let retirable = lab.ok("ListRetirableGrants", json!({ "RetiringPrincipal": retiring }))["Grants"].clone();
    assert_eq!(retirable.as_array().unwrap().len(), 1);
    lab.by("111122223333", role("Retirer"), |lab| {
        lab.ok("RetireGrant", json!({ "GrantToken": grant["GrantToken"] }))
    });
    let record = lab.record("eu-central-1", "RetireGrant");
    assert_eq!(
        (&record["requestParameters"], &record["additionalEventData"]["grantId"]),
        (&Value::Null, &grant["GrantId"])
    );
    assert_eq!(
        lab.code("RevokeGrant", json!({ "KeyId": key, "GrantId": grant["GrantId"] })),
        "NotFoundException"
    );
    assert_eq!(
        lab.code("RevokeGrant", json!({ "KeyId": key, "GrantId": service["GrantId"], "DryRun": true })),
        "DryRunOperationException"
    );
    lab.ok("RevokeGrant", json!({ "KeyId": key, "GrantId": service["GrantId"] }));
    assert_eq!(lab.ok("ListGrants", json!({ "KeyId": key }))["Grants"], json!([]));
    let both = json!({ "KeyId": key, "GranteePrincipal": "arn:aws:iam::1:role/x", "GranteeServicePrincipal": "x.amazonaws.com", "Operations": ["Decrypt"] });
    assert_eq!(lab.code("CreateGrant", both), "ValidationException");
}
