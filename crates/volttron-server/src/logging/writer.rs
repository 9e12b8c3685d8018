//! The thread that writes the log.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender};

use super::Command;
use crate::options::LogTarget;

/// Most lines written with one system call.
const BATCH_LINES: usize = 256;

pub(super) enum Sink {
    Stdout,
    Stderr,
    Nowhere,
    File { path: PathBuf, file: File },
}

impl Sink {
    pub(super) fn open(target: &LogTarget) -> io::Result<Self> {
        Ok(match target {
            LogTarget::Stdout => Self::Stdout,
            LogTarget::Stderr => Self::Stderr,
            LogTarget::Nowhere => Self::Nowhere,
            LogTarget::File(path) => Self::File { path: path.clone(), file: append(path)? },
        })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Nowhere => Ok(()),
            Self::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(bytes)?;
                out.flush()
            }
            Self::Stderr => io::stderr().lock().write_all(bytes),
            Self::File { path, file } => {
                // logrotate renames the file and expects a new one.
                if !same_file(path, file)
                    && let Ok(fresh) = append(path)
                {
                    *file = fresh;
                }
                file.write_all(bytes)
            }
        }
    }
}

fn append(path: &PathBuf) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

fn same_file(path: &PathBuf, file: &File) -> bool {
    match (fs::metadata(path), file.metadata()) {
        (Ok(named), Ok(open)) => named.ino() == open.ino() && named.dev() == open.dev(),
        _ => false,
    }
}

/// Runs until every sender is gone.
pub(super) fn run(mut sink: Sink, commands: &Receiver<Command>, dropped: &AtomicU64) {
    let mut told = 0;
    let mut batch = String::new();
    let mut waiting: Vec<SyncSender<()>> = Vec::new();
    while let Ok(first) = commands.recv() {
        take(first, &mut batch, &mut waiting);
        for command in commands.try_iter().take(BATCH_LINES - 1) {
            take(command, &mut batch, &mut waiting);
        }
        let lost = dropped.load(Ordering::Relaxed);
        if lost > told {
            let count = lost - told;
            let _ = writeln!(
                batch,
                "({count} log lines were lost because the log could not be written fast enough)"
            );
            told = lost;
        }
        if !batch.is_empty() {
            // A full disk or a closed pipe must not end the platform, and there is no other place to complain.
            let _ = sink.write(batch.as_bytes());
        }
        batch.clear();
        for done in waiting.drain(..) {
            let _ = done.try_send(());
        }
    }
}

fn take(command: Command, batch: &mut String, waiting: &mut Vec<SyncSender<()>>) {
    match command {
        Command::Line(line) => {
            batch.push_str(&line);
            batch.push('\n');
        }
        Command::Flush(done) => waiting.push(done),
    }
}
