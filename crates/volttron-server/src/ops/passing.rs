//! What of a home passes with a process: locks, sockets, pid files, files under construction. It is in no backup, is not
//! migrated, and does not make a migrated home another one. The one list of it.

use volttron_utils::files::TEMP_PREFIX;

/// Paths below the home that die with the process or the machine, or are made again when they are missing.
const PASSING: [&str; 11] = [
    "run",
    "cache",
    "VOLTTRON_PID",
    "volttron.lock",
    ".volttron_instances",
    ".volttron_instances.lock",
    ".auth.json.lock",
    ".auth_changes.lock",
    ".known_hosts.lock",
    "bin/.lock",
    "logs/platform.log",
];
/// Begin the names of what is not finished, or on its way out, wherever it lies.
const PASSING_PREFIXES: [&str; 2] = [TEMP_PREFIX, ".removed"];

/// Whether what lies at this path below a home passes, with all that is below it.
pub(super) fn passes(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    PASSING.contains(&path) || PASSING_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_beginnings_of_names_tell() {
        for path in
            ["run", ".known_hosts.lock", "bin/.lock", "agents/.removed-1", "configuration_store/.tmp-x"]
        {
            assert!(passes(path), "{path}");
        }
        for path in ["known_hosts", "agents/run", "bin", "logs", "logs/pump.log", "agents/a/data/.lock"] {
            assert!(!passes(path), "{path}");
        }
    }
}
