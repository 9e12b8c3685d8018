//! The vocabulary of VOLTTRON: what programs on the bus say to each other and how files spell it.
//!
//! Owns formats and names: frames, JSON, RPC envelopes, identities, keys, files, time.
//! Must never do network IO, start a runtime or know a socket library; everything here is synchronous and
//! usable from the router thread, from agents and from tools alike.
//! Start reading at [`vip`] (a message on the wire), [`identity`] and [`keys`] (who is who).

pub mod address;
pub mod config;
pub mod files;
pub mod headers;
pub mod health;
pub mod home;
pub mod identity;
pub mod json;
pub mod jsonrpc;
pub mod keys;
pub mod logging;
pub mod pattern;
pub mod time;
pub mod topic;
pub mod vip;
