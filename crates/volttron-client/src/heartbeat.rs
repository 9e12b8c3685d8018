//! The heartbeat: the status word on `heartbeat/<identity>`, once a minute (subsystems.md section 9).

use std::time::Duration;

use tokio::sync::watch;
use volttron_utils::headers::Headers;
use volttron_utils::time;

use crate::{CallError, Cx, PublishError};

/// How often agents beat unless told otherwise.
pub const DEFAULT_PERIOD: Duration = Duration::from_secs(60);

/// What the beating task follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Orders {
    on: bool,
    period: Duration,
    /// Counts requests for a beat right now.
    now: u64,
}

#[derive(Debug)]
pub(crate) struct State(watch::Sender<Orders>);

impl State {
    pub(crate) fn new(on: bool, period: Duration) -> Self {
        Self(watch::Sender::new(Orders { on, period, now: 0 }))
    }
}

/// The agent's heartbeat; made by [`Cx::heartbeat`].
#[derive(Clone, Debug)]
pub struct Heartbeat(Cx);

impl Cx {
    /// The agent's heartbeat.
    pub fn heartbeat(&self) -> Heartbeat {
        Heartbeat(self.clone())
    }

    /// The beating task; runs as long as the agent.
    pub(crate) async fn beat(self) {
        let mut orders = self.0.heartbeat.0.subscribe();
        loop {
            let now = *orders.borrow_and_update();
            if !now.on {
                if orders.changed().await.is_err() {
                    return;
                }
                continue;
            }
            if self.connected() {
                self.beat_once().await;
            }
            tokio::select! {
                () = tokio::time::sleep(now.period) => {}
                changed = orders.changed() => if changed.is_err() { return },
            }
        }
    }

    async fn beat_once(&self) {
        let topic = format!("heartbeat/{}", self.identity());
        let mut headers = Headers::default();
        headers.set_time("TimeStamp", time::now_utc());
        let status = self.health().report().status;
        match self.publish_with(&topic, headers, status.as_str()).await {
            // A peer that does not read misses it, which is not our trouble; the next connection beats anew.
            Ok(_)
            | Err(
                PublishError::SubscriberFull { .. }
                | PublishError::Router(CallError::Disconnected | CallError::Closed),
            ) => {}
            Err(error) => tracing::warn!("heartbeat: {error}"),
        }
    }
}

impl Heartbeat {
    /// Beats now and then every period; nothing if it beats already.
    pub fn start(&self) {
        self.0.0.heartbeat.0.send_if_modified(|o| !std::mem::replace(&mut o.on, true));
    }

    /// Stops beating.
    pub fn stop(&self) {
        self.0.0.heartbeat.0.send_if_modified(|o| std::mem::replace(&mut o.on, false));
    }

    /// Beats now, whether it was on or off, and then every period.
    pub fn restart(&self) {
        self.0.0.heartbeat.0.send_modify(|o| {
            o.on = true;
            o.now += 1;
        });
    }

    /// Beats now if it is on: the link came back.
    pub(crate) fn beat_if_running(&self) {
        self.0.0.heartbeat.0.send_if_modified(|o| {
            o.now += 1;
            o.on
        });
    }

    /// Sets the period (at least 1 ms) and beats now if it is on.
    pub fn set_period(&self, period: Duration) {
        let period = period.max(Duration::from_millis(1));
        self.0.0.heartbeat.0.send_modify(|o| o.period = period);
    }

    /// The period.
    pub fn period(&self) -> Duration {
        self.0.0.heartbeat.0.borrow().period
    }

    /// Whether it beats.
    pub fn is_running(&self) -> bool {
        self.0.0.heartbeat.0.borrow().on
    }
}
