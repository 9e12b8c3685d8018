//! Agents of ours on the Python platform volttron 10.0.5rc4, over tcp with CURVE.

use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use volttron_client::{CallError, CallErrorKind};
use volttron_tests::lines::Lines;
use volttron_tests::probe::{self, Seen};
use volttron_tests::programs::program;
use volttron_tests::python::{PythonAgent, PythonPlatform, interpreter};
use volttron_tests::wait::until;
use volttron_utils::keys::KeyPair;

const PATIENCE: Duration = Duration::from_secs(30);

/// One platform for all of it: it takes seconds to start, and ends when one of its services writes to an agent that
/// has gone, which several tests at once would provoke.
#[test]
fn an_agent_of_ours_lives_on_the_python_platform() {
    let Some(python) = interpreter() else { return };
    let (rs_keys, py_keys, listener_keys) = (KeyPair::generate(), KeyPair::generate(), KeyPair::generate());
    let own = |identity: &str| json!({"edit_config_store": {"identity": identity}});
    // Now and then a fresh Python platform lets nobody in, its own agents included; a new one does.
    let (platform, mut py) = (0..3)
        .find_map(|_| {
            let platform = PythonPlatform::start(
                &python,
                &[
                    ("rs", &rs_keys, own("rs")),
                    ("py", &py_keys, own("py")),
                    ("listener-9", &listener_keys, own("listener-9")),
                ],
            );
            let py =
                PythonAgent::try_start(&python, "py", &platform.address(), &platform.server_key(), &py_keys);
            py.map(|py| (platform, py))
        })
        .expect("a Python agent joins the Python platform in one of three attempts");
    let (address, server_key) = (platform.address(), platform.server_key());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let (ours, mut seen) = runtime.block_on(probe::connect("rs", &address, &server_key, rs_keys));

    let mut subscription = runtime.block_on(async {
        let cx = ours.cx();
        assert!(matches!(seen.recv().await, Some(Seen::Start)));
        // Calls, both directions, exceptions included.
        assert_eq!(cx.call("py", "add").arg(1).named("b", 2).send::<i64>().await.unwrap(), 3);
        let error = cx.call("py", "fail").arg("boo").send::<Value>().await.unwrap_err();
        assert!(
            matches!(&error, CallError::Remote(e) if e.exc_type() == Some("builtins.ValueError")),
            "{error:?}"
        );
        let error = cx.call("py", "guarded").send::<Value>().await.unwrap_err();
        assert_eq!(error.kind(), CallErrorKind::Denied);
        let peers = cx.peerlist().await.unwrap();
        assert!(
            peers.iter().any(|p| p == "platform.control") && peers.iter().any(|p| p == "rs"),
            "{peers:?}"
        );
        cx.subscribe("from/python").await.unwrap()
    });
    let value = json!({"a": [1, 2.5, null, "\u{e9}"]});
    assert_eq!(py.call("rs", "echo", json!([value])), Ok(value.clone()));
    let error = py.call("rs", "fail", json!(["boo"])).unwrap_err();
    assert_eq!(error["info"]["exc_type"], "builtins.ValueError");

    // Publications, both directions.
    assert_eq!(py.ask("publish", json!({"topic": "from/python/a", "message": value})), Ok(json!(1)));
    let publication = runtime.block_on(subscription.next()).unwrap();
    assert_eq!((publication.sender.as_str(), publication.json::<Value>().unwrap()), ("py", value.clone()));
    py.ask("subscribe", json!({"prefix": "from/rust"})).unwrap();
    assert_eq!(runtime.block_on(ours.cx().publish("from/rust/a", &value)).unwrap(), 1);
    assert_eq!(py.event("publication", |_| true)["message"], value);

    // Configuration: what we set comes back as a push.
    runtime.block_on(async {
        ours.cx().config().set("config", &json!({"x": 1})).await.unwrap();
        assert_eq!(ours.cx().config().get::<Value>("config").await.unwrap(), json!({"x": 1}));
    });

    // Its health service heard our heartbeat.
    let health = py.call("platform.health", "get_platform_health", json!([])).unwrap();
    assert_eq!(health["rs"]["message"], "GOOD", "{health}");
    the_listener_joins(&platform, &mut py, &listener_keys);
    drop(py);
    runtime.block_on(ours.stop());
}

/// The program as it is installed: it logs what is published, beats, answers calls, and leaves when asked to.
fn the_listener_joins(platform: &PythonPlatform, py: &mut PythonAgent, keys: &KeyPair) {
    py.ask("subscribe", json!({"prefix": "heartbeat/"})).unwrap();
    let home = tempfile::tempdir().expect("a temporary directory");
    let mut listener = Command::new(program("volttron-listener"))
        .env_clear()
        .env("VOLTTRON_HOME", home.path())
        .env("VOLTTRON_VIP_ADDR", platform.address())
        .env("VOLTTRON_SERVERKEY", platform.server_key())
        .env("AGENT_VIP_IDENTITY", "listener-9")
        .env("AGENT_PUBLICKEY", keys.public.to_string())
        .env("AGENT_SECRETKEY", keys.secret.reveal())
        // Its log then comes as JSON.
        .env("_LAUNCHED_BY_PLATFORM", "True")
        .current_dir(home.path())
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start the listener");
    let mut log = Lines::new(listener.stderr.take().expect("piped"));
    log.expect("the listener's greeting", PATIENCE, |line| line.to_string().contains("Hello"));
    let beat = py.event("publication", |p| p["sender"] == "listener-9");
    assert_eq!((&beat["topic"], &beat["message"]), (&json!("heartbeat/listener-9"), &json!("GOOD")));
    // It may beat before it is subscribed.
    log.expect("anything that was published", PATIENCE, |line| {
        line.to_string().contains("Topic: heartbeat/")
    });
    py.ask("publish", json!({"topic": "from/python/b", "message": "seen by the listener"})).unwrap();
    log.expect("the publication in its log", PATIENCE, |line| {
        let line = line.to_string();
        line.contains("from/python/b")
            && line.contains("seen by the listener")
            && line.contains("Sender: py:")
    });
    let health = py.call("listener-9", "health.get_status", json!([])).unwrap();
    assert_eq!(health["status"], "GOOD", "{health}");
    let health = py.call("platform.health", "get_platform_health", json!([])).unwrap();
    assert_eq!(health["listener-9"]["message"], "GOOD", "{health}");
    kill_process(Pid::from_child(&listener), Signal::INT).expect("signal the listener");
    assert!(listener.wait().expect("wait for the listener").success());
    let gone = || (!py.ask("peers", json!({})).unwrap().to_string().contains("listener-9")).then_some(());
    until("the listener to leave the peer list", PATIENCE, gone);
}
