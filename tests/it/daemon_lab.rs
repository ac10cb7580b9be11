//! A sandbox in this process with the demo's estate, and the program as a child process that audits it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use keyward::sandbox::call::Principal;
use keyward::sandbox::clock::Clock;
use keyward::sandbox::estate::{self, KeyRef};
use keyward::sandbox::{Actor, Sandbox, World};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::support::{Running, free_port, keyward, wait_for};

/// Far longer than anything takes, on a machine that does much else.
pub(crate) const PATIENCE: Duration = Duration::from_secs(150);

/// What a test's configuration says; the rest is the demo's.
pub(crate) struct Settings {
    /// None: those of the organization.
    pub(crate) accounts: &'static [&'static str],
    pub(crate) regions: &'static [&'static str],
    pub(crate) sweep_secs: u64,
    pub(crate) usage: bool,
    pub(crate) topics: &'static [&'static str],
    pub(crate) disabled: &'static [&'static str],
    pub(crate) residency: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            accounts: &[],
            regions: &estate::REGIONS,
            sweep_secs: 20,
            usage: true,
            topics: &[estate::TOPIC],
            disabled: &[],
            residency: true,
        }
    }
}

impl Settings {
    fn toml(&self, store: &str) -> String {
        let accounts = match self.accounts {
            [] => "organization = true".to_owned(),
            some => format!("static = {some:?}"),
        };
        let (role, external_id) = (estate::ROLE, estate::EXTERNAL_ID);
        let (regions, approved, tag) = (self.regions, estate::REGIONS, estate::CLASSIFICATION_TAG);
        let mut text = format!(
            "[accounts]\n{accounts}\nrole = \"{role}\"\nexternal_id = \"{external_id}\"\n\
             [regions]\ninclude = {regions:?}\n\
             [policy]\napproved_regions = {approved:?}\nclassification_tag = \"{tag}\"\n\
             [inventory]\ninterval_secs = {}\nlast_usage = false\n\
             [lookup]\ninterval_secs = 1\nfirst_secs = 3600\nusage = {}\n\
             [store]\nurl = \"sqlite:{store}\"\n\
             [rules]\ndisable = {:?}\n",
            self.sweep_secs, self.usage, self.disabled,
        );
        for topic in self.topics {
            write!(text, "[[sns]]\ntopic = \"{topic}\"\nmin_level = \"low\"\n").unwrap();
        }
        for (class, boundary) in estate::BOUNDARIES.iter().filter(|_| self.residency) {
            let section = "[[residency]]\nboundary = ";
            writeln!(text, "{section}\"{boundary}\"\nmatch = {{ tags = {{ {tag} = \"{class}\" }} }}")
                .unwrap();
        }
        text
    }
}

/// A sandbox, and a folder for the program.
pub(crate) struct Lab {
    sandbox: Sandbox,
    runtime: Runtime,
    dir: TempDir,
}

impl Lab {
    pub(crate) fn new() -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let sandbox = runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            Sandbox::start(listener, estate::demo(Clock::default()).unwrap()).unwrap()
        });
        Self { sandbox, runtime, dir: TempDir::new().unwrap() }
    }

    pub(crate) fn with(settings: &Settings) -> Self {
        let lab = Self::new();
        lab.configure(settings);
        lab
    }

    /// Writes the configuration; a running daemon reads it when it is told to.
    pub(crate) fn configure(&self, settings: &Settings) {
        let store = self.dir.path().join("keyward.db");
        std::fs::write(self.config(), settings.toml(store.to_str().unwrap())).unwrap();
    }

    fn config(&self) -> PathBuf {
        self.dir.path().join("keyward.toml")
    }

    pub(crate) fn shared_world(&self) -> Arc<Mutex<World>> {
        self.sandbox.world()
    }

    /// Does something to the world, or looks at it.
    pub(crate) fn world<T>(&self, act: impl FnOnce(&mut World) -> T) -> T {
        act(&mut lock(&self.sandbox.world()))
    }

    /// Makes a call as a key administrator of an account.
    pub(crate) fn administer(&self, account: &str, region: &str, action: &str, input: &Value) -> Value {
        let principal =
            Principal::AssumedRole { role: "KeyAdministrator".to_owned(), session: "j.doe".to_owned() };
        let actor = Actor::new(&account.parse().unwrap(), principal);
        let answer = self.world(|world| world.act(&actor, &region.parse().unwrap(), action, input.clone()));
        answer.unwrap_or_else(|error| panic!("{action}: {} {}", error.code, error.message))
    }

    /// The id of a key of the estate.
    pub(crate) fn key_id(&self, key: KeyRef) -> String {
        let (account, region) = (key.account.parse().unwrap(), key.region.parse().unwrap());
        let id = self.world(|world| world.kms.key_id_of_alias(&account, &region, key.name));
        id.unwrap_or_else(|| key.name.to_owned())
    }

    /// Runs a future where the sandbox runs.
    pub(crate) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    pub(crate) fn endpoint(&self) -> String {
        self.sandbox.endpoint_url()
    }

    fn command(&self) -> Command {
        let mut command = keyward(self.dir.path());
        command
            .env("AWS_ENDPOINT_URL", self.endpoint())
            .env("AWS_ACCESS_KEY_ID", estate::MANAGEMENT)
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .env("AWS_REGION", "eu-central-1");
        command
    }

    /// Runs `keyward scan` with further arguments to its end.
    pub(crate) fn scan(&self, arguments: &[&str]) -> Output {
        self.command().args(["scan", "--config"]).arg(self.config()).args(arguments).output().unwrap()
    }

    /// Starts the daemon.
    pub(crate) fn daemon(&self) -> Daemon {
        let port = free_port();
        let log = OpenOptions::new().create(true).append(true).open(self.log()).unwrap();
        let mut command = self.command();
        command.args(["run", "--config"]).arg(self.config());
        command.env("KEYWARD__HTTP__LISTEN", format!("127.0.0.1:{port}"));
        command.stdout(Stdio::null()).stderr(log);
        Daemon { running: Running(command.spawn().unwrap()), port }
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("keyward.log")
    }

    /// What was published to a topic, oldest first.
    pub(crate) fn alerts(&self, topic: &str) -> Vec<Alert> {
        self.world(|world| {
            let published = world.sns.published().filter(|message| message.topic == topic);
            published.map(|message| Alert::of(&message.to_json()["document"])).collect()
        })
    }

    /// The alerts of a status, as rule and place, sorted; each as often as it was published.
    pub(crate) fn alerts_of(&self, topic: &str, status: &str) -> Vec<(String, String)> {
        let alerts = self.alerts(topic).into_iter().filter(|alert| alert.status == status);
        let mut found: Vec<_> = alerts.map(|alert| (alert.rule, alert.place)).collect();
        found.sort();
        found
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.log()).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let tail = lines.len().saturating_sub(40);
            eprintln!("the program's log ends:\n{}", lines[tail..].join("\n"));
        }
    }
}

pub(crate) fn lock(world: &Mutex<World>) -> MutexGuard<'_, World> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One message about a finding, reduced to what tells it from others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Alert {
    pub(crate) status: String,
    pub(crate) rule: String,
    /// The finding's id; stable over restarts and between sandboxes of one estate.
    pub(crate) finding: String,
    /// Account, Region, and the last part of the key's ARN.
    pub(crate) place: String,
}

impl Alert {
    pub(crate) fn of(document: &Value) -> Self {
        let text = |name: &str| document[name].as_str().unwrap_or_default().to_owned();
        let key = if document["key"].is_null() { text("key_set") } else { text("key") };
        let key = key.rsplit('/').next().unwrap_or_default().to_owned();
        let place = format!("{}/{}/{key}", text("account"), text("region"));
        Self { status: text("status"), rule: text("rule"), finding: text("finding"), place }
    }
}

/// The daemon. It is killed when it is dropped.
pub(crate) struct Daemon {
    running: Running,
    port: u16,
}

impl Daemon {
    /// Kills it as `kill -9` does, and waits until it is gone.
    pub(crate) fn kill(self) {
        drop(self);
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn terminate(mut self) -> ExitStatus {
        let signal = format!("kill -TERM {}", self.running.0.id());
        assert!(Command::new("sh").args(["-c", &signal]).status().unwrap().success());
        wait_for("the daemon's end", Duration::from_mins(1), || self.running.0.try_wait().unwrap())
    }

    /// The body of a page, if it is there.
    pub(crate) fn get(&self, path: &str) -> Option<String> {
        crate::support::get(self.port, path).filter(|(status, _)| *status == 200).map(|(_, body)| body)
    }

    /// Status and body of the answer to a POST.
    pub(crate) fn post(&self, path: &str) -> (u16, String) {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).unwrap();
        write!(stream, "POST {path} HTTP/1.0\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    /// Waits until everything has been swept once.
    pub(crate) fn ready(&self) {
        wait_for("the first sweep", PATIENCE, || self.get("/readyz"));
    }

    pub(crate) fn json(&self, path: &str) -> Option<Value> {
        serde_json::from_str(&self.get(path)?).ok()
    }

    /// Findings in a state; empty while the daemon does not answer.
    pub(crate) fn findings(&self, state: &str) -> Vec<Value> {
        let found = self.json(&format!("/api/v1/findings?state={state}&limit=1000"));
        found.and_then(|found| found["findings"].as_array().cloned()).unwrap_or_default()
    }

    /// Findings of any state: what each is, and where it stands.
    pub(crate) fn all_findings(&self) -> BTreeSet<Alert> {
        let states = ["open", "resolved", "excepted"];
        states.iter().flat_map(|state| self.findings(state)).map(|finding| Alert::of(&finding)).collect()
    }

    /// Rule and place of the findings in a state.
    pub(crate) fn found(&self, state: &str) -> BTreeSet<(String, String)> {
        let alerts = self.findings(state).into_iter().map(|finding| Alert::of(&finding));
        alerts.map(|alert| (alert.rule, alert.place)).collect()
    }

    /// The finding of a rule on a key or place, in a state.
    pub(crate) fn finding(&self, state: &str, rule: &str, place: &str) -> Option<Value> {
        let mut found = self.findings(state).into_iter();
        found.find(|finding| finding["rule"] == rule && Alert::of(finding).place.contains(place))
    }

    /// A finding with everything that is stored of it, `stale` among it.
    pub(crate) fn whole_finding(&self, state: &str, rule: &str, place: &str) -> Option<Value> {
        let finding = self.finding(state, rule, place)?;
        self.json(&format!("/api/v1/findings/{}", finding["finding"].as_str()?))
    }
}

/// The standing violations of the estate, as rule and key id.
pub(crate) fn standing(lab: &Lab) -> BTreeSet<(String, String)> {
    estate::STANDING.iter().map(|violation| (violation.rule.to_owned(), lab.key_id(violation.key))).collect()
}

/// Rule and last part of the place.
pub(crate) fn by_key(found: impl IntoIterator<Item = (String, String)>) -> BTreeSet<(String, String)> {
    let key = |place: &str| place.rsplit('/').next().unwrap_or_default().to_owned();
    found.into_iter().map(|(rule, place)| (rule, key(&place))).collect()
}

/// The input of a call about a key.
pub(crate) fn about(id: &str, mut more: Value) -> Value {
    more["KeyId"] = json!(id);
    more
}
