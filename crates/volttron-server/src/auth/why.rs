//! Why somebody may or may not do something: the rule that decides, in words (`vctl auth why`).
//!
//! Pure. Asks the same compiled table as the decisions themselves and never decides anything: what it says follows
//! from what [`AuthTable`](super::table::AuthTable) and [`access::check`] answer.

use serde::Serialize;
use serde_json::{Map, Value};
use std::fmt::Write as _;
use volttron_client::access;
use volttron_utils::identity;

use super::entry::{Entry, strings};
use super::file::List;
use super::state::Snapshot;

/// The answer to one question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The decision.
    pub allowed: bool,
    /// The question and its answer in one sentence.
    pub answer: String,
    /// The rule that decides.
    pub rule: String,
    /// What the rule was applied to.
    pub because: Vec<String>,
    /// What an administrator could do about a denial.
    pub remedy: Option<String>,
}

/// What a callee says about one of its methods.
#[derive(Clone, Debug, Default)]
pub struct Declared {
    /// `access` of `<method>.inspect`; null where the callee does not tell, as Python agents.
    pub access: Value,
    /// Capabilities that the callee asks for, those that administrators impose included.
    pub required: Vec<String>,
}

/// May `identity` publish on `topic`?
pub fn publish(snapshot: &Snapshot, identity: &str, topic: &str) -> Explanation {
    let mut because = vec![about(snapshot, identity)];
    let question = |may: bool| format!("{identity} may{} publish on {topic}", if may { "" } else { " not" });
    if identity::is_service(identity) {
        let rule = "services of the platform publish without restriction".to_owned();
        return Explanation { allowed: true, answer: question(true), rule, because, remedy: None };
    }
    let Some(required) = snapshot.protected.required(topic) else {
        let rule = "no entry of protected_topics.json covers the topic, so every peer may".to_owned();
        return Explanation { allowed: true, answer: question(true), rule, because, remedy: None };
    };
    let caps = snapshot.table.capabilities_of(identity);
    let missing: Vec<&String> =
        required.iter().filter(|name| !caps.is_some_and(|c| c.contains_key(*name))).collect();
    let allowed = caps.is_some() && missing.is_empty();
    because.extend(required.iter().map(|name| origin(snapshot, identity, name)));
    let rule = format!("protected_topics.json asks for {} to publish there", list(required));
    let remedy = (!allowed).then(|| grant(identity, required));
    Explanation { allowed, answer: question(allowed), rule, because, remedy }
}

/// May `identity` call `method` of `callee`? Restrictions of capabilities to argument values are told, not decided:
/// there are no arguments.
pub fn call(snapshot: &Snapshot, identity: &str, callee: &str, method: &str, says: &Declared) -> Explanation {
    let question =
        |may: bool| format!("{identity} may{} call {method} of {callee}", if may { "" } else { " not" });
    let mut because = vec![about(snapshot, identity)];
    let kind = says.access["kind"].as_str().unwrap_or_default();
    let declared = strings(says.access.get("capabilities"));
    let callers = strings(says.access.get("callers"));
    let imposed: Vec<String> =
        says.required.iter().filter(|name| !name.is_empty() && !declared.contains(name)).cloned().collect();
    let named = matches!(kind, "callers" | "callers_or") && callers.iter().any(|c| c == identity);
    if kind == "callers" && !named {
        let rule = format!("{callee} declares {method} for {} alone, whatever others hold", list(&callers));
        return Explanation { allowed: false, answer: question(false), rule, because, remedy: None };
    }
    let mut required = if named { Vec::new() } else { declared };
    required.extend(imposed.iter().cloned());
    if required.is_empty() {
        let who = if named { list(&callers) } else { "every authenticated peer".to_owned() };
        let rule = format!("{callee} declares {method} for {who}");
        return Explanation { allowed: true, answer: question(true), rule, because, remedy: None };
    }
    let mut rule = format!("{callee} asks for {}", list(&required));
    if !imposed.is_empty() {
        let _ = write!(rule, " ({} imposed by rpc_method_authorizations of its auth entry)", list(&imposed));
    }
    if kind == "self_or" && imposed.is_empty() {
        let param = says.access["param"].as_str().unwrap_or_default();
        let _ = write!(rule, ", except from the caller that is named by the argument `{param}`");
    }
    because.extend(required.iter().map(|name| origin(snapshot, identity, name)));
    let caps = snapshot.table.capabilities_of(identity);
    // Without arguments every restriction fails; whether the names are held decides here.
    let unrestricted = caps.map(|caps| caps.keys().map(|k| (k.clone(), Value::Null)).collect::<Map<_, _>>());
    let checked = access::check(&required, unrestricted.as_ref(), method, identity, &Map::new());
    let own = kind == "self_or" && imposed.is_empty();
    let allowed = checked.is_ok() || own;
    let answer = match (checked.is_ok(), own) {
        (false, true) => format!("{identity} may call {method} of {callee} about itself only"),
        (may, _) => question(may),
    };
    let remedy = checked.is_err().then(|| grant(identity, &required));
    Explanation { allowed, answer, rule, because, remedy }
}

/// May `identity` connect?
pub fn connect(snapshot: &Snapshot, identity: &str, bind: bool) -> Explanation {
    let question = |may: bool| format!("{identity} may{} connect", if may { "" } else { " not" });
    if identity::belongs_to_process(identity) {
        let rule = "the identity belongs to the platform itself and is not accepted from a socket".to_owned();
        return Explanation {
            allowed: false,
            answer: question(false),
            rule,
            because: Vec::new(),
            remedy: None,
        };
    }
    let because = vec![about(snapshot, identity)];
    let entries: Vec<(usize, &Entry)> =
        snapshot.file.entries(List::Allow).enumerate().filter(|(_, e)| e.names(identity)).collect();
    if let Some((index, entry)) = entries.iter().find(|(_, e)| e.enabled) {
        let key = entry.credentials.texts().join(", ");
        let only = if bind { "only" } else { "also" };
        let rule = format!("allow entry {index} lets it in, {only} with key {key}");
        return Explanation { allowed: true, answer: question(true), rule, because, remedy: None };
    }
    if let Some((index, _)) = entries.first() {
        let rule = format!("allow entry {index} is disabled");
        let remedy = Some(format!("vctl auth update {index}"));
        return Explanation { allowed: false, answer: question(false), rule, because, remedy };
    }
    let rule =
        "no allow entry names it: only a key that some entry lets in under any identity gets it".to_owned();
    let remedy = Some(format!("vctl auth add --identity {identity} --user_id {identity} --credentials KEY"));
    Explanation { allowed: false, answer: question(false), rule, because, remedy }
}

/// Which entry the capabilities of an identity come from.
fn about(snapshot: &Snapshot, identity: &str) -> String {
    let entries = snapshot.file.entries(List::Allow).enumerate();
    let of: Vec<String> = entries
        .filter(|(_, e)| e.names(identity))
        .map(|(i, e)| {
            let state = if e.enabled { "" } else { ", disabled" };
            let groups =
                if e.groups.is_empty() { String::new() } else { format!(", groups {}", list(&e.groups)) };
            let roles =
                if e.roles.is_empty() { String::new() } else { format!(", roles {}", list(&e.roles)) };
            format!("allow entry {i} (user_id {}{groups}{roles}{state})", e.user_id)
        })
        .collect();
    if of.is_empty() {
        format!("no allow entry names {identity}, so it holds no capability")
    } else {
        format!("{identity} is {}", of.join(" and "))
    }
}

/// Where `identity` has `capability` from, or that it has not.
fn origin(snapshot: &Snapshot, identity: &str, capability: &str) -> String {
    let Some(value) = snapshot.table.capabilities_of(identity).and_then(|caps| caps.get(capability)) else {
        return format!("{identity} does not hold {capability}");
    };
    let grants = |role: &String| strings(snapshot.file.roles().get(role)).iter().any(|c| c == capability);
    let mut from = Vec::new();
    for entry in snapshot.file.entries(List::Allow).filter(|e| e.enabled && e.names(identity)) {
        if entry.capabilities.contains_key(capability) {
            from.push("its entry".to_owned());
        }
        from.extend(entry.roles.iter().filter(|r| grants(r)).map(|role| format!("role {role}")));
        for group in &entry.groups {
            let roles = strings(snapshot.file.groups().get(group));
            from.extend(roles.iter().filter(|r| grants(r)).map(|r| format!("role {r} of group {group}")));
        }
    }
    let restricted = if value.is_null() { String::new() } else { format!(", restricted to {value}") };
    format!("{identity} holds {capability} by {}{restricted}", from.join(" and "))
}

fn grant(identity: &str, capabilities: &[String]) -> String {
    format!(
        "to allow it, add {} to the entry of {identity}: `vctl auth list` shows its INDEX, `vctl auth update INDEX` asks",
        list(capabilities)
    )
}

fn list(names: &[String]) -> String {
    names.join(", ")
}

#[cfg(test)]
#[path = "why_tests.rs"]
mod tests;
