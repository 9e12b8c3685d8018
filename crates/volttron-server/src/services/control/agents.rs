//! The methods about installed agents.

use std::fs;
use std::sync::Arc;

use serde_json::{Value, json};
use volttron_client::{Method, Registrar, Request, RpcError};
use volttron_utils::keys::keystore;
use volttron_utils::time::format_timestamp;

use super::{Control, change, operators, read};
use crate::supervisor::installed::check_priority;
use crate::supervisor::machine::ProcessStatus;
use crate::supervisor::{Crash, Details, InstalledAgent, StartError, Usage, how_ended};

/// Checks the `uuid` argument as the original does.
pub(super) fn uuid(request: &Request) -> Result<String, RpcError> {
    match request.value("uuid") {
        Some(Value::String(uuid)) if uuid.contains(['/', '.']) => Err(RpcError::value_error("invalid agent")),
        Some(Value::String(uuid)) => Ok(uuid.clone()),
        _ => Err(RpcError::type_error("string argument without an encoding")),
    }
}

impl Control {
    fn known(&self, request: &Request) -> Result<InstalledAgent, RpcError> {
        let uuid = uuid(request)?;
        self.supervisor().agent(&uuid).ok_or_else(RpcError::file_not_found)
    }

    pub(super) fn to_change(&self, request: &Request) -> Result<InstalledAgent, RpcError> {
        let uuid = uuid(request)?;
        self.supervisor().agent(&uuid).ok_or_else(|| RpcError::value_error("invalid agent"))
    }

    pub(super) async fn start(&self, uuid: &str) -> Result<(), RpcError> {
        match self.supervisor().start(uuid).await {
            Ok(_) => Ok(()),
            Err(error @ (StartError::AlreadyRunning | StartError::Unknown(_))) => {
                Err(RpcError::value_error(error.to_string()))
            }
            Err(error @ StartError::Launch { .. }) => Err(RpcError::runtime_error(error.to_string())),
        }
    }

    pub(super) async fn stop(&self, uuid: &str) -> Result<(), RpcError> {
        self.supervisor().stop(uuid).await.map_err(|e| RpcError::value_error(e.to_string()))
    }
}

/// Runs what waits for the disk where it may wait.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, RpcError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(RpcError::runtime_error),
        Err(_) => Err(RpcError::internal("the work was interrupted")),
    }
}

/// What reads.
pub fn register_reads(b: &mut Registrar<Control>) {
    b.rpc(read("list_agents").doc("Installed agents."), |s: Arc<Control>, _: Request| async move {
        let agents = s.supervisor().agents();
        Ok(agents.iter().map(listed).collect::<Vec<_>>())
    });
    let status_agents = read("status_agents").optional("get_agent_user", false);
    b.rpc(status_agents, |s: Arc<Control>, r: Request| async move {
        let with_user = s.supervisor().isolation().is_some() && r.arg::<bool>("get_agent_user")?;
        let home = s.supervisor().home();
        let user = |identity: &str| fs::read_to_string(home.agent(identity).user_id()).unwrap_or_default();
        let rows = s.supervisor().statuses().into_iter();
        let row = |(uuid, name, status, identity): (String, String, ProcessStatus, String)| {
            if with_user {
                json!([uuid, name, user(&identity), status, identity])
            } else {
                json!([uuid, name, status, identity])
            }
        };
        Ok(rows.map(row).collect::<Vec<_>>())
    });
    b.rpc(read("agent_status").param("uuid"), |s: Arc<Control>, r: Request| async move {
        Ok(s.supervisor().status(&uuid(&r)?))
    });
    b.rpc(
        read("agent_name").param("uuid"),
        |s: Arc<Control>, r: Request| async move { Ok(s.known(&r)?.name) },
    );
    b.rpc(read("agent_version").param("uuid"), |s: Arc<Control>, r: Request| async move {
        Ok(s.known(&r)?.version().to_owned())
    });
    b.rpc(read("agent_versions"), |s: Arc<Control>, _: Request| async move {
        let agents = s.supervisor().agents();
        let versions = agents.iter().map(|a| (a.uuid.clone(), json!([a.name, a.version()])));
        Ok(versions.collect::<serde_json::Map<_, _>>())
    });
    b.rpc(read("agent_vip_identity").param("uuid"), |s: Arc<Control>, r: Request| async move {
        Ok(s.supervisor().agent(&uuid(&r)?).map(|a| a.identity))
    });
    b.rpc(read("identity_exists").param("identity"), |s: Arc<Control>, r: Request| async move {
        let identity = r.value("identity").and_then(Value::as_str).unwrap_or_default();
        if identity.is_empty() {
            return Err(RpcError::value_error("Attribute identity cannot be None or empty"));
        }
        Ok(s.supervisor().agents().into_iter().find(|a| a.identity == identity).map(|a| a.uuid))
    });
    b.rpc(read("agent_priority").param("uuid"), |s: Arc<Control>, r: Request| async move {
        Ok(s.known(&r)?.priority.unwrap_or_default())
    });
    b.rpc(read("get_all_agent_publickeys"), |s: Arc<Control>, _: Request| async move {
        let agents = s.supervisor().agents();
        let keys = agents.iter().filter_map(|a| {
            let public = keystore::load(&a.keystore()).ok()?.public;
            Some((a.identity.clone(), public.to_string().into()))
        });
        Ok(keys.collect::<serde_json::Map<_, _>>())
    });
    let details =
        read("agent_details").param("uuid").doc("State, restarts, last exit and last log lines of an agent.");
    b.rpc(details, |s: Arc<Control>, r: Request| async move {
        Ok(s.supervisor().details(&uuid(&r)?).map(|details| shown(&details)))
    });
    let reports = Method::new("agent_reports", operators())
        .doc("By uuid: state, restarts, last exit, last log lines and use of the machine of every agent that was started.");
    b.rpc(reports, |s: Arc<Control>, _: Request| async move {
        let supervisor = s.supervisor().clone();
        blocking(move || {
            let mut usages = supervisor.usages();
            let all = supervisor.all_details().into_iter().map(|(uuid, details)| {
                let mut report = shown(&details);
                report["usage"] = usages.remove(&uuid).map_or(Value::Null, |usage| used(&usage));
                (uuid, report)
            });
            Ok(all.collect::<serde_json::Map<_, _>>())
        })
        .await
    });
}

fn shown(d: &Details) -> Value {
    json!({
        "state": d.state, "restarts": d.restarts, "since": d.since.map(format_timestamp),
        "last_exit": d.last_exit, "exit_unknown": d.exit_unknown, "adopted": d.adopted, "launch_error": d.launch_error, "last_log": d.last_log,
        "protection": d.protection,
        "last_crash": d.last_crash.as_ref().map(crashed), "log_file": d.log_file,
    })
}

/// What is known of a process that another platform had started.
const UNKNOWN_END: &str = "an unknown exit code (an earlier platform had started it)";

fn crashed(crash: &Crash) -> Value {
    json!({
        "exit": crash.code, "how": crash.code.map_or_else(|| UNKNOWN_END.to_owned(), how_ended), "pid": crash.pid, "at": format_timestamp(crash.at),
        "last_error": crash.last_error,
    })
}

fn used(usage: &Usage) -> Value {
    let round = |number: f64| (number * 100.0).round() / 100.0;
    json!({
        "user": usage.user, "processes": usage.family.processes, "memory_bytes": usage.family.memory_bytes,
        "cpu_s": round(usage.family.cpu_s), "cpu_percent": round(usage.cpu_percent),
        "cpu_window_s": round(usage.cpu_window_s),
    })
}

fn listed(agent: &InstalledAgent) -> Value {
    json!({
        "name": agent.name, "uuid": agent.uuid, "tag": agent.tag, "priority": agent.priority,
        "identity": agent.identity,
    })
}

/// What changes.
pub fn register_changes(b: &mut Registrar<Control>) {
    b.rpc(change("start_agent").param("uuid"), |s: Arc<Control>, r: Request| async move {
        s.start(&uuid(&r)?).await
    });
    b.rpc(change("stop_agent").param("uuid"), |s: Arc<Control>, r: Request| async move {
        s.stop(&uuid(&r)?).await
    });
    b.rpc(change("restart_agent").param("uuid"), |s: Arc<Control>, r: Request| async move {
        let uuid = uuid(&r)?;
        s.stop(&uuid).await?;
        s.start(&uuid).await
    });
    b.rpc(change("tag_agent").param("uuid").param("tag"), |s: Arc<Control>, r: Request| async move {
        let (mut agent, tag) = (s.to_change(&r)?, r.arg::<Option<String>>("tag")?);
        blocking(move || agent.set_tag(tag.as_deref()).map_err(|e| e.to_string())).await
    });
    let prioritize = change("prioritize_agent").param("uuid").optional("priority", "50");
    b.rpc(prioritize, |s: Arc<Control>, r: Request| async move {
        let mut agent = s.to_change(&r)?;
        let priority = match r.value("priority") {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text.clone()),
            Some(other) => Some(other.to_string()),
        };
        if let Some(text) = &priority {
            check_priority(text).map_err(|e| RpcError::value_error(e.to_string()))?;
        }
        blocking(move || agent.set_priority(priority.as_deref()).map_err(|e| e.to_string())).await
    });
    let clear = change("clear_status").optional("clear_all", false);
    b.rpc(clear, |s: Arc<Control>, r: Request| async move {
        s.supervisor().clear(r.arg("clear_all")?);
        Ok(())
    });
}
