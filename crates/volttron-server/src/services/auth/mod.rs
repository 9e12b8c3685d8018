//! `platform.auth`: the auth rules as an agent, for everything that asks or changes them over the bus (auth.md
//! section 9).
//!
//! Owns the methods, the watching of the files while the platform runs, and the pushes to agents. Must never decide
//! about connections (the router asks [`AuthState`] itself) or keep rules of its own. Start reading at
//! [`AuthService::register`]; what a change does to the document is in [`changes`].

mod answers;
pub mod changes;
mod errors;
mod files;
mod push;
mod reported;
mod standin;
mod successor;
mod why;

pub use standin::StandIn;

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Map, Value};
use volttron_client::{Access, Agent, AgentError, Cx, Method, Registrar, Request, RpcError};
use volttron_utils::home::Home;
use volttron_utils::identity;

use crate::auth::file::{AuthFile, EditError, List};
use crate::auth::{AuthState, watch};

/// What administrators of authorisations hold.
const ADMIN: &str = "allow_auth_modifications";

/// The agent. Connect it as [`IDENTITY`](AuthService::IDENTITY).
#[derive(Debug)]
pub struct AuthService {
    state: AuthState,
    /// The protected topics' file, if edits by other programs are noticed.
    watched: Option<PathBuf>,
    pushed: push::Pushed,
    reported: reported::Reported,
}

impl AuthService {
    /// The service's identity, the same in every generation.
    pub const IDENTITY: &'static str = identity::AUTH;

    /// A service for the rules in `state`, which belong to `home`.
    pub fn new(state: AuthState, home: &Home) -> Self {
        let pushed = push::Pushed::new(&state);
        Self { state, watched: Some(home.protected_topics()), pushed, reported: reported::Reported::new() }
    }

    /// As [`Self::new`] for rules that are on no real disk.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn unwatched(state: AuthState) -> Self {
        let pushed = push::Pushed::new(&state);
        Self { state, watched: None, pushed, reported: reported::Reported::new() }
    }

    /// Changes the auth file off the runtime's threads, on behalf of `by`.
    async fn change<T: Send + 'static>(
        &self,
        by: &str,
        change: impl FnOnce(&mut AuthFile) -> Result<T, EditError> + Send + 'static,
    ) -> Result<T, RpcError> {
        let (state, by) = (self.state.clone(), by.to_owned());
        match crate::blocking::run(move || state.change_by(&by, change)).await {
            Ok(result) => result.map_err(errors::change),
            Err(e) => Err(RpcError::runtime_error(format!("changing the auth file failed: {e}"))),
        }
    }
}

impl Agent for AuthService {
    const NAME: &'static str = "AuthService";

    fn register(b: &mut Registrar<Self>) {
        register_questions(b);
        register_decisions(b);
        register_authorizations(b);
        files::register(b);
        successor::register(b);
        reported::register(b);
        why::register(b);
        // In the set-up phase, so that edits count even while the bus is not there yet.
        b.on_setup(|agent, cx: Cx| async move {
            if let Some(protected) = agent.watched.clone() {
                cx.spawn(watch::run(agent.state.clone(), protected));
            }
            if let Some(accepted) = agent.state.take_accepted() {
                cx.spawn(changes::write_accepted(agent.state.clone(), accepted));
            }
            Ok::<_, AgentError>(())
        });
        b.on_start(|agent: Arc<Self>, cx: Cx| async move {
            cx.spawn(push::run(agent, cx.clone()));
            Ok(())
        });
    }
}

fn admin(name: &str) -> Method {
    Method::new(name, Access::Capability(ADMIN))
}

fn open(name: &str) -> Method {
    Method::new(name, Access::Open)
}

/// Who is who, and who waits.
fn register_questions(b: &mut Registrar<AuthService>) {
    b.rpc(
        open("get_user_to_capabilities").doc("Capabilities of every user."),
        |agent, _: Request| async move { Ok(agent.state.snapshot().table.users()) },
    );
    b.rpc(
        open("get_authorizations")
            .param("user_id")
            .doc("Capabilities, groups and roles of a user; null if unknown."),
        |agent, req: Request| async move {
            Ok(answers::authorizations(&agent.state, &req.arg::<String>("user_id")?))
        },
    );
    for (i, name) in ["get_capabilities", "get_groups", "get_roles"].into_iter().enumerate() {
        b.rpc(open(name).param("user_id"), move |agent, req: Request| async move {
            let all = answers::authorizations(&agent.state, &req.arg::<String>("user_id")?);
            Ok(all.and_then(|parts| parts.into_iter().nth(i)).unwrap_or_else(|| Value::Array(Vec::new())))
        });
    }
    b.rpc(open("get_pending_authorizations"), |agent, _: Request| async move {
        Ok(answers::pending(&agent.state))
    });
    b.rpc(open("get_approved_authorizations"), |agent, _: Request| async move {
        Ok(answers::decided(&agent.state, List::Allow))
    });
    b.rpc(open("get_denied_authorizations"), |agent, _: Request| async move {
        Ok(answers::decided(&agent.state, List::Deny))
    });
    b.rpc(
        admin("get_authorization")
            .param("common_name")
            .doc("The credential of a request or entry, else an empty text."),
        |agent, req: Request| async move {
            Ok(answers::credential(&agent.state, &req.arg::<String>("common_name")?))
        },
    );
    b.rpc(admin("get_authorization_status").param("common_name"), |agent, req: Request| async move {
        Ok(answers::status(&agent.state, &req.arg::<String>("common_name")?))
    });
}

/// Deciding about requests and entries. An unknown user id is nobody's error.
fn register_decisions(b: &mut Registrar<AuthService>) {
    let decisions: [(&str, changes::Decision); 3] = [
        ("approve_authorization", changes::Decision::Approve),
        ("deny_authorization", changes::Decision::Deny),
        ("delete_authorization", changes::Decision::Delete),
    ];
    for (name, decision) in decisions {
        b.rpc(admin(name).param("user_id"), move |agent: Arc<AuthService>, req: Request| async move {
            let user_id: String = req.arg("user_id")?;
            let request = agent.state.with_pending(|p| p.get(&user_id).cloned());
            let of = user_id.clone();
            let by = &req.caller.user;
            agent.change(by, move |file| changes::decide(file, decision, &of, request.as_ref())).await?;
            // Approved and denied requests leave the list by themselves when the new rules come into force.
            agent.state.with_pending(|p| p.retain(|r| r.user_id != user_id));
            tracing::info!("{name} {user_id} by {}", req.caller.user);
            Ok(())
        });
    }
}

/// Which capabilities agents ask of their callers.
fn register_authorizations(b: &mut Registrar<AuthService>) {
    let own = Access::SelfOr { param: "identity".to_owned(), capability: ADMIN.to_owned() };
    b.rpc(
        Method::new("update_id_rpc_authorizations", own)
            .param("identity")
            .param("rpc_methods")
            .hardened()
            .doc("Takes an agent's declared requirements; gives those in force, or null if no entry has the identity."),
        |agent, req: Request| async move {
            let (identity, methods): (String, Map<String, Value>) = (req.arg("identity")?, req.arg("rpc_methods")?);
            agent.update_authorizations(identity, methods).await
        },
    );
    for (name, third) in
        [("add_rpc_authorizations", "authorizations"), ("delete_rpc_authorizations", "denied_authorizations")]
    {
        let method = admin(name).param("identity").param("method").param(third).hardened();
        b.rpc(method, move |agent: Arc<AuthService>, req: Request| async move {
            let (identity, method): (String, String) = (req.arg("identity")?, req.arg("method")?);
            if identity::belongs_to_process(&identity) {
                tracing::error!("{name}: requirements of the platform service {identity} cannot be changed");
                return Ok(());
            }
            let names = errors::names(req.value(third).unwrap_or(&Value::Null), third)?;
            let add = third == "authorizations";
            agent
                .change(&req.caller.user, move |file| {
                    if !changes::adjust_authorizations(file, &identity, &method, &names, add) {
                        tracing::error!("{name}: no auth entry has the identity {identity}");
                    }
                    Ok(())
                })
                .await
        });
    }
}

impl AuthService {
    async fn update_authorizations(
        &self,
        identity: String,
        methods: Map<String, Value>,
    ) -> Result<Option<Map<String, Value>>, RpcError> {
        let mut submitted = Vec::with_capacity(methods.len());
        for (method, names) in methods {
            submitted.push((method, errors::names(&names, "rpc_methods")?));
        }
        // Most starts of an agent submit what the file has: no need to go to the disk for that.
        if let Some(known) = changes::merged_already(&self.state.snapshot().file, &identity, &submitted) {
            return Ok(known);
        }
        let of = identity.clone();
        let effective = self
            .change(&identity, move |file| Ok(changes::merge_authorizations(file, &of, &submitted)))
            .await?;
        // The agent learns the outcome from this answer; pushing it as well would be an echo.
        self.pushed.knows(&identity, &self.state);
        Ok(effective)
    }
}

#[cfg(test)]
#[path = "service_tests.rs"]
mod tests;
