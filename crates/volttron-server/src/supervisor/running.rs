//! The supervisor: one [`Machine`] per agent, fed with what happens to it. What the machines decide is carried out in
//! `effects`; `together` starts and stops all agents in order.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use thiserror::Error;
use tokio::sync::{Notify, broadcast, watch};
use volttron_utils::home::Home;

use crate::isolation::platform::Isolation;
use crate::logging::agent_files::{AgentFiles, Limits};

use super::cgroup::{Group, Groups};
use super::environment::PlatformFacts;
use super::installed::{self, InstalledAgent};
use super::launcher::Launcher;
use super::logs::LogTail;
use super::machine::{Effect, Input, Machine, RestartPolicy, Rules, State};
use super::outputs::Outputs;
use super::protection::Protection;
use super::usage::Meter;
use super::view::{Crash, View};

/// Events that a slow listener may be behind; older ones are lost to it, and only to it.
const EVENT_BACKLOG: usize = 1024;
/// How long the log files may take for what is left to write.
const LOGS_GRACE: Duration = Duration::from_secs(2);

/// What the supervisor works with.
#[derive(Clone, Debug)]
pub struct SupervisorOptions {
    /// The home whose agents these are.
    pub home: Home,
    /// What agents are told about the platform.
    pub facts: PlatformFacts,
    /// Restart rules, where `agent.json` says nothing else.
    pub rules: Rules,
    /// Overall limit of [`Supervisor::stop_all`].
    pub shutdown_timeout: Duration,
    /// Agents live on when the platform ends.
    pub keep_agents: bool,
    /// What agents' own log files hold; none without such files.
    pub agent_logs: Option<Limits>,
}

/// What others may want to know.
#[derive(Clone, Debug)]
pub enum AgentEvent {
    /// A process ended.
    Ended {
        /// Its identity.
        identity: String,
        /// Its `<package>-<version>`.
        name: String,
        /// Exit code, or minus the signal.
        code: i32,
        /// Whether it was asked to.
        by_operator: bool,
    },
    /// It runs again after it had been given up.
    Recovered {
        /// Its `<package>-<version>`.
        name: String,
        /// Its uuid.
        uuid: String,
    },
    /// All restarts are used up, or would be in vain.
    GivenUp {
        /// Its identity.
        identity: String,
        /// Its `<package>-<version>`.
        name: String,
        /// Its uuid.
        uuid: String,
        /// How it ended.
        why: String,
    },
}

/// Why an agent was not started.
#[derive(Debug, Error)]
pub enum StartError {
    /// No such uuid.
    #[error("no agent with uuid {0} is installed")]
    Unknown(String),
    /// There is a process already.
    #[error("agent is already running")]
    AlreadyRunning,
    /// The process could not be created.
    #[error("cannot start {identity}: {why}")]
    Launch {
        /// Its identity.
        identity: String,
        /// The reason.
        why: String,
    },
}

/// Why an agent was not stopped.
#[derive(Debug, Error)]
pub enum StopError {
    /// Even SIGKILL did not help.
    #[error("process is unresponsive")]
    Unresponsive,
}

pub(super) struct Slot {
    pub(super) agent: InstalledAgent,
    pub(super) machine: Machine,
    pub(super) since: Option<Timestamp>,
    pub(super) tail: Arc<LogTail>,
    pub(super) launch_error: Option<String>,
    pub(super) last_crash: Option<Crash>,
    pub(super) protection: Option<Protection>,
    pub(super) group: Option<Group>,
    changed: watch::Sender<View>,
}

/// Starts, watches, restarts and stops agents. Shared as an [`Arc`].
pub struct Supervisor {
    pub(super) options: SupervisorOptions,
    pub(super) launcher: Launcher,
    slots: Mutex<BTreeMap<String, Slot>>,
    pub(super) files: Option<AgentFiles>,
    pub(super) meter: Meter,
    /// Of agents that may outlive this platform, or an earlier one.
    pub(super) outputs: OnceLock<Arc<Outputs>>,
    /// The operator wants agents to live on though the platform ends in order.
    pub(super) keep_asked: AtomicBool,
    /// The platform ends and agents live on: nothing is started any more.
    pub(super) leaving: AtomicBool,
    pub(super) events: broadcast::Sender<AgentEvent>,
    rearm: Notify,
}

impl std::fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Supervisor").field("agents", &self.slots().len()).finish_non_exhaustive()
    }
}

impl Supervisor {
    /// Starts the supervisor's thread and timer; no agent yet. Must be called within a tokio runtime.
    pub fn new(options: SupervisorOptions) -> std::io::Result<Arc<Self>> {
        let files = options.agent_logs.map(|limits| AgentFiles::start(&options.home, limits)).transpose()?;
        let this = Arc::new(Self {
            options,
            files,
            meter: Meter::default(),
            outputs: OnceLock::new(),
            keep_asked: AtomicBool::new(false),
            leaving: AtomicBool::new(false),
            launcher: Launcher::start()?,
            slots: Mutex::default(),
            events: broadcast::channel(EVENT_BACKLOG).0,
            rearm: Notify::new(),
        });
        let timer = Arc::downgrade(&this);
        tokio::spawn(async move {
            while let Some(this) = timer.upgrade() {
                this.next_tick().await;
            }
        });
        Ok(this)
    }

    /// Listens to events from now on.
    pub fn events(&self) -> broadcast::Receiver<AgentEvent> {
        self.events.subscribe()
    }

    /// The home.
    pub fn home(&self) -> &Home {
        &self.options.home
    }

    /// The installed agents, as they are on disk now.
    pub fn agents(&self) -> Vec<InstalledAgent> {
        let (agents, skipped) = installed::list(&self.options.home);
        for why in skipped {
            tracing::warn!("skipped an incomplete agent directory: {why}");
        }
        agents
    }

    /// The installed agent with this uuid.
    pub fn agent(&self, uuid: &str) -> Option<InstalledAgent> {
        self.agents().into_iter().find(|a| a.uuid == uuid)
    }

    /// Starts an agent; returns its process id once the process exists.
    pub async fn start(self: &Arc<Self>, uuid: &str) -> Result<u32, StartError> {
        let agent = self.agent(uuid).ok_or_else(|| StartError::Unknown(uuid.to_owned()))?;
        let identity = agent.identity.clone();
        let mut state = self.enter(agent);
        // One that is being stopped is started once it has ended.
        let _ = state
            .wait_for(|View { state, .. }| match state {
                State::Stopping { stage, .. } => stage.is_hopeless(),
                _ => true,
            })
            .await;
        if self.feed(uuid, Input::Start).contains(&Effect::AlreadyRunning) {
            return Err(StartError::AlreadyRunning);
        }
        let launched = state.wait_for(|v| !matches!(v.state, State::Launching { .. })).await.map(|v| v.state);
        let launch_error = self.slots().get(uuid).and_then(|s| s.launch_error.clone());
        match (launched, self.status(uuid)) {
            (Ok(State::Starting { pid } | State::Running { pid, .. } | State::Stopping { pid, .. }), _) => {
                Ok(pid)
            }
            // Ended so soon that its process was never seen alive: that is the agent's failure, not the launch's. One that
            // could not be launched has the status of an earlier process.
            (Ok(_), (Some(pid), Some(_))) if launch_error.is_none() => Ok(pid),
            _ => {
                let why = launch_error.unwrap_or_else(|| "it was stopped".into());
                Err(StartError::Launch { identity, why })
            }
        }
    }

    /// Stops an agent and waits until its process ended; nothing happens if there is none.
    pub async fn stop(self: &Arc<Self>, uuid: &str) -> Result<(), StopError> {
        let Some(mut state) = self.slots().get(uuid).map(|slot| slot.changed.subscribe()) else {
            return Ok(());
        };
        self.feed(uuid, Input::Stop);
        let ended = state
            .wait_for(|View { state, .. }| {
                !state.is_alive() || matches!(state, State::Stopping { stage, .. } if stage.is_hopeless())
            })
            .await
            .is_ok_and(|v| !v.state.is_alive());
        if ended { Ok(()) } else { Err(StopError::Unresponsive) }
    }

    /// Follows what happens to an agent's process.
    pub fn watch(&self, agent: InstalledAgent) -> watch::Receiver<View> {
        self.enter(agent)
    }

    /// Whether the agent is wanted up: its process lives, or is started again soon.
    pub fn is_up(&self, uuid: &str) -> bool {
        self.slots().get(uuid).is_some_and(|slot| {
            let state = slot.machine.state();
            !matches!(state, State::Stopping { .. })
                && (state.is_alive() || matches!(state, State::Backoff { .. }))
        })
    }

    pub(super) fn groups(&self) -> Option<&Groups> {
        self.options.facts.groups.as_ref()
    }

    /// How agents become users of their own, if they are to.
    pub fn isolation(&self) -> Option<&Isolation> {
        self.options.facts.isolation.as_ref()
    }

    /// Waits until agents' log files hold what they wrote; not for ever.
    pub async fn finish_logs(&self) {
        if let Some(files) = self.files.clone() {
            let _ = tokio::task::spawn_blocking(move || files.flush(LOGS_GRACE)).await;
        }
    }

    /// Forgets exit codes: of all agents that ended, or only of those that are not installed any more.
    pub fn clear(self: &Arc<Self>, all: bool) {
        let installed: Vec<String> = self.agents().into_iter().map(|a| a.uuid).collect();
        let ended: Vec<String> = {
            let slots = self.slots();
            let ended = slots.iter().filter(|(uuid, s)| {
                !s.machine.state().is_alive() && (all || !installed.iter().any(|i| i == *uuid))
            });
            ended.map(|(uuid, _)| uuid.clone()).collect()
        };
        for uuid in ended {
            self.feed(&uuid, Input::Clear);
            if !installed.contains(&uuid) {
                self.slots().remove(&uuid);
            }
        }
    }

    /// Forgets an agent that was removed from disk, its log files included.
    pub async fn forget(&self, agent: &InstalledAgent) {
        self.slots().remove(&agent.uuid);
        if let Some(files) = self.files.clone() {
            let identity = agent.identity.clone();
            let _ = tokio::task::spawn_blocking(move || files.remove(&identity, LOGS_GRACE)).await;
        }
    }

    /// What is on disk about an agent has changed: its restart policy counts at once.
    pub fn refresh(&self, uuid: &str) {
        if self.slots().contains_key(uuid)
            && let Some(agent) = self.agent(uuid)
        {
            self.enter(agent);
        }
    }

    /// The agent with this identity did something on the bus, left it, or reported its health.
    pub fn observe(self: &Arc<Self>, identity: &str, input: Input) {
        let uuid =
            self.slots().iter().find(|(_, s)| s.agent.identity == identity).map(|(uuid, _)| uuid.clone());
        if let Some(uuid) = uuid {
            self.feed(&uuid, input);
        }
    }

    pub(super) fn slots(&self) -> MutexGuard<'_, BTreeMap<String, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes sure there is a slot for the agent, with what is on disk now.
    pub(super) fn enter(&self, agent: InstalledAgent) -> watch::Receiver<View> {
        let rules = self.rules_of(&agent);
        let mut slots = self.slots();
        let slot = slots.entry(agent.uuid.clone()).or_insert_with(|| {
            let machine = Machine::new(rules.clone());
            Slot {
                agent: agent.clone(),
                since: None,
                tail: Arc::default(),
                launch_error: None,
                last_crash: None,
                protection: None,
                group: None,
                changed: watch::channel(View::of(&machine)).0,
                machine,
            }
        });
        slot.agent = agent;
        slot.machine.set_rules(rules);
        let mut state = slot.changed.subscribe();
        // What it is now is not news; only what `feed` makes of it is.
        state.mark_unchanged();
        state
    }

    fn rules_of(&self, agent: &InstalledAgent) -> Rules {
        let mut rules = self.options.rules.clone();
        if let Some(manifest) = &agent.manifest {
            if let Some(policy) = manifest.restart.as_deref().and_then(RestartPolicy::parse) {
                rules.policy = policy;
            }
            rules.max_restarts = manifest.max_restarts.unwrap_or(rules.max_restarts);
        }
        rules
    }

    /// One step of an agent's machine, and all its effects.
    pub(super) fn feed(self: &Arc<Self>, uuid: &str, input: Input) -> Vec<Effect> {
        let mut slots = self.slots();
        let Some(slot) = slots.get_mut(uuid) else { return Vec::new() };
        let before = slot.machine.state().word();
        let effects = slot.machine.step(Instant::now(), input);
        if slot.machine.state().word() != before {
            slot.since = Some(Timestamp::now());
        }
        for effect in &effects {
            if let Effect::Ended { code, by_operator: false } = *effect
                && code != 0
            {
                let last_error = slot.tail.error().or_else(|| slot.tail.lines().pop());
                let (pid, _) = slot.machine.status();
                let code = Some(code).filter(|_| !slot.machine.exit_unknown());
                slot.last_crash = Some(Crash { code, pid, at: Timestamp::now(), last_error });
            }
        }
        let (identity, name) = (slot.agent.identity.clone(), slot.agent.name.clone());
        let unknown = slot.machine.exit_unknown();
        let view = View::of(&slot.machine);
        // Subscribers see every state in order, because the slot is still locked.
        slot.changed.send_if_modified(|old| std::mem::replace(old, view) != view);
        drop(slots);
        for effect in &effects {
            self.carry_out(uuid, &identity, &name, effect, unknown);
        }
        self.rearm.notify_one();
        effects
    }

    /// Sleeps until the next deadline of any machine, then ticks those that are due.
    async fn next_tick(self: &Arc<Self>) {
        let next = self.slots().values().filter_map(|slot| slot.machine.deadline()).min();
        let wait = async {
            match next {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                // Now and then, so that the task ends once nobody holds the supervisor.
                None => tokio::time::sleep(Duration::from_mins(1)).await,
            }
        };
        tokio::select! {
            () = wait => {}
            () = self.rearm.notified() => return,
        }
        let now = Instant::now();
        let due: Vec<String> = {
            let slots = self.slots();
            let due = slots.iter().filter(|(_, s)| s.machine.deadline().is_some_and(|at| at <= now));
            due.map(|(uuid, _)| uuid.clone()).collect()
        };
        for uuid in due {
            self.feed(&uuid, Input::Tick);
        }
    }
}

#[cfg(test)]
#[path = "running_tests.rs"]
mod tests;
