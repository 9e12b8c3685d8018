//! The platform's process: what it left behind, whether it is ready, how many files it may open.

use std::fs;
use std::time::{Duration, SystemTime};

use rustix::process::{Resource, getrlimit};
use volttron_utils::files::FileLock;

use super::{Report, Scene, shown};
use crate::codes::Code;
use crate::processes;

/// How long a platform may hold the home without being ready.
const GETTING_READY: Duration = Duration::from_mins(1);
/// Open files that the platform takes by itself, and for every agent: pipes, a pidfd, its connection, and some to spare.
const FILES_PLATFORM: u64 = 256;
const FILES_PER_AGENT: u64 = 16;
/// Warn when so much of the limit is taken.
const FILES_FULL_PERCENT: u64 = 80;

/// Whether what is in the home fits the processes there are.
pub(super) fn process(scene: &Scene, report: &mut Report) {
    let (pid_file, lock_file) = (scene.home.pid_file(), scene.home.lock_file());
    let note = fs::read_to_string(&lock_file).unwrap_or_default();
    let field = |name: &str| note.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let held = FileLock::is_held(&lock_file).unwrap_or(false);
    if scene.running.is_none() && held {
        let since = fs::metadata(&lock_file).and_then(|meta| meta.modified()).ok();
        let age = since.and_then(|at| SystemTime::now().duration_since(at).ok()).unwrap_or_default();
        if age > GETTING_READY {
            let pid = field("pid:").unwrap_or("?");
            let what = format!(
                "process {pid} has held the home for {} s and is not ready ({})",
                age.as_secs(),
                field("state:").unwrap_or("state unknown")
            );
            let why = "nothing can be done with the platform until it is, or ends".to_owned();
            report.fault(Code::NotReady, lock_file.display().to_string(), [what, why, format!("kill {pid}")]);
        }
        return;
    }
    if scene.running.is_some() || held {
        return;
    }
    if let Ok(pid) = fs::read_to_string(&pid_file) {
        let texts = [
            format!("VOLTTRON_PID names process {}, which is no platform of this home", pid.trim()),
            "scripts that wait for that file take the platform for running".to_owned(),
            // Not that of a platform which was started meanwhile.
            format!("flock -n {} rm {}", shown(&lock_file), shown(&pid_file)),
        ];
        report.warn(Code::StalePid, pid_file.display().to_string(), texts);
    }
    if field("state:") == Some("running") {
        let texts = [
            format!(
                "the platform that began {} (pid {}) did not stop: it was killed, crashed, or the machine went down",
                field("since:").unwrap_or("some time ago"),
                field("pid:").unwrap_or("?")
            ),
            "the lock it left is stale and harmless; what was half done is finished by the next start"
                .to_owned(),
            scene.up(),
        ];
        report.warn(Code::EndedHard, lock_file.display().to_string(), texts);
    }
}

/// Whether enough files may be open.
pub(super) fn open_files(scene: &Scene, report: &mut Report) {
    let need = FILES_PLATFORM + FILES_PER_AGENT * scene.agents.len() as u64;
    let mend = "ulimit -n 8192".to_owned();
    let why = "agents cannot connect or be started once the limit is reached".to_owned();
    let Some(pid) = scene.running else {
        // The platform raises the soft limit to the hard one.
        let hard = getrlimit(Resource::Nofile).maximum;
        if let Some(hard) = hard {
            report.measured("open_files_limit", hard);
        }
        if hard.is_some_and(|hard| hard < need) {
            let what = format!(
                "a platform started from here may open {} files; with {} agents it should be {need}",
                hard.unwrap_or_default(),
                scene.agents.len()
            );
            report.warn(Code::FewDescriptors, "open files", [what, why, mend]);
        }
        return;
    };
    let Some(limit) = soft_limit(pid) else { return };
    report.measured("open_files_limit", limit);
    let used = processes::open_files(pid).count() as u64;
    report.measured("open_files", used);
    if used * 100 > limit * FILES_FULL_PERCENT || limit < need {
        let what = format!(
            "the platform (pid {pid}) has {used} files open and may have {limit}; with {} agents it should be {need}",
            scene.agents.len()
        );
        report.warn(
            Code::FewDescriptors,
            "open files",
            [what, why, format!("{mend}; then restart the platform")],
        );
    }
}

fn soft_limit(pid: u32) -> Option<u64> {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}
