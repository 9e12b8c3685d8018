//! `vctl bugreport`: what somebody else needs to understand what went wrong here, in one file and without any secret.
//!
//! Every text of the archive goes through [`secrets`]: secrets are found in the home first, and masked wherever they occur.

pub(super) mod secrets;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Map, Value, json};
use tar::{Builder, Header};
use tokio::time::timeout;
use volttron_utils::config::parse_config;
use volttron_utils::files::{read_bounded, temporary_in};
use volttron_utils::home::Home;
use volttron_utils::time::format_timestamp;

use super::doctor::{self, Limits, Scene};
use super::{OpError, Session, Target, agents};
use crate::logging;
use crate::options::LogTarget;
use crate::supervisor::InstalledAgent;
use secrets::{Secrets, mask_value};

/// How much of the end of a log is taken.
const LOG_BYTES: u64 = 2 << 20;
const AGENT_LOG_BYTES: u64 = 256 << 10;
/// How long the platform may take for each answer.
const ANSWER: Duration = Duration::from_secs(3);
const MAX_CONFIG_BYTES: u64 = 4 << 20;

/// What to write.
#[derive(Clone, Debug)]
pub struct Request {
    /// The archive; one named after the time in the present directory otherwise.
    pub file: Option<PathBuf>,
    /// The platform's log, where it is not known otherwise.
    pub log: Option<PathBuf>,
}

/// What was written.
#[derive(Clone, Debug)]
pub struct Written {
    /// The archive.
    pub file: PathBuf,
    /// Its members.
    pub members: Vec<String>,
    /// How many different secrets of the home were looked for.
    pub secrets: usize,
}

/// Gathers and writes.
pub async fn run(target: &Target, request: &Request) -> Result<Written, OpError> {
    let scene = Scene::look(target, Limits::default());
    let home = &target.home;
    let secrets = Secrets::of(home, &scene.agents);
    let mut members: Vec<(String, String)> = Vec::new();
    let mut add = |name: &str, text: String| members.push((name.to_owned(), text));
    let pretty = |value: &Value| volttron_utils::json::to_indent(value, 2).unwrap_or_default() + "\n";

    let diagnosis = doctor::run(target, Limits::default()).await;
    add("doctor.json", pretty(&diagnosis.to_json(home.path())));
    let (log, log_note) = log(&scene, request.log.as_deref());
    add("about.json", pretty(&about(&scene, &log_note)));
    if let Some(text) = log {
        add("log.txt", text);
    }
    if let Ok(text) = tail(&home.audit_log(), LOG_BYTES) {
        add("audit.txt", text);
    }
    for agent in scene.agents.iter() {
        if let Ok(text) = tail(&home.agent_log(&agent.identity), AGENT_LOG_BYTES) {
            add(&format!("log-{}.txt", agent.identity), text);
        }
    }
    if let Ok(text) = read_bounded(&home.config_file(), MAX_CONFIG_BYTES) {
        add("config.txt", text);
    }
    add("agents.json", pretty(&installed(&scene.agents)));
    add("configuration_store.json", pretty(&store_names(home)));
    if let Some(rules) = rules(home) {
        add("rules.json", pretty(&rules));
    }
    if scene.running.is_some() {
        let target = Target { timeout: ANSWER, ..target.clone() };
        match timeout(ANSWER, target.connect()).await {
            Ok(Ok(session)) => {
                for (name, text) in Box::pin(online(&session)).await {
                    add(&name, text);
                }
            }
            Ok(Err(error)) => add("platform.txt", format!("no connection: {error}\n")),
            Err(_) => add("platform.txt", "no connection: no answer\n".to_owned()),
        }
    }
    let stamp = jiff::Zoned::now().strftime("%Y%m%dT%H%M%S").to_string();
    let top = format!("volttron-bugreport-{stamp}");
    let file = request.file.clone().unwrap_or_else(|| PathBuf::from(format!("{top}.tar.gz")));
    let masked: Vec<(String, String)> =
        members.into_iter().map(|(name, text)| (name, secrets.mask(&text))).collect();
    let failed = |source| OpError::File { what: format!("cannot write {}", file.display()), source };
    write(&file, &top, &masked).map_err(failed)?;
    Ok(Written {
        file,
        members: masked.into_iter().map(|(name, _)| name).collect(),
        secrets: secrets.count(),
    })
}

fn write(file: &Path, top: &str, members: &[(String, String)]) -> io::Result<()> {
    let file = std::path::absolute(file)?;
    let beside = file.parent().unwrap_or(Path::new("/"));
    // For its owner only: also without secrets it tells much.
    let temp = temporary_in(beside)?;
    let mut tar = Builder::new(GzEncoder::new(temp.as_file(), Compression::default()));
    for (name, text) in members {
        let mut header = Header::new_gnu();
        header.set_entry_type(tar::EntryType::Regular);
        header.set_size(text.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or_default());
        tar.append_data(&mut header, format!("{top}/{name}"), text.as_bytes())?;
    }
    tar.into_inner()?.finish()?.flush()?;
    temp.as_file().sync_all()?;
    temp.persist_noclobber(&file).map_err(|e| e.error)?;
    Ok(())
}

/// Versions and machine.
fn about(scene: &Scene, log_note: &str) -> Value {
    let file = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let system = rustix::system::uname();
    let text = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
    let of_os = |key: &str| {
        let line = file("/etc/os-release").lines().find_map(|l| l.strip_prefix(key).map(str::to_owned));
        line.unwrap_or_default().trim_matches('"').to_owned()
    };
    let memory: Vec<String> = file("/proc/meminfo").lines().take(3).map(str::to_owned).collect();
    let options = match &scene.options {
        Ok(options) => json!(options.describe()),
        Err((code, why)) => json!(format!("{code}: {why}")),
    };
    json!({
        "created": format_timestamp(jiff::Timestamp::now()),
        "version": crate::platform::VERSION,
        "home": scene.home.path().display().to_string(),
        "running": scene.running,
        "options": options,
        "log": log_note,
        "system": {
            "name": of_os("PRETTY_NAME="), "kernel": text(system.release()), "machine": text(system.machine()),
            "cores": std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
            "memory": memory, "load": file("/proc/loadavg"), "uptime_s": file("/proc/uptime"),
        },
    })
}

/// The end of the platform's log, and where it was taken from or why there is none.
fn log(scene: &Scene, given: Option<&Path>) -> (Option<String>, String) {
    let path = match (given, &scene.options) {
        (Some(path), _) => path.to_owned(),
        (None, Ok(options)) => match options.log.target() {
            LogTarget::File(path) => match scene.running {
                // As the platform sees it.
                Some(pid) => PathBuf::from(format!("/proc/{pid}/cwd")).join(path),
                None => path,
            },
            // Where the last one of this home logged, if that was a file.
            _ if scene.home.platform_log().exists() => scene.home.platform_log(),
            other => return (None, format!("the platform logs to {other}; name a file with --platform-log")),
        },
        (None, Err(_)) => scene.home.platform_log(),
    };
    match tail(&path, LOG_BYTES) {
        Ok(text) => (Some(text), path.display().to_string()),
        Err(e) => (None, format!("{}: {e}", path.display())),
    }
}

/// The last whole lines of a file.
fn tail(path: &Path, most: u64) -> io::Result<String> {
    logging::tail(&mut fs::File::open(path)?, 0, most)
}

/// Installed agents, with their configurations as far as they can be read.
fn installed(agents: &[InstalledAgent]) -> Value {
    let one = |agent: &InstalledAgent| {
        let config = agent.config().map(|path| match read_bounded(&path, MAX_CONFIG_BYTES) {
            Ok(text) => match parse_config(&text) {
                Ok(value) => mask_value(&value),
                Err(_) => json!("left out: it is neither JSON nor YAML"),
            },
            Err(e) => json!(format!("left out: {e}")),
        });
        let manifest = agent.manifest.as_ref();
        json!({
            "identity": agent.identity, "uuid": agent.uuid, "name": agent.name, "tag": agent.tag,
            "priority": agent.priority, "source": manifest.map(|m| mask_value(&m.source)),
            "exec": manifest.map(|m| m.exec.clone()), "args": manifest.map(|m| m.args.len()),
            "env": manifest.map(|m| m.env.keys().cloned().collect::<Vec<_>>()), "config": config,
        })
    };
    agents.iter().map(one).collect()
}

/// What is in the configuration store, without its contents.
fn store_names(home: &Home) -> Value {
    let mut stores = Map::new();
    let entries = fs::read_dir(home.configuration_store()).into_iter().flatten().flatten();
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(identity) = name.strip_suffix(".store") else {
            stores.insert(name, json!("not a store"));
            continue;
        };
        let text = read_bounded(&entry.path(), 64 << 20).unwrap_or_default();
        let told = match serde_json::from_str::<Map<String, Value>>(&text) {
            Ok(all) => all
                .iter()
                .map(|(name, e)| {
                    let bytes = e["data"].as_str().map_or(0, str::len);
                    (name.clone(), json!({"type": e["type"], "modified": e["modified"], "bytes": bytes}))
                })
                .collect::<Map<_, _>>()
                .into(),
            Err(e) => json!(format!("damaged: {e}")),
        };
        stores.insert(identity.to_owned(), told);
    }
    stores.into()
}

/// Who may do what, without keys and passwords.
fn rules(home: &Home) -> Option<Value> {
    let text = read_bounded(&home.auth_file(), crate::auth::store::MAX_FILE_BYTES).ok()?;
    let file = match crate::auth::file::AuthFile::parse(&text) {
        Ok(parsed) => parsed.file,
        Err(e) => return Some(json!(format!("damaged: {e}"))),
    };
    let mut rules = file.to_rpc();
    for list in ["allow_list", "deny_list"] {
        for entry in rules[list].as_array_mut().into_iter().flatten() {
            if let Some(entry) = entry.as_object_mut() {
                entry.shift_remove("credentials");
            }
        }
    }
    Some(rules)
}

/// What the running platform tells.
async fn online(session: &Session) -> Vec<(String, String)> {
    let ask = async |method: &str| {
        let asked = session.control(method).timeout(ANSWER).send::<Value>().await;
        asked.unwrap_or_else(|e| json!(format!("no answer: {e}")))
    };
    let (peers, meter, metrics, listed, processes, reports, health) = tokio::join!(
        ask("peerlist"),
        ask("bus_meter"),
        ask("metrics"),
        ask("list_agents"),
        ask("status_agents"),
        ask("agent_reports"),
        agents::platform_health(session),
    );
    let health = health.map_or_else(|e| json!(format!("no answer: {e}")), Value::from);
    let pretty = |value: &Value| volttron_utils::json::to_indent(value, 2).unwrap_or_default() + "\n";
    let status = json!({"agents": listed, "processes": processes, "reports": reports, "health": health});
    vec![
        ("status.json".to_owned(), pretty(&status)),
        ("peers.json".to_owned(), pretty(&peers)),
        ("bus.json".to_owned(), pretty(&meter)),
        ("metrics.txt".to_owned(), metrics.as_str().map_or_else(|| pretty(&metrics), str::to_owned)),
    ]
}
