//! The real peers that tests talk to: Python's volttron 10.0.5rc4 and pymodbus, in one virtual environment.
//!
//! The Python platform refuses to run as root, so tests start it as an ordinary user, who must be able to read the
//! environment: as root it is therefore kept outside of any home directory.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::shell::{Outcome, run, step, succeeds, target_dir, workspace_root};

/// What the environment offers.
pub struct Peers {
    /// Its interpreter.
    pub python: PathBuf,
}

/// Makes the environment unless one made from the same requirements is there.
pub fn set_up() -> Outcome<Peers> {
    let dir = directory();
    let python = dir.join("bin/python");
    let requirements = workspace_root().join("tests/peers/requirements.txt");
    let constraints = workspace_root().join("tests/peers/constraints.txt");
    let wanted = [&requirements, &constraints]
        .map(|path| fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display())))
        .into_iter()
        .collect::<Outcome<Vec<_>>>()?
        .concat();
    let marker = dir.join("made-from");
    if fs::read_to_string(&marker).is_ok_and(|made| made == wanted) {
        return Ok(Peers { python });
    }
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    let base = base_python()?;
    step("make a Python environment for the peers", Command::new(base).args(["-m", "venv"]).arg(&dir))?;
    step(
        "install volttron 10.0.5rc4 and pymodbus from PyPI",
        Command::new(dir.join("bin/pip"))
            .args(["install", "--quiet", "--disable-pip-version-check", "--requirement"])
            .arg(&requirements)
            .env("PIP_CONSTRAINT", &constraints),
    )?;
    // Its own pins contradict the platform's, so without its dependencies.
    run(Command::new(dir.join("bin/pip")).args([
        "install",
        "--quiet",
        "--no-deps",
        "volttron-listener==0.2.0rc0",
    ]))?;
    fs::write(&marker, wanted).map_err(|e| format!("{}: {e}", marker.display()))?;
    Ok(Peers { python })
}

fn directory() -> PathBuf {
    if is_root() { PathBuf::from("/var/tmp/volttron-test-peers") } else { target_dir().join("test-peers") }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A Python of 3.10 to 3.12 that can make environments and that every user can read; installed from Debian if absent.
fn base_python() -> Outcome<PathBuf> {
    let usable = |python: &str| {
        succeeds(Command::new(python).args([
            "-c",
            "import sys, venv, ensurepip; sys.exit(not ((3, 10) <= sys.version_info[:2] <= (3, 12)))",
        ]))
    };
    let candidates =
        ["/usr/bin/python3", "/usr/bin/python3.11", "/usr/bin/python3.12", "/usr/bin/python3.10"];
    if let Some(found) = candidates.into_iter().find(|p| usable(p)) {
        return Ok(found.into());
    }
    if is_root() && succeeds(Command::new("apt-get").arg("--version")) {
        step("refresh Debian's package lists", Command::new("apt-get").args(["update", "-q"]))?;
        step(
            "install Python from Debian",
            Command::new("apt-get").args(["install", "-q", "-y", "python3", "python3-venv"]),
        )?;
        if let Some(found) = candidates.into_iter().find(|p| usable(p)) {
            return Ok(found.into());
        }
    }
    Err("the tests with Python peers need Python 3.10 to 3.12 with venv below /usr/bin: install the packages python3 \
         and python3-venv, or leave these tests out with --no-interop"
        .into())
}
