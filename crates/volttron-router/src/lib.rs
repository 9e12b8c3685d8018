//! The message router as a pure state machine (vip.md sections 4, 6 and 7, subsystems.md sections 1 to 5).
//!
//! Owns who is connected, who subscribed to what, and what becomes of every message: forwarded, answered, or
//! dropped and counted. Whoever owns the sockets feeds [`Input`]s to [`Router::handle`] and carries out what comes
//! back through [`Output`], so the same code runs under ZeroMQ, in memory and in the simulator.
//!
//! Must never: do IO, block, read a clock, draw a random number, log, parse a payload that is only forwarded,
//! change a frame between two peers, panic on any input, or keep memory without a bound ([`Limits`]).
//! Start reading at `router.rs` (order of checks), then `operation.rs` (what there is to ask, and who may),
//! then `pubsub.rs`.

mod agentstop;
mod alias;
mod bus;
mod deliver;
mod errors;
mod event;
mod hello;
mod input;
mod list;
mod meter;
mod operation;
mod output;
mod peerlist;
mod peers;
mod ping;
mod policy;
mod protected;
mod publish;
mod pubsub;
mod query;
mod router;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
mod stats;
mod subscriptions;
mod tree;

pub use event::{DropReason, Malformed, RouterEvent};
pub use input::{Control, Input, Origin, ServiceId, UserId};
pub use meter::Meter;
pub use operation::{Operation, Who};
pub use output::{Output, Unsent, Why};
pub use peers::{PeerInfo, Traffic};
pub use policy::{AdmitAll, Denied, Limits, Policy, Refusal, WhenFull};
pub use query::RouterFacts;
pub use router::Router;
