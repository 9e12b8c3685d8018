//! What a call that is refused must not change.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;
use volttron_client::Connection;

use crate::World;

/// Everything an intruder could want to change, as far as it shows.
#[derive(Debug, PartialEq)]
pub struct State {
    /// Files of the home that hold rules, configurations and agents, with their contents.
    files: BTreeMap<String, Vec<u8>>,
    /// Installed agents with their processes.
    agents: BTreeMap<String, Value>,
    /// Who is connected.
    peers: Vec<String>,
    /// Requirements in force, by agent.
    requirements: BTreeMap<String, Value>,
    /// Whether the router collects statistics.
    statistics: Value,
    platform: u32,
}

impl State {
    pub async fn of(world: &World, observer: &Connection) -> Self {
        let home = world.platform.home();
        let mut files = BTreeMap::new();
        for name in ["auth.json", "protected_topics.json", "config", "keystore", "known_hosts"] {
            collect(&home.join(name), &mut files);
        }
        collect(&home.join("configuration_store"), &mut files);
        collect(&home.join("agents"), &mut files);
        let peers: Vec<String> = observer
            .peerlist()
            .await
            .expect("the platform answers")
            .into_iter()
            .filter(|peer| !peer.starts_with("control.connection"))
            .collect();
        let mut requirements = BTreeMap::new();
        for peer in &peers {
            if let Ok(value) = observer.call(peer, "auth.get_all_rpc_authorizations").send_value().await {
                requirements.insert(peer.clone(), value);
            }
        }
        let rows = world.platform.vctl_json(&["status"]);
        let agents = rows.as_object().expect("an object").iter().map(|(identity, row)| {
            let mut row = row.clone();
            // Everybody may set an agent's health, as in the original.
            let fields = row.as_object_mut().expect("an object");
            fields.remove("health");
            // Measured anew each time.
            for name in ["memory_bytes", "cpu_s", "cpu_percent", "cpu_window_s"] {
                fields.remove(name);
            }
            (identity.clone(), row)
        });
        Self {
            files,
            agents: agents.collect(),
            peers,
            requirements,
            statistics: observer
                .call("control", "stats.enabled")
                .send_value()
                .await
                .expect("control answers"),
            platform: world.platform.pid(),
        }
    }

    /// Panics with what differs.
    pub fn assert_same(&self, now: &Self, after: &str) {
        let keys = self.files.keys().chain(now.files.keys());
        let changed: Vec<&String> = keys.filter(|k| self.files.get(*k) != now.files.get(*k)).collect();
        assert!(changed.is_empty(), "{after}: files changed: {changed:?}");
        assert_eq!(self, now, "{after}: an effect");
    }
}

/// Files under `path`, but not what agents write themselves.
fn collect(path: &Path, into: &mut BTreeMap<String, Vec<u8>>) {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // Everybody may set overrides, as in the original; the driver keeps them in its own store.
    let own = name == "platform.driver.store"
        || name == "data"
        || name.ends_with(".agent-data")
        || name.contains(".log");
    if own || path.is_symlink() {
        return;
    }
    if let Ok(entries) = fs::read_dir(path) {
        for entry in entries {
            collect(&entry.expect("an entry").path(), into);
        }
    } else if let Ok(bytes) = fs::read(path) {
        into.insert(path.display().to_string(), bytes);
    }
}
