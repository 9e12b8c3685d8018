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

/// A directory of whoever runs the tests: what a variable says, or where it is otherwise.
pub fn of_the_user(variable: &str, otherwise: &str) -> String {
    let home = std::env::var_os("HOME").map_or_else(|| PathBuf::from("/"), PathBuf::from);
    std::env::var(variable).unwrap_or_else(|_| home.join(otherwise).display().to_string())
}

/// Lets `vctl install` of this home build agents with what is built already.
pub fn build_with_what_is_built(home: &Path) {
    let cache = home.join("cache");
    fs::create_dir_all(&cache).expect("a directory");
    fs::create_dir_all(target()).expect("a directory");
    std::os::unix::fs::symlink(target(), cache.join("target")).expect("a link");
}

/// Gives a generated crate the versions that the workspace was built with.
pub fn lock(directory: &Path) {
    let lock = sources().parent().expect("the workspace").join("Cargo.lock");
    fs::copy(lock, directory.join("Cargo.lock")).expect("copy the lock file");
}
