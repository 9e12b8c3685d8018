//! Runs agents as users of their own; see [`volttron_server::isolation`].

fn main() -> std::process::ExitCode {
    volttron_server::isolation::exec::main(std::env::args_os())
}
