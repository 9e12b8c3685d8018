//! From what is and what is wanted to the changes in between, in the order in which they are made. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::super::OpError;
use super::super::config::bulk::{changed_lines, stripped};
use super::super::config::tree::Item;
use super::file::{Agent, Wanted};
use super::state::{Present, PresentAgent};
use crate::auth::entry::Entry;
use crate::install::AgentSettings;
use crate::options::managed;
use crate::services::auth::changes::is_own_user;

/// Settings that the platform writes itself.
const OWN_SETTINGS: [&str; 2] = ["instance-name", "message-bus"];

/// What kind of change it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// Something new.
    Add,
    /// Something becomes different.
    Change,
    /// Something goes.
    Remove,
}

impl Sign {
    /// As in the plan.
    pub fn as_char(self) -> char {
        match self {
            Self::Add => '+',
            Self::Change => '~',
            Self::Remove => '-',
        }
    }
}

/// Groups or roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// Groups of roles.
    Groups,
    /// Roles of capabilities.
    Roles,
}

impl Names {
    /// The key in the auth file.
    pub fn key(self) -> &'static str {
        match self {
            Self::Groups => "groups",
            Self::Roles => "roles",
        }
    }
}

/// What is done.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// The lines of a setting become these.
    Setting(String, Vec<String>),
    /// A group or a role gets these members, or goes.
    Members(Names, String, Option<Value>),
    /// A protected topic needs these capabilities, or is free.
    Topic(String, Option<Value>),
    /// The fields of an entry become these.
    Entry(Map<String, Value>),
    /// The entry of this user goes.
    NoEntry(String),
    /// A configuration becomes this, or goes.
    Configuration {
        /// Whose.
        identity: String,
        /// Its name.
        name: String,
        /// Its type and text.
        item: Option<Item>,
    },
    /// An agent goes.
    Remove(String),
    /// An agent is installed, or another version of it.
    Install(String),
    /// An agent's configuration file, environment or policy changes.
    Configure(String, AgentSettings),
    /// An agent's tag.
    Tag(String, Option<String>),
    /// An agent's priority.
    Priority(String, Option<String>),
    /// An agent starts.
    Start(String),
    /// An agent stops.
    Stop(String),
}

impl Action {
    /// Whether only the platform can do it.
    pub fn needs_platform(&self) -> bool {
        matches!(
            self,
            Self::Remove(_) | Self::Install(_) | Self::Configure(..) | Self::Start(_) | Self::Stop(_)
        )
    }

    /// The agent that becomes different, if it is one.
    pub fn agent(&self) -> Option<&str> {
        match self {
            Self::Remove(identity)
            | Self::Install(identity)
            | Self::Configure(identity, _)
            | Self::Tag(identity, _)
            | Self::Priority(identity, _)
            | Self::Start(identity)
            | Self::Stop(identity) => Some(identity),
            _ => None,
        }
    }

    /// The agent, or the user of an auth entry.
    pub fn user(&self) -> Option<&str> {
        match self {
            Self::Entry(fields) => Some(user(fields)),
            other => other.agent(),
        }
    }
}

/// One change.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// What kind.
    pub sign: Sign,
    /// Of what.
    pub what: String,
    /// How, line by line.
    pub details: Vec<String>,
    /// What is done.
    pub action: Action,
    /// Whether it has to wait for the platform, because of what it is or of what comes before it.
    pub needs_platform: bool,
}

/// The changes, in their order.
pub type Plan = Vec<Change>;

/// What has to happen. `prune` takes out what the wanted parts do not name.
pub fn plan(present: &Present, wanted: &Wanted, prune: bool) -> Result<Plan, OpError> {
    let mut planner = Planner { present, wanted, prune, plan: Vec::new(), late: Vec::new() };
    planner.settings();
    planner.members(Names::Groups, wanted.groups.as_ref(), &present.rules.groups);
    planner.members(Names::Roles, wanted.roles.as_ref(), &present.rules.roles);
    planner.topics();
    planner.entries()?;
    planner.store();
    planner.agents()?;
    Ok(planner.plan)
}

struct Planner<'a> {
    present: &'a Present,
    wanted: &'a Wanted,
    prune: bool,
    plan: Plan,
    /// Entries of agents that are not installed yet.
    late: Plan,
}

/// A value in one line, not too long.
fn short(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= 100 { text } else { text.chars().take(97).chain("...".chars()).collect() }
}

fn from_to(what: &str, old: Option<&str>, new: Option<&str>) -> String {
    match (old, new) {
        (None, Some(new)) => format!("{what}: {new}"),
        (Some(old), None) => format!("{what}: {old} -> none"),
        (old, new) => format!("{what}: {} -> {}", old.unwrap_or("none"), new.unwrap_or("none")),
    }
}

impl Planner<'_> {
    fn push(&mut self, sign: Sign, what: String, details: Vec<String>, action: Action) {
        let needs_platform = action.needs_platform();
        self.plan.push(Change { sign, what, details, action, needs_platform });
    }

    fn settings(&mut self) {
        let Some(wanted) = &self.wanted.settings else { return };
        let empty = Vec::new();
        for setting in managed() {
            let ours = |section: Option<&str>| section.is_none_or(|s| s == "volttron");
            let lines = self.present.settings.entries().iter();
            let old: Vec<String> = lines
                .filter(|e| e.key == setting.name && ours(e.section.as_deref()))
                .map(|e| if e.bare { "True".to_owned() } else { e.value() })
                .collect();
            // What stands last counts, save where lines add up.
            let counts = if setting.is_list { &old[..] } else { &old[old.len().saturating_sub(1)..] };
            let new = match wanted.get(&setting.name) {
                Some(new) => new,
                None if self.prune && !OWN_SETTINGS.contains(&&*setting.name) => &empty,
                None => continue,
            };
            let same =
                counts.len() == new.len() && counts.iter().zip(new).all(|(a, b)| setting.is_same(a, b));
            if same {
                continue;
            }
            let sign = match (counts.is_empty(), new.is_empty()) {
                (true, _) => Sign::Add,
                (_, true) => Sign::Remove,
                _ => Sign::Change,
            };
            let joined = |texts: &[String]| (!texts.is_empty()).then(|| texts.join(", "));
            let detail = from_to(&setting.name, joined(counts).as_deref(), joined(new).as_deref());
            let action = Action::Setting(setting.name.clone(), new.clone());
            self.push(sign, format!("setting {detail}"), Vec::new(), action);
        }
    }

    fn members(&mut self, names: Names, wanted: Option<&Map<String, Value>>, present: &Map<String, Value>) {
        let Some(wanted) = wanted else { return };
        let word = names.key().trim_end_matches('s');
        self.named(word, wanted.iter(), present.iter(), |name, new| Action::Members(names, name, new));
    }

    fn topics(&mut self) {
        let Some(wanted) = &self.wanted.topics else { return };
        let present: BTreeMap<&String, &Value> =
            self.present.topics.iter().map(|(topic, needed)| (topic, needed)).collect();
        let wanted = wanted.iter().map(|(topic, needed)| (topic, needed));
        self.named("protected topic", wanted, present.into_iter(), Action::Topic);
    }

    /// Values that have names: each wanted one becomes what it is to be, and with `prune` the others go.
    fn named<'v>(
        &mut self,
        word: &str,
        wanted: impl Iterator<Item = (&'v String, &'v Value)>,
        present: impl Iterator<Item = (&'v String, &'v Value)>,
        action: impl Fn(String, Option<Value>) -> Action,
    ) {
        let present: Vec<_> = present.collect();
        let old: BTreeMap<_, _> = present.iter().copied().collect();
        let mut kept = BTreeSet::new();
        for (name, new) in wanted {
            kept.insert(name);
            let old = old.get(name).copied();
            if old != Some(new) {
                let sign = if old.is_some() { Sign::Change } else { Sign::Add };
                let detail = from_to(name, old.map(short).as_deref(), Some(&short(new)));
                let action = action(name.clone(), Some(new.clone()));
                self.push(sign, format!("{word} {detail}"), Vec::new(), action);
            }
        }
        let prune = self.prune;
        for (name, _) in present.into_iter().filter(|(name, _)| prune && !kept.contains(name)) {
            self.push(Sign::Remove, format!("{word} {name}"), Vec::new(), action(name.clone(), None));
        }
    }

    /// Whether an agent of this name is installed, or will be.
    fn is_agent(&self, identity: &str) -> bool {
        self.present.agents.contains_key(identity)
            || self.wanted.agents.as_ref().is_some_and(|agents| agents.contains_key(identity))
    }

    fn entries(&mut self) -> Result<(), OpError> {
        let prune = self.prune;
        let Some(wanted) = &self.wanted.entries else { return Ok(()) };
        let mut named = BTreeSet::new();
        for fields in wanted {
            let user = user(fields).to_owned();
            let old = find(&self.present.rules.allow, &user);
            named.insert(user.clone());
            let action = Action::Entry(fields.clone());
            if old.is_none() && !fields.contains_key("credentials") {
                if !self.is_agent(&user) {
                    return Err(OpError::Refused(format!(
                        "there is no auth entry of {user} yet, and a new one needs credentials, a public key; \
                         `vctl auth enroll {user}` makes keys"
                    )));
                }
                let details = details(&Map::new(), fields);
                let what = format!("auth entry {user}");
                self.late.push(Change { sign: Sign::Change, what, details, action, needs_platform: true });
                continue;
            }
            let new = merged(old, fields)?;
            let old = old.map(normal).unwrap_or_default();
            if Value::Object(new.clone()) != Value::Object(old.clone()) {
                let sign = if old.is_empty() { Sign::Add } else { Sign::Change };
                let details = details(&old, &new);
                self.push(sign, format!("auth entry {user}"), details, action);
            }
        }
        let present = self.present;
        for entry in present.rules.allow.iter().filter_map(Value::as_object).filter(|_| prune) {
            let user = user(entry);
            let id = entry.get("user_id").and_then(Value::as_str).unwrap_or_default();
            if !named.contains(user) && !named.contains(id) && !is_own_user(id) && !self.is_agent(user) {
                let action = Action::NoEntry(id.to_owned());
                self.push(Sign::Remove, format!("auth entry {user}"), Vec::new(), action);
            }
        }
        Ok(())
    }

    fn store(&mut self) {
        let prune = self.prune;
        let Some(wanted) = &self.wanted.store else { return };
        let folded = |name: &str| stripped(name).to_lowercase();
        for (identity, contents) in wanted {
            let empty = BTreeMap::new();
            let stored = self.present.store.get(identity).unwrap_or(&empty);
            let old: BTreeMap<String, (&String, &Item)> =
                stored.iter().map(|(name, item)| (folded(name), (name, item))).collect();
            let mut named = BTreeSet::new();
            for (name, content) in contents {
                let key = folded(name);
                let before = old.get(&key);
                named.insert(key);
                if before.is_some_and(|(old, item)| stripped(old) == stripped(name) && content.is(item)) {
                    continue;
                }
                let mut details = Vec::new();
                if let Some((_, before)) = before {
                    if before.kind != content.item.kind {
                        details.push(from_to("type", Some(&before.kind), Some(&content.item.kind)));
                    }
                    details.extend(lines(&before.data, &content.item.data));
                }
                let sign = if before.is_some() { Sign::Change } else { Sign::Add };
                let item = Some(content.item.clone());
                let action = Action::Configuration { identity: identity.clone(), name: name.clone(), item };
                self.push(sign, format!("configuration {identity}/{}", stripped(name)), details, action);
            }
            for (name, _) in old.into_iter().filter(|(key, _)| prune && !named.contains(key)).map(|(_, v)| v)
            {
                self.no_configuration(identity, name);
            }
        }
        let all = self.present;
        let others = all.store.iter().filter(|(id, _)| prune && !wanted.contains_key(*id));
        for (identity, store) in others {
            for name in store.keys() {
                self.no_configuration(identity, name);
            }
        }
    }

    fn no_configuration(&mut self, identity: &str, name: &str) {
        let action =
            Action::Configuration { identity: identity.to_owned(), name: name.to_owned(), item: None };
        self.push(Sign::Remove, format!("configuration {identity}/{name}"), Vec::new(), action);
    }

    fn agents(&mut self) -> Result<(), OpError> {
        let prune = self.prune;
        let Some(wanted) = &self.wanted.agents else { return Ok(()) };
        let present = self.present;
        for identity in present.agents.keys().filter(|id| prune && !wanted.contains_key(*id)) {
            let details = vec!["with its data and its keys".to_owned()];
            self.push(Sign::Remove, format!("agent {identity}"), details, Action::Remove(identity.clone()));
        }
        for (identity, agent) in wanted {
            match self.present.agents.get(identity) {
                None => self.new_agent(identity, agent)?,
                Some(present) => self.present_agent(identity, agent, present)?,
            }
        }
        let late = std::mem::take(&mut self.late);
        self.plan.extend(late);
        for (identity, agent) in wanted {
            let running = self.present.agents.get(identity).is_some_and(|present| present.running);
            match agent.running {
                Some(true) if !running => {
                    self.push(
                        Sign::Change,
                        format!("agent {identity}: starts"),
                        Vec::new(),
                        Action::Start(identity.clone()),
                    );
                }
                Some(false) if running => {
                    self.push(
                        Sign::Change,
                        format!("agent {identity}: stops"),
                        Vec::new(),
                        Action::Stop(identity.clone()),
                    );
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn new_agent(&mut self, identity: &str, agent: &Agent) -> Result<(), OpError> {
        let Some(source) = &agent.source else {
            return Err(OpError::Refused(format!(
                "the agent {identity} is not installed, and the file does not say from what; add `source`"
            )));
        };
        let mut details = vec![from_to("source", None, Some(source))];
        for (what, value) in [
            ("version", agent.version.clone()),
            ("tag", agent.tag.clone().flatten()),
            ("priority", agent.priority.clone().flatten()),
            ("configuration", agent.config.as_ref().map(|c| format!("{} bytes", c.item.data.len()))),
        ] {
            if value.is_some() {
                details.push(from_to(what, None, value.as_deref()));
            }
        }
        self.push(Sign::Add, format!("agent {identity}"), details, Action::Install(identity.to_owned()));
        // Environment and configuration come with the installation.
        let settings = AgentSettings {
            restart: agent.restart.clone(),
            max_restarts: agent.max_restarts,
            after: agent.after.clone().filter(|after| !after.is_empty()),
            ..AgentSettings::default()
        };
        if settings != AgentSettings::default() {
            let details = settings_details(&settings, None);
            let action = Action::Configure(identity.to_owned(), settings);
            self.push(Sign::Change, format!("agent {identity}: policy"), details, action);
        }
        Ok(())
    }

    fn present_agent(
        &mut self,
        identity: &str,
        agent: &Agent,
        present: &PresentAgent,
    ) -> Result<(), OpError> {
        let version = present.agent.version();
        let upgrade = agent.version.as_deref().filter(|wanted| *wanted != version);
        if let Some(wanted) = upgrade {
            if agent.source.is_none() {
                return Err(OpError::Refused(format!(
                    "the agent {identity} has version {version}, wanted is {wanted}, and the file does not say from \
                     what; add `source`"
                )));
            }
            let details = vec![from_to("version", Some(version), Some(wanted))];
            self.push(
                Sign::Change,
                format!("agent {identity}"),
                details,
                Action::Install(identity.to_owned()),
            );
        }
        let manifest = present.agent.manifest.as_ref();
        let config = agent.config.as_ref();
        let config = config.filter(|c| !present.config.as_ref().is_some_and(|text| c.is_text(text)));
        let env = agent.env.as_ref().filter(|env| manifest.is_none_or(|m| m.env != **env));
        let other = |new: &Option<String>, old: Option<&String>| new.clone().filter(|new| old != Some(new));
        let settings = AgentSettings {
            // An installation brings these.
            config: config.filter(|_| upgrade.is_none()).map(|c| c.item.data.clone()),
            env: env.filter(|_| upgrade.is_none()).cloned(),
            restart: other(&agent.restart, manifest.and_then(|m| m.restart.as_ref())),
            max_restarts: agent
                .max_restarts
                .filter(|new| manifest.and_then(|m| m.max_restarts) != Some(*new)),
            after: agent.after.clone().filter(|new| manifest.is_none_or(|m| m.after != *new)),
        };
        if settings != AgentSettings::default() {
            let details = settings_details(&settings, Some(present));
            let action = Action::Configure(identity.to_owned(), settings);
            self.push(Sign::Change, format!("agent {identity}"), details, action);
        }
        let (old_tag, old_priority) = (&present.agent.tag, &present.agent.priority);
        if let Some(new) = agent.tag.as_ref().filter(|new| *new != old_tag) {
            let detail = from_to("tag", old_tag.as_deref(), new.as_deref());
            let action = Action::Tag(identity.to_owned(), new.clone());
            self.push(Sign::Change, format!("agent {identity}: {detail}"), Vec::new(), action);
        }
        let number = |text: &Option<String>| text.as_ref().and_then(|t| t.trim().parse::<u8>().ok());
        if let Some(new) = agent.priority.as_ref().filter(|new| number(new) != number(old_priority)) {
            let detail = from_to("priority", old_priority.as_deref(), new.as_deref());
            let action = Action::Priority(identity.to_owned(), new.clone());
            self.push(Sign::Change, format!("agent {identity}: {detail}"), Vec::new(), action);
        }
        Ok(())
    }
}

fn settings_details(settings: &AgentSettings, present: Option<&PresentAgent>) -> Vec<String> {
    let mut details = Vec::new();
    if let Some(config) = &settings.config {
        details.push("configuration:".to_owned());
        let old = present.and_then(|p| p.config.as_deref()).unwrap_or_default();
        details.extend(lines(old, config));
    }
    let manifest = present.and_then(|p| p.agent.manifest.as_ref());
    if let Some(env) = &settings.env {
        // Values may be secrets.
        let names: Vec<&str> = env.keys().map(String::as_str).collect();
        details.push(format!("environment: {}", names.join(", ")));
    }
    if let Some(restart) = &settings.restart {
        details.push(from_to("restart", manifest.and_then(|m| m.restart.as_deref()), Some(restart)));
    }
    if let Some(count) = settings.max_restarts {
        let old = manifest.and_then(|m| m.max_restarts).map(|n| n.to_string());
        details.push(from_to("max-restarts", old.as_deref(), Some(&count.to_string())));
    }
    if let Some(after) = &settings.after {
        let old = manifest.map(|m| m.after.join(", ")).filter(|text| !text.is_empty());
        details.push(from_to("after", old.as_deref(), Some(&after.join(", "))));
    }
    details
}

/// The lines that differ, as `changed_lines` shows them.
fn lines(old: &str, new: &str) -> Vec<String> {
    let mut text = String::new();
    changed_lines(&mut text, old, new);
    text.lines().map(|line| line.strip_prefix("  ").unwrap_or(line).to_owned()).collect()
}

/// The name an entry is known by: its identity, else its user id.
pub fn user(entry: &Map<String, Value>) -> &str {
    let name = |key: &str| entry.get(key).and_then(Value::as_str).filter(|name| !name.is_empty());
    name("identity").or(name("user_id")).unwrap_or_default()
}

/// The entry of that name.
pub fn find<'a>(allow: &'a [Value], name: &str) -> Option<&'a Map<String, Value>> {
    let entries = || allow.iter().filter_map(Value::as_object);
    let id = |entry: &&Map<String, Value>| entry.get("user_id").and_then(Value::as_str) == Some(name);
    entries().find(|entry| user(entry) == name).or_else(|| entries().find(id))
}

/// An entry as the platform writes it.
fn normal(entry: &Map<String, Value>) -> Map<String, Value> {
    match Entry::from_value(&Value::Object(entry.clone())).map(|entry| entry.to_value()) {
        Ok(Value::Object(fields)) => fields,
        _ => entry.clone(),
    }
}

/// An entry with other fields. One that is new is called by its identity unless it says otherwise.
pub fn merged(
    old: Option<&Map<String, Value>>,
    fields: &Map<String, Value>,
) -> Result<Map<String, Value>, OpError> {
    let mut all = old.cloned().unwrap_or_default();
    all.extend(fields.clone());
    let name = user(fields).to_owned();
    for key in ["identity", "user_id"] {
        let missing = all.get(key).and_then(Value::as_str).is_none_or(str::is_empty);
        if old.is_none() && missing && !fields.contains_key(key) {
            all.insert(key.to_owned(), name.clone().into());
        }
    }
    let entry = Entry::from_value(&Value::Object(all))
        .map_err(|e| OpError::Usage(format!("nothing was changed: auth entry {name}: {e}")))?;
    match entry.to_value() {
        Value::Object(fields) => Ok(fields),
        _ => Ok(Map::new()),
    }
}

/// The fields that differ; of a new entry, those that say something.
fn details(old: &Map<String, Value>, new: &Map<String, Value>) -> Vec<String> {
    let says = |value: &Value| match value {
        Value::Null => false,
        Value::Array(items) => !items.is_empty(),
        Value::Object(map) => !map.is_empty(),
        _ => true,
    };
    new.iter()
        .filter(|(key, value)| old.get(*key) != Some(value) && (old.contains_key(*key) || says(value)))
        .map(|(key, value)| from_to(key, old.get(key).map(short).as_deref(), Some(&short(value))))
        .collect()
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
