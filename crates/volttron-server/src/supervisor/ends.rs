//! What an exit code means, in words.

/// `exit code 3`, `exit code 105 (it refused its configuration)`, `signal 9 (SIGKILL)`.
pub fn how_ended(code: i32) -> String {
    match code {
        105 => "exit code 105 (it refused its configuration)".to_owned(),
        0.. => format!("exit code {code}"),
        _ => match signal_name(-code) {
            Some(name) => format!("signal {} ({name})", -code),
            None => format!("signal {}", -code),
        },
    }
}

fn signal_name(number: i32) -> Option<&'static str> {
    Some(match number {
        libc::SIGHUP => "SIGHUP",
        libc::SIGINT => "SIGINT",
        libc::SIGQUIT => "SIGQUIT",
        libc::SIGILL => "SIGILL",
        libc::SIGTRAP => "SIGTRAP",
        libc::SIGABRT => "SIGABRT",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGKILL => "SIGKILL",
        libc::SIGUSR1 => "SIGUSR1",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGUSR2 => "SIGUSR2",
        libc::SIGPIPE => "SIGPIPE",
        libc::SIGALRM => "SIGALRM",
        libc::SIGTERM => "SIGTERM",
        libc::SIGXCPU => "SIGXCPU",
        libc::SIGXFSZ => "SIGXFSZ",
        libc::SIGSYS => "SIGSYS",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_names() {
        for (code, text) in [
            (0, "exit code 0"),
            (3, "exit code 3"),
            (105, "exit code 105 (it refused its configuration)"),
            (-9, "signal 9 (SIGKILL)"),
            (-11, "signal 11 (SIGSEGV)"),
            (-40, "signal 40"),
        ] {
            assert_eq!(how_ended(code), text);
        }
    }
}
