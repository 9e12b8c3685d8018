//! Installing, upgrading, rolling back and removing again and again, with `vctl` or the platform killed in the middle: there
//! is always a version that runs, and nothing is left over.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use volttron_tests::platform::{Platform, public_key};
use volttron_tests::pump::{Does, Pump};
use volttron_tests::wait::until;

use crate::world::PATIENCE;
use crate::{Chance, setting};

/// Cycles of the short form.
const SHORT_CYCLES: u64 = 20;
/// Latest moment of a kill after the start of an operation.
const LATEST_KILL_MS: u64 = 900;
/// How long a new version has to come up; short, so that some do and some do not.
const START_TIME: &str = "0.6";

struct Site {
    platform: Platform,
    programs: TempDir,
    /// Uuid and public key of the agent that is installed.
    known: Option<(String, String)>,
    next: u64,
}

/// What is there, looked at as a whole.
#[derive(Debug)]
struct Look {
    version: Option<String>,
    uuid: String,
}

impl Site {
    fn dir(&self) -> PathBuf {
        self.platform.home().join("agents/pump")
    }

    fn begin(&mut self, what: u64) -> (String, Child) {
        let does = if what == 3 && self.known.is_some() { Does::Ends(3) } else { Does::Works };
        self.next += 1;
        let program =
            Pump::write(self.programs.path(), &format!("{}.0.0", self.next), does).display().to_string();
        let wait = ["--agent-start-time", START_TIME];
        let args = match (what, &self.known) {
            (_, None) => ["install", &program, "--enable", "--start"].to_vec(),
            (0, _) => ["rollback", "pump"].to_vec(),
            (1, _) => ["remove", "-f", "pump"].to_vec(),
            (2, _) => [&["install", &*program, "--force"][..], &wait].concat(),
            _ => [&["upgrade", "pump", &*program][..], &wait].concat(),
        };
        let mut vctl = self.platform.command("vctl");
        vctl.args(&args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let said = args.iter().map(|a| a.rsplit('/').next().unwrap_or(a)).collect::<Vec<_>>().join(" ");
        (said, vctl.spawn().expect("run vctl"))
    }

    /// What is installed, if nothing is missing and nothing is too much.
    fn look(&self) -> Result<Look, String> {
        let home = self.platform.home();
        let read = |path: &Path| -> Result<Value, String> {
            let text = fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
            serde_json::from_str(&text).map_err(|e| format!("{}: {e}", path.display()))
        };
        let names = |path: &Path| -> BTreeSet<String> {
            let entries = fs::read_dir(path).into_iter().flatten().flatten();
            entries.map(|e| e.file_name().to_string_lossy().into_owned()).filter(|n| n != ".lock").collect()
        };
        let entries = |key: Option<&str>| -> Result<usize, String> {
            let auth = read(&home.join("auth.json"))?;
            let all = auth["allow"].as_array().cloned().unwrap_or_default();
            let own = |e: &&Value| e["identity"] == "pump" || key.is_some_and(|k| e["credentials"] == k);
            Ok(all.iter().filter(own).count())
        };
        let (agents, programs) = (names(&home.join("agents")), names(&home.join("bin")));
        if !agents.contains("pump") {
            let left = (agents, programs, entries(None)?);
            let clean = left.0.is_empty() && left.1.is_empty() && left.2 == 0;
            let nothing = Look { version: None, uuid: String::new() };
            return if clean { Ok(nothing) } else { Err(format!("left over: {left:?}")) };
        }
        let (manifest, history) =
            (read(&self.dir().join("agent.json"))?, read(&self.dir().join("history.json"))?);
        let uuid = fs::read_to_string(self.dir().join("UUID")).map_err(|e| e.to_string())?;
        if agents != BTreeSet::from(["pump".to_owned(), uuid.clone()]) {
            return Err(format!("agents: {agents:?}"));
        }
        let own = names(&self.dir());
        if let Some(half) = own.iter().find(|name| name.starts_with('.')) {
            return Err(format!("half done: {half}"));
        }
        let kept = history["versions"].as_array().into_iter().flatten().map(|v| &v["manifest"]);
        let used: BTreeSet<String> = kept
            .chain([&manifest])
            .filter_map(|m| {
                m["exec"].as_str()?.strip_prefix("../../bin/")?.split('/').next().map(str::to_owned)
            })
            .collect();
        if used != programs {
            return Err(format!("programs: {programs:?} instead of {used:?}"));
        }
        if entries(Some(&public_key(&self.dir().join("keystore.json"))))? != 1 {
            return Err("auth entries".into());
        }
        Ok(Look { version: manifest["version"].as_str().map(str::to_owned), uuid })
    }

    /// Waits until all is in order and, if an agent is installed, it runs and is well.
    fn settle(&mut self, said: &str) -> Option<String> {
        let mut why = String::new();
        let deadline = Instant::now() + PATIENCE;
        let look = until("order", PATIENCE * 2, || {
            assert!(Instant::now() < deadline, "after {said}: {why}");
            match self.look().and_then(|look| self.runs(&look).map(|()| look)) {
                Ok(look) => Some(look),
                Err(error) => {
                    why = error;
                    None
                }
            }
        });
        let known = look.version.as_ref().map(|_| (look.uuid, public_key(&self.dir().join("keystore.json"))));
        if let (Some(known), Some(before)) = (&known, &self.known) {
            assert_eq!(known, before, "after {said}: uuid and key");
        }
        self.known = known;
        look.version
    }

    fn runs(&self, look: &Look) -> Result<(), String> {
        if look.version.is_none() {
            return Ok(());
        }
        let output = self.platform.vctl(&["--json", "status", "pump"]);
        let rows: Value =
            serde_json::from_slice(&output.stdout).map_err(|_| format!("status: {output:?}"))?;
        let row = &rows["pump"];
        if row["status"].as_str().is_some_and(|s| s.starts_with("running"))
            && row["health"]["message"] == "GOOD"
        {
            let history = fs::read_to_string(self.dir().join("history.json")).map_err(|e| e.to_string())?;
            return if history.contains("\"trial\": null") { Ok(()) } else { Err("still on trial".into()) };
        }
        if row["status"] == "" {
            // Installed by a vctl that was killed before it started the agent.
            self.platform.vctl(&["start", "--wait", "1", "pump"]);
        }
        Err(format!("it does not run: {row}"))
    }
}

/// Runs the cycles.
pub fn run() {
    let cycles: u64 = setting("VOLTTRON_SOAK_ROUNDS", SHORT_CYCLES);
    let seed: u64 = setting("VOLTTRON_SOAK_SEED", u64::from(std::process::id()));
    eprintln!("versions: {cycles} cycles, seed {seed}");
    let mut chance = Chance(seed);
    let mut platform = Platform::prepare_in(Path::new("/var/tmp"));
    platform.launch();
    let programs = tempfile::tempdir_in("/var/tmp").expect("a directory");
    let mut site = Site { platform, programs, known: None, next: 0 };
    let mut version: Option<String> = None;
    let (mut old, mut new, mut platforms, mut tools) = (0, 0, 0, 0);
    let begun = Instant::now();
    for cycle in 0..cycles {
        // Removing is rare, so that versions pile up.
        let what = chance.below(12);
        let what = if what == 1 && chance.below(2) == 0 { 2 } else { what };
        let (said, mut vctl) = site.begin(what);
        let victim = chance.below(5);
        let moment = Duration::from_millis(chance.below(LATEST_KILL_MS));
        if victim < 4 {
            std::thread::sleep(moment);
        }
        match victim {
            0 | 1 => {
                platforms += 1;
                site.platform.kill();
                vctl.kill().expect("end vctl");
                site.platform.launch();
            }
            2 | 3 => {
                tools += 1;
                vctl.kill().expect("end vctl");
            }
            _ => {}
        }
        vctl.wait().expect("wait for vctl");
        let is = site.settle(&said);
        if is == version {
            old += 1
        } else {
            new += 1
        }
        version = is;
        if cycles > SHORT_CYCLES && (cycle + 1) % 50 == 0 {
            eprintln!("versions: {} cycles in {} s", cycle + 1, begun.elapsed().as_secs());
        }
    }
    let living = crate::world::processes(&site.platform);
    let expected = 1 + usize::from(version.is_some());
    assert_eq!(living.len(), expected, "{living:?}");
    println!("versions   cycles  killed: platform  vctl  former version  new version  seconds");
    println!(
        "           {cycles:>6}  {platforms:>16}  {tools:>4}  {old:>14}  {new:>11}  {:>7}",
        begun.elapsed().as_secs()
    );
    assert!(cycles < SHORT_CYCLES || new > 0, "nothing ever changed");
}
