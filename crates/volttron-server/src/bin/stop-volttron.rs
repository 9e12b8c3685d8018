//! Stops the platform; see [`volttron_server::scripts`].

fn main() -> std::process::ExitCode {
    volttron_server::scripts::stop(std::env::args_os())
}
