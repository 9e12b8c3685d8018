//! The configuration store over the bus, and across crashes.

use std::fs;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::mpsc;
use volttron_client::config::{Action, ConfigEvent};
use volttron_client::{Agent, AgentBuilder, CallError, Connection, Cx, Registrar};

use super::process::Volttron;

async fn set(
    admin: &Connection,
    identity: &str,
    name: &str,
    text: &str,
    kind: &str,
) -> Result<Value, CallError> {
    admin
        .call("config.store", "set_config")
        .arg(identity)
        .arg(name)
        .arg(text)
        .named("config_type", kind)
        .send_value()
        .await
}

fn remote(error: CallError) -> (String, String) {
    match error {
        CallError::Remote(e) => (
            e.exc_type().unwrap_or_default().to_owned(),
            e.exc_args()[0].as_str().unwrap_or_default().to_owned(),
        ),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_was_answered_survives_a_kill() {
    let mut platform = Volttron::start();
    for round in 0..5 {
        let admin = platform.admin().await;
        let name = format!("round{round}");
        set(&admin, "some.agent", &name, &format!("[{round}, \"\u{e9}\"]"), "json").await.unwrap();
        platform.kill();
        drop(admin);
        platform.launch(&[]);
        let admin = platform.admin().await;
        let list: Vec<String> =
            admin.call("config.store", "list_configs").arg("some.agent").send().await.unwrap();
        assert_eq!(list.len(), round + 1);
        let value: Value = admin
            .call("platform.config_store", "get_config")
            .arg("some.agent")
            .arg(name.to_uppercase())
            .named("raw", false)
            .send()
            .await
            .unwrap();
        assert_eq!(value, json!([round, "\u{e9}"]));
    }
    let file = fs::read_to_string(platform.file("configuration_store/some.agent.store")).unwrap();
    assert!(file.starts_with(r#"{"round0":{"type":"json","modified":""#) && file.is_ascii(), "{file}");
}

#[tokio::test]
async fn errors_have_the_texts_of_9_x() {
    let platform = Volttron::start();
    let admin = platform.admin().await;
    set(&admin, "a", "one", "{}", "json").await.unwrap();
    for (identity, name, text, kind, exc_type, message) in [
        (
            "a",
            "x",
            "{b",
            "json",
            "json.decoder.JSONDecodeError",
            "Expecting property name enclosed in double quotes",
        ),
        ("a", "x", "5", "json", "builtins.ValueError", "Configuration must be a list or object."),
        ("a", "x", "5", "yaml", "builtins.ValueError", "Unsupported configuration type."),
        (
            "a",
            "x",
            "[\"config://X\"]",
            "json",
            "builtins.ValueError",
            "Recursive configuration references detected.",
        ),
        ("../a", "x", "5", "raw", "builtins.ValueError", "identity"),
    ] {
        let (found_type, found) = remote(set(&admin, identity, name, text, kind).await.unwrap_err());
        assert_eq!(found_type, exc_type);
        assert!(found.starts_with(message), "{found}");
    }
    for (method, identity, name, message) in [
        ("get_config", "a", " /absent/ ", "No configuration file \"absent\" for VIP IDENTIY a"),
        ("manage_get_metadata", "none", "/x", "No configuration file \"/x\" for VIP IDENTIY none"),
        ("manage_delete_config", "a", "absent", "No configuration file \"absent\" for VIP IDENTIY a"),
    ] {
        let error =
            admin.call("config.store", method).arg(identity).arg(name).send_value().await.unwrap_err();
        assert_eq!(remote(error), ("builtins.KeyError".to_owned(), message.to_owned()));
    }
    let gone = admin.call("config.store", "delete_store").arg("none").send_value().await.unwrap();
    assert_eq!(gone, Value::Null);
}

#[tokio::test]
async fn agents_edit_their_own_store_only() {
    let platform = {
        let mut platform = Volttron::prepare();
        let keys = platform.admit("alice", &json!({"edit_config_store": {"identity": "alice"}}));
        platform.launch(&[]);
        (platform, keys)
    };
    let (platform, keys) = platform;
    let alice = platform.connect("alice", Some(keys)).await;
    set(&alice, "alice", "mine", "[1]", "json").await.unwrap();
    let refused = set(&alice, "bob", "his", "[1]", "json").await.unwrap_err();
    let CallError::Denied(text) = refused else { panic!("{refused:?}") };
    assert_eq!(
        text,
        "User alice can call method set_config only with identity=alice but called with identity=bob"
    );
    let mine: Vec<String> =
        alice.call("config.store", "list_stores").named("identity", "alice").send().await.unwrap();
    assert_eq!(mine, ["alice"]);
    let all = alice.call("config.store", "list_stores").send_value().await.unwrap_err();
    assert!(matches!(&all, CallError::Denied(text) if text.contains("only with identity=alice")), "{all:?}");
}

/// Nobody but the owner and administrators learns names or contents of a store, under whatever name of a method.
#[tokio::test]
async fn strangers_learn_nothing() {
    let mut platform = Volttron::prepare();
    let owner = platform.admit("owner", &json!({"edit_config_store": {"identity": "owner"}}));
    let eve = platform.admit("eve", &json!({"edit_config_store": {"identity": "eve"}}));
    let nobody = platform.admit("nobody", &json!({}));
    platform.launch(&[]);
    let admin = platform.admin().await;
    set(&admin, "owner", "passwords", "[\"secret\"]", "json").await.unwrap();
    let methods: Value = admin.call("config.store", "inspect").send().await.unwrap();
    let methods: Vec<String> = methods["methods"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m.as_str().unwrap().to_owned())
        .filter(|m| !m.contains('.'))
        .collect();
    assert_eq!(methods.len(), 18, "a new method needs a line below: {methods:?}");
    let arguments = |method: &str| {
        let mut all = serde_json::Map::new();
        let more: &[(&str, Value)] = match method {
            "set_config" | "manage_store" => {
                &[("config_name", json!("passwords")), ("raw_contents", json!("mine"))]
            }
            "delete_config"
            | "manage_delete_config"
            | "get_config"
            | "manage_get"
            | "get_metadata"
            | "manage_get_metadata" => &[("config_name", json!("passwords"))],
            "apply_configs" => &[("transaction", json!({"owner": {"prune": true}}))],
            _ => &[],
        };
        let everything =
            ["apply_configs", "list_stores", "manage_list_stores", "get_store_counters"].contains(&method);
        if !everything {
            all.insert("identity".to_owned(), json!("owner"));
        }
        all.extend(more.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        all
    };
    for (identity, keys) in [("eve", eve), ("nobody", nobody)] {
        let peer = platform.connect(identity, Some(keys)).await;
        for method in &methods {
            let mut call = peer.call("config.store", method);
            for (name, value) in arguments(method) {
                call = call.named(&name, value);
            }
            let answer = call.send_value().await;
            assert!(matches!(answer, Err(CallError::Denied(_))), "{identity} calls {method}: {answer:?}");
        }
        // Limited to an own store, yet with another's in it.
        let sly = peer
            .call("config.store", "apply_configs")
            .arg(json!({"owner": {"prune": true}}))
            .named("identity", identity)
            .send_value()
            .await;
        assert!(matches!(sly, Err(CallError::Denied(_) | CallError::Remote(_))), "{sly:?}");
    }
    let owner = platform.connect("owner", Some(owner)).await;
    let text: String =
        owner.call("config.store", "manage_get").arg("owner").arg("passwords").send().await.unwrap();
    assert_eq!(text, "[\"secret\"]");
    let all: Value = owner.call("config.store", "export_configs").arg("owner").send().await.unwrap();
    assert_eq!(all["passwords"]["type"], "json");
}

/// What the disk refuses has not happened, neither for readers nor after a restart.
#[tokio::test]
async fn a_failed_write_changes_nothing() {
    let mut platform = Volttron::start();
    let admin = platform.admin().await;
    set(&admin, "some.agent", "one", "[1]", "json").await.unwrap();
    // A directory in the place of the file cannot be replaced by one.
    let file = platform.file("configuration_store/some.agent.store");
    let kept = fs::read(&file).unwrap();
    fs::remove_file(&file).unwrap();
    fs::create_dir_all(file.join("x")).unwrap();
    for name in ["one", "two"] {
        let (exc_type, text) = remote(set(&admin, "some.agent", name, "[2]", "json").await.unwrap_err());
        assert_eq!(exc_type, "builtins.OSError");
        assert!(text.starts_with("cannot write "), "{text}");
    }
    let transaction = json!({"some.agent": {"set": {"one": {"type": "raw", "data": "x"}}, "prune": true}});
    admin.call("config.store", "apply_configs").arg(transaction).send_value().await.unwrap_err();
    let one: String =
        admin.call("config.store", "get_config").arg("some.agent").arg("one").send().await.unwrap();
    assert_eq!(one, "[1]");
    let names: Vec<String> =
        admin.call("config.store", "list_configs").arg("some.agent").send().await.unwrap();
    assert_eq!(names, ["one"]);
    let counters: Value = admin.call("config.store", "get_store_counters").send().await.unwrap();
    assert_eq!(counters["writes_failed"], 3);
    fs::remove_dir_all(&file).unwrap();
    fs::write(&file, kept).unwrap();
    set(&admin, "some.agent", "two", "[2]", "json").await.unwrap();
    platform.kill();
    platform.launch(&[]);
    let admin = platform.admin().await;
    let names: Vec<String> =
        admin.call("config.store", "list_configs").arg("some.agent").send().await.unwrap();
    assert_eq!(names, ["one", "two"]);
}

struct Watcher(mpsc::Sender<(Action, String, Option<Value>)>);

impl Agent for Watcher {
    const NAME: &'static str = "Watcher";
    fn register(b: &mut Registrar<Self>) {
        b.config(
            "*",
            [Action::New, Action::Update, Action::Delete],
            |s: Arc<Self>, _: Cx, e: ConfigEvent| async move {
                s.0.send((e.action, e.name, e.contents)).await?;
                Ok(())
            },
        );
    }
}

#[tokio::test]
async fn agents_hear_of_changes_in_order() {
    let mut platform = Volttron::prepare();
    let keys = platform.admit("watcher", &json!({"edit_config_store": {"identity": "watcher"}}));
    platform.launch(&[]);
    let admin = platform.admin().await;
    set(&admin, "watcher", "config", "{\"r\": \"config://Reg.csv\"}", "json").await.unwrap();
    set(&admin, "watcher", "reg.csv", "P,U\nA,F\n", "csv").await.unwrap();
    let (sender, mut events) = mpsc::channel(100);
    let agent = AgentBuilder::new(Watcher(sender))
        .identity("watcher")
        .connector(platform.connector(Some(keys)))
        .spawn()
        .await
        .unwrap();
    assert!(agent.started().await);
    let mut next = async || events.recv().await.unwrap();
    let rows = json!([{"P": "A", "U": "F"}]);
    assert_eq!(next().await, (Action::New, "config".to_owned(), Some(json!({"r": rows}))));
    assert_eq!(next().await, (Action::New, "reg.csv".to_owned(), Some(rows)));
    for i in 0..20 {
        set(&admin, "watcher", "n", &format!("[{i}]"), "json").await.unwrap();
    }
    admin.call("config.store", "delete_config").arg("watcher").arg("N").send_value().await.unwrap();
    for i in 0..20 {
        let action = if i == 0 { Action::New } else { Action::Update };
        assert_eq!(next().await, (action, "n".to_owned(), Some(json!([i]))));
    }
    let (action, name, contents) = next().await;
    assert_eq!((action, name.to_lowercase(), contents), (Action::Delete, "n".to_owned(), None));
    // Its own write is answered only after its own copy has changed.
    agent.cx().config().set("own", &json!({"k": "v"})).await.unwrap();
    let own: Value = agent.cx().config().get("own").await.unwrap();
    assert_eq!(own, json!({"k": "v"}));
    agent.stop().await;
}
