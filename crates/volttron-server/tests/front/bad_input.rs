//! Every shape of nonsense is dropped or answered, counted, and harms nobody.

use volttron_utils::keys::KeyPair;

use crate::harness::Bus;

/// What peers can put on the wire. `alice` sends each; the bus has to answer her next ping, and bob must see nothing
/// that was not for him.
fn corpus() -> Vec<Vec<Vec<u8>>> {
    let mut all: Vec<Vec<Vec<u8>>> = Vec::new();
    let mut add = |frames: &[&[u8]]| all.push(frames.iter().map(|f| f.to_vec()).collect());
    // Too few frames, of every length; probes.
    add(&[b""]);
    add(&[b"x"]);
    add(&[b"", b"VIP1"]);
    add(&[b"", b"VIP1", b""]);
    add(&[b"", b"VIP1", b"", b"id"]);
    add(&[b"bob", b"VIP1", b"", b"id"]);
    // Bad signatures.
    for signature in [&b""[..], b"VIP2", b"vip1", b"VIP1 ", &[0xff; 4], &vec![0; 100_000]] {
        add(&[b"", signature, b"", b"id", b"hello", b"hello"]);
        add(&[b"bob", signature, b"", b"id", b"RPC", b"x"]);
    }
    // Numbers and other JSON where text belongs, in each position; text that is no UTF-8.
    let odd: [&[u8]; 14] = [
        b"-5",
        b"4294967296",
        b"1e300",
        b"NaN",
        b"-Infinity",
        b"99999999999999999999999999999999999999999999",
        b"null",
        b"true",
        b"\"\\ud800\"",
        b"[[[[",
        b"{\"a\":",
        &[0xff, 0xfe, 0x00],
        &[0xc3, 0x28],
        &[0; 300],
    ];
    for value in odd {
        add(&[value, b"VIP1", b"", b"id", b"RPC", b"x"]);
        add(&[b"", b"VIP1", value, value, b"hello", value]);
        add(&[b"", b"VIP1", b"", value, value, value]);
        add(&[b"", b"VIP1", b"", b"id", b"query", value]);
        add(&[b"", b"VIP1", b"", b"id", b"peerlist", value]);
        add(&[b"", b"VIP1", b"", b"id", b"agentstop", value]);
        add(&[b"", b"VIP1", b"", b"id", b"pubsub", value, value]);
        for op in [
            &b"subscribe"[..],
            b"unsubscribe",
            b"list",
            b"synchronize",
            b"auth_update",
            b"protected_update",
            b"external_list",
            b"external_publish",
            b"nonsense",
            b"",
        ] {
            add(&[b"", b"VIP1", b"", b"id", b"pubsub", op, value]);
            add(&[b"", b"VIP1", b"", b"id", b"pubsub", op, value, value]);
        }
        add(&[b"", b"VIP1", b"", b"id", b"pubsub", b"publish", value]);
        add(&[b"", b"VIP1", b"", b"id", b"pubsub", b"publish", b"topic", value]);
        add(&[b"", b"VIP1", b"", b"id", b"pubsub", b"publish", value, value, value]);
        add(&[b"", b"VIP1", b"", b"id", b"external_rpc", value, value]);
        add(&[b"", b"VIP1", b"", b"id", b"routing_table", value, value]);
    }
    // Requests without arguments; unknown subsystems; what only services may ask.
    for subsystem in [
        "",
        "RPC",
        "nothing",
        "pubsub",
        "query",
        "peerlist",
        "external_rpc",
        "routing_table",
        "error",
        "quit",
        "agentstop",
    ] {
        add(&[b"", b"VIP1", b"", b"id", subsystem.as_bytes()]);
        add(&[b"", b"VIP1", b"", b"id", subsystem.as_bytes(), b""]);
    }
    add(&[b"", b"VIP1", b"", b"id", b"agentstop", b"bob"]);
    add(&[b"", b"VIP1", b"", b"id", b"quit", b""]);
    // Missing keys and wrong types in the payloads of pubsub.
    for body in [
        "{}",
        "[]",
        "7",
        "\"x\"",
        r#"{"prefix": 5, "bus": ""}"#,
        r#"{"prefix": ["a", 5], "bus": ""}"#,
        r#"{"prefix": {"a": 1}, "bus": null}"#,
        r#"{"prefix": "never/"}"#,
        r#"{"bus": ""}"#,
        r#"{"internal": 5}"#,
        r#"{"internal": {"prefix": 5}}"#,
        r#"{"subscriptions": {"internal": {"": "not a list"}}}"#,
        r#"{"subscriptions": 5}"#,
        r#"{"capabilities": {"alice": {"x": null}}}"#,
        r#"{"bus": "", "headers": {}}"#,
        r#"{"bus": 5, "headers": 5, "message": 5, "message": 6}"#,
    ] {
        for op in ["subscribe", "unsubscribe", "list", "synchronize", "auth_update", "protected_update"] {
            add(&[b"", b"VIP1", b"", b"id", b"pubsub", op.as_bytes(), body.as_bytes()]);
            add(&[b"", b"VIP1", b"", b"id", b"pubsub", op.as_bytes(), b"connected", body.as_bytes()]);
        }
        add(&[b"", b"VIP1", b"", b"id", b"pubsub", b"publish", b"t", body.as_bytes()]);
    }
    // Deep JSON, long identities as recipients, many frames.
    let deep = "[".repeat(200_000);
    let deep_map = "{\"a\":".repeat(100_000);
    for body in [deep.as_bytes(), deep_map.as_bytes()] {
        for op in [&b"subscribe"[..], b"unsubscribe", b"list", b"synchronize"] {
            add(&[b"", b"VIP1", b"", b"id", b"pubsub", op, body]);
        }
        add(&[b"", b"VIP1", b"", b"id", b"pubsub", b"publish", b"t", body]);
        add(&[b"", b"VIP1", b"", b"id", b"hello", body]);
    }
    add(&[&vec![b'x'; 65_536], b"VIP1", b"", b"id", b"RPC", b"x"]);
    add(&[&[b'x'; 256], b"VIP1", b"", b"id", b"RPC", b"x"]);
    let mut many: Vec<&[u8]> = vec![b"bob", b"VIP1", b"", b"id", b"RPC"];
    many.resize(5000, b"");
    add(&many);
    many.truncate(64);
    add(&many);
    all
}

#[test]
fn nonsense_is_survived_and_accounted_for() {
    let bus = Bus::open();
    let (alice, bob) = (bus.peer("alice"), bus.peer("bob"));
    bob.drain();
    for frames in corpus() {
        let refs: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
        alice.send(&refs);
        alice.vip("", "still-there", "ping", &["ping"]);
        let shown: Vec<String> =
            refs.iter().map(|f| f[..f.len().min(60)].escape_ascii().to_string()).collect();
        loop {
            let answer = alice.recv();
            if answer[3] == "still-there" {
                break;
            }
            assert!(answer.iter().map(String::len).sum::<usize>() < 1_000_000, "{shown:?}: a huge answer");
        }
    }
    let heard = bob.drain();
    let unexpected: Vec<_> =
        heard.iter().filter(|m| m[4] != "peerlist" && !(m[0] == "alice" && m[4] == "RPC")).collect();
    assert!(unexpected.is_empty(), "{unexpected:?}");
    let snapshot = bus.snapshot();
    assert!(snapshot.router.adds_up(), "{snapshot:?}");
    assert!(snapshot.router.malformed > 10 && snapshot.router.bad_requests > 10, "{snapshot:?}");
    assert_eq!((snapshot.front.panics, snapshot.front.send_failures), (0, 0), "{snapshot:?}");
    assert_eq!(snapshot.peers.len(), 2);
}

#[test]
fn a_message_before_hello_registers_its_sender() {
    let bus = Bus::open();
    let alice = bus.silent_peer(b"alice", &KeyPair::generate());
    alice.vip("", "p", "ping", &["ping"]);
    assert_eq!(alice.recv(), ["", "VIP1", "alice", "p", "ping", "pong"]);
    assert_eq!(bus.snapshot().peers.len(), 1);
}

#[test]
fn odd_identities_are_served_or_ignored_but_never_harm() {
    let bus = Bus::open();
    let watcher = bus.peer("watcher");
    for identity in [&b""[..], b"123", b"null", &[0xff, 0xfe], b"with space", &[b'z'; 255]] {
        let odd = bus.silent_peer(identity, &KeyPair::generate());
        odd.vip("", "o", "ping", &["ping"]);
        odd.vip("watcher", "o", "channel", &["hi"]);
        // Whatever the bus makes of it, the watcher's pings are answered and the books add up.
        bus.wait_until("both messages handled", |s| s.router.adds_up() && s.front.received >= 2);
        watcher.drain();
    }
    assert_eq!(bus.snapshot().front.panics, 0);
}

#[test]
fn a_frame_beyond_the_limit_costs_the_connection_only() {
    let bus = Bus::open();
    let (alice, bob) = (bus.peer("alice"), bus.peer("bob"));
    alice.drain();
    bob.send(&[b"alice", b"VIP1", b"", b"1", b"channel", &vec![b'x'; 1 << 20]]);
    assert_eq!(alice.recv()[5].len(), 1 << 20, "as large as allowed");
    bob.send(&[b"alice", b"VIP1", b"", b"2", b"channel", &vec![b'x'; (1 << 20) + 1]]);
    assert_eq!(alice.recv()[5..], ["drop", "bob"]);
}

#[test]
fn a_bug_costs_one_message() {
    let bus = Bus::open();
    let alice = bus.peer("alice");
    alice.vip("", "p", "pubsub", &["publish", "boom", r#"{"bus": "", "headers": {}, "message": 1}"#]);
    alice.vip("", "q", "ping", &["ping"]);
    assert_eq!(alice.recv()[3], "q", "no answer to the first, the second is served");
    assert_eq!(bus.snapshot().front.panics, 1);
}
