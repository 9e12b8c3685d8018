//! Commands that show: list, status, health, peerlist, and the configuration store.

use std::io::IsTerminal;

use serde_json::{Value, json};

use super::args::ListArgs;
use super::output::{Output, Person};
use super::selection::Selection;
use super::{Vctl, render};
use crate::codes::Code;
use crate::ops::agents::{self, AgentRow};
use crate::ops::auth::Prompt;
use crate::ops::config::{self, ConfigCommand};
use crate::ops::{OpError, select};

const NONE: &str = "No installed Agents found";

/// Tells about patterns that fit nothing, in the words that scripts know; true if there was any.
pub(super) fn report_misses(command: &str, chosen: &agents::Chosen, out: &mut Output) -> bool {
    let is_known = matches!(command, "start" | "stop" | "restart");
    let exit = match command {
        _ if is_known => 0,
        "list" | "status" | "logs" if !chosen.agents.is_empty() => 0,
        _ => 10,
    };
    let unmatched = chosen.unmatched.iter().map(|pattern| {
        if is_known {
            format!("Agents NOT found using 'vctl {command}' on pattern: {pattern}")
        } else {
            format!("{command}: error: agent not found: {pattern}")
        }
    });
    let ambiguous = chosen.ambiguous.iter().map(|text| format!("{command}: error: {text}"));
    for text in unmatched.chain(ambiguous) {
        out.complain(&text);
        out.describe(&text, Code::Selection, exit);
    }
    !chosen.unmatched.is_empty() || !chosen.ambiguous.is_empty()
}

pub(super) async fn list(vctl: &Vctl, args: &ListArgs, out: &mut Output) -> Result<u8, OpError> {
    let session = vctl.connect_if_running().await?;
    let all = agents::list(vctl.home(), session.as_ref()).await?;
    let chosen = agents::choose(&all, &args.selection.patterns, args.selection.filters());
    let missed = report_misses("list", &chosen, out);
    let rows: Vec<(AgentRow, String)> =
        chosen.agents.into_iter().map(|agent| (agent.clone(), agent.priority)).collect();
    show_list(vctl, &rows, "PRI", args.min_uuid, out);
    Ok(if missed && rows.is_empty() { 10 } else { 0 })
}

/// Shows agents and one more column.
pub(super) fn show_list(
    vctl: &Vctl,
    rows: &[(AgentRow, String)],
    last: &str,
    min_uuid: usize,
    out: &mut Output,
) {
    if vctl.json {
        out.print(&render::list_json(rows, last));
    } else if rows.is_empty() {
        out.complain(NONE);
    } else {
        let table = render::list(rows, last, min_uuid);
        out.heading(&table.heading);
        out.print(&table.rows);
    }
}

pub(super) async fn status(vctl: &Vctl, args: &ListArgs, out: &mut Output) -> Result<u8, OpError> {
    let session = vctl.connect().await?;
    let all = agents::status(&session).await?;
    let known: Vec<AgentRow> = all.iter().map(|row| row.agent.clone()).collect();
    let chosen = agents::choose(&known, &args.selection.patterns, args.selection.filters());
    let missed = report_misses("status", &chosen, out);
    let rows: Vec<_> =
        all.into_iter().filter(|row| chosen.agents.iter().any(|a| a.uuid == row.agent.uuid)).collect();
    if vctl.json {
        out.print(&render::status_json(&rows));
    } else if !rows.is_empty() {
        let table = render::status(&rows, args.min_uuid, vctl.verbose);
        out.heading(&table.heading);
        out.print(&table.rows);
        // Programs that read the table know what comes after it: nothing.
        if vctl.verbose || out.is_terminal() {
            out.print(&render::reasons(&rows));
        }
    } else {
        out.complain(NONE);
    }
    Ok(if missed && rows.is_empty() { 10 } else { 0 })
}

pub(super) async fn health(vctl: &Vctl, selection: &Selection, out: &mut Output) -> Result<u8, OpError> {
    if selection.patterns.is_empty() && !select::Filters::from(selection.filters).stand_alone() {
        return Err(OpError::Usage("name an agent: vctl health PATTERN".to_owned()));
    }
    let session = vctl.connect().await?;
    let (all, health) =
        tokio::join!(agents::list(vctl.home(), Some(&session)), agents::platform_health(&session));
    let (mut chosen, health) = (agents::choose(&all?, &selection.patterns, selection.filters()), health?);
    // Services of the platform and agents from elsewhere are not installed, but have health as well.
    let (others, unmatched): (Vec<String>, _) =
        std::mem::take(&mut chosen.unmatched).into_iter().partition(|name| health.contains_key(name));
    chosen.unmatched = unmatched;
    let missed = report_misses("health", &chosen, out);
    let identities: Vec<&String> = chosen.agents.iter().map(|agent| &agent.identity).chain(&others).collect();
    let ask = |identity: &String| {
        let known = health.get(identity).cloned();
        let (session, identity) = (&session, identity.clone());
        async move {
            match known {
                Some(report) => Some(agents::with_context(session, &identity, report).await),
                None => None,
            }
        }
    };
    let reports = futures_util::future::join_all(identities.iter().copied().map(ask)).await;
    match (vctl.json, identities.as_slice()) {
        // Several are one document, by identity.
        (true, [_, _, ..]) => {
            let named = identities.iter().map(|identity| (*identity).clone());
            let all = named.zip(reports.into_iter().map(|report| report.unwrap_or_else(|| json!({}))));
            out.print(&render::indented(&Value::Object(all.collect()), 4));
        }
        (true, _) => {
            let report = reports.into_iter().next().flatten().unwrap_or_else(|| json!({}));
            out.print(&render::indented(&report, 4));
        }
        (false, []) => out.complain(NONE),
        (false, _) => {
            for (identity, report) in identities.iter().zip(reports) {
                match report {
                    Some(report) => out.print(&render::indented(&report, 4)),
                    None => out.complain(&format!("No health associated with {identity}")),
                }
            }
        }
    }
    Ok(if missed { 10 } else { 0 })
}

pub(super) async fn peerlist(vctl: &Vctl, out: &mut Output) -> Result<u8, OpError> {
    let session = vctl.connect().await?;
    let peers = agents::peerlist(&session).await?;
    if vctl.json {
        out.print(&render::pretty(&Value::from(peers)));
    } else {
        for peer in peers {
            out.line(&peer);
        }
    }
    Ok(0)
}

pub(super) async fn config(vctl: &Vctl, command: ConfigCommand, out: &mut Output) -> Result<u8, OpError> {
    let session = vctl.connect().await?;
    let mut person = Person;
    let is_here = std::io::stdin().is_terminal() && out.is_interactive() && out.is_terminal();
    let said = config::run(&session, command, is_here.then_some(&mut person as &mut dyn Prompt)).await?;
    match said.json.filter(|_| vctl.json) {
        Some(json) => out.print(&render::pretty(&json)),
        None => out.print(&said.text),
    }
    if let Some(note) = &said.note {
        out.complain(note);
        if said.code != 0 {
            out.describe(note, Code::Usage, said.code);
        }
    }
    Ok(said.code)
}
