//! Agents as processes: which are installed, starting and stopping them, restarts, their log pipes.
//!
//! [`machine`] decides (pure), the rest carries out. Nothing here speaks on the bus: the control service asks for
//! starts and stops, and listens to events to tell the router. Nothing here builds or installs agents.

pub mod machine;
