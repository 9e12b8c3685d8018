//! Makes agents and packages of them; see `volttron_server::ctl`.

mod alias;

fn main() -> std::process::ExitCode {
    alias::become_program("vctl", "vpkg")
}
