//! Reading log files as they lie in the home: which lines, from when on, and what is written next. Needs no platform.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;
use jiff::{Timestamp, civil};
use volttron_utils::logging::{Level, ServerLine};

use super::OpError;
use super::versions::period;
use crate::logging::rotation::files_of;

/// A longer line is shown in parts.
const MAX_LINE_BYTES: u64 = 1 << 20;
/// Lines of one entry, such as a traceback, that are kept together.
const MAX_ENTRY_LINES: usize = 10_000;

/// Which entries are wanted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted {
    /// Not older ones.
    pub since: Option<Timestamp>,
    /// Not less important ones.
    pub level: Option<Level>,
    /// Only the last so many.
    pub last: Option<usize>,
}

/// A log line and what continues it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When; the beginning of time for lines before the first one that tells.
    pub when: Timestamp,
    /// Its level.
    pub level: Level,
    /// The lines, without the last line end.
    pub text: String,
}

impl Wanted {
    fn takes(&self, entry: &Entry) -> bool {
        self.since.is_none_or(|since| entry.when >= since)
            && self.level.is_none_or(|level| entry.level >= level)
    }
}

/// `10m`, or a time: `2026-03-04 16:00`, `2026-03-04T16:00:00Z`, `16:00`; local where no zone is told.
pub fn since(text: &str, now: Timestamp) -> Result<Timestamp, OpError> {
    let zone = TimeZone::system();
    if let Ok(seconds) = period(text) {
        let ago = jiff::SignedDuration::from_secs_f64(seconds.min(1e9));
        return now.checked_sub(ago).map_err(|e| OpError::Usage(format!("--since {text}: {e}")));
    }
    let local = |at: civil::DateTime| zone.to_timestamp(at).ok();
    let today = || Some(zone.to_datetime(now).date());
    let parsed = text
        .parse::<Timestamp>()
        .ok()
        .or_else(|| text.parse::<civil::DateTime>().ok().and_then(local))
        .or_else(|| text.parse::<civil::Time>().ok().and_then(|time| local(today()?.to_datetime(time))));
    parsed.ok_or_else(|| {
        OpError::Usage(format!(
            "--since {text}: neither a period such as 10m nor a time such as 2026-03-04T16:00"
        ))
    })
}

/// The entries of a log, oldest first, and the place where it goes on. A log that does not exist has none.
pub fn read(path: &Path, wanted: Wanted) -> io::Result<(Vec<Entry>, Follow)> {
    let follow = Follow::at_end(path)?;
    let mut found: VecDeque<Entry> = VecDeque::new();
    // From the newest file back, as far as needed.
    for (at, file) in files_of(path).into_iter().enumerate() {
        let room = wanted.last.map(|last| last.saturating_sub(found.len()));
        if room == Some(0) {
            break;
        }
        let mut reader = match File::open(&file) {
            Ok(reader) => reader,
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(e),
        };
        let end = if at == 0 { follow.at } else { u64::MAX };
        let (mut entries, oldest) = entries(&mut reader, end, wanted, room)?;
        entries.extend(found);
        found = entries;
        if wanted.since.is_some_and(|since| oldest.is_some_and(|oldest| oldest < since)) {
            break;
        }
    }
    Ok((found.into(), follow))
}

/// The wanted entries of one file, at most the last `room`; and when its first entry was.
fn entries(
    file: &mut File,
    end: u64,
    wanted: Wanted,
    room: Option<usize>,
) -> io::Result<(VecDeque<Entry>, Option<Timestamp>)> {
    let (mut found, mut oldest) = (VecDeque::new(), None);
    let mut add = |entry: Entry| {
        if entry.when != Timestamp::MIN {
            oldest = oldest.or(Some(entry.when));
        }
        if wanted.takes(&entry) {
            if room == Some(found.len()) {
                found.pop_front();
            }
            found.push_back(entry);
        }
    };
    let mut reader = BufReader::new(file.take(end));
    let mut sorter = Sorter::default();
    while let Some(line) = line(&mut reader)? {
        if let Some(entry) = sorter.take(line) {
            add(entry);
        }
    }
    if let Some(entry) = sorter.rest() {
        add(entry);
    }
    Ok((found, oldest))
}

/// The next line without its end; none at the end of the file.
fn line(reader: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut bytes = Vec::new();
    if reader.take(MAX_LINE_BYTES).read_until(b'\n', &mut bytes)? == 0 {
        return Ok(None);
    }
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// Puts lines together that belong together.
#[derive(Debug, Default)]
struct Sorter {
    entry: Option<Entry>,
    lines: usize,
}

impl Sorter {
    /// The entry that this line shows to be complete.
    fn take(&mut self, line: String) -> Option<Entry> {
        let begins = ServerLine::parse(&line).map(|parsed| (parsed.when, parsed.level));
        if let (None, Some(entry)) = (begins, &mut self.entry)
            && self.lines < MAX_ENTRY_LINES
        {
            entry.text.push('\n');
            entry.text.push_str(&line);
            self.lines += 1;
            return None;
        }
        // What has no time of its own is as old as what came before.
        let before = self.entry.as_ref().map_or(Timestamp::MIN, |entry| entry.when);
        let (when, level) = begins.unwrap_or((before, Level::Info));
        self.lines = 1;
        self.entry.replace(Entry { when, level, text: line })
    }

    fn rest(&mut self) -> Option<Entry> {
        self.entry.take()
    }
}

/// A place in a log that is being written.
#[derive(Debug)]
pub struct Follow {
    path: PathBuf,
    /// The file that is read; it keeps its number when it is put aside.
    file: Option<File>,
    at: u64,
    /// The beginning of a line whose end is not written yet.
    part: Vec<u8>,
}

impl Follow {
    fn at_end(path: &Path) -> io::Result<Self> {
        let mut this = Self { path: path.to_owned(), file: None, at: 0, part: Vec::new() };
        match File::open(path) {
            Ok(file) => {
                this.at = file.metadata()?.len();
                this.file = Some(file);
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
        Ok(this)
    }

    /// The wanted entries written since. Everything that is there is complete enough to be shown.
    pub fn next(&mut self, wanted: Wanted) -> io::Result<Vec<Entry>> {
        let mut lines = Vec::new();
        self.read_rest(&mut lines)?;
        for path in self.later_files() {
            match File::open(path) {
                Ok(file) => {
                    (self.file, self.at) = (Some(file), 0);
                    self.read_rest(&mut lines)?;
                }
                // Put aside once more; the next look finds it.
                Err(e) if e.kind() == io::ErrorKind::NotFound => break,
                Err(e) => return Err(e),
            }
        }
        let mut sorter = Sorter::default();
        let mut entries: Vec<Entry> = lines.into_iter().filter_map(|line| sorter.take(line)).collect();
        entries.extend(sorter.rest());
        entries.retain(|entry| wanted.takes(entry));
        Ok(entries)
    }

    /// Files that came after the one that is read, oldest first.
    fn later_files(&self) -> Vec<PathBuf> {
        let own = self.file.as_ref().and_then(|file| file.metadata().ok()).map(|m| (m.dev(), m.ino()));
        let is_own = |path: &PathBuf| fs::metadata(path).is_ok_and(|m| Some((m.dev(), m.ino())) == own);
        let mut later: Vec<PathBuf> =
            files_of(&self.path).into_iter().take_while(|path| !is_own(path)).collect();
        // Nothing of it is left: all that is there is new. (A foreign rotation may leave other files behind.)
        later.reverse();
        later
    }

    fn read_rest(&mut self, lines: &mut Vec<String>) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        if file.metadata()?.len() < self.at {
            // Emptied in place.
            self.at = 0;
            self.part.clear();
        }
        file.seek(SeekFrom::Start(self.at))?;
        let mut bytes = Vec::new();
        self.at += file.read_to_end(&mut bytes)? as u64;
        self.part.extend_from_slice(&bytes);
        while let Some(end) = self.part.iter().position(|byte| *byte == b'\n') {
            lines.push(String::from_utf8_lossy(&self.part[..end]).into_owned());
            self.part.drain(..=end);
        }
        if self.part.len() as u64 > MAX_LINE_BYTES {
            lines.push(String::from_utf8_lossy(&std::mem::take(&mut self.part)).into_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::logging::rotation::numbered;

    fn write(path: &Path, text: &str) {
        File::options().append(true).create(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
    }

    fn at(second: u32, level: &str, text: &str) -> String {
        format!("2026-03-04 16:00:{second:02},000 (p-1 7 [1]) x {level}: {text}\n")
    }

    fn messages(entries: &[Entry]) -> Vec<&str> {
        entries.iter().map(|e| e.text.split_once(": ").map_or(e.text.as_str(), |(_, m)| m)).collect()
    }

    #[test]
    fn entries_come_from_all_files_and_stay_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        assert!(read(&path, Wanted::default()).unwrap().0.is_empty());
        write(&numbered(&path, 2), &format!("lost head\n{}", at(1, "INFO", "one")));
        write(
            &numbered(&path, 1),
            &format!("{}Traceback:\n  line\n{}", at(2, "ERROR", "two"), at(3, "INFO", "three")),
        );
        write(&path, &at(4, "WARNING", "four"));
        let shown = |wanted| {
            let (entries, _) = read(&path, wanted).unwrap();
            messages(&entries).into_iter().map(str::to_owned).collect::<Vec<_>>()
        };
        let all = Wanted::default();
        assert_eq!(shown(all), ["lost head", "one", "two\nTraceback:\n  line", "three", "four"]);
        assert_eq!(shown(Wanted { last: Some(2), ..all }), ["three", "four"]);
        assert_eq!(shown(Wanted { last: Some(0), ..all }), [""; 0]);
        let level = Some(Level::Warning);
        assert_eq!(shown(Wanted { level, ..all }), ["two\nTraceback:\n  line", "four"]);
        assert_eq!(shown(Wanted { level, last: Some(1), ..all }), ["four"]);
        let since = since("2026-03-04T16:00:03", Timestamp::now()).unwrap();
        assert_eq!(shown(Wanted { since: Some(since), ..all }), ["three", "four"]);
    }

    #[test]
    fn following_goes_through_rotation_and_waits_for_whole_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        let all = Wanted::default();
        let (_, mut follow) = read(&path, all).unwrap();
        assert!(follow.next(all).unwrap().is_empty());
        write(&path, &at(1, "INFO", "one"));
        write(&path, "2026-03-04 16:00:02,000 (p-1 7 [1]) x IN");
        assert_eq!(messages(&follow.next(all).unwrap()), ["one"]);
        write(&path, "FO: two\n");
        // Twice between two looks.
        fs::rename(&path, numbered(&path, 1)).unwrap();
        write(&path, &at(3, "INFO", "three"));
        fs::rename(numbered(&path, 1), numbered(&path, 2)).unwrap();
        fs::rename(&path, numbered(&path, 1)).unwrap();
        write(&path, &at(4, "ERROR", "four"));
        assert_eq!(messages(&follow.next(all).unwrap()), ["two", "three", "four"]);
        assert!(follow.next(all).unwrap().is_empty());
        File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
        write(&path, "short\n");
        assert_eq!(messages(&follow.next(all).unwrap()), ["short"]);
    }

    #[test]
    fn times_are_read() {
        let now: Timestamp = "2026-03-04T16:00:00Z".parse().unwrap();
        assert_eq!(since("10m", now).unwrap().as_second(), now.as_second() - 600);
        assert_eq!(since("2026-03-04T15:00:00+00:00", now).unwrap().as_second(), now.as_second() - 3600);
        assert_eq!(since("2026-03-04 15:00", now).unwrap(), since("2026-03-04T15:00:00", now).unwrap());
        assert!(since("16:00", now).is_ok());
        for text in ["", "yesterday", "-5m"] {
            assert_eq!(since(text, now).unwrap_err().code(), 2, "{text}");
        }
    }
}
