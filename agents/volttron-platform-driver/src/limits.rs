//! Open files: a driver of many devices needs many sockets (drivers.md section 3).

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Soft limit to ask for when the hard limit is unlimited.
const WITHOUT_HARD_LIMIT: u64 = 8192;

/// Raises the soft open-file limit to the hard one. Done once at start; failing is no reason not to run.
pub fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.unwrap_or(WITHOUT_HARD_LIMIT);
    if limit.current.is_some_and(|now| now < wanted)
        && let Err(error) =
            setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum })
    {
        tracing::warn!("the limit on open files cannot be raised to {wanted}: {error}");
    }
}

/// Cap on device sockets: what the configuration says, else 80 % of the open-file limit.
pub fn sockets(configured: Option<usize>) -> Option<usize> {
    if configured.is_some() {
        return configured;
    }
    let Some(files) = getrlimit(Resource::Nofile).current else {
        tracing::warn!("the limit on open files is not known: device sockets are not capped");
        return None;
    };
    usize::try_from(files / 5 * 4).ok().map(|cap| cap.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_wins_over_the_limit() {
        assert_eq!(sockets(Some(7)), Some(7));
        raise_open_files();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum.or(limit.current));
        assert!(sockets(None).is_none_or(|cap| cap >= 1));
    }
}
