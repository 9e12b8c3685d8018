//! Starting, stopping, tagging, enabling, removing agents, and stopping the platform (cli.md section 4.3).

use std::fs;
use std::time::{Duration, Instant};

use serde_json::Value;
use volttron_client::CallError;
use volttron_utils::files::FileLock;
use volttron_utils::home::Home;

use super::agents::{AgentRow, platform_health};
use super::{OpError, Session};
use crate::supervisor::installed::{self, InstalledAgent};

/// Pause between two looks at an agent that is coming up.
const LOOK_AGAIN: Duration = Duration::from_millis(25);
/// What the platform itself gives an agent that does not stop (life cycle section 7), and some.
const STOP_LIMIT: Duration = Duration::from_secs(130);

/// How a start went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Came {
    /// The process lives and its agent has reported its health.
    Up {
        /// Process id.
        pid: i64,
    },
    /// The process lives, but was not heard of within the wait.
    Silent {
        /// Process id.
        pid: i64,
    },
    /// The process ended.
    Ended {
        /// Exit code, or minus the signal.
        code: i64,
        /// The last lines it wrote.
        last_log: Vec<String>,
        /// Where all of what it wrote is, if the platform keeps it.
        log_file: Option<String>,
    },
    /// There was no process.
    NotLaunched {
        /// The reason.
        why: String,
    },
}

/// Starts an agent's process; does not wait for the agent.
pub async fn start(session: &Session, agent: &AgentRow) -> Result<(), OpError> {
    session.control("start_agent").arg(&agent.uuid).send_value().await?;
    Ok(())
}

/// Waits until a started agent has come up or has ended, at most `limit`.
pub async fn wait_up(session: &Session, agent: &AgentRow, limit: Duration) -> Result<Came, OpError> {
    let deadline = Instant::now() + limit;
    loop {
        let (status, health) = tokio::join!(
            session.control("agent_status").arg(&agent.uuid).send::<(Option<i64>, Option<i64>)>(),
            platform_health(session),
        );
        let (pid, exit) = status?;
        if let Some(code) = exit {
            return Ok(ended(session, &agent.uuid, code).await);
        }
        let Some(pid) = pid else {
            return Err(OpError::Refused(format!("{} was not started", agent.identity)));
        };
        let health = health.unwrap_or_default();
        let heard = health.get(&agent.identity).and_then(|h| h.get("message"));
        if heard.is_some_and(|word| word != "STARTING") {
            return Ok(Came::Up { pid });
        }
        if Instant::now() >= deadline {
            return Ok(Came::Silent { pid });
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// How an agent ended, with what the platform tells besides.
async fn ended(session: &Session, uuid: &str, code: i64) -> Came {
    let details: Value = session.control("agent_details").arg(uuid).send().await.unwrap_or_default();
    let lines = details["last_log"].as_array().into_iter().flatten();
    Came::Ended {
        code,
        last_log: lines.filter_map(Value::as_str).map(str::to_owned).collect(),
        log_file: details["log_file"].as_str().map(str::to_owned),
    }
}

/// Stops an agent and waits for the end of its process.
pub async fn stop(session: &Session, agent: &AgentRow) -> Result<(), OpError> {
    session.control("stop_agent").arg(&agent.uuid).send_value().await?;
    Ok(())
}

/// Removes an agent: stops it, deletes its auth entry and its directory. One that somebody else removes at the same time
/// is removed as well. Gives the place of its data, if that is to be kept and there is any.
pub async fn remove(session: &Session, agent: &AgentRow, keep_data: bool) -> Result<Option<String>, OpError> {
    let limit = session.patience(STOP_LIMIT);
    let mut call = session.control("remove_agent").arg(&agent.uuid).timeout(limit);
    if keep_data {
        call = call.named("keep_data", true);
    }
    match call.send_value().await {
        Err(CallError::Remote(error)) => {
            let left = session.control("list_agents").send::<Vec<Value>>().await?;
            let is_left = left.iter().any(|row| row["uuid"] == agent.uuid);
            if is_left { Err(CallError::Remote(error).into()) } else { Ok(None) }
        }
        other => Ok(other?.as_str().map(str::to_owned)),
    }
}

/// Whether an agent on this host has written data that a removal would delete.
pub fn has_data(home: &Home, agent: &AgentRow) -> bool {
    fs::read_dir(home.agent(&agent.identity).data()).is_ok_and(|mut entries| entries.next().is_some())
}

/// Sets or removes the tag.
pub async fn tag(
    home: &Home,
    session: Option<&Session>,
    agent: &AgentRow,
    tag: Option<&str>,
) -> Result<(), OpError> {
    if let Some(text) = tag {
        installed::check_tag(text).map_err(|e| OpError::Usage(e.to_string()))?;
    }
    match session {
        Some(session) => {
            session.control("tag_agent").arg(&agent.uuid).arg(tag).send_value().await?;
        }
        None => on_disk(home, agent, |found| found.set_tag(tag))?,
    }
    Ok(())
}

/// Sets the priority of autostart, or takes the agent out of it.
pub async fn prioritize(
    home: &Home,
    session: Option<&Session>,
    agent: &AgentRow,
    priority: Option<&str>,
) -> Result<(), OpError> {
    if let Some(text) = priority {
        installed::check_priority(text).map_err(|e| OpError::Usage(e.to_string()))?;
    }
    match session {
        Some(session) => {
            session.control("prioritize_agent").arg(&agent.uuid).arg(priority).send_value().await?;
        }
        None => on_disk(home, agent, |found| found.set_priority(priority))?,
    }
    Ok(())
}

fn on_disk(
    home: &Home,
    agent: &AgentRow,
    change: impl FnOnce(&mut InstalledAgent) -> std::io::Result<()>,
) -> Result<(), OpError> {
    let (all, _) = installed::list(home);
    let mut found = all
        .into_iter()
        .find(|a| a.uuid == agent.uuid)
        .ok_or_else(|| OpError::Selection(format!("{} was removed meanwhile", agent.identity)))?;
    let what = found.dir.path().display().to_string();
    change(&mut found).map_err(|source| OpError::File { what, source })
}

/// Forgets exit codes: of all agents that ended, or only of removed ones.
pub async fn clear(session: &Session, all: bool) -> Result<(), OpError> {
    session.control("clear_status").arg(all).send_value().await?;
    Ok(())
}

/// Stops every agent.
pub async fn stop_agents(session: &Session) -> Result<(), OpError> {
    let limit = session.patience(STOP_LIMIT);
    session.control("shutdown").timeout(limit).send_value().await?;
    Ok(())
}

/// Lets agents live on when the platform ends. Refused by a platform whose agents cannot.
pub async fn keep_agents(session: &Session) -> Result<(), OpError> {
    session.control("keep_agents").send_value().await?;
    Ok(())
}

/// Asks the platform to end. It may be gone before it can answer, so no answer is waited for.
pub async fn stop_platform(session: &Session) -> Result<(), OpError> {
    session.control("stop_platform").notify().await?;
    Ok(())
}

/// Waits until no platform owns the home any more; false after `limit`.
pub async fn wait_down(home: &Home, limit: Duration) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        let held = FileLock::is_held(&home.lock_file()).unwrap_or(false);
        if home.running().is_none() && !held {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}
