//! How much of the machine an agent may use: `agent-memory-max`, `agent-cpu-max`, `agent-pids-max` of the platform, and
//! `limits` in the agent's `agent.json`.
//!
//! ```json
//! "limits": {"memory_max": 268435456, "cpu_max": 50, "pids_max": 64, "require": true}
//! ```

use serde::{Deserialize, Serialize};

use super::installed::InstalledAgent;

/// Limits; what is none is not limited.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Memory in bytes.
    pub memory_max: Option<u64>,
    /// Share of one core in percent; 200 is two cores.
    pub cpu_max: Option<u64>,
    /// Processes and threads.
    pub pids_max: Option<u64>,
    /// The agent is not started where one of them cannot be kept.
    #[serde(default)]
    pub require: bool,
}

impl Limits {
    /// Whether there is nothing to keep.
    pub fn is_empty(&self) -> bool {
        self.memory_max.is_none() && self.cpu_max.is_none() && self.pids_max.is_none()
    }

    /// Of this agent: what its `agent.json` says, and the platform's where that says nothing.
    pub(super) fn of(agent: &InstalledAgent, platform: &Self) -> Result<Self, String> {
        let said = agent.manifest.as_ref().and_then(|manifest| manifest.other.get("limits"));
        let own = said.map(Self::deserialize).transpose();
        let own = own.map_err(|e| format!("`limits` in its agent.json: {e}"))?.unwrap_or_default();
        let all = Self {
            memory_max: own.memory_max.or(platform.memory_max),
            cpu_max: own.cpu_max.or(platform.cpu_max),
            pids_max: own.pids_max.or(platform.pids_max),
            require: own.require || platform.require,
        };
        if [all.memory_max, all.cpu_max, all.pids_max].contains(&Some(0)) {
            return Err("a limit of 0 leaves nothing to run with; leave it out for none".to_owned());
        }
        Ok(all)
    }
}
