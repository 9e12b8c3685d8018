//! Who may connect, under which identity, and what they may do (`auth.json`, `protected_topics.json`).
//!
//! Start reading at [`state`]: one shared [`AuthState`](state::AuthState) answers everybody, from a snapshot that is replaced as a
//! whole when a file changes. Below it, all pure: [`entry`] and [`file`] (the document), [`upgrade`] (older
//! versions), [`table`] (the document compiled), [`protected`], [`pending`], [`backoff`]. [`store`] does the file,
//! [`startup`] the platform's own keys and entries, [`watch`] other programs' edits. [`why`] explains decisions,
//! [`audit`] keeps them.
//!
//! This module never expands groups and roles into the file, never replaces a key it finds, and never lets a file
//! it cannot read take away what the last good one said. Secrets never leave [`startup`].

pub mod agents;
pub mod audit;
pub mod backoff;
mod decide;
pub mod entry;
pub mod file;
#[doc(hidden)]
pub mod fuzzing;
pub mod pattern;
pub mod pending;
pub mod protected;
pub mod startup;
pub mod state;
pub mod store;
pub mod table;
pub mod upgrade;
pub mod watch;
pub mod why;

pub use state::{AuthOptions, AuthState};
