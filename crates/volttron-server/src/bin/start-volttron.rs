//! Starts the platform in the background; see `volttron_server::scripts`.

mod alias;

fn main() -> std::process::ExitCode {
    alias::become_program("volttron", "start-volttron")
}
