//! Options of the `volttron` program: command line and configuration file, resolved to what they mean
//! (cli.md sections 1 to 3).
//!
//! Nothing is started or written here; the only effects are reading files and the host name. [`Options::resolve`]
//! is the entry point.

mod args;
pub(crate) mod check;
mod file;
mod log;
mod managed;

pub use file::{UnknownKey, unknown_keys};

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;
use volttron_utils::address::{Address, BadAddress};
use volttron_utils::config::OptionError;
use volttron_utils::home::{Home, HomeError, expand};

use crate::logging::agent_files::Limits as AgentLogLimits;
use crate::logging::config::LogConfigError;
use crate::metrics::{BadMetricsAddress, MetricsAddress};
use crate::supervisor::limits::Limits;
use crate::supervisor::protection::SandboxMode;

pub(crate) use args::command;
pub use log::{LogOptions, LogTarget};
pub use managed::{Setting, managed};

use args::Args;

/// What the platform shall do. Every value is checked.
#[expect(clippy::struct_excessive_bools, reason = "independent switches")]
#[derive(Debug, Clone)]
pub struct Options {
    /// Home directory.
    pub home: Home,
    /// What is asked of the log.
    pub log: LogOptions,
    /// Log connects and disconnects.
    pub monitor: bool,
    /// Log all options at start.
    pub show_config: bool,
    /// Start enabled agents.
    pub autostart: bool,
    /// Addresses to bind besides the local one, without duplicates.
    pub vip_addresses: Vec<Address>,
    /// The local address.
    pub local_address: Address,
    /// Name of this platform.
    pub instance_name: String,
    /// The name was not given anywhere: it is the host name.
    pub instance_name_is_hostname: bool,
    /// Authentication is on.
    pub auth: bool,
    /// Identities belong to keys (auth.md section 9.2).
    pub bind_identity_to_key: bool,
    /// Mutating methods are open to every agent.
    pub open_methods: bool,
    /// The service `pubsub` runs, for agents of platforms before 5.0.
    pub rpc_pubsub: bool,
    /// Agents live on when the platform ends.
    pub keep_agents: bool,
    /// Longest time for stopping all agents.
    pub shutdown_timeout: Duration,
    /// Every agent runs as a user of its own, as this file says.
    pub isolation_site: Option<PathBuf>,
    /// How much agents' own log files hold; none without such files.
    pub agent_logs: Option<AgentLogLimits>,
    /// Where agents have control groups: a directory, or `own`.
    pub cgroup: Option<PathBuf>,
    /// Limits of agents.
    pub limits: Limits,
    /// Whether agents are confined.
    pub sandbox: SandboxMode,
    /// Waiting times before restarts of a crashed agent.
    pub restart_delays: Vec<Duration>,
    /// How Python agents are installed and run.
    pub python: crate::install::python::Settings,
    /// Period of the supervisor's safety sweep.
    pub agent_monitor_period: Duration,
    /// Where metrics are served.
    pub metrics: MetricsAddress,
    /// Nobody chose that place: the platform starts without metrics if it cannot be had.
    pub metrics_by_default: bool,
    /// Unknown keys are accepted and remembered.
    pub setup_mode: bool,
    /// Value of `bind-web-address`, shown by `query`; the web service is not built yet.
    pub bind_web_address: Option<String>,
    /// Address of the central platform, shown by `query`.
    pub volttron_central_address: Option<String>,
    /// Server key of the central platform, shown by `query`.
    pub volttron_central_serverkey: Option<String>,
    /// Command line without the program name, for the instances file.
    pub start_args: Vec<String>,
    /// Things the operator should know, to be logged once logging works.
    pub warnings: Vec<String>,
}

/// Why the options do not make sense.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OptionsError {
    /// Bad usage, or a request for help or the version; the text is complete, `code` is the exit code.
    #[error("{text}")]
    Usage {
        /// What to print.
        text: String,
        /// Whether it is an answer (to stdout) and not a complaint.
        answer: bool,
        /// 0 or 2.
        code: u8,
    },
    /// No usable home.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// A configuration file cannot be read.
    #[error(transparent)]
    File(#[from] OptionError),
    /// The logging configuration cannot be used.
    #[error(transparent)]
    LogConfig(#[from] LogConfigError),
    /// A setting has a value that is not possible.
    #[error("{name}: {why}")]
    Value {
        /// The option.
        name: &'static str,
        /// What is wrong.
        why: String,
    },
    /// A setting of the configuration file has a value that is not possible.
    #[error("{} (line {line}): {why}", path.display())]
    FileValue {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        why: String,
    },
    /// The setting asks for something this version cannot do.
    #[error("{0}")]
    NotBuilt(String),
}

impl OptionsError {
    /// Exit code of the program.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage { code, .. } => *code,
            _ => 1,
        }
    }
}

/// What a command line asks the program for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// To be the platform.
    Serve,
    /// To start one in the background.
    Daemon,
    /// To check what a start would read.
    Check {
        /// As JSON.
        json: bool,
    },
}

/// What this command line (with the program's name in front) asks for. No file is read.
pub fn asked(command_line: &[OsString]) -> Result<Asked, OptionsError> {
    let typed = parse(command_line)?;
    Ok(match () {
        () if typed.check_config => Asked::Check { json: typed.json },
        () if typed.daemon => Asked::Daemon,
        () => Asked::Serve,
    })
}

impl Options {
    /// Reads the command line (with the program's name in front) and the configuration files.
    pub fn resolve(command_line: impl IntoIterator<Item = OsString>) -> Result<Self, OptionsError> {
        let command_line: Vec<OsString> = command_line.into_iter().collect();
        let typed = parse(&command_line)?;
        let home = match &typed.vhome {
            Some(path) => Home::new(expand(&path.to_string_lossy()))?,
            None => Home::from_env()?,
        };
        home.check_socket_length()?;
        let mut from_files = file::Settings::default();
        if std::env::var_os("SKIP_VOLTTRON_CONFIG").is_none() {
            from_files.read_if_exists(&home.config_file())?;
        }
        for path in &typed.config {
            from_files.read(Path::new(&home.expand(&path.to_string_lossy())))?;
        }
        // "Last one wins": settings from files stand in front of the command line.
        let mut line: Vec<OsString> = command_line.first().cloned().into_iter().collect();
        line.extend(from_files.args.iter().map(OsString::from));
        line.extend(command_line.iter().skip(1).cloned());
        let args = parse(&line)?;
        let start_args = command_line.iter().skip(1).map(|a| a.to_string_lossy().into_owned()).collect();
        let mut options = Self::from_args(args, home, start_args)?;
        options.warnings.splice(0..0, from_files.warnings);
        Ok(options)
    }

    fn from_args(args: Args, home: Home, start_args: Vec<String>) -> Result<Self, OptionsError> {
        let mut warnings = not_built(&args)?;
        // What is configured counts; the variable is how scripts without a configuration file say it.
        let allow_auth = args.allow_auth.clone().or_else(|| std::env::var("AUTH_ENABLED").ok());
        let auth = allow_auth.as_deref() != Some("False");
        let mut vip_addresses: Vec<Address> = Vec::new();
        for text in &args.vip_address {
            let address = address(&home, "vip-address", text)?;
            if !vip_addresses.iter().any(|a| a.base() == address.base()) {
                vip_addresses.push(address);
            }
        }
        if !auth
            && !args.insecure
            && let Some(open) = vip_addresses.iter().find(|a| !a.is_loopback())
        {
            return Err(OptionsError::Value {
                name: "vip-address",
                why: format!(
                    "{} can be reached from other machines and authentication is off (allow-auth = False); \
                         bind a loopback address, turn authentication on, or add --insecure",
                    open.base()
                ),
            });
        }
        let local = args.vip_local_address.clone().unwrap_or_else(|| home.default_vip_socket());
        let local_address = address(&home, "vip-local-address", &local)?;
        let named = args.instance_name.as_deref().map(strip_quotes).filter(|n| !n.is_empty());
        let instance_name_is_hostname = named.is_none();
        let instance_name = named.map_or_else(hostname, str::to_owned);
        if instance_name_is_hostname {
            warnings.push(format!("Using hostname as instance name: {instance_name}."));
        }
        let log = LogOptions::new(&home, &args)?;
        warnings.extend(log.config().into_iter().flat_map(|config| config.warnings.clone()));
        let frequency = args.agent_monitor_frequency;
        Ok(Self {
            log,
            monitor: args.monitor,
            show_config: args.show_config,
            autostart: !args.no_autostart,
            vip_addresses,
            local_address,
            sandbox: args.agent_sandbox,
            cgroup: args.agent_cgroup.clone(),
            limits: Limits {
                memory_max: args.agent_memory_max,
                cpu_max: args.agent_cpu_max,
                pids_max: args.agent_pids_max,
                require: args.agent_limits_require.as_deref() == Some("True"),
            },
            isolation_site: isolation_site(&args, &instance_name),
            instance_name,
            instance_name_is_hostname,
            auth,
            bind_identity_to_key: args.bind_identity_to_key.as_deref() != Some("False"),
            open_methods: args.open_methods,
            rpc_pubsub: args.rpc_pubsub,
            keep_agents: args.keep_agents,
            shutdown_timeout: Duration::from_secs(args.shutdown_timeout),
            agent_logs: log::agent_logs(&args.agent_log_size, args.agent_log_files)?,
            restart_delays: restart_delays(&args.restart_delay)?,
            python: crate::install::python::Settings::new(
                &home,
                args.agent_python.as_deref(),
                args.agent_python_client.as_deref(),
            ),
            agent_monitor_period: Duration::from_secs(frequency.max(1)),
            metrics: metrics_address(&home, args.metrics_address.as_deref())?,
            metrics_by_default: args.metrics_address.is_none(),
            setup_mode: args.setup_mode,
            bind_web_address: args.bind_web_address.as_deref().map(|t| strip_quotes(t).to_owned()),
            volttron_central_address: central_address(args.volttron_central_address.as_deref())?,
            volttron_central_serverkey: args.volttron_central_serverkey,
            home,
            start_args,
            warnings,
        })
    }

    /// Every option as `name value`, sorted, for `--show-config`.
    pub fn describe(&self) -> Vec<String> {
        let mut lines = vec![
            format!("agent-monitor-frequency {}", self.agent_monitor_period.as_secs()),
            format!("allow-auth {}", self.auth),
            format!("autostart {}", self.autostart),
            format!("bind-identity-to-key {}", self.bind_identity_to_key),
            format!("instance-name {}", self.instance_name),
            format!("log-level {}", self.log.level),
            format!("metrics-address {}", self.metrics),
            format!("open-methods {}", self.open_methods),
            format!("rpc-pubsub {}", self.rpc_pubsub),
            format!("setup-mode {}", self.setup_mode),
            format!("shutdown-timeout {}", self.shutdown_timeout.as_secs()),
            format!("vip-local-address {}", self.local_address.base()),
            format!("volttron-home {}", self.home.path().display()),
        ];
        lines.extend(self.vip_addresses.iter().map(|a| format!("vip-address {}", a.base())));
        lines.sort();
        lines
    }
}

fn parse(line: &[OsString]) -> Result<Args, OptionsError> {
    Args::try_parse_from(line).map_err(|e| OptionsError::Usage {
        text: e.render().to_string(),
        answer: !e.use_stderr(),
        code: u8::try_from(e.exit_code()).unwrap_or(2),
    })
}

/// Settings that need parts which do not exist yet: fatal where going on would be unsafe or useless.
fn not_built(args: &Args) -> Result<Vec<String>, OptionsError> {
    let bus = std::env::var("MESSAGEBUS").ok().filter(|b| !b.is_empty()).or_else(|| args.message_bus.clone());
    match bus.as_deref().map(strip_quotes) {
        None | Some("" | "zmq") => {}
        Some("rmq") => {
            return Err(OptionsError::NotBuilt(
                "message-bus = rmq: the RabbitMQ message bus is not built yet; use message-bus = zmq"
                    .to_owned(),
            ));
        }
        Some(other) => {
            return Err(OptionsError::Value {
                name: "message-bus",
                why: format!("{other:?} is not zmq or rmq"),
            });
        }
    }
    let mut warnings = Vec::new();
    if let Some(web) = args.bind_web_address.as_deref() {
        let web = strip_quotes(web);
        if !web.starts_with("http://") && !web.starts_with("https://") {
            return Err(OptionsError::Value {
                name: "bind-web-address",
                why: format!("{web:?} is no http or https URL"),
            });
        }
        warnings
            .push(format!("bind-web-address = {web}: the web service is not built yet and does not start"));
    }
    for (set, text) in [
        (
            args.msgdebug,
            "msgdebug: mirrors nothing, as in 9.x, where only its socket was opened; `vctl sub` shows what is published, \
             `vctl top` who sends how much, and --monitor logs who connects",
        ),
        (
            args.restricted || args.verify || args.resource_monitor,
            "restricted, verify and resource-monitor are ignored",
        ),
    ] {
        if set {
            warnings.push(text.to_owned());
        }
    }
    Ok(warnings)
}

fn address(home: &Home, name: &'static str, text: &str) -> Result<Address, OptionsError> {
    home.expand(strip_quotes(text))
        .parse()
        .map_err(|e: BadAddress| OptionsError::Value { name, why: e.to_string() })
}

fn metrics_address(home: &Home, text: Option<&str>) -> Result<MetricsAddress, OptionsError> {
    let Some(text) = text.map(strip_quotes) else {
        return Ok(MetricsAddress::Unix(home.run().join("metrics.socket")));
    };
    home.expand(text)
        .parse()
        .map_err(|e: BadMetricsAddress| OptionsError::Value { name: "metrics-address", why: e.to_string() })
}

fn central_address(text: Option<&str>) -> Result<Option<String>, OptionsError> {
    let Some(text) = text.map(strip_quotes).filter(|t| !t.is_empty()) else { return Ok(None) };
    let known = ["http://", "https://", "tcp://", "amqp://", "amqps://"].iter().any(|s| text.starts_with(s));
    if known {
        Ok(Some(text.to_owned()))
    } else {
        Err(OptionsError::Value {
            name: "volttron-central-address",
            why: format!("{text:?} is no http, https, tcp, amqp or amqps address"),
        })
    }
}

/// Only the exact text `True` turns isolation on.
fn isolation_site(args: &Args, instance: &str) -> Option<PathBuf> {
    let on = args.agent_isolation_mode.as_deref() == Some("True");
    let default = || PathBuf::from(format!("/etc/volttron/isolation/{instance}.json"));
    on.then(|| args.agent_isolation_site.clone().unwrap_or_else(default))
}

fn restart_delays(text: &str) -> Result<Vec<Duration>, OptionsError> {
    let seconds =
        |word: &str| word.trim().parse::<f64>().ok().and_then(|s| Duration::try_from_secs_f64(s).ok());
    let delays: Option<Vec<Duration>> = text.split(',').map(seconds).collect();
    delays.filter(|d| !d.is_empty()).ok_or_else(|| OptionsError::Value {
        name: "restart-delay",
        why: format!("{text:?} is not a list of seconds such as 0,300,600"),
    })
}

/// `vcfg` writes some values in literal quotes.
fn strip_quotes(text: &str) -> &str {
    let text = text.trim();
    text.strip_prefix('"').and_then(|t| t.strip_suffix('"')).unwrap_or(text)
}

/// First word of `/etc/hostname`, else what the kernel says.
pub(crate) fn hostname() -> String {
    let from_file = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    let name = from_file.split_whitespace().next().map(str::to_owned);
    name.unwrap_or_else(|| rustix::system::uname().nodename().to_string_lossy().into_owned())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(super) fn options(line: &[&str]) -> Result<Options, OptionsError> {
        let mut words = vec![OsString::from("volttron")];
        words.extend(line.iter().map(OsString::from));
        let args = parse(&words)?;
        Options::from_args(args, Home::new("/srv/vh").unwrap(), Vec::new())
    }

    #[test]
    fn defaults() {
        let o = options(&[]).unwrap();
        assert!(o.auth && o.autostart && o.bind_identity_to_key && !o.open_methods && !o.setup_mode);
        assert_eq!(o.local_address.base(), "ipc://@/srv/vh/run/vip.socket");
        assert_eq!((o.log.level, o.log.target()), (30, LogTarget::Stderr));
        assert_eq!(
            (o.metrics.to_string().as_str(), o.metrics_by_default),
            ("unix:/srv/vh/run/metrics.socket", true)
        );
        assert_eq!(
            o.restart_delays.iter().map(Duration::as_secs).collect::<Vec<_>>(),
            [0, 300, 600, 900, 1200]
        );
        assert_eq!(o.agent_logs, Some(AgentLogLimits { max_bytes: 10 << 20, files: 5 }));
        assert!(o.instance_name_is_hostname && !o.instance_name.is_empty());
    }

    #[test]
    fn spellings() {
        let o = options(&["--no-autostart", "--autostart", "--allow-auth=False"]).unwrap();
        assert!(o.autostart && !o.auth);
        assert!(options(&["--allow-auth", "false"]).unwrap().auth, "only the exact text False");
        let o = options(&["--vip-address", "tcp://127.0.0.1:1", "--vip-address", "tcp://127.0.0.1:1?a=b"])
            .unwrap();
        assert_eq!(o.vip_addresses.len(), 1);
        assert_eq!(options(&["--instance-name", "\"v1\""]).unwrap().instance_name, "v1");
    }

    #[test]
    fn refusals() {
        for (line, part) in [
            (&["--vip-addr", "tcp://a:1"][..], "--vip-addr"),
            (&["--vip-address", "http://a"], "unknown scheme"),
            (&["--message-bus", "rmq"], "not built yet"),
            (&["--message-bus", "x"], "not zmq or rmq"),
            (&["--allow-auth", "False", "--vip-address", "tcp://10.1.2.3:5"], "--insecure"),
            (&["--bind-web-address", "ftp://a"], "no http"),
            (&["--log-level", "x"], "LOGGER:LEVEL"),
            (&["--metrics-address", "0.0.0.0:9411"], "other machines"),
            (&["--metrics-address", "on"], "unix:PATH"),
            (&["--restart-delay", "1,x"], "list of seconds"),
            (&["--agent-log-size", "10 apples"], "no size"),
            (&["--agent-log-files", "0"], "0"),
            (&["--log-rotate", "weekly"], "nor daily"),
            (&["--log-keep", "0"], "0"),
            (&["-L", "/no/such.json"], "log-config: cannot read /no/such.json"),
            (&["--volttron-central-address", "a"], "amqps"),
            (&["--agent-monitor-frequency", "often"], "often"),
        ] {
            let error = options(line).unwrap_err();
            assert!(error.to_string().contains(part), "{line:?}: {error}");
        }
        let usage = options(&["--nope"]).unwrap_err();
        assert_eq!(usage.exit_code(), 2);
        let open = ["--allow-auth", "False", "--vip-address", "tcp://10.1.2.3:5", "--insecure"];
        assert!(options(&open).is_ok());
    }

    #[test]
    fn the_version_is_two_words() {
        let error = options(&["--version"]).unwrap_err();
        assert!(matches!(&error, OptionsError::Usage { answer: true, code: 0, .. }));
        assert_eq!(
            error.to_string().split_whitespace().collect::<Vec<_>>(),
            ["volttron", env!("CARGO_PKG_VERSION")]
        );
    }
}
