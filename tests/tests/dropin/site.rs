//! A platform with authentication or without, and who connects to it.

use std::time::Duration;

use serde_json::{Value, json};
use volttron_client::link::zmq::ZmqConnector;
use volttron_client::{AgentBuilder, AgentHandle, ConnectOptions, Connection};
use volttron_tests::platform::Platform;
use volttron_tests::probe::{Probe, Seen};
use volttron_tests::programs::program;
use volttron_utils::keys::{KeyPair, keystore};

/// Guards against hanging; no statement about speed.
pub const LONG: Duration = Duration::from_secs(30);
/// How long a connection that must be refused is given to be let in.
pub const SHORT: Duration = Duration::from_secs(2);

/// With authentication or without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Authenticated,
    Open,
}

pub struct Site {
    pub platform: Platform,
    pub mode: Mode,
}

impl Site {
    /// A home with a `config` file, nothing started yet.
    pub fn prepare(mode: Mode) -> Self {
        let platform = Platform::prepare();
        if mode == Mode::Open {
            platform.configure("allow-auth = False");
        }
        Self { platform, mode }
    }

    pub fn start(mode: Mode) -> Self {
        let mut site = Self::prepare(mode);
        site.platform.launch();
        site
    }

    /// What `identity` needs to connect: with authentication, an entry with these capabilities.
    pub fn admit(&self, identity: &str, capabilities: &Value) -> KeyPair {
        match self.mode {
            Mode::Authenticated => self.platform.admit(identity, capabilities),
            Mode::Open => KeyPair::generate(),
        }
    }

    pub fn connector(&self, keys: &KeyPair) -> ZmqConnector {
        let connector =
            ZmqConnector::new(self.platform.address().parse().expect("an address")).expect("a connector");
        match self.mode {
            Mode::Authenticated => {
                connector.keys(keys.clone()).serverkey(self.platform.server_key().parse().expect("a key"))
            }
            Mode::Open => connector,
        }
    }

    pub async fn try_connect(&self, identity: &str, keys: &KeyPair, limit: Duration) -> Option<Connection> {
        let options = ConnectOptions::new(self.connector(keys)).identity(identity).timeout(limit);
        Connection::open(options).await.ok()
    }

    pub async fn connect(&self, identity: &str, keys: &KeyPair) -> Connection {
        self.try_connect(identity, keys, LONG).await.unwrap_or_else(|| panic!("{identity} connects"))
    }

    /// A peer that may do what these capabilities say.
    pub async fn peer(&self, identity: &str, capabilities: &Value) -> Connection {
        let keys = self.admit(identity, capabilities);
        self.connect(identity, &keys).await
    }

    /// A peer with the rights of the command line tool.
    pub async fn control(&self) -> Connection {
        let keys = match self.mode {
            Mode::Authenticated => {
                keystore::load(&self.platform.home().join("keystores/control.connection/keystore.json"))
                    .expect("the keys of the command line tool")
            }
            Mode::Open => KeyPair::generate(),
        };
        self.connect("control.connection.test", &keys).await
    }

    /// An agent that tells what reaches it, and has methods to call.
    pub async fn probe(&self, identity: &str) -> (AgentHandle, tokio::sync::mpsc::Receiver<Seen>) {
        let keys = self.admit(identity, &json!({"edit_config_store": {"identity": identity}}));
        let (probe, seen) = Probe::new();
        let agent = AgentBuilder::new(probe)
            .identity(identity)
            .connector(self.connector(&keys))
            .auth(self.mode == Mode::Authenticated);
        let handle = agent.spawn().await.expect("the agent connects");
        handle.started().await;
        (handle, seen)
    }

    /// Installs and starts the listener; its UUID.
    pub fn listener(&self, identity: &str, more: &[&str]) -> String {
        let program = program("volttron-listener");
        let program = program.to_str().expect("a path");
        let args = [&["install", program, "--vip-identity", identity, "--start"], more].concat();
        let done = self.platform.vctl_json(&args);
        assert_eq!(done["started"], true, "{done}");
        done["agent_uuid"].as_str().expect("a uuid").to_owned()
    }

    /// The pid in `agent_status`, as scripts find it in the output of `vctl status`.
    pub fn pid(&self, uuid: &str) -> Option<u32> {
        let text = self.platform.vctl_ok(&["status", uuid]);
        let (_, rest) = text.split_once('[')?;
        rest.split_once(']')?.0.parse().ok()
    }
}

/// Waits until `probe` is true.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut probe: impl FnMut() -> F) {
    let wait = async {
        while !probe().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LONG, wait).await.unwrap_or_else(|_| panic!("waited in vain: {what}"));
}
