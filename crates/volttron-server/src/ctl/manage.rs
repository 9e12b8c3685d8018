//! Commands that change something about installed agents or end the platform.

use std::time::Duration;

use serde_json::{Value, json};
use volttron_client::CallError;

use super::output::Output;
use super::selection::Selection;
use super::show::report_misses;
use super::{Vctl, render};
use crate::codes::{Code, Coded};
use crate::ops::agents::{self, AgentRow, StatusRow};
use crate::ops::lifecycle::{self, Came};
use crate::ops::select::Filters;
use crate::ops::{OpError, Session};
use crate::supervisor::{how_ended, installed};

/// How long the platform may take to end once its agents have.
const PLATFORM_DOWN: Duration = Duration::from_mins(1);

fn need_pattern(command: &str, selection: &Selection) -> Result<(), OpError> {
    if selection.patterns.is_empty() && !selection.filters().stand_alone() {
        return Err(OpError::Usage(format!("name at least one agent: vctl {command} PATTERN...")));
    }
    Ok(())
}

/// The installed agents that the selection means, with their processes. Misses are reported.
async fn chosen_status(
    session: &Session,
    command: &str,
    selection: &Selection,
    out: &mut Output,
) -> Result<Vec<StatusRow>, OpError> {
    need_pattern(command, selection)?;
    let all = agents::status(session).await?;
    let known: Vec<AgentRow> = all.iter().map(|row| row.agent.clone()).collect();
    let chosen = agents::choose(&known, &selection.patterns, selection.filters());
    report_misses(command, &chosen, out);
    let row = |agent: &AgentRow| all.iter().find(|row| row.agent.uuid == agent.uuid).cloned();
    Ok(chosen.agents.iter().filter_map(row).collect())
}

pub(super) async fn start(
    vctl: &Vctl,
    selection: &Selection,
    wait: Duration,
    out: &mut Output,
) -> Result<u8, OpError> {
    let session = vctl.connect().await?;
    let rows = chosen_status(&session, "start", selection, out).await?;
    let idle = rows.into_iter().filter(|row| !row.is_running() || row.is_stopping()).map(|row| row.agent);
    let idle: Vec<AgentRow> = idle.collect();
    start_all(&session, &idle, wait, out).await
}

/// Starts agents one after another, then waits for all of them together.
async fn start_all(
    session: &Session,
    agents: &[AgentRow],
    wait: Duration,
    out: &mut Output,
) -> Result<u8, OpError> {
    let mut failed: Option<OpError> = None;
    let mut started = Vec::new();
    for agent in agents {
        out.line(&format!("Starting {} {}", agent.uuid, agent.name));
        match lifecycle::start(session, agent).await {
            Ok(()) => started.push(agent),
            // Somebody else was faster: it runs, which is what was asked for.
            Err(OpError::Call(CallError::Remote(e))) if e.detail() == Some("agent is already running") => {}
            Err(error) if agents.len() == 1 => return Err(error),
            Err(error) => {
                out.fail(&format!("start: error: {}: {error}", agent.identity), error.coded(), error.code());
                failed = Some(error);
            }
        }
    }
    let mut code = failed.map_or(0, |error| error.code());
    if wait.is_zero() {
        return Ok(code);
    }
    let waits = started.iter().map(|agent| lifecycle::wait_up(session, agent, wait));
    for (agent, came) in started.iter().zip(futures_util::future::join_all(waits).await) {
        if !report_start(agent, &came?, wait, out) {
            code = code.max(1);
        }
    }
    Ok(code)
}

/// Explains a start that did not go well; true if the agent runs.
pub(super) fn report_start(agent: &AgentRow, came: &Came, wait: Duration, out: &mut Output) -> bool {
    match came {
        Came::Up { .. } => true,
        Came::Silent { pid } => {
            out.complain(&format!(
                "{} runs (pid {pid}) but has not reported its health within {} s; look at it with: vctl status {}",
                agent.identity,
                wait.as_secs_f64(),
                agent.identity
            ));
            true
        }
        Came::NotLaunched { why } => {
            out.complain(&format!("start: error: {why}"));
            false
        }
        Came::Ended { code, last_log, log_file } => {
            let how = how_ended(i32::try_from(*code).unwrap_or(i32::MAX));
            out.complain(&format!("start: error: {} did not come up: it ended with {how}", agent.identity));
            if last_log.is_empty() {
                out.complain("It wrote nothing. The platform's log may tell more.");
            } else {
                out.complain("Its last lines were:");
                for line in last_log {
                    out.complain(&format!("  {line}"));
                }
            }
            if let (Some(file), false) = (log_file, last_log.is_empty()) {
                out.complain(&format!("All of it is in {file}; to see it: vctl logs {}", agent.identity));
            }
            out.point_to(Code::DidNotStart);
            false
        }
    }
}

pub(super) async fn stop(vctl: &Vctl, selection: &Selection, out: &mut Output) -> Result<u8, OpError> {
    let session = vctl.connect().await?;
    let rows = chosen_status(&session, "stop", selection, out).await?;
    let running: Vec<AgentRow> =
        rows.into_iter().filter(StatusRow::is_running).map(|row| row.agent).collect();
    stop_all(&session, &running, out).await?;
    Ok(0)
}

async fn stop_all(session: &Session, agents: &[AgentRow], out: &mut Output) -> Result<(), OpError> {
    for agent in agents {
        out.line(&format!("Stopping {} {}", agent.uuid, agent.name));
    }
    let stops = agents.iter().map(|agent| lifecycle::stop(session, agent));
    let names: Vec<&str> = agents.iter().map(|agent| agent.identity.as_str()).collect();
    let all = futures_util::future::join_all(stops);
    out.patiently(&format!("the end of {}", names.join(", ")), all).await.into_iter().collect()
}

pub(super) async fn restart(
    vctl: &Vctl,
    selection: &Selection,
    wait: Duration,
    out: &mut Output,
) -> Result<u8, OpError> {
    let session = vctl.connect().await?;
    let rows = chosen_status(&session, "restart", selection, out).await?;
    let running: Vec<AgentRow> =
        rows.iter().filter(|row| row.is_running()).map(|row| row.agent.clone()).collect();
    stop_all(&session, &running, out).await?;
    let all: Vec<AgentRow> = rows.into_iter().map(|row| row.agent).collect();
    start_all(&session, &all, wait, out).await
}

/// The agents for commands that also work on the files of a platform that does not run.
async fn chosen_anywhere(
    vctl: &Vctl,
    command: &str,
    selection: &Selection,
    out: &mut Output,
) -> Result<(Option<Session>, Vec<AgentRow>, Vec<String>), OpError> {
    need_pattern(command, selection)?;
    let session = vctl.connect_if_running().await?;
    let all = agents::list(vctl.home(), session.as_ref()).await?;
    let chosen = agents::choose(&all, &selection.patterns, selection.filters());
    report_misses(command, &chosen, out);
    let not_found = chosen.unmatched.iter().map(|pattern| format!("agent not found {pattern}"));
    Ok((session, chosen.agents, not_found.chain(chosen.ambiguous.iter().cloned()).collect()))
}

/// What `--json` shows of agents that were enabled or disabled, one object or a list of them; gives the exit code.
fn report_switched(
    vctl: &Vctl,
    command: &str,
    mut done: Vec<Value>,
    misses: &[String],
    out: &mut Output,
) -> u8 {
    if vctl.json {
        done.extend(misses.iter().map(|text| json!({"command": command, "error": text})));
        out.print(&render::pretty(&if done.len() == 1 { done.remove(0) } else { done.into() }));
    }
    if misses.is_empty() { 0 } else { 10 }
}

pub(super) async fn enable(
    vctl: &Vctl,
    selection: &Selection,
    priority: &str,
    out: &mut Output,
) -> Result<u8, OpError> {
    installed::check_priority(priority).map_err(|e| OpError::Usage(e.to_string()))?;
    let padded = format!("{priority:0>2}");
    let (session, chosen, misses) = chosen_anywhere(vctl, "enable", selection, out).await?;
    let mut done = Vec::new();
    for agent in &chosen {
        lifecycle::prioritize(vctl.home(), session.as_ref(), agent, Some(&padded)).await?;
        if !vctl.json {
            out.line(&format!("Enabling {} {} with priority {padded}", agent.uuid, agent.name));
        }
        done.push(json!({"uuid": agent.uuid, "name": agent.name, "enabled": true, "priority": padded}));
    }
    Ok(report_switched(vctl, "enable", done, &misses, out))
}

pub(super) async fn disable(vctl: &Vctl, selection: &Selection, out: &mut Output) -> Result<u8, OpError> {
    let (session, chosen, misses) = chosen_anywhere(vctl, "disable", selection, out).await?;
    let mut done = Vec::new();
    for agent in chosen.iter().filter(|agent| !agent.priority.is_empty()) {
        lifecycle::prioritize(vctl.home(), session.as_ref(), agent, None).await?;
        if !vctl.json {
            out.line(&format!("Disabling {} {}", agent.uuid, agent.name));
        }
        done.push(json!({"uuid": agent.uuid, "name": agent.name, "disabled": true}));
    }
    Ok(report_switched(vctl, "disable", done, &misses, out))
}

/// A pattern that is to mean one agent means several.
pub(super) fn several_fit(pattern: &str, agents: &[AgentRow], ambiguous: &[String]) -> OpError {
    let found: Vec<&str> = agents.iter().map(|agent| agent.uuid.as_str()).collect();
    let found = if found.is_empty() { ambiguous.join("; ") } else { found.join(", ") };
    OpError::Selection(format!("multiple agents selected: {pattern}\n{found}\nName one of them by its uuid."))
}

pub(super) async fn tag(
    vctl: &Vctl,
    pattern: &str,
    tag: Option<&str>,
    remove: bool,
    filters: Filters,
    out: &mut Output,
) -> Result<u8, OpError> {
    let session = vctl.connect_if_running().await?;
    let all = agents::list(vctl.home(), session.as_ref()).await?;
    let chosen = agents::choose(&all, &[pattern.to_owned()], filters);
    let agent = match chosen.agents.as_slice() {
        [agent] => agent,
        [] if chosen.ambiguous.is_empty() => {
            return Err(OpError::Selection(format!("agent not found: {pattern}")));
        }
        several => return Err(several_fit(pattern, several, &chosen.ambiguous)),
    };
    // An empty text is no tag, as in the original.
    match tag.filter(|tag| !tag.is_empty()) {
        Some(tag) => {
            lifecycle::tag(vctl.home(), session.as_ref(), agent, Some(tag)).await?;
            out.line(&format!("Tagging {} {}", agent.uuid, agent.name));
        }
        None if remove && agent.tag.is_empty() => {}
        None if remove => {
            lifecycle::tag(vctl.home(), session.as_ref(), agent, None).await?;
            out.line(&format!("Removing tag for {} {}", agent.uuid, agent.name));
        }
        None if vctl.json => out.print(&render::pretty(&json!({
            "agent_uuid": agent.uuid, "name": agent.name, "identity": agent.identity, "agent_tag": agent.tag,
        }))),
        None if !agent.tag.is_empty() => out.line(&agent.tag),
        None => {}
    }
    Ok(0)
}

pub(super) async fn remove(
    vctl: &Vctl,
    selection: &Selection,
    force: bool,
    keep_data: bool,
    out: &mut Output,
) -> Result<u8, OpError> {
    need_pattern("remove", selection)?;
    let session = vctl.connect().await?;
    let all = agents::list(vctl.home(), Some(&session)).await?;
    let mut missed = false;
    let mut doomed: Vec<AgentRow> = Vec::new();
    let patterns: Vec<Vec<String>> = if selection.patterns.is_empty() {
        vec![Vec::new()]
    } else {
        selection.patterns.iter().map(|p| vec![p.clone()]).collect()
    };
    for pattern in &patterns {
        let chosen = agents::choose(&all, pattern, selection.filters());
        missed |= report_misses("remove", &chosen, out);
        if chosen.agents.len() > 1 && !force {
            let shown = pattern.first().map_or("", String::as_str);
            let text = format!("remove: error: pattern returned multiple agents: {shown}");
            out.complain(&text);
            out.complain("Use -f or --force to force removal of multiple agents.");
            out.describe(&text, Code::Selection, 10);
            return Ok(10);
        }
        doomed.extend(chosen.agents);
    }
    for agent in &doomed {
        let asks = !force && !keep_data && out.is_interactive() && lifecycle::has_data(vctl.home(), agent);
        if asks && !out.confirm(&format!("Delete {} together with its data?", agent.identity)) {
            continue;
        }
        out.line(&format!("Removing {} {}", agent.uuid, agent.name));
        let end = format!("the end of {}", agent.identity);
        let removal = lifecycle::remove(&session, agent, keep_data);
        if let Some(place) = out.patiently(&end, removal).await? {
            out.line(&format!("Its data is kept in {place}"));
        }
    }
    Ok(if missed { 10 } else { 0 })
}

pub(super) async fn clear(vctl: &Vctl, all: bool) -> Result<u8, OpError> {
    let session = vctl.connect().await?;
    lifecycle::clear(&session, all).await?;
    Ok(0)
}

pub(super) async fn shutdown(
    vctl: &Vctl,
    platform: bool,
    keep_agents: bool,
    out: &mut Output,
) -> Result<u8, OpError> {
    let session = vctl.connect().await?;
    if keep_agents {
        lifecycle::keep_agents(&session).await?;
    } else {
        out.patiently("the end of all agents", lifecycle::stop_agents(&session)).await?;
    }
    if !platform {
        return Ok(0);
    }
    lifecycle::stop_platform(&session).await?;
    session.close().await;
    if out.patiently("the end of the platform", lifecycle::wait_down(vctl.home(), PLATFORM_DOWN)).await {
        return Ok(0);
    }
    out.complain("The platform has not ended within a minute. Its log tells what it waits for.");
    Ok(1)
}
