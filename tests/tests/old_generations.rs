//! Agents of other generations on our platform: what they put on the wire, sent as they send it, from a bare socket.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use volttron_client::Connection;
use volttron_client::link::zmq::ZmqConnector;
use volttron_client::link::{Connector, Link, LinkEvent, Message};
use volttron_tests::platform::Platform;
use volttron_tests::probe;
use volttron_utils::keys::KeyPair;

const PATIENCE: Duration = Duration::from_secs(20);

/// A bare DEALER that said hello and sends what it is told.
struct Bare(Link);

impl Bare {
    async fn connect(platform: &Platform, identity: &str, keys: KeyPair) -> Self {
        let address = platform.address().parse().expect("an address");
        let connector = ZmqConnector::new(address).expect("a connector").keys(keys);
        let connector = connector.serverkey(platform.server_key().parse().expect("a key"));
        let mut bare = Self(connector.connect(identity).await.expect("a socket"));
        let first = bare.event().await;
        assert!(matches!(first, LinkEvent::Up(_)), "{first:?}");
        bare
    }

    async fn event(&mut self) -> LinkEvent {
        let event = tokio::time::timeout(PATIENCE, self.0.rx.recv()).await;
        event.expect("nothing came").expect("the connection ended")
    }

    async fn send(&self, frames: &[&[u8]]) {
        let mut all: Vec<Bytes> = frames.iter().map(|f| Bytes::copy_from_slice(f)).collect();
        all.insert(1, Bytes::from_static(b"VIP1"));
        self.0.tx.send(Message::from_frames(all).expect("a message")).await.expect("the socket takes it");
    }

    /// The next message of `subsystem`; others, such as peers coming and going, are passed over.
    async fn receive(&mut self, subsystem: &str) -> Message {
        loop {
            match self.event().await {
                LinkEvent::Message(message) if message.subsystem == subsystem => return message,
                LinkEvent::Message(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// An RPC call with the id form of Python 9.x, and its answer.
    async fn call(&mut self, peer: &str, method: &str, params: Value) -> Value {
        let id = "1795195434.000000.8747492750799.000000";
        let request = json!({"jsonrpc": "2.0", "method": method, "params": params, "id": id}).to_string();
        self.send(&[peer.as_bytes(), b"", b"1795195434.8747492750799", b"RPC", request.as_bytes()]).await;
        loop {
            let message = self.receive("RPC").await;
            let answer: Value = serde_json::from_slice(&message.args[0]).expect("JSON");
            if answer["id"] == id {
                // A number as id is changed by nobody on the way.
                assert_eq!(message.id, "1795195434.8747492750799");
                return answer;
            }
        }
    }

    /// The next `pubsub.push`: its parameters.
    async fn pushed(&mut self) -> Value {
        loop {
            let message = self.receive("RPC").await;
            let mut push: Value = serde_json::from_slice(&message.args[0]).expect("JSON");
            if push["method"] == "pubsub.push" {
                assert_eq!((message.peer_str().as_ref(), push.get("id")), ("pubsub", None));
                return push["params"].take();
            }
        }
    }
}

async fn ours(platform: &Platform, keys: KeyPair) -> Connection {
    probe::peer("new", &platform.address(), &platform.server_key(), keys).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hello_pubsub_and_calls_of_9_x_frame_by_frame() {
    let mut platform = Platform::prepare();
    let (old_keys, new_keys) = (platform.admit("old", &json!({})), platform.admit("new", &json!({})));
    platform.launch();
    let mut old = Bare::connect(&platform, "old", old_keys).await;
    let new = ours(&platform, new_keys).await;

    // Hello again, with a word and without; with the id of another generation.
    for (id, args) in [(&b"connect.hello.7"[..], &[&b"hello"[..]][..]), (b"17.5", &[]), (b"", &[b"hi", b"x"])]
    {
        let mut frames: Vec<&[u8]> = vec![b"", b"", id, b"hello"];
        frames.extend(args);
        old.send(&frames).await;
        let welcome = old.receive("hello").await;
        assert_eq!((welcome.peer_str(), welcome.user_str()), ("".into(), "old".into()));
        assert_eq!(welcome.id.as_ref(), id);
        let args: Vec<_> = welcome.args.iter().map(Bytes::as_ref).collect();
        assert_eq!((args.len(), args[0], args[1], args[3]), (4, &b"welcome"[..], &b"1.0"[..], &b"old"[..]));
    }

    // Publish and subscribe, with ids that are numbers; the values of the replies raw, as Python reads them.
    let subscribe = br#"{"prefix": "devices/a", "bus": "", "all_platforms": false}"#;
    old.send(&[b"", b"", b"1795195434.5", b"pubsub", b"subscribe", subscribe]).await;
    let reply = old.receive("pubsub").await;
    assert_eq!((reply.id_str(), reply.user_str()), ("1795195434.5".into(), "old".into()));
    assert_eq!(reply.args, [&b"request_response"[..], &[1]]);
    let body =
        br#"{"bus": "", "headers": {"min_compatible_version": "3.0"}, "message": [1.5, {"a": "\u00e9"}]}"#;
    // 11.x writes its own identity where 9.x leaves the user empty.
    for user in [&b""[..], b"old"] {
        old.send(&[b"", user, b"12", b"pubsub", b"publish", b"devices/abc", body]).await;
        let delivery = old.receive("pubsub").await;
        assert_eq!((delivery.id_str(), delivery.user.as_ref()), ("12".into(), user));
        assert_eq!(delivery.arg_str(1).as_deref(), Some("devices/abc"));
        let delivered: Value = serde_json::from_slice(&delivery.args[2]).expect("JSON");
        assert_eq!(
            (&delivered["sender"], &delivered["message"]),
            (&json!("old"), &json!([1.5, {"a": "\u{e9}"}]))
        );
        let count = old.receive("pubsub").await;
        assert_eq!(count.args, [&b"request_response"[..], &[1, 0, 0, 0]]);
    }
    // The legacy flat form.
    old.send(&[b"", b"", b"u1", b"pubsub", b"unsubscribe", br#"{"prefix": ["devices/a"], "bus": ""}"#]).await;
    assert_eq!(old.receive("pubsub").await.args, [&b"request_response"[..], &[1]]);
    assert_eq!(new.publish("devices/abc", &1).await.expect("published"), 0);

    // Calls with a number as message id; services under the names of both generations.
    for service in ["control", "platform.control", "config.store", "platform.config_store", "platform.health"]
    {
        let answer = old.call(service, "health.get_status", json!([])).await;
        assert_eq!(answer["result"]["status"], "GOOD", "{service}: {answer}");
    }
    // An error for a call with such an id carries it back unchanged.
    old.send(&[b"nobody", b"", b"1795195434.25", b"RPC", b"{}"]).await;
    let error = old.receive("error").await;
    assert_eq!(error.id, "1795195434.25");
    assert_eq!(error.args, [&b"113"[..], b"No route to host", b"nobody", b"RPC"]);

    // An agent answers us in each form Python routers make of numbers.
    let hello = tokio::spawn({
        let cx = (*new).clone();
        async move { cx.hello("old").await }
    });
    let asked = old.receive("hello").await;
    old.send(&[b"new", b"", &asked.id, b"hello", b"welcome", &[0, 0, 0x80, 0x3f], b"old", b"new"]).await;
    let welcome = hello.await.expect("no panic").expect("welcomed");
    assert_eq!((welcome.version.as_str(), welcome.responder.as_str()), ("1.0", "old"));
    let hello = tokio::spawn({
        let cx = (*new).clone();
        async move { cx.hello("old").await }
    });
    let asked = old.receive("hello").await;
    // 11.x: eight bytes.
    old.send(&[b"new", b"", &asked.id, b"hello", b"welcome", &1f64.to_le_bytes(), b"old", b"new"]).await;
    assert_eq!(hello.await.expect("no panic").expect("welcomed").version, "1.0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_from_before_5_0_publish_and_subscribe_with_calls() {
    let mut platform = Platform::prepare();
    platform.configure("rpc-pubsub = True");
    let (old_keys, new_keys) = (platform.admit("old", &json!({})), platform.admit("new", &json!({})));
    let protected = json!({"write-protect": [{"topic": "guarded", "capabilities": ["may_write"]}]});
    std::fs::write(platform.home().join("protected_topics.json"), protected.to_string()).expect("write");
    platform.launch();
    let mut old = Bare::connect(&platform, "old", old_keys).await;
    let new = ours(&platform, new_keys).await;
    assert!(new.peers().contains("pubsub"), "{:?}", new.peers());

    let answer = old.call("pubsub", "pubsub.subscribe", json!({"prefix": "devices/", "bus": ""})).await;
    assert_eq!(answer["result"], Value::Null, "{answer}");
    old.call("pubsub", "pubsub.subscribe", json!({"prefix": ["devices/a", "x"], "bus": ""})).await;
    let listed = old.call("pubsub", "pubsub.list", json!(["", "", true, false])).await;
    assert_eq!(listed["result"], json!([["", "devices/", true], ["", "devices/a", true], ["", "x", true]]));
    // Several prefixes match; it comes once.
    assert_eq!(new.publish("devices/a/b", &json!({"t": 21.5})).await.expect("published"), 1);
    new.publish("x", &"next").await.expect("published");
    let first = old.pushed().await;
    assert_eq!((&first[0], &first[2]), (&json!("new"), &json!("devices/a/b")), "{first}");
    assert_eq!(first[3]["min_compatible_version"], "3.0");
    assert_eq!(first[4], json!({"t": 21.5}));
    assert_eq!(old.pushed().await[4], "next");

    // Publishing reaches agents of today.
    let mut seen = new.subscribe("from/old").await.expect("subscribed");
    let message = json!({"topic": "from/old/1", "headers": {"TimeStamp": "t"}, "message": [1], "bus": ""});
    let answer = old.call("pubsub", "pubsub.publish", message).await;
    assert_eq!(answer["result"], 1, "{answer}");
    let got = seen.next().await.expect("delivered");
    assert_eq!((got.topic.as_str(), got.json::<Value>().expect("JSON")), ("from/old/1", json!([1])));
    assert_eq!(got.headers.get("TimeStamp"), Some(&json!("t")));
    // The caller's rights count, not the service's.
    let answer = old.call("pubsub", "pubsub.publish", json!(["guarded", {}, 1, ""])).await;
    let detail = answer["error"]["data"]["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("to publish to topic \"guarded\" requires capabilities"), "{answer}");

    // Unsubscribing, synchronising, and leaving.
    old.call("pubsub", "pubsub.unsubscribe", json!({"prefix": "devices/", "bus": ""})).await;
    old.call("pubsub", "pubsub.sync", json!([{"": ["y"], "internal": {"other": ["z"]}}])).await;
    let listed = old.call("pubsub", "pubsub.list", json!({"bus": null})).await;
    assert_eq!(listed["result"], json!([["", "y", true], ["other", "z", true]]));
    assert_eq!(new.publish("x", &1).await.expect("published"), 0);
    drop(old);
    volttron_tests::wait::until("the old agent's subscriptions to go", PATIENCE, || {
        let publish = new.publish("y", &1);
        let count = tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(publish));
        (count.expect("published") == 0).then_some(())
    });
}

/// Without the option nobody is called `pubsub`, and nobody may call himself so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_name_of_the_bus_is_not_for_agents() {
    let mut platform = Platform::prepare();
    let (keys, new_keys) = (platform.admit("pubsub", &json!({})), platform.admit("new", &json!({})));
    platform.launch();
    let address = platform.address().parse().expect("an address");
    let connector = ZmqConnector::new(address).expect("a connector").keys(keys);
    let connector = connector.serverkey(platform.server_key().parse().expect("a key"));
    let connector = connector.hello_deadline(Duration::from_secs(2));
    let mut link = connector.connect("pubsub").await.expect("a socket");
    let event = tokio::time::timeout(PATIENCE, link.rx.recv()).await.expect("nothing came");
    assert!(matches!(&event, Some(LinkEvent::Down(_))), "{event:?}");
    let new = ours(&platform, new_keys).await;
    assert!(!new.peers().contains("pubsub"));
}
