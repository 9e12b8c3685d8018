//! How fast a platform is with fifty agents: all up and well, one of them gone, all stopped.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Map, Value, json};
use volttron_client::Connection;

use crate::platform::Platform;
use crate::probe;
use crate::programs::program;

/// How many.
pub const AGENTS: usize = 50;
/// Guards against hanging for ever.
const PATIENCE: Duration = Duration::from_secs(120);

/// A stopped platform with the agents installed and enabled.
pub struct Fifty {
    platform: Platform,
    keys: volttron_utils::keys::KeyPair,
}

/// What was measured.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// From the start of the platform's process until the health of every agent is GOOD.
    pub up: Duration,
    /// From the end of an agent's process until the platform says so; the slowest of ten.
    pub noticed: Duration,
    /// Of `vctl shutdown`, which stops all agents.
    pub down: Duration,
}

fn identity(n: usize) -> String {
    format!("listener.{n}")
}

impl Fifty {
    /// Installs them.
    pub fn install() -> Self {
        let mut platform = Platform::prepare();
        let keys = platform.admit("looker", &json!({}));
        platform.launch();
        let listener = program("volttron-listener").display().to_string();
        for n in 0..AGENTS {
            platform.vctl_ok(&["install", &listener, "--vip-identity", &identity(n), "--enable"]);
        }
        platform.terminate();
        Self { platform, keys }
    }

    /// One life of the platform.
    ///
    /// # Panics
    /// If something does not happen at all.
    pub async fn measure(&mut self) -> Times {
        let from = Instant::now();
        self.platform.spawn();
        let (address, home) = (self.platform.address(), self.platform.server_key());
        let bus = probe::peer("looker", &address, &home, self.keys.clone()).await;
        loop {
            let health = health(&bus).await;
            let good = |n: usize| health.get(&identity(n)).is_some_and(|h| h["message"] == "GOOD");
            if (0..AGENTS).all(good) {
                break;
            }
            assert!(from.elapsed() < PATIENCE, "not all are up: {health:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let up = from.elapsed();
        let mut noticed = Duration::ZERO;
        for n in 0..10 {
            noticed = noticed.max(notice(&bus, &identity(n)).await);
        }
        // Those that were killed are back after a while.
        while statuses(&bus).await.iter().any(|(_, status)| !status[1].is_null()) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bus.close().await;
        let from = Instant::now();
        tokio::task::block_in_place(|| self.platform.vctl_ok(&["shutdown"]));
        let down = from.elapsed();
        tokio::task::block_in_place(|| self.platform.terminate());
        Times { up, noticed, down }
    }
}

async fn health(bus: &Connection) -> Map<String, Value> {
    let asked = bus.call("platform.health", "get_platform_health").timeout(PATIENCE).send().await;
    asked.expect("the health service answers")
}

/// Identity and `[pid, code]` of each.
async fn statuses(bus: &Connection) -> Vec<(String, Value)> {
    let rows: Vec<Value> =
        bus.call("control", "status_agents").timeout(PATIENCE).send().await.expect("control answers");
    rows.iter().map(|row| (row[3].as_str().unwrap_or_default().to_owned(), row[2].clone())).collect()
}

/// Kills an agent; how long until the platform knows.
async fn notice(bus: &Connection, identity: &str) -> Duration {
    let of = |rows: Vec<(String, Value)>| {
        rows.into_iter().find(|(name, _)| name == identity).map(|(_, status)| status).expect("it was started")
    };
    let before = of(statuses(bus).await);
    let pid = before[0].as_i64().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    kill_process(pid.expect("a pid"), Signal::KILL).expect("kill an agent that runs");
    let from = Instant::now();
    while of(statuses(bus).await) == before {
        assert!(from.elapsed() < PATIENCE, "the end of {identity} is not noticed");
    }
    from.elapsed()
}
