//! One measurement of one contestant: its processes, its figure, its router's processor time.

use serde_json::Value;
use tempfile::TempDir;

use super::{
    frames::{SUBSCRIBERS, subscriber},
    process::Role,
    setup::{Keys, Outcome},
};

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contestant {
    /// Bare libzmq.
    Raw,
    /// The platform's bus.
    Ours,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Messages from peer to peer per second.
    Relay,
    /// Publishes to ten subscribers per second.
    Fanout,
    /// Time of a call between two agents, against an echo between bare peers.
    Call,
    /// Time of an echo between bare peers on both sides: what of [`Kind::Call`] is the router's.
    Echo,
}

/// How long one measurement takes.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    pub throughput_ms: u64,
    pub calls: u64,
}

/// One measurement's figures.
#[derive(Clone, Copy, Debug)]
pub struct Figure {
    /// Per second, or microseconds for [`Kind::Call`] (the median).
    pub value: f64,
    /// The slow end of [`Kind::Call`].
    pub p99_us: Option<f64>,
    /// Processor time of the router per message it relayed or publish it fanned out, in microseconds.
    pub router_cpu_us: f64,
}

pub fn measure(kind: Kind, who: Contestant, curve: bool, effort: Effort) -> Outcome<Figure> {
    let dir = TempDir::new()?;
    let keys = if curve {
        let identities =
            ["a", "b", "publisher"].map(str::to_owned).into_iter().chain((0..SUBSCRIBERS).map(subscriber));
        Keys::generate(identities).write(dir.path())?.to_string_lossy().into_owned()
    } else {
        "-".to_owned()
    };
    let router = match (who, kind) {
        (Contestant::Ours, _) => "ours",
        (Contestant::Raw, Kind::Fanout) => "raw-fanout",
        (Contestant::Raw, Kind::Relay | Kind::Call | Kind::Echo) => "raw-relay",
    };
    let router = Role::start(router, &keys, &[])?;
    let endpoint = router.line()?;
    let before = router.cpu_seconds()?;
    let load = |name: &str, amount: u64| Role::start(name, &keys, &[endpoint.clone(), amount.to_string()]);
    let (result, _echo): (Value, Option<Role>) = match kind {
        Kind::Relay => (serde_json::from_str(&load("load-relay", effort.throughput_ms)?.line()?)?, None),
        Kind::Fanout => (serde_json::from_str(&load("load-fanout", effort.throughput_ms)?.line()?)?, None),
        Kind::Call | Kind::Echo => {
            let (echo, caller) = match (who, kind) {
                (Contestant::Ours, Kind::Call) => ("agent-echo", "agent-caller"),
                _ => ("raw-echo", "raw-caller"),
            };
            let echo = Role::start(echo, &keys, std::slice::from_ref(&endpoint))?;
            echo.line()?;
            (serde_json::from_str(&load(caller, effort.calls)?.line()?)?, Some(echo))
        }
    };
    let cpu = router.cpu_seconds()? - before;
    let number = |name: &str| result[name].as_f64();
    let value = number("per_second").or_else(|| number("p50_us")).ok_or("the load printed no figure")?;
    let total = number("total").ok_or("the load printed no total")?;
    Ok(Figure { value, p99_us: number("p99_us"), router_cpu_us: cpu * 1e6 / total })
}
