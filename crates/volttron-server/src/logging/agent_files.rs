//! A log file for each agent, `logs/<identity>.log` in the home, next to the platform's own log.
//!
//! Written by one thread behind a queue that is bounded in lines and bytes. Nobody ever waits for it: when the queue is
//! full, or the disk is, lines are dropped and counted ([`AgentFiles::lost`]), and one warning says so. How files are put
//! aside is the matter of [`rotation`](super::rotation).

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use jiff::Timestamp;
use volttron_utils::home::Home;

use super::STACK_BYTES;
use super::rotation::{RotatingFile, Rotation, When, files_of, not_put_aside};

/// Most lines, and most bytes of them, that wait for the writer.
const QUEUE_LINES: usize = 4096;
const QUEUE_BYTES: usize = 8 << 20;

/// How much is kept of what an agent writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A file that would become larger is put aside, in bytes.
    pub max_bytes: u64,
    /// Files per agent, the current one included.
    pub files: u32,
}

impl Limits {
    fn rotation(self) -> Rotation {
        Rotation { when: When::Size(self.max_bytes), keep: self.files.saturating_sub(1) }
    }
}

/// Lines that are in no file, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// They came faster than they could be written.
    pub queue_full: u64,
    /// The file could not be written.
    pub write_failed: u64,
}

#[derive(Debug, Default)]
struct Counters {
    queue_full: AtomicU64,
    write_failed: AtomicU64,
    queued_bytes: AtomicUsize,
}

enum Command {
    Line(Arc<str>, String),
    Remove(String, SyncSender<()>),
    Flush(SyncSender<()>),
}

/// The log files of all agents. Cheap to clone; the thread ends with the last clone.
#[derive(Clone, Debug)]
pub struct AgentFiles {
    queue: SyncSender<Command>,
    counters: Arc<Counters>,
}

impl AgentFiles {
    /// Starts the writer. Makes no file before there is a line for it.
    pub fn start(home: &Home, limits: Limits) -> io::Result<Self> {
        let (queue, commands) = sync_channel(QUEUE_LINES);
        let counters = Arc::new(Counters::default());
        let mut writer =
            Writer { home: home.clone(), limits, counters: counters.clone(), open: BTreeMap::new(), told: 0 };
        std::thread::Builder::new()
            .name("agent-logs".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || writer.run(&commands))?;
        Ok(Self { queue, counters })
    }

    /// Adds a line, which may have several if they belong together.
    pub fn write(&self, identity: &Arc<str>, line: String) {
        let bytes = line.len();
        let room = self.counters.queued_bytes.fetch_add(bytes, Relaxed) < QUEUE_BYTES;
        if !room || self.queue.try_send(Command::Line(identity.clone(), line)).is_err() {
            self.counters.queued_bytes.fetch_sub(bytes, Relaxed);
            self.counters.queue_full.fetch_add(1, Relaxed);
        }
    }

    /// Removes an agent's files, those put aside included. Waits for it, at most `limit`.
    pub fn remove(&self, identity: &str, limit: Duration) {
        self.ask(|done| Command::Remove(identity.to_owned(), done), limit);
    }

    /// Waits until everything so far is written, at most `limit`.
    pub fn flush(&self, limit: Duration) {
        self.ask(Command::Flush, limit);
    }

    fn ask(&self, command: impl FnOnce(SyncSender<()>) -> Command, limit: Duration) {
        let (done, wait) = sync_channel(1);
        if self.queue.try_send(command(done)).is_ok() {
            let _ = wait.recv_timeout(limit);
        }
    }

    /// Lines that are in no file.
    pub fn lost(&self) -> Lost {
        Lost {
            queue_full: self.counters.queue_full.load(Relaxed),
            write_failed: self.counters.write_failed.load(Relaxed),
        }
    }
}

struct Writer {
    home: Home,
    limits: Limits,
    counters: Arc<Counters>,
    open: BTreeMap<Arc<str>, RotatingFile>,
    /// Lines lost to a full queue that were told of.
    told: u64,
}

impl Writer {
    fn run(&mut self, commands: &Receiver<Command>) {
        while let Ok(command) = commands.recv() {
            match command {
                Command::Line(identity, mut line) => {
                    self.counters.queued_bytes.fetch_sub(line.len(), Relaxed);
                    line.push('\n');
                    self.line(&identity, &line);
                }
                Command::Remove(identity, done) => {
                    self.open.remove(identity.as_str());
                    self.remove(&identity);
                    let _ = done.try_send(());
                }
                Command::Flush(done) => {
                    let _ = done.try_send(());
                }
            }
            let lost = self.counters.queue_full.load(Relaxed);
            if self.told == 0 && lost > 0 {
                tracing::warn!(
                    "agents write faster than their log files take it: lines are lost there (counted in the metrics)"
                );
            }
            self.told = lost;
        }
    }

    fn remove(&self, identity: &str) {
        for path in files_of(&self.home.agent_log(identity)) {
            if let Err(error) = fs::remove_file(&path) {
                tracing::warn!("cannot remove {}: {error}", path.display());
            }
        }
    }

    fn line(&mut self, identity: &Arc<str>, line: &str) {
        let (home, rotation) = (&self.home, self.limits.rotation());
        let file = self.open.entry(identity.clone()).or_insert_with(|| {
            RotatingFile::new(home.agent_log(identity), rotation).with_modes(0o600, 0o700)
        });
        let (now, was_broken) = (Timestamp::now(), file.is_broken());
        if let Some(error) = file.make_room(line.len() as u64, now) {
            tracing::warn!("{}", not_put_aside(file.path(), &error));
        }
        if let Err(error) = file.write(line.as_bytes(), now) {
            self.counters.write_failed.fetch_add(1, Relaxed);
            if !was_broken {
                tracing::warn!(
                    "{} cannot be written: {error}; lines of {identity} are lost there until it can (counted in the \
                     metrics)",
                    file.path().display()
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    fn files(max_bytes: u64, files: u32) -> (tempfile::TempDir, Home, AgentFiles) {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path()).unwrap();
        let files = AgentFiles::start(&home, Limits { max_bytes, files }).unwrap();
        (dir, home, files)
    }

    #[test]
    fn files_are_put_aside_by_size_and_the_oldest_go() {
        let (_dir, home, files) = files(20, 3);
        let a: Arc<str> = "a".into();
        for n in 0..9 {
            files.write(&a, format!("line {n:04}"));
        }
        files.flush(LIMIT);
        let text = |path: &Path| fs::read_to_string(path).unwrap();
        let path = home.agent_log("a");
        let all = files_of(&path);
        assert_eq!(
            all.iter().map(|p| text(p)).collect::<Vec<_>>(),
            ["line 0008\n", "line 0006\nline 0007\n", "line 0004\nline 0005\n"]
        );
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(home.logs()).unwrap().permissions().mode() & 0o777, 0o700);
        // One that somebody deleted is made again.
        fs::remove_file(&path).unwrap();
        files.write(&a, "again".to_owned());
        files.flush(LIMIT);
        assert_eq!(text(&path), "again\n");
        files.remove("a", LIMIT);
        assert!(files_of(&path).is_empty());
        assert_eq!(fs::read_dir(home.logs()).unwrap().count(), 0);
        assert_eq!(files.lost(), Lost::default());
    }

    #[test]
    fn a_file_that_cannot_be_written_costs_lines_and_nothing_else() {
        let (_dir, home, files) = files(1000, 3);
        fs::create_dir_all(home.agent_log("a")).unwrap();
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        for _ in 0..3 {
            files.write(&a, "lost".to_owned());
            files.write(&b, "kept".to_owned());
        }
        files.flush(LIMIT);
        assert_eq!(files.lost(), Lost { queue_full: 0, write_failed: 3 });
        assert_eq!(fs::read_to_string(home.agent_log("b")).unwrap(), "kept\nkept\nkept\n");
        fs::remove_dir(home.agent_log("a")).unwrap();
        files.write(&a, "back".to_owned());
        files.flush(LIMIT);
        assert_eq!(fs::read_to_string(home.agent_log("a")).unwrap(), "back\n");
    }

    #[test]
    fn a_disk_that_hangs_costs_lines_and_nothing_else() {
        let (_dir, home, files) = files(1000, 3);
        fs::create_dir_all(home.logs()).unwrap();
        // Opening a fifo for writing waits for a reader.
        let fifo = home.agent_log("a");
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR)
            .unwrap();
        let a: Arc<str> = "a".into();
        for _ in 0..2 * QUEUE_LINES {
            files.write(&a, "x".repeat(QUEUE_BYTES / 100));
        }
        let lost = files.lost().queue_full;
        assert!(lost >= (2 * QUEUE_LINES - 102) as u64, "{lost}");
        drop(fs::File::open(&fifo).unwrap());
    }
}
