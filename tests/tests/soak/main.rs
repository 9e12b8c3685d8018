//! `kill -9` under load, in the middle of installations and in a crowd of agents, and a frozen subscriber, with the real
//! programs: what must hold whatever dies.
//!
//! The short form runs with all other tests. `cargo xtask soak` runs the same code for longer: `VOLTTRON_SOAK_ROUNDS`
//! says how often to kill, `VOLTTRON_SOAK_SEED` at which moments, `VOLTTRON_SOAK_SECONDS` how long to publish past a
//! frozen subscriber.

mod books;
mod crowd;
mod frozen;
mod kill;
mod load;
mod versions;
mod world;

use std::str::FromStr;

/// A figure from the environment, for the long forms.
fn setting<T: FromStr>(name: &str, otherwise: T) -> T {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")),
        Err(_) => otherwise,
    }
}

/// Splitmix64: random enough to choose moments and victims, and a seed repeats them.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
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

#[test]
fn versions() {
    versions::run();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crowd() {
    crowd::run().await;
}
