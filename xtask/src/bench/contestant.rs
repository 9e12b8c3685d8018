//! One measurement of one contestant: its processes, its figure, its router's processor time.

use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;
use volttron_client::utils::keys::{KeyPair, PublicKey};
use volttron_tests::python::PythonPlatform;

use super::{
    frames::{Fan, IDLE_PEERS, idle, publisher, subscriber},
    process::Role,
    setup::{Keys, Outcome},
};

/// Most publishers and subscribers of any case.
const PEERS: usize = 50;

/// Who is measured.
#[derive(Clone, Copy)]
pub enum Contestant<'a> {
    /// Bare libzmq.
    Raw,
    /// The platform's bus.
    Ours,
    /// The Python platform, under the same load.
    Python(&'a Python),
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Messages of this many bytes from peer to peer, per second.
    Relay(usize),
    /// Publishes per second.
    Publish(Fan),
    /// Time of a call between two agents, against an echo between bare peers.
    Call,
    /// Calls per second with many in flight.
    Calls,
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

/// A Python platform that stays up for all measurements; starting one takes many seconds.
pub struct Python {
    platform: PythonPlatform,
    keys: String,
    _dir: TempDir,
}

impl Python {
    /// Starts it and lets everybody of every case in.
    pub fn start(python: &Path) -> Outcome<Self> {
        let (dir, mut keys) = (TempDir::new()?, Keys::generate(everybody()));
        let pairs: Vec<(String, KeyPair)> =
            keys.peers.iter().map(|(name, pair)| (name.clone(), pair.key_pair())).collect();
        let agents: Vec<_> = pairs.iter().map(|(name, pair)| (name.as_str(), pair, json!({}))).collect();
        let platform = PythonPlatform::start(python, &agents);
        keys.server.public = *platform.server_key().parse::<PublicKey>()?.as_bytes();
        let keys = keys.write(dir.path())?.to_string_lossy().into_owned();
        Ok(Self { platform, keys, _dir: dir })
    }
}

fn everybody() -> impl Iterator<Item = String> {
    let named = ["a", "b"].map(str::to_owned).into_iter();
    named.chain((0..PEERS).map(publisher)).chain((0..PEERS).map(subscriber)).chain((0..IDLE_PEERS).map(idle))
}

impl Kind {
    /// The load's role and its arguments after the endpoint.
    fn load(self, effort: Effort) -> Outcome<(&'static str, Vec<String>)> {
        let (time, calls) = (effort.throughput_ms.to_string(), effort.calls.to_string());
        Ok(match self {
            Self::Relay(bytes) => ("load-relay", vec![time, bytes.to_string()]),
            Self::Publish(fan) => ("load-publish", vec![time, serde_json::to_string(&fan)?]),
            Self::Call => ("agent-caller", vec![calls]),
            Self::Calls => ("agent-callers", vec![(effort.calls * 4).to_string()]),
            Self::Echo => ("raw-caller", vec![calls]),
        })
    }
}

pub fn measure(kind: Kind, who: Contestant<'_>, curve: bool, effort: Effort) -> Outcome<Figure> {
    let dir = TempDir::new()?;
    let keys = match who {
        Contestant::Python(python) => python.keys.clone(),
        _ if curve => Keys::generate(everybody()).write(dir.path())?.to_string_lossy().into_owned(),
        _ => "-".to_owned(),
    };
    let router = match (who, kind) {
        (Contestant::Python(_), _) => None,
        (Contestant::Ours, _) => Some(Role::start("ours", &keys, &[])?),
        (Contestant::Raw, Kind::Publish(fan)) => {
            Some(Role::start("raw-fanout", &keys, &[fan.subscribers.to_string()])?)
        }
        (Contestant::Raw, _) => Some(Role::start("raw-relay", &keys, &[])?),
    };
    let endpoint = match (&router, who) {
        (Some(router), _) => router.line()?,
        (None, Contestant::Python(python)) => python.platform.address(),
        (None, _) => return Err("no router".into()),
    };
    let cpu = || router.as_ref().map_or(Ok(f64::NAN), Role::cpu_seconds);
    let before = cpu()?;
    // Agents of ours against us; against the others bare peers, which is the least they can be measured with.
    let (mut load, args) = kind.load(effort)?;
    let mut echo = "agent-echo";
    if !matches!((who, kind), (Contestant::Ours, Kind::Call | Kind::Calls)) {
        echo = "raw-echo";
        load = match load {
            "agent-caller" => "raw-caller",
            "agent-callers" => "raw-callers",
            other => other,
        };
    }
    let args: Vec<String> = std::iter::once(endpoint.clone()).chain(args).collect();
    let _echo = match kind {
        Kind::Call | Kind::Calls | Kind::Echo => {
            let echo = Role::start(echo, &keys, std::slice::from_ref(&endpoint))?;
            echo.line()?;
            Some(echo)
        }
        Kind::Relay(_) | Kind::Publish(_) => None,
    };
    let result: Value = serde_json::from_str(&Role::start(load, &keys, &args)?.line()?)?;
    let cpu = cpu()? - before;
    let number = |name: &str| result[name].as_f64();
    let value = number("per_second").or_else(|| number("p50_us")).ok_or("the load printed no figure")?;
    let total = number("total").ok_or("the load printed no total")?;
    Ok(Figure { value, p99_us: number("p99_us"), router_cpu_us: cpu * 1e6 / total })
}
