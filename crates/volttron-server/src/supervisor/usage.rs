//! What agents' processes use of the machine, read when somebody asks.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::view::Usage;
use crate::processes::{self, Family};

/// Processor time comes in steps of 10 ms; over a shorter time than this it says nothing.
const SHORTEST_WINDOW: Duration = Duration::from_secs(1);

/// Remembers what was read last, to tell how busy an agent has been since.
#[derive(Debug, Default)]
pub(super) struct Meter(Mutex<BTreeMap<u32, Sample>>);

#[derive(Clone, Copy, Debug)]
struct Sample {
    start_ticks: u64,
    at: Instant,
    cpu_s: f64,
    percent: f64,
    window_s: f64,
}

impl Meter {
    /// What these processes and all they started use now.
    pub(super) fn read(&self, running: &BTreeMap<String, u32>) -> BTreeMap<String, Usage> {
        let families = processes::families(&running.values().copied().collect());
        let now = Instant::now();
        let mut samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        samples.retain(|pid, _| families.contains_key(pid));
        let mut users = BTreeMap::new();
        let mut usages = BTreeMap::new();
        for (uuid, &pid) in running {
            let Some(&family) = families.get(&pid) else { continue };
            let sample = next(samples.get(&pid).copied(), family, now, processes::age_s(family.start_ticks));
            samples.insert(pid, sample);
            let uid = fs::metadata(format!("/proc/{pid}")).map_or(0, |m| m.uid());
            let user = users.entry(uid).or_insert_with(|| user_name(uid)).clone();
            let usage =
                Usage { pid, user, family, cpu_percent: sample.percent, cpu_window_s: sample.window_s };
            usages.insert(uuid.clone(), usage);
        }
        usages
    }
}

fn next(last: Option<Sample>, family: Family, now: Instant, age_s: f64) -> Sample {
    let start_ticks = family.start_ticks;
    let last = last.filter(|last| last.start_ticks == start_ticks);
    let (used_s, window_s) = match last {
        Some(last) if now.duration_since(last.at) < SHORTEST_WINDOW => return last,
        // A process that ended unseen takes its processor time with it.
        Some(last) => ((family.cpu_s - last.cpu_s).max(0.0), now.duration_since(last.at).as_secs_f64()),
        None => (family.cpu_s, age_s),
    };
    let percent = if window_s > 0.0 { 100.0 * used_s / window_s } else { 0.0 };
    Sample { start_ticks, at: now, cpu_s: family.cpu_s, percent, window_s }
}

/// As the system's list has it, else the number.
pub(crate) fn user_name(uid: u32) -> String {
    let listed = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = listed.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    });
    name.unwrap_or_else(|| uid.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busyness_is_since_the_last_look_or_the_start() {
        let family = |cpu_s, start_ticks| Family { cpu_s, start_ticks, ..Family::default() };
        let t = Instant::now();
        let first = next(None, family(1.0, 5), t, 4.0);
        assert_eq!((first.percent, first.window_s), (25.0, 4.0));
        let soon = next(Some(first), family(1.1, 5), t + Duration::from_millis(10), 4.0);
        assert_eq!((soon.percent, soon.cpu_s), (25.0, 1.0), "too soon to tell anything new");
        let later = next(Some(soon), family(2.0, 5), t + Duration::from_secs(2), 6.0);
        assert_eq!((later.percent, later.window_s), (50.0, 2.0));
        let shrunk = next(Some(later), family(0.5, 5), t + Duration::from_secs(4), 8.0);
        assert!(shrunk.percent.abs() < 1e-9);
        let other = next(Some(later), family(0.5, 6), t + Duration::from_secs(4), 1.0);
        assert!((other.percent - 50.0).abs() < 1e-9, "another process with the same id");
        assert_eq!(user_name(0), "root");
        assert_eq!(user_name(u32::MAX - 7), (u32::MAX - 7).to_string());
    }

    #[test]
    fn this_process_uses_something() {
        let running = BTreeMap::from([("u".to_owned(), std::process::id())]);
        let usage = &Meter::default().read(&running)["u"];
        assert!(usage.family.memory_bytes > 0 && usage.family.processes > 0 && !usage.user.is_empty());
    }
}
