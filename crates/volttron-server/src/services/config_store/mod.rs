//! The configuration store service, `config.store` (subsystems.md section 11): owns every agent's configurations and
//! tells agents about changes.
//!
//! A write is answered when it is on disk; the agent is told afterwards, in order. A write by the agent itself is
//! answered after it was told, because its own copy changes only through that. Contents are never interpreted: links
//! are resolved by the agent that reads them.

mod disk;
mod entry;
mod push;
mod store;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use volttron_client::{Access, Agent, Cx, Method, Registrar, Request};
use volttron_utils::home::Home;
use volttron_utils::identity::Identity;
use volttron_utils::jsonrpc::RpcError;
use volttron_utils::time;

pub use self::disk::StoreError;
use self::entry::{BadEntry, Entry, Kind, parse, strip_name};
use self::push::{Change, Push};
use self::store::{Store, Written};

/// Capability for writing; usually restricted to one identity.
const EDIT: Access = Access::Capability("edit_config_store");

/// Everything about one agent's store that changes together.
#[derive(Default)]
struct Slot {
    store: Store,
    /// Counts changes; what is on disk is behind by the difference to `written`.
    version: u64,
    written: u64,
    /// Held while a file is written. One write covers all changes made until it began.
    gate: Arc<tokio::sync::Mutex<()>>,
    queue: Option<mpsc::Sender<Push>>,
}

/// The service.
pub struct ConfigStore {
    dir: PathBuf,
    slots: Mutex<BTreeMap<String, Slot>>,
}

/// A change that was made in memory: to be written, then answered.
struct Pending {
    version: u64,
    durable: oneshot::Sender<()>,
    done: Option<oneshot::Receiver<()>>,
}

impl ConfigStore {
    /// Reads all stores of a home. Blocks on files.
    pub fn load(home: &Home) -> Result<Self, StoreError> {
        let dir = home.configuration_store();
        let slots = disk::load_all(&dir)?
            .into_iter()
            .map(|(identity, store)| (identity, Slot { store, ..Slot::default() }))
            .collect();
        Ok(Self { dir, slots: Mutex::new(slots) })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn set(&self, request: &Request) -> Result<(), RpcError> {
        let identity = identity_of(request)?;
        let name: String = request.arg("config_name")?;
        let name = strip_name(&name).to_owned();
        let data: String = request.arg("raw_contents")?;
        let kind = Kind::parse(&request.arg::<String>("config_type")?).ok_or(BadEntry::Kind)?;
        let contents = parse(kind, &data)?;
        let entry = Entry { kind, modified: Some(time::format_timestamp(time::now_utc())), data };
        let (send, trigger) = push_flags(request)?;
        let pending = {
            let mut slots = self.lock();
            let slot = slots.entry(identity.clone()).or_default();
            let stored = slot.reserve(&request.cx, &identity, send)?;
            let written = slot.store.set(&name, entry, &contents)?;
            let action = if written == Written::New { "NEW" } else { "UPDATE" };
            let entry = slot.store.get(&name).cloned().ok_or(BadEntry::Kind)?;
            slot.changed(stored, Change::Set { action, name, entry, trigger })
        };
        self.finish(request, &identity, pending).await
    }

    async fn delete(&self, request: &Request) -> Result<(), RpcError> {
        let identity = identity_of(request)?;
        let given: String = request.arg("config_name")?;
        let name = strip_name(&given).to_owned();
        let (send, trigger) = push_flags(request)?;
        let pending = {
            let mut slots = self.lock();
            let slot = slots
                .get_mut(&identity)
                .filter(|s| !s.store.is_empty())
                .ok_or_else(|| missing(&given, &identity))?;
            let stored = slot.reserve(&request.cx, &identity, send)?;
            if !slot.store.delete(&name) {
                return Err(missing(&name, &identity));
            }
            slot.changed(stored, Change::Delete { name, trigger })
        };
        self.finish(request, &identity, pending).await
    }

    async fn delete_store(&self, request: &Request) -> Result<(), RpcError> {
        let identity = identity_of(request)?;
        let pending = {
            let mut slots = self.lock();
            let Some(slot) = slots.get_mut(&identity).filter(|s| !s.store.is_empty()) else { return Ok(()) };
            let stored = slot.reserve(&request.cx, &identity, true)?;
            slot.store = Store::default();
            slot.changed(stored, Change::DeleteAll)
        };
        self.finish(request, &identity, pending).await
    }

    async fn initialize(&self, request: &Request) -> Result<(), RpcError> {
        let identity = identity_of(request)?;
        let done = {
            let mut slots = self.lock();
            let slot = slots.entry(identity.clone()).or_default();
            let room = slot.reserve(&request.cx, &identity, true)?;
            let (durable, on_disk) = oneshot::channel();
            let _ = durable.send(());
            room.map(|room| room.push(Change::Initial(slot.store.all()), on_disk))
        };
        if let Some(done) = done {
            let _ = done.await;
        }
        Ok(())
    }

    /// Writes the change, lets the push go, and waits for it if the agent itself asked.
    async fn finish(&self, request: &Request, identity: &str, pending: Pending) -> Result<(), RpcError> {
        self.write(identity, pending.version).await.map_err(|error| {
            tracing::error!("{error}");
            RpcError::exception("builtins.OSError", error.to_string())
        })?;
        let _ = pending.durable.send(());
        if request.caller.user == identity
            && let Some(done) = pending.done
        {
            let _ = done.await;
        }
        Ok(())
    }

    /// Makes sure that everything up to `version` is on disk.
    async fn write(&self, identity: &str, version: u64) -> Result<(), StoreError> {
        let Some(gate) = self.lock().get(identity).map(|s| s.gate.clone()) else { return Ok(()) };
        let _one_at_a_time = gate.lock().await;
        let path = disk::path_of(&self.dir, identity);
        let (version, text) = {
            let slots = self.lock();
            let Some(slot) = slots.get(identity) else { return Ok(()) };
            if slot.written >= version {
                return Ok(());
            }
            let text = disk::render(&slot.store);
            (
                slot.version,
                text.map_err(|source| StoreError::Io { action: "write", path: path.clone(), source })?,
            )
        };
        let written = tokio::task::spawn_blocking(move || disk::write_text(&path, text)).await;
        written.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
        if let Some(slot) = self.lock().get_mut(identity) {
            slot.written = slot.written.max(version);
        }
        Ok(())
    }

    fn names(&self, identity: &str) -> Vec<String> {
        self.lock().get(identity).map(|s| s.store.names()).unwrap_or_default()
    }

    fn stores(&self) -> Vec<String> {
        self.lock()
            .iter()
            .filter(|(_, s)| !s.store.is_empty())
            .map(|(identity, _)| identity.clone())
            .collect()
    }

    fn entry(&self, request: &Request) -> Result<Arc<Entry>, RpcError> {
        let identity: String = request.arg("identity")?;
        let given: String = request.arg("config_name")?;
        let name = strip_name(&given);
        let slots = self.lock();
        let slot =
            slots.get(&identity).filter(|s| !s.store.is_empty()).ok_or_else(|| missing(&given, &identity))?;
        slot.store.get(name).cloned().ok_or_else(|| missing(name, &identity))
    }
}

/// A place in an agent's queue, taken before the change is made so that the change cannot be left without one.
struct Room(mpsc::OwnedPermit<Push>);

impl Room {
    fn push(self, change: Change, durable: oneshot::Receiver<()>) -> oneshot::Receiver<()> {
        let (done, told) = oneshot::channel();
        self.0.send(Push { change, durable, done });
        told
    }
}

impl Slot {
    /// Makes room for a push to an agent that is to be told and is there.
    fn reserve(&mut self, cx: &Cx, identity: &str, send: bool) -> Result<Option<Room>, RpcError> {
        if !send {
            return Ok(None);
        }
        let queue = self.queue.get_or_insert_with(|| {
            let (queue, pushes) = mpsc::channel(push::QUEUE);
            cx.spawn(push::run(cx.clone(), identity.to_owned(), pushes));
            queue
        });
        queue.clone().try_reserve_owned().map(|permit| Some(Room(permit))).map_err(|_| {
            RpcError::runtime_error(format!(
                "{identity} has not digested its last {} configuration changes; try again later",
                push::QUEUE
            ))
        })
    }

    fn changed(&mut self, room: Option<Room>, change: Change) -> Pending {
        self.version += 1;
        let (durable, on_disk) = oneshot::channel();
        Pending { version: self.version, durable, done: room.map(|room| room.push(change, on_disk)) }
    }
}

/// The store's name becomes a file name, so it has to be a legal identity.
fn identity_of(request: &Request) -> Result<String, RpcError> {
    let identity: String = request.arg("identity")?;
    match Identity::new(identity.as_str()) {
        Ok(id) => Ok(id.into()),
        Err(error) => Err(RpcError::value_error(error.to_string())),
    }
}

/// `(send_update, trigger_callback)`.
fn push_flags(request: &Request) -> Result<(bool, bool), RpcError> {
    Ok((request.arg("send_update")?, request.arg("trigger_callback")?))
}

fn missing(name: &str, identity: &str) -> RpcError {
    // The spelling is 9.x's; programs compare the text.
    RpcError::key_error(format!("No configuration file \"{name}\" for VIP IDENTIY {identity}"))
}

fn metadata(entry: &Entry) -> Value {
    json!({"type": entry.kind, "modified": entry.modified, "data": entry.data})
}

fn contents(entry: &Entry, raw: bool) -> Result<Value, RpcError> {
    if raw { Ok(Value::from(entry.data.as_str())) } else { Ok(parse(entry.kind, &entry.data)?) }
}

impl Agent for ConfigStore {
    const NAME: &'static str = "ConfigStoreService";

    fn register(b: &mut Registrar<Self>) {
        for name in ["set_config", "manage_store"] {
            let method = Method::new(name, EDIT)
                .param("identity")
                .param("config_name")
                .param("raw_contents")
                .optional("config_type", "raw")
                .optional("trigger_callback", true)
                .optional("send_update", true);
            b.rpc(method, |s: Arc<Self>, r: Request| async move { s.set(&r).await });
        }
        for name in ["delete_config", "manage_delete_config"] {
            let method = Method::new(name, EDIT)
                .param("identity")
                .param("config_name")
                .optional("trigger_callback", true)
                .optional("send_update", true);
            b.rpc(method, |s: Arc<Self>, r: Request| async move { s.delete(&r).await });
        }
        for name in ["delete_store", "manage_delete_store"] {
            let method = Method::new(name, EDIT).param("identity");
            b.rpc(method, |s: Arc<Self>, r: Request| async move { s.delete_store(&r).await });
        }
        let initialize = Method::new("initialize_configs", EDIT).param("identity");
        b.rpc(initialize, |s: Arc<Self>, r: Request| async move { s.initialize(&r).await });
        for name in ["list_configs", "manage_list_configs"] {
            let method = Method::new(name, Access::Open).param("identity");
            b.rpc(
                method,
                |s: Arc<Self>, r: Request| async move { Ok(s.names(&r.arg::<String>("identity")?)) },
            );
        }
        for name in ["list_stores", "manage_list_stores"] {
            b.rpc(Method::new(name, Access::Open), |s: Arc<Self>, _| async move { Ok(s.stores()) });
        }
        for name in ["get_config", "manage_get"] {
            let method =
                Method::new(name, Access::Open).param("identity").param("config_name").optional("raw", true);
            b.rpc(method, |s: Arc<Self>, r: Request| async move { contents(&*s.entry(&r)?, r.arg("raw")?) });
        }
        for name in ["get_metadata", "manage_get_metadata"] {
            let method = Method::new(name, Access::Open).param("identity").param("config_name");
            b.rpc(method, |s: Arc<Self>, r: Request| async move { Ok(metadata(&*s.entry(&r)?)) });
        }
    }
}
