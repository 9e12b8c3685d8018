//! The command line of `vctl`, as clap reads it (cli.md section 4).

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::apply::{ApplyArgs, DiffArgs, ExportArgs};
use super::bench::BenchArgs;
use super::bus::{CallArgs, PublishArgs, SubscribeArgs};
use super::care::CareCommand;
use super::complete::CompletionsArgs;
use super::logs::LogsArgs;
use super::man::ManArgs;
use super::new::NewArgs;
use super::numbers::{seconds_of, whole};
use super::rpc::RpcVerb;
use super::run::RunArgs;
use super::selection::{FilterArgs, Selection};
use super::top::TopArgs;
use super::watch::{StatsVerb, WatchArgs};
use crate::ops::auth::AuthCommand;
use crate::ops::config::ConfigCommand;

/// Manage a VOLTTRON platform and its agents.
#[derive(Debug, Parser)]
#[command(
    name = "vctl",
    version,
    disable_help_subcommand = true,
    args_override_self = true,
    after_help = "Examples:\n  \
        vctl install ./my-agent --agent-config config.json --tag pump --start\n  \
        vctl status                     what runs, and how it does\n  \
        vctl start --tag pump\n  \
        vctl config store platform.driver devices/campus/building/ahu1 ahu1.json\n  \
        vctl shutdown --platform        stop everything\n\n\
        Agents are chosen by the beginning of their uuid, by identity, or by the beginning of their name;\n\
        `*` and `?` are wildcards."
)]
pub struct Cli {
    /// Options that every command takes, before or after its name
    #[command(flatten)]
    pub global: Global,
    /// What to do
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Options of every command.
#[derive(Args, Debug)]
pub struct Global {
    /// Read further settings from this file
    #[arg(short, long, value_name = "FILE", global = true, help_heading = "Global options")]
    pub config: Vec<PathBuf>,
    /// Show where a failure on the platform came from
    #[arg(long, global = true, help_heading = "Global options")]
    pub debug: bool,
    /// How long to wait for the platform, in seconds
    #[arg(
        short,
        long,
        value_name = "SECS",
        global = true,
        help_heading = "Global options",
        value_parser = seconds_of,
        allow_negative_numbers = true
    )]
    pub timeout: Option<f64>,
    /// Connect to this address instead of the local socket
    #[arg(long, value_name = "ADDR", global = true, help_heading = "Global options")]
    pub vip_address: Option<String>,
    /// Home of the platform, instead of VOLTTRON_HOME
    #[arg(long, value_name = "DIR", global = true, help_heading = "Global options")]
    pub vhome: Option<PathBuf>,
    /// Print JSON
    #[arg(long, global = true, help_heading = "Global options")]
    pub json: bool,
    /// Say more
    #[arg(short, long, action = clap::ArgAction::Count, global = true, help_heading = "Global options")]
    pub verbose: u8,
    /// Say less
    #[arg(short, long, action = clap::ArgAction::Count, global = true, help_heading = "Global options")]
    pub quiet: u8,
    /// Write the log of this program to FILE ("-" is standard output, an empty text no log at all)
    #[arg(short, long, value_name = "FILE", global = true, help_heading = "Global options")]
    pub log: Option<String>,
    /// Logging configuration, as `volttron` takes it
    #[arg(short = 'L', long, value_name = "FILE", global = true, hide = true)]
    pub log_config: Option<String>,
    /// Level that -v and -q start from: 10 debug, 20 info, 30 warning, 40 error
    #[arg(
        long,
        value_name = "N",
        global = true,
        hide = true,
        default_value_t = 30,
        value_parser = whole::<i64>,
        allow_negative_numbers = true
    )]
    pub verboseness: i64,
    /// Show what the options and files come to, and end
    #[arg(long, global = true, hide = true)]
    pub show_config: bool,
    /// Accepted for compatibility
    #[arg(long, value_name = "ADDR", global = true, hide = true)]
    pub msgdebug: Option<String>,
}

const STATUS_HELP: &str = "Examples:\n  \
    vctl status                     the table\n  \
    vctl -v status                  with restarts, memory and processor time, and why agents ended\n  \
    vctl --json status pump\n\n\
    With --json each agent has, besides what the table shows:\n  \
    state         installed, starting, running, stopping, stopped, backoff or failed; since: since when\n  \
    restarts      after crashes, since the platform came up\n  \
    last_exit     exit code of the last process, or minus the signal\n  \
    adopted       an earlier platform started its process (volttron --keep-agents); exit_unknown: so nobody\n  \
    \x20             knows its exit code, last_exit is null, and the table shows 0 if it was asked to end, else 1\n  \
    last_crash    the last end nobody asked for: exit, how, pid, at, last_error; null if there was none\n  \
    log_file      where all of what it writes is (vctl logs)\n  \
    user          Unix user of its process\n  \
    memory_bytes  resident memory of the process and all it started\n  \
    cpu_s         processor time of these, in seconds\n  \
    cpu_percent   of one processor, over the last cpu_window_s seconds: since status was asked for before, or since\n  \
    \x20             its start\n  \
    processes     how many there are";

/// The commands.
#[derive(Debug, Subcommand)]
#[command(rename_all = "kebab-case")]
pub enum Command {
    /// List installed agents
    List(ListArgs),
    /// Show which agents run, and how they do
    #[command(after_help = STATUS_HELP)]
    Status(ListArgs),
    /// Show what is known about the health of an agent
    Health(Selection),
    /// List the identities on the message bus
    Peerlist,
    /// Install an agent from a crate directory, a program or a Python package
    Install(Box<InstallArgs>),
    /// Write the crate of a new agent, driver or historian
    New(NewArgs),
    /// Run an agent in the foreground without installing it, until it ends or Ctrl-C
    Run(RunArgs),
    /// Install another version of agents: keys, data, configuration, tag and priority stay
    Upgrade(Box<UpgradeArgs>),
    /// Go back to the version before the installed one
    #[command(after_help = "Examples:\n  vctl rollback pump\n  vctl rollback pump --to 1.2.0")]
    Rollback {
        /// The agent
        agent: String,
        /// The version; the one before the installed one otherwise
        #[arg(long, value_name = "VERSION")]
        to: Option<String>,
        /// How long its start may take
        #[command(flatten)]
        patience: StartTimeArgs,
        /// How the agent is looked up
        #[command(flatten)]
        filters: FilterArgs,
    },
    /// Show which versions an agent had, and what came of them
    History {
        /// The agent
        agent: String,
        /// How the agent is looked up
        #[command(flatten)]
        filters: FilterArgs,
    },
    /// Make the platform what a file says
    Apply(Box<ApplyArgs>),
    /// Show how the platform differs from what a file says
    Diff(DiffArgs),
    /// Describe the platform in a file
    Export(ExportArgs),
    /// Print what a shell needs to complete commands, agents, configurations and topics
    Completions(CompletionsArgs),
    /// Write manual pages
    #[command(hide = true)]
    Man(ManArgs),
    /// Show live what agents do: processor, memory, messages, losses
    Top(TopArgs),
    /// Measure the bus, the configuration store and the disk of this platform
    Bench(BenchArgs),
    /// Call a method of an agent and show its answer
    Call(CallArgs),
    /// Publish a message
    Pub(PublishArgs),
    /// Show what is published, until Ctrl-C
    Sub(SubscribeArgs),
    /// Show what agents wrote, or the platform
    Logs(LogsArgs),
    /// Show every message that passes the bus, until Ctrl-C
    Watch(WatchArgs),
    /// Show what the platform counts, as OpenMetrics text (what Prometheus reads)
    #[command(
        after_help = "The same is served over HTTP, by default on the socket run/metrics.socket of the home:\n  \
        curl --unix-socket $VOLTTRON_HOME/run/metrics.socket http://localhost/metrics\n\
        `metrics-address = 127.0.0.1:9411` in the platform's config serves it on a port."
    )]
    Metrics,
    /// Count the messages of the router by peer, user and subsystem, and show the counts
    #[command(after_help = "Examples:\n  vctl stats enable\n  vctl stats pprint\n  vctl stats disable")]
    Stats {
        /// What to do
        #[arg(value_enum, default_value = "status")]
        op: StatsVerb,
    },
    /// Show which methods agents have, and how to call them
    #[command(subcommand)]
    Rpc(RpcVerb),
    /// Manage the configuration store
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Start agents, and wait until they are up
    #[command(
        after_help = "Examples:\n  vctl start listener\n  vctl start --tag pump\n  vctl start --all-tagged"
    )]
    Start {
        /// Which
        #[command(flatten)]
        selection: Selection,
        /// How long an agent may take to report its health, in seconds; 0 = do not wait
        #[arg(
            long,
            value_name = "SECS",
            default_value_t = 15.0,
            value_parser = seconds_of,
            allow_negative_numbers = true
        )]
        wait: f64,
    },
    /// Stop agents
    Stop(Selection),
    /// Stop agents and start them again
    Restart {
        /// Which
        #[command(flatten)]
        selection: Selection,
        /// How long an agent may take to report its health, in seconds; 0 = do not wait
        #[arg(
            long,
            value_name = "SECS",
            default_value_t = 15.0,
            value_parser = seconds_of,
            allow_negative_numbers = true
        )]
        wait: f64,
    },
    /// Let agents start with the platform
    Enable {
        /// Which
        #[command(flatten)]
        selection: Selection,
        /// Priority, 0 to 99; higher numbers start first
        #[arg(short, long, value_name = "NN", default_value = "50", allow_hyphen_values = true)]
        priority: String,
    },
    /// Do not let agents start with the platform
    Disable(Selection),
    /// Set, show or remove the tag of an agent
    Tag {
        /// The agent
        agent: String,
        /// The new tag; without it, the present one is shown
        tag: Option<String>,
        /// Remove the tag
        #[arg(short, long, conflicts_with = "tag")]
        remove: bool,
        /// How the agent is looked up
        #[command(flatten)]
        filters: FilterArgs,
    },
    /// Remove agents: their program, configuration file, data and auth entry
    Remove {
        /// Which
        #[command(flatten)]
        selection: Selection,
        /// Remove several agents, and data, without asking
        #[arg(short, long)]
        force: bool,
        /// Move the agent's data to the directory backups of the home instead of deleting it
        #[arg(long)]
        keep_data: bool,
    },
    /// Forget the exit codes of removed agents
    Clear {
        /// Of all agents that ended
        #[arg(short, long)]
        all: bool,
    },
    /// Stop all agents
    Shutdown {
        /// And the platform
        #[arg(long)]
        platform: bool,
        /// Only the platform: leave the agents to its next start (it has to run with --keep-agents)
        #[arg(long, requires = "platform")]
        keep_agents: bool,
    },
    /// Manage authorization entries and encryption keys
    Auth {
        /// What to do
        #[command(subcommand)]
        command: AuthVerb,
    },
    /// Verbs that look after the platform as a whole
    #[command(flatten)]
    Care(CareCommand),
}

/// `vctl auth`: the verbs of the rules, and those that look at agents.
#[derive(Debug, Subcommand)]
pub enum AuthVerb {
    /// Verbs about the rules
    #[command(flatten)]
    Rules(AuthCommand),
    /// Show the public keys of installed agents
    Publickey(ListArgs),
}

/// Options of `vctl install`.
#[derive(Args, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
#[command(after_help = "Examples:\n  \
    vctl install ./my-agent --start                        a crate directory: built with cargo, then started\n  \
    vctl install ./target/release/my-agent --tag pump      a program that is built already\n  \
    vctl install my-agent-1.0.0.crate                      a packaged crate\n  \
    vctl install my-agent@1.2 --registry ours              a crate by name; crates.io without --registry\n  \
    vctl install ./listener-1.0-py3-none-any.whl           a Python agent; pypi:NAME and a directory work, too\n  \
    vctl install ./my-agent --vip-identity pump --force    replace the program; keys, data and tag stay")]
pub struct InstallArgs {
    /// Crate directory, .crate file, program, or crate NAME[@VERSION]; Python directory, wheel, or pypi:NAME[==VERSION]
    #[arg(value_name = "INSTALL_PATH")]
    pub path: String,
    /// What kind of source INSTALL_PATH is; found out otherwise
    #[arg(long, value_enum, value_name = "KIND")]
    pub source: Option<crate::install::Kind>,
    /// Registry of the crate, as cargo's configuration names it
    #[arg(long, value_name = "NAME", conflicts_with = "index")]
    pub registry: Option<String>,
    /// Address of the index of the crate's registry
    #[arg(long, value_name = "URL")]
    pub index: Option<String>,
    /// Identity instead of the package's default; n in braces becomes the first free number
    #[arg(long, value_name = "ID")]
    pub vip_identity: Option<String>,
    /// Configuration file: YAML, or JSON with comments
    #[arg(long, value_name = "FILE")]
    pub agent_config: Option<PathBuf>,
    /// Tag the agent
    #[arg(long)]
    pub tag: Option<String>,
    /// Let it start with the platform, with priority 50
    #[arg(long)]
    pub enable: bool,
    /// Let it start with the platform, with this priority (0 to 99; higher numbers start first)
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub priority: Option<String>,
    /// Start it now
    #[arg(long)]
    pub start: bool,
    /// How long its start may take
    #[command(flatten)]
    pub patience: StartTimeArgs,
    /// Replace the installed agent of the same identity; keeps uuid, keys, data, tag and priority
    #[arg(short, long)]
    pub force: bool,
    /// When a version that replaces another one goes again
    #[command(flatten)]
    pub trial: TrialArgs,
    /// Print a line of keys and a line of values
    #[arg(long, conflicts_with = "json")]
    pub csv: bool,
    /// How it is built
    #[command(flatten)]
    pub build: BuildArgs,
    /// Addition to the agent's environment
    #[arg(long, value_name = "NAME=VALUE")]
    pub env: Vec<String>,
    /// Accepted for compatibility
    #[arg(long, hide = true)]
    pub verify: bool,
    /// Accepted for compatibility
    #[arg(long, hide = true)]
    pub no_verify: bool,
}

/// How a crate or a Python package is built.
#[derive(Args, Debug)]
pub struct BuildArgs {
    /// Which program of a crate, or console script of a Python package, that has several
    #[arg(long, value_name = "NAME")]
    pub bin: Option<String>,
    /// Features of the crate to turn on
    #[arg(long, value_delimiter = ',')]
    pub features: Vec<String>,
    /// Leave the crate's default features out
    #[arg(long)]
    pub no_default_features: bool,
    /// Build profile; release otherwise
    #[arg(long)]
    pub profile: Option<String>,
    /// Build without using the network
    #[arg(long)]
    pub offline: bool,
    /// How long a build may take, in seconds
    #[arg(
        long,
        value_name = "SECS",
        default_value_t = 1800.0,
        value_parser = seconds_of,
        allow_negative_numbers = true
    )]
    pub build_timeout: f64,
    /// The Python that runs a Python agent; otherwise the first `python` on PATH
    #[arg(long, value_name = "PATH")]
    pub python: Option<PathBuf>,
    /// Do not install requirements.txt of a Python directory (X is not looked at)
    #[arg(long, value_name = "X")]
    pub skip_requirements: Option<String>,
    /// Take releases of Python packages that are not final
    #[arg(long, alias = "pre", alias = "allow-prereleases")]
    pub pre_release: bool,
}

/// When a version that replaces another one goes again.
#[derive(Args, Clone, Debug)]
pub struct TrialArgs {
    /// Keep a new version even if it does not come up within --agent-start-time
    #[arg(long)]
    pub no_rollback: bool,
    /// Return to the former version when the health of the new one does not become GOOD in this time, such as 60s or 2m
    #[arg(long, value_name = "PERIOD", conflicts_with = "no_rollback")]
    pub auto_rollback: Option<String>,
}

/// Options of `vctl upgrade`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    vctl upgrade pump                           from where it came: built again, or read again\n  \
    vctl upgrade pump @1.2                      this version, from the registry that it came from\n  \
    vctl upgrade pump ./my-agent                from here\n  \
    vctl upgrade pump --auto-rollback 60s       back again unless its health is GOOD within a minute\n  \
    vctl upgrade --all")]
pub struct UpgradeArgs {
    /// The agent
    #[arg(value_name = "AGENT", required_unless_present = "all_agents")]
    pub agent: Option<String>,
    /// Where the new version is, or `@VERSION`; otherwise from where the present one came
    #[arg(value_name = "SOURCE")]
    pub source: Option<String>,
    /// Configuration file; the present one stays otherwise
    #[arg(long, value_name = "FILE")]
    pub agent_config: Option<PathBuf>,
    /// How long its start may take
    #[command(flatten)]
    pub patience: StartTimeArgs,
    /// When the new version goes again
    #[command(flatten)]
    pub trial: TrialArgs,
    /// How it is built
    #[command(flatten)]
    pub build: BuildArgs,
    /// How the agent is looked up
    #[command(flatten)]
    pub filters: FilterArgs,
}

/// Which agents, and how they are shown.
#[derive(Args, Debug)]
pub struct ListArgs {
    /// Which
    #[command(flatten)]
    pub selection: Selection,
    /// Show at least N characters of the uuid; 0 = all
    #[arg(short = 'n', value_name = "N", default_value_t = 1, value_parser = whole::<usize>)]
    pub min_uuid: usize,
}

/// How long the start of an agent may take.
#[derive(Args, Clone, Copy, Debug)]
pub struct StartTimeArgs {
    /// How long it may take to report its health after the start, in seconds
    #[arg(
        long,
        value_name = "SECS",
        default_value_t = 10.0,
        value_parser = seconds_of,
        allow_negative_numbers = true
    )]
    pub agent_start_time: f64,
}

impl Command {
    /// Whether it cannot be carried out without the settings of the home.
    pub fn needs_settings(&self) -> bool {
        !matches!(self, Self::Care(_))
    }

    /// Whether there is nothing to do, or to show, without a home that is there.
    pub fn needs_home(&self) -> bool {
        !matches!(
            self,
            Self::Care(_)
                | Self::Apply(_)
                | Self::New(_)
                | Self::Man(_)
                | Self::Completions(_)
                | Self::Auth { command: AuthVerb::Rules(_) }
        )
    }

    /// The word in messages.
    pub fn word(&self) -> &'static str {
        match self {
            Self::List(_) => "list",
            Self::Status(_) => "status",
            Self::Health(_) => "health",
            Self::Peerlist => "peerlist",
            Self::Upgrade(_) => "upgrade",
            Self::Rollback { .. } => "rollback",
            Self::History { .. } => "history",
            Self::Apply(_) => "apply",
            Self::Diff(_) => "diff",
            Self::Export(_) => "export",
            Self::Completions(_) => "completions",
            Self::Man(_) => "man",
            Self::Top(_) => "top",
            Self::Bench(_) => "bench",
            Self::Call(_) => "call",
            Self::Pub(_) => "pub",
            Self::Sub(_) => "sub",
            Self::Watch(_) => "watch",
            Self::Logs(_) => "logs",
            Self::Metrics => "metrics",
            Self::Stats { .. } => "stats",
            Self::Rpc(_) => "rpc",
            Self::Install(_) => "install",
            Self::New(_) => "new",
            Self::Run(_) => "run",
            Self::Config(_) => "config",
            Self::Start { .. } => "start",
            Self::Stop(_) => "stop",
            Self::Restart { .. } => "restart",
            Self::Enable { .. } => "enable",
            Self::Disable(_) => "disable",
            Self::Tag { .. } => "tag",
            Self::Remove { .. } => "remove",
            Self::Clear { .. } => "clear",
            Self::Shutdown { .. } => "shutdown",
            Self::Auth { .. } => "auth",
            Self::Care(command) => command.word(),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn config_store_keeps_its_own_json_switch() {
        let cli = Cli::try_parse_from("vctl --json config store id name file --csv".split(' '))
            .expect("as scripts say it");
        let Some(Command::Config(ConfigCommand::Store { csv, .. })) = cli.command else {
            panic!("not store")
        };
        assert!(csv);
        for kind in ["--json", "--raw", "--csv"] {
            assert!(Cli::try_parse_from(["vctl", "config", "store", "id", "name", kind]).is_ok(), "{kind}");
        }
    }

    #[test]
    fn global_options_stand_anywhere_and_abbreviations_nowhere() {
        for line in ["vctl --json -t 5 status", "vctl status --json -t 5", "vctl --json status -t 5 abc"] {
            let cli = Cli::try_parse_from(line.split(' ')).unwrap();
            assert_eq!((cli.global.json, cli.global.timeout), (true, Some(5.0)), "{line}");
        }
        for line in ["vctl status --jso", "vctl start --all-tag", "vctl start --tagg x", "vctl nonsense"] {
            assert_eq!(Cli::try_parse_from(line.split(' ')).unwrap_err().exit_code(), 2, "{line}");
        }
        let cli = Cli::try_parse_from(["vctl", "start", "--tag", "listener"]).unwrap();
        let Some(Command::Start { selection, .. }) = cli.command else { panic!("not start") };
        assert_eq!(
            (selection.patterns.as_slice(), selection.filters.tag),
            (&["listener".to_owned()][..], true)
        );
    }
}
