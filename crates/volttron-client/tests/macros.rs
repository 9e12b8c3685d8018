//! The attribute macros write what one could write by hand.
#![allow(clippy::unwrap_used, missing_docs)]

use std::sync::Mutex;

use serde::Deserialize;
use serde_json::{Value, json};
use volttron_client::testing::TestPlatform;
use volttron_client::{
    AgentError, CallError, Caller, ConfigEvent, Cx, Publication, PublishError, RpcError, agent,
};

#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
struct Settings {
    limit: i64,
}

#[derive(Default)]
struct PumpWatch {
    settings: Mutex<Settings>,
    log: Mutex<Vec<String>>,
}

#[agent(name = "Pump")]
impl PumpWatch {
    fn note(&self, text: impl Into<String>) {
        self.log.lock().unwrap().push(text.into());
    }

    #[on(setup)]
    async fn setup(&self, cx: &Cx) -> Result<(), AgentError> {
        cx.config().set_default("config", json!({"limit": 5}))?;
        Ok(())
    }

    #[on(start)]
    async fn start(&self) {
        self.note("start");
    }

    #[on(stop)]
    async fn stop(&self, cx: Cx) -> Result<(), PublishError> {
        cx.publish("pump/bye", "bye").await.map(drop)
    }

    #[config("config")]
    async fn configure(&self, settings: Settings) {
        self.note(format!("limit {}", settings.limit));
        *self.settings.lock().unwrap() = settings;
    }

    #[config("extra/*", on(Delete))]
    async fn extra(&self, event: ConfigEvent) {
        self.note(format!("gone {}", event.name));
    }

    #[subscribe("in/", all_platforms)]
    async fn reading(&self, cx: &Cx, p: Publication) -> Result<(), AgentError> {
        cx.publish("pump/seen", &p.topic).await?;
        Ok(())
    }

    #[every("10ms")]
    async fn poll(&self, cx: &Cx) -> Result<(), PublishError> {
        cx.publish("pump/tick", "tick").await.map(drop)
    }

    #[cron("0 0 1 1 *")]
    async fn new_year(&self) {}

    /// Adds things up.
    #[rpc(open)]
    async fn add(&self, a: i64, b: Option<i64>, #[rpc(default = 10)] c: i64) -> i64 {
        a + b.unwrap_or(100) + c
    }

    #[rpc(callers("alice", "bob"), name = "pump.whoami")]
    async fn whoami(&self, cx: &Cx, caller: Caller) -> Result<String, RpcError> {
        Ok(format!("{} of {}", caller.user, cx.identity()))
    }

    #[rpc(allow("a", "b"))]
    async fn both(&self) -> Result<(), AgentErrorAsRpc> {
        Err(AgentErrorAsRpc)
    }

    #[rpc(self_or("identity", "admin"))]
    async fn own(&self, #[rpc(default)] identity: Option<String>) -> Option<String> {
        identity
    }

    #[rpc(open)]
    async fn nothing(&self) {}
}

struct AgentErrorAsRpc;

impl From<AgentErrorAsRpc> for RpcError {
    fn from(_: AgentErrorAsRpc) -> Self {
        RpcError::value_error("no")
    }
}

#[tokio::test]
async fn an_annotated_agent_does_it_all() {
    let platform = TestPlatform::new().await;
    platform.set_config("pump", "extra/x", json!([])).await;
    let mut out = platform.watch("pump/").await;
    let pump = platform.agent("pump", PumpWatch::default()).await;
    let alice = platform.peer("alice").await;
    out.assert_published("pump/tick", &json!("tick")).await;
    alice.publish("in/x", &1).await.unwrap();
    out.assert_published("pump/seen", &json!("in/x")).await;

    assert_eq!(alice.call("pump", "add").arg(1).send::<i64>().await.unwrap(), 111);
    assert_eq!(alice.call("pump", "add").arg(1).named("b", 2).named("c", 3).send::<i64>().await.unwrap(), 6);
    alice.call("pump", "nothing").send::<()>().await.unwrap();
    assert_eq!(alice.call("pump", "pump.whoami").send::<String>().await.unwrap(), "alice of pump");
    let eve = platform.peer("eve").await;
    assert!(matches!(eve.call("pump", "pump.whoami").send::<String>().await, Err(CallError::Denied(_))));
    assert_eq!(alice.call("pump", "both").send::<()>().await.unwrap_err().to_string(), "ValueError: no");
    let own = alice.call("pump", "own").arg("alice").send::<Option<String>>().await.unwrap();
    assert_eq!(own.as_deref(), Some("alice"));
    let add: Value = alice.call("pump", "add.inspect").send().await.unwrap();
    assert_eq!((&add["doc"], &add["params"]["c"]["default"]), (&json!("Adds things up."), &json!(10)));

    platform.set_config("pump", "config", json!({"limit": 7})).await;
    platform.delete_config("pump", "extra/x").await;
    let report = pump.cx().health().report();
    assert_eq!(report.status, volttron_client::Status::Good, "{report:?}");
    platform.set_config("pump", "config", json!({"limit": "x"})).await;
    while pump.cx().health().report().status == volttron_client::Status::Good {
        tokio::task::yield_now().await;
    }
    pump.stop().await;
    out.assert_published("pump/bye", &json!("bye")).await;
}

#[test]
fn a_program_describes_itself() {
    let program = volttron_client::Program::new(volttron_client::package!(), "pump-{n}");
    let about = volttron_client::program::describe::<PumpWatch>(&program);
    assert_eq!(
        (&about["identity"], &about["class"], &about["protocol"]),
        (&json!("pump-{n}"), &json!("Pump"), &json!(1))
    );
    let names: Vec<&str> =
        about["rpc"].as_array().unwrap().iter().map(|m| m["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["add", "pump.whoami", "both", "own", "nothing"]);
    assert_eq!(about["rpc"][2]["capabilities"], json!(["a", "b"]));
}
