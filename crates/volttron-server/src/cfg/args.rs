//! The command line of `vcfg`, as clap reads it.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{CommandFactory, Parser, Subcommand};

/// Set up a VOLTTRON platform by answering questions.
#[derive(Debug, Parser)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
#[command(
    name = "vcfg",
    version,
    disable_help_subcommand = true,
    args_conflicts_with_subcommands = false,
    after_help = "Examples:\n  \
        vcfg                                          ask about everything\n  \
        vcfg --vhome /srv/site-a --instance-name site-a\n  \
        vcfg --agent listener platform_driver         install these agents\n  \
        vcfg --non-interactive --historian --driver --fake-device --autostart\n  \
        vcfg --answers site.yml --non-interactive     answers from a file, defaults for the rest\n  \
        vcfg update-config-store --metadata-file configs.json\n\n\
        A second run changes what is answered differently and keeps the rest. Without any question: `volttron up`."
)]
pub(super) struct Cli {
    /// Say more
    #[arg(short, long)]
    pub(super) verbose: bool,
    /// Home of the platform, instead of VOLTTRON_HOME; it is not asked about then
    #[arg(long, value_name = "DIR")]
    pub(super) vhome: Option<PathBuf>,
    /// Name of this platform
    #[arg(long, value_name = "NAME")]
    pub(super) instance_name: Option<String>,
    /// List the agents that can be configured
    #[arg(long, group = "what")]
    pub(super) list_agents: bool,
    /// Install these agents and ask about nothing else
    #[arg(long, value_name = "NAME", num_args = 1.., group = "what")]
    pub(super) agent: Vec<String>,
    /// Configure RabbitMQ (not built yet)
    #[arg(long, value_name = "TYPE", num_args = 1.., group = "what")]
    pub(super) rabbitmq: Option<Vec<String>>,
    /// Run every agent as a user of its own
    #[arg(long, alias = "secure-agent-users", group = "what")]
    pub(super) agent_isolation_mode: bool,
    /// Take answers from FILE (YAML or JSON, question to answer); the rest is asked
    #[arg(long, value_name = "FILE")]
    pub(super) answers: Option<PathBuf>,
    /// Ask nothing: what is not answered by options or a file has its default
    #[arg(long)]
    pub(super) non_interactive: bool,
    /// Message bus: zmq
    #[arg(long, value_name = "BUS")]
    pub(super) message_bus: Option<String>,
    /// Address of the platform, such as tcp://127.0.0.1:22916; without a port, that is asked
    #[arg(long, value_name = "ADDRESS")]
    pub(super) vip_address: Option<String>,
    /// Install the platform historian
    #[arg(long)]
    pub(super) historian: bool,
    /// Install the platform driver
    #[arg(long)]
    pub(super) driver: bool,
    /// Install the platform driver with a fake device
    #[arg(long)]
    pub(super) fake_device: bool,
    /// Install the listener
    #[arg(long)]
    pub(super) listener: bool,
    /// Let the agents that are installed start with the platform
    #[arg(long)]
    pub(super) autostart: bool,
    /// What else
    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

/// What is not a question.
#[derive(Debug, Subcommand)]
#[command(rename_all = "kebab-case")]
pub(super) enum Command {
    /// Change the configuration store of a platform that does not run
    #[command(
        override_usage = "vcfg update-config-store [-h] --metadata-file METADATA_FILE [METADATA_FILE ...]",
        help_template = "usage: {usage}\n\n{about}\n\n{all-args}{after-help}",
        after_help = "\nExample:\n  vcfg update-config-store --metadata-file configs.json\n\n\
            configs.json: {\"listener\": {\"config-name\": \"config\", \"config\": {\"interval\": 60}}}"
    )]
    UpdateConfigStore {
        /// Files with what to store, or directories of such files
        #[arg(long, value_name = "METADATA_FILE", num_args = 1.., required = true)]
        metadata_file: Vec<String>,
    },
    /// Configure RabbitMQ (not built yet)
    Rabbitmq {
        /// single, federation or shovel
        kind: Option<String>,
        /// Configuration file
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// How often a signing request is looked after
        #[arg(long, value_name = "N")]
        max_retries: Option<u32>,
    },
}

/// A complaint about a command line, in the form that scripts know: usage first. Not every error of clap brings the
/// usage along, so it is asked for.
pub(super) fn usage_error(error: &clap::Error, line: &[OsString]) -> String {
    let mut program = Cli::command();
    let verb = line.iter().find_map(|word| program.find_subcommand(word).map(|c| c.get_name().to_owned()));
    let usage = match verb.and_then(|name| program.find_subcommand_mut(name)) {
        Some(verb) => verb.render_usage(),
        None => program.render_usage(),
    };
    let usage = usage.to_string();
    let text = error.render().to_string();
    let first = text.split("\n\n").next().unwrap_or_default().trim_start_matches("error: ");
    format!("usage: {}\nvcfg: error: {first}\nTry `vcfg --help`.", usage.trim_start_matches("Usage: "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_scripts_say_is_understood() {
        for line in [
            "vcfg --vhome /h",
            "vcfg --vhome /h --instance-name n --agent listener vc",
            "vcfg --secure-agent-users",
            "vcfg --rabbitmq single some.yml",
            "vcfg rabbitmq federation --config f.yml --max-retries 3",
            "vcfg --vhome /h update-config-store --metadata-file a b",
        ] {
            assert!(Cli::try_parse_from(line.split(' ')).is_ok(), "{line}");
        }
        for (line, part) in [
            (
                "vcfg update-config-store",
                "usage: vcfg update-config-store [-h] --metadata-file METADATA_FILE",
            ),
            (
                "vcfg update-config-store --metadata-file",
                "usage: vcfg update-config-store [-h] --metadata-file",
            ),
            ("vcfg --agent a --list-agents", "cannot be used with"),
            ("vcfg --nope", "usage: vcfg [OPTIONS] [COMMAND]\nvcfg: error: unexpected argument"),
        ] {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            let text = usage_error(&Cli::try_parse_from(&words).unwrap_err(), &words);
            assert!(text.starts_with("usage: vcfg") && text.contains(part), "{line}: {text}");
        }
    }
}
