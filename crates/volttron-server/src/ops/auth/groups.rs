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

    async fn write(
        &self,
        rules: &Rules<'_>,
        map: Map<String, Value>,
        done: &str,
        name: &str,
    ) -> Result<Output, AuthOpError> {
        let json = Value::Object(map.clone());
        rules.set(self.key, map).await?;
        Ok(Output::line(format!("{done} {} \"{name}\"", self.word)).with_json(json))
    }

    fn missing(&self, name: &str) -> AuthOpError {
        AuthOpError::Name(format!("{} \"{name}\" does not exist", self.word))
    }

    /// `add-group`, `add-role`.
    pub async fn add(&self, rules: &Rules<'_>, args: MembersArgs) -> Result<Output, AuthOpError> {
        let mut map = self.read(rules).await?;
        if map.contains_key(&args.name) {
            return Err(AuthOpError::Name(format!("{} \"{}\" already exists", self.word, args.name)));
        }
        map.insert(args.name.clone(), json!(args.members));
        self.write(rules, map, "added", &args.name).await
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
        let mut map = self.read(rules).await?;
        let Some(Value::Array(members)) = map.get_mut(&args.name) else {
            return Err(self.missing(&args.name));
        };
        let named = |v: &Value| v.as_str().is_some_and(|name| args.members.iter().any(|m| m == name));
        if remove {
            members.retain(|v| !named(v));
        } else {
            for member in &args.members {
                if !members.iter().any(|v| v == member) {
                    members.push(json!(member));
                }
            }
        }
        self.write(rules, map, "updated", &args.name).await
    }

    /// `remove-group`, `remove-role`.
    pub async fn remove(&self, rules: &Rules<'_>, name: String) -> Result<Output, AuthOpError> {
        let mut map = self.read(rules).await?;
        if map.shift_remove(&name).is_none() {
            return Err(self.missing(&name));
        }
        self.write(rules, map, "removed", &name).await
    }
}
