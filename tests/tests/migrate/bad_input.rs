//! What is no home, or a broken one: told with file and place, and nothing written.

use std::fs::{self, File};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{SocketAddr, UnixListener};
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use volttron_tests::platform::Platform;
use volttron_tests::wait::until;
use volttron_utils::keys::KeyPair;

use crate::old::{NAME, Old, UUID, command, fails, item, keystore, run, snapshot};

/// Requires that a migration is refused with this code, says these words, and writes nothing.
fn refused(old: &Old, code: &str, words: &[&str]) {
    let before = snapshot(old.dir.path());
    let said = fails(&old.migrate(&["--yes", "--no-environments"]), code);
    for word in words {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert_eq!(snapshot(old.dir.path()), before);
}

#[test]
fn what_is_no_home_of_a_python_platform_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let (empty, file, to) = (dir.path().join("empty"), dir.path().join("file"), dir.path().join("to"));
    fs::create_dir(&empty).expect("a directory");
    fs::write(&file, "").expect("a file");
    let to = to.display().to_string();
    for path in [&empty, &file, &dir.path().join("missing")] {
        fails(
            &run(dir.path(), &["--json", "migrate", &path.display().to_string(), "--to", &to, "--yes"]),
            "VT1701",
        );
    }
    // Settings alone are what somebody prepared, not what a platform used.
    fs::write(empty.join("config"), "[volttron]\n").expect("write");
    let words = ["--json", "migrate", &empty.display().to_string(), "--to", &to, "--yes"];
    fails(&run(dir.path(), &words), "VT1701");
    fs::create_dir(empty.join("credentials_store")).expect("a directory");
    let said = fails(&run(dir.path(), &words), "VT1702");
    assert!(said.contains("11.x"), "{said}");
    // One of ours.
    let mut ours = Platform::start();
    assert_eq!(ours.terminate(), 0);
    let said = fails(
        &run(dir.path(), &["--json", "migrate", &ours.home().display().to_string(), "--to", &to, "-y"]),
        "VT1701",
    );
    assert!(said.contains("nothing to migrate"), "{said}");
    let said = fails(
        &run(
            dir.path(),
            &["--json", "migrate", "--undo", "--to", &ours.home().display().to_string(), "--force"],
        ),
        "VT1706",
    );
    assert!(said.contains("nothing was removed") && ours.home().join("keystore").exists(), "{said}");
}

#[test]
fn the_new_home_is_elsewhere_and_empty() {
    let old = Old::make(22916);
    let from = old.path().display().to_string();
    let inside = old.path().join("new").display().to_string();
    let around = old.dir.path().display().to_string();
    let deep = old.dir.path().join("d".repeat(100)).display().to_string();
    let before = snapshot(old.dir.path());
    for to in [&from, &inside, &around, &deep] {
        fails(&run(old.dir.path(), &["--json", "migrate", &from, "--to", to, "--yes"]), "VT1704");
    }
    // VOLTTRON_HOME is the new home where nothing else is said.
    let output =
        command(old.dir.path()).env("VOLTTRON_HOME", &from).args(["--json", "migrate", &from, "-y"]).output();
    fails(&output.expect("run vctl"), "VT1704");
    assert_eq!(snapshot(old.dir.path()), before);
}

#[test]
fn what_the_platform_needs_has_to_be_whole() {
    let old = Old::make(22916);
    let rules = fs::read_to_string(old.path().join("auth.json")).expect("rules");
    old.write("auth.json", "{\n  \"allow\": [\n    {\"domain\" null}\n  ]\n}");
    refused(&old, "VT1705", &["auth.json", "line 3 column 15", "+3"]);
    old.write("auth.json", "{\"version\": {\"major\": 2, \"minor\": 0}}");
    refused(&old, "VT1702", &["2.0"]);
    old.write("auth.json", &rules);
    old.write("protected_topics.json", "{\"write-protect\": [\n}");
    old.write("keystore", "{\"public\": 1");
    old.write("known_hosts", "[");
    old.write("config", "[volttron]\n= x\n");
    refused(
        &old,
        "VT1705",
        &["protected_topics.json: ", "line 2", "keystore", "known_hosts", "config (line 2)"],
    );
    // A report tells all of it, too, and fails.
    let output = old.migrate(&["--dry-run"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["problems"].as_array().map(Vec::len), Some(4), "{report:#}");
}

#[test]
fn what_is_broken_of_one_agent_leaves_the_others_alone() {
    let old = Old::make(22916);
    let other = "24b5a3a1-6d70-4c6d-8f3c-2f6d3b1b9d3a";
    old.write(&format!("agents/{other}/IDENTITY"), "second");
    old.write(&format!("agents/{other}/b-1/b-1.dist-info/keystore.json"), "{\n\"public\" 1}");
    old.write("agents/half/UUID", "");
    old.write("configuration_store/second.store", "{\n  \"a\": ,\n}");
    old.write("keystores/outside/keystore.json", "{");
    let data = old.path().join(format!("agents/{UUID}/{NAME}/{NAME}.agent-data"));
    symlink("/etc/hosts", data.join("out")).expect("a link");
    symlink("notes/a.txt", data.join("in")).expect("a link");
    symlink(old.path().join("web-users.json"), old.path().join("absolute")).expect("a link");
    rustix::fs::mknodat(rustix::fs::CWD, data.join("pipe"), rustix::fs::FileType::Fifo, 0o600.into(), 0)
        .expect("a pipe");
    old.write("notes.json", &json!({"certificate": old.path().join("certificates/x")}).to_string());
    old.write(
        "configuration_store/paths.store",
        &json!({"a": {"type": "raw", "modified": null, "data": format!("{}/x", old.path().display())}})
            .to_string(),
    );
    let before = snapshot(&old.path());
    let report = old.migrated(&["--yes", "--no-environments"]);
    assert_eq!(snapshot(&old.path()), before);
    let left = item(&report, "agent", other);
    assert_eq!(left["action"], "leave");
    assert!(left["text"].as_str().expect("text").contains("line 2 column"), "{left}");
    assert_eq!(item(&report, "agent", "half")["action"], "leave");
    assert_eq!(item(&report, "keys", "outside")["action"], "leave");
    assert!(
        item(&report, "config-store", "second")["text"].as_str().expect("text").contains("line 2 column 8")
    );
    let new = old.new_home();
    assert!(new.join("configuration_store/second.store").exists(), "nothing is thrown away");
    assert!(!new.join(format!("agents/{other}")).exists() && new.join(format!("agents/{UUID}")).exists());
    let data = new.join(format!("agents/{UUID}/{NAME}/{NAME}.agent-data"));
    assert_eq!(fs::read_link(data.join("in")).expect("a link").to_str(), Some("notes/a.txt"));
    assert!(data.join("out").symlink_metadata().is_err() && data.join("pipe").symlink_metadata().is_err());
    assert_eq!(fs::read_link(new.join("absolute")).expect("a link"), new.join("web-users.json"));
    // What named the old home would let the new platform write there.
    let store = fs::read_to_string(new.join("configuration_store/paths.store")).expect("a store");
    assert!(store.contains(&format!("{}/x", new.display())), "{store}");
    assert_eq!(item(&report, "file", "configuration_store/paths.store")["action"], "convert");
}

#[test]
fn files_that_may_not_be_read_and_disks_that_are_full() {
    let old = Old::make(22916);
    // Larger than any disk, though it takes no room here.
    let huge = old.path().join("huge.bin");
    if File::create(&huge).and_then(|f| f.set_len(8 << 40)).is_ok() {
        let said = fails(&old.migrate(&["--yes", "--no-environments"]), "VT1516");
        assert!(said.contains("needs 8"), "{said}");
        assert_eq!(old.beside(), ["old"]);
    }
    fs::remove_file(&huge).expect("remove");
    // A disk that is full in the middle of it, as a limit of the size of files.
    File::create(&huge).and_then(|f| f.set_len(4 << 20)).expect("a file");
    let (from, to) = (old.path().display().to_string(), old.new_home().display().to_string());
    let before = snapshot(old.dir.path());
    let vctl = volttron_tests::programs::program("vctl");
    let line = format!(
        "trap '' XFSZ; ulimit -f 1024; exec {} --json migrate {from} --to {to} --yes --no-environments",
        vctl.display()
    );
    let output =
        std::process::Command::new("sh").args(["-c", &line]).stdin(Stdio::null()).output().expect("run sh");
    let said = fails(&output, "VT1006");
    assert!(said.contains("huge.bin"), "{said}");
    assert_eq!(snapshot(old.dir.path()), before);
    fs::remove_file(&huge).expect("remove");

    if rustix::process::geteuid().is_root() {
        unreadable_as_somebody_else(&old);
    }
}

/// Root may read everything, so it is somebody else who tries.
fn unreadable_as_somebody_else(old: &Old) {
    use std::os::unix::process::CommandExt;
    let secret = old.path().join("certificates/private");
    fs::create_dir(&secret).expect("a directory");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o700)).expect("protect it");
    fs::set_permissions(old.dir.path(), fs::Permissions::from_mode(0o777)).expect("open it");
    let before = snapshot(old.dir.path());
    let mut vctl = command(old.dir.path());
    vctl.uid(65534).gid(65534).current_dir("/");
    vctl.args(["--json", "migrate"]).arg(old.path()).arg("--to").arg(old.new_home()).arg("--yes");
    let output = match vctl.output() {
        Ok(output) => output,
        Err(e) => return eprintln!("LEFT OUT: another user cannot run programs here: {e}"),
    };
    let said = fails(&output, "VT1705");
    for name in ["certificates/private", "keystore", "keystore.json", "sudo -u '#0'"] {
        assert!(said.contains(name), "{name}: {said}");
    }
    assert_eq!(snapshot(old.dir.path()), before);
}

#[test]
fn a_platform_or_an_agent_at_work_in_it_is_seen() {
    let old = Old::make(22916);
    old.write(&format!("agents/{UUID}/{NAME}/x"), "");
    // An agent that its platform left behind works in its directory.
    let mut agent = std::process::Command::new("sleep")
        .arg("1000")
        .current_dir(old.path().join(format!("agents/{UUID}/{NAME}")))
        .spawn()
        .expect("a process");
    refused(&old, "VT1703", &[&agent.id().to_string()]);
    let _ = agent.kill();
    let _ = agent.wait();
    // A platform whose VOLTTRON_PID another one has taken away still has its socket.
    let name = format!("{}/run/vip.socket", old.path().display());
    let address = SocketAddr::from_abstract_name(&name).expect("a name");
    let socket = UnixListener::bind_addr(&address).expect("bind");
    refused(&old, "VT1703", &["serves its socket"]);
    drop(socket);
    // A process that another test is just starting may hold it for an instant.
    until("the socket to go", Duration::from_secs(30), || {
        let sockets = fs::read_to_string("/proc/net/unix").expect("the sockets");
        (!sockets.contains(&name)).then_some(())
    });
    // A dead pid in VOLTTRON_PID is no platform.
    old.write("keystores/new/keystore.json", &keystore(&KeyPair::generate()));
    old.migrated(&["--yes", "--no-environments"]);
}
