"""Seeds ministack with a KMS estate in two accounts and three Regions; tests/it/ministack.rs says what is to be found.

    ministack_seed.py ENDPOINT

Prints one JSON document: the labels of the keys by key id, and the credentials of the role KeywardHub. Then each line
on standard input names actions: both shipped policies are put in place without them, and `done` is printed.
"""

import datetime
import json
import os
import pathlib
import sys

import boto3
from botocore.config import Config
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding

HUB, MEMBER, STRANGER = "111122223333", "222233334444", "999988887777"
DE, IE, US = "eu-central-1", "eu-west-1", "us-east-1"
EXTERNAL_ID = "seeded-external-id"
PERSONAL, INTERNAL = {"data-class": "personal-eu"}, {"data-class": "internal"}
SHIPPED = pathlib.Path(__file__).resolve().parent.parent / "deploy" / "iam"

endpoint = sys.argv[1]
labels = {}


def client(service, account, region=DE):
    """A client for the root of an account: to ministack, that is a 12-digit access key."""
    return boto3.client(
        service,
        endpoint_url=endpoint,
        region_name=region,
        aws_access_key_id=account,
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1}),
    )


# --- key policies --------------------------------------------------------------------------------------------------


def policy(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def root(account):
    """The default statement: the account's IAM policies decide."""
    principal = {"AWS": f"arn:aws:iam::{account}:root"}
    return {"Sid": "Root", "Effect": "Allow", "Principal": principal, "Action": "kms:*", "Resource": "*"}


def within_eu():
    """Nobody may replicate the key but to the two Regions."""
    condition = {"StringNotEquals": {"kms:ReplicaRegion": [DE, IE]}}
    return {
        "Sid": "Bound", "Effect": "Deny", "Principal": "*", "Action": "kms:ReplicateKey", "Resource": "*",
        "Condition": condition,
    }  # fmt: skip


def via_s3(region, actions):
    principal = {"AWS": f"arn:aws:iam::{HUB}:role/App"}
    condition = {"StringEquals": {"kms:ViaService": f"s3.{region}.amazonaws.com"}}
    return {"Effect": "Allow", "Principal": principal, "Action": actions, "Resource": "*", "Condition": condition}


def allow(principal, action):
    return {"Sid": "Extra", "Effect": "Allow", "Principal": principal, "Action": action, "Resource": "*"}


# --- keys ----------------------------------------------------------------------------------------------------------


def key(label, region, account=HUB, tags=INTERNAL, rotation=365, alias=True, statements=(), **create):
    """Creates a key and gives its id; `rotation` is the period in days."""
    kms = client("kms", account, region)
    pairs = [{"TagKey": name, "TagValue": value} for name, value in tags.items()]
    made = kms.create_key(Tags=pairs, Policy=policy(root(account), *statements), **create)
    key_id = made["KeyMetadata"]["KeyId"]
    labels[key_id] = label
    if alias:
        kms.create_alias(AliasName=f"alias/{label}", TargetKeyId=key_id)
    if rotation:
        kms.enable_key_rotation(KeyId=key_id, RotationPeriodInDays=rotation)
    return key_id


def key_set(label, primary, replica, account=HUB, tags=INTERNAL, replica_tags=None, replica_alias=True, statements=(),
            replica_statements=None):  # fmt: skip
    """A multi-Region key and its replica. The bounds come last, or they would forbid what is seeded."""
    key_id = key(label, primary, account, tags, MultiRegion=True)
    kms = client("kms", account, primary)
    pairs = [{"TagKey": name, "TagValue": value} for name, value in (replica_tags or tags).items()]
    kms.replicate_key(KeyId=key_id, ReplicaRegion=replica, Tags=pairs)
    copies = client("kms", account, replica)
    if replica_alias:
        copies.create_alias(AliasName=f"alias/{label}", TargetKeyId=key_id)
    first = policy(root(account), within_eu(), *statements)
    second = first if replica_statements is None else policy(*replica_statements)
    kms.put_key_policy(KeyId=key_id, PolicyName="default", Policy=first)
    copies.put_key_policy(KeyId=key_id, PolicyName="default", Policy=second)
    return key_id


def import_material(key_id, region, **expiry):
    kms = client("kms", HUB, region)
    given = kms.get_parameters_for_import(
        KeyId=key_id, WrappingAlgorithm="RSAES_OAEP_SHA_256", WrappingKeySpec="RSA_2048"
    )
    oaep = padding.OAEP(mgf=padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=None)
    wrapped = serialization.load_der_public_key(given["PublicKey"]).encrypt(os.urandom(32), oaep)
    kms.import_key_material(KeyId=key_id, ImportToken=given["ImportToken"], EncryptedKeyMaterial=wrapped, **expiry)


def seed_key_sets():
    key_set(
        "compliant-set", DE, IE, tags=PERSONAL, statements=[via_s3(DE, ["kms:Decrypt", "kms:Encrypt"])],
        # The same in other words: order, one value against a list, the Region in the service's name.
        replica_statements=[via_s3(IE, ["kms:Encrypt", "kms:Decrypt"]), within_eu(), root(HUB)],
    )  # fmt: skip
    key_set("leaked-set", DE, US, tags=PERSONAL)
    key_set("moved-set", IE, DE, tags=PERSONAL)
    key_set("apart-set", DE, US)
    drifting = key_set(
        "drifting-set", IE, DE, tags=INTERNAL | {"owner": "a"}, replica_tags=INTERNAL | {"owner": "b"},
        replica_alias=False,
        replica_statements=[root(HUB), within_eu(), allow({"AWS": f"arn:aws:iam::{HUB}:role/App"}, "kms:Decrypt")],
    )  # fmt: skip
    client("kms", HUB, DE).disable_key(KeyId=drifting)
    anywhere = allow({"AWS": f"arn:aws:iam::{HUB}:role/App"}, "kms:ReplicateKey")
    key("lone-set", DE, statements=[anywhere], MultiRegion=True)
    key_set("member-set", DE, IE, account=MEMBER, tags=PERSONAL)


def seed_single_keys():
    key("rotated", DE, tags=PERSONAL)
    key("never-rotated", DE, rotation=None)
    key("rarely-rotated", DE, rotation=2560)
    key("signing", DE, rotation=None, KeySpec="RSA_2048", KeyUsage="SIGN_VERIFY")
    key("mac", IE, rotation=None, KeySpec="HMAC_256", KeyUsage="GENERATE_VERIFY_MAC")
    client("kms", HUB, DE).schedule_key_deletion(KeyId=key("leaving", DE, rotation=None), PendingWindowInDays=7)
    client("kms", HUB, IE).disable_key(KeyId=key("disabled", IE, rotation=None))
    key("public", IE, statements=[allow("*", "kms:Decrypt")])
    key("lent", IE, statements=[allow({"AWS": f"arn:aws:iam::{STRANGER}:root"}, "kms:Decrypt")])
    key("shared", IE, statements=[allow({"AWS": f"arn:aws:iam::{MEMBER}:root"}, "kms:Decrypt")])
    granted = key("nameless", IE, alias=False)
    grantee = f"arn:aws:iam::{HUB}:role/App"
    client("kms", HUB, IE).create_grant(KeyId=granted, GranteePrincipal=grantee, Operations=["Decrypt"])
    key("unclassified", DE, tags={"team": "payments"})
    soon = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=10)
    import_material(key("expiring", DE, rotation=None, Origin="EXTERNAL"), DE, ExpirationModel="KEY_MATERIAL_EXPIRES", ValidTo=soon)
    import_material(key("lasting", IE, rotation=None, Origin="EXTERNAL"), IE, ExpirationModel="KEY_MATERIAL_DOES_NOT_EXPIRE")
    key("astray", US, tags=PERSONAL)
    key("member-key", IE, account=MEMBER)
    reader = {"AWS": f"arn:aws:iam::{MEMBER}:role/KeywardReader"}
    shut = {"Sid": "Shut", "Effect": "Deny", "Principal": reader, "Action": "kms:GetKeyPolicy", "Resource": "*"}
    key("opaque", DE, account=MEMBER, rotation=None, statements=[shut])


# --- trails and AWS Config -----------------------------------------------------------------------------------------


def seed_coverage():
    """The hub is logged everywhere, the member nowhere: its one trail is stopped."""
    for account in (HUB, MEMBER):
        trail = client("cloudtrail", account)
        trail.create_trail(Name="main", S3BucketName="logs", IsMultiRegionTrail=True)
        trail.start_logging(Name="main")
    client("cloudtrail", MEMBER).stop_logging(Name="main")
    everything = {"allSupported": True, "includeGlobalResourceTypes": True}
    buckets = {"allSupported": False, "resourceTypes": ["AWS::S3::Bucket"]}
    for account, region, group, runs in (
        (HUB, DE, everything, True),
        (HUB, IE, everything, False),
        (MEMBER, DE, buckets, True),
        (MEMBER, IE, everything, True),
    ):
        config = client("config", account, region)
        role = f"arn:aws:iam::{account}:role/config"
        recorder = {"name": "default", "roleARN": role, "recordingGroup": group}
        config.put_configuration_recorder(ConfigurationRecorder=recorder)
        config.put_delivery_channel(DeliveryChannel={"name": "default", "s3BucketName": "config"})
        source = {"Owner": "AWS", "SourceIdentifier": "CMK_BACKING_KEY_ROTATION_ENABLED"}
        config.put_config_rule(ConfigRule={"ConfigRuleName": "rotation", "Source": source})
        if runs:
            config.start_configuration_recorder(ConfigurationRecorderName="default")


# --- roles with the policies that Keyward ships ----------------------------------------------------------------------

HELD = (
    (HUB, "KeywardHub", "keyward-hub-policy.json"),
    (MEMBER, "KeywardReader", "keyward-reader-policy.json"),
)


def shipped(name):
    text = (SHIPPED / name).read_text()
    for placeholder, value in (
        ("HUB_ACCOUNT_ID", HUB),
        ("EXTERNAL_ID", EXTERNAL_ID),
        ("TOPIC_REGION", DE),
        ("TOPIC_NAME", "keyward"),
    ):
        text = text.replace(placeholder, value)
    return json.loads(text)


def put_policies(missing=()):
    """Puts the shipped policies in place, but for some actions."""
    for account, role, name in HELD:
        document = shipped(name)
        for statement in document["Statement"]:
            statement["Action"] = [action for action in statement["Action"] if action not in missing]
        document["Statement"] = [statement for statement in document["Statement"] if statement["Action"]]
        client("iam", account).put_role_policy(
            RoleName=role, PolicyName="keyward", PolicyDocument=json.dumps(document)
        )


def seed_roles():
    client("sns", HUB).create_topic(Name="keyward")
    anyone_in_hub = allow({"AWS": f"arn:aws:iam::{HUB}:root"}, "sts:AssumeRole")
    del anyone_in_hub["Resource"]
    client("iam", HUB).create_role(RoleName="KeywardHub", AssumeRolePolicyDocument=policy(anyone_in_hub))
    trust = json.dumps(shipped("keyward-reader-trust.json"))
    client("iam", MEMBER).create_role(RoleName="KeywardReader", AssumeRolePolicyDocument=trust)
    put_policies()
    arn = f"arn:aws:iam::{HUB}:role/KeywardHub"
    return client("sts", HUB).assume_role(RoleArn=arn, RoleSessionName="seed")["Credentials"]


def main():
    seed_key_sets()
    seed_single_keys()
    seed_coverage()
    session = seed_roles()
    hub = {
        "AWS_ACCESS_KEY_ID": session["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": session["SecretAccessKey"],
        "AWS_SESSION_TOKEN": session["SessionToken"],
    }
    print(json.dumps({"labels": labels, "hub": hub}), flush=True)
    for line in sys.stdin:
        put_policies(line.split())
        print("done", flush=True)


main()
