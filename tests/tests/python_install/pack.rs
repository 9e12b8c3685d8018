//! `vpkg` for Python agents: wheels, what is put into them, and what an installation makes of that.

use std::fs;
use std::process::Output;

use volttron_tests::python::interpreter;

use crate::site::{Site, classic};

const WHEEL: &str = "echoclassicagent-3.7-py3-none-any.whl";

fn run(site: &Site, args: &[&str]) -> Output {
    let mut command = site.platform.command("vpkg");
    command.envs(std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PIP_")));
    command.args(args).output().expect("run vpkg")
}

fn created(site: &Site, args: &[&str]) -> String {
    let output = run(site, args);
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().last().unwrap_or_default();
    last.strip_prefix("Package created at: ").unwrap_or_else(|| panic!("{text}")).to_owned()
}

#[test]
fn a_wheel_carries_identity_and_configuration_to_an_installation() {
    let Some(python) = interpreter() else { return };
    let site = Site::start(python);
    let directory = classic();
    let before = fs::read_dir(&directory).expect("the agent's directory").count();

    let wheel = created(&site, &["package", &directory]);
    assert_eq!(wheel, site.platform.home().join("packaged").join(WHEEL).display().to_string());
    assert_eq!(
        fs::read_dir(&directory).expect("the agent's directory").count(),
        before,
        "nothing is left in it"
    );
    site.install(&[&wheel]);
    assert!(
        site.platform.home().join("agents/echo.classic_1").is_dir(),
        "the identity that the directory names"
    );

    assert_eq!(created(&site, &["package", &directory, "--vip-identity", "hall"]), wheel);
    let config = site.write("hall.config", "{\"room\": \"hall\"} # as given\n");
    let output = run(&site, &["configure", &wheel, &config]);
    assert!(output.status.success(), "{output:?}");
    site.install(&[&wheel, "--start"]);
    assert_eq!(site.read("agents/hall/config").trim(), "{\"room\": \"hall\"} # as given");
    // Another one takes its place.
    let other = site.write("other.config", "{\"room\": \"attic\"}");
    assert!(run(&site, &["configure", &wheel, &other]).status.success());
    site.install(&[&wheel, "--vip-identity", "attic"]);
    assert_eq!(site.read("agents/attic/config"), "{\"room\": \"attic\"}");

    // What is installed becomes a wheel again, by its directory and by the one that 9.x would have.
    let uuid = site.read("agents/hall/UUID");
    let dest = site.dir.path().join("again");
    for dir in ["agents/hall".to_owned(), format!("agents/{uuid}/echoclassicagent-3.7")] {
        let dir = site.platform.home().join(dir).display().to_string();
        let again = created(&site, &["repackage", &dir, "--dest", dest.to_str().expect("text")]);
        assert_eq!(again, dest.join(WHEEL).display().to_string());
        site.install(&[&again, "--vip-identity", "again", "--force"]);
        fs::remove_file(again).expect("it is there");
    }
    assert!(
        !site.platform.home().join("agents/again/config").exists()
            || !site.read("agents/again/config").contains("room")
    );
}

#[test]
fn what_cannot_be_packed_says_why_and_leaves_nothing() {
    let Some(python) = interpreter() else { return };
    let site = Site::start(python);
    let refused = |args: &[&str], code: i32, part: &str| {
        let output = run(&site, args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert!(said.starts_with("vpkg: error: ") && said.contains(part), "{said}");
    };
    let directory = classic();
    refused(&["package", &directory, "--binary"], 1, "whose package is a wheel");
    refused(&["package", &directory, "--vip-identity", "a b"], 2, "--vip-identity a b");
    refused(&["package", &directory, "--vip-identity", "control"], 2, "none of the platform's own");
    let broken = site.write("broken/setup.py", "raise SystemExit('not today')\n");
    refused(&["package", broken.trim_end_matches("/setup.py")], 1, "not today");
    // A package that no platform could start is none.
    let mute = site.write("mute/setup.py", "from setuptools import setup\nsetup(name='mute', version='1')\n");
    refused(&["package", mute.trim_end_matches("/setup.py")], 1, "does not say how the agent is started");
    assert_eq!(site.names("packaged"), [""; 0]);

    let wheel = created(&site, &["package", &directory]);
    let before = fs::read(&wheel).expect("a wheel");
    let config = site.write("bad.config", "{\"room\": ");
    refused(&["configure", &wheel, &config], 1, "bad.config");
    refused(&["configure", &wheel, "/no/such"], 1, "Config file /no/such does not exist!");
    assert_eq!(fs::read(&wheel).expect("a wheel"), before);
    let damaged = site.write("damaged.whl", "no archive");
    let good = site.write("good.config", "{}");
    refused(&["configure", &damaged, &good], 1, "cannot be read");
    assert_eq!(fs::read_to_string(damaged).expect("a file"), "no archive");
}
