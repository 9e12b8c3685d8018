//! The client library of VOLTTRON, in an environment that all agents of a home share.
//!
//! It is more than a hundred megabytes with what it needs: each agent having its own would take half a minute each time.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use volttron_utils::home::Home;

use super::environment::Environment;
use super::interpreter::Interpreter;
use super::run::Run;
use super::store::{self, Ledger};
use super::{Settings, Shared};

/// Ends the name of the step that fetches it, so that who installs several agents need not wait for it in vain twice.
pub(super) const FOR_ALL: &str = "for all Python agents of this home";

/// A shared environment, and where agents find its packages while they are being made.
pub(super) struct Runtime {
    /// For the agent's record.
    pub shared: Shared,
    /// Its directory now.
    pub root: PathBuf,
    /// Its directory for good.
    pub home: PathBuf,
}

/// The one that is there, or one made in `stage`.
pub(super) async fn get(
    home: &Home,
    stage: &Path,
    python: &Interpreter,
    run: &Run,
    settings: &Settings,
    for_11: bool,
) -> Result<Runtime, String> {
    let client = settings.client(for_11);
    let mut digest = Sha256::new();
    for part in [python.program.to_string_lossy().into_owned(), python.version(), client.join(" ")] {
        digest.update(part.as_bytes());
        digest.update([0]);
    }
    let key = format!("{:x}", digest.finalize());
    let name = format!("python-client+{}", &key[..8]);
    let place = home.bin().join(&name);
    if store::is_usable(&place, &key) {
        return Ok(Runtime { shared: Shared { name, staged: None }, root: place.clone(), home: place });
    }
    let root = stage.join("runtime");
    let mut environment = Environment::make(root.clone(), python, run, settings, Vec::new()).await?;
    if !for_11 {
        environment.constrain(stage).map_err(|e| e.to_string())?;
    }
    let words: Vec<&str> = client.iter().map(String::as_str).chain(["setuptools", "wheel"]).collect();
    let label = format!("Installing {} {FOR_ALL}", client.join(" "));
    environment.pip(&label, "install", &words).await?;
    environment.rename_paths(&[(&root, &place)]).map_err(|e| e.to_string())?;
    let ledger = Ledger {
        package: "python-client".into(),
        version: client.join(" "),
        sha256: key,
        ..Ledger::default()
    };
    ledger.write(&root).map_err(|e| e.to_string())?;
    Ok(Runtime { shared: Shared { name, staged: Some(root.clone()) }, root, home: place })
}
