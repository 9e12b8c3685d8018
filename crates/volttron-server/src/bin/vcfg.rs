//! The set-up program; see [`volttron_server::cfg`].

fn main() -> std::process::ExitCode {
    volttron_server::cfg::main(std::env::args_os())
}
