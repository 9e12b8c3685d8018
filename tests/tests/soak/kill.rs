//! Killing one part of a platform again and again while data comes in, and the table of what came of it.

use std::time::{Duration, Instant};

use crate::load::Load;
use crate::world::{IDENTITIES, World};
use crate::{Chance, setting};

/// Rounds of the short form.
const SHORT_ROUNDS: u32 = 5;
/// Longest time under load, after everything is back, before the next kill.
const LONGEST_CALM_MS: u64 = 800;

/// What is killed.
#[derive(Clone, Copy, Debug)]
pub enum Victim {
    /// The process of an installed agent.
    Agent(&'static str),
    /// `volttron` itself; started again at once, as an init system does.
    Platform,
}

/// Kills `victims` in turn and checks after each kill that everything comes back by itself, and at the end that every
/// acknowledged point is in the database exactly once.
pub fn run(name: &str, victims: &[Victim]) {
    let rounds: u32 = setting("VOLTTRON_SOAK_ROUNDS", SHORT_ROUNDS);
    let seed: u64 = setting("VOLTTRON_SOAK_SEED", u64::from(std::process::id()));
    eprintln!("{name}: {rounds} rounds, seed {seed}");
    let mut chance = Chance(seed);
    let mut world = World::build();
    let load = Load::start(&world);
    let mut generation = world.returned(&load, Instant::now(), &[]);
    let mut returns = Vec::new();
    for round in 0..rounds {
        std::thread::sleep(Duration::from_millis(chance.below(LONGEST_CALM_MS + 1)));
        let (killed, gone) = match victims[round as usize % victims.len()] {
            Victim::Agent(identity) => {
                let pid = generation.pid(identity);
                World::kill(pid);
                (Instant::now(), vec![pid])
            }
            Victim::Platform => {
                world.platform.kill();
                let killed = Instant::now();
                world.platform.launch();
                (killed, generation.all())
            }
        };
        let next = world.returned(&load, killed, &gone);
        returns.push(killed.elapsed());
        generation.assert_same_agents(&next);
        generation = next;
        if rounds > SHORT_ROUNDS && (round + 1) % 10 == 0 {
            eprintln!("{name}: {} kills, {} points acknowledged", round + 1, load.acknowledged());
        }
    }
    let orphans = world.processes().len().saturating_sub(IDENTITIES.len() + 1);
    let journal = load.finish();
    world.platform.terminate();
    let books = world.books(&journal);
    returns.sort();
    println!(
        "run        rounds  acknowledged     stored  lost  doubled  wrong  median return  slowest return  orphans"
    );
    println!(
        "{name:<10} {rounds:>6}  {:>12}  {:>9}  {:>4}  {:>7}  {:>5}  {:>10} ms  {:>11} ms  {orphans:>7}",
        books.acknowledged,
        books.stored,
        books.lost,
        books.doubled,
        books.wrong,
        returns[returns.len() / 2].as_millis(),
        returns[returns.len() - 1].as_millis(),
    );
    println!("           unanswered calls: {} repeated, {} left out", journal.repeated, journal.left_out);
    assert!(books.is_clean() && orphans == 0, "{books:?}, {orphans} orphans");
    assert!(books.acknowledged > u64::from(rounds), "next to nothing was stored under this load: {books:?}");
}
