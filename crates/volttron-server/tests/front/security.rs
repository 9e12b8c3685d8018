//! Who gets in, and as whom.

use std::{collections::HashMap, time::Duration};

use volttron_server::front::zap::{ZapAnswer, ZapRequest};
use volttron_utils::keys::KeyPair;
use zmq::{Message, MonitorEvent, MonitorEventKind, SocketType, events};

use crate::harness::{Bus, Peer, TestPolicy, allow_all, key_text};

/// How the handshake of a not yet connected peer ends.
fn handshake(bus: &Bus, peer: &Peer) -> MonitorEvent {
    let at = format!("inproc://monitor-{peer:p}");
    peer.socket.monitor(&at, events::HANDSHAKE_FAILED | events::HANDSHAKE_SUCCEEDED).unwrap();
    let monitor = bus.ctx.socket(SocketType::Pair).unwrap();
    monitor.connect(&at).unwrap();
    peer.socket.connect(&bus.endpoint).unwrap();
    let monitor = Peer { socket: monitor };
    let mut items = [zmq::PollItem::from_socket(&monitor.socket, zmq::PollEvents::IN)];
    assert_eq!(zmq::poll(&mut items, Some(crate::harness::PATIENCE)).unwrap(), 1, "no end of the handshake");
    let parts: Vec<Message> = monitor.socket.recv_multipart(zmq::DONTWAIT).unwrap();
    MonitorEvent::parse(&parts).unwrap()
}

#[test]
fn only_the_known_key_gets_in() {
    let known = KeyPair::generate();
    let text = known.public.to_string();
    let bus = Bus::curve(
        move |request: &ZapRequest<'_>| match key_text(request) {
            Some(key) if key == text => ZapAnswer::Allow { user_id: key },
            _ => ZapAnswer::Deny { delay: Duration::ZERO },
        },
        TestPolicy::default(),
    );
    let stranger = bus.unconnected(b"stranger", &KeyPair::generate(), bus.server_key.as_ref());
    let event = handshake(&bus, &stranger);
    assert_eq!((event.kind, event.value), (MonitorEventKind::HandshakeFailedAuth, 400));
    let friend = bus.silent_peer(b"friend", &known);
    friend.hello();
    let snapshot = bus.snapshot();
    assert_eq!(snapshot.peers.len(), 1, "{snapshot:?}");
    assert!(snapshot.zap.denied >= 1 && snapshot.zap.allowed == 1, "{snapshot:?}");
}

#[test]
fn a_wrong_server_key_and_no_key_at_all_get_nowhere() {
    let bus = Bus::curve(allow_all, TestPolicy::default());
    let other = KeyPair::generate().public;
    let misled = bus.unconnected(b"misled", &KeyPair::generate(), Some(&other));
    assert_ne!(handshake(&bus, &misled).kind, MonitorEventKind::HandshakeSucceeded);
    let naked = bus.unconnected(b"naked", &KeyPair::generate(), None);
    assert_ne!(handshake(&bus, &naked).kind, MonitorEventKind::HandshakeSucceeded);
    assert_eq!(bus.snapshot().zap.allowed, 0);
}

#[test]
fn plain_is_refused_and_counted() {
    for bus in [Bus::curve(allow_all, TestPolicy::default()), Bus::open()] {
        let plain = bus.unconnected(b"plain", &KeyPair::generate(), None);
        plain.socket.set_plain_client("name", "word").unwrap();
        assert_ne!(handshake(&bus, &plain).kind, MonitorEventKind::HandshakeSucceeded);
        let deadline = std::time::Instant::now() + crate::harness::PATIENCE;
        // Whoever of the two notices first closes the connection.
        let failed = |s: &volttron_server::front::FrontSnapshot| {
            s.connections.failed_protocol + s.connections.failed_other
        };
        while failed(&bus.snapshot()) == 0 {
            assert!(std::time::Instant::now() < deadline, "not counted: {:?}", bus.snapshot());
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!((bus.snapshot().zap.allowed, bus.snapshot().peers.len()), (0, 0));
    }
}

#[test]
fn a_refusal_that_waits_holds_nobody_up() {
    let known = KeyPair::generate();
    let text = known.public.to_string();
    let bus = Bus::curve(
        move |request: &ZapRequest<'_>| match key_text(request) {
            Some(key) if key == text => ZapAnswer::Allow { user_id: key },
            // Far beyond the patience of the friend's test below.
            _ => ZapAnswer::Deny { delay: Duration::from_secs(25) },
        },
        TestPolicy::default(),
    );
    let strangers: Vec<Peer> =
        (0..5).map(|n| bus.silent_peer(format!("stranger{n}").as_bytes(), &KeyPair::generate())).collect();
    bus.wait_until("five refusals wait", |s| s.refusals_waiting == 5);
    bus.silent_peer(b"friend", &known).hello();
    assert_eq!(bus.snapshot().refusals_waiting, 5);
    drop(strangers);
}

#[test]
fn an_identity_is_bound_to_its_key() {
    let owner = KeyPair::generate();
    let bound = HashMap::from([("boiler".to_owned(), owner.public.to_string())]);
    let bus = Bus::curve(allow_all, TestPolicy { bound });
    let watcher = bus.peer("watcher");
    for identity in [&b"boiler"[..], b"control"] {
        let thief = bus.silent_peer(identity, &KeyPair::generate());
        thief.vip("", "h", "hello", &["hello"]);
        thief.vip("watcher", "1", "RPC", &["x"]);
        let refused = bus.wait_until("both messages refused", |s| s.router.refused >= 2);
        assert_eq!(refused.peers.len(), 1, "{refused:?}");
        drop(thief);
        bus.wait_until("the thief's connection is gone", |s| s.front.disconnects >= 1);
    }
    assert!(watcher.drain().is_empty(), "nothing was passed on, nobody announced");
    let boiler = bus.silent_peer(b"boiler", &owner);
    assert_eq!(boiler.hello()[2], "boiler");
}

#[test]
fn an_identity_in_use_is_not_handed_over() {
    let bus = Bus::curve(allow_all, TestPolicy::default());
    let first = bus.peer("alice");
    let second = bus.silent_peer(b"alice", &KeyPair::generate());
    second.vip("", "x", "hello", &["hello"]);
    // The handshake of a later peer ends after the second's: by then its message would have been handled.
    let bob = bus.peer("bob");
    bob.vip("alice", "1", "channel", &["for the first"]);
    assert_eq!(first.reply()[0], "bob");
    assert!(second.try_recv().is_none());
    assert_eq!(bus.snapshot().peers.len(), 2);
}

#[test]
fn a_panicking_authenticator_refuses_and_the_bus_lives() {
    let bus = Bus::curve(
        |request: &ZapRequest<'_>| {
            let key = key_text(request).unwrap_or_default();
            assert!(!key.starts_with(|c: char| c.is_ascii_digit()), "a bug, for the test");
            ZapAnswer::Allow { user_id: key }
        },
        TestPolicy::default(),
    );
    let digit = |keys: &KeyPair| keys.public.to_string().starts_with(|c: char| c.is_ascii_digit());
    let bad = std::iter::repeat_with(KeyPair::generate).find(|k| digit(k)).unwrap();
    let good = std::iter::repeat_with(KeyPair::generate).find(|k| !digit(k)).unwrap();
    let _never = bus.silent_peer(b"never", &bad);
    bus.wait_until("the panic is counted", |s| s.front.panics == 1);
    bus.silent_peer(b"alice", &good).hello();
}
