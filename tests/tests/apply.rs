//! A platform as a file: what `vctl export` writes, `vctl apply` makes again in an empty home; applying twice changes
//! nothing; what cannot be done without the platform waits for it.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use volttron_client::utils::keys::KeyPair;
use volttron_tests::platform::Platform;
use volttron_tests::pump::{Does, Pump};

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("a directory")).expect("make a directory");
    fs::write(path, text).expect("write a file");
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a path of text")
}

/// What `vctl apply` would do.
fn changes(platform: &Platform, file: &Path, more: &[&str]) -> Vec<String> {
    let plan = platform.vctl_json(&[&["apply", "--dry-run", "-f", path(file)], more].concat());
    let changes = plan["changes"].as_array().expect("a list").iter();
    changes.map(|c| format!("{} {}", c["change"].as_str().unwrap(), c["what"].as_str().unwrap())).collect()
}

/// A description with something of everything; the program lies beside it.
fn describe(dir: &Path, key: &str) -> std::path::PathBuf {
    let programs = dir.join("programs");
    fs::create_dir_all(&programs).expect("make a directory");
    Pump::write(&programs, "1.2.0", Does::Works);
    write(&dir.join("ahu.csv"), "Point,Unit\nT,C\n");
    write(&dir.join("site.json"), "{\"auth\": {\"roles\": {\"reader\": [\"can_read\"]}}}");
    let file = dir.join("site.yaml");
    write(
        &file,
        &format!(
            "settings:\n  shutdown-timeout: 60\nagents:\n  pump.one:\n    source: ./programs/pump\n    version: 1.2.0\n    \
             tag: roof\n    priority: 20\n    running: true\n    config: {{speed: 5}}\n    restart: always\n    \
             max-restarts: 7\n  pump.two:\n    source: ./programs/pump\n    tag: cellar\n    env: {{LEVEL: 3}}\n\
             config-store:\n  pump.one:\n    config: {{json: {{a: 1}}}}\n    registry/ahu.csv: {{file: ahu.csv}}\n    \
             note: {{raw: \"no: 1\\n\"}}\n\
             auth:\n  entries:\n    - {{identity: weather, credentials: {key}, capabilities: [can_x], groups: [g]}}\n    \
             - identity: pump.two\n      capabilities: {{edit_config_store: {{identity: pump.two}}, can_pump: null}}\n  \
             groups: {{g: [reader]}}\n\
             protected-topics:\n  - {{topic: devices, capabilities: [can_publish]}}\n"
        ),
    );
    file
}

#[test]
fn a_platform_is_made_from_a_file_and_exported_to_one_that_makes_it_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let key = KeyPair::generate().public.to_string();
    describe(dir.path(), &key);
    let platform = Platform::start();
    let refused = platform.vctl(&["apply", "-f", path(dir.path())]);
    assert_eq!(refused.status.code(), Some(2), "nobody to ask: {refused:?}");
    let text = platform.vctl_ok(&["apply", "-f", path(dir.path()), "--yes"]);
    assert!(text.contains("+ agent pump.one\n    source: ") && text.contains("made."), "{text}");

    // The same again is nothing at all.
    assert_eq!(changes(&platform, dir.path(), &[]), Vec::<String>::new());
    assert_eq!(platform.vctl(&["diff", "-f", path(dir.path())]).status.code(), Some(0));
    assert_eq!(platform.vctl_ok(&["apply", "-f", path(dir.path())]), "The platform is as the file says.\n");
    let agents = platform.vctl_json(&["status"]);
    assert!(agents["pump.one"]["status"].as_str().unwrap().starts_with("running"), "{agents}");
    assert_eq!(agents["pump.two"]["status"], "");
    let launch = fs::read_to_string(platform.home().join("agents/pump.one/agent.json")).expect("agent.json");
    let launch: Value = serde_json::from_str(&launch).expect("JSON");
    assert_eq!((&launch["restart"], &launch["max_restarts"]), (&json!("always"), &json!(7)));
    assert_eq!(platform.vctl_ok(&["config", "get", "pump.one", "note", "--raw"]), "no: 1\n");

    // From there to an empty home.
    let exported = dir.path().join("out/exported.yaml");
    fs::create_dir_all(exported.parent().unwrap()).unwrap();
    platform.vctl_ok(&["export", path(&exported)]);
    let text = fs::read_to_string(&exported).expect("what was exported");
    let secret = fs::read_to_string(platform.home().join("agents/pump.one/keystore.json")).expect("keys");
    let secret: Value = serde_json::from_str(&secret).expect("JSON");
    assert!(!text.contains(secret["secret"].as_str().unwrap()) && text.contains(&key), "{text}");
    let mut other = Platform::prepare();
    let before = other.vctl(&["apply", "-f", path(&exported), "--yes"]);
    let told = String::from_utf8_lossy(&before.stderr).into_owned();
    assert_eq!(before.status.code(), Some(10), "agents wait for the platform: {before:?}");
    assert!(told.contains("VOLTTRON is not running: "), "{told}");
    // Both cannot listen at one address.
    let config = fs::read_to_string(other.home().join("config")).expect("config");
    write(&other.home().join("config"), &config.replace(&platform.address(), &other.address()));
    other.launch();
    let left = changes(&other, &exported, &[]);
    assert!(
        left.iter().all(|line| line.contains("agent ")
            || line.contains("auth entry pump")
            || line.contains("vip-address")),
        "{left:?}"
    );
    other.vctl_ok(&["apply", "-f", path(&exported), "--yes"]);
    assert_eq!(changes(&other, &exported, &["--prune"]), Vec::<String>::new());
    let again = dir.path().join("out/again.yaml");
    other.vctl_ok(&["export", path(&again)]);
    assert_eq!(fs::read_to_string(&again).expect("exported"), text);
}

#[test]
fn changes_are_made_in_place_and_only_pruned_when_asked() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = describe(dir.path(), &KeyPair::generate().public.to_string());
    let platform = Platform::start();
    platform.vctl_ok(&["apply", "-f", path(dir.path()), "--yes"]);
    let uuid = fs::read_to_string(platform.home().join("agents/pump.one/UUID")).expect("a uuid");
    let pid = platform.vctl_json(&["status"])["pump.one"]["status"].clone();

    // A policy does not disturb a process; a configuration file needs another one.
    let text = fs::read_to_string(&file).unwrap();
    write(&file, &text.replace("max-restarts: 7", "max-restarts: 3"));
    platform.vctl_ok(&["apply", "-f", path(&file), "--yes"]);
    assert_eq!(platform.vctl_json(&["status"])["pump.one"]["status"], pid);
    let text = fs::read_to_string(&file).unwrap();
    write(
        &file,
        &text
            .replace("speed: 5", "speed: 6")
            .replace("tag: roof", "tag: null")
            .replace("priority: 20", "priority: null"),
    );
    assert_eq!(platform.vctl(&["diff", "-f", path(&file)]).status.code(), Some(1));
    let told = platform.vctl_ok(&["apply", "-f", path(&file), "--yes"]);
    assert!(
        told.contains("    -  \"speed\": 5\n    +  \"speed\": 6\n") && told.contains("tag: roof -> none"),
        "{told}"
    );
    let now = platform.vctl_json(&["status"])["pump.one"].clone();
    assert!(now["status"] != pid && now["status"].as_str().unwrap().starts_with("running"), "{now}");
    assert!(!platform.home().join("agents/pump.one/AUTOSTART").exists());

    // Another version, same agent.
    Pump::write(&dir.path().join("programs"), "2.0.0", Does::Works);
    let text = fs::read_to_string(&file).unwrap();
    write(&file, &text.replace("version: 1.2.0", "version: 3.0.0"));
    let wrong = platform.vctl(&["apply", "-f", path(&file), "--yes"]);
    let told = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(wrong.status.code() == Some(1) && told.contains("is version 2.0.0, not 3.0.0"), "{told}");
    write(&file, &text.replace("version: 1.2.0", "version: 2.0.0"));
    platform.vctl_ok(&["apply", "-f", path(&file), "--yes"]);
    assert_eq!(changes(&platform, &file, &[]), Vec::<String>::new());
    assert_eq!(fs::read_to_string(platform.home().join("agents/pump.one/UUID")).unwrap(), uuid);

    // What a file does not name goes only with --prune, and only of the parts it has.
    write(&file, "agents:\n  pump.one: {running: false}\nconfig-store:\n  pump.one: {note: {raw: x}}\n");
    let kept = changes(&platform, &file, &[]);
    assert_eq!(kept, ["~ configuration pump.one/note", "~ agent pump.one: stops"]);
    platform.vctl_ok(&["apply", "-f", path(&file), "--prune", "--yes"]);
    assert_eq!(platform.vctl_ok(&["config", "list", "pump.one"]), "note\n");
    assert!(!platform.home().join("agents/pump.two").exists());
    assert!(platform.vctl_ok(&["auth", "list"]).contains("\"weather\""), "no part named the entries");
}

#[test]
fn mistakes_are_shown_with_their_place_and_nothing_changes() {
    let platform = Platform::prepare();
    let file = platform.home().join("site.yaml");
    write(&file, "settings:\n  instance-name: a\nagents:\n  pump:\n    sorce: x\n");
    let output = platform.vctl(&["apply", "-f", path(&file), "--yes"]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2));
    assert!(told.contains("site.yaml:5:5: unknown key sorce; did you mean source?"), "{told}");
    assert!(fs::read_to_string(platform.home().join("config")).unwrap().contains("site1"));
    assert_eq!(platform.vctl(&["diff", "-f", path(&file)]).status.code(), Some(2));
    assert_eq!(platform.vctl(&["diff", "-f", "/nowhere.yaml"]).status.code(), Some(2));
    let schema: Value = serde_json::from_str(&platform.vctl_ok(&["apply", "--schema"])).expect("JSON");
    assert!(schema["properties"]["settings"]["properties"]["vip-address"].is_object());
}

#[test]
fn files_are_changed_without_the_platform_and_secrets_stay_at_home() {
    let platform = Platform::prepare();
    let file = platform.home().join("site.yaml");
    write(
        &file,
        "settings: {metrics-address: off}\nconfig-store:\n  a:\n    config: {json: {user: x, password: hidden}}\n    b: {csv: \"P\\n\"}\n\
         auth:\n  groups: {g: [r]}\n",
    );
    // `off` is false for YAML; the setting is a text.
    let output = platform.vctl(&["apply", "-f", path(&file), "--yes"]);
    assert!(output.status.code() == Some(2), "{output:?}");
    let text = fs::read_to_string(&file).unwrap().replace("metrics-address: off", "metrics-address: 'off'");
    write(&file, &text);
    platform.vctl_ok(&["apply", "-f", path(&file), "--yes"]);
    assert_eq!(changes(&platform, &file, &[]), Vec::<String>::new());
    let output = platform.vctl(&["export"]);
    let (text, told) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(!text.contains("hidden") && told.contains("left out: configuration a/config"), "{text}{told}");
    assert!(text.contains("metrics-address: \"off\"\n") && text.contains("csv: \"P\\n\""), "{text}");
    assert!(platform.vctl_ok(&["export", "--with-secrets"]).contains("hidden"));
}

/// What a command says that is to fail with this code.
fn refused(platform: &Platform, args: &[&str], code: i32) -> String {
    let output = platform.vctl(args);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {told}");
    told
}

#[test]
fn an_agent_that_does_not_come_up_does_not_keep_the_others_down() {
    let dir = tempfile::tempdir().expect("a directory");
    for (name, does) in [("a", Does::Ends(3)), ("b", Does::Works), ("c", Does::Ends(4))] {
        fs::create_dir_all(dir.path().join(name)).expect("make a directory");
        Pump::write(&dir.path().join(name), "1.0.0", does);
    }
    let file = dir.path().join("site.yaml");
    write(
        &file,
        "agents:\n  a.dies: {source: ./a/pump, running: true}\n  b.works: {source: ./b/pump, running: true, tag: b}\n  \
         c.dies: {source: ./c/pump, running: true}\n  d.misses: {source: ./d/pump, running: true}\n",
    );
    let platform = Platform::start();
    let told = refused(&platform, &["apply", "-f", path(&file), "--yes"], 1);
    assert!(platform.row("b.works")["status"].as_str().unwrap().starts_with("running"), "{told}");
    for part in [
        "a.dies did not come up (status 3)",
        "c.dies did not come up (status 4)",
        "d.misses",
        "run this again",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert_eq!(platform.vctl_json(&["list"])["b.works"]["agent_tag"], "b");
    // Programs read the same: what failed, and with which agent.
    let output = platform.vctl(&["--json", "apply", "-f", path(&file), "--yes"]);
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let mut failed: Vec<&str> =
        report["failed"].as_array().unwrap().iter().filter_map(|f| f["agent"].as_str()).collect();
    failed.sort_unstable();
    assert_eq!(
        (failed, &report["applied"]),
        (vec!["a.dies", "c.dies", "d.misses"], &json!(false)),
        "{report}"
    );
}

#[test]
fn settings_that_the_platform_would_not_start_with_are_not_written() {
    let platform = Platform::prepare();
    let config = platform.home().join("config");
    let before = fs::read_to_string(&config).expect("config");
    let file = platform.home().join("site.yaml");
    write(
        &file,
        "settings: {vip-address: 'tcp://0.0.0.0:23106', allow-auth: false}\nauth: {groups: {g: [r]}}\n",
    );
    let told = refused(&platform, &["apply", "-f", path(&file), "--yes"], 2);
    assert!(told.contains("authentication is off") && told.contains("--insecure"), "{told}");
    assert_eq!(fs::read_to_string(&config).expect("config"), before);
    assert!(!platform.vctl_ok(&["auth", "list-groups"]).contains('g'), "nothing was changed");
    refused(&platform, &["apply", "-f", path(&file), "--dry-run"], 2);
    // What was wrong before is not for this file to mend, unless it is about settings.
    fs::write(&config, format!("{before}agent-monitor-frequency = often\n")).expect("write");
    write(&file, "auth: {groups: {g: [r]}}\n");
    platform.vctl_ok(&["apply", "-f", path(&file), "--yes"]);
    write(&file, "settings: {agent-monitor-frequency: 7}\n");
    platform.vctl_ok(&["apply", "-f", path(&file), "--yes"]);
    assert!(fs::read_to_string(&config).expect("config").contains("agent-monitor-frequency = 7"));
}

#[test]
fn an_export_replaces_a_file_only_when_told_to() {
    let platform = Platform::prepare();
    let file = platform.home().join("site.yaml");
    write(&file, "# mine\n");
    let told = refused(&platform, &["export", path(&file)], 1);
    assert!(told.contains("exists") && told.contains("--force"), "{told}");
    assert_eq!(fs::read_to_string(&file).expect("the file"), "# mine\n");
    platform.vctl_ok(&["export", path(&file), "--force"]);
    assert!(fs::read_to_string(&file).expect("the file").contains("settings:"));
    // To a device, as everything else writes to it.
    platform.vctl_ok(&["export", "/dev/null"]);
}

#[test]
fn a_file_that_says_a_thing_twice_is_refused() {
    let platform = Platform::prepare();
    let file = platform.home().join("site.yaml");
    for (text, place) in [
        (
            "agents:\n  pump: {running: true}\n  fan: {}\n  pump: {tag: x}\n",
            "site.yaml:4:3: the key pump stands here twice",
        ),
        ("auth: {}\nsettings: {}\nauth: {}\n", "site.yaml:3:1: the key auth stands here twice"),
        (
            "{\n\t\"auth\": {\"groups\": {\n\"g\": [],\n\"g\": []}}}\n",
            "site.yaml:4:1: the key g stands here twice",
        ),
    ] {
        write(&file, text);
        let told = refused(&platform, &["apply", "-f", path(&file), "--yes"], 2);
        assert!(told.contains(place) && told.contains("nothing was changed"), "{told}");
    }
    // Keys of different mappings are different keys.
    write(&file, "auth: {groups: {g: []}, roles: {g: [], h: []}}\n");
    platform.vctl_ok(&["apply", "-f", path(&file), "--dry-run"]);
}

#[test]
fn a_file_that_cannot_be_read_is_a_mistake_of_the_command_line() {
    let platform = Platform::prepare();
    let home = platform.home();
    let (one, two, text) = (home.join("a.yaml"), home.join("b.yaml"), home.join("c.yaml"));
    write(&one, "settings: {shutdown-timeout: 60}\n");
    fs::write(&two, b"\xff\xfe\x00").expect("write");
    fs::File::create(&text).expect("create").set_len(3 << 30).expect("a sparse file");
    for (args, part) in [
        (&["-f", "/nowhere.yaml"][..], "No such file"),
        (&["-f", path(&two)], "not UTF-8"),
        (&["-f", path(&text)], "64 MiB"),
        (&["-f", path(&one), "-f", path(&two)], "not UTF-8"),
        (&["-f", path(&one), "-f", path(&one)], "another file"),
    ] {
        for verb in ["apply", "diff"] {
            let told = refused(&platform, &[&[verb], args].concat(), 2);
            assert!(told.contains(part), "{verb} {args:?}: {told}");
        }
    }
}

#[test]
fn several_files_count_together() {
    let platform = Platform::prepare();
    let (one, two) = (platform.home().join("a.yaml"), platform.home().join("b.yaml"));
    write(&one, "settings: {shutdown-timeout: 60}\n");
    write(&two, "auth: {groups: {g: [r]}}\n");
    assert_eq!(changes(&platform, &one, &["-f", path(&two)]).len(), 2);
}

#[test]
fn a_file_may_come_through_a_pipe() {
    use std::io::Write;
    use std::process::Stdio;

    let platform = Platform::prepare();
    let mut vctl = platform.command("vctl");
    vctl.args(["--json", "apply", "-f", "-", "--dry-run"]);
    let mut child = vctl.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("start vctl");
    let text = "auth: {groups: {g: [r]}}\nconfig-store: {a: {b: {file: nowhere.csv}}}\n";
    child
        .stdin
        .take()
        .expect("a pipe")
        .write_all(text.replace("nowhere.csv", "/dev/null").as_bytes())
        .expect("write");
    let output = child.wait_with_output().expect("vctl");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["changes"].as_array().map(Vec::len), Some(2), "{report}");
}
