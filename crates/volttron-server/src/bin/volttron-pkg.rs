//! `vpkg` under its long name.

mod alias;

fn main() -> std::process::ExitCode {
    alias::become_program("vctl", "volttron-pkg")
}
