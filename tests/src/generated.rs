//! Crates that `vctl new` writes, built outside of the workspace with our crates from the sources.

use std::fs;
use std::path::{Path, PathBuf};

use crate::platform::sources;
use crate::programs::program;

/// The crates of ours that a generated crate needs, from the sources rather than from crates.io.
fn patches() -> String {
    let root = sources().parent().expect("the tests lie in the workspace").to_owned();
    let crates = ["client", "client-macros", "router", "utils", "zmq", "zmq-sys"];
    let line = |name: &str| {
        let path = root.join(format!("crates/volttron-{name}"));
        format!("volttron-{name} = {{ path = \"{}\" }}\n", path.display())
    };
    let lines: String = crates.into_iter().map(line).collect();
    format!("[patch.crates-io]\n{lines}")
}

/// Makes `directory`, outside the workspace, one below which cargo finds our crates.
pub fn workshop_in(directory: &Path) {
    fs::create_dir(directory.join(".cargo")).expect("create .cargo");
    fs::write(directory.join(".cargo/config.toml"), patches()).expect("write the cargo configuration");
}

/// Builds are kept beside those of the workspace, so that only the first run compiles the dependencies.
pub fn target() -> PathBuf {
    program("vctl").ancestors().nth(2).expect("a target directory").join("generated")
}
