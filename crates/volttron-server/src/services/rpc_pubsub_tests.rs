use volttron_client::testing::TestPlatform;
use volttron_client::{AgentHandle, Call, CallError, Connection};
use volttron_utils::home::Home;

use super::*;
use crate::auth::AuthOptions;

fn service() -> (tempfile::TempDir, RpcPubSub) {
    let dir = tempfile::tempdir().unwrap();
    let protected = json!({"write-protect": [{"topic": "guarded", "capabilities": ["may_write"]}]});
    std::fs::write(dir.path().join("protected_topics.json"), protected.to_string()).unwrap();
    let home = Home::new(dir.path()).unwrap();
    let auth = AuthState::open(&home, AuthOptions::default()).unwrap();
    (dir, RpcPubSub::new(auth))
}

/// The service on a bus, and an agent that calls it.
async fn bus() -> (tempfile::TempDir, TestPlatform, AgentHandle, Connection) {
    let (dir, service) = service();
    let platform = TestPlatform::new().await;
    let handle = platform.agent("pubsub", service).await;
    let old = platform.peer("old").await;
    (dir, platform, handle, old)
}

async fn call(from: &Cx, method: &str, args: Value) -> Result<Value, CallError> {
    let args = args.as_array().unwrap().clone();
    args.into_iter().fold(from.call("pubsub", method), Call::arg).send_value().await
}

async fn listed(from: &Cx) -> Value {
    call(from, "pubsub.list", json!(["", null])).await.unwrap()
}

#[tokio::test]
async fn shapes_that_are_not_prefixes_are_refused_and_change_nothing() {
    let (_dir, _platform, _service, old) = bus().await;
    call(&old, "pubsub.subscribe", json!([["a", "b"], ""])).await.unwrap();
    let before = listed(&old).await;
    assert_eq!(before, json!([["", "a", true], ["", "b", true]]));
    for (method, args) in [
        ("pubsub.subscribe", json!([null])),
        ("pubsub.subscribe", json!([5])),
        ("pubsub.subscribe", json!([{"c": 1}])),
        ("pubsub.subscribe", json!([["c", 5]])),
        ("pubsub.subscribe", json!(["c", 5])),
        ("pubsub.subscribe", json!([])),
        ("pubsub.unsubscribe", json!([5])),
        ("pubsub.unsubscribe", json!([["a", null]])),
        ("pubsub.unsubscribe", json!(["a", []])),
        ("pubsub.sync", json!([[]])),
        ("pubsub.sync", json!(["a"])),
        ("pubsub.sync", json!([{"": 5}])),
        ("pubsub.sync", json!([{"": ["a"], "other": [1]}])),
        ("pubsub.sync", json!([{"": ["a"], "platform": {"": ["c"], "other": null}}])),
        ("pubsub.list", json!([5])),
        ("pubsub.list", json!(["", "", "yes"])),
        ("pubsub.publish", json!(["t", []])),
        ("pubsub.publish", json!([5, {}])),
        ("pubsub.publish", json!(["t", {}, null, 5])),
    ] {
        let shown = args.to_string();
        let error = call(&old, method, args).await.expect_err(&format!("{method} {shown}"));
        assert!(error.exc_type().is_some(), "{method} {shown}: {error}");
        assert_eq!(listed(&old).await, before, "{method} {shown}");
    }
}

#[tokio::test]
async fn subscriptions_are_those_of_the_last_synchronisation() {
    let (_dir, platform, _service, old) = bus().await;
    let other = platform.peer("other").await;
    call(&other, "pubsub.subscribe", json!(["a"])).await.unwrap();
    for (items, want) in [
        (json!({"": "a"}), json!([["", "a", true]])),
        (json!({"": ["a", "ab"]}), json!([["", "a", true], ["", "ab", true]])),
        // With platforms, as newer clients write it.
        (json!({"internal": {"": ["b"], "bus": ["c"]}}), json!([["", "b", true], ["bus", "c", true]])),
        (json!({"": [], "internal": {"": ["b"]}}), json!([["", "b", true]])),
        (json!({}), json!([])),
    ] {
        call(&old, "pubsub.sync", json!([items])).await.unwrap();
        assert_eq!(listed(&old).await, want, "{items}");
        assert_eq!(listed(&other).await, json!([["", "a", true]]), "of others nothing changes");
    }
    call(&old, "pubsub.subscribe", json!(["ab"])).await.unwrap();
    for (args, want) in [
        (json!(["", null, false]), json!([["", "a", false], ["", "ab", true]])),
        (json!(["ab", "", false]), json!([["", "ab", true]])),
        (json!(["abc", "", false, true]), json!([["", "a", false], ["", "ab", true]])),
        (json!(["", "bus", false]), json!([])),
    ] {
        assert_eq!(call(&old, "pubsub.list", args.clone()).await.unwrap(), want, "{args}");
    }
    call(&old, "pubsub.unsubscribe", json!([null, "bus"])).await.unwrap();
    assert_eq!(listed(&old).await, json!([["", "ab", true]]));
    call(&old, "pubsub.unsubscribe", json!([null])).await.unwrap();
    assert_eq!(listed(&old).await, json!([]));
}

#[tokio::test]
async fn publishing_takes_what_old_agents_send_and_asks_for_their_rights() {
    let (_dir, platform, _service, old) = bus().await;
    let mut seen = platform.watch("t").await;
    for (args, want) in [
        (json!(["t/1", {}]), json!(null)),
        (json!(["t/2", null, [1.5, "x"]]), json!([1.5, "x"])),
        (json!(["t/3", {"a": 1}, {"b": 2}, ""]), json!({"b": 2})),
    ] {
        let topic = args[0].as_str().unwrap().to_owned();
        assert_eq!(call(&old, "pubsub.publish", args).await.unwrap(), 1, "{topic}");
        seen.assert_published(&topic, &want).await;
    }
    let error = call(&old, "pubsub.publish", json!(["guarded", {}, 1])).await.unwrap_err();
    assert!(error.to_string().contains("requires capabilities"), "{error}");
}

#[test]
fn subscriptions_are_bounded_over_all_agents() {
    let (_dir, service) = service();
    let key = |n: usize| (String::new(), format!("t/{n}"));
    for n in 0..MAX_SUBSCRIPTIONS {
        assert!(service.add(&key(n), &format!("agent.{}", n % 7)).unwrap().is_some());
    }
    let full = service.add(&key(0), "eve").unwrap_err();
    assert!(full.to_string().contains("exist already"), "{full}");
    service.remove("agent.3", |(_, prefix)| prefix == "t/3");
    assert!(service.add(&key(0), "eve").unwrap().is_none(), "the router knows that prefix");
    let mut audience = service.audience(&key(0), "t/0/x");
    audience.sort();
    assert_eq!(audience, ["agent.0", "eve"]);
    assert_eq!(service.audience(&key(3), "t/3"), [""; 0], "nobody is left");
}
