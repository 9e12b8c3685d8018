//! A platform for tests: a real router and in-memory links, and a small configuration store.
//!
//! ```
//! use std::sync::Arc;
//! use serde_json::json;
//! use volttron_client::testing::TestPlatform;
//! use volttron_client::{Agent, Cx, Publication, Registrar};
//!
//! struct Echo;
//! impl Agent for Echo {
//!     const NAME: &'static str = "Echo";
//!     fn register(b: &mut Registrar<Self>) {
//!         b.subscribe("in/", |_: Arc<Echo>, cx: Cx, p: Publication| async move {
//!             cx.publish(&p.topic.replace("in/", "out/"), &p.json::<i64>().unwrap_or(0)).await.map(drop)
//!         });
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let platform = TestPlatform::new().await;
//! let echo = platform.agent("echo", Echo).await;
//! let peer = platform.peer("tester").await;
//! let mut out = platform.watch("out/").await;
//! peer.publish("in/x", &5).await.unwrap();
//! out.assert_published("out/x", &json!(5)).await;
//! echo.stop().await;
//! # }
//! ```

mod store;

use std::time::Duration;

use serde_json::Value;

use crate::link::memory::MemoryBus;
use crate::{Agent, AgentBuilder, AgentHandle, ConnectOptions, Connection, Publication, Subscription};
use store::Store;

/// How long assertions wait before they fail. Long, because it is only spent when they fail.
const PATIENCE: Duration = Duration::from_secs(10);

/// A platform in memory: bus and configuration store, no authentication.
#[derive(Debug)]
pub struct TestPlatform {
    bus: MemoryBus,
    store: AgentHandle,
    observer: Connection,
}

#[allow(clippy::expect_used, reason = "a test that cannot set up its platform has failed")]
impl TestPlatform {
    /// Starts one, with instance name `test`.
    ///
    /// # Panics
    /// When it cannot be started.
    pub async fn new() -> Self {
        let bus = MemoryBus::new("test");
        let store = AgentBuilder::new(Store::default())
            .identity(volttron_utils::identity::CONFIG_STORE)
            .connector(bus.clone())
            .store(false)
            .heartbeat(false)
            .spawn()
            .await
            .expect("the store starts");
        let observer = Connection::open(ConnectOptions::new(bus.clone()).identity("test.observer"))
            .await
            .expect("the observer connects");
        Self { bus, store, observer }
    }

    /// The bus, to connect agents with [`AgentBuilder::connector`], or to cut connections.
    pub fn bus(&self) -> MemoryBus {
        self.bus.clone()
    }

    /// A builder for an agent on this platform, to be refined and spawned.
    pub fn builder<A: Agent>(&self, identity: &str, agent: A) -> AgentBuilder<A> {
        AgentBuilder::new(agent).identity(identity).connector(self.bus())
    }

    /// Starts an agent and waits until its `on_start` handlers are done.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn agent<A: Agent>(&self, identity: &str, agent: A) -> AgentHandle {
        let handle = self.builder(identity, agent).spawn().await.expect("the agent starts");
        assert!(handle.started().await, "agent '{identity}' ended while starting");
        handle
    }

    /// Connects a peer that only asks.
    ///
    /// # Panics
    /// When it cannot connect.
    pub async fn peer(&self, identity: &str) -> Connection {
        Connection::open(ConnectOptions::new(self.bus()).identity(identity)).await.expect("the peer connects")
    }

    /// Puts an entry into the configuration store of `identity` and pushes it if that agent is connected. Text is
    /// stored raw, anything else as JSON.
    ///
    /// # Panics
    /// When the store refuses it.
    pub async fn set_config(&self, identity: &str, name: &str, contents: Value) {
        let kind = if contents.is_string() { "raw" } else { "json" };
        let text = contents.as_str().map_or_else(|| contents.to_string(), str::to_owned);
        let call =
            self.observer.call("config.store", "set_config").arg(identity).arg(name).arg(text).arg(kind);
        call.send_value().await.expect("the store takes it");
    }

    /// Removes an entry from the configuration store of `identity`.
    ///
    /// # Panics
    /// When there is none.
    pub async fn delete_config(&self, identity: &str, name: &str) {
        let call = self.observer.call("config.store", "delete_config").arg(identity).arg(name);
        call.send_value().await.expect("the store removes it");
    }

    /// Watches everything published under `prefix` from now on.
    ///
    /// # Panics
    /// When the router refuses.
    pub async fn watch(&self, prefix: &str) -> Watch {
        Watch(self.observer.subscribe(prefix).await.expect("the router takes the subscription"))
    }

    /// The store's handle, for tests that stop it.
    pub fn store(&self) -> &AgentHandle {
        &self.store
    }
}

/// Publications that a test waits for.
#[derive(Debug)]
pub struct Watch(Subscription);

impl Watch {
    /// The next publication.
    ///
    /// # Panics
    /// When none comes for ten seconds.
    pub async fn next(&mut self) -> Publication {
        let next = tokio::time::timeout(PATIENCE, self.0.next()).await;
        let next = next.unwrap_or_else(|_| panic!("nothing was published for {PATIENCE:?}"));
        next.unwrap_or_else(|| panic!("the platform ended"))
    }

    /// Waits for a publication on exactly `topic`, skipping others, and checks its message.
    ///
    /// # Panics
    /// When none comes for ten seconds, or the message differs.
    pub async fn assert_published(&mut self, topic: &str, message: &Value) -> Publication {
        loop {
            let publication = self.next().await;
            if publication.topic == topic {
                let got = publication.json::<Value>();
                assert_eq!(got.as_ref().ok(), Some(message), "message on {topic}");
                return publication;
            }
        }
    }
}
