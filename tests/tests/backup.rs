//! `vctl backup`, `vctl restore` and `vctl bugreport` with the real programs: everything comes back and runs, nothing is
//! left half done, and no secret leaves with a report.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use volttron_tests::platform::Platform;
use volttron_tests::probe::peer;
use volttron_tests::programs::program;
use volttron_tests::pump::{Does, Pump};
use volttron_tests::wait::until;

const PATIENCE: Duration = Duration::from_secs(60);

fn text(path: &Path) -> String {
    path.to_str().expect("a path").to_owned()
}

fn fails(output: &Output, code: &str) {
    assert!(!output.status.success(), "{output:?}");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains(&format!("\"code\":\"{code}\"")), "{code}: {stderr}");
}

/// Values in the history of a point, oldest first.
fn history(platform: &Platform) -> Vec<i64> {
    let args =
        json!({"topic": "campus/b1/rtu/Count", "count": 1_000_000, "order": "FIRST_TO_LAST"}).to_string();
    let answer = platform.vctl_json(&["call", "platform.historian", "query", "--kwargs", &args]);
    let values = answer["values"].as_array().cloned().unwrap_or_default();
    values.iter().filter_map(|row| row[1].as_i64()).collect()
}

fn run_as(platform: &Platform, words: &[&str]) -> Output {
    platform.vctl(&[&["--json"], words].concat())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_home_comes_back_elsewhere_with_its_agents_keys_configurations_and_history() {
    let files = tempfile::tempdir().expect("a directory");
    let mut first = Platform::prepare();
    let keys = first.admit("publisher", &json!({}));
    first.launch();
    let historian = text(&program("volttron-sql-historian"));
    first.vctl_json(&["install", &historian, "--vip-identity", "platform.historian", "--enable", "--start"]);
    let pump = text(&Pump::write(files.path(), "1.0.0", Does::Works));
    let config = files.path().join("pump.json");
    let data = first.home().join("agents/pump/data/x.csv");
    fs::write(&config, json!({"file": data, "n": 1}).to_string()).expect("write");
    let install = ["install", &pump, "--tag", "roof", "--priority", "70", "--start", "--agent-config"];
    first.vctl_json(&[&install[..], &[&text(&config)]].concat());
    fs::write(&data, "kept").expect("write");
    let entry = files.path().join("entry.json");
    fs::write(&entry, json!({"cert": first.home().join("certificates/x"), "n": 5}).to_string())
        .expect("write");
    first.vctl_ok(&["config", "store", "pump", "some/entry", &text(&entry)]);

    // Readings come in all the time, also while the backup is made.
    let publisher = peer("publisher", &first.address(), &first.server_key(), keys).await;
    let stop = Arc::new(AtomicBool::new(false));
    let told = stop.clone();
    let publishing = tokio::spawn(async move {
        let mut n = 0_i64;
        while !told.load(Ordering::Acquire) {
            let message = json!([{"Count": n}, {"Count": {"units": "1", "type": "integer", "tz": "UTC"}}]);
            publisher.publish("devices/campus/b1/rtu/all", &message).await.expect("published");
            n += 1;
        }
        n
    });
    let before = until("some history", PATIENCE, || Some(history(&first).len()).filter(|n| *n > 20));
    let archive = files.path().join("site1.tar.gz");
    let output = run_as(&first, &["backup", &text(&archive)]);
    stop.store(true, Ordering::Release);
    publishing.await.expect("published");
    assert!(output.status.success(), "{output:?}");
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(told["databases"].as_u64() >= Some(1), "the history was copied by SQLite: {told}");
    assert_eq!(told["warnings"], json!([]), "{told}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("holds secret keys"), "{output:?}");
    assert_eq!(fs::metadata(&archive).expect("an archive").permissions().mode() & 0o777, 0o600);
    fails(&run_as(&first, &["backup", &text(&archive)]), "VT1501");
    fails(&run_as(&first, &["restore", &text(&archive), "--force"]), "VT1503");
    let list = first.vctl_json(&["list"]);
    assert_eq!(first.terminate(), 0);

    // Another home, elsewhere.
    let mut second = Platform::prepare();
    fails(&run_as(&second, &["restore", &text(&archive)]), "VT1514");
    fs::remove_file(second.home().join("config")).expect("remove");
    let checked = second.vctl_json(&["restore", &text(&archive), "--check"]);
    assert_eq!(checked["agents"].as_array().map(Vec::len), Some(2), "{checked}");
    assert_eq!(fs::read_dir(second.home()).expect("a directory").count(), 0, "nothing was written");
    let restored = second.vctl_json(&["restore", &text(&archive)]);
    assert_eq!(restored["install_again"], json!([]), "{restored}");
    for name in ["agents/pump/config", "configuration_store/pump.store"] {
        let adapted = restored["adapted"].as_array().expect("a list");
        assert!(adapted.contains(&name.into()), "{name}: {restored}");
    }
    // Nothing of the first one is needed.
    let aside = first.home().with_extension("gone");
    fs::rename(first.home(), &aside).expect("rename");
    second.launch();
    assert_eq!(second.vctl_json(&["list"]), list);
    for name in ["keystore", "agents/pump/keystore.json", "keystores/control.connection/keystore.json"] {
        assert_eq!(fs::read(second.home().join(name)).ok(), fs::read(aside.join(name)).ok(), "{name}");
        let mode = fs::metadata(second.home().join(name)).expect("a keystore").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    for agent in ["pump", "platform.historian"] {
        until(agent, PATIENCE, || {
            let row = second.vctl_json(&["status"])[agent].clone();
            (row["health"]["message"] == "GOOD").then_some(())
        });
    }
    assert_eq!(fs::read_to_string(second.home().join("agents/pump/data/x.csv")).expect("data"), "kept");
    let entry = second.vctl_json(&["config", "get", "pump", "some/entry"]);
    assert_eq!(entry, json!({"cert": second.home().join("certificates/x"), "n": 5}));
    let config = fs::read_to_string(second.home().join("agents/pump/config")).expect("read");
    assert!(config.contains(&text(second.home())) && !config.contains(&text(first.home())), "{config}");
    let values = history(&second);
    assert!(values.len() >= before, "{} of {before}", values.len());
    assert_eq!(values, (0..values.len() as i64).collect::<Vec<_>>(), "no gap and nothing twice");
    let diagnosis = second.vctl(&["--json", "doctor"]);
    let diagnosis: Value = serde_json::from_slice(&diagnosis.stdout).expect("JSON");
    assert!(diagnosis["level"] != "fault", "{diagnosis:#}");
    assert_eq!(second.terminate(), 0);

    // Over it once more: what was there is moved aside, and not lost.
    let again = second.vctl_json(&["restore", &text(&archive), "--force"]);
    let moved = PathBuf::from(again["moved_aside"].as_str().expect("a path"));
    assert!(moved.join("audit.log").exists() && second.home().join("agents/pump/UUID").exists());
    fs::remove_dir_all(moved).expect("remove");
    fs::rename(aside, first.home()).expect("rename");
}

/// A home that ran, and an archive of it.
fn archived(files: &TempDir, options: &[&str]) -> (Platform, PathBuf) {
    let mut platform = Platform::start();
    let pump = text(&Pump::write(files.path(), "1.0.0", Does::Works));
    platform.vctl_json(&["install", &pump, "--vip-identity", "pump"]);
    assert_eq!(platform.terminate(), 0);
    let archive = files.path().join("archive.tar.gz");
    platform.vctl_json(&[&["backup", &text(&archive)], options].concat());
    (platform, archive)
}

fn empty_home() -> Platform {
    let platform = Platform::prepare();
    fs::remove_file(platform.home().join("config")).expect("remove");
    platform
}

#[test]
fn programs_that_are_left_out_are_named_and_installed_again() {
    let files = tempfile::tempdir().expect("a directory");
    let (first, archive) = archived(&files, &["--no-programs"]);
    let key = fs::read_to_string(first.home().join("agents/pump/keystore.json")).expect("read");
    let mut second = empty_home();
    let restored = second.vctl_json(&["restore", &text(&archive)]);
    let again = restored["install_again"][0].as_str().expect("a command").to_owned();
    assert!(!second.home().join("bin").exists());
    second.launch();
    let words: Vec<&str> = again.split(' ').skip(1).chain(["--start"]).collect();
    assert_eq!(second.vctl_json(&words)["started"], true, "{again}");
    assert_eq!(fs::read_to_string(second.home().join("agents/pump/keystore.json")).expect("read"), key);
}

#[test]
fn nothing_is_written_from_what_is_no_whole_backup() {
    let files = tempfile::tempdir().expect("a directory");
    let (_first, archive) = archived(&files, &[]);
    let whole = fs::read(&archive).expect("read");
    let home = empty_home();
    let beside = || {
        let name = home.home().file_name().expect("a name").to_string_lossy().into_owned();
        let around = fs::read_dir(home.home().parent().expect("a parent")).expect("a directory").flatten();
        around.filter(|e| e.file_name().to_string_lossy().contains(&format!("{name}.restoring"))).count()
    };
    let refused = |bytes: &[u8], code: &str| {
        fs::write(&archive, bytes).expect("write");
        fails(&run_as(&home, &["restore", &text(&archive)]), code);
        assert_eq!(fs::read_dir(home.home()).expect("still there").count(), 0, "nothing was written");
        assert_eq!(beside(), 0, "nothing is left beside it");
    };
    refused(&whole[..whole.len() / 2], "VT1512");
    refused(b"no archive", "VT1511");
    let mut changed = whole.clone();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    refused(&changed, "VT1512");
    // An ordinary archive with what it should not have.
    let hostile = |script: &str| {
        let work = tempfile::tempdir().expect("a directory");
        let out = work.path().join("out.tar.gz");
        fs::write(work.path().join("volttron-backup.json"), "{\"format\": 1, \"version\": \"0.1.0\"}")
            .expect("write");
        let done = Command::new("sh").current_dir(work.path()).arg("-c").arg(script).status().expect("sh");
        assert!(done.success(), "{script}");
        fs::read(out).expect("read")
    };
    let make = "tar --format=gnu -czf out.tar.gz volttron-backup.json";
    refused(&hostile(&format!("mkdir home; ln -s /etc home/etc; {make} home/etc")), "VT1513");
    let outside =
        "tar --format=gnu -P -czf out.tar.gz --transform s,^x$,home/../../x, volttron-backup.json x";
    refused(&hostile(&format!("echo x > x; {outside}")), "VT1513");
    refused(&hostile(&format!("echo x > y; {make} y")), "VT1513");
    refused(&hostile(&format!("mkdir home; mkfifo home/p; {make} home/p")), "VT1513");
    refused(&hostile("tar -czf out.tar.gz --transform s/.*/auth.json/ volttron-backup.json"), "VT1511");
}

#[test]
fn an_interrupted_backup_or_restore_leaves_nothing() {
    let files = tempfile::tempdir().expect("a directory");
    let (first, archive) = archived(&files, &[]);
    // Something that takes its time: no two bytes alike, so that it stays large.
    let mut noise = vec![0_u8; 24 << 20];
    let mut state = 1_u32;
    for byte in &mut noise {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *byte = (state >> 24) as u8;
    }
    fs::write(first.home().join("agents/pump/data/noise"), &noise).expect("write");
    let interrupt =
        |with: Signal, words: &[&str], platform: &Platform, made: &Path, begun: &dyn Fn(&str) -> bool| {
            let dir = made.parent().expect("a directory");
            // On a busy machine all may be done before the signal gets there: then it is whole, and it is tried again.
            for _ in 0..20 {
                let mut child = platform.command("vctl").args(words).spawn().expect("start vctl");
                until("work to begin", PATIENCE, || {
                    let names = fs::read_dir(dir).expect("a directory").flatten();
                    let mut names = names.map(|e| e.file_name().to_string_lossy().into_owned());
                    (names.any(|name| begun(&name)) || made.exists()).then_some(())
                });
                let pid = rustix::process::Pid::from_child(&child);
                rustix::process::kill_process(pid, with).expect("interrupt");
                let code = child.wait().expect("vctl ends").code();
                if with == Signal::KILL {
                    if code.is_none() {
                        return;
                    }
                    fs::remove_file(made).expect("remove what was made");
                    continue;
                }
                let left = fs::read_dir(dir).expect("a directory").flatten();
                let left: Vec<String> = left.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
                assert!(!left.iter().any(|name| begun(name)), "{left:?}");
                assert_eq!((code == Some(0), code.is_some()), (made.exists(), true), "{words:?}: {code:?}");
                if code != Some(0) {
                    let told = if with == Signal::INT { 1 } else { 128 + with.as_raw() };
                    assert_eq!(code, Some(told), "{words:?}");
                    return;
                }
                let done = if made.is_dir() { fs::remove_dir_all(made) } else { fs::remove_file(made) };
                done.expect("remove what was made");
            }
            panic!("{words:?} was never interrupted");
        };
    let other = tempfile::tempdir().expect("a directory");
    let big = text(&other.path().join("big.tar.gz"));
    let begun = |name: &str| name.contains("big.tar.gz.writing-");
    for signal in [Signal::INT, Signal::TERM, Signal::HUP, Signal::KILL] {
        interrupt(signal, &["backup", &big], &first, Path::new(&big), &begun);
    }
    assert!(!Path::new(&big).exists());
    // What the last one left goes when there is the next one.
    let left = || fs::read_dir(other.path()).expect("a directory").flatten().count();
    assert_eq!(left(), 1);
    first.vctl_ok(&["backup", &big]);
    assert_eq!(left(), 1);
    let home = empty_home();
    let place = text(&other.path().join("vh"));
    let begun = |name: &str| name.contains("vh.restoring-");
    interrupt(Signal::INT, &["--vhome", &place, "restore", &big], &home, Path::new(&place), &begun);
    assert!(!Path::new(&place).exists());
    assert!(archive.exists());
}

/// Every file in a `.tar.gz`, as the bytes of one text.
fn unpacked(archive: &Path) -> Vec<(String, Vec<u8>)> {
    let dir = tempfile::tempdir().expect("a directory");
    let done = Command::new("tar").arg("xzf").arg(archive).arg("-C").arg(dir.path()).status().expect("tar");
    assert!(done.success());
    let top = fs::read_dir(dir.path()).expect("a directory").flatten().next().expect("one directory").path();
    let files = fs::read_dir(top).expect("a directory").flatten();
    files.map(|f| (f.file_name().to_string_lossy().into_owned(), fs::read(f.path()).expect("read"))).collect()
}

#[test]
fn a_report_tells_everything_but_secrets() {
    let files = tempfile::tempdir().expect("a directory");
    let mut platform = Platform::prepare();
    platform.configure("web-secret-key = c0nfig-s3cret-1");
    platform.configure("volttron-central-address = https://admin:url-pa55word@127.0.0.1:1");
    platform.launch();
    let pump = text(&Pump::write(files.path(), "1.0.0", Does::Works));
    let config = files.path().join("pump.json");
    fs::write(&config, json!({"db": {"host": "dbhost", "password": "agent pass\"word"}, "n": 1}).to_string())
        .expect("write");
    let install =
        ["install", &pump, "--env", "TOKEN_OF_X=env-s3cret", "--agent-config", &text(&config), "--start"];
    platform.vctl_json(&install);
    let entry = files.path().join("entry.json");
    fs::write(&entry, json!({"mqtt": {"username": "u", "api_key": "stored-k3y-öäü"}}).to_string())
        .expect("write");
    platform.vctl_ok(&["config", "store", "pump", "mqtt", &text(&entry)]);
    fs::write(
        platform.home().join("web-users.json"),
        "{\"admin\": {\"hashed_password\": \"$argon2id$v=19$hash\"}}",
    )
    .expect("write");
    fs::create_dir_all(platform.home().join("certificates/private")).expect("create");
    let pem = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n-----END PRIVATE KEY-----\n";
    fs::write(platform.home().join("certificates/private/a.pem"), pem).expect("write");

    // Everything that may not leave.
    let mut secrets: Vec<String> = [
        "c0nfig-s3cret-1",
        "url-pa55word",
        "agent pass\"word",
        "agent pass\\\"word",
        "env-s3cret",
        "stored-k3y-öäü",
        "stored-k3y-\\u00f6\\u00e4\\u00fc",
        "$argon2id$v=19$hash",
        "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC",
    ]
    .map(str::to_owned)
    .to_vec();
    let find = Command::new("find")
        .arg(platform.home())
        .args(["-name", "keystore*", "-type", "f"])
        .output()
        .expect("find");
    for path in String::from_utf8_lossy(&find.stdout).lines() {
        let keys: Value = serde_json::from_str(&fs::read_to_string(path).expect("read")).expect("JSON");
        let secret: volttron_utils::keys::SecretKey =
            keys["secret"].as_str().expect("a key").parse().expect("a key");
        secrets.push(secret.reveal().to_string());
        secrets.push(secret.to_z85().to_string());
    }
    assert!(secrets.len() > 14, "keys were found: {}", secrets.len());
    // An agent that is careless with what it writes.
    let log = platform.home().with_extension("log");
    let mut log = fs::File::options().append(true).open(log).expect("the log");
    for secret in &secrets {
        writeln!(log, "2026-01-01 00:00:00,000 (pump) x DEBUG: trying {secret} at dbhost").expect("write");
    }
    writeln!(log, "x DEBUG: password=log-only-s3cret Authorization: Bearer log-only-s3cret").expect("write");

    let report = files.path().join("report.tar.gz");
    let written = platform.vctl_json(&["bugreport", &text(&report)]);
    assert_eq!(fs::metadata(&report).expect("a report").permissions().mode() & 0o777, 0o600);
    let members = unpacked(&report);
    let raw = fs::read(&report).expect("read");
    secrets.push("log-only-s3cret".to_owned());
    for secret in &secrets {
        let needle = secret.as_bytes();
        for (name, bytes) in members.iter().chain([&("the archive".to_owned(), raw.clone())]) {
            assert!(!bytes.windows(needle.len()).any(|w| w == needle), "{secret} is in {name}");
        }
    }
    // And it is worth reading.
    let member = |name: &str| {
        let found = members.iter().find(|(n, _)| n == name);
        String::from_utf8(found.unwrap_or_else(|| panic!("{name}: {written}")).1.clone()).expect("text")
    };
    assert!(
        member("log.txt").contains("platform site1 is up")
            && member("log.txt").contains("[masked] at dbhost")
    );
    assert!(
        member("config.txt").contains("instance-name = site1") && member("config.txt").contains("[masked]")
    );
    assert!(member("agents.json").contains("dbhost") && member("agents.json").contains("TOKEN_OF_X"));
    let store: Value = serde_json::from_str(&member("configuration_store.json")).expect("JSON");
    assert_eq!(store["pump"]["mqtt"]["type"], "json", "{store}");
    assert!(
        member("doctor.json").contains("\"findings\"")
            && member("metrics.txt").contains("volttron_uptime_seconds")
    );
    let status: Value = serde_json::from_str(&member("status.json")).expect("JSON");
    assert_eq!(status["health"]["pump"]["message"], "GOOD", "{status}");
    assert!(member("rules.json").contains("edit_config_store") && member("bus.json").contains("\"peers\""));
    let about: Value = serde_json::from_str(&member("about.json")).expect("JSON");
    assert!(about["system"]["kernel"].is_string() && about["running"].is_number(), "{about}");

    // Without a platform there is less to tell, and it is told; no report replaces another one.
    assert_eq!(platform.terminate(), 0);
    fails(&run_as(&platform, &["bugreport", &text(&report)]), "VT1006");
    fs::remove_file(&report).expect("remove");
    platform.vctl_json(&["bugreport", &text(&report)]);
    let members = unpacked(&report);
    assert!(
        members.iter().any(|(name, _)| name == "log.txt")
            && members.iter().all(|(name, _)| name != "bus.json")
    );
}
