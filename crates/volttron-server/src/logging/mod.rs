//! The platform's log: lines of lifecycle.md section 8, from the platform itself (through `tracing`) and from its
//! agents (through [`agent_line`]), which have files of their own as well ([`agent_files`]).
//!
//! Writing happens on one thread behind a bounded queue. Nothing that logs ever waits: when the queue is full, as
//! happens when stderr is a pipe that nobody reads, lines are dropped and counted ([`Log::dropped`]).

pub mod agent_files;
mod layer;
mod levels;
mod writer;

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tracing_subscriber::layer::SubscriberExt;
use volttron_utils::files;
use volttron_utils::home::Home;

use crate::options::LogTarget;
pub use levels::Levels;

/// Most lines that wait for the writer.
const QUEUE_LINES: usize = 4096;

static LOG: OnceLock<Log> = OnceLock::new();

enum Command {
    Line(String),
    Flush(SyncSender<()>),
}

/// The log of this process. Cheap to clone.
#[derive(Clone)]
pub struct Log {
    queue: SyncSender<Command>,
    dropped: Arc<AtomicU64>,
    levels: Arc<Levels>,
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log").field("dropped", &self.dropped()).finish_non_exhaustive()
    }
}

impl Log {
    /// Opens the target and starts the writer; does not touch `tracing`.
    fn open(target: &LogTarget, levels: Levels) -> io::Result<Self> {
        let sink = writer::Sink::open(target)?;
        let (queue, lines) = sync_channel(QUEUE_LINES);
        let dropped = Arc::new(AtomicU64::new(0));
        let log = Self { queue, dropped: dropped.clone(), levels: Arc::new(levels) };
        std::thread::Builder::new()
            .name("log".to_owned())
            .stack_size(128 * 1024)
            .spawn(move || writer::run(sink, &lines, &dropped))?;
        Ok(log)
    }

    /// Adds a line if its logger's level lets it through.
    fn submit(&self, logger: &str, number: i64, line: impl FnOnce() -> String) {
        if !self.levels.allow(logger, number) {
            return;
        }
        if let Err(TrySendError::Full(_)) = self.queue.try_send(Command::Line(line())) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Lines lost so far because the target did not take them.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Waits until everything logged so far is written, at most `limit`.
    pub fn flush(&self, limit: Duration) {
        let (done, wait) = sync_channel(1);
        if self.queue.try_send(Command::Flush(done)).is_ok() {
            let _ = wait.recv_timeout(limit);
        }
    }
}

/// Sets up logging for this process: the target, the levels, `tracing`, and panics. Only the first call counts.
pub fn init(target: &LogTarget, levels: Levels) -> io::Result<Log> {
    let log = Log::open(target, levels)?;
    let subscriber = tracing_subscriber::registry().with(layer::Lines::new(log.clone()));
    if tracing::subscriber::set_global_default(subscriber).is_ok() {
        let _ = LOG.set(log.clone());
        std::panic::set_hook(Box::new(|panic| {
            let place =
                panic.location().map_or_else(String::new, |l| format!(" at {}:{}", l.file(), l.line()));
            tracing::error!("panic{place}: {}", panic_text(panic.payload()));
        }));
    }
    Ok(log)
}

fn panic_text(payload: &(dyn std::any::Any + Send)) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(no text)")
}

/// Writes a line of an agent if its logger's level lets it through.
pub fn agent_line(logger: &str, number: i64, line: impl FnOnce() -> String) {
    if let Some(log) = LOG.get() {
        log.submit(logger, number, line);
    }
}

/// Whether [`agent_line`] would write it.
pub fn shows(logger: &str, number: i64) -> bool {
    LOG.get().is_some_and(|log| log.levels.allow(logger, number))
}

/// Leaves a link in the home to where the platform logs, for who looks for it later; takes one away that holds no more.
pub fn leave_link(home: &Home, target: &LogTarget) -> io::Result<()> {
    let link = home.platform_log();
    let LogTarget::File(path) = target else {
        return if link.is_symlink() { files::remove(&link) } else { Ok(()) };
    };
    if std::fs::read_link(&link).is_ok_and(|now| now == *path) {
        return Ok(());
    }
    files::create_dir(&home.logs(), 0o700)?;
    files::remove(&link)?;
    std::os::unix::fs::symlink(path, &link)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn lines_reach_the_file_and_follow_a_rename() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("v.log");
        let log = Log::open(&LogTarget::File(path.clone()), Levels::new(20, &[])).unwrap();
        log.submit("a", 20, || "one".to_owned());
        log.submit("a", 10, || "too quiet".to_owned());
        log.flush(Duration::from_secs(10));
        fs::rename(&path, dir.path().join("v.log.1")).unwrap();
        log.submit("a", 20, || "two".to_owned());
        log.flush(Duration::from_secs(10));
        assert_eq!(fs::read_to_string(dir.path().join("v.log.1")).unwrap(), "one\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "two\n");
    }

    #[test]
    fn a_full_queue_drops_and_counts() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR)
            .unwrap();
        // Opened for reading and writing, so that the writer's open succeeds; never read.
        let keep = fs::OpenOptions::new().read(true).write(true).open(&fifo).unwrap();
        let log = Log::open(&LogTarget::File(fifo), Levels::new(10, &[])).unwrap();
        // More than pipe and queue together hold: returns although nobody reads.
        for _ in 0..QUEUE_LINES * 2 {
            log.submit("a", 20, || "x".repeat(200));
        }
        assert!(log.dropped() > 0);
        drop(keep);
    }

    #[test]
    fn an_unwritable_target_is_an_error() {
        assert!(Log::open(&LogTarget::File("/no/such/dir/x.log".into()), Levels::new(30, &[])).is_err());
    }
}
