//! `vctl apply`, `diff` and `export`: a platform described by a file.
//!
//! [`file`] reads what is wanted (its shape is [`schema`]), [`state`] looks at what is there, [`plan`] finds the changes
//! in between, [`carry`] makes them, [`export`] describes what is there. Applying the same file again changes nothing.

pub mod carry;
pub mod export;
pub mod file;
pub mod plan;
pub mod schema;
pub mod state;

use std::path::PathBuf;

use volttron_utils::home::Home;

use super::{OpError, Session};
use file::Wanted;
use plan::Plan;
use state::Stores;

/// Reads the descriptions at `paths` and finds out what would have to happen.
pub async fn compare(
    home: &Home,
    session: Option<&Session>,
    paths: &[PathBuf],
    prune: bool,
) -> Result<(Wanted, Plan), OpError> {
    let wanted = file::read(paths)?;
    let stores = match &wanted.store {
        None => Stores::None,
        Some(_) if prune => Stores::All,
        Some(store) => Stores::Of(store.keys().cloned().collect()),
    };
    let present = state::gather(home, session, stores).await?;
    let plan = plan::plan(&present, &wanted, prune)?;
    carry::check_settings(home, &plan)?;
    Ok((wanted, plan))
}
