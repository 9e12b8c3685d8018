//! Authentication and authorisation against a real platform over tcp with CURVE.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use volttron_client::link::zmq::ZmqConnector;
use volttron_client::{
    Access, Agent, AgentBuilder, AgentHandle, CallError, ConnectOptions, Connection, Method, PublishError,
    Registrar, Request,
};
use volttron_tests::platform::Platform;
use volttron_utils::keys::{KeyPair, keystore};

const AUTH: &str = "platform.auth";
/// Guards against hanging; no statement about speed.
const LONG: Duration = Duration::from_secs(20);
/// How long a connection that must be refused is given to be let in.
const SHORT: Duration = Duration::from_secs(2);

fn connector(platform: &Platform, keys: &KeyPair) -> ZmqConnector {
    ZmqConnector::new(platform.address().parse().unwrap())
        .unwrap()
        .keys(keys.clone())
        .serverkey(platform.server_key().parse().unwrap())
}

async fn connect(platform: &Platform, identity: &str, keys: &KeyPair, limit: Duration) -> Option<Connection> {
    let options = ConnectOptions::new(connector(platform, keys)).identity(identity).timeout(limit);
    Connection::open(options).await.ok()
}

/// A connection as the command line tool makes it.
async fn control(platform: &Platform) -> Connection {
    let keys = keystore::load(&platform.home().join("keystores/control.connection/keystore.json")).unwrap();
    connect(platform, "control.connection.test", &keys, LONG).await.expect("the command line tool gets in")
}

async fn eventually<F: Future<Output = bool>>(what: &str, mut probe: impl FnMut() -> F) {
    let wait = async {
        while !probe().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(LONG, wait).await.unwrap_or_else(|_| panic!("waited in vain: {what}"));
}

async fn pending(control: &Connection) -> Vec<Value> {
    control.call(AUTH, "get_pending_authorizations").send().await.unwrap()
}

#[tokio::test]
async fn an_unknown_key_waits_until_it_is_approved() {
    let platform = Platform::start();
    let control = control(&platform).await;
    let keys = KeyPair::generate();
    assert!(
        connect(&platform, "stranger", &keys, SHORT).await.is_none(),
        "a key without an entry gets nothing"
    );
    let requests = pending(&control).await;
    assert_eq!(requests.len(), 1, "{requests:?}");
    assert_eq!(requests[0]["credentials"], json!(keys.public.to_string()));
    assert_eq!((&requests[0]["address"], &requests[0]["domain"]), (&json!("127.0.0.1"), &json!("vip")));
    let user_id = requests[0]["user_id"].as_str().unwrap().to_owned();
    let peers = control.peerlist().await.unwrap();
    assert!(!peers.contains("stranger"), "{peers:?}");
    assert_eq!(
        control.call(AUTH, "get_authorization_status").arg(&user_id).send::<String>().await.unwrap(),
        "PENDING"
    );
    // It keeps trying while it is approved, and gets in without trying anew by hand.
    let (waiting, approved) = tokio::join!(connect(&platform, "stranger", &keys, LONG), async {
        control.call(AUTH, "approve_authorization").arg(&user_id).send_value().await
    });
    approved.unwrap();
    let stranger = waiting.expect("an approved key gets in");
    assert!(pending(&control).await.is_empty());
    assert_eq!(
        control.call(AUTH, "get_authorization_status").arg(&user_id).send::<String>().await.unwrap(),
        "APPROVED"
    );
    // Denied again: the session lives on, the next connection is refused.
    control.call(AUTH, "deny_authorization").arg(&user_id).send_value().await.unwrap();
    assert!(stranger.peerlist().await.is_ok());
    stranger.close().await;
    assert!(connect(&platform, "stranger", &keys, SHORT).await.is_none(), "a denied key is refused");
    let denied: Vec<Value> = control.call(AUTH, "get_denied_authorizations").send().await.unwrap();
    assert!(denied[0]["retries"].as_u64().unwrap() > 0, "{denied:?}");
    assert!(pending(&control).await.is_empty());
}

#[tokio::test]
async fn a_valid_key_takes_nobody_elses_identity() {
    let mut platform = Platform::prepare();
    let alice = platform.admit("alice", &json!({}));
    let bob = platform.admit("bob", &json!({}));
    platform.launch();
    for taken in [
        "bob",
        "control",
        "platform.control",
        "platform.auth",
        "platform",
        "config.store",
        "control.connection",
        "control.connection.1",
    ] {
        assert!(connect(&platform, taken, &alice, SHORT).await.is_none(), "{taken} is not alice's");
    }
    let own = connect(&platform, "alice", &alice, LONG).await.expect("her own identity");
    // Not even while its owner is away does it leave traces; and the owner is not locked out.
    let peers = own.peerlist().await.unwrap();
    assert!(!peers.contains("bob") && peers.contains("alice"), "{peers:?}");
    connect(&platform, "bob", &bob, LONG).await.expect("bob gets his identity");
    connect(&platform, "nobody.owns.this", &alice, LONG).await.expect("a free identity with an accepted key");
    connect(&platform, "instance.other.x1", &alice, LONG).await.expect("another platform's router");
}

#[tokio::test]
async fn edits_of_the_file_admit_and_grant() {
    let platform = Platform::start();
    let control = control(&platform).await;
    let keys = platform.admit("late", &json!({"cap": null}));
    let late = connect(&platform, "late", &keys, LONG).await.expect("a key added by hand gets in");
    let caps = control.call(AUTH, "get_capabilities").arg("late").send_value().await.unwrap();
    assert_eq!(caps, json!({"cap": null}));
    // A half-written file changes nothing.
    let file = platform.home().join("auth.json");
    let good = fs::read_to_string(&file).unwrap();
    fs::write(&file, &good[..good.len() / 2]).unwrap();
    assert!(late.peerlist().await.is_ok());
    control.call(AUTH, "get_user_to_capabilities").send_value().await.unwrap();
    fs::write(&file, good.replace("\"cap\": null", "\"other\": null")).unwrap();
    eventually("the new capabilities", || async {
        control.call(AUTH, "get_capabilities").arg("late").send_value().await.unwrap()
            == json!({"other": null})
    })
    .await;
}

#[tokio::test]
async fn writing_the_rules_needs_the_capability() {
    let mut platform = Platform::prepare();
    let alice = platform.admit("alice", &json!({"foo": null}));
    let admin = platform.admit("admin", &json!({"allow_auth_modifications": null}));
    platform.launch();
    let alice = connect(&platform, "alice", &alice, LONG).await.unwrap();
    let entry = json!({"credentials": KeyPair::generate().public.to_string(), "user_id": "evil"});
    let denied = |method: &'static str| {
        format!(
            "method '{method}' requires capabilities {{'allow_auth_modifications'}}, but capability {{'foo': None}} was provided for user alice"
        )
    };
    for (method, args) in [
        ("auth_file.add", vec![entry.clone()]),
        ("auth_file.update_by_index", vec![entry.clone(), json!(0)]),
        ("auth_file.remove_by_index", vec![json!(0)]),
        ("auth_file.remove_by_indices", vec![json!([0])]),
        ("auth_file.remove_by_credentials", vec![json!("x")]),
        ("auth_file.set_groups", vec![json!({})]),
        ("auth_file.set_roles", vec![json!({})]),
        ("approve_authorization", vec![json!("x")]),
        ("deny_authorization", vec![json!("x")]),
        ("delete_authorization", vec![json!("x")]),
        ("get_authorization", vec![json!("x")]),
        ("add_rpc_authorizations", vec![json!("admin"), json!("m"), json!(["c"])]),
        ("delete_rpc_authorizations", vec![json!("admin"), json!("m"), json!(["c"])]),
        ("update_id_rpc_authorizations", vec![json!("admin"), json!({"m": ["c"]})]),
    ] {
        let call = args.into_iter().fold(alice.call(AUTH, method), volttron_client::Call::arg);
        match call.send_value().await {
            Err(CallError::Denied(text)) => assert_eq!(text, denied(method)),
            other => panic!("{method}: {other:?}"),
        }
    }
    let admin = connect(&platform, "admin", &admin, LONG).await.unwrap();
    admin.call(AUTH, "auth_file.add").arg(&entry).send_value().await.unwrap();
    for (args, exc_type) in [
        (entry.clone(), "volttron.platform.auth.auth_file.AuthFileUserIdAlreadyExists"),
        (
            json!({"credentials": entry["credentials"], "user_id": "x"}),
            "volttron.platform.auth.auth_file.AuthFileEntryAlreadyExists",
        ),
        (json!({"credentials": "short"}), "volttron.platform.auth.auth_entry.AuthEntryInvalid"),
    ] {
        let error = admin.call(AUTH, "auth_file.add").arg(args).send_value().await.unwrap_err();
        assert_eq!(error.exc_type(), Some(exc_type));
    }
    let error = admin.call(AUTH, "auth_file.remove_by_index").arg(99).send_value().await.unwrap_err();
    assert_eq!(error.exc_type(), Some("volttron.platform.auth.auth_file.AuthFileIndexError"));
    assert!(error.to_string().contains("Invalid index: [99]"), "{error}");
    let found: Vec<Value> =
        admin.call(AUTH, "auth_file.find_by_credentials").arg(&entry["credentials"]).send().await.unwrap();
    assert_eq!(found[0]["user_id"], json!("evil"));
}

#[tokio::test]
async fn protected_topics_come_into_force_while_running() {
    let mut platform = Platform::prepare();
    let alice = platform.admit("alice", &json!({"foo": null}));
    let boss = platform.admit("boss", &json!({"cap1": null}));
    platform.launch();
    let alice = connect(&platform, "alice", &alice, LONG).await.unwrap();
    let boss = connect(&platform, "boss", &boss, LONG).await.unwrap();
    alice.publish("prot/x", &1).await.expect("nothing is protected yet");
    let file = platform.home().join("protected_topics.json");
    fs::write(&file, r#"{"write-protect": [{"topic": "prot", "capabilities": ["cap1"]}]}"#).unwrap();
    eventually("the protection", || async { alice.publish("prot/x", &1).await.is_err() }).await;
    match alice.publish("prot/x", &1).await {
        Err(PublishError::Denied(text)) => assert_eq!(
            text,
            "to publish to topic \"prot/x\" requires capabilities ['cap1'], but capability list {'foo': None} was provided"
        ),
        other => panic!("{other:?}"),
    }
    boss.publish("prot/x", &1).await.expect("boss holds the capability");
    fs::remove_file(&file).unwrap();
    eventually("the end of the protection", || async { alice.publish("prot/x", &1).await.is_ok() }).await;
}

struct Plant;

impl Agent for Plant {
    const NAME: &'static str = "Plant";
    fn register(b: &mut Registrar<Self>) {
        b.rpc(Method::new("open_valve", Access::Capability("valves")), |_: Arc<Self>, _: Request| async {
            Ok("open")
        });
        b.rpc(Method::new("look", Access::Open), |_: Arc<Self>, _: Request| async { Ok("seen") });
    }
}

async fn plant(platform: &Platform, keys: &KeyPair) -> AgentHandle {
    let agent = AgentBuilder::new(Plant).identity("plant").connector(connector(platform, keys)).store(false);
    let handle = agent.spawn().await.unwrap();
    handle.started().await;
    handle
}

#[tokio::test]
async fn capabilities_and_requirements_reach_running_agents() {
    let mut platform = Platform::prepare();
    let plant_keys = platform.admit("plant", &json!({}));
    let alice = platform.admit("alice", &json!({}));
    platform.launch();
    let control = control(&platform).await;
    let alice = connect(&platform, "alice", &alice, LONG).await.unwrap();
    let _plant = plant(&platform, &plant_keys).await;
    let open = || async { alice.call("plant", "open_valve").send::<String>().await };
    match open().await {
        Err(CallError::Denied(text)) => assert_eq!(
            text,
            "method 'open_valve' requires capabilities {'valves'}, but capability {} was provided for user alice"
        ),
        other => panic!("{other:?}"),
    }
    let allow = control.call(AUTH, "auth_file.read").send_value().await.unwrap()["allow_list"].clone();
    let index = allow.as_array().unwrap().iter().position(|e| e["user_id"] == "alice").unwrap();
    let mut entry = allow[index].clone();
    entry["capabilities"] = json!({"valves": null});
    control.call(AUTH, "auth_file.update_by_index").arg(entry).arg(index).send_value().await.unwrap();
    eventually("the granted capability", || async { open().await.is_ok() }).await;
    // The agent stated its own requirement when it started; an administrator adds one to another method.
    eventually("the agent's report", || async {
        let all = control.call(AUTH, "get_protected_rpcs").arg("plant").send::<Vec<String>>().await.unwrap();
        all == ["open_valve"]
    })
    .await;
    assert!(alice.call("plant", "look").send::<String>().await.is_ok());
    let require = control.call(AUTH, "add_rpc_authorizations").arg("plant").arg("look").arg(["eyes"]);
    require.send_value().await.unwrap();
    eventually("the new requirement", || async {
        alice.call("plant", "look").send::<String>().await.is_err()
    })
    .await;
    let check = |method: &'static str| {
        control
            .call(AUTH, "check_rpc_authorization")
            .arg("alice")
            .named("method_name", method)
            .named("method_args", json!({}))
    };
    assert!(check("plant.open_valve").send::<bool>().await.unwrap());
    assert!(!check("plant.look").send::<bool>().await.unwrap());
}

#[tokio::test]
async fn setup_mode_lets_in_and_remembers() {
    let mut platform = Platform::prepare();
    let config = platform.home().join("config");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text + "setup-mode = True\n").unwrap();
    platform.launch();
    let keys = KeyPair::generate();
    let stranger = connect(&platform, "instance.other.1", &keys, LONG).await.expect("everybody gets in");
    eventually("the entry", || async {
        let auth = fs::read_to_string(platform.home().join("auth.json")).unwrap();
        auth.contains(&keys.public.to_string()) && auth.contains("Auth entry added in setup mode")
    })
    .await;
    stranger.close().await;
    assert!(platform.log().contains("SETUP MODE"), "it says so loudly");
}
