//! Who may speak, who is announced, and what happens to messages that cannot be delivered.

mod common;

use std::cell::Cell;

use common::Net;
use volttron_router::{Control, Denied, Input, Limits, Origin, Policy, Refusal, WhenFull};

/// `bob` belongs to key B, service names to nobody, everything else to anyone with a key.
#[derive(Default)]
struct Bound {
    generation: Cell<u64>,
    bob_banned: Cell<bool>,
}

impl Policy for Bound {
    fn admit(&self, identity: &str, user: Option<&str>) -> Result<(), Refusal> {
        match (identity, user) {
            ("control" | "platform.control", _) => Err(Refusal::ServiceIdentity),
            (_, None) => Err(Refusal::NotAuthenticated),
            ("bob", Some("B")) if self.bob_banned.get() => Err(Refusal::NotAuthorised),
            ("bob", Some(key)) if key != "B" => Err(Refusal::BoundToOtherKey),
            _ => Ok(()),
        }
    }
    fn publish(&self, _: &str, _: &str) -> Result<(), Denied> {
        Ok(())
    }
    fn generation(&self) -> u64 {
        self.generation.get()
    }
}

fn bound() -> Net<Bound> {
    Net::with(Bound::default(), Limits::default())
}

const HELLO: &[&str] = &["", "VIP1", "", "h", "hello", "hello"];
const PING: &[&str] = &["", "VIP1", "", "p", "ping", "ping"];

#[test]
fn a_newcomer_is_announced_to_the_others_only() {
    let mut net = Net::new();
    net.join("alice");
    net.send("bob", HELLO);
    net.send("bob", PING);
    assert_eq!(net.lines("alice"), ["|VIP1|||peerlist|add|bob"]);
    assert_eq!(net.lines("bob"), ["|VIP1|bob|h|hello|welcome|1.0||bob", "|VIP1|bob|p|ping|pong"]);
    assert_eq!(net.events(), ["PeerAdded { identity: \"bob\" }"]);
}

#[test]
fn a_disconnect_is_announced_once_and_nothing_follows_it() {
    let mut net = Net::new();
    net.join("alice");
    net.join("bob");
    net.gone("bob");
    net.gone("bob");
    net.send("bob", &[""]);
    assert_eq!(net.lines("alice"), ["|VIP1|||peerlist|drop|bob"]);
    assert_eq!(net.peer_names(), ["alice"]);
    net.send("alice", &["bob", "VIP1", "", "i", "RPC", "{}"]);
    assert_eq!(net.lines("alice"), ["|VIP1|alice|i|error|113|No route to host|bob|RPC"]);
    assert!(net.lines("bob").is_empty());
}

#[test]
fn the_notice_of_the_socket_library_drops_its_own_peer() {
    let mut net = Net::new();
    net.join("alice");
    net.join("bob");
    net.send("bob", &[""]);
    assert_eq!(net.lines("alice"), ["|VIP1|||peerlist|drop|bob"]);
}

#[test]
fn a_failed_send_drops_the_recipient_and_tells_sender_and_others() {
    let mut net = Net::new();
    net.join("alice");
    net.join("bob");
    net.join("carol");
    net.wires.gone.insert("bob".to_owned());
    net.send("alice", &["bob", "VIP1", "", "i", "RPC", "{}"]);
    assert_eq!(
        net.lines("alice"),
        ["|VIP1|alice|i|error|113|No route to host|bob|RPC", "|VIP1|||peerlist|drop|bob"]
    );
    assert_eq!(net.lines("carol"), ["|VIP1|||peerlist|drop|bob"]);
}

#[test]
fn failures_during_a_broadcast_cascade_and_end() {
    let mut net = Net::new();
    for peer in ["a", "b", "c", "d"] {
        net.join(peer);
    }
    net.wires.gone.extend(["b".to_owned(), "c".to_owned()]);
    net.gone("d");
    assert_eq!(
        net.lines("a"),
        ["|VIP1|||peerlist|drop|d", "|VIP1|||peerlist|drop|b", "|VIP1|||peerlist|drop|c"]
    );
    assert_eq!(net.peer_names(), ["a"]);
}

#[test]
fn a_full_queue_is_reported_and_counted_and_the_peer_stays() {
    let mut net = Net::new();
    net.join("alice");
    net.join("bob");
    net.wires.full.insert("bob".to_owned());
    for _ in 0..3 {
        net.send("alice", &["bob", "VIP1", "", "i", "RPC", "{}"]);
    }
    let report = "|VIP1|alice|i|error|11|Resource temporarily unavailable|bob|RPC";
    assert_eq!(net.lines("alice"), [report; 3]);
    assert_eq!(
        net.events().last().map(String::as_str),
        Some("QueueFull { peer: \"bob\", dropped_total: 3 }")
    );
    assert_eq!(net.peer_names(), ["alice", "bob"]);
    assert_eq!(net.router.meter().queue_full_direct, 3);
}

#[test]
fn a_peer_that_never_reads_can_be_dropped() {
    let limits = Limits { when_full: WhenFull::Disconnect { after: 2 }, ..Limits::default() };
    let mut net = Net::with(volttron_router::AdmitAll, limits);
    net.join("alice");
    net.join("bob");
    net.wires.full.insert("bob".to_owned());
    let message = ["bob", "VIP1", "", "i", "RPC", "{}"];
    net.send("alice", &message);
    net.send("alice", &message);
    assert_eq!(net.lines("alice")[2..], ["|VIP1|||peerlist|drop|bob"]);
    net.wires.full.clear();
    net.send("bob", PING);
    assert_eq!(net.lines("alice"), ["|VIP1|||peerlist|add|bob"]);
}

#[test]
fn an_identity_bound_to_a_key_is_refused_to_others() {
    let mut net = bound();
    net.send_as("alice", Some("A"), HELLO);
    net.send_as("bob", Some("A"), HELLO);
    net.send_as("eve", None, HELLO);
    net.send_as("control", Some("A"), HELLO);
    assert_eq!(net.peer_names(), ["alice"]);
    assert!(net.lines("bob").is_empty() && net.lines("eve").is_empty() && net.lines("control").is_empty());
    // A connection that was refused gets no messages meant for the real bob either.
    net.send_as("alice", Some("A"), &["bob", "VIP1", "", "i", "RPC", "{}"]);
    assert!(net.lines("bob").is_empty());
    net.send_as("bob", Some("B"), HELLO);
    assert_eq!(net.peer_names(), ["alice", "bob"]);
    assert_eq!(net.router.meter().refused, 3);
    assert_eq!(
        net.events().iter().filter(|event| event.starts_with("Refused")).count(),
        3,
        "each refusal is reported"
    );
}

#[test]
fn a_later_connection_under_the_same_identity_is_checked_again() {
    let mut net = bound();
    net.send_as("bob", Some("B"), HELLO);
    net.send_as("bob", Some("A"), PING);
    assert_eq!(net.peer_names(), Vec::<String>::new(), "the entry went with the connection it was made for");
    assert_eq!(net.router.meter().refused, 1);
}

#[test]
fn a_change_of_policy_reaches_peers_that_only_listen() {
    let mut net = bound();
    net.send_as("alice", Some("A"), HELLO);
    net.send_as("bob", Some("B"), HELLO);
    net.router.policy().bob_banned.set(true);
    net.input(Input::Tick);
    assert_eq!(net.peer_names().len(), 2, "answers are kept until the generation changes");
    net.router.policy().generation.set(1);
    net.input(Input::Tick);
    assert_eq!(net.peer_names(), ["alice"]);
    assert_eq!(net.lines("alice").last().map(String::as_str), Some("|VIP1|||peerlist|drop|bob"));
}

#[test]
fn services_cannot_be_impersonated_on_a_socket() {
    let mut net = Net::new();
    net.attach("control", &["platform.control"]);
    net.send("control", HELLO);
    net.send("platform.control", HELLO);
    net.gone("control");
    assert_eq!(net.peer_names(), ["control"]);
    assert_eq!(net.router.meter().refused, 2);
}

#[test]
fn a_service_speaks_only_under_its_own_names() {
    let mut net = Net::new();
    let control = net.attach("control", &["platform.control"]);
    net.attach("platform.auth", &[]);
    net.join("alice");
    for (name, heard) in
        [("control", true), ("platform.control", true), ("platform.auth", false), ("bob", false)]
    {
        let frames = [name, "alice", "VIP1", "", "i", "RPC", "{}"];
        let frames = frames.iter().map(|frame| common::bytes(frame)).collect();
        net.input(Input::Message { from: Origin::Local(control), user: None, frames });
        let expected = if heard { vec![format!("{name}|VIP1|{name}|i|RPC|{{}}")] } else { vec![] };
        assert_eq!(net.lines("alice"), expected, "{name}");
    }
    assert_eq!(net.router.meter().malformed, 2);
}

#[test]
fn an_answer_carries_the_name_that_was_addressed() {
    let mut net = Net::new();
    let control = net.attach("control", &["platform.control"]);
    net.join("alice");
    net.send("alice", &["platform.control", "VIP1", "", "r1", "RPC", "{}"]);
    net.send("alice", &["control", "VIP1", "", "r2", "RPC", "{}"]);
    assert_eq!(net.lines("control"), ["alice|VIP1|alice|r1|RPC|{}", "alice|VIP1|alice|r2|RPC|{}"]);
    net.send_local(control, &["alice", "VIP1", "", "r2", "RPC", "two"]);
    net.send_local(control, &["alice", "VIP1", "", "push", "RPC", "push"]);
    net.send_local(control, &["alice", "VIP1", "", "r1", "RPC", "one"]);
    net.send_local(control, &["alice", "VIP1", "", "r1", "RPC", "again"]);
    assert_eq!(
        net.lines("alice"),
        [
            "control|VIP1|control|r2|RPC|two",
            "control|VIP1|control|push|RPC|push",
            "platform.control|VIP1|platform.control|r1|RPC|one",
            "control|VIP1|control|r1|RPC|again",
        ]
    );
    // A channel that the call asked for: the service speaks first.
    net.send_local(control, &["alice", "VIP1", "", "", "channel", "first"]);
    assert_eq!(net.lines("alice"), ["platform.control|VIP1|platform.control||channel|first"]);
    // Channels have no id; the name stays.
    net.send("alice", &["platform.control", "VIP1", "", "", "channel", "c"]);
    for _ in 0..2 {
        net.send_local(control, &["alice", "VIP1", "", "", "channel", "c"]);
    }
    assert_eq!(net.lines("alice"), ["platform.control|VIP1|platform.control||channel|c"; 2]);
}

#[test]
fn a_service_may_call_itself_by_its_alias() {
    let mut net = Net::new();
    let control = net.attach("control", &["platform.control"]);
    net.send_local(control, &["platform.control", "VIP1", "", "r1", "RPC", "call"]);
    net.send_local(control, &["control", "VIP1", "", "r1", "RPC", "answer"]);
    assert_eq!(
        net.lines("control"),
        ["control|VIP1|control|r1|RPC|call", "platform.control|VIP1|platform.control|r1|RPC|answer"]
    );
}

#[test]
fn both_names_of_a_service_are_announced_and_listed() {
    let mut net = Net::new();
    net.join("alice");
    let control = net.attach("control", &["platform.control"]);
    assert_eq!(net.lines("alice"), ["|VIP1|||peerlist|add|control", "|VIP1|||peerlist|add|platform.control"]);
    net.send("alice", &["", "VIP1", "", "l", "peerlist", "list"]);
    assert_eq!(net.lines("alice"), ["|VIP1||l|peerlist|listing|alice|control|platform.control"]);
    net.control(Control::DetachService(control));
    assert_eq!(
        net.lines("alice"),
        ["|VIP1|||peerlist|drop|control", "|VIP1|||peerlist|drop|platform.control"]
    );
}

#[test]
fn tools_with_a_suffix_act_as_the_control_connection() {
    let mut net = Net::new();
    net.join("alice");
    net.send("control.connection.7", &["alice", "VIP1", "", "i", "RPC", "{}"]);
    assert_eq!(net.lines("alice")[1..], ["control.connection.7|VIP1|control.connection|i|RPC|{}"]);
    net.send("control.connections", &["alice", "VIP1", "", "i", "RPC", "{}"]);
    assert_eq!(net.lines("alice")[1..], ["control.connections|VIP1|control.connections|i|RPC|{}"]);
}

#[test]
fn agentstop_is_for_oneself_or_from_control() {
    let mut net = Net::new();
    let control = net.attach("control", &["platform.control"]);
    for peer in ["alice", "bob", "carol"] {
        net.join(peer);
    }
    let stop = |target| ["", "VIP1", "", "", "agentstop", target];
    net.send("alice", &stop("bob"));
    net.send("alice", &stop("control"));
    net.send("alice", &["", "VIP1", "", "", "agentstop"]);
    net.send("alice", &stop("nobody"));
    // A service says goodbye as every agent does; it stays until it is detached, and that is no offence.
    net.send_local(control, &stop("control"));
    assert!(net.lines("alice").is_empty() && net.lines("carol").is_empty(), "never answered");
    assert_eq!(net.router.meter().not_allowed, 2);
    net.send("bob", &stop("bob"));
    net.send_local(control, &stop("carol"));
    assert_eq!(net.lines("alice"), ["|VIP1|||peerlist|drop|bob", "|VIP1|||peerlist|drop|carol"]);
    assert_eq!(net.peer_names(), ["control", "alice"]);
}

#[test]
fn quit_is_obeyed_from_the_control_service_alone() {
    let mut net = Net::new();
    let control = net.attach("control", &["platform.control"]);
    let auth = net.attach("platform.auth", &[]);
    net.join("alice");
    let quit = ["", "VIP1", "", "q", "quit"];
    net.send("alice", &quit);
    assert_eq!(net.lines("alice"), ["|VIP1||q|error|93|Protocol not supported||quit"]);
    net.send_local(auth, &quit);
    assert!(!net.events().contains(&"Quit".to_owned()));
    net.send_local(control, &quit);
    assert_eq!(net.events(), ["Quit"]);
    net.control(Control::Shutdown);
    net.send("alice", PING);
    net.gone("alice");
    assert!(net.lines("alice").is_empty(), "drops are not announced at shutdown");
    assert_eq!(net.router.meter().after_shutdown, 1);
}

#[test]
fn the_number_of_peers_is_bounded() {
    let mut net = Net::with(volttron_router::AdmitAll, Limits { peers: 2, ..Limits::default() });
    for peer in ["a", "b", "c"] {
        net.send(peer, HELLO);
    }
    assert_eq!(net.peer_names(), ["a", "b"]);
    net.gone("a");
    net.send("c", HELLO);
    assert_eq!(net.peer_names(), ["c", "b"]);
}

#[test]
fn statistics_have_the_shape_of_the_original() {
    let mut net = Net::new();
    net.join("alice");
    assert!(!net.router.stats_enabled());
    net.control(Control::StatsEnable(true));
    assert!(net.router.stats_enabled());
    net.send("alice", PING);
    net.send("alice", &["nobody", "VIP1", "u", "i", "RPC", "{}"]);
    net.send("alice", &["", "VIP2", "", "i", "ping"]);
    net.control(Control::StatsEnable(false));
    net.send("alice", PING);
    let mut stats = net.router.stats();
    for key in ["start", "end"] {
        assert!(
            stats.as_object_mut().and_then(|stats| stats.remove(key)).is_some_and(|value| value.is_f64())
        );
    }
    let expected = serde_json::json!({
        "error": {"error": {}, "peer": {}, "user": {}, "subsystem": {}},
        "unroutable": {"error": {"bad VIP signature": 1}, "peer": {"alice": 1}},
        "incoming": {"peer": {"alice": 3}, "user": {"": 2, "u": 1}, "subsystem": {"RPC": 1, "ping": 2}},
        "outgoing": {"peer": {"alice": 2}, "user": {"alice": 2}, "subsystem": {"error": 1, "ping": 1}},
    });
    assert_eq!(stats, expected);
}
