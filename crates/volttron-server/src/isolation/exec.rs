//! The command line of `volttron-agent-exec`.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use rustix::process::{Signal, geteuid};

use super::become_user::{self, Launch};
use super::site::Site;
use super::{IsolationError, file, own, users};

/// Longest description of a launch.
const MAX_LAUNCH_BYTES: u64 = 1024 * 1024;

/// Run agents as users of their own, or confined. Called by the platform; see its options agent-isolation-mode and
/// agent-sandbox.
#[derive(Debug, Parser)]
#[command(name = "volttron-agent-exec", version)]
struct Cli {
    /// Configuration of the platform: belongs to root, writable by nobody else; all but `confine` need it
    #[arg(long, value_name = "FILE")]
    site: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write the configuration and the sudo rule of a platform (an administrator does this once)
    #[command(after_help = "Example:\n  \
        sudo volttron-agent-exec --site /etc/volttron/isolation/campus.json setup --instance campus \\\n    \
        --home /var/lib/volttron --platform-user volttron --sudoers /etc/sudoers.d/volttron_campus")]
    Setup {
        /// Name of the instance
        #[arg(long)]
        instance: String,
        /// Home of the platform
        #[arg(long)]
        home: PathBuf,
        /// User the platform runs as
        #[arg(long)]
        platform_user: String,
        /// File for the sudo rule; not needed for a platform that runs as root
        #[arg(long, value_name = "FILE")]
        sudoers: Option<PathBuf>,
    },
    /// Make a user for an agent; prints its name
    AddUser,
    /// Remove the user of an agent
    RemoveUser {
        /// Its name
        user: String,
    },
    /// Hand an agent's files to its user, become that user, run what standard input says
    Run {
        /// The agent's user
        user: String,
        /// The agent's identity
        identity: String,
    },
    /// Run what standard input says as the user this is called by, confined; needs no root
    Confine,
    /// Signal everything that an agent's user runs
    Signal {
        /// The agent's user
        user: String,
        /// INT, TERM or KILL
        signal: String,
    },
}

/// Runs the program. Exit code 77 for a caller that is not root, 1 for everything else that fails.
pub fn main(command_line: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(command_line) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let mut stderr = io::stderr();
    let Some(site) = cli.site.filter(|_| !matches!(cli.command, Command::Confine)) else {
        return answer(confine_or_complain(&cli.command));
    };
    if !geteuid().is_root() {
        let _ = writeln!(
            stderr,
            "volttron-agent-exec: error: only root can give an agent a user of its own; is the sudo rule there?"
        );
        return ExitCode::from(77);
    }
    answer(run(&site, cli.command))
}

fn answer(done: Result<(), IsolationError>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "volttron-agent-exec: error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn confine_or_complain(command: &Command) -> Result<(), IsolationError> {
    match command {
        Command::Confine => Err(become_user::confine(&what_to_run()?)),
        _ => Err(IsolationError::Request("--site FILE is missing".to_owned())),
    }
}

fn what_to_run() -> Result<Launch, IsolationError> {
    let mut text = String::new();
    let read = io::stdin().lock().take(MAX_LAUNCH_BYTES).read_to_string(&mut text);
    read.map_err(|source| IsolationError::System { what: "read what to run", source })?;
    serde_json::from_str(&text).map_err(|e| IsolationError::Request(format!("what to run: {e}")))
}

fn run(site: &Path, command: Command) -> Result<(), IsolationError> {
    if let Command::Setup { instance, home, platform_user, sudoers } = command {
        return setup(site, &Site { instance, home, platform_user }, sudoers.as_deref());
    }
    let site = Site::load(site)?;
    match command {
        Command::AddUser => {
            let name = users::add(&site)?;
            let told = writeln!(io::stdout(), "{name}");
            told.map_err(|source| IsolationError::System { what: "say the name", source })
        }
        Command::RemoveUser { user } => users::remove(&site, &user),
        Command::Run { user, identity } => {
            let user = users::find(&site, &user)?;
            let launch = what_to_run()?;
            own::hand_over(&site, &identity, &user)?;
            Err(become_user::run(&user, &launch))
        }
        Command::Signal { user, signal } => {
            let user = users::find(&site, &user)?;
            let signal = match signal.as_str() {
                "INT" => Signal::INT,
                "TERM" => Signal::TERM,
                "KILL" => Signal::KILL,
                other => return Err(IsolationError::Request(format!("signal {other}: INT, TERM or KILL"))),
            };
            become_user::signal(&user, signal).map(drop)
        }
        Command::Setup { .. } | Command::Confine => Ok(()),
    }
}

/// Writes what an administrator would otherwise write by hand.
fn setup(path: &Path, site: &Site, sudoers: Option<&Path>) -> Result<(), IsolationError> {
    let path = file(path, std::path::absolute(path))?;
    users::numbers(&site.platform_user)?;
    if let Some(parent) = path.parent() {
        file(parent, fs::create_dir_all(parent))?;
    }
    let text = volttron_utils::json::to_indent(site, 2).unwrap_or_default();
    file(&path, volttron_utils::files::write_atomic(&path, text.as_bytes(), 0o644))?;
    Site::load(&path)?;
    let Some(sudoers) = sudoers else { return Ok(()) };
    let own = std::env::current_exe()
        .map_err(|source| IsolationError::System { what: "find this program", source })?;
    // sudo refuses such names in a rule, or takes them for something else.
    let plain = |p: &Path| {
        p.to_str().is_some_and(|t| !t.contains(|c: char| c.is_whitespace() || ",:=\\*?[]!".contains(c)))
    };
    let plain_user = site.platform_user.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if !plain(&own) || !plain(&path) || !plain_user {
        return Err(IsolationError::Request(
            "paths and users of a sudo rule have no blanks or signs".to_owned(),
        ));
    }
    // One line for each thing it may be asked: nothing else can follow, another --site least of all.
    let rule = |rest: &str| {
        format!(
            "{} ALL=(root) NOPASSWD: {} --site {} {rest}\n",
            site.platform_user,
            own.display(),
            path.display()
        )
    };
    let rules: String =
        ["add-user", "remove-user volttron_[1-9]*", "run volttron_[1-9]*", "signal volttron_[1-9]*"]
            .into_iter()
            .map(rule)
            .collect();
    file(sudoers, volttron_utils::files::write_atomic(sudoers, rules.as_bytes(), 0o440))
}
