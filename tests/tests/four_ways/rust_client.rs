//! Runs the suite with agents of ours, in this process.

use std::fmt::{Debug, Display};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::broadcast::Receiver;
use volttron_client::{
    AgentHandle, CallError, CallErrorKind, Cx, Headers, Params, PeerEvent, PublishError, Status,
    SubscribeOptions, Subscription,
};

use crate::Results;
use crate::cases::{CASES, VALUES};
use crate::rust_agents::{Unit, connect};
use crate::world::World;

/// How long a single wait may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a case failed.
struct Failure(String);

impl<E: Display> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

type Outcome = Result<(), Failure>;

fn same<T: PartialEq + Debug>(got: T, want: T) -> Outcome {
    holds(got == want, || format!("got {got:?} instead of {want:?}"))
}

fn holds(ok: bool, why: impl FnOnce() -> String) -> Outcome {
    if ok { Ok(()) } else { Err(Failure(why())) }
}

/// The two agents of a run.
struct Pair<'a> {
    world: &'a World<'a>,
    unit: Arc<Unit>,
    tester: Cx,
    mate: Cx,
}

/// Runs every case in the order of the table.
pub fn run(world: &World<'_>) -> Results {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let (unit, tester) = connect(world, "tester").await;
        let (_, mate) = connect(world, "mate").await;
        let pair = Pair { world, unit, tester: tester.cx().clone(), mate: mate.cx().clone() };
        let mut results = Results::new();
        for (name, _) in CASES {
            let outcome = tokio::time::timeout(2 * PATIENCE, pair.run(name)).await;
            let outcome = outcome.unwrap_or_else(|_| Err(Failure("it takes too long".into())));
            results.insert((*name).to_owned(), outcome.err().map(|failure| failure.0));
        }
        mate.stop().await;
        tester.stop().await;
        results
    })
}

async fn next(subscription: &mut Subscription) -> Result<volttron_client::Publication, Failure> {
    let next = tokio::time::timeout(PATIENCE, subscription.next()).await?;
    next.ok_or_else(|| Failure("the subscription ended".into()))
}

async fn until(what: &str, mut done: impl FnMut() -> bool) -> Outcome {
    for _ in 0..1000 {
        if done() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Err(Failure(format!("waited in vain for {what}")))
}

fn failed<T: Debug>(outcome: Result<T, CallError>) -> Result<CallError, Failure> {
    outcome.map_or_else(Ok, |value| Err(Failure(format!("it did not fail, but gave {value:?}"))))
}

impl Pair<'_> {
    async fn run(&self, case: &str) -> Outcome {
        match case.split_once('.') {
            Some(("rpc", rest)) => self.rpc(rest).await,
            Some(("auth", rest)) => self.auth(rest).await,
            Some(("pubsub", rest)) => self.pubsub(rest).await,
            Some(("config", rest)) => self.config(rest).await,
            Some(("health", rest)) => self.health(rest).await,
            Some(("peers", rest)) => self.peers(rest).await,
            _ => self.small(case).await,
        }
    }

    fn call(&self, method: &str) -> volttron_client::Call {
        self.tester.call(self.mate.identity(), method).timeout(PATIENCE)
    }

    async fn rpc(&self, case: &str) -> Outcome {
        match case {
            "positional" => same(self.call("add").arg(1).arg(2).send::<i64>().await?, 3),
            "keyword" => same(self.call("add").named("a", 1).named("b", 2).send::<i64>().await?, 3),
            "mixed" => same(self.call("add").arg(1).named("b", 2).send::<i64>().await?, 3),
            "default" => same(self.call("add").arg(1).send::<i64>().await?, 11),
            "values" => {
                for value in serde_json::from_str::<Vec<Value>>(VALUES)? {
                    same(self.call("echo").arg(&value).send_value().await?, value)?;
                }
                Ok(())
            }
            "exception" => {
                let error = failed(self.call("fail").arg("boo").send_value().await)?;
                same(error.exc_type(), Some("builtins.ValueError"))?;
                holds(error.to_string().contains("boo"), || error.to_string())
            }
            "wrong_arguments" => {
                let error = failed(self.call("add").send_value().await)?;
                same(error.exc_type(), Some("builtins.TypeError"))
            }
            "unknown_method" => {
                let error = failed(self.call("nothing").send_value().await)?;
                same(error.kind(), CallErrorKind::NoSuchMethod)
            }
            "unreachable" => {
                let call = self.tester.call("nobody", "x").timeout(Duration::from_secs(2));
                same(failed(call.send_value().await)?.kind(), CallErrorKind::Unreachable)
            }
            "notify" => {
                self.call("note").arg("hear").notify().await?;
                loop {
                    if self.call("noted").send::<Vec<String>>().await?.iter().any(|note| note == "hear") {
                        return Ok(());
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
            "batch" => self.batch().await,
            "parallel" => {
                let waiting = tokio::spawn(self.call("wait_for_release").send::<bool>());
                self.call("release").send::<()>().await?;
                same(waiting.await??, true)
            }
            "inspect" => {
                let methods = self.tester.inspect(self.mate.identity()).await?;
                let wanted = [
                    "add",
                    "guarded",
                    "agent.version",
                    "health.get_status",
                    "heartbeat.start",
                    "config.update",
                ];
                holds(wanted.iter().all(|w| methods.iter().any(|m| m == w)), || format!("{methods:?}"))
            }
            "inspect_method" => {
                let told = self.tester.inspect_method(self.mate.identity(), "add").await?;
                let names: Vec<&str> =
                    told["params"].as_object().into_iter().flatten().map(|p| p.0.as_str()).collect();
                same(names, vec!["a", "b"])?;
                same(&told["params"]["b"], &json!({"kind": "POSITIONAL_OR_KEYWORD", "default": 10}))
            }
            other => Err(Failure(format!("no such case: rpc.{other}"))),
        }
    }

    async fn batch(&self) -> Outcome {
        let one = |value: Value| Params::Positional(vec![value]);
        let batch = self.tester.batch(self.mate.identity()).call("add", one(json!(1)));
        let batch = batch.notify("note", one(json!("batched"))).call("fail", one(json!("boo")));
        let outcomes = batch.timeout(PATIENCE).send().await?;
        same(outcomes.len(), 2)?;
        same(outcomes[0].clone()?, json!(11))?;
        same(failed(outcomes[1].clone())?.exc_type(), Some("builtins.ValueError"))?;
        let notes: Vec<String> = self.call("noted").send().await?;
        holds(notes.iter().any(|note| note == "batched"), || format!("{notes:?}"))
    }

    async fn auth(&self, case: &str) -> Outcome {
        match case {
            "refused" => {
                let error = failed(self.call("guarded").send_value().await)?;
                same(error.kind(), CallErrorKind::Denied)?;
                let text = error.to_string();
                holds(text.contains("requires capabilities {'probe_secret'}"), || text.clone())
            }
            "allowed" => {
                let call = self.mate.call(self.tester.identity(), "guarded").timeout(PATIENCE);
                same(call.send::<String>().await?.as_str(), "seen")
            }
            "parameter_allowed" => {
                same(self.call("unit_only").arg("a").send::<String>().await?.as_str(), "a")
            }
            "parameter_refused" => {
                let error = failed(self.call("unit_only").arg("b").send_value().await)?;
                same(error.kind(), CallErrorKind::Denied)?;
                let text = error.to_string();
                let want = "can call method unit_only only with unit=a but called with unit=b";
                holds(text.contains(want), || text.clone())
            }
            other => Err(Failure(format!("no such case: auth.{other}"))),
        }
    }

    async fn listen(&self, prefix: &str) -> Result<Subscription, Failure> {
        Ok(self.mate.subscribe(prefix).await?)
    }

    async fn pubsub(&self, case: &str) -> Outcome {
        let (tester, mate) = (&self.tester, &self.mate);
        match case {
            "delivery" => {
                let mut listener = self.listen("four/a").await?;
                let message = json!([{"t": 21.5, "on": true, "name": "\u{e9}"}, {"t": {"units": "C"}}]);
                let mut headers = Headers::default();
                headers.set("TimeStamp", "2026-03-04T17:05:00.412331+00:00");
                same(tester.publish_with("four/a/b", headers, &message).await?, 1)?;
                let got = next(&mut listener).await?;
                same(
                    (got.sender.as_str(), got.bus.as_str(), got.topic.as_str()),
                    (tester.identity(), "", "four/a/b"),
                )?;
                same(got.json::<Value>()?, message)?;
                same(
                    Value::from(got.headers),
                    json!({"TimeStamp": "2026-03-04T17:05:00.412331+00:00", "min_compatible_version": "3.0",
                        "max_compatible_version": ""}),
                )
            }
            "prefix" => {
                let mut listener = self.listen("four/p").await?;
                for (topic, count) in [("four/p", 1), ("four/pq/r", 1), ("four/o", 0), ("xfour/p", 0)] {
                    same(tester.publish(topic, topic).await?, count)?;
                }
                same(next(&mut listener).await?.topic.as_str(), "four/p")?;
                same(next(&mut listener).await?.topic.as_str(), "four/pq/r")
            }
            "own" => {
                let mut listener = tester.subscribe("four/own").await?;
                same(tester.publish("four/own", &5).await?, 1)?;
                same(next(&mut listener).await?.json::<i64>()?, 5)
            }
            "once" => {
                let (mut wide, mut narrow) = (self.listen("four/o").await?, self.listen("four/once").await?);
                same(tester.publish("four/once", &1).await?, 1)?;
                same(next(&mut wide).await?.json::<i64>()?, 1)?;
                same(next(&mut narrow).await?.json::<i64>()?, 1)
            }
            "unsubscribe" => {
                let (mut kept, gone) = (self.listen("four/kept").await?, self.listen("four/gone").await?);
                mate.unsubscribe(gone).await?;
                same(tester.publish("four/kept", &1).await?, 1)?;
                same(tester.publish("four/gone", &1).await?, 0)?;
                next(&mut kept).await.map(drop)
            }
            "bus" => {
                let options = SubscribeOptions { bus: "other".into(), ..SubscribeOptions::default() };
                let mut listener = mate.subscribe_with("four/bus", options).await?;
                same(tester.publish("four/bus", &1).await?, 0)?;
                same(tester.publish_on_bus("other", "four/bus", Headers::default(), &2).await?, 1)?;
                let got = next(&mut listener).await?;
                same((got.json::<i64>()?, got.bus.as_str()), (2, "other"))
            }
            "list" => {
                let _listener = self.listen("four/list").await?;
                let listed = mate.subscriptions_at_router("four/list", "").await?;
                same(listed, vec![(String::new(), "four/list".to_owned(), true)])
            }
            "protected_refused" => {
                let mut listener = self.listen("guarded/").await?;
                match tester.publish("guarded/x", &1).await {
                    Err(PublishError::Denied(text)) => holds(text.contains("guarded/x"), || text.clone())?,
                    other => return Err(Failure(format!("{other:?}"))),
                }
                // The answer to a publish comes after its deliveries.
                holds(listener.try_next().is_none(), || "it was delivered".into())
            }
            "protected_allowed" => {
                let mut listener = tester.subscribe("guarded/").await?;
                same(mate.publish("guarded/x", &1).await?, 1)?;
                next(&mut listener).await.map(drop)
            }
            other => Err(Failure(format!("no such case: pubsub.{other}"))),
        }
    }

    fn events(&self) -> Vec<Value> {
        self.unit.configured.lock().map_or_else(|_| Vec::new(), |events| events.clone())
    }

    fn forget_events(&self) {
        if let Ok(mut events) = self.unit.configured.lock() {
            events.clear();
        }
    }

    async fn config(&self, case: &str) -> Outcome {
        let config = self.tester.config();
        match case {
            "initial" => {
                let table = json!([{"Point": "A", "Unit": "F"}]);
                until("the configuration", || self.events().len() >= 3).await?;
                let events = self.events();
                for event in [
                    json!(["NEW", "config", {"interval": 5, "table": table}]),
                    json!(["NEW", "points.csv", table]),
                    json!(["NEW", "defaulted", {"d": 1}]),
                ] {
                    holds(events.contains(&event), || format!("{event} is missing: {events:?}"))?;
                }
                same(&events[0][1], &json!("config"))
            }
            "get" => {
                same(&config.get::<Value>("CONFIG").await?["interval"], &json!(5))?;
                same(config.get::<Value>("defaulted").await?, json!({"d": 1}))?;
                let mut names = config.list().await?;
                names.sort();
                same(names, ["config", "defaulted", "points.csv"].map(str::to_owned).to_vec())?;
                holds(config.get::<Value>("nothing").await.is_err(), || "it is there".into())
            }
            "set_and_delete" => {
                self.forget_events();
                config.set("own", &json!({"k": 1})).await?;
                same(config.get::<Value>("own").await?, json!({"k": 1}))?;
                same(self.events(), vec![])?;
                config.set_with("own", json!({"k": 2}), true).await?;
                config.delete_with("own", true).await?;
                until("the callbacks", || self.events().len() >= 2).await?;
                same(
                    self.events(),
                    vec![json!(["UPDATE", "own", {"k": 2}]), json!(["DELETE", "own", null])],
                )?;
                holds(!config.list().await?.contains(&"own".to_owned()), || "it is still listed".into())
            }
            "reference" => {
                config.set("target", &json!({"v": 1})).await?;
                config.set("link", &json!({"to": "config://target"})).await?;
                same(config.get::<Value>("link").await?, json!({"to": {"v": 1}}))?;
                self.forget_events();
                config.set_with("target", json!({"v": 2}), true).await?;
                until("the callbacks", || self.events().len() >= 2).await?;
                let mut events = self.events();
                events.sort_by_key(|event| event[1].to_string());
                same(
                    events,
                    vec![json!(["UPDATE", "link", {"to": {"v": 2}}]), json!(["UPDATE", "target", {"v": 2}])],
                )?;
                let Err(error) = config.set("target", &json!({"loop": "config://link"})).await else {
                    return Err(Failure("a circle was accepted".into()));
                };
                let text = error.to_string();
                holds(text.contains("Recursive configuration references detected"), || text.clone())?;
                config.delete("link").await?;
                Ok(config.delete("target").await?)
            }
            "foreign" => {
                let call = self.tester.call(self.tester.service("config.store"), "set_config");
                let call =
                    call.arg(self.mate.identity()).arg("config").arg("{}").arg("json").timeout(PATIENCE);
                let text = failed(call.send_value().await)?.to_string();
                holds(text.contains("can call method set_config only with identity"), || text.clone())
            }
            other => Err(Failure(format!("no such case: config.{other}"))),
        }
    }

    async fn health(&self, case: &str) -> Outcome {
        let health = self.tester.health();
        let topic = format!("heartbeat/{}", self.tester.identity());
        let ask = |method: &str| self.mate.call(self.tester.identity(), method).timeout(PATIENCE);
        match case {
            "status" => {
                health.set(Status::Bad, "no data");
                let told = ask("health.get_status").send_value().await?;
                same((&told["status"], &told["context"]), (&json!("BAD"), &json!("no data")))?;
                ask("health.set_status").arg("GOOD").send_value().await?;
                same(&ask("health.get_status_json").send_value().await?["status"], &json!("GOOD"))
            }
            "heartbeat" => {
                let mut listener = self.listen(&topic).await?;
                health.set(Status::Bad, "no data");
                let got = next(&mut listener).await?;
                same((got.topic.as_str(), got.json::<String>()?.as_str()), (topic.as_str(), "BAD"))?;
                holds(got.headers.get("TimeStamp").is_some(), || format!("{:?}", got.headers))?;
                health.set(Status::Good, Value::Null);
                same(next(&mut listener).await?.json::<String>()?.as_str(), "GOOD")
            }
            "heartbeat_period" => {
                let mut listener = self.listen(&topic).await?;
                ask("heartbeat.start_with_period").arg(0.2).send_value().await?;
                for _ in 0..3 {
                    same(next(&mut listener).await?.json::<String>()?.as_str(), "GOOD")?;
                }
                ask("heartbeat.stop").send_value().await?;
                ask("heartbeat.start_with_period").arg(60).send_value().await?;
                Ok(())
            }
            "alert" => {
                let mut listener = self.listen("alerts/").await?;
                health.alert("key1", Status::Bad, "hot").await?;
                let got = next(&mut listener).await?;
                let who =
                    format!("{}.{}", self.world.site.instance, self.tester.identity()).replace('.', "_");
                same(got.topic.clone(), format!("alerts/Unit/{who}"))?;
                same(got.headers.get("alert_key"), Some(&json!("key1")))?;
                let status: Value = serde_json::from_str(&got.json::<String>()?)?;
                same((&status["status"], &status["context"]), (&json!("BAD"), &json!("hot")))
            }
            "platform" => {
                let call = self.tester.call("platform.health", "get_platform_health").timeout(PATIENCE);
                let all = call.send_value().await?;
                same(&all[self.mate.identity()]["peer"], &json!(self.mate.identity()))
            }
            other => Err(Failure(format!("no such case: health.{other}"))),
        }
    }

    async fn peers(&self, case: &str) -> Outcome {
        if case == "list" {
            let peers = self.tester.peerlist().await?;
            let store = self.tester.service("config.store");
            let wanted = [self.tester.identity(), self.mate.identity(), "platform.auth", store];
            return holds(wanted.iter().all(|w| peers.contains(*w)), || format!("{peers:?}"));
        }
        let mut events = self.tester.peer_events();
        let guest = self.world.name("guest");
        let (_, handle): (_, AgentHandle) = connect(self.world, "guest").await;
        announced(&mut events, &PeerEvent::Added(guest.clone())).await?;
        handle.stop().await;
        if case == "drop" {
            announced(&mut events, &PeerEvent::Dropped(guest.clone())).await?;
            let peers = self.tester.peerlist().await?;
            holds(!peers.contains(&guest), || format!("{peers:?}"))?;
        }
        Ok(())
    }

    /// Channel, ping, hello and query.
    async fn small(&self, case: &str) -> Outcome {
        match case {
            "channel.exchange" => {
                let mut near = self.tester.channel_named(self.mate.identity(), "four_ways")?;
                let mut far = self.mate.channel_named(self.tester.identity(), "four_ways")?;
                let some = vec![Bytes::from_static(b"a"), Bytes::from_static(b"\xff\x00 b")];
                near.send(some.clone()).await?;
                same(tokio::time::timeout(PATIENCE, far.recv()).await?, Some(Ok(some)))?;
                let many = vec![Bytes::from(vec![b'x'; 100_000])];
                far.send(many.clone()).await?;
                same(tokio::time::timeout(PATIENCE, near.recv()).await?, Some(Ok(many)))
            }
            "ping.router" => same(
                self.tester.ping("", &["some", "data"]).await?,
                ["some", "data"].map(Bytes::from).to_vec(),
            ),
            "ping.peer" => {
                let answer = self.tester.ping(self.mate.identity(), &["some", "data"]).await?;
                same(answer, ["some", "data"].map(Bytes::from).to_vec())
            }
            "hello.router" => {
                let welcome = self.tester.hello("").await?;
                same((welcome.version.as_str(), welcome.requester.as_str()), ("1.0", self.tester.identity()))
            }
            "query.known" => {
                let instance = self.tester.query("instance-name").await?;
                same(instance.as_deref(), Some(self.world.site.instance))?;
                same(self.tester.query("message-bus").await?.as_deref(), Some("zmq"))
            }
            "query.unknown" => same(self.tester.query("no-such-key").await?, None),
            other => Err(Failure(format!("no such case: {other}"))),
        }
    }
}

async fn announced(events: &mut Receiver<PeerEvent>, wanted: &PeerEvent) -> Outcome {
    while tokio::time::timeout(PATIENCE, events.recv()).await?? != *wanted {}
    Ok(())
}
