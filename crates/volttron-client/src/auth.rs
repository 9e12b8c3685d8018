//! Capabilities of callers, as an agent knows them, and the requirements administrators impose on its methods
//! (subsystems.md section 10, auth.md section 6).
//!
//! Owns the cache of `get_user_to_capabilities` and the imposed layer. Must never decide; `access` does.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value};
use volttron_utils::jsonrpc::RpcError;

use crate::access::{CapabilityMap, CapabilitySource};
use crate::{CallError, Cx};

/// Names of the auth service; both generations agree.
pub(crate) const AUTH: &str = "platform.auth";
/// How long the capability map may take.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the start-up report may take.
const REPORT_TIMEOUT: Duration = Duration::from_secs(4);

/// Where capabilities come from.
#[derive(Clone)]
pub(crate) enum Capabilities {
    /// No authentication on this bus: everybody may do everything.
    Off,
    /// The same, but callers are who they say ([`crate::Connector::knows_callers`]): methods reserved to identities
    /// stay so.
    Unneeded,
    /// A table in this process.
    Local(Arc<dyn CapabilitySource>),
    /// `platform.auth`, cached.
    Remote,
}

pub(crate) struct State {
    pub(crate) source: Capabilities,
    cached: Mutex<Option<Arc<Map<String, Value>>>>,
    /// Counts pushes, so that a fetch under way does not overwrite a newer push.
    imposed: Mutex<BTreeMap<String, Vec<String>>>,
    fetching: tokio::sync::Mutex<()>,
}

impl State {
    pub(crate) fn new(source: Capabilities) -> Self {
        Self {
            source,
            cached: Mutex::default(),
            imposed: Mutex::default(),
            fetching: tokio::sync::Mutex::default(),
        }
    }

    fn cached(&self) -> MutexGuard<'_, Option<Arc<Map<String, Value>>>> {
        self.cached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn imposed(&self) -> MutexGuard<'_, BTreeMap<String, Vec<String>>> {
        self.imposed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The map is out of date: the next check fetches it.
    pub(crate) fn forget(&self) {
        *self.cached() = None;
    }

    /// `auth.update`.
    pub(crate) fn replace(&self, map: Map<String, Value>) {
        *self.cached() = Some(Arc::new(map));
    }

    /// What administrators require for `method` besides its own declaration.
    pub(crate) fn imposed_on(&self, method: &str) -> Option<Vec<String>> {
        self.imposed().get(method).cloned()
    }

    /// `auth.set_rpc_authorizations`.
    pub(crate) fn impose(&self, method: &str, capabilities: Vec<String>) {
        self.imposed().insert(method.to_owned(), capabilities);
    }
}

impl Cx {
    /// The capabilities of `user` as this agent knows them: none if the user is unknown. Without authentication on the
    /// bus nobody has any, and nothing requires them.
    pub async fn capabilities_of(&self, user: &str) -> Result<Option<CapabilityMap>, CallError> {
        match &self.0.auth.source {
            Capabilities::Off | Capabilities::Unneeded => Ok(None),
            Capabilities::Local(source) => Ok(source.capabilities(user)),
            Capabilities::Remote => {
                let map = self.user_to_capabilities().await?;
                Ok(map.get(user).map(|caps| caps.as_object().cloned().unwrap_or_default()))
            }
        }
    }

    /// True when callers on this bus are authenticated.
    pub fn auth_enabled(&self) -> bool {
        match &self.0.auth.source {
            Capabilities::Off | Capabilities::Unneeded => false,
            Capabilities::Local(source) => source.enabled(),
            Capabilities::Remote => true,
        }
    }

    /// True when [hardened](crate::Method::hardened) methods are as open as in 9.x.
    pub(crate) fn open_methods(&self) -> bool {
        matches!(&self.0.auth.source, Capabilities::Local(source) if source.open_methods())
    }

    async fn user_to_capabilities(&self) -> Result<Arc<Map<String, Value>>, CallError> {
        if let Some(map) = self.0.auth.cached().clone() {
            return Ok(map);
        }
        // One fetch at a time; the others find its result.
        let _one = self.0.auth.fetching.lock().await;
        if let Some(map) = self.0.auth.cached().clone() {
            return Ok(map);
        }
        let call = self.call(AUTH, "get_user_to_capabilities").timeout(FETCH_TIMEOUT);
        let map = Arc::new(call.send::<Map<String, Value>>().await?);
        // A push that arrived meanwhile is newer.
        Ok(self.0.auth.cached().get_or_insert(map).clone())
    }

    /// `{method: [capabilities]}` of all methods without a dot.
    pub(crate) fn rpc_authorizations(&self) -> BTreeMap<String, Vec<String>> {
        self.0.rpc.declared().map(|m| (m.name().to_owned(), self.authorizations_of(m.name()))).collect()
    }

    /// What `auth.get_rpc_authorizations` answers: `[]` for unknown and dotted names.
    pub(crate) fn authorizations_of(&self, method: &str) -> Vec<String> {
        let Some(declared) = self.0.rpc.declared().find(|m| m.name() == method) else { return Vec::new() };
        self.0.auth.imposed_on(method).unwrap_or_else(|| declared.access().capabilities())
    }

    /// `auth.set_rpc_authorizations`; unknown methods are an error.
    pub(crate) fn set_authorizations(&self, method: &str, capabilities: Vec<String>) -> Result<(), RpcError> {
        if !self.0.rpc.declared().any(|m| m.name() == method) {
            return Err(RpcError::attribute_error(format!(
                "'{}' object has no attribute '{method}'",
                self.class_name()
            )));
        }
        self.0.auth.impose(method, capabilities);
        Ok(())
    }

    /// Tells the auth service what our methods require and takes over what it answers (auth.md section 6.1).
    pub(crate) async fn report_authorizations(&self) {
        let ours = self.rpc_authorizations();
        let call = self
            .call(AUTH, "update_id_rpc_authorizations")
            .arg(self.identity())
            .arg(&ours)
            .timeout(REPORT_TIMEOUT);
        match call.send::<Option<BTreeMap<String, Vec<String>>>>().await {
            Ok(None) => tracing::warn!(
                "the platform has no auth entry for identity '{}': administrators cannot adjust its methods",
                self.identity()
            ),
            Ok(Some(effective)) => {
                for (method, capabilities) in effective {
                    if ours.get(&method) != Some(&capabilities)
                        && self.set_authorizations(&method, capabilities).is_err()
                    {
                        tracing::warn!(
                            "the platform's auth entry names method '{method}', which does not exist"
                        );
                    }
                }
            }
            Err(error) => tracing::warn!("the auth service did not take our method requirements: {error}"),
        }
    }
}
