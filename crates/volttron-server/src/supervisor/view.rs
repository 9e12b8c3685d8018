//! What others may see of an agent's process.

use std::path::PathBuf;

use jiff::Timestamp;

use crate::processes::Family;

use super::machine::{Heard, Machine, State};
use super::protection::Protection;

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
    /// Nobody knows how its last process ended, because an earlier platform had created it.
    pub exit_unknown: bool,
    /// An earlier platform created its process.
    pub adopted: bool,
    /// Why its last start failed before there was a process.
    pub launch_error: Option<String>,
    /// What is in force for its last process; not known of one that an earlier platform started.
    pub protection: Option<Protection>,
    /// The last lines it wrote.
    pub last_log: Vec<String>,
    /// How it ended last without being asked to, however long ago.
    pub last_crash: Option<Crash>,
    /// Where all of what it writes is, if agents have files.
    pub log_file: Option<PathBuf>,
}

/// An end that nobody asked for.
#[derive(Clone, Debug)]
pub struct Crash {
    /// Exit code, or minus the signal; none if nobody knows.
    pub code: Option<i32>,
    /// Process id.
    pub pid: Option<u32>,
    /// When.
    pub at: Timestamp,
    /// The last line that tells of an error, or else the last line.
    pub last_error: Option<String>,
}

/// What an agent's processes use.
#[derive(Clone, Debug)]
pub struct Usage {
    /// The process that was started.
    pub pid: u32,
    /// Unix user it runs as.
    pub user: String,
    /// That process and everything it started.
    pub family: Family,
    /// Percent of one processor over the last [`Self::cpu_window_s`] seconds.
    pub cpu_percent: f64,
    /// Since somebody asked last, or since the start.
    pub cpu_window_s: f64,
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
