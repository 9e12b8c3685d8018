//! Verbs about entries, and about the method requirements in them.

use serde_json::{Map, Value, json};
use volttron_utils::home::Home;
use volttron_utils::json::python;

use super::args::AddArgs;
use super::ask::{self, Prompt};
use super::rules::Rules;
use super::{AuthOpError, Output, hosts, text};
use crate::auth::entry::Entry;

/// `auth add`.
pub async fn add(
    rules: &Rules<'_>,
    home: &Home,
    args: AddArgs,
    prompt: &mut dyn Prompt,
) -> Result<Output, AuthOpError> {
    let add_known_host = args.add_known_host;
    let entry = if args.is_empty() { finish(ask::fields(prompt, &blank())?) } else { from_args(args)? };
    let mut known_host = String::new();
    if add_known_host {
        let (Some(host), Some(key)) = (entry.address.texts().first(), entry.credentials.texts().first())
        else {
            return Err(AuthOpError::Usage("--add-known-host needs --address and --credentials".to_owned()));
        };
        known_host = hosts::add(home, host, key)?.stdout;
    }
    let value = entry.to_value();
    rules.add(entry).await?;
    let mut output = Output::line(format!("added entry {}", python::repr(&value))).with_json(value);
    output.stdout.push_str(&known_host);
    Ok(output)
}

/// Stands for a user id that was not given.
const NO_USER_ID: &str = " ";

/// An entry before anybody said anything.
fn blank() -> Entry {
    let mut entry = Entry::curve("", "");
    entry.identity = None;
    entry
}

fn from_args(args: AddArgs) -> Result<Entry, AuthOpError> {
    let capabilities = args.capabilities.as_deref().map(text::capabilities).transpose()?;
    let list = |names: Option<String>| names.map(|n| text::comma_list(&n)).unwrap_or_default();
    let value = json!({
        "domain": args.domain,
        "address": args.address,
        "mechanism": args.mechanism.map(|m| m.to_ascii_uppercase()),
        "credentials": args.credentials,
        "groups": list(args.groups),
        "roles": list(args.roles),
        "capabilities": capabilities,
        "comments": args.comments,
        // Anything, so that none is derived: `finish` decides.
        "user_id": args.user_id.unwrap_or_else(|| NO_USER_ID.to_owned()),
        "identity": args.identity,
        "enabled": !args.disabled,
    });
    let mut entry = Entry::from_value(&value)?;
    if entry.user_id == NO_USER_ID {
        entry.user_id.clear();
    }
    Ok(finish(entry))
}

/// User id and identity stand for each other when only one is given; without either the user id is random.
fn finish(mut entry: Entry) -> Entry {
    match (entry.user_id.is_empty(), entry.identity.clone()) {
        (true, Some(identity)) => entry.user_id = identity,
        (true, None) => entry.user_id = uuid::Uuid::new_v4().to_string(),
        (false, None) => entry.identity = Some(entry.user_id.clone()),
        (false, Some(_)) => {}
    }
    entry
}

/// `auth list`.
pub async fn list(rules: &Rules<'_>) -> Result<Output, AuthOpError> {
    let allow = rules.read().await?.allow;
    if allow.is_empty() {
        return Ok(Output::line(format!("No entries in {}", rules.path().display())).with_json(json!([])));
    }
    let mut stdout: String = (0..).zip(&allow).map(|(i, entry)| text::indexed(i, entry)).collect();
    // Readers look for an empty line after each entry, the last one included.
    stdout.push('\n');
    Ok(Output { stdout, json: Some(Value::Array(allow)), ..Output::default() })
}

/// `auth update`.
pub async fn update(rules: &Rules<'_>, index: i64, prompt: &mut dyn Prompt) -> Result<Output, AuthOpError> {
    let allow = rules.read().await?.allow;
    let seen = &pick(&allow, &[index])?[0];
    let changed = ask::fields(prompt, &Entry::from_value(seen)?)?;
    let value = changed.to_value();
    rules.update(index, seen, changed).await?;
    Ok(Output::line(format!("updated entry at index {index}")).with_json(value))
}

/// `auth remove`.
pub async fn remove(
    rules: &Rules<'_>,
    indices: &[i64],
    yes: bool,
    prompt: &mut dyn Prompt,
) -> Result<Output, AuthOpError> {
    let allow = rules.read().await?.allow;
    let doomed = pick(&allow, indices)?;
    if !yes {
        prompt.tell("This action will delete the following:");
        let shown: String = indices.iter().zip(&doomed).map(|(i, entry)| text::indexed(*i, entry)).collect();
        prompt.tell(&shown);
        if !ask::confirm(prompt, "Do you wish to delete?")? {
            return Ok(Output::default().with_json(json!({"removed": []})));
        }
    }
    rules.remove(indices, &doomed).await?;
    let what = if indices.len() == 1 { "entry at index" } else { "entries at indices" };
    Ok(Output::line(format!("removed {what} {indices:?}")).with_json(json!({"removed": indices})))
}

fn pick(allow: &[Value], indices: &[i64]) -> Result<Vec<Value>, AuthOpError> {
    let get = |i: &i64| usize::try_from(*i).ok().and_then(|i| allow.get(i)).cloned();
    let wrong: Vec<i64> = indices.iter().copied().filter(|i| get(i).is_none()).collect();
    if wrong.is_empty() {
        Ok(indices.iter().filter_map(get).collect())
    } else {
        Err(crate::auth::file::EditError::Index(wrong).into())
    }
}

/// `auth rpc add|remove IDENTITY.METHOD CAPABILITY…`. The last dot divides, or else the one behind an identity that has
/// an entry: identities have dots, and so have some methods (`agent.version`).
pub async fn adjust_rpc(
    rules: &Rules<'_>,
    name: &str,
    capabilities: &[String],
    add: bool,
) -> Result<Output, AuthOpError> {
    let divided = || name.rmatch_indices('.').map(|(dot, _)| (&name[..dot], &name[dot + 1..]));
    let mut parts = divided().filter(|(identity, method)| !identity.is_empty() && !method.is_empty());
    let Some(last) = parts.next() else {
        return Err(AuthOpError::Usage(format!("{name} is not of the form IDENTITY.METHOD")));
    };
    // Asked here since the platform answers the change with nothing, whether the identity has an entry or not.
    let allow = rules.read().await?.allow;
    let is_known = |identity: &str| allow.iter().any(|entry| entry["identity"] == identity);
    let Some((identity, method)) = std::iter::once(last).chain(parts).find(|(id, _)| is_known(id)) else {
        return Err(AuthOpError::Name(format!("no auth entry has the identity \"{}\"", last.0)));
    };
    rules.adjust_rpc(identity, method, capabilities, add).await?;
    Ok(Output::default())
}

/// `auth rpc list [IDENTITY]`.
pub async fn list_rpc(rules: &Rules<'_>, identity: Option<&str>) -> Result<Output, AuthOpError> {
    let mut all = Map::new();
    for value in rules.read().await?.allow {
        let Ok(entry) = Entry::from_value(&value) else { continue };
        let Some(of) = entry.identity.as_deref().filter(|of| identity.is_none_or(|wanted| wanted == *of))
        else {
            continue;
        };
        for (method, required) in &entry.rpc_method_authorizations {
            if required.as_array().is_some_and(|names| !names.is_empty()) {
                all.insert(format!("{of}.{method}"), required.clone());
            }
        }
    }
    let stdout = text::two_columns(&all, "METHOD", "CAPABILITIES");
    Ok(Output { stdout, json: Some(Value::Object(all)), ..Output::default() })
}
