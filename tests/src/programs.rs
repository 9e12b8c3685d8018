//! Where the programs under test are.

use std::net::TcpListener;
use std::path::PathBuf;

/// A program that cargo built beside this test, or beside the program that measures it.
///
/// # Panics
/// If it is not there: `cargo xtask test` builds all programs first, a bare `cargo test` may not.
pub fn program(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("a program has a path");
    // A test lies in <target>/<profile>/deps, a program one directory above.
    let found = own.ancestors().skip(1).take(2).map(|dir| dir.join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| {
        panic!("{name} is missing near {}: run `cargo build --workspace --bins` first", own.display())
    })
}

/// A port on loopback that nobody listens on right now.
pub fn free_port() -> u16 {
    let probe = TcpListener::bind("127.0.0.1:0").expect("a free port");
    probe.local_addr().expect("a bound socket has an address").port()
}
