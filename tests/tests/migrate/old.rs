//! A home as a 9.x platform leaves it, made of files (home.md), and what a test needs to look at homes.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;
use volttron_tests::platform::sources;
use volttron_tests::programs::program;
use volttron_utils::keys::KeyPair;

/// The agent of the home, by uuid and by name.
pub const UUID: &str = "914be0d1-142a-4018-a4b5-91f6af75a296";
pub const NAME: &str = "echoclassicagent-3.7";

/// The home, and room beside it for another one.
pub struct Old {
    pub dir: TempDir,
    pub agent_keys: KeyPair,
    pub operator: KeyPair,
}

impl Old {
    /// Everything a home of 9.x has, with one agent.
    pub fn make(port: u16) -> Self {
        let dir = tempfile::Builder::new().prefix("mig").tempdir().expect("a directory");
        let old = Self { dir, agent_keys: KeyPair::generate(), operator: KeyPair::generate() };
        let config = format!(
            "[volttron]\nmessage-bus = zmq\nvip-address = tcp://127.0.0.1:{port}\ninstance-name = nine\n\
             agent-monitor-frequency = 600\nold-option = 1\n"
        );
        old.write("config", &config);
        for name in
            ["keystore", "keystores/control.connection/keystore.json", "keystores/control/keystore.json"]
        {
            old.write(name, &keystore(&KeyPair::generate()));
        }
        old.write("known_hosts", "{\n    \"@\": \"pU3b6KfN0yVt8qXw1ZsLr5DdGhJ2mAc9EeTiOoPkB4s\"\n}");
        let rules = json!({
            "allow": [
                entry("old.agent", &old.agent_keys, &json!({"edit_config_store": {"identity": "old.agent"}})),
                entry("operator", &old.operator, &json!({"probe_secret": null})),
            ],
            "deny": [], "groups": {"g": ["r"]}, "roles": {"r": ["may"]}, "version": {"major": 1, "minor": 2}
        });
        old.write("auth.json", &rules.to_string());
        old.write(
            "protected_topics.json",
            r#"{"write-protect": [{"topic": "guarded", "capabilities": ["may"]}]}"#,
        );
        let store = json!({
            "config": {"type": "json", "modified": "2025-06-02T09:14:07.120000+00:00", "data": "{\"n\": 1 } # as typed\n"},
            "reg/a.csv": {"type": "csv", "modified": "2025-06-02T09:14:07.120000+00:00", "data": "P,U\nFan,on\n"},
            "note": {"type": "raw", "modified": null, "data": "\u{e9} free"}
        });
        old.write("configuration_store/old.agent.store", &store.to_string());
        old.write("certificates/certs/nine-root-ca.crt", "a certificate");
        old.write("rabbitmq_config.yml", "host: x\n");
        old.write("web-users.json", "{}");
        old.write("VOLTTRON_PID", "999999999");
        old.agent();
        old
    }

    fn agent(&self) {
        let package = format!("agents/{UUID}/{NAME}");
        let info = format!("{package}/{NAME}.dist-info");
        let code = sources().join("agents/classic/echo_classic");
        let mut record = String::new();
        for file in ["__init__.py", "agent.py"] {
            let text = fs::read_to_string(code.join(file)).expect("the agent's code");
            self.write(&format!("{package}/echo_classic/{file}"), &text);
            record.push_str(&format!("echo_classic/{file},,\n"));
        }
        let keys = keystore(&self.agent_keys);
        let data = format!("{package}/{NAME}.agent-data");
        for (path, text) in [
            (format!("agents/{UUID}/IDENTITY"), "old.agent"),
            (format!("agents/{UUID}/AUTOSTART"), "40"),
            (format!("agents/{UUID}/TAG"), "hall"),
            (
                format!("{info}/entry_points.txt"),
                "[setuptools.installation]\neggsecutable = echo_classic.agent:main\n",
            ),
            (format!("{info}/METADATA"), "Metadata-Version: 2.1\nName: echoclassicagent\nVersion: 3.7\n"),
            (
                format!("{info}/WHEEL"),
                "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            ),
            (format!("{info}/RECORD"), record.as_str()),
            (format!("{info}/config"), "{\"room\": \"cellar\"} # as given"),
            (format!("{info}/keystore.json"), keys.as_str()),
            (format!("{data}/notes/a.txt"), "kept"),
            (format!("{package}/beside.db"), "of an older release"),
        ] {
            self.write(&path, text);
        }
        self.history(&format!("{data}/platform.historian.sqlite"), 250);
        self.crashed_history(&format!("{data}/crashed.sqlite"));
    }

    /// A history with this many readings.
    pub fn history(&self, path: &str, rows: usize) {
        let mut db = Connection::open(self.path().join(path)).expect("a database");
        db.execute_batch(
            "CREATE TABLE data (ts timestamp NOT NULL, topic_id INTEGER NOT NULL, value_string TEXT NOT NULL, UNIQUE(topic_id, ts));
             CREATE TABLE topics (topic_id INTEGER PRIMARY KEY, topic_name TEXT NOT NULL, metadata TEXT, UNIQUE(topic_name));
             INSERT INTO topics VALUES (1, 'campus/b1/rtu/Count', NULL);",
        )
        .expect("tables");
        let all = db.transaction().expect("a transaction");
        for n in 0..rows {
            let at =
                format!("2025-01-{:02}T{:02}:{:02}:00.000000+00:00", 1 + n / 1440 % 28, n / 60 % 24, n % 60);
            all.execute("INSERT OR REPLACE INTO data VALUES (?1, 1, ?2)", (at, n.to_string()))
                .expect("a row");
        }
        all.commit().expect("committed");
    }

    /// A history as a crash leaves it: 10 readings in the database, 3 more in its log.
    fn crashed_history(&self, path: &str) {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("h");
        self.history("h.sqlite", 10);
        fs::rename(self.path().join("h.sqlite"), &file).expect("move it");
        let db = Connection::open(&file).expect("a database");
        db.pragma_update(None, "journal_mode", "WAL").expect("a log");
        for n in 0..3 {
            db.execute("INSERT INTO data VALUES (?1, 1, 'x')", [format!("2026-01-0{}", n + 1)])
                .expect("a row");
        }
        for end in ["", "-wal"] {
            let from = dir.path().join(format!("h{end}"));
            fs::copy(from, self.path().join(format!("{path}{end}"))).expect("copy it");
        }
    }

    /// The old home.
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("old")
    }

    /// The new one.
    pub fn new_home(&self) -> PathBuf {
        self.dir.path().join("new")
    }

    /// Writes a file of the home.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().expect("a directory")).expect("make a directory");
        fs::write(&path, text).expect("write a file");
        if path.ends_with("keystore") || path.ends_with("keystore.json") {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("protect a key");
        }
    }

    /// `vctl migrate` from this home to the new one.
    pub fn migrate(&self, options: &[&str]) -> Output {
        let (old, new) = (self.path().display().to_string(), self.new_home().display().to_string());
        run(self.dir.path(), &[&["--json", "migrate", &old, "--to", &new], options].concat())
    }

    /// As [`Self::migrate`], with what it prints.
    pub fn migrated(&self, options: &[&str]) -> Value {
        let output = self.migrate(options);
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    /// `vctl migrate --undo` of the new home.
    pub fn undo(&self, options: &[&str]) -> Output {
        let new = self.new_home().display().to_string();
        run(self.dir.path(), &[&["--json", "migrate", "--undo", "--to", &new], options].concat())
    }

    /// Names of what lies beside the homes.
    pub fn beside(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.dir.path())
            .expect("a directory")
            .flatten()
            .map(|e| e.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

/// Runs `vctl` with `home` as HOME and no VOLTTRON_HOME.
pub fn run(home: &Path, words: &[&str]) -> Output {
    command(home).args(words).output().expect("run vctl")
}

/// `vctl`, nothing else of the test's settings with it.
pub fn command(home: &Path) -> Command {
    let mut command = Command::new(program("vctl"));
    command.env_clear().env("HOME", home).env("PATH", "/usr/bin:/bin").stdin(Stdio::null());
    command
}

/// Requires a failure with this code, and gives what it said.
pub fn fails(output: &Output, code: &str) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{output:?}");
    assert!(said.contains(&format!("\"code\":\"{code}\"")), "{code}: {said}");
    said
}

/// Text of a keystore.
pub fn keystore(keys: &KeyPair) -> String {
    json!({"public": keys.public.to_string(), "secret": keys.secret.reveal().to_string()}).to_string()
}

fn entry(identity: &str, keys: &KeyPair, capabilities: &Value) -> Value {
    json!({
        "domain": null, "address": null, "mechanism": "CURVE", "credentials": keys.public.to_string(), "groups": [],
        "roles": [], "capabilities": capabilities, "comments": null, "user_id": identity, "enabled": true
    })
}

/// Everything of a directory that can be told: kind, mode, owner, time, contents.
pub fn snapshot(dir: &Path) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    look(dir, dir, &mut all);
    all
}

fn look(root: &Path, dir: &Path, all: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(dir).expect("a directory").flatten() {
        let path = entry.path();
        let meta = fs::symlink_metadata(&path).expect("a file");
        let what = if meta.is_symlink() {
            format!("{:?}", fs::read_link(&path).expect("a link"))
        } else if meta.is_file() {
            String::from_utf8_lossy(&fs::read(&path).expect("a file")).into_owned()
        } else {
            String::new()
        };
        let state = format!("{:o} {} {}.{} {what}", meta.mode(), meta.uid(), meta.mtime(), meta.mtime_nsec());
        all.insert(path.strip_prefix(root).expect("below").display().to_string(), state);
        if meta.is_dir() {
            look(root, &path, all);
        }
    }
}

/// The item of a report.
pub fn item<'a>(report: &'a Value, kind: &str, name: &str) -> &'a Value {
    let items = report["items"].as_array().expect("items");
    let found = items.iter().find(|i| i["kind"] == kind && i["name"] == name);
    found.unwrap_or_else(|| panic!("no {kind} {name}: {report:#}"))
}

/// Requires that a document is what the published schema says under this name.
pub fn matches_the_schema(document: &Value, part: &str) {
    let file = sources().join("../docs/vctl-json-1.schema.json");
    let mut schema: Value =
        serde_json::from_str(&fs::read_to_string(file).expect("the schema")).expect("JSON");
    schema["$ref"] = format!("#/$defs/{part}").into();
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let errors: Vec<String> =
        validator.iter_errors(document).map(|e| format!("{}: {e}", e.instance_path())).collect();
    assert_eq!(errors, Vec::<String>::new(), "{document:#}");
}
