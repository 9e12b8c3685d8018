//! Asking every part of the platform for its numbers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use serde_json::{Map, Value};
use thiserror::Error;
use volttron_client::Cx;
use volttron_utils::identity;

use super::process::{self, Usage};
use super::text;
use crate::auth::AuthState;
use crate::front::{FrontControl, FrontSnapshot, FrontStopped};
use crate::supervisor::Supervisor;

/// How long a service may take to answer before its numbers are left out.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whom to ask.
#[derive(Clone)]
pub struct Sources {
    /// The router thread.
    pub front: FrontControl,
    /// Agents and their processes.
    pub supervisor: Arc<Supervisor>,
    /// The door.
    pub auth: AuthState,
    /// A service's handle, for what other services count.
    pub cx: Cx,
    /// The platform's name.
    pub instance_name: String,
    /// When it came up.
    pub since: Instant,
}

/// Why there are no metrics.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MetricsError {
    /// The platform is going away.
    #[error(transparent)]
    Stopped(#[from] FrontStopped),
    /// A fault of ours; what it says is all there is.
    #[error("the metrics cannot be written: {0}")]
    Text(#[from] std::fmt::Error),
}

impl Sources {
    /// What everything counts now, as OpenMetrics text.
    pub async fn text(&self) -> Result<String, MetricsError> {
        Ok(text::encode(&gather(self).await?)?)
    }
}

/// An installed agent now.
#[derive(Clone, Debug, Default)]
pub(super) struct AgentSample {
    pub(super) identity: String,
    pub(super) state: &'static str,
    pub(super) restarts: u64,
    pub(super) usage: Option<Usage>,
}

/// Everything, as it was at one moment.
#[derive(Clone, Debug)]
pub(super) struct Samples {
    pub(super) instance_name: String,
    pub(super) uptime: Duration,
    pub(super) process: Option<Usage>,
    pub(super) bus: FrontSnapshot,
    pub(super) auth: Vec<(&'static str, u64)>,
    pub(super) agents: Vec<AgentSample>,
    /// Lines that are in no agent's file, by reason.
    pub(super) agent_lines_lost: Vec<(&'static str, u64)>,
    /// Identity and status word of whoever said how it is.
    pub(super) health: Vec<(String, String)>,
    pub(super) config_store: Map<String, Value>,
}

/// Asks all of them.
async fn gather(sources: &Sources) -> Result<Samples, FrontStopped> {
    let (health, config_store) = tokio::join!(
        ask(sources, identity::HEALTH, "get_platform_health"),
        ask(sources, identity::CONFIG_STORE, "get_store_counters")
    );
    let status = |(name, peer): (String, Value)| Some((name, word(peer.get("message")?)?));
    Ok(Samples {
        instance_name: sources.instance_name.clone(),
        uptime: sources.since.elapsed(),
        process: process::usage(std::process::id()),
        bus: sources.front.snapshot().await?,
        auth: door(&sources.auth),
        agents: agents(&sources.supervisor),
        agent_lines_lost: {
            let lost = sources.supervisor.log_lines_lost();
            vec![("queue_full", lost.queue_full), ("write_failed", lost.write_failed)]
        },
        health: health.into_iter().filter_map(status).collect(),
        config_store,
    })
}

/// A heartbeat's payload: the status word, or an object with it.
fn word(message: &Value) -> Option<String> {
    message.as_str().or_else(|| message.get("status")?.as_str()).map(str::to_owned)
}

/// An object from a service; nothing if it does not answer, which its health tells.
async fn ask(sources: &Sources, service: &'static str, method: &str) -> Map<String, Value> {
    let call = sources.cx.call(sources.cx.service(service), method).timeout(PATIENCE);
    match call.send_value().await {
        Ok(Value::Object(map)) => map,
        Ok(other) => {
            tracing::debug!(service, %other, "no object");
            Map::new()
        }
        Err(error) => {
            tracing::debug!(service, %error, "its metrics are left out");
            Map::new()
        }
    }
}

fn door(auth: &AuthState) -> Vec<(&'static str, u64)> {
    let meter = auth.meter();
    let read = |counter: &AtomicU64| counter.load(Relaxed);
    vec![
        ("allowed", read(&meter.allowed)),
        ("unknown_key", read(&meter.unknown)),
        ("denied_key", read(&meter.denied)),
        ("identity_refused", read(&meter.identities_refused)),
        ("publish_denied", read(&meter.publishes_denied)),
        ("accepted_in_setup_mode", read(&meter.setup_accepted)),
    ]
}

fn agents(supervisor: &Supervisor) -> Vec<AgentSample> {
    let sample = |agent: crate::supervisor::InstalledAgent| {
        let details = supervisor.details(&agent.uuid);
        let pid = match supervisor.status(&agent.uuid) {
            (pid, None) => pid,
            _ => None,
        };
        AgentSample {
            identity: agent.identity,
            state: details.as_ref().map_or("stopped", |d| d.state),
            restarts: details.map_or(0, |d| u64::from(d.restarts)),
            usage: pid.and_then(process::usage),
        }
    };
    supervisor.agents().into_iter().map(sample).collect()
}
