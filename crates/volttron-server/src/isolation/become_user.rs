//! Leaving root behind: running a program as an agent's user, and signalling what such a user runs.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustix::process::{
    Pid, PidfdFlags, Resource, Rlimit, Signal, getppid, getrlimit, pidfd_open, pidfd_send_signal, setrlimit,
    umask,
};
use serde::{Deserialize, Serialize};

use super::IsolationError;
use super::sandbox::{Sandbox, give_up_privileges};
use super::users::AgentUser;
use crate::supervisor::launcher::{prepare_child_of, prepare_lasting_child};

/// What to run, as the platform writes it to the helper's standard input: an environment holds keys, and arguments can be
/// read by everybody.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Launch {
    /// The program.
    pub exec: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its whole environment.
    pub env: BTreeMap<String, String>,
    /// Working directory.
    pub cwd: PathBuf,
    /// It lives on when the platform has ended.
    #[serde(default)]
    pub lasting: bool,
    /// What it may do, where that is less than its user may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<Sandbox>,
    /// Processes and threads its user may have; meaningful for a user of its own only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_processes: Option<u64>,
}

impl Launch {
    /// A launch of the platform's. Variables that are not text are left out: no agent is given such.
    pub fn new(
        exec: PathBuf,
        args: Vec<String>,
        env: impl Iterator<Item = (OsString, OsString)>,
        cwd: PathBuf,
    ) -> Self {
        let texts =
            env.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Self { exec, args, env: texts.collect(), cwd, lasting: false, sandbox: None, max_processes: None }
    }
}

/// Becomes the program of `launch` as `user`, for good; returns only if that fails. The agent makes files that are open
/// to its user and group only.
pub fn run(user: &AgentUser, launch: &Launch) -> IsolationError {
    umask(rustix::fs::Mode::from_raw_mode(0o007));
    let mut command = command(launch);
    // Supplementary groups are dropped with these two.
    command.gid(user.gid).uid(user.uid);
    become_program(command, launch, launch.max_processes)
}

/// Becomes the program of `launch` as the user this process has; returns only if that fails.
pub fn confine(launch: &Launch) -> IsolationError {
    become_program(command(launch), launch, None)
}

fn command(launch: &Launch) -> Command {
    let mut command = Command::new(&launch.exec);
    command.args(&launch.args).env_clear().envs(&launch.env).current_dir(&launch.cwd).stdin(Stdio::null());
    command
}

/// The agent cannot gain rights again (no_new_privs), and is asked to stop when its platform is gone.
fn become_program(mut command: Command, launch: &Launch, max_processes: Option<u64>) -> IsolationError {
    if let Err(source) = give_up_privileges() {
        return IsolationError::System { what: "give up rights for good", source };
    }
    if launch.lasting {
        prepare_lasting_child(&mut command);
    } else {
        prepare_child_of(&mut command, getppid());
    }
    let sandbox = launch.sandbox.clone();
    let confine = move || {
        if let Some(most) = max_processes {
            let most = getrlimit(Resource::Nproc).maximum.map_or(most, |hard| hard.min(most));
            setrlimit(Resource::Nproc, Rlimit { current: Some(most), maximum: Some(most) })?;
        }
        sandbox.as_ref().map_or(Ok(()), Sandbox::enter)
    };
    // After the change of user, so that nothing is opened with root's rights.
    // SAFETY: `exec` below replaces this process, which has one thread: there is no fork whose child could not allocate.
    #[allow(unsafe_code)]
    unsafe {
        command.pre_exec(confine);
    }
    let source = command.exec();
    IsolationError::File { path: launch.exec.clone(), source }
}

/// How often the processes of a user are looked for again: they may be making new ones.
const ROUNDS: usize = 16;

/// Signals every process of `user`; how many there were. A user has one agent, so this is the agent and its children,
/// also those that left its process group.
pub fn signal(user: &AgentUser, signal: Signal) -> Result<usize, IsolationError> {
    let mut signalled = 0;
    for _ in 0..ROUNDS {
        let mut found = 0;
        for pid in processes_of(user.uid)? {
            let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { continue };
            // The number may have become somebody else's before the line above.
            if owner(pid) == Some(user.uid) && pidfd_send_signal(&process, signal).is_ok() {
                found += 1;
            }
        }
        signalled += found;
        // Only what cannot be refused is repeated until nobody is left.
        if found == 0 || signal != Signal::KILL {
            break;
        }
    }
    Ok(signalled)
}

fn processes_of(uid: u32) -> Result<Vec<Pid>, IsolationError> {
    let listed =
        fs::read_dir("/proc").map_err(|source| IsolationError::System { what: "list processes", source })?;
    let numbers = listed.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    Ok(numbers.filter_map(Pid::from_raw).filter(|pid| owner(*pid) == Some(uid)).collect())
}

/// The real user of a process that has not ended.
fn owner(pid: Pid) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).ok()?;
    let line = |name: &str| status.lines().find_map(|l| l.strip_prefix(name));
    if line("State:").is_some_and(|state| state.trim_start().starts_with(['Z', 'X'])) {
        return None;
    }
    line("Uid:")?.split_whitespace().next()?.parse().ok()
}
