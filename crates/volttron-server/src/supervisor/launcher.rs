//! Creating agent processes.
//!
//! All processes are created on one thread that lives as long as this process: the parent-death signal, which ends
//! agents whose platform was killed, is bound to the *thread* that created the child, not to its process.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{SyncSender, sync_channel};

use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot;

use crate::isolation::become_user::Launch;
use crate::isolation::platform::{Isolation, helper_program};
use crate::isolation::sandbox::Sandbox;

use super::cgroup::{Group, enter};
use super::protection::Protection;

/// Launches that may wait for the thread.
const QUEUE: usize = 64;

/// What to run.
#[derive(Debug)]
pub struct LaunchSpec {
    /// The program.
    pub exec: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Variables to set.
    pub set: Vec<(String, OsString)>,
    /// Inherited variables to take away.
    pub unset: Vec<&'static str>,
    /// Working directory.
    pub cwd: PathBuf,
    /// Files for its standard output and error, if it is to outlive the platform.
    pub lasting: Option<[File; 2]>,
    /// The user it runs as, where that is not the platform's.
    pub isolated: Option<IsolatedUser>,
    /// What it may do, where that is less than its user may.
    pub sandbox: Option<Sandbox>,
    /// Its control group.
    pub group: Option<Group>,
    /// Processes and threads its user may have, for a user of its own.
    pub max_processes: Option<u64>,
    /// What is in force once it runs.
    pub protection: Protection,
}

/// How an agent becomes another user.
#[derive(Clone, Debug)]
pub struct IsolatedUser {
    /// The way to the helper.
    pub isolation: Isolation,
    /// Its identity.
    pub identity: String,
    /// The file that remembers the user's name.
    pub user_file: PathBuf,
}

/// Waits until a process ended that is not ours, so that nobody can tell its exit code.
pub async fn gone(pidfd: OwnedFd) {
    readable(pidfd).await;
}

#[allow(unsafe_code)]
async fn readable(pidfd: OwnedFd) {
    // SAFETY: an `OwnedFd` keeps its descriptor open until it is dropped, and gives the same one each time.
    if let Ok(pidfd) = unsafe { AsyncFd::register_with_interest(pidfd, Interest::READABLE) } {
        let _ = pidfd.readable().await;
    }
}

/// A process that was created.
#[derive(Debug)]
pub struct Launched {
    /// For its exit code.
    pub child: Child,
    /// Readable once it ended.
    pub pidfd: OwnedFd,
}

impl Launched {
    /// Waits until the process ended, then reaps it: its exit code, or minus the signal.
    pub async fn ended(self) -> i32 {
        use std::os::unix::process::ExitStatusExt;
        let Self { mut child, pidfd } = self;
        readable(pidfd).await;
        // Readable means ended, so this returns at once.
        child.wait().map_or(-1, |status| status.code().unwrap_or_else(|| -status.signal().unwrap_or(0)))
    }
}

/// The thread.
#[derive(Clone, Debug)]
pub struct Launcher(SyncSender<(LaunchSpec, oneshot::Sender<io::Result<Launched>>)>);

impl Launcher {
    /// Starts the thread.
    pub fn start() -> io::Result<Self> {
        let (tx, rx) = sync_channel::<(LaunchSpec, oneshot::Sender<io::Result<Launched>>)>(QUEUE);
        std::thread::Builder::new().name("launcher".into()).stack_size(256 * 1024).spawn(move || {
            for (spec, answer) in rx {
                let _ = answer.send(launch(&spec));
            }
        })?;
        Ok(Self(tx))
    }

    /// Creates a process.
    pub async fn launch(&self, spec: LaunchSpec) -> io::Result<Launched> {
        let (answer, wait) = oneshot::channel();
        self.0.try_send((spec, answer)).map_err(|_| io::Error::other("too many agents are being started"))?;
        wait.await.map_err(|_| io::Error::other("the launcher thread has ended"))?
    }
}

fn launch(spec: &LaunchSpec) -> io::Result<Launched> {
    let mut child = match (&spec.isolated, &spec.sandbox) {
        (Some(isolated), _) => {
            let user = isolated.isolation.user(&isolated.user_file)?;
            launch_by_helper(spec, isolated.isolation.run(&user, &isolated.identity))?
        }
        (None, Some(_)) => {
            let mut helper = Command::new(helper_program());
            helper.arg("confine");
            launch_by_helper(spec, helper)?
        }
        (None, None) => launch_as_platform(spec)?,
    };
    let pid = Pid::from_child(&child);
    match pidfd_open(pid, PidfdFlags::NONBLOCK) {
        Ok(pidfd) => Ok(Launched { child, pidfd }),
        Err(error) => {
            let _ = child.kill();
            let _ = child.wait();
            Err(error.into())
        }
    }
}

fn launch_as_platform(spec: &LaunchSpec) -> io::Result<Child> {
    let mut command = Command::new(&spec.exec);
    command.args(&spec.args).current_dir(&spec.cwd).process_group(0);
    for name in &spec.unset {
        command.env_remove(name);
    }
    command.envs(spec.set.iter().map(|(name, value)| (name, value)));
    command.stdin(Stdio::null());
    enter_group(&mut command, spec)?;
    connect(&mut command, spec)?;
    command.spawn()
}

/// Output goes to pipes and the child ends with the platform; or it goes to files and the child lives on.
fn connect(command: &mut Command, spec: &LaunchSpec) -> io::Result<()> {
    match &spec.lasting {
        None => {
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
            prepare_child(command);
        }
        Some([out, err]) => {
            command.stdout(out.try_clone()?).stderr(err.try_clone()?);
            prepare_lasting_child(command);
        }
    }
    Ok(())
}

/// The helper becomes the agent, in the same process. It is told what to run through a pipe: that holds keys.
fn launch_by_helper(spec: &LaunchSpec, mut command: Command) -> io::Result<Child> {
    let inherited = std::env::vars_os().filter(|(name, _)| !spec.unset.iter().any(|unset| name == unset));
    let set = spec.set.iter().map(|(name, value)| (OsString::from(name), value.clone()));
    let mut told = Launch::new(spec.exec.clone(), spec.args.clone(), inherited.chain(set), spec.cwd.clone());
    told.lasting = spec.lasting.is_some();
    told.sandbox.clone_from(&spec.sandbox);
    told.max_processes = spec.max_processes;
    let text = serde_json::to_vec(&told).map_err(io::Error::other)?;
    command.process_group(0).stdin(Stdio::piped());
    enter_group(&mut command, spec)?;
    connect(&mut command, spec)?;
    let mut child = command.spawn()?;
    // Dropped after it: the helper reads to the end. One that has ended already says why on its standard error.
    let _ = child.stdin.take().map(|mut pipe| pipe.write_all(&text));
    Ok(child)
}

/// Lets the child be in the agent's group before it runs anything, so that nothing it starts is outside.
#[allow(unsafe_code)]
fn enter_group(command: &mut Command, spec: &LaunchSpec) -> io::Result<()> {
    let Some(group) = &spec.group else { return Ok(()) };
    let entrance = group.entrance()?;
    // SAFETY: between fork and exec one system call is made; nothing allocates or takes a lock.
    unsafe { command.pre_exec(move || enter(&entrance)) };
    Ok(())
}

/// Gives the child the usual answer to signals, and asks the kernel to send it SIGTERM when the platform (the thread that
/// creates the child) is gone. Everything else the platform has open is close-on-exec already.
///
/// A platform that a script started with `&` has SIGINT ignored, and a program inherits that: an agent that relies on the
/// default, as every Python agent does, would never notice that it is asked to stop.
pub fn prepare_child(command: &mut Command) {
    prepare_child_of(command, Some(rustix::process::getpid()));
}

/// As [`prepare_child`], for a child that lives on when the platform has ended.
#[allow(unsafe_code)]
pub fn prepare_lasting_child(command: &mut Command) {
    let prepare = || {
        default_signals();
        Ok(())
    };
    // SAFETY: as below.
    unsafe { command.pre_exec(prepare) };
}

/// As [`prepare_child`], where `parent` is the process whose end is watched: that of the caller's caller, for a program
/// that replaces itself.
#[allow(unsafe_code)]
pub fn prepare_child_of(command: &mut Command, parent: Option<Pid>) {
    let prepare = move || {
        default_signals();
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM))?;
        // The parent may have died before the line above took effect.
        if rustix::process::getppid() == parent {
            Ok(())
        } else {
            Err(io::Error::other("the platform has ended"))
        }
    };
    // SAFETY: between fork and exec only system calls are made; nothing allocates or takes a lock.
    unsafe { command.pre_exec(prepare) };
}

#[allow(unsafe_code)]
fn default_signals() {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT] {
        // SAFETY: `signal` may be called between fork and exec, and the default disposition needs no handler.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}
