//! `vctl config`: the configuration store (cli.md section 4.5). Single configurations here, many at once in [`bulk`].

pub(super) mod bulk;
mod edit;
pub(super) mod tree;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde_json::Value;
use volttron_utils::identity::CONFIG_STORE;
use volttron_utils::json;

use super::auth::Prompt;
use super::{OpError, Session};

/// `vctl config ...`.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum ConfigCommand {
    /// Store a configuration
    #[command(
        after_help = "Examples:\n  vctl config store platform.driver devices/campus/b1/ahu1 ahu1.config\n  \
                            vctl config store platform.driver registry/ahu.csv ahu.csv --csv"
    )]
    Store {
        /// Identity of the agent
        identity: String,
        /// Name of the configuration
        name: String,
        /// File to store; standard input if not given or `-`
        infile: Option<PathBuf>,
        /// The contents are JSON (default); comments are allowed
        #[arg(long)]
        json: bool,
        /// The contents are CSV with a heading row
        #[arg(long, conflicts_with = "raw")]
        csv: bool,
        /// The contents are text, kept as it is
        #[arg(long)]
        raw: bool,
    },
    /// Show a configuration
    Get {
        /// Identity of the agent
        identity: String,
        /// Name of the configuration
        name: String,
        /// As stored, not parsed
        #[arg(long)]
        raw: bool,
    },
    /// List agents with configurations, or the configurations of one
    List {
        /// Identity of the agent
        identity: Option<String>,
    },
    /// Delete a configuration, or all of an agent's
    Delete {
        /// Identity of the agent
        identity: String,
        /// Name of the configuration
        name: Option<String>,
        /// All configurations of this agent
        #[arg(long)]
        all: bool,
    },
    /// Edit a configuration
    Edit {
        /// Identity of the agent
        identity: String,
        /// Name of the configuration
        name: String,
        /// Editor to use; nano otherwise, or vi
        #[arg(long, env = "EDITOR")]
        editor: Option<String>,
        /// A configuration that is not there yet is JSON (default)
        #[arg(long)]
        json: bool,
        /// A configuration that is not there yet is CSV
        #[arg(long, conflicts_with = "raw")]
        csv: bool,
        /// A configuration that is not there yet is text
        #[arg(long)]
        raw: bool,
        /// Begin with nothing and replace what is there
        #[arg(long)]
        new: bool,
    },
    /// Store a directory of configurations, all or nothing
    #[command(after_long_help = format!(
        "{}\n\nExamples:\n  vctl config apply -f configs --dry-run\n  vctl config apply -f configs --prune",
        tree::LAYOUT
    ))]
    Apply {
        /// The directory; --help shows its layout
        #[arg(short = 'f', long = "from", value_name = "DIR")]
        dir: PathBuf,
        /// Say what would change, and change nothing
        #[arg(long)]
        dry_run: bool,
        /// Delete configurations of these agents that are not in the directory
        #[arg(long)]
        prune: bool,
    },
    /// Write configurations to a directory, or to standard output as JSON
    #[command(after_long_help = format!(
        "{}\n\nExamples:\n  vctl config export -f configs\n  vctl config export -f configs platform.driver",
        tree::LAYOUT
    ))]
    Export {
        /// The directory; --help shows its layout
        #[arg(short = 'f', long = "to", value_name = "DIR")]
        dir: Option<PathBuf>,
        /// Identities of the agents; all if none is given
        identities: Vec<String>,
    },
    /// Compare a directory with what is stored; exit code 1 if they differ
    #[command(after_long_help = format!("{}\n\nExample:\n  vctl config diff -f configs", tree::LAYOUT))]
    Diff {
        /// The directory; --help shows its layout
        #[arg(short = 'f', long = "from", value_name = "DIR")]
        dir: PathBuf,
    },
}

/// What a verb has to say: text for standard output, and the data behind it if that is not the text itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Said {
    /// Text, line ends included.
    pub text: String,
    /// Data for `--json`.
    pub json: Option<Value>,
    /// A remark for standard error.
    pub note: Option<String>,
    /// Exit code.
    pub code: u8,
}

/// The type that the switches say.
fn kind(csv: bool, raw: bool) -> &'static str {
    match (csv, raw) {
        (true, _) => "csv",
        (_, true) => "raw",
        _ => "json",
    }
}

/// Carries a verb out. `person` answers questions, if there is one.
pub async fn run(
    session: &Session,
    command: ConfigCommand,
    person: Option<&mut dyn Prompt>,
) -> Result<Said, OpError> {
    let call = |method| session.call(CONFIG_STORE, method);
    match command {
        ConfigCommand::Store { identity, name, infile, csv, raw, .. } => {
            let infile = infile.filter(|path| path != Path::new("-"));
            let contents = read(infile.as_deref())?;
            call("set_config")
                .arg(identity)
                .arg(name)
                .arg(contents)
                .named("config_type", kind(csv, raw))
                .send_value()
                .await?;
            Ok(Said::default())
        }
        ConfigCommand::Get { identity, name, raw } => {
            let value = call("get_config").arg(identity).arg(name).named("raw", raw).send_value().await?;
            let text = match &value {
                // Text is shown as it is, without a line end of our own.
                Value::String(text) => text.clone(),
                parsed => json::to_indent(parsed, 2).unwrap_or_default() + "\n",
            };
            // As stored is as stored, whatever the form of the rest.
            Ok(Said { text, json: Some(value).filter(|_| !raw), ..Said::default() })
        }
        ConfigCommand::List { identity } => {
            let call = match identity {
                Some(identity) => call("list_configs").arg(identity),
                None => call("list_stores"),
            };
            let mut names = call.send::<Vec<String>>().await?;
            names.sort();
            let text = names.iter().flat_map(|name| [name.as_str(), "\n"]).collect();
            Ok(Said { text, json: Some(names.into()), ..Said::default() })
        }
        ConfigCommand::Edit { identity, name, editor, csv, raw, new, .. } => {
            let kind = kind(csv, raw);
            edit::run(session, edit::Edit { identity, name, editor, kind, new }, person).await
        }
        ConfigCommand::Apply { dir, dry_run, prune } => bulk::apply(session, &dir, prune, dry_run).await,
        ConfigCommand::Export { dir, identities } => bulk::export(session, dir.as_deref(), identities).await,
        ConfigCommand::Diff { dir } => bulk::diff(session, &dir).await,
        ConfigCommand::Delete { identity, name: None, all: true } => {
            call("delete_store").arg(identity).send_value().await?;
            Ok(Said::default())
        }
        ConfigCommand::Delete { identity, name: Some(name), all: false } => {
            call("delete_config").arg(identity).arg(name).send_value().await?;
            Ok(Said::default())
        }
        ConfigCommand::Delete { name: None, .. } => {
            // The words of the original.
            let note = Some("ERROR: must specify a configuration when not deleting entire store".to_owned());
            Ok(Said { note, code: 2, ..Said::default() })
        }
        ConfigCommand::Delete { .. } => {
            Err(OpError::Usage("give a configuration or --all, not both".to_owned()))
        }
    }
}

/// Nobody writes more by hand, and the platform has to keep it in memory.
const MAX_BYTES: u64 = 64 << 20;

/// The text of a file that somebody wrote, or of standard input.
pub(in crate::ops) fn read(path: Option<&Path>) -> Result<String, OpError> {
    let what = path.map_or_else(|| "standard input".to_owned(), |path| path.display().to_string());
    let mut bytes = Vec::new();
    let read = match path {
        None => io::stdin().lock().take(MAX_BYTES + 1).read_to_end(&mut bytes),
        Some(path) => File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes)),
    };
    read.map_err(|source| OpError::File { what: format!("cannot read {what}"), source })?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(OpError::Refused(format!(
            "{what} is larger than {} MiB; is it the right file?",
            MAX_BYTES >> 20
        )));
    }
    String::from_utf8(bytes).map_err(|_| OpError::Refused(format!("{what} is not UTF-8 text")))
}
