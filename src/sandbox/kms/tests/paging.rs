use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::Lab;

/// All pages of a list, each with its length.
fn pages(lab: &mut Lab, operation: &str, member: &str, mut input: Value) -> (Vec<usize>, Vec<Value>) {
    let (mut sizes, mut items) = (Vec::new(), Vec::new());
    loop {
        let answer = lab.ok(operation, input.clone());
        let page = answer[member].as_array().unwrap();
        sizes.push(page.len());
        items.extend(page.clone());
        assert_eq!(answer["Truncated"], answer.get("NextMarker").is_some());
        match answer.get("NextMarker") {
            Some(marker) => input["Marker"] = marker.clone(),
            None => return (sizes, items),
        }
    }
}

#[test]
fn keys_come_in_pages_of_a_hundred_unless_told_otherwise() {
    let mut lab = Lab::new();
    let keys: BTreeSet<String> = (0..205).map(|_| lab.key(json!({}))).collect();
    let (sizes, items) = pages(&mut lab, "ListKeys", "Keys", json!({}));
    assert_eq!(sizes, [100, 100, 5]);
    assert_eq!(
        items.iter().map(|key| key["KeyId"].as_str().unwrap().to_owned()).collect::<BTreeSet<_>>(),
        keys
    );
    assert_eq!(pages(&mut lab, "ListKeys", "Keys", json!({ "Limit": 41 })).0, [41; 5]);
    assert_eq!(pages(&mut lab, "ListKeys", "Keys", json!({ "Limit": 1000 })).0, [205]);
    for limit in [0, 1001] {
        assert_eq!(lab.code("ListKeys", json!({ "Limit": limit })), "ValidationException");
    }
}

#[test]
fn a_page_goes_on_where_the_last_one_ended_though_keys_came_and_went() {
    let mut lab = Lab::new();
    for _ in 0..10 {
        lab.key(json!({}));
    }
    let first = lab.ok("ListKeys", json!({ "Limit": 5 }));
    for _ in 0..20 {
        lab.key(json!({}));
    }
    let last_of_first = first["Keys"][4]["KeyId"].as_str().unwrap();
    let second = lab.ok("ListKeys", json!({ "Limit": 5, "Marker": first["NextMarker"] }));
    assert!(second["Keys"][0]["KeyId"].as_str().unwrap() > last_of_first);
}

#[test]
fn a_marker_is_good_for_its_own_list_only() {
    let mut lab = Lab::new();
    let (one, other) = (lab.key(json!({})), lab.key(json!({})));
    let marker = lab.ok("ListKeys", json!({ "Limit": 1 }))["NextMarker"].clone();
    for (operation, input) in [
        ("ListKeys", json!({ "Marker": "bogus" })),
        ("ListAliases", json!({ "Marker": marker })),
        ("ListGrants", json!({ "KeyId": one, "Marker": marker })),
        ("ListResourceTags", json!({ "KeyId": one, "Marker": "?" })),
    ] {
        assert_eq!(lab.code(operation, input), "InvalidMarkerException", "{operation}");
    }
    for number in 0..3 {
        lab.ok(
            "TagResource",
            json!({ "KeyId": one, "Tags": [{ "TagKey": format!("t{number}"), "TagValue": "" }] }),
        );
    }
    let marker = lab.ok("ListResourceTags", json!({ "KeyId": one, "Limit": 2 }))["NextMarker"].clone();
    assert_eq!(
        lab.code("ListResourceTags", json!({ "KeyId": other, "Marker": marker })),
        "InvalidMarkerException"
    );
    let elsewhere = lab.within("us-east-1", |lab| lab.code("ListKeys", json!({ "Marker": marker })));
    assert_eq!(elsewhere, "InvalidMarkerException");
}

#[test]
fn the_other_lists_page_by_their_own_bounds() {
    let mut lab = Lab::new();
    let key = lab.key(json!({}));
    for number in 0..50 {
        lab.ok("CreateAlias", json!({ "AliasName": format!("alias/a{number:02}"), "TargetKeyId": key }));
        lab.ok(
            "TagResource",
            json!({ "KeyId": key, "Tags": [{ "TagKey": format!("t{number:02}"), "TagValue": "v" }] }),
        );
        lab.ok("CreateGrant", json!({ "KeyId": key, "GranteePrincipal": "arn:aws:iam::111122223333:role/App", "Operations": ["Decrypt"] }));
    }
    lab.ok("CreateGrant", json!({ "KeyId": key, "GranteePrincipal": "arn:aws:iam::111122223333:role/Other", "Operations": ["Decrypt"] }));
    assert_eq!(
        lab.code("CreateAlias", json!({ "AliasName": "alias/more", "TargetKeyId": key })),
        "LimitExceededException"
    );
    let of_key = json!({ "KeyId": key });
    assert_eq!(pages(&mut lab, "ListAliases", "Aliases", of_key.clone()).0, [50]);
    // The predefined aliases of AWS are among them, in their order.
    let (sizes, items) = pages(&mut lab, "ListAliases", "Aliases", json!({}));
    assert_eq!(sizes, [50, 10]);
    let names: Vec<&str> = items.iter().map(|alias| alias["AliasName"].as_str().unwrap()).collect();
    assert!(names.is_sorted());
    assert_eq!(pages(&mut lab, "ListAliases", "Aliases", json!({ "Limit": 7 })).1.len(), 60);
    assert_eq!(pages(&mut lab, "ListGrants", "Grants", of_key.clone()).0, [50, 1]);
    assert_eq!(pages(&mut lab, "ListGrants", "Grants", json!({ "KeyId": key, "Limit": 100 })).0, [51]);
    let one = json!({ "KeyId": key, "GranteePrincipal": "arn:aws:iam::111122223333:role/Other" });
    assert_eq!(pages(&mut lab, "ListGrants", "Grants", one).0, [1]);
    assert_eq!(
        pages(&mut lab, "ListResourceTags", "Tags", json!({ "KeyId": key, "Limit": 20 })).0,
        [20, 20, 10]
    );
    assert_eq!(pages(&mut lab, "ListKeyPolicies", "PolicyNames", of_key).1, [json!("default")]);
    assert_eq!(lab.code("ListAliases", json!({ "Limit": 101 })), "ValidationException");
}
