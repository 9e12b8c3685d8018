//! Installing staged programs: names, keys, replacing, what a refusal leaves.

use serde_json::json;
use volttron_utils::files;

use super::*;
use crate::install::history::{History, Terms, Trial};
use crate::install::testing::NobodyKnown;
use crate::install::{AgentSettings, stage_settings};

/// Installs at once, as the platform does between stopping and starting.
fn register(home: &Home, staged: &StagedAgent) -> Result<Installed, InstallError> {
    let site = Site::new(home, &NobodyKnown);
    stage(&site, staged, |_| false)?.commit(&site)
}

fn home() -> (tempfile::TempDir, Home) {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::new(dir.path().join("vh")).unwrap();
    home.create_dirs().unwrap();
    (dir, home)
}

fn programs(home: &Home) -> usize {
    let names = fs::read_dir(home.bin()).unwrap().map(|e| e.unwrap().file_name());
    names.filter(|name| !name.to_string_lossy().starts_with('.')).count()
}

fn staged(dir: &tempfile::TempDir, content: &str) -> StagedAgent {
    let program = dir.path().join("my-agent");
    fs::write(&program, content).unwrap();
    StagedAgent {
        program,
        package: "my-agent".into(),
        version: "1.0.0".into(),
        identity: None,
        default_identity: Some("mine_{n}".into()),
        config: None,
        force: false,
        source: json!({"kind": "binary"}),
        env: BTreeMap::new(),
        python: None,
        keys: None,
        installed_by: "control.connection".into(),
        then: Then::default(),
    }
}

#[test]
fn an_agent_gets_an_identity_keys_and_a_directory() {
    let (dir, home) = home();
    let installed = register(&home, &staged(&dir, "one")).unwrap();
    assert_eq!(installed.identity, "mine_1");
    let agent = installed::list(&home).0.remove(0);
    assert_eq!((agent.uuid.as_str(), agent.name.as_str()), (installed.uuid.as_str(), "my-agent-1.0.0"));
    let exec = agent.dir.path().join(&agent.manifest.as_ref().unwrap().exec);
    assert_eq!(fs::read_to_string(exec).unwrap(), "one");
    assert_eq!(files::open_bits(&agent.keystore()).unwrap() & 0o077, 0);
    assert_eq!(fs::read_to_string(agent.dir.config()).unwrap(), "{}");
    assert_eq!(fs::read_to_string(home.agents().join(&agent.uuid).join("IDENTITY")).unwrap(), "mine_1");
    assert_eq!(register(&home, &staged(&dir, "one")).unwrap().identity, "mine_2");
    assert_eq!(programs(&home), 1, "the same program is stored once");
}

#[test]
fn force_keeps_everything_but_the_program() {
    let (dir, home) = home();
    let mut first = staged(&dir, "one");
    first.identity = Some("mine".into());
    first.config = Some("{\"a\": 1}".into());
    let before = register(&home, &first).unwrap();
    let mut agent = installed::list(&home).0.remove(0);
    agent.set_tag(Some("tag")).unwrap();
    agent.set_priority(Some("70")).unwrap();
    fs::write(agent.dir.data().join("kept"), "data").unwrap();

    let mut second = staged(&dir, "two");
    second.identity = Some("mine".into());
    assert!(matches!(register(&home, &second), Err(InstallError::IdentityExists(_))));
    assert_eq!(programs(&home), 1, "a refusal leaves nothing");
    second.force = true;
    second.version = "1.1.0".into();
    let after = register(&home, &second).unwrap();
    assert_eq!((&after.uuid, &after.public_key), (&before.uuid, &before.public_key));
    let agent = installed::list(&home).0.remove(0);
    assert_eq!(agent.name, "my-agent-1.1.0");
    assert_eq!((agent.tag.as_deref(), agent.priority.as_deref()), (Some("tag"), Some("70")));
    assert_eq!(fs::read_to_string(agent.dir.config()).unwrap(), "{\"a\": 1}");
    assert_eq!(fs::read_to_string(agent.dir.data().join("kept")).unwrap(), "data");
    let exec = agent.dir.path().join(&agent.manifest.unwrap().exec);
    assert_eq!(fs::read_to_string(exec).unwrap(), "two");
    assert_eq!(programs(&home), 2, "the old program is kept to go back to");
    assert_eq!(after.replaced.as_deref(), Some("my-agent-1.0.0"));
    second.then.only_if_new = true;
    let again = register(&home, &second).unwrap();
    assert!(again.unchanged, "the same once more changes nothing");
    let links: Vec<_> = fs::read_dir(home.agents().join(&after.uuid)).unwrap().flatten().collect();
    assert_eq!(links.len(), 3, "older paths of the present version only: {links:?}");
}

#[test]
fn another_build_of_the_same_version_stands_beside_the_first() {
    let (dir, home) = home();
    register(&home, &staged(&dir, "one")).unwrap();
    register(&home, &staged(&dir, "two")).unwrap();
    assert_eq!(programs(&home), 2);
}

#[test]
fn identities_of_the_platform_and_impossible_ones_are_refused() {
    let (dir, home) = home();
    for identity in ["control", "platform.auth", "config.store", "a b", "..", "", "control.connection.x", "é"]
    {
        let mut staged = staged(&dir, "one");
        staged.identity = Some(identity.into());
        assert!(matches!(register(&home, &staged), Err(InstallError::BadIdentity(_))), "{identity}");
    }
    let mut long = staged(&dir, "one");
    long.identity = Some("x".repeat(65));
    assert!(matches!(register(&home, &long), Err(InstallError::BadIdentity(_))));
    assert!(installed::list(&home).0.is_empty());
}

#[test]
fn a_taken_default_is_told_from_a_taken_wish() {
    let (dir, home) = home();
    let mut agent = staged(&dir, "one");
    agent.default_identity = Some("only.one".into());
    register(&home, &agent).unwrap();
    let error = register(&home, &agent).unwrap_err().to_string();
    assert_eq!(error, "Agent with VIP ID only.one already installed on platform.");
    agent.identity = Some("pump_{n}".into());
    assert_eq!(register(&home, &agent).unwrap().identity, "pump_1");
    agent.default_identity = None;
    agent.identity = None;
    assert_eq!(register(&home, &agent).unwrap().identity, "my-agent-1.0.0_1");
}

#[test]
fn an_agent_of_the_older_layout_keeps_uuid_keys_tag_and_data() {
    let (dir, home) = home();
    let uuid = "914be0d1-142a-4018-a4b5-91f6af75a296";
    let old = home.agents().join(uuid);
    let info = old.join("pumpagent-1.0/pumpagent-1.0.dist-info");
    fs::create_dir_all(&info).unwrap();
    fs::create_dir_all(old.join("pumpagent-1.0/pumpagent-1.0.agent-data")).unwrap();
    fs::write(old.join("pumpagent-1.0/pumpagent-1.0.agent-data/kept"), "data").unwrap();
    fs::write(old.join("IDENTITY"), "mine").unwrap();
    fs::write(old.join("TAG"), "roof").unwrap();
    let keys = KeyPair::generate();
    keystore::write(&info.join("keystore.json"), &keys).unwrap();
    let mut agent = staged(&dir, "one");
    (agent.identity, agent.force) = (Some("mine".into()), true);
    let installed = register(&home, &agent).unwrap();
    assert_eq!((installed.uuid.as_str(), installed.public_key), (uuid, keys.public));
    let all = installed::list(&home).0;
    assert_eq!((all.len(), all[0].tag.as_deref()), (1, Some("roof")));
    assert_eq!(fs::read_to_string(all[0].dir.data().join("kept")).unwrap(), "data");
}

#[test]
fn removing_takes_everything_but_what_others_need() {
    let (dir, home) = home();
    let one = register(&home, &staged(&dir, "one")).unwrap();
    register(&home, &staged(&dir, "one")).unwrap();
    let site = Site::new(&home, &NobodyKnown);
    let agents = installed::list(&home).0;
    remove(&site, &agents[0], Keep::default()).unwrap();
    assert_eq!((fs::read_dir(home.agents()).unwrap().count(), programs(&home)), (2, 1));
    assert_ne!(installed::list(&home).0[0].uuid, one.uuid);
    remove(&site, &agents[1], Keep { auth: true, data: false }).unwrap();
    assert_eq!((fs::read_dir(home.agents()).unwrap().count(), programs(&home)), (0, 0));
}

#[test]
fn data_that_is_to_be_kept_lies_among_the_backups_afterwards() {
    let (dir, home) = home();
    let site = Site::new(&home, &NobodyKnown);
    let keep = Keep { auth: false, data: true };
    register(&home, &staged(&dir, "one")).unwrap();
    let agent = installed::list(&home).0.remove(0);
    assert_eq!(remove(&site, &agent, keep).unwrap(), None, "it has written nothing");
    for expected in ["", "-2"] {
        register(&home, &staged(&dir, "one")).unwrap();
        let mut agent = installed::list(&home).0.remove(0);
        fs::create_dir_all(agent.dir.data()).unwrap();
        fs::write(agent.dir.data().join("kept"), "data").unwrap();
        agent.uuid = "u".to_owned();
        let place = remove(&site, &agent, keep).unwrap().unwrap();
        assert_eq!(place, home.backups().join(format!("{}-u{expected}", agent.identity)));
        assert_eq!(fs::read_to_string(place.join("kept")).unwrap(), "data");
        assert!(installed::list(&home).0.is_empty());
    }
}

#[test]
fn other_settings_do_not_end_a_trial_and_do_not_make_its_version_one_to_go_back_to() {
    let (dir, home) = home();
    register(&home, &staged(&dir, "one")).unwrap();
    let mut second = staged(&dir, "two");
    (second.identity, second.version, second.force) = (Some("mine_1".into()), "2.0.0".into(), true);
    let terms = Terms { period_s: 60.0, good: true };
    second.then.trial = Some(terms);
    let site = Site::new(&home, &NobodyKnown);
    stage(&site, &second, |_| true).unwrap().commit(&site).unwrap();

    let agent = installed::list(&home).0.remove(0);
    let settings = AgentSettings { config: Some("{\"b\": 2}".into()), ..AgentSettings::default() };
    let (pending, restarts) = stage_settings(&site, &agent, &settings, "me").unwrap().unwrap();
    assert!(restarts);
    pending.commit(&site).unwrap();
    let history = History::load(&agent.dir);
    assert_eq!(history.trial, Some(Trial { number: history.present, terms }));
    assert_eq!(history.target(None).unwrap().manifest.version, "1.0.0");
}
