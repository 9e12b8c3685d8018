//! A configuration store for tests: keeps entries in memory and pushes as the real one does. Checks nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value, json};
use volttron_utils::json as wire_json;
use volttron_utils::jsonrpc::{Params, RpcError};

use crate::{Access, Agent, Cx, Method, Registrar, Request};

/// Entries by identity and name.
#[derive(Default)]
pub(super) struct Store(Mutex<BTreeMap<String, Map<String, Value>>>);

impl Agent for Store {
    const NAME: &'static str = "TestStore";

    fn register(b: &mut Registrar<Self>) {
        let triggers = |m: Method| m.optional("trigger_callback", true).optional("send_update", true);
        b.rpc(Method::new("initialize_configs", Access::Open).param("identity"), Self::initialize)
            .rpc(
                triggers(
                    Method::new("set_config", Access::Open)
                        .param("identity")
                        .param("config_name")
                        .param("raw_contents")
                        .optional("config_type", "raw"),
                ),
                Self::set,
            )
            .rpc(
                triggers(Method::new("delete_config", Access::Open).param("identity").param("config_name")),
                Self::delete,
            );
    }
}

impl Store {
    fn of(&self, identity: &str) -> Map<String, Value> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(identity).cloned().unwrap_or_default()
    }

    async fn initialize(self: Arc<Self>, request: Request) -> Result<(), RpcError> {
        let identity: String = request.arg("identity")?;
        let configs = self.of(&identity);
        request.cx.call(&identity, "config.initial_update").arg(configs).send_value().await?;
        Ok(())
    }

    async fn set(self: Arc<Self>, request: Request) -> Result<(), RpcError> {
        let (identity, name): (String, String) = (request.arg("identity")?, request.arg("config_name")?);
        let text: String = request.arg("raw_contents")?;
        let contents = match request.arg::<String>("config_type")?.as_str() {
            "json" => wire_json::parse_commented(&text).map_err(|e| RpcError::value_error(e.to_string()))?,
            _ => Value::from(text),
        };
        let before = {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            all.entry(identity.clone()).or_default().insert(name.clone(), contents.clone())
        };
        let action = if before.is_none() { "NEW" } else { "UPDATE" };
        push(&request, &identity, action, &name, Some(contents)).await
    }

    async fn delete(self: Arc<Self>, request: Request) -> Result<(), RpcError> {
        let (identity, name): (String, String) = (request.arg("identity")?, request.arg("config_name")?);
        let gone = {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            all.get_mut(&identity).and_then(|entries| entries.shift_remove(&name))
        };
        if gone.is_none() {
            let text = format!("No configuration file \"{name}\" for VIP IDENTIY {identity}");
            return Err(RpcError::key_error(text));
        }
        push(&request, &identity, "DELETE", &name, None).await
    }
}

async fn push(
    request: &Request,
    identity: &str,
    action: &str,
    name: &str,
    contents: Option<Value>,
) -> Result<(), RpcError> {
    let cx: &Cx = &request.cx;
    if !request.arg::<bool>("send_update")? || !cx.has_peer(identity) {
        return Ok(());
    }
    let mut kwargs = Map::new();
    if let Some(contents) = contents {
        kwargs.insert("contents".into(), contents);
    }
    kwargs.insert("trigger_callback".into(), request.arg("trigger_callback")?);
    let params = Params::Mixed { args: vec![json!(action), json!(name)], kwargs };
    // As the real store: whoever is not there any more gets everything at its next start.
    if let Err(error) = cx.call(identity, "config.update").params(params).send_value().await {
        tracing::warn!("push to '{identity}': {error}");
    }
    Ok(())
}
