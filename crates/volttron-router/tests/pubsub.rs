//! Publish and subscribe, operation by operation.

mod common;

use std::cell::Cell;

use bytes::Bytes;
use common::{Net, bytes};
use volttron_router::{AdmitAll, Denied, Limits, Policy, Refusal};

fn subscribe(net: &mut Net<impl Policy>, who: &str, document: &str) -> String {
    net.send(who, &["", "VIP1", "", "s", "pubsub", "subscribe", document]);
    net.lines(who).pop().expect("subscribe is answered")
}

fn subscribe_to(net: &mut Net<impl Policy>, who: &str, prefix: &str) {
    let document = format!("{{\"prefix\": \"{prefix}\", \"bus\": \"\", \"all_platforms\": false}}");
    let answer = subscribe(net, who, &document);
    assert_eq!(answer, format!("|VIP1|{who}|s|pubsub|request_response|\u{1}"));
}

fn publish(net: &mut Net<impl Policy>, who: &str, topic: &str, body: &str) {
    net.send(who, &["", "VIP1", "", "p", "pubsub", "publish", topic, body]);
}

const BODY: &str = r#"{"bus": "", "headers": {}, "message": 1}"#;

fn net(peers: &[&str]) -> Net {
    let mut net = Net::new();
    for peer in peers {
        net.join(peer);
    }
    net
}

#[test]
fn a_delivery_is_the_body_as_published_with_the_sender_in_front() {
    let mut net = net(&["alice", "bob"]);
    subscribe_to(&mut net, "bob", "devices/a");
    let body =
        r#" {"message":[1.5,{"a":  "\u00e9"}, NaN], "extra": 1, "headers": {"TimeStamp" : "x"},"bus":""} "#;
    publish(&mut net, "alice", "devices/abc/def", body);
    assert_eq!(
        net.lines("bob"),
        [concat!(
            r#"|VIP1||p|pubsub|publish|devices/abc/def|{"sender": "alice", "bus": "", "#,
            r#""headers": {"TimeStamp" : "x"}, "message": [1.5,{"a":  "\u00e9"}, NaN]}"#
        )]
    );
    assert_eq!(net.lines("alice"), ["|VIP1|alice|p|pubsub|request_response|\u{1}\0\0\0"]);
}

#[test]
fn a_user_frame_can_only_be_empty_or_the_truth() {
    let mut net = net(&["alice", "bob"]);
    subscribe_to(&mut net, "bob", "");
    net.send("alice", &["", "VIP1", "control", "p", "pubsub", "publish", "t", BODY]);
    let delivery = "|VIP1|alice|p|pubsub|publish|t|{\"sender\": \"alice\", \"bus\": \"\", \"headers\": {}, \"message\": 1}";
    assert_eq!(net.lines("bob"), [delivery]);
}

#[test]
fn prefixes_are_strings_and_each_peer_gets_one_copy() {
    let mut net = net(&["alice", "bob", "carol", "dave"]);
    for prefix in ["", "dev", "devices/a", "devices/abc"] {
        subscribe_to(&mut net, "bob", prefix);
    }
    subscribe_to(&mut net, "carol", "devices/b");
    subscribe_to(&mut net, "alice", "devices/");
    publish(&mut net, "alice", "devices/abc", BODY);
    assert_eq!(net.lines("bob").len(), 1);
    assert!(net.lines("carol").is_empty() && net.lines("dave").is_empty());
    let own = net.lines("alice");
    assert!(
        own[0].contains("publish|devices/abc") && own[1].ends_with("request_response|\u{2}\0\0\0"),
        "{own:?}"
    );
}

#[test]
fn both_tables_are_looked_at() {
    let mut net = net(&["alice", "bob", "carol"]);
    subscribe(&mut net, "bob", r#"{"prefix": "x", "bus": "", "all_platforms": true}"#);
    subscribe_to(&mut net, "carol", "x");
    publish(&mut net, "alice", "x/1", BODY);
    assert_eq!((net.lines("bob").len(), net.lines("carol").len()), (1, 1));
}

#[test]
fn buses_are_separate() {
    let mut net = net(&["alice", "bob", "carol"]);
    subscribe(&mut net, "bob", r#"{"prefix": "x", "bus": "b\u00e9"}"#);
    subscribe_to(&mut net, "carol", "x");
    publish(&mut net, "alice", "x", r#"{"bus": "b\u00e9", "headers": {}, "message": 1}"#);
    assert_eq!((net.lines("bob").len(), net.lines("carol").len()), (1, 0));
    publish(&mut net, "alice", "x", BODY);
    assert_eq!((net.lines("bob").len(), net.lines("carol").len()), (0, 1));
    net.send(
        "bob",
        &[
            "",
            "VIP1",
            "",
            "l",
            "pubsub",
            "list",
            r#"{"prefix": "", "all_platforms": false, "subscribed": false, "reverse": false, "bus": null}"#,
        ],
    );
    assert_eq!(
        net.lines("bob"),
        [r#"|VIP1|bob|l|pubsub|list_response|[["", "x", false], ["b\u00e9", "x", true]]"#]
    );
}

#[test]
fn subscribe_answers_false_to_what_it_cannot_read() {
    let mut net = net(&["bob"]);
    for document in [
        "",
        "x",
        "1",
        "null",
        "[]",
        "{}",
        r#"{"prefix": "x"}"#,
        r#"{"bus": ""}"#,
        r#"{"prefix": 1, "bus": ""}"#,
        r#"{"prefix": ["a", 1], "bus": ""}"#,
        r#"{"prefix": {"a": 1}, "bus": ""}"#,
        r#"{"prefix": "x", "bus": []}"#,
        r#"{"prefix": "\u0100", "bus": ""}"#,
        r#"{"prefix": null, "bus": ""}"#,
    ] {
        assert_eq!(
            subscribe(&mut net, "bob", document),
            "|VIP1|bob|s|pubsub|request_response|\0",
            "{document}"
        );
    }
    net.send("bob", &["", "VIP1", "", "s", "pubsub", "subscribe"]);
    assert_eq!(net.lines("bob"), ["|VIP1|bob|s|pubsub|request_response|\0"]);
    assert_eq!(net.router.peers().map(|peer| peer.subscriptions).sum::<usize>(), 0);
    assert_eq!(net.router.meter().bad_requests, 15);
}

#[test]
fn publish_answers_zero_to_what_it_cannot_read() {
    let mut net = net(&["alice", "bob"]);
    subscribe_to(&mut net, "bob", "");
    let deep = format!(
        "{{\"bus\": \"\", \"headers\": {{}}, \"message\": {}1{}}}",
        "[".repeat(5000),
        "]".repeat(5000)
    );
    for (topic, body) in [
        ("t", ""),
        ("t", "x"),
        ("t", "[]"),
        ("t", "{}"),
        ("t", r#"{"bus": "", "headers": {}}"#),
        ("t", r#"{"bus": "", "message": 1}"#),
        ("t", r#"{"headers": {}, "message": 1}"#),
        ("t", r#"{"bus": 1, "headers": {}, "message": 1}"#),
        ("t", r#"{"bus": "", "headers": {}, "message": }"#),
        ("t", r#"{"bus": "", "headers": {}, "message": 1"#),
        ("t", r#"{"bus": "\u0100", "headers": {}, "message": 1}"#),
        ("t", &*deep),
        ("123", BODY),
        ("true", BODY),
        ("[1]", BODY),
        ("{}", BODY),
        ("null", BODY),
        ("-5", BODY),
        ("1e300", BODY),
        ("NaN", BODY),
        ("\"\\u0100\"", BODY),
    ] {
        publish(&mut net, "alice", topic, body);
        assert_eq!(
            net.lines("alice"),
            ["|VIP1|alice|p|pubsub|request_response|\0\0\0\0"],
            "{topic} {body:.60}"
        );
        assert!(net.lines("bob").is_empty(), "{topic} {body:.60}");
    }
    for short in [&["publish"][..], &["publish", "t"]] {
        let frames = [&["", "VIP1", "", "p", "pubsub"][..], short].concat();
        net.send("alice", &frames);
        assert!(net.lines("alice").is_empty(), "too few arguments are not answered");
    }
    assert_eq!(net.router.meter().publish_bad, 23);
}

#[test]
fn topics_that_merely_look_like_json_are_topics() {
    let mut net = net(&["alice", "bob"]);
    subscribe_to(&mut net, "bob", "");
    for topic in ["0001", "true.story", "nan", "-", "[", "1.5.2", " x", "\u{e9}", ""] {
        publish(&mut net, "alice", topic, BODY);
        assert_eq!(net.received("bob")[0][6], topic);
    }
    // A quoted topic is what Python reads inside the quotes, and stays as sent.
    subscribe_to(&mut net, "alice", "quo");
    publish(&mut net, "bob", "\"quoted\"", BODY);
    assert_eq!(net.received("alice")[0][6], "\"quoted\"");
}

#[test]
fn counts_are_raw_unless_python_could_not_read_them() {
    let mut net = net(&["alice"]);
    for n in 0..200 {
        let peer = format!("s{n}");
        net.join(&peer);
        subscribe_to(&mut net, &peer, "x");
        publish(&mut net, "alice", "x", BODY);
        let count = net.received("alice").pop().and_then(|mut frames| frames.pop()).expect("answered");
        let expected =
            if n + 1 < 128 { format!("{}\0\0\0", (n as u8 + 1) as char) } else { (n + 1).to_string() };
        assert_eq!(count, expected);
    }
}

#[test]
fn unsubscribe_in_all_its_forms() {
    let mut net = net(&["bob"]);
    let listed = |net: &mut Net| {
        let list = |all| {
            format!(
                "{{\"prefix\": \"\", \"all_platforms\": {all}, \"subscribed\": true, \"reverse\": false, \"bus\": null}}"
            )
        };
        let mut found = Vec::new();
        for all in [false, true] {
            net.send("bob", &["", "VIP1", "", "l", "pubsub", "list", &list(all)]);
            found.push(net.received("bob").pop().and_then(|mut frames| frames.pop()).expect("answered"));
        }
        found.join(" ")
    };
    let fill = |net: &mut Net| {
        subscribe(net, "bob", r#"{"prefix": ["a", "b", "c"], "bus": ""}"#);
        subscribe(net, "bob", r#"{"prefix": ["a", "b"], "bus": "", "all_platforms": true}"#);
    };
    let full = r#"[["", "a", true], ["", "b", true], ["", "c", true]] [["", "a", true], ["", "b", true]]"#;
    for (document, answer, left) in [
        (
            r#"{"internal": {"prefix": "a", "bus": ""}}"#,
            1,
            r#"[["", "b", true], ["", "c", true]] [["", "a", true], ["", "b", true]]"#,
        ),
        (
            r#"{"internal": {"prefix": ["a", "c"], "bus": ""}, "all": {"prefix": ["b"], "bus": ""}}"#,
            1,
            r#"[["", "b", true]] [["", "a", true]]"#,
        ),
        (r#"{"internal": {"prefix": null, "bus": ""}}"#, 1, r#"[] [["", "a", true], ["", "b", true]]"#),
        (r#"{"prefix": null, "bus": ""}"#, 1, r#"[] [["", "a", true], ["", "b", true]]"#),
        (
            r#"{"prefix": "a", "bus": ""}"#,
            1,
            r#"[["", "b", true], ["", "c", true]] [["", "a", true], ["", "b", true]]"#,
        ),
        (r#"{"prefix": "zzz", "bus": ""}"#, 1, full),
        (r#"{"prefix": [], "bus": ""}"#, 1, full),
        (r#"{"prefix": "a", "bus": "other"}"#, 1, full),
        (r#"{"bus": ""}"#, 0, full),
        (r#"{"prefix": "a"}"#, 0, full),
        (r#"{"internal": {"bus": ""}}"#, 0, full),
        (r#"{"internal": 1}"#, 0, full),
        ("[]", 0, full),
        ("x", 0, full),
    ] {
        fill(&mut net);
        assert_eq!(listed(&mut net), full);
        net.send("bob", &["", "VIP1", "", "u", "pubsub", "unsubscribe", document]);
        let answer = format!("|VIP1|bob|u|pubsub|request_response|{}", char::from(answer));
        assert_eq!(net.lines("bob"), [answer], "{document}");
        assert_eq!(listed(&mut net), left, "{document}");
    }
}

#[test]
fn synchronize_makes_subscriptions_equal() {
    let mut net = net(&["alice", "bob"]);
    subscribe(&mut net, "bob", r#"{"prefix": ["old", "kept"], "bus": ""}"#);
    let map = r#"{"subscriptions": {"internal": {"": ["kept", "new"], "b2": ["x"]}, "all": {"": ["far"]}, "other": 1}}"#;
    for _ in 0..2 {
        net.send("bob", &["", "VIP1", "", "y", "pubsub", "synchronize", "connected", map]);
    }
    for bad in [
        &["connected"][..],
        &["connected", "x"],
        &["connected", "{}"],
        &["connected", r#"{"subscriptions": 1}"#],
        &["connected", r#"{"subscriptions": {"internal": 1}}"#],
        &["connected", r#"{"subscriptions": {"internal": {"": 1}}}"#],
        &["disconnected", r#"{"subscriptions": {}}"#],
        &[],
    ] {
        net.send("bob", &[&["", "VIP1", "", "y", "pubsub", "synchronize"][..], bad].concat());
    }
    assert!(net.lines("bob").is_empty(), "never answered");
    for (topic, wanted) in [("old", false), ("kept", true), ("new", true), ("far", true), ("x", false)] {
        publish(&mut net, "alice", topic, BODY);
        assert_eq!(net.lines("bob").len(), usize::from(wanted), "{topic}");
    }
    net.send("bob", &["", "VIP1", "", "y", "pubsub", "synchronize", "connected", r#"{"subscriptions": {}}"#]);
    assert_eq!(net.router.peers().map(|peer| peer.subscriptions).sum::<usize>(), 0);
}

#[test]
fn list_filters() {
    let mut net = net(&["alice", "bob"]);
    subscribe(&mut net, "alice", r#"{"prefix": ["", "dev", "devices/a"], "bus": ""}"#);
    subscribe(&mut net, "bob", r#"{"prefix": ["dev", "weather"], "bus": ""}"#);
    for (prefix, subscribed, reverse, found) in [
        (
            "",
            false,
            false,
            r#"[["", "", false], ["", "dev", true], ["", "devices/a", false], ["", "weather", true]]"#,
        ),
        ("", true, false, r#"[["", "dev", true], ["", "weather", true]]"#),
        ("dev", false, false, r#"[["", "dev", true], ["", "devices/a", false]]"#),
        ("devices", false, true, r#"[["", "", false], ["", "dev", true]]"#),
        ("devices", true, true, r#"[["", "dev", true]]"#),
        ("x", false, false, "[]"),
    ] {
        let document = format!(
            "{{\"prefix\": \"{prefix}\", \"all_platforms\": false, \"subscribed\": {subscribed}, \"reverse\": {reverse}, \"bus\": \"\"}}"
        );
        net.send("bob", &["", "VIP1", "", "l", "pubsub", "list", &document]);
        assert_eq!(net.lines("bob"), [format!("|VIP1|bob|l|pubsub|list_response|{found}")], "{document}");
    }
    for bad in [
        &[][..],
        &["{}"],
        &["x"],
        &[r#"{"prefix": 1, "all_platforms": false, "subscribed": false, "reverse": false, "bus": ""}"#],
    ] {
        net.send("bob", &[&["", "VIP1", "", "l", "pubsub", "list"][..], bad].concat());
        assert_eq!(net.lines("bob"), ["|VIP1|bob|l|pubsub|list_response|[]"]);
    }
}

#[test]
fn a_dropped_peer_has_no_subscriptions_left() {
    let mut net = net(&["alice", "bob"]);
    subscribe_to(&mut net, "bob", "x");
    publish(&mut net, "alice", "x", BODY);
    net.lines("bob");
    net.gone("bob");
    net.join("carol");
    publish(&mut net, "alice", "x", BODY);
    assert!(net.lines("bob").is_empty());
    assert!(net.lines("carol").is_empty(), "a number used again is not mistaken for the peer that had it");
    net.send("bob", &["", "VIP1", "", "h", "hello", "hello"]);
    net.lines("bob");
    publish(&mut net, "alice", "x", BODY);
    assert!(net.lines("bob").is_empty(), "it has to subscribe again");
}

#[test]
fn a_slow_subscriber_costs_its_publisher_a_report_and_nobody_else_anything() {
    let mut net = net(&["alice", "bob", "carol"]);
    subscribe_to(&mut net, "bob", "x");
    subscribe_to(&mut net, "carol", "x");
    net.wires.full.insert("bob".to_owned());
    publish(&mut net, "alice", "x", BODY);
    assert_eq!(
        net.lines("alice"),
        [
            "|VIP1|alice|p|error|11|Resource temporarily unavailable|bob|pubsub",
            "|VIP1|alice|p|pubsub|request_response|\u{2}\0\0\0"
        ]
    );
    assert_eq!(net.lines("carol").len(), 1);
    assert_eq!(net.router.peers().find(|peer| peer.identity == "bob").map(|peer| peer.dropped), Some(1));
}

#[test]
fn a_publisher_that_vanishes_half_way_still_reaches_everyone() {
    let mut net = net(&["alice", "bob", "carol"]);
    subscribe_to(&mut net, "bob", "x");
    subscribe_to(&mut net, "carol", "x");
    net.wires.full.insert("bob".to_owned());
    net.wires.gone.insert("alice".to_owned());
    publish(&mut net, "alice", "x", BODY);
    let heard = net.lines("carol");
    assert!(heard[0].contains("|publish|x|") && heard[1].ends_with("drop|alice"), "{heard:?}");
}

#[test]
fn a_dead_subscriber_is_found_out_by_a_delivery() {
    let mut net = net(&["alice", "bob"]);
    subscribe_to(&mut net, "bob", "x");
    net.wires.gone.insert("bob".to_owned());
    publish(&mut net, "alice", "x", BODY);
    publish(&mut net, "alice", "x", BODY);
    assert_eq!(
        net.lines("alice"),
        [
            "|VIP1|alice|p|pubsub|request_response|\u{1}\0\0\0",
            "|VIP1|||peerlist|drop|bob",
            "|VIP1|alice|p|pubsub|request_response|\0\0\0\0",
        ]
    );
}

/// `prot/` needs `cap1`, which only `bob` has.
#[derive(Default)]
struct Protected {
    asked: Cell<u32>,
    generation: Cell<u64>,
    open: Cell<bool>,
}

impl Policy for Protected {
    fn admit(&self, _: &str, _: Option<&str>) -> Result<(), Refusal> {
        Ok(())
    }
    fn publish(&self, identity: &str, topic: &str) -> Result<(), Denied> {
        self.asked.set(self.asked.get() + 1);
        if identity == "bob" || !topic.starts_with("prot/") || self.open.get() {
            return Ok(());
        }
        Err(Denied { required: vec!["cap1".to_owned()], provided_repr: "{'foo': None}".to_owned() })
    }
    fn generation(&self) -> u64 {
        self.generation.get()
    }
}

#[test]
fn a_refused_publish_gets_an_error_and_a_zero() {
    let mut net = Net::with(Protected::default(), Limits::default());
    for peer in ["alice", "bob"] {
        net.join(peer);
    }
    subscribe_to(&mut net, "bob", "");
    for _ in 0..2 {
        publish(&mut net, "alice", "prot/x", BODY);
        assert_eq!(
            net.lines("alice"),
            [
                "|VIP1|alice|p|error|-32001|to publish to topic \"prot/x\" requires capabilities ['cap1'], but capability list {'foo': None} was provided||pubsub",
                "|VIP1|alice|p|pubsub|request_response|\0\0\0\0",
            ]
        );
        assert!(net.lines("bob").is_empty());
    }
    assert_eq!(net.router.meter().publish_denied, 2);
    net.router.policy().open.set(true);
    net.router.policy().generation.set(1);
    publish(&mut net, "alice", "prot/x", BODY);
    assert_eq!(net.lines("bob").len(), 1);
}

#[test]
fn permission_is_remembered_per_peer_and_policy() {
    let mut net = Net::with(Protected::default(), Limits::default());
    net.join("bob");
    for _ in 0..10 {
        publish(&mut net, "bob", "prot/x", BODY);
    }
    assert_eq!(net.router.policy().asked.get(), 1);
    net.router.policy().generation.set(7);
    publish(&mut net, "bob", "prot/x", BODY);
    assert_eq!(net.router.policy().asked.get(), 2);
    // The same slot, another peer: asked again.
    net.gone("bob");
    net.join("eve");
    publish(&mut net, "eve", "prot/x", BODY);
    assert_eq!(net.router.meter().publish_denied, 1);
}

#[test]
fn operations_of_services_and_other_platforms_have_no_effect() {
    let mut net = net(&["alice"]);
    let auth = net.attach("platform.auth", &[]);
    net.lines("alice");
    for (args, answer) in [
        (&["pubsub", "auth_update", "{}"][..], None),
        (&["pubsub", "protected_update", "{}"], None),
        (&["pubsub", "external_publish", "t", "{}"], None),
        (&["pubsub", "request_response", "x"], None),
        (&["pubsub", "error", "x"], None),
        (&["pubsub", "nonsense", "x"], None),
        (&["pubsub"], None),
        (&["routing_table", "hello", "hello", "x"], None),
        (&["routing_table"], None),
        (&["error", "113", "x"], None),
        (&["pubsub", "external_list", "{\"a\": []}"], Some("|VIP1|alice|i|pubsub|request_response|\0")),
        (
            &["external_rpc", "send_platform", "{}"],
            Some("|VIP1||i|error|93|Protocol not supported||external_rpc"),
        ),
        (&["external_rpc"], Some("|VIP1||i|error|93|Protocol not supported||external_rpc")),
    ] {
        net.send("alice", &[&["", "VIP1", "", "i"][..], args].concat());
        assert_eq!(net.lines("alice"), answer.into_iter().collect::<Vec<_>>(), "{args:?}");
    }
    assert_eq!(net.router.meter().not_allowed, 2);
    net.send_local(auth, &["", "VIP1", "", "i", "pubsub", "auth_update", "{}"]);
    assert_eq!(net.router.meter().not_allowed, 2);
}

#[test]
fn subscriptions_are_bounded() {
    let limits = Limits { subscriptions_per_peer: 3, subscription_bytes_per_peer: 100, ..Limits::default() };
    let mut net = Net::with(AdmitAll, limits);
    net.join("bob");
    let refused = "|VIP1|bob|s|pubsub|request_response|\0";
    assert_eq!(subscribe(&mut net, "bob", r#"{"prefix": ["a", "b", "c", "d"], "bus": ""}"#), refused);
    assert_eq!(net.router.peers().next().map(|peer| peer.subscriptions), Some(3));
    assert_ne!(
        subscribe(&mut net, "bob", r#"{"prefix": ["a", "b"], "bus": ""}"#),
        refused,
        "it has these already"
    );
    net.send("bob", &["", "VIP1", "", "y", "pubsub", "synchronize", "connected", r#"{"subscriptions": {}}"#]);
    let long = format!("{{\"prefix\": \"{}\", \"bus\": \"\"}}", "x".repeat(101));
    assert_eq!(subscribe(&mut net, "bob", &long), refused);
    assert_eq!(net.router.meter().subscriptions_refused, 2);
}

#[test]
fn requests_and_listings_are_bounded() {
    let limits = Limits { control_bytes: 200, list_bytes: 40, ..Limits::default() };
    let mut net = Net::with(AdmitAll, limits);
    net.join("bob");
    let padded = format!("{{\"prefix\": \"x\", \"bus\": \"\"{}}}", " ".repeat(200));
    assert_eq!(subscribe(&mut net, "bob", &padded), "|VIP1|bob|s|pubsub|request_response|\0");
    for prefix in ["aaaaaaaaaa", "bbbbbbbbbb", "cccccccccc"] {
        subscribe_to(&mut net, "bob", prefix);
    }
    net.send(
        "bob",
        &[
            "",
            "VIP1",
            "",
            "l",
            "pubsub",
            "list",
            r#"{"prefix": "", "all_platforms": false, "subscribed": false, "reverse": false, "bus": ""}"#,
        ],
    );
    assert_eq!(
        net.lines("bob"),
        [r#"|VIP1|bob|l|pubsub|list_response|[["", "aaaaaaaaaa", true], ["", "bbbbbbbbbb", true]]"#]
    );
    assert_eq!(net.router.meter().lists_cut, 1);
}

#[test]
fn a_cached_topic_follows_every_change() {
    let mut net = Net::with(AdmitAll, Limits { cached_topics: 2, ..Limits::default() });
    for peer in ["alice", "bob"] {
        net.join(peer);
    }
    for round in 0..3 {
        for topic in ["a", "b", "c"] {
            publish(&mut net, "alice", topic, BODY);
            assert!(net.lines("bob").is_empty(), "{round} {topic}");
        }
        subscribe_to(&mut net, "bob", "b");
        publish(&mut net, "alice", "b", BODY);
        publish(&mut net, "alice", "b", BODY);
        assert_eq!(net.lines("bob").len(), 2);
        net.send("bob", &["", "VIP1", "", "u", "pubsub", "unsubscribe", r#"{"prefix": null, "bus": ""}"#]);
        net.lines("bob");
    }
    assert!(net.router.meter().topic_cache_hits > 0);
}

#[test]
fn a_64_mib_body_is_delivered() {
    let mut net = net(&["alice", "bob"]);
    subscribe_to(&mut net, "bob", "big");
    let mut body = br#"{"bus": "", "headers": {}, "message": ""#.to_vec();
    body.resize(64 * 1024 * 1024 - 2, b'x');
    body.extend_from_slice(b"\"}");
    let mut frames: Vec<Bytes> =
        ["", "VIP1", "", "p", "pubsub", "publish", "big"].iter().map(|f| bytes(f)).collect();
    frames.push(body.into());
    net.send_bytes("alice", None, frames);
    assert_eq!(net.received("bob")[0][7].len(), 64 * 1024 * 1024 + 19);
}
