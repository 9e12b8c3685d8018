//! The methods the web service calls (subsystems.md section 12). Nobody else may.

use std::sync::Arc;

use futures_util::FutureExt;
use serde_json::{Map, Value};
use volttron_utils::identity;
use volttron_utils::jsonrpc::RpcError;

use super::WebRequest;
use crate::access::Access;
use crate::agent::MethodFn;
use crate::rpc::{Method, Request};

/// The callbacks, in the order in which Python exports them.
pub(crate) fn methods() -> Vec<(Method, MethodFn)> {
    let mut names = vec![identity::WEB.to_owned()];
    names.extend(identity::alias_of(identity::WEB).map(str::to_owned));
    let method = |name: &str| Method::new(name, Access::Callers(names.clone()));
    vec![
        (method("client.opened").param("fromip").param("endpoint"), Arc::new(|r| opened(r).boxed())),
        (method("client.closed").param("endpoint"), Arc::new(|r| closed(r).boxed())),
        (method("client.message").param("endpoint").param("message"), Arc::new(|r| message(r).boxed())),
        (method("route.callback").param("env").param("data"), Arc::new(|r| route(r).boxed())),
    ]
}

/// Null for a path that is not ours, as Python answers.
async fn route(request: Request) -> Result<Value, RpcError> {
    let web = WebRequest {
        env: request.arg::<Map<String, Value>>("env")?,
        data: request.value("data").cloned().unwrap_or_default(),
    };
    let found = request.cx.0.web.lock().endpoints.get(web.path()).map(|(_, handler)| handler.clone());
    match found {
        Some(handler) => handler(request.cx.clone(), web).await,
        None => Ok(Value::Null),
    }
}

/// The handlers of the websocket that `request` is about.
fn socket(request: &Request) -> Result<Option<super::WebSocket>, RpcError> {
    let endpoint: String = request.arg("endpoint")?;
    let found = request.cx.0.web.lock().sockets.get(&endpoint).cloned();
    if found.is_none() {
        tracing::warn!("{} for the websocket {endpoint:?}, which is not registered", request.method());
    }
    Ok(found)
}

async fn opened(request: Request) -> Result<Value, RpcError> {
    let from_ip: String = request.arg("fromip")?;
    match socket(&request)? {
        Some(handlers) => Ok((handlers.opened)(request.cx.clone(), from_ip).await.into()),
        None => Ok(false.into()),
    }
}

async fn closed(request: Request) -> Result<Value, RpcError> {
    if let Some(handler) = socket(&request)?.and_then(|handlers| handlers.closed) {
        handler(request.cx.clone()).await;
    }
    Ok(Value::Null)
}

async fn message(request: Request) -> Result<Value, RpcError> {
    let text: String = request.arg("message")?;
    if let Some(handler) = socket(&request)?.and_then(|handlers| handlers.message) {
        handler(request.cx.clone(), text).await;
    }
    Ok(Value::Null)
}
