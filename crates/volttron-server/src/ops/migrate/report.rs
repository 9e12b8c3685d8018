//! What is in an old home, and what becomes of each thing: for people and programs alike.

use serde_json::{Map, Value, json};

/// What becomes of a thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is there in the new home in another form.
    Convert,
    /// It is there as it was.
    Copy,
    /// It stays in the old home alone.
    Leave,
}

impl Action {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Convert => "convert",
            Self::Copy => "copy",
            Self::Leave => "leave",
        }
    }
}

/// A thing of an old home.
#[derive(Clone, Debug)]
pub struct Item {
    /// Its kind: `setting`, `keys`, `known-hosts`, `auth`, `protected-topics`, `config-store`, `agent`, `history`,
    /// `certificates`, `rabbitmq`, `file`.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// What becomes of it.
    pub action: Action,
    /// What it is and how it is carried, or why it is not.
    pub text: String,
    /// What helps, or finishes it: a command.
    pub command: Option<String>,
    /// The same for programs.
    pub facts: Map<String, Value>,
}

impl Item {
    /// A thing without facts.
    pub fn new(kind: &'static str, name: impl Into<String>, action: Action, text: impl Into<String>) -> Self {
        Self { kind, name: name.into(), action, text: text.into(), command: None, facts: Map::new() }
    }

    /// With a command.
    #[must_use]
    pub fn then(mut self, command: impl Into<String>) -> Self {
        self.command = Some(command.into());
        self
    }

    /// With facts: an object.
    #[must_use]
    pub fn facts(mut self, facts: Value) -> Self {
        if let Value::Object(facts) = facts {
            self.facts = facts;
        }
        self
    }

    /// As an object.
    pub fn to_json(&self) -> Value {
        json!({
            "kind": self.kind, "name": self.name, "action": self.action.word(), "text": self.text,
            "command": self.command, "facts": self.facts,
        })
    }

    /// As a line, and one more for the command.
    pub fn to_text(&self) -> String {
        let name = if self.name.is_empty() { String::new() } else { format!(" {}", self.name) };
        let command = self.command.as_ref().map_or_else(String::new, |c| format!("\n{:10}try: {c}", ""));
        format!("{:<8}{}{name}: {}{command}", self.action.word(), self.kind, self.text)
    }
}

/// `1 entry`, `2 entries`.
pub fn counted(count: usize, one: &str, many: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {many}") }
}
