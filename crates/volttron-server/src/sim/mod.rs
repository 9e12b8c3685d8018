//! A seeded world of the whole core: the router with the platform's own rules as its policy, the auth service and the
//! configuration store with their real dispatch, on a disk that fails and crashes where it is told to.
//!
//! Everything follows from one number. Never part of the published build (feature `sim`).

use std::cell::Cell;

pub mod disk;

thread_local! {
    static SIMULATED: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread plays a world: then nothing leaves it, so that the order of things is that of the seed.
pub(crate) fn is_simulated() -> bool {
    SIMULATED.get()
}
