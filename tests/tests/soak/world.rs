//! A platform with three installed agents, as an operator sets it up, and looking at it from outside.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use volttron_tests::platform::Platform;
use volttron_tests::programs::program;
use volttron_tests::wait::until;
use volttron_utils::keys::KeyPair;

use crate::books::Books;
use crate::load::{Journal, Load};

/// How long anything may take to come back; a guard against hanging, no statement about speed.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// The historian's identity.
pub const HISTORIAN: &str = "platform.historian";
/// The device that the driver reads.
pub const DEVICE: &str = "campus/soak/fake";
/// The installed agents.
pub const IDENTITIES: [&str; 3] = [HISTORIAN, "platform.driver", "listener"];

const REGISTRY: &str = "\
Point Name,Volttron Point Name,Units,Units Details,Writable,Starting Value,Type,Notes
SampleFloat,SampleFloat,F,-100 to 300,TRUE,50,float,held
SampleBool,SampleBool,On / Off,on/off,FALSE,TRUE,boolean,held
";

/// The platform and what was installed in it.
pub struct World {
    /// The platform.
    pub platform: Platform,
    /// Keys of the peer that makes the load.
    pub load_keys: KeyPair,
}

/// The processes of one moment, by identity of the agent.
pub struct Generation {
    platform: u32,
    agents: BTreeMap<&'static str, (u32, String)>,
}

impl Generation {
    /// The process of an agent.
    pub fn pid(&self, identity: &str) -> u32 {
        self.agents[identity].0
    }

    /// All processes, the platform's own included.
    pub fn all(&self) -> Vec<u32> {
        self.agents.values().map(|(pid, _)| *pid).chain([self.platform]).collect()
    }

    /// Requires the same uuids under the same identities.
    pub fn assert_same_agents(&self, other: &Self) {
        for (identity, (_, uuid)) in &self.agents {
            assert_eq!(&other.agents[identity].1, uuid, "{identity} is another agent now");
        }
    }
}

impl World {
    /// A home on a disk, a platform, three agents started.
    pub fn build() -> Self {
        // Made to survive a reboot, so never a file system in memory; /tmp often is one.
        let mut platform = Platform::prepare_in(Path::new("/var/tmp"));
        // What an operator sets who wants agents back at once and every time.
        platform.configure("restart-delay = 0");
        let load_keys = platform.admit("soak.load", &json!({}));
        platform.launch();
        let world = Self { platform, load_keys };
        let registry = world.file("fake.csv", REGISTRY);
        let device = json!({
            "driver_type": "fakedriver", "driver_config": {}, "interval": 1,
            "registry_config": "config://registry_configs/fake.csv"
        });
        let device = world.file("fake.json", &device.to_string());
        let store = |name: &str, file: &Path, kind: &str| {
            let file = file.to_str().expect("a path");
            world.platform.vctl_ok(&["config", "store", "platform.driver", name, file, kind]);
        };
        store("registry_configs/fake.csv", &registry, "--csv");
        store(&format!("devices/{DEVICE}"), &device, "--json");
        // Publications in the platform's log would be most of what is written to disk.
        let listener = world.file("listener.json", "{\"log-level\": \"DEBUG\"}");
        world.install("volttron-sql-historian", HISTORIAN, None);
        world.install("volttron-platform-driver", "platform.driver", None);
        world.install("volttron-listener", "listener", Some(&listener));
        world
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.platform.home().join(name);
        fs::write(&path, text).expect("write a file");
        path
    }

    /// Installs, allows any number of restarts (`agent.json`, home.md section 3), enables and starts an agent.
    fn install(&self, name: &str, identity: &str, config: Option<&Path>) {
        let path = program(name);
        let mut args =
            vec!["install", path.to_str().expect("a path"), "--vip-identity", identity, "--enable"];
        if let Some(config) = config {
            args.extend(["--agent-config", config.to_str().expect("a path")]);
        }
        self.platform.vctl_json(&args);
        let file = self.platform.home().join("agents").join(identity).join("agent.json");
        let mut manifest: Value =
            serde_json::from_str(&fs::read_to_string(&file).expect("agent.json")).expect("JSON");
        manifest["max_restarts"] = json!(1_000_000);
        fs::write(&file, manifest.to_string()).expect("write agent.json");
        self.platform.vctl_ok(&["start", identity]);
    }

    /// Ends a process without any warning.
    pub fn kill(pid: u32) {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a pid");
        kill_process(pid, Signal::KILL).expect("kill a process that runs");
    }

    /// Waits until everything works after a kill at `killed`: `vctl status` shows every agent running and well, in a
    /// process that is not among `gone`, the load gets through, and none of `gone` is left.
    pub fn returned(&self, load: &Load, killed: Instant, gone: &[u32]) -> Generation {
        let mut missing = String::new();
        let deadline = killed + PATIENCE;
        let generation = until("everything to be back", PATIENCE * 2, || {
            match self.look(gone) {
                Ok(generation) => match load.missing_since(killed) {
                    None => return Some(generation),
                    Some(sign) => missing = format!("no {sign}"),
                },
                Err(why) => missing = why,
            }
            assert!(Instant::now() < deadline, "{missing}, {PATIENCE:?} after the kill");
            None
        });
        let living = self.processes();
        let left: Vec<_> = living.iter().filter(|(pid, _)| gone.contains(pid)).collect();
        assert!(left.is_empty(), "processes of the former generation are left: {left:?}");
        let mut expected = generation.all();
        expected.sort_unstable();
        let pids: Vec<u32> = living.iter().map(|(pid, _)| *pid).collect();
        assert_eq!(pids, expected, "one process of each, and no other: {living:?}");
        generation
    }

    /// What `vctl status` says, if all agents are well and in new processes.
    fn look(&self, gone: &[u32]) -> Result<Generation, String> {
        let output = self.platform.vctl(&["--json", "status"]);
        let rows: Value =
            serde_json::from_slice(&output.stdout).map_err(|_| format!("vctl status: {output:?}"))?;
        let mut agents = BTreeMap::new();
        for identity in IDENTITIES {
            let row = &rows[identity];
            let pid = row["status"].as_str().and_then(running).filter(|pid| !gone.contains(pid));
            let pid = pid.ok_or_else(|| format!("{identity} does not run: {row}"))?;
            if row["health"]["message"] != "GOOD" {
                return Err(format!("{identity} is not well: {row}"));
            }
            agents.insert(identity, (pid, row["agent_uuid"].as_str().unwrap_or_default().to_owned()));
        }
        Ok(Generation { platform: self.platform.pid(), agents })
    }

    /// Every living process that belongs to this home: its id and identity, sorted.
    pub fn processes(&self) -> Vec<(u32, String)> {
        processes(&self.platform)
    }

    /// Compares the historian's database with what was acknowledged.
    pub fn books(&self, journal: &Journal) -> Books {
        let data = self.platform.home().join("agents").join(HISTORIAN).join("data");
        Books::compare(&data.join("historian.sqlite"), journal)
    }
}

/// Every living process that belongs to the home of a platform: its id and identity, sorted.
pub fn processes(platform: &Platform) -> Vec<(u32, String)> {
    let home = format!("VOLTTRON_HOME={}", platform.home().display());
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").expect("/proc").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // Gone meanwhile, or somebody else's.
        let Ok(environment) = fs::read(entry.path().join("environ")) else { continue };
        let environment = String::from_utf8_lossy(&environment);
        if environment.split('\0').any(|variable| variable == home) {
            let identity = environment.split('\0').find_map(|v| v.strip_prefix("AGENT_VIP_IDENTITY="));
            found.push((pid, identity.unwrap_or("volttron").to_owned()));
        }
    }
    found.sort();
    found
}

/// The pid in `running [PID]`.
fn running(status: &str) -> Option<u32> {
    status.strip_prefix("running [")?.strip_suffix(']')?.parse().ok()
}
