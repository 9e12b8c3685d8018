//! Agents of 11.x: another client library under the same module names, and other places to find keys.

use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use volttron_tests::programs::program;
use volttron_tests::python::interpreter;
use volttron_tests::wait::until;

use crate::side_by_side::bare;
use crate::site::{PATIENCE, Site};

const LISTENER: &str = "pypi:volttron-listener==2.0.0rc3";

#[test]
fn an_11_x_listener_hears_agents_of_other_generations() {
    let Some(python) = interpreter() else { return };
    let site = Site::start(bare(&python));
    let listener = program("volttron-listener").display().to_string();
    site.install(&[&listener, "--vip-identity", "native", "--start"]);
    site.install(&[LISTENER, "--vip-identity", "eleven", "--start"]);
    until("the agent to be well", PATIENCE, || {
        (site.status("eleven")["health"]["message"] == "GOOD").then_some(())
    });
    until("it to log what the others say", PATIENCE, || {
        let log = site.platform.log();
        ["native", "eleven"].iter().all(|who| log.contains(&format!("Sender: {who}:"))).then_some(())
    });
    let published = site.read("credentials_store/platform.json");
    assert!(published.contains(&site.platform.server_key()) && published.contains("\"secretkey\":\"\""));
    // It answers like the others, and goes like them.
    site.platform.vctl_ok(&["restart", "eleven"]);
    until("it to be well again", PATIENCE, || {
        (site.status("eleven")["health"]["message"] == "GOOD").then_some(())
    });

    let mut command = site.command();
    command.args(["run", LISTENER, "--vip-identity", "guest"]).stdout(Stdio::null()).stderr(Stdio::inherit());
    let mut child = command.spawn().expect("vctl runs");
    until("the agent in the foreground to be heard", PATIENCE, || {
        site.platform.log().contains("Sender: guest:").then_some(())
    });
    kill_process(Pid::from_child(&child), Signal::INT).expect("send a signal");
    assert_eq!(child.wait().expect("vctl ends").code(), Some(0));
    for identity in ["native", "eleven"] {
        site.platform.vctl_ok(&["remove", "-f", identity]);
    }
    assert_eq!(site.names("bin"), [""; 0]);
}
