//! The audit log: who was let in or refused, and who changed the rules, one JSON object per line, appended to
//! `audit.log` in the home.
//!
//! Records are taken from any thread without waiting and written by one of its own, which syncs the file after each
//! batch. The same refusal repeated is counted and written once a minute, so that a hammering stranger cannot fill
//! the disk. What the queue cannot take is counted and reported in the next line. Must never decide anything, and
//! never contain a secret.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use volttron_utils::time::format_timestamp;

use super::entry::{Entry, Mechanism};
use super::file::{AuthFile, List};

/// Records waiting to be written. Refusals beyond it are counted; grants wait for room.
const QUEUE: usize = 1024;
/// How long repetitions of a refusal are only counted.
const REPEAT: Duration = Duration::from_mins(1);
/// Different refusals whose repetitions are counted at once; beyond it the oldest counts are written and forgotten.
const REMEMBERED: usize = 1024;
/// The log is moved to `audit.log.1` (and that to `.2` and so on) beyond this size.
const MAX_BYTES: u64 = 16 * 1024 * 1024;
/// Former logs that are kept.
const KEPT: u32 = 4;

/// Where records go. Cheap to share; ends, with everything written, when dropped.
#[derive(Debug)]
pub struct AuditLog {
    queue: Option<SyncSender<Value>>,
    writer: Option<JoinHandle<()>>,
    repeated: Mutex<HashMap<String, Repeated>>,
    lost: AtomicU64,
}

#[derive(Debug)]
struct Repeated {
    since: Instant,
    record: Map<String, Value>,
    times: u64,
}

impl AuditLog {
    /// Appends to `path`, which is made readable by its owner only.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = Appending::open(path)?;
        let (queue, records) = sync_channel(QUEUE);
        let writer = std::thread::Builder::new().name("audit".into()).spawn(move || write(file, &records))?;
        Ok(Self {
            queue: Some(queue),
            writer: Some(writer),
            repeated: Mutex::default(),
            lost: AtomicU64::new(0),
        })
    }

    /// A log that keeps nothing, for a platform without rules.
    pub fn none() -> Self {
        Self { queue: None, writer: None, repeated: Mutex::default(), lost: AtomicU64::new(0) }
    }

    /// Records that something was granted or changed. Waits for room, so only for threads that may wait.
    pub fn grant(&self, event: &str, by: &str, facts: Value) {
        let Some(queue) = &self.queue else { return };
        // The writer lives as long as the sender.
        let _ = queue.send(record("grant", event, by, facts).into());
    }

    /// Records that somebody was let in, repetitions once a minute. Never waits.
    pub fn admission(&self, event: &str, by: &str, facts: Value) {
        self.counted(record("grant", event, by, facts), 1);
    }

    /// Records that something was refused, repetitions once a minute. Never waits.
    pub fn refusal(&self, event: &str, by: &str, facts: Value) {
        self.refusals(event, by, facts, 1);
    }

    /// As [`Self::refusal`], for something that was refused so many times.
    pub fn refusals(&self, event: &str, by: &str, facts: Value, times: u64) {
        self.counted(record("refusal", event, by, facts), times);
    }

    fn counted(&self, record: Map<String, Value>, times: u64) {
        if self.queue.is_none() || times == 0 {
            return;
        }
        let now = Instant::now();
        let mut repeated = self.repeated.lock().unwrap_or_else(PoisonError::into_inner);
        let due = |r: &Repeated| now.duration_since(r.since) >= REPEAT;
        if repeated.len() >= REMEMBERED || repeated.values().any(due) {
            let all = repeated.len() >= REMEMBERED;
            let mut done = Vec::new();
            repeated.retain(|_, r| {
                let keep = !all && !due(r);
                if !keep && r.times > 0 {
                    done.push(Value::Object(r.summary()));
                }
                keep
            });
            for summary in done {
                self.offer(summary);
            }
        }
        match repeated.entry(key(&record)) {
            std::collections::hash_map::Entry::Occupied(mut known) => known.get_mut().times += times,
            std::collections::hash_map::Entry::Vacant(new) => {
                self.offer(Value::Object(record.clone()));
                new.insert(Repeated { since: now, record, times: times - 1 });
            }
        }
    }

    fn offer(&self, record: Value) {
        let Some(queue) = &self.queue else { return };
        let lost = self.lost.swap(0, Ordering::Relaxed);
        if lost > 0 && queue.try_send(json!({"time": now(), "event": "records lost", "count": lost})).is_err()
        {
            self.lost.fetch_add(lost, Ordering::Relaxed);
        }
        if queue.try_send(record).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Records how `new` differs from `old`: entries, groups and roles.
    pub fn changed(&self, by: &str, old: &AuthFile, new: &AuthFile) {
        if self.queue.is_none() {
            return;
        }
        for (list, name) in [(List::Allow, "allow"), (List::Deny, "deny")] {
            let (before, after): (Vec<&Entry>, Vec<&Entry>) =
                (old.entries(list).collect(), new.entries(list).collect());
            let gone: Vec<&Entry> = before.iter().copied().filter(|e| !after.contains(e)).collect();
            let come: Vec<&Entry> = after.iter().copied().filter(|e| !before.contains(e)).collect();
            let same = |a: &Entry, b: &Entry| a.user_id == b.user_id;
            for entry in gone.iter().filter(|e| !come.iter().any(|c| same(e, c))) {
                self.grant(&format!("{name} entry removed"), by, shown(entry));
            }
            for entry in come {
                match gone.iter().find(|g| same(entry, g)) {
                    Some(was) => self.grant(&format!("{name} entry changed"), by, difference(was, entry)),
                    None => self.grant(&format!("{name} entry added"), by, shown(entry)),
                }
            }
        }
        for (what, before, after) in
            [("group", old.groups(), new.groups()), ("role", old.roles(), new.roles())]
        {
            for name in before.keys().filter(|name| !after.contains_key(*name)) {
                self.grant(&format!("{what} removed"), by, json!({"name": name}));
            }
            for (name, members) in after.iter().filter(|(name, members)| before.get(*name) != Some(members)) {
                self.grant(&format!("{what} set"), by, json!({"name": name, "members": members}));
            }
        }
    }
}

impl Drop for AuditLog {
    fn drop(&mut self) {
        let left: Vec<Value> = {
            let mut repeated = self.repeated.lock().unwrap_or_else(PoisonError::into_inner);
            repeated.drain().filter(|(_, r)| r.times > 0).map(|(_, r)| r.summary().into()).collect()
        };
        for summary in left {
            self.offer(summary);
        }
        self.queue = None;
        if let Some(writer) = self.writer.take() {
            // A panic in it was reported when it happened.
            let _ = writer.join();
        }
    }
}

impl Repeated {
    fn summary(&self) -> Map<String, Value> {
        let mut record = self.record.clone();
        record.insert("time".into(), now().into());
        record.insert("repeated".into(), self.times.into());
        record
    }
}

fn now() -> String {
    format_timestamp(jiff::Timestamp::now())
}

fn record(kind: &str, event: &str, by: &str, facts: Value) -> Map<String, Value> {
    let mut record = Map::new();
    record.insert("time".into(), now().into());
    record.insert("kind".into(), kind.into());
    record.insert("event".into(), event.into());
    record.insert("by".into(), by.into());
    match facts {
        Value::Object(facts) => record.extend(facts.into_iter().filter(|(k, _)| k != "time")),
        Value::Null => {}
        other => drop(record.insert("about".into(), other)),
    }
    record
}

/// An entry without passwords.
fn shown(entry: &Entry) -> Value {
    let mut value = entry.to_value();
    if entry.mechanism == Mechanism::Plain {
        value["credentials"] = "(a password)".into();
    }
    value
}

/// The fields that differ, before and after.
fn difference(was: &Entry, is: &Entry) -> Value {
    let (was, is) = (shown(was), shown(is));
    let fields = |of: &Value, other: &Value| -> Map<String, Value> {
        let all = of.as_object().into_iter().flatten();
        all.filter(|(k, v)| other.get(k.as_str()) != Some(*v)).map(|(k, v)| (k.clone(), v.clone())).collect()
    };
    json!({"user_id": is["user_id"], "identity": is["identity"], "before": fields(&was, &is), "after": fields(&is, &was)})
}

/// What makes two refusals the same: all but the time.
fn key(record: &Map<String, Value>) -> String {
    let mut key = String::new();
    for (_, value) in record.iter().filter(|(name, _)| *name != "time") {
        let _ = writeln!(key, "{value}");
    }
    key
}

/// The file, with its size.
struct Appending {
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl Appending {
    fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, bytes })
    }

    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.bytes > 0 && self.bytes + lines.len() as u64 > MAX_BYTES {
            self.turn_over()?;
        }
        self.file.write_all(lines)?;
        self.bytes += lines.len() as u64;
        self.file.sync_data()
    }

    fn turn_over(&mut self) -> io::Result<()> {
        let former = |n: u32| self.path.with_extension(format!("log.{n}"));
        for n in (1..KEPT).rev() {
            // Fewer former ones is no error.
            let _ = std::fs::rename(former(n), former(n + 1));
        }
        std::fs::rename(&self.path, former(1))?;
        *self = Self::open(&self.path)?;
        Ok(())
    }
}

fn write(mut file: Appending, records: &Receiver<Value>) {
    while let Ok(first) = records.recv() {
        let mut lines = Vec::new();
        for record in std::iter::once(first).chain(records.try_iter().take(QUEUE)) {
            lines.extend_from_slice(record.to_string().as_bytes());
            lines.push(b'\n');
        }
        if let Err(error) = file.append(&lines) {
            // The decisions stand; that they are not on record has to be seen somewhere.
            tracing::error!("cannot write the audit log {}: {error}", file.path.display());
            tracing::warn!("not in the audit log: {}", String::from_utf8_lossy(&lines));
        }
    }
}

#[cfg(test)]
#[path = "audit_tests.rs"]
mod tests;
