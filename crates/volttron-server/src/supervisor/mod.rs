//! Agents as processes: which are installed, starting and stopping them, restarts, their log pipes.
//!
//! [`machine`] decides (pure), the rest carries out. Nothing here speaks on the bus: the control service asks for
//! starts and stops, and listens to [`AgentEvent`]s to tell the router. Nothing here builds or installs agents.
//! Start reading at [`Supervisor`].

mod adoption;
pub mod cgroup;
pub(crate) mod credentials;
mod effects;
mod ends;
pub mod environment;
pub mod installed;
pub(crate) mod launcher;
mod launching;
pub mod limits;
mod logs;
pub mod machine;
mod order;
mod orphans;
mod outputs;
pub mod protection;
mod python;
mod report;
mod running;
mod together;
mod usage;
mod view;

pub use ends::how_ended;
pub use installed::{InstalledAgent, Manifest};
pub use logs::LogTail;
pub(crate) use orphans::left_behind;
pub use running::{AgentEvent, StartError, StopError, Supervisor, SupervisorOptions};
pub(crate) use usage::user_name;
pub use view::{Crash, Details, Usage, View};
