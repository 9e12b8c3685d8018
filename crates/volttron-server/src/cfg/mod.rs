//! `vcfg` (and `volttron-cfg`): sets a platform up by asking (cli.md section 5).
//!
//! The questions, their order, their defaults and the answers they take are those that scripts around the original
//! pipe in, so every one is asked even where what it is about does not exist here; what follows from the answer says so.
//! The configuration file is changed setting by setting and written whole. Start reading at [`wizard`].

mod agents;
mod answers;
mod args;
mod asker;
mod fake_device;
mod metadata;
mod settings;
mod wizard;

use std::ffi::OsString;
use std::io;
use std::process::ExitCode;

use clap::Parser;
use volttron_utils::home::{Home, expand};

use self::args::{Cli, Command};
use self::asker::Asker;
use self::settings::Settings;
use crate::ctl::output::{Output, Person};

/// Text before the first question if the platform runs.
const RUNNING: &str = "The VOLTTRON instance is running. Installing agents may replace agents that run.";
/// What is said when somebody would rather stop it first.
const STOP_FIRST: &str =
    "\nPlease execute:\n\n    volttron-ctl shutdown --platform\n\nto stop the instance.\n";

/// Why the program ends early.
#[derive(Debug, thiserror::Error)]
enum CfgError {
    /// Told on standard error.
    #[error("{0}")]
    Refused(String),
    /// Told on standard output, as scripts know it.
    #[error("{0}")]
    Known(String),
    /// The input has ended.
    #[error("the answers end before the question {0:?}; what was answered before is kept")]
    NoAnswer(String),
    /// The terminal or the pipe.
    #[error("cannot ask: {0}")]
    Prompt(#[from] io::Error),
    /// An agent was not installed; the text was shown when it happened.
    #[error("not installed: {0}")]
    Agents(String),
}

impl CfgError {
    fn code(&self) -> u8 {
        match self {
            Self::Agents(_) => 10,
            _ => 1,
        }
    }
}

/// The command definition, for manual pages.
pub(crate) fn command() -> clap::Command {
    <Cli as clap::CommandFactory>::command()
}

/// Runs the program.
pub fn main(command_line: impl IntoIterator<Item = OsString>) -> ExitCode {
    let line: Vec<OsString> = command_line.into_iter().collect();
    let cli = match Cli::try_parse_from(&line) {
        Ok(cli) => cli,
        Err(error) if !error.use_stderr() => {
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            Output::default().complain(&args::usage_error(&error, &line));
            return ExitCode::from(2);
        }
    };
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut out = Output::default();
            match &error {
                CfgError::Known(text) => out.line(text),
                other => out.complain(&format!("vcfg: error: {other}")),
            }
            ExitCode::from(error.code())
        }
    }
}

fn run(cli: &Cli) -> Result<(), CfgError> {
    let home = match &cli.vhome {
        Some(path) => Home::new(expand(&path.to_string_lossy())),
        None => Home::from_env(),
    }
    .and_then(|home| home.check_socket_length().map(|()| home))
    .map_err(|e| CfgError::Refused(e.to_string()))?;
    match &cli.command {
        Some(Command::UpdateConfigStore { metadata_file }) => return metadata::update(&home, metadata_file),
        Some(Command::Rabbitmq { .. }) => return Err(no_rabbitmq()),
        None => {}
    }
    if cli.rabbitmq.is_some() {
        return Err(no_rabbitmq());
    }
    let mut person = Person;
    let given = answers::collect(cli)?;
    let asker = Asker::new(&mut person, given, cli.non_interactive);
    let mut settings = Settings::new(&home);
    if let Some(name) = &cli.instance_name {
        settings.name(name)?;
    }
    if cli.list_agents {
        Output::default().line(&format!("Agents available to configure:\n\t{}", agents::NAMES.join("\n\t")));
        return Ok(());
    }
    if cli.agent_isolation_mode {
        settings.change(&[("agent-isolation-mode", "True")])?;
        Output::default().line(
            "agent-isolation-mode is on from the next start; `volttron-agent-exec --help` says what an administrator has \
             to set up before it.",
        );
        return Ok(());
    }
    wizard::run(home, asker, settings, cli)
}

fn no_rabbitmq() -> CfgError {
    CfgError::Refused(
        "the RabbitMQ message bus is not built yet, so there is nothing to configure; nothing was changed. Use zmq."
            .to_owned(),
    )
}
