//! `start-volttron`, `stop-volttron` and `volttron --daemon`: the helpers around the original, with their texts and exit
//! codes (cli.md section 7).

use std::ffi::OsString;
use std::fmt::Display;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use crate::background::Launch;
use crate::options::{LogTarget, Options};

/// How long a start may take.
const PATIENCE: Duration = Duration::from_mins(1);
/// Exit code of a start that failed or took too long.
const FAILED: u8 = 2;

/// The option that is not one of `volttron`.
const ROTATING: &str = "--rotating";

const START_HELP: &str = "Start the platform in the background and wait until it is ready.

Usage: start-volttron [--rotating] [VOLTTRON OPTIONS]

Runs `volttron -vv -l volttron.log` with these options; the log is in the current directory, and is put aside before it
becomes larger than 10 MiB, or as --log-rotate and --log-keep say. With --rotating it is put aside at midnight, seven
days are kept, and it says what INFO tells.
Exit codes: 0 ready, 1 already running, 2 not ready; the reason follows on the next line.

Examples:
  start-volttron
  start-volttron --rotating
  start-volttron --vip-address tcp://127.0.0.1:22916
  VOLTTRON_HOME=/srv/site-a start-volttron
";

const STOP_HELP: &str = "Stop the platform and its agents; returns when they are gone.

Usage: stop-volttron

Example:
  VOLTTRON_HOME=/srv/site-a stop-volttron
";

/// `start-volttron`, with the program's name in front.
pub fn start(line: impl IntoIterator<Item = OsString>) -> ExitCode {
    let given: Vec<OsString> = line.into_iter().skip(1).collect();
    if given.iter().any(|word| word == "-h" || word == "--help") {
        say(START_HELP.trim_end());
        return ExitCode::SUCCESS;
    }
    let rotating = given.iter().any(|word| word == ROTATING);
    let options: &[&str] =
        if rotating { &["-v", "--log-rotate", "daily", "--log-keep", "7"] } else { &["-vv"] };
    let mut line: Vec<OsString> = vec!["volttron".into()];
    line.extend(options.iter().map(OsString::from));
    line.extend(given.into_iter().filter(|word| word != ROTATING));
    background(&line, "volttron.log".into())
}

/// `stop-volttron`, with the program's name in front.
pub fn stop(line: impl IntoIterator<Item = OsString>) -> ExitCode {
    let given: Vec<OsString> = line.into_iter().skip(1).collect();
    match given.as_slice() {
        [] => {}
        [word] if word == "-h" || word == "--help" => {
            say(STOP_HELP.trim_end());
            return ExitCode::SUCCESS;
        }
        [word, ..] => {
            complain(&format!(
                "stop-volttron: error: {} is not understood; it takes no options, VOLTTRON_HOME says which platform",
                word.to_string_lossy()
            ));
            return ExitCode::from(FAILED);
        }
    }
    say("Shutting down VOLTTRON");
    crate::ctl::main(["volttron-ctl", "shutdown", "--platform"].map(OsString::from))
}

/// `volttron --daemon`: this very command line, in the background.
pub fn daemon(line: &[OsString]) -> ExitCode {
    let log = Options::resolve(line.iter().cloned()).map(|options| match options.log.usual() {
        LogTarget::File(path) => path.clone(),
        _ => options.home.path().join("volttron.log"),
    });
    match log {
        Ok(log) => background(line, log),
        Err(error) => {
            complain(&format!("volttron: error: {error}"));
            ExitCode::from(error.exit_code())
        }
    }
}

/// Starts what this command line of `volttron` says. A log that it names goes before `log`.
fn background(line: &[OsString], log: PathBuf) -> ExitCode {
    let options = match Options::resolve(line.iter().cloned()) {
        Ok(options) => options,
        Err(error) => return failed(&log.display(), &error),
    };
    if let Some(pid) = options.home.running() {
        say(&format!("VOLTTRON with process id {pid} is already running"));
        return ExitCode::from(1);
    }
    // Scripts know the name without the directory.
    let (shown, log) = match options.log.usual() {
        LogTarget::File(path) => (path.clone(), path.clone()),
        _ => (log.clone(), std::path::absolute(&log).unwrap_or(log)),
    };
    // The log may be in it.
    if let Err(error) = options.home.create_dirs() {
        return failed(&shown.display(), &error);
    }
    let args: Vec<OsString> = line.iter().skip(1).filter(|word| *word != "--daemon").cloned().collect();
    let rotate = !options.log.is_rotation_chosen();
    let launch = Launch { home: &options.home, args: &args, log: &log, rotate, patience: PATIENCE };
    match launch.run() {
        Ok(_) => {
            say("VOLTTRON startup complete");
            ExitCode::SUCCESS
        }
        Err(error) => failed(&shown.display(), &error),
    }
}

fn failed(log: &dyn Display, why: &dyn Display) -> ExitCode {
    say(&format!("VOLTTRON startup failed/timed out. Please check {log} for details"));
    complain(&why.to_string());
    ExitCode::from(FAILED)
}

fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

fn complain(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
