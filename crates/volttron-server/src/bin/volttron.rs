//! The platform program: parse, run, tell how it ended; also called as `start-volttron` and `stop-volttron`. No logic.

use std::ffi::{OsStr, OsString};
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use volttron_server::codes::{Code, Coded};
use volttron_server::logging;
use volttron_server::options::{self, Asked, Options, OptionsError};
use volttron_server::platform::PlatformError;
use volttron_server::up::{self, Fresh, Next};
use volttron_server::{check, platform, scripts};

/// How long the last log lines may take; nobody may be reading.
const LAST_LINES: Duration = Duration::from_millis(200);

fn main() -> ExitCode {
    let line: Vec<_> = std::env::args_os().collect();
    match line.first().and_then(|path| Path::new(path).file_name()).and_then(OsStr::to_str) {
        Some("start-volttron") => return scripts::start(line),
        Some("stop-volttron") => return scripts::stop(line),
        _ => {}
    }
    let (line, fresh) = match up::main(line) {
        Next::Done(code) => return code,
        Next::Serve { line, fresh } => (line, fresh),
    };
    let options = match options::asked(&line) {
        Ok(Asked::Daemon) => return scripts::daemon(&line),
        Ok(Asked::Check { json }) => return check::main(&line, json),
        Ok(Asked::Serve) => Options::resolve(line.clone()),
        Err(error) => Err(error),
    };
    let options = match options {
        Ok(options) => options,
        Err(error) => return refuse(&error),
    };
    let log = match logging::init(options.log.setup()) {
        Ok(log) => log,
        Err(error) => {
            complain(&error.to_string(), Code::LogFile);
            return ExitCode::from(1);
        }
    };
    let ended = run(options, &line, fresh);
    if let Err(error) = &ended {
        tracing::error!("{error} (vctl explain {})", error.coded());
    }
    log.flush(LAST_LINES);
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error.to_string(), error.coded());
            ExitCode::from(error.exit_code())
        }
    }
}

/// One life of the platform; begun again only where settings were made that turn out to be taken.
fn run(mut options: Options, line: &[OsString], mut fresh: Option<Fresh>) -> Result<(), PlatformError> {
    loop {
        let ended = platform::run(&options);
        let (Err(error), Some(fresh)) = (&ended, &mut fresh) else { return ended };
        let Some(other) = fresh.instead(error, line) else { return ended };
        tracing::info!("{error}; another port is taken");
        options = other;
    }
}

fn refuse(error: &OptionsError) -> ExitCode {
    match error {
        OptionsError::Usage { text, answer: true, .. } => {
            // Nothing sensible can be done when stdout is closed.
            let _ = write!(std::io::stdout(), "{text}");
        }
        OptionsError::Usage { text, .. } => {
            let _ = write!(std::io::stderr(), "{text}");
        }
        other => complain(&other.to_string(), other.coded()),
    }
    ExitCode::from(error.exit_code())
}

/// One line on stderr, the last one; a person gets another that says where to read on.
fn complain(text: &str, code: Code) {
    let mut err = std::io::stderr();
    let _ = writeln!(err, "volttron: error: {text}");
    if err.is_terminal() {
        let _ = writeln!(err, "try: vctl explain {code}");
    }
}
