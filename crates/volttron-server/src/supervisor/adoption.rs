//! Agents that outlive their platform (`--keep-agents`): leaving them behind, and taking over those that another one left.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::launcher;
use super::machine::{Effect, Input};
use super::orphans::{self, Process};
use super::outputs::Outputs;
use super::running::Supervisor;

impl Supervisor {
    /// Takes over the agents that an earlier platform meant to live on, and ends the others that outlived it. To be called
    /// before anybody can ask for a start.
    pub async fn take_over(self: &Arc<Self>) {
        let (mut unwanted, mut kept) = (Vec::new(), Vec::new());
        for process in orphans::left_behind(&self.options.home) {
            let taken = process.kept
                && self.adopt(&process).unwrap_or_else(|error| {
                    tracing::error!(
                        "{} (process {}) cannot be taken over: {error}",
                        process.identity,
                        process.pid
                    );
                    false
                });
            if taken {
                kept.push(process.identity);
            } else {
                unwanted.push(process);
            }
        }
        orphans::end(&unwanted).await;
        for process in unwanted {
            if !kept.contains(&process.identity) {
                self.end_user_of(&process.identity).await;
            }
            tracing::warn!("ended {}, which an earlier platform had left behind", process.identity);
        }
        // They had their time; this is for what they had started.
        if let Some(groups) = self.groups().cloned() {
            let failed =
                tokio::task::spawn_blocking(move || groups.end_leftovers(&kept)).await.unwrap_or_default();
            for why in failed {
                tracing::warn!("cannot end what an earlier platform had left behind: {why}");
            }
        }
        let _ = self.record_processes().await;
    }

    /// Ends what the agent's user still runs: what the platform could signal itself may have been the way there only.
    async fn end_user_of(&self, identity: &str) {
        let file = self.home().agent(identity).user_id();
        let Some(isolation) = self.isolation().cloned().filter(|_| file.is_file()) else { return };
        let ended = tokio::task::spawn_blocking(move || {
            isolation.user(&file).and_then(|user| isolation.signal(&user, "KILL"))
        });
        if let Err(error) = ended.await.unwrap_or_else(|e| Err(io::Error::other(e))) {
            tracing::error!("cannot end what the user of {identity} runs: {error}");
        }
    }

    /// False if it is not to live on: it is not installed any more, or is there twice.
    fn adopt(self: &Arc<Self>, process: &Process) -> io::Result<bool> {
        let Some(agent) = self.agent(&process.uuid).filter(|a| a.identity == process.identity) else {
            return Ok(false);
        };
        let pid =
            i32::try_from(process.pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
        let pidfd = pidfd_open(pid, PidfdFlags::NONBLOCK)?;
        if !process.is_alive() {
            // It ended meanwhile, and the descriptor may be somebody else's.
            return Ok(true);
        }
        let outputs = self.outputs()?;
        drop(self.enter(agent.clone()));
        let uuid = process.uuid.clone();
        if self.feed(&uuid, Input::Adopted(process.pid)).contains(&Effect::AlreadyRunning) {
            return Ok(false);
        }
        let group = self.groups().and_then(|groups| groups.of(&agent.identity));
        let tail = self.slots().get_mut(&uuid).map(|slot| {
            slot.group = group;
            slot.tail.clone()
        });
        let tail = tail.unwrap_or_default();
        let mut to = self.destination(&agent, process.pid, tail);
        to.kept = true;
        outputs.follow(&to);
        tracing::info!("took over {} ({}), process {}", agent.identity, agent.name, process.pid);
        let (this, pid, identity) = (self.clone(), process.pid, agent.identity.clone());
        tokio::spawn(async move {
            launcher::gone(pidfd).await;
            this.end_rest(&uuid, &identity, pid).await;
            this.finish_output(pid).await;
            this.feed(&uuid, Input::Gone);
        });
        Ok(true)
    }

    /// Whether agents live on if the platform ends now, by a signal or because an operator asked for it.
    pub fn keeps_agents(&self, by_operator: bool) -> bool {
        self.options.keep_agents && (!by_operator || self.keep_asked.load(Relaxed))
    }

    /// Lets agents live on though an operator ends the platform. False if they cannot, because they were not started so.
    pub fn ask_to_keep(&self) -> bool {
        self.keep_asked.store(self.options.keep_agents, Relaxed);
        self.options.keep_agents
    }

    /// Leaves the agents to the next platform: nothing is started any more, and what they wrote so far is read.
    pub async fn leave(self: &Arc<Self>) {
        self.leaving.store(true, Relaxed);
        let _ = self.record_processes().await;
        if let Some(outputs) = self.outputs.get().cloned() {
            let _ = tokio::task::spawn_blocking(move || outputs.read()).await;
        }
    }

    /// Files for the output of a process that is to be created; none if it ends with the platform.
    pub(super) fn lasting_output(&self, identity: &str) -> io::Result<Option<[File; 2]>> {
        if !self.options.keep_agents {
            return Ok(None);
        }
        self.outputs()?.create(identity).map(Some)
    }

    /// Reads what is left of the output of a process that has ended.
    pub(super) async fn finish_output(&self, pid: u32) {
        if let Some(outputs) = self.outputs.get().cloned() {
            let _ = tokio::task::spawn_blocking(move || outputs.finish(pid)).await;
        }
    }

    fn outputs(&self) -> io::Result<&Arc<Outputs>> {
        if let Some(outputs) = self.outputs.get() {
            return Ok(outputs);
        }
        let new = Outputs::start(&self.options.home)?;
        Ok(self.outputs.get_or_init(|| new))
    }
}
