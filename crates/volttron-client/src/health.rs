//! The agent's own status, and alerts (subsystems.md section 8).

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use tokio::sync::watch;
use volttron_utils::headers::Headers;
use volttron_utils::health::{HealthReport, Status};
use volttron_utils::{identity, json};

use crate::{CallError, Cx, PublishError};

/// How long an alert waits for the router.
const ALERT_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct State {
    report: Mutex<HealthReport>,
    changes: watch::Sender<u64>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            report: Mutex::new(HealthReport::new(Status::Good, Value::Null)),
            changes: watch::Sender::new(0),
        }
    }
}

impl State {
    fn lock(&self) -> MutexGuard<'_, HealthReport> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Health of this agent; made by [`Cx::health`].
#[derive(Clone, Debug)]
pub struct Health(Cx);

impl Cx {
    /// The agent's own health.
    pub fn health(&self) -> Health {
        Health(self.clone())
    }
}

impl Health {
    /// Sets status and context (text, object or list; null = none). A changed status is beaten at once, and starts the
    /// heartbeat if it was off.
    pub fn set(&self, status: Status, context: impl Serialize) {
        // What cannot be JSON is left out rather than losing the status.
        let context = serde_json::to_value(context).unwrap_or_default();
        let changed = {
            let mut report = self.0.0.health.lock();
            let changed = report.status != status;
            *report = HealthReport::new(status, context);
            changed
        };
        if changed {
            self.0.0.health.changes.send_modify(|n| *n += 1);
            self.0.heartbeat().restart();
        }
    }

    /// Sets GOOD.
    pub fn good(&self, context: impl Serialize) {
        self.set(Status::Good, context);
    }

    /// Sets BAD.
    pub fn bad(&self, context: impl Serialize) {
        self.set(Status::Bad, context);
    }

    /// Status, context and when it was set.
    pub fn report(&self) -> HealthReport {
        self.0.0.health.lock().clone()
    }

    /// Resolves at each change of the status word.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.0.health.changes.subscribe()
    }

    /// Publishes an alert under `key` on `alerts/<class>/<instance>_<identity>`. The body is the status object as JSON
    /// *text*, as everybody expects it.
    pub async fn alert(
        &self,
        key: &str,
        status: Status,
        context: impl Serialize,
    ) -> Result<u32, PublishError> {
        let cx = &self.0;
        let topic =
            format!("alerts/{}/{}", cx.class_name(), identity::alert_name(cx.instance_name(), cx.identity()));
        let bad =
            |e: serde_json::Error| PublishError::BadMessage { topic: topic.clone(), why: e.to_string() };
        let context = serde_json::to_value(context).map_err(bad)?;
        let text = json::to_string(&HealthReport::new(status, context)).map_err(bad)?;
        let mut headers = Headers::default();
        headers.set("alert_key", key);
        match tokio::time::timeout(ALERT_TIMEOUT, cx.publish_with(&topic, headers, text.as_str())).await {
            Ok(outcome) => outcome,
            Err(_) => Err(PublishError::Router(CallError::Timeout {
                what: topic,
                peer: String::new(),
                after: ALERT_TIMEOUT,
            })),
        }
    }
}
