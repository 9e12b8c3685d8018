//! The life of one agent's process as a pure state machine: inputs in, effects out, no process, no clock, no task.
//!
//! ```text
//! Installed --Start--> Launching --Launched--> Starting --BusSeen--> Running
//!     ^                    |                      |  exit               |  exit
//!     |               LaunchFailed                v                     v
//!     |                    v        operator   Stopped <-- policy --> Backoff(until) --> Launching ...
//!     +------ Clear ---- Stopped <-- Stop --- Stopping                  | attempts used up
//!                                                                     Failed (alert)
//! ```
//! The rules are those of the life cycle specification, sections 5 to 7: an operator's stop is final (no exit code
//! after it ever leads to a restart), SIGINT is followed by SIGTERM and SIGKILL after their graces, and a process that
//! stayed healthy long enough gets its restart attempts back.

use std::time::{Duration, Instant};

/// When a process that ended by itself is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum RestartPolicy {
    /// After a non-zero exit code or a signal.
    #[default]
    OnFailure,
    /// After every exit the operator did not ask for.
    Always,
    /// Not at all.
    Never,
}

impl RestartPolicy {
    /// The word used in `agent.json`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "on-failure" => Some(Self::OnFailure),
            "always" => Some(Self::Always),
            "never" => Some(Self::Never),
            _ => None,
        }
    }
}

/// Process and exit code, `[pid, code]` as the control service reports them (lifecycle.md section 1).
pub type ProcessStatus = (Option<u32>, Option<i32>);

/// The figures the machine works with; one set per agent (`agent.json` may override policy and count).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// When to restart.
    pub policy: RestartPolicy,
    /// Restarts in a row before the agent is given up.
    pub max_restarts: u32,
    /// Wait before restart 1, 2, ...; the last one is used for all later ones.
    pub delays: Vec<Duration>,
    /// No restart comes sooner than this, so that an exit code can be seen before the process is back.
    pub shortest_delay: Duration,
    /// Health for this long gives all restart attempts back.
    pub healthy_after: Duration,
    /// From SIGINT to SIGTERM.
    pub interrupt_grace: Duration,
    /// From SIGTERM to SIGKILL.
    pub terminate_grace: Duration,
    /// From SIGKILL to the report that the process does not end.
    pub kill_grace: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            policy: RestartPolicy::OnFailure,
            max_restarts: 5,
            delays: [0, 300, 600, 900, 1200].into_iter().map(Duration::from_secs).collect(),
            shortest_delay: Duration::from_secs(3),
            healthy_after: Duration::from_mins(10),
            interrupt_grace: Duration::from_mins(1),
            terminate_grace: Duration::from_secs(30),
            kill_grace: Duration::from_secs(30),
        }
    }
}

impl Rules {
    /// The wait before restart number `attempt` (counted from 0).
    pub fn delay(&self, attempt: u32) -> Duration {
        let wanted = self.delays.get(attempt as usize).or(self.delays.last()).copied().unwrap_or_default();
        wanted.max(self.shortest_delay)
    }
}

/// Exit code of an agent whose configuration is invalid.
pub const BAD_CONFIGURATION: i32 = 105;

/// How far a stop has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopStage {
    /// SIGINT was sent.
    Interrupt,
    /// SIGTERM was sent.
    Terminate,
    /// SIGKILL was sent.
    Kill,
    /// SIGKILL was sent long ago and the process still exists.
    Unresponsive,
}

impl StopStage {
    /// Whether nothing more can be done.
    pub fn is_hopeless(self) -> bool {
        self == Self::Unresponsive
    }
}

/// Where an agent's process is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing was started since the platform came up (or the record was cleared).
    Installed,
    /// The process is being created. `stop` remembers a stop that came meanwhile.
    Launching {
        /// The operator asked to stop before the process existed.
        stop: bool,
    },
    /// The process lives but was not yet seen on the bus.
    Starting {
        /// Process id.
        pid: u32,
    },
    /// The process lives and was seen on the bus.
    Running {
        /// Process id.
        pid: u32,
        /// Since when it is healthy without a break; `None` while it is not.
        healthy_since: Option<Instant>,
    },
    /// The operator's stop is under way.
    Stopping {
        /// Process id.
        pid: u32,
        /// What was sent last.
        stage: StopStage,
        /// When the next, harder step is due.
        deadline: Instant,
    },
    /// Ended, and stays so until somebody starts it.
    Stopped,
    /// Ended by itself; will be started again.
    Backoff {
        /// When.
        until: Instant,
    },
    /// Ended too often; only `start` or `clear` changes that.
    Failed,
}

impl State {
    /// The word for machines to read (life cycle section 1).
    pub fn word(&self) -> &'static str {
        match self {
            Self::Installed => "installed",
            Self::Launching { .. } | Self::Starting { .. } => "starting",
            Self::Running { .. } => "running",
            Self::Stopping { .. } => "stopping",
            Self::Stopped => "stopped",
            Self::Backoff { .. } => "backoff",
            Self::Failed => "failed",
        }
    }

    /// Whether a process exists or is being created.
    pub fn is_alive(&self) -> bool {
        matches!(
            self,
            Self::Launching { .. } | Self::Starting { .. } | Self::Running { .. } | Self::Stopping { .. }
        )
    }
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// The operator (or autostart) wants it up.
    Start,
    /// The operator wants it down.
    Stop,
    /// End the process now, without grace (second signal, overall limit).
    Kill,
    /// Forget the exit code of a process that ended.
    Clear,
    /// The process was created.
    Launched(u32),
    /// A process that an earlier platform created was found.
    Adopted(u32),
    /// The process could not be created.
    LaunchFailed,
    /// The process ended: exit code, or minus the signal.
    Exited(i32),
    /// The process ended and nobody can tell its exit code: it was created by an earlier platform.
    Gone,
    /// The agent answered on the bus.
    BusSeen,
    /// The agent left the bus.
    BusGone,
    /// The agent reported its health.
    Health(Heard),
    /// Time passed.
    Tick,
}

/// What an agent says of its health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It is not ready yet.
    Starting,
    /// All is well.
    Good,
    /// Something is wrong, or it does not know.
    Bad,
}

/// A signal the machine asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT: stop in order.
    Interrupt,
    /// SIGTERM.
    Terminate,
    /// SIGKILL.
    Kill,
}

/// What has to be done about it, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Create the process, then feed `Launched` or `LaunchFailed`.
    Launch,
    /// Send the signal to this process (group).
    Signal(u32, Signal),
    /// The process ended; tell the router and whoever waits. `by_operator`: it was asked to.
    Ended {
        /// Exit code, or minus the signal.
        code: i32,
        /// Whether the operator had asked for it.
        by_operator: bool,
    },
    /// A restart was scheduled (attempt counted from 1).
    RestartScheduled {
        /// Which attempt.
        attempt: u32,
        /// How long until then.
        delay: Duration,
    },
    /// It is not started any more by itself, because all restarts are used up or would be in vain: publish the alert.
    GivenUp,
    /// It is up again after it had been given up: take the alert back.
    Recovered,
    /// SIGKILL did not help: answer whoever waits for the stop.
    Unresponsive,
    /// The input was refused: a process is already there.
    AlreadyRunning,
}

/// The machine of one agent.
#[derive(Clone, Debug)]
pub struct Machine {
    rules: Rules,
    state: State,
    /// Restarts made since the last health or the last operator's start.
    attempts: u32,
    /// All restarts since the platform came up.
    restarts: u32,
    /// The last process id, kept after its end for `[pid, code]`.
    pid: Option<u32>,
    /// The last exit code, gone while a process lives.
    exit: Option<i32>,
    /// The last exit code, kept while the next process lives.
    last_exit: Option<i32>,
    /// Nobody knows the last exit code: `exit` is a guess.
    exit_unknown: bool,
    /// The process was created by an earlier platform.
    adopted: bool,
    /// It was given up, and is not up again.
    given_up: bool,
    /// What the process that lives said last of its health.
    heard: Option<Heard>,
    /// Processes that ended, and those that could not be created.
    ends: u32,
}

impl Machine {
    /// A machine for an agent that was never started.
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            state: State::Installed,
            attempts: 0,
            restarts: 0,
            pid: None,
            exit: None,
            last_exit: None,
            exit_unknown: false,
            adopted: false,
            given_up: false,
            heard: None,
            ends: 0,
        }
    }

    /// Where it is.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Of the last process.
    pub fn status(&self) -> ProcessStatus {
        (self.pid, self.exit)
    }

    /// Restarts since the platform came up.
    pub fn restarts(&self) -> u32 {
        self.restarts
    }

    /// The exit code of the last process that ended; none if there was no such, or nobody knows its code.
    pub fn last_exit(&self) -> Option<i32> {
        self.last_exit.filter(|_| !self.exit_unknown)
    }

    /// Nobody knows how the last process ended. [`Self::status`] shows 0 if it was asked to end, else 1.
    pub fn exit_unknown(&self) -> bool {
        self.exit_unknown
    }

    /// Whether the process was created by an earlier platform.
    pub fn adopted(&self) -> bool {
        self.adopted
    }

    /// What the process that lives said last of its health.
    pub fn heard(&self) -> Option<Heard> {
        self.heard
    }

    /// How many processes ended or could not be created.
    pub fn ends(&self) -> u32 {
        self.ends
    }

    /// New figures, for instance after a reinstall; they hold from the next decision on.
    pub fn set_rules(&mut self, rules: Rules) {
        self.rules = rules;
    }

    /// When a `Tick` is due, if at all.
    pub fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Stopping { stage: StopStage::Unresponsive, .. } => None,
            State::Stopping { deadline, .. } => Some(deadline),
            State::Backoff { until } => Some(until),
            State::Running { healthy_since: Some(since), .. } if self.attempts > 0 => {
                Some(since + self.rules.healthy_after)
            }
            _ => None,
        }
    }

    /// Takes one input; the caller carries the effects out in order.
    pub fn step(&mut self, now: Instant, input: Input) -> Vec<Effect> {
        match input {
            Input::Start => self.start(),
            Input::Stop => self.stop(now),
            Input::Kill => self.kill(now),
            Input::Clear => self.clear(),
            Input::Launched(pid) => self.launched(now, pid),
            Input::Adopted(pid) => self.adopt(pid),
            Input::LaunchFailed => self.launch_failed(now),
            Input::Exited(code) => {
                let effects = self.exited(now, code);
                self.exit_unknown &= effects.is_empty();
                effects
            }
            Input::Gone => {
                let code = i32::from(!matches!(self.state, State::Stopping { .. }));
                let effects = self.exited(now, code);
                self.exit_unknown |= !effects.is_empty();
                effects
            }
            Input::BusSeen => self.bus_seen(now),
            Input::BusGone => self.health(now, None),
            Input::Health(heard) => self.health(now, Some(heard)),
            Input::Tick => self.tick(now),
        }
    }

    fn start(&mut self) -> Vec<Effect> {
        if self.state.is_alive() {
            return vec![Effect::AlreadyRunning];
        }
        self.attempts = 0;
        self.state = State::Launching { stop: false };
        vec![Effect::Launch]
    }

    fn stop(&mut self, now: Instant) -> Vec<Effect> {
        match self.state {
            State::Launching { .. } => {
                self.state = State::Launching { stop: true };
                vec![]
            }
            State::Starting { pid } | State::Running { pid, .. } => self.interrupt(now, pid),
            State::Backoff { .. } | State::Failed => {
                self.state = State::Stopped;
                vec![]
            }
            State::Stopping { .. } | State::Installed | State::Stopped => vec![],
        }
    }

    fn interrupt(&mut self, now: Instant, pid: u32) -> Vec<Effect> {
        let deadline = now + self.rules.interrupt_grace;
        self.state = State::Stopping { pid, stage: StopStage::Interrupt, deadline };
        vec![Effect::Signal(pid, Signal::Interrupt)]
    }

    fn kill(&mut self, now: Instant) -> Vec<Effect> {
        match self.state {
            State::Starting { pid } | State::Running { pid, .. } | State::Stopping { pid, .. } => {
                let deadline = now + self.rules.kill_grace;
                self.state = State::Stopping { pid, stage: StopStage::Kill, deadline };
                vec![Effect::Signal(pid, Signal::Kill)]
            }
            _ => self.stop(now),
        }
    }

    fn clear(&mut self) -> Vec<Effect> {
        if matches!(self.state, State::Stopped | State::Failed) {
            self.state = State::Installed;
            (self.pid, self.exit) = (None, None);
        }
        vec![]
    }

    fn launched(&mut self, now: Instant, pid: u32) -> Vec<Effect> {
        let State::Launching { stop } = self.state else { return vec![] };
        (self.pid, self.exit, self.adopted) = (Some(pid), None, false);
        self.state = State::Starting { pid };
        if stop { self.interrupt(now, pid) } else { vec![] }
    }

    fn adopt(&mut self, pid: u32) -> Vec<Effect> {
        if self.state.is_alive() {
            return vec![Effect::AlreadyRunning];
        }
        (self.pid, self.exit, self.adopted) = (Some(pid), None, true);
        self.state = State::Starting { pid };
        vec![]
    }

    /// Creating the process failed. By an operator's start that is his answer; in a series of restarts it counts as
    /// one more failed attempt, because the cause (a full process table, say) may pass.
    fn launch_failed(&mut self, now: Instant) -> Vec<Effect> {
        let State::Launching { stop } = self.state else { return vec![] };
        self.state = State::Stopped;
        self.ends += 1;
        if stop || self.attempts == 0 { vec![] } else { self.back_off(now) }
    }

    fn exited(&mut self, now: Instant, code: i32) -> Vec<Effect> {
        // Before `Launched` there is no process that could end.
        if !self.state.is_alive() || matches!(self.state, State::Launching { .. }) {
            return vec![];
        }
        let by_operator = matches!(self.state, State::Stopping { .. });
        if let State::Running { healthy_since: Some(since), .. } = self.state
            && now.duration_since(since) >= self.rules.healthy_after
        {
            self.attempts = 0;
        }
        (self.exit, self.last_exit, self.heard) = (Some(code), Some(code), None);
        self.ends += 1;
        self.state = State::Stopped;
        let mut effects = vec![Effect::Ended { code, by_operator }];
        let again = match self.rules.policy {
            RestartPolicy::OnFailure => code != 0,
            RestartPolicy::Always => true,
            RestartPolicy::Never => false,
        };
        if again && !by_operator {
            // Configured wrongly now means configured wrongly in a while.
            let restart = if code == BAD_CONFIGURATION { self.give_up() } else { self.back_off(now) };
            effects.extend(restart);
        }
        effects
    }

    fn back_off(&mut self, now: Instant) -> Vec<Effect> {
        if self.attempts >= self.rules.max_restarts {
            return self.give_up();
        }
        let delay = self.rules.delay(self.attempts);
        self.attempts += 1;
        self.state = State::Backoff { until: now + delay };
        vec![Effect::RestartScheduled { attempt: self.attempts, delay }]
    }

    fn give_up(&mut self) -> Vec<Effect> {
        self.state = State::Failed;
        self.given_up = true;
        vec![Effect::GivenUp]
    }

    fn bus_seen(&mut self, now: Instant) -> Vec<Effect> {
        match &mut self.state {
            State::Starting { pid } => {
                self.state = State::Running { pid: *pid, healthy_since: Some(now) };
                if std::mem::take(&mut self.given_up) {
                    return vec![Effect::Recovered];
                }
            }
            State::Running { healthy_since, .. } => {
                healthy_since.get_or_insert(now);
            }
            _ => {}
        }
        vec![]
    }

    fn health(&mut self, now: Instant, heard: Option<Heard>) -> Vec<Effect> {
        if matches!(self.state, State::Starting { .. } | State::Running { .. }) {
            self.heard = heard;
        }
        if let State::Running { healthy_since, .. } = &mut self.state {
            match heard {
                Some(Heard::Good) => {
                    healthy_since.get_or_insert(now);
                }
                _ => *healthy_since = None,
            }
        }
        vec![]
    }

    fn tick(&mut self, now: Instant) -> Vec<Effect> {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return vec![];
        }
        match self.state {
            State::Stopping { pid, stage: StopStage::Interrupt, .. } => {
                let deadline = now + self.rules.terminate_grace;
                self.state = State::Stopping { pid, stage: StopStage::Terminate, deadline };
                vec![Effect::Signal(pid, Signal::Terminate)]
            }
            State::Stopping { pid, stage: StopStage::Terminate, .. } => {
                let deadline = now + self.rules.kill_grace;
                self.state = State::Stopping { pid, stage: StopStage::Kill, deadline };
                vec![Effect::Signal(pid, Signal::Kill)]
            }
            State::Stopping { pid, stage: StopStage::Kill, deadline } => {
                self.state = State::Stopping { pid, stage: StopStage::Unresponsive, deadline };
                vec![Effect::Unresponsive]
            }
            State::Backoff { .. } => {
                self.restarts += 1;
                self.state = State::Launching { stop: false };
                vec![Effect::Launch]
            }
            State::Running { .. } => {
                self.attempts = 0;
                vec![]
            }
            _ => vec![],
        }
    }
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
