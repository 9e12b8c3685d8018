//! What the command line tools do, one function per verb. Returns data and texts; never prints, never exits.

pub mod auth;
