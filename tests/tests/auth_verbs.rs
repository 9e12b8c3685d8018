//! Everything about authority that `vctl auth` can change, changed while the platform and its agents run, felt at once,
//! and still there after a restart.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use volttron_client::link::zmq::ZmqConnector;
use volttron_client::{
    Access, Agent, AgentBuilder, AgentHandle, CallError, ConnectOptions, Connection, Method, Registrar,
    Request,
};
use volttron_tests::platform::Platform;
use volttron_utils::keys::KeyPair;

/// Guards against hanging; no statement about speed.
const LONG: Duration = Duration::from_secs(30);
/// How long a connection that must be refused is given to be let in.
const SHORT: Duration = Duration::from_secs(2);

struct Plant;

impl Agent for Plant {
    const NAME: &'static str = "Plant";
    fn register(b: &mut Registrar<Self>) {
        let open = Method::new("open_valve", Access::Capability("valves")).optional("which", "north");
        b.rpc(open, |_: Arc<Self>, _: Request| async { Ok("open") });
        b.rpc(Method::new("look", Access::Open), |_: Arc<Self>, _: Request| async { Ok("seen") });
    }
}

fn connector(platform: &Platform, keys: &KeyPair) -> ZmqConnector {
    let connector = ZmqConnector::new(platform.address().parse().unwrap()).unwrap();
    connector.keys(keys.clone()).serverkey(platform.server_key().parse().unwrap())
}

async fn connect(platform: &Platform, identity: &str, keys: &KeyPair, limit: Duration) -> Option<Connection> {
    let options = ConnectOptions::new(connector(platform, keys)).identity(identity).timeout(limit);
    Connection::open(options).await.ok()
}

/// Adds an entry with the command line tool, and connects as it.
async fn user(platform: &Platform, name: &str, options: &[&str]) -> (Connection, KeyPair) {
    let keys = KeyPair::generate();
    let key = keys.public.to_string();
    let said = platform
        .vctl_ok(&[&["auth", "add", "--user_id", name, "--credentials", key.as_str()], options].concat());
    assert!(said.starts_with("added entry {'domain': None"), "{said}");
    (connect(platform, name, &keys, LONG).await.expect(name), keys)
}

async fn plant(platform: &Platform, keys: &KeyPair) -> AgentHandle {
    let agent = AgentBuilder::new(Plant).identity("plant").connector(connector(platform, keys)).store(false);
    let handle = agent.spawn().await.unwrap();
    handle.started().await;
    handle
}

async fn eventually<F: Future<Output = bool>>(what: &str, mut probe: impl FnMut() -> F) {
    let wait = async {
        while !probe().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(LONG, wait).await.unwrap_or_else(|_| panic!("waited in vain: {what}"));
}

/// The text of the refusal, none if the call went through.
async fn refused(who: &Connection, method: &str, which: Option<&str>) -> Option<String> {
    let call = who.call("plant", method);
    let call = if let Some(which) = which { call.named("which", which) } else { call };
    match call.send_value().await {
        Ok(_) => None,
        Err(CallError::Denied(text)) => Some(text),
        Err(other) => panic!("{method}: {other}"),
    }
}

fn requirements(platform: &Platform) -> Value {
    platform.vctl_json(&["auth", "rpc", "list", "plant"])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roles_groups_and_parameters_are_felt_at_once_and_survive_a_restart() {
    let mut platform = Platform::start();
    let plant_keys = KeyPair::generate();
    let key = plant_keys.public.to_string();
    platform.vctl_ok(&["auth", "add", "--user_id", "plant", "--credentials", &key]);
    let _plant = plant(&platform, &plant_keys).await;
    assert_eq!(platform.vctl_ok(&["auth", "add-role", "operator", "valves"]), "added role \"operator\"\n");
    assert_eq!(platform.vctl_ok(&["auth", "add-group", "staff", "operator"]), "added group \"staff\"\n");
    let (by_group, _) = user(&platform, "by.group", &["--groups", "staff"]).await;
    let (by_role, _) = user(&platform, "by.role", &["--roles", "operator"]).await;
    let narrow = r#"{"valves": {"which": "/north.*/"}}"#;
    let (narrow, _) = user(&platform, "narrow", &["--capabilities", narrow]).await;
    let (exact, _) = user(&platform, "exact", &["--capabilities", r#"{"valves": {"which": "south"}}"#]).await;
    let (nobody, _) = user(&platform, "nobody", &[]).await;

    for who in [&by_group, &by_role] {
        eventually(who.identity(), || async { refused(who, "open_valve", None).await.is_none() }).await;
    }
    eventually("narrow", || async { refused(&narrow, "open_valve", Some("north.1")).await.is_none() }).await;
    assert_eq!(
        refused(&narrow, "open_valve", Some("south")).await.as_deref(),
        Some(
            "User narrow can call method open_valve only with which matching pattern /north.*/ but called with which=south"
        )
    );
    assert_eq!(refused(&exact, "open_valve", Some("south")).await, None);
    assert_eq!(
        refused(&exact, "open_valve", None).await.as_deref(),
        Some("User exact can call method open_valve only with which=south but called with which=north"),
        "defaults count"
    );
    assert!(
        refused(&nobody, "open_valve", None)
            .await
            .is_some_and(|text| text.contains("capability {} was provided"))
    );

    // What a role no longer brings is gone, also from those who had it through a group.
    assert_eq!(
        platform.vctl_ok(&["auth", "update-role", "operator", "valves", "--remove"]),
        "updated role \"operator\"\n"
    );
    for who in [&by_group, &by_role] {
        eventually(who.identity(), || async { refused(who, "open_valve", None).await.is_some() }).await;
    }
    platform.vctl_ok(&["auth", "update-role", "operator", "valves"]);
    platform.vctl_ok(&["auth", "update-group", "staff", "operator", "--remove"]);
    eventually("the role alone", || async {
        refused(&by_role, "open_valve", None).await.is_none()
            && refused(&by_group, "open_valve", None).await.is_some()
    })
    .await;
    platform.vctl_ok(&["auth", "update-group", "staff", "operator"]);
    eventually("the group", || async { refused(&by_group, "open_valve", None).await.is_none() }).await;

    assert_eq!(platform.terminate(), 0);
    platform.launch();
    eventually("everybody to be back", || async {
        let peers = nobody.peerlist().await.unwrap_or_default();
        ["plant", "by.group", "by.role", "narrow"].iter().all(|peer| peers.contains(*peer))
    })
    .await;
    assert_eq!(refused(&by_group, "open_valve", None).await, None);
    assert_eq!(refused(&by_role, "open_valve", None).await, None);
    assert!(refused(&narrow, "open_valve", Some("south")).await.is_some());
    assert!(refused(&nobody, "open_valve", None).await.is_some());
    let table = platform.vctl_ok(&["auth", "list-groups"]);
    assert_eq!(table, "GROUPS  ROLES\n------  -----\nstaff   ['operator']\n");
    let table = platform.vctl_ok(&["auth", "list-roles"]);
    assert_eq!(table, "ROLE      CAPABILITIES\n----      ------------\noperator  ['valves']\n");
    assert_eq!(platform.vctl_ok(&["auth", "remove-group", "staff"]), "removed group \"staff\"\n");
    eventually("the end of the group", || async { refused(&by_group, "open_valve", None).await.is_some() })
        .await;
    assert_eq!(platform.vctl_ok(&["auth", "remove-role", "operator"]), "removed role \"operator\"\n");
    eventually("the end of the role", || async { refused(&by_role, "open_valve", None).await.is_some() })
        .await;
    let again = platform.vctl(&["auth", "remove-role", "operator"]);
    assert!(!again.status.success() && String::from_utf8_lossy(&again.stderr).contains("does not exist"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requirements_of_methods_are_felt_at_once_and_survive_restarts_of_platform_and_agent() {
    let mut platform = Platform::start();
    let plant_keys = KeyPair::generate();
    let key = plant_keys.public.to_string();
    platform.vctl_ok(&["auth", "add", "--user_id", "plant", "--credentials", &key]);
    let running = plant(&platform, &plant_keys).await;
    let (seer, _) = user(&platform, "seer", &["--capabilities", "eyes"]).await;
    let (blind, _) = user(&platform, "blind", &[]).await;
    eventually("what the agent declares", || async {
        requirements(&platform)["plant.open_valve"] == json!(["valves"])
    })
    .await;
    assert_eq!(refused(&blind, "look", None).await, None);
    assert_eq!(platform.vctl_ok(&["auth", "rpc", "add", "plant.look", "eyes"]), "");
    eventually("the requirement", || async { refused(&blind, "look", None).await.is_some() }).await;
    assert_eq!(
        refused(&blind, "look", None).await.as_deref(),
        Some("method 'look' requires capabilities {'eyes'}, but capability {} was provided for user blind")
    );
    assert_eq!(refused(&seer, "look", None).await, None);

    assert_eq!(platform.terminate(), 0);
    platform.launch();
    eventually("everybody to be back", || async {
        let peers = seer.peerlist().await.unwrap_or_default();
        peers.contains("plant") && peers.contains("blind")
    })
    .await;
    assert!(refused(&blind, "look", None).await.is_some(), "after a restart of the platform");
    running.stop().await;
    eventually("the agent to be gone", || async { !seer.peerlist().await.unwrap().contains("plant") }).await;
    let _running = plant(&platform, &plant_keys).await;
    // An agent asks for its requirements a moment after its start.
    eventually("after a restart of the agent", || async { refused(&blind, "look", None).await.is_some() })
        .await;
    assert_eq!(refused(&seer, "look", None).await, None);
    assert_eq!(requirements(&platform)["plant.look"], json!(["eyes"]));

    assert_eq!(platform.vctl_ok(&["auth", "rpc", "remove", "plant.look", "eyes"]), "");
    eventually("the end of the requirement", || async { refused(&blind, "look", None).await.is_none() })
        .await;
    assert!(refused(&blind, "open_valve", None).await.is_some(), "what the agent declares stays");
}

/// Rows of `vctl auth remote list`.
fn remote(platform: &Platform, status: &str) -> Vec<(String, String)> {
    let rows = platform.vctl_json(&["auth", "remote", "list", "--status", status]);
    let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
    rows.as_array().unwrap().iter().map(|row| (text(row, "user_id"), text(row, "status"))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_wait_are_approved_denied_and_deleted() {
    let mut platform = Platform::start();
    let keys = KeyPair::generate();
    assert_eq!(
        platform.vctl_ok(&["auth", "remote", "list", "--status", "pending"]),
        "No remote certificates or credentials\n"
    );
    assert!(connect(&platform, "far", &keys, SHORT).await.is_none());
    let waiting = remote(&platform, "pending");
    let [(user_id, status)] = waiting.as_slice() else { panic!("{waiting:?}") };
    assert_eq!(status, "PENDING");
    assert_eq!(platform.vctl_ok(&["auth", "remote", "approve", user_id]), "");
    let far = connect(&platform, "far", &keys, LONG).await.expect("approved");
    assert_eq!(remote(&platform, "approved"), [(user_id.clone(), "APPROVED".to_owned())]);
    assert_eq!(platform.vctl_ok(&["auth", "remote", "deny", user_id]), "");
    assert!(far.peerlist().await.is_ok(), "the session stays up");
    far.close().await;
    assert_eq!(platform.terminate(), 0);
    platform.launch();
    assert!(connect(&platform, "far", &keys, SHORT).await.is_none(), "denied, also after a restart");
    assert_eq!(remote(&platform, "denied"), [(user_id.clone(), "DENIED".to_owned())]);
    assert_eq!(platform.vctl_ok(&["auth", "remote", "delete", user_id]), "");
    assert_eq!(remote(&platform, "denied"), []);
    assert!(connect(&platform, "far", &keys, SHORT).await.is_none(), "unknown again");
    let waiting = remote(&platform, "pending");
    assert_eq!(waiting.len(), 1, "and waits anew: {waiting:?}");
    platform.vctl_ok(&["auth", "remote", "delete", &waiting[0].0]);
    assert_eq!(remote(&platform, "approved"), [], "deleting lets nobody in");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn addresses_and_keys_match_by_expression_and_disabled_entries_do_not_count() {
    let platform = Platform::start();
    let (_here, _) = user(&platform, "here", &["--address", "/127\\.0\\.0\\..*/"]).await;
    let away = KeyPair::generate();
    let key = away.public.to_string();
    let add = |name: &str, key: &str, more: &[&str]| {
        platform.vctl_ok(&[&["auth", "add", "--user_id", name, "--credentials", key], more].concat());
    };
    add("away", &key, &["--address", "/10\\..*/"]);
    assert!(connect(&platform, "away", &away, SHORT).await.is_none(), "another address");
    let off = KeyPair::generate();
    add("off", &off.public.to_string(), &["--disabled"]);
    assert!(connect(&platform, "off", &off, SHORT).await.is_none(), "disabled");
    let keys = KeyPair::generate();
    let text = keys.public.to_string();
    // The beginning alone does not match, since expressions are about the whole key.
    let start = text[..5].replace('-', "\\-");
    add("start", &format!("/{start}/"), &[]);
    assert!(connect(&platform, "free", &keys, SHORT).await.is_none(), "not the whole key");
    add("whole", &format!("/{start}.*/"), &[]);
    connect(&platform, "free", &keys, LONG).await.expect("an expression for the key");
    let list = platform.vctl_ok(&["auth", "list"]);
    let entries = platform.vctl_json(&["auth", "list"]);
    let index = entries.as_array().unwrap().iter().position(|e| e["user_id"] == "whole").unwrap();
    assert!(list.contains(&format!("\nINDEX: {index}\n{{\n  \"domain\": null,")), "{list}");
    let said = platform.vctl_ok(&["auth", "remove", "-y", &index.to_string()]);
    assert!(said.ends_with(&format!("removed entry at index [{index}]\n")), "{said}");
    assert!(connect(&platform, "free", &keys, SHORT).await.is_none(), "its entry is gone");
}
