//! What the service's methods do to the document. Pure, except for [`write_accepted`].

use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use volttron_utils::identity;

use crate::auth::AuthState;
use crate::auth::entry::Entry;
use crate::auth::file::{AuthFile, EditError, List};
use crate::auth::pending::Request;

/// Comment of the entries that setup mode makes.
pub const SETUP_COMMENT: &str = "Auth entry added in setup mode";

/// What an administrator decides about a request or an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Let in.
    Approve,
    /// Refuse for good.
    Deny,
    /// Forget: neither let in nor refused for good.
    Delete,
}

/// Whether a user is the platform itself or its command line.
pub fn is_own_user(user_id: &str) -> bool {
    identity::belongs_to_process(user_id) || identity::is_control_connection(user_id)
}

/// Carries out a decision about `user_id`, which is that of the pending `request`, of an entry, or of nothing.
pub fn decide(
    file: &mut AuthFile,
    decision: Decision,
    user_id: &str,
    request: Option<&Request>,
) -> Result<(), EditError> {
    if decision != Decision::Approve && is_own_user(user_id) {
        // A denied command line tool could not take its own denial back.
        return Err(EditError::Value(format!(
            "user_id {user_id} belongs to the platform and cannot be denied or deleted"
        )));
    }
    let target = match decision {
        Decision::Approve => Some(List::Allow),
        Decision::Deny => Some(List::Deny),
        Decision::Delete => None,
    };
    for list in [List::Allow, List::Deny] {
        if target == Some(list) {
            continue;
        }
        let moved: Vec<Entry> = file.entries(list).filter(|e| e.user_id == user_id).cloned().collect();
        file.retain(list, |e| e.user_id != user_id);
        if let Some(target) = target {
            for entry in moved {
                file.add(target, entry, true)?;
            }
        }
    }
    match (target, request) {
        (Some(target), Some(request)) => file.add(target, request.to_entry(), true),
        _ => Ok(()),
    }
}

fn of_identity<'a>(file: &'a AuthFile, identity: &str) -> Option<&'a Entry> {
    file.entries(List::Allow).find(|e| e.identity.as_deref() == Some(identity))
}

/// What [`merge_authorizations`] would answer, if it would change nothing; else `None`.
pub fn merged_already(
    file: &AuthFile,
    identity: &str,
    submitted: &[(String, Vec<String>)],
) -> Option<Option<Map<String, Value>>> {
    let Some(entry) = of_identity(file, identity) else { return Some(None) };
    let mut effective = Map::new();
    for (method, names) in submitted {
        let stored = entry.rpc_method_authorizations.get(method)?;
        if entry.required_for(method).is_empty() && !names.is_empty() {
            return None;
        }
        effective.insert(method.clone(), stored.clone());
    }
    Some(Some(effective))
}

/// An agent states what its methods require: taken over where the entry says nothing, else the entry counts. Gives
/// what is in force for the submitted methods; `None` if no entry has the identity (auth.md section 6.2).
pub fn merge_authorizations(
    file: &mut AuthFile,
    identity: &str,
    submitted: &[(String, Vec<String>)],
) -> Option<Map<String, Value>> {
    let mut effective = None;
    file.for_each_allowed(|entry| {
        if effective.is_some() || entry.identity.as_deref() != Some(identity) {
            return;
        }
        let mut answer = Map::new();
        for (method, names) in submitted {
            if entry.required_for(method).is_empty() {
                entry.rpc_method_authorizations.insert(method.clone(), json!(names));
            }
            answer.insert(method.clone(), json!(entry.required_for(method)));
        }
        effective = Some(answer);
    });
    effective
}

/// Adds requirements to a method of an agent, or takes them away. Taking the last one away leaves `[""]`: explicitly
/// unrestricted, so that the agent's own declaration does not come back. False if no entry has the identity.
pub fn adjust_authorizations(
    file: &mut AuthFile,
    identity: &str,
    method: &str,
    names: &[String],
    add: bool,
) -> bool {
    let mut found = false;
    file.for_each_allowed(|entry| {
        if entry.identity.as_deref() != Some(identity) {
            return;
        }
        found = true;
        let mut required = entry.required_for(method);
        if add {
            // `""` next to a name would be a capability that nobody can have.
            required.retain(|n| !n.is_empty());
            for name in names {
                if !required.contains(name) {
                    required.push(name.clone());
                }
            }
        } else {
            required.retain(|n| !names.contains(n));
            if required.is_empty() {
                required.push(String::new());
            }
        }
        entry.rpc_method_authorizations.insert(method.to_owned(), json!(required));
    });
    found
}

/// Writes the entries of connections that setup mode let in, for as long as the platform runs.
pub async fn write_accepted(state: AuthState, mut accepted: mpsc::Receiver<Request>) {
    while let Some(request) = accepted.recv().await {
        let writer = state.clone();
        let written = tokio::task::spawn_blocking(move || {
            let entry = request.to_entry().with_comment(SETUP_COMMENT);
            writer.change(|file| match file.add(List::Allow, entry, false) {
                // The same connection came again before its entry was written.
                Err(EditError::EntryExists { .. }) => Ok(()),
                other => other,
            })
        });
        match written.await {
            Ok(Ok(())) => {}
            Ok(Err(e)) => tracing::error!("setup mode cannot write an auth entry: {e}"),
            Err(e) => tracing::error!("setup mode cannot write an auth entry: {e}"),
        }
    }
}

#[cfg(test)]
#[path = "changes_tests.rs"]
mod tests;
