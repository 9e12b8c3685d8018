//! `kill -9` under load and a frozen subscriber, with the real programs: what must hold whatever dies.
//!
//! The short form runs with all other tests. `cargo xtask soak` runs the same code for longer: `VOLTTRON_SOAK_ROUNDS`
//! says how often to kill, `VOLTTRON_SOAK_SEED` at which moments, `VOLTTRON_SOAK_SECONDS` how long to publish past a
//! frozen subscriber.

mod books;
mod frozen;
mod kill;
mod load;
mod world;

use std::str::FromStr;

/// A figure from the environment, for the long forms.
fn setting<T: FromStr>(name: &str, otherwise: T) -> T {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")),
        Err(_) => otherwise,
    }
}

#[test]
fn historian() {
    kill::run("historian", &[kill::Victim::Agent("platform.historian")]);
}

#[test]
fn platform() {
    kill::run("platform", &[kill::Victim::Platform]);
}

#[test]
fn agent() {
    kill::run("agent", &[kill::Victim::Agent("platform.driver"), kill::Victim::Agent("listener")]);
}

#[test]
fn frozen_subscriber() {
    frozen::run();
}
