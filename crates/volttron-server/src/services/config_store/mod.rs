//! The configuration store service, `config.store` (subsystems.md section 11): owns every agent's configurations and
//! tells agents about changes.
//!
//! A write is answered when it is on disk; the agent is told afterwards, in order. A write by the agent itself is
//! answered after it was told, because its own copy changes only through that. Contents are never interpreted: links
//! are resolved by the agent that reads them. Reading starts at [`writer`], which makes all changes.

mod counters;
mod disk;
mod edit;
mod entry;
#[doc(hidden)]
pub mod fuzzing;
pub mod offline;
mod push;
#[cfg(test)]
mod sim_tests;
mod store;
mod writer;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value, json};
use tokio::sync::{mpsc, oneshot};
use volttron_client::{Access, Agent, Cx, Method, Registrar, Request};
use volttron_utils::home::Home;
use volttron_utils::identity::Identity;
use volttron_utils::jsonrpc::RpcError;
use volttron_utils::time;

use crate::files::{Directory, Files};

use self::counters::{Counters, count};
use self::disk::Disk;
pub use self::disk::StoreError;
use self::edit::Edit;
pub(crate) use self::entry::Kind;
use self::entry::{BadEntry, Entry, parse, strip_name};
use self::push::News;
use self::store::{Named, Store};
use self::writer::{Done, Job, Shared, Wish, missing};

/// Capability for writing, and for reading what is not one's own; usually restricted to one identity.
const EDIT: &str = "edit_config_store";

/// Mode of the store's files.
const FILE_MODE: u32 = 0o644;

/// The service.
pub struct ConfigStore {
    shared: Arc<Shared>,
    jobs: mpsc::Sender<Job>,
    /// For the writer, which starts with the first job.
    waiting: Mutex<Option<mpsc::Receiver<Job>>>,
}

impl ConfigStore {
    /// Reads all stores of a home. Blocks on files.
    pub fn load(home: &Home) -> Result<Self, StoreError> {
        let path = home.configuration_store();
        let name = path.display().to_string();
        let files = Directory::open(path, FILE_MODE, u64::MAX).map_err(|source| StoreError::Io {
            action: "prepare the directory",
            name,
            source,
        })?;
        Self::open(Box::new(files))
    }

    /// Reads all stores of a directory. Blocks on files.
    pub(crate) fn open(files: Box<dyn Files>) -> Result<Self, StoreError> {
        let counters = Arc::new(Counters::default());
        let (disk, stores) = Disk::open(files, &counters)?;
        let (jobs, waiting) = mpsc::channel(writer::QUEUE);
        let shared = Arc::new(Shared::new(disk, counters, stores));
        Ok(Self { shared, jobs, waiting: Mutex::new(Some(waiting)) })
    }

    async fn set(&self, request: &Request) -> Result<(), RpcError> {
        let identity = identity_of(request)?;
        let name: String = request.arg("config_name")?;
        let data: String = request.arg("raw_contents")?;
        let kind = Kind::parse(&request.arg::<String>("config_type")?).ok_or(BadEntry::Kind)?;
        let named = Named::new(&name, Entry { kind, modified: Some(now()), data })?;
        let edit = Edit { writes: vec![Arc::new(named)], ..Edit::default() };
        self.change_one(request, identity, Wish::Edit(edit), tell(request)?).await
    }

    async fn delete(&self, request: &Request) -> Result<(), RpcError> {
        let identity = identity_of(request)?;
        let given: String = request.arg("config_name")?;
        if !self.shared.state().stores.contains_key(&identity) {
            return Err(missing(&given, &identity));
        }
        let edit = Edit { deletes: vec![strip_name(&given).to_owned()], ..Edit::default() };
        self.change_one(request, identity, Wish::Edit(edit), tell(request)?).await
    }

    async fn delete_store(&self, request: &Request) -> Result<(), RpcError> {
        let identity = identity_of(request)?;
        self.change_one(request, identity, Wish::Clear, Some(true)).await
    }

    /// Makes one store's change, and waits until its agent knows if it is the agent that asks.
    async fn change_one(
        &self,
        request: &Request,
        identity: String,
        wish: Wish,
        tell: Option<bool>,
    ) -> Result<(), RpcError> {
        let own = request.caller.user == identity;
        let done = self.change(&request.cx, BTreeMap::from([(identity, wish)]), tell).await?;
        wait_if(own, done).await;
        Ok(())
    }

    /// Changes of any number of stores, all or none; or what they would be.
    async fn apply(&self, request: &Request) -> Result<Value, RpcError> {
        let only: String = request.arg("identity")?;
        let edits = edit::parse_transaction(request.arg("transaction")?, &now())?;
        // The caller's rights were checked against this argument.
        if let Some(other) = edits.keys().find(|identity| !only.is_empty() && **identity != only) {
            return Err(RpcError::value_error(format!(
                "the transaction is limited to {only:?}, but changes {other:?}"
            )));
        }
        let wished: usize = edits.values().map(|edit| edit.writes.len()).sum();
        let wishes: BTreeMap<String, Wish> =
            edits.into_iter().map(|(identity, edit)| (identity, Wish::Edit(edit))).collect();
        let dry_run: bool = request.arg("dry_run")?;
        let done = if dry_run {
            let state = self.shared.state();
            let planned = writer::plan(|id| state.stores.get(id).cloned(), &wishes, false)?;
            let news = planned.into_iter().map(|(identity, _, news)| (identity, news)).collect();
            Done { news, told: Vec::new() }
        } else {
            self.change(&request.cx, wishes, tell(request)?).await?
        };
        let report = report(&done.news, wished);
        wait_if(request.caller.user == only, done).await;
        Ok(report)
    }

    async fn change(
        &self,
        cx: &Cx,
        wishes: BTreeMap<String, Wish>,
        tell: Option<bool>,
    ) -> Result<Done, RpcError> {
        if tell.is_some() {
            for identity in wishes.keys() {
                self.shared.open_queue(cx, identity);
            }
        }
        if let Some(jobs) = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take() {
            cx.spawn(writer::run(self.shared.clone(), jobs));
        }
        let (answer, outcome) = oneshot::channel();
        self.jobs.try_send(Job { wishes, tell, answer }).map_err(|_| {
            count(&self.shared.counters.refused_busy, 1);
            RpcError::runtime_error(format!(
                "{} changes are waiting for the disk already; try again later",
                writer::QUEUE
            ))
        })?;
        outcome.await.unwrap_or_else(|_| {
            Err(RpcError::runtime_error("the change was abandoned because the platform is stopping"))
        })
    }

    async fn initialize(&self, request: &Request) -> Result<(), RpcError> {
        let identity = identity_of(request)?;
        self.shared.open_queue(&request.cx, &identity);
        let told = self.shared.tell_everything(&identity)?;
        let _ = told.await;
        Ok(())
    }

    fn names(&self, request: &Request) -> Result<Vec<String>, RpcError> {
        let identity: String = request.arg("identity")?;
        Ok(self.shared.state().stores.get(&identity).map(Store::names).unwrap_or_default())
    }

    /// All identities with a store, or one of them.
    fn stores(&self, request: &Request) -> Result<Vec<String>, RpcError> {
        let only: String = request.arg("identity")?;
        let state = self.shared.state();
        Ok(state.stores.keys().filter(|identity| only.is_empty() || **identity == only).cloned().collect())
    }

    fn entry(&self, request: &Request) -> Result<Arc<Entry>, RpcError> {
        let identity: String = request.arg("identity")?;
        let given: String = request.arg("config_name")?;
        let name = strip_name(&given);
        let state = self.shared.state();
        let store = state.stores.get(&identity).ok_or_else(|| missing(&given, &identity))?;
        store.get(name).cloned().ok_or_else(|| missing(name, &identity))
    }

    /// Everything of one store, in order of first writing.
    fn export(&self, request: &Request) -> Result<Value, RpcError> {
        let identity: String = request.arg("identity")?;
        let all = self.shared.state().stores.get(&identity).map(Store::all).unwrap_or_default();
        Ok(Value::Object(all.into_iter().map(|(name, entry)| (name, metadata(&entry))).collect()))
    }
}

/// Whether a text can be stored; else why not.
pub(crate) fn check(kind: Kind, data: &str) -> Result<(), String> {
    parse(kind, data).map(drop).map_err(|e| e.to_string())
}

/// What a transaction did, or would do.
fn report(news: &[(String, News)], wished: usize) -> Value {
    let (mut stores, mut written) = (Map::new(), 0);
    for (identity, news) in news {
        let News::Changes { changes, .. } = news else { continue };
        let pairs = changes.iter().map(|change| {
            let (action, name) = change.parts();
            written += usize::from(action != "DELETE");
            json!([action, name])
        });
        stores.insert(identity.clone(), pairs.collect());
    }
    json!({"changes": stores, "unchanged": wished.saturating_sub(written)})
}

/// The store's name becomes a file name, so it has to be a legal identity.
fn identity_of(request: &Request) -> Result<String, RpcError> {
    let identity: String = request.arg("identity")?;
    match Identity::new(identity.as_str()) {
        Ok(id) => Ok(id.into()),
        Err(error) => Err(RpcError::value_error(error.to_string())),
    }
}

/// Whether the agent is told, and if so whether its handlers are.
fn tell(request: &Request) -> Result<Option<bool>, RpcError> {
    let trigger = request.arg("trigger_callback")?;
    Ok(request.arg::<bool>("send_update")?.then_some(trigger))
}

/// An agent's own copy changes only through the push, so its own writes are answered after that.
async fn wait_if(own: bool, done: Done) {
    if own {
        for told in done.told {
            let _ = told.await;
        }
    }
}

fn now() -> String {
    time::format_timestamp(time::now_utc())
}

fn metadata(entry: &Entry) -> Value {
    json!({"type": entry.kind, "modified": entry.modified, "data": entry.data})
}

fn contents(entry: &Entry, raw: bool) -> Result<Value, RpcError> {
    if raw { Ok(Value::from(entry.data.as_str())) } else { Ok(parse(entry.kind, &entry.data)?) }
}

/// A method that changes a store.
fn writing(name: &str) -> Method {
    Method::new(name, Access::Capability(EDIT))
}

/// A method that shows one agent's store: to that agent, and to whoever may write it.
fn reading(name: &str) -> Method {
    let access = Access::SelfOr { param: "identity".to_owned(), capability: EDIT.to_owned() };
    Method::new(name, access).param("identity")
}

/// A method about all stores. The capability's restriction needs an argument to look at: whoever may do this with every
/// identity may do it with the empty one, others have to name the one identity they may see.
fn overall(name: &str) -> Method {
    let access = Access::SelfOr { param: "identity".to_owned(), capability: EDIT.to_owned() };
    Method::new(name, access).optional("identity", "")
}

fn told(method: Method) -> Method {
    method.optional("trigger_callback", true).optional("send_update", true)
}

impl Agent for ConfigStore {
    const NAME: &'static str = "ConfigStoreService";

    fn register(b: &mut Registrar<Self>) {
        for name in ["set_config", "manage_store"] {
            let method = writing(name).param("identity").param("config_name").param("raw_contents");
            let method = told(method.optional("config_type", "raw"));
            b.rpc(method, |s: Arc<Self>, r: Request| async move { s.set(&r).await });
        }
        for name in ["delete_config", "manage_delete_config"] {
            let method = told(writing(name).param("identity").param("config_name"));
            b.rpc(method, |s: Arc<Self>, r: Request| async move { s.delete(&r).await });
        }
        for name in ["delete_store", "manage_delete_store"] {
            let method = writing(name).param("identity");
            b.rpc(method, |s: Arc<Self>, r: Request| async move { s.delete_store(&r).await });
        }
        let apply = writing("apply_configs")
            .param("transaction")
            .optional("identity", "")
            .optional("dry_run", false)
            .doc(
                "Changes any number of configurations, all or none: {identity: {\"set\": {name: {\"type\": .., \
                 \"data\": ..}}, \"delete\": [names], \"prune\": bool}}.",
            );
        b.rpc(told(apply), |s: Arc<Self>, r: Request| async move { s.apply(&r).await });
        let initialize = writing("initialize_configs").param("identity");
        b.rpc(initialize, |s: Arc<Self>, r: Request| async move { s.initialize(&r).await });
        for name in ["list_configs", "manage_list_configs"] {
            b.rpc(reading(name).hardened(), |s: Arc<Self>, r: Request| async move { s.names(&r) });
        }
        for name in ["list_stores", "manage_list_stores"] {
            b.rpc(overall(name).hardened(), |s: Arc<Self>, r: Request| async move { s.stores(&r) });
        }
        for name in ["get_config", "manage_get"] {
            let method = reading(name).param("config_name").optional("raw", true).hardened();
            b.rpc(method, |s: Arc<Self>, r: Request| async move { contents(&*s.entry(&r)?, r.arg("raw")?) });
        }
        for name in ["get_metadata", "manage_get_metadata"] {
            let method = reading(name).param("config_name").hardened();
            b.rpc(method, |s: Arc<Self>, r: Request| async move { Ok(metadata(&*s.entry(&r)?)) });
        }
        let export = reading("export_configs").doc("Every configuration of one agent, as stored.");
        b.rpc(export, |s: Arc<Self>, r: Request| async move { s.export(&r) });
        let counters = overall("get_store_counters").doc("What the store has counted since its start.");
        b.rpc(counters, |s: Arc<Self>, _| async move { Ok(Value::Object(s.shared.counters.snapshot())) });
    }
}
