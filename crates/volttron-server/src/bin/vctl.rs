//! The command line tools: `vctl`, `vpkg` and `volttron-upgrade`, see [`volttron_server::ctl`], and as `vcfg`, see
//! [`volttron_server::cfg`].

use std::ffi::OsStr;
use std::path::Path;

fn main() -> std::process::ExitCode {
    let line: Vec<_> = std::env::args_os().collect();
    match line.first().and_then(|path| Path::new(path).file_name()).and_then(OsStr::to_str) {
        Some("vcfg" | "volttron-cfg") => volttron_server::cfg::main(line),
        Some("vpkg" | "volttron-pkg") => volttron_server::ctl::pkg(line),
        Some("volttron-upgrade") => volttron_server::ctl::home_upgrade(line),
        _ => volttron_server::ctl::main(line),
    }
}
