//! What others may see of an agent's process.

use jiff::Timestamp;

use super::machine::{Heard, Machine, State};

/// All there is to say about one agent's process.
#[derive(Clone, Debug)]
pub struct Details {
    /// The word of [`State::word`].
    pub state: &'static str,
    /// Restarts since the platform came up.
    pub restarts: u32,
    /// Since when it is in this state.
    pub since: Option<Timestamp>,
    /// How its last process ended.
    pub last_exit: Option<i32>,
    /// Why its last start failed before there was a process.
    pub launch_error: Option<String>,
    /// The last lines it wrote.
    pub last_log: Vec<String>,
}

/// What there is to see of an agent's process at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// Where it is in its life.
    pub state: State,
    /// What it said last of its health.
    pub heard: Option<Heard>,
    /// How many of its processes ended or could not be created.
    pub ends: u32,
}

impl View {
    pub(super) fn of(machine: &Machine) -> Self {
        Self { state: *machine.state(), heard: machine.heard(), ends: machine.ends() }
    }
}
