//! The script of a site (`site.sh`) on our platform and on the Python platform 10.0.5rc4, each with its own `vctl`: the
//! same exit codes and outputs, save what [`DIFFERENCES`] lists.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use volttron_tests::platform::Platform;
use volttron_tests::programs::program;
use volttron_tests::python::{PythonPlatform, interpreter};

use super::mask;

/// The Python platform lets nobody in now and then, and ends by itself: another one may do.
const ATTEMPTS: usize = 3;

/// Steps in which the two differ, and why that is wanted. One that differs no more has to go.
const DIFFERENCES: &[(&str, &str)] = &[
    ("peerlist", "ours also has the names of 9.x, and keydiscovery"),
    ("list_one", "ours is the list of 9.x, with PRI; in 10.x list is another name of status"),
    ("status_idle", "10.x has a column PRIORITY, which 9.x has not; ours is that of 9.x, lined up"),
    ("joined", "as status_idle"),
    ("status_running", "as status_idle"),
    ("status_running_json", "ours adds keys: state, restarts, since, last_exit, times in UTC"),
    ("health", "ours adds times in UTC"),
    ("install_again", "ours has the words and the code of 9.x"),
    ("install_missing", "ours has the words of 9.x, and no stack"),
    ("start_nobody", "ours has the words of 9.x"),
    ("stop_nobody", "ours has the words of 9.x"),
    ("restart_nobody", "ours has the words of 9.x"),
    ("start_what", "a usage error (2) that says what is missing, not a stack"),
    ("enable_100", "ours says which priorities there are"),
    ("enable_nobody", "ours ends with 10 when there is no such agent, not with 0"),
    ("enable_nobody_json", "as enable_nobody"),
    ("disable_nobody", "as enable_nobody"),
    ("store_broken", "ours names the exception, too"),
    ("store_nofile", "a file that cannot be read is no usage error: 1, as for install"),
    ("config_get_none", "ours keeps the spelling of 9.x, which scripts look for"),
    ("config_delete_none", "as config_get_none"),
    ("config_delete_what", "the same words, but a usage error (2) and not success"),
    ("auth_add", "ours shows the entry as 9.x does, with all fields"),
    ("auth_remove_bad", "ours fails (20) instead of ending with 0"),
    ("add_role_again", "ours fails (1) instead of ending with 0"),
    ("remove_group_again", "ours fails (1) instead of ending with 0"),
    ("stats", "10.x has lost the methods behind it and shows a stack"),
    ("typo", "ours proposes the nearest command"),
    ("typo_group", "ours proposes the nearest command"),
    ("abbreviated", "ours proposes the option"),
    ("unknown_option", "other words, the same code"),
    ("missing_argument", "other words, the same code"),
    ("no_arguments", "ours shows the help and succeeds, as 9.x"),
    ("help", "ours lists its own commands"),
    ("still_there", "as list_one; moreover the shutdown of 10.x takes the message bus along"),
    ("down_list", "ours lists without a platform, as 9.x; in 10.x list is another name of status"),
];

/// Steps that are not compared, because the Python platform does now this, now that.
const UNSTEADY: &[(&str, &str)] = &[
    ("remote_none", "10.x refuses its own tools at first, now and then, and lists them as pending"),
    ("shutdown", "10.x ends by itself, now and then, once one of its agents was killed"),
    ("shutdown_platform", "the shutdown of 10.x takes the message bus and mostly the platform along"),
];

#[derive(Debug, PartialEq, Eq)]
struct Step {
    code: String,
    stdout: String,
    /// The last line: before it Python may show its stack.
    stderr: String,
}

fn run(mut shell: Command, out: &Path, home: &Path, agent: &str) -> BTreeMap<String, Step> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vctl/site.sh");
    let copy = out.join("site.sh");
    fs::copy(script, &copy).expect("copy the script");
    let status = shell.arg(&copy).env("AGENT", agent).env("OUT", out).stdin(Stdio::null()).status();
    println!("the script ended with {}", status.expect("run the script"));
    let read = |name: &str, kind: &str| {
        let bytes = fs::read(out.join(format!("{name}.{kind}"))).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes).replace(&*home.to_string_lossy(), "HOME");
        mask::columns(&mask::volatile(&text))
    };
    let files = fs::read_dir(out).expect("list the outputs");
    let names =
        files.filter_map(|file| file.ok()?.file_name().to_str()?.strip_suffix(".rc").map(str::to_owned));
    let step = |name: String| {
        let stderr = read(&name, "err");
        let last = stderr.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default().to_owned();
        let step =
            Step { code: read(&name, "rc").trim().to_owned(), stdout: read(&name, "out"), stderr: last };
        (name, step)
    };
    names.map(step).collect()
}

fn on_ours() -> BTreeMap<String, Step> {
    let platform = Platform::start();
    let out = tempfile::tempdir().expect("a directory");
    let agent = program("volttron-listener");
    let own = agent.parent().expect("a directory").to_owned();
    let path = std::env::join_paths([own, "/usr/bin".into(), "/bin".into()]).expect("a PATH");
    let mut shell = Command::new("sh");
    shell.env_clear().env("HOME", platform.home()).env("VOLTTRON_HOME", platform.home()).env("PATH", path);
    run(shell, out.path(), platform.home(), agent.to_str().expect("a path"))
}

fn on_python(python: &Path) -> BTreeMap<String, Step> {
    let platform = PythonPlatform::start_with(python, |_| {});
    let out = platform.directory("out");
    run(platform.command("sh"), &out, &platform.vh(), "volttron-listener")
}

/// What is wrong; empty if nothing.
fn compare(ours: &BTreeMap<String, Step>, python: &BTreeMap<String, Step>) -> String {
    let mut wrong = String::new();
    let steady = |name: &str| UNSTEADY.iter().all(|(unsteady, _)| *unsteady != name);
    for (name, step) in ours.iter().filter(|(name, _)| steady(name)) {
        let reason = DIFFERENCES.iter().find(|(listed, _)| listed == name).map(|(_, reason)| reason);
        match (python.get(name), reason) {
            (Some(other), None) if other != step => {
                let _ = writeln!(wrong, "\n{name}: ours {step:#?}\nPython's {other:#?}");
            }
            (Some(other), Some(reason)) if other == step => {
                let _ = writeln!(wrong, "\n{name} is listed as different and is not: {reason}");
            }
            (None, _) => {
                let _ = writeln!(wrong, "\n{name} was not reached on the Python platform");
            }
            _ => {}
        }
    }
    wrong
}

#[test]
fn a_script_of_a_site_runs_unchanged_on_both_platforms() {
    let Some(python) = interpreter() else { return };
    let ours = on_ours();
    assert!(ours.contains_key("down_list"), "the script ended early: {:?}", ours.keys());
    for (listed, _) in DIFFERENCES.iter().chain(UNSTEADY) {
        assert!(ours.contains_key(*listed), "there is no step {listed}");
    }
    let mut wrong = String::new();
    for attempt in 0..ATTEMPTS {
        wrong = compare(&ours, &on_python(&python));
        if wrong.is_empty() {
            return;
        }
        println!("attempt {attempt}: {wrong}");
    }
    panic!("{wrong}");
}
