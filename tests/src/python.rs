//! Real Python peers: agents of the stock client library and the platform `volttron` 10.0.5rc4.

use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use volttron_utils::keys::KeyPair;

use crate::lines::Lines;
use crate::platform::{public_key, sources};
use crate::programs::free_port;
use crate::wait::until;

/// The interpreter with the peers, or `None` after saying loudly that the test is left out.
///
/// # Panics
/// If peers are required, as in `cargo xtask test`.
pub fn interpreter() -> Option<PathBuf> {
    if let Some(python) = std::env::var_os("VOLTTRON_TEST_PYTHON") {
        return Some(python.into());
    }
    assert!(std::env::var_os("VOLTTRON_TEST_REQUIRE_PEERS").is_none(), "VOLTTRON_TEST_PYTHON is not set");
    eprintln!("LEFT OUT: this test needs Python peers; run it through `cargo xtask test`");
    None
}

const PATIENCE: Duration = Duration::from_secs(30);

/// An agent of the stock Python client library in a process of its own.
pub struct PythonAgent {
    child: Child,
    commands: ChildStdin,
    lines: Lines,
    number: u64,
    _home: TempDir,
}

impl PythonAgent {
    /// Starts the agent and waits until it is connected.
    pub fn start(python: &Path, identity: &str, address: &str, server_key: &str, keys: &KeyPair) -> Self {
        let mut agent = Self::spawn(python, identity, address, server_key, keys);
        agent.lines.expect("the Python agent to connect", PATIENCE, |line| line["event"] == "ready");
        agent
    }

    /// As [`Self::start`], but none if it does not connect.
    pub fn try_start(
        python: &Path,
        identity: &str,
        address: &str,
        server_key: &str,
        keys: &KeyPair,
    ) -> Option<Self> {
        let mut agent = Self::spawn(python, identity, address, server_key, keys);
        agent.lines.wait(PATIENCE, |line| line["event"] == "ready").is_some().then_some(agent)
    }

    /// Starts the agent without waiting.
    pub fn spawn(python: &Path, identity: &str, address: &str, server_key: &str, keys: &KeyPair) -> Self {
        let home = tempfile::tempdir().expect("a temporary directory");
        let mut child = Command::new(python)
            .arg(sources().join("interop/python_agent.py"))
            .args([identity, address, server_key])
            .args([keys.public.to_string(), keys.secret.reveal().to_string()])
            .env("VOLTTRON_HOME", home.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("start the Python agent");
        let commands = child.stdin.take().expect("piped");
        let lines = Lines::new(child.stdout.take().expect("piped"));
        Self { child, commands, lines, number: 0, _home: home }
    }

    /// Gives a command and waits for its answer: `Ok(value)` or `Err(error object)`.
    pub fn ask(&mut self, verb: &str, arguments: Value) -> Result<Value, Value> {
        self.number += 1;
        let number = self.number;
        let mut command = json!({"n": number, "do": verb});
        if let (Some(all), Value::Object(more)) = (command.as_object_mut(), arguments) {
            all.extend(more);
        }
        writeln!(self.commands, "{command}").expect("the Python agent reads commands");
        let answer = self.lines.expect(verb, PATIENCE, |line| line["n"] == number);
        match answer.get("ok") {
            Some(value) => Ok(value.clone()),
            None => Err(answer["error"].clone()),
        }
    }

    /// Calls a method of another agent.
    pub fn call(&mut self, peer: &str, method: &str, args: Value) -> Result<Value, Value> {
        self.ask("call", json!({"peer": peer, "method": method, "args": args}))
    }

    /// Waits for something the agent reports by itself.
    pub fn event(&mut self, kind: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        self.lines.expect(kind, PATIENCE, |line| line["event"] == kind && wanted(line))
    }

    /// Everything of one kind that the agent has reported so far and nobody has asked for.
    pub fn events(&mut self, kind: &str) -> Vec<Value> {
        self.lines.drain(|line| line["event"] == kind)
    }

    /// Lets the agent end as agents do, saying goodbye to the router.
    pub fn stop(mut self) {
        writeln!(self.commands, r#"{{"n": 0, "do": "stop"}}"#).expect("the Python agent reads commands");
        self.lines.expect("the Python agent to stop", PATIENCE, |line| line["event"] == "stopped");
    }
}

impl Drop for PythonAgent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The Python platform in a process of its own.
pub struct PythonPlatform {
    python: PathBuf,
    home: TempDir,
    port: u16,
    child: Child,
}

impl PythonPlatform {
    /// Starts it with entries for these agents (identity, public key, capabilities) and waits until it is ready.
    pub fn start(python: &Path, agents: &[(&str, &KeyPair, Value)]) -> Self {
        Self::start_with(python, |vh| {
            fs::write(vh.join("auth.json"), auth_file(agents).to_string()).expect("write auth.json");
        })
    }

    /// Starts it with what `furnish` puts into its home, `auth.json` among it, and waits until it is ready.
    pub fn start_with(python: &Path, furnish: impl FnOnce(&Path)) -> Self {
        let home = tempfile::Builder::new().prefix("py").tempdir().expect("a temporary directory");
        let port = free_port();
        let vh = home.path().join("vh");
        fs::create_dir(&vh).expect("make the home");
        let config = format!(
            "[volttron]\nmessage-bus = zmq\nvip-address = tcp://127.0.0.1:{port}\ninstance-name = v10\n"
        );
        fs::write(vh.join("config"), config).expect("write config");
        furnish(&vh);
        let child = launch(python, home.path(), &vh);
        let platform = Self { python: python.to_owned(), home, port, child };
        until("the Python platform", Duration::from_secs(60), || {
            platform.vh().join("VOLTTRON_PID").exists().then_some(())
        });
        platform
    }

    /// Its VOLTTRON_HOME.
    pub fn vh(&self) -> PathBuf {
        self.home.path().join("vh")
    }

    /// A program of the system that finds the platform's tools first on its PATH, and runs as the platform's user.
    pub fn command(&self, program: &str) -> Command {
        let bin = self.python.parent().expect("an interpreter lies in a directory");
        as_user(Path::new(program), bin, self.home.path(), &self.vh())
    }

    /// A new directory that the platform's user may write to.
    pub fn directory(&self, name: &str) -> PathBuf {
        let path = self.home.path().join(name);
        fs::create_dir(&path).expect("make a directory");
        if rustix::process::geteuid().is_root() {
            hand_over(&path, NOBODY);
        }
        path
    }

    /// Lets it stop as its operator does, and waits until it has.
    pub fn stop(&mut self) {
        let _ = self.command("vctl").args(["shutdown", "--platform"]).output().expect("run vctl");
        until("the Python platform to end", Duration::from_secs(60), || {
            (!self.is_running() && !self.vh().join("VOLTTRON_PID").exists()).then_some(())
        });
    }

    /// Starts it again in its home, and waits until it is ready.
    pub fn start_again(&mut self) {
        self.child = launch(&self.python, self.home.path(), &self.vh());
        until("the Python platform", Duration::from_secs(60), || {
            self.vh().join("VOLTTRON_PID").exists().then_some(())
        });
    }

    /// The port it serves.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// False once it has ended by itself.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// `tcp://127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        format!("tcp://127.0.0.1:{}", self.port)
    }

    /// The platform's public key.
    pub fn server_key(&self) -> String {
        public_key(&self.vh().join("keystore"))
    }
}

impl Drop for PythonPlatform {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = fs::read_to_string(self.home.path().join("log")).unwrap_or_default();
            eprintln!("log of the Python platform:\n{log}");
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn auth_file(agents: &[(&str, &KeyPair, Value)]) -> Value {
    let entries: Vec<Value> = agents
        .iter()
        .map(|(identity, keys, capabilities)| {
            json!({
                "domain": null, "address": null, "mechanism": "CURVE", "credentials": keys.public.to_string(),
                "groups": [], "roles": [], "capabilities": capabilities, "rpc_method_authorizations": {},
                "comments": null, "user_id": identity, "identity": identity, "enabled": true
            })
        })
        .collect();
    json!({"allow": entries, "deny": [], "groups": {}, "roles": {}, "version": {"major": 1, "minor": 3}})
}

/// Starts the platform.
fn launch(python: &Path, home: &Path, vh: &Path) -> Child {
    if rustix::process::geteuid().is_root() {
        hand_over(home, NOBODY);
    }
    let bin = python.parent().expect("an interpreter lies in a directory");
    let mut command = as_user(&bin.join("volttron"), bin, home, vh);
    command.arg("-l").arg(home.join("log")).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("start the Python platform")
}

const NOBODY: u32 = 65534;

/// A program with the environment of the peers; as an ordinary user where this test runs as root: the platform and its
/// tools refuse to run as root.
fn as_user(program: &Path, bin: &Path, home: &Path, vh: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("HOME", home)
        .env("VOLTTRON_HOME", vh)
        .env("VIRTUAL_ENV", bin.parent().expect("an environment"))
        .env("IGNORE_ENV_CHECK", "1")
        // It reads what pip prints, and knows only what pip prints without settings.
        .env("PIP_CONFIG_FILE", "/dev/null")
        .env("PATH", format!("{}:/usr/bin:/bin", bin.display()))
        .current_dir(home)
        .stdin(Stdio::null());
    if rustix::process::geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

/// Makes `user` the owner of a directory and all in it.
fn hand_over(path: &Path, user: u32) {
    std::os::unix::fs::chown(path, Some(user), Some(user)).expect("hand the home over");
    if path.is_dir() {
        for entry in fs::read_dir(path).expect("list the home") {
            hand_over(&entry.expect("list the home").path(), user);
        }
    }
}
