//! The store against a simple model, with the disk stopped or failing after every single operation: what is found at the
//! next start is the state before a transaction or the state after it, of all its stores alike.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;

use super::counters::Counters;
use super::disk::Disk;
use super::edit::{Change, Edit};
use super::entry::{Entry, Kind};
use super::push::News;
use super::store::{Named, Store};
use super::writer::{Wish, plan};
use crate::sim::disk::{Fault, SimDisk};

/// Name, links (raw text if none), number that makes contents differ.
type Write = (&'static str, Option<Vec<&'static str>>, u8);

/// One store's part of a transaction, as drawn.
#[derive(Debug, Clone)]
struct Part {
    identity: &'static str,
    writes: Vec<Write>,
    deletes: Vec<&'static str>,
    prune: bool,
    only_changes: bool,
    clear: bool,
}

const NAMES: &[&str] = &["config", "Config", "a", "A", "dev/b", "DEV/b", "c.csv"];

fn part() -> impl Strategy<Value = Part> {
    let name = prop::sample::select(NAMES);
    let links = prop::option::of(prop::collection::vec(name.clone(), 0..3));
    let writes = prop::collection::vec((name.clone(), links, 0..2_u8), 0..4);
    let deletes = prop::collection::vec(name, 0..2);
    let identity = prop::sample::select(vec!["x", "y", "z"]);
    (identity, writes, deletes, prop::bool::weighted(0.2), any::<bool>(), prop::bool::weighted(0.1)).prop_map(
        |(identity, writes, deletes, prune, only_changes, clear)| Part {
            identity,
            writes,
            // Deleting what is not there refuses everything; seldom enough to leave something to look at.
            deletes: if prune { Vec::new() } else { deletes },
            prune,
            only_changes,
            clear,
        },
    )
}

fn text(links: Option<&Vec<&str>>, number: u8) -> (Kind, String) {
    match links {
        None => (Kind::Raw, format!("config://a {number}")),
        Some(links) => {
            let links: Vec<String> = links.iter().map(|l| format!("\"Config://{l}\"")).collect();
            (
                Kind::Json,
                format!("[{number}{}{}]", if links.is_empty() { "" } else { ", " }, links.join(", ")),
            )
        }
    }
}

fn wish(part: &Part) -> Wish {
    if part.clear {
        return Wish::Clear;
    }
    let write = |(name, links, number): &Write| {
        let (kind, data) = text(links.as_ref(), *number);
        Arc::new(Named::new(name, Entry { kind, modified: None, data }).unwrap())
    };
    Wish::Edit(Edit {
        writes: part.writes.iter().map(write).collect(),
        deletes: part.deletes.iter().map(|&name| name.to_owned()).collect(),
        prune: part.prune,
        only_changes: part.only_changes,
    })
}

/// A store as simply as possible: lower-cased name to name, text and links.
type ModelStore = BTreeMap<String, (String, String, BTreeSet<String>)>;
type Model = BTreeMap<String, ModelStore>;

/// The model's idea of a part: the store after it, and which (lower-cased) names changed; none if it is refused.
fn model_part(before: &ModelStore, part: &Part) -> Option<(ModelStore, BTreeSet<String>)> {
    if part.clear {
        return Some((ModelStore::new(), before.keys().cloned().collect()));
    }
    let (mut after, mut touched) = (before.clone(), BTreeSet::new());
    let mut mentioned = BTreeSet::new();
    for (name, links, number) in &part.writes {
        let lower = name.to_lowercase();
        if !mentioned.insert(lower.clone()) {
            return None;
        }
        let (_, data) = text(links.as_ref(), *number);
        let targets = links.iter().flatten().map(|l| l.to_lowercase()).collect();
        let new = ((*name).to_owned(), data, targets);
        if !part.only_changes || before.get(&lower) != Some(&new) {
            touched.insert(lower.clone());
        }
        after.insert(lower, new);
    }
    for name in &part.deletes {
        let lower = name.to_lowercase();
        if !mentioned.insert(lower.clone()) {
            return None;
        }
        after.remove(&lower)?;
        touched.insert(lower);
    }
    if part.prune {
        let gone: Vec<String> = after.keys().filter(|name| !mentioned.contains(*name)).cloned().collect();
        for name in gone {
            after.remove(&name);
            touched.insert(name);
        }
    }
    (!cyclic(&after)).then_some((after, touched))
}

/// Takes away, again and again, what refers to nothing that is left. A cycle remains.
fn cyclic(store: &ModelStore) -> bool {
    let mut left = store.clone();
    loop {
        let free = left.iter().find(|(_, (_, _, links))| !links.iter().any(|l| left.contains_key(l)));
        let Some(free) = free.map(|(name, _)| name.clone()) else { return !left.is_empty() };
        left.remove(&free);
    }
}

fn as_model(stores: &BTreeMap<String, Store>) -> Model {
    let one = |store: &Store| {
        let entry = |(name, entry): (String, Arc<Entry>)| {
            let named = Named::new(&name, (*entry).clone()).unwrap();
            (name.to_lowercase(), (name, entry.data.clone(), named.links.into_iter().collect()))
        };
        store.all().into_iter().map(entry).collect::<ModelStore>()
    };
    stores.iter().map(|(identity, store)| (identity.clone(), one(store))).collect()
}

fn reopened(files: BTreeMap<String, Vec<u8>>) -> Model {
    let counters = Counters::default();
    let disk = SimDisk::new(files);
    let (_, stores) = Disk::open(Box::new(disk.clone()), &counters).unwrap();
    assert!(counters.snapshot().values().all(|n| *n == 0), "nothing is put aside: {:?}", counters.snapshot());
    assert!(
        disk.files().keys().all(|name| name.strip_suffix(".store").is_some()),
        "{:?}",
        disk.files().keys()
    );
    as_model(&stores)
}

/// What an agent that hears the news knows afterwards, told in an order that makes sense.
fn check_news(before: &ModelStore, after: &ModelStore, touched: &BTreeSet<String>, news: &News) {
    let changes = match news {
        News::DeleteAll => return assert!(after.is_empty()),
        News::Changes { changes, .. } => changes,
        News::Initial(_) => panic!("nobody asked for everything"),
    };
    let lower: Vec<String> = changes.iter().map(|c| c.parts().1.to_lowercase()).collect();
    assert_eq!(&lower.iter().cloned().collect::<BTreeSet<_>>(), touched);
    assert_eq!(lower.len(), touched.len(), "each once");
    let mut known = before.clone();
    for (at, change) in changes.iter().enumerate() {
        match change {
            Change::Set { action, name, .. } => {
                let entry = after[&lower[at]].clone();
                assert_eq!((*action == "NEW", name), (!before.contains_key(&lower[at]), &entry.0));
                for link in &entry.2 {
                    assert!(
                        !lower[at + 1..].contains(link) || !after.contains_key(link),
                        "{name} before {link}"
                    );
                }
                known.insert(lower[at].clone(), entry);
            }
            Change::Delete { .. } => {
                known.remove(&lower[at]);
                assert!(changes[at..].iter().all(|c| matches!(c, Change::Delete { .. })), "deletions last");
            }
        }
    }
    assert_eq!(&known, after);
}

/// One transaction against the model, then with every fault there can be. Gives the files after it.
fn play(files: &BTreeMap<String, Vec<u8>>, parts: &BTreeMap<String, Part>) -> BTreeMap<String, Vec<u8>> {
    let before = reopened(files.clone());
    let none = ModelStore::new();
    let expected: Option<Vec<_>> = parts
        .iter()
        .map(|(id, part)| Some((id.clone(), model_part(before.get(id).unwrap_or(&none), part)?)))
        .collect();
    let wishes: BTreeMap<String, Wish> = parts.iter().map(|(id, part)| (id.clone(), wish(part))).collect();
    let mut fault = Fault::Never;
    let mut result = files.clone();
    for round in 0.. {
        let sim = SimDisk::new(files.clone());
        let (disk, stores) = Disk::open(Box::new(sim.clone()), &Counters::default()).unwrap();
        let planned = plan(|id| stores.get(id).cloned(), &wishes, true);
        let (Some(expected), Ok(planned)) = (&expected, &planned) else {
            assert_eq!((expected.is_none(), planned.is_err()), (true, true), "refused by one only");
            return result;
        };
        let mut after = before.clone();
        for (id, (store, touched)) in expected {
            match planned.iter().find(|(planned, ..)| planned == id) {
                Some((.., news)) => check_news(before.get(id).unwrap_or(&none), store, touched, news),
                None => assert!(touched.is_empty(), "{id} has changed"),
            }
            if store.is_empty() {
                after.remove(id)
            } else {
                after.insert(id.clone(), store.clone())
            };
        }
        let changed: Vec<(String, Store)> =
            planned.iter().map(|(id, store, _)| (id.clone(), store.clone())).collect();
        if changed.is_empty() {
            assert_eq!(before, after);
            return result;
        }
        sim.set_fault(fault);
        let saved = disk.save_all(&changed);
        let operations = sim.operations();
        let found = reopened(sim.files());
        assert!(found == before || found == after, "half a transaction with {fault:?}: {found:?}");
        match fault {
            Fault::Never => {
                assert!(saved.is_ok() && found == after);
                result = sim.files();
            }
            _ if saved.is_ok() => assert_eq!(found, after, "what was answered is there, {fault:?}"),
            // A process that lives on goes by its answer.
            Fault::Fail(_) => assert_eq!(found, before, "{fault:?}"),
            Fault::Crash(_) | Fault::CrashAfter(_) => {}
        }
        if let Fault::Fail(_) = fault {
            // The disk works again: the next change finds nothing in its way.
            sim.set_fault(Fault::Never);
            let probe = Edit {
                writes: vec![Arc::new(
                    Named::new("probe", Entry { kind: Kind::Raw, modified: None, data: String::new() })
                        .unwrap(),
                )],
                ..Edit::default()
            };
            let now = if saved.is_ok() { &after } else { &before };
            let base = stores_of(&sim);
            let (next, _) = base.get("x").cloned().unwrap_or_default().edit(&probe).unwrap();
            disk.save("x", &next).unwrap();
            let mut found = reopened(sim.files());
            let x = found.get_mut("x").expect("written");
            assert!(x.remove("probe").is_some());
            if x.is_empty() {
                found.remove("x");
            }
            assert_eq!(&found, now);
        }
        fault = match round {
            0 => Fault::Crash(0),
            n if n < operations.max(1) * 2 + 2 => {
                if n % 2 == 0 {
                    Fault::Crash(n / 2)
                } else {
                    Fault::Fail(n / 2)
                }
            }
            _ => return result,
        };
    }
    result
}

/// The stores as the files have them, as a process would that committed what they say.
fn stores_of(sim: &SimDisk) -> BTreeMap<String, Store> {
    let copy = SimDisk::new(sim.files());
    Disk::open(Box::new(copy), &Counters::default()).unwrap().1
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn transactions_are_all_or_nothing_whatever_the_disk_does(
        steps in prop::collection::vec(prop::collection::vec(part(), 1..4), 1..8)
    ) {
        let mut files = BTreeMap::new();
        for parts in steps {
            let parts: BTreeMap<String, Part> =
                parts.into_iter().map(|part| (part.identity.to_owned(), part)).collect();
            files = play(&files, &parts);
        }
    }
}
