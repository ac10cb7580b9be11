use chrono::TimeDelta;
use serde_json::{Value, json};

use super::trail;
use crate::sandbox::call::Principal;
use crate::sandbox::kms::tests::Lab;
use crate::sandbox::organizations::Organization;
use crate::sandbox::testing::{account, other_account};

#[test]
fn a_trail_shows_at_home_and_as_a_shadow_elsewhere() {
    let mut lab = Lab::new();
    let create = |name: &str, multi: bool| json!({ "Name": name, "S3BucketName": "logs", "IsMultiRegionTrail": multi, "EnableLogFileValidation": true, "KmsKeyId": "alias/logs" });
    trail(&mut lab, "CreateTrail", create("everywhere", true)).unwrap();
    trail(&mut lab, "CreateTrail", create("here", false)).unwrap();
    assert_eq!(
        trail(&mut lab, "CreateTrail", create("here", false)),
        Err("TrailAlreadyExistsException".to_owned())
    );
    assert_eq!(
        trail(&mut lab, "CreateTrail", create("a b", false)),
        Err("InvalidTrailNameException".to_owned())
    );
    let listed = trail(&mut lab, "DescribeTrails", json!({})).unwrap();
    assert_eq!(listed["trailList"].as_array().unwrap().len(), 2);
    let one = &listed["trailList"][0];
    assert_eq!(
        (&one["HomeRegion"], &one["LogFileValidationEnabled"], &one["HasCustomEventSelectors"]),
        (&json!("eu-central-1"), &json!(true), &json!(false))
    );
    let arn = "arn:aws:cloudtrail:eu-central-1:111122223333:trail/everywhere";
    lab.within("us-east-1", |lab| {
        let shadows = trail(lab, "DescribeTrails", json!({})).unwrap();
        assert_eq!(shadows["trailList"][0]["TrailARN"], arn);
        assert_eq!(shadows["trailList"].as_array().unwrap().len(), 1);
        assert_eq!(
            trail(lab, "DescribeTrails", json!({ "includeShadowTrails": false })).unwrap()["trailList"],
            json!([])
        );
        assert_eq!(
            trail(lab, "GetTrail", json!({ "Name": "everywhere" })),
            Err("TrailNotFoundException".to_owned())
        );
        assert_eq!(
            trail(lab, "GetTrail", json!({ "Name": arn })).unwrap()["Trail"]["KmsKeyId"],
            "alias/logs"
        );
        assert_eq!(
            trail(lab, "StopLogging", json!({ "Name": arn })),
            Err("InvalidHomeRegionException".to_owned())
        );
        assert_eq!(trail(lab, "ListTrails", json!({})).unwrap()["Trails"].as_array().unwrap().len(), 2);
    });
    trail(&mut lab, "UpdateTrail", json!({ "Name": "here", "IsMultiRegionTrail": true })).unwrap();
    assert_eq!(
        lab.within("us-east-1", |lab| trail(lab, "DescribeTrails", json!({})).unwrap()["trailList"]
            .as_array()
            .unwrap()
            .len()),
        2
    );
    trail(&mut lab, "DeleteTrail", json!({ "Name": arn })).unwrap();
    assert_eq!(
        trail(&mut lab, "GetTrailStatus", json!({ "Name": arn })),
        Err("TrailNotFoundException".to_owned())
    );
}

#[test]
fn a_trail_logs_when_it_is_started_and_says_how_deliveries_go() {
    let mut lab = Lab::new();
    let arn = trail(&mut lab, "CreateTrail", json!({ "Name": "main", "S3BucketName": "logs" })).unwrap()["TrailARN"].clone();
    assert_eq!(
        trail(&mut lab, "GetTrailStatus", json!({ "Name": "main" })).unwrap(),
        json!({ "IsLogging": false })
    );
    trail(&mut lab, "StartLogging", json!({ "Name": arn })).unwrap();
    lab.world.clock.advance(TimeDelta::minutes(12));
    let status = trail(&mut lab, "GetTrailStatus", json!({ "Name": arn })).unwrap();
    assert_eq!(
        (&status["IsLogging"], &status["LatestDeliveryTime"]),
        (&json!(true), &json!(1_795_435_200 + 600))
    );
    assert!(lab.world.cloudtrail.set_delivery_error(arn.as_str().unwrap(), Some("AccessDenied")));
    assert_eq!(
        trail(&mut lab, "GetTrailStatus", json!({ "Name": arn })).unwrap()["LatestDeliveryError"],
        "AccessDenied"
    );
    trail(&mut lab, "StopLogging", json!({ "Name": "main" })).unwrap();
    let status = trail(&mut lab, "GetTrailStatus", json!({ "Name": "main" })).unwrap();
    assert_eq!(
        (&status["IsLogging"], &status["StopLoggingTime"]),
        (&json!(false), &json!(1_795_435_200 + 720))
    );
    let record = lab.record("eu-central-1", "StopLogging");
    assert_eq!((&record["requestParameters"]["name"], &record["readOnly"]), (&json!("main"), &json!(false)));
}

#[test]
fn selectors_can_hide_kms() {
    let mut lab = Lab::new();
    trail(&mut lab, "CreateTrail", json!({ "Name": "main", "S3BucketName": "logs" })).unwrap();
    let default = trail(&mut lab, "GetEventSelectors", json!({ "TrailName": "main" })).unwrap();
    assert_eq!(default["EventSelectors"][0]["ReadWriteType"], "All");
    let exclude = |source: &str| json!({ "TrailName": "main", "EventSelectors": [{ "ReadWriteType": "All", "IncludeManagementEvents": true, "ExcludeManagementEventSources": [source] }] });
    assert_eq!(
        trail(&mut lab, "PutEventSelectors", exclude("s3.amazonaws.com")),
        Err("InvalidEventSelectorsException".to_owned())
    );
    trail(&mut lab, "PutEventSelectors", exclude("kms.amazonaws.com")).unwrap();
    let now = trail(&mut lab, "GetEventSelectors", json!({ "TrailName": "main" })).unwrap();
    assert_eq!(now["EventSelectors"][0]["ExcludeManagementEventSources"], json!(["kms.amazonaws.com"]));
    assert_eq!(
        trail(&mut lab, "GetTrail", json!({ "Name": "main" })).unwrap()["Trail"]["HasCustomEventSelectors"],
        true
    );
    let record = lab.record("eu-central-1", "PutEventSelectors");
    assert_eq!(
        record["requestParameters"]["eventSelectors"][0]["excludeManagementEventSources"],
        json!(["kms.amazonaws.com"])
    );
    let advanced = |fields: Value| json!({ "TrailName": "main", "AdvancedEventSelectors": [{ "FieldSelectors": fields }] });
    let no_category = json!([{ "Field": "eventSource", "NotEquals": ["kms.amazonaws.com"] }]);
    assert_eq!(
        trail(&mut lab, "PutEventSelectors", advanced(no_category)),
        Err("InvalidEventSelectorsException".to_owned())
    );
    let good = json!([{ "Field": "eventCategory", "Equals": ["Management"] }, { "Field": "eventSource", "NotEquals": ["kms.amazonaws.com"] }]);
    trail(&mut lab, "PutEventSelectors", advanced(good.clone())).unwrap();
    let now = trail(&mut lab, "GetEventSelectors", json!({ "TrailName": "main" })).unwrap();
    assert_eq!(now["AdvancedEventSelectors"][0]["FieldSelectors"], good);
    assert!(now.get("EventSelectors").is_none());
}

#[test]
fn an_organization_s_trail_shows_in_its_members_and_is_the_management_account_s() {
    let mut lab = Lab::new();
    let create = json!({ "Name": "org", "S3BucketName": "logs", "IsMultiRegionTrail": true, "IsOrganizationTrail": true });
    assert_eq!(
        trail(&mut lab, "CreateTrail", create.clone()),
        Err("OrganizationsNotInUseException".to_owned())
    );
    let now = lab.world.now();
    let mut organization = Organization::new("o-exampleorgid", &account(), "Management", now);
    let root = organization.root_id();
    organization.add_account(&other_account(), "Member", &root, now);
    lab.world.organizations.add(organization);
    let arn = trail(&mut lab, "CreateTrail", create.clone()).unwrap()["TrailARN"].clone();
    trail(&mut lab, "StartLogging", json!({ "Name": arn })).unwrap();
    lab.by("222233334444", Principal::Root, |lab| {
        for region in ["eu-central-1", "us-east-1"] {
            let listed = lab.within(region, |lab| trail(lab, "DescribeTrails", json!({})).unwrap());
            assert_eq!(
                (&listed["trailList"][0]["TrailARN"], &listed["trailList"][0]["IsOrganizationTrail"]),
                (&arn, &json!(true))
            );
        }
        let without = trail(lab, "DescribeTrails", json!({ "includeShadowTrails": false })).unwrap();
        assert_eq!(without["trailList"], json!([]));
        assert_eq!(trail(lab, "GetTrailStatus", json!({ "Name": arn })).unwrap()["IsLogging"], true);
        assert!(trail(lab, "GetEventSelectors", json!({ "TrailName": arn })).is_ok());
        for (operation, input) in [("StopLogging", json!({ "Name": arn })), ("CreateTrail", create.clone())] {
            assert_eq!(
                trail(lab, operation, input),
                Err("NotOrganizationMasterAccountException".to_owned()),
                "{operation}"
            );
        }
    });
    let stranger =
        lab.by("333344445555", Principal::Root, |lab| trail(lab, "GetTrailStatus", json!({ "Name": arn })));
    assert_eq!(stranger, Err("TrailNotFoundException".to_owned()));
}
