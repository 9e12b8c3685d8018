//! Agents of every make under one platform.

use volttron_tests::programs::program;
use volttron_tests::python::interpreter;
use volttron_tests::wait::until;

use crate::site::{PATIENCE, Site, classic};

#[test]
fn native_pypi_and_classic_agents_hear_each_other() {
    let Some(python) = interpreter() else { return };
    let site = Site::start(python);
    let listener = program("volttron-listener").display().to_string();
    site.install(&[&listener, "--vip-identity", "native", "--start"]);
    site.install(&["pypi:volttron-listener==0.2.0rc0", "--vip-identity", "pypi", "--start"]);
    site.install(&[&classic(), "--start"]);

    let all = ["native", "pypi", "echo.classic_1"];
    for identity in all {
        assert_eq!(site.status(identity)["health"]["message"], "GOOD", "{identity}");
    }
    until("all of them to be heard", PATIENCE, || {
        let heard = site.call("echo.classic_1", "heard_from");
        all.iter().all(|who| heard.get(who).is_some()).then_some(())
    });
    until("the listener from PyPI to log what the others say", PATIENCE, || {
        let log = site.platform.log();
        all.iter().all(|who| log.contains(&format!("Sender: {who}:"))).then_some(())
    });

    for identity in all {
        site.platform.vctl_ok(&["remove", "-f", identity]);
    }
    for dir in ["bin", "agents", "cache/stage"] {
        assert_eq!(site.names(dir), [""; 0], "{dir}");
    }
}
