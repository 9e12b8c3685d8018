//! Python agents in the foreground: `vctl run` with a directory, a wheel or a requirement.

use std::fs;
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use volttron_tests::programs::program;
use volttron_tests::python::interpreter;
use volttron_tests::wait::until;

use crate::site::{PATIENCE, Site, classic};

fn run(site: &Site, identity: &str, args: &[&str]) -> Child {
    let mut command = site.command();
    command.args(["run", "--vip-identity", identity]).args(args);
    let child = command.stdout(Stdio::null()).stderr(Stdio::inherit()).spawn().expect("vctl runs");
    until(&format!("{identity} to be on the bus"), PATIENCE, || {
        site.platform.vctl_ok(&["peerlist"]).lines().any(|line| line.trim() == identity).then_some(())
    });
    child
}

fn interrupt(mut child: Child) {
    kill_process(Pid::from_child(&child), Signal::INT).expect("send a signal");
    assert_eq!(child.wait().expect("vctl ends").code(), Some(0), "an agent that is stopped ends well");
}

#[test]
fn agents_of_both_generations_run_with_keys_and_an_environment_of_their_own() {
    let Some(python) = interpreter() else { return };
    let site = Site::start(python);
    let before = site.read("auth.json");

    // One of 9.x, from a directory.
    let config = site.write("room.json", "{\"room\": \"attic\"}");
    let child = run(&site, "guest", &["--agent-config", &config, &classic()]);
    assert!(site.read("auth.json").contains("\"guest\""));
    let found = site.call("guest", "whereabouts");
    assert_eq!(found["room"], "attic");
    assert_eq!(found["environment"].get("AGENT_UUID"), None);
    assert_eq!(found["environment"]["AGENT_VIP_IDENTITY"], "guest");
    let environment = site.names("bin");
    assert_eq!(environment.len(), 1, "{environment:?}");
    assert!(found["python"].as_str().is_some_and(|path| path.ends_with(&environment[0])), "{found}");

    // Programs that nobody uses go with each change; this one is in use.
    let listener = program("volttron-listener").display().to_string();
    site.install(&[&listener, "--vip-identity", "other"]);
    site.platform.vctl_ok(&["remove", "-f", "other"]);
    assert_eq!(site.names("bin"), environment);
    until("it to hear itself", PATIENCE, || site.call("guest", "heard_from").get("guest").map(drop));
    interrupt(child);
    assert_eq!(site.read("auth.json"), before);
    assert_eq!(site.names("cache/run"), [""; 0]);

    // One of 10.x, from a wheel; the next change drops what the first one used.
    let child = run(&site, "tiny", &["--agent-config", &config, &site.wheel("good")]);
    assert_eq!(site.call("tiny", "configuration")["room"], "attic");
    site.install(&[&listener, "--vip-identity", "other"]);
    let names = site.names("bin");
    assert!(
        names.iter().any(|name| name.starts_with("tiny")) && !names.contains(&environment[0]),
        "{names:?}"
    );
    interrupt(child);
    assert_eq!(fs::read_dir(site.platform.home().join("cache/run")).map(Iterator::count).unwrap_or(0), 0);
    assert!(!site.read("auth.json").contains("\"tiny\""));
}
