//! What the control service watches: agents on the bus (for the supervisor), ended processes (for the router), and peers
//! that do not read (for the operator).

use std::sync::Arc;

use serde_json::Value;
use tokio::sync::broadcast::error::RecvError;
use volttron_client::{Cx, PeerEvent, Publication, Status};
use volttron_router::Control as RouterControl;

use super::{Control, slow};
use crate::supervisor::AgentEvent;
use crate::supervisor::machine::{Heard, Input};

/// Starts all watches; they end with the service.
pub fn begin(control: &Arc<Control>, cx: &Cx) {
    let (service, context) = (control.clone(), cx.clone());
    let peers = cx.peer_events();
    cx.spawn(async move { watch_peers(&service, &context, peers).await });
    let (service, context) = (control.clone(), cx.clone());
    cx.spawn(async move { watch_processes(&service, &context).await });
    cx.spawn(slow::watch(control.deps.front.slow_peers(), cx.clone()));
}

async fn watch_peers(control: &Control, cx: &Cx, mut events: tokio::sync::broadcast::Receiver<PeerEvent>) {
    for peer in cx.peers() {
        control.supervisor().observe(&peer, Input::BusSeen);
    }
    loop {
        match events.recv().await {
            Ok(PeerEvent::Added(peer)) => control.supervisor().observe(&peer, Input::BusSeen),
            Ok(PeerEvent::Dropped(peer)) => control.supervisor().observe(&peer, Input::BusGone),
            // Too many at once: what is there now says enough.
            Err(RecvError::Lagged(_)) => {
                for peer in cx.peers() {
                    control.supervisor().observe(&peer, Input::BusSeen);
                }
            }
            Err(RecvError::Closed) => return,
        }
    }
}

async fn watch_processes(control: &Control, cx: &Cx) {
    let mut events = control.supervisor().events();
    loop {
        match events.recv().await {
            // The connection is closed already, but only the router knows whether it noticed.
            Ok(AgentEvent::Ended { identity, .. }) => {
                let _ = control.deps.front.control(RouterControl::DropPeer(identity)).await;
            }
            Ok(AgentEvent::GivenUp { name, uuid, why, .. }) => {
                let key = alert_key(&name, &uuid);
                let context = format!("{key}. Attempts to restart failed. It ended last {why}");
                alert(cx, &key, Status::Bad, &context).await;
            }
            Ok(AgentEvent::Recovered { name, uuid }) => {
                let context = format!("Agent {name}({uuid}) runs again");
                alert(cx, &alert_key(&name, &uuid), Status::Good, &context).await;
            }
            Err(RecvError::Lagged(lost)) => tracing::warn!("missed {lost} process events"),
            Err(RecvError::Closed) => return,
        }
    }
}

/// The original's; whoever filters alerts knows it.
fn alert_key(name: &str, uuid: &str) -> String {
    format!("Agent {name}({uuid}) stopped unexpectedly")
}

async fn alert(cx: &Cx, key: &str, status: Status, context: &str) {
    if let Err(error) = cx.health().alert(key, status, context).await {
        tracing::error!("cannot publish the alert '{key}': {error}");
    }
}

/// An agent says how it is: its status word, or an object with one.
pub fn heartbeat(control: &Control, publication: &Publication) {
    let Ok(message) = publication.json::<Value>() else { return };
    let status = message.as_str().or_else(|| message.get("status").and_then(Value::as_str));
    let heard = match status {
        Some(word) if word == Status::Good.as_str() => Heard::Good,
        Some(word) if word == Status::Starting.as_str() => Heard::Starting,
        _ => Heard::Bad,
    };
    control.supervisor().observe(&publication.sender, Input::Health(heard));
}
