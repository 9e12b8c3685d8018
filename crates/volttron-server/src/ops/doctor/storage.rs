//! The home's directory and the disk it lies on.

use std::env;
use std::fs::{self, File};
use std::io::{self, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{Access, StatVfs, access, statvfs};
use volttron_utils::files;
use volttron_utils::home::Home;

use super::{Report, Scene, put_aside, shown};
use crate::codes::Code;
use crate::logging::rotation::When;
use crate::options::LogTarget;

/// Below this there is a fault.
const FULL_BYTES: u64 = 32 << 20;
/// Below the smaller of these there is a warning.
const LOW_BYTES: u64 = 256 << 20;
const LOW_PERCENT: u64 = 5;
/// Inodes left, in percent.
const LOW_INODES_PERCENT: u64 = 2;
/// A log that is larger should have been put aside.
const LOG_BYTES: u64 = 100 << 20;
/// Writes that are timed, and how long they may take together.
const WRITES: usize = 9;
const WRITES_LIMIT: Duration = Duration::from_millis(400);
const WRITE_BYTES: usize = 4096;

/// Whether there is a home that the platform can work in.
pub(super) fn home(scene: &Scene, report: &mut Report) {
    let path = scene.home.path();
    let subject = path.display().to_string();
    match fs::metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let texts = [
                format!("there is no home {subject}"),
                "nothing is installed or configured here; perhaps another VOLTTRON_HOME is meant".to_owned(),
                scene.up(),
            ];
            return report.fault(Code::HomeMissing, subject, texts);
        }
        Err(e) => {
            let why = "the platform cannot use it".to_owned();
            let fix = format!("ls -ld {}", shown(path));
            return report.fault(Code::HomeUnusable, &subject, [format!("{subject}: {e}"), why, fix]);
        }
        Ok(meta) if !meta.is_dir() => {
            let why = "the home has to be a directory".to_owned();
            let fix = put_aside(path, "aside");
            let what = format!("{subject} is no directory");
            return report.fault(Code::HomeUnusable, &subject, [what, why, fix]);
        }
        Ok(_) => {}
    }
    if let Err(e) = scene.home.check_socket_length() {
        let why = "the platform does not start: it could not listen for its agents".to_owned();
        report.fault(Code::HomeUnusable, &subject, [e.to_string(), why, shorter(scene)]);
    }
    let dirs = [path.to_owned(), scene.home.agents(), scene.home.configuration_store(), scene.home.run()];
    for dir in dirs.iter().filter(|dir| dir.is_dir()) {
        if let Err(e) = temporary(dir) {
            report.fault(Code::HomeReadOnly, dir.display().to_string(), read_only(scene, dir, &e));
        }
    }
    if files::open_bits(path).is_ok_and(|bits| bits & 0o022 != 0) {
        let texts = [
            format!("other users may write to {subject}"),
            "they can replace its keys and rules, and thereby do everything".to_owned(),
            format!("chmod go-w {}", shown(path)),
        ];
        report.warn(Code::HomeOpen, subject, texts);
    }
}

/// The commands that give a home that lies too deep a shorter name. It stays where it is: paths of its own lie in files
/// of the environments and configurations in it.
fn shorter(scene: &Scene) -> String {
    let path = scene.home.path();
    let name = path.file_name().unwrap_or_default();
    let people = env::var_os("HOME").map(PathBuf::from).filter(|_| scene.as_owner().is_empty());
    let dirs = people.iter().map(PathBuf::as_path).chain(path.ancestors().skip(1));
    let mut links = dirs
        .filter(|dir| access(*dir, Access::WRITE_OK).is_ok())
        .flat_map(|dir| [dir.join(name), dir.join("volttron")])
        .map(|link| files::free_name(&link, "short"))
        .filter(|link| Home::new(link).is_ok_and(|home| home.check_socket_length().is_ok()));
    let own = scene.as_owner();
    let (own, link) = match links.next() {
        Some(link) => (own, link),
        None => ("sudo ".to_owned(), PathBuf::from("/srv/volttron")),
    };
    let (path, link) = (shown(path), shown(&link));
    format!(
        "{own}ln -s {path} {link} && export VOLTTRON_HOME={link} && {}volttron up --vhome {link}",
        scene.as_owner()
    )
}

fn read_only(scene: &Scene, dir: &Path, error: &io::Error) -> [String; 3] {
    let me = scene.me;
    let owner = fs::metadata(dir).map_or(me, |meta| meta.uid());
    let (because, fix) = match error.raw_os_error() {
        Some(libc::EROFS) => {
            (" (its file system is read-only)".to_owned(), format!("findmnt -T {}", shown(dir)))
        }
        Some(libc::ENOSPC) => (" (its disk is full)".to_owned(), format!("df -h {}", shown(dir))),
        _ if owner != me => (
            format!(" (it belongs to user {owner}, and you are {me})"),
            // Not what belongs to third users: agents may have some of their own.
            format!("sudo chown -R --from={owner} {me} {}", shown(dir)),
        ),
        _ => (String::new(), format!("chmod u+rwx {}", shown(dir))),
    };
    [
        format!("{} is not writable{because}: {error}", dir.display()),
        "the platform does not start, and a running one keeps no change".to_owned(),
        fix,
    ]
}

/// A file without a name, gone when it is closed: another check, or another doctor, would take a named one for what an
/// interrupted change left.
fn temporary(dir: &Path) -> io::Result<File> {
    tempfile::tempfile_in(dir)
}

/// Whether there is room on the disk.
pub(super) fn disk(scene: &Scene, report: &mut Report) {
    let Ok(stat) = statvfs(scene.home.path()) else { return };
    let unit = stat.f_frsize.max(1);
    let (free, total) = (stat.f_bavail.saturating_mul(unit), stat.f_blocks.saturating_mul(unit));
    report.measured("disk_free_bytes", free);
    report.measured("disk_bytes", total);
    let limit = scene.limits.min_free_bytes.unwrap_or_else(|| LOW_BYTES.min(total * LOW_PERCENT / 100));
    let path = scene.home.path();
    let texts = |what: String| {
        let why = "changes, history and the log are lost once it is full".to_owned();
        [what, why, format!("du -xh {} | sort -h | tail -n 20", shown(path))]
    };
    let subject = path.display().to_string();
    if free < FULL_BYTES && total > 0 {
        let what = format!("the disk of the home is full: {} of {} are free", size(free), size(total));
        report.fault(Code::DiskFull, subject, texts(what));
    } else if free < limit {
        let what = format!(
            "the disk of the home is nearly full: {} of {} are free, {} should be",
            size(free),
            size(total),
            size(limit)
        );
        report.warn(Code::DiskFull, subject, texts(what));
    } else if inodes_are_low(&stat) {
        let what = format!("the file system of the home has only {} inodes left", stat.f_favail);
        report.warn(Code::DiskFull, subject, texts(what));
    }
}

/// File systems that make inodes as they need them say that they have none.
fn inodes_are_low(stat: &StatVfs) -> bool {
    stat.f_files > 0 && stat.f_favail < stat.f_files * LOW_INODES_PERCENT / 100
}

/// Whether the platform's log would fill the disk.
pub(super) fn log(scene: &Scene, report: &mut Report) {
    let Ok(options) = &scene.options else { return };
    let LogTarget::File(path) = options.log.target() else { return };
    let Ok(bytes) = fs::metadata(&path).map(|meta| meta.len()) else { return };
    report.measured("log_bytes", bytes);
    if bytes > LOG_BYTES && options.log.rotation().when == When::Never {
        let texts = [
            format!("the platform's log {} has {}, and nothing puts it aside", path.display(), size(bytes)),
            "it grows until the disk is full; what is set counts from the next start on".to_owned(),
            format!("sed -i '/^\\[volttron]/a log-rotate = 10M' {}", shown(&scene.home.config_file())),
        ];
        report.warn(Code::LogGrows, path.display().to_string(), texts);
    }
}

/// How long the disk takes to keep something.
pub(super) fn fsync(scene: &Scene, report: &mut Report) {
    let Ok(Some(median)) = measure(scene.home.path()) else { return };
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    report.measured("fsync_ms", (ms(median) * 1000.0).round() / 1000.0);
    if median > scene.limits.max_fsync {
        let path = scene.home.path();
        let texts = [
            format!(
                "the disk of the home takes {:.1} ms to keep a write (median); {:.1} ms are enough",
                ms(median),
                ms(scene.limits.max_fsync)
            ),
            "every change and every record of history waits for that".to_owned(),
            format!("iostat -x 2 3; findmnt -T {}", shown(path)),
        ];
        report.warn(Code::SlowDisk, path.display().to_string(), texts);
    }
}

/// The median time of a small write with fsync; as many as fit into the time.
fn measure(dir: &Path) -> io::Result<Option<Duration>> {
    let mut file = temporary(dir)?;
    let block = [0x5a_u8; WRITE_BYTES];
    let began = Instant::now();
    let mut times = Vec::with_capacity(WRITES);
    while times.len() < WRITES && began.elapsed() < WRITES_LIMIT {
        let start = Instant::now();
        file.rewind()?;
        file.write_all(&block)?;
        file.sync_all()?;
        times.push(start.elapsed());
    }
    times.sort();
    Ok(times.get(times.len() / 2).copied())
}

/// Bytes for people.
pub(crate) fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            return if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_sees_what_is_written_to_try_a_directory() {
        let dir = tempfile::tempdir().unwrap();
        let file = temporary(dir.path()).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        drop(file);
    }

    #[test]
    fn sizes_are_for_people() {
        for (bytes, expected) in
            [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (3 << 30, "3.0 GiB"), (5 << 40, "5.0 TiB")]
        {
            assert_eq!(size(bytes), expected);
        }
    }
}
