//! The program against the built-in AWS: an estate in this process, and `keyward` as a child that reads it.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use keyward::sandbox::clock::Clock;
use keyward::sandbox::{Sandbox, World, estate};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::support::{self, Running, free_port, get, wait_for};
use crate::tamper::{self, Tamper};

/// How long a daemon may take to be ready, on a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);

/// An estate, and a folder to run in.
pub(crate) struct Lab {
    runtime: Runtime,
    sandbox: Sandbox,
    dir: TempDir,
    endpoint: String,
}

/// What a run of the program came to.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Lab {
    /// A lab over a world.
    pub(crate) fn of(world: World) -> Self {
        let runtime = Runtime::new().unwrap();
        let sandbox = runtime.block_on(async {
            Sandbox::start(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap(), world).unwrap()
        });
        let endpoint = sandbox.endpoint_url();
        Self { runtime, sandbox, dir: tempfile::tempdir().unwrap(), endpoint }
    }

    /// A lab over the demo's estate, with `demo.toml` for it.
    pub(crate) fn demo() -> Self {
        let lab = Self::of(estate::demo(Clock::default()).unwrap());
        lab.write("demo.toml", &demo_config());
        lab
    }

    /// Puts something that breaks answers between the program and AWS.
    pub(crate) fn tampered(mut self, tamper: Tamper) -> Self {
        let upstream = self.sandbox.addr();
        self.endpoint = self.runtime.block_on(tamper::start(upstream, tamper));
        self
    }

    /// Changes the world.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        let world: Arc<Mutex<World>> = self.sandbox.world();
        let mut world = world.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut world)
    }

    /// Writes a file into the folder.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    /// The program, as the root of the management account, in the folder.
    pub(crate) fn keyward(&self, arguments: &[&str]) -> Command {
        let mut command = support::keyward(self.dir.path());
        command
            .args(arguments)
            .envs([("AWS_ACCESS_KEY_ID", estate::MANAGEMENT), ("AWS_SECRET_ACCESS_KEY", "test")])
            .envs([("AWS_REGION", "eu-central-1"), ("AWS_ENDPOINT_URL", &self.endpoint)]);
        command
    }

    /// Runs the program to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(&mut self.keyward(arguments))
    }

    /// Runs the daemon by a configuration, beside which the port to listen on is given. Ready when this returns.
    pub(crate) fn daemon(&self, config: &str) -> (Running, u16) {
        let port = free_port();
        let child = self
            .keyward(&["--log", "error", "run", "--config", config])
            .env("KEYWARD__HTTP__LISTEN", format!("127.0.0.1:{port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let running = Running(child);
        wait_for("the daemon is ready", PATIENCE, || {
            get(port, "/readyz").filter(|(status, _)| *status == 200)
        });
        (running, port)
    }
}

impl Ran {
    /// Runs a command to its end.
    pub(crate) fn of(command: &mut Command) -> Self {
        Self::from(command.stdin(Stdio::null()).output().unwrap())
    }

    /// What a process came to that has ended.
    pub(crate) fn from(output: Output) -> Self {
        let Output { status, stdout, stderr } = output;
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: status.code().unwrap_or(-1), out: text(stdout), err: text(stderr) }
    }

    /// What it printed, as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Asserts the exit code, and that each text is said on standard error or standard output.
    pub(crate) fn says(&self, code: i32, texts: &[&str]) {
        assert_eq!(self.code, code, "{self:#?}");
        for text in texts {
            assert!(self.err.contains(text) || self.out.contains(text), "no {text:?} in {self:#?}");
        }
    }
}

/// `keyward.toml` for the demo's estate.
pub(crate) fn demo_config() -> String {
    let mut text = format!(
        "accounts = {{ organization = true, role = '{}', external_id = '{}' }}\nregions.include = {:?}\n\
         policy = {{ approved_regions = {:?}, classification_tag = '{}' }}\nstore.url = 'sqlite:keyward.db'\n",
        estate::ROLE,
        estate::EXTERNAL_ID,
        estate::REGIONS,
        estate::REGIONS,
        estate::CLASSIFICATION_TAG,
    );
    for (class, boundary) in estate::BOUNDARIES {
        let tag = estate::CLASSIFICATION_TAG;
        text.push_str(
            &["[[residency]]\nboundary = '", boundary, "'\nmatch.tags = { ", tag, " = '", class, "' }\n"]
                .concat(),
        );
    }
    text
}
