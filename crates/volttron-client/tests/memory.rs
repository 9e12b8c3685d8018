//! Agents on the in-memory platform: life cycle, RPC, publish and subscribe, configuration, reconnection.
#![allow(clippy::unwrap_used, missing_docs)]

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Map, Value, json};
use volttron_client::testing::TestPlatform;
use volttron_client::{
    Access, Action, Actions, Agent, AgentBuilder, CallError, CapabilityMap, CapabilitySource, ConfigEvent,
    Cx, ExitReason, Headers, Method, Params, Publication, Registrar, Request, RpcError, SpawnError, Status,
};

/// Notes what happens to it, in order.
#[derive(Default)]
struct Probe {
    log: Mutex<Vec<String>>,
    connections: AtomicU32,
}

impl Probe {
    fn note(&self, text: impl Into<String>) {
        self.log.lock().unwrap().push(text.into());
    }

    fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }
}

impl Agent for Probe {
    const NAME: &'static str = "Probe";

    fn register(b: &mut Registrar<Self>) {
        b.on_setup(|me, cx: Cx| async move {
            me.note("setup");
            cx.config().set_default("defaulted", json!({"d": 1}))?;
            Ok(())
        })
        .on_connected(|me, _| async move {
            me.connections.fetch_add(1, Ordering::SeqCst);
            Ok(())
        })
        .config("*", Actions::ALL, |me, _, event: ConfigEvent| async move {
            let contents = event.contents.map_or("none".to_owned(), |c| c.to_string());
            me.note(format!("{} {} {contents}", event.action.as_str(), event.name));
            Ok(())
        })
        .on_start(|me, _| async move {
            me.note("start");
            Ok(())
        })
        .on_stop(|me, cx: Cx| async move {
            cx.publish("probe/bye", "bye").await?;
            me.note("stop");
            Ok(())
        })
        .subscribe("in/", |me: Arc<Probe>, cx: Cx, p: Publication| async move {
            me.note(format!("got {}", p.topic));
            cx.publish(&format!("out/{}", &p.topic[3..]), &p.json::<Value>()?).await?;
            Ok::<(), volttron_client::AgentError>(())
        })
        .rpc(
            Method::new("echo", Access::Open).param("x").optional("y", 1).doc("Gives back what it gets."),
            |_, r: Request| async move { Ok((r.arg::<Value>("x")?, r.arg::<Value>("y")?)) },
        )
        .rpc(Method::new("boom", Access::Open), |_, _| async move {
            Err::<(), _>(RpcError::exception("builtins.ZeroDivisionError", "division by zero"))
        })
        .rpc(Method::new("hang", Access::Open), |_, _| async move {
            std::future::pending::<()>().await;
            Ok(())
        })
        .rpc(Method::new("panics", Access::Open), |_, r: Request| async move {
            assert!(r.caller.peer.is_empty(), "on purpose");
            Ok(())
        })
        .rpc(
            Method::new("mine", Access::Capability("own_probe")).param("unit"),
            |_, _| async move { Ok(true) },
        )
        .rpc(Method::new("friends", Access::Callers(vec!["alice".into()])), |_, r: Request| async move {
            Ok(r.caller.user)
        })
        .rpc(Method::new("write_back", Access::Open), |_, r: Request| async move {
            r.cx.config()
                .set("mine", json!({"v": 1}))
                .await
                .map_err(|e| RpcError::runtime_error(e.to_string()))
        });
    }
}

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..10_000 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("{what} did not happen");
}

#[tokio::test]
async fn configuration_comes_before_start_and_config_comes_first() {
    let platform = TestPlatform::new().await;
    platform.set_config("probe", "a", json!([1])).await;
    platform.set_config("probe", "config", json!({"link": "config://a"})).await;
    let probe = Arc::new(Probe::default());
    let handle = AgentBuilder::shared(probe.clone())
        .identity("probe")
        .connector(platform.bus())
        .spawn()
        .await
        .unwrap();
    assert!(handle.started().await);
    assert_eq!(
        probe.log(),
        ["setup", r#"NEW config {"link":[1]}"#, "NEW a [1]", r#"NEW defaulted {"d":1}"#, "start"]
    );

    platform.set_config("probe", "a", json!([2])).await;
    until("the update", || probe.log().len() == 7).await;
    assert_eq!(probe.log()[5..], [r#"UPDATE config {"link":[2]}"#, "UPDATE a [2]"]);
    platform.delete_config("probe", "a").await;
    until("the deletion", || probe.log().len() == 9).await;
    assert_eq!(probe.log()[7..], [r#"UPDATE config {"link":null}"#, "DELETE a none"]);
    let cx = handle.cx();
    assert_eq!(cx.config().get::<Value>("CONFIG").await.unwrap(), json!({"link": null}));
    let missing = cx.config().get::<Value>("Nope").await.unwrap_err();
    assert_eq!(missing.to_string(), "nope not in store");
    assert_eq!(cx.instance_name(), "test");
    assert_eq!(handle.stop().await, ExitReason::Stopped);
    assert_eq!(probe.log().last().unwrap(), "stop");
}

#[tokio::test]
async fn a_handler_may_write_to_the_store() {
    let platform = TestPlatform::new().await;
    let handle = platform.agent("probe", Probe::default()).await;
    let peer = platform.peer("alice").await;
    peer.call("probe", "write_back").send::<()>().await.unwrap();
    assert_eq!(handle.cx().config().get::<Value>("mine").await.unwrap(), json!({"v": 1}));
    let refused = handle.cx().config().set("n", 5).await.unwrap_err();
    assert!(refused.to_string().contains("must be text"), "{refused}");
}

#[tokio::test]
async fn calls_carry_arguments_results_and_exceptions() {
    let platform = TestPlatform::new().await;
    let _probe = platform.agent("probe", Probe::default()).await;
    let alice = platform.peer("alice").await;
    let echo = |params| alice.call("probe", "echo").params(params).send::<Value>();
    assert_eq!(echo(Params::Positional(vec![json!(5)])).await.unwrap(), json!([5, 1]));
    let both = alice.call("probe", "echo").arg("é€😀").named("y", "z");
    assert_eq!(both.send::<Value>().await.unwrap(), json!(["é€😀", "z"]));
    let named = alice.call("probe", "echo").named("x", 1.5);
    assert_eq!(named.send::<(f64, i64)>().await.unwrap(), (1.5, 1));

    let missing = echo(Params::None).await.unwrap_err();
    assert_eq!(missing.exc_type(), Some("builtins.TypeError"));
    assert_eq!(missing.to_string(), "TypeError: echo() missing 1 required positional argument: 'x'");
    let boom = alice.call("probe", "boom").send::<()>().await.unwrap_err();
    assert_eq!(boom.to_string(), "ZeroDivisionError: division by zero");
    let panicked = alice.call("probe", "panics").send::<()>().await.unwrap_err();
    assert!(panicked.to_string().contains("on purpose"), "{panicked}");
    assert!(matches!(
        alice.call("probe", "nope").send::<()>().await,
        Err(CallError::NoSuchMethod { method, .. }) if method == "nope"
    ));
    assert!(matches!(
        alice.call("nobody", "x").send::<()>().await,
        Err(CallError::Unreachable { peer }) if peer == "nobody"
    ));
    assert!(matches!(alice.call("123", "x").send::<()>().await, Err(CallError::Unreachable { .. })));
    assert!(matches!(
        alice.call("probe", "echo").arg(1).send::<String>().await,
        Err(CallError::BadReply { .. })
    ));
    // A peer that serves nothing says so rather than staying silent.
    let late = alice.call("test.observer", "slow").timeout(Duration::from_millis(20));
    assert!(matches!(late.send::<()>().await, Err(CallError::NoSuchMethod { .. })));
    assert_eq!(alice.waiting_requests(), 0);
}

#[tokio::test]
async fn batches_are_answered_in_order() {
    let platform = TestPlatform::new().await;
    let _probe = platform.agent("probe", Probe::default()).await;
    let alice = platform.peer("alice").await;
    let one = |n: i64| Params::Positional(vec![json!(n)]);
    let batch = alice.batch("probe").call("echo", one(1)).notify("echo", one(2)).call("nope", Params::None);
    let outcomes = batch.call("echo", one(3)).send().await.unwrap();
    assert_eq!(outcomes.len(), 3);
    assert_eq!(outcomes[0].as_ref().unwrap(), &json!([1, 1]));
    assert!(matches!(outcomes[1], Err(CallError::NoSuchMethod { .. })));
    assert_eq!(outcomes[2].as_ref().unwrap(), &json!([3, 1]));
    assert!(alice.batch("probe").notify("echo", one(2)).send().await.unwrap().is_empty());
    let nobody = alice.batch("nobody").call("x", Params::None).call("y", Params::None).send().await;
    assert!(matches!(nobody, Err(CallError::Unreachable { .. })), "{nobody:?}");
    assert!(alice.inspect("probe").await.unwrap().contains(&"echo".to_owned()));
    assert_eq!(alice.inspect_method("probe", "echo").await.unwrap()["doc"], "Gives back what it gets.");
    assert_eq!(alice.waiting_requests(), 0);
}

#[tokio::test]
async fn every_agent_answers_the_built_in_methods() {
    let platform = TestPlatform::new().await;
    let probe = platform.builder("probe", Probe::default()).version("3.1").auth(true).spawn().await.unwrap();
    assert!(probe.started().await);
    let alice = platform.peer("alice").await;
    let call = |method: &str| alice.call("probe", method);
    assert_eq!(call("agent.version").send::<String>().await.unwrap(), "3.1");
    let inspect: Value = call("inspect").send().await.unwrap();
    assert_eq!(
        inspect,
        json!({"methods": ["boom", "echo", "friends", "hang", "mine", "panics", "write_back",
            "agent.version", "health.set_status", "health.get_status", "health.get_status_json",
            "health.send_alert", "heartbeat.start", "heartbeat.start_with_period", "heartbeat.stop",
            "heartbeat.restart", "heartbeat.set_period", "config.update", "config.update_many", "config.initial_update",
            "auth.update", "auth.get_rpc_authorizations", "auth.get_all_rpc_authorizations",
            "auth.set_rpc_authorizations", "auth.set_multiple_rpc_authorizations"]})
    );
    let one: Value = call("echo.inspect").send().await.unwrap();
    assert_eq!(
        one["params"],
        json!({"x": {"kind": "POSITIONAL_OR_KEYWORD"}, "y": {"kind": "POSITIONAL_OR_KEYWORD", "default": 1}})
    );
    assert_eq!(one["doc"], "Gives back what it gets.");
    assert!(one["source"]["file"].as_str().unwrap().ends_with("memory.rs"));
    assert!(call("nope.inspect").send::<Value>().await.is_err());

    let bad = call("health.set_status").arg("WRONG").send::<()>().await.unwrap_err();
    assert_eq!(bad.to_string(), "ValueError: Invalid status value WRONG");
    call("health.set_status").arg("BAD").arg("why").send::<()>().await.unwrap();
    let report: Value = call("health.get_status_json").send().await.unwrap();
    assert_eq!((&report["status"], &report["context"]), (&json!("BAD"), &json!("why")));
    let alert = call("health.send_alert").arg("k").arg(json!({})).send::<()>().await.unwrap_err();
    assert_eq!(alert.to_string(), "ValueError: statusobj must be a Status object.");
    call("heartbeat.set_period").arg(5).send::<()>().await.unwrap();
    assert_eq!(probe.cx().heartbeat().period(), Duration::from_secs(5));
    assert!(call("heartbeat.set_period").arg(0).send::<()>().await.is_err());

    let all: Value = call("auth.get_all_rpc_authorizations").send().await.unwrap();
    assert_eq!(all["mine"], json!(["own_probe"]));
    assert_eq!(all["echo"], json!([]));
    // Nobody but the auth service updates capabilities: ignored, not refused.
    call("auth.update").arg(json!({"alice": {"own_probe": null}})).send::<()>().await.unwrap();
    let denied = call("mine").arg("u").timeout(Duration::from_secs(5)).send::<bool>().await.unwrap_err();
    assert!(denied.to_string().contains("platform.auth"), "{denied}");
    let auth = platform.peer("platform.auth").await;
    let caps = json!({"alice": {"own_probe": {"unit": "u"}}, "root": {"modify_rpc_method_allowance": null}});
    auth.call("probe", "auth.update").arg(caps).send::<()>().await.unwrap();
    assert!(call("mine").arg("u").send::<bool>().await.unwrap());
    let denied = call("mine").arg("v").send::<bool>().await.unwrap_err();
    assert!(matches!(&denied, CallError::Denied(_)), "{denied:?}");
    assert_eq!(denied.to_string(), "User alice can call method mine only with unit=u but called with unit=v");
    let denied = call("config.update").arg("NEW").arg("x").send::<()>().await.unwrap_err();
    assert_eq!(
        denied.to_string(),
        "method 'config.update' requires capabilities {'sync_agent_config'}, \
         but capability {'own_probe': {'unit': 'u'}} was provided for user alice"
    );
    // Administrators close an open method.
    let root = platform.peer("root").await;
    root.call("probe", "auth.set_rpc_authorizations")
        .arg("echo")
        .arg(json!(["secret"]))
        .send::<()>()
        .await
        .unwrap();
    assert!(matches!(call("echo").arg(1).send::<Value>().await, Err(CallError::Denied(_))));
    let now: Value = call("auth.get_rpc_authorizations").arg("echo").send().await.unwrap();
    assert_eq!(now, json!(["secret"]));
}

#[tokio::test]
async fn identities_can_be_named_instead_of_capabilities() {
    let platform = TestPlatform::new().await;
    let _probe = platform.agent("probe", Probe::default()).await;
    let alice = platform.peer("alice").await;
    assert_eq!(alice.call("probe", "friends").send::<String>().await.unwrap(), "alice");
    let eve = platform.peer("eve").await;
    let denied = eve.call("probe", "friends").send::<String>().await.unwrap_err();
    assert_eq!(denied.to_string(), "method 'friends' is reserved to ['alice'], but was called by user eve");
    // Without authentication on the bus capabilities mean nothing.
    assert!(eve.call("probe", "mine").arg("x").send::<bool>().await.unwrap());
}

struct Table;

impl CapabilitySource for Table {
    fn capabilities(&self, user: &str) -> Option<CapabilityMap> {
        (user == "alice").then(|| Map::from_iter([("own_probe".to_owned(), Value::Null)]))
    }
    fn enabled(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn services_look_capabilities_up_in_their_own_table() {
    let platform = TestPlatform::new().await;
    let builder = platform.builder("probe", Probe::default()).capabilities(Arc::new(Table));
    let _probe = builder.spawn().await.unwrap();
    let alice = platform.peer("alice").await;
    assert!(alice.call("probe", "mine").arg("x").send::<bool>().await.unwrap());
    let eve = platform.peer("eve").await;
    let denied = eve.call("probe", "mine").arg("x").send::<bool>().await.unwrap_err();
    assert_eq!(
        denied.to_string(),
        "method 'mine' requires capabilities {'own_probe'}, but capability [] was provided for user eve"
    );
}

#[tokio::test]
async fn publications_arrive_in_order_and_leave_with_headers() {
    let platform = TestPlatform::new().await;
    let _probe = platform.agent("probe", Probe::default()).await;
    let alice = platform.peer("alice").await;
    let mut out = platform.watch("out/").await;
    for n in 0..200 {
        let headers = Headers::default().with("n", n);
        assert_eq!(alice.publish_with("in/x", headers, &json!({"n": n})).await.unwrap(), 1);
    }
    for n in 0..200 {
        let p = out.assert_published("out/x", &json!({"n": n})).await;
        assert_eq!(p.sender, "probe");
        assert_eq!(p.headers.get_str("min_compatible_version"), Some("3.0"));
    }
    let mut again = alice.subscribe("pre").await.unwrap();
    assert_eq!(alice.publish("prefix/y", &json!("é")).await.unwrap(), 1);
    assert_eq!(again.next().await.unwrap().json::<String>().unwrap(), "é");
    alice.unsubscribe(again).await.unwrap();
    assert_eq!(alice.publish("prefix/y", "x").await.unwrap(), 0);
    assert!(alice.publish("5", "x").await.is_err());
    assert_eq!(alice.publish_json("prefix/y", Headers::default(), "{\"é\": 1}").await.unwrap(), 0);
    assert!(alice.publish_json("prefix/y", Headers::default(), "{").await.is_err());
}

#[tokio::test]
async fn a_slow_subscription_loses_the_oldest_and_counts() {
    let platform = TestPlatform::new().await;
    let alice = platform.peer("alice").await;
    let options = volttron_client::SubscribeOptions { capacity: 3, ..Default::default() };
    let mut slow = alice.subscribe_with("t", options).await.unwrap();
    for n in 0..5 {
        alice.publish("t", &n).await.unwrap();
    }
    until("all deliveries", || slow.lagged() == 2).await;
    assert_eq!(slow.next().await.unwrap().json::<i64>().unwrap(), 2);
}

#[tokio::test]
async fn after_a_cut_everything_works_again_but_start_runs_once() {
    let platform = TestPlatform::new().await;
    let probe = Arc::new(Probe::default());
    let handle = AgentBuilder::shared(probe.clone())
        .identity("probe")
        .connector(platform.bus())
        .spawn()
        .await
        .unwrap();
    assert!(handle.started().await);
    let alice = platform.peer("alice").await;
    let mut out = platform.watch("out/").await;
    platform.bus().cut("alice");
    until("the loss", || !alice.connected()).await;
    assert!(matches!(alice.call("probe", "echo").arg(1).send::<Value>().await, Err(CallError::Disconnected)));
    platform.bus().mend("alice");
    until("the return", || alice.connected()).await;
    assert!(alice.call("probe", "echo").arg(1).send::<Value>().await.is_ok());

    platform.bus().cut("probe");
    platform.set_config("probe", "late", json!({"n": 1})).await;
    assert!(matches!(
        alice.call("probe", "echo").arg(1).send::<Value>().await,
        Err(CallError::Unreachable { .. })
    ));
    platform.bus().mend("probe");
    until("the second connection", || probe.connections.load(Ordering::SeqCst) == 2).await;
    until("the missed configuration", || probe.log().iter().any(|l| l.starts_with("NEW late"))).await;
    alice.publish("in/again", &7).await.unwrap();
    out.assert_published("out/again", &json!(7)).await;
    assert_eq!(probe.log().iter().filter(|l| *l == "start").count(), 1);

    platform.bus().restart_router();
    until("the third connection", || probe.connections.load(Ordering::SeqCst) == 3 && alice.connected())
        .await;
    until("the subscription", || handle.cx().connected()).await;
    alice.publish("in/third", &8).await.unwrap();
    assert_eq!(handle.cx().meter().reconnects.get(), 2);
}

#[tokio::test]
async fn calls_under_way_fail_when_the_link_goes_down() {
    let platform = TestPlatform::new().await;
    let _probe = platform.agent("probe", Probe::default()).await;
    let alice = platform.peer("alice").await;
    let cx = (*alice).clone();
    let call = tokio::spawn(async move { cx.call("probe", "hang").send::<()>().await });
    until("the call", || alice.waiting_requests() == 1).await;
    platform.bus().cut("alice");
    let outcome = call.await.unwrap();
    assert!(matches!(outcome, Err(CallError::Disconnected)), "{outcome:?}");
    assert_eq!(alice.waiting_requests(), 0);
    platform.bus().mend("alice");
    until("the return", || alice.connected()).await;
    let late = alice.call("probe", "hang").timeout(Duration::from_millis(10)).send::<()>().await;
    assert!(matches!(late, Err(CallError::Timeout { .. })), "{late:?}");
}

#[tokio::test]
async fn one_identity_connects_once() {
    let platform = TestPlatform::new().await;
    let _first = platform.agent("probe", Probe::default()).await;
    let second = platform.builder("probe", Probe::default()).spawn().await;
    assert!(matches!(&second, Err(SpawnError::Connect(e)) if e.to_string().contains("in use")), "{second:?}");
    let bad = platform.builder("12", Probe::default()).spawn().await;
    assert!(matches!(&bad, Err(SpawnError::Connect(e)) if e.to_string().contains("JSON")), "{bad:?}");
}

#[tokio::test]
async fn health_beats_and_alerts() {
    let platform = TestPlatform::new().await;
    let mut beats = platform.watch("heartbeat/").await;
    let mut alerts = platform.watch("alerts/").await;
    let probe = platform.agent("my.probe", Probe::default()).await;
    let first = beats.assert_published("heartbeat/my.probe", &json!("GOOD")).await;
    assert!(first.headers.timestamp().is_some());
    probe.cx().health().bad(json!({"why": "test"}));
    beats.assert_published("heartbeat/my.probe", &json!("BAD")).await;
    probe.cx().health().alert("key1", Status::Bad, "alert context").await.unwrap();
    let alert = alerts.next().await;
    assert_eq!(alert.topic, "alerts/Probe/test_my_probe");
    assert_eq!(alert.headers.get_str("alert_key"), Some("key1"));
    let inner: Value = serde_json::from_str(&alert.json::<String>().unwrap()).unwrap();
    assert_eq!(inner["context"], "alert context");
}

#[tokio::test]
async fn peers_come_and_go() {
    let platform = TestPlatform::new().await;
    let alice = platform.peer("alice").await;
    let mut events = alice.peer_events();
    let bob = platform.peer("bob").await;
    assert_eq!(events.recv().await.unwrap(), volttron_client::PeerEvent::Added("bob".into()));
    assert!(alice.peerlist().await.unwrap().contains("bob"));
    assert_eq!(alice.ping("bob", &["x", "y"]).await.unwrap(), ["x", "y"]);
    assert_eq!(alice.ping("", &["z"]).await.unwrap(), ["z"]);
    assert_eq!(alice.hello("").await.unwrap().requester, "alice");
    assert_eq!(alice.hello("bob").await.unwrap().responder, "bob");
    assert_eq!(alice.query("instance-name").await.unwrap().as_deref(), Some("test"));
    assert_eq!(alice.query("nonsense").await.unwrap(), None);
    bob.close().await;
    assert_eq!(events.recv().await.unwrap(), volttron_client::PeerEvent::Dropped("bob".into()));
    assert!(!alice.has_peer("bob"));
    assert!(matches!(
        alice.router_request("nonsense", vec![]).await,
        Err(CallError::UnknownSubsystem { .. })
    ));
}

#[tokio::test]
async fn scheduled_jobs_run_and_can_be_cancelled() {
    let platform = TestPlatform::new().await;
    let alice = platform.peer("alice").await;
    let mut ticks = platform.watch("tick").await;
    let cx = (*alice).clone();
    let job = alice.every(Duration::from_millis(5), move || {
        let cx = cx.clone();
        async move { cx.publish("tick", "x").await.map(drop) }
    });
    ticks.next().await;
    ticks.next().await;
    job.cancel();
    assert!(job.is_cancelled());
    let cx = (*alice).clone();
    alice.at(jiff::Timestamp::now(), move || async move { cx.publish("tick/at", "now").await.map(drop) });
    ticks.assert_published("tick/at", &json!("now")).await;
    assert!(alice.cron("nonsense", || async {}).is_err());
}

#[tokio::test]
async fn what_is_registered_twice_is_refused() {
    struct Twice;
    impl Agent for Twice {
        const NAME: &'static str = "Twice";
        fn register(b: &mut Registrar<Self>) {
            b.rpc(Method::new("m", Access::Open), |_, _| async { Ok(()) });
            b.rpc(Method::new("m", Access::Open), |_, _| async { Ok(()) });
        }
    }
    let platform = TestPlatform::new().await;
    let error = platform.builder("x", Twice).spawn().await.unwrap_err();
    assert_eq!(error.to_string(), "method 'm' is registered twice");
    assert!(Actions::from([Action::New, Action::Delete]).contains(Action::Delete));
}
