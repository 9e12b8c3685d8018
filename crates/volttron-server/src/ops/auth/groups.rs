//! Verbs about groups (of roles) and roles (of capabilities), which are alike.

use serde_json::{Map, Value, json};

use super::args::MembersArgs;
use super::rules::{Document, Rules};
use super::{AuthOpError, Output, text};

/// One of the two.
#[derive(Debug)]
pub struct Kind {
    /// Word in messages.
    word: &'static str,
    /// Key in the document.
    key: &'static str,
    headings: (&'static str, &'static str),
}

/// Groups.
pub const GROUPS: Kind = Kind { word: "group", key: "groups", headings: ("GROUPS", "ROLES") };
/// Roles.
pub const ROLES: Kind = Kind { word: "role", key: "roles", headings: ("ROLE", "CAPABILITIES") };

impl Kind {
    async fn read(&self, rules: &Rules<'_>) -> Result<Map<String, Value>, AuthOpError> {
        let Document { groups, roles, .. } = rules.read().await?;
        Ok(if self.key == "groups" { groups } else { roles })
    }

    async fn change(
        &self,
        rules: &Rules<'_>,
        done: &str,
        name: &str,
        change: impl FnOnce(&mut Map<String, Value>) -> Result<(), AuthOpError>,
    ) -> Result<Output, AuthOpError> {
        let map = rules.change_members(self.key, change).await?;
        Ok(Output::line(format!("{done} {} \"{name}\"", self.word)).with_json(Value::Object(map)))
    }

    fn missing(&self, name: &str) -> AuthOpError {
        AuthOpError::Name(format!("{} \"{name}\" does not exist", self.word))
    }

    /// `add-group`, `add-role`.
    pub async fn add(&self, rules: &Rules<'_>, args: MembersArgs) -> Result<Output, AuthOpError> {
        let MembersArgs { name, members } = args;
        let add = |map: &mut Map<String, Value>| {
            if map.contains_key(&name) {
                return Err(AuthOpError::Name(format!("{} \"{name}\" already exists", self.word)));
            }
            map.insert(name.clone(), json!(members));
            Ok(())
        };
        self.change(rules, "added", &name, add).await
    }

    /// `list-groups`, `list-roles`.
    pub async fn list(&self, rules: &Rules<'_>) -> Result<Output, AuthOpError> {
        let map = self.read(rules).await?;
        let stdout = text::two_columns(&map, self.headings.0, self.headings.1);
        Ok(Output { stdout, json: Some(Value::Object(map)), ..Output::default() })
    }

    /// `update-group`, `update-role`: adds members, or with `remove` takes them away.
    pub async fn update(
        &self,
        rules: &Rules<'_>,
        args: MembersArgs,
        remove: bool,
    ) -> Result<Output, AuthOpError> {
        let MembersArgs { name, members: named } = args;
        let update = |map: &mut Map<String, Value>| {
            let Some(Value::Array(members)) = map.get_mut(&name) else {
                return Err(self.missing(&name));
            };
            if remove {
                members.retain(|v| !named.iter().any(|name| v == name));
            } else {
                for member in &named {
                    if !members.iter().any(|v| v == member) {
                        members.push(json!(member));
                    }
                }
            }
            Ok(())
        };
        self.change(rules, "updated", &name, update).await
    }

    /// `remove-group`, `remove-role`.
    pub async fn remove(&self, rules: &Rules<'_>, name: String) -> Result<Output, AuthOpError> {
        let remove = |map: &mut Map<String, Value>| match map.shift_remove(&name) {
            Some(_) => Ok(()),
            None => Err(self.missing(&name)),
        };
        self.change(rules, "removed", &name, remove).await
    }
}
