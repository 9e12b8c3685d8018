//! Methods declared once: what the trait says is what is served, and what its client calls, in memory and over ZeroMQ.
#![allow(clippy::unwrap_used, missing_docs)]

mod bus;

use std::time::Duration;

use bus::Bus;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use volttron_client::link::Connector;
use volttron_client::link::zmq::ZmqConnector;
use volttron_client::testing::TestPlatform;
use volttron_client::utils::keys::KeyPair;
use volttron_client::{
    Access, Agent, AgentBuilder, CallError, CallErrorKind, Caller, ConnectOptions, Connection, Cx, Method,
    Registrar, RpcError, SpawnError, agent, interface,
};

#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Reading {
    value: f64,
    unit: Option<String>,
}

/// Valves of one building.
#[interface]
pub trait Valves {
    /// Opens a valve.
    ///
    /// Gives its position.
    #[rpc(open)]
    async fn open(
        &self,
        caller: Caller,
        valve: String,
        percent: Option<f64>,
        #[rpc(default = 5)] steps: i64,
    ) -> String;

    #[rpc(callers("alice"), name = "valves.read")]
    async fn read(&self, cx: &Cx, valve: String) -> Result<Reading, RpcError>;

    #[rpc(open)]
    async fn keep(&self, r#type: String, value: Value, readings: Vec<Reading>) -> Value;

    #[rpc(open)]
    async fn hang(&self);
}

struct Pump;

impl Valves for Pump {
    async fn open(&self, caller: Caller, valve: String, percent: Option<f64>, steps: i64) -> String {
        format!("{valve} {percent:?} {steps} for {}", caller.user)
    }

    async fn read(&self, cx: &Cx, valve: String) -> Result<Reading, RpcError> {
        match valve.as_str() {
            "v1" => Ok(Reading { value: 1.5, unit: Some(cx.identity().to_owned()) }),
            other => Err(RpcError::key_error(other)),
        }
    }

    async fn keep(&self, r#type: String, value: Value, readings: Vec<Reading>) -> Value {
        json!([r#type, value, readings.len()])
    }

    async fn hang(&self) {
        std::future::pending::<()>().await;
    }
}

#[agent(serves(Valves))]
impl Pump {
    #[rpc(open)]
    async fn own(&self) -> i64 {
        7
    }
}

/// The same methods as `valves`, over any bus.
async fn works(alice: &Cx, eve: &Cx) {
    let valves = ValvesClient::new(alice, "pump");
    assert_eq!(valves.peer(), "pump");
    assert_eq!(valves.open("v1", None, None).await.unwrap(), "v1 None 5 for alice");
    assert_eq!(valves.open("v1", 2.5, 1).await.unwrap(), "v1 Some(2.5) 1 for alice");
    // What follows a parameter that was left out goes by name.
    assert_eq!(valves.open("v1".to_owned(), None, 2).await.unwrap(), "v1 None 2 for alice");
    let reading = Reading { value: 1.5, unit: Some("pump".into()) };
    assert_eq!(valves.read("v1").await.unwrap(), reading);
    assert_eq!(valves.keep("a", &reading, vec![reading.clone()]).await.unwrap()[2], 1);
    assert_eq!(alice.call("pump", "own").send::<i64>().await.unwrap(), 7);

    let error = valves.read("v2").await.unwrap_err();
    assert_eq!(error.exc_type(), Some("builtins.KeyError"), "{error:?}");
    let refused = ValvesClient::new(eve, "pump").read("v1").await.unwrap_err();
    assert_eq!(refused.kind(), CallErrorKind::Denied);
    assert!(matches!(valves.hang().timeout(Duration::from_millis(5)).await, Err(CallError::Timeout { .. })));
    let hasty = valves.clone().timeout(Duration::from_millis(5));
    assert!(
        matches!(hasty.hang().await, Err(CallError::Timeout { after, .. }) if after == Duration::from_millis(5))
    );
    valves.open("v1", None, None).notify().await.unwrap();
    let nobody = ValvesClient::new(alice, "nobody").open("v1", None, None).await.unwrap_err();
    assert_eq!(nobody.kind(), CallErrorKind::Unreachable);

    let open = alice.inspect_method("pump", "open").await.unwrap();
    let by_hand = Method::new("open", Access::Open)
        .param("valve")
        .optional("percent", Value::Null)
        .optional("steps", 5)
        .doc("Opens a valve.\n\nGives its position.")
        .inspect();
    for member in ["params", "doc", "access"] {
        assert_eq!(open[member], by_hand[member]);
    }
    let read = alice.inspect_method("pump", "valves.read").await.unwrap();
    assert_eq!(read["access"], json!({"kind": "callers", "callers": ["alice"]}));
}

#[tokio::test]
async fn in_memory() {
    let platform = TestPlatform::new().await;
    platform.agent("pump", Pump).await;
    let (alice, eve) = (platform.peer("alice").await, platform.peer("eve").await);
    works(&alice, &eve).await;
}

#[tokio::test]
async fn over_zeromq() {
    let router = Bus::start("tcp://127.0.0.1:*", Some(KeyPair::generate()));
    let connector = || {
        ZmqConnector::new(router.address()).unwrap().serverkey(router.server_key()).keys(KeyPair::generate())
    };
    let pump = AgentBuilder::new(Pump).identity("pump").connector(connector()).auth(false).store(false);
    let _pump = pump.spawn().await.unwrap();
    let alice = peer(connector(), "alice").await;
    let eve = peer(connector(), "eve").await;
    works(&alice, &eve).await;
}

async fn peer(connector: impl Connector + std::fmt::Debug, identity: &str) -> Connection {
    Connection::open(ConnectOptions::new(connector).identity(identity)).await.unwrap()
}

/// What the macros write can be written by hand, and serves the interface's methods, no more.
#[tokio::test]
async fn an_interface_is_registered_by_hand_too() {
    struct Byhand;

    impl Valves for Byhand {
        async fn open(&self, _: Caller, _: String, _: Option<f64>, _: i64) -> String {
            String::new()
        }
        async fn read(&self, _: &Cx, _: String) -> Result<Reading, RpcError> {
            Err(RpcError::value_error("none"))
        }
        async fn keep(&self, _: String, value: Value, _: Vec<Reading>) -> Value {
            value
        }
        async fn hang(&self) {}
    }

    impl Agent for Byhand {
        const NAME: &'static str = "Byhand";
        fn register(registrar: &mut Registrar<Self>) {
            <Self as Valves>::register_interface(registrar);
        }
    }

    let mut registrar = Registrar::<Byhand>::default();
    Byhand::register(&mut registrar);
    let names: Vec<&str> = registrar.methods().map(Method::name).collect();
    assert_eq!(names, ["open", "valves.read", "keep", "hang"]);
}

/// A name in two places is noticed before the agent connects.
#[tokio::test]
async fn a_method_of_two_interfaces_is_refused() {
    #[interface]
    trait Left {
        #[rpc(open)]
        async fn same(&self);
    }
    struct Both;
    impl Left for Both {
        async fn same(&self) {}
    }
    #[agent(serves(Left))]
    impl Both {
        #[rpc(open, name = "same")]
        async fn other(&self) {}
    }
    let platform = TestPlatform::new().await;
    let error = platform.builder("both", Both).spawn().await.unwrap_err();
    assert!(matches!(&error, SpawnError::DuplicateMethod(name) if name == "same"), "{error}");
}
