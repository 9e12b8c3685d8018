//! The socket side of the message bus: one OS thread that owns the ROUTER, the ZAP handler and the way to the
//! services inside the process, and calls the sans-IO router for every message.
//!
//! Owns: sockets, endpoints, libzmq's settings, ZAP's questions and answers. The only place where `zmq::Message`
//! meets the router. Must never decide who may connect ([`zap::Authenticator`] does) or where a message goes
//! (`volttron_router` does), wait for an agent, or leave the thread with a message for another peer.

mod frame;
pub mod zap;

pub use frame::ZmqFrame;
