"""Leads a call to KMS in ministack into the queues of a daemon, on every way there is, and its alerts into one more.

    ministack_alerts.py ENDPOINT prepare      makes keys, buckets, topics, queues and rules
    ministack_alerts.py ENDPOINT happen       disables the keys, and delivers what CloudTrail would tell of it

`prepare` prints one JSON document: the URLs of the queues, the ARN of the topic for alerts, and the ARNs of the keys by
the way that tells of each; tests/it/ministack_alerts.rs says what is to come of it. `happen` takes that document on
standard input.
"""

import datetime
import gzip
import json
import sys
import uuid

import boto3

HUB, REGION = "111122223333", "eu-central-1"
# S3 to SQS; S3 to SNS to SQS; S3 to EventBridge to SQS; CloudTrail to EventBridge to SQS.
WAYS = ["direct", "topic", "object", "event"]

endpoint, order = sys.argv[1:]


def client(service):
    return boto3.client(
        service, endpoint_url=endpoint, region_name=REGION, aws_access_key_id=HUB, aws_secret_access_key="test"
    )


s3, sns, sqs, events, kms = client("s3"), client("sns"), client("sqs"), client("events"), client("kms")


def queue(name):
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    return url, sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]


def rule(name, pattern, target):
    events.put_rule(Name=name, EventPattern=json.dumps(pattern), State="ENABLED")
    events.put_targets(Rule=name, Targets=[{"Id": "queue", "Arn": target}])


def prepare():
    urls, arns = {}, {}
    for name in [*WAYS, "alerts"]:
        urls[name], arns[name] = queue(name)
    told, alerts = sns.create_topic(Name="trail")["TopicArn"], sns.create_topic(Name="alerts")["TopicArn"]
    sns.subscribe(TopicArn=told, Protocol="sqs", Endpoint=arns["topic"])
    sns.subscribe(TopicArn=alerts, Protocol="sqs", Endpoint=arns["alerts"])
    created = ["s3:ObjectCreated:*"]
    for name, configuration in {
        "direct": {"QueueConfigurations": [{"QueueArn": arns["direct"], "Events": created}]},
        "topic": {"TopicConfigurations": [{"TopicArn": told, "Events": created}]},
        "object": {"EventBridgeConfiguration": {}},
    }.items():
        s3.create_bucket(Bucket=f"trail-{name}", CreateBucketConfiguration={"LocationConstraint": REGION})
        s3.put_bucket_notification_configuration(Bucket=f"trail-{name}", NotificationConfiguration=configuration)
    rule("objects", {"source": ["aws.s3"], "detail-type": ["Object Created"]}, arns["object"])
    # Nobody but AWS may send events whose source is AWS's; what comes `via CloudTrail` is told by its kind.
    rule("calls", {"source": ["test.kms"], "detail-type": ["AWS API Call via CloudTrail"]}, arns["event"])
    keys = {name: kms.create_key()["KeyMetadata"]["Arn"] for name in [*WAYS, "every"]}
    print(json.dumps({"urls": urls, "alerts": alerts, "keys": keys}), flush=True)


def record(key):
    """What CloudTrail tells of disabling a key."""
    now = datetime.datetime.now(datetime.timezone.utc)
    caller = {"type": "IAMUser", "accountId": HUB, "arn": f"arn:aws:iam::{HUB}:user/ana", "userName": "ana"}
    return {
        "eventVersion": "1.11", "eventID": str(uuid.uuid4()), "requestID": str(uuid.uuid4()), "awsRegion": REGION,
        "eventTime": now.strftime("%Y-%m-%dT%H:%M:%SZ"), "eventSource": "kms.amazonaws.com", "eventName": "DisableKey",
        "userIdentity": caller, "sourceIPAddress": "198.51.100.7", "userAgent": "aws-cli", "readOnly": False,
        "requestParameters": {"keyId": key}, "responseElements": {"keyId": key}, "eventType": "AwsApiCall",
        "resources": [{"accountId": HUB, "type": "AWS::KMS::Key", "ARN": key}], "managementEvent": True,
        "recipientAccountId": HUB, "eventCategory": "Management",
    }  # fmt: skip


def deliver(way, records):
    if way == "event":
        entries = [
            {"Source": "test.kms", "DetailType": "AWS API Call via CloudTrail", "Detail": json.dumps(one)}
            for one in records
        ]
        answer = events.put_events(Entries=entries)
        assert answer["FailedEntryCount"] == 0, answer
        return
    key = f"AWSLogs/{HUB}/CloudTrail/{REGION}/2026/11/23/{HUB}_CloudTrail_{REGION}_{uuid.uuid4()}.json.gz"
    body = gzip.compress(json.dumps({"Records": records}).encode())
    s3.put_object(
        Bucket=f"trail-{way}", Key=key, Body=body, ContentType="application/json", ContentEncoding="gzip"
    )


def happen():
    keys = json.load(sys.stdin)["keys"]
    records = {name: record(key) for name, key in keys.items()}
    for key in keys.values():
        kms.disable_key(KeyId=key)
    for way in WAYS:
        deliver(way, [records[way], records["every"]])


{"prepare": prepare, "happen": happen}[order]()
