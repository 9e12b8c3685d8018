//! Every operation of the router.

use std::fs;

use bytes::Bytes;
use serde_json::json;
use volttron_client::{CallError, Connection, PublishError};
use volttron_router::{Operation, Who};
use volttron_utils::vip::Message;

use crate::state::State;
use crate::{Intruder, World, eventually, settled};

/// What is open to everybody; operations of the router stand there as `router SUBSYSTEM [OPERATION]`.
const OPEN: &str = include_str!("open.txt");

fn bytes(parts: &[&str]) -> Vec<Bytes> {
    parts.iter().map(|part| Bytes::copy_from_slice(part.as_bytes())).collect()
}

/// Arguments with which the request would do harm if it were obeyed.
fn harmful(operation: Operation) -> Vec<Bytes> {
    let own = r#"{"bus": "", "prefix": "own"}"#;
    let grant =
        r#"{"capabilities": {"alice": {"none_has_this": null}, "stranger": {"none_has_this": null}}}"#;
    let publish = r#"{"bus": "", "headers": {}, "message": 1}"#;
    match operation {
        Operation::Hello => bytes(&["hello"]),
        Operation::Ping => bytes(&["ping", "data"]),
        Operation::Peerlist => bytes(&["list"]),
        Operation::Query => bytes(&["platform-version"]),
        Operation::Error => bytes(&["113", "No route to host", "victim.too", "RPC"]),
        Operation::Publish => bytes(&["publish", "protected/x", publish]),
        Operation::Subscribe => bytes(&["subscribe", own]),
        Operation::Unsubscribe => bytes(&["unsubscribe", own]),
        Operation::Synchronize => bytes(&["synchronize", "connected", r#"{"subscriptions": {}}"#]),
        Operation::List => {
            bytes(&["list", r#"{"bus": "", "prefix": "", "subscribed": true, "reverse": false}"#])
        }
        Operation::PubsubAnswer => bytes(&["request_response", "\u{1}"]),
        Operation::PubsubError => bytes(&["error", "-32001", "x"]),
        Operation::AuthUpdate => bytes(&["auth_update", grant]),
        Operation::ProtectedUpdate => bytes(&["protected_update", r#"{"write-protect": []}"#]),
        Operation::ExternalList => bytes(&["external_list", r#"{"evil": {"": ["own"]}}"#]),
        Operation::ExternalPublish => bytes(&["external_publish", "own/x", publish]),
        Operation::AgentStop => bytes(&["victim.too"]),
        Operation::Quit => Vec::new(),
        Operation::RoutingTable => bytes(&["hello", "hello", "evil"]),
        Operation::ExternalRpc => bytes(&["send_platform", r#"{"to_platform": "evil"}"#]),
    }
}

/// Whether the sender waits for an answer.
fn is_answered(operation: Operation) -> bool {
    !matches!(
        operation,
        Operation::Error
            | Operation::Synchronize
            | Operation::PubsubAnswer
            | Operation::PubsubError
            | Operation::AuthUpdate
            | Operation::ProtectedUpdate
            | Operation::ExternalPublish
            | Operation::AgentStop
            | Operation::RoutingTable
    )
}

/// Asks for it as a message, and waits until the router has dealt with it.
async fn ask(who: &Connection, operation: Operation) -> Option<Result<Vec<Bytes>, CallError>> {
    let (subsystem, _) = operation.name();
    let args = harmful(operation);
    if is_answered(operation) {
        return Some(who.router_request(subsystem, args).await);
    }
    let mut message = Message::new("", subsystem);
    message.args = args;
    who.raw_send(message).await.expect("sent");
    // The router takes the messages of one connection in order.
    who.peerlist().await.expect("the platform answers");
    None
}

async fn attempt(world: &World, who: &Intruder, victim: &Connection) {
    let mut heard = victim.subscribe("own").await.expect("subscribed");
    for &operation in Operation::ALL {
        let before = State::of(world, &who.connection).await;
        let answer = ask(&who.connection, operation).await;
        let what = format!("{} asked for {operation:?}", who.name());
        match (operation, &answer) {
            (Operation::Quit | Operation::ExternalRpc, Some(outcome)) => {
                let error = outcome.as_ref().expect_err(&what).to_string();
                assert!(error.contains("does not support"), "{what}: {error}");
            }
            (Operation::ExternalList, Some(Ok(args))) => assert_eq!(args[1].as_ref(), [0], "{what}"),
            (Operation::Publish, Some(outcome)) => {
                let refused = matches!(outcome, Err(e) if e.to_string().contains("requires capabilities"));
                assert!(refused, "{what}: {outcome:?}");
            }
            (_, Some(outcome)) => assert!(outcome.is_ok(), "{what}: {outcome:?}"),
            (_, None) => {}
        }
        before.assert_same(&State::of(world, &who.connection).await, &what);
        match who.connection.publish("protected/x", &1).await {
            Err(PublishError::Denied(text)) => assert!(text.contains("['none_has_this']"), "{what}: {text}"),
            other => panic!("{what}: published on a protected topic: {other:?}"),
        }
        assert!(victim.peerlist().await.is_ok(), "{what}: the victim is gone");
    }
    // What was refused must not have arrived; what is allowed arrives after it.
    who.connection.publish("own/last", &1).await.expect("not protected");
    let first = tokio::time::timeout(crate::LONG, heard.next()).await.expect("delivered").expect("open");
    assert_eq!(first.topic, "own/last");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_router_obeys_nobody_it_should_not() {
    let mut world = World::start();
    let victim = world.victim().await;
    let intruders = world.intruders().await;
    settled(&world).await;
    for who in &intruders {
        attempt(&world, who, &victim).await;
    }
    assert_eq!(world.platform.terminate(), 0);
    world.platform.launch();
    for connection in intruders.iter().map(|who| &who.connection).chain([&victim]) {
        eventually("the connection to be back", || async { connection.peerlist().await.is_ok() }).await;
    }
    settled(&world).await;
    for who in &intruders {
        attempt(&world, who, &victim).await;
    }
    drop((intruders, victim));
    let home = world.platform.home().to_owned();
    assert_eq!(world.platform.terminate(), 0);
    let audit = fs::read_to_string(home.join("audit.log")).expect("the audit log");
    for &operation in Operation::ALL {
        let on_record = audit.lines().any(|line| {
            let record: serde_json::Value = serde_json::from_str(line).expect("JSON");
            record["event"] == "router operation" && record["operation"] == json!(operation.as_str())
        });
        let refused = matches!(operation.who(), Who::Service(_) | Who::ItselfOr(_));
        assert_eq!(on_record, refused, "{operation:?}");
    }
}

#[test]
fn operations_open_to_everybody_are_those_that_were_reviewed() {
    let open: Vec<String> = Operation::ALL
        .iter()
        .filter(|operation| operation.who() == Who::Everybody)
        .map(|operation| match operation.name() {
            (subsystem, None) => format!("router {subsystem}"),
            (subsystem, Some(name)) => format!("router {subsystem} {name}"),
        })
        .collect();
    let reviewed: Vec<&str> = OPEN.lines().filter(|line| line.starts_with("router ")).collect();
    assert_eq!(open, reviewed, "tests/access/open.txt is not what is declared");
}
