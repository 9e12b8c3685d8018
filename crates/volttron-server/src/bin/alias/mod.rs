//! A program that is another one under a second name: it becomes the program beside it, which looks at the name it was
//! called by. Does not touch the library, which would be linked, optimised and stored once more for every name.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

/// Becomes `program`, called `name`; with the arguments of this process. Returns only if that fails.
pub fn become_program(program: &str, name: &str) -> ExitCode {
    // Beside this file, also through a link to it; else where the shell finds it.
    let beside =
        std::env::current_exe().ok().map(|path| path.with_file_name(program)).filter(|path| path.is_file());
    let path = beside.map_or_else(|| OsString::from(program), OsString::from);
    let error = Command::new(&path).arg0(name).args(std::env::args_os().skip(1)).exec();
    let _ = writeln!(
        std::io::stderr(),
        "{name}: error: cannot start {}: {error}; it belongs beside {name} and is installed with it",
        path.display()
    );
    ExitCode::from(127)
}
