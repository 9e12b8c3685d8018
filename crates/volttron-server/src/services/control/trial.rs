//! New versions on trial: one that does not come up, or whose health does not become GOOD in time, is replaced by its
//! predecessor.
//!
//! That a version is on trial stands in its history, so that the trial goes on after a restart of the platform: it has its
//! whole time again, counted from the start of its process.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::watch;
use volttron_client::Cx;

use super::Control;
use super::versions::After;
use crate::install::history::{History, Outcome, Terms, Trial};
use crate::install::{self, Site};
use crate::supervisor::machine::{Heard, State};
use crate::supervisor::{InstalledAgent, View};

/// Who goes back, in the ledger.
const BY: &str = "platform";
/// How long an agent may take to say why it is not well.
const CONTEXT_TIMEOUT: Duration = Duration::from_secs(1);
/// Last lines of an agent that are quoted.
const QUOTED: usize = 3;
/// How long good news have to last, at most half the period: an agent's first heartbeat says GOOD before the agent has
/// looked around.
const SETTLED: Duration = Duration::from_secs(1);
const SETTLED_GOOD: Duration = Duration::from_secs(5);

/// What came of a trial.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    /// It stays.
    Passed(String),
    /// It goes. Whether it ended or was only not well.
    Failed(String),
    /// The operator stopped it; the trial goes on with the next start.
    Interrupted,
}

/// Goes on with the trials of the last run.
pub(super) fn resume(control: &Arc<Control>, cx: &Cx) {
    for agent in control.supervisor().agents() {
        begin(control, cx, agent);
    }
}

/// Watches an agent if its version is on trial. Must be called before its start; the trial waits until what is returned
/// is dropped before it goes back, so that a start under way is over.
pub(super) fn begin(
    control: &Arc<Control>,
    cx: &Cx,
    agent: InstalledAgent,
) -> Option<tokio::sync::oneshot::Sender<()>> {
    let trial = History::load(&agent.dir).trial?;
    let view = control.supervisor().watch(agent.clone());
    let ends = view.borrow().ends;
    let (hold, held) = tokio::sync::oneshot::channel();
    let (control, context) = (control.clone(), cx.clone());
    cx.spawn(async move {
        let verdict = observe(view, ends, trial.terms).await;
        let _ = held.await;
        conclude(&control, &context, agent, trial, verdict).await;
    });
    Some(hold)
}

/// Follows the agent until there is a verdict.
async fn observe(mut view: watch::Receiver<View>, mut ends: u32, terms: Terms) -> Verdict {
    let period = Duration::try_from_secs_f64(terms.period_s).unwrap_or_default();
    loop {
        let begun = view
            .wait_for(|v| v.ends > ends || matches!(v.state, State::Starting { .. } | State::Running { .. }));
        if begun.await.is_err() {
            // Removed, or the platform ends.
            return Verdict::Interrupted;
        }
        let deadline = tokio::time::Instant::now() + period;
        let watched = tokio::time::timeout_at(deadline, async {
            loop {
                let now = *view.borrow_and_update();
                let verdict = judge(&now, ends, terms, deadline.into_std());
                let passed = matches!(verdict, Some(Verdict::Passed(_)));
                if let (Some(verdict), false) = (&verdict, passed) {
                    return verdict.clone();
                }
                let settled = if terms.good { SETTLED_GOOD } else { SETTLED }.min(period / 2);
                tokio::select! {
                    changed = view.changed() => if changed.is_err() { return Verdict::Interrupted },
                    () = tokio::time::sleep(settled), if passed => {
                        return verdict.unwrap_or(Verdict::Interrupted);
                    }
                }
            }
        });
        let verdict = match watched.await {
            Ok(verdict) => verdict,
            Err(_) => at_deadline(&view.borrow(), terms),
        };
        if verdict != Verdict::Interrupted {
            return verdict;
        }
        // Stopped by the operator: the trial goes on when he starts it again.
        if view.wait_for(|v| !v.state.is_alive()).await.is_err() {
            return Verdict::Interrupted;
        }
        ends = view.borrow().ends;
    }
}

/// The verdict, as soon as there can be one. `ends` are those before the start.
fn judge(view: &View, ends: u32, terms: Terms, deadline: Instant) -> Option<Verdict> {
    if matches!(view.state, State::Stopping { .. }) {
        return Some(Verdict::Interrupted);
    }
    if view.ends > ends {
        let again =
            matches!(view.state, State::Launching { .. } | State::Starting { .. } | State::Running { .. })
                || matches!(view.state, State::Backoff { until } if until < deadline);
        // Who has to become GOOD may be started again meanwhile; who has to come up has not.
        if !(terms.good && again) {
            return Some(Verdict::Failed("it ended".to_owned()));
        }
    }
    match view.heard {
        Some(Heard::Good) => Some(Verdict::Passed("its health is GOOD".to_owned())),
        Some(Heard::Bad) if !terms.good => Some(Verdict::Passed("it came up".to_owned())),
        _ => None,
    }
}

fn at_deadline(view: &View, terms: Terms) -> Verdict {
    let s = terms.period_s;
    match (view.state, view.heard) {
        (State::Running { .. }, None | Some(Heard::Bad)) if !terms.good => {
            Verdict::Passed("it is on the bus".to_owned())
        }
        (State::Running { .. }, Some(Heard::Good)) => Verdict::Passed("its health is GOOD".to_owned()),
        (_, Some(Heard::Bad)) => Verdict::Failed(format!("its health was not GOOD within {s} s")),
        (_, Some(Heard::Starting)) => Verdict::Failed(format!("it was still STARTING after {s} s")),
        (State::Running { .. }, _) => Verdict::Failed(format!("it did not report its health within {s} s")),
        _ => Verdict::Failed(format!("it was not seen on the bus within {s} s")),
    }
}

async fn conclude(control: &Arc<Control>, cx: &Cx, agent: InstalledAgent, trial: Trial, verdict: Verdict) {
    let done = match verdict {
        Verdict::Interrupted => return,
        Verdict::Passed(why) => {
            tracing::info!("{} ({}) passed its trial: {why}", agent.identity, agent.name);
            let end =
                move |site: &Site<'_>| install::conclude(site, &agent, trial.number, Outcome::Passed, &why);
            control.on_site(end).await.map(drop)
        }
        Verdict::Failed(why) => {
            let why = explain(control, cx, &agent, why).await;
            go_back(control, cx, agent, trial, why).await
        }
    };
    if let Err(error) = done {
        tracing::error!("a trial could not be ended: {error}");
    }
}

/// Puts the predecessor back in place and starts it.
async fn go_back(
    control: &Arc<Control>,
    cx: &Cx,
    agent: InstalledAgent,
    trial: Trial,
    why: String,
) -> Result<(), volttron_client::RpcError> {
    let _turn = control.changing.lock().await;
    // Meanwhile the operator may have installed something else, or removed it.
    let present = control.supervisor().agent(&agent.uuid).map(|a| History::load(&a.dir).trial);
    if present.flatten().is_none_or(|t| t.number != trial.number) {
        return Ok(());
    }
    tracing::warn!("{} ({}) did not pass its trial and is rolled back: {why}", agent.identity, agent.name);
    let (present, said) = (agent.clone(), why.clone());
    let stage = move |site: &Site<'_>| install::stage_rollback(site, &present, None, BY, Some(&said));
    let pending = match control.on_site(stage).await {
        Ok(pending) => pending,
        Err(error) => {
            // The verdict stands all the same: nobody is to wait for another one.
            let end =
                move |site: &Site<'_>| install::conclude(site, &agent, trial.number, Outcome::Failed, &why);
            control.on_site(end).await?;
            return Err(error);
        }
    };
    let back = control.put_in_place(cx, pending, After::Up).await?;
    match back.start_error {
        None => Ok(()),
        Some(error) => Err(volttron_client::RpcError::runtime_error(format!(
            "{} is back at its former version, which cannot be started: {error}",
            back.identity
        ))),
    }
}

/// Adds what the agent said: its last lines if it ended, the context of its health otherwise.
async fn explain(control: &Control, cx: &Cx, agent: &InstalledAgent, why: String) -> String {
    let Some(details) = control.supervisor().details(&agent.uuid) else { return why };
    if why == "it ended" {
        let how = match (details.launch_error, details.last_exit) {
            (Some(error), _) => return error,
            (None, Some(105)) => "it refused its configuration (exit code 105)".to_owned(),
            (None, Some(code)) => format!("it ended with {}", crate::supervisor::how_ended(code)),
            (None, None) => why,
        };
        let from = details.last_log.len().saturating_sub(QUOTED);
        let lines = details.last_log[from..].join("; ");
        return if lines.is_empty() { how } else { format!("{how}: {lines}") };
    }
    let asked = cx.call(&agent.identity, "health.get_status").timeout(CONTEXT_TIMEOUT).send::<Value>().await;
    match asked.ok().and_then(|status| status.get("context").cloned()) {
        Some(Value::String(text)) => format!("{why}: {text}"),
        Some(context) if !context.is_null() => format!("{why}: {context}"),
        _ => why,
    }
}

#[cfg(test)]
#[path = "trial_tests.rs"]
mod tests;
