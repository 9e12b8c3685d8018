//! The methods every agent answers (subsystems.md section 6.9). Each is synchronous: what takes time is queued.

use std::time::Duration;

use serde_json::{Map, Value};
use volttron_utils::health::Status;
use volttron_utils::jsonrpc::RpcError;

use super::{Builtins, Method, Request};
use crate::access::Access;
use crate::auth::AUTH;
use crate::config::{Action, Told};

/// Which built-in method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Builtin {
    Version,
    SetStatus,
    GetStatus,
    SendAlert,
    HeartbeatStart,
    HeartbeatStartWithPeriod,
    HeartbeatStop,
    HeartbeatRestart,
    HeartbeatSetPeriod,
    ConfigUpdate,
    ConfigUpdateMany,
    ConfigInitialUpdate,
    AuthUpdate,
    GetAuthorizations,
    GetAllAuthorizations,
    SetAuthorizations,
    SetManyAuthorizations,
}

/// All of them, in the order in which Python registers them.
pub(super) fn all(which: Builtins) -> Vec<(Method, Builtin)> {
    if !which.any {
        return Vec::new();
    }
    let open = |name: &str| Method::new(name, Access::Open);
    let administrators = |name: &str| Method::new(name, Access::Capability("modify_rpc_method_allowance"));
    let store = |name: &str| Method::new(name, Access::Capability("sync_agent_config"));
    let mut all = vec![
        (open("agent.version"), Builtin::Version),
        (open("health.set_status").param("status").optional("context", Value::Null), Builtin::SetStatus),
        (open("health.get_status"), Builtin::GetStatus),
        (open("health.get_status_json"), Builtin::GetStatus),
        (open("health.send_alert").param("alert_key").param("statusobj"), Builtin::SendAlert),
        (open("heartbeat.start"), Builtin::HeartbeatStart),
        (open("heartbeat.start_with_period").param("period"), Builtin::HeartbeatStartWithPeriod),
        (open("heartbeat.stop"), Builtin::HeartbeatStop),
        (open("heartbeat.restart"), Builtin::HeartbeatRestart),
        (open("heartbeat.set_period").param("period"), Builtin::HeartbeatSetPeriod),
    ];
    if which.config {
        all.push((
            store("config.update")
                .param("action")
                .param("config_name")
                .optional("contents", Value::Null)
                .optional("trigger_callback", true),
            Builtin::ConfigUpdate,
        ));
        all.push((
            store("config.update_many").param("changes").optional("trigger_callback", true).doc(
                "Changes that happened together: a list of [action, name, contents]; all or none are taken.",
            ),
            Builtin::ConfigUpdateMany,
        ));
        all.push((
            store("config.initial_update").param("configs").optional("reset_name_map", true),
            Builtin::ConfigInitialUpdate,
        ));
    }
    if which.auth {
        // Who may update is checked in the handler: others are ignored, not refused (subsystems.md section 10).
        all.push((open("auth.update").param("user_to_caps"), Builtin::AuthUpdate));
        all.push((open("auth.get_rpc_authorizations").param("method"), Builtin::GetAuthorizations));
        all.push((open("auth.get_all_rpc_authorizations"), Builtin::GetAllAuthorizations));
        all.push((
            administrators("auth.set_rpc_authorizations").param("method_str").param("capabilities"),
            Builtin::SetAuthorizations,
        ));
        all.push((
            administrators("auth.set_multiple_rpc_authorizations").param("rpc_authorizations"),
            Builtin::SetManyAuthorizations,
        ));
    }
    all
}

impl Builtin {
    pub(super) fn run(self, request: &Request) -> Result<Value, RpcError> {
        let cx = &request.cx;
        let heartbeat = cx.heartbeat();
        match self {
            Self::Version => return Ok(cx.version().into()),
            Self::SetStatus => {
                let word: Value = request.arg("status")?;
                let word = word.as_str().map_or_else(|| word.to_string(), str::to_owned);
                let status: Status = word
                    .parse()
                    .map_err(|e: volttron_utils::health::BadStatus| RpcError::value_error(e.to_string()))?;
                cx.health().set(status, request.arg::<Value>("context")?);
            }
            Self::GetStatus => return to_value(cx.health().report()),
            // The reference refuses every remote use, since a status object cannot travel.
            Self::SendAlert => return Err(RpcError::value_error("statusobj must be a Status object.")),
            Self::HeartbeatStart => heartbeat.start(),
            Self::HeartbeatStop => heartbeat.stop(),
            Self::HeartbeatRestart => heartbeat.restart(),
            Self::HeartbeatStartWithPeriod => {
                heartbeat.set_period(period(request)?);
                heartbeat.start();
            }
            Self::HeartbeatSetPeriod => heartbeat.set_period(period(request)?),
            Self::ConfigInitialUpdate => {
                cx.0.config.initial_update(request.arg("configs")?, request.arg("reset_name_map")?);
            }
            Self::ConfigUpdate => config_update(request)?,
            Self::ConfigUpdateMany => config_update_many(request)?,
            Self::AuthUpdate => {
                if request.caller.user == AUTH {
                    cx.0.auth.replace(request.arg("user_to_caps")?);
                }
            }
            Self::GetAuthorizations => {
                return to_value(cx.authorizations_of(&request.arg::<String>("method")?));
            }
            Self::GetAllAuthorizations => return to_value(cx.rpc_authorizations()),
            Self::SetAuthorizations => {
                let method: String = request.arg("method_str")?;
                cx.set_authorizations(&method, names(&request.arg("capabilities")?)?)?;
            }
            Self::SetManyAuthorizations => {
                for (method, capabilities) in request.arg::<Map<String, Value>>("rpc_authorizations")? {
                    cx.set_authorizations(&method, names(&capabilities)?)?;
                }
            }
        }
        Ok(Value::Null)
    }
}

fn config_update(request: &Request) -> Result<(), RpcError> {
    let action: String = request.arg("action")?;
    let name: Option<String> = request.arg("config_name")?;
    let name = name.unwrap_or_default();
    let trigger: bool = request.arg("trigger_callback")?;
    let state = &request.cx.0.config;
    if action == "DELETE_ALL" {
        state.delete_all(trigger);
    } else if let Some(action) = config_action(&action) {
        let contents = request.value("contents").cloned().unwrap_or_default();
        state.update(vec![Told { action, name, contents }], trigger);
    }
    // As the reference: an action it does not know changes nothing.
    Ok(())
}

fn config_update_many(request: &Request) -> Result<(), RpcError> {
    let changes: Vec<(String, String, Value)> = request.arg("changes")?;
    let told = changes.into_iter().map(|(word, name, contents)| {
        let action = config_action(&word)
            .ok_or_else(|| RpcError::value_error(format!("{word:?} is not NEW, UPDATE or DELETE")))?;
        Ok(Told { action, name, contents })
    });
    let told = told.collect::<Result<_, RpcError>>()?;
    request.cx.0.config.update(told, request.arg("trigger_callback")?);
    Ok(())
}

fn config_action(word: &str) -> Option<Action> {
    [Action::New, Action::Update, Action::Delete].into_iter().find(|action| action.as_str() == word)
}

/// A number of seconds, positive and finite.
fn period(request: &Request) -> Result<Duration, RpcError> {
    let seconds: f64 = request.arg("period")?;
    Duration::try_from_secs_f64(seconds).ok().filter(|d| !d.is_zero()).ok_or_else(|| {
        RpcError::value_error(format!("period must be a positive number of seconds, not {seconds}"))
    })
}

/// One name or a list of names.
fn names(value: &Value) -> Result<Vec<String>, RpcError> {
    let text = |v: &Value| v.as_str().map(str::to_owned);
    let names = match value {
        Value::String(_) => text(value).map(|one| vec![one]),
        Value::Array(list) => list.iter().map(text).collect(),
        _ => None,
    };
    names.ok_or_else(|| RpcError::type_error("capabilities must be text or a list of texts"))
}

fn to_value(value: impl serde::Serialize) -> Result<Value, RpcError> {
    serde_json::to_value(value).map_err(|e| RpcError::type_error(e.to_string()))
}
