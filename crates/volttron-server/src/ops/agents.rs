//! Installed agents and how they do: from the platform when it runs, from the files of the home otherwise.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value};
use volttron_utils::health::Status;
use volttron_utils::home::Home;
use volttron_utils::identity;

use super::select::{self, Filters, Found, Selectable};
use super::{OpError, Session};
use crate::supervisor::installed;

/// How long an agent may take to say why it is not well.
const CONTEXT_TIMEOUT: Duration = Duration::from_secs(2);

/// One agent, as commands show it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AgentRow {
    /// Installation uuid.
    pub uuid: String,
    /// `<package>-<version>`.
    pub name: String,
    /// VIP identity.
    pub identity: String,
    /// Tag, empty if none.
    pub tag: String,
    /// Priority text, empty if disabled.
    pub priority: String,
}

impl Selectable for AgentRow {
    fn uuid(&self) -> &str {
        &self.uuid
    }
    fn name(&self) -> &str {
        &self.name
    }
    fn identity(&self) -> &str {
        &self.identity
    }
    fn tag(&self) -> &str {
        &self.tag
    }
}

impl AgentRow {
    fn from_rpc(value: &Value) -> Self {
        let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        Self {
            uuid: text("uuid"),
            name: text("name"),
            identity: text("identity"),
            tag: text("tag"),
            priority: text("priority"),
        }
    }
}

/// All installed agents, ordered by name.
pub async fn list(home: &Home, session: Option<&Session>) -> Result<Vec<AgentRow>, OpError> {
    let mut rows: Vec<AgentRow> = match session {
        Some(session) => {
            let rows: Vec<Value> = session.control("list_agents").send().await?;
            rows.iter().map(AgentRow::from_rpc).collect()
        }
        None => installed::list(home).0.into_iter().map(from_disk).collect(),
    };
    rows.sort_by(|a, b| (&a.name, &a.identity).cmp(&(&b.name, &b.identity)));
    Ok(rows)
}

fn from_disk(agent: installed::InstalledAgent) -> AgentRow {
    AgentRow {
        uuid: agent.uuid,
        name: agent.name,
        identity: agent.identity,
        tag: agent.tag.unwrap_or_default(),
        priority: agent.priority.unwrap_or_default(),
    }
}

/// What patterns chose, and what is to be said about patterns that chose nothing.
#[derive(Debug, Default)]
pub struct Chosen {
    /// The agents, each once, in the order of the patterns.
    pub agents: Vec<AgentRow>,
    /// Patterns that fit nothing.
    pub unmatched: Vec<String>,
    /// Complaints about patterns that fit too much.
    pub ambiguous: Vec<String>,
}

/// Chooses among `agents`. Without a pattern it is all of them, or all tagged ones.
pub fn choose(agents: &[AgentRow], patterns: &[String], filters: Filters) -> Chosen {
    let mut chosen = Chosen::default();
    if patterns.is_empty() {
        let which = select::without_pattern(agents, filters);
        chosen.agents = which.into_iter().map(|i| agents[i].clone()).collect();
        return chosen;
    }
    for pattern in patterns {
        match select::by_pattern(agents, pattern, filters) {
            Found::Agents(which) if which.is_empty() => chosen.unmatched.push(pattern.clone()),
            Found::Agents(which) => {
                for i in which {
                    if !chosen.agents.iter().any(|a| a.uuid == agents[i].uuid) {
                        chosen.agents.push(agents[i].clone());
                    }
                }
            }
            Found::Ambiguous(uuids) => {
                chosen.ambiguous.push(format!("{pattern} is ambiguous: matches {}", uuids.join(", ")));
            }
        }
    }
    chosen
}

/// An agent and its process.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StatusRow {
    /// The agent.
    pub agent: AgentRow,
    /// Last process id.
    pub pid: Option<i64>,
    /// Exit code of the last process, none while it lives.
    pub exit: Option<i64>,
    /// What the health service knows: an object; none if it knows nothing.
    pub health: Option<Value>,
    /// The Unix user it runs as, where agents have users of their own.
    pub user: Option<String>,
    /// What the platform tells about its processes besides, if it does.
    pub report: Option<Value>,
}

impl StatusRow {
    /// The text of the STATUS column.
    pub fn status(&self) -> String {
        match (self.pid, self.exit) {
            (_, Some(code)) => code.to_string(),
            (Some(pid), None) => format!("running [{pid}]"),
            (None, None) => String::new(),
        }
    }

    /// The text of the HEALTH column: the status word.
    pub fn health_word(&self) -> String {
        let Some(message) = self.health.as_ref().and_then(|h| h.get("message")) else { return String::new() };
        let word = message.get("status").unwrap_or(message);
        word.as_str()
            .map_or_else(|| if word.is_null() { String::new() } else { word.to_string() }, str::to_owned)
    }

    /// Whether its process lives.
    pub fn is_running(&self) -> bool {
        self.pid.is_some() && self.exit.is_none()
    }

    /// Whether somebody has stopped it and its process has not ended yet.
    pub fn is_stopping(&self) -> bool {
        self.is_running() && self.report.as_ref().is_some_and(|report| report["state"] == "stopping")
    }
}

/// Every installed agent and every other one the platform remembers, with its process and health. Four questions,
/// asked at once.
pub async fn status(session: &Session) -> Result<Vec<StatusRow>, OpError> {
    let (listed, processes, health, reports) = tokio::join!(
        session.control("list_agents").send::<Vec<Value>>(),
        session.control("status_agents").named("get_agent_user", true).send::<Vec<Value>>(),
        platform_health(session),
        session.control("agent_reports").send::<Map<String, Value>>(),
    );
    // Without the health service, and from a platform of another make, the rest is still worth showing.
    let mut rows = merge(&listed?, &processes?, &health.unwrap_or_default());
    let mut reports = reports.unwrap_or_default();
    for row in &mut rows {
        row.report = reports.remove(&row.agent.uuid);
    }
    Ok(rows)
}

/// What the health service knows, by identity.
pub async fn platform_health(session: &Session) -> Result<Map<String, Value>, OpError> {
    Ok(session.call(identity::HEALTH, "get_platform_health").send().await?)
}

/// Adds to an agent's health what the agent says about it, if it is not well and answers: the health service hears only
/// the word.
pub async fn with_context(session: &Session, identity: &str, mut health: Value) -> Value {
    let well = health.get("message").is_none_or(|word| word == Status::Good.as_str());
    if !well
        && let Some(fields) = health.as_object_mut()
        && let Ok(status) =
            session.cx().call(identity, "health.get_status").timeout(CONTEXT_TIMEOUT).send::<Value>().await
        && let Some(context) = status.get("context")
    {
        fields.insert("context".to_owned(), context.clone());
    }
    health
}

fn merge(listed: &[Value], processes: &[Value], health: &Map<String, Value>) -> Vec<StatusRow> {
    let mut rows: BTreeMap<(String, String), StatusRow> = BTreeMap::new();
    let by_uuid: BTreeMap<&str, &Value> =
        processes.iter().filter_map(|p| Some((p.get(0)?.as_str()?, p))).collect();
    let mut known = Vec::new();
    for value in listed {
        let agent = AgentRow::from_rpc(value);
        known.push(agent.uuid.clone());
        let (pid, exit) = by_uuid.get(agent.uuid.as_str()).map_or((None, None), |p| pair(p));
        let health = health.get(&agent.identity).cloned();
        let user = by_uuid.get(agent.uuid.as_str()).and_then(|p| user(p));
        rows.insert(
            (agent.name.clone(), agent.identity.clone()),
            StatusRow { agent, pid, exit, health, user, report: None },
        );
    }
    for (uuid, process) in by_uuid {
        if known.iter().any(|k| k == uuid) {
            continue;
        }
        let text = |i: usize| process.get(i).and_then(Value::as_str).unwrap_or_default().to_owned();
        let identity = process.as_array().and_then(|p| p.last()).and_then(Value::as_str).unwrap_or_default();
        let agent = AgentRow {
            uuid: uuid.to_owned(),
            name: text(1),
            identity: identity.to_owned(),
            ..AgentRow::default()
        };
        let (pid, exit) = pair(process);
        rows.insert(
            (agent.name.clone(), format!("{identity}\n{uuid}")),
            StatusRow { agent, pid, exit, health: None, user: user(process), report: None },
        );
    }
    rows.into_values().collect()
}

/// The third of five columns, in isolation mode.
fn user(row: &Value) -> Option<String> {
    row.as_array().filter(|columns| columns.len() == 5)?.get(2)?.as_str().map(|name| name.trim().to_owned())
}

/// The `[pid, code]` of a row of `status_agents`, which in isolation mode has one more column.
fn pair(row: &Value) -> (Option<i64>, Option<i64>) {
    let pair = row.as_array().and_then(|columns| columns.iter().find_map(Value::as_array));
    let at = |i: usize| pair.and_then(|p| p.get(i)).and_then(Value::as_i64);
    (at(0), at(1))
}

/// Identities on the bus, sorted.
pub async fn peerlist(session: &Session) -> Result<Vec<String>, OpError> {
    let peers = session.cx().peerlist().await?;
    let own = session.cx().identity();
    let mut names: Vec<String> = peers
        .into_iter()
        .map(|peer| if peer == own { identity::CONTROL_CONNECTION.to_owned() } else { peer })
        .collect();
    names.sort();
    names.dedup();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn processes_and_health_meet_their_agents_and_removed_ones_stay_visible() {
        let listed = [
            json!({"name": "b-1", "uuid": "u1", "identity": "b", "tag": null, "priority": "50"}),
            json!({"name": "a-1", "uuid": "u2", "identity": "a", "tag": "t", "priority": null}),
        ];
        let processes = [
            json!(["u1", "b-1", [7, null], "b"]),
            json!(["gone", "c-1", [8, -9], "c"]),
            json!(["u2", "a-1", "user", [9, 0], "a"]),
        ];
        let health =
            json!({"b": {"peer": "b", "message": "GOOD"}, "a": {"peer": "a", "message": {"status": "BAD"}}});
        let rows = merge(&listed, &processes, health.as_object().unwrap());
        let shown: Vec<_> =
            rows.iter().map(|r| (r.agent.uuid.as_str(), r.status(), r.health_word())).collect();
        assert_eq!(
            shown,
            [
                ("u2", "0".into(), "BAD".into()),
                ("u1", "running [7]".into(), "GOOD".into()),
                ("gone", "-9".into(), String::new()),
            ]
        );
        assert!(rows[1].is_running() && !rows[0].is_running());
        assert_eq!(StatusRow::default().status(), "");
    }

    #[test]
    fn each_agent_is_chosen_once_and_misses_are_reported() {
        let row = |uuid: &str| AgentRow { uuid: uuid.into(), name: "p-1".into(), ..AgentRow::default() };
        let agents = [row("aa"), row("ab"), row("cc")];
        let patterns = ["p-1".to_owned(), "cc".to_owned(), "x".to_owned(), "a".to_owned()];
        let chosen = choose(&agents, &patterns, Filters::default());
        assert_eq!(chosen.agents.len(), 3);
        assert_eq!(chosen.unmatched, ["x"]);
        assert_eq!(chosen.ambiguous, ["a is ambiguous: matches aa, ab"]);
    }
}
