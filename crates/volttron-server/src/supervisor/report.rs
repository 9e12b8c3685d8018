//! What the supervisor tells of its agents' processes. Changes nothing.

use std::collections::BTreeMap;

use super::Supervisor;
use super::machine::{ProcessStatus, State};
use super::view::{Details, Usage};
use crate::logging::agent_files::{AgentFiles, Lost};

impl Supervisor {
    /// Of an agent's last process.
    pub fn status(&self, uuid: &str) -> ProcessStatus {
        self.slots().get(uuid).map_or((None, None), |slot| slot.machine.status())
    }

    /// Agents started since the platform came up and not cleared: uuid, name, status, identity.
    pub fn statuses(&self) -> Vec<(String, String, ProcessStatus, String)> {
        let slots = self.slots();
        let known = slots.iter().filter(|(_, s)| !matches!(s.machine.state(), State::Installed));
        known
            .map(|(u, s)| (u.clone(), s.agent.name.clone(), s.machine.status(), s.agent.identity.clone()))
            .collect()
    }

    /// All there is to say about an agent's process.
    pub fn details(&self, uuid: &str) -> Option<Details> {
        let slots = self.slots();
        let slot = slots.get(uuid)?;
        Some(Details {
            state: slot.machine.state().word(),
            restarts: slot.machine.restarts(),
            since: slot.since,
            last_exit: slot.machine.last_exit(),
            exit_unknown: slot.machine.exit_unknown(),
            adopted: slot.machine.adopted(),
            launch_error: slot.launch_error.clone(),
            protection: slot.protection.clone(),
            last_log: slot.tail.lines(),
            last_crash: slot.last_crash.clone(),
            log_file: self.files.as_ref().map(|_| self.options.home.agent_log(&slot.agent.identity)),
        })
    }

    /// As [`Self::details`], of every agent that was started and not cleared, by uuid.
    pub fn all_details(&self) -> Vec<(String, Details)> {
        let uuids: Vec<String> = self.slots().keys().cloned().collect();
        uuids.into_iter().filter_map(|uuid| self.details(&uuid).map(|d| (uuid, d))).collect()
    }

    /// What the processes of running agents use now, by uuid. Reads all of `/proc` once.
    pub fn usages(&self) -> BTreeMap<String, Usage> {
        let running: BTreeMap<String, u32> = {
            let slots = self.slots();
            let pids = slots.iter().filter(|(_, s)| s.machine.state().is_alive());
            pids.filter_map(|(uuid, s)| Some((uuid.clone(), s.machine.status().0?))).collect()
        };
        self.meter.read(&running)
    }

    /// Lines that are in no agent's log file.
    pub fn log_lines_lost(&self) -> Lost {
        self.files.as_ref().map(AgentFiles::lost).unwrap_or_default()
    }
}
