//! Installing crates from a registry and from `.crate` files, with the real cargo. The registry is static and on
//! loopback, and stands for crates.io; cargo's own home is empty and knows nothing else.
//!
//! `pack` makes packages with `vpkg` and installs them. `tiny` installs crates of a few lines, made here; `whole` this workspace's own, as somebody without it would; `alone`
//! looks at what an agent is built with.

mod alone;
mod pack;
mod shop;
mod tiny;
mod whole;
