//! Calls that an agent outside the platform's process refuses are in the platform's audit log.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use volttron_client::link::zmq::ZmqConnector;
use volttron_client::{
    Access, Agent, AgentBuilder, CallError, ConnectOptions, Connection, Method, Registrar, Request,
};
use volttron_tests::platform::Platform;
use volttron_utils::keys::KeyPair;

/// Guards against hanging; no statement about speed.
const LONG: Duration = Duration::from_secs(30);

struct Plant;

impl Agent for Plant {
    const NAME: &'static str = "Plant";
    fn register(b: &mut Registrar<Self>) {
        let method = Method::new("open_valve", Access::Capability("valves"));
        b.rpc(method, |_: Arc<Self>, _: Request| async { Ok("open") });
    }
}

fn connector(platform: &Platform, keys: &KeyPair) -> ZmqConnector {
    let connector = ZmqConnector::new(platform.address().parse().unwrap()).unwrap();
    connector.keys(keys.clone()).serverkey(platform.server_key().parse().unwrap())
}

fn records(platform: &Platform) -> Vec<Value> {
    let text = fs::read_to_string(platform.home().join("audit.log")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_by_an_agent_is_in_the_audit_log_once_however_often_it_happens() {
    let mut platform = Platform::prepare();
    let plant_keys = platform.admit("plant", &json!({}));
    let eve_keys = platform.admit("eve", &json!({}));
    platform.launch();
    let plant =
        AgentBuilder::new(Plant).identity("plant").connector(connector(&platform, &plant_keys)).store(false);
    let plant = plant.spawn().await.unwrap();
    plant.started().await;
    let eve =
        Connection::open(ConnectOptions::new(connector(&platform, &eve_keys)).identity("eve")).await.unwrap();
    for _ in 0..200 {
        let refused = eve.call("plant", "open_valve").send_value().await;
        assert!(matches!(refused, Err(CallError::Denied(_))), "{refused:?}");
    }
    let of_plant = |records: &[Value]| -> Vec<Value> {
        records.iter().filter(|r| r["reported_by"] == "plant").cloned().collect()
    };
    let wait = async {
        while of_plant(&records(&platform)).is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LONG, wait).await.expect("the agent reports by itself");
    let first = of_plant(&records(&platform))[0].clone();
    assert_eq!(
        (&first["kind"], &first["event"], &first["by"], &first["callee"], &first["method"]),
        (&json!("refusal"), &json!("call"), &json!("eve"), &json!("plant"), &json!("open_valve"))
    );
    assert!(
        first["why"].as_str().is_some_and(|why| why.contains("requires capabilities {'valves'}")),
        "{first}"
    );
    // Eve reports too, but only about itself, and only so much.
    let lies: Vec<Value> = (0..5000)
        .map(|n| json!({"caller": "plant", "method": format!("m{n}"), "why": "x".repeat(2000), "count": 1}))
        .collect();
    eve.call("platform.auth", "report_refused_calls").arg(lies).send_value().await.unwrap();
    drop((eve, plant));
    platform.terminate();
    let all = records(&platform);
    let count: u64 = of_plant(&all).iter().map(|r| r["repeated"].as_u64().unwrap_or(1)).sum();
    assert_eq!(count, 200, "every refusal is counted");
    assert!(of_plant(&all).len() <= 4, "and few lines are written: {:?}", of_plant(&all));
    let by_eve: Vec<&Value> = all.iter().filter(|r| r["reported_by"] == "eve").collect();
    assert!(by_eve.iter().all(|r| r["callee"] == "eve") && by_eve.len() <= 64, "{}", by_eve.len());
}
