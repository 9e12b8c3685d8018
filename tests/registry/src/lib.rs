//! A registry of crates that is nothing but files: an index as cargo reads it over HTTP, and the packaged crates.
//!
//! Owns the layout of such a registry ([`Registry`]), filling it with this workspace's crates and everything they are
//! locked to ([`pack`]), and a server for it on loopback ([`Server`]). It serves tests and `cargo xtask dist`; it must
//! never know anything about the platform.

mod entry;
mod layout;
mod pack;
mod serve;

pub use entry::entry;
pub use layout::Registry;
pub use pack::{Packed, pack, packages_of, publishable};
pub use serve::Server;

/// What went wrong, for a person.
pub type Fault = String;
