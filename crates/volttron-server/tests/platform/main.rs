//! The `volttron` program as a process: how it starts, refuses to start, stops, and what survives it.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod golden;
mod process;
mod refusals;
mod start;
mod stop;
mod store;
