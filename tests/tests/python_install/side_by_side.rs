//! Agents of every make under one platform, whose operator has a Python as the system brings it, without VOLTTRON.
//! A packaged crate joins them in the test of the registry.

use std::fs;
use std::path::{Path, PathBuf};

use volttron_tests::programs::program;
use volttron_tests::python::interpreter;
use volttron_tests::wait::until;

use crate::site::{PATIENCE, Site, classic};

/// The interpreter that the environment with VOLTTRON was made from.
pub fn bare(python: &Path) -> PathBuf {
    let root = python.ancestors().nth(2).expect("an environment");
    let text = fs::read_to_string(root.join("pyvenv.cfg")).expect("pyvenv.cfg");
    let home = text.lines().find_map(|line| line.strip_prefix("home = ")).expect("its origin");
    Path::new(home).join("python3")
}

#[test]
fn native_pypi_and_classic_agents_hear_each_other() {
    let Some(python) = interpreter() else { return };
    let site = Site::start(bare(&python));
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

    // The client library is there once.
    assert_eq!(site.names("bin").iter().filter(|name| name.starts_with("python-client+")).count(), 1);
    for identity in all {
        site.platform.vctl_ok(&["remove", "-f", identity]);
    }
    for dir in ["bin", "agents", "cache/stage"] {
        assert_eq!(site.names(dir), [""; 0], "{dir}");
    }
}
