//! The command line of `volttron` as typed (cli.md section 3). What it means is decided in the parent module.

use std::path::PathBuf;

use clap::{ArgAction, CommandFactory, Parser};

use crate::supervisor::protection::SandboxMode;

/// Options of the platform. Every long name is also a key of the configuration file.
#[expect(clippy::struct_excessive_bools, reason = "one field per flag")]
#[derive(Debug, Clone, Parser)]
#[command(
    name = "volttron",
    version,
    about = "The VOLTTRON platform: message bus, core services and agent supervisor",
    args_override_self = true,
    infer_long_args = false,
    disable_help_subcommand = true,
    after_help = "Examples:\n  \
        volttron up                                    a platform without any question; `volttron down` ends it\n  \
        volttron -v -l volttron.log &                  in the foreground of a shell job\n  \
        volttron -v --daemon                           in the background; returns when it is ready\n  \
        volttron --check-config                        what a start would complain about; starts nothing\n  \
        volttron --vip-address tcp://127.0.0.1:22916   bind an address besides the local socket\n\n\
        Every long option is also a key of the file `config` in the home. `vcfg` asks for the most important ones."
)]
pub(super) struct Args {
    /// Read more settings from FILE
    #[arg(short, long, value_name = "FILE", action = ArgAction::Append)]
    pub(super) config: Vec<PathBuf>,
    /// Home directory, instead of $VOLTTRON_HOME
    #[arg(long, value_name = "DIR")]
    pub(super) vhome: Option<PathBuf>,
    /// Read everything that a start would read, report what is wrong with it, and start nothing
    #[arg(long, conflicts_with = "daemon")]
    pub(super) check_config: bool,
    /// With --check-config: report as JSON
    #[arg(long, requires = "check_config")]
    pub(super) json: bool,
    /// Start in the background and wait until the platform is ready
    #[arg(long)]
    pub(super) daemon: bool,
    /// Log to FILE ("-" is standard output, an empty text no log at all)
    #[arg(short, long, value_name = "FILE")]
    pub(super) log: Option<String>,
    /// The log's file is put aside before it becomes larger than this (K, M and G are understood), or daily at midnight, or never
    #[arg(long, value_name = "SIZE|daily|off")]
    pub(super) log_rotate: Option<String>,
    /// Log files put aside that are kept
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(super) log_keep: u32,
    /// Logging configuration as Python's logging.config reads it; ini:, json:, py: or yaml: before FILE, or its extension, tells the form
    #[arg(short = 'L', long, value_name = "FILE")]
    pub(super) log_config: Option<String>,
    /// Level of single loggers
    #[arg(long, value_name = "LOGGER:LEVEL[,..]", action = ArgAction::Append)]
    pub(super) log_level: Vec<String>,
    /// Log connections to the bus and their ends
    #[arg(long, overrides_with = "no_monitor")]
    pub(super) monitor: bool,
    #[arg(long, hide = true)]
    pub(super) no_monitor: bool,
    /// Log less; may be repeated
    #[arg(short, long, action = ArgAction::Count)]
    pub(super) quiet: u8,
    /// Log more; may be repeated
    #[arg(short, long, action = ArgAction::Count)]
    pub(super) verbose: u8,
    /// Level to start from: 10 debug, 20 info, 30 warning, 40 error
    #[arg(long, value_name = "N", default_value_t = 30)]
    pub(super) verboseness: i64,
    /// Log every option and go on
    #[arg(long, hide = true)]
    pub(super) show_config: bool,
    /// Start enabled agents (the default)
    #[arg(long, overrides_with = "no_autostart")]
    pub(super) autostart: bool,
    /// Do not start enabled agents
    #[arg(long, overrides_with = "autostart")]
    pub(super) no_autostart: bool,
    /// Address to bind besides the local socket; adds to those of the configuration file
    #[arg(long, value_name = "ADDRESS", action = ArgAction::Append)]
    pub(super) vip_address: Vec<String>,
    /// Local socket
    #[arg(long, value_name = "ADDRESS")]
    pub(super) vip_local_address: Option<String>,
    #[arg(long, value_name = "ADDRESS", hide = true)]
    pub(super) publish_address: Option<String>,
    #[arg(long, value_name = "ADDRESS", hide = true)]
    pub(super) subscribe_address: Option<String>,
    /// Message bus: zmq
    #[arg(long, value_name = "BUS")]
    pub(super) message_bus: Option<String>,
    /// Name of this platform
    #[arg(long, value_name = "NAME")]
    pub(super) instance_name: Option<String>,
    /// Only the text False turns authentication off
    #[arg(long, value_name = "True|False", num_args = 0..=1, default_missing_value = "True")]
    pub(super) allow_auth: Option<String>,
    /// Allow addresses other than loopback without authentication
    #[arg(long, overrides_with = "no_insecure")]
    pub(super) insecure: bool,
    #[arg(long, hide = true)]
    pub(super) no_insecure: bool,
    /// Only the text False lets any authenticated peer use any identity
    #[arg(long, value_name = "True|False", num_args = 0..=1, default_missing_value = "True")]
    pub(super) bind_identity_to_key: Option<String>,
    /// Let every agent call the mutating methods of the core services, as 9.x did
    #[arg(long, overrides_with = "no_open_methods")]
    pub(super) open_methods: bool,
    #[arg(long, hide = true)]
    pub(super) no_open_methods: bool,
    /// Serve publish and subscribe over calls too, for agents of platforms before 5.0
    #[arg(long, overrides_with = "no_rpc_pubsub")]
    pub(super) rpc_pubsub: bool,
    #[arg(long, hide = true)]
    pub(super) no_rpc_pubsub: bool,
    /// A log file of an agent that would become larger is put aside; K, M and G are understood, 0 = no such files
    #[arg(long, value_name = "SIZE", default_value = "10M")]
    pub(super) agent_log_size: String,
    /// Log files kept of each agent, the current one included
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(super) agent_log_files: u32,
    /// Leave agents running when the platform ends; the next start takes them over (`vctl shutdown` stops them)
    #[arg(long, overrides_with = "no_keep_agents")]
    pub(super) keep_agents: bool,
    #[arg(long, hide = true)]
    pub(super) no_keep_agents: bool,
    /// Longest time for stopping all agents
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    pub(super) shutdown_timeout: u64,
    /// Waiting times before a crashed agent is started again
    #[arg(long, value_name = "SECS[,..]", default_value = "0,300,600,900,1200")]
    pub(super) restart_delay: String,
    /// Run every agent as a user of its own (`volttron-agent-exec --help` says how it is set up)
    #[arg(long, visible_alias = "secure-agent-users", value_name = "True|False", num_args = 0..=1, default_missing_value = "True")]
    pub(super) agent_isolation_mode: Option<String>,
    /// What an administrator set up for agents of their own users [default: /etc/volttron/isolation/INSTANCE.json]
    #[arg(long, value_name = "FILE")]
    pub(super) agent_isolation_site: Option<PathBuf>,
    /// Keep every agent to its own files and from system calls it does not need: as far as the kernel can, or not start it
    #[arg(long, value_name = "off|on|require", value_enum, hide_possible_values = true, default_value_t)]
    pub(super) agent_sandbox: SandboxMode,
    /// Give every agent a control group (version 2) below this directory, or below that of the platform itself
    #[arg(long, value_name = "own|DIR")]
    pub(super) agent_cgroup: Option<PathBuf>,
    /// Memory an agent may use; needs agent-cgroup
    #[arg(long, value_name = "BYTES")]
    pub(super) agent_memory_max: Option<u64>,
    /// Share of one core an agent may use; needs agent-cgroup
    #[arg(long, value_name = "PERCENT")]
    pub(super) agent_cpu_max: Option<u64>,
    /// Processes and threads an agent may have; needs agent-cgroup, or agents with users of their own
    #[arg(long, value_name = "NUMBER")]
    pub(super) agent_pids_max: Option<u64>,
    /// Do not start an agent with a limit that cannot be kept
    #[arg(long, value_name = "True|False", num_args = 0..=1, default_missing_value = "True")]
    pub(super) agent_limits_require: Option<String>,
    /// The Python that Python agents run with; otherwise the first `python` on PATH
    #[arg(long, value_name = "PATH")]
    pub(super) agent_python: Option<String>,
    /// What gives Python agents the client library if that Python has none, as pip takes it
    #[arg(long, value_name = "REQUIREMENTS")]
    pub(super) agent_python_client: Option<String>,
    /// Period of the safety check for crashed agents
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    pub(super) agent_monitor_frequency: u64,
    /// Where metrics are served: off, unix:PATH, or a loopback PORT or HOST:PORT
    #[arg(long, value_name = "ADDRESS")]
    pub(super) metrics_address: Option<String>,
    /// minisign keys, or files with one: `vctl install` takes only .crate files, wheels and programs that one of them has signed
    #[arg(long, value_name = "KEY[,..]")]
    pub(super) trusted_package_keys: Option<String>,
    /// Accept unknown keys and remember them; for setting up several platforms
    #[arg(long, overrides_with = "no_setup_mode")]
    pub(super) setup_mode: bool,
    #[arg(long, hide = true)]
    pub(super) no_setup_mode: bool,
    #[arg(long, hide = true)]
    pub(super) msgdebug: bool,
    /// Address of the web service (not built yet)
    #[arg(long, value_name = "URL")]
    pub(super) bind_web_address: Option<String>,
    #[arg(long, value_name = "FILE", hide = true)]
    pub(super) web_ssl_key: Option<String>,
    #[arg(long, value_name = "FILE", hide = true)]
    pub(super) web_ssl_cert: Option<String>,
    #[arg(long, value_name = "FILE", hide = true)]
    pub(super) web_ca_cert: Option<String>,
    #[arg(long, value_name = "TEXT", hide = true)]
    pub(super) web_secret_key: Option<String>,
    /// Address of the central management platform
    #[arg(long, value_name = "URL")]
    pub(super) volttron_central_address: Option<String>,
    /// Server key of the central management platform
    #[arg(long, value_name = "KEY")]
    pub(super) volttron_central_serverkey: Option<String>,
    #[arg(long, value_name = "URL", hide = true)]
    pub(super) volttron_central_rmq_address: Option<String>,
    #[arg(long, hide = true)]
    pub(super) restricted: bool,
    #[arg(long, hide = true)]
    pub(super) no_restricted: bool,
    #[arg(long, hide = true)]
    pub(super) verify: bool,
    #[arg(long, hide = true)]
    pub(super) no_verify: bool,
    #[arg(long, hide = true)]
    pub(super) resource_monitor: bool,
    #[arg(long, hide = true)]
    pub(super) no_resource_monitor: bool,
    #[arg(long, hide = true)]
    pub(super) tag_vip_id: Option<String>,
    #[arg(long, hide = true)]
    pub(super) tag_refresh_interval: Option<String>,
}

/// What kind of option a name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Takes a value.
    Value,
    /// On or off; the flag tells whether `--no-<name>` exists.
    Flag {
        /// `--no-<name>` exists.
        invertible: bool,
    },
    /// `-v`, `-q`: each occurrence counts.
    Count,
}

/// Looks up a long option as a configuration file names it.
pub(super) fn kind_of(command: &clap::Command, key: &str) -> Option<Kind> {
    let arg = find(command, key).filter(|arg| is_setting(arg))?;
    Some(match arg.get_action() {
        ArgAction::SetTrue => Kind::Flag { invertible: find(command, &format!("no-{key}")).is_some() },
        ArgAction::Count => Kind::Count,
        ArgAction::Set | ArgAction::Append => Kind::Value,
        _ => return None,
    })
}

/// Whether the option says what the platform shall be, and not what the program is to do this time.
fn is_setting(arg: &clap::Arg) -> bool {
    !matches!(arg.get_id().as_str(), "check_config" | "daemon" | "json")
}

fn find<'a>(command: &'a clap::Command, key: &str) -> Option<&'a clap::Arg> {
    command.get_arguments().find(|arg| {
        arg.get_long() == Some(key) || arg.get_all_aliases().is_some_and(|aliases| aliases.contains(&key))
    })
}

/// The command definition, for look-ups and manual pages.
pub(crate) fn command() -> clap::Command {
    Args::command()
}

/// The known name that looks most like a mistyped one, if any is near.
pub(super) fn nearest(command: &clap::Command, key: &str) -> Option<String> {
    let keys = command.get_arguments().filter(|arg| !arg.is_hide_set() && is_setting(arg));
    crate::nearest::nearest(keys.filter_map(clap::Arg::get_long), key).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_and_guessed() {
        let command = command();
        command.clone().debug_assert();
        assert_eq!(kind_of(&command, "vip-address"), Some(Kind::Value));
        assert_eq!(kind_of(&command, "autostart"), Some(Kind::Flag { invertible: true }));
        assert_eq!(kind_of(&command, "msgdebug"), Some(Kind::Flag { invertible: false }));
        assert_eq!(kind_of(&command, "verbose"), Some(Kind::Count));
        assert_eq!(kind_of(&command, "secure-agent-users"), Some(Kind::Value));
        assert_eq!(kind_of(&command, "help"), None);
        assert_eq!(nearest(&command, "vip-adress").as_deref(), Some("vip-address"));
        assert_eq!(nearest(&command, "instance_name").as_deref(), Some("instance-name"));
        assert_eq!(nearest(&command, "colour"), None);
    }
}
