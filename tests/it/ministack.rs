//! The program against an AWS that others wrote: ministack, over its wire, with an estate in two accounts.
//!
//! The built-in AWS of the other tests shares our own understanding of AWS; this one does not. Where ministack differs
//! from AWS in what is read here:
//! - `ListKeyRotations`, `DescribeCustomKeyStores` and `GetKeyLastUsage` do not exist (`InvalidAction`), so that
//!   whether a key without automatic rotation was rotated in another way stays unknown. On AWS `never-rotated` and
//!   `opaque` are `rotation-disabled` findings.
//! - `GetKeyRotationStatus` gives no next date, so that `rotation-overdue` is unknown wherever rotation is on.
//! - Delivery channels have no status, as on AWS before the first delivery.
//! - Keys, policies and trails are taken without AWS's checks; nothing that AWS would refuse is seeded.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::support::{Running, free_port, get, keyward, wait_for};

const HUB: &str = "111122223333";
const MEMBER: &str = "222233334444";

/// Both accounts in the three Regions of the estate.
const ESTATE: &str = r#"
[accounts]
static = ["111122223333", "222233334444"]
role = "KeywardReader"
external_id = "seeded-external-id"
[regions]
include = ["eu-central-1", "eu-west-1", "us-east-1"]
[policy]
approved_regions = ["eu-central-1", "eu-west-1"]
single_region_accounts = ["222233334444"]
classification_tag = "data-class"
[[residency]]
boundary = "eea"
home = ["DE"]
match = { tags = { data-class = "personal-eu" } }
"#;

/// Both accounts in every Region that is enabled.
const ALL_REGIONS: &str = r#"
[accounts]
static = ["111122223333", "222233334444"]
role = "KeywardReader"
external_id = "seeded-external-id"
"#;

/// The organization, with units that have to be asked for.
const ORGANIZATION: &str = r#"
[accounts]
organization = true
role = "KeywardReader"
external_id = "seeded-external-id"
[regions]
include = ["eu-central-1"]
[[residency]]
boundary = "eea"
match = { ous = ["ou-ab12-34cd56ef"] }
"#;

/// The daemon in one Region.
const DAEMON: &str = r#"
[accounts]
static = ["111122223333", "222233334444"]
role = "KeywardReader"
external_id = "seeded-external-id"
[regions]
include = ["eu-central-1"]
[lookup]
interval_secs = 1
[[sns]]
topic = "arn:aws:sns:eu-central-1:111122223333:keyward"
"#;

/// Every finding of the estate: rule, key or account, Region.
const FINDINGS: [&str; 30] = [
    "log-validation-off hub eu-central-1",
    "log-validation-off member eu-central-1",
    "config-not-recording hub eu-west-1",       // the recorder is stopped
    "config-not-recording hub us-east-1",       // there is none
    "config-not-recording member eu-central-1", // it records buckets only
    "imported-material-expiring expiring eu-central-1",
    "key-in-unapproved-region apart-set us-east-1",
    "key-in-unapproved-region astray us-east-1",
    "key-in-unapproved-region leaked-set us-east-1",
    "key-pending-deletion leaving eu-central-1",
    "key-policy-cross-account lent eu-west-1", // and not `shared`: that is lent to an audited account
    "key-policy-public public eu-west-1",
    "key-set-across-jurisdictions apart-set eu-central-1",
    "key-set-alias-drift drifting-set eu-west-1",
    "key-set-outside-boundary astray us-east-1", // a single-Region key in the wrong place
    "key-set-outside-boundary leaked-set eu-central-1",
    "key-set-policy-drift drifting-set eu-west-1", // and not `compliant-set`: its policies only differ in words
    "key-set-state-divergence drifting-set eu-west-1",
    "key-set-tag-drift drifting-set eu-west-1",
    "key-unclassified unclassified eu-central-1",
    "key-without-alias nameless eu-west-1",
    "kms-events-not-logged member eu-central-1", // its one trail is stopped
    "kms-events-not-logged member eu-west-1",
    "kms-events-not-logged member us-east-1",
    "multi-region-key-not-allowed member-set eu-central-1",
    "multi-region-key-unreplicated lone-set eu-central-1",
    "primary-outside-home astray us-east-1",
    "primary-outside-home moved-set eu-west-1",
    "replication-unrestricted lone-set eu-central-1",
    "rotation-period-too-long rarely-rotated eu-central-1",
];

/// Every verdict that cannot be given on ministack. RSA and HMAC keys, replicas, and keys that are disabled or about to
/// be deleted are not among them: AWS does not rotate those, so they are not judged.
const UNKNOWN: [&str; 20] = [
    // No list of rotations.
    "imported-material-not-rotated expiring eu-central-1",
    "imported-material-not-rotated lasting eu-west-1",
    "rotation-disabled never-rotated eu-central-1",
    "rotation-disabled opaque eu-central-1",
    // No date of the next rotation.
    "rotation-overdue apart-set eu-central-1",
    "rotation-overdue astray us-east-1",
    "rotation-overdue compliant-set eu-central-1",
    "rotation-overdue drifting-set eu-west-1",
    "rotation-overdue leaked-set eu-central-1",
    "rotation-overdue lent eu-west-1",
    "rotation-overdue lone-set eu-central-1",
    "rotation-overdue member-key eu-west-1",
    "rotation-overdue member-set eu-central-1",
    "rotation-overdue moved-set eu-west-1",
    "rotation-overdue nameless eu-west-1",
    "rotation-overdue public eu-west-1",
    "rotation-overdue rarely-rotated eu-central-1",
    "rotation-overdue rotated eu-central-1",
    "rotation-overdue shared eu-west-1",
    "rotation-overdue unclassified eu-central-1",
];

/// What the key policy of `opaque` adds to both once it is enforced.
const REFUSED_FINDING: &str = "key-unreadable opaque eu-central-1";
const REFUSED_VERDICTS: [&str; 2] =
    ["key-policy-cross-account opaque eu-central-1", "key-policy-public opaque eu-central-1"];

/// Calls that ministack does not have.
const MISSING: [&str; 2] = ["kms:DescribeCustomKeyStores", "kms:ListKeyRotations"];

/// What verifying log files takes; ministack delivers none. That they are needed shows against the built-in AWS.
const OF_THE_VERIFICATION: [&str; 3] = ["cloudtrail:ListPublicKeys", "s3:GetObject", "s3:ListBucket"];

/// What a scan does not call: looking up events, sampling last use and sending alerts is the daemon's.
const OF_THE_DAEMON: [&str; 3] = ["cloudtrail:LookupEvents", "kms:GetKeyLastUsage", "sns:Publish"];

/// What ministack allows whatever the policy says. That it is called shows that it is needed.
const NOT_ENFORCED: &str = "account:ListRegions";

/// Starts ministack; gives also its program and its port. None where it is not installed.
pub(crate) fn serve(dir: &Path, auth: bool) -> Option<(Running, PathBuf, u16)> {
    let Some(program) = std::env::var_os("KEYWARD_TEST_MINISTACK").map(PathBuf::from) else {
        // Past the test harness, which keeps to itself what a passing test prints.
        let notice = "!!! LEFT OUT: ministack (KEYWARD_TEST_MINISTACK is not set; tests/run.sh sets it)";
        writeln!(std::io::stderr(), "{notice}").unwrap();
        return None;
    };
    let port = free_port();
    let log = std::fs::File::create(dir.join("ministack.log")).unwrap();
    let server = Command::new(&program)
        .current_dir(dir)
        // It listens on all addresses, and for IoT, unless it is told not to.
        .envs([("BIND_HOST", "127.0.0.1"), ("IOT_MTLS_ENABLED", "0"), ("CLOUDTRAIL_RECORDING", "1")])
        .env("GATEWAY_PORT", port.to_string())
        .env("AUTH", auth.to_string())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    let server = Running(server);
    wait_for("ministack", Duration::from_secs(30), || get(port, "/_ministack/health"));
    Some((server, program, port))
}

/// The stand-in, with its estate. Its policies can be changed while it runs.
struct Ministack {
    port: u16,
    dir: tempfile::TempDir,
    labels: BTreeMap<String, String>,
    /// The credentials of the role that Keyward runs with, with the shipped policy.
    hub: BTreeMap<String, String>,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    /// In the order in which they are to end.
    _processes: [Running; 2],
}

impl Ministack {
    /// Starts and seeds it; none where it is not installed.
    fn start(auth: bool) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let (server, program, port) = serve(dir.path(), auth)?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ministack_seed.py");
        let mut seed = Command::new(program.with_file_name("python"))
            .arg(script)
            .arg(format!("http://127.0.0.1:{port}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let orders = seed.stdin.take().unwrap();
        let mut answers = BufReader::new(seed.stdout.take().unwrap());
        let processes = [Running(seed), server];
        let mut line = String::new();
        answers.read_line(&mut line).unwrap();
        let mut estate: Value = serde_json::from_str(&line).expect("the estate was not seeded");
        let labels = serde_json::from_value(estate["labels"].take()).unwrap();
        let hub = serde_json::from_value(estate["hub"].take()).unwrap();
        Some(Self { port, dir, labels, hub, orders, answers, _processes: processes })
    }

    /// Takes actions from both shipped policies; with none, puts the policies back as they are shipped.
    fn without(&mut self, actions: &[&str]) {
        writeln!(self.orders, "{}", actions.join(" ")).unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        assert_eq!(line.trim(), "done");
    }

    fn keyward(&self, configuration: &str, credentials: &BTreeMap<String, String>) -> Command {
        let path = self.dir.path().join("keyward.toml");
        std::fs::write(&path, configuration).unwrap();
        let mut command = keyward(self.dir.path());
        command
            .env("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{}", self.port))
            .env("AWS_REGION", "eu-central-1")
            .env("KEYWARD_CONFIG", path)
            .envs(credentials);
        command
    }

    fn scan(&self, configuration: &str, credentials: &BTreeMap<String, String>) -> Scan {
        let mut command = self.keyward(configuration, credentials);
        let output = command.args(["scan", "--format", "json"]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let document =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"));
        Scan { code: output.status.code(), document, labels: self.labels.clone() }
    }
}

/// What `keyward scan --format json` said.
struct Scan {
    code: Option<i32>,
    document: Value,
    labels: BTreeMap<String, String>,
}

impl Scan {
    fn rows(&self, list: &str) -> &[Value] {
        self.document[list].as_array().unwrap()
    }

    /// A key's label and Region; of a key set, its primary's.
    fn name(&self, arn: &str) -> String {
        let parts: Vec<&str> = arn.split(':').collect();
        format!("{} {}", self.labels[parts[5].strip_prefix("key/").unwrap()], parts[3])
    }

    /// The findings in the form of [`FINDINGS`].
    fn findings(&self) -> BTreeSet<String> {
        let name = |finding: &Value| match finding["key"].as_str() {
            Some(arn) => self.name(arn),
            None => format!("{} {}", account(&finding["account"]), finding["region"].as_str().unwrap()),
        };
        let findings = self.rows("findings");
        let named: BTreeSet<String> = findings
            .iter()
            .map(|finding| format!("{} {}", finding["rule"].as_str().unwrap(), name(finding)))
            .collect();
        assert_eq!(named.len(), findings.len(), "a finding is there twice");
        named
    }

    /// The unknown verdicts in the form of [`UNKNOWN`], each with a reason.
    fn unknown(&self) -> BTreeSet<String> {
        let unknown = self.rows("verdicts").iter().filter(|verdict| verdict["verdict"] == "unknown");
        unknown
            .map(|verdict| {
                assert_ne!(verdict["reasons"].as_array().unwrap().len(), 0, "{verdict}");
                let subject = verdict["subject"].as_str().unwrap();
                let name = if subject.contains(":key/") { self.name(subject) } else { subject.to_owned() };
                format!("{} {name}", verdict["rule"].as_str().unwrap())
            })
            .collect()
    }

    /// The readings with some result: API and account.
    fn read(&self, result: &str) -> BTreeSet<(String, String)> {
        calls(self.rows("readings"), result)
    }
}

fn account(id: &Value) -> &'static str {
    match id.as_str() {
        Some(HUB) => "hub",
        Some(MEMBER) => "member",
        other => panic!("{other:?} is not of the estate"),
    }
}

/// The readings with some result: API and account.
fn calls(readings: &[Value], result: &str) -> BTreeSet<(String, String)> {
    let readings = readings.iter().filter(|reading| reading["result"] == result);
    readings
        .map(|row| (row["api"].as_str().unwrap().to_owned(), account(&row["account"]).to_owned()))
        .collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(ToString::to_string).collect()
}

fn same(found: &BTreeSet<String>, expected: &BTreeSet<String>) {
    let (unexpected, missing) = (found - expected, expected - found);
    assert!(
        unexpected.is_empty() && missing.is_empty(),
        "unexpected: {unexpected:#?}, missing: {missing:#?}"
    );
}

/// The hub's root, to ministack.
fn root() -> BTreeMap<String, String> {
    [("AWS_ACCESS_KEY_ID", HUB), ("AWS_SECRET_ACCESS_KEY", "test")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

/// The actions of a policy that Keyward ships.
fn shipped(policy: &str) -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/iam").join(policy);
    let policy: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let statements = policy["Statement"].as_array().unwrap();
    let actions = statements.iter().flat_map(|statement| statement["Action"].as_array().unwrap());
    actions.map(|action| action.as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_scan_finds_exactly_what_is_wrong() {
    let Some(aws) = Ministack::start(false) else { return };
    let scan = aws.scan(ESTATE, &root());
    same(&scan.findings(), &set(&FINDINGS));
    same(&scan.unknown(), &set(&UNKNOWN));
    assert_eq!(scan.read("unreachable"), MISSING.into_iter().flat_map(both).collect());
    for reading in scan.rows("readings").iter().filter(|reading| reading["result"] != "ok") {
        assert!(reading["detail"].as_str().unwrap().contains("InvalidAction"), "{reading}");
    }
    assert_eq!(scan.code, Some(3), "not everything could be read");
    let mut failing = aws.keyward(ESTATE, &root());
    let failing = failing.args(["scan", "--format", "csv", "--fail-on", "critical"]).output().unwrap();
    assert_eq!(failing.status.code(), Some(1), "there are critical findings");
    let rows = String::from_utf8(failing.stdout).unwrap();
    assert_eq!(rows.lines().filter(|line| line.contains(",critical,")).count(), 3);
}

#[test]
fn the_shipped_policies_are_enough_and_nothing_in_them_is_unneeded() {
    let Some(mut aws) = Ministack::start(true) else { return };
    enough(&aws);
    for action in &shipped("keyward-hub-policy.json") | &shipped("keyward-reader-policy.json") {
        let is_of_others = [OF_THE_DAEMON, OF_THE_VERIFICATION].concat().contains(&action.as_str());
        if action != NOT_ENFORCED && !is_of_others {
            aws.without(&[&action]);
            needed(&aws, &action);
        }
    }
    aws.without(&[]);
    the_daemon_needs_the_rest(&mut aws);
}

/// With the shipped policies nothing is refused, but by the one key whose own policy refuses it.
fn enough(aws: &Ministack) {
    let scan = aws.scan(ESTATE, &aws.hub);
    let mut findings = set(&FINDINGS);
    findings.insert(REFUSED_FINDING.to_owned());
    same(&scan.findings(), &findings);
    same(&scan.unknown(), &(&set(&UNKNOWN) | &set(&REFUSED_VERDICTS)));
    let refused: Vec<&Value> = scan.rows("readings").iter().filter(|row| row["result"] == "denied").collect();
    let [refused] = refused.as_slice() else { panic!("{refused:#?}") };
    assert_eq!((&refused["api"], &refused["failed"]), (&"kms:GetKeyPolicy".into(), &1.into()));
    assert_eq!((account(&refused["account"]), &refused["region"]), ("member", &"eu-central-1".into()));
    assert_eq!(scan.code, Some(3));
    for configuration in [ALL_REGIONS, ORGANIZATION] {
        let scan = aws.scan(configuration, &aws.hub);
        let denied = scan.read("denied");
        assert!(denied.iter().all(|(api, _)| api == "kms:GetKeyPolicy"), "{denied:?}");
        let is_called = both(NOT_ENFORCED).iter().all(|call| scan.read("ok").contains(call));
        assert_eq!(is_called, configuration == ALL_REGIONS, "{NOT_ENFORCED}");
    }
}

/// A call in both accounts.
fn both(api: &str) -> [(String, String); 2] {
    ["hub", "member"].map(|account| (api.to_owned(), account.to_owned()))
}

/// Without an action, the call that needs it is refused: in both accounts, if the reader has it too.
fn needed(aws: &Ministack, action: &str) {
    let configuration = if action.starts_with("organizations:") { ORGANIZATION } else { ESTATE };
    let denied = aws.scan(configuration, &aws.hub).read("denied");
    let by_account = |account: &str| denied.contains(&(action.to_owned(), account.to_owned()));
    if shipped("keyward-reader-policy.json").contains(action) {
        assert!(by_account("hub") && by_account("member"), "{action} is not needed: {denied:?}");
    } else {
        // A role is assumed with the hub's credentials, and missed in the member.
        assert!(by_account("hub") || by_account("member"), "{action} is not needed: {denied:?}");
    }
}

/// What only the daemon calls is refused without its action, and not with it.
fn the_daemon_needs_the_rest(aws: &mut Ministack) {
    for (missing, events, usage, sent) in
        [(&[] as &[&str], "ok", "unreachable", "sent"), (&OF_THE_DAEMON, "denied", "denied", "dead")]
    {
        aws.without(missing);
        let port = free_port();
        let store = aws.dir.path().join(format!("{sent}.db"));
        let mut daemon = aws.keyward(DAEMON, &aws.hub);
        daemon.env("KEYWARD__STORE__URL", format!("sqlite:{}", store.display()));
        daemon.env("KEYWARD__HTTP__LISTEN", format!("127.0.0.1:{port}"));
        let log = std::fs::File::create(aws.dir.path().join("keyward.log")).unwrap();
        let _daemon = Running(daemon.arg("run").stderr(log).spawn().unwrap());
        let limit = Duration::from_mins(1);
        for (api, result) in [("cloudtrail:LookupEvents", events), ("kms:GetKeyLastUsage", usage)] {
            wait_for(&format!("{api} {result}"), limit, || {
                let (_, body) = get(port, "/api/v1/coverage")?;
                let coverage: Value = serde_json::from_str(&body).ok()?;
                let read = calls(coverage["readings"].as_array()?, result);
                both(api).iter().all(|call| read.contains(call)).then_some(())
            });
        }
        wait_for(&format!("alerts {sent}"), limit, || {
            let (_, metrics) = get(port, "/metrics")?;
            let label = format!("result=\"{sent}\"");
            let mut alerts = metrics.lines().filter(|line| line.starts_with("keyward_notifications_total"));
            alerts.any(|line| line.contains(&label) && !line.ends_with(" 0")).then_some(())
        });
    }
}
