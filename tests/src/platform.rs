//! Our platform as a real process.

use std::fs;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use volttron_utils::keys::KeyPair;

use crate::programs::{free_port, program};
use crate::wait::until;

/// A running `volttron` with a home of its own; killed when dropped.
pub struct Platform {
    home: TempDir,
    port: u16,
    /// Where the programs are; beside the test without it.
    programs: Option<PathBuf>,
    /// User and group that programs run as; those of the test without it.
    user: Option<(u32, u32)>,
    child: Option<Child>,
}

impl Platform {
    /// A home with a `config` file, nothing started yet.
    pub fn prepare() -> Self {
        Self::prepare_in(&std::env::temp_dir())
    }

    /// As [`Self::prepare`], with the home in this directory, for tests that care what kind of disk it is on.
    pub fn prepare_in(parent: &Path) -> Self {
        let home = tempfile::Builder::new().prefix("vh").tempdir_in(parent).expect("a temporary directory");
        let port = free_port();
        let mut config = format!(
            "[volttron]\nmessage-bus = zmq\nvip-address = tcp://127.0.0.1:{port}\ninstance-name = site1\n"
        );
        // Every test can be had with confined agents.
        if let Ok(mode) = std::env::var("VOLTTRON_TEST_AGENT_SANDBOX") {
            config.push_str(&format!("agent-sandbox = {mode}\n"));
        }
        fs::write(home.path().join("config"), config).expect("write config");
        Self { home, port, programs: None, user: None, child: None }
    }

    /// Adds a line to the `config` file; counts from the next start on.
    pub fn configure(&self, line: &str) {
        let path = self.home().join("config");
        let text = fs::read_to_string(&path).expect("read config");
        fs::write(path, format!("{text}{line}\n")).expect("write config");
    }

    /// Runs the programs in `dir`, not those that lie beside the test.
    pub fn use_programs_of(&mut self, dir: &Path) {
        self.programs = Some(dir.to_owned());
    }

    /// Runs everything as this user and group, whose the home becomes. Only root can.
    pub fn run_as(&mut self, uid: u32, gid: u32) {
        for path in [self.home().to_owned(), self.home().join("config")] {
            std::os::unix::fs::chown(path, Some(uid), Some(gid)).expect("give the home away");
        }
        self.user = Some((uid, gid));
    }

    /// A home prepared and started.
    pub fn start() -> Self {
        let mut platform = Self::prepare();
        platform.launch();
        platform
    }

    /// Starts `volttron` and waits until it says it is ready.
    pub fn launch(&mut self) {
        self.spawn();
        let pid = self.pid().to_string();
        let file = self.home().join("VOLTTRON_PID");
        until("VOLTTRON_PID", Duration::from_secs(30), || {
            fs::read_to_string(&file).ok().filter(|text| text.trim() == pid)
        });
    }

    /// Starts `volttron` without waiting.
    pub fn spawn(&mut self) {
        let log = self.home.path().with_extension("log");
        let child = self
            .command("volttron")
            .arg("-v")
            .arg("-l")
            .arg(&log)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("start volttron");
        self.child = Some(child);
    }

    /// A program of ours with this home and nothing else of the caller's settings.
    pub fn command(&self, name: &str) -> Command {
        let path = self.programs.as_ref().map_or_else(|| program(name), |dir| dir.join(name));
        let mut command = Command::new(path);
        command
            .env_clear()
            .env("VOLTTRON_HOME", self.home())
            .env("HOME", self.home())
            .env("PATH", std::env::var_os("PATH").unwrap_or_default());
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        command
    }

    /// Runs `vctl` to its end.
    pub fn vctl(&self, args: &[&str]) -> Output {
        self.command("vctl").args(args).stdin(Stdio::null()).output().expect("run vctl")
    }

    /// Runs `vctl --json` and parses what it prints.
    ///
    /// # Panics
    /// If it fails or prints something else.
    pub fn vctl_json(&self, args: &[&str]) -> Value {
        let output = self.vctl(&[&["--json"], args].concat());
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "vctl {args:?}: {output:?}");
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("vctl {args:?} printed {text:?}: {e}"))
    }

    /// Runs `vctl` and requires that it ends well; its standard output.
    pub fn vctl_ok(&self, args: &[&str]) -> String {
        let output = self.vctl(args);
        assert!(output.status.success(), "vctl {args:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Installs our listener and gives the result object.
    pub fn install_listener(&self, options: &[&str]) -> Value {
        let listener = program("volttron-listener").display().to_string();
        self.vctl_json(&[&["install", &listener], options].concat())
    }

    /// What `vctl status` tells of an agent.
    pub fn row(&self, identity: &str) -> Value {
        self.vctl_json(&["status"])[identity].clone()
    }

    /// Writes an entry for an agent that runs outside of the platform, as scripts do, and gives its keys.
    pub fn admit(&self, identity: &str, capabilities: &Value) -> KeyPair {
        let keys = KeyPair::generate();
        let file = self.home().join("auth.json");
        let mut auth: Value = fs::read_to_string(&file)
            .ok()
            .and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or_else(|| {
                json!({"allow": [], "deny": [], "groups": {}, "roles": {}, "version": {"major": 1, "minor": 4}})
            });
        auth["allow"].as_array_mut().expect("a list").push(json!({
            "domain": null, "address": null, "mechanism": "CURVE", "credentials": keys.public.to_string(),
            "groups": [], "roles": [], "capabilities": capabilities, "rpc_method_authorizations": {},
            "comments": "test", "user_id": identity, "identity": identity, "enabled": true
        }));
        fs::write(&file, serde_json::to_string_pretty(&auth).expect("JSON")).expect("write auth.json");
        keys
    }

    /// Home directory.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// What the platform logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.home.path().with_extension("log")).unwrap_or_default()
    }

    /// From now on the home is one that serves this port: somebody else wrote its `config`.
    pub fn serves(&mut self, port: u16) {
        self.port = port;
    }

    /// `tcp://127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        format!("tcp://127.0.0.1:{}", self.port)
    }

    /// The platform's public key.
    pub fn server_key(&self) -> String {
        public_key(&self.home().join("keystore"))
    }

    /// Process id of the running platform.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the platform was launched").id()
    }

    /// Ends the process without any warning and waits until it is gone.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Gives the running process away, so that another one can be launched in the same home.
    pub fn take_child(&mut self) -> Child {
        self.child.take().expect("the platform was launched")
    }

    /// Asks the process to end with SIGTERM and gives its exit code (negative: killed by that signal).
    pub fn terminate(&mut self) -> i32 {
        let mut child = self.child.take().expect("the platform was launched");
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("signal the platform");
        let status = child.wait().expect("wait for the platform");
        status.code().unwrap_or_else(|| -status.signal().unwrap_or(0))
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("platform log:\n{}", self.log());
        }
        if self.child.is_some() {
            self.terminate();
        }
        let _ = fs::remove_file(self.home.path().with_extension("log"));
    }
}

/// The public key in a keystore file.
pub fn public_key(keystore: &Path) -> String {
    let text = fs::read_to_string(keystore).expect("read a keystore");
    let keys: Value = serde_json::from_str(&text).expect("a keystore is JSON");
    keys["public"].as_str().expect("a keystore has a public key").to_owned()
}

/// The directory of the test sources.
pub fn sources() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
