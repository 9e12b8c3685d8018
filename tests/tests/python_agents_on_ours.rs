//! Unmodified Python agents (volttron 10.0.5rc4) on our platform, over tcp with CURVE, together with an agent of ours.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;
use volttron_client::{AgentHandle, CallError, CallErrorKind, RpcError, Status, interface};
use volttron_tests::platform::Platform;
use volttron_tests::probe::{self, Seen};
use volttron_tests::python::{PythonAgent, interpreter};
use volttron_tests::wait::until;

fn own_store(identity: &str) -> Value {
    json!({"edit_config_store": {"identity": identity}})
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

/// A Python agent `py` and one of ours, `rs`, on one platform. What is taken out first goes last.
struct Pair {
    _platform: Platform,
    runtime: tokio::runtime::Runtime,
    _seen: mpsc::Receiver<Seen>,
    ours: AgentHandle,
    py: PythonAgent,
}

/// None where there is no Python to test with.
fn pair() -> Option<Pair> {
    let python = interpreter()?;
    let mut platform = Platform::prepare();
    let (py_keys, rs_keys) = (platform.admit("py", &own_store("py")), platform.admit("rs", &own_store("rs")));
    platform.launch();
    let (address, server_key) = (platform.address(), platform.server_key());
    let runtime = runtime();
    let (ours, seen) = runtime.block_on(probe::connect("rs", &address, &server_key, rs_keys));
    let py = PythonAgent::start(&python, "py", &address, &server_key, &py_keys);
    Some(Pair { _platform: platform, runtime, _seen: seen, ours, py })
}

#[test]
fn python_and_rust_agents_call_each_other() {
    let Some(Pair { _platform, runtime, _seen, ours, mut py }) = pair() else { return };

    // Python calls Rust.
    for value in [json!(1), json!(1.5), json!("text \u{e9}\u{1F600}"), json!([1, {"a": null}]), Value::Null] {
        assert_eq!(py.call("rs", "echo", json!([value])), Ok(value));
    }
    assert_eq!(py.call("rs", "add", json!([1])), Ok(json!(11)));
    assert_eq!(
        py.ask("call", json!({"peer": "rs", "method": "add", "args": [1], "kwargs": {"b": 2}})),
        Ok(json!(3))
    );
    let error = py.call("rs", "fail", json!(["boo"])).unwrap_err();
    assert_eq!(error["type"], "RemoteError");
    assert_eq!(error["info"]["exc_type"], "builtins.ValueError");
    assert_eq!(error["info"]["exc_args"], json!(["boo"]));
    let error = py.call("rs", "nothing", json!([])).unwrap_err();
    assert_eq!(error["type"], "MethodNotFound");
    let error = py.call("rs", "guarded", json!([])).unwrap_err();
    assert!(error["text"].as_str().unwrap().contains("requires capabilities {'probe_secret'}"), "{error}");

    // Rust calls Python.
    runtime.block_on(async {
        let cx = ours.cx();
        assert_eq!(cx.call("py", "add").arg(1).send::<i64>().await.unwrap(), 11);
        assert_eq!(cx.call("py", "add").arg(1).named("b", 2).send::<i64>().await.unwrap(), 3);
        let value = json!({"deep": [1, 2.5, "\u{e9}", null, true]});
        assert_eq!(cx.call("py", "echo").arg(&value).send::<Value>().await.unwrap(), value);
        let error = cx.call("py", "fail").arg("boo").send::<Value>().await.unwrap_err();
        assert!(
            matches!(&error, CallError::Remote(e) if e.exc_type() == Some("builtins.ValueError")),
            "{error:?}"
        );
        let error = cx.call("py", "nothing").send::<Value>().await.unwrap_err();
        assert_eq!(error.kind(), CallErrorKind::NoSuchMethod);
        let error = cx.call("py", "guarded").send::<Value>().await.unwrap_err();
        assert_eq!(error.kind(), CallErrorKind::Denied);
        let error = cx.call("absent", "echo").arg(1).send::<Value>().await.unwrap_err();
        assert_eq!(error.kind(), CallErrorKind::Unreachable);
    });
    py.stop();
}

/// What the Python agent of these tests exports, as an agent of ours declares it.
#[interface]
trait Probe {
    #[rpc(open)]
    async fn echo(&self, value: Value) -> Value;
    #[rpc(open)]
    async fn add(&self, a: i64, #[rpc(default = 10)] b: i64) -> i64;
    #[rpc(open)]
    async fn fail(&self, text: String) -> Result<Value, RpcError>;
    #[rpc(allow = "probe_secret")]
    async fn guarded(&self) -> String;
    #[rpc(open)]
    async fn nothing(&self);
}

#[test]
fn a_typed_client_calls_a_python_agent() {
    let Some(Pair { _platform, runtime, _seen, ours, py }) = pair() else { return };
    runtime.block_on(async {
        let probe = ProbeClient::new(ours.cx(), "py");
        let value = json!({"deep": [1, 2.5, "\u{e9}", null, true]});
        assert_eq!(probe.echo(&value).await.unwrap(), value);
        assert_eq!(probe.add(1, None).await.unwrap(), 11, "the default is the callee's");
        assert_eq!(probe.add(1, 2).await.unwrap(), 3);
        let error = probe.fail("boo").await.unwrap_err();
        assert_eq!(error.exc_type(), Some("builtins.ValueError"), "{error:?}");
        assert_eq!(probe.guarded().await.unwrap_err().kind(), CallErrorKind::Denied);
        assert_eq!(probe.nothing().await.unwrap_err().kind(), CallErrorKind::NoSuchMethod);
    });
    py.stop();
}

#[test]
fn publications_cross_both_ways() {
    let Some(Pair { _platform, runtime, _seen, ours, mut py }) = pair() else { return };

    py.ask("subscribe", json!({"prefix": "from/rust"})).unwrap();
    let message = json!([{"temp": 21.5, "on": true, "name": "\u{e9}"}, {"temp": {"units": "C"}}]);
    runtime.block_on(async {
        assert_eq!(ours.cx().publish("from/rust/a", &message).await.unwrap(), 1);
        assert_eq!(ours.cx().publish("from/nobody", &message).await.unwrap(), 0);
    });
    let seen = py.event("publication", |_| true);
    assert_eq!(
        (&seen["sender"], &seen["topic"], &seen["message"]),
        (&json!("rs"), &json!("from/rust/a"), &message)
    );
    assert_eq!(seen["headers"]["min_compatible_version"], "3.0");

    let mut subscription = runtime.block_on(ours.cx().subscribe("from/python")).unwrap();
    let headers = json!({"TimeStamp": "2026-03-04T17:05:00.412331+00:00"});
    let count = py.ask("publish", json!({"topic": "from/python/b", "message": message, "headers": headers}));
    assert_eq!(count, Ok(json!(1)));
    let seen = runtime.block_on(subscription.next()).unwrap();
    assert_eq!((seen.sender.as_str(), seen.topic.as_str()), ("py", "from/python/b"));
    assert_eq!(seen.json::<Value>().unwrap(), message);
    assert_eq!(
        seen.headers.get("timestamp").and_then(Value::as_str),
        Some("2026-03-04T17:05:00.412331+00:00")
    );

    py.ask("unsubscribe", json!({"prefix": "from/rust"})).unwrap();
    assert_eq!(runtime.block_on(ours.cx().publish("from/rust/a", &message)).unwrap(), 0);
    py.stop();
}

#[test]
fn datagrams_cross_both_ways() {
    let Some(Pair { _platform, runtime, _seen, ours, mut py }) = pair() else { return };

    let mut channel = ours.cx().channel("py").unwrap();
    let name = channel.name().to_owned();
    py.ask("channel_open", json!({"peer": "rs", "name": name})).unwrap();
    let datagram =
        |parts: &[&'static [u8]]| parts.iter().map(|part| part.to_vec().into()).collect::<Vec<_>>();
    // What does not read as JSON survives the Python side.
    runtime.block_on(channel.send(datagram(&[b"a", b"\xff\x00\xfe", b"{not json"]))).unwrap();
    let got = py.ask("channel_receive", json!({"name": name}));
    assert_eq!(got, Ok(json!(["61", "ff00fe", "7b6e6f74206a736f6e"])));
    py.ask("channel_send", json!({"name": name, "frames": ["62", "00ff"]})).unwrap();
    let got = runtime.block_on(async { tokio::time::timeout(Duration::from_secs(20), channel.recv()).await });
    assert_eq!(got.unwrap(), Some(Ok(datagram(&[b"b", b"\x00\xff"]))));
    py.stop();
}

#[test]
fn configuration_is_pushed_to_both_kinds_of_agent() {
    let Some(python) = interpreter() else { return };
    let mut platform = Platform::prepare();
    let (py_keys, rs_keys) = (platform.admit("py", &own_store("py")), platform.admit("rs", &own_store("rs")));
    platform.launch();
    let (address, server_key) = (platform.address(), platform.server_key());
    let file = platform.home().join("settings.json");
    std::fs::write(&file, r#"{"interval": 5, "table": "config://points.csv"} // seconds"#).unwrap();
    let csv = platform.home().join("points.csv");
    std::fs::write(&csv, "Point,Unit\nA,F\n").unwrap();
    let (file, csv) = (file.to_str().unwrap(), csv.to_str().unwrap());
    let store = |identity: &str| {
        platform.vctl_ok(&["config", "store", identity, "points.csv", csv, "--csv"]);
        platform.vctl_ok(&["config", "store", identity, "config", file]);
    };
    let expected = json!({"interval": 5, "table": [{"Point": "A", "Unit": "F"}]});

    store("rs");
    let runtime = runtime();
    let (ours, mut seen) = runtime.block_on(probe::connect("rs", &address, &server_key, rs_keys));
    let first = runtime.block_on(seen.recv()).unwrap();
    assert!(
        matches!(&first, Seen::Config(name, action, Some(value))
        if name == "config" && action == "NEW" && *value == expected),
        "{first:?}"
    );

    let mut py = PythonAgent::start(&python, "py", &address, &server_key, &py_keys);
    store("py");
    let pushed = py.event("config", |e| e["name"] == "config" && e["contents"]["interval"] == 5);
    assert_eq!((&pushed["action"], &pushed["contents"]), (&json!("UPDATE"), &expected));
    platform.vctl_ok(&["config", "delete", "py", "points.csv"]);
    py.event("config", |e| e["name"] == "points.csv" && e["action"] == "DELETE");
    assert_eq!(py.ask("config_set", json!({"name": "own", "contents": {"a": 1}})), Ok(Value::Null));
    assert_eq!(platform.vctl_ok(&["config", "list", "py"]), "config\nown\n");
    assert_eq!(py.ask("config_get", json!({"name": "own"})), Ok(json!({"a": 1})));
    // Another agent's store is not its own.
    let error = py.call("config.store", "set_config", json!(["rs", "config", "{}", "json"])).unwrap_err();
    assert!(
        error["text"].as_str().unwrap().contains("can call method set_config only with identity"),
        "{error}"
    );
    drop(ours);
    py.stop();
}

#[test]
fn heartbeats_and_health_of_python_agents_are_seen() {
    let Some(python) = interpreter() else { return };
    let mut platform = Platform::prepare();
    let keys = platform.admit("py", &json!({}));
    platform.launch();
    let mut py = PythonAgent::start(&python, "py", &platform.address(), &platform.server_key(), &keys);
    let health = |py: &mut PythonAgent| {
        let all = py.call("platform.health", "get_platform_health", json!([])).unwrap();
        all["py"]["message"].clone()
    };
    until("a heartbeat", Duration::from_secs(20), || {
        (health(&mut py) == Status::Good.as_str()).then_some(())
    });
    py.ask("health", json!({"status": "BAD", "context": "no data"})).unwrap();
    until("the new status", Duration::from_secs(20), || (health(&mut py) == "BAD").then_some(()));
    let peers = platform.vctl_ok(&["peerlist"]);
    assert!(peers.lines().any(|line| line == "py"), "{peers}");
    py.stop();
    until("the agent to leave", Duration::from_secs(20), || {
        (!platform.vctl_ok(&["peerlist"]).lines().any(|line| line == "py")).then_some(())
    });
}
