//! `vctl config apply`, `export` and `diff`: many configurations at once.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Map, Value, json};
use volttron_client::{CallError, CallErrorKind};
use volttron_utils::identity::CONFIG_STORE;

use super::super::{OpError, Session};
use super::Said;
use super::tree::{self, Item, Tree};

/// One message carries a whole transaction; this stays below what the bus lets through.
pub(in crate::ops) const MAX_TRANSACTION_BYTES: usize = 48 << 20;

/// Stores a directory as one transaction.
pub(super) async fn apply(
    session: &Session,
    dir: &Path,
    prune: bool,
    dry_run: bool,
) -> Result<Said, OpError> {
    let tree = tree::read(dir)?;
    let bytes: usize = tree.values().flatten().map(|(name, item)| name.len() + item.data.len()).sum();
    if bytes > MAX_TRANSACTION_BYTES {
        return Err(OpError::Refused(format!(
            "{} holds {bytes} bytes, one transaction at most {MAX_TRANSACTION_BYTES}; apply it in parts",
            dir.display()
        )));
    }
    let transaction: Map<String, Value> =
        tree.into_iter().map(|(identity, store)| (identity, json!({"set": store, "prune": prune}))).collect();
    let call = session.call(CONFIG_STORE, "apply_configs").arg(transaction);
    let report = call.named("dry_run", dry_run).send_value().await.map_err(not_ours)?;
    Ok(Said { text: applied(&report, dry_run), json: Some(report), ..Said::default() })
}

/// The platform of Python has no such methods.
pub(in crate::ops) fn not_ours(error: CallError) -> OpError {
    if error.kind() == CallErrorKind::NoSuchMethod {
        OpError::Refused(
            "this platform stores configurations one by one only: use `vctl config store`".to_owned(),
        )
    } else {
        error.into()
    }
}

fn applied(report: &Value, dry_run: bool) -> String {
    let (mut text, mut counts) = (String::new(), BTreeMap::<&str, usize>::new());
    for (identity, changes) in report["changes"].as_object().into_iter().flatten() {
        for change in changes.as_array().into_iter().flatten() {
            let (action, name) = (change[0].as_str().unwrap_or("?"), change[1].as_str().unwrap_or("?"));
            *counts.entry(action).or_default() += 1;
            if dry_run {
                let _ = writeln!(text, "{action} {identity}/{name}");
            }
        }
    }
    let count = |action| counts.get(action).copied().unwrap_or(0);
    let _ = writeln!(
        text,
        "{}{} new, {} updated, {} deleted, {} unchanged",
        if dry_run { "dry run: " } else { "" },
        count("NEW"),
        count("UPDATE"),
        count("DELETE"),
        report["unchanged"]
    );
    text
}

/// Everything these agents have; all agents if none is named.
pub(in crate::ops) async fn fetch(session: &Session, identities: Vec<String>) -> Result<Tree, OpError> {
    let call = |method| session.call(CONFIG_STORE, method);
    let identities = match identities {
        none if none.is_empty() => call("list_stores").send::<Vec<String>>().await?,
        some => some,
    };
    let mut tree = Tree::new();
    for identity in identities {
        let store = call("export_configs").arg(&identity).send::<BTreeMap<String, Item>>().await;
        tree.insert(identity, store.map_err(not_ours)?);
    }
    Ok(tree)
}

/// Writes a directory, or gives everything as JSON.
pub(super) async fn export(
    session: &Session,
    dir: Option<&Path>,
    identities: Vec<String>,
) -> Result<Said, OpError> {
    let named = !identities.is_empty();
    let tree = fetch(session, identities).await?;
    if let Some(identity) = tree.iter().find(|(_, store)| named && store.is_empty()).map(|(id, _)| id) {
        return Err(OpError::Refused(format!("{identity} has no configurations")));
    }
    let json = serde_json::to_value(&tree).unwrap_or_default();
    let Some(dir) = dir else {
        let text = volttron_utils::json::to_indent(&json, 2).unwrap_or_default() + "\n";
        return Ok(Said { text, json: Some(json), ..Said::default() });
    };
    tree::write(dir, &tree)?;
    let count: usize = tree.values().map(BTreeMap::len).sum();
    let plural = |n: usize, one: &str| format!("{n} {one}{}", if n == 1 { "" } else { "s" });
    let (what, whose) = (plural(count, "configuration"), plural(tree.len(), "agent"));
    let text = format!("{what} of {whose} written to {}\n", dir.display());
    let json = json!({"configurations": count, "agents": tree.len()});
    Ok(Said { text, json: Some(json), ..Said::default() })
}

/// Compares a directory with the store. Agents without a directory do not count.
pub(super) async fn diff(session: &Session, dir: &Path) -> Result<Said, OpError> {
    let wanted = tree::read(dir)?;
    let stored = if wanted.is_empty() {
        Tree::new()
    } else {
        fetch(session, wanted.keys().cloned().collect()).await?
    };
    let (text, differences) = compare(&stored, &wanted);
    let code = u8::from(!differences.is_empty());
    Ok(Said { text, json: Some(Value::Array(differences)), code, ..Said::default() })
}

/// Text in the manner of `diff`, and the differences as data.
fn compare(stored: &Tree, wanted: &Tree) -> (String, Vec<Value>) {
    let (mut text, mut all) = (String::new(), Vec::new());
    for (identity, wanted) in wanted {
        let empty = BTreeMap::new();
        let stored = stored.get(identity).unwrap_or(&empty);
        let lower = |store: &BTreeMap<String, Item>| -> BTreeMap<String, String> {
            store.keys().map(|name| (stripped(name).to_lowercase(), name.clone())).collect()
        };
        let (old, new) = (lower(stored), lower(wanted));
        let mut names: Vec<&String> = old.keys().chain(new.keys()).collect();
        names.sort();
        names.dedup();
        for key in names {
            let (old, new) = (old.get(key), new.get(key));
            let (before, after) = (old.map(|n| &stored[n]), new.map(|n| &wanted[n]));
            let same_name = old.map(|n| stripped(n)) == new.map(|n| stripped(n));
            if before == after && same_name {
                continue;
            }
            let name = new.or(old).map_or("", |n| stripped(n));
            let what = match (before, after) {
                (None, _) => "only in the directory",
                (_, None) => "only in the store",
                _ => "different",
            };
            all.push(json!({
                "identity": identity, "name": name, "difference": what, "stored": before, "directory": after
            }));
            let _ = writeln!(text, "{identity}/{name}: {what}");
            if let (Some(before), Some(after), Some(old)) = (before, after, old) {
                for (label, a, b) in [("name", stripped(old), name), ("type", &before.kind, &after.kind)] {
                    if a != b {
                        let _ = writeln!(text, "  {label} {a} -> {b}");
                    }
                }
                changed_lines(&mut text, &before.data, &after.data);
            }
        }
    }
    (text, all)
}

pub(in crate::ops) fn stripped(name: &str) -> &str {
    name.trim_matches(|c: char| c.is_whitespace() || matches!(c, '/' | '\\'))
}

/// The lines between what both begin with and what both end with.
pub(in crate::ops) fn changed_lines(text: &mut String, before: &str, after: &str) {
    let (old, new): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    let head = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let tail = old[head..].iter().rev().zip(new[head..].iter().rev()).take_while(|(a, b)| a == b).count();
    for (sign, lines) in [('-', &old[head..old.len() - tail]), ('+', &new[head..new.len() - tail])] {
        for line in lines {
            let _ = writeln!(text, "  {sign}{line}");
        }
    }
    if old == new && before != after {
        text.push_str("  (line ends differ)\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_shown_by_line() {
        let item = |kind: &str, data: &str| Item { kind: kind.to_owned(), data: data.to_owned() };
        let store = |items: &[(&str, Item)]| -> BTreeMap<String, Item> {
            items.iter().map(|(name, item)| ((*name).to_owned(), item.clone())).collect()
        };
        let stored = Tree::from([(
            "a".to_owned(),
            store(&[
                ("Config", item("json", "{\n 1,\n 2\n}")),
                ("same", item("raw", "x")),
                ("gone", item("raw", "y")),
                ("t", item("raw", "[]")),
                ("ends", item("raw", "a\n")),
            ]),
        )]);
        let wanted = Tree::from([(
            "a".to_owned(),
            store(&[
                ("config", item("json", "{\n 1,\n 3\n}")),
                ("same", item("raw", "x")),
                ("new", item("csv", "")),
                ("t", item("json", "[]")),
                ("ends", item("raw", "a\r\n")),
            ]),
        )]);
        let (text, all) = compare(&stored, &wanted);
        assert_eq!(
            text,
            "a/config: different\n  name Config -> config\n  - 2\n  + 3\na/ends: different\n  (line ends differ)\n\
             a/gone: only in the store\na/new: only in the directory\na/t: different\n  type raw -> json\n"
        );
        assert_eq!((all.len(), &all[1]["stored"]["data"]), (5, &json!("a\n")));
        assert_eq!(compare(&wanted, &wanted), (String::new(), Vec::new()));
    }

    #[test]
    fn reports_are_summed_up() {
        let report = json!({"changes": {"a": [["NEW", "x"], ["DELETE", "y"]]}, "unchanged": 7});
        assert_eq!(applied(&report, false), "1 new, 0 updated, 1 deleted, 7 unchanged\n");
        assert_eq!(
            applied(&report, true),
            "NEW a/x\nDELETE a/y\ndry run: 1 new, 0 updated, 1 deleted, 7 unchanged\n"
        );
    }
}
