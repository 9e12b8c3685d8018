//! The platform's log: lines of lifecycle.md section 8, from the platform itself (through `tracing`) and from its
//! agents (through [`agent_line`]), which have files of their own as well ([`agent_files`]).
//!
//! Writing happens on one thread for each outlet, behind a bounded queue. Nothing that logs ever waits: when the queue
//! is full, as happens when stderr is a pipe that nobody reads, lines are dropped and counted ([`Log::dropped`]).
//!
//! [`Setup`] says what goes where; [`config`] makes one from a configuration file of Python's `logging`.

pub mod agent_files;
pub mod config;
mod format;
mod layer;
mod levels;
pub mod rotation;
mod tail;
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
use format::Format;
use rotation::Rotation;

pub use levels::Levels;
pub(crate) use tail::tail;

/// Most lines that wait for the writer of an outlet.
const QUEUE_LINES: usize = 4096;

/// Of a thread that writes; reading the time zone takes some of it.
const STACK_BYTES: usize = 512 * 1024;

static LOG: OnceLock<Log> = OnceLock::new();

enum Command {
    Line(String),
    Flush(SyncSender<()>),
}

/// What goes where.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Which loggers say how much.
    pub levels: Levels,
    /// Where lines can go.
    pub handlers: Vec<Handler>,
    /// Which of them take what.
    pub routes: Routes,
}

/// Which handlers take what.
#[derive(Clone, Debug)]
pub struct Routes {
    /// Those that take what every logger says.
    root: Vec<usize>,
    /// Those of single loggers; the longest names first.
    loggers: Vec<Route>,
}

impl Routes {
    /// Routes of everything, and those of single loggers.
    pub fn new(root: Vec<usize>, mut loggers: Vec<Route>) -> Self {
        loggers.sort_by_key(|route| std::cmp::Reverse(route.name.len()));
        Self { root, loggers }
    }

    /// The handlers that get what this logger says.
    pub fn of(&self, logger: &str) -> impl Iterator<Item = usize> {
        let own = || self.loggers.iter().filter(move |route| levels::covers(&route.name, logger));
        let reached = own().scan(true, |passes, route| {
            let here = passes.then_some(&route.handlers);
            *passes &= route.propagate;
            here
        });
        let root = own().all(|route| route.propagate).then_some(&self.root);
        reached.chain(root).flatten().copied()
    }
}

/// A place where lines go.
#[derive(Clone, Debug)]
pub struct Handler {
    /// The place.
    pub target: LogTarget,
    /// What becomes of a file.
    pub rotation: Rotation,
    /// The file shall be empty at the start.
    pub(crate) begin_empty: bool,
    /// The lowest level number it takes.
    pub level: i64,
    /// What its lines look like.
    pub(crate) format: Format,
}

/// Where what a logger, and all below it, say goes besides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The dotted name.
    pub name: String,
    /// Handlers.
    pub handlers: Vec<usize>,
    /// Handlers of less specific loggers take it as well.
    pub propagate: bool,
}

impl Setup {
    /// Everything to one place, as the platform writes it.
    pub fn simple(target: LogTarget, rotation: Rotation, levels: Levels) -> Self {
        Self {
            levels,
            handlers: vec![Handler::plain(target, rotation)],
            routes: Routes::new(vec![0], Vec::new()),
        }
    }

    /// The place to look for the log: the first file that takes everything, otherwise the first place that does.
    pub fn target(&self) -> LogTarget {
        let targets = || self.routes.root.iter().filter_map(|at| self.handlers.get(*at)).map(|h| &h.target);
        let file = targets().find(|target| matches!(target, LogTarget::File(_)));
        file.or_else(|| targets().next()).cloned().unwrap_or(LogTarget::Nowhere)
    }
}

impl Handler {
    /// Takes everything, as the platform writes it.
    pub fn plain(target: LogTarget, rotation: Rotation) -> Self {
        Self { target, rotation, begin_empty: false, level: 0, format: Format::Platform }
    }
}

/// The log of this process. Cheap to clone.
#[derive(Clone)]
pub struct Log(Arc<Outlets>);

struct Outlets {
    levels: Levels,
    all: Vec<Outlet>,
    routes: Routes,
}

struct Outlet {
    level: i64,
    format: Arc<Format>,
    queue: SyncSender<Command>,
    dropped: Arc<AtomicU64>,
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log").field("dropped", &self.dropped()).finish_non_exhaustive()
    }
}

impl Outlet {
    /// Opens the target and starts the writer.
    fn open(handler: &Handler) -> Result<Self, LogError> {
        let failed = |source| LogError { target: handler.target.clone(), source };
        let sink = writer::Sink::open(handler).map_err(failed)?;
        let (queue, lines) = sync_channel(QUEUE_LINES);
        let dropped = Arc::new(AtomicU64::new(0));
        let format = Arc::new(handler.format.clone());
        let outlet = Self { level: handler.level, format: format.clone(), queue, dropped: dropped.clone() };
        std::thread::Builder::new()
            .name("log".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || writer::run(sink, &format, &lines, &dropped))
            .map_err(failed)?;
        Ok(outlet)
    }

    fn submit(&self, line: String) {
        if let Err(TrySendError::Full(_)) = self.queue.try_send(Command::Line(line)) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Log {
    /// Opens the targets and starts the writers; does not touch `tracing`.
    fn open(setup: Setup) -> Result<Self, LogError> {
        let Setup { levels, handlers, routes } = setup;
        let all = handlers.iter().map(Outlet::open).collect::<Result<_, _>>()?;
        Ok(Self(Arc::new(Outlets { levels, all, routes })))
    }

    /// Adds a line if its logger's level lets it through, wherever it has to go.
    fn submit(&self, logger: &str, number: i64, line: impl Fn(&Format) -> String) {
        if !self.0.levels.allow(logger, number) {
            return;
        }
        for outlet in self.0.routes.of(logger).filter_map(|at| self.0.all.get(at)) {
            if number >= outlet.level {
                outlet.submit(line(&outlet.format));
            }
        }
    }

    /// Lines lost so far because a target did not take them.
    pub fn dropped(&self) -> u64 {
        self.0.all.iter().map(|outlet| outlet.dropped.load(Ordering::Relaxed)).sum()
    }

    /// Waits until everything logged so far is written, at most `limit` for each place.
    pub fn flush(&self, limit: Duration) {
        for outlet in &self.0.all {
            let (done, wait) = sync_channel(1);
            if outlet.queue.try_send(Command::Flush(done)).is_ok() {
                let _ = wait.recv_timeout(limit);
            }
        }
    }
}

/// The log cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the log to {target}: {source}")]
pub struct LogError {
    /// The place.
    pub target: LogTarget,
    /// What the system said.
    pub source: io::Error,
}

/// Sets up logging for this process: the targets, the levels, `tracing`, and panics. Only the first call counts.
pub fn init(setup: Setup) -> Result<Log, LogError> {
    let log = Log::open(setup)?;
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
pub(crate) fn agent_line(logger: &str, number: i64, line: impl Fn(&Format) -> String) {
    if let Some(log) = LOG.get() {
        log.submit(logger, number, line);
    }
}

/// Whether [`agent_line`] would write it.
pub fn shows(logger: &str, number: i64) -> bool {
    LOG.get().is_some_and(|log| log.0.levels.allow(logger, number))
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

    fn open(target: LogTarget, levels: Levels) -> Result<Log, LogError> {
        Log::open(Setup::simple(target, Rotation::default(), levels))
    }

    fn submit(log: &Log, logger: &str, number: i64, line: &str) {
        log.submit(logger, number, |_| line.to_owned());
    }

    #[test]
    fn lines_reach_the_file_and_follow_a_rename() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("v.log");
        let log = open(LogTarget::File(path.clone()), Levels::new(20, &[])).unwrap();
        submit(&log, "a", 20, "one");
        submit(&log, "a", 10, "too quiet");
        log.flush(Duration::from_secs(10));
        fs::rename(&path, dir.path().join("v.log.1")).unwrap();
        submit(&log, "a", 20, "two");
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
        let log = open(LogTarget::File(fifo), Levels::new(10, &[])).unwrap();
        // More than pipe and queue together hold: returns although nobody reads.
        for _ in 0..QUEUE_LINES * 2 {
            submit(&log, "a", 20, &"x".repeat(200));
        }
        assert!(log.dropped() > 0);
        drop(keep);
    }

    #[test]
    fn an_unwritable_target_is_an_error() {
        assert!(open(LogTarget::File("/no/such/dir/x.log".into()), Levels::new(30, &[])).is_err());
    }

    #[test]
    fn records_go_where_their_loggers_have_handlers() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let handler = |name: &str, level| Handler {
            level,
            ..Handler::plain(LogTarget::File(path(name)), Rotation::default())
        };
        let route =
            |name: &str, at, propagate| Route { name: name.to_owned(), handlers: vec![at], propagate };
        let setup = Setup {
            levels: Levels::new(20, &[("a.b".to_owned(), 10)]),
            handlers: vec![handler("root", 30), handler("a", 0), handler("own", 0)],
            routes: Routes::new(vec![0], vec![route("a", 1, true), route("a.own", 2, false)]),
        };
        let log = Log::open(setup).unwrap();
        for (logger, number) in
            [("x", 20), ("x", 30), ("a", 10), ("a", 30), ("a.b.c", 10), ("a.own", 50), ("ab", 50)]
        {
            submit(&log, logger, number, &format!("{logger} {number}"));
        }
        log.flush(Duration::from_secs(10));
        let text = |name: &str| fs::read_to_string(path(name)).unwrap();
        assert_eq!(text("root"), "x 30\na 30\nab 50\n");
        assert_eq!(text("a"), "a 30\na.b.c 10\n");
        assert_eq!(text("own"), "a.own 50\n");
    }

    #[test]
    fn a_file_is_put_aside_between_entries() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("v.log");
        let rotation = Rotation { when: rotation::When::Size(16), keep: 2 };
        let target = LogTarget::File(path.clone());
        let log = Log::open(Setup::simple(target, rotation, Levels::new(20, &[]))).unwrap();
        for line in ["first", "second\n  and more", "third", "fourth", "fifth"] {
            submit(&log, "a", 20, line);
        }
        log.flush(Duration::from_secs(10));
        let texts = rotation::files_of(&path).into_iter().map(|p| fs::read_to_string(p).unwrap());
        assert_eq!(texts.collect::<Vec<_>>(), ["fifth\n", "third\nfourth\n", "second\n  and more\n"]);
    }

    #[test]
    fn a_file_that_cannot_be_put_aside_says_so_in_itself() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("v.log");
        fs::create_dir_all(rotation::numbered(&path, 1).join("x")).unwrap();
        let rotation = Rotation { when: rotation::When::Size(4), keep: 1 };
        let target = LogTarget::File(path.clone());
        let log = Log::open(Setup::simple(target, rotation, Levels::new(20, &[]))).unwrap();
        for line in ["first", "second", "third"] {
            submit(&log, "a", 20, line);
        }
        log.flush(Duration::from_secs(10));
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines[0], &lines[2..]), ("first", &["second", "third"][..]), "{text}");
        assert!(lines[1].contains(" ERROR: the log ") && lines[1].contains("cannot be put aside"), "{text}");
    }
}
