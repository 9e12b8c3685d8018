//! Where the programs under test are.

use std::net::TcpListener;
use std::path::PathBuf;

/// A program that cargo built beside this test.
///
/// # Panics
/// If it is not there: `cargo xtask test` builds all programs first, a bare `cargo test` may not.
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    let dir = test.parent().and_then(|deps| deps.parent()).expect("tests lie in <target>/<profile>/deps");
    let path = dir.join(name);
    assert!(path.exists(), "{} is missing: run `cargo build --workspace --bins` first", path.display());
    path
}

/// A port on loopback that nobody listens on right now.
pub fn free_port() -> u16 {
    let probe = TcpListener::bind("127.0.0.1:0").expect("a free port");
    probe.local_addr().expect("a bound socket has an address").port()
}
