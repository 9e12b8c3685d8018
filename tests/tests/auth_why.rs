//! What `vctl auth why` says is what happens, and the audit log has it.

use std::fs;
use std::sync::Arc;

use serde_json::{Value, json};
use volttron_client::link::zmq::ZmqConnector;
use volttron_client::{
    Access, Agent, AgentBuilder, AgentHandle, ConnectOptions, Connection, Method, Registrar, Request,
};
use volttron_tests::platform::Platform;
use volttron_utils::keys::KeyPair;

struct Plant;

impl Agent for Plant {
    const NAME: &'static str = "Plant";
    fn register(b: &mut Registrar<Self>) {
        let own = Access::SelfOr { param: "identity".to_owned(), capability: "valves".to_owned() };
        for (name, access) in [
            ("open_valve", Access::Capability("valves")),
            ("look", Access::Open),
            ("reserved", Access::Callers(vec!["alice".to_owned()])),
            ("own", own),
        ] {
            let method = Method::new(name, access).optional("identity", Value::Null);
            b.rpc(method, |_: Arc<Self>, _: Request| async { Ok("done") });
        }
    }
}

fn connector(platform: &Platform, keys: &KeyPair) -> ZmqConnector {
    let connector = ZmqConnector::new(platform.address().parse().unwrap()).unwrap();
    connector.keys(keys.clone()).serverkey(platform.server_key().parse().unwrap())
}

async fn peer(platform: &Platform, identity: &str, keys: &KeyPair) -> Connection {
    Connection::open(ConnectOptions::new(connector(platform, keys)).identity(identity)).await.unwrap()
}

async fn plant(platform: &Platform, keys: &KeyPair) -> AgentHandle {
    let agent = AgentBuilder::new(Plant).identity("plant").connector(connector(platform, keys)).store(false);
    let handle = agent.spawn().await.unwrap();
    handle.started().await;
    handle
}

/// Does what was asked about.
async fn happens(who: &Connection, identity: &str, what: &str) -> bool {
    match what.strip_prefix("plant.") {
        Some(method) => who.call("plant", method).named("identity", identity).send_value().await.is_ok(),
        None => match what.strip_prefix("platform.auth.") {
            Some(method) => who.call("platform.auth", method).arg([0; 0]).send_value().await.is_ok(),
            None => who.publish(what, &1).await.is_ok(),
        },
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn explanations_agree_with_what_happens() {
    let mut platform = Platform::prepare();
    let plant_keys = platform.admit("plant", &json!({}));
    let alice_keys = platform.admit("alice", &json!({}));
    let bob_keys = platform.admit("bob", &json!({"valves": null}));
    let topics = json!({"write-protect": [{"topic": "plant/state", "capabilities": ["valves"]}]});
    fs::write(platform.home().join("protected_topics.json"), topics.to_string()).unwrap();
    platform.launch();
    let _plant = plant(&platform, &plant_keys).await;
    let alice = peer(&platform, "alice", &alice_keys).await;
    let bob = peer(&platform, "bob", &bob_keys).await;
    let cases = [
        ("alice", "plant.look", true, "every authenticated peer"),
        ("alice", "plant.open_valve", false, "asks for valves"),
        ("bob", "plant.open_valve", true, "asks for valves"),
        ("alice", "plant.reserved", true, "for alice"),
        ("bob", "plant.reserved", false, "alone"),
        ("alice", "plant.own", true, "named by the argument `identity`"),
        ("alice", "plant/state/a", false, "protected_topics.json"),
        ("bob", "plant/state/a", true, "protected_topics.json"),
        ("alice", "plant/other", true, "no entry of protected_topics.json"),
        ("bob", "platform.auth.auth_file.remove_by_indices", false, "allow_auth_modifications"),
    ];
    for (identity, what, allowed, rule) in cases {
        let why = platform.vctl_json(&["auth", "why", identity, what]);
        assert_eq!(why["allowed"], allowed, "{why}");
        assert!(why["rule"].as_str().is_some_and(|r| r.contains(rule)), "{why}");
        let who = if identity == "alice" { &alice } else { &bob };
        assert_eq!(happens(who, identity, what).await, allowed, "{identity} {what}");
    }
    let text = platform.vctl_ok(&["auth", "why", "alice", "plant/state/a"]);
    assert!(text.starts_with("DENIED: alice may not publish on plant/state/a\n"), "{text}");
    assert!(text.contains("\n  try: "), "{text}");
    assert_eq!(platform.vctl_json(&["auth", "why", "alice"])["allowed"], true);
    assert_eq!(platform.vctl_json(&["auth", "why", "nobody"])["allowed"], false);
    platform.vctl_ok(&[
        "auth",
        "add",
        "--user_id",
        "carol",
        "--credentials",
        &KeyPair::generate().public.to_string(),
    ]);
    drop((alice, bob));
    let home = platform.home().to_owned();
    // The log is complete once the platform has ended.
    assert_eq!(platform.terminate(), 0);
    let text = fs::read_to_string(home.join("audit.log")).unwrap();
    let log: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let has = |kind: &str, event: &str, by: &str, more: &str| {
        let of = |r: &&Value| {
            r["kind"] == kind && r["event"] == event && r["by"].as_str().is_some_and(|b| b.starts_with(by))
        };
        log.iter().filter(of).any(|r| r.to_string().contains(more))
    };
    assert!(has("refusal", "publish", "alice", "plant/state/a"), "{text}");
    assert!(has("refusal", "call", "bob", "auth_file.remove_by_indices"), "{text}");
    assert!(has("refusal", "call", "bob", "requires capabilities {'allow_auth_modifications'}"), "{text}");
    assert!(has("grant", "connection", &alice_keys.public.to_string(), "alice"), "{text}");
    assert!(has("grant", "allow entry added", "control.connection", "carol"), "{text}");
    assert!(!text.contains("secret"), "{text}");
}

#[test]
fn a_method_of_nobody_is_not_taken_for_a_topic() {
    let platform = Platform::start();
    let output = platform.vctl(&["auth", "why", "pump", "contrl.stop_agent"]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && output.stdout.is_empty(), "{output:?}");
    assert!(
        told.contains("no agent contrl is connected") && told.contains("did you mean control.stop_agent?"),
        "{told}"
    );
    assert!(platform.vctl_ok(&["auth", "why", "pump", "devices/a.b"]).contains("may publish on devices/a.b"));
}
