//! The output of agents that may outlive their platform: files in `run/output`, because a pipe that nobody reads would
//! block the agent or end it.
//!
//! The agent appends; one thread reads on from where it was, and gives back to the disk what it has read. How far it came
//! stands beside each file, so that the next platform goes on there: nothing is told twice, and what was written while no
//! platform was there is told late. What an agent writes in that time is bounded by the disk only.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::fs::{FallocateFlags, fallocate};
use volttron_utils::files;
use volttron_utils::home::Home;

use super::logs::{Destination, Stream};

/// Pause between two looks at all files.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Read of one file in one turn, at most.
const TURN_BYTES: u64 = 256 << 10;
const BLOCK_BYTES: usize = 64 << 10;
/// A longer line is cut here; the rest becomes the next line.
const MAX_LINE_BYTES: usize = 64 << 10;
/// So much that has been read is given back at a time.
const GIVE_BACK_BYTES: u64 = 1 << 20;
const STREAMS: [Stream; 2] = [Stream::Stdout, Stream::Stderr];

/// All files that are read, by process.
#[derive(Debug)]
pub(super) struct Outputs {
    directory: PathBuf,
    tails: Mutex<BTreeMap<u32, Vec<Tail>>>,
}

#[derive(Debug)]
struct Tail {
    file: File,
    /// Remembers `at` beyond the life of this platform.
    mark: File,
    at: u64,
    given_back: u64,
    part: Vec<u8>,
    stream: Stream,
    to: Destination,
}

impl Outputs {
    /// Starts the thread; it ends once nobody holds the result.
    pub(super) fn start(home: &Home) -> io::Result<Arc<Self>> {
        let this = Arc::new(Self { directory: home.run().join("output"), tails: Mutex::default() });
        let weak = Arc::downgrade(&this);
        std::thread::Builder::new().name("agent-output".to_owned()).stack_size(256 * 1024).spawn(
            move || {
                while let Some(this) = weak.upgrade() {
                    this.read();
                    drop(this);
                    std::thread::sleep(LOOK_AGAIN);
                }
            },
        )?;
        Ok(this)
    }

    fn path(&self, identity: &str, stream: Stream) -> PathBuf {
        self.directory.join(format!("{identity}.{}", stream.name()))
    }

    /// New files for a process that is to be created: its standard output and error.
    pub(super) fn create(&self, identity: &str) -> io::Result<[File; 2]> {
        files::create_dir(&self.directory, 0o700)?;
        let create = |stream| {
            let path = self.path(identity, stream);
            // Another file than before: something that an earlier process started may still write to that.
            for old in [mark_path(&path), path.clone()] {
                match fs::remove_file(&old) {
                    Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                    _ => {}
                }
            }
            OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)
        };
        Ok([create(Stream::Stdout)?, create(Stream::Stderr)?])
    }

    /// Reads what a process writes, from where this or an earlier platform was.
    pub(super) fn follow(&self, to: &Destination) {
        let opened: Vec<Tail> = STREAMS
            .into_iter()
            .filter_map(|stream| {
                let path = self.path(&to.identity, stream);
                Tail::open(&path, stream, to)
                    .inspect_err(|error| {
                        tracing::warn!(
                            "{} is not read, so what the agent says is lost: {error}",
                            path.display()
                        );
                    })
                    .ok()
            })
            .collect();
        self.tails().insert(to.pid, opened);
    }

    /// Reads the rest of what a process wrote that has ended, and removes its files.
    pub(super) fn finish(&self, pid: u32) {
        let tails = self.tails().remove(&pid);
        let mut block = vec![0; BLOCK_BYTES];
        for mut tail in tails.into_iter().flatten() {
            while tail.turn(&mut block) {}
            tail.last_line();
            let path = self.path(&tail.to.identity, tail.stream);
            for path in [mark_path(&path), path] {
                let _ = fs::remove_file(path);
            }
        }
    }

    /// Reads everything that is there now.
    pub(super) fn read(&self) {
        let mut block = vec![0; BLOCK_BYTES];
        for tail in self.tails().values_mut().flatten() {
            tail.turn(&mut block);
        }
    }

    fn tails(&self) -> MutexGuard<'_, BTreeMap<u32, Vec<Tail>>> {
        self.tails.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn mark_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".read");
    name.into()
}

impl Tail {
    fn open(path: &Path, stream: Stream, to: &Destination) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let mark = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(mark_path(path))?;
        let mut bytes = [0; 8];
        let marked = mark.read_exact_at(&mut bytes, 0).map_or(0, |()| u64::from_le_bytes(bytes));
        let at = marked.min(file.metadata()?.len());
        Ok(Self { file, mark, at, given_back: 0, part: Vec::new(), stream, to: to.clone() })
    }

    /// Reads some; true if there is more.
    fn turn(&mut self, block: &mut [u8]) -> bool {
        let before = self.at;
        let mut more = true;
        while more && self.at < before + TURN_BYTES {
            let read = self.file.read_at(block, self.at).unwrap_or(0);
            self.at += read as u64;
            self.lines(&block[..read]);
            more = read > 0;
        }
        if self.at == before {
            return more;
        }
        // What is not a whole line yet is read again by the next platform.
        let told = self.at - self.part.len() as u64;
        let _ = self.mark.write_all_at(&told.to_le_bytes(), 0);
        if told - self.given_back >= GIVE_BACK_BYTES {
            self.give_back(told);
        }
        more
    }

    fn lines(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.part.extend_from_slice(piece);
            if piece.ends_with(b"\n") || self.part.len() >= MAX_LINE_BYTES {
                self.last_line();
            }
        }
    }

    fn last_line(&mut self) {
        let text = String::from_utf8_lossy(&self.part);
        let text = text.trim_end_matches(['\n', '\r']);
        if !text.is_empty() {
            self.to.take(text, self.stream);
        }
        self.part.clear();
    }

    /// The file keeps its length, so the agent's next line is where it would have been.
    fn give_back(&mut self, told: u64) {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        if fallocate(&self.file, flags, 0, told).is_ok() {
            self.given_back = told;
        } else if self.file.metadata().is_ok_and(|m| m.len() == told) && self.file.set_len(0).is_ok() {
            // A file system without holes: emptied at a moment when all of it has been read.
            (self.at, self.given_back) = (0, 0);
            let _ = self.mark.write_all_at(&[0; 8], 0);
        } else {
            self.given_back = told;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::super::logs::LogTail;
    use super::*;

    fn destination(pid: u32, tail: &Arc<LogTail>) -> Destination {
        Destination {
            name: "a-1".into(),
            identity: "a".into(),
            pid,
            tail: tail.clone(),
            file: None,
            kept: true,
        }
    }

    #[test]
    fn the_next_platform_goes_on_where_the_last_one_was() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path()).unwrap();
        let tail: Arc<LogTail> = Arc::default();
        let first = Outputs { directory: home.run().join("output"), tails: Mutex::default() };
        let [mut out, mut err] = first.create("a").unwrap();
        first.follow(&destination(7, &tail));
        out.write_all(b"one\ntw").unwrap();
        first.read();
        assert_eq!(tail.lines(), ["one"]);
        drop(first);
        // Nobody reads, and the agent writes on.
        out.write_all(b"o\nthree\n").unwrap();
        err.write_all(b"2026-03-04 16:00:00,123 a.b WARNING: hot\n").unwrap();
        let second = Outputs { directory: home.run().join("output"), tails: Mutex::default() };
        second.follow(&destination(7, &tail));
        second.read();
        assert_eq!(tail.lines(), ["one", "two", "three", "WARNING: hot"]);
        out.write_all(b"last words").unwrap();
        second.finish(7);
        assert_eq!(tail.lines().last().unwrap(), "last words");
        assert!(second.tails().is_empty());
        assert_eq!(fs::read_dir(home.run().join("output")).unwrap().count(), 0);
    }

    #[test]
    fn what_was_read_does_not_stay_on_the_disk() {
        use std::os::unix::fs::MetadataExt;
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path()).unwrap();
        let tail: Arc<LogTail> = Arc::default();
        let outputs = Outputs { directory: home.run().join("output"), tails: Mutex::default() };
        let [mut out, _err] = outputs.create("a").unwrap();
        outputs.follow(&destination(7, &tail));
        let (line, mut block) = (format!("{}\n", "x".repeat(999)), vec![0; BLOCK_BYTES]);
        for n in 0..8 {
            for _ in 0..1024 {
                out.write_all(line.as_bytes()).unwrap();
            }
            while outputs.tails().values_mut().flatten().any(|tail| tail.turn(&mut block)) {}
            out.write_all(format!("end {n}\n").as_bytes()).unwrap();
            outputs.read();
            assert_eq!(tail.lines().last().unwrap(), &format!("end {n}"));
        }
        let held = out.metadata().unwrap().blocks() * 512;
        assert!(held <= 3 << 20, "{held} bytes of 8 MB are still held");
    }
}
