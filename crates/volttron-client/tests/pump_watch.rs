//! An agent that watches a pump, and its test: the example of the crate's documentation.
#![allow(clippy::unwrap_used, missing_docs)]

use std::sync::Mutex;

use serde::Deserialize;
use serde_json::{Value, json};
use volttron_client::testing::TestPlatform;
use volttron_client::{AgentError, CallErrorKind, Cx, Publication, agent, interface};

#[derive(Clone, Default, Deserialize)]
struct Config {
    limit: f64,
}

#[interface]
trait Limits {
    #[rpc(open)]
    async fn exceeded(&self) -> u32;
    #[rpc(callers("operator"))]
    async fn reset(&self);
}

#[derive(Default)]
struct PumpWatch {
    config: Mutex<Config>,
    count: Mutex<u32>,
}

impl Limits for PumpWatch {
    async fn exceeded(&self) -> u32 {
        *self.count.lock().unwrap()
    }
    async fn reset(&self) {
        *self.count.lock().unwrap() = 0;
    }
}

#[agent(serves(Limits))]
impl PumpWatch {
    #[config("config")]
    async fn configure(&self, config: Config) {
        *self.config.lock().unwrap() = config;
    }

    #[subscribe("devices/pump")]
    async fn reading(&self, cx: &Cx, publication: Publication) -> Result<(), AgentError> {
        let flow = publication.json::<Value>()?["Flow"].as_f64().unwrap_or(0.0);
        if flow > self.config.lock().unwrap().limit {
            *self.count.lock().unwrap() += 1;
            cx.publish("alarm/pump", &flow).await?;
        }
        Ok(())
    }
}

#[tokio::test]
async fn it_counts_and_reports_what_is_above_the_limit() {
    let platform = TestPlatform::new().await;
    // As `vctl config store` would, before the agent starts or while it runs.
    platform.set_config("pump.watch", "config", json!({"limit": 2.0})).await;
    let agent = platform.agent("pump.watch", PumpWatch::default()).await;

    // Publications of a device, and what the agent makes of them.
    let mut alarms = platform.watch("alarm/").await;
    let device = platform.peer("device").await;
    device.publish("devices/pump", &json!({"Flow": 1.5})).await.unwrap();
    device.publish("devices/pump", &json!({"Flow": 2.5})).await.unwrap();
    alarms.assert_published("alarm/pump", &json!(2.5)).await;

    // Calls, by those who may and those who may not.
    assert_eq!(LimitsClient::new(&device, "pump.watch").exceeded().await.unwrap(), 1);
    let refused = LimitsClient::new(&device, "pump.watch").reset().await.unwrap_err();
    assert_eq!(refused.kind(), CallErrorKind::Denied);
    let operator = platform.peer("operator").await;
    LimitsClient::new(&operator, "pump.watch").reset().await.unwrap();
    agent.stop().await;
}
