//! Carrying out what an agent's machine has decided: launching, signalling, telling. Decides nothing itself.

use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, kill_process_group, test_kill_process_group};

use super::cgroup::Group;
use super::ends::how_ended;
use super::machine::{BAD_CONFIGURATION, Effect, Signal};
use super::running::{AgentEvent, Supervisor};
use crate::processes::{Stat, all_pids};

/// How long what an agent has left behind may take to end, after each signal.
const REST_GRACE: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

impl Supervisor {
    /// Carries out one effect of an agent's step; `unknown` is whether nobody knows how its process ended.
    pub(super) fn carry_out(
        self: &Arc<Self>,
        uuid: &str,
        identity: &str,
        name: &str,
        effect: &Effect,
        unknown: bool,
    ) {
        match *effect {
            Effect::Launch => {
                let (this, uuid) = (self.clone(), uuid.to_owned());
                tokio::spawn(async move { this.launch(&uuid).await });
            }
            Effect::Signal(pid, signal) => {
                if signal == Signal::Kill {
                    self.kill_group(uuid, identity);
                }
                self.send(identity, pid, signal);
            }
            Effect::Ended { code, by_operator } => {
                if unknown {
                    tracing::warn!(
                        "{identity} ({name}) ended; an earlier platform had started it, so nobody knows how"
                    );
                } else if by_operator || code == 0 {
                    tracing::info!("{identity} ({name}) ended with {code}");
                } else {
                    tracing::warn!("{identity} ({name}) ended unexpectedly with {}", how_ended(code));
                }
                self.record_processes();
                let (identity, name) = (identity.to_owned(), name.to_owned());
                let _ = self.events.send(AgentEvent::Ended { identity, name, code, by_operator });
            }
            Effect::RestartScheduled { attempt, delay } => {
                tracing::warn!("{identity} is restarted in {} s (attempt {attempt})", delay.as_secs());
            }
            Effect::GivenUp => {
                let last_exit = self.slots().get(uuid).and_then(|slot| slot.machine.last_exit());
                let why = last_exit.map_or_else(
                    || "in an unknown way".to_owned(),
                    |code| format!("with {}", how_ended(code)),
                );
                if last_exit == Some(BAD_CONFIGURATION) {
                    tracing::error!("{identity} is not restarted: it would refuse its configuration again");
                } else {
                    tracing::error!(
                        "{identity} ended too often and is not restarted any more; see `vctl start`"
                    );
                }
                let (identity, name, uuid) = (identity.to_owned(), name.to_owned(), uuid.to_owned());
                let _ = self.events.send(AgentEvent::GivenUp { identity, name, uuid, why });
            }
            Effect::Recovered => {
                tracing::info!("{identity} ({name}) runs again");
                let _ =
                    self.events.send(AgentEvent::Recovered { name: name.to_owned(), uuid: uuid.to_owned() });
            }
            Effect::Unresponsive => tracing::error!("{identity} does not end, not even after SIGKILL"),
            Effect::AlreadyRunning => {}
        }
    }

    fn group(&self, uuid: &str) -> Option<Group> {
        self.slots().get(uuid).and_then(|slot| slot.group.clone())
    }

    /// Everything in the agent's group, also what left its process group.
    fn kill_group(&self, uuid: &str, identity: &str) {
        if let Some(Err(error)) = self.group(uuid).map(|group| group.kill()) {
            tracing::error!("cannot kill the control group of {identity}: {error}");
        }
    }

    /// What an agent started ends with it: it would hold what the next process needs, and nobody would know of it.
    pub(super) async fn end_rest(&self, uuid: &str, identity: &str, pid: u32) {
        self.end_group(uuid).await;
        for signal in [Signal::Terminate, Signal::Kill] {
            if !has_members(pid) {
                return;
            }
            tracing::warn!("{identity} has left processes behind; they get {signal:?}");
            self.send(identity, pid, signal);
            let gone = async {
                let mut look = tokio::time::interval(LOOK_AGAIN);
                while has_members(pid) {
                    look.tick().await;
                }
            };
            let _ = tokio::time::timeout(REST_GRACE, gone).await;
        }
        if has_members(pid) {
            tracing::error!("what {identity} has left behind does not end: see `ps -o pid,args --ppid 1`");
        }
    }

    /// Ends the agent's control group, if it has one.
    pub(super) async fn end_group(&self, uuid: &str) {
        let Some(group) = self.group(uuid) else { return };
        let place = group.path().display().to_string();
        match tokio::task::spawn_blocking(move || group.end()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!("cannot end the control group {place}: {error}"),
            Err(error) => tracing::error!("cannot end the control group {place}: {error}"),
        }
    }

    /// An agent that runs as another user is signalled by the helper, where the platform may not do it itself.
    fn send(&self, identity: &str, pid: u32, signal: Signal) {
        let Some(isolation) = self.options.facts.isolation.clone().filter(|i| !i.is_root()) else {
            return send(pid, signal);
        };
        let file = self.options.home.agent(identity).user_id();
        let identity = identity.to_owned();
        let word = match signal {
            Signal::Interrupt => "INT",
            Signal::Terminate => "TERM",
            Signal::Kill => "KILL",
        };
        tokio::task::spawn_blocking(move || {
            let sent = isolation.user(&file).and_then(|user| isolation.signal(&user, word));
            if let Err(error) = sent {
                tracing::error!("{identity} does not get SIG{word}: {error}");
            }
        });
    }
}

/// Whether a process of the group of a process that has ended lives. Not if there is a process with that id: then it is
/// somebody else's by now.
fn has_members(pid: u32) -> bool {
    let Some(group) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return false };
    // Those of another user may not be signalled, but are there.
    let is_there = matches!(test_kill_process_group(group), Ok(()) | Err(Errno::PERM));
    // Nor do those count that have ended and wait for somebody to notice.
    let lives = |other: Stat| other.group == pid && other.state != 'Z';
    is_there && Stat::read(pid).is_none() && all_pids().filter_map(Stat::read).any(lives)
}

/// Signals the agent's process group, so that what it started ends as well.
fn send(pid: u32, signal: Signal) {
    let signal = match signal {
        Signal::Interrupt => rustix::process::Signal::INT,
        Signal::Terminate => rustix::process::Signal::TERM,
        Signal::Kill => rustix::process::Signal::KILL,
    };
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(pid, signal);
    }
}
