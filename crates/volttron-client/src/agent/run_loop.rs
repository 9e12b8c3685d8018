//! The run loop: one task per agent that reads link events and hands each message to its subsystem.
//!
//! Must never wait for a handler: a call that a handler makes is answered through this very loop.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use volttron_utils::vip::{VipError, subsystem};

use super::{CxFn, ExitReason};
use crate::Cx;
use crate::cx::panic_text;
use crate::link::{DownReason, Link, LinkEvent, Message, RouterInfo};
use crate::requests::Answer;

/// How long the link may take to send what is queued when the agent ends.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);
/// How long tasks may take to notice that the agent ended.
const TASKS_LIMIT: Duration = Duration::from_secs(2);

pub(super) struct RunLoop {
    pub(super) cx: Cx,
    pub(super) link: Link,
    pub(super) connected: Vec<CxFn>,
    pub(super) start: Vec<CxFn>,
    pub(super) stop: Vec<CxFn>,
    pub(super) every: Vec<(Duration, CxFn)>,
    pub(super) cron: Vec<(String, CxFn)>,
    pub(super) report_methods: bool,
    pub(super) learn_instance: bool,
    pub(super) welcomed: Option<oneshot::Sender<()>>,
    pub(super) started: Option<watch::Sender<bool>>,
}

impl RunLoop {
    pub(super) async fn run(mut self) -> ExitReason {
        let cx = self.cx.clone();
        let (stopped_tx, mut stopped) = oneshot::channel();
        let mut stopped_tx = Some(stopped_tx);
        let reason = loop {
            tokio::select! {
                event = self.link.rx.recv() => {
                    if let Some(reason) = self.on_event(event) {
                        break reason;
                    }
                }
                () = cx.0.stop.cancelled(), if stopped_tx.is_some() => {
                    // Handlers may still call and publish, so they run beside this loop.
                    if let Some(done) = stopped_tx.take() {
                        self.begin_stop(done);
                    }
                }
                _ = &mut stopped, if stopped_tx.is_none() => break ExitReason::Stopped,
            }
        };
        self.finish(&reason).await;
        reason
    }

    /// Takes one event; a reason ends the agent.
    fn on_event(&mut self, event: Option<LinkEvent>) -> Option<ExitReason> {
        match event {
            Some(LinkEvent::Message(message)) => {
                // Whatever a peer sends, the agent lives on.
                let taken = std::panic::catch_unwind(AssertUnwindSafe(|| self.on_message(&message)));
                if let Err(panic) = taken {
                    self.cx.0.meter.panics.add(1);
                    let text = panic_text(&*panic);
                    tracing::error!("dropped a '{}' message: {text}", message.subsystem_str());
                }
                None
            }
            Some(LinkEvent::Up(info)) => {
                self.on_up(info);
                None
            }
            Some(LinkEvent::Down(reason)) => {
                self.on_down(&reason);
                reason.is_final().then_some(ExitReason::LinkDown(reason))
            }
            None => {
                self.on_down(&DownReason::Closed);
                Some(ExitReason::LinkDown(DownReason::Closed))
            }
        }
    }

    fn on_up(&mut self, info: RouterInfo) {
        let first = self.welcomed.take();
        if first.is_none() {
            self.cx.0.meter.reconnects.add(1);
        }
        tracing::debug!("welcomed by router {}", info.router);
        self.cx.set_router(Some(info));
        self.cx.0.auth.forget();
        let connected = self.connected.clone();
        if let Some(welcomed) = first {
            let start = self.take_start();
            self.cx.spawn(start.run(self.cx.clone(), connected));
            // Nobody may be waiting any more.
            let _ = welcomed.send(());
        } else {
            self.cx.spawn(super::lifecycle::reconnected(self.cx.clone(), connected));
        }
    }

    fn take_start(&mut self) -> super::lifecycle::Start {
        super::lifecycle::Start {
            handlers: std::mem::take(&mut self.start),
            every: std::mem::take(&mut self.every),
            cron: std::mem::take(&mut self.cron),
            report_methods: self.report_methods,
            learn_instance: self.learn_instance,
            started: self.started.take(),
        }
    }

    fn on_down(&mut self, reason: &DownReason) {
        let cx = &self.cx;
        if cx.connected() {
            tracing::warn!("{reason}");
        }
        cx.note_down(reason.to_string());
        cx.set_router(None);
        // In this order: a request registered after the flag is down fails by itself.
        cx.0.requests.fail_all();
        cx.0.peers.clear();
        cx.0.channels.interrupt();
    }

    fn on_message(&self, message: &Message) {
        let cx = &self.cx;
        cx.0.meter.received.add(1);
        match message.subsystem_str().as_ref() {
            subsystem::RPC => cx.on_rpc(message),
            subsystem::PUBSUB => cx.on_pubsub(message),
            subsystem::PEERLIST => cx.on_peerlist(message),
            subsystem::CHANNEL => cx.on_channel(message),
            subsystem::PING | subsystem::HELLO => cx.on_probe(message),
            subsystem::ERROR => on_error(cx, message),
            // Replies of subsystems that only the router serves: query, and what `router_request` was used for.
            _ if cx.0.requests.complete(&message.id, &message.peer, Answer::Args(message.args.clone())) => {}
            other => on_unknown(cx, other, message),
        }
    }

    fn begin_stop(&self, done: oneshot::Sender<()>) {
        let (cx, handlers) = (self.cx.clone(), self.stop.clone());
        self.cx.spawn(async move {
            super::lifecycle::all(&cx, "on_stop", &handlers).await;
            cx.leave_web().await;
            // The loop waits for it; it cannot be gone.
            let _ = done.send(());
        });
    }

    async fn finish(self, reason: &ExitReason) {
        let cx = self.cx;
        cx.0.stop.cancel();
        if cx.connected() && *reason == ExitReason::Stopped {
            // Tells the router at once, so that others need not wait for the connection to be missed.
            let message = Message::new("", subsystem::AGENTSTOP).arg(cx.identity().as_bytes().to_vec());
            // A link that is gone needs no farewell.
            let _ = tokio::time::timeout(CLOSE_LIMIT, cx.raw_send(message)).await;
        }
        cx.set_router(None);
        cx.0.requests.fail_all();
        cx.0.pubsub.close();
        cx.0.channels.close();
        cx.0.abort.cancel();
        self.link.close(CLOSE_LIMIT).await;
        cx.0.tasks.close();
        if tokio::time::timeout(TASKS_LIMIT, cx.0.tasks.wait()).await.is_err() {
            tracing::warn!("{} tasks did not end with the agent", cx.0.tasks.len());
        }
    }
}

/// An error frame: it ends the request that caused it.
fn on_error(cx: &Cx, message: &Message) {
    let Some(error) = VipError::from_args(&message.args) else {
        cx.0.meter.malformed.add(1);
        return;
    };
    let of_channel =
        message.peer.is_empty() && message.id.is_empty() && error.subsystem == subsystem::CHANNEL;
    let taken = cx.0.requests.complete(&message.id, &message.peer, Answer::Failed(error.clone()))
        || (of_channel && cx.on_channel_error(&error));
    if !taken {
        cx.0.meter.unexpected.add(1);
        tracing::debug!("{error}");
    }
}

/// Nobody serves this subsystem: the four-argument error (vip.md section 6.4).
fn on_unknown(cx: &Cx, name: &str, message: &Message) {
    cx.0.meter.malformed.add(1);
    // Never an answer to the router, nor to what may be an answer itself.
    if message.peer.is_empty() || message.id.is_empty() {
        return;
    }
    let mut reply = message.reply(VipError::no_subsystem(name).to_args());
    reply.subsystem = subsystem::ERROR.into();
    if !cx.try_send(reply) {
        cx.0.meter.replies_dropped.add(1);
    }
}
