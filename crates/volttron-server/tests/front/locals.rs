//! Services inside the process, reached from sockets and reaching them.

use std::time::Duration;

use tokio::time::timeout;
use volttron_client::link::{ConnectError, Connector, Link, LinkEvent, Message};
use volttron_server::{bridge::LocalConnector, front::FrontState};

use volttron_utils::keys::KeyPair;

use crate::harness::{Bus, PATIENCE, TestPolicy, allow_all};

async fn next(link: &mut Link) -> Message {
    loop {
        match timeout(PATIENCE, link.rx.recv()).await.expect("nothing arrived").expect("open") {
            LinkEvent::Message(m) if m.subsystem == "peerlist" => {}
            LinkEvent::Message(m) => return m,
            other => panic!("{other:?}"),
        }
    }
}

async fn service(bus: &Bus, identity: &str) -> Link {
    let connector = LocalConnector::new(bus.front.control().clone(), true);
    let mut link = connector.connect(identity).await.expect("attached");
    let Some(LinkEvent::Up(info)) = timeout(PATIENCE, link.rx.recv()).await.expect("up") else {
        panic!("up first")
    };
    assert_eq!((info.router.as_str(), info.identity.as_str()), (bus.front.identity(), identity));
    link
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_answers_under_both_its_names() {
    let bus = Bus::curve(allow_all, TestPolicy::default());
    let mut control = service(&bus, "control").await;
    let alice = bus.peer("alice");
    for name in ["control", "platform.control"] {
        alice.vip(name, "r1", "RPC", &["{}"]);
        let request = next(&mut control).await;
        assert_eq!((request.peer_str().as_ref(), request.user_str().as_ref()), ("alice", "alice"));
        control.tx.send(request.reply(vec!["done".into()])).await.unwrap();
        assert_eq!(alice.reply(), [name, "VIP1", name, "r1", "RPC", "done"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_meets_a_platform_without_its_services() {
    let bus = Bus::holding_peers();
    let early = bus.silent_peer(b"early", &KeyPair::generate());
    early.vip("", "1", "peerlist", &["list"]);
    // libzmq has accepted the connection, so what follows is not merely earlier.
    bus.wait_until("the handshake", |s| s.connections.handshakes == 1);
    let mut control = service(&bus, "control").await;
    assert_eq!(bus.snapshot().front.received, 0);
    bus.front.control().admit_peers().await.expect("running");
    let list = early.reply();
    assert!(list.contains(&"control".to_owned()) && list.contains(&"early".to_owned()), "{list:?}");
    early.vip("control", "r1", "RPC", &["{}"]);
    assert_eq!(next(&mut control).await.peer_str(), "early");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_talk_to_each_other_and_use_the_router() {
    let bus = Bus::open();
    let health = service(&bus, "platform.health").await;
    let mut store = service(&bus, "config.store").await;
    health.tx.send(Message::new("config.store", "RPC").with_id("x").arg("hello")).await.unwrap();
    let request = next(&mut store).await;
    assert_eq!(
        (request.user_str().as_ref(), request.arg_str(0).as_deref()),
        ("platform.health", Some("hello"))
    );
    store.tx.send(Message::new("", "ping").with_id("p").arg("ping")).await.unwrap();
    assert_eq!(next(&mut store).await.arg_str(0).as_deref(), Some("pong"));
    let twice = LocalConnector::new(bus.front.control().clone(), true).connect("config.store").await;
    assert!(matches!(twice, Err(ConnectError::Identity { .. })), "{twice:?}");
    health.close(PATIENCE).await;
    bus.wait_until("the closed link's service is gone", |s| s.services.len() == 1);
    service(&bus, "platform.health").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_reaches_a_service_whole_and_in_order() {
    const MESSAGES: usize = 3000;
    let bus = Bus::open();
    let mut control = service(&bus, "control").await;
    let alice = bus.peer("alice");
    let sender = tokio::task::spawn_blocking(move || {
        for n in 0..MESSAGES {
            alice.vip("control", &n.to_string(), "channel", &["x"]);
        }
        alice
    });
    for n in 0..MESSAGES {
        assert_eq!(next(&mut control).await.id_str(), n.to_string());
    }
    let alice = sender.await.unwrap();
    for n in 0..MESSAGES {
        control.tx.send(Message::new("alice", "channel").with_id(n.to_string())).await.unwrap();
    }
    tokio::task::spawn_blocking(move || {
        for n in 0..MESSAGES {
            assert_eq!(alice.reply()[3], n.to_string());
        }
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_does_not_read_is_reported_to_senders() {
    const MESSAGES: usize = volttron_server::bridge::RING_MESSAGES + 100;
    let bus = Bus::open();
    let _stuck = service(&bus, "control").await;
    let alice = bus.peer("alice");
    for n in 0..MESSAGES {
        alice.vip("control", &n.to_string(), "channel", &["x"]);
    }
    let errors = alice.drain().into_iter().filter(|m| m[4] == "error").collect::<Vec<_>>();
    assert!(errors.len() >= 90, "{}", errors.len());
    assert_eq!(errors[0][5..], ["11", "Resource temporarily unavailable", "control", "channel"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quit_is_the_control_services_alone() {
    let bus = Bus::open();
    let control = service(&bus, "control").await;
    let mut state = bus.front.control().state();
    let alice = bus.peer("alice");
    alice.vip("", "q", "quit", &[]);
    alice.drain();
    assert_eq!(*state.borrow(), FrontState::Running);
    control.tx.send(Message::new("", "quit")).await.unwrap();
    timeout(PATIENCE, state.wait_for(|s| *s == FrontState::QuitRequested))
        .await
        .expect("told")
        .expect("open");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_hear_that_the_bus_has_stopped() {
    let bus = Bus::open();
    let mut control = service(&bus, "control").await;
    let connector = LocalConnector::new(bus.front.control().clone(), true);
    bus.front.stop();
    let last = timeout(Duration::from_secs(20), control.rx.recv()).await.expect("told");
    assert!(matches!(last, Some(LinkEvent::Down(reason)) if reason.is_final()));
    assert!(control.tx.send(Message::new("", "ping")).await.is_err());
    assert!(connector.connect("config.store").await.is_err());
}
