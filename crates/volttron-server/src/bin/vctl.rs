//! The command line tool; see [`volttron_server::ctl`].

fn main() -> std::process::ExitCode {
    volttron_server::ctl::main(std::env::args_os())
}
