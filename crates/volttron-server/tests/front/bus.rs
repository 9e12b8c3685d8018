//! What peers get from a working bus.

use volttron_server::front::{Bind, Front, FrontConfig, FrontState};
use volttron_utils::keys::KeyPair;

use crate::harness::{Bus, TestPolicy, allow_all};

#[test]
fn hello_ping_peerlist_and_query() {
    let bus = Bus::curve(allow_all, TestPolicy::default());
    let alice = bus.peer("alice");
    let router = bus.front.identity();
    assert_eq!(alice.hello(), ["", "VIP1", "alice", "h", "hello", "welcome", "1.0", router, "alice"]);
    alice.vip("", "m2", "ping", &["ping", "abc"]);
    assert_eq!(alice.recv(), ["", "VIP1", "alice", "m2", "ping", "pong", "abc"]);
    let _bob = bus.peer("bob");
    assert_eq!(alice.recv(), ["", "VIP1", "", "", "peerlist", "add", "bob"]);
    alice.vip("", "m3", "peerlist", &["list"]);
    let mut listing = alice.recv();
    listing[6..].sort();
    assert_eq!(listing, ["", "VIP1", "", "m3", "peerlist", "listing", "alice", "bob"]);
    alice.vip("", "m4", "query", &["instance-name"]);
    assert_eq!(alice.recv(), ["", "VIP1", "", "m4", "query", "", "test"]);
}

#[test]
fn messages_between_peers_keep_every_byte() {
    let bus = Bus::curve(allow_all, TestPolicy::default());
    let (alice, bob) = (bus.peer("alice"), bus.peer("bob"));
    let odd = "x".repeat(500);
    alice.vip("bob", "1795195434.87", "RPC", &["1.5", "{\"a\":1}", "", &odd]);
    assert_eq!(
        bob.reply(),
        ["alice", "VIP1", "alice", "1795195434.87", "RPC", "1.5", r#"{\"a\":1}"#, "", odd.as_str()]
    );
    alice.vip("nobody", "e2", "RPC", &["x"]);
    assert_eq!(
        alice.reply(),
        ["", "VIP1", "alice", "e2", "error", "113", "No route to host", "nobody", "RPC"]
    );
}

#[test]
fn publishes_reach_every_subscriber_before_their_answer() {
    let bus = Bus::curve(allow_all, TestPolicy::default());
    let (alice, bob) = (bus.peer("alice"), bus.peer("bob"));
    alice.subscribe("devices/");
    bob.subscribe("devices/a");
    alice.vip(
        "",
        "p1",
        "pubsub",
        &["publish", "devices/abc", r#"{"bus": "", "headers": {}, "message": [1.5]}"#],
    );
    let body = r#"{\"sender\": \"alice\", \"bus\": \"\", \"headers\": {}, \"message\": [1.5]}"#;
    let delivery = ["", "VIP1", "", "p1", "pubsub", "publish", "devices/abc", body];
    assert_eq!(alice.reply(), delivery);
    assert_eq!(alice.reply(), ["", "VIP1", "alice", "p1", "pubsub", "request_response", r"\x02\x00\x00\x00"]);
    assert_eq!(bob.reply(), delivery);
}

#[test]
fn a_closed_connection_is_announced_at_once_and_only_once() {
    let bus = Bus::curve(allow_all, TestPolicy::default());
    let (alice, bob) = (bus.peer("alice"), bus.peer("bob"));
    bob.subscribe("x");
    alice.drain();
    drop(bob);
    assert_eq!(alice.recv(), ["", "VIP1", "", "", "peerlist", "drop", "bob"]);
    assert!(alice.drain().is_empty(), "once");
    assert_eq!(bus.snapshot().front.disconnects, 1);
    // The identity is free again.
    let bob = bus.peer("bob");
    assert_eq!(alice.recv(), ["", "VIP1", "", "", "peerlist", "add", "bob"]);
    drop(bob);
}

#[test]
fn ipc_and_several_endpoints_are_one_bus() {
    let dir = tempfile::tempdir().unwrap();
    let ipc = format!("ipc://@{}/vip.socket", dir.path().display());
    let bus = Bus::start(
        &[&ipc, "tcp://127.0.0.1:*", "tcp://127.0.0.1:*?server=NULL"],
        Some(KeyPair::generate()),
        Some(Box::new(allow_all)),
        TestPolicy::default(),
    );
    assert_eq!(bus.front.endpoints()[0], ipc);
    let first = bus.peer("over-ipc");
    for (identity, endpoint, secure) in
        [("over-tcp", &bus.front.endpoints()[1], true), ("in-the-clear", &bus.front.endpoints()[2], false)]
    {
        let peer = bus.unconnected(
            identity.as_bytes(),
            &KeyPair::generate(),
            bus.server_key.as_ref().filter(|_| secure),
        );
        peer.socket.connect(endpoint).unwrap();
        peer.hello();
        assert_eq!(first.recv(), ["", "VIP1", "", "", "peerlist", "add", identity]);
        peer.vip("over-ipc", "1", "channel", &["hi"]);
        assert_eq!(first.recv()[..1], [identity]);
        drop(peer);
        assert_eq!(first.recv()[5..], ["drop", identity]);
    }
}

#[test]
fn a_stopped_bus_leaves_its_endpoint_free() {
    let bus = Bus::open();
    let _peer = bus.peer("alice");
    let endpoint = bus.endpoint.clone();
    let bind = || vec![Bind::new(&endpoint.parse().unwrap(), None).unwrap()];
    let refused = Front::bind(FrontConfig::new(bind(), None)).err().unwrap().to_string();
    assert!(refused.contains("another platform or program listens there"), "{refused}");
    let state = bus.front.control().state();
    assert_eq!(*state.borrow(), FrontState::Running);
    bus.front.stop();
    assert_eq!(*state.borrow(), FrontState::Ended);
    Front::bind(FrontConfig::new(bind(), None)).unwrap();
}

#[test]
fn agents_find_a_restarted_bus_by_themselves() {
    let bus = Bus::open();
    let alice = bus.peer("alice");
    let Bus { front, endpoint, ctx, .. } = bus;
    let first = front.identity().to_owned();
    front.stop();
    let again = Bus { ctx, ..Bus::start(&[&endpoint], None, None, TestPolicy::default()) };
    // Until libzmq has reconnected the message waits in its queue or is lost with the old connection.
    let welcome = loop {
        alice.vip("", "again", "hello", &["hello"]);
        let mut items = [zmq::PollItem::from_socket(&alice.socket, zmq::PollEvents::IN)];
        if zmq::poll(&mut items, Some(std::time::Duration::from_millis(200))).unwrap() == 1 {
            break alice.recv();
        }
    };
    assert_eq!(welcome[7], again.front.identity());
    assert_ne!(first, again.front.identity());
}
