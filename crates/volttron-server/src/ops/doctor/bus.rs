//! What only the running platform knows.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value};
use tokio::time::timeout;

use super::{Report, Scene, TIME_LIMIT, Target};
use crate::codes::Code;
use crate::ops::Session;
use crate::ops::agents::{self, StatusRow};
use crate::processes::Stat;

/// How long connecting may take, and then all questions together.
const CONNECT: Duration = Duration::from_millis(450);
const QUESTIONS: Duration = Duration::from_millis(450);
/// How many of an agent's last lines are shown.
const LAST_LINES: usize = 3;

/// Asks the platform about its agents and its bus.
pub(super) async fn bus(target: &Target, scene: &Scene, report: &mut Report) {
    // That of the home, whatever address other commands are to use.
    let target = Target { address: None, timeout: CONNECT, ..target.clone() };
    let session = match timeout(TIME_LIMIT, target.connect()).await {
        Ok(Ok(session)) => session,
        Ok(Err(error)) => return not_answering(scene, &error.to_string(), report),
        Err(_) => return not_answering(scene, "no answer", report),
    };
    if timeout(QUESTIONS, Box::pin(ask(&session, scene, report))).await.is_err() {
        not_answering(scene, "its services did not answer", report);
    }
}

fn not_answering(scene: &Scene, why: &str, report: &mut Report) {
    let pid = scene.running.unwrap_or_default();
    let (note, fix) = if Stat::read(pid).is_some_and(|process| process.state == 'T') {
        (" (its process is stopped)", format!("kill -CONT {pid}"))
    } else {
        ("", format!("ps -o pid,stat,pcpu,etime,args -p {pid}"))
    };
    let texts = [
        format!("the platform (pid {pid}) does not answer{note}: {}", why.lines().next().unwrap_or_default()),
        "agents and tools wait in vain".to_owned(),
        fix,
    ];
    report.fault(Code::NotAnswering, "platform", texts);
}

async fn ask(session: &Session, scene: &Scene, report: &mut Report) {
    let (status, health, meter) = tokio::join!(
        agents::status(session),
        agents::platform_health(session),
        session.control("bus_meter").send::<Value>(),
    );
    for row in status.iter().flatten() {
        process(row, scene, report);
    }
    heartbeats(&health.unwrap_or_default(), scene, report);
    // A Python platform does not count.
    losses(&meter.unwrap_or_default(), scene, report);
}

/// Whether an agent ended by itself.
fn process(row: &StatusRow, scene: &Scene, report: &mut Report) {
    let identity = row.agent.identity.as_str();
    let details = row.report.as_ref().unwrap_or(&Value::Null);
    let state = details["state"].as_str().unwrap_or_default();
    let exit = details["last_exit"].as_i64().or(row.exit);
    let launch_error = details["launch_error"].as_str();
    // 0 and the signals of an orderly stop are no crash.
    let crashed = matches!(state, "failed" | "backoff") || (!row.is_running() && exit.is_some_and(|e| e > 0));
    if !crashed {
        return;
    }
    let how = match (launch_error, exit) {
        (Some(error), _) => format!("could not be started: {error}"),
        (None, Some(105)) => "refused its configuration (exit code 105)".to_owned(),
        (None, Some(code)) if code < 0 => format!("was ended by signal {}", -code),
        (None, Some(code)) => format!("ended with exit code {code}"),
        (None, None) => "ended".to_owned(),
    };
    let lines: Vec<&str> =
        details["last_log"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let last = &lines[lines.len().saturating_sub(LAST_LINES)..];
    let said =
        if last.is_empty() { String::new() } else { format!("; its last lines: {}", last.join(" | ")) };
    let again = if state == "backoff" { ", and is started again later" } else { "" };
    let texts = [
        format!("{identity} {how}{again}{said}"),
        "what it is for is not done".to_owned(),
        scene.vctl(&format!("start {identity}")),
    ];
    report.fault(Code::Crashed, identity, texts);
}

/// Whether every agent that has sent a sign of life still does, and is well.
fn heartbeats(health: &Map<String, Value>, scene: &Scene, report: &mut Report) {
    let now = Timestamp::now();
    for (identity, entry) in health {
        let message = &entry["message"];
        let last: Option<Timestamp> = entry["last_heartbeat_utc"].as_str().and_then(|text| text.parse().ok());
        let Some(last) = last else { continue };
        let silent = Duration::try_from(now.duration_since(last)).unwrap_or_default();
        if silent > scene.limits.heartbeat_age {
            let texts = [
                format!("{identity} is connected, and has sent no heartbeat for {} s", silent.as_secs()),
                "it hangs, or does not get to do its work".to_owned(),
                scene.vctl(&format!("restart {identity}")),
            ];
            report.warn(Code::Silent, identity.as_str(), texts);
        }
        let word = message.get("status").unwrap_or(message).as_str().unwrap_or_default();
        if word == "BAD" {
            let texts = [
                format!("{identity} reports that its health is {word}"),
                "it cannot do all of its work".to_owned(),
                scene.vctl(&format!("health {identity}")),
            ];
            report.warn(Code::NotWell, identity.as_str(), texts);
        }
    }
}

/// Whether messages were dropped.
fn losses(meter: &Value, scene: &Scene, report: &mut Report) {
    for (peer, counts) in meter["peers"].as_object().into_iter().flatten() {
        let lost = counts["lost"].as_u64().unwrap_or_default();
        if lost == 0 {
            continue;
        }
        let texts = [
            format!("{lost} messages for {peer} were dropped since it connected: it does not keep up"),
            "it does not get everything that it subscribed to or was sent".to_owned(),
            scene.vctl(&format!("restart {peer}")),
        ];
        report.warn(Code::Losing, peer.as_str(), texts);
    }
}
