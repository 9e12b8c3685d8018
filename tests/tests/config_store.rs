//! The configuration store as programs around it see it: files that the Python platform reads, `vctl config`, a stock
//! Python agent, and many configurations at once across crashes.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use volttron_tests::platform::Platform;
use volttron_tests::probe::{self, Seen};
use volttron_tests::python::{PythonAgent, interpreter};
use volttron_tests::wait::until;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

fn own_store(identity: &str) -> Value {
    json!({"edit_config_store": {"identity": identity}})
}

/// Writes a file, its directories included.
fn put(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("a directory")).expect("make a directory");
    fs::write(path, text).expect("write a file");
}

/// Runs code with the Python platform's libraries.
fn python(interpreter: &Path, code: &str, args: &[&str]) -> String {
    let output = Command::new(interpreter).arg("-c").arg(code).args(args).output().expect("run python");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// Stores the same entries with the Python platform's own code in a new file.
const REWRITE: &str = r"
import json, sys
from volttron.utils.persistance import PersistentDict
ours, theirs = sys.argv[1:3]
store = PersistentDict(filename=theirs, flag='c', format='json')
for name, entry in json.load(open(ours)).items():
    store[name] = {'type': entry['type'], 'modified': entry['modified'], 'data': entry['data']}
store.sync()
";

/// What the Python platform makes of a file at its start.
const PROCESS: &str = r"
import json, os, sys
os.environ['VOLTTRON_HOME'] = sys.argv[2]
from volttron.utils.persistance import PersistentDict
from volttron.services.config_store.config_store_service import process_store
configs, names = process_store('x', PersistentDict(filename=sys.argv[1], flag='c', format='json'))
print(json.dumps(configs))
";

#[test]
fn files_are_those_of_the_python_platform_byte_for_byte() {
    let Some(interpreter) = interpreter() else { return };
    let platform = Platform::start();
    let texts = [
        (
            "config",
            "--json",
            "{\"a\": 1, # c\n \"l\": \"config://devices/Foo.csv\", \"e\": \"\u{e9}\u{1F600}/\\u0001\"}",
        ),
        ("devices/Foo.csv", "--csv", "Point,Unit\r\nA,\"F \"\"x\"\"\"\nB,\n"),
        ("Note", "--raw", "tab\there \u{7f}\u{2028} \\ / <b>\n"),
        ("empty", "--raw", ""),
    ];
    for (name, kind, text) in texts {
        let file = platform.home().join("in");
        fs::write(&file, text).unwrap();
        platform.vctl_ok(&["config", "store", "x", name, file.to_str().unwrap(), kind]);
        assert_eq!(platform.vctl_ok(&["config", "get", "x", &name.to_uppercase(), "--raw"]), text);
    }
    let ours = platform.home().join("configuration_store/x.store");
    let theirs = platform.home().join("theirs.store");
    python(&interpreter, REWRITE, &[ours.to_str().unwrap(), theirs.to_str().unwrap()]);
    assert_eq!(fs::read_to_string(&ours).unwrap(), fs::read_to_string(&theirs).unwrap());
    let home = platform.home().join("elsewhere");
    fs::create_dir(&home).unwrap();
    let read = python(&interpreter, PROCESS, &[theirs.to_str().unwrap(), home.to_str().unwrap()]);
    let read: Value = serde_json::from_str(read.lines().last().expect("a line")).expect("JSON");
    for (name, ..) in texts {
        let shown = platform.vctl_ok(&["config", "get", "x", name]);
        let ours = serde_json::from_str(&shown).unwrap_or(Value::String(shown));
        assert_eq!(ours, read[name], "{name}");
    }
    // And files that Python wrote, with what it tolerates: no time, two spellings, entries it would drop.
    drop(platform);
    let mut platform = Platform::prepare();
    let dir = platform.home().join("configuration_store");
    fs::create_dir(&dir).unwrap();
    fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("data/odd.store"), dir.join("old.agent.store"))
        .unwrap();
    fs::write(dir.join("broken.store"), "{\"config\": {\"type\"").unwrap();
    platform.launch();
    assert_eq!(platform.vctl_ok(&["config", "list"]), "old.agent\n");
    assert_eq!(platform.vctl_ok(&["config", "list", "old.agent"]), "CONFIG\nold\nreg.csv\n");
    assert_eq!(platform.vctl_ok(&["config", "get", "old.agent", "config", "--raw"]), "{\"newer\": true}");
    let aside = fs::read_dir(&dir)
        .unwrap()
        .filter(|e| e.as_ref().unwrap().file_name().to_string_lossy().contains(".store.bad-"));
    assert_eq!(aside.count(), 2);
    assert!(platform.log().contains("another spelling of this name was written later"));
}

#[test]
fn a_python_agent_follows_references_deletions_and_tables() {
    let Some(python) = interpreter() else { return };
    let mut platform = Platform::prepare();
    let keys = platform.admit("py", &own_store("py"));
    platform.launch();
    let store = |name: &str, kind: &str, text: &str| {
        let file = platform.home().join("in");
        fs::write(&file, text).unwrap();
        platform.vctl_ok(&["config", "store", "py", name, file.to_str().unwrap(), kind]);
    };
    store("registry/A.csv", "--csv", "Point,Unit\nT,C\n");
    store("devices/one", "--json", "{\"registry\": \"config://registry/a.csv\"}");
    store("config", "--json", "{\"device\": \"config://devices/one\"}");
    let mut py = PythonAgent::start(&python, "py", &platform.address(), &platform.server_key(), &keys);
    let rows = json!([{"Point": "T", "Unit": "C"}]);
    let config = py.event("config", |e| e["name"] == "config");
    assert_eq!(
        (&config["action"], &config["contents"]),
        (&json!("NEW"), &json!({"device": {"registry": rows}}))
    );
    // A changed table reaches all that refer to it, directly or not.
    store("registry/A.csv", "--csv", "Point,Unit\nT,F\n");
    let rows = json!([{"Point": "T", "Unit": "F"}]);
    let config = py.event("config", |e| e["name"] == "config" && e["action"] == "UPDATE");
    assert_eq!(config["contents"], json!({"device": {"registry": rows}}));
    let device = py.event("config", |e| e["name"] == "devices/one" && e["action"] == "UPDATE");
    assert_eq!(device["contents"], json!({"registry": rows}));
    // A cycle is refused with its names and nothing is told.
    let file = platform.home().join("in");
    fs::write(&file, "[\"config://CONFIG\"]").unwrap();
    let refused = platform.vctl(&["config", "store", "py", "Registry/a.CSV", file.to_str().unwrap()]);
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        text.contains(
            "Recursive configuration references detected. Registry/a.CSV -> config -> devices/one -> "
        ),
        "{text}"
    );
    platform.vctl_ok(&["config", "delete", "py", "REGISTRY/a.csv"]);
    let device = py.event("config", |e| e["name"] == "devices/one" && e["contents"]["registry"].is_null());
    assert_eq!(device["action"], "UPDATE");
    // Many at once: this agent is told one by one.
    let dir = platform.home().join("many");
    put(&dir.join("py/registry/b.csv"), "Point\nX\n");
    put(&dir.join("py/config"), "{\"device\": \"config://devices/two\"}");
    put(&dir.join("py/devices/two"), "{\"registry\": \"config://registry/b.csv\"}");
    let said = platform.vctl_ok(&["config", "apply", "-f", dir.to_str().unwrap(), "--prune"]);
    assert_eq!(said, "2 new, 1 updated, 1 deleted, 0 unchanged\n");
    // After the one that still lacks the deleted table there is none without its table: tables come first.
    let lacking = json!({"device": {"registry": null}});
    let config = py.event("config", |e| e["name"] == "config" && e["contents"] != lacking);
    assert_eq!(config["contents"], json!({"device": {"registry": [{"Point": "X"}]}}));
    py.event("config", |e| e["name"] == "devices/one" && e["action"] == "DELETE");
    platform.vctl_ok(&["config", "delete", "py", "--all"]);
    py.event("config", |e| e["name"] == "devices/two" && e["action"] == "DELETE");
    py.stop();
}

#[test]
fn a_directory_is_applied_compared_and_exported() {
    let mut platform = Platform::prepare();
    let keys = platform.admit("rs", &own_store("rs"));
    platform.launch();
    let runtime = runtime();
    let (agent, mut seen) =
        runtime.block_on(probe::connect("rs", &platform.address(), &platform.server_key(), keys));
    let next = |seen: &mut tokio::sync::mpsc::Receiver<Seen>| loop {
        if let Some(Seen::Config(name, action, contents)) = runtime.block_on(seen.recv()) {
            return (name, action, contents);
        }
    };
    let dir = platform.home().join("configs");
    put(&dir.join("rs/config"), "{\"r\": \"config://reg.csv\"}");
    put(&dir.join("rs/reg.csv"), "P\n1\n");
    put(&dir.join("other/notes.txt"), "{free text");
    let from = dir.to_str().unwrap();
    let dry = platform.vctl_ok(&["config", "apply", "-f", from, "--dry-run"]);
    assert_eq!(
        dry,
        "NEW other/notes.txt\nNEW rs/reg.csv\nNEW rs/config\ndry run: 3 new, 0 updated, 0 deleted, 0 unchanged\n"
    );
    assert_eq!(platform.vctl_ok(&["config", "list"]), "");
    assert_eq!(platform.vctl(&["config", "diff", "-f", from]).status.code(), Some(1));
    let done = platform.vctl_json(&["config", "apply", "-f", from]);
    assert_eq!(done["changes"]["rs"], json!([["NEW", "reg.csv"], ["NEW", "config"]]));
    let contents = Some(json!({"r": [{"P": "1"}]}));
    assert_eq!(next(&mut seen), ("config".to_owned(), "NEW".to_owned(), contents));
    assert_eq!(next(&mut seen).0, "reg.csv");
    let same = platform.vctl(&["config", "diff", "-f", from]);
    assert_eq!((same.status.code(), same.stdout.as_slice()), (Some(0), &b""[..]));
    assert_eq!(platform.vctl_json(&["config", "diff", "-f", from]), json!([]));
    // One bad file of many: nothing happens, and the text says which.
    put(&dir.join("rs/bad.json"), "{");
    put(&dir.join("other/notes.txt"), "changed");
    let refused = platform.vctl(&["config", "apply", "-f", from]);
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        refused.status.code() == Some(20) && text.contains("rs/bad.json: Expecting property name"),
        "{text}"
    );
    assert_eq!(platform.vctl_ok(&["config", "get", "other", "notes.txt"]), "{free text");
    fs::remove_file(dir.join("rs/bad.json")).unwrap();
    let difference = platform.vctl(&["config", "diff", "-f", from]);
    assert_eq!(
        (difference.status.code(), String::from_utf8_lossy(&difference.stdout).into_owned()),
        (Some(1), "other/notes.txt: different\n  -{free text\n  +changed\n".to_owned())
    );
    // What is unchanged is not told again; what is not in the directory goes with --prune only.
    fs::remove_file(dir.join("rs/reg.csv")).unwrap();
    put(&dir.join("rs/config"), "{\"r\": 2}");
    assert_eq!(
        platform.vctl_ok(&["config", "apply", "-f", from]),
        "0 new, 2 updated, 0 deleted, 0 unchanged\n"
    );
    assert_eq!(next(&mut seen), ("config".to_owned(), "UPDATE".to_owned(), Some(json!({"r": 2}))));
    assert_eq!(
        platform.vctl_ok(&["config", "apply", "-f", from, "--prune"]),
        "0 new, 0 updated, 1 deleted, 2 unchanged\n"
    );
    assert_eq!(next(&mut seen), ("reg.csv".to_owned(), "DELETE".to_owned(), None));
    let copy = platform.home().join("copy");
    let to = copy.to_str().unwrap();
    assert_eq!(
        platform.vctl_ok(&["config", "export", "-f", to]),
        format!("2 configurations of 2 agents written to {to}\n")
    );
    assert_eq!(fs::read_to_string(copy.join("rs/config")).unwrap(), "{\"r\": 2}");
    assert_eq!(platform.vctl(&["config", "diff", "-f", to]).status.code(), Some(0));
    assert_eq!(
        platform.vctl(&["config", "export", "-f", to]).status.code(),
        Some(1),
        "never over other files"
    );
    let exported = platform.vctl_json(&["config", "export", "other"]);
    assert_eq!(exported["other"]["notes.txt"]["data"], "changed");
    drop(agent);
}

#[test]
fn an_entry_can_be_edited() {
    let platform = Platform::start();
    let edit = |args: &[&str]| platform.vctl(&[&["config", "edit", "a", "n"], args].concat());
    let stderr = |output: std::process::Output| String::from_utf8_lossy(&output.stderr).into_owned();
    let file = platform.home().join("in");
    fs::write(&file, "text\n").unwrap();
    let made = edit(&["--raw", "--editor", &format!("cp {}", file.display())]);
    assert!(made.status.success(), "{made:?}");
    assert_eq!(platform.vctl_ok(&["config", "get", "a", "n"]), "text\n");
    // It keeps its type whatever is said.
    assert!(edit(&["--editor", "sed -i s/text/new/"]).status.success());
    assert_eq!(platform.vctl_ok(&["config", "get", "a", "n"]), "new\n");
    let same = edit(&["--editor", "true"]);
    assert_eq!((same.status.code(), stderr(same).as_str()), (Some(0), "No changes detected.\n"));
    let failed = edit(&["--editor", "false"]);
    assert_eq!(failed.status.code(), Some(0));
    assert_eq!(stderr(failed), "Editor returned with code 1. Changes not committed.\n");
}

/// The path that a message names.
fn named(told: &str) -> std::path::PathBuf {
    let (_, rest) = told.split_once("What you typed is kept in ").unwrap_or_else(|| panic!("{told}"));
    rest.split(';').next().expect("a path").into()
}

#[test]
fn what_was_typed_in_an_editor_is_never_lost() {
    let platform = Platform::start();
    let file = platform.home().join("in");
    let edit = |editor: &str| platform.vctl(&["config", "edit", "a", "n", "--editor", editor]);
    let stderr = |output: &std::process::Output| String::from_utf8_lossy(&output.stderr).into_owned();
    fs::write(&file, "{\"a\": \n").unwrap();
    let bad = edit(&format!("cp {}", file.display()));
    let told = stderr(&bad);
    assert_eq!(bad.status.code(), Some(1), "{told}");
    let kept = named(&told);
    assert_eq!(fs::read_to_string(&kept).unwrap(), "{\"a\": \n", "{told}");
    assert!(told.contains(&format!("vctl config store a n {} --json", kept.display())), "{told}");
    fs::remove_file(kept).unwrap();

    // Somebody else stores something while the editor is open.
    let script = platform.home().join("editor");
    let vctl = volttron_tests::programs::program("vctl");
    let text = format!(
        "#!/bin/sh\necho '{{\"theirs\": 1}}' | {} --vhome {} config store a n\necho '{{\"mine\": 1}}' > $1\n",
        vctl.display(),
        platform.home().display()
    );
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let late = edit(script.to_str().unwrap());
    let told = stderr(&late);
    assert!(late.status.code() == Some(1) && told.contains("changed by somebody else meanwhile"), "{told}");
    assert!(platform.vctl_ok(&["config", "get", "a", "n"]).contains("theirs"));
    let kept = named(&told);
    assert!(fs::read_to_string(&kept).unwrap().contains("mine"));
    fs::remove_file(kept).unwrap();

    let gone = edit("rm");
    assert!(gone.status.code() == Some(1) && stderr(&gone).contains("removed the file"), "{gone:?}");
    // An empty variable is none: nano or vi; where there is neither, that is what is said.
    let mut none = platform.command("vctl");
    none.args(["config", "edit", "a", "n"]).env("EDITOR", "").env("PATH", "/nowhere");
    let none = none.output().expect("run vctl");
    assert!(none.status.code() == Some(1) && stderr(&none).contains("no editor nano or vi"), "{none:?}");
}

#[test]
fn a_mistake_can_be_mended_in_the_editor() {
    let platform = Platform::start();
    let script = platform.home().join("editor");
    fs::write(&script, "#!/bin/sh\nif grep -q x $1; then echo '{}' > $1; else echo x > $1; fi\n").unwrap();
    fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut vctl = platform.command("vctl");
    vctl.args(["config", "edit", "a", "n", "--editor", script.to_str().unwrap()]);
    let mut edit = volttron_tests::terminal::Dialogue::start(&mut vctl);
    edit.expect("Edit it again? [Y/n]");
    edit.answer("");
    let (status, shown) = edit.end();
    assert!(status.success(), "{shown}");
    assert_eq!(platform.vctl_ok(&["config", "get", "a", "n"]), "{}\n");
}

/// Killed at whatever moment of a transaction of two stores: both have it or none.
#[test]
fn a_killed_transaction_is_whole_or_absent() {
    let mut platform = Platform::start();
    let (mut applied, mut absent) = (0, 0);
    let mut expected = String::new();
    for round in 0..12_u32 {
        let dir = platform.home().join(format!("round{round}"));
        for identity in ["a", "b"] {
            for i in 0..300 {
                put(&dir.join(format!("{identity}/n{i}")), &format!("[{round}, \"{}\"]", "x".repeat(500)));
            }
        }
        let mut vctl = platform
            .command("vctl")
            .args(["config", "apply", "-f", dir.to_str().unwrap()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("start vctl");
        // Rounds wait for different stages.
        let store = platform.home().join("configuration_store");
        until("the transaction to begin", Duration::from_secs(30), || {
            let names: Vec<String> = fs::read_dir(&store)
                .unwrap()
                .filter_map(|e| e.ok()?.file_name().into_string().ok())
                .collect();
            let stage = match round % 4 {
                0 => names.iter().any(|n| n.starts_with(".tmp-") || n.strip_suffix(".next").is_some()),
                1 => names.iter().any(|n| n == "b.store.next"),
                2 => names.iter().any(|n| n == ".transaction"),
                _ => true,
            };
            (stage || vctl.try_wait().unwrap().is_some()).then_some(())
        });
        platform.kill();
        let answered = vctl.wait().unwrap().success();
        platform.launch();
        let found = |identity: &str| -> String {
            let texts: Value = platform.vctl_json(&["config", "export"]);
            let mut rounds: Vec<String> = texts[identity]
                .as_object()
                .into_iter()
                .flatten()
                .map(|(_, item)| {
                    item["data"].as_str().unwrap().chars().skip(1).take_while(|c| *c != ',').collect()
                })
                .collect();
            rounds.dedup();
            rounds.join(" ")
        };
        let (a, b) = (found("a"), found("b"));
        assert_eq!(a, b, "half a transaction in round {round}");
        if a == round.to_string() {
            applied += 1;
            expected = a;
        } else {
            assert!(!answered, "round {round} was answered and is lost");
            assert_eq!(a, expected, "round {round}");
            absent += 1;
        }
        let left: Vec<_> = fs::read_dir(&store).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert!(left.iter().all(|n| n.to_string_lossy().strip_suffix(".store").is_some()), "{left:?}");
    }
    eprintln!("{applied} applied, {absent} absent");
}
