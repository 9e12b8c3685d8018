use super::*;

fn home() -> (tempfile::TempDir, Home) {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::new(dir.path()).unwrap();
    home.create_dirs().unwrap();
    (dir, home)
}

fn install(home: &Home, identity: &str, uuid: &str) {
    let dir = home.agent(identity);
    fs::create_dir_all(dir.data()).unwrap();
    fs::write(dir.uuid(), uuid).unwrap();
    fs::write(dir.name(), "volttron-listener-0.1.0").unwrap();
    fs::write(dir.config(), "{}").unwrap();
    let manifest = r#"{"format": 1, "package": "volttron-listener", "version": "0.1.0", "exec": "/bin/true",
        "runtime": "native", "future": 7}"#;
    fs::write(dir.launch(), manifest).unwrap();
}

#[test]
fn complete_directories_are_agents_and_incomplete_ones_are_named() {
    let (_guard, home) = home();
    install(&home, "b", "u-b");
    install(&home, "a", "u-a");
    fs::create_dir(home.agents().join(".tmp-1")).unwrap();
    fs::create_dir(home.agents().join("broken")).unwrap();
    fs::write(home.agents().join("broken/UUID"), "u").unwrap();
    let (agents, skipped) = list(&home);
    assert_eq!(agents.iter().map(|a| a.identity.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(agents[0].version(), "0.1.0");
    assert!(skipped.len() == 1 && skipped[0].contains("NAME"), "{skipped:?}");
}

#[test]
fn directories_of_the_older_layout_are_agents_too() {
    let (_guard, home) = home();
    let uuid = "914be0d1-142a-4018-a4b5-91f6af75a296";
    let info = home.agents().join(uuid).join("listeneragent-3.3/listeneragent-3.3.dist-info");
    fs::create_dir_all(&info).unwrap();
    fs::write(home.agents().join(uuid).join("IDENTITY"), "listener").unwrap();
    fs::write(info.join("config"), "{}").unwrap();
    let (agents, skipped) = list(&home);
    assert!(skipped.is_empty(), "{skipped:?}");
    let agent = &agents[0];
    assert_eq!(
        (agent.uuid.as_str(), agent.name.as_str(), agent.version()),
        (uuid, "listeneragent-3.3", "3.3")
    );
    assert!(agent.config().is_some() && agent.manifest.is_none());
}

#[test]
fn tag_and_priority_are_files() {
    let (_guard, home) = home();
    install(&home, "a", "u-a");
    let mut agent = list(&home).0.remove(0);
    agent.set_tag(Some(&"x".repeat(80))).unwrap();
    agent.set_priority(Some("07")).unwrap();
    let again = list(&home).0.remove(0);
    assert_eq!(again.tag.as_ref().map(String::len), Some(64));
    assert_eq!((again.priority.as_deref(), again.start_rank()), (Some("07"), Some(7)));
    agent.set_tag(None).unwrap();
    agent.set_tag(None).unwrap();
    agent.set_priority(None).unwrap();
    let again = list(&home).0.remove(0);
    assert_eq!((again.tag, again.priority), (None, None));
}

#[test]
fn priorities_are_whole_numbers_up_to_99() {
    for good in ["0", "07", "50", "99"] {
        assert!(check_priority(good).is_ok(), "{good}");
    }
    for bad in ["", "100", "-1", "+5", "1.5", "x"] {
        assert!(check_priority(bad).is_err(), "{bad}");
    }
}
