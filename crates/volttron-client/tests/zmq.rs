//! The ZeroMQ link against a real router: security, reconnection, explained failures, volume.
#![allow(clippy::unwrap_used, missing_docs)]

mod bus;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bus::Bus;
use serde_json::{Value, json};
use volttron_client::link::zmq::ZmqConnector;
use volttron_client::link::{Connector, DownReason, LinkEvent};
use volttron_client::utils::keys::KeyPair;
use volttron_client::{
    Access, Agent, AgentBuilder, AgentHandle, CallError, ConnectOptions, Connection, Method, Registrar,
    Request, SpawnError,
};

#[derive(Default)]
struct Echo {
    connections: AtomicU32,
}

impl Agent for Echo {
    const NAME: &'static str = "Echo";
    fn register(b: &mut Registrar<Self>) {
        b.rpc(
            Method::new("echo", Access::Open).param("x"),
            |_, r: Request| async move { r.arg::<Value>("x") },
        )
        .rpc(Method::new("hang", Access::Open), |_, _| async move {
            std::future::pending::<()>().await;
            Ok(())
        })
        .on_connected(|me, _| async move {
            me.connections.fetch_add(1, Ordering::SeqCst);
            Ok(())
        });
    }
}

fn connector(bus: &Bus) -> ZmqConnector {
    let connector = ZmqConnector::new(bus.address()).unwrap();
    match &bus.server {
        Some(pair) => connector.serverkey(pair.public).keys(KeyPair::generate()),
        None => connector,
    }
}

async fn echo(bus: &Bus, identity: &str) -> AgentHandle {
    let builder = AgentBuilder::new(Echo::default()).identity(identity).connector(connector(bus));
    builder.auth(false).store(false).spawn().await.unwrap()
}

async fn peer(bus: &Bus, identity: &str) -> Connection {
    Connection::open(ConnectOptions::new(connector(bus)).identity(identity)).await.unwrap()
}

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..20_000 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("{what} did not happen");
}

#[tokio::test]
async fn agents_talk_over_curve() {
    let bus = Bus::start("tcp://127.0.0.1:*", Some(KeyPair::generate()));
    let handle = echo(&bus, "echo").await;
    let alice = peer(&bus, "alice").await;
    assert_eq!(
        alice.call("echo", "echo").arg(json!({"a": [1, "é"]})).send::<Value>().await.unwrap(),
        json!({"a": [1, "é"]})
    );
    assert!(matches!(alice.call("nobody", "x").send::<()>().await, Err(CallError::Unreachable { .. })));
    let big = "x".repeat(5_000_000);
    assert_eq!(alice.call("echo", "echo").arg(&big).send::<String>().await.unwrap(), big);
    assert_eq!(handle.cx().instance_name(), "zmq");
    let mut events = handle.cx().peer_events();
    alice.close().await;
    let gone = volttron_client::PeerEvent::Dropped("alice".into());
    while events.recv().await.unwrap() != gone {}
}

#[tokio::test]
async fn local_sockets_work_without_keys() {
    let name = format!("ipc://@volttron-client-test-{}", std::process::id());
    let bus = Bus::start(&name, None);
    let _echo = echo(&bus, "echo").await;
    let alice = peer(&bus, "alice").await;
    assert_eq!(alice.call("echo", "echo").arg(5).send::<i64>().await.unwrap(), 5);
}

#[tokio::test]
async fn a_burst_arrives_complete_and_in_order() {
    let bus = Bus::start("tcp://127.0.0.1:*", None);
    let alice = peer(&bus, "alice").await;
    let bob = peer(&bus, "bob").await;
    let mut seen = bob.subscribe("t").await.unwrap();
    let publisher = (*alice).clone();
    let sending = tokio::spawn(async move {
        for batch in 0..50 {
            let all = (0..100).map(|n| {
                let cx = publisher.clone();
                async move { cx.publish("t", &(batch * 100 + n)).await.unwrap() }
            });
            futures_util::future::join_all(all).await;
        }
    });
    for n in 0..5000 {
        assert_eq!(seen.next().await.unwrap().json::<i64>().unwrap(), n);
    }
    sending.await.unwrap();
    assert_eq!(seen.lagged(), 0);
}

#[tokio::test]
async fn a_restarted_router_finds_everybody_again() {
    let mut bus = Bus::start("tcp://127.0.0.1:*", Some(KeyPair::generate()));
    let agent = Arc::new(Echo::default());
    let builder = AgentBuilder::shared(agent.clone()).identity("echo").connector(connector(&bus));
    let _echo = builder.auth(false).store(false).spawn().await.unwrap();
    let alice = peer(&bus, "alice").await;
    let mut seen = alice.subscribe("t").await.unwrap();
    for round in 2..5 {
        let cx = (*alice).clone();
        let hanging = tokio::spawn(async move { cx.call("echo", "hang").send::<()>().await });
        until("the call", || alice.waiting_requests() == 1).await;
        bus = bus.restart();
        let outcome = hanging.await.unwrap();
        assert!(matches!(outcome, Err(CallError::Disconnected)), "{outcome:?}");
        until("reconnection", || alice.connected() && agent.connections.load(Ordering::SeqCst) == round)
            .await;
        until("the peer list", || alice.has_peer("echo")).await;
        assert_eq!(alice.call("echo", "echo").arg(round).send::<u32>().await.unwrap(), round);
        alice.publish("t", &round).await.unwrap();
        assert_eq!(seen.next().await.unwrap().json::<u32>().unwrap(), round);
    }
    assert_eq!(alice.meter().reconnects.get(), 3);
}

async fn failure(connector: ZmqConnector, identity: &str) -> String {
    let builder = AgentBuilder::new(Echo::default())
        .identity(identity)
        .connector(connector.hello_deadline(Duration::from_millis(700)));
    match builder.connect_timeout(Duration::from_secs(4)).spawn().await {
        Err(SpawnError::Connect(error)) => error.to_string(),
        other => panic!("connected: {other:?}"),
    }
}

#[tokio::test]
async fn a_key_without_entry_is_told_so() {
    let bus = Bus::start("tcp://127.0.0.1:*", Some(KeyPair::generate()));
    *bus.keys.0.lock().unwrap() = Some(HashSet::new());
    let keys = KeyPair::generate();
    let text = failure(connector(&bus).keys(keys.clone()), "x").await;
    assert!(text.contains("does not accept this agent's key"), "{text}");
    assert!(text.contains(&keys.public.to_string()) && text.contains("pending"), "{text}");
}

#[tokio::test]
async fn an_approved_key_gets_in_without_a_restart() {
    let bus = Bus::start("tcp://127.0.0.1:*", Some(KeyPair::generate()));
    *bus.keys.0.lock().unwrap() = Some(HashSet::new());
    let keys = KeyPair::generate();
    let builder =
        AgentBuilder::new(Echo::default()).identity("x").connector(connector(&bus).keys(keys.clone()));
    let spawning = tokio::spawn(builder.auth(false).store(false).spawn());
    tokio::time::sleep(Duration::from_millis(100)).await;
    *bus.keys.0.lock().unwrap() = None;
    assert!(spawning.await.unwrap().is_ok());
}

#[tokio::test]
async fn a_wrong_server_key_is_told_so() {
    let bus = Bus::start("tcp://127.0.0.1:*", Some(KeyPair::generate()));
    let text = failure(connector(&bus).serverkey(KeyPair::generate().public), "x").await;
    assert!(text.contains("server key"), "{text}");
}

#[tokio::test]
async fn a_missing_server_key_is_told_so() {
    let bus = Bus::start("tcp://127.0.0.1:*", Some(KeyPair::generate()));
    let text = failure(ZmqConnector::new(bus.address()).unwrap(), "x").await;
    assert!(text.contains("VOLTTRON_SERVERKEY"), "{text}");
}

#[tokio::test]
async fn a_taken_identity_is_told_so() {
    let bus = Bus::start("tcp://127.0.0.1:*", Some(KeyPair::generate()));
    let first = echo(&bus, "x").await;
    let text = failure(connector(&bus), "x").await;
    assert!(text.contains("Identity 'x' is probably in use"), "{text}");
    assert!(first.cx().connected());
}

#[tokio::test]
async fn nobody_there_is_told_so() {
    let bus = Bus::start("tcp://127.0.0.1:*", None);
    let (address, endpoint) = (bus.address(), bus.endpoint.clone());
    drop(bus);
    let text = failure(ZmqConnector::new(address).unwrap(), "x").await;
    assert!(text.contains("nothing listens") && text.contains(&endpoint), "{text}");
}

/// A router that welcomes one client, sends it more than it reads in one go, and is gone.
fn welcome_flood_and_vanish(router: &zmq::Socket) {
    let hello = router.recv_multipart(0).unwrap();
    let welcome = [
        hello[0].as_bytes(),
        b"",
        b"VIP1",
        b"",
        hello[4].as_bytes(),
        b"hello",
        b"welcome",
        b"1.0",
        b"r",
        b"a",
    ];
    let parts = |frames: &[&[u8]]| frames.iter().map(|f| zmq::Message::from(*f)).collect::<Vec<_>>();
    router.send_multipart(parts(&welcome), 0).map_err(|unsent| unsent.error).unwrap();
    let mut message = vec![hello[0].as_bytes(), b"b", b"VIP1", b"", b"1", b"pubsub"];
    message.resize(48, b"part");
    for _ in 0..3000 {
        router.send_multipart(parts(&message), 0).map_err(|unsent| unsent.error).unwrap();
    }
}

/// libzmq must not come upon the loss between two parts of a message that is being read: it ends the program then.
#[tokio::test]
async fn a_connection_lost_amid_a_backlog_is_only_a_lost_connection() {
    for _ in 0..30 {
        let context = zmq::Context::new();
        let router = context.socket(zmq::SocketType::Router).unwrap();
        router.set_sndhwm(0).unwrap();
        router.set_linger(200).unwrap();
        router.bind("tcp://127.0.0.1:*").unwrap();
        let address = router.last_endpoint().unwrap().parse().unwrap();
        let mut link = ZmqConnector::new(address).unwrap().connect("a").await.unwrap();
        let flood = tokio::task::spawn_blocking(move || {
            welcome_flood_and_vanish(&router);
            drop(router);
            drop(context);
        });
        let lost =
            async { while !matches!(link.rx.recv().await, Some(LinkEvent::Down(DownReason::Lost(_)))) {} };
        tokio::time::timeout(Duration::from_secs(30), lost).await.expect("the loss is told");
        flood.await.unwrap();
    }
}
