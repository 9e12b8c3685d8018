//! The short form of the fuzz runs: every target over its corpus and over seeded mutations of it.

#![allow(clippy::print_stdout, reason = "shown only when a target fails: what failed")]

use std::fs;
use std::panic::{catch_unwind, resume_unwind};
use std::path::Path;
use std::thread;

use volttron_fuzz_targets::{TARGETS, Target};

const MUTATIONS: u64 = 3000;

#[test]
fn every_target_survives_its_corpus_and_mutations_of_it() {
    // Threads of their own: all that fail are named, and the stack is as small as that of an agent's worker.
    let running: Vec<_> =
        TARGETS.iter().map(|(name, target)| (name, thread::spawn(|| run(name, *target)))).collect();
    let failed: Vec<_> =
        running.into_iter().filter_map(|(name, thread)| thread.join().err().map(|_| name)).collect();
    assert!(failed.is_empty(), "{failed:?} failed, see above");
}

fn run(name: &str, target: Target) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus");
    let mut seeds: Vec<(String, Vec<u8>)> = fs::read_dir(corpus.join(name))
        .unwrap_or_else(|error| panic!("corpus of {name}: {error}"))
        .map(|entry| entry.expect("readable directory").path())
        .map(|path| (path.display().to_string(), fs::read(&path).expect("readable file")))
        .collect();
    seeds.sort();
    assert!(!seeds.is_empty(), "{name} has no corpus");
    for (path, bytes) in &seeds {
        say_if_it_fails(path, target, bytes);
    }
    for seed in 0..MUTATIONS {
        let mut numbers = Numbers(seed);
        let mut bytes = seeds[numbers.below(seeds.len())].1.clone();
        for _ in 0..=numbers.below(6) {
            mutate(&mut bytes, &mut numbers, &seeds);
        }
        say_if_it_fails(&format!("{name}, mutation {seed}"), target, &bytes);
    }
}

fn say_if_it_fails(what: &str, target: Target, bytes: &[u8]) {
    if let Err(panic) = catch_unwind(|| target(bytes)) {
        println!("{what} failed: {}", bytes.escape_ascii());
        resume_unwind(panic);
    }
}

#[test]
fn every_target_is_a_program_and_every_corpus_has_a_target() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let names = |folder: &str| {
        let entries = fs::read_dir(fuzz.join(folder)).expect("readable directory");
        let path = |entry: std::io::Result<fs::DirEntry>| entry.expect("readable directory").path();
        let mut names: Vec<String> =
            entries.map(path).filter_map(|path| path.file_stem()?.to_str().map(str::to_owned)).collect();
        names.sort();
        names
    };
    let mut targets: Vec<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    targets.sort();
    assert_eq!(names("fuzz_targets"), targets);
    assert_eq!(names("corpus"), targets);
}

fn mutate(bytes: &mut Vec<u8>, numbers: &mut Numbers, seeds: &[(String, Vec<u8>)]) {
    let at = numbers.below(bytes.len() + 1);
    match numbers.below(6) {
        0 => bytes.truncate(at),
        1 => bytes.insert(at, numbers.next() as u8),
        2 if at < bytes.len() => bytes[at] ^= 1 << numbers.below(8),
        3 if at < bytes.len() => bytes[at] = *numbers.pick(b"{}[]\",:\\0-.eEnN\x00\xff "),
        4 => {
            let other = &numbers.pick(seeds).1;
            let from = numbers.below(other.len() + 1);
            bytes.splice(at..at, other[from..].iter().copied().take(64));
        }
        _ => {
            let end = (at + numbers.below(9)).min(bytes.len());
            bytes.drain(at..end);
        }
    }
}

/// SplitMix64.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z ^ (z >> 29)
    }
    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
    fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }
}
