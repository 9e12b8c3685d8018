//! What an agent does with its configuration store: read, write, defaults (subsystems.md sections 11.2 and 11.7).

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use volttron_utils::identity::CONFIG_STORE;
use volttron_utils::json;

use super::mirror::clean;
use crate::{CallError, Cx};

/// How long a write waits.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the first full push may take.
const INITIALIZE_TIMEOUT: Duration = Duration::from_secs(30);

/// Why a configuration cannot be read or written.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// No entry and no default of that name. The text is the reference's.
    #[error("{0} not in store")]
    NotFound(String),
    /// The contents do not have the expected form.
    #[error("configuration '{name}' does not have the expected form: {why}")]
    BadContents {
        /// Which one.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// Only text, objects and lists can be stored.
    #[error("configuration '{0}' must be text, an object or a list")]
    BadType(String),
    /// Defaults can be declared before the first connection only.
    #[error("defaults can only be declared in `on_setup`")]
    TooLate,
    /// The agent was built without configuration store.
    #[error("this agent does not use the configuration store")]
    Disabled,
    /// The store did not do it.
    #[error(transparent)]
    Store(#[from] CallError),
}

/// The agent's configuration store; made by [`Cx::config`].
#[derive(Clone, Debug)]
pub struct ConfigStore(Cx);

impl Cx {
    /// The agent's configuration store.
    pub fn config(&self) -> ConfigStore {
        ConfigStore(self.clone())
    }

    /// Name of the store service on this platform.
    fn store_name(&self) -> &'static str {
        self.service(CONFIG_STORE)
    }

    /// Asks the store for everything; it pushes before it answers. One request at a time.
    pub(crate) async fn fetch_config(&self) -> Result<(), CallError> {
        let _one = self.0.config.fetching.lock().await;
        let call = self.call(self.store_name(), "initialize_configs").arg(self.identity());
        call.timeout(INITIALIZE_TIMEOUT).send_value().await.map(drop)
    }
}

impl ConfigStore {
    fn check(&self) -> Result<(), ConfigError> {
        if self.0.0.config.enabled { Ok(()) } else { Err(ConfigError::Disabled) }
    }

    /// Fetches if the store was not heard of yet and we are connected.
    async fn ready(&self) -> Result<(), ConfigError> {
        self.check()?;
        let cx = &self.0;
        if !cx.0.config.lock().mirror.is_initialized() && cx.connected() {
            cx.fetch_config().await?;
        }
        Ok(())
    }

    /// Contents of an entry (or default) as `T`, links replaced. Reads the local copy, which pushes keep current.
    pub async fn get<T: DeserializeOwned>(&self, name: &str) -> Result<T, ConfigError> {
        self.ready().await?;
        let value = self.0.0.config.lock().mirror.get(name);
        let value = value.ok_or_else(|| ConfigError::NotFound(clean(name).to_lowercase()))?;
        serde_json::from_value(value)
            .map_err(|e| ConfigError::BadContents { name: clean(name).to_owned(), why: e.to_string() })
    }

    /// Names of all entries and defaults.
    pub async fn list(&self) -> Result<Vec<String>, ConfigError> {
        self.ready().await?;
        Ok(self.0.0.config.lock().mirror.names())
    }

    /// Stores an object or list as JSON, or text as it is. Our own handlers are not told.
    pub async fn set(&self, name: &str, contents: impl Serialize) -> Result<(), ConfigError> {
        self.set_with(name, contents, false).await
    }

    /// As [`ConfigStore::set`]; `trigger_callback` says whether our own handlers are told.
    pub async fn set_with(
        &self,
        name: &str,
        contents: impl Serialize,
        trigger_callback: bool,
    ) -> Result<(), ConfigError> {
        self.check()?;
        let bad =
            |e: serde_json::Error| ConfigError::BadContents { name: name.to_owned(), why: e.to_string() };
        let (text, kind) = match serde_json::to_value(contents).map_err(bad)? {
            Value::String(text) => (text, "raw"),
            value @ (Value::Array(_) | Value::Object(_)) => (json::to_string(&value).map_err(bad)?, "json"),
            _ => return Err(ConfigError::BadType(name.to_owned())),
        };
        let cx = &self.0;
        let call = cx.call(cx.store_name(), "set_config").arg(cx.identity()).arg(name).arg(text).arg(kind);
        let call = call.named("trigger_callback", trigger_callback).named("send_update", true);
        call.timeout(WRITE_TIMEOUT).send_value().await?;
        Ok(())
    }

    /// Removes an entry. Our own handlers are not told.
    pub async fn delete(&self, name: &str) -> Result<(), ConfigError> {
        self.delete_with(name, false).await
    }

    /// As [`ConfigStore::delete`]; `trigger_callback` says whether our own handlers are told.
    pub async fn delete_with(&self, name: &str, trigger_callback: bool) -> Result<(), ConfigError> {
        self.check()?;
        let cx = &self.0;
        let call = cx.call(cx.store_name(), "delete_config").arg(cx.identity()).arg(name);
        let call = call.named("trigger_callback", trigger_callback).named("send_update", true);
        call.timeout(WRITE_TIMEOUT).send_value().await?;
        Ok(())
    }

    /// Declares what holds while the store has no entry of that name. Only before the first connection: in `on_setup`.
    pub fn set_default(&self, name: &str, contents: impl Serialize) -> Result<(), ConfigError> {
        self.check()?;
        let contents = serde_json::to_value(contents)
            .map_err(|e| ConfigError::BadContents { name: name.to_owned(), why: e.to_string() })?;
        let mut inner = self.0.0.config.lock();
        if inner.mirror.is_initialized() || inner.started {
            return Err(ConfigError::TooLate);
        }
        inner.mirror.set_default(name, contents);
        Ok(())
    }
}
