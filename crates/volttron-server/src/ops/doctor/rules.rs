//! `auth.json` and `protected_topics.json`, and whether the installed agents are in the former.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use volttron_utils::files;
use volttron_utils::identity;
use volttron_utils::keys::keystore;

use super::{Report, Scene, make_readable, quoted, shown};
use crate::auth::entry::{Entry, Mechanism};
use crate::auth::file::{AuthFile, List, ParseError, Parsed};
use crate::auth::protected::Protected;
use crate::auth::store::MAX_FILE_BYTES;
use crate::codes::Code;

enum Found {
    /// Nobody asks it.
    None,
    Missing,
    Rules(Box<Parsed>),
    Broken(ParseError),
    Unreadable(io::Error),
}

fn read(scene: &Scene) -> Found {
    if !scene.auth() {
        return Found::None;
    }
    match files::read_bounded(&scene.home.auth_file(), MAX_FILE_BYTES) {
        Ok(text) => match AuthFile::parse(&text) {
            Ok(parsed) => Found::Rules(Box::new(parsed)),
            Err(error) => Found::Broken(error),
        },
        Err(e) if e.kind() == io::ErrorKind::NotFound => Found::Missing,
        Err(e) => Found::Unreadable(e),
    }
}

fn edit(path: &Path, line: usize) -> String {
    format!("${{EDITOR:-nano}} +{} {}", line.max(1), shown(path))
}

/// Whether the document can be used and says what its writers meant.
pub(super) fn auth_file(scene: &Scene, report: &mut Report) {
    let path = scene.home.auth_file();
    let subject = path.display().to_string();
    let why = || {
        let running =
            "the running platform goes on with the rules it last understood, and will not start again";
        let down = "the platform does not start with it";
        (if scene.running.is_some() { running } else { down }).to_owned()
    };
    match read(scene) {
        Found::None => {}
        Found::Missing => missing(scene, &subject, report),
        Found::Unreadable(e) => {
            let fix = make_readable(&path, scene.me);
            report.fault(Code::AuthFile, &subject, [format!("{subject} cannot be read: {e}"), why(), fix]);
        }
        Found::Broken(ParseError::Newer(version)) => {
            let texts = [
                format!("{subject} was written by a newer version ({version})"),
                why(),
                format!("ls -l {}.*.bak", shown(&path)),
            ];
            report.fault(Code::NewerHome, &subject, texts);
        }
        Found::Broken(error) => {
            let line = if let ParseError::Json(e) = &error { e.line() } else { 0 };
            report.fault(Code::AuthFile, &subject, [format!("{subject}: {error}"), why(), edit(&path, line)]);
        }
        Found::Rules(parsed) => {
            for warning in &parsed.warnings {
                let why = "the entry does not count, so somebody is refused, or not refused".to_owned();
                report.warn(
                    Code::BadAuthEntry,
                    &subject,
                    [format!("{subject}: {warning}"), why, edit(&path, 1)],
                );
            }
            duplicates(scene, &parsed.file, report);
        }
    }
    if files::open_bits(&path).is_ok_and(|bits| bits & 0o022 != 0) {
        let texts = [
            format!("other users may write to {subject}"),
            "they can give themselves any right".to_owned(),
            format!("chmod 600 {}", shown(&path)),
        ];
        report.warn(Code::AuthFileOpen, subject, texts);
    }
}

/// Without agents, the first start makes it.
fn missing(scene: &Scene, subject: &str, report: &mut Report) {
    let names: Vec<String> = scene.agents.iter().map(|agent| quoted(&agent.identity)).collect();
    if names.is_empty() {
        return;
    }
    let why = if scene.running.is_some() {
        "the running platform goes on with the rules it has in memory, and writes them with the next change; without one, \
         all rights are gone after its end"
    } else {
        "the next start makes one that refuses every agent; the command admits them, and what was granted by hand, groups \
         and roles are in a backup only (vctl restore)"
    };
    let texts = [
        format!("{subject} is gone, and {} agents are installed", names.len()),
        why.to_owned(),
        scene.vctl(&format!("auth admit {}", names.join(" "))),
    ];
    report.fault(Code::AuthFile, subject, texts);
}

/// An entry of the platform itself: those share keys with each other.
fn is_own(entry: &Entry) -> bool {
    let own = |name: &str| {
        name == identity::PLATFORM || identity::is_service(name) || identity::is_control_connection(name)
    };
    own(&entry.user_id) || entry.identity.as_deref().is_some_and(own)
}

fn duplicates(scene: &Scene, file: &AuthFile, report: &mut Report) {
    let (mut by_key, mut by_identity): (BTreeMap<&str, Vec<_>>, BTreeMap<&str, Vec<_>>) = Default::default();
    for (index, entry) in file.entries(List::Allow).enumerate() {
        if !entry.enabled || is_own(entry) || entry.mechanism != Mechanism::Curve {
            continue;
        }
        for key in entry.credentials.texts() {
            by_key.entry(key).or_default().push((index, entry.user_id.as_str()));
        }
        if let Some(identity) = &entry.identity {
            by_identity.entry(identity).or_default().push((index, entry.user_id.as_str()));
        }
    }
    let listed = |entries: &[(usize, &str)]| {
        entries.iter().map(|(i, user)| format!("{i} ({user})")).collect::<Vec<_>>().join(", ")
    };
    // An entry with the key that the agent of this identity has is the one that it needs.
    let keys: Vec<(&str, String)> = scene
        .agents
        .iter()
        .filter_map(|agent| {
            Some((&*agent.identity, keystore::load(&agent.keystore()).ok()?.public.to_string()))
        })
        .collect();
    let all: Vec<&Entry> = file.entries(List::Allow).collect();
    let needed = |index: usize| {
        let entry = all[index];
        keys.iter().any(|(identity, key)| entry.names(identity) && entry.credentials.texts().contains(key))
    };
    let remove = |entries: &[(usize, &str)]| {
        let kept = entries.iter().position(|(index, _)| needed(*index)).unwrap_or(0);
        let others = entries.iter().enumerate().filter(|(at, _)| *at != kept);
        let others: Vec<String> = others.map(|(_, (index, _))| index.to_string()).collect();
        scene.vctl(&format!("auth remove {}", others.join(" ")))
    };
    for (key, entries) in by_key.iter().filter(|(_, entries)| entries.len() > 1) {
        let texts = [
            format!("the auth entries {} have the same key {key}", listed(entries)),
            "whoever has the key can be any of them, and only one set of rules counts".to_owned(),
            remove(entries),
        ];
        report.warn(Code::DuplicateKey, *key, texts);
    }
    for (identity, entries) in by_identity.iter().filter(|(_, entries)| entries.len() > 1) {
        let texts = [
            format!("the auth entries {} are for the same identity {identity}", listed(entries)),
            "different keys can speak for it, with different rights".to_owned(),
            remove(entries),
        ];
        report.warn(Code::DuplicateIdentity, *identity, texts);
    }
}

/// Whether every installed agent may connect with the key that it has.
pub(super) fn agents(scene: &Scene, report: &mut Report) {
    let Found::Rules(parsed) = read(scene) else { return };
    let file = &parsed.file;
    for agent in scene.agents.iter() {
        let Ok(keys) = keystore::load(&agent.keystore()) else { continue };
        let (identity, key) = (agent.identity.as_str(), keys.public.to_string());
        let has_key = |entry: &Entry| entry.credentials.texts().contains(&key) || entry.credentials.is_any();
        let named: Vec<(usize, &Entry)> =
            file.entries(List::Allow).enumerate().filter(|(_, e)| e.names(identity)).collect();
        if let Some(index) = file.entries(List::Deny).position(|e| e.enabled && has_key(e)) {
            let what = format!("the key of {identity} is in the deny list (entry {index})");
            let fix = edit(&scene.home.auth_file(), 1);
            report.fault(Code::NoAuthEntry, identity, [what, "the platform refuses it".to_owned(), fix]);
            continue;
        }
        if file.entries(List::Allow).any(|e| e.enabled && has_key(e)) {
            continue;
        }
        // Whatever else an entry grants stays.
        let admit = scene.vctl(&format!("auth admit {}", quoted(identity)));
        let why = "the platform refuses its connection".to_owned();
        if let Some((index, entry)) = named.iter().find(|(_, entry)| entry.enabled) {
            let theirs = entry.credentials.texts().join(", ");
            let what = format!("{identity} has the key {key}, and its auth entry (index {index}) {theirs}");
            report.fault(Code::KeyMismatch, identity, [what, why, admit]);
        } else {
            let what = match named.first() {
                Some((index, _)) => format!("the auth entry of {identity} (index {index}) is disabled"),
                None => format!("{identity} is installed and has no auth entry"),
            };
            report.fault(Code::NoAuthEntry, identity, [what, why, admit]);
        }
    }
}

/// Whether the document can be used.
pub(super) fn protected_topics(scene: &Scene, report: &mut Report) {
    let path = scene.home.protected_topics();
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return,
        Err(e) => {
            let fix = make_readable(&path, scene.me);
            let what = format!("{} cannot be read: {e}", path.display());
            return broken(&path, what, fix, report);
        }
    };
    if let Err(error) = Protected::parse(&text) {
        let line = if let ParseError::Json(e) = &error { e.line() } else { 0 };
        broken(&path, format!("{}: {error}", path.display()), edit(&path, line), report);
    }
}

fn broken(path: &Path, what: String, fix: String, report: &mut Report) {
    let why = "who may publish where is not what the file is meant to say".to_owned();
    report.fault(Code::ProtectedTopics, path.display().to_string(), [what, why, fix]);
}
