"""Feeds queues in ministack as AWS would: S3's notifications, directly and through SNS, and a rule of EventBridge.

    ministack_events.py ENDPOINT

Prints one JSON document: the URLs of the queues `direct`, `topic` and `rule`, and of the dead-letter queue `dead`. By
then each of them holds what it is to be found in tests/it/ministack_queue.rs.
"""

import gzip
import json
import sys

import boto3

HUB, REGION, BUCKET = "111122223333", "eu-central-1", "keyward-trail"
LOGS = f"AWSLogs/{HUB}/CloudTrail/{REGION}/2026/11/23"

endpoint = sys.argv[1]


def client(service):
    return boto3.client(
        service, endpoint_url=endpoint, region_name=REGION, aws_access_key_id=HUB, aws_secret_access_key="test"
    )


s3, sns, sqs, events = client("s3"), client("sns"), client("sqs"), client("events")


def queue(name, **attributes):
    url = sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    return url, arn


def log(name):
    return {
        "eventVersion": "1.11", "eventID": name, "eventTime": "2026-11-23T12:00:00Z", "awsRegion": REGION,
        "eventSource": "kms.amazonaws.com", "eventName": "Decrypt", "recipientAccountId": HUB,
    }


def put(key, name):
    body = gzip.compress(json.dumps({"Records": [log(name)]}).encode())
    s3.put_object(Bucket=BUCKET, Key=key, Body=body, ContentType="application/json", ContentEncoding="gzip")


dead, dead_arn = queue("dead")
redrive = json.dumps({"deadLetterTargetArn": dead_arn, "maxReceiveCount": "2"})
urls = {"dead": dead}
for name in ("direct", "topic", "rule"):
    urls[name], _ = queue(name, RedrivePolicy=redrive)
arns = {name: dead_arn.rsplit(":", 1)[0] + ":" + name for name in urls}

s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
topic = sns.create_topic(Name="trail")["TopicArn"]
sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arns["topic"])
s3.put_bucket_notification_configuration(
    Bucket=BUCKET,
    NotificationConfiguration={
        "QueueConfigurations": [
            {
                "QueueArn": arns["direct"],
                "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"],
                "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": "AWSLogs/"}]}},
            }
        ],
        "TopicConfigurations": [{"TopicArn": topic, "Events": ["s3:ObjectCreated:*"]}],
        "EventBridgeConfiguration": {},
    },
)
# Nobody but AWS may send events whose source is AWS's; what comes `via CloudTrail` is told by its kind.
KINDS = ["AWS API Call via CloudTrail", "KMS CMK Rotation"]
for name, pattern in {
    "calls": {"source": ["test.kms"], "detail-type": KINDS},
    "objects": {"source": ["aws.s3"], "detail-type": ["Object Created"], "detail": {"bucket": {"name": [BUCKET]}}},
}.items():
    events.put_rule(Name=name, EventPattern=json.dumps(pattern), State="ENABLED")
    events.put_targets(Rule=name, Targets=[{"Id": "queue", "Arn": arns["rule"]}])

put(f"{LOGS}/one.json.gz", "one")
put(f"{LOGS}/with space+plus=ü.json.gz", "two")
put(f"{LOGS.replace('CloudTrail/', 'CloudTrail-Digest/')}/digest.json.gz", "digest")
put(f"{LOGS}/removed.json.gz", "removed")
s3.delete_object(Bucket=BUCKET, Key=f"{LOGS}/removed.json.gz")
sqs.send_message(QueueUrl=urls["direct"], MessageBody="no JSON")
# CloudTrail's own notice, as a trail with a topic sends it.
notice = {"s3Bucket": BUCKET, "s3ObjectKey": [f"{LOGS}/one.json.gz"]}
sns.publish(TopicArn=topic, Message=json.dumps(notice))
sns.publish(TopicArn=topic, Message="CloudTrail validation message.")
entries = [{"Source": "test.kms", "DetailType": kind, "Detail": json.dumps(log("three"))} for kind in KINDS]
answer = events.put_events(Entries=entries)
assert answer["FailedEntryCount"] == 0, answer

print(json.dumps(urls), flush=True)
