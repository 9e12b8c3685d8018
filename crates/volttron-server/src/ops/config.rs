//! `vctl config`: the configuration store (cli.md section 4.5).

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde_json::Value;
use volttron_utils::identity::CONFIG_STORE;
use volttron_utils::json;

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
        /// File to store; standard input if not given
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
}

/// What a verb has to say: text for standard output, and the data behind it if that is not the text itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Said {
    /// Text, line ends included.
    pub text: String,
    /// Data for `--json`.
    pub json: Option<Value>,
}

/// Carries a verb out.
pub async fn run(session: &Session, command: ConfigCommand) -> Result<Said, OpError> {
    let call = |method| session.call(CONFIG_STORE, method);
    match command {
        ConfigCommand::Store { identity, name, infile, csv, raw, .. } => {
            let kind = match (csv, raw) {
                (true, _) => "csv",
                (_, true) => "raw",
                _ => "json",
            };
            let contents = read(infile.as_deref())?;
            call("set_config")
                .arg(identity)
                .arg(name)
                .arg(contents)
                .named("config_type", kind)
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
            Ok(Said { text, json: None })
        }
        ConfigCommand::List { identity } => {
            let call = match identity {
                Some(identity) => call("list_configs").arg(identity),
                None => call("list_stores"),
            };
            let mut names = call.send::<Vec<String>>().await?;
            names.sort();
            let text = names.iter().flat_map(|name| [name.as_str(), "\n"]).collect();
            Ok(Said { text, json: Some(names.into()) })
        }
        ConfigCommand::Delete { identity, name: None, all: true } => {
            call("delete_store").arg(identity).send_value().await?;
            Ok(Said::default())
        }
        ConfigCommand::Delete { identity, name: Some(name), all: false } => {
            call("delete_config").arg(identity).arg(name).send_value().await?;
            Ok(Said::default())
        }
        ConfigCommand::Delete { name: None, .. } => {
            Err(OpError::Usage("must specify a configuration when not deleting entire store".to_owned()))
        }
        ConfigCommand::Delete { .. } => {
            Err(OpError::Usage("give a configuration or --all, not both".to_owned()))
        }
    }
}

fn read(path: Option<&Path>) -> Result<String, OpError> {
    let what = path.map_or_else(|| "standard input".to_owned(), |path| path.display().to_string());
    let bytes = path.map_or_else(
        || {
            let mut bytes = Vec::new();
            io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
        },
        fs::read,
    );
    let bytes = bytes.map_err(|source| OpError::File { what: what.clone(), source })?;
    String::from_utf8(bytes).map_err(|_| OpError::Refused(format!("{what} is not UTF-8 text")))
}
