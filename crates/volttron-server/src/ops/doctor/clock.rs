//! Whether the clock can be right.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::{Report, Scene};
use crate::codes::Code;

/// A file may be that much younger than the clock says: file systems of other machines have other clocks.
const SLACK: Duration = Duration::from_mins(2);
/// Programs that keep the clock right.
const KEEPERS: [&str; 7] = ["systemd-timesyn", "chronyd", "ntpd", "openntpd", "ptp4l", "phc2sys", "ntpd-rs"];
/// Not synchronised, in the kernel's status word.
const UNSYNCHRONIZED: i32 = libc::STA_UNSYNC;

/// Whether the clock can be right, and who keeps it.
pub(super) fn clock(scene: &Scene, report: &mut Report) {
    let now = SystemTime::now();
    if let Some((written, path)) = newest(scene)
        && let Ok(ahead) = written.duration_since(now)
        && ahead > SLACK
    {
        let when = |at: SystemTime| {
            jiff::Timestamp::try_from(at)
                .map_or_else(|_| "?".to_owned(), |at| at.strftime("%F %T UTC").to_string())
        };
        let texts = [
            format!("the clock says {}, but {} was written {}", when(now), path.display(), when(written)),
            "data gets wrong times, and schedules do not run when they should".to_owned(),
            "sudo timedatectl set-ntp true".to_owned(),
        ];
        return report.fault(Code::ClockBehind, path.display().to_string(), texts);
    }
    let synchronized = synchronized();
    if let Some(known) = synchronized {
        report.measured("clock_synchronized", known);
    }
    if let Some(what) = complaint(synchronized, keeper().as_deref()) {
        let why = "times of data drift, and platforms that talk to each other disagree".to_owned();
        report.warn(
            Code::ClockUnsynchronized,
            "clock",
            [what, why, "sudo timedatectl set-ntp true".to_owned()],
        );
    }
}

/// What is wrong, given what the kernel says and which program looks after it.
fn complaint(synchronized: Option<bool>, keeper: Option<&str>) -> Option<String> {
    match (synchronized, keeper) {
        (Some(true), _) | (None, Some(_)) => None,
        (Some(false), Some(keeper)) => Some(format!(
            "{keeper} runs, and the clock is not synchronised (yet); it may not reach its servers"
        )),
        (Some(false) | None, None) => Some("no time service is known to keep the clock right".to_owned()),
    }
}

/// The file of the home that was written last. Looks at those that a platform writes, not at all.
fn newest(scene: &Scene) -> Option<(SystemTime, PathBuf)> {
    let home = &scene.home;
    let mut dirs = vec![home.path().to_owned(), home.configuration_store(), home.agents()];
    dirs.extend(scene.agents.iter().flat_map(|agent| [agent.dir.path().to_owned(), agent.dir.data()]));
    let files = dirs.iter().filter_map(|dir| fs::read_dir(dir).ok()).flat_map(Iterator::flatten);
    let dated = files.filter_map(|entry| {
        let meta = entry.metadata().ok().filter(fs::Metadata::is_file)?;
        Some((meta.modified().ok()?, entry.path()))
    });
    dated.max()
}

/// What the kernel says; none if it does not say.
#[allow(unsafe_code)]
fn synchronized() -> Option<bool> {
    // SAFETY: zero is a valid value of every field, and `modes` = 0 asks and changes nothing.
    let mut state: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes into the structure it is given a pointer to, which lives until the call is over.
    let answer = unsafe { libc::adjtimex(&raw mut state) };
    (answer >= 0).then_some(state.status & UNSYNCHRONIZED == 0)
}

fn keeper() -> Option<String> {
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut names = processes.filter_map(|p| fs::read_to_string(p.path().join("comm")).ok());
    names.find_map(|name| KEEPERS.iter().find(|k| name.trim() == **k).map(|k| (*k).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints() {
        for (synchronized, keeper, part) in [
            (Some(true), None, None),
            (Some(true), Some("chronyd"), None),
            (None, Some("chronyd"), None),
            (Some(false), Some("chronyd"), Some("chronyd runs")),
            (Some(false), None, Some("no time service")),
            (None, None, Some("no time service")),
        ] {
            match (complaint(synchronized, keeper), part) {
                (None, None) => {}
                (Some(text), Some(part)) => assert!(text.contains(part), "{text}"),
                other => panic!("{synchronized:?} {keeper:?}: {other:?}"),
            }
        }
    }
}
