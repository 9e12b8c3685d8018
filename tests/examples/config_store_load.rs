//! Applies many configurations at once to a real platform, with the agent they are for running; prints figures as JSON.
//! `cargo xtask bench-config-store` runs it: `config_store_load ENTRIES`.

#![allow(clippy::print_stdout)]

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use serde_json::{Value, json};
use tokio::sync::watch;
use volttron_client::config::ConfigEvent;
use volttron_client::link::zmq::ZmqConnector;
use volttron_client::{Actions, Agent, AgentBuilder, AgentHandle, Cx, Registrar};
use volttron_tests::platform::Platform;
use volttron_utils::keys::KeyPair;

/// Devices that share a table of points.
const DEVICES_PER_TABLE: usize = 100;
const IDENTITY: &str = "platform.driver";

/// Counts the devices whose present round its handler has seen.
struct Driver {
    seen: Mutex<(u64, HashSet<String>)>,
    count: watch::Sender<(u64, usize)>,
}

impl Agent for Driver {
    const NAME: &'static str = "Driver";

    fn register(b: &mut Registrar<Self>) {
        b.config("devices/*", Actions::CONTENTS, |s: Arc<Self>, _: Cx, event: ConfigEvent| async move {
            let contents = event.contents.unwrap_or_default();
            let round = contents["round"].as_u64().unwrap_or_default();
            let mut seen = s.seen.lock().expect("nobody panics");
            if round > seen.0 {
                *seen = (round, HashSet::new());
            }
            if round == seen.0 && contents["registry_config"].is_array() {
                seen.1.insert(event.name);
            }
            s.count.send_replace((seen.0, seen.1.len()));
            Ok(())
        });
    }
}

/// Writes the configurations of some identities; entries of about 700 bytes.
fn write(dir: &Path, identities: &[String], entries: usize, round: u64) -> usize {
    let (mut bytes, each) = (0, entries / identities.len());
    for identity in identities {
        let own = dir.join(identity);
        fs::create_dir_all(own.join("devices")).expect("make a directory");
        fs::create_dir_all(own.join("registry")).expect("make a directory");
        let mut put = |path: String, text: String| {
            bytes += text.len();
            fs::write(own.join(path), text).expect("write a file");
        };
        let tables = each.div_ceil(DEVICES_PER_TABLE);
        for table in 0..tables {
            let row = |i: usize| format!("point_{i},degreesFahrenheit,analogInput,presentValue,FALSE,{i},\n");
            let rows: String = (0..10).map(row).collect();
            let heading = "Volttron Point Name,Units,BACnet Object Type,Property,Writable,Index,Notes\n";
            put(format!("registry/{table}.csv"), format!("{heading}{rows}"));
        }
        for device in 0..each - tables {
            let table = device / DEVICES_PER_TABLE;
            let text = json!({
                "driver_config": {"device_address": format!("10.0.{}.{}", device / 250, device % 250), "device_id": device},
                "driver_type": "bacnet", "interval": 60, "timezone": "UTC", "round": round,
                "registry_config": format!("config://registry/{table}.csv"), "notes": "n".repeat(450),
            });
            put(format!("devices/building_{table}_ahu_{device}"), text.to_string());
        }
    }
    bytes
}

async fn driver(platform: &Platform, keys: KeyPair) -> (AgentHandle, watch::Receiver<(u64, usize)>) {
    let (count, counted) = watch::channel((0, 0));
    let agent = Driver { seen: Mutex::default(), count };
    let connector = ZmqConnector::new(platform.address().parse().expect("an address"))
        .expect("a connector")
        .keys(keys)
        .serverkey(platform.server_key().parse().expect("a key"));
    let builder = AgentBuilder::new(agent).identity(IDENTITY).connector(connector);
    let handle = builder.spawn().await.expect("the agent connects");
    assert!(handle.started().await);
    (handle, counted)
}

/// `vctl config apply` of a directory: milliseconds, and what it said.
async fn apply(platform: &Platform, dir: &Path) -> (f64, Value) {
    let mut vctl = tokio::process::Command::from(platform.command("vctl"));
    vctl.args(["--json", "config", "apply", "-f"]).arg(dir);
    let start = Instant::now();
    let output = vctl.output().await.expect("run vctl");
    let took_ms = start.elapsed().as_secs_f64() * 1000.0;
    assert!(output.status.success(), "{output:?}");
    (took_ms, serde_json::from_slice(&output.stdout).expect("JSON"))
}

async fn measure(entries: usize) -> Value {
    let mut platform = Platform::prepare();
    let keys = platform.admit(IDENTITY, &json!({"edit_config_store": {"identity": IDENTITY}}));
    platform.launch();
    let (agent, mut counted) = driver(&platform, keys).await;
    let dir = platform.home().join("configs");
    let one = [IDENTITY.to_owned()];
    let devices = entries - entries.div_ceil(DEVICES_PER_TABLE);
    let mut figures = json!({"entries": entries});
    for (round, word) in [(1, "new"), (2, "changed")] {
        let bytes = write(&dir, &one, entries, round);
        figures["bytes"] = bytes.into();
        let start = Instant::now();
        let (applied_ms, _) = apply(&platform, &dir).await;
        counted.wait_for(|c| *c == (round, devices)).await.expect("the agent lives");
        figures[format!("{word}_applied_ms")] = applied_ms.into();
        figures[format!("{word}_handled_ms")] = (start.elapsed().as_secs_f64() * 1000.0).into();
    }
    let (same_ms, report) = apply(&platform, &dir).await;
    assert_eq!(report["unchanged"], entries);
    figures["unchanged_ms"] = same_ms.into();
    let many: Vec<String> = (0..20).map(|i| format!("agent.{i}")).collect();
    let dir = platform.home().join("many");
    write(&dir, &many, entries, 1);
    figures["twenty_stores_ms"] = apply(&platform, &dir).await.0.into();
    agent.stop().await;
    figures
}

fn main() {
    let entries = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(10_000);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    println!("{}", runtime.block_on(measure(entries)));
}
