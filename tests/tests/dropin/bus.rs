//! dropin.md, Bus.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use volttron_client::{CallError, PublishError, SubscribeOptions};
use volttron_tests::probe::Seen;
use volttron_tests::python::{PythonAgent, interpreter};
use volttron_tests::wait::until;
use volttron_utils::keys::KeyPair;
use zmq::{Context, SocketType};

use crate::site::{LONG, Mode, SHORT, Site, eventually};

async fn calls_publications_and_configurations_work(mode: Mode) {
    let site = Site::start(mode);
    let (probe, mut seen) = site.probe("probe").await;
    let caller = site.peer("caller", &json!({"probe_secret": null})).await;
    assert_eq!(caller.call("probe", "add").arg(1).arg(2).send::<i64>().await.expect("an answer"), 3);
    assert_eq!(caller.call("probe", "guarded").send::<String>().await.expect("allowed"), "seen");
    let mut heard = probe.cx().subscribe("t").await.expect("subscribed");
    caller.publish("t/1", &json!({"x": 1})).await.expect("published");
    let first = tokio::time::timeout(LONG, heard.next()).await.expect("delivered").expect("open");
    assert_eq!((first.topic.as_str(), first.sender.as_str()), ("t/1", "caller"));
    // The agent's own store, written by itself; and by the command line.
    let store = probe.cx().call("config.store", "set_config");
    let store = store.arg("probe").arg("own").arg("{\"a\": 1}").named("config_type", "json");
    store.send_value().await.expect("its own store");
    let file = site.platform.home().join("by_tool.json");
    fs::write(&file, "{\"b\": 2}").expect("write");
    site.platform.vctl_ok(&["config", "store", "probe", "tool", file.to_str().expect("text"), "--json"]);
    let mut configs = Vec::new();
    while configs.len() < 2 {
        let next = tokio::time::timeout(LONG, seen.recv()).await.expect("pushed").expect("open");
        if let Seen::Config(name, _, contents) = next {
            configs.push((name, contents.expect("contents")));
        }
    }
    assert_eq!(configs, [("own".to_owned(), json!({"a": 1})), ("tool".to_owned(), json!({"b": 2}))]);
}

async fn installed_agents_run_and_are_well(mode: Mode) {
    let site = Site::start(mode);
    let uuid = site.listener("listener", &[]);
    let rows = site.platform.vctl_json(&["status"]);
    assert_eq!(rows["listener"]["health"]["message"], "GOOD", "{rows}");
    let caller = site.peer("caller", &json!({})).await;
    let status = caller.call("listener", "health.get_status_json").send_value().await.expect("an answer");
    assert_eq!(status["status"], "GOOD");
    site.platform.vctl_ok(&["stop", &uuid]);
    site.platform.vctl_ok(&["remove", &uuid, "-f"]);
}

async fn control_is_in_the_peer_list_of_a_new_agent_within_2_s(mode: Mode) {
    let site = Site::start(mode);
    let keys = site.admit("fresh", &json!({}));
    // The entry is in force once anybody with that key gets in.
    site.connect("before", &keys).await.close().await;
    let began = Instant::now();
    let fresh = site.connect("fresh", &keys).await;
    eventually("control", || async { fresh.has_peer("control") }).await;
    let took = began.elapsed();
    println!("control was in the peer list after {took:.0?} (at most 2 s)");
    assert!(took <= Duration::from_secs(2), "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn denials_say_what_is_required_and_what_was_provided() {
    let mut site = Site::prepare(Mode::Authenticated);
    let keys = site.admit("agent2", &json!({"edit_config_store": {"identity": "agent2"}}));
    let topics = r#"{"write-protect": [{"topic": "prot", "capabilities": ["x"]}]}"#;
    fs::write(site.platform.home().join("protected_topics.json"), topics).expect("write");
    site.platform.launch();
    let (_probe, _seen) = site.probe("probe").await;
    let caller = site.connect("agent2", &keys).await;
    match caller.publish("prot", &1).await {
        Err(PublishError::Denied(text)) => assert!(
            text.contains(
                "requires capabilities ['x'], but capability list {'edit_config_store': {'identity': 'agent2'}} was provided"
            ),
            "{text}"
        ),
        other => panic!("{other:?}"),
    }
    match caller.call("probe", "guarded").send_value().await {
        Err(CallError::Denied(text)) => assert_eq!(
            text,
            "method 'guarded' requires capabilities {'probe_secret'}, but capability {'edit_config_store': {'identity': \
             'agent2'}} was provided for user agent2"
        ),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_authentication_nothing_is_denied() {
    let mut site = Site::prepare(Mode::Open);
    let topics = r#"{"write-protect": [{"topic": "prot", "capabilities": ["x"]}]}"#;
    fs::write(site.platform.home().join("protected_topics.json"), topics).expect("write");
    site.platform.launch();
    let uuid = site.listener("listener", &[]);
    let (_probe, _seen) = site.probe("probe").await;
    let anybody = site.peer("anybody", &json!({})).await;
    anybody.publish("prot", &1).await.expect("nobody is asked for capabilities");
    anybody.call("probe", "guarded").send_value().await.expect("nor here");
    let store = anybody.call("config.store", "set_config").arg("probe").arg("c").arg("text");
    store.named("config_type", "raw").send_value().await.expect("nor here");
    anybody.call("control", "restart_agent").arg(&uuid).timeout(LONG).send_value().await.expect("nor here");
    assert!(site.pid(&uuid).is_some());
    // Names of the platform's own services are still its own.
    assert!(site.try_connect("control", &KeyPair::generate(), SHORT).await.is_none());
}

async fn a_crash_shows_pid_and_code_for_a_while_and_the_restart_comes_in_3_to_20_s(mode: Mode) {
    let site = Site::start(mode);
    let uuid = site.listener("listener", &[]);
    let control = site.control().await;
    let status = || async {
        let value = control.call("control", "agent_status").arg(&uuid).send_value().await.expect("an answer");
        (value[0].clone(), value[1].clone())
    };
    let (first, running) = status().await;
    assert_eq!(running, Value::Null);
    let pid = i32::try_from(first.as_i64().expect("a pid")).expect("a pid");
    kill_process(Pid::from_raw(pid).expect("a pid"), Signal::KILL).expect("kill the agent");
    let killed = Instant::now();
    eventually("the exit code", || async { status().await == (first.clone(), json!(-9)) }).await;
    println!("[pid, code] was seen after {:.0?}", killed.elapsed());
    eventually("the restart", || async {
        let (now, code) = status().await;
        assert!(now != first || code == json!(-9), "the code stays until the restart: {now} {code}");
        now != first && code == Value::Null
    })
    .await;
    let took = killed.elapsed();
    println!("it ran again after {took:.1?} (3 to 20 s)");
    assert!((Duration::from_secs(3)..=Duration::from_secs(20)).contains(&took), "{took:?}");
}

/// A client with a password, as the original's PLAIN mechanism has it.
async fn a_client_that_offers_plain_is_refused_and_the_log_says_why(mode: Mode) {
    let site = Site::start(mode);
    let address = site.platform.address();
    tokio::task::block_in_place(|| {
        let context = Context::new();
        let socket = context.socket(SocketType::Dealer).expect("a socket");
        socket.set_linger(0).expect("an option");
        socket.set_identity(b"plain").expect("an option");
        socket.set_plain_client("volttron", "a secret word").expect("an option");
        socket.connect(&address).expect("it connects in the background");
        until("the line in the log", LONG, || {
            let log = site.platform.log();
            log.lines()
                .find(|line| line.contains("connections") && line.contains("nor PLAIN"))
                .map(str::to_owned)
        });
    });
    assert!(!site.platform.log().contains("a secret word"));
    let peers = site.control().await.peerlist().await.expect("an answer");
    assert!(!peers.contains("plain"), "{peers:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_authentication_only_loopback_is_served_unless_forced() {
    let site = Site::prepare(Mode::Open);
    let run = |more: &[&str]| {
        let mut command = site.platform.command("volttron");
        command.args(["--vip-address", "tcp://0.0.0.0:1"]).args(more).output().expect("run volttron")
    };
    let refused = run(&[]);
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && text.contains("--insecure") && text.contains("0.0.0.0"), "{text}");
    assert!(!site.platform.home().join("VOLTTRON_PID").exists());
    // Forced, it gets as far as the port, which only root may have; then it stops for another reason.
    let plain = run(&["--insecure", "--vip-address", "tcp://127.0.0.1:2?server=PLAIN"]);
    let text = String::from_utf8_lossy(&plain.stderr).into_owned();
    assert!(
        !plain.status.success() && text.contains("clear text") && !text.contains("add --insecure"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tcp_client_of_the_platform_without_authentication_needs_no_options() {
    let site = Site::start(Mode::Open);
    let peer = site.connect("nobody.in.particular", &KeyPair::generate()).await;
    let mut own = peer.subscribe_with("own", SubscribeOptions::default()).await.expect("subscribed");
    peer.publish("own/1", &1).await.expect("published");
    tokio::time::timeout(LONG, own.next()).await.expect("delivered").expect("open");
    let key = peer.router_request("query", vec!["serverkey".into()]).await.expect("an answer");
    assert_eq!(key[1].as_ref(), b"", "there is no key");
}

/// A stock Python agent (10.0.5rc4), which connects in plain when it knows no server key.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_authentication_a_python_agent_calls_publishes_and_stores() {
    let Some(python) = interpreter() else { return };
    let site = Site::start(Mode::Open);
    let (probe, _seen) = site.probe("rs").await;
    let mut heard = probe.cx().subscribe("from").await.expect("subscribed");
    let address = site.platform.address();
    let keys = KeyPair::generate();
    let mut py = tokio::task::block_in_place(|| PythonAgent::start(&python, "py", &address, "", &keys));
    tokio::task::block_in_place(|| {
        assert_eq!(py.call("rs", "add", json!([1])), Ok(json!(11)));
        assert_eq!(
            py.call("rs", "guarded", json!([])),
            Ok(json!("seen")),
            "nobody is asked for capabilities"
        );
        py.ask("publish", json!({"topic": "from/py", "message": {"x": 1}})).expect("published");
        let stored = py.call("config.store", "set_config", json!(["other", "c", "{\"a\": 1}", "json"]));
        stored.expect("the store is open to everybody");
        site.platform.vctl_ok(&["config", "store", "py", "pushed", "--raw"]);
        py.event("config", |event| event["name"] == "pushed");
    });
    let first = tokio::time::timeout(LONG, heard.next()).await.expect("delivered").expect("open");
    assert_eq!((first.topic.as_str(), first.sender.as_str()), ("from/py", "py"));
    let back = probe.cx().call("py", "echo").arg("x").send::<String>().await;
    assert_eq!(back.expect("an answer"), "x");
    let got = site.platform.vctl_ok(&["config", "get", "other", "c"]);
    assert_eq!(serde_json::from_str::<Value>(&got).expect("JSON"), json!({"a": 1}));
}

crate::in_both_modes! {
    calls_publications_and_configurations_work,
    installed_agents_run_and_are_well,
    control_is_in_the_peer_list_of_a_new_agent_within_2_s,
    a_crash_shows_pid_and_code_for_a_while_and_the_restart_comes_in_3_to_20_s,
    a_client_that_offers_plain_is_refused_and_the_log_says_why,
}
