//! The set-up program; see `volttron_server::cfg`.

mod alias;

fn main() -> std::process::ExitCode {
    alias::become_program("vctl", "vcfg")
}
