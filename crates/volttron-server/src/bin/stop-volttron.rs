//! Stops the platform; see `volttron_server::scripts`.

mod alias;

fn main() -> std::process::ExitCode {
    alias::become_program("volttron", "stop-volttron")
}
