use serde_json::json;

use super::Lab;

#[test]
fn an_alias_names_a_key_and_can_name_another() {
    let mut lab = Lab::new();
    let (one, other) = (lab.key(json!({})), lab.key(json!({})));
    lab.ok("CreateAlias", json!({ "AliasName": "alias/app/orders", "TargetKeyId": one }));
    assert_eq!(lab.describe("alias/app/orders")["KeyId"], one.as_str());
    assert_eq!(lab.describe("arn:aws:kms:eu-central-1:111122223333:alias/app/orders")["KeyId"], one.as_str());
    lab.ok("UpdateAlias", json!({ "AliasName": "alias/app/orders", "TargetKeyId": other }));
    assert_eq!(lab.describe("alias/app/orders")["KeyId"], other.as_str());
    assert_eq!(lab.ok("ListAliases", json!({ "KeyId": one }))["Aliases"], json!([]));
    let listed = lab.ok("ListAliases", json!({ "KeyId": other }))["Aliases"][0].clone();
    assert_eq!(listed["AliasArn"], "arn:aws:kms:eu-central-1:111122223333:alias/app/orders");
    assert_eq!(listed["TargetKeyId"], other.as_str());
    lab.ok("DeleteAlias", json!({ "AliasName": "alias/app/orders" }));
    assert_eq!(lab.code("DescribeKey", json!({ "KeyId": "alias/app/orders" })), "NotFoundException");
}

#[test]
fn alias_errors_are_those_of_aws() {
    let mut lab = Lab::new();
    let key = lab.key(json!({}));
    let hmac = lab.key(json!({ "KeySpec": "HMAC_256", "KeyUsage": "GENERATE_VERIFY_MAC" }));
    lab.ok("CreateAlias", json!({ "AliasName": "alias/a", "TargetKeyId": key }));
    for (operation, name, target, code) in [
        ("CreateAlias", "alias/a", key.as_str(), "AlreadyExistsException"),
        ("CreateAlias", "a", key.as_str(), "InvalidAliasNameException"),
        ("CreateAlias", "alias/a b", key.as_str(), "InvalidAliasNameException"),
        ("CreateAlias", "alias/aws/s3", key.as_str(), "NotAuthorizedException"),
        ("CreateAlias", "alias/b", "alias/a", "ValidationException"),
        ("UpdateAlias", "alias/b", key.as_str(), "NotFoundException"),
        ("UpdateAlias", "alias/a", hmac.as_str(), "UnsupportedOperationException"),
        ("DeleteAlias", "alias/b", "", "NotFoundException"),
    ] {
        assert_eq!(
            lab.code(operation, json!({ "AliasName": name, "TargetKeyId": target })),
            code,
            "{operation} {name}"
        );
    }
    // Management operations take no aliases.
    assert_eq!(lab.code("DisableKey", json!({ "KeyId": "alias/a" })), "NotFoundException");
}

#[test]
fn the_record_of_an_alias_names_the_alias_and_the_key() {
    let mut lab = Lab::new();
    let key = lab.key(json!({}));
    lab.ok("CreateAlias", json!({ "AliasName": "alias/a", "TargetKeyId": key }));
    let record = lab.record("eu-central-1", "CreateAlias");
    let arns: Vec<&str> =
        record["resources"].as_array().unwrap().iter().map(|one| one["ARN"].as_str().unwrap()).collect();
    assert_eq!(arns, ["arn:aws:kms:eu-central-1:111122223333:alias/a", lab.arn(&key).as_str()]);
    assert!(record["resources"].as_array().unwrap().iter().all(|one| one["type"] == "AWS::KMS::Key"));
    assert_eq!(record["responseElements"], json!({ "keyId": lab.arn(&key) }));
    assert_eq!(record["requestParameters"], json!({ "aliasName": "alias/a", "targetKeyId": key }));
}

#[test]
fn tags_and_descriptions_change() {
    let mut lab = Lab::new();
    let key = lab.key(json!({ "Tags": [{ "TagKey": "a", "TagValue": "1" }] }));
    lab.ok("TagResource", json!({ "KeyId": key, "Tags": [{ "TagKey": "a", "TagValue": "2" }, { "TagKey": "b", "TagValue": "3" }] }));
    lab.ok("UntagResource", json!({ "KeyId": key, "TagKeys": ["b"] }));
    lab.ok("UpdateKeyDescription", json!({ "KeyId": key, "Description": "new" }));
    assert_eq!(
        lab.ok("ListResourceTags", json!({ "KeyId": key }))["Tags"],
        json!([{ "TagKey": "a", "TagValue": "2" }])
    );
    assert_eq!(lab.describe(&key)["Description"], "new");
    let many: Vec<_> =
        (0..50).map(|number| json!({ "TagKey": format!("t{number}"), "TagValue": "" })).collect();
    assert_eq!(lab.code("TagResource", json!({ "KeyId": key, "Tags": many })), "LimitExceededException");
    let record = lab.record("eu-central-1", "UntagResource");
    assert_eq!(record["requestParameters"]["tagKeys"], json!(["b"]));
}
