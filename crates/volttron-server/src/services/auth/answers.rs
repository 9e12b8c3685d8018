//! The service's answers to questions. Nothing here changes anything.

use serde_json::{Value, json};

use crate::auth::AuthState;
use crate::auth::entry::{Entry, Mechanism};
use crate::auth::file::List;
use crate::auth::table::{Presented, Verdict};

/// `[capabilities, groups, roles]` of a user, given by name or as the composite id of a connection.
pub fn authorizations(state: &AuthState, user: &str) -> Option<[Value; 3]> {
    let snapshot = state.snapshot();
    let table = &snapshot.table;
    let of = |user: &str| {
        let capabilities = table.capabilities_of(user)?.clone();
        Some([Value::Object(capabilities), json!(table.groups_of(user)), json!(table.roles_of(user))])
    };
    of(user).or_else(|| {
        let parts = split_composite(user);
        let [domain, address, mechanism, credentials @ ..] = parts.as_slice() else { return None };
        let presented = Presented {
            domain,
            address,
            mechanism: Mechanism::parse(mechanism)?,
            credentials: credentials.first().map_or("", String::as_str),
        };
        match table.authenticate(presented) {
            Verdict::Allowed { user_id, .. } => of(&user_id),
            Verdict::Denied { .. } | Verdict::Unknown => None,
        }
    })
}

/// A composite user id: parts joined by commas, commas and backslashes in them escaped by a backslash.
fn split_composite(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            ',' => parts.push(String::new()),
            '\\' => parts.last_mut().into_iter().for_each(|p| p.extend(chars.next())),
            _ => parts.last_mut().into_iter().for_each(|p| p.push(c)),
        }
    }
    parts
}

/// Requests nobody decided about yet.
pub fn pending(state: &AuthState) -> Vec<Value> {
    state.with_pending(|p| p.iter().map(crate::auth::pending::Request::to_value).collect())
}

/// Entries that were made for an address, in the form of requests.
pub fn decided(state: &AuthState, list: List) -> Vec<Value> {
    let snapshot = state.snapshot();
    let retries = |e: &Entry| match list {
        List::Allow => 0,
        List::Deny => state.with_pending(|p| p.denied_retries(&e.user_id)),
    };
    let with_address = snapshot.file.entries(list).filter(|e| !e.address.is_any());
    with_address
        .map(|e| {
            json!({
                "domain": e.domain.to_value(),
                "address": e.address.to_value(),
                "mechanism": e.mechanism.as_str(),
                "credentials": e.credentials.to_value(),
                "user_id": e.user_id,
                "retries": retries(e),
            })
        })
        .collect()
}

/// The credential of the request or entry of that user id; empty if there is none.
pub fn credential(state: &AuthState, user_id: &str) -> String {
    if let Some(key) = state.with_pending(|p| p.get(user_id).map(|r| r.credentials.clone())) {
        return key;
    }
    let snapshot = state.snapshot();
    let of_list = |list| snapshot.file.entries(list).find(|e| e.user_id == user_id);
    let entry = of_list(List::Allow).or_else(|| of_list(List::Deny));
    entry.and_then(|e| e.credentials.texts().first().cloned()).unwrap_or_default()
}

/// What was decided about that user id. The last word is spelt as callers know it.
pub fn status(state: &AuthState, user_id: &str) -> &'static str {
    if state.with_pending(|p| p.get(user_id).is_some()) {
        return "PENDING";
    }
    let snapshot = state.snapshot();
    let has = |list| snapshot.file.entries(list).any(|e| e.user_id == user_id);
    // Deny entries take precedence when both lists have the user.
    if has(List::Deny) {
        "DENIED"
    } else if has(List::Allow) {
        "APPROVED"
    } else {
        "UNKOWN"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn composite_ids_are_split_at_bare_commas() {
        let table: &[(&str, &[&str])] = &[
            ("vip,localhost:1:2:3,CURVE,key", &["vip", "localhost:1:2:3", "CURVE", "key"]),
            (r"a\,b,c\\,d", &["a,b", r"c\", "d"]),
            ("", &[""]),
            ("a,", &["a", ""]),
            (r"a\", &["a"]),
        ];
        for (text, want) in table {
            assert_eq!(split_composite(text), *want, "{text}");
        }
    }
}
