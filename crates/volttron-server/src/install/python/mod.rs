//! Installing existing Python agents: a directory, a wheel, or a requirement that pip finds (cli.md section 4.4).
//!
//! Each version of a package gets a virtual environment of its own below `bin/`, made with the `python` first on PATH. What
//! all agents need, the client library of VOLTTRON, comes from that interpreter if it has it; otherwise it is installed
//! once beside the agents (`runtime`) and shared. Agents written for 9.x find their module names there too (`classic`);
//! those for 11.x, whose library has the same module names and another inside, have a shared environment of their own.
//!
//! Owns finding the interpreter, calling pip, and what lies in these environments. Must never run code of an agent in a
//! process of ours, nor change the directory or wheel that the operator named.

mod classic;
mod environment;
mod interpreter;
mod lease;
mod prepare;
mod repack;
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

pub use environment::relocate;
pub use interpreter::on_path;
pub use lease::{held, hold, runs};
pub use prepare::{Prepared, build_wheel, prepare};
pub use repack::{Unpacked, add_to_wheel, repack};
pub use store::{missing_interpreter, runtimes_of, store};

/// The client library that agents get if the interpreter has none: the newest that runs unmodified agents.
const CLIENT: &str = "volttron==10.0.5rc4";

/// What agents written for 11.x get instead: its library, and its message bus.
const CLIENT_11: [&str; 2] = ["volttron-core==2.0.0rc38", "volttron-lib-zmq==2.0.0rc11"];

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

/// Whether an installation failed because the client library could not be had; it cannot be had for another agent either.
pub fn lacks_client(why: &str) -> bool {
    why.contains(&format!("{} failed", runtime::FOR_ALL))
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

    /// The requirements of the client library, of that of 11.x if it is asked for. What is configured counts for agents
    /// of its own generation.
    fn client(&self, for_11: bool) -> Vec<String> {
        let configured_11 = self.client.iter().any(|text| wheel::is_of_11(text));
        if !self.client.is_empty() && configured_11 == for_11 {
            return self.client.clone();
        }
        if for_11 { CLIENT_11.map(str::to_owned).to_vec() } else { vec![CLIENT.to_owned()] }
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
    /// Written for 11.x: finds its keys where those agents look.
    #[serde(default)]
    pub for_11: bool,
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
