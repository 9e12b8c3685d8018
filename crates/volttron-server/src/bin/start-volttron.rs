//! Starts the platform in the background; see [`volttron_server::scripts`].

fn main() -> std::process::ExitCode {
    volttron_server::scripts::start(std::env::args_os())
}
