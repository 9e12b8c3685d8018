//! The rules, through the platform when it runs, else in the file. Both ways follow the same rules of changing.

use serde_json::{Map, Value, json};
use volttron_client::{Call, Cx};
use volttron_utils::files::FileLock;
use volttron_utils::home::Home;
use volttron_utils::identity::AUTH;

use super::AuthOpError;
use crate::auth::entry::Entry;
use crate::auth::file::{AuthFile, EditError, List};
use crate::auth::store::{AuthStore, StoreError};
use crate::services::auth::changes;

/// Access to the auth rules of a home.
#[derive(Debug)]
pub struct Rules<'a> {
    store: AuthStore,
    platform: Option<&'a Cx>,
}

/// The parts that verbs look at.
#[derive(Clone, Debug, Default)]
pub struct Document {
    /// Entries of the allow list, as objects.
    pub allow: Vec<Value>,
    /// Group name to list of roles.
    pub groups: Map<String, Value>,
    /// Role name to list of capabilities.
    pub roles: Map<String, Value>,
}

impl<'a> Rules<'a> {
    /// The rules of `home`; `platform` is a connection to it, if it runs.
    pub fn new(home: &Home, platform: Option<&'a Cx>) -> Self {
        Self { store: AuthStore::new(home.auth_file()), platform }
    }

    /// The file, for messages.
    pub fn path(&self) -> &std::path::Path {
        self.store.path()
    }

    fn call(&self, method: &str) -> Option<Call> {
        self.platform.map(|cx| cx.call(AUTH, method))
    }

    fn change<T>(
        &self,
        change: impl FnOnce(&mut AuthFile) -> Result<T, EditError>,
    ) -> Result<T, AuthOpError> {
        Ok(self.store.change(AuthFile::default(), change)?.value)
    }

    /// Reads everything.
    pub async fn read(&self) -> Result<Document, AuthOpError> {
        let all = match self.call("auth_file.read") {
            Some(call) => call.send_value().await?,
            None => self.store.read_patiently()?.map_or(Value::Null, |loaded| loaded.parsed.file.to_rpc()),
        };
        let map = |key: &str| all.get(key).and_then(Value::as_object).cloned().unwrap_or_default();
        let allow = all.get("allow_list").and_then(Value::as_array).cloned().unwrap_or_default();
        Ok(Document { allow, groups: map("groups"), roles: map("roles") })
    }

    /// Adds an entry to the allow list.
    pub async fn add(&self, entry: Entry) -> Result<(), AuthOpError> {
        match self.call("auth_file.add") {
            Some(call) => drop(call.arg(entry.to_value()).send_value().await?),
            None => self.change(|file| file.add(List::Allow, entry, false))?,
        }
        Ok(())
    }

    /// Replaces an entry of the allow list, unless another one stands in the place of `seen` meanwhile.
    pub async fn update(&self, index: i64, seen: &Value, entry: Entry) -> Result<(), AuthOpError> {
        let _turn = self.turn()?;
        self.unchanged(&[index], std::slice::from_ref(seen)).await?;
        match self.call("auth_file.update_by_index") {
            Some(call) => drop(call.arg(entry.to_value()).arg(index).send_value().await?),
            None => self.change(|file| file.update(List::Allow, index, entry))?,
        }
        Ok(())
    }

    /// Removes entries of the allow list, all or none; none if others stand in the places of `seen` meanwhile.
    pub async fn remove(&self, indices: &[i64], seen: &[Value]) -> Result<(), AuthOpError> {
        let _turn = self.turn()?;
        self.unchanged(indices, seen).await?;
        match self.call("auth_file.remove_by_indices") {
            Some(call) => drop(call.arg(indices).send_value().await?),
            None => self.change(|file| file.remove(List::Allow, indices))?,
        }
        Ok(())
    }

    async fn unchanged(&self, indices: &[i64], seen: &[Value]) -> Result<(), AuthOpError> {
        let allow = self.read().await?.allow;
        let now = |index: &i64| usize::try_from(*index).ok().and_then(|i| allow.get(i));
        if indices.iter().map(now).eq(seen.iter().map(Some)) {
            return Ok(());
        }
        Err(AuthOpError::Name(
            "somebody else changed the entries meanwhile, and the indices with them; nothing was changed: look at \
             vctl auth list and try again"
                .to_owned(),
        ))
    }

    /// Changes the groups (`what` = `groups`) or the roles; gives all of them as they are now. They are read and
    /// replaced whole, so that one program of ours at a time does.
    pub async fn change_members(
        &self,
        what: &str,
        change: impl FnOnce(&mut Map<String, Value>) -> Result<(), AuthOpError>,
    ) -> Result<Map<String, Value>, AuthOpError> {
        let _turn = self.turn()?;
        let Document { groups, roles, .. } = self.read().await?;
        let mut map = if what == "groups" { groups } else { roles };
        change(&mut map)?;
        let value = Value::Object(map.clone());
        match self.call(&format!("auth_file.set_{what}")) {
            Some(call) => drop(call.arg(value).send_value().await?),
            None if what == "groups" => self.change(|file| file.set_groups(&value))?,
            None => self.change(|file| file.set_roles(&value))?,
        }
        Ok(map)
    }

    /// Held from reading to writing. Not the lock of the file itself: the platform takes that one for each write.
    fn turn(&self) -> Result<FileLock, AuthOpError> {
        let path = self.path().with_file_name(".auth_changes.lock");
        FileLock::acquire(&path).map_err(|source| StoreError::Io { action: "lock", path, source }.into())
    }

    /// Adds or takes away requirements of an agent's method.
    pub async fn adjust_rpc(
        &self,
        identity: &str,
        method: &str,
        names: &[String],
        add: bool,
    ) -> Result<(), AuthOpError> {
        let verb = if add { "add_rpc_authorizations" } else { "delete_rpc_authorizations" };
        if let Some(call) = self.call(verb) {
            call.arg(identity).arg(method).arg(json!(names)).send_value().await?;
            return Ok(());
        }
        let found =
            self.change(|file| Ok(changes::adjust_authorizations(file, identity, method, names, add)))?;
        if found {
            Ok(())
        } else {
            Err(AuthOpError::Name(format!("no auth entry has the identity \"{identity}\"")))
        }
    }
}
