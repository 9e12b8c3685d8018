//! Whether something works in an old home: a platform, ready or not, or an agent that it left behind.

use std::fs;
use std::path::Path;

use volttron_utils::files::FileLock;
use volttron_utils::home::Home;

/// Most processes that are named.
const NAMED: usize = 5;

/// Who works in the home and what ends that; none if nobody does. `named` is the home as it was called.
pub(in crate::ops) fn in_use(home: &Home, named: &Path) -> Option<String> {
    let stop =
        format!("stop it there first: VOLTTRON_HOME={} vctl shutdown --platform", super::quoted(named));
    if let Some(pid) = home.running() {
        return Some(format!("a platform runs in it (pid {pid}); {stop}"));
    }
    if FileLock::is_held(&home.lock_file()).unwrap_or(false) {
        return Some(format!("a platform is starting or stopping in it; {stop}"));
    }
    // A second platform that could not start takes VOLTTRON_PID of the first one with it.
    let sockets = fs::read_to_string("/proc/net/unix").unwrap_or_default();
    if serves(&sockets, home.path()) || serves(&sockets, named) {
        return Some(format!("a platform serves its socket, though VOLTTRON_PID does not name it; {stop}"));
    }
    let pids = at_work_in(Path::new("/proc"), &home.agents());
    if pids.is_empty() {
        return None;
    }
    let named: Vec<String> = pids.iter().take(NAMED).map(u32::to_string).collect();
    let named = named.join(" ");
    Some(format!(
        "agents that their platform left behind run in it (pid {named}); end them first: kill {named}"
    ))
}

/// Whether a list of sockets, as `/proc/net/unix` gives it, has the local address of a platform in this home.
fn serves(sockets: &str, home: &Path) -> bool {
    let name = format!("@{}/run/vip.socket", home.display());
    sockets.lines().any(|line| line.ends_with(&format!(" {name}")))
}

/// Processes whose working directory is below `dir`, as Python platforms start agents.
fn at_work_in(proc: &Path, dir: &Path) -> Vec<u32> {
    let entries = fs::read_dir(proc).into_iter().flatten().flatten();
    let works = |pid: &u32| {
        fs::read_link(proc.join(pid.to_string()).join("cwd")).is_ok_and(|cwd| cwd.starts_with(dir))
    };
    let mut pids: Vec<u32> =
        entries.filter_map(|e| e.file_name().to_str()?.parse().ok()).filter(works).collect();
    pids.sort_unstable();
    pids
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn sockets_and_processes_tell_who_works_in_a_home() {
        let sockets =
            "Num RefCount Protocol\n0000: 00000002 00000000 00010000 0001 01 17 @/srv/vh/run/vip.socket\n";
        assert!(serves(sockets, Path::new("/srv/vh")));
        assert!(!serves(sockets, Path::new("/srv/v")) && !serves(sockets, Path::new("/vh")));
        let proc = tempfile::tempdir().unwrap();
        for (pid, cwd) in [("7", "/srv/vh/agents/a"), ("12", "/srv/vh/agents2"), ("self", "/srv/vh/agents/a")]
        {
            fs::create_dir(proc.path().join(pid)).unwrap();
            symlink(cwd, proc.path().join(pid).join("cwd")).unwrap();
        }
        assert_eq!(at_work_in(proc.path(), Path::new("/srv/vh/agents")), [7]);
    }
}
