//! The `auth_file.*` methods: the document over the bus.

use std::sync::Arc;

use serde_json::Value;
use volttron_client::{Method, Registrar, Request, RpcError};

use super::{AuthService, admin, errors, open};
use crate::auth::entry::Entry;
use crate::auth::file::{AuthFile, EditError, List};

/// Reading is everybody's; writing needs the capability, unless the operator opened these methods.
pub fn register(b: &mut Registrar<AuthService>) {
    b.rpc(
        open("auth_file.read"),
        |agent, _: Request| async move { Ok(agent.state.snapshot().file.to_rpc()) },
    );
    b.rpc(
        open("auth_file.find_by_credentials").param("credentials").optional("is_allow", true),
        |agent, req: Request| async move {
            let (credentials, list) = (req.arg::<String>("credentials")?, list_of(&req)?);
            let snapshot = agent.state.snapshot();
            let found = snapshot.file.find_by_credentials(list, &credentials);
            Ok(found.into_iter().map(Entry::to_value).collect::<Vec<_>>())
        },
    );
    register_writes(b);
}

fn write(name: &str) -> Method {
    admin(name).hardened()
}

fn register_writes(b: &mut Registrar<AuthService>) {
    b.rpc(write("auth_file.add").param("entry"), |agent, req: Request| async move {
        let entry = entry_of(&req, "entry")?;
        agent.change(&req.caller.user, move |file| file.add(List::Allow, entry, false)).await
    });
    b.rpc(
        write("auth_file.update_by_index").param("auth_entry").param("index").optional("is_allow", true),
        |agent, req: Request| async move {
            let (entry, index, list) = (entry_of(&req, "auth_entry")?, req.arg("index")?, list_of(&req)?);
            agent.change(&req.caller.user, move |file| file.update(list, index, entry)).await
        },
    );
    b.rpc(
        write("auth_file.remove_by_credentials").param("credentials").optional("is_allow", true),
        |agent, req: Request| async move {
            let (credentials, list) = (req.arg::<String>("credentials")?, list_of(&req)?);
            let remove = move |file: &mut AuthFile| {
                file.remove_by_credentials(list, &credentials);
                Ok(())
            };
            agent.change(&req.caller.user, remove).await
        },
    );
    b.rpc(
        write("auth_file.remove_by_index").param("index").optional("is_allow", true),
        |agent: Arc<AuthService>, req: Request| async move {
            let (index, list): (i64, _) = (req.arg("index")?, list_of(&req)?);
            agent.change(&req.caller.user, move |file| file.remove(list, &[index])).await
        },
    );
    b.rpc(
        write("auth_file.remove_by_indices").param("indices").optional("is_allow", true),
        |agent: Arc<AuthService>, req: Request| async move {
            let (indices, list): (Vec<i64>, _) = (req.arg("indices")?, list_of(&req)?);
            agent.change(&req.caller.user, move |file| file.remove(list, &indices)).await
        },
    );
    for what in ["groups", "roles"] {
        b.rpc(
            write(&format!("auth_file.set_{what}")).param(what),
            move |agent: Arc<AuthService>, req: Request| async move {
                let value = req.value(what).cloned().unwrap_or(Value::Null);
                let set = move |file: &mut AuthFile| -> Result<(), EditError> {
                    if what == "groups" { file.set_groups(&value) } else { file.set_roles(&value) }
                };
                agent.change(&req.caller.user, set).await
            },
        );
    }
}

fn entry_of(req: &Request, param: &str) -> Result<Entry, RpcError> {
    Entry::from_value(req.value(param).unwrap_or(&Value::Null)).map_err(errors::entry)
}

fn list_of(req: &Request) -> Result<List, RpcError> {
    req.arg::<bool>("is_allow").map(List::from)
}
