//! What `vctl top` shows: counters of agents and peers at one moment, and how fast they grew between two. The rates are
//! pure.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream;
use serde_json::Value;
use volttron_utils::home::Home;

use super::{OpError, Session, agents};
use crate::metrics::process;

/// Longest time that the answer to a ping is waited for.
const PING_LIMIT: Duration = Duration::from_millis(500);
/// Most pings on their way at a time.
const PINGS_AT_ONCE: usize = 256;
/// Name of the row of the platform's own process.
pub const PLATFORM: &str = "(platform)";

/// One agent or peer at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// The word for its state: of an installed agent as in `status`, of others `connected`.
    pub state: String,
    /// Process id, if it is a process on this host that the platform knows.
    pub pid: Option<u32>,
    /// The word of its health.
    pub health: String,
    /// Processor time it used, in seconds.
    pub cpu_s: Option<f64>,
    /// Memory it holds, in bytes.
    pub memory_bytes: Option<u64>,
    /// Messages it sent, since it connected.
    pub out: Option<u64>,
    /// Messages it was sent, since it connected.
    pub into: Option<u64>,
    /// Messages for it that were lost, since it connected.
    pub lost: Option<u64>,
    /// Restarts after a crash.
    pub restarts: u64,
    /// How long it took to answer a ping, in milliseconds.
    pub ping_ms: Option<f64>,
    /// It was pinged after its messages were counted.
    pub pinged: bool,
}

/// Everything at one moment.
#[derive(Clone, Debug)]
pub struct Sample {
    /// When.
    pub at: Instant,
    /// By identity.
    pub readings: BTreeMap<String, Reading>,
}

/// Looks at everything once.
pub async fn sample(home: &Home, session: &Session) -> Result<Sample, OpError> {
    let (status, meter) = tokio::join!(
        agents::status(session),
        // A platform of another make has no such counters.
        session.control("bus_meter").send_value(),
    );
    let mut readings = BTreeMap::new();
    let usage = |reading: &mut Reading| {
        if let Some(used) = reading.pid.and_then(process::usage) {
            (reading.cpu_s, reading.memory_bytes) = (Some(used.cpu_s), Some(used.memory_bytes));
        }
    };
    for row in status? {
        let said = |key: &str| row.report.as_ref().and_then(|report| report.get(key));
        let state = said("state").and_then(Value::as_str).map(str::to_owned);
        let mut reading = Reading {
            state: state.unwrap_or_else(|| if row.is_running() { "running" } else { "stopped" }.to_owned()),
            pid: row.pid.filter(|_| row.is_running()).and_then(|pid| pid.try_into().ok()),
            health: row.health_word(),
            restarts: said("restarts").and_then(Value::as_u64).unwrap_or_default(),
            ..Reading::default()
        };
        usage(&mut reading);
        readings.insert(row.agent.identity, reading);
    }
    let mut platform = Reading { state: "running".to_owned(), pid: home.running(), ..Reading::default() };
    usage(&mut platform);
    if let Ok(meter) = &meter {
        let local = meter["received_local"].as_u64().unwrap_or_default();
        platform.into = meter["received"].as_u64().map(|received| received + local);
        for (identity, peer) in meter["peers"].as_object().into_iter().flatten() {
            if identity.starts_with(session.cx().identity()) {
                continue;
            }
            let reading = readings
                .entry(identity.clone())
                .or_insert_with(|| Reading { state: "connected".to_owned(), ..Reading::default() });
            reading.out = peer["received"].as_u64();
            reading.into = peer["sent"].as_u64();
            reading.lost = peer["lost"].as_u64();
        }
    }
    readings.insert(PLATFORM.to_owned(), platform);
    let at = Instant::now();
    ping(session, &mut readings).await;
    Ok(Sample { at, readings })
}

/// Asks everybody that is connected for a sign of life, all at once, so that one that has none holds nobody up.
async fn ping(session: &Session, readings: &mut BTreeMap<String, Reading>) {
    let ask = |identity: String| async move {
        let began = Instant::now();
        let answer = tokio::time::timeout(PING_LIMIT, session.cx().ping(&identity, &[])).await;
        (identity, matches!(answer, Ok(Ok(_))).then(|| began.elapsed().as_secs_f64() * 1000.0))
    };
    let connected = readings.iter().filter(|(_, reading)| reading.into.is_some());
    let peers: Vec<String> =
        connected.map(|(identity, _)| identity.clone()).filter(|identity| identity != PLATFORM).collect();
    let mut answers = stream::iter(peers).map(ask).buffer_unordered(PINGS_AT_ONCE);
    while let Some((identity, ping_ms)) = answers.next().await {
        if let Some(reading) = readings.get_mut(&identity) {
            (reading.ping_ms, reading.pinged) = (ping_ms, true);
        }
    }
}

/// One line of the view.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    /// Identity.
    pub identity: String,
    /// What was read last.
    pub now: Reading,
    /// Share of one processor, in percent.
    pub cpu_percent: Option<f64>,
    /// Messages it was sent, per second.
    pub in_per_s: Option<f64>,
    /// Messages it sent, per second.
    pub out_per_s: Option<f64>,
}

/// What happened between two samples. What another process of the same name had counted does not count.
pub fn rows(old: &Sample, new: &Sample) -> Vec<Row> {
    let seconds = new.at.saturating_duration_since(old.at).as_secs_f64();
    let none = Reading::default();
    let row = |(identity, now): (&String, &Reading)| {
        let before = old.readings.get(identity).unwrap_or(&none);
        let rate = |before: f64, now: f64| (seconds > 0.0 && now >= before).then(|| (now - before) / seconds);
        // What was asked and answered for this view is no traffic of the site.
        let per_s = |before: Option<u64>, own: bool, now: Option<u64>| {
            rate((before? + u64::from(own)) as f64, now? as f64)
        };
        let cpu = |before: Option<f64>, now: Option<f64>| rate(before?, now?);
        Row {
            identity: identity.clone(),
            cpu_percent: cpu(before.cpu_s, now.cpu_s).filter(|_| before.pid == now.pid).map(|s| s * 100.0),
            in_per_s: per_s(before.into, before.pinged, now.into),
            out_per_s: per_s(before.out, before.ping_ms.is_some(), now.out),
            now: now.clone(),
        }
    };
    new.readings.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn rates_are_of_the_same_process_and_connection() {
        let at = Instant::now();
        let reading = |pid, cpu_s, out, into| Reading {
            pid: Some(pid),
            cpu_s: Some(cpu_s),
            out: Some(out),
            into: Some(into),
            ..Reading::default()
        };
        let sample = |after_s, a: Reading, b: Reading| Sample {
            at: at + Duration::from_secs(after_s),
            readings: BTreeMap::from([("a".to_owned(), a), ("b".to_owned(), b)]),
        };
        let old = sample(0, reading(1, 1.0, 100, 10), reading(2, 5.0, 100, 100));
        let new = sample(2, reading(1, 1.5, 300, 10), reading(3, 6.0, 5, 200));
        let all = rows(&old, &new);
        assert_eq!(
            (all[0].cpu_percent, all[0].out_per_s, all[0].in_per_s),
            (Some(25.0), Some(100.0), Some(0.0))
        );
        assert_eq!((all[1].cpu_percent, all[1].out_per_s, all[1].in_per_s), (None, None, Some(50.0)));
        assert_eq!(rows(&new, &new)[0].out_per_s, None, "no time has passed");
        let mut pinged = old.clone();
        for reading in pinged.readings.values_mut() {
            (reading.ping_ms, reading.pinged) = (Some(1.0), true);
        }
        let all = rows(&pinged, &new);
        assert_eq!(
            (all[0].out_per_s, all[0].in_per_s),
            (Some(99.5), None),
            "pings are not traffic of the site"
        );
    }
}
