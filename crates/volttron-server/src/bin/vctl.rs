//! The command line tools: `vctl`, see [`volttron_server::ctl`], and as `vcfg`, see [`volttron_server::cfg`].

use std::path::Path;

fn main() -> std::process::ExitCode {
    let line: Vec<_> = std::env::args_os().collect();
    let name = line.first().and_then(|path| Path::new(path).file_name());
    if name.is_some_and(|name| name == "vcfg" || name == "volttron-cfg") {
        return volttron_server::cfg::main(line);
    }
    volttron_server::ctl::main(line)
}
