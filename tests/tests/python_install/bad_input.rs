//! What cannot be installed: one clear error, and nothing left behind.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use volttron_tests::python::interpreter;

use crate::site::Site;

/// Nothing of a failed installation may stay.
fn nothing_stays(site: &Site, what: &str) {
    for dir in ["bin", "agents", "cache/stage"] {
        assert_eq!(site.names(dir), [""; 0], "{what} left something in {dir}");
    }
}

fn refused(site: &Site, args: &[&str], expected: &[&str]) {
    let output = site.try_install(args);
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{args:?}: {output:?}");
    assert!(output.stdout.is_empty(), "{args:?}: {output:?}");
    for text in expected {
        assert!(complaint.contains(text), "{args:?} said {complaint:?}, not {text:?}");
    }
    nothing_stays(site, &args.join(" "));
}

#[test]
fn packages_that_cannot_work_are_refused() {
    let Some(python) = interpreter() else { return };
    let site = Site::start(python);
    for (kind, expected) in [
        ("text", &["cannot install", "it is damaged", "not a zip file"][..]),
        ("truncated", &["it is damaged"]),
        ("flipped", &["it is damaged", "CRC"]),
        ("no-metadata", &["METADATA, one is needed"]),
        ("traversal", &["tiny-was-here", "outside of its directory"]),
        ("no-entry", &["does not say how the agent is started", "eggsecutable"]),
        ("odd-entry", &["is not of the form `module:function`"]),
        ("wrong-module", &["names the module tiny.absent, which cannot be imported"]),
        ("unknown-requirement", &["pip said:", "volttron-no-such-package-of-ours"]),
    ] {
        refused(&site, &[&site.wheel(kind), "--offline"], expected);
    }
    assert!(!Path::new("/tmp/tiny-was-here").exists());
    refused(
        &site,
        &["/nonexistent/agent-1.0-py3-none-any.whl"],
        &["Invalid file /nonexistent/agent-1.0-py3-none-any.whl"],
    );
    refused(&site, &["pypi:--index-url=x"], &["not a requirement as pip takes it"]);
}

#[test]
fn directories_that_cannot_work_are_refused() {
    let Some(python) = interpreter() else { return };
    let site = Site::start(python);
    let agent = |name: &str, setup: &str| {
        let file = site.write(&format!("{name}/setup.py"), setup);
        Path::new(&file).parent().expect("a directory").display().to_string()
    };
    let fine = "from setuptools import setup\nsetup(name='quiet', version='1', py_modules=['quiet'])\n";
    fs::create_dir(site.dir.path().join("empty")).expect("make a directory");
    let empty = site.dir.path().join("empty").display().to_string();
    refused(&site, &[&empty], &["neither Cargo.toml, setup.py nor pyproject.toml"]);
    let failing = agent("failing", "raise RuntimeError('the valve is stuck')\n");
    refused(&site, &[&failing, "--offline"], &["Building a wheel failed", "the valve is stuck"]);
    let quiet = agent("quiet", fine);
    site.write("quiet/quiet.py", "");
    refused(&site, &[&quiet, "--offline"], &["does not say how the agent is started"]);
    let wanting = agent("wanting", fine);
    site.write("wanting/requirements.txt", "volttron-no-such-package-of-ours==7\n");
    refused(
        &site,
        &[&wanting, "--offline"],
        &["Installing requirements.txt failed", "volttron-no-such-package-of-ours"],
    );

    let config = site.write("bad.json", "{\"room\": [}");
    refused(&site, &[&quiet, "--agent-config", &config], &["bad.json"]);
    refused(
        &site,
        &[&quiet, "--agent-config", "/nonexistent/c"],
        &["Config file /nonexistent/c does not exist!"],
    );
}

/// An interpreter that differs from the real one.
fn odd_python(site: &Site, name: &str, change: &str) -> PathBuf {
    let script = format!(
        "#!/bin/sh\nexec {} -c 'import sys; {change}; exec(sys.argv[2])' \"$@\"\n",
        site.python.display()
    );
    let path = PathBuf::from(site.write(&format!("{name}/python"), &script));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("make it executable");
    path
}

#[test]
fn machines_without_a_usable_python_are_told_what_to_install() {
    let Some(python) = interpreter() else { return };
    let site = Site::start(python);
    let wheel = site.wheel("good");
    let old = odd_python(&site, "old", "sys.version_info = (3, 6, 9, \"final\", 0)");
    let bare = odd_python(&site, "bare", "sys.modules[\"ensurepip\"] = None");
    for (python, expected) in [
        (
            old.display().to_string(),
            &["is version 3.6.9, agents need 3.8 or newer", "apt install python3"][..],
        ),
        (bare.display().to_string(), &["cannot make virtual environments", "apt install python3-venv"]),
        ("/bin/false".into(), &["/bin/false does not run"]),
        ("/bin/echo".into(), &["/bin/echo does not answer as Python does"]),
        ("/nonexistent/python".into(), &["/nonexistent/python does not run: No such file"]),
    ] {
        refused(&site, &[&wheel, "--python", &python], expected);
    }
    // Without a setting it is the first one on PATH; here there is none.
    fs::write(site.platform.home().join("config"), "[volttron]\n").expect("write the config");
    let output =
        site.command().env("PATH", "/nonexistent").args(["install", &wheel]).output().expect("run vctl");
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(complaint.contains("there is no Python on this machine"), "{complaint}");
    assert!(complaint.contains("apt install python3 python3-venv"), "{complaint}");
    // A `python` that is too old does not hide a `python3` that can be used.
    let dir = old.parent().expect("a directory");
    let usable = odd_python(&site, "usable", "pass");
    fs::rename(usable, dir.join("python3")).expect("put it beside the other");
    let output = site.command().env("PATH", dir).args(["install", &wheel]).output().expect("run vctl");
    assert!(output.status.success(), "{output:?}");
}
