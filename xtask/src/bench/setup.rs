//! What the processes of one measurement agree on: keys in a file, roles on the command line.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use volttron_client::utils::keys::KeyPair;

use super::{brokers, load, ours, raw, rpc};

/// Result of a task; the error is for people.
pub type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// One pair, raw.
#[derive(Clone, Serialize, Deserialize)]
pub struct Pair {
    pub public: [u8; 32],
    pub secret: [u8; 32],
}

impl Pair {
    fn generate() -> Self {
        let pair = KeyPair::generate();
        Self { public: *pair.public.as_bytes(), secret: *pair.secret.as_bytes() }
    }

    pub fn key_pair(&self) -> KeyPair {
        use volttron_client::utils::keys::{PublicKey, SecretKey};
        KeyPair { public: PublicKey::from_bytes(self.public), secret: SecretKey::from_bytes(self.secret) }
    }
}

/// Keys of everybody in a measurement with CURVE.
#[derive(Clone, Serialize, Deserialize)]
pub struct Keys {
    pub server: Pair,
    pub peers: BTreeMap<String, Pair>,
}

impl Keys {
    pub fn generate(identities: impl IntoIterator<Item = String>) -> Self {
        let peers = identities.into_iter().map(|i| (i, Pair::generate())).collect();
        Self { server: Pair::generate(), peers }
    }

    pub fn write(&self, dir: &Path) -> io::Result<PathBuf> {
        let path = dir.join("keys.json");
        fs::write(&path, serde_json::to_vec(self)?)?;
        Ok(path)
    }

    /// Reads the file named on a role's command line; `-` is a measurement without CURVE.
    pub fn read(path: &str) -> Outcome<Option<Self>> {
        if path == "-" {
            return Ok(None);
        }
        Ok(Some(serde_json::from_slice(&fs::read(path)?)?))
    }
}

/// Runs as one of the processes: `role NAME KEYS ARGS..`.
pub fn play(args: &[String]) -> Outcome<bool> {
    let [role, keys, rest @ ..] = args else { return Err("a role and its keys are needed".into()) };
    let keys = Keys::read(keys)?;
    let number = |n: usize| -> Outcome<u64> {
        Ok(rest.get(n).ok_or_else(|| format!("{role}: argument {n} is missing"))?.parse()?)
    };
    let text =
        |n: usize| rest.get(n).map(String::as_str).ok_or_else(|| format!("{role}: argument {n} is missing"));
    match role.as_str() {
        "raw-relay" => raw::relay(keys.as_ref())?,
        "raw-fanout" => raw::fanout(keys.as_ref(), number(0)? as usize)?,
        "ours" => ours::serve(keys.as_ref())?,
        "load-relay" => load::relay(text(0)?, keys.as_ref(), number(1)?, number(2)? as usize)?,
        "load-publish" => {
            load::publish(text(0)?, keys.as_ref(), number(1)?, serde_json::from_str(text(2)?)?)?
        }
        "load-join" => load::join(text(0)?, keys.as_ref(), number(1)?)?,
        "load-broker" => brokers::load(text(0)?, text(1)?, number(2)?, serde_json::from_str(text(3)?)?)?,
        "raw-echo" => rpc::raw_echo(text(0)?, keys.as_ref())?,
        "raw-caller" => rpc::raw_caller(text(0)?, keys.as_ref(), number(1)?)?,
        "raw-callers" => rpc::raw_callers(text(0)?, keys.as_ref(), number(1)?)?,
        "agent-callers" => rpc::agent_callers(text(0)?, keys.as_ref(), number(1)?)?,
        "agent-echo" => rpc::agent_echo(text(0)?, keys.as_ref())?,
        "agent-caller" => rpc::agent_caller(text(0)?, keys.as_ref(), number(1)?)?,
        other => return Err(format!("no role {other}").into()),
    }
    Ok(true)
}
