//! The table of devices: which exist, which run, in which slot. Does no IO and waits for nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};
use volttron_client::driver::{DriverError, PublishFlags, Schedule, Slots};

use crate::instance::{Instance, Plan, Running};
use crate::settings::{DeviceSettings, MainSettings};
use crate::status::Status;

/// All devices. Keyed by lower-case path, because names in the configuration store have no case; looked up by exact
/// path, because topics have.
#[derive(Default)]
pub struct Fleet {
    main: MainSettings,
    slots: Slots,
    entries: BTreeMap<String, Entry>,
}

struct Entry {
    path: String,
    status: Arc<Status>,
    state: State,
}

enum State {
    Running(Box<Active>),
    Failed(DriverError),
}

struct Active {
    running: Running,
    settings: DeviceSettings,
    place: Place,
}

/// Why a path does not lead to a running device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoDevice {
    /// There is no entry of that path.
    Unknown(String),
    /// The entry cannot be used.
    Failed(DriverError),
}

/// Where a device goes in the table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    group: u32,
    slot: u32,
    /// The schedule and flags that follow from it.
    pub plan: Plan,
}

impl Fleet {
    /// The main configuration in force.
    pub fn main(&self) -> &MainSettings {
        &self.main
    }

    /// Puts a new main configuration into force: all offsets are computed anew.
    pub fn set_main(&mut self, main: MainSettings) {
        self.main = main;
        for entry in self.entries.values() {
            if let State::Running(active) = &entry.state {
                active.running.replan(plan_of(&self.main, &active.settings, active.place.slot, &entry.path));
            }
        }
    }

    /// Takes a device's task out, to be stopped. Its entry stays and answers with `meanwhile`; its slot is free.
    pub fn take(&mut self, path: &str, meanwhile: DriverError) -> Option<Running> {
        let entry = self.entries.get_mut(&path.to_lowercase())?;
        match std::mem::replace(&mut entry.state, State::Failed(meanwhile)) {
            State::Running(active) => {
                self.slots.release(active.place.group, active.place.slot);
                Some(active.running)
            }
            State::Failed(_) => None,
        }
    }

    /// Counters of a device, new ones for a new device.
    pub fn status(&self, path: &str) -> Arc<Status> {
        self.entries.get(&path.to_lowercase()).map(|entry| entry.status.clone()).unwrap_or_default()
    }

    /// Reserves a slot: the lowest one that a removed device of the group left, else the next.
    pub fn place(&mut self, settings: &DeviceSettings, path: &str) -> Place {
        let slot = self.slots.take(settings.group);
        Place { group: settings.group, slot, plan: plan_of(&self.main, settings, slot, path) }
    }

    /// Enters a running device.
    pub fn put(&mut self, running: Running, settings: DeviceSettings, place: Place) {
        let path = running.instance.path.clone();
        let status = running.instance.status.clone();
        let state = State::Running(Box::new(Active { running, settings, place }));
        self.entries.insert(path.to_lowercase(), Entry { path, status, state });
    }

    /// Enters a device that cannot run.
    pub fn put_failed(&mut self, path: &str, error: DriverError) {
        let status = self.status(path);
        self.entries.insert(
            path.to_lowercase(),
            Entry { path: path.to_owned(), status, state: State::Failed(error) },
        );
    }

    /// Forgets a device whose task was taken out.
    pub fn remove(&mut self, path: &str) {
        self.entries.remove(&path.to_lowercase());
    }

    /// The running device of exactly this path.
    pub fn get(&self, path: &str) -> Result<Arc<Instance>, NoDevice> {
        match self.entries.get(&path.to_lowercase()).filter(|entry| entry.path == path) {
            None => Err(NoDevice::Unknown(path.to_owned())),
            Some(Entry { state: State::Failed(error), .. }) => Err(NoDevice::Failed(error.clone())),
            Some(Entry { state: State::Running(active), .. }) => Ok(active.running.instance.clone()),
        }
    }

    /// Forms of publication of a device now.
    pub fn flags(&self, path: &str) -> PublishFlags {
        match self.entries.get(&path.to_lowercase()) {
            Some(Entry { state: State::Running(active), .. }) => active.settings.flags(self.main.flags),
            _ => self.main.flags,
        }
    }

    /// All running devices.
    pub fn running(&self) -> Vec<Arc<Instance>> {
        let instance = |entry: &Entry| match &entry.state {
            State::Running(active) => Some(active.running.instance.clone()),
            State::Failed(_) => None,
        };
        self.entries.values().filter_map(instance).collect()
    }

    /// How many devices run.
    pub fn running_count(&self) -> usize {
        self.entries.values().filter(|entry| matches!(entry.state, State::Running(_))).count()
    }

    /// Paths of all devices, running or not.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.entries.values().map(|entry| entry.path.as_str())
    }

    /// Takes everything out, to be stopped.
    pub fn take_all(&mut self) -> Vec<Running> {
        let entries = std::mem::take(&mut self.entries);
        self.slots = Slots::default();
        entries
            .into_values()
            .filter_map(
                |entry| if let State::Running(active) = entry.state { Some(active.running) } else { None },
            )
            .collect()
    }

    /// State and counters by path, of one device or of all.
    pub fn statuses(&self, only: Option<&str>) -> Map<String, Value> {
        let entries = self.entries.values().filter(|entry| only.is_none_or(|path| entry.path == path));
        entries.map(|entry| (entry.path.clone(), entry.status.to_value(&entry.state.text()))).collect()
    }

    /// Devices in trouble and why, at most `limit` of them, and how many there are.
    pub fn troubles(&self, limit: usize) -> (Map<String, Value>, usize) {
        let mut listed = Map::new();
        let mut count = 0;
        for entry in self.entries.values() {
            if matches!(entry.state, State::Running(_)) && !entry.status.is_silent() {
                continue;
            }
            count += 1;
            if listed.len() < limit {
                listed.insert(entry.path.clone(), entry.status.to_value(&entry.state.text()));
            }
        }
        (listed, count)
    }

    /// How many devices there are.
    pub fn count(&self) -> usize {
        self.entries.len()
    }
}

impl State {
    fn text(&self) -> String {
        match self {
            Self::Running(_) => "RUNNING".to_owned(),
            Self::Failed(error) => format!("FAILED({error})"),
        }
    }
}

fn plan_of(main: &MainSettings, settings: &DeviceSettings, slot: u32, path: &str) -> Plan {
    let offset = main.stagger.offset(slot, settings.group, settings.interval);
    if offset.wrapped {
        tracing::warn!(path, slot, "more devices than fit into the interval: several start at the same time");
    }
    Plan { schedule: Schedule::new(settings.interval, offset.offset), flags: settings.flags(main.flags) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn settings(group: u32) -> DeviceSettings {
        let entry = json!({"driver_type": "fake", "driver_config": {}, "group": group});
        DeviceSettings::parse(&entry).expect("entry").0
    }

    #[test]
    fn failed_devices_stay_listed_and_paths_have_case() {
        let mut fleet = Fleet::default();
        let error = DriverError::Config("bad row".into());
        fleet.put_failed("Campus/AHU", error.clone());
        assert!(matches!(fleet.get("Campus/AHU"), Err(NoDevice::Failed(e)) if e == error));
        assert!(matches!(fleet.get("campus/ahu"), Err(NoDevice::Unknown(_))));
        assert_eq!(fleet.statuses(None)["Campus/AHU"]["state"], "FAILED(bad row)");
        assert_eq!(fleet.troubles(0), (Map::new(), 1));
        // The same entry under another spelling replaces it, as in the configuration store.
        fleet.put_failed("campus/ahu", error);
        assert_eq!(fleet.paths().collect::<Vec<_>>(), ["campus/ahu"]);
    }

    #[test]
    fn places_follow_the_stagger() {
        let mut fleet = Fleet::default();
        let offsets: Vec<_> = (0..3).map(|_| fleet.place(&settings(0), "a").plan.schedule).collect();
        let want: Vec<_> = [0, 20, 40]
            .map(|ms| Schedule::new(std::time::Duration::from_mins(1), std::time::Duration::from_millis(ms)))
            .into();
        assert_eq!(offsets, want);
        assert_eq!(fleet.place(&settings(1), "a").slot, 0);
    }
}
