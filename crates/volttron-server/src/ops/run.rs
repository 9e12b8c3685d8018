//! `vctl run`: an agent of this machine in the foreground, not installed (lifecycle.md section 10).
//!
//! Owns a temporary identity: a key pair that lives as long as the run, and its entry in the rules. How a Python agent is
//! started is in [`python`].

mod python;

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use volttron_utils::home::{Home, process_started};
use volttron_utils::identity::{self, AUTH};
use volttron_utils::keys::KeyPair;

use super::auth::{AuthOpError, Rules};
use super::session::authentication_is_off;
use super::{OpError, Session};
use crate::auth::entry::Entry;
use crate::install::{self, Build, InstallError, StagedAgent, Wanted};
use crate::supervisor::launcher::prepare_child;

/// How long an agent may take to stop once it is asked to.
const STOP_LIMIT: Duration = Duration::from_secs(15);

/// Begins the comment of an entry that a run made; the number of its process follows.
const COMMENT: &str = "vctl run, process ";

/// What an agent inside the platform has in its environment, and this one has not.
const INHERITED: [&str; 6] = [
    "AGENT_UUID",
    "AGENT_TAG",
    "AGENT_CONFIG",
    "AGENT_KEYSTORE",
    "AGENT_CREDENTIALS",
    "_LAUNCHED_BY_PLATFORM",
];

/// What to run.
#[derive(Debug)]
pub struct Request<'a> {
    /// Crate directory, `.crate` file, program, or name of a crate; directory, wheel or requirement of a Python agent.
    pub path: String,
    /// Identity; without it the package's default, made unique.
    pub identity: Option<String>,
    /// Configuration file; without it the one that lies in the crate directory.
    pub config: Option<PathBuf>,
    /// Capabilities besides that of its own configuration entries.
    pub capabilities: Vec<String>,
    /// Arguments of the program.
    pub args: Vec<OsString>,
    /// How to build a crate.
    pub build: Build<'a>,
    /// How to prepare a Python agent.
    pub python: install::python::Settings,
}

/// Runs an agent until it ends or a signal ends it. `told` hears the identity once it is known. The exit status is the
/// agent's.
pub async fn run(
    session: &Session,
    home: &Home,
    request: Request<'_>,
    told: impl FnOnce(&str),
) -> Result<ExitStatus, OpError> {
    let stage = install::python::runs(home).join(uuid::Uuid::new_v4().to_string());
    let outcome = run_in(&stage, session, home, request, told).await;
    // Disposable; what stays behind costs only space.
    let _ = fs::remove_dir_all(&stage);
    outcome
}

async fn run_in(
    stage: &Path,
    session: &Session,
    home: &Home,
    request: Request<'_>,
    told: impl FnOnce(&str),
) -> Result<ExitStatus, OpError> {
    let source = install::recognise(&request.path, None, None)?;
    let wanted = Wanted { config: request.config.clone(), python: request.python, ..Wanted::default() };
    let config = wanted.read_config(&source)?.map(|(path, _)| path);
    let staged = install::prepare(home, &source, &request.build, stage, wanted, None).await?;
    let identity = match request.identity {
        Some(identity) => checked(identity)?,
        None => unique(staged.default_identity.as_deref().unwrap_or(&staged.package)),
    };
    let Prepared { mut command, data, config } = match &staged.python {
        Some(environment) => python::prepare(home, stage, &staged, environment, config)?,
        None => native(stage, &staged, config)?,
    };
    let keys = if authentication_is_off(home) { None } else { Some(KeyPair::generate()) };
    command.args(&request.args).env("VOLTTRON_HOME", home.path()).env("AGENT_VIP_IDENTITY", &identity);
    command.env("AGENT_DATA_DIR", &data).env("VOLTTRON_VIP_ADDR", session.address());
    for name in INHERITED {
        command.env_remove(name);
    }
    if staged.python.is_some() {
        // As the supervisor tells agents; the Python library assumes authentication otherwise.
        command.env("AUTH_ENABLED", if keys.is_some() { "True" } else { "False" }).env("MESSAGEBUS", "zmq");
    }
    if let Some(config) = config {
        command.env("AGENT_CONFIG", fs::canonicalize(&config).map_err(|e| failed(&config, e))?);
    }
    let rules = Rules::new(home, Some(session.cx()));
    if let Some(keys) = &keys {
        let server: String = session.control("serverkey").send().await?;
        command.env("AGENT_PUBLICKEY", keys.public.to_string()).env("VOLTTRON_SERVERKEY", &server);
        command.env("AGENT_SECRETKEY", keys.secret.reveal().as_str());
        if let Some(environment) = &staged.python {
            python::give_keys(&mut command, home, environment, &identity, keys, &server)?;
        }
        forget(session, &rules, None).await?;
        admit(&rules, &identity, keys, &request.capabilities).await?;
    }
    told(&identity);
    let status = in_the_foreground(command, &staged.program).await;
    if let Some(keys) = &keys {
        // A platform that is gone meanwhile has the entry in its file; the next run removes it.
        if let Err(error) = forget(session, &rules, Some(&keys.public.to_string())).await {
            tracing::warn!("the temporary entry of {identity} stays: {error}");
        }
    }
    status
}

/// What is run, and where.
struct Prepared {
    command: Command,
    /// The agent's directory for what it keeps.
    data: PathBuf,
    config: Option<PathBuf>,
}

fn native(stage: &Path, staged: &StagedAgent, config: Option<PathBuf>) -> Result<Prepared, OpError> {
    let data = stage.join("data");
    fs::create_dir_all(&data).map_err(|e| failed(&data, e))?;
    Ok(Prepared { command: Command::new(&staged.program), data, config })
}

fn failed(path: &Path, source: io::Error) -> OpError {
    OpError::File { what: path.display().to_string(), source }
}

fn checked(wanted: String) -> Result<String, OpError> {
    if identity::is_valid(&wanted) && !identity::reserved_for_install(&wanted) {
        return Ok(wanted);
    }
    Err(InstallError::BadIdentity(format!(
        "an agent cannot be called '{wanted}': letters, digits, _ . and - only, and none of the platform's own names"
    ))
    .into())
}

/// The default identity, told apart from that of installed agents and of other runs.
fn unique(default: &str) -> String {
    let random = uuid::Uuid::new_v4().as_fields().0;
    let mine = format!("run-{random:08x}");
    if default.contains("{n}") { default.replacen("{n}", &mine, 1) } else { format!("{default}-{mine}") }
}

async fn admit(
    rules: &Rules<'_>,
    identity: &str,
    keys: &KeyPair,
    capabilities: &[String],
) -> Result<(), AuthOpError> {
    let mut entry = Entry::curve(identity, &keys.public.to_string())
        .with_capability("edit_config_store", json!({"identity": identity}))
        .with_comment(&format!("{COMMENT}{}", std::process::id()));
    for name in capabilities {
        entry = entry.with_capability(name, Value::Null);
    }
    rules.add(entry).await
}

/// Removes the entries of runs that were killed before they could, and that of `key`.
async fn forget(session: &Session, rules: &Rules<'_>, key: Option<&str>) -> Result<(), OpError> {
    for entry in rules.read().await?.allow {
        let process = entry["comments"].as_str().and_then(|text| text.strip_prefix(COMMENT)?.parse().ok());
        let (Some(process), Some(of)) = (process, entry["credentials"].as_str()) else { continue };
        if Some(of) == key || process_started(process).is_none() {
            session.call(AUTH, "auth_file.remove_by_credentials").arg(of).send_value().await?;
        }
    }
    Ok(())
}

/// Runs with the terminal's output. The agent has a process group of its own, so that a Ctrl-C reaches it once, from
/// here, and its own children with it.
async fn in_the_foreground(mut command: Command, program: &Path) -> Result<ExitStatus, OpError> {
    command.stdin(Stdio::null()).process_group(0).kill_on_drop(true);
    prepare_child(command.as_std_mut());
    let listen = |kind| signal(kind).map_err(|source| OpError::File { what: "signals".to_owned(), source });
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    let mut child = command.spawn().map_err(|e| failed(program, e))?;
    tokio::select! {
        ended = child.wait() => return ended.map_err(|e| failed(program, e)),
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    send(&child, Signal::INT);
    let asked = tokio::select! {
        ended = child.wait() => Some(ended),
        () = tokio::time::sleep(STOP_LIMIT) => None,
        // Asked twice: at once.
        _ = interrupt.recv() => None,
        _ = terminate.recv() => None,
    };
    let ended = if let Some(ended) = asked {
        ended
    } else {
        send(&child, Signal::KILL);
        child.wait().await
    };
    ended.map_err(|e| failed(program, e))
}

fn send(child: &Child, signal: Signal) {
    let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    if let Some(group) = group {
        // It may have ended in between.
        let _ = kill_process_group(group, signal);
    }
}
