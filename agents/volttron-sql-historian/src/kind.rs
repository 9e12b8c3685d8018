//! The SQL historian as the base of historians sees it.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};
use volttron_client::historian::{HistorianKind, StoreFactory};

use crate::{COMPATIBLE_VERSION, SqlFactory};

/// `HistorianAgent<SqlHistorian>` is the agent.
pub struct SqlHistorian;

impl HistorianKind for SqlHistorian {
    const NAME: &'static str = "SQLHistorian";
    const VERSION: &'static str = COMPATIBLE_VERSION;
    const STORE_KEYS: &'static [&'static str] = &["connection", "tables_def"];

    fn factory(&self, config: &Map<String, Value>, data_dir: &Path) -> Arc<dyn StoreFactory> {
        let factory = SqlFactory::from_config(config, data_dir);
        match factory.settings() {
            Ok(settings) => tracing::info!("database: {}", settings.database.display()),
            Err(e) => tracing::error!("configuration: {e}; records stay in the cache until it is corrected"),
        }
        factory.shared()
    }
}
