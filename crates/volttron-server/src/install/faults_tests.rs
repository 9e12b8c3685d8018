//! A power cut and a full disk at every step of install, upgrade, rollback and removal: what runs afterwards is the former
//! version or the new one, whole, and nothing else is left.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::json;
use volttron_utils::home::Home;
use volttron_utils::keys::keystore;

use super::testing::{Fault, FaultyDisk, Guests};
use super::*;
use crate::install::history::History;
use crate::supervisor::installed;

struct World {
    dir: tempfile::TempDir,
    home: Home,
    guests: Guests,
    disk: FaultyDisk,
}

impl World {
    fn new() -> Self {
        // Thousands of synced writes: in memory where that is possible.
        let memory = Path::new("/dev/shm");
        let dir = tempfile::tempdir_in(memory).or_else(|_| tempfile::tempdir()).unwrap();
        let home = Home::new(dir.path().join("vh")).unwrap();
        home.create_dirs().unwrap();
        Self { dir, home, guests: Guests::default(), disk: FaultyDisk::new(Fault::Before(usize::MAX)) }
    }

    fn site(&self) -> Site<'_> {
        Site { home: &self.home, disk: &self.disk, auth: &self.guests }
    }

    fn staged(&self, version: &str) -> StagedAgent {
        let program = self.dir.path().join("pump");
        fs::write(&program, format!("program {version}")).unwrap();
        StagedAgent {
            program,
            package: "pump".into(),
            version: version.into(),
            identity: Some("pump".into()),
            default_identity: None,
            config: Some(format!("config {version}")),
            force: true,
            source: json!({"kind": "binary"}),
            env: BTreeMap::new(),
            installed_by: "test".into(),
            python: None,
            keys: None,
            then: Then { tag: Some("roof".into()), ..Then::default() },
        }
    }

    fn install(&self, site: &Site<'_>, version: &str) -> Result<Installed, InstallError> {
        stage(site, &self.staged(version), |_| true)?.commit(site)
    }

    fn roll_back(&self, site: &Site<'_>) -> Result<Installed, InstallError> {
        let agent = installed::list(&self.home).0.remove(0);
        stage_rollback(site, &agent, None, "test", None)?.commit(site)
    }

    fn remove(&self, site: &Site<'_>) -> Result<(), InstallError> {
        remove(site, &installed::list(&self.home).0.remove(0), Keep::default()).map(drop)
    }

    /// What is installed, after looking at all of it: the version, whose program, configuration and ledger have to agree.
    fn installed(&self) -> Option<String> {
        let (mut agents, skipped) = installed::list(&self.home);
        assert!(skipped.is_empty() && agents.len() < 2, "{skipped:?} {agents:?}");
        let agent = agents.pop()?;
        let manifest = agent.manifest.clone().unwrap();
        let version = manifest.version.clone();
        let read = |path: &Path| fs::read_to_string(path).unwrap();
        assert_eq!(agent.name, format!("pump-{version}"));
        assert_eq!(read(&agent.dir.path().join(&manifest.exec)), format!("program {version}"));
        assert_eq!(read(&agent.dir.config()), format!("config {version}"));
        assert_eq!(agent.tag.as_deref(), Some("roof"));
        let history = History::load(&agent.dir);
        assert_eq!(history.events.last().unwrap().version, version);
        for kept in &history.versions {
            let program = read(&agent.dir.path().join(&kept.manifest.exec));
            assert_eq!(program, format!("program {}", kept.manifest.version));
        }
        let key = keystore::load(&agent.keystore()).unwrap().public.to_string();
        assert!(self.guests.0.lock().unwrap().contains(&key), "it is let in");
        Some(version)
    }

    /// Requires that there is nothing but what is needed.
    fn assert_clean(&self) {
        let agents = installed::list(&self.home).0;
        let mut programs: Vec<String> = Vec::new();
        for agent in &agents {
            programs.push(agent.manifest.as_ref().unwrap().exec.clone());
            programs.extend(History::load(&agent.dir).versions.into_iter().map(|v| v.manifest.exec));
        }
        programs.sort();
        programs.dedup();
        let names = |path: &Path| -> Vec<String> {
            let entries = fs::read_dir(path).into_iter().flatten().flatten();
            let mut names: Vec<_> = entries
                .map(|e| e.file_name().to_string_lossy().into_owned())
                .filter(|n| n != ".lock")
                .collect();
            names.sort();
            names
        };
        assert_eq!(names(&self.home.bin()).len(), programs.len(), "{:?}", names(&self.home.bin()));
        assert_eq!(names(&self.home.agents()).len(), agents.len() * 2, "{:?}", names(&self.home.agents()));
        assert_eq!(self.guests.0.lock().unwrap().len(), agents.len(), "auth entries");
        for agent in &agents {
            let expected =
                ["NAME", "TAG", "UUID", "agent.json", "config", "data", "history.json", "keystore.json"];
            assert_eq!(names(agent.dir.path()), expected);
            assert_eq!(names(&self.home.agents().join(&agent.uuid)), ["IDENTITY", "agent.link", &agent.name]);
            assert_eq!(fs::read_to_string(agent.dir.data().join("kept")).unwrap_or_default(), "data");
        }
    }
}

type Operation = fn(&World, &Site<'_>) -> Result<(), InstallError>;

/// An operation, what was there before it, and what is there after it.
const OPERATIONS: [(&str, &[&str], Operation, Option<&str>); 4] = [
    ("install", &[], |w, site| w.install(site, "1").map(drop), Some("1")),
    ("upgrade", &["1", "2"], |w, site| w.install(site, "3").map(drop), Some("3")),
    ("rollback", &["1", "2"], |w, site| w.roll_back(site).map(drop), Some("1")),
    ("remove", &["1", "2"], |w, site| w.remove(site), None),
];

fn prepared(before: &[&str]) -> World {
    let world = World::new();
    for version in before {
        world.install(&world.site(), version).unwrap();
        fs::write(world.home.agent("pump").data().join("kept"), "data").unwrap();
    }
    world
}

/// Lets the fault strike, comes up again, and looks.
fn check(what: &str, before: &[&str], run: Operation, after: Option<&str>, fault: Fault) {
    let world = prepared(before);
    let identity =
        || installed::list(&world.home).0.pop().map(|a| (a.uuid.clone(), fs::read(a.keystore()).unwrap()));
    let was = identity();
    let disk = FaultyDisk::new(fault);
    let done = run(&world, &Site { disk: &disk, ..world.site() });
    let full = matches!(fault, Fault::Full(_));
    if full {
        // The platform goes on, without a new start.
        let now = world.installed();
        let expected = if done.is_ok() { after } else { before.last().copied() };
        assert_eq!(now.as_deref(), expected, "{what} with {fault:?}: {done:?}");
    }
    repair(&world.site()).unwrap();
    let now = world.installed();
    let old_or_new = [before.last().copied(), after].contains(&now.as_deref());
    assert!(old_or_new, "{what} with {fault:?}: {now:?} is in place");
    if done.is_ok() {
        assert_eq!(now.as_deref(), after, "{what} with {fault:?} reported success");
    }
    if let (Some(was), Some(is)) = (was, identity()) {
        assert_eq!(is, was, "uuid and keys");
    }
    if before.is_empty() && now.is_some() {
        fs::write(world.home.agent("pump").data().join("kept"), "data").unwrap();
    }
    world.assert_clean();
    // And everything works.
    world.install(&world.site(), "9").unwrap();
    assert_eq!(world.installed().as_deref(), Some("9"));
}

#[test]
fn a_power_cut_or_a_full_disk_at_any_step_leaves_the_old_version_or_the_new_one() {
    for (what, before, run, after) in OPERATIONS {
        let world = prepared(before);
        let disk = FaultyDisk::new(Fault::Before(usize::MAX));
        run(&world, &Site { disk: &disk, ..world.site() }).unwrap();
        assert_eq!(world.installed().as_deref(), after);
        let steps = disk.operations();
        assert!(steps > 5, "{what} has {steps} steps");
        for n in 0..steps {
            for fault in [Fault::Before(n), Fault::Within(n), Fault::After(n), Fault::Full(n)] {
                check(what, before, run, after, fault);
            }
        }
    }
}

/// An agent of which nothing but its data, its configuration and its uuid is whole.
fn damaged() -> World {
    let world = prepared(&["1"]);
    let dir = world.home.agent("pump");
    fs::write(dir.launch(), "{").unwrap();
    fs::write(dir.keystore(), "{ key").unwrap();
    world
}

#[test]
fn the_program_of_a_damaged_agent_waits_for_its_repair() {
    let world = prepared(&["1"]);
    let manifest = fs::read(world.home.agent("pump").launch()).unwrap();
    fs::write(world.home.agent("pump").launch(), "{").unwrap();
    repair(&world.site()).unwrap();
    fs::write(world.home.agent("pump").launch(), manifest).unwrap();
    let agent = installed::list(&world.home).0.remove(0);
    assert!(agent.dir.path().join(&agent.manifest.unwrap().exec).exists());
}

#[test]
fn a_damaged_agent_is_installed_again_and_loses_nothing_at_any_step() {
    let world = damaged();
    let uuid = fs::read_to_string(world.home.agent("pump").uuid()).unwrap();
    let gentle = StagedAgent { force: false, ..world.staged("2") };
    assert!(matches!(stage(&world.site(), &gentle, |_| true), Err(InstallError::IdentityExists(_))));
    let disk = FaultyDisk::new(Fault::Before(usize::MAX));
    world.install(&Site { disk: &disk, ..world.site() }, "2").unwrap();
    assert_eq!(world.installed().as_deref(), Some("2"));
    let agent = installed::list(&world.home).0.remove(0);
    assert_eq!(agent.uuid, uuid);
    assert_eq!(fs::read_to_string(agent.dir.path().join("keystore.json.damaged")).unwrap(), "{ key");
    for n in 0..disk.operations() {
        for fault in [Fault::Before(n), Fault::Within(n), Fault::After(n), Fault::Full(n)] {
            let world = damaged();
            let done = world.install(&Site { disk: &FaultyDisk::new(fault), ..world.site() }, "2");
            repair(&world.site()).unwrap();
            let (agents, skipped) = installed::list(&world.home);
            assert_eq!(agents.len() + skipped.len(), 1, "{fault:?}");
            if agents.is_empty() {
                assert!(done.is_err(), "{fault:?}");
                world.install(&world.site(), "2").unwrap();
            }
            assert_eq!(world.installed().as_deref(), Some("2"), "{fault:?}");
            let kept = fs::read_to_string(world.home.agent("pump").data().join("kept"));
            assert_eq!(kept.unwrap(), "data", "{fault:?}");
        }
    }
}
