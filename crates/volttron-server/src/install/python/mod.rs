//! Installing existing Python agents: a directory, a wheel, or a requirement that pip finds (cli.md section 4.4).
//!
//! Each version of a package gets a virtual environment of its own below `bin/`, made with the `python` first on PATH. What
//! all agents need, the client library of VOLTTRON, comes from that interpreter if it has it; otherwise it is installed
//! once beside the agents (`runtime`) and shared. Agents written for 9.x find their module names there too (`classic`).
//!
//! Owns finding the interpreter, calling pip, and what lies in these environments. Must never run code of an agent in a
//! process of ours, nor change the directory or wheel that the operator named.

mod classic;
mod environment;
mod interpreter;
mod prepare;
mod run;
mod runtime;
mod store;
mod tree;
mod wheel;

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use volttron_utils::config::OptionFile;
use volttron_utils::home::Home;

pub use interpreter::on_path;
pub use prepare::{Prepared, prepare};
pub use store::{runtimes_of, store};

/// The client library that agents get if the interpreter has none: the newest that runs unmodified agents.
const CLIENT: &str = "volttron==10.0.5rc4";

/// How Python agents are installed.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub struct Settings {
    /// The interpreter; otherwise the first `python` on PATH, or `python3`.
    pub interpreter: Option<PathBuf>,
    /// What gives agents the VOLTTRON client library, as pip takes it, if the interpreter has none.
    pub client: Vec<String>,
    /// Take releases that are not final.
    pub pre_release: bool,
    /// Leave `requirements.txt` alone.
    pub skip_requirements: bool,
    /// Which of several console scripts starts the agent.
    pub script: Option<String>,
    /// Do not use the network.
    pub offline: bool,
    /// Show what pip says.
    pub verbose: bool,
    /// Limit of the whole preparation; none is half an hour.
    pub limit: Option<Duration>,
}

impl Settings {
    /// As the home's `config` says (`agent-python`, `agent-python-client`).
    pub fn from_home(home: &Home) -> Self {
        let file = OptionFile::load_or_empty(&home.config_file()).ok();
        let setting =
            |key: &str| file.as_ref().and_then(|f| f.get(&["volttron", "global", "volttron-ctl"], key));
        Self::new(home, setting("agent-python").as_deref(), setting("agent-python-client").as_deref())
    }

    /// With this interpreter and these requirements, where they are set.
    pub fn new(home: &Home, interpreter: Option<&str>, client: Option<&str>) -> Self {
        Self {
            interpreter: interpreter.filter(|text| !text.is_empty()).map(|text| home.expand(text).into()),
            client: client.unwrap_or_default().split_whitespace().map(str::to_owned).collect(),
            ..Self::default()
        }
    }

    fn client(&self) -> Vec<String> {
        if self.client.is_empty() { vec![CLIENT.to_owned()] } else { self.client.clone() }
    }
}

/// An environment that is ready to move below `bin/`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Staged {
    /// Where it stands now; below `bin/` already if the same one was there.
    pub root: PathBuf,
    /// Its name below `bin/`.
    pub name: String,
    /// Arguments of its interpreter that start the agent.
    pub args: Vec<String>,
    /// Written for 9.x: started in a directory as there.
    pub classic: bool,
    /// The shared environment that it builds on.
    pub runtime: Option<Shared>,
}

/// The environment with the client library.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Shared {
    /// Its name below `bin/`.
    pub name: String,
    /// Where it stands, if it is not below `bin/` yet.
    pub staged: Option<PathBuf>,
}
