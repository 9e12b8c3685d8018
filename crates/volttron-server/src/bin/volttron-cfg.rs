//! `vcfg` under its long name.

fn main() -> std::process::ExitCode {
    volttron_server::cfg::main(std::env::args_os())
}
