//! `vctl upgrade`, `rollback` and `history`.

use super::args::UpgradeArgs;
use super::install::{build, python, running, terms};
use super::output::Output;
use super::{Vctl, manage, render, seconds};
use crate::codes::Coded;
use crate::install::history::Event;
use crate::ops::agents::{self, AgentRow};
use crate::ops::install::{Report, Request};
use crate::ops::select::Filters;
use crate::ops::versions::{self, Ledger};
use crate::ops::{OpError, Session};

/// The one agent that is meant.
async fn one(vctl: &Vctl, session: &Session, pattern: &str, filters: Filters) -> Result<AgentRow, OpError> {
    let all = agents::list(vctl.home(), Some(session)).await?;
    let chosen = agents::choose(&all, &[pattern.to_owned()], filters);
    match chosen.agents.as_slice() {
        [agent] => Ok(agent.clone()),
        [] if chosen.ambiguous.is_empty() => Err(OpError::Selection(format!("agent not found: {pattern}"))),
        several => Err(manage::several_fit(pattern, several, &chosen.ambiguous)),
    }
}

pub(super) async fn upgrade(vctl: &Vctl, args: UpgradeArgs, out: &mut Output) -> Result<u8, OpError> {
    let session = vctl.connect().await?;
    let filters = Filters::from(args.filters);
    let all = args.filters.all && args.agent.is_none();
    let chosen = match &args.agent {
        Some(pattern) => vec![one(vctl, &session, pattern, filters).await?],
        None => agents::list(vctl.home(), Some(&session)).await?,
    };
    let request = Request {
        path: args.source.unwrap_or_default(),
        config: args.agent_config,
        wait: seconds(args.patience.agent_start_time),
        trial: terms(&args.trial, args.patience.agent_start_time)?,
        python: python(vctl, &args.build),
        build: build(vctl, args.build),
        ..Request::default()
    };
    let mut code = 0;
    let mut reports = serde_json::Map::new();
    for agent in &chosen {
        let report = match versions::upgrade(&session, vctl.home(), agent, request.clone()).await {
            Ok(report) => report,
            Err(error) if all => {
                out.fail(
                    &format!("upgrade: error: {}: {error}", agent.identity),
                    error.coded(),
                    error.code(),
                );
                code = code.max(error.code());
                continue;
            }
            Err(error) => return Err(error),
        };
        if vctl.json {
            let mut object = report.to_json();
            object.insert("version".to_owned(), report.agent.name.clone().into());
            object.insert("unchanged".to_owned(), report.unchanged.into());
            reports.insert(agent.identity.clone(), object.into());
        } else {
            out.line(&upgraded(&report));
        }
        let runs =
            report.came.as_ref().is_none_or(|came| manage::report_start(agent, came, request.wait, out));
        if report.rolled_back.is_some() || !runs {
            code = code.max(1);
        }
    }
    if vctl.json {
        out.print(&render::pretty(&reports.into()));
    }
    Ok(code)
}

fn upgraded(report: &Report) -> String {
    let identity = &report.agent.identity;
    if report.unchanged {
        return format!("{identity} is up to date ({})", report.agent.name);
    }
    let running = running(report);
    if let Some(back) = &report.rolled_back {
        return format!("{identity} rolled back from {} to {}{running}: {}", back.from, back.to, back.why);
    }
    let former = report.replaced.as_deref().unwrap_or("nothing");
    format!("{identity} upgraded from {former} to {}{running}", report.agent.name)
}

pub(super) async fn roll_back(
    vctl: &Vctl,
    pattern: &str,
    to: Option<&str>,
    start_time_s: f64,
    filters: Filters,
    out: &mut Output,
) -> Result<u8, OpError> {
    let session = vctl.connect().await?;
    let agent = one(vctl, &session, pattern, filters).await?;
    let wait = seconds(start_time_s);
    let back = versions::roll_back(&session, &agent, to, wait);
    let done = out.patiently(&format!("{} to go back", agent.identity), back).await?;
    if vctl.json {
        let object = serde_json::json!({
            "agent_uuid": agent.uuid, "from": done.from, "version": done.to, "started": done.came.is_some(),
        });
        out.print(&render::pretty(&object));
    } else {
        out.line(&format!("{} rolled back from {} to {}", agent.identity, done.from, done.to));
    }
    let runs = done.came.as_ref().is_none_or(|came| manage::report_start(&agent, came, wait, out));
    Ok(u8::from(!runs))
}

pub(super) async fn history(
    vctl: &Vctl,
    pattern: &str,
    filters: Filters,
    out: &mut Output,
) -> Result<u8, OpError> {
    let session = vctl.connect().await?;
    let agent = one(vctl, &session, pattern, filters).await?;
    let ledger = Ledger::ask(&session, &agent.uuid).await?;
    if vctl.json {
        out.print(&render::pretty(ledger.value()));
        return Ok(0);
    }
    let table = table(&ledger.events());
    out.heading(&table.heading);
    out.print(&table.rows);
    Ok(0)
}

/// The ledger, newest last, as it grew.
fn table(events: &[Event]) -> render::Table {
    let cells = |e: &Event| {
        let source = &e.source;
        let from = source["path"].as_str().or(source["registry"].as_str()).or(source["kind"].as_str());
        let outcome = if e.why.is_empty() {
            e.outcome.word().to_owned()
        } else {
            format!("{}: {}", e.outcome.word(), e.why.replace('\n', " "))
        };
        let when = e.when.split('.').next().unwrap_or_default().replace('T', " ");
        let package = format!("{}-{}", e.package, e.version);
        [when, e.what.word().to_owned(), package, from.unwrap_or("-").to_owned(), e.by.clone(), outcome]
    };
    let rows: Vec<[String; 6]> = events.iter().map(cells).collect();
    render::columns(["WHEN", "WHAT", "PACKAGE", "SOURCE", "BY", "OUTCOME"], &rows)
}
