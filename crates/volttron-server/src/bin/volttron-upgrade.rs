//! Brings a home of a Python platform up to date; see `volttron_server::ctl`.

mod alias;

fn main() -> std::process::ExitCode {
    alias::become_program("vctl", "volttron-upgrade")
}
