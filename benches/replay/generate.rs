//! CloudTrail log files as they are delivered, made up: the same from the same seed, about 1.6 kB a record, and
//! about as compressible as real ones.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

use estate::{
    ACCOUNTS, BEGINNING, Dice, KEYS, REGIONS, SERVICES, Session, USERS, assumed_role, iam_user, key_id,
    long_time, number, time, uuid,
};

// Found beside this file, from wherever this file is included.
#[path = "estate.rs"]
mod estate;

/// How busy an account is in a Region: 25,000 events are a file of five minutes.
const EVENTS_A_SECOND: u64 = 83;
/// A session ends after so many events of all: those of busy services live for an hour.
const EVENTS_A_SESSION: u64 = 1_000;
/// Of so many uses of keys one is refused.
const ONE_REFUSED_IN: u64 = 500;
/// Of so many calls to AWS KMS one changes something; AWS says that these are less than 0.5 %.
const ONE_CHANGE_IN: u64 = 250;
/// How many keys a role uses.
const KEYS_A_ROLE: u64 = 2;
/// How many sessions of roles are going on at a time.
const SESSIONS: usize = 160;
/// Makes records, one after the other in time.
#[derive(Debug, Clone)]
pub(crate) struct Generator {
    dice: Dice,
    sessions: Vec<Session>,
    kms_percent: u64,
    time: u64,
    region: &'static str,
    /// The account that the file is of.
    account: u64,
    /// Whether the caller comes through an endpoint of a VPC.
    by_endpoint: bool,
    /// Whose session the last event was of: calls come in bursts.
    current: usize,
}

impl Generator {
    /// Makes records of which some percent are of KMS.
    pub(crate) fn new(seed: u64, kms_percent: u64) -> Self {
        let dice = Dice(seed.wrapping_mul(0x2545_F491_4F6C_DD1D) ^ 0x6b65_7977);
        let mut made = Self {
            dice,
            sessions: Vec::new(),
            kms_percent,
            time: BEGINNING,
            region: "eu-central-1",
            account: 0,
            by_endpoint: false,
            current: 0,
        };
        made.sessions = (0..SESSIONS).map(|_| made.dice.session(BEGINNING)).collect();
        made
    }

    /// One file's text, of one account and Region as CloudTrail delivers it.
    pub(crate) fn file(&mut self, events: usize) -> String {
        self.region = self.dice.pick(&REGIONS);
        self.account = self.dice.skewed(ACCOUNTS);
        let mut text = String::with_capacity(events * 1_700 + 16);
        text.push_str("{\"Records\":[");
        for at in 0..events {
            if at > 0 {
                text.push(',');
            }
            self.record(&mut text);
        }
        text.push_str("]}");
        text
    }

    /// Appends one record.
    pub(crate) fn record(&mut self, out: &mut String) {
        self.time += u64::from(self.dice.below(EVENTS_A_SECOND) == 0);
        if self.dice.below(EVENTS_A_SESSION) == 0 {
            let at = usize::try_from(self.dice.below(SESSIONS as u64)).unwrap_or_default();
            let fresh = self.dice.session(self.time);
            if let Some(session) = self.sessions.get_mut(at) {
                *session = fresh;
            }
        }
        if self.dice.percent(self.kms_percent) { self.kms(out) } else { self.other(out) }
    }

    fn head(
        &mut self,
        out: &mut String,
        identity: &str,
        source: &str,
        name: &str,
        address: &str,
        agent: &str,
    ) {
        let time = time(self.time);
        let region = self.region;
        let _infallible = write!(
            out,
            r#"{{"eventVersion":"1.11","userIdentity":{identity},"eventTime":"{time}","eventSource":"{source}","eventName":"{name}","awsRegion":"{region}","sourceIPAddress":"{address}","userAgent":"{agent}","#
        );
    }

    fn tail(&mut self, out: &mut String, account: u64, read_only: bool, resources: &str, tls: Option<&str>) {
        let (request, event) = (self.dice.uuid(), self.dice.uuid());
        let account = number(account);
        let _infallible = write!(
            out,
            r#""requestID":"{request}","eventID":"{event}","readOnly":{read_only},{resources}"eventType":"AwsApiCall","managementEvent":true,"recipientAccountId":"{account}","#
        );
        if self.dice.percent(6) {
            let _infallible = write!(out, r#""sharedEventID":"{}","#, self.dice.uuid());
        }
        if self.by_endpoint {
            let endpoint = self.dice.below(9).wrapping_mul(0x1357_9bdf_0246_8ace) & 0xffff_ffff_ffff;
            let _infallible =
                write!(out, r#""vpcEndpointId":"vpce-0{endpoint:016x}","vpcEndpointAccountId":"{account}","#);
        }
        out.push_str(r#""eventCategory":"Management""#);
        if let Some(host) = tls {
            let version = if self.dice.percent(90) { "TLSv1.3" } else { "TLSv1.2" };
            let suite =
                if version == "TLSv1.3" { "TLS_AES_128_GCM_SHA256" } else { "ECDHE-RSA-AES128-GCM-SHA256" };
            let _infallible = write!(
                out,
                r#","tlsDetails":{{"tlsVersion":"{version}","cipherSuite":"{suite}","clientProvidedHostHeader":"{host}","keyExchange":"X25519MLKEM768"}}"#
            );
        }
        out.push('}');
    }

    fn caller(&mut self) -> Session {
        if !self.dice.percent(80) {
            self.current = self.dice.place(SESSIONS);
        }
        let session = self.sessions.get(self.current).cloned().unwrap_or_default();
        self.by_endpoint = session.place() % 8 == 3;
        session.in_account(self.account)
    }

    fn kms(&mut self, out: &mut String) {
        let caller = self.caller();
        let region = self.region;
        let owner = if self.dice.percent(94) { caller.account } else { (caller.account + 1) % ACCOUNTS };
        let which = (caller.place() * KEYS_A_ROLE + self.dice.below(KEYS_A_ROLE)) % KEYS;
        let key = format!("arn:aws:kms:{region}:{}:key/{}", number(owner), key_id(owner, region, which));
        let host = format!("kms.{region}.amazonaws.com");
        // A key has one purpose, and a role comes one way.
        let is_service = caller.place().is_multiple_of(2);
        let service = SERVICES
            .iter()
            .cycle()
            .nth(usize::try_from(which).unwrap_or_default())
            .copied()
            .unwrap_or_default();
        let (identity, address, agent) = match self.dice.below(100) {
            0..6 if is_service => {
                (format!(r#"{{"type":"AWSService","invokedBy":"{service}"}}"#), service, service)
            }
            _ if is_service => (assumed_role(&caller, Some(service)), service, service),
            6..14 => {
                (iam_user(caller.account, self.dice.pick(&USERS)), caller.address.as_str(), caller.agent)
            }
            _ => (assumed_role(&caller, None), caller.address.as_str(), caller.agent),
        };
        let name = if self.dice.below(ONE_CHANGE_IN) == 0 {
            self.dice.pick(&["CreateGrant", "TagResource", "PutKeyPolicy"])
        } else {
            self.dice.pick(&[
                "Decrypt",
                "Decrypt",
                "GenerateDataKey",
                "GenerateDataKey",
                "DescribeKey",
                "Encrypt",
                "Sign",
                "ListAliases",
                "GenerateDataKeyWithoutPlaintext",
            ])
        };
        self.head(out, &identity, "kms.amazonaws.com", name, address, agent);
        if self.dice.below(ONE_REFUSED_IN) == 0 {
            let _infallible = write!(
                out,
                r#""errorCode":"AccessDenied","errorMessage":"User: arn:aws:sts::{}:assumed-role/{}/{} is not authorized to perform: kms:{name} on resource: {key} because no resource-based policy allows the kms:{name} action","#,
                number(caller.account),
                caller.role,
                caller.name
            );
        }
        let context = self.context(service, caller.account, &key);
        let read_only = !matches!(name, "CreateGrant" | "PutKeyPolicy" | "TagResource");
        self.kms_parameters(out, name, &key, &context, &caller);
        let resources = format!(
            r#""resources":[{{"accountId":"{}","type":"AWS::KMS::Key","ARN":"{key}"}}],"#,
            number(owner)
        );
        self.tail(out, caller.account, read_only, &resources, (!is_service).then_some(host.as_str()));
    }

    /// The encryption context that a service gives.
    fn context(&mut self, service: &str, account: u64, key: &str) -> String {
        let (account, region) = (number(account), self.region);
        let which = self.dice.skewed(40);
        match service {
            "s3.amazonaws.com" => format!(
                r#"{{"aws:s3:arn":"arn:aws:s3:::acme-{account}-data-{which}/exports/2026/11/part-{:05}.parquet"}}"#,
                self.dice.below(4_000)
            ),
            "dynamodb.amazonaws.com" => format!(
                r#"{{"aws:dynamodb:tableName":"orders-{which}","aws:dynamodb:subscriberId":"{account}"}}"#
            ),
            "rds.amazonaws.com" => format!(r#"{{"aws:rds:db-id":"db-{}"}}"#, Dice(which).letters(26)),
            "secretsmanager.amazonaws.com" => {
                let name = Dice(which).letters(6);
                format!(
                    r#"{{"SecretARN":"arn:aws:secretsmanager:{region}:{account}:secret:prod/service-{which}/database-{name}","SecretVersionId":"{}"}}"#,
                    uuid(which, which.wrapping_mul(0x9E37_79B9_7F4A_7C15))
                )
            }
            "lambda.amazonaws.com" => format!(
                r#"{{"aws:lambda:FunctionArn":"arn:aws:lambda:{region}:{account}:function:handler-{which}"}}"#
            ),
            _ => {
                format!(r#"{{"aws:ebs:id":"vol-0{:016x}","purpose":"{}"}}"#, self.dice.next() >> 4, key.len())
            }
        }
    }

    fn kms_parameters(&mut self, out: &mut String, name: &str, key: &str, context: &str, caller: &Session) {
        let material = format!(
            "{:064x}",
            Dice(key.bytes().fold(0, |sum, byte| sum * 31 % 65_521 + u64::from(byte))).next()
        );
        let with_material =
            format!(r#""responseElements":null,"additionalEventData":{{"keyMaterialId":"{material}"}},"#);
        let _infallible = match name {
            "Decrypt" => write!(
                out,
                r#""requestParameters":{{"encryptionAlgorithm":"SYMMETRIC_DEFAULT","encryptionContext":{context}}},{with_material}"#
            ),
            "GenerateDataKey" | "GenerateDataKeyWithoutPlaintext" => write!(
                out,
                r#""requestParameters":{{"keySpec":"AES_256","encryptionContext":{context},"keyId":"{key}"}},{with_material}"#
            ),
            "Encrypt" => write!(
                out,
                r#""requestParameters":{{"encryptionAlgorithm":"SYMMETRIC_DEFAULT","keyId":"{key}","encryptionContext":{context}}},{with_material}"#
            ),
            "Sign" => write!(
                out,
                r#""requestParameters":{{"signingAlgorithm":"ECDSA_SHA_256","keyId":"{key}","messageType":"DIGEST"}},"responseElements":null,"#
            ),
            "CreateGrant" => write!(
                out,
                r#""requestParameters":{{"keyId":"{key}","granteePrincipal":"arn:aws:iam::{0}:role/{1}","operations":["Decrypt","GenerateDataKeyWithoutPlaintext","CreateGrant"],"constraints":{{"encryptionContextSubset":{context}}}}},"responseElements":{{"grantId":"{2:016x}{2:016x}{2:016x}{2:016x}","keyId":"{key}"}},"#,
                number(caller.account),
                caller.role,
                self.dice.next()
            ),
            "PutKeyPolicy" => write!(
                out,
                r#""requestParameters":{{"keyId":"{key}","policyName":"default","policy":"{{\n  \"Version\": \"2012-10-17\",\n  \"Statement\": [ {{\n    \"Sid\": \"Enable IAM policies\",\n    \"Effect\": \"Allow\",\n    \"Principal\": {{ \"AWS\": \"arn:aws:iam::{}:root\" }},\n    \"Action\": \"kms:*\",\n    \"Resource\": \"*\"\n  }} ]\n}}","bypassPolicyLockoutSafetyCheck":false}},"responseElements":null,"#,
                number(caller.account)
            ),
            "TagResource" => write!(
                out,
                r#""requestParameters":{{"keyId":"{key}","tags":[{{"tagKey":"data-class","tagValue":"personal-eu"}},{{"tagKey":"team","tagValue":"{}"}}]}},"responseElements":{{"keyId":"{key}"}},"#,
                caller.role
            ),
            "ListAliases" => write!(out, r#""requestParameters":{{"limit":100}},"responseElements":null,"#),
            _ => write!(out, r#""requestParameters":{{"keyId":"{key}"}},"responseElements":null,"#),
        };
    }

    fn other(&mut self, out: &mut String) {
        match self.dice.below(100) {
            0..30 => self.assume_role(out),
            30..55 => self.describe_instances(out),
            55..80 => self.s3(out),
            80..90 => self.logs(out),
            _ => self.user(out),
        }
    }

    fn assume_role(&mut self, out: &mut String) {
        let caller = self.caller();
        let service = self.dice.pick(&["ec2.amazonaws.com", "lambda.amazonaws.com", "eks.amazonaws.com"]);
        let identity = format!(r#"{{"type":"AWSService","invokedBy":"{service}"}}"#);
        self.head(out, &identity, "sts.amazonaws.com", "AssumeRole", service, service);
        let (account, created) = (number(caller.account), long_time(self.time));
        let expiry = long_time(self.time + 21_600);
        let _infallible = write!(
            out,
            r#""requestParameters":{{"roleArn":"arn:aws:iam::{account}:role/{0}","roleSessionName":"{1}","durationSeconds":3600}},"responseElements":{{"credentials":{{"accessKeyId":"ASIA{2}","sessionToken":"IQoJb3JpZ2luX2VjE{3}","expiration":"{expiry}"}},"assumedRoleUser":{{"assumedRoleId":"{4}:{1}","arn":"arn:aws:sts::{account}:assumed-role/{0}/{1}"}},"requestedAt":"{created}"}},"#,
            caller.role,
            caller.name,
            self.dice.letters(16),
            Dice(caller.created).letters(60),
            caller.role_id
        );
        let resources = format!(
            r#""resources":[{{"accountId":"{account}","type":"AWS::IAM::Role","ARN":"arn:aws:iam::{account}:role/{}"}}],"#,
            caller.role
        );
        self.tail(out, caller.account, true, &resources, None);
    }

    fn describe_instances(&mut self, out: &mut String) {
        let caller = self.caller();
        let name = self.dice.pick(&[
            "DescribeInstances",
            "DescribeVolumes",
            "DescribeNetworkInterfaces",
            "DescribeTags",
        ]);
        self.head(
            out,
            &assumed_role(&caller, None),
            "ec2.amazonaws.com",
            name,
            &caller.address,
            caller.agent,
        );
        let _infallible = write!(
            out,
            r#""requestParameters":{{"maxResults":1000,"filterSet":{{"items":[{{"name":"instance-state-name","valueSet":{{"items":[{{"value":"running"}},{{"value":"pending"}}]}}}},{{"name":"tag:kubernetes.io/cluster/{}","valueSet":{{"items":[{{"value":"owned"}}]}}}}]}},"instancesSet":{{}}}},"responseElements":null,"#,
            caller.role
        );
        let host = format!("ec2.{}.amazonaws.com", self.region);
        self.tail(out, caller.account, true, "", Some(&host));
    }

    fn s3(&mut self, out: &mut String) {
        let caller = self.caller();
        let name =
            self.dice.pick(&["GetBucketAcl", "ListBuckets", "GetBucketLocation", "GetBucketEncryption"]);
        let bucket = format!("acme-{}-data-{}", number(caller.account), self.dice.skewed(40));
        let host = format!("{bucket}.s3.{}.amazonaws.com", self.region);
        self.head(out, &assumed_role(&caller, None), "s3.amazonaws.com", name, &caller.address, caller.agent);
        let _infallible = write!(
            out,
            r#""requestParameters":{{"bucketName":"{bucket}","Host":"{host}","acl":""}},"responseElements":null,"additionalEventData":{{"SignatureVersion":"SigV4","CipherSuite":"TLS_AES_128_GCM_SHA256","bytesTransferredIn":0,"AuthenticationMethod":"AuthHeader","x-amz-id-2":"{}{}=","bytesTransferredOut":{}}},"#,
            self.dice.letters(38),
            Dice(caller.created).letters(37).to_lowercase(),
            self.dice.below(900)
        );
        let resources = format!(
            r#""resources":[{{"accountId":"{}","type":"AWS::S3::Bucket","ARN":"arn:aws:s3:::{bucket}"}}],"#,
            number(caller.account)
        );
        self.tail(out, caller.account, true, &resources, Some(&host));
    }

    fn logs(&mut self, out: &mut String) {
        let caller = self.caller();
        self.head(
            out,
            &assumed_role(&caller, None),
            "logs.amazonaws.com",
            "CreateLogStream",
            &caller.address,
            caller.agent,
        );
        let stream = self.dice.uuid().replace('-', "");
        let _infallible = write!(
            out,
            r#""requestParameters":{{"logStreamName":"2026/11/01/[$LATEST]{stream}","logGroupName":"/aws/lambda/{}"}},"responseElements":null,"apiVersion":"20140328","#,
            caller.role
        );
        let host = format!("logs.{}.amazonaws.com", self.region);
        self.tail(out, caller.account, false, "", Some(&host));
    }

    fn user(&mut self, out: &mut String) {
        let caller = self.caller();
        let user = self.dice.pick(&USERS);
        let identity = iam_user(caller.account, user);
        self.head(out, &identity, "sts.amazonaws.com", "GetCallerIdentity", &caller.address, caller.agent);
        out.push_str(r#""requestParameters":null,"responseElements":null,"#);
        let host = format!("sts.{}.amazonaws.com", self.region);
        self.tail(out, caller.account, true, "", Some(&host));
    }
}

/// Compresses a file as CloudTrail does.
pub(crate) fn gzip(text: &str) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes())?;
    encoder.finish()
}

/// Writes files of so many events each, and gives their paths.
pub(crate) fn write_files(
    into: &Path,
    files: usize,
    events: usize,
    seed: u64,
    kms_percent: u64,
) -> std::io::Result<Vec<PathBuf>> {
    let mut generator = Generator::new(seed, kms_percent);
    let mut paths = Vec::with_capacity(files);
    for at in 0..files {
        let path = into.join(format!("{at:04}.json.gz"));
        std::fs::write(&path, gzip(&generator.file(events))?)?;
        paths.push(path);
    }
    Ok(paths)
}
