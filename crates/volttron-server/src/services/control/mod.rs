//! The control service, `control`: installed agents and their processes for whoever may ask, above all `vctl`
//! (platform-internals.md section 3.1).
//!
//! Owns the words on the bus; the work is the supervisor's. It also tells the supervisor what it sees of agents on the
//! bus, and tells the router when an agent's process has ended. Its health is the bus's: BAD while a peer loses messages.

mod agents;
mod install_agent;
mod observe;
mod slow;
mod transfer;
mod trial;
mod versions;
mod watch;

use std::sync::Arc;

use serde_json::{Value, json};
use volttron_client::{Access, Agent, Cx, Method, Registrar, Request, RpcError};
use volttron_router::Control as RouterControl;
use volttron_utils::identity;
use volttron_utils::vip::{Message, subsystem};

use crate::auth::AuthState;
use crate::front::{FrontControl, FrontSnapshot, PeerMeter};
use crate::metrics::Sources;
use crate::supervisor::Supervisor;

/// What the service works with.
#[derive(Clone)]
pub struct ControlDeps {
    /// Agents and their processes.
    pub supervisor: Arc<Supervisor>,
    /// Entries of agents that are removed go with them.
    pub auth: AuthState,
    /// The router thread.
    pub front: FrontControl,
    /// The platform's public key; none without authentication.
    pub server_key: Option<String>,
    /// The platform's name.
    pub instance_name: String,
    /// When the platform came up.
    pub since: std::time::Instant,
    /// How Python agents are installed.
    pub python: crate::install::python::Settings,
}

impl ControlDeps {
    /// Whom to ask for the metrics, `cx` being the service's handle.
    pub fn metrics_sources(&self, cx: &Cx) -> Sources {
        let Self { supervisor, auth, front, instance_name, since, .. } = self.clone();
        Sources { front, supervisor, auth, cx: cx.clone(), instance_name, since }
    }
}

/// The service.
pub struct Control {
    deps: ControlDeps,
    turns: install_agent::Turns,
    watches: watch::Watches,
    /// Held by whoever changes what is installed, over stop, change and start.
    changing: tokio::sync::Mutex<()>,
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control").field("supervisor", &self.deps.supervisor).finish_non_exhaustive()
    }
}

impl Control {
    /// A control service over these.
    pub fn new(deps: ControlDeps) -> Self {
        Self {
            deps,
            turns: install_agent::Turns::default(),
            watches: watch::Watches::default(),
            changing: tokio::sync::Mutex::default(),
        }
    }

    fn supervisor(&self) -> &Arc<Supervisor> {
        &self.deps.supervisor
    }

    async fn statistics(&self) -> Result<Value, RpcError> {
        let snapshot =
            self.deps.front.snapshot().await.map_err(|e| RpcError::runtime_error(e.to_string()))?;
        Ok(snapshot.statistics)
    }

    async fn enable_statistics(&self, on: bool) -> Result<(), RpcError> {
        let control = RouterControl::StatsEnable(on);
        self.deps.front.control(control).await.map_err(|e| RpcError::runtime_error(e.to_string()))
    }
}

/// Who may change anything: the command line, the web service, and the management agents. 9.x lets everybody, which
/// `--open-methods` brings back.
fn operators() -> Access {
    let names =
        [identity::CONTROL_CONNECTION, "platform_web", "platform.web", "platform.agent", "volttron.central"];
    Access::Callers(names.iter().map(|&n| n.to_owned()).collect())
}

/// A method that changes something.
fn change(name: &str) -> Method {
    Method::new(name, operators()).hardened()
}

/// A method that only reads.
fn read(name: &str) -> Method {
    Method::new(name, Access::Open)
}

impl Agent for Control {
    const NAME: &'static str = "ControlService";

    fn register(b: &mut Registrar<Self>) {
        b.rpc(read("peerlist").doc("Identities on the bus."), |_: Arc<Self>, r: Request| async move {
            Ok(r.cx.peers().into_iter().collect::<Vec<_>>())
        });
        b.rpc(read("serverkey").doc("The platform's public key."), |s: Arc<Self>, _: Request| async move {
            Ok(s.deps.server_key.clone())
        });
        agents::register_reads(b);
        agents::register_changes(b);
        install_agent::register(b);
        versions::register(b);
        register_platform(b);
        watch::register(b);
        b.on_start(|s: Arc<Self>, cx: Cx| async move {
            observe::begin(&s, &cx);
            trial::resume(&s, &cx);
            Ok(())
        });
        b.subscribe("heartbeat/", |s: Arc<Self>, _: Cx, p| async move { observe::heartbeat(&s, &p) });
    }
}

fn register_platform(b: &mut Registrar<Control>) {
    b.rpc(change("shutdown").doc("Stops every agent."), |s: Arc<Control>, _: Request| async move {
        s.supervisor().stop_all().await;
        Ok(())
    });
    let keep = Method::new("keep_agents", operators())
        .doc("Lets agents live on when stop_platform follows; refused unless the platform was started with --keep-agents.");
    b.rpc(keep, |s: Arc<Control>, _: Request| async move {
        if s.supervisor().ask_to_keep() {
            return Ok(());
        }
        Err(RpcError::runtime_error(
            "the agents of this platform end with it, because it was not started with --keep-agents (keep-agents in its \
             config)",
        ))
    });
    b.rpc(change("stop_platform").doc("Ends the platform."), |_: Arc<Control>, r: Request| async move {
        // The router takes this from the control service only, over its local link (vip.md section 6.2).
        let quit = Message::new("", subsystem::QUIT);
        r.cx.raw_send(quit).await.map_err(|e| RpcError::runtime_error(e.to_string()))
    });
    b.rpc(read("stats.enabled"), |s: Arc<Control>, _: Request| async move {
        let statistics = s.statistics().await?;
        Ok(statistics.get("start").is_some() && statistics.get("end").is_none())
    });
    b.rpc(read("stats.get"), |s: Arc<Control>, _: Request| async move { s.statistics().await });
    b.rpc(
        change("stats.enable"),
        |s: Arc<Control>, _: Request| async move { s.enable_statistics(true).await },
    );
    b.rpc(
        change("stats.disable"),
        |s: Arc<Control>, _: Request| async move { s.enable_statistics(false).await },
    );
    b.rpc(
        read("metrics").doc("What the platform counts, as OpenMetrics text."),
        |s: Arc<Control>, r: Request| async move {
            s.deps.metrics_sources(&r.cx).text().await.map_err(|e| RpcError::runtime_error(e.to_string()))
        },
    );
    b.rpc(
        read("bus_meter")
            .doc("Counters of the message bus: messages, drops, refusals, and what each peer lost."),
        |s: Arc<Control>, _: Request| async move {
            let snapshot =
                s.deps.front.snapshot().await.map_err(|e| RpcError::runtime_error(e.to_string()))?;
            Ok(meter(&snapshot))
        },
    );
}

/// The bus's counters as JSON.
fn meter(snapshot: &FrontSnapshot) -> Value {
    let peer = |p: &PeerMeter| {
        let t = p.traffic;
        json!({
            "received": t.received, "received_bytes": t.received_bytes, "sent": t.sent, "sent_bytes": t.sent_bytes,
            "subscriptions": p.subscriptions, "lost": p.lost, "connected_s": p.connected.as_secs(),
        })
    };
    let peers: serde_json::Map<_, _> = snapshot.peers.iter().map(|p| (p.identity.clone(), peer(p))).collect();
    json!({
        "received": snapshot.front.received,
        "received_local": snapshot.front.received_local,
        "disconnects": snapshot.front.disconnects,
        "panics": snapshot.front.panics,
        "send_failures": snapshot.front.send_failures,
        "refusals_waiting": snapshot.refusals_waiting,
        "watches": snapshot.watches,
        "connections": snapshot.connections,
        "router": snapshot.router,
        "peers": peers,
    })
}
