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
    let stores: Vec<String> = alice.call("config.store", "list_stores").send().await.unwrap();
    assert_eq!(stores, ["alice"]);
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
