//! Asking a program what it is.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use volttron_utils::vip;

use super::InstallError;

/// How long a program may take to describe itself.
const LIMIT: Duration = Duration::from_secs(5);

/// The part of a program's `--describe` that installing needs.
#[derive(Clone, Debug, Deserialize)]
pub struct Description {
    /// Package name.
    pub name: String,
    /// Package version.
    pub version: String,
    /// Version of the agent protocol.
    pub protocol: u64,
    /// Default identity, perhaps with `{n}`.
    #[serde(default)]
    pub identity: Option<String>,
    /// JSON schema of its configuration file, if it has one.
    #[serde(default)]
    pub config_schema: Option<serde_json::Value>,
}

/// Runs `program --describe`, without keys and without a home.
pub async fn describe(program: &Path) -> Result<Description, InstallError> {
    let bad = |why: String| InstallError::Describe { path: program.to_owned(), why };
    let mut command = tokio::process::Command::new(program);
    command.arg("--describe").stdin(Stdio::null()).kill_on_drop(true);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("AGENT_") || name.to_string_lossy().starts_with("VOLTTRON_") {
            command.env_remove(name);
        }
    }
    let output = tokio::time::timeout(LIMIT, command.output())
        .await
        .map_err(|_| bad(format!("no answer within {} s", LIMIT.as_secs())))?
        .map_err(|e| bad(e.to_string()))?;
    if !output.status.success() {
        return Err(bad(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim())));
    }
    let description: Description = serde_json::from_slice(&output.stdout)
        .map_err(|e| bad(format!("its answer is not what it should be: {e}")))?;
    let ours = u64::from(vip::PROTOCOL);
    if description.protocol != ours {
        return Err(InstallError::Protocol { name: description.name, theirs: description.protocol, ours });
    }
    Ok(description)
}
