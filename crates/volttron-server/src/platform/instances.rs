//! `~/.volttron_instances`: which homes of this user have a running platform (home.md section 6). For people and
//! tools; a platform never fails because of it.

use std::path::PathBuf;
use std::time::{Duration, Instant};
use std::{env, fs, io, thread};

use serde_json::{Map, Value, json};
use volttron_utils::files::{self, FileLock};
use volttron_utils::json as py;

use super::VERSION;
use crate::options::Options;

/// How long another platform that writes the file is waited for.
const PATIENCE: Duration = Duration::from_millis(500);

/// Adds or replaces the record of this platform.
pub(super) fn record(options: &Options) {
    let addresses: Vec<String> =
        options.vip_addresses.iter().map(volttron_utils::address::Address::base).collect();
    let home = options.home.path().display().to_string();
    let root = env::var("VOLTTRON_ROOT").unwrap_or_default();
    let entry = json!({
        "pid": std::process::id(),
        "version": VERSION,
        "vip-address": addresses,
        "volttron-home": home,
        "volttron-root": root,
        "start-args": options.start_args,
    });
    report(update(|instances| {
        instances.insert(home, entry);
        true
    }));
}

/// Removes the record of this platform, unless a successor has replaced it.
pub(super) fn forget(options: &Options) {
    let home = options.home.path().display().to_string();
    report(update(|instances| {
        let ours = instances.get(&home).is_some_and(|entry| entry["pid"] == std::process::id());
        ours && instances.shift_remove(&home).is_some()
    }));
}

fn report(outcome: io::Result<()>) {
    if let Err(error) = outcome {
        tracing::warn!("~/.volttron_instances is not up to date: {error}");
    }
}

fn update(change: impl FnOnce(&mut Map<String, Value>) -> bool) -> io::Result<()> {
    let Some(home) = env::var_os("HOME").filter(|h| !h.is_empty()).map(PathBuf::from) else { return Ok(()) };
    let path = home.join(".volttron_instances");
    let _lock = lock(&home.join(".volttron_instances.lock"))?;
    let mut instances = match fs::read(&path) {
        Ok(bytes) => py::from_slice(&bytes).unwrap_or_else(|error| {
            tracing::warn!("{} was damaged and starts anew: {error}", path.display());
            Map::new()
        }),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Map::new(),
        Err(e) => return Err(e),
    };
    if !change(&mut instances) {
        return Ok(());
    }
    let text = py::to_indent(&instances, 2).map_err(io::Error::other)?;
    files::write_atomic(&path, text.as_bytes(), 0o644)
}

fn lock(path: &std::path::Path) -> io::Result<FileLock> {
    let began = Instant::now();
    loop {
        if let Some(lock) = FileLock::try_acquire(path)? {
            return Ok(lock);
        }
        if began.elapsed() > PATIENCE {
            return Err(io::Error::new(io::ErrorKind::WouldBlock, "another platform holds its lock"));
        }
        thread::sleep(Duration::from_millis(10));
    }
}
