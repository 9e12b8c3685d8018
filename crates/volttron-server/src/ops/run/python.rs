//! How `vctl run` starts a Python agent: from an environment below `bin/` that is held while it runs, in a directory that
//! looks like that of an installed agent.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use tokio::process::Command;
use volttron_utils::home::Home;
use volttron_utils::keys::KeyPair;

use super::{OpError, Prepared, failed};
use crate::install::StagedAgent;
use crate::install::python::{Staged, hold};
use crate::supervisor::credentials;

/// Puts the environment in place and says how the agent in it is started.
pub(super) fn prepare(
    home: &Home,
    stage: &Path,
    staged: &StagedAgent,
    environment: &Staged,
    config: Option<PathBuf>,
) -> Result<Prepared, OpError> {
    let root = hold(home, environment, stage)?;
    // Not where the operator stands: Python would take modules that lie there for the agent's.
    let name = format!("{}-{}", staged.package, staged.version);
    let cwd = stage.join("agent").join(&name);
    // An agent of 9.x keeps its data in a directory named after where it runs.
    let data = if environment.classic { cwd.join(format!("{name}.agent-data")) } else { cwd.join("data") };
    fs::create_dir_all(&data).map_err(|e| failed(&data, e))?;
    let config = match (config, &staged.config) {
        (None, Some(text)) => {
            let path = cwd.join("config");
            fs::write(&path, text).map_err(|e| failed(&path, e))?;
            Some(path)
        }
        (named, _) => named,
    };
    let bin = root.join("bin");
    let mut command = Command::new(bin.join("python"));
    let rest = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths(std::iter::once(bin).chain(env::split_paths(&rest))).unwrap_or(rest);
    command.args(&environment.args).current_dir(&cwd).env("PATH", path).env("VIRTUAL_ENV", &root);
    // What it says is read by somebody who waits for it.
    command.env("PYTHONUNBUFFERED", "1");
    for name in ["PYTHONHOME", "__PYVENV_LAUNCHER__"] {
        command.env_remove(name);
    }
    Ok(Prepared { command, data, config })
}

/// Gives an agent of 11.x its keys where it looks for them.
pub(super) fn give_keys(
    command: &mut Command,
    home: &Home,
    environment: &Staged,
    identity: &str,
    keys: &KeyPair,
    server_key: &str,
) -> Result<(), OpError> {
    if environment.for_11 {
        command.env("AGENT_CREDENTIALS", credentials::of_agent(identity, keys));
        credentials::publish(home, server_key).map_err(OpError::Refused)?;
    }
    Ok(())
}
