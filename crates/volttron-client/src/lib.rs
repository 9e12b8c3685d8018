//! Write VOLTTRON agents: connect to a platform's message bus, serve and call methods, publish and subscribe.
//!
//! Owns everything an agent needs, and is the only crate of ours an agent depends on. Must never know the platform's
//! inside: it talks to whatever answers on the bus, ours or Python's.
//!
//! Start reading at [`Agent`] (what an agent is), [`Cx`] (what it can do) and [`agent::AgentBuilder`] (how it runs).
//!
//! | module | owns |
//! |---|---|
//! | [`link`] | connections: ZeroMQ, in memory; reconnecting |
//! | [`agent`] | life cycle, registration, run loop |
//! | [`rpc`], [`access`] | calling and serving methods; who may call |
//! | [`pubsub`] | publications and subscriptions |
//! | [`channel`] | opaque datagrams between two agents |
//! | [`web`] | what the platform's web service serves for this agent |
//! | [`config`] | configuration store |
//! | `historian` (feature) | the base of historians |
//! | [`program`] | an agent as a program: environment, logging, signals |
//! | `testing` (feature) | a platform in memory for the tests of agents |
//! | `driver` (feature) | what device drivers share: registry rows, points, schedule, payloads |
//! | [`health`], [`heartbeat`], [`peerlist`], [`probe`], [`schedule`] | one subsystem each |
//!
//! # Testing an agent
//!
//! With the feature `testing` among the dev-dependencies, a test has a platform of its own: the platform's router, links in
//! memory and a configuration store, in the test's process. It is there in about a millisecond (the example
//! `testing_start` measures it), needs no port and no file, and the agent runs as it does in production. The whole of a file in `tests/`:
//!
//! ```no_run
#![doc = include_str!("../tests/pump_watch.rs")]
//! ```

pub mod access;
pub mod agent;
mod auth;
pub mod channel;
pub mod config;
mod connection;
mod cx;
#[cfg(feature = "driver")]
pub mod driver;
mod error;
#[doc(hidden)]
pub mod fuzzing;
pub mod health;
pub mod heartbeat;
#[cfg(feature = "historian")]
pub mod historian;
pub mod link;
mod meter;
pub mod options;
pub mod peerlist;
pub mod probe;
#[cfg(feature = "zmq")]
pub mod program;
pub mod pubsub;
mod requests;
pub mod rpc;
pub mod schedule;
#[cfg(feature = "testing")]
pub mod testing;
pub mod web;

pub use access::{Access, CapabilityMap, CapabilitySource};
pub use agent::{Agent, AgentBuilder, AgentHandle, ExitReason, Outcome, Registrar, SpawnError};
pub use channel::{Channel, ChannelError};
pub use config::{Action, Actions, ConfigError, ConfigEvent, ConfigStore};
pub use connection::{ConnectOptions, Connection};
pub use cx::Cx;
pub use error::{AgentError, CallError, CallErrorKind, PublishError};
pub use link::{ConnectError, Connector, RouterInfo};
pub use meter::{Counter, Meter};
pub use peerlist::PeerEvent;
#[cfg(feature = "zmq")]
pub use program::{AgentMain, Package, Program, Start, StartError, run, run_with};
pub use pubsub::{Publication, SubscribeOptions, Subscription};
pub use rpc::{BatchCall, Call, Caller, Method, Request, TypedCall};
pub use schedule::JobHandle;
#[cfg(feature = "zmq")]
pub use volttron_client_macros::main;
pub use volttron_client_macros::{agent, interface};
pub use volttron_utils as utils;
pub use volttron_utils::headers::Headers;
pub use volttron_utils::health::Status;
pub use volttron_utils::jsonrpc::{Params, RpcError};

pub use web::{ResourceType, WebError, WebRequest, WebSocket};

#[doc(hidden)]
#[path = "macros.rs"]
pub mod __macros;

/// Compiles the examples of the README.
#[cfg(all(doctest, feature = "zmq"))]
#[doc = include_str!("../README.md")]
pub struct ReadmeExamples;
