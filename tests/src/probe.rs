//! An agent of ours for tests, with the methods that the Python agent of the tests has as well.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::mpsc;
use volttron_client::link::zmq::ZmqConnector;
use volttron_client::{
    Access, Agent, AgentBuilder, AgentHandle, ConnectOptions, Connection, Cx, Method, Registrar, Request,
    RpcError, Status,
};
use volttron_utils::address::Address;
use volttron_utils::keys::{KeyPair, PublicKey};

/// What reached the agent by itself.
#[derive(Debug)]
pub enum Seen {
    /// Configuration: name, action, contents.
    Config(String, String, Option<Value>),
    /// The start handler ran.
    Start,
}

/// The agent.
pub struct Probe {
    seen: mpsc::Sender<Seen>,
}

impl Probe {
    /// The agent, and what will reach it.
    pub fn new() -> (Self, mpsc::Receiver<Seen>) {
        let (seen, received) = mpsc::channel(64);
        (Self { seen }, received)
    }
}

impl Agent for Probe {
    const NAME: &'static str = "Probe";

    fn register(b: &mut Registrar<Self>) {
        b.rpc(Method::new("echo", Access::Open).param("value"), |_: Arc<Self>, r: Request| async move {
            Ok(r.value("value").cloned())
        });
        let add = Method::new("add", Access::Open).param("a").optional("b", 10);
        b.rpc(add, |_: Arc<Self>, r: Request| async move { Ok(r.arg::<i64>("a")? + r.arg::<i64>("b")?) });
        b.rpc(Method::new("fail", Access::Open).param("text"), |_: Arc<Self>, r: Request| async move {
            Err::<(), _>(RpcError::value_error(r.arg::<String>("text")?))
        });
        b.rpc(
            Method::new("guarded", Access::Capability("probe_secret")),
            |_: Arc<Self>, _: Request| async move { Ok("seen") },
        );
        b.config("*", volttron_client::Actions::ALL, |s: Arc<Self>, _: Cx, event| async move {
            let action = event.action.as_str().to_owned();
            let _ = s.seen.send(Seen::Config(event.name, action, event.contents)).await;
            Ok(())
        });
        b.on_start(|s: Arc<Self>, cx: Cx| async move {
            cx.health().set(Status::Good, json!("probing"));
            let _ = s.seen.send(Seen::Start).await;
            Ok(())
        });
    }
}

/// Connects a [`Probe`] over tcp with CURVE.
pub async fn connect(
    identity: &str,
    address: &str,
    server_key: &str,
    keys: KeyPair,
) -> (AgentHandle, mpsc::Receiver<Seen>) {
    let (probe, rx) = Probe::new();
    let address: Address = address.parse().expect("an address");
    let key: PublicKey = server_key.parse().expect("a key");
    let connector = ZmqConnector::new(address).expect("a connector").keys(keys).serverkey(key);
    let handle = AgentBuilder::new(probe)
        .identity(identity)
        .connector(connector)
        .spawn()
        .await
        .expect("the agent connects");
    handle.started().await;
    (handle, rx)
}

/// Connects a peer that only asks, over tcp with CURVE.
pub async fn peer(identity: &str, address: &str, server_key: &str, keys: KeyPair) -> Connection {
    let address: Address = address.parse().expect("an address");
    let key: PublicKey = server_key.parse().expect("a key");
    let connector = ZmqConnector::new(address).expect("a connector").keys(keys).serverkey(key);
    Connection::open(ConnectOptions::new(connector).identity(identity)).await.expect("the peer connects")
}
