//! Installing unmodified Python agents with `vctl install`, and their life under our platform.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use volttron_tests::platform::{Platform, sources};
use volttron_tests::programs::program;
use volttron_tests::python::interpreter;
use volttron_tests::wait::until;

const PATIENCE: Duration = Duration::from_secs(60);

/// `vctl` as an operator has it whose first `python` on PATH has VOLTTRON's client library.
fn vctl(platform: &Platform, python: &Path) -> Command {
    let bin = python.parent().expect("an interpreter lies in a directory");
    let rest = std::env::var("PATH").unwrap_or_default();
    let mut command = platform.command("vctl");
    command.env("PATH", format!("{}:{rest}", bin.display())).stdin(Stdio::null());
    // What the machine says about where pip finds packages counts here, too.
    command.envs(std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PIP_")));
    command
}

fn run(platform: &Platform, python: &Path, args: &[&str]) -> Output {
    vctl(platform, python).args(args).output().expect("run vctl")
}

/// Installs, says how long it took, and gives the result object.
fn install(platform: &Platform, python: &Path, args: &[&str]) -> Value {
    let began = Instant::now();
    let output = run(platform, python, &[&["--json", "install"], args].concat());
    eprintln!("install {args:?}: {:.1} s", began.elapsed().as_secs_f64());
    assert!(output.status.success(), "install {args:?}: {output:?}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"))
}

fn classic() -> PathBuf {
    sources().join("agents/classic")
}

fn call(platform: &Platform, identity: &str, method: &str) -> Value {
    serde_json::from_str(&platform.vctl_ok(&["call", identity, method])).expect("an answer in JSON")
}

/// Names below a directory of the home, without files that begin with a dot.
fn names(platform: &Platform, dir: &str) -> Vec<String> {
    let entries = fs::read_dir(platform.home().join(dir)).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.retain(|name| !name.starts_with('.'));
    names.sort();
    names
}

#[test]
fn four_kinds_of_agents_run_side_by_side() {
    let Some(python) = interpreter() else { return };
    let platform = Platform::start();
    let listener = program("volttron-listener").display().to_string();
    let config = platform.home().with_extension("config");
    fs::write(&config, "# for the hall\n{\"room\": \"hall\"}\n").expect("write a configuration");
    let directory = classic().display().to_string();

    install(&platform, &python, &[&listener, "--vip-identity", "native", "--start"]);
    let pypi = ["pypi:volttron-listener==0.2.0rc0", "--vip-identity", "pypi", "--start"];
    install(&platform, &python, &pypi);
    let options =
        ["--agent-config", &config.display().to_string(), "--tag", "hall", "--start", "--priority", "20"];
    let installed = install(&platform, &python, &[&[&*directory], &options[..]].concat());
    assert_eq!(
        (&installed["tag"], &installed["priority"], &installed["started"]),
        (&json!("hall"), &json!("20"), &json!(true))
    );

    let status = platform.vctl_json(&["status"]);
    for identity in ["native", "pypi", "echo.classic_1"] {
        assert_eq!(status[identity]["health"]["message"], "GOOD", "{identity}: {status}");
    }
    // Every one hears the others.
    until("all of them to be heard", PATIENCE, || {
        let heard = call(&platform, "echo.classic_1", "heard_from");
        ["native", "pypi", "echo.classic_1"].iter().all(|who| heard.get(who).is_some()).then_some(())
    });
    until("the listener from PyPI to log what the others say", PATIENCE, || {
        platform.log().contains("Sender: echo.classic_1:").then_some(())
    });

    for identity in ["native", "pypi", "echo.classic_1"] {
        platform.vctl_ok(&["remove", "-f", identity]);
    }
    assert_eq!(names(&platform, "bin"), [""; 0]);
    assert_eq!(names(&platform, "agents"), [""; 0]);
    assert_eq!(names(&platform, "cache/stage"), [""; 0]);
    let _ = fs::remove_file(config);
}
