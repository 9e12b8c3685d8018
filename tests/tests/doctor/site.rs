//! Homes to be spoilt, and what doctor says of them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use volttron_tests::platform::Platform;
use volttron_tests::programs::program;
use volttron_tests::pump::{Does, Pump};

/// What says something of the machine and not of the home: nothing can be seeded, and it may be there on any machine.
const OF_THE_MACHINE: [&str; 2] = ["VT3022", "VT3067"];

/// The home of a platform that has run, with the agents `pump` and `fan`, and stopped.
pub struct Site {
    pub platform: Platform,
    _programs: TempDir,
}

impl Site {
    pub fn stopped() -> Self {
        let programs = tempfile::tempdir().expect("a directory");
        let mut platform = Platform::start();
        let path = Pump::write(programs.path(), "1.0.0", Does::Works).display().to_string();
        for identity in ["pump", "fan"] {
            platform.vctl_json(&["install", &path, "--vip-identity", identity]);
        }
        assert_eq!(platform.terminate(), 0);
        Self { platform, _programs: programs }
    }

    /// A copy of the home, to be spoilt.
    pub fn copy(&self) -> Home {
        let parent = tempfile::Builder::new().prefix("vd").tempdir().expect("a directory");
        let path = parent.path().join("vh");
        let done = Command::new("cp").arg("-a").arg(self.platform.home()).arg(&path).status().expect("cp");
        assert!(done.success());
        Home { parent, path }
    }
}

pub struct Home {
    pub parent: TempDir,
    pub path: PathBuf,
}

impl Home {
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.file(name)).expect("read")
    }

    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.file(name), text).expect("write");
    }

    pub fn edit_json(&self, name: &str, change: impl FnOnce(&mut Value)) {
        let mut value: Value = serde_json::from_str(&self.read(name)).expect("JSON");
        change(&mut value);
        self.write(name, &value.to_string());
    }

    pub fn configure(&self, line: &str) {
        self.write("config", &format!("{}{line}\n", self.read("config")));
    }

    pub fn vctl(&self) -> Command {
        let mut vctl = Command::new(program("vctl"));
        vctl.env_clear().env("HOME", &self.path).env("VOLTTRON_HOME", &self.path).stdin(Stdio::null());
        vctl.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        vctl
    }

    pub fn doctor(&self, args: &[&str]) -> Value {
        findings_of(self.vctl().args(["--json", "doctor"]).args(args))
    }
}

/// Runs doctor and checks that exit code and level agree.
pub fn findings_of(command: &mut Command) -> Value {
    let output = command.output().expect("run vctl");
    let text = String::from_utf8_lossy(&output.stdout);
    let value: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{text}: {e}: {output:?}"));
    let code = match value["level"].as_str() {
        Some("ok" | "hint") => 0,
        Some("warning") => 1,
        Some("fault") => 2,
        other => panic!("{other:?}"),
    };
    assert_eq!(output.status.code(), Some(code), "{value}");
    value
}

/// The findings that are about the home.
pub fn own(diagnosis: &Value) -> Vec<Value> {
    let all = diagnosis["findings"].as_array().expect("a list");
    let own = |f: &&Value| !OF_THE_MACHINE.iter().any(|code| f["code"] == *code);
    all.iter().filter(own).cloned().collect()
}

/// Requires the finding, with these parts in what is said and in the cure.
pub fn require(diagnosis: &Value, code: &str, level: &str, what: &[&str], fix: &str) {
    let found: Vec<Value> = own(diagnosis).into_iter().filter(|f| f["code"] == code).collect();
    let fits = found.iter().any(|f| {
        let text = f["what"].as_str().expect("text");
        f["level"] == level
            && what.iter().all(|part| text.contains(part))
            && f["fix"].as_str().expect("a command").contains(fix)
            && !f["why"].as_str().expect("text").is_empty()
    });
    assert!(fits, "{level} {code} with {what:?} and {fix:?}: {diagnosis:#}");
}

pub type Seed = fn(&Home);

pub fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
}

pub fn exec(home: &Home) -> PathBuf {
    home.file("bin/pump-1.0.0/bin/pump")
}

pub fn edit_entry(home: &Home, change: impl FnOnce(&mut Value)) {
    home.edit_json("auth.json", |auth| {
        let entries = auth["allow"].as_array_mut().expect("a list");
        change(entries.iter_mut().find(|e| e["identity"] == "pump").expect("its entry"));
    });
}

/// A second entry made from that of pump.
pub fn duplicate(home: &Home, change: impl FnOnce(&mut Value)) {
    home.edit_json("auth.json", |auth| {
        let entries = auth["allow"].as_array_mut().expect("a list");
        let mut copy = entries.iter().find(|e| e["identity"] == "pump").expect("its entry").clone();
        change(&mut copy);
        entries.push(copy);
    });
}

/// A shell where a user of this home pastes what doctor proposes; questions are answered with yes.
pub fn paste(home: &Path, fix: &str) -> Output {
    let programs = program("vctl").parent().expect("a directory").to_owned();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap_or_default());
    let mut shell = Command::new("sh");
    shell.env_clear().env("PATH", path).env("VOLTTRON_HOME", home).env("HOME", home).stdin(Stdio::null());
    shell.arg("-c").arg(format!("yes | {fix}")).output().expect("sh")
}

/// The cures of these findings, in order.
pub fn fixes(findings: &[Value]) -> Vec<&str> {
    findings.iter().map(|f| f["fix"].as_str().expect("a command")).collect()
}
