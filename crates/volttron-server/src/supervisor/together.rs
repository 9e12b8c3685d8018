//! All agents at once: started with the platform, and stopped with it, in the order that their priorities and what they come
//! after ask for.

use std::sync::Arc;
use std::time::Duration;

use super::installed::InstalledAgent;
use super::machine::{Input, State};
use super::order::{start_order, stop_groups};
use super::running::Supervisor;

/// How long an agent that starts with the platform waits for each one it comes after.
const READY_LIMIT: Duration = Duration::from_secs(20);

impl Supervisor {
    /// Starts every enabled agent that does not run yet: highest priority first,
    /// equal ones by identity. An agent that cannot be started is logged and does not hold up the others.
    pub async fn autostart(self: &Arc<Self>) {
        let enabled = self.agents().into_iter().filter(|a| a.start_rank().is_some()).collect();
        let (agents, circles) = start_order(enabled);
        for identity in circles {
            tracing::warn!(
                "{identity} comes `after` an agent that comes after it, and is started all the same"
            );
        }
        for agent in &agents {
            for name in agent.after() {
                self.wait_ready(&agent.identity, name, &agents).await;
            }
            if self.is_up(&agent.uuid) {
                continue;
            }
            if let Err(error) = self.start(&agent.uuid).await {
                tracing::error!("error starting '{}': {error}", agent.uuid);
            }
        }
    }

    /// Waits until the agent called `name` is on the bus, if it starts with the platform; not for ever, nor for one that
    /// ended.
    async fn wait_ready(self: &Arc<Self>, waiting: &str, name: &str, enabled: &[InstalledAgent]) {
        let Some(agent) = enabled.iter().find(|a| a.identity == name) else { return };
        let mut view = self.watch(agent.clone());
        let settled = view.wait_for(|v| matches!(v.state, State::Running { .. }) || v.ends > 0);
        match tokio::time::timeout(READY_LIMIT, settled).await {
            Ok(Ok(view)) if matches!(view.state, State::Running { .. }) => {}
            _ => tracing::warn!(
                "{waiting} is started although {name}, which it comes after, is not on the bus"
            ),
        }
    }

    /// Stops every agent: lowest priority first, equal ones together, nobody before those that come after it. What has not ended within the overall limit is
    /// killed.
    pub async fn stop_all(self: &Arc<Self>) {
        let limit = self.options.shutdown_timeout;
        if tokio::time::timeout(limit, self.stop_in_order()).await.is_err() {
            let left: Vec<String> = self.alive();
            tracing::warn!("{} agents did not stop within {limit:?} and are killed", left.len());
            for uuid in &left {
                self.feed(uuid, Input::Kill);
            }
            let gone = async {
                for uuid in &left {
                    let _ = self.stop(uuid).await;
                }
            };
            let _ = tokio::time::timeout(Duration::from_secs(5), gone).await;
        }
    }

    async fn stop_in_order(self: &Arc<Self>) {
        let started: Vec<InstalledAgent> = {
            let slots = self.slots();
            let started = slots.values().filter(|s| !matches!(s.machine.state(), State::Installed));
            started.map(|slot| slot.agent.clone()).collect()
        };
        for group in stop_groups(started) {
            futures_util::future::join_all(group.iter().map(|agent| self.stop(&agent.uuid))).await;
        }
    }

    /// Ends every agent's process now, without grace.
    pub fn kill_all(self: &Arc<Self>) {
        for uuid in self.alive() {
            self.feed(&uuid, Input::Kill);
        }
    }

    fn alive(&self) -> Vec<String> {
        self.slots()
            .iter()
            .filter(|(_, s)| s.machine.state().is_alive())
            .map(|(uuid, _)| uuid.clone())
            .collect()
    }
}
