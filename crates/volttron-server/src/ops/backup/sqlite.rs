//! SQLite databases, copied as they are at one moment while their owners go on writing.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

/// How long another program that writes is waited for.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(50);

/// Begins every database.
pub(in crate::ops) const HEADER: &[u8; 16] = b"SQLite format 3\0";

/// Whether a file, which is at least that long, begins as a database does.
pub(in crate::ops) fn has_header(path: &Path) -> io::Result<bool> {
    let mut head = [0; HEADER.len()];
    File::open(path)?.read_exact(&mut head)?;
    Ok(&head == HEADER)
}

/// Copies the database at `from` to a new one at `to`, through SQLite, which sees to it that the copy is what was
/// committed at one moment. Nothing is changed.
pub(super) fn copy(from: &Path, to: &Path) -> Result<(), String> {
    let text = |e: rusqlite::Error| e.to_string();
    // Without the right to write, so that closing it does not tidy up behind a program that has it open, too.
    let source = Connection::open_with_flags(from, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(text)?;
    source.busy_timeout(PATIENCE).map_err(text)?;
    let mut copy = Connection::open(to).map_err(text)?;
    copy.pragma_update(None, "synchronous", "OFF").map_err(text)?;
    let backup = Backup::new(&source, &mut copy).map_err(text)?;
    let began = Instant::now();
    loop {
        // All pages in one step: one read transaction. With a write-ahead log nobody waits for it; without, writers
        // wait as for any reader.
        match backup.step(-1).map_err(text)? {
            StepResult::Done => break,
            _ if began.elapsed() > PATIENCE => {
                return Err(format!("another program has kept it locked for {} s", PATIENCE.as_secs()));
            }
            _ => sleep(PAUSE),
        }
    }
    drop(backup);
    copy.close().map_err(|(_, e)| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_copied_as_committed_while_it_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("a.sqlite"), dir.path().join("b.sqlite"));
        let writer = Connection::open(&from).unwrap();
        writer.pragma_update(None, "journal_mode", "WAL").unwrap();
        writer.execute_batch("CREATE TABLE t (n); INSERT INTO t VALUES (1), (2);").unwrap();
        // Neither checkpointed nor committed.
        writer.execute_batch("BEGIN; INSERT INTO t VALUES (3);").unwrap();
        copy(&from, &to).unwrap();
        let count = |path: &Path| -> i64 {
            Connection::open(path).unwrap().query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap()
        };
        assert_eq!(count(&to), 2);
        writer.execute_batch("COMMIT").unwrap();
        assert_eq!((count(&from), count(&to)), (3, 2));
        std::fs::write(dir.path().join("c"), b"SQLite format 3\0and nothing else").unwrap();
        assert!(copy(&dir.path().join("c"), &dir.path().join("d")).is_err());
    }
}
