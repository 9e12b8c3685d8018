//! `volttron up` and `volttron down`: a platform without any question, and its end.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use std::{env, thread};

use clap::{Parser, Subcommand};
use serde_json::{Value, json};
use volttron_utils::config::{OptionError, OptionFile};
use volttron_utils::files::{self, FileLock};
use volttron_utils::home::{Home, expand};
use volttron_utils::keys::keystore;
use volttron_utils::keys::known_hosts::{KnownHosts, KnownHostsError};

use crate::background::{Launch, NotReady};
use crate::front::IN_USE;
use crate::options::{Options, OptionsError};
use crate::platform::PlatformError;
use crate::supervisor::installed;

/// The port that platforms have by custom.
const PORT: u16 = 22916;
/// The last of those that are tried if it is taken.
const LAST_PORT: u16 = PORT + 100;
/// Pause between two looks at a platform that another program starts or stops.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// The command line, where it is not that of the platform itself.
#[derive(Debug, Parser)]
#[command(name = "volttron", version, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a platform if there is none, start it in the background, and wait until it is ready
    #[command(after_help = "Examples:\n  \
        volttron up\n  \
        volttron up --vhome /srv/site-a\n  \
        volttron up --foreground                  until Ctrl-C, the log on the screen\n  \
        volttron up -- --log-level volttron:DEBUG options of the platform\n\n\
        A home without a `config` gets one: the host's name, and a free port on loopback. One that has a `config` is \
        started as it says. `vcfg` asks for everything; `volttron down` ends it.")]
    Up {
        /// Home of the platform, instead of VOLTTRON_HOME [default: ~/.volttron]
        #[arg(long, value_name = "DIR")]
        vhome: Option<PathBuf>,
        /// Stay at this terminal; Ctrl-C ends the platform
        #[arg(long)]
        foreground: bool,
        /// How long it may take to get ready, in seconds
        #[arg(long, value_name = "SECS", default_value_t = 60)]
        wait: u64,
        /// Print JSON
        #[arg(long, conflicts_with = "foreground")]
        json: bool,
        /// Options of `volttron`
        #[arg(last = true, value_name = "OPTIONS")]
        options: Vec<OsString>,
    },
    /// Stop the platform and its agents, and wait until they are gone
    #[command(after_help = "Examples:\n  volttron down\n  volttron down --vhome /srv/site-a")]
    Down {
        /// Home of the platform, instead of VOLTTRON_HOME [default: ~/.volttron]
        #[arg(long, value_name = "DIR")]
        vhome: Option<PathBuf>,
    },
}

/// What there is left to do.
#[derive(Debug)]
pub enum Next {
    /// Nothing: the command line was one of these verbs, and it is done.
    Done(ExitCode),
    /// To be the platform that this command line describes.
    Serve {
        /// The command line.
        line: Vec<OsString>,
        /// Its settings were made just now, and may be made anew.
        fresh: Option<Fresh>,
    },
}

/// Settings that were made here and nobody has seen yet.
#[derive(Debug)]
pub struct Fresh {
    home: Home,
    /// The port that was found free for them.
    port: u16,
}

impl Fresh {
    /// Makes them anew if a start ended because somebody else was faster with the port. Whether it did.
    fn choose_again(&mut self, why: &str) -> Result<bool, UpError> {
        if self.port >= LAST_PORT || !why.contains(&format!("127.0.0.1:{}: {IN_USE}", self.port)) {
            return Ok(false);
        }
        // The start has noted the address as its own.
        let own = keystore::load(&self.home.keystore()).ok().map(|pair| pair.public);
        let host = format!("127.0.0.1:{}", self.port);
        KnownHosts::change(&self.home.known_hosts(), |hosts| {
            own.is_some() && hosts.get_host(&host) == own && hosts.remove(&host)
        })?;
        let path = self.home.config_file();
        files::remove(&path).map_err(|source| OptionError::Io { action: "write", path, source })?;
        let made = make_config(&self.home, self.port + 1)?;
        self.port = made.unwrap_or(LAST_PORT);
        Ok(true)
    }

    /// The platform's options with another port, if its start ended because this one was taken.
    pub fn instead(&mut self, why: &PlatformError, line: &[OsString]) -> Option<Options> {
        let again = self
            .choose_again(&why.to_string())
            .and_then(|again| if again { Ok(Some(Options::resolve(line.to_vec())?)) } else { Ok(None) });
        again.unwrap_or_else(|error| {
            tracing::warn!("no other port is tried: {error}");
            None
        })
    }
}

/// Why a verb failed.
#[derive(Debug, thiserror::Error)]
enum UpError {
    #[error(transparent)]
    Home(#[from] volttron_utils::home::HomeError),
    #[error(transparent)]
    Options(#[from] OptionsError),
    #[error(transparent)]
    Config(#[from] OptionError),
    #[error(transparent)]
    KnownHosts(#[from] KnownHostsError),
    #[error("the platform is not up: {0}\nTry: volttron --check-config")]
    Start(#[from] NotReady),
    #[error(
        "another volttron holds {} and is neither ready nor gone after {waited_s} s; its log tells what it waits for",
        home.display()
    )]
    Held { home: PathBuf, waited_s: u64 },
}

/// Carries the verb of this command line out, or gives back a line that is the platform's own.
pub fn main(line: Vec<OsString>) -> Next {
    if !line.get(1).is_some_and(|word| word == "up" || word == "down") {
        return Next::Serve { line, fresh: None };
    }
    let cli = match Cli::try_parse_from(&line) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return Next::Done(ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2)));
        }
    };
    let done = match cli.verb {
        Verb::Up { vhome, foreground, wait, json, options } => {
            up(vhome, foreground, Duration::from_secs(wait), json, &options)
        }
        Verb::Down { vhome } => down(vhome),
    };
    done.unwrap_or_else(|error| {
        let _ = writeln!(std::io::stderr(), "volttron: error: {error}");
        Next::Done(ExitCode::from(1))
    })
}

fn home(given: Option<PathBuf>) -> Result<Home, UpError> {
    let home = match given {
        Some(path) => Home::new(expand(&path.to_string_lossy()))?,
        None => Home::from_env()?,
    };
    home.check_socket_length()?;
    Ok(home)
}

fn up(
    vhome: Option<PathBuf>,
    foreground: bool,
    patience: Duration,
    json: bool,
    more: &[OsString],
) -> Result<Next, UpError> {
    let told = vhome.is_some();
    let home = home(vhome)?;
    let mut line: Vec<OsString> = vec!["volttron".into(), "--vhome".into(), home.path().into(), "-v".into()];
    line.extend(more.iter().cloned());
    if let Some(pid) = settled(&home, patience)? {
        let options = Options::resolve(line)?;
        say(&report(&options, pid, false, told, json));
        return Ok(Next::Done(ExitCode::SUCCESS));
    }
    home.create_dirs()?;
    let mut fresh = make_config(&home, PORT)?.map(|port| Fresh { home: home.clone(), port });
    // What is wrong with the settings is told here, before anything is started.
    let options = Options::resolve(line.clone())?;
    if foreground {
        tell_when_ready(home, line.clone(), told);
        return Ok(Next::Serve { line, fresh });
    }
    let log = home.path().join("volttron.log");
    let rotate = !options.log.is_rotation_chosen();
    let launch = Launch { home: &home, args: &line[1..], log: &log, rotate, patience };
    let pid = loop {
        let error = match launch.run() {
            Ok(pid) => break pid,
            Err(error) => error,
        };
        let again = match (&error, &mut fresh) {
            (NotReady::Ended { why }, Some(fresh)) => fresh.choose_again(why)?,
            _ => false,
        };
        if !again {
            return Err(error.into());
        }
    };
    let options = Options::resolve(line)?;
    say(&report(&options, pid, true, told, json));
    Ok(Next::Done(ExitCode::SUCCESS))
}

/// The platform that is up; none if there is none. One that starts or stops is waited for.
fn settled(home: &Home, patience: Duration) -> Result<Option<u32>, UpError> {
    let began = Instant::now();
    loop {
        let running = home.running();
        if running.is_some() || !FileLock::is_held(&home.lock_file()).unwrap_or(false) {
            return Ok(running);
        }
        if began.elapsed() >= patience {
            return Err(UpError::Held { home: home.path().to_owned(), waited_s: patience.as_secs() });
        }
        thread::sleep(LOOK_AGAIN);
    }
}

/// Settings for a home that has none; the port in them, if they were made and one was free from `first` on.
fn make_config(home: &Home, first: u16) -> Result<Option<u16>, UpError> {
    let path = home.config_file();
    if path.exists() {
        return Ok(None);
    }
    let mut file = OptionFile::default();
    file.set("volttron", "instance-name", &crate::options::hostname());
    file.set("volttron", "message-bus", "zmq");
    let port = (first..=LAST_PORT).find(|port| is_free(*port));
    if let Some(port) = port {
        file.set("volttron", "vip-address", &format!("tcp://127.0.0.1:{port}"));
    }
    file.save(&path)?;
    Ok(port)
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}

/// Says what there is as soon as this process is a platform that is ready.
fn tell_when_ready(home: Home, line: Vec<OsString>, told: bool) {
    let own = std::process::id();
    thread::spawn(move || {
        while home.running() != Some(own) {
            thread::sleep(LOOK_AGAIN);
        }
        // Only now is it decided which port it has.
        if let Ok(options) = Options::resolve(line) {
            say(&report(&options, own, true, told, false));
        }
    });
}

/// What is there, and what to do next.
fn report(options: &Options, pid: u32, fresh: bool, told: bool, json: bool) -> String {
    let home = &options.home;
    let agents = installed::list(home).0;
    let addresses: Vec<String> =
        options.vip_addresses.iter().map(volttron_utils::address::Address::base).collect();
    let log = home.path().join("volttron.log");
    if json {
        let value = json!({
            "pid": pid, "started": fresh, "home": home.path(), "instance-name": options.instance_name,
            "vip-address": addresses, "vip-local-address": options.local_address.base(), "agents": agents.len(),
            "log": Some(log).filter(|path| path.exists()),
        });
        return serde_json::to_string_pretty(&value).unwrap_or_else(|_| Value::Null.to_string());
    }
    let mut text = if fresh {
        format!("VOLTTRON is up (pid {pid}).\n")
    } else {
        format!("VOLTTRON is already running (pid {pid}).\n")
    };
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "  {name:<9} {value}");
    };
    line("instance", &options.instance_name);
    line("home", &home.path().display().to_string());
    for address in &addresses {
        line("address", address);
    }
    if log.exists() {
        line("log", &log.display().to_string());
    }
    line("agents", &format!("{} installed", agents.len()));
    let at = if told && env::var_os("VOLTTRON_HOME").is_none_or(|set| set != home.path()) {
        format!("\nFor the commands: export VOLTTRON_HOME={}", home.path().display())
    } else {
        String::new()
    };
    let down = if told {
        format!("volttron down --vhome {}", home.path().display())
    } else {
        "volttron down".into()
    };
    let width = down.len().max(27);
    let _ = write!(
        text,
        "{at}\nNext:\n  {:<width$}  install an agent: a program, sources, a package\n  \
         {:<width$}  what runs, and how it does\n  {:<width$}  what passes over the bus, live\n  \
         {down:<width$}  stop everything",
        "vctl install PATH --start", "vctl status", "vctl sub devices"
    );
    text
}

fn down(vhome: Option<PathBuf>) -> Result<Next, UpError> {
    let home = home(vhome)?;
    let shown = home.path().display().to_string();
    if home.running().is_none() && !FileLock::is_held(&home.lock_file()).unwrap_or(false) {
        say(&format!("VOLTTRON is not running in {shown}."));
        return Ok(Next::Done(ExitCode::SUCCESS));
    }
    let line = ["vctl", "--vhome", &shown, "shutdown", "--platform"].map(OsString::from);
    let code = crate::ctl::main(line);
    if home.running().is_none() {
        say(&format!("VOLTTRON in {shown} is down."));
    }
    Ok(Next::Done(code))
}

fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
