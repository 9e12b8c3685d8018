//! The services inside the platform process, each an agent without a socket.
//!
//! A service gets what it needs in its constructor and knows nothing of the other services.

pub mod auth;
pub mod config_store;
pub mod control;
pub mod health;
pub mod keydiscovery;
pub mod rpc_pubsub;
