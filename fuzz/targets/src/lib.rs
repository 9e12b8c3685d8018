//! What the fuzzer runs, as plain functions of bytes, so that ordinary tests can run it too.
//!
//! A target panics if a promise is broken and does nothing otherwise. To add one: a function here, a line in
//! [`TARGETS`], a directory in `../corpus`, a three-line file in `../fuzz_targets` and its `[[bin]]`.

#![allow(clippy::missing_panics_doc, reason = "a panic is how a target reports")]
#![allow(clippy::result_large_err, reason = "unsent frames come back whole")]

mod frames;
mod json;

pub use frames::frames;
pub use json::{pubsub_json, rpc_json};

/// One target: panics if a promise is broken.
pub type Target = fn(&[u8]);

/// All targets by the name of their corpus directory.
pub const TARGETS: &[(&str, Target)] =
    &[("frames", frames), ("pubsub_json", pubsub_json), ("rpc_json", rpc_json)];
