//! Bodies of queues' messages.

use keyward::collect::queue::{Announcement, Unrecognised, recognise};
use serde_json::{Value, json};

pub(super) fn check(input: &[u8]) {
    let body = &*String::from_utf8_lossy(input);
    let told = recognise(body);
    match &told {
        Ok(Announcement::Objects(objects)) => {
            assert!(!objects.is_empty());
            assert!(objects.iter().all(|object| !object.bucket.is_empty() && !object.key.is_empty()));
        }
        Ok(Announcement::Records(records)) => {
            assert!(!records.is_empty() && records.iter().all(Value::is_object), "{records:?}");
        }
        Ok(Announcement::Nothing(reason)) => assert!(!reason.to_string().is_empty()),
        Err(problem) => assert!(!problem.kind().is_empty() && problem.to_string().len() < 500, "{problem}"),
    }
    if !body.is_empty() {
        check_wrapped(body, &told);
    }
    if let Ok(record @ Value::Object(_)) = serde_json::from_str(body) {
        // The text itself: numbers with a fraction are not always written as they were read.
        let event =
            format!(r#"{{"detail-type":"AWS API Call via CloudTrail","source":"aws.kms","detail":{body}}}"#);
        assert_eq!(recognise(&event), Ok(Announcement::Records(vec![record])));
    }
}

/// A message means the same whether SNS has wrapped it or not, as long as it is not wrapped too often.
fn check_wrapped(body: &str, told: &Result<Announcement, Unrecognised>) {
    let wrapped = json!({ "Type": "Notification", "TopicArn": "arn:aws:sns:eu-west-1:111122223333:t",
        "Message": body });
    let again = recognise(&wrapped.to_string());
    assert!(again == *told || again == Err(Unrecognised::Nested), "{again:?} instead of {told:?}");
}
