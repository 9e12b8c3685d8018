//! Completion in shells: `vctl completions SHELL` prints a script that calls `vctl` again at each tab, and this answers.
//!
//! What can follow is read from the files of the home: installed agents, whom the rules let in, names in the
//! configuration store. So it is the same with and without a running platform, takes no connection, and anything that
//! cannot be read is simply not offered.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;

use clap::{Args, Command, CommandFactory};
use clap_complete::CompletionCandidate;
use clap_complete::engine::{ArgValueCompleter, PathCompleter};
use clap_complete::env::{CompleteEnv, Shells};
use serde_json::{Map, Value};
use volttron_utils::home::Home;

use super::args::Cli;
use super::output::Output;
use crate::auth::store::AuthStore;
use crate::codes::Code;
use crate::ops::OpError;
use crate::supervisor::installed;

/// The program is called by both.
const NAMES: [&str; 2] = ["vctl", "volttron-ctl"];
/// Says to the program that a shell asks, and which.
const VARIABLE: &str = "VCTL_COMPLETE";
/// Largest store that is read for its names.
const STORE_MAX_BYTES: u64 = 64 << 20;
/// Begins the names of devices in the driver's store, and their topics.
const DEVICES: &str = "devices/";

/// Arguments of `vctl completions`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    source <(vctl completions bash)          in ~/.bashrc\n  \
    source <(vctl completions zsh)           in ~/.zshrc, after compinit\n  \
    vctl completions fish | source           in ~/.config/fish/config.fish")]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_parser = ["bash", "zsh", "fish"])]
    pub shell: String,
}

/// Prints what a shell needs.
pub(super) fn completions(args: &CompletionsArgs, out: &mut Output) -> Result<u8, OpError> {
    let shells = Shells::builtins();
    let mut script = Vec::new();
    if let Some(shell) = shells.completer(&args.shell) {
        for name in NAMES {
            shell
                .write_registration(VARIABLE, name, name, name, &mut script)
                .map_err(|source| OpError::File { what: "completions".to_owned(), source })?;
        }
    }
    out.print(&String::from_utf8_lossy(&script));
    Ok(0)
}

/// Answers a shell, if it is one that asks.
pub(super) fn answer(words: &[OsString]) -> bool {
    if std::env::var_os(VARIABLE).is_none() {
        return false;
    }
    let current = std::env::current_dir().ok();
    // Nothing may be said on the line that somebody types.
    let _ = CompleteEnv::with_factory(command).var(VARIABLE).try_complete(words.to_vec(), current.as_deref());
    true
}

/// The command line with what its arguments can be.
fn command() -> Command {
    let mut command = Cli::command();
    for verb in ["list", "status", "health", "start", "stop", "restart", "enable", "disable", "remove"] {
        command = offer(command, &[verb], "patterns", selected);
    }
    for verb in ["tag", "rollback", "history", "upgrade"] {
        command = offer(command, &[verb], "agent", selected);
    }
    command = offer(command, &["logs"], "patterns", selected);
    command = offer(command, &["auth", "publickey"], "patterns", selected);
    command = offer(command, &["logs"], "level", levels);
    command = offer(command, &["explain"], "code", codes);
    command = complete(command, &["install"], "path", ArgValueCompleter::new(PathCompleter::any()));
    command = complete(command, &["upgrade"], "source", ArgValueCompleter::new(PathCompleter::any()));
    command = complete(command, &["run"], "path", ArgValueCompleter::new(PathCompleter::any()));
    command = offer(command, &["call"], "peer", identities);
    command = offer(command, &["watch"], "peers", identities);
    command = offer(command, &["watch"], "topic", topics);
    command = offer(command, &["pub"], "topic", topics);
    command = offer(command, &["sub"], "prefix", topics);
    command = offer(command, &["auth", "why"], "identity", identities);
    for verb in ["store", "get", "delete", "edit"] {
        command = offer(command, &["config", verb], "identity", store_identities);
        command = offer(command, &["config", verb], "name", store_names);
    }
    offer(command, &["config", "list"], "identity", store_identities)
}

/// Offers values for an argument of a verb, if there are such.
fn offer(command: Command, verbs: &[&str], argument: &str, values: fn(&Home) -> BTreeSet<String>) -> Command {
    complete(command, verbs, argument, ArgValueCompleter::new(move |typed: &OsStr| candidates(values, typed)))
}

/// Completes an argument of a verb so.
fn complete(command: Command, verbs: &[&str], argument: &str, completer: ArgValueCompleter) -> Command {
    let Some((verb, rest)) = verbs.split_first() else {
        // `mut_arg` would put the argument behind the others, which decides about positions.
        return command.mut_args(
            |arg| {
                if arg.get_id() == argument { arg.add(completer.clone()) } else { arg }
            },
        );
    };
    if command.find_subcommand(verb).is_none() {
        return command;
    }
    command.mut_subcommand(*verb, |inner| complete(inner, rest, argument, completer))
}

fn candidates(values: fn(&Home) -> BTreeSet<String>, typed: &OsStr) -> Vec<CompletionCandidate> {
    let (Some(typed), Ok(home)) = (typed.to_str(), home()) else { return Vec::new() };
    values(&home).into_iter().filter(|value| value.starts_with(typed)).map(CompletionCandidate::new).collect()
}

/// The home that the line being typed is about.
fn home() -> Result<Home, volttron_utils::home::HomeError> {
    let mut words = std::env::args_os().skip_while(|word| word != "--vhome").skip(1);
    match words.next() {
        Some(path) => Home::new(volttron_utils::home::expand(&path.to_string_lossy())),
        None => Home::from_env(),
    }
}

/// What patterns are compared with on the line being typed.
fn selected(home: &Home) -> BTreeSet<String> {
    let all = || installed::list(home).0.into_iter();
    let words: BTreeSet<String> = std::env::args().collect();
    if words.contains("--tag") {
        all().filter_map(|agent| agent.tag).collect()
    } else if words.contains("--name") {
        all().map(|agent| agent.name).collect()
    } else if words.contains("--uuid") {
        all().map(|agent| agent.uuid).collect()
    } else {
        agents(home)
    }
}

fn levels(_: &Home) -> BTreeSet<String> {
    ["debug", "info", "warning", "error", "critical"].map(str::to_owned).into()
}

fn codes(_: &Home) -> BTreeSet<String> {
    Code::ALL.iter().map(|code| code.text()).collect()
}

fn agents(home: &Home) -> BTreeSet<String> {
    installed::list(home).0.into_iter().map(|agent| agent.identity).collect()
}

/// Whoever may be on the bus: installed agents and whom the rules let in.
fn identities(home: &Home) -> BTreeSet<String> {
    let mut all = agents(home);
    if let Ok(Some(loaded)) = AuthStore::new(home.auth_file()).read() {
        let entries = loaded.parsed.file.entries(crate::auth::file::List::Allow);
        all.extend(entries.filter_map(|entry| entry.identity.clone()));
    }
    all.retain(|identity| !volttron_utils::identity::is_control_connection(identity));
    all
}

fn store_identities(home: &Home) -> BTreeSet<String> {
    let mut all = agents(home);
    let files = fs::read_dir(home.configuration_store()).into_iter().flatten().flatten();
    all.extend(files.filter_map(|file| Some(file.file_name().to_str()?.strip_suffix(".store")?.to_owned())));
    all
}

/// Names in the store of the agent that was typed before.
fn store_names(home: &Home) -> BTreeSet<String> {
    let words: Vec<String> = std::env::args().collect();
    let after = words.iter().rposition(|word| word == "config").map_or(words.len(), |at| at + 2);
    let identity = words.iter().skip(after).find(|word| !word.starts_with('-'));
    identity.map(|identity| names(home, identity)).unwrap_or_default()
}

fn names(home: &Home, identity: &str) -> BTreeSet<String> {
    if !volttron_utils::identity::is_valid(identity) {
        return BTreeSet::new();
    }
    let path = home.configuration_store().join(format!("{identity}.store"));
    let text = volttron_utils::files::read_bounded(&path, STORE_MAX_BYTES);
    let store = text
        .map_err(io::Error::other)
        .and_then(|text| serde_json::from_str::<Map<String, Value>>(&text).map_err(io::Error::other));
    store.map(|store| store.into_iter().map(|(name, _)| name).collect()).unwrap_or_default()
}

/// Topics that are sure to exist: what drivers publish about devices, and what every agent does.
fn topics(home: &Home) -> BTreeSet<String> {
    let mut all = BTreeSet::from(["alerts".to_owned()]);
    all.extend(agents(home).into_iter().map(|identity| format!("heartbeat/{identity}")));
    let devices = names(home, "platform.driver").into_iter().filter(|name| name.starts_with(DEVICES));
    all.extend(devices.map(|name| format!("{name}/all")));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_offer_has_its_argument() {
        // A verb or an argument that was renamed would silently lose its completion.
        let command = Cli::command();
        for (path, argument) in [
            (&["status"][..], "patterns"),
            (&["tag"], "agent"),
            (&["call"], "peer"),
            (&["watch"], "peers"),
            (&["watch"], "topic"),
            (&["pub"], "topic"),
            (&["sub"], "prefix"),
            (&["auth", "why"], "identity"),
            (&["config", "get"], "name"),
            (&["logs"], "patterns"),
            (&["logs"], "level"),
            (&["explain"], "code"),
            (&["install"], "path"),
            (&["upgrade"], "agent"),
            (&["upgrade"], "source"),
            (&["run"], "path"),
            (&["auth", "publickey"], "patterns"),
        ] {
            let mut at = &command;
            for verb in path {
                at = at.find_subcommand(verb).unwrap_or_else(|| panic!("{path:?}"));
            }
            assert!(at.get_arguments().any(|a| a.get_id() == argument), "{path:?} {argument}");
        }
        super::command().debug_assert();
    }
}
