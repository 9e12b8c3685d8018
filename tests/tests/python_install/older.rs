//! Agents in a home that a 9.x platform made (home.md section 2).

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::json;
use volttron_tests::platform::{Platform, sources};
use volttron_tests::python::interpreter;
use volttron_tests::wait::until;

use crate::site::{PATIENCE, classic};

const UUID: &str = "914be0d1-142a-4018-a4b5-91f6af75a296";

/// A Python that has the modules of 9.x, as an operator of 9.x has it; here they are served by those of 10.x.
fn python_of_9x(dir: &Path, python: &Path) -> String {
    let modules = sources().join("../crates/volttron-server/src/install/python/classic_modules");
    for (from, to) in [
        ("platform.py", "volttron/platform/__init__.py"),
        ("agent.py", "volttron/platform/agent/__init__.py"),
        ("utils.py", "volttron/platform/agent/utils.py"),
    ] {
        let to = dir.join(to);
        fs::create_dir_all(to.parent().expect("a directory")).expect("make a directory");
        fs::copy(modules.join(from), to).expect("copy");
    }
    let program = dir.join("python");
    let script = format!(
        "#!/bin/sh\nexport PYTHONPATH=$PYTHONPATH:{}\nexec {} \"$@\"\n",
        dir.display(),
        python.display()
    );
    fs::write(&program, script).expect("write a program");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("make it executable");
    program.display().to_string()
}

#[test]
fn an_agent_that_a_9x_platform_installed_starts_with_its_keys_and_data() {
    let Some(python) = interpreter() else { return };
    let dir = tempfile::tempdir().expect("a directory");
    let mut platform = Platform::prepare();
    platform.configure(&format!("agent-python = {}", python_of_9x(dir.path(), &python)));
    let keys = platform.admit("old.agent", &json!({"edit_config_store": {"identity": "old.agent"}}));

    let agent = platform.home().join("agents").join(UUID);
    let package = agent.join("echoclassicagent-3.7");
    let info = package.join("echoclassicagent-3.7.dist-info");
    for inner in ["echo_classic", "echoclassicagent-3.7.agent-data", "echoclassicagent-3.7.dist-info"] {
        fs::create_dir_all(package.join(inner)).expect("make a directory");
    }
    for file in ["__init__.py", "agent.py"] {
        let from = Path::new(&classic()).join("echo_classic").join(file);
        fs::copy(from, package.join("echo_classic").join(file)).expect("copy");
    }
    let entry = "[setuptools.installation]\neggsecutable = echo_classic.agent:main\n";
    let pair = json!({"public": keys.public.to_string(), "secret": keys.secret.reveal().to_string()});
    for (path, text) in [
        (agent.join("IDENTITY"), "old.agent"),
        (agent.join("AUTOSTART"), "50"),
        (info.join("entry_points.txt"), entry),
        (info.join("config"), "{\"room\": \"cellar\"}"),
        (info.join("keystore.json"), &*pair.to_string()),
    ] {
        fs::write(path, text).expect("write a file");
    }
    fs::set_permissions(info.join("keystore.json"), fs::Permissions::from_mode(0o600))
        .expect("protect the keys");
    platform.launch();

    until("the agent to be well", PATIENCE, || {
        (platform.vctl_json(&["status"])["old.agent"]["health"]["message"] == "GOOD").then_some(())
    });
    let found = platform.vctl_ok(&["call", "old.agent", "whereabouts"]);
    let found: serde_json::Value = serde_json::from_str(&found).expect("JSON");
    assert_eq!(found["room"], "cellar");
    assert_eq!(found["cwd"], package.canonicalize().expect("a path").display().to_string());
    assert_eq!(found["environment"]["AGENT_UUID"], UUID);
    assert!(package.join("echoclassicagent-3.7.agent-data/starts").exists());
    platform.vctl_ok(&["stop", UUID]);
    assert_eq!(platform.vctl_json(&["status"])["old.agent"]["status"], "0");
}
