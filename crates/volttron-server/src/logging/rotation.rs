//! A log file that is put aside when it has become large, or when its day is over.
//!
//! Files put aside are called as Python's handlers call them, so that whatever gathers logs finds them: `volttron.log.1`
//! and on by size, `volttron.log.2026-11-27` by day. They only ever move by a rename into a free place, the oldest one
//! excepted; a crash between two renames leaves a gap, which readers pass over and the next rotation closes.
//!
//! Must never keep a line from being written: where a file cannot be put aside, it grows.

use std::cmp::Reverse;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use volttron_utils::files;

/// How long a file that could not be put aside goes on before it is tried again.
const RETRY: SignedDuration = SignedDuration::from_mins(1);

/// When a file is put aside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum When {
    /// Never; somebody else may rename it.
    #[default]
    Never,
    /// Before it becomes larger than so many bytes.
    Size(u64),
    /// At local midnight, as soon as there is something to write.
    Daily,
}

/// What becomes of a log file that grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rotation {
    /// When it is put aside.
    pub when: When,
    /// How many files put aside are kept.
    pub keep: u32,
}

/// The files of a log, newest first: `path` itself, then those put aside. Only those that are there.
pub fn files_of(path: &Path) -> Vec<PathBuf> {
    let aside = aside(path).unwrap_or_default().into_iter().map(|(_, path)| path);
    std::iter::once(path.to_owned()).filter(|p| p.exists()).chain(aside).collect()
}

/// The `n`th file put aside by size.
pub fn numbered(path: &Path, n: u32) -> PathBuf {
    with_suffix(path, &n.to_string())
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}

/// What the name of a file put aside says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Suffix {
    /// Larger is older.
    Number(u32),
    /// The day it is of, and which one of that day.
    Day(Date, u32),
}

impl Suffix {
    fn parse(text: &str) -> Option<Self> {
        let number = |text: &str| {
            let plain = !text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit());
            text.parse().ok().filter(|_| plain)
        };
        if let Some(n) = number(text) {
            return Some(Self::Number(n));
        }
        let day = text.get(..10)?.parse().ok()?;
        let nth = match &text[10..] {
            "" => 0,
            more => number(more.strip_prefix('.')?)?,
        };
        Some(Self::Day(day, nth))
    }
}

/// Files put aside, newest first.
fn aside(path: &Path) -> io::Result<Vec<(Suffix, PathBuf)>> {
    let Some(name) = path.file_name() else { return Ok(Vec::new()) };
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let (mut numbers, mut days) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(dir)? {
        let other = entry?.file_name();
        let rest = other.as_encoded_bytes().strip_prefix(name.as_encoded_bytes());
        let suffix = rest.and_then(|rest| std::str::from_utf8(rest.strip_prefix(b".")?).ok());
        let Some(text) = suffix else { continue };
        match Suffix::parse(text) {
            Some(suffix @ Suffix::Number(_)) => numbers.push((suffix, with_suffix(path, text))),
            Some(suffix @ Suffix::Day(..)) => days.push((suffix, with_suffix(path, text))),
            None => {}
        }
    }
    numbers.sort();
    days.sort_by_key(|(suffix, _)| Reverse(*suffix));
    // Both kinds are there after the setting was changed; those of the older setting are older.
    let newest = |files: &[(Suffix, PathBuf)]| {
        files.first().and_then(|(_, path)| fs::metadata(path).ok()?.modified().ok())
    };
    let (mut first, second) =
        if newest(&days) > newest(&numbers) { (days, numbers) } else { (numbers, days) };
    first.extend(second);
    Ok(first)
}

/// A file that lines are added to.
#[derive(Debug)]
pub(super) struct RotatingFile {
    path: PathBuf,
    rotation: Rotation,
    /// Of a new file, and of a directory made for it. Without, as the umask says, and there has to be a directory.
    modes: Option<(u32, u32)>,
    open: Option<Open>,
    /// The last write failed, perhaps in the middle of a line.
    broken: bool,
    /// It could not be put aside; not tried again before.
    retry_at: Option<Timestamp>,
}

#[derive(Debug)]
struct Open {
    file: File,
    bytes: u64,
    /// The day whose lines it has, where that matters.
    day: Option<Date>,
    /// A device or a pipe cannot be put aside.
    regular: bool,
}

impl RotatingFile {
    /// Opens nothing yet.
    pub(super) fn new(path: PathBuf, rotation: Rotation) -> Self {
        Self { path, rotation, modes: None, open: None, broken: false, retry_at: None }
    }

    /// With these modes of a new file and of a directory made for it.
    pub(super) fn with_modes(self, file: u32, dir: u32) -> Self {
        Self { modes: Some((file, dir)), ..self }
    }

    /// Its place.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The last write failed.
    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Opens the file, unless it is open and still where it was: others rename it and expect a new one, or delete it.
    pub(super) fn open(&mut self, now: Timestamp) -> io::Result<()> {
        if let Some(open) = &self.open {
            let there = open.file.metadata()?;
            if fs::metadata(&self.path).is_ok_and(|m| (m.dev(), m.ino()) == (there.dev(), there.ino())) {
                return Ok(());
            }
            return match self.reopen(now) {
                // As long as the old one has a name, nothing is lost in it.
                Err(_) if there.nlink() > 0 => Ok(()),
                other => other,
            };
        }
        self.reopen(now)
    }

    fn reopen(&mut self, now: Timestamp) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        if let Some((mode, dir_mode)) = self.modes {
            options.mode(mode);
            files::create_dir(self.path.parent().unwrap_or(Path::new("/")), dir_mode)?;
        }
        let file = options.open(&self.path)?;
        let meta = file.metadata()?;
        let written = meta.modified().ok().and_then(|time| Timestamp::try_from(time).ok());
        // What an earlier process wrote belongs to the day when it did.
        let begun = written.filter(|_| meta.len() > 0).unwrap_or(now);
        let day = (self.rotation.when == When::Daily).then(|| day_of(begun));
        let fresh = Open { bytes: meta.len(), day, regular: meta.is_file(), file };
        if let Some(old) = self.open.replace(fresh) {
            self.follow_stderr(&old.file);
        }
        Ok(())
    }

    /// A platform in the background has its standard error in the same file; it goes where the log goes.
    fn follow_stderr(&self, old: &File) {
        if let (Some(open), Ok(old), Ok(stderr)) =
            (&self.open, old.metadata(), rustix::fs::fstat(rustix::stdio::stderr()))
            && (old.dev(), old.ino()) == (stderr.st_dev, stderr.st_ino)
        {
            // Otherwise the last words of the program are in a file put aside.
            let _ = rustix::stdio::dup2_stderr(&open.file);
        }
    }

    /// Whether so many bytes more fit into the file.
    pub(super) fn has_room(&self, more: u64) -> bool {
        match (&self.open, self.rotation.when) {
            (Some(open), When::Size(max_bytes)) => open.bytes + more <= max_bytes,
            _ => true,
        }
    }

    /// Puts the file aside if its time has come, `more` bytes being about to follow. Tells why not, the first time it
    /// cannot be done; the file goes on then.
    pub(super) fn make_room(&mut self, more: u64, now: Timestamp) -> Option<io::Error> {
        // What keeps it from being opened keeps it from being written, which is told then.
        self.open(now).ok()?;
        let has_room = self.has_room(more);
        let open = self.open.as_mut().filter(|open| open.regular)?;
        let full = !has_room && open.bytes > 0;
        let mut over = false;
        if let Some(day) = &mut open.day {
            let today = day_of(now);
            over = *day < today && open.bytes > 0;
            if !over {
                // The clock may have been ahead.
                *day = today;
            }
        }
        if (over || full) && self.retry_at.is_none_or(|at| now >= at || at > now + RETRY) {
            // One complaint for all attempts until one succeeds.
            return self.rotate(now).err().filter(|_| self.retry_at.replace(now + RETRY).is_none());
        }
        None
    }

    fn rotate(&mut self, now: Timestamp) -> io::Result<()> {
        let day = self.open.as_ref().and_then(|open| open.day);
        let mode = fs::metadata(&self.path).map(|meta| meta.permissions().mode() & 0o777);
        put_aside(&self.path, self.rotation.keep, day)?;
        self.reopen(now)?;
        if let (Ok(mode), Some(open)) = (mode, &self.open) {
            // Somebody may have let others read it.
            let _ = open.file.set_permissions(Permissions::from_mode(mode));
        }
        prune(&self.path, self.rotation)?;
        self.retry_at = None;
        Ok(())
    }

    /// Adds whole lines.
    pub(super) fn write(&mut self, lines: &[u8], now: Timestamp) -> io::Result<()> {
        let done = self.try_write(lines, now);
        self.broken = done.is_err();
        if self.broken {
            self.open = None;
        }
        done
    }

    fn try_write(&mut self, lines: &[u8], now: Timestamp) -> io::Result<()> {
        self.open(now)?;
        let Some(open) = &mut self.open else { return Ok(()) };
        if self.broken && open.bytes > 0 {
            open.file.write_all(b"\n")?;
        }
        open.file.write_all(lines)?;
        open.bytes += lines.len() as u64;
        Ok(())
    }
}

/// What to say when a file cannot be put aside.
pub(super) fn not_put_aside(path: &Path, error: &io::Error) -> String {
    let dir = path.parent().unwrap_or(Path::new("/"));
    format!(
        "the log {} cannot be put aside: {error}; it grows until it can; see to it that files in {} can be renamed",
        path.display(),
        dir.display()
    )
}

fn day_of(when: Timestamp) -> Date {
    TimeZone::system().to_datetime(when).date()
}

/// A file of a day is called after it.
fn put_aside(path: &Path, keep: u32, day: Option<Date>) -> io::Result<()> {
    if keep == 0 {
        return files::remove(path);
    }
    if let Some(day) = day {
        return fs::rename(path, free_name(path, day));
    }
    renames(path, keep).into_iter().try_for_each(|(from, to)| fs::rename(from, to))
}

/// What makes room for a new file, in this order: each file moves on by one number up to the first that is free, or over
/// the oldest one.
fn renames(path: &Path, keep: u32) -> Vec<(PathBuf, PathBuf)> {
    let is_free = |n: &u32| numbered(path, *n).symlink_metadata().is_err();
    let last = (1..keep).find(is_free).unwrap_or(keep);
    let older = (1..last).rev().map(|n| (numbered(path, n), numbered(path, n + 1)));
    older.chain([(path.to_owned(), numbered(path, 1))]).collect()
}

/// A clock that was put back, or two settings in one day, make several files of a day.
fn free_name(path: &Path, day: Date) -> PathBuf {
    let plain = with_suffix(path, &day.to_string());
    let further = (1u32..).map(|n| with_suffix(path, &format!("{day}.{n}")));
    std::iter::once(plain.clone())
        .chain(further)
        .find(|name| name.symlink_metadata().is_err())
        .unwrap_or(plain)
}

/// Removes what is more than shall be kept.
fn prune(path: &Path, rotation: Rotation) -> io::Result<()> {
    let daily = rotation.when == When::Daily;
    let own = aside(path)?.into_iter().filter(|(suffix, _)| matches!(suffix, Suffix::Day(..)) == daily);
    let surplus = own.enumerate().filter(|(nth, (suffix, _))| match suffix {
        Suffix::Number(n) => *n > rotation.keep,
        Suffix::Day(..) => *nth >= rotation.keep as usize,
    });
    surplus.map(|(_, (_, path))| path).try_for_each(|path| files::remove(&path))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn at(text: &str) -> Timestamp {
        TimeZone::system().to_timestamp(text.parse().unwrap()).unwrap()
    }

    /// A file in a directory of its own.
    fn log(when: When, keep: u32) -> (tempfile::TempDir, PathBuf, RotatingFile) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("v.log");
        let file = RotatingFile::new(path.clone(), Rotation { when, keep });
        (dir, path, file)
    }

    /// Names of the directory, without the common beginning, and their texts.
    fn all(path: &Path) -> BTreeMap<String, String> {
        let entries = fs::read_dir(path.parent().unwrap()).unwrap().map(|e| e.unwrap().path());
        let named = entries.map(|p| {
            (
                p.to_str().unwrap().strip_prefix(path.to_str().unwrap()).unwrap().to_owned(),
                fs::read_to_string(&p).unwrap(),
            )
        });
        named.collect()
    }

    fn map<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
        pairs.map(|(name, text)| (name.to_owned(), text.to_owned())).into()
    }

    fn add(file: &mut RotatingFile, line: &str, now: Timestamp) -> Option<io::Error> {
        let trouble = file.make_room(line.len() as u64, now);
        file.write(line.as_bytes(), now).unwrap();
        trouble
    }

    #[test]
    fn by_size_the_oldest_goes() {
        let (_dir, path, mut file) = log(When::Size(4), 2);
        let now = at("2026-11-27T12:00:00");
        for line in ["a\n", "b\n", "c\n", "d\n", "e\n", "f\n", "g\n", "longer than a file\n", "h\n"] {
            assert!(add(&mut file, line, now).is_none());
        }
        assert_eq!(all(&path), map([("", "h\n"), (".1", "longer than a file\n"), (".2", "g\n")]));
        // A setting that keeps fewer.
        let rotation = Rotation { when: When::Size(4), keep: 1 };
        let mut file = RotatingFile::new(path.clone(), rotation);
        add(&mut file, "ijk\n", now);
        assert_eq!(all(&path), map([("", "ijk\n"), (".1", "h\n")]));
    }

    #[test]
    fn a_crash_between_renames_loses_nothing() {
        let full = [("", "0"), (".1", "1"), (".2", "2"), (".3", "3"), (".4", "4")];
        for done in 0..=4 {
            let (_dir, path, _) = log(When::Size(1), 4);
            for (suffix, text) in full {
                let mut name = path.clone().into_os_string();
                name.push(suffix);
                fs::write(PathBuf::from(name), text).unwrap();
            }
            let plan = renames(&path, 4);
            assert_eq!(plan.len(), 4);
            for (from, to) in plan.into_iter().take(done) {
                fs::rename(from, to).unwrap();
            }
            // Readers find all there is, in order, in spite of the gap.
            let texts: Vec<String> = files_of(&path).iter().map(|p| fs::read_to_string(p).unwrap()).collect();
            assert_eq!(texts, ["0", "1", "2", "3", "4"][..if done == 0 { 5 } else { 4 }], "{done}");
            // And the next start goes on where the crash was.
            let mut file = RotatingFile::new(path.clone(), Rotation { when: When::Size(1), keep: 4 });
            assert!(add(&mut file, "5", at("2026-11-27T12:00:00")).is_none());
            let expected = [("", "5"), (".1", "0"), (".2", "1"), (".3", "2"), (".4", "3")];
            assert_eq!(all(&path), map(expected), "{done}");
        }
    }

    #[test]
    fn by_day_files_are_called_after_their_day() {
        let (_dir, path, mut file) = log(When::Daily, 2);
        for (when, line) in [
            ("2026-11-27T10:00:00", "a\n"),
            ("2026-11-27T23:59:59", "b\n"),
            ("2026-11-28T00:00:00", "c\n"),
            // Nothing was written on the 29th.
            ("2026-11-30T00:00:00", "d\n"),
        ] {
            assert!(add(&mut file, line, at(when)).is_none());
        }
        assert_eq!(all(&path), map([("", "d\n"), (".2026-11-27", "a\nb\n"), (".2026-11-28", "c\n")]));
        // The clock is put back and comes to that day again.
        add(&mut file, "e\n", at("2026-11-27T12:00:00"));
        add(&mut file, "f\n", at("2026-11-28T12:00:00"));
        let expected = [("", "f\n"), (".2026-11-27.1", "d\ne\n"), (".2026-11-28", "c\n")];
        assert_eq!(all(&path), map(expected));
        let names = files_of(&path);
        assert_eq!(
            names,
            [path.clone(), with_suffix(&path, "2026-11-28"), with_suffix(&path, "2026-11-27.1")]
        );
    }

    #[test]
    fn what_an_earlier_process_wrote_belongs_to_its_day() {
        let (_dir, path, mut file) = log(When::Daily, 7);
        fs::write(&path, "old\n").unwrap();
        let then = at("2026-11-20T10:00:00");
        File::options().append(true).open(&path).unwrap().set_modified(then.into()).unwrap();
        fs::write(with_suffix(&path, "notes"), "not a log").unwrap();
        add(&mut file, "new\n", at("2026-11-27T10:00:00"));
        assert_eq!(all(&path), map([("", "new\n"), (".2026-11-20", "old\n"), (".notes", "not a log")]));
    }

    #[test]
    fn a_file_that_cannot_be_put_aside_goes_on_with_one_complaint() {
        let (_dir, path, mut file) = log(When::Size(4), 2);
        // Nobody can rename over a directory that is not empty, not even root.
        let obstacle = || {
            for n in [1, 2] {
                fs::create_dir_all(numbered(&path, n).join("x")).unwrap();
            }
        };
        obstacle();
        let began = at("2026-11-27T12:00:00");
        assert!(add(&mut file, "abc\n", began).is_none());
        assert!(add(&mut file, "def\n", began).is_some());
        assert!(add(&mut file, "ghi\n", began).is_none());
        let later = began + RETRY;
        assert!(add(&mut file, "jkl\n", later).is_none(), "told already");
        assert_eq!(fs::read_to_string(&path).unwrap(), "abc\ndef\nghi\njkl\n");
        // Mended: it is found with the next attempt, and not before.
        for n in [1, 2] {
            fs::remove_dir_all(numbered(&path, n)).unwrap();
        }
        add(&mut file, "mno\n", later);
        assert!(!numbered(&path, 1).exists());
        assert!(add(&mut file, "pqr\n", later + RETRY).is_none());
        assert_eq!(all(&path), map([("", "pqr\n"), (".1", "abc\ndef\nghi\njkl\nmno\n")]));
        // Another time is another complaint.
        fs::remove_file(numbered(&path, 1)).unwrap();
        obstacle();
        assert!(add(&mut file, "stu\n", later + RETRY).is_some());
    }

    #[test]
    fn others_may_rename_the_file_as_well() {
        let (dir, path, mut file) = log(When::Size(8), 3);
        let now = at("2026-11-27T12:00:00");
        add(&mut file, "a\n", now);
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        fs::rename(&path, dir.path().join("v.log-20261127")).unwrap();
        add(&mut file, "bcdefg\n", now);
        add(&mut file, "h\n", now);
        assert_eq!(all(&path), map([("", "h\n"), (".1", "bcdefg\n"), ("-20261127", "a\n")]));
        // A new file is as open to others as the one before.
        fs::set_permissions(&path, Permissions::from_mode(0o604)).unwrap();
        add(&mut file, "ijklmno\n", now);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o604);
    }

    #[test]
    fn devices_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, mode).unwrap();
        let keep = File::options().read(true).write(true).open(&fifo).unwrap();
        let mut file = RotatingFile::new(fifo.clone(), Rotation { when: When::Size(1), keep: 1 });
        let now = at("2026-11-27T12:00:00");
        assert!(add(&mut file, "a\n", now).is_none() && add(&mut file, "b\n", now).is_none());
        assert_eq!(files_of(&fifo), [fifo]);
        drop(keep);
    }

    #[test]
    fn the_kind_that_was_used_last_is_newer() {
        let (_dir, path, _) = log(When::Daily, 2);
        for (suffix, when) in [("1", "2026-11-25T10:00:00"), ("2", "2026-11-24T10:00:00")] {
            fs::write(with_suffix(&path, suffix), "x").unwrap();
            let file = File::options().append(true).open(with_suffix(&path, suffix)).unwrap();
            file.set_modified(at(when).into()).unwrap();
        }
        fs::write(with_suffix(&path, "2026-11-26"), "x").unwrap();
        let expected = ["2026-11-26", "1", "2"].map(|suffix| with_suffix(&path, suffix));
        assert_eq!(files_of(&path), expected);
    }
}
