//! What happens around a connection: first start, reconnection, running handlers of one kind.
//!
//! Order at the first welcome (vip.md section 8): subscriptions, heartbeat, `on_connected`, what the platform knows
//! (peers, instance name), initial configuration, `on_start`, periodic jobs; and one second later the report of method
//! requirements.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::watch;

use super::CxFn;
use crate::cx::guarded;
use crate::{CallError, Cx};

/// When the auth service hears which capabilities our methods require (auth.md section 6.1).
const REPORT_AFTER: Duration = Duration::from_secs(1);

/// What runs once, at the first welcome.
pub(super) struct Start {
    pub(super) handlers: Vec<CxFn>,
    pub(super) every: Vec<(Duration, CxFn)>,
    pub(super) cron: Vec<(String, CxFn)>,
    pub(super) report_methods: bool,
    pub(super) learn_instance: bool,
    pub(super) started: Option<watch::Sender<bool>>,
}

impl Start {
    pub(super) async fn run(self, cx: Cx, connected: Vec<CxFn>) {
        announce(&cx).await;
        cx.spawn(cx.clone().beat());
        if self.report_methods {
            let cx = cx.clone();
            cx.clone().spawn(async move {
                tokio::time::sleep(REPORT_AFTER).await;
                cx.report_authorizations().await;
            });
        }
        tokio::join!(learn_peers(&cx), async {
            if self.learn_instance {
                learn_instance_name(&cx).await;
            }
        });
        all(&cx, "on_connected", &connected).await;
        if cx.0.config.enabled {
            fetch_config(&cx).await;
            cx.deliver_initial_config().await;
            cx.spawn(cx.clone().deliver_config_changes());
        }
        for why in all(&cx, "on_start", &self.handlers).await {
            cx.health().bad(format!("on_start: {why}"));
        }
        for (period, job) in self.every {
            let job_cx = cx.clone();
            cx.every(period, move || job(job_cx.clone()));
        }
        for (expression, job) in self.cron {
            let job_cx = cx.clone();
            if let Err(error) = cx.cron(&expression, move || job(job_cx.clone())) {
                tracing::error!("cron expression '{expression}': {error}");
            }
        }
        if let Some(started) = self.started {
            started.send_replace(true);
        }
    }
}

/// After a later welcome: tell the router what we want, catch up on configuration.
pub(super) async fn reconnected(cx: Cx, connected: Vec<CxFn>) {
    announce(&cx).await;
    cx.heartbeat().beat_if_running();
    learn_peers(&cx).await;
    cx.restore_web().await;
    all(&cx, "on_connected", &connected).await;
    if cx.0.config.enabled {
        fetch_config(&cx).await;
    }
}

async fn announce(cx: &Cx) {
    if let Err(error) = cx.synchronize().await {
        log(&error, "subscriptions were not announced");
    }
}

async fn learn_peers(cx: &Cx) {
    if let Err(error) = cx.peerlist().await {
        log(&error, "the list of peers is not known");
    }
}

async fn learn_instance_name(cx: &Cx) {
    if cx.knows_instance_name() {
        return;
    }
    match cx.query("instance-name").await {
        Ok(name) => cx.learn_instance_name(name.unwrap_or_default()),
        Err(error) => log(&error, "the instance name is not known"),
    }
}

/// Without a store the agent goes on with its defaults (subsystems.md section 11, auth.md section 1).
async fn fetch_config(cx: &Cx) {
    if let Err(error) = cx.fetch_config().await {
        log(&error, "no configuration from the store");
    }
}

fn log(error: &CallError, what: &str) {
    if !matches!(error, CallError::Disconnected | CallError::Closed) {
        tracing::warn!("{what}: {error}");
    }
}

/// Runs handlers at the same time and waits for all; the texts of those that failed.
pub(super) async fn all(cx: &Cx, what: &str, handlers: &[CxFn]) -> Vec<String> {
    let runs = handlers.iter().map(|handler| guarded(cx, what, async { handler(cx.clone()).await }));
    join_all(runs).await.into_iter().filter_map(Result::err).collect()
}
