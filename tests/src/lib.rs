//! What whole-platform tests share: starting the real programs and real Python peers, and waiting for them.
//!
//! Every platform has a home of its own in a temporary directory and a port of its own on loopback, and ends with the
//! value that stands for it. Nothing here asserts; tests do.

pub mod deaf;
pub mod fifty;
pub mod generated;
pub mod lines;
pub mod platform;
pub mod probe;
pub mod programs;
pub mod pump;
pub mod python;
pub mod terminal;
pub mod wait;

/// Compiles the Rust code of the documentation.
#[cfg(doctest)]
#[doc = include_str!("../../docs/porting.md")]
pub struct DocumentedCode;
