//! The vocabulary of VOLTTRON: what programs on the bus say to each other and how files spell it.
//!
//! Owns formats and names: frames, JSON, RPC envelopes, identities, keys, files, time.
//! Must never do network IO, start a runtime or know a socket library; everything here is synchronous and
//! usable from the router thread, from agents and from tools alike.
//! Start reading at [`vip`] (a message on the wire).

/// JSON as Python writes and reads it.
pub mod json;
/// JSON-RPC 2.0 with VOLTTRON's extensions.
pub mod jsonrpc;
/// Frames and messages of the VIP protocol.
pub mod vip;
