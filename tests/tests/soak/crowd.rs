//! Twenty agents killed at random: each comes back as its restart policy says, no process is left over, and the platform
//! lives on. Also measures how soon an end is noticed.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use volttron_client::Connection;
use volttron_tests::platform::Platform;
use volttron_tests::probe;
use volttron_tests::pump::{Does, Pump};

use crate::world::{PATIENCE, processes};
use crate::{Chance, setting};

const AGENTS: usize = 20;
/// Kills of the short form.
const SHORT_KILLS: u64 = 60;
/// One of these ends a process. (A SIGSEGV that somebody sends is not taken for one by the Rust runtime.)
const SIGNALS: [Signal; 4] = [Signal::KILL, Signal::QUIT, Signal::ABORT, Signal::KILL];

/// What is agreed about restarts of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Policy {
    /// Restarted whatever happens.
    Always,
    /// Restarted because a signal is a failure.
    OnFailure,
    /// Left alone.
    Never,
    /// Restarted so often, then given up.
    Twice,
}

impl Policy {
    fn of(n: usize) -> Self {
        match n {
            0 => Self::Never,
            1 => Self::Twice,
            n if n % 2 == 0 => Self::Always,
            _ => Self::OnFailure,
        }
    }

    /// Restarts after so many kills, and the state then.
    fn expected(self, kills: u64) -> (u64, &'static str) {
        match self {
            Self::Always | Self::OnFailure => (kills, "running"),
            Self::Never if kills == 0 => (0, "running"),
            Self::Never => (0, "stopped"),
            Self::Twice if kills <= 2 => (kills, "running"),
            Self::Twice => (2, "failed"),
        }
    }
}

struct Crowd {
    platform: Platform,
    bus: Connection,
    /// Uuid, policy and kills by identity.
    members: BTreeMap<String, (String, Policy, u64)>,
}

impl Crowd {
    async fn gather() -> Self {
        let mut platform = Platform::prepare_in(Path::new("/var/tmp"));
        platform.configure("restart-delay = 0");
        let keys = platform.admit("looker", &json!({}));
        platform.launch();
        let programs = tempfile::tempdir_in("/var/tmp").expect("a directory");
        let program = Pump::write(programs.path(), "1.0.0", Does::Works).display().to_string();
        let mut members = BTreeMap::new();
        for n in 0..AGENTS {
            let (identity, policy) = (format!("member-{n}"), Policy::of(n));
            let installed =
                platform.vctl_json(&["install", &program, "--vip-identity", &identity, "--enable"]);
            let file = platform.home().join("agents").join(&identity).join("agent.json");
            let text = fs::read_to_string(&file).expect("agent.json");
            let mut manifest: Value = serde_json::from_str(&text).expect("JSON");
            let (word, most) = match policy {
                Policy::Always => ("always", 1_000_000),
                Policy::OnFailure => ("on-failure", 1_000_000),
                Policy::Never => ("never", 1_000_000),
                Policy::Twice => ("on-failure", 2),
            };
            (manifest["restart"], manifest["max_restarts"]) = (word.into(), most.into());
            fs::write(&file, manifest.to_string()).expect("write agent.json");
            let uuid = installed["agent_uuid"].as_str().expect("a uuid").to_owned();
            members.insert(identity, (uuid, policy, 0));
        }
        platform.vctl_ok(&["start", "--wait", "60", "--all"]);
        let bus = probe::peer("looker", &platform.address(), &platform.server_key(), keys).await;
        Self { platform, bus, members }
    }

    async fn ask(&self, method: &str, uuid: &str) -> Value {
        self.bus.call("control", method).arg(uuid).timeout(PATIENCE).send().await.expect("control answers")
    }

    /// Ends the process of a member, if it has one; how long until that is noticed.
    async fn kill(&mut self, identity: &str, signal: Signal) -> Option<Duration> {
        let uuid = self.members[identity].0.clone();
        let status = self.ask("agent_status", &uuid).await;
        let pid = status[0].as_i64().filter(|_| status[1].is_null())?;
        let process = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a pid");
        let begun = Instant::now();
        // It may be ending already.
        kill_process(process, signal).ok()?;
        self.members.get_mut(identity).expect("a member").2 += 1;
        loop {
            let now = self.ask("agent_status", &uuid).await;
            if now[0] != pid || !now[1].is_null() {
                return Some(begun.elapsed());
            }
            assert!(begun.elapsed() < PATIENCE, "the end of {identity} is not noticed: {now}");
        }
    }

    /// Waits until every member is what its policy says.
    async fn judge(&self) {
        let deadline = Instant::now() + PATIENCE;
        for (identity, (uuid, policy, kills)) in &self.members {
            let expected = policy.expected(*kills);
            loop {
                let details = self.ask("agent_details", uuid).await;
                let is = (details["restarts"].as_u64().unwrap_or_default(), details["state"].as_str());
                if is == (expected.0, Some(expected.1)) {
                    break;
                }
                assert!(
                    Instant::now() < deadline,
                    "{identity} ({policy:?}), killed {kills} times: {details} instead of {expected:?}"
                );
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

/// Kills, and judges at the end.
pub async fn run() {
    let kills: u64 = setting("VOLTTRON_SOAK_KILLS", SHORT_KILLS);
    let seed: u64 = setting("VOLTTRON_SOAK_SEED", u64::from(std::process::id()));
    eprintln!("crowd: {kills} kills, seed {seed}");
    let mut chance = Chance(seed);
    let mut crowd = Crowd::gather().await;
    let platform = crowd.platform.pid();
    let (mut done, mut noticed) = (0, Vec::new());
    let begun = Instant::now();
    while done < kills {
        let identity = format!("member-{}", chance.below(AGENTS as u64));
        let signal = SIGNALS[usize::try_from(chance.below(4)).expect("small")];
        match crowd.kill(&identity, signal).await {
            Some(after) => {
                noticed.push(after);
                done += 1;
            }
            None => tokio::time::sleep(Duration::from_millis(5)).await,
        }
        if kills > SHORT_KILLS && done % 1000 == 0 && noticed.len() as u64 == done {
            eprintln!("crowd: {done} kills in {} s", begun.elapsed().as_secs());
        }
    }
    crowd.judge().await;
    assert_eq!(crowd.platform.pid(), platform, "the platform lives");
    let living = processes(&crowd.platform);
    let up = crowd.members.values().filter(|(_, p, kills)| p.expected(*kills).1 == "running").count();
    assert_eq!(living.len(), up + 1, "one process of each that is up, and the platform: {living:?}");
    noticed.sort();
    let at = |part: usize| noticed[(noticed.len() - 1) * part / 1000].as_secs_f64() * 1000.0;
    println!("crowd      kills  members up  orphans  noticed after: median   99 %    slowest   seconds");
    println!(
        "           {kills:>5}  {up:>10}  {:>7}  {:>18.1} ms {:>6.1} {:>8.1} ms  {:>8}",
        living.len() - up - 1,
        at(500),
        at(990),
        at(1000),
        begun.elapsed().as_secs()
    );
    crowd.bus.close().await;
}
