//! Every malformed message is dropped or answered with an error, and counted; nothing panics.

mod common;

use bytes::Bytes;
use common::{Net, bytes};
use volttron_router::{AdmitAll, Limits};

fn net() -> Net {
    let mut net = Net::new();
    net.join("alice");
    net
}

#[test]
fn malformed_messages_are_dropped_and_named() {
    let many = vec![""; 65];
    let mut too_many = vec!["", "VIP1", "", "i", "ping"];
    too_many.extend(&many);
    for (frames, why) in [
        (&[][..], "TooFewFrames"),
        (&["x"], "TooFewFrames"),
        (&["", "VIP1"], "TooFewFrames"),
        (&["", "VIP1", "", "i"], "TooFewFrames"),
        (&["", "VIP2", "", "i", "ping", "ping"], "BadSignature"),
        (&["", "vip1", "", "i", "ping"], "BadSignature"),
        (&["", "", "", "", ""], "BadSignature"),
        (&too_many, "TooManyFrames"),
    ] {
        let mut net = net();
        net.send("newcomer", frames);
        assert!(net.lines("newcomer").is_empty());
        assert_eq!(net.events(), [format!("Malformed {{ sender: \"newcomer\", why: {why} }}")], "{frames:?}");
        assert_eq!(net.peer_names(), ["alice"], "a malformed message adds nobody");
        assert_eq!(net.router.meter().malformed, 1);
    }
}

#[test]
fn probes_register_nobody() {
    let mut net = net();
    net.send("prober", &[""]);
    net.send("", &[""]);
    assert_eq!(net.peer_names(), ["alice"]);
    assert_eq!(net.router.meter().malformed, 2);
}

#[test]
fn impossible_identities_are_dropped() {
    let long = "x".repeat(64 * 1024);
    for identity in ["", "\0\0\0\0\u{1}", &long] {
        let mut net = net();
        net.send(identity, &["", "VIP1", "", "i", "ping", "ping"]);
        assert_eq!(net.router.meter().malformed, 1);
        assert_eq!(net.peer_names(), ["alice"]);
    }
}

#[test]
fn odd_identities_are_served_as_they_are() {
    for identity in ["123", "true", "-5", "NaN", "\"x\"", "caf\u{e9}", "\u{ff}\u{fe}", " ", "a b\n"] {
        let mut net = net();
        net.send(identity, &["", "VIP1", "", "i", "hello", "hello"]);
        let answer = net.received(identity).pop().expect("answered");
        assert_eq!(answer.last().map(String::as_str), Some(identity));
        net.send("alice", &[identity, "VIP1", "", "i", "RPC", "1"]);
        assert_eq!(net.received(identity).pop().and_then(|mut f| f.pop()).as_deref(), Some("1"));
    }
}

#[test]
fn frames_between_peers_stay_byte_for_byte() {
    let mut net = net();
    net.join("bob");
    let odd = [
        "1422573492",
        "-5",
        "4294967296",
        "1e300",
        "NaN",
        "true",
        "null",
        "{\"a\":1}",
        "0001",
        "\u{ff}\u{fe}",
        "\0",
        "",
    ];
    let frames: Vec<&str> = ["bob", "VIP1", "ignored", "12345", "RPC"].into_iter().chain(odd).collect();
    net.send("alice", &frames);
    let expected: Vec<&str> = ["alice", "VIP1", "alice", "12345", "RPC"].into_iter().chain(odd).collect();
    assert_eq!(net.received("bob"), [expected]);
}

#[test]
fn unknown_subsystems_and_operations_are_answered() {
    let mut net = net();
    let long = "s".repeat(64 * 1024);
    for subsystem in
        ["", "RPC", "auth_token", "channel", "web", "config", "HELLO", "123", "\u{ff}", "hello ", &long]
    {
        net.send("alice", &["", "VIP1", "", "i", subsystem, "x"]);
        assert_eq!(net.lines("alice"), [format!("|VIP1||i|error|93|Protocol not supported||{subsystem}")]);
    }
    for (args, answer) in [
        (&["peerlist", "what"][..], "peerlist|error|unknown operation"),
        (&["peerlist", ""], "peerlist|error|unknown operation"),
        (&["peerlist", "list_with_messagebus"], "peerlist|error|unknown operation"),
        (&["peerlist"], "peerlist|error|missing operation"),
        (&["query"], "query||"),
        (&["query", "\u{ff}"], "query||"),
        (&["query", "message-bus", "more"], "query||zmq"),
    ] {
        net.send("alice", &[&["", "VIP1", "", "i"][..], args].concat());
        assert_eq!(net.lines("alice"), [format!("|VIP1||i|{answer}")]);
    }
    for (args, answer) in [
        (&["ping"][..], "ping|pong"),
        (&["ping", "drop", "bob"], "ping|pong|bob"),
        (&["hello"], "hello|welcome|1.0||alice"),
        (&["hello", "x", "y"], "hello|welcome|1.0||alice"),
    ] {
        net.send("alice", &[&["", "VIP1", "", "i"][..], args].concat());
        assert_eq!(net.lines("alice"), [format!("|VIP1|alice|i|{answer}")]);
    }
}

#[test]
fn a_recipient_nobody_has_is_reported_whatever_it_is() {
    let mut net = net();
    let long = "x".repeat(64 * 1024);
    for recipient in ["nobody", "123", "\0", "\u{ff}", &long] {
        net.send("alice", &[recipient, "VIP1", "", "i", "RPC", "{}"]);
        assert_eq!(net.lines("alice"), [format!("|VIP1|alice|i|error|113|No route to host|{recipient}|RPC")]);
    }
}

#[test]
fn frames_above_the_limit_are_dropped() {
    let mut net = Net::with(AdmitAll, Limits { frame_bytes: 1000, ..Limits::default() });
    net.join("alice");
    for position in 0..6 {
        let mut frames: Vec<Bytes> =
            ["", "VIP1", "", "i", "ping", "ping"].iter().map(|frame| bytes(frame)).collect();
        frames[position] = vec![b'x'; 1001].into();
        net.send_bytes("alice", None, frames);
        assert!(net.lines("alice").is_empty());
    }
    assert_eq!(net.router.meter().malformed, 6);
}

#[test]
fn no_reply_is_owed_to_someone_who_left() {
    let mut net = net();
    net.wires.gone.insert("alice".to_owned());
    net.send("alice", &["", "VIP1", "", "i", "ping", "ping"]);
    assert!(net.peer_names().is_empty());
    assert_eq!(net.router.meter().replies_lost, 1);
}
