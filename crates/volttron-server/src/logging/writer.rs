//! The thread that writes one outlet of the log.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender};

use jiff::Timestamp;
use volttron_utils::logging::{Level, Source};

use super::format::Format;
use super::rotation::{RotatingFile, not_put_aside};
use super::{Command, Handler};
use crate::options::LogTarget;

/// Most lines written with one system call.
const BATCH_LINES: usize = 256;

pub(super) enum Sink {
    Stdout,
    Stderr,
    Nowhere,
    File(RotatingFile),
}

impl Sink {
    pub(super) fn open(handler: &Handler) -> io::Result<Self> {
        Ok(match &handler.target {
            LogTarget::Stdout => Self::Stdout,
            LogTarget::Stderr => Self::Stderr,
            LogTarget::Nowhere => Self::Nowhere,
            LogTarget::File(path) => {
                if handler.begin_empty {
                    File::create(path)?;
                }
                let mut file = RotatingFile::new(path.clone(), handler.rotation);
                file.open(Timestamp::now())?;
                Self::File(file)
            }
        })
    }

    fn write(&mut self, batch: &Batch, format: &Format) -> io::Result<()> {
        let bytes = batch.text.as_bytes();
        match self {
            Self::Nowhere => Ok(()),
            Self::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(bytes)?;
                out.flush()
            }
            Self::Stderr => io::stderr().lock().write_all(bytes),
            Self::File(file) => {
                let now = Timestamp::now();
                // The file must not be put aside in the middle of what belongs together.
                if file.has_room(bytes.len() as u64) {
                    write_to(file, bytes, format, now)
                } else {
                    batch.entries().try_for_each(|entry| write_to(file, entry.as_bytes(), format, now))
                }
            }
        }
    }
}

fn write_to(file: &mut RotatingFile, bytes: &[u8], format: &Format, now: Timestamp) -> io::Result<()> {
    if let Some(error) = file.make_room(bytes.len() as u64, now) {
        let source = Source::Platform { name: "volttron_server.logging", line: line!().into() };
        let text = not_put_aside(file.path(), &error);
        let line = format.line(now, source, Level::Error, &text) + "\n";
        file.write(line.as_bytes(), now)?;
    }
    file.write(bytes, now)
}

/// What is written at once.
#[derive(Default)]
struct Batch {
    text: String,
    /// Where each entry, which may have several lines, ends.
    ends: Vec<usize>,
}

impl Batch {
    fn end_entry(&mut self) {
        self.text.push('\n');
        self.ends.push(self.text.len());
    }

    fn entries(&self) -> impl Iterator<Item = &str> {
        let begins = std::iter::once(0).chain(self.ends.iter().copied());
        begins.zip(&self.ends).map(|(begin, end)| &self.text[begin..*end])
    }

    fn take(&mut self, command: Command, waiting: &mut Vec<SyncSender<()>>) {
        match command {
            Command::Line(line) => {
                self.text.push_str(&line);
                self.end_entry();
            }
            Command::Flush(done) => waiting.push(done),
        }
    }

    fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
    }
}

/// Runs until every sender is gone.
pub(super) fn run(mut sink: Sink, format: &Format, commands: &Receiver<Command>, dropped: &AtomicU64) {
    let mut told = 0;
    let mut batch = Batch::default();
    let mut waiting: Vec<SyncSender<()>> = Vec::new();
    while let Ok(first) = commands.recv() {
        batch.take(first, &mut waiting);
        for command in commands.try_iter().take(BATCH_LINES - 1) {
            batch.take(command, &mut waiting);
        }
        let lost = dropped.load(Ordering::Relaxed);
        if lost > told {
            let count = lost - told;
            let _ = write!(
                batch.text,
                "({count} log lines were lost because the log could not be written fast enough)"
            );
            batch.end_entry();
            told = lost;
        }
        if !batch.text.is_empty() {
            // A full disk or a closed pipe must not end the platform, and there is no other place to complain.
            let _ = sink.write(&batch, format);
        }
        batch.clear();
        for done in waiting.drain(..) {
            let _ = done.try_send(());
        }
    }
}
