//! The real router thread on real sockets, spoken to with bare DEALERs.
#![allow(clippy::unwrap_used)]

mod bad_input;
mod bus;
mod harness;
mod load;
mod locals;
mod security;
