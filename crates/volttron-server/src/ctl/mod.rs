//! `vctl` (and `volttron-ctl`): parse, call the verb, show what it gave, choose the exit code. No logic of its own. And two
//! smaller programs of the same verbs, `vpkg` ([`pkg`]) and `volttron-upgrade` ([`home_upgrade`]).
//!
//! Starts no more than it needs: a single-threaded runtime, one connection, questions that do not depend on each
//! other at once.

mod apply;
mod args;
mod auth;
mod backup;
mod bench;
mod bus;
mod care;
mod complete;
mod doctor;
mod explain;
mod home_upgrade;
mod install;
mod logs;
mod man;
mod manage;
mod migrate;
mod new;
mod numbers;
pub(crate) mod output;
mod pkg;
mod program;
mod render;
mod rpc;
mod run;
mod selection;
mod settings;
mod show;
mod signals;
mod top;
mod versions;
mod watch;

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, Parser};
use volttron_utils::home::{Home, expand};
use volttron_utils::json::python;

use args::{AuthVerb, Cli, Command, Global};
use output::Output;
use signals::Interruption;

use crate::codes::{Code, Coded};
use crate::logging::config::LogConfig;
use crate::logging::rotation::Rotation;
use crate::logging::{self, Handler, Levels, Log, Setup};
use crate::ops::{OpError, Session, Target};
use crate::options::LogTarget;

/// How long the last lines of the log may take.
const LOG_FLUSH: Duration = Duration::from_secs(1);
/// From this level on the log is written also without `--log`.
const DEBUG: i64 = 10;

/// Limit of each exchange with the platform, unless `--timeout` says otherwise.
const DEFAULT_TIMEOUT: Duration = Duration::from_mins(1);

/// Runs the program.
pub fn main(command_line: impl IntoIterator<Item = OsString>) -> ExitCode {
    let command_line: Vec<OsString> = command_line.into_iter().collect();
    if complete::answer(&command_line) {
        return ExitCode::SUCCESS;
    }
    let json = command_line.iter().any(|word| word == "--json");
    let cli = match Cli::try_parse_from(command_line.into_iter().map(old_spelling)) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to stdout and are a success; a closed pipe is nobody's fault.
            let _ = error.print();
            let code = u8::try_from(error.exit_code()).unwrap_or(2);
            if code != 0 && json {
                let text = error.render().to_string();
                Output::new(true).describe(text.trim_end().trim_start_matches("error: "), Code::Usage, code);
            }
            return ExitCode::from(code);
        }
    };
    if cli.command.is_none() && !cli.global.show_config {
        let _ = Cli::command().print_help();
        return ExitCode::SUCCESS;
    }
    let mut out = Output::new(cli.global.json);
    let word = cli.command.as_ref().map_or("show-config", Command::word);
    let outcome = Vctl::new(&cli.global, cli.command.as_ref()).and_then(|vctl| {
        let Some(command) = cli.command.filter(|_| !cli.global.show_config) else {
            out.print(&vctl.show_config(&cli.global));
            return Ok(0);
        };
        let log = open_log(&cli.global, &mut out)?;
        let outcome = run(&vctl, command, &mut out);
        if let Some(log) = log {
            log.flush(LOG_FLUSH);
        }
        outcome
    });
    let outcome = outcome.and_then(|code| out.unwritten().map_or(Ok(code), Err));
    let code = match outcome {
        Ok(code) => code,
        Err(error) => {
            out.fail(&describe(word, &error), error.coded(), error.code());
            if let (true, OpError::Call(call)) = (cli.global.debug, &error) {
                out.complain(&format!("{call:#?}"));
            }
            error.code()
        }
    };
    ExitCode::from(code)
}

/// Runs `vpkg`.
pub fn pkg(command_line: impl IntoIterator<Item = OsString>) -> ExitCode {
    program::main::<pkg::Cli>(command_line)
}

/// Runs `volttron-upgrade`.
pub fn home_upgrade(command_line: impl IntoIterator<Item = OsString>) -> ExitCode {
    program::main::<home_upgrade::Cli>(command_line)
}

/// The one option with a name of two letters behind a single dash.
fn old_spelling(word: OsString) -> OsString {
    if word == "-st" { "--agent-start-time".into() } else { word }
}

/// `<command>: error: <message>`, save where scripts know a fixed text.
fn describe(word: &str, error: &OpError) -> String {
    match error {
        OpError::NotRunning => error.to_string(),
        _ if error.is_timeout() => {
            format!("{word}: operation timed out\n{error}; --timeout SECS sets how long to wait")
        }
        _ => format!("{word}: error: {error}"),
    }
}

/// The log of the connection to the platform. Without `--log` and `--log-config` there is none below `-vv`: what matters
/// is on standard error.
fn open_log(global: &Global, out: &mut Output) -> Result<Option<Log>, OpError> {
    let level = (global.verboseness + 10 * (i64::from(global.quiet) - i64::from(global.verbose))).max(1);
    let target = match global.log.as_deref() {
        None if level > DEBUG && global.log_config.is_none() => return Ok(None),
        None => LogTarget::Stderr,
        Some("") => LogTarget::Nowhere,
        Some("-") => LogTarget::Stdout,
        Some(path) => LogTarget::File(expand(path).into()),
    };
    let setup = if let Some(given) = &global.log_config {
        let config = LogConfig::read(given, |path| expand(path).into());
        let config = config.map_err(|error| OpError::Usage(error.to_string()))?;
        config.warnings.iter().for_each(|warning| out.complain(warning));
        config.setup(Handler::plain(target, Rotation::default()), level, &[])
    } else {
        Setup::simple(target, Rotation::default(), Levels::new(level, &[]))
    };
    let log = logging::init(setup).map_err(|error| OpError::File {
        what: format!("cannot write the log to {}", error.target),
        source: error.source,
    })?;
    Ok(Some(log))
}

fn run(vctl: &Vctl, command: Command, out: &mut Output) -> Result<u8, OpError> {
    match command {
        // The agent in the foreground gets the Ctrl-C, and what was set up for it is taken down after.
        Command::Run(args) => runtime()?.block_on(run::run(vctl, args, out)),
        // So does a measurement; it clears up first.
        Command::Bench(args) => runtime()?.block_on(bench::bench(vctl, &args, out)),
        other => until_interrupted(dispatch(vctl, other, out)),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, OpError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|source| OpError::File { what: "cannot start".to_owned(), source })
}

/// Works until it is done, or until a signal ends it.
fn until_interrupted(work: impl Future<Output = Result<u8, OpError>>) -> Result<u8, OpError> {
    let interruption =
        Interruption::listen().map_err(|source| OpError::File { what: "cannot start".to_owned(), source })?;
    runtime()?.block_on(async {
        tokio::select! {
            code = work => code,
            code = interruption.came() => Ok(code),
        }
    })
}

async fn dispatch(vctl: &Vctl, command: Command, out: &mut Output) -> Result<u8, OpError> {
    match command {
        Command::List(args) => show::list(vctl, &args, out).await,
        Command::Status(args) => show::status(vctl, &args, out).await,
        Command::Health(selection) => show::health(vctl, &selection, out).await,
        Command::Peerlist => show::peerlist(vctl, out).await,
        Command::Completions(args) => complete::completions(&args, out),
        Command::Man(args) => man::man(&args, out),
        Command::Top(args) => top::top(vctl, &args, out).await,
        Command::Bench(args) => bench::bench(vctl, &args, out).await,
        Command::Apply(args) => apply::apply(vctl, *args, out).await,
        Command::Diff(args) => apply::diff(vctl, &args, out).await,
        Command::Export(args) => apply::export(vctl, &args, out).await,
        Command::Call(args) => bus::call(vctl, args, out).await,
        Command::Pub(args) => bus::publish(vctl, &args, out).await,
        Command::Sub(args) => bus::subscribe(vctl, &args, out).await,
        Command::Watch(args) => watch::watch(vctl, &args, out).await,
        Command::Logs(args) => logs::logs(vctl, &args, out).await,
        Command::Metrics => watch::metrics(vctl, out).await,
        Command::Stats { op } => watch::stats(vctl, op, out).await,
        Command::Rpc(verb) => rpc::rpc(vctl, verb, out).await,
        Command::Install(args) => install::install(vctl, *args, out).await,
        Command::New(args) => new::new(vctl, args, out),
        Command::Run(args) => run::run(vctl, args, out).await,
        Command::Upgrade(args) => versions::upgrade(vctl, *args, out).await,
        Command::Rollback { agent, to, patience, filters } => {
            versions::roll_back(vctl, &agent, to.as_deref(), patience.agent_start_time, filters.into(), out)
                .await
        }
        Command::History { agent, filters } => versions::history(vctl, &agent, filters.into(), out).await,
        Command::Config(command) => show::config(vctl, command, out).await,
        Command::Start { selection, wait } => manage::start(vctl, &selection, seconds(wait), out).await,
        Command::Stop(selection) => manage::stop(vctl, &selection, out).await,
        Command::Restart { selection, wait } => manage::restart(vctl, &selection, seconds(wait), out).await,
        Command::Enable { selection, priority } => manage::enable(vctl, &selection, &priority, out).await,
        Command::Disable(selection) => manage::disable(vctl, &selection, out).await,
        Command::Tag { agent, tag, remove, filters } => {
            manage::tag(vctl, &agent, tag.as_deref(), remove, filters.into(), out).await
        }
        Command::Remove { selection, force, keep_data } => {
            manage::remove(vctl, &selection, force, keep_data, out).await
        }
        Command::Clear { all } => manage::clear(vctl, all).await,
        Command::Shutdown { platform, keep_agents } => {
            manage::shutdown(vctl, platform, keep_agents, out).await
        }
        Command::Auth { command: AuthVerb::Rules(command) } => auth::rules(vctl, command, out).await,
        Command::Auth { command: AuthVerb::Publickey(args) } => auth::publickey(vctl, &args, out).await,
        Command::Care(command) => care::care(vctl, command, out).await,
    }
}

/// Seconds as typed; nonsense counts as none.
fn seconds(number: f64) -> Duration {
    Duration::try_from_secs_f64(number).unwrap_or_default()
}

/// What every command works with.
struct Vctl {
    target: Target,
    json: bool,
    verbose: bool,
}

impl Vctl {
    fn new(global: &Global, command: Option<&Command>) -> Result<Self, OpError> {
        let home = match &global.vhome {
            Some(path) => Home::new(expand(&path.to_string_lossy())),
            None => Home::from_env(),
        }
        .map_err(|e| OpError::Usage(e.to_string()))?;
        // The variable may name a home that is still to be made; what is typed may be mistyped.
        let is_missing = global.vhome.is_some() && !home.path().is_dir() && global.vip_address.is_none();
        if is_missing && command.is_some_and(Command::needs_home) {
            let path = home.path().display();
            return Err(OpError::Usage(format!("--vhome {path}: there is no such directory")));
        }
        let settings = settings::read(&home, global, command.is_none_or(Command::needs_settings))?;
        let given = global.timeout.or(settings.timeout);
        let timeout = match given {
            Some(number) => Duration::try_from_secs_f64(number)
                .map_err(|e| OpError::Usage(format!("--timeout {number}: {e}")))?,
            None => DEFAULT_TIMEOUT,
        };
        let address = global.vip_address.clone().or(settings.address);
        let target = Target { home, address, timeout, timeout_is_given: given.is_some() };
        Ok(Self { target, json: global.json, verbose: global.verbose > 0 })
    }

    fn home(&self) -> &Home {
        &self.target.home
    }

    /// `name value` lines, sorted.
    fn show_config(&self, global: &Global) -> String {
        let text = |value: Option<&str>| value.map_or_else(|| "None".to_owned(), python::repr_str);
        let level = global.verboseness + 10 * (i64::from(global.quiet) - i64::from(global.verbose));
        format!(
            "debug {}\njson {}\nlog {}\nmsgdebug {}\ntimeout {}\nverboseness {level}\nvip_address {}\nvolttron_home {}\n",
            python::repr(&global.debug.into()),
            python::repr(&self.json.into()),
            text(global.log.as_deref()),
            text(global.msgdebug.as_deref()),
            self.target.timeout.as_secs_f64(),
            text(self.target.address.as_deref().or(Some(&self.home().default_vip_socket()))),
            python::repr_str(&self.home().path().to_string_lossy()),
        )
    }

    async fn connect(&self) -> Result<Session, OpError> {
        self.target.connect().await
    }

    /// A connection if the platform runs; commands that can do without use the files then.
    async fn connect_if_running(&self) -> Result<Option<Session>, OpError> {
        if self.target.is_running() { self.connect().await.map(Some) } else { Ok(None) }
    }
}
