//! A seeded world around the router, and an oracle that knows what must come out.
//!
//! Everything that happens follows from one number: who connects with which key, who publishes what, which links
//! break, freeze or fill up, when the notice of a disconnect arrives, what garbage is sent. [`run_seed`] plays one
//! world; a failure names its seed and step, and running the seed again replays it exactly.
//!
//! The oracle (`wires.rs`, `world.rs`, `requests.rs`) shares no code with the router: subscriptions are a plain set and matching
//! is `starts_with`. Must never look inside the router except through its public counters.

mod requests;
pub mod rng;
pub mod seeds;
mod wires;
mod world;

use std::fmt;

use crate::Meter;

/// What one world did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Its seed.
    pub seed: u64,
    /// Inputs given to the router.
    pub steps: u32,
    /// How often the router was started anew.
    pub restarts: u32,
    /// The counters of all its routers.
    pub meter: Meter,
    /// Fingerprint of everything the router sent, in order.
    pub digest: u64,
}

/// A broken promise of the router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The seed to replay.
    pub seed: u64,
    /// The input after which it was noticed.
    pub step: u32,
    /// That input.
    pub input: String,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {}, step {} ({}): {}", self.seed, self.step, self.input, self.what)
    }
}

impl std::error::Error for Failure {}

/// Plays the world of one seed.
pub fn run_seed(seed: u64) -> Result<Summary, Failure> {
    world::World::new(seed).run()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_hundred_worlds_keep_their_promises() {
        let (mut all, mut restarts) = (Meter::default(), 0);
        for seed in 0..500 {
            let world = run_seed(seed).unwrap_or_else(|failure| panic!("{failure}"));
            all.add(&world.meter);
            restarts += u64::from(world.restarts);
        }
        // Worlds in which nothing goes wrong prove nothing.
        for (what, count) in [
            ("delivered", all.delivered),
            ("delivery_full", all.delivery_full),
            ("delivery_gone", all.delivery_gone),
            ("forwarded", all.forwarded),
            ("unreachable", all.unreachable),
            ("queue_full_direct", all.queue_full_direct),
            ("refused", all.refused),
            ("malformed", all.malformed),
            ("publish_denied", all.publish_denied),
            ("subscriptions_refused", all.subscriptions_refused),
            ("peers_dropped", all.peers_dropped),
            ("topic_cache_hits", all.topic_cache_hits),
            ("after_shutdown", all.after_shutdown),
            ("restarts", restarts),
        ] {
            assert!(count >= 100, "{what} happened only {count} times");
        }
    }

    #[test]
    fn a_seed_replays_exactly() {
        assert_eq!(run_seed(42), run_seed(42));
        assert_ne!(run_seed(42).map(|world| world.digest), run_seed(43).map(|world| world.digest));
    }
}
