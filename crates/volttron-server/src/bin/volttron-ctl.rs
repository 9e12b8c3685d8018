//! `vctl` under its long name.

fn main() -> std::process::ExitCode {
    volttron_server::ctl::main(std::env::args_os())
}
