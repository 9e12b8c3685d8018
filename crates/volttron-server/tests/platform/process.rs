//! A platform of its own for each test: temporary home, free loopback port, killed when dropped.

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use volttron_client::link::zmq::ZmqConnector;
use volttron_client::{ConnectOptions, Connection};
use volttron_utils::keys::{KeyPair, PublicKey, keystore};

/// Long enough that only a hang reaches it.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Counts the connections of the tool, for their names.
static ADMINS: AtomicU32 = AtomicU32::new(0);

/// Repeats a look until it finds something.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

pub struct Volttron {
    dir: TempDir,
    pub port: u16,
    child: Option<Child>,
}

impl Volttron {
    /// A home with a configuration that names the port; nothing started.
    pub fn prepare() -> Self {
        Self::prepare_with("")
    }

    /// With more lines for the configuration.
    pub fn prepare_with(config: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("vh").tempdir().unwrap();
        let port = free_port();
        let own = Self { dir, port, child: None };
        fs::create_dir(own.home()).unwrap();
        let text = format!(
            "[volttron]\n# by a test\nvip-address = tcp://127.0.0.1:{port}\ninstance-name = \"site1\"\n{config}"
        );
        fs::write(own.home().join("config"), text).unwrap();
        own
    }

    /// A running platform.
    pub fn start() -> Self {
        let mut own = Self::prepare();
        own.launch(&[]);
        own
    }

    pub fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.home().join(name)
    }

    pub fn log_path(&self) -> PathBuf {
        self.dir.path().join("v.log")
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    pub fn stderr(&self) -> String {
        fs::read_to_string(self.dir.path().join("stderr")).unwrap_or_default()
    }

    /// The program with this home and none of the caller's settings.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_volttron"));
        command
            .args(args)
            .env_clear()
            .env("VOLTTRON_HOME", self.home())
            .env("HOME", self.dir.path())
            .stdin(Stdio::null());
        command
    }

    /// Runs it to an end that is expected to come by itself.
    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Starts it without waiting.
    pub fn spawn(&mut self, args: &[&str]) -> u32 {
        let stderr = File::create(self.dir.path().join("stderr")).unwrap();
        let log = format!("-l{}", self.log_path().display());
        let child =
            self.command(&["-v", &log]).args(args).stdout(Stdio::null()).stderr(stderr).spawn().unwrap();
        let pid = child.id();
        self.child = Some(child);
        pid
    }

    /// Starts it and waits until it says that it is ready.
    pub fn launch(&mut self, args: &[&str]) {
        let pid = self.spawn(args);
        self.wait_ready(pid);
    }

    pub fn wait_ready(&mut self, pid: u32) {
        until("VOLTTRON_PID", || {
            let child = self.child.as_mut()?;
            if let Some(status) = child.try_wait().unwrap() {
                panic!(
                    "volttron ended with {status}: {}",
                    fs::read_to_string(self.dir.path().join("stderr")).unwrap()
                );
            }
            fs::read_to_string(self.home().join("VOLTTRON_PID")).ok().filter(|t| *t == pid.to_string())
        });
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("launched").id()
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.pid().cast_signed()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Hands the process over, so that another can be started.
    pub fn take(&mut self) -> Child {
        self.child.take().expect("launched")
    }

    /// Waits for the end; the exit code, or minus the signal.
    pub fn wait(&mut self) -> i32 {
        let mut child = self.child.take().expect("launched");
        let status = until("the end of volttron", || child.try_wait().unwrap());
        status.code().unwrap_or_else(|| -status.signal().unwrap_or_default())
    }

    pub fn kill(&mut self) {
        self.signal(rustix::process::Signal::KILL);
        assert_eq!(self.wait(), -9);
    }

    pub fn address(&self) -> String {
        format!("tcp://127.0.0.1:{}", self.port)
    }

    pub fn server_key(&self) -> PublicKey {
        keystore::load(&self.file("keystore")).unwrap().public
    }

    pub fn connector(&self, keys: Option<KeyPair>) -> ZmqConnector {
        let connector = ZmqConnector::new(self.address().parse().unwrap()).unwrap();
        match keys {
            Some(keys) => connector.keys(keys).serverkey(self.server_key()),
            None => connector,
        }
    }

    /// The command line tool's connection.
    pub async fn admin(&self) -> Connection {
        let keys = keystore::load(&self.file("keystores/control.connection/keystore.json")).unwrap();
        // A name of its own each time, as the tool does: an earlier connection may still be trying to come back.
        let identity = format!("control.connection.{}", ADMINS.fetch_add(1, Ordering::Relaxed));
        self.connect(&identity, Some(keys)).await
    }

    pub async fn connect(&self, identity: &str, keys: Option<KeyPair>) -> Connection {
        let options = ConnectOptions::new(self.connector(keys)).identity(identity).timeout(PATIENCE);
        Connection::open(options).await.unwrap()
    }

    /// Installs a shell script as an enabled agent.
    pub fn install_script(&self, identity: &str, script: &str) {
        let dir = self.file(&format!("agents/{identity}"));
        fs::create_dir_all(dir.join("data")).unwrap();
        let manifest = serde_json::json!({
            "format": 1, "package": "script", "version": "1", "exec": "/bin/sh", "args": ["-c", script], "runtime": "native"
        });
        for (name, text) in [
            ("UUID", format!("00000000-0000-4000-8000-{:012}", identity.len())),
            ("NAME", "script-1".to_owned()),
            ("AUTOSTART", "50".to_owned()),
            ("config", "{}".to_owned()),
            ("agent.json", manifest.to_string()),
        ] {
            fs::write(dir.join(name), text).unwrap();
        }
        keystore::load_or_create(&dir.join("keystore.json")).unwrap();
    }

    /// Writes an auth entry for an agent of its own, before the start.
    pub fn admit(&self, identity: &str, capabilities: &Value) -> KeyPair {
        let keys = KeyPair::generate();
        let entry = serde_json::json!({
            "domain": null, "address": null, "mechanism": "CURVE", "credentials": keys.public.to_string(),
            "groups": [], "roles": [], "capabilities": capabilities, "rpc_method_authorizations": {},
            "comments": null, "user_id": identity, "identity": identity, "enabled": true
        });
        let mut file = fs::read(self.file("auth.json")).map_or_else(
            |_| {
                let version = serde_json::json!({"major": 1, "minor": 4});
                serde_json::json!({"allow": [], "deny": [], "groups": {}, "roles": {}, "version": version})
            },
            |bytes| serde_json::from_slice(&bytes).unwrap(),
        );
        file["allow"].as_array_mut().unwrap().push(entry);
        fs::write(self.file("auth.json"), file.to_string()).unwrap();
        keys
    }
}

impl Drop for Volttron {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

pub fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}
