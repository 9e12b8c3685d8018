//! The SQL historian's store on SQLite: what the base of historians (`volttron_client::historian`) asks for.
//!
//! Owns the database: schema of the original, batches, limits, queries. Must never subscribe, cache or decide what a
//! message means. Start reading at [`store`]; [`schema`] has the tables, [`reader`] the queries.

mod kind;
pub mod limits;
#[doc(hidden)]
pub mod pyliteral;
pub mod reader;
pub mod schema;
pub mod settings;
pub mod store;

use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};
use volttron_client::historian::{Handled, QueryError, Reader, Record, Store, StoreError, StoreFactory};

pub use kind::SqlHistorian;
pub use reader::SqliteReader;
pub use settings::Settings;
pub use store::SqliteStore;

/// Version of the original whose database and answers this is compatible with; `get_version` returns it.
pub const COMPATIBLE_VERSION: &str = "4.0.0";

/// The configured database, or why there is none. A wrong configuration does not stop the historian: records stay in the
/// cache until it is corrected.
#[derive(Clone, Debug, PartialEq)]
pub struct SqlFactory(Result<Settings, settings::BadSettings>);

impl SqlFactory {
    /// Reads `connection` and `tables_def` from the agent's configuration.
    pub fn from_config(raw: &Map<String, Value>, data_dir: &Path) -> Self {
        Self(Settings::parse(raw, data_dir))
    }

    /// What was read.
    pub fn settings(&self) -> Result<&Settings, &settings::BadSettings> {
        self.0.as_ref()
    }

    /// As the base wants it.
    pub fn shared(self) -> Arc<dyn StoreFactory> {
        Arc::new(self)
    }
}

impl StoreFactory for SqlFactory {
    fn store(&self) -> Box<dyn Store> {
        match &self.0 {
            Ok(settings) => Box::new(SqliteStore::new(settings.clone())),
            Err(e) => Box::new(Misconfigured(e.to_string())),
        }
    }

    fn reader(&self) -> Result<Box<dyn Reader>, QueryError> {
        let settings = self.0.as_ref().map_err(|e| QueryError::Unavailable(e.to_string()))?;
        Ok(Box::new(SqliteReader::open(settings)?))
    }
}

struct Misconfigured(String);

impl Store for Misconfigured {
    fn setup(&mut self) -> Result<(), StoreError> {
        Err(StoreError::Unavailable(self.0.clone()))
    }

    fn write(&mut self, _: &[Record]) -> Result<Handled, StoreError> {
        Err(StoreError::Unavailable(self.0.clone()))
    }
}
