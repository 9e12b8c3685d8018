//! Everything that can be called or asked is called and asked by those who may not, and nothing comes of it.
//!
//! What there is to call is found out at run time: peers by the peer list, methods by `inspect`, what they declare by
//! `<method>.inspect`; operations of the router by its table. What is open to everybody stands in `open.txt`: a method
//! that becomes open shows there as a line to review.

mod methods;
mod operations;
mod state;

use std::time::Duration;

use serde_json::json;
use volttron_client::link::zmq::ZmqConnector;
use volttron_client::{ConnectOptions, Connection};
use volttron_tests::platform::Platform;
use volttron_tests::programs::program;
use volttron_utils::keys::KeyPair;

/// Guards against hanging; no statement about speed.
pub const LONG: Duration = Duration::from_secs(30);
/// How long a connection that must be refused is given to be let in.
const SHORT: Duration = Duration::from_secs(2);

/// A platform with our agents, something to lose, and two who may nothing.
pub struct World {
    pub platform: Platform,
    alice_keys: KeyPair,
    other_keys: KeyPair,
}

/// Who tries.
pub struct Intruder {
    pub connection: Connection,
    /// What refusals say about its capabilities.
    pub provided: &'static str,
}

impl World {
    pub fn start() -> Self {
        let mut platform = Platform::prepare();
        let alice_keys = platform.admit("alice", &json!({}));
        let other_keys = platform.admit("somebody.else", &json!({}));
        platform.admit("victim", &json!({}));
        let topics = json!({"write-protect": [{"topic": "protected", "capabilities": ["none_has_this"]}]});
        std::fs::write(platform.home().join("protected_topics.json"), topics.to_string()).unwrap();
        // The service that exists on request only has to pass as well.
        platform.configure("rpc-pubsub = True");
        platform.launch();
        for (name, identity) in [
            ("volttron-listener", "listener"),
            ("volttron-platform-driver", "platform.driver"),
            ("volttron-sql-historian", "platform.historian"),
        ] {
            let program = program(name);
            let program = program.to_str().unwrap();
            platform.vctl_ok(&["install", program, "--vip-identity", identity, "--enable", "--start"]);
        }
        platform.vctl_ok(&["config", "store", "victim", "config", "--raw"]);
        Self { platform, alice_keys, other_keys }
    }

    async fn connect(&self, identity: &str, keys: &KeyPair, limit: Duration) -> Option<Connection> {
        let connector = ZmqConnector::new(self.platform.address().parse().unwrap())
            .unwrap()
            .keys(keys.clone())
            .serverkey(self.platform.server_key().parse().unwrap());
        Connection::open(ConnectOptions::new(connector).identity(identity).timeout(limit)).await.ok()
    }

    /// One with an auth entry without capabilities, and one whose identity no entry names.
    pub async fn intruders(&self) -> [Intruder; 2] {
        let alice = self.connect("alice", &self.alice_keys, LONG).await.expect("alice has an entry");
        let stranger = self.connect("stranger", &self.other_keys, LONG).await.expect("the key has an entry");
        [Intruder { connection: alice, provided: "{}" }, Intruder { connection: stranger, provided: "[]" }]
    }

    /// One more, who can be thrown out.
    pub async fn victim(&self) -> Connection {
        let keys = self.platform.admit("victim.too", &json!({}));
        let wait = async {
            loop {
                if let Some(connection) = self.connect("victim.too", &keys, SHORT).await {
                    return connection;
                }
            }
        };
        tokio::time::timeout(LONG, wait).await.expect("a new key gets in")
    }

    /// An unknown key does not even connect.
    pub async fn nobody_gets_in_with_an_unknown_key(&self) {
        let unknown = self.connect("unknown", &KeyPair::generate(), SHORT).await;
        assert!(unknown.is_none(), "a key without an entry connected");
    }
}

impl Intruder {
    pub fn name(&self) -> &str {
        self.connection.identity()
    }
}

/// Waits until `probe` is true.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut probe: impl FnMut() -> F) {
    let wait = async {
        while !probe().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LONG, wait).await.unwrap_or_else(|_| panic!("waited in vain: {what}"));
}

/// Agents state their requirements a moment after their start; the rules are still afterwards.
pub async fn settled(world: &World) {
    eventually("the agents and their requirements", || async {
        let rules = std::fs::read_to_string(world.platform.home().join("auth.json")).unwrap_or_default();
        let rows = world.platform.vctl_json(&["status"]);
        let running = ["listener", "platform.driver", "platform.historian"]
            .iter()
            .all(|agent| rows[agent]["status"].as_str().is_some_and(|text| text.starts_with("running")));
        running && rules.contains("\"get_topic_list\"") && rules.contains("\"forward_bacnet_cov_value\"")
    })
    .await;
}
