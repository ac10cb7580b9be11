use serde_json::json;

use super::Lab;

#[test]
fn the_keys_of_a_store_are_unavailable_while_it_is_disconnected() {
    let mut lab = Lab::new();
    let store = lab.ok("CreateCustomKeyStore", json!({ "CustomKeyStoreName": "hsm", "CloudHsmClusterId": "cluster-1", "KeyStorePassword": "hidden-12", "TrustAnchorCertificate": "x" }));
    let id = store["CustomKeyStoreId"].clone();
    let create = json!({ "Origin": "AWS_CLOUDHSM", "CustomKeyStoreId": id });
    assert_eq!(lab.code("CreateKey", create.clone()), "CustomKeyStoreInvalidStateException");
    lab.ok("ConnectCustomKeyStore", json!({ "CustomKeyStoreId": id }));
    let key = lab.key(create);
    let metadata = lab.describe(&key);
    assert_eq!((&metadata["CustomKeyStoreId"], &metadata["CloudHsmClusterId"]), (&id, &json!("cluster-1")));
    assert_eq!(lab.code("EnableKeyRotation", json!({ "KeyId": key })), "UnsupportedOperationException");
    assert_eq!(
        lab.code("DeleteCustomKeyStore", json!({ "CustomKeyStoreId": id })),
        "CustomKeyStoreInvalidStateException"
    );
    lab.ok("DisconnectCustomKeyStore", json!({ "CustomKeyStoreId": id }));
    assert_eq!(lab.state_of(&key), "Unavailable");
    assert_eq!(lab.code("Encrypt", json!({ "KeyId": key, "Plaintext": "eA==" })), "KMSInvalidStateException");
    assert_eq!(
        lab.code("DeleteCustomKeyStore", json!({ "CustomKeyStoreId": id })),
        "CustomKeyStoreHasCMKsException"
    );
    let record = lab.record("eu-central-1", "DisconnectCustomKeyStore");
    assert_eq!(
        record["additionalEventData"],
        json!({ "customKeyStoreName": "hsm", "clusterId": "cluster-1" })
    );
    assert!(record.get("resources").is_none());
    let record = lab.record("eu-central-1", "CreateCustomKeyStore");
    assert!(!record.to_string().contains("hidden"));
}

#[test]
fn an_external_store_has_a_proxy_and_keys_of_its_own() {
    let mut lab = Lab::new();
    let input = json!({
        "CustomKeyStoreName": "xks", "CustomKeyStoreType": "EXTERNAL_KEY_STORE", "XksProxyConnectivity": "PUBLIC_ENDPOINT",
        "XksProxyUriEndpoint": "https://proxy.example", "XksProxyUriPath": "/kms/xks/v1",
        "XksProxyAuthenticationCredential": { "AccessKeyId": "ABCDEFGHIJKLMNOPQRST", "RawSecretAccessKey": "hidden" },
    });
    let id = lab.ok("CreateCustomKeyStore", input.clone())["CustomKeyStoreId"].clone();
    assert_eq!(lab.code("CreateCustomKeyStore", input), "CustomKeyStoreNameInUseException");
    lab.ok("ConnectCustomKeyStore", json!({ "CustomKeyStoreId": id }));
    let create = json!({ "Origin": "EXTERNAL_KEY_STORE", "CustomKeyStoreId": id, "XksKeyId": "ext-1" });
    let key = lab.key(create.clone());
    assert_eq!(lab.describe(&key)["XksKeyConfiguration"], json!({ "Id": "ext-1" }));
    assert_eq!(lab.code("CreateKey", create), "XksKeyAlreadyInUseException");
    let listed = lab.ok("DescribeCustomKeyStores", json!({}))["CustomKeyStores"][0].clone();
    assert_eq!(
        (&listed["ConnectionState"], &listed["XksProxyConfiguration"]["UriPath"]),
        (&json!("CONNECTED"), &json!("/kms/xks/v1"))
    );
    assert!(!listed.to_string().contains("hidden"));
    assert_eq!(
        lab.code("DescribeCustomKeyStores", json!({ "CustomKeyStoreName": "none" })),
        "CustomKeyStoreNotFoundException"
    );
}
