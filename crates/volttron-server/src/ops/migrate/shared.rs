//! What belongs to the platform as a whole: settings, keys, rules, configurations.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io;

use serde_json::{Map, Value, json};
use volttron_utils::config::{OptionError, OptionFile};
use volttron_utils::files;
use volttron_utils::home::Home;
use volttron_utils::json;
use volttron_utils::keys::keystore::{self, KeystoreError};
use volttron_utils::keys::known_hosts::{KnownHosts, KnownHostsError};

use super::report::{Action, Item, counted};
use super::tree::{Tree, What};
use super::{MigrateError, quoted};
use crate::auth::file::{AuthFile, List, ParseError, Parsed};
use crate::auth::protected::Protected;
use crate::auth::store::MAX_FILE_BYTES;
use crate::options::{Setting, managed, unknown_keys};

/// Settings that no description of a platform names and that are carried all the same.
const SECRET: [&str; 1] = ["web-secret-key"];
/// Directories and files that are nothing to us.
const RABBITMQ: [&str; 3] =
    ["rabbitmq_config.yml", "rabbitmq_federation_config.yml", "rabbitmq_shovel_config.yml"];

/// What is found in a home, and what is wrong with it.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub items: Vec<Item>,
    /// What has to be mended first.
    pub problems: Vec<String>,
}

impl Findings {
    fn problem(&mut self, what: impl std::fmt::Display, try_: &str) {
        self.problems.push(format!("{what}; {try_}"));
    }
}

/// Settings that change on the way: removed, or set to something else.
#[derive(Debug, Default)]
pub(super) struct Settings {
    pub remove: Vec<String>,
    pub set: Vec<(String, String)>,
}

/// Looks at `config`.
pub(super) fn settings(home: &Home, found: &mut Findings) -> Settings {
    let mut changes = Settings::default();
    let path = home.config_file();
    let file = match OptionFile::load_or_empty(&path) {
        Ok(file) => file,
        Err(OptionError::Line { line, why, .. }) => {
            let what = format!("{} (line {line}): {why}", path.display());
            found.problem(what, &format!("mend it: ${{EDITOR:-nano}} +{line} {}", quoted(&path)));
            return changes;
        }
        Err(e) => {
            found.problem(e, "mend it, or make it readable");
            return changes;
        }
    };
    let (known, unknown) = (managed(), unknown_keys(&path));
    for entry in file.entries() {
        let (name, value) = (entry.key.clone(), entry.value());
        if entry.section.as_deref().is_some_and(|s| s != "volttron" && s != "global") {
            continue;
        }
        let setting = known.iter().find(|s| s.name == name);
        let item = one_setting(&name, &value, setting, unknown.iter().any(|u| u.key == name), &mut changes);
        found.items.push(item);
    }
    changes
}

fn one_setting(
    name: &str,
    value: &str,
    known: Option<&Setting>,
    unknown: bool,
    changes: &mut Settings,
) -> Item {
    let item = |action, text: String| {
        let shown = if SECRET.contains(&name) { Value::Null } else { value.into() };
        Item::new("setting", name, action, text).facts(json!({"value": shown}))
    };
    if name == "message-bus" && value != "zmq" {
        changes.set.push((name.to_owned(), "zmq".to_owned()));
        return item(
            Action::Convert,
            format!(
                "{value} becomes zmq: RabbitMQ is not built yet; agents and platforms that connect through it have to connect to vip-address"
            ),
        );
    }
    if unknown {
        return item(Action::Copy, "carried, and ignored: this platform has no such setting".to_owned());
    }
    match known.map_or(Ok(()), |setting| setting.check(value)) {
        Ok(()) if SECRET.contains(&name) => item(Action::Copy, "carried; not shown".to_owned()),
        Ok(()) => item(Action::Copy, value.to_owned()),
        Err(why) => {
            changes.remove.push(name.to_owned());
            item(Action::Leave, format!("{value}: the platform would not start with it: {why}"))
        }
    }
}

/// Looks at the platform's own key pair and those of services.
pub(super) fn keys(home: &Home, tree: &Tree, found: &mut Findings) -> Vec<String> {
    match keystore::load(&home.keystore()) {
        Ok(keys) => {
            let text = format!("the platform's key pair, {}", keys.public);
            let facts = json!({"public_key": keys.public.to_string()});
            found.items.push(Item::new("keys", "platform", Action::Copy, text).facts(facts));
        }
        Err(KeystoreError::Missing(_)) => {
            let text = "there is no platform key; the first start makes one, and whoever knew another one has to be told";
            found.items.push(Item::new("keys", "platform", Action::Leave, text).then("vctl auth serverkey"));
        }
        Err(e) => found
            .problem(e, "put the right one back from a backup, or move it away and let a new one be made"),
    }
    let (mut whole, mut broken) = (0, Vec::new());
    for piece in
        tree.below("keystores").filter(|p| p.what == What::File && p.path.ends_with("/keystore.json"))
    {
        match keystore::load(&home.path().join(&piece.path)) {
            Ok(_) => whole += 1,
            Err(e) => {
                let owner = piece.path.split('/').nth(1).unwrap_or_default();
                let text = format!(
                    "{e}; services get new ones, an agent that runs outside of the platform needs one"
                );
                found.items.push(
                    Item::new("keys", owner, Action::Leave, text)
                        .then(format!("vctl auth add --user_id {owner} --credentials KEY")),
                );
                broken.push(piece.path.clone());
            }
        }
    }
    if whole > 0 {
        let text = format!(
            "{} of services and of agents that are not installed",
            counted(whole, "key pair", "key pairs")
        );
        found.items.push(Item::new("keys", "keystores", Action::Copy, text).facts(json!({"count": whole})));
    }
    broken
}

/// Looks at `known_hosts`.
pub(super) fn known_hosts(home: &Home, tree: &Tree, found: &mut Findings) {
    if !tree.has_file("known_hosts") {
        return;
    }
    match KnownHosts::load(&home.known_hosts()) {
        Ok(hosts) => {
            let count = hosts.iter().count();
            let text = format!("keys of {}", counted(count, "address", "addresses"));
            found.items.push(Item::new("known-hosts", "", Action::Copy, text).facts(json!({"count": count})));
        }
        Err(e @ KnownHostsError::Io { .. }) => found.problem(e, "make it readable"),
        Err(e) => found.problem(e, "mend it, or move it away: it is written anew at the start"),
    }
}

/// Looks at `auth.json`; an error for one of a later generation.
pub(super) fn rules(
    home: &Home,
    tree: &Tree,
    found: &mut Findings,
) -> Result<Option<AuthFile>, MigrateError> {
    if !tree.has_file("auth.json") {
        let text = "there is none: nobody may connect until agents are let in";
        found.items.push(Item::new("auth", "auth.json", Action::Leave, text).then("vctl auth add"));
        return Ok(None);
    }
    let path = home.auth_file();
    let text = match files::read_bounded(&path, MAX_FILE_BYTES) {
        Ok(text) => text,
        Err(e) => {
            found.problem(format!("{}: {e}", path.display()), "mend it, or make it readable");
            return Ok(None);
        }
    };
    match AuthFile::parse(&text) {
        Ok(parsed) => {
            found.items.push(rules_item(&parsed));
            Ok(Some(parsed.file))
        }
        Err(ParseError::Newer(version)) => Err(MigrateError::Newer {
            path: home.path().to_owned(),
            why: format!("its auth.json has version {version}, and 1.4 is the latest that is read"),
        }),
        Err(e) => {
            let line = if let ParseError::Json(e) = &e { e.line().max(1) } else { 1 };
            let mend = format!(
                "without its rules the platform does not start; mend it: ${{EDITOR:-nano}} +{line} {0}, or put back a copy of {0}.*.bak",
                quoted(&path)
            );
            found.problem(format!("{}: {e}", path.display()), &mend);
            Ok(None)
        }
    }
}

fn rules_item(parsed: &Parsed) -> Item {
    let file = &parsed.file;
    let (allow, deny) = (file.entries(List::Allow).count(), file.entries(List::Deny).count());
    let mut text = format!(
        "version {}, {}, {deny} denied, {}, {}",
        parsed.from,
        counted(allow, "entry", "entries"),
        counted(file.groups().len(), "group", "groups"),
        counted(file.roles().len(), "role", "roles"),
    );
    if parsed.upgraded() {
        text.push_str("; the first start writes it as 1.4 and keeps a copy");
    }
    for warning in &parsed.warnings {
        let _ = write!(text, "; {warning}");
    }
    Item::new("auth", "auth.json", Action::Copy, text).facts(json!({
        "version": parsed.from.to_string(), "allow": allow, "deny": deny,
        "groups": file.groups().len(), "roles": file.roles().len(), "warnings": parsed.warnings,
    }))
}

/// Looks at `protected_topics.json`.
pub(super) fn protected_topics(home: &Home, tree: &Tree, found: &mut Findings) {
    if !tree.has_file("protected_topics.json") {
        return;
    }
    let path = home.protected_topics();
    let parsed = files::read_bounded(&path, MAX_FILE_BYTES)
        .map_err(|e| e.to_string())
        .and_then(|text| Protected::parse(&text).map(|_| text).map_err(|e| e.to_string()));
    match parsed {
        Ok(text) => {
            let topics: Value = json::parse_commented(&text).unwrap_or_default();
            let count = topics["write-protect"].as_array().map_or(0, Vec::len);
            let text = counted(count, "protected topic", "protected topics");
            found
                .items
                .push(Item::new("protected-topics", "", Action::Copy, text).facts(json!({"count": count})));
        }
        Err(e) => found.problem(
            format!("{}: {e}", path.display()),
            &format!(
                "everybody could publish what it protects; mend it: ${{EDITOR:-nano}} {}",
                quoted(&path)
            ),
        ),
    }
}

/// Looks at the configuration store.
pub(super) fn configurations(home: &Home, tree: &Tree, found: &mut Findings) {
    for piece in tree.below("configuration_store").filter(|p| p.what == What::File) {
        let Some(identity) =
            piece.path.strip_prefix("configuration_store/").and_then(|name| name.strip_suffix(".store"))
        else {
            continue;
        };
        let path = home.path().join(&piece.path);
        let read = files::read_bounded(&path, MAX_FILE_BYTES).map_err(|e| match e.kind() {
            io::ErrorKind::InvalidData => "it is no text".to_owned(),
            _ => e.to_string(),
        });
        let item = match read.and_then(|text| store(&text)) {
            Ok((types, bad)) => {
                let count: usize = types.values().sum();
                let list: Vec<String> = types.iter().map(|(kind, n)| format!("{n} {kind}")).collect();
                let mut text = format!("{} ({})", counted(count, "entry", "entries"), list.join(", "));
                if !bad.is_empty() {
                    let _ =
                        write!(text, "; the first start puts aside what cannot be read: {}", bad.join(", "));
                }
                Item::new("config-store", identity, Action::Copy, text)
                    .facts(json!({"entries": count, "types": types, "unreadable": bad}))
            }
            Err(why) => {
                let text =
                    format!("{}: {why}; carried as it is, and the first start puts it aside", path.display());
                Item::new("config-store", identity, Action::Copy, text)
                    .facts(json!({"error": why}))
                    .then(format!("${{EDITOR:-nano}} {}", quoted(&path)))
            }
        };
        found.items.push(item);
    }
}

/// How many entries of each type, and which are none.
fn store(text: &str) -> Result<(BTreeMap<String, usize>, Vec<String>), String> {
    let entries: Map<String, Value> = json::from_str(text).map_err(|e| e.to_string())?;
    let (mut types, mut bad) = (BTreeMap::new(), Vec::new());
    for (name, entry) in entries {
        let kind = entry["type"].as_str().filter(|kind| matches!(*kind, "json" | "csv" | "raw"));
        match kind.filter(|_| entry["data"].is_string()) {
            Some(kind) => *types.entry(kind.to_owned()).or_default() += 1,
            None => bad.push(name),
        }
    }
    Ok((types, bad))
}

/// Looks at the rest, and says which paths are left.
pub(super) fn others(home: &Home, to: &Home, tree: &Tree, found: &mut Findings) -> Vec<String> {
    const TOLD: [&str; 8] = [
        "agents",
        "auth.json",
        "certificates",
        "config",
        "configuration_store",
        "keystore",
        "keystores",
        "known_hosts",
    ];
    let mut left = Vec::new();
    let count = |top: &str| tree.below(top).filter(|p| p.what != What::Directory).count();
    if count("certificates") > 0 {
        let text = counted(count("certificates"), "file", "files");
        found.items.push(Item::new("certificates", "", Action::Copy, text));
    }
    for piece in tree.pieces.iter().filter(|p| !p.path.contains('/')) {
        let top = piece.path.as_str();
        if TOLD.contains(&top) || top == "protected_topics.json" {
            continue;
        }
        if let Some(why) = no_use(top) {
            let kind = if RABBITMQ.contains(&top) { "rabbitmq" } else { "file" };
            found.items.push(Item::new(kind, top, Action::Leave, why));
            left.push(top.to_owned());
        } else if piece.what == What::Directory {
            found.items.push(Item::new("file", top, Action::Copy, counted(count(top), "file", "files")));
        } else {
            found.items.push(Item::new("file", top, Action::Copy, "as it is"));
        }
    }
    for (path, why) in &tree.left {
        let from = quoted(&home.path().join(path));
        found.items.push(
            Item::new("file", path, Action::Leave, why)
                .then(format!("cp -aL {from} {}", quoted(&to.path().join(path)))),
        );
    }
    left
}

/// Why a file at the top is of no use to us.
fn no_use(top: &str) -> Option<&'static str> {
    if RABBITMQ.contains(&top) {
        return Some("RabbitMQ is not built yet; agents connect to vip-address");
    }
    // Rotated ones have a number or a date behind it.
    let is_log = top.split('.').skip(1).any(|part| part.eq_ignore_ascii_case("log"));
    match top {
        "ssh" => Some("it belongs to an add-on of the Python platform"),
        _ if is_log => Some("a log of the old platform"),
        _ if top.starts_with("auth.json.") => Some("an earlier copy of the old platform's rules"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stores_are_counted_by_type_and_faults_have_a_place() {
        let text = r#"{"a": {"type": "json", "modified": null, "data": "{}"}, "b": {"type": "csv", "data": "x\n"},
            "c": {"type": "raw", "data": "t"}, "d": {"type": "json", "data": "[]"}, "e": {"type": "x", "data": ""}, "f": 1}"#;
        let (types, bad) = store(text).unwrap();
        assert_eq!(types, [("csv", 1), ("json", 2), ("raw", 1)].map(|(k, n)| (k.to_owned(), n)).into());
        assert_eq!(bad, ["e", "f"]);
        assert!(
            store("{\n  \"a\": ,\n}").unwrap_err().contains("line 2 column 8"),
            "{:?}",
            store("{\n  \"a\": ,\n}")
        );
    }

    #[test]
    fn settings_are_carried_changed_or_left() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path()).unwrap();
        let text = "[volttron]\nmessage-bus = rmq\ninstance-name = a\ntag-vip-id = x\nshutdown-timeout = soon\n\
                    vip-address = tcp://127.0.0.1:22916\nweb-secret-key = 12\n[other]\nx = 1\n";
        std::fs::write(home.config_file(), text).unwrap();
        let mut found = Findings::default();
        let changes = settings(&home, &mut found);
        assert_eq!(
            (changes.remove, changes.set),
            (vec!["shutdown-timeout".to_owned()], vec![("message-bus".into(), "zmq".into())])
        );
        let actions: Vec<(&str, Action)> = found.items.iter().map(|i| (i.name.as_str(), i.action)).collect();
        assert_eq!(
            actions,
            [
                ("message-bus", Action::Convert),
                ("instance-name", Action::Copy),
                ("tag-vip-id", Action::Copy),
                ("shutdown-timeout", Action::Leave),
                ("vip-address", Action::Copy),
                ("web-secret-key", Action::Copy),
            ]
        );
        assert!(
            !found.items.iter().any(|i| i.to_json().to_string().contains("12\"")),
            "secrets are not shown"
        );
        std::fs::write(home.config_file(), "[volttron]\n\n= 1\n").unwrap();
        settings(&home, &mut found);
        assert!(found.problems[0].contains("(line 3)"), "{:?}", found.problems);
    }
}
