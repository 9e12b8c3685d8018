//! An agent per Unix user: the part that needs root, and nothing else (lifecycle.md section 9, home.md section 9).
//!
//! `volttron-agent-exec` is a small program of its own. The platform calls it, directly when it is root itself, else
//! through sudo with a rule for this one program and one configuration file. It makes and removes users of one group,
//! hands an agent's files to its user, becomes that user for good and runs the agent, and signals that user's processes.
//! It never runs anything as root, follows no symbolic link, and touches no file that is neither the platform's nor one of
//! its agents'. Without root it confines an agent that stays the platform's user (`agent-sandbox`).
//!
//! | module | owns |
//! |---|---|
//! | [`site`] | the configuration file an administrator wrote, and what makes it trustworthy |
//! | [`users`] | users of the site's group |
//! | [`own`] | whose files are whose |
//! | [`become_user`] | leaving root behind, running the agent |
//! | [`sandbox`] | taking rights from the process that becomes the agent |
//! | [`calls`] | system calls that no agent needs |
//! | [`platform`] | how the platform calls all this |
//! | [`exec`] | the program's command line |

pub mod become_user;
pub mod calls;
pub mod exec;
pub mod own;
pub mod platform;
pub mod sandbox;
pub mod site;
pub mod users;

use std::io;
use std::path::PathBuf;

/// Why the helper did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IsolationError {
    /// The configuration file.
    #[error("{path}: {why}")]
    Site {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A user that is not one of the site's agents.
    #[error("{user}: {why}")]
    User {
        /// Which.
        user: String,
        /// Why not.
        why: String,
    },
    /// A request that makes no sense.
    #[error("{0}")]
    Request(String),
    /// A file.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A system call.
    #[error("cannot {what}: {source}")]
    System {
        /// What was attempted.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// Names the file in an error.
fn file<T>(path: &std::path::Path, done: io::Result<T>) -> Result<T, IsolationError> {
    done.map_err(|source| IsolationError::File { path: path.to_owned(), source })
}
