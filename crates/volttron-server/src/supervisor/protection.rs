//! What an agent is kept from: the platform's `agent-sandbox`, and `sandbox` in the agent's `agent.json`; and its limits.
//!
//! ```json
//! "sandbox": {"mode": "require", "read": ["/opt/maps"], "write": ["/dev/ttyUSB0"], "connect_tcp": [502]}
//! ```
//!
//! A confined agent reads the system, its programs and its own directory, and writes `data` and `tmp` there.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use volttron_utils::files;
use volttron_utils::home::Home;

use super::cgroup::settings;
use super::credentials;
use super::environment::PlatformFacts;
use super::installed::{InstalledAgent, Runtime};
use super::launcher::LaunchSpec;
use super::limits::Limits;
use super::python;
use crate::isolation::sandbox::{Sandbox, Support};

/// Whether agents are confined.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum SandboxMode {
    /// They may do what their user may.
    #[default]
    Off,
    /// As far as the kernel can.
    On,
    /// Fully, or they are not started.
    Require,
}

/// `sandbox` in `agent.json`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wishes {
    mode: Option<SandboxMode>,
    #[serde(default)]
    read: Vec<PathBuf>,
    #[serde(default)]
    write: Vec<PathBuf>,
    connect_tcp: Option<Vec<u16>>,
}

/// What is in force for a running agent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Protection {
    /// What was asked for.
    pub sandbox: SandboxMode,
    /// Version of Landlock that keeps it to its files; 0 if none does.
    pub landlock_abi: i32,
    /// System calls that no agent needs are refused.
    pub calls_refused: bool,
    /// Ports it may connect to over TCP; all if there is no list.
    pub connect_tcp: Option<Vec<u16>>,
    /// Limits that hold.
    pub limits: Limits,
    /// Directory of its control group.
    pub cgroup: Option<PathBuf>,
    /// What was asked for and cannot be had here.
    pub missing: Vec<String>,
}

impl Protection {
    /// One line for the log; none if nothing was asked for.
    pub fn describe(&self) -> Option<String> {
        let mut parts = Vec::new();
        if self.sandbox != SandboxMode::Off {
            match self.landlock_abi {
                0 => {}
                abi => parts.push(format!("kept to its files (Landlock {abi})")),
            }
            if let Some(ports) = self.connect_tcp.as_ref().filter(|_| self.landlock_abi != 0) {
                parts.push(format!("TCP to {ports:?} only"));
            }
            if self.calls_refused {
                parts.push("refused system calls it does not need".to_owned());
            }
            if parts.is_empty() {
                parts.push("not confined".to_owned());
            }
        }
        parts.extend(settings(&self.limits).into_iter().map(|(_, file, value)| format!("{file} = {value}")));
        parts.extend(self.missing.iter().map(|what| format!("missing: {what}")));
        (!parts.is_empty()).then(|| parts.join("; "))
    }
}

/// What every process of this machine may read. The rights of its user count all the same.
const SYSTEM: [&str; 12] = [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/nix/store",
    "/etc",
    "/proc",
    "/sys",
    // What /etc/resolv.conf is a link into.
    "/run/systemd/resolve",
];
/// Devices that are no devices.
const DEVICES: [&str; 5] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];

/// Adds to `spec` what the agent is to be kept from, or says why it is not started. May wait for what an earlier process
/// left behind to end.
pub(super) fn protect(
    spec: &mut LaunchSpec,
    home: &Home,
    facts: &PlatformFacts,
    agent: &InstalledAgent,
) -> Result<(), String> {
    confine(spec, home, facts, agent)?;
    limit(spec, facts, agent)
}

fn limit(spec: &mut LaunchSpec, facts: &PlatformFacts, agent: &InstalledAgent) -> Result<(), String> {
    let limits = Limits::of(agent, &facts.limits)?;
    let mut missing = Vec::new();
    if let Some(groups) = &facts.groups {
        let (group, kept, not_kept) = groups.make(&agent.identity, &limits)?;
        spec.protection.limits = kept;
        spec.protection.cgroup = Some(group.path().to_owned());
        spec.group = Some(group);
        missing = not_kept;
    } else {
        let without = settings(&limits).into_iter();
        missing.extend(without.map(|(_, file, value)| format!("{file} = {value} (agent-cgroup is not set)")));
    }
    // A user of its own can be counted instead, threads too, as a group does.
    if limits.pids_max.is_some() && spec.protection.limits.pids_max.is_none() && spec.isolated.is_some() {
        spec.max_processes = limits.pids_max;
        spec.protection.limits.pids_max = limits.pids_max;
        missing.retain(|what| !what.starts_with("pids.max"));
    }
    if limits.require && !missing.is_empty() {
        if let Some(group) = &spec.group {
            let _ = group.end();
        }
        return Err(format!("its limits are required, and cannot be kept: {}", missing.join(", ")));
    }
    spec.protection.missing.extend(missing);
    Ok(())
}

fn confine(
    spec: &mut LaunchSpec,
    home: &Home,
    facts: &PlatformFacts,
    agent: &InstalledAgent,
) -> Result<(), String> {
    let wishes = wishes(agent)?;
    let mode = wishes.mode.unwrap_or(facts.sandbox);
    if mode == SandboxMode::Off {
        return Ok(());
    }
    let support = Support::of_this_kernel();
    let missing = support.missing(wishes.connect_tcp.is_some());
    if mode == SandboxMode::Require && !missing.is_empty() {
        return Err(format!(
            "it is to be confined (sandbox `require`), and this machine lacks {}; with `on` it is started with what \
             there is",
            missing.join(" and ")
        ));
    }
    // Ports are known to later versions than files.
    let knows_ports = Support { calls: true, ..support }.missing(true).is_empty();
    let connect_tcp = wishes.connect_tcp.clone().filter(|_| knows_ports).map(|mut ports| {
        ports.extend(tcp_port(&facts.vip_address));
        ports
    });
    spec.sandbox = Some(sandbox(spec, home, agent, &wishes, connect_tcp.clone(), support)?);
    spec.protection = Protection {
        sandbox: mode,
        landlock_abi: support.landlock_abi,
        calls_refused: support.calls,
        connect_tcp,
        missing,
        ..Protection::default()
    };
    Ok(())
}

fn wishes(agent: &InstalledAgent) -> Result<Wishes, String> {
    let said = agent.manifest.as_ref().and_then(|manifest| manifest.other.get("sandbox"));
    let Some(said) = said else { return Ok(Wishes::default()) };
    let wishes = Wishes::deserialize(said).map_err(|e| format!("`sandbox` in its agent.json: {e}"))?;
    match wishes.read.iter().chain(&wishes.write).find(|path| !path.is_absolute()) {
        Some(path) => Err(format!("`sandbox` in its agent.json: {} is not an absolute path", path.display())),
        None => Ok(wishes),
    }
}

fn sandbox(
    spec: &mut LaunchSpec,
    home: &Home,
    agent: &InstalledAgent,
    wishes: &Wishes,
    connect_tcp: Option<Vec<u16>>,
    support: Support,
) -> Result<Sandbox, String> {
    let tmp = fresh_tmp(agent.dir.path())
        .map_err(|e| format!("cannot empty its directory for temporary files: {e}"))?;
    spec.set.push(("TMPDIR".to_owned(), tmp.clone().into()));
    let data = spec.set.iter().rev().find(|(name, _)| name == "AGENT_DATA_DIR");
    let data = data.map_or_else(|| agent.dir.data(), |(_, path)| path.into());
    let mut read: Vec<PathBuf> = SYSTEM.iter().map(PathBuf::from).collect();
    read.extend([
        spec.exec.clone(),
        home.path().join("bin"),
        agent.dir.path().to_owned(),
        // Paths of the older layout.
        home.agents().join(&agent.uuid),
        home.config_file(),
        home.known_hosts(),
        home.certificates().join("certs"),
    ]);
    if agent.manifest.as_ref().is_none_or(|manifest| manifest.runtime == Runtime::Python) {
        read.extend(python::packages(&spec.exec));
    }
    read.extend(credentials::without_secret(home));
    read.extend(wishes.read.iter().cloned());
    let mut write: Vec<PathBuf> = DEVICES.iter().map(PathBuf::from).collect();
    write.extend([data, tmp]);
    write.extend(wishes.write.iter().cloned());
    Ok(Sandbox { read, write, connect_tcp, landlock: support.landlock_abi > 0, calls: support.calls })
}

/// A directory for temporary files that holds nothing of an earlier process.
fn fresh_tmp(agent: &Path) -> io::Result<PathBuf> {
    let tmp = agent.join("tmp");
    match fs::remove_dir_all(&tmp) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    files::create_dir(&tmp, 0o700)?;
    Ok(tmp)
}

fn tcp_port(address: &str) -> Option<u16> {
    address.strip_prefix("tcp://")?.rsplit_once(':')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_force_is_told_in_a_line() {
        let mut protection = Protection::default();
        assert_eq!(protection.describe(), None);
        protection = Protection { sandbox: SandboxMode::On, ..protection };
        assert_eq!(protection.describe().as_deref(), Some("not confined"));
        protection = Protection {
            landlock_abi: 7,
            calls_refused: true,
            connect_tcp: Some(vec![502]),
            missing: vec!["x".into()],
            ..protection
        };
        let said = protection.describe().unwrap();
        assert_eq!(
            said,
            "kept to its files (Landlock 7); TCP to [502] only; refused system calls it does not need; missing: x"
        );
    }

    #[test]
    fn the_platforms_own_port_stays_open() {
        assert_eq!(tcp_port("tcp://127.0.0.1:22916"), Some(22916));
        assert_eq!(tcp_port("ipc://@/run/vip.socket"), None);
    }
}
