//! What the fuzzer runs, as plain functions of bytes, so that ordinary tests can run it too.
//!
//! A target panics if a promise is broken and does nothing otherwise. To add one: a function here, a line in
//! [`TARGETS`], a directory in `../corpus`, a three-line file in `../fuzz_targets` and its `[[bin]]`.

#![allow(clippy::missing_panics_doc, reason = "a panic is how a target reports")]
#![allow(clippy::result_large_err, reason = "unsent frames come back whole")]

mod auth;
mod configuration;
mod devices;
mod frames;
mod history;
mod json;
mod keys;
mod logs;
mod names;
mod tables;
mod times;
mod wire;

pub use auth::{auth_json, protected_topics};
pub use configuration::{config_store, config_text, option_file};
pub use devices::{driver_config, registers};
pub use frames::frames;
pub use history::historian;
pub use json::{pubsub_json, rpc_json};
pub use keys::keys;
pub use logs::{agent_json, log_lines};
pub use names::{addresses, names};
pub use tables::{registry_csv, replay_csv};
pub use times::times;
pub use wire::wire_values;

/// One target: panics if a promise is broken.
pub type Target = fn(&[u8]);

/// All targets by the name of their corpus directory.
pub const TARGETS: &[(&str, Target)] = &[
    ("addresses", addresses),
    ("agent_json", agent_json),
    ("auth_json", auth_json),
    ("config_store", config_store),
    ("config_text", config_text),
    ("driver_config", driver_config),
    ("frames", frames),
    ("historian", historian),
    ("keys", keys),
    ("log_lines", log_lines),
    ("names", names),
    ("option_file", option_file),
    ("protected_topics", protected_topics),
    ("pubsub_json", pubsub_json),
    ("registers", registers),
    ("registry_csv", registry_csv),
    ("replay_csv", replay_csv),
    ("rpc_json", rpc_json),
    ("times", times),
    ("wire_values", wire_values),
];
