use serde_json::{Value, json};

use super::Lab;

fn import(lab: &mut Lab, key: &str, material: &str, extra: impl Into<Value>) -> Result<Value, String> {
    let parameters = lab.ok(
        "GetParametersForImport",
        json!({ "KeyId": key, "WrappingAlgorithm": "RSAES_OAEP_SHA_256", "WrappingKeySpec": "RSA_4096" }),
    );
    let mut input = json!({ "KeyId": key, "ImportToken": parameters["ImportToken"], "EncryptedKeyMaterial": material, "ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE" });
    input.as_object_mut().unwrap().extend(extra.into().as_object().unwrap().clone());
    lab.ask("kms:ImportKeyMaterial", input).map_err(|error| error.code)
}

#[test]
fn imported_material_makes_a_key_usable_until_it_expires() {
    let mut lab = Lab::new();
    let key = lab.key(json!({ "Origin": "EXTERNAL" }));
    assert_eq!(lab.state_of(&key), "PendingImport");
    assert_eq!(lab.code("Encrypt", json!({ "KeyId": key, "Plaintext": "eA==" })), "KMSInvalidStateException");
    let expiry = 1_795_435_200 + 30 * 86_400;
    let answer = import(
        &mut lab,
        &key,
        "bWF0",
        json!({ "ExpirationModel": "KEY_MATERIAL_EXPIRES", "ValidTo": expiry }),
    )
    .unwrap();
    let metadata = lab.describe(&key);
    assert_eq!((&metadata["KeyState"], &metadata["ValidTo"]), (&json!("Enabled"), &json!(expiry)));
    assert_eq!(metadata["ExpirationModel"], "KEY_MATERIAL_EXPIRES");
    assert_eq!(metadata["CurrentKeyMaterialId"], answer["KeyMaterialId"]);
    lab.pass_days(30);
    let metadata = lab.describe(&key);
    assert_eq!(metadata["KeyState"], "PendingImport");
    assert!(metadata.get("ValidTo").is_none());
    let record = lab.record("eu-central-1", "DeleteExpiredKeyMaterial");
    assert_eq!(record["eventType"], "AwsServiceEvent");
    assert_eq!(
        record["serviceEventDetails"],
        json!({ "keyId": key, "keyMaterialId": answer["KeyMaterialId"] })
    );
    assert_eq!(
        import(&mut lab, &key, "b3RoZXI=", json!({})),
        Err("IncorrectKeyMaterialException".to_owned())
    );
    import(&mut lab, &key, "bWF0", json!({})).unwrap();
    assert_eq!(lab.state_of(&key), "Enabled");
    let record = lab.record("eu-central-1", "ImportKeyMaterial");
    assert!(
        record["requestParameters"].get("encryptedKeyMaterial").is_none()
            && record["requestParameters"].get("importToken").is_none()
    );
    assert_eq!(record["responseElements"]["keyMaterialId"], answer["KeyMaterialId"]);
}

#[test]
fn material_can_be_deleted_and_the_wrong_key_or_token_is_refused() {
    let mut lab = Lab::new();
    let key = lab.key(json!({ "Origin": "EXTERNAL" }));
    let own = lab.key(json!({}));
    import(&mut lab, &key, "bWF0", json!({})).unwrap();
    lab.ok("DeleteImportedKeyMaterial", json!({ "KeyId": key }));
    assert_eq!(lab.state_of(&key), "PendingImport");
    assert_eq!(
        lab.code("DeleteImportedKeyMaterial", json!({ "KeyId": own })),
        "UnsupportedOperationException"
    );
    let input = |token: &str| json!({ "KeyId": key, "ImportToken": token, "EncryptedKeyMaterial": "bWF0", "ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE" });
    assert_eq!(lab.code("ImportKeyMaterial", input("AAAA")), "InvalidImportTokenException");
    let parameters = lab.ok(
        "GetParametersForImport",
        json!({ "KeyId": key, "WrappingAlgorithm": "RSAES_OAEP_SHA_256", "WrappingKeySpec": "RSA_4096" }),
    );
    lab.pass_days(2);
    assert_eq!(
        lab.code("ImportKeyMaterial", input(parameters["ImportToken"].as_str().unwrap())),
        "ExpiredImportTokenException"
    );
}

#[test]
fn a_replica_of_imported_material_waits_for_the_same_material() {
    let mut lab = Lab::new();
    let key = lab.key(json!({ "Origin": "EXTERNAL", "MultiRegion": true }));
    import(&mut lab, &key, "bWF0", json!({})).unwrap();
    lab.ok("ReplicateKey", json!({ "KeyId": key, "ReplicaRegion": "eu-west-1" }));
    lab.within("eu-west-1", |lab| {
        assert_eq!(lab.state_of(&key), "PendingImport");
        let new = json!({ "ImportType": "NEW_KEY_MATERIAL" });
        assert_eq!(import(lab, &key, "b3RoZXI=", new), Err("IncorrectKeyMaterialException".to_owned()));
        import(lab, &key, "bWF0", json!({})).unwrap();
        assert_eq!(lab.state_of(&key), "Enabled");
    });
}

#[test]
fn imported_material_rotates_on_demand_to_material_that_is_everywhere() {
    let mut lab = Lab::new();
    let key = lab.key(json!({ "Origin": "EXTERNAL", "MultiRegion": true }));
    let first = import(&mut lab, &key, "bWF0", json!({})).unwrap()["KeyMaterialId"].clone();
    lab.ok("ReplicateKey", json!({ "KeyId": key, "ReplicaRegion": "eu-west-1" }));
    lab.within("eu-west-1", |lab| import(lab, &key, "bWF0", json!({})).unwrap());
    assert_eq!(lab.code("RotateKeyOnDemand", json!({ "KeyId": key })), "KMSInvalidStateException");
    let new = json!({ "ImportType": "NEW_KEY_MATERIAL", "KeyMaterialDescription": "second" });
    let second = import(&mut lab, &key, "bmV3", new).unwrap()["KeyMaterialId"].clone();
    assert_eq!(lab.describe(&key)["CurrentKeyMaterialId"], first);
    let all = json!({ "KeyId": key, "IncludeKeyMaterial": "ALL_KEY_MATERIAL" });
    let listed = lab.ok("ListKeyRotations", all.clone())["Rotations"][1].clone();
    assert_eq!(listed["KeyMaterialState"], "PENDING_MULTI_REGION_IMPORT_AND_ROTATION");
    assert_eq!(listed["KeyMaterialDescription"], "second");
    assert_eq!(lab.code("RotateKeyOnDemand", json!({ "KeyId": key })), "KMSInvalidStateException");
    lab.within("eu-west-1", |lab| {
        assert_eq!(lab.ok("ListKeyRotations", all.clone())["Rotations"][1]["ImportState"], "PENDING_IMPORT");
        import(lab, &key, "bmV3", json!({})).unwrap();
    });
    lab.ok("RotateKeyOnDemand", json!({ "KeyId": key }));
    for region in ["eu-central-1", "eu-west-1"] {
        assert_eq!(lab.within(region, |lab| lab.describe(&key)["CurrentKeyMaterialId"].clone()), second);
    }
    // Without the first material older data cannot be read, so the key cannot be used.
    lab.ok("DeleteImportedKeyMaterial", json!({ "KeyId": key, "KeyMaterialId": first }));
    assert_eq!(lab.state_of(&key), "PendingImport");
    assert_eq!(lab.within("eu-west-1", |lab| lab.state_of(&key)), "Enabled");
}
