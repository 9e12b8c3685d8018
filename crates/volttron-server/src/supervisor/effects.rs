//! Carrying out what an agent's machine has decided: launching, signalling, telling. Decides nothing itself.

use std::sync::Arc;

use rustix::process::{Pid, kill_process_group};

use super::cgroup::Group;
use super::ends::how_ended;
use super::machine::{BAD_CONFIGURATION, Effect, Signal};
use super::running::{AgentEvent, Supervisor};

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

    /// What an agent started ends with it.
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
