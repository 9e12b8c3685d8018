//! What a platform is at present: from its files, and from itself where it runs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::Value;
use volttron_utils::config::OptionFile;
use volttron_utils::home::Home;

use super::super::auth::Rules;
use super::super::auth::rules::Document;
use super::super::config::bulk;
use super::super::config::tree::Tree;
use super::super::session::authentication_is_off;
use super::super::{OpError, Session, agents};
use crate::auth::protected;
use crate::services::config_store::offline;
use crate::supervisor::InstalledAgent;
use crate::supervisor::installed;

/// Which configurations are looked at.
#[derive(Clone, Debug)]
pub enum Stores {
    /// None.
    None,
    /// Those of these agents.
    Of(BTreeSet<String>),
    /// All.
    All,
}

/// An agent that is there.
#[derive(Clone, Debug)]
pub struct PresentAgent {
    /// What stands on disk.
    pub agent: InstalledAgent,
    /// Its configuration file.
    pub config: Option<String>,
    /// Whether it runs.
    pub running: bool,
}

/// What is there.
#[derive(Debug, Default)]
pub struct Present {
    /// Whether the platform runs.
    pub online: bool,
    /// The settings' file.
    pub settings: OptionFile,
    /// Agents by identity.
    pub agents: BTreeMap<String, PresentAgent>,
    /// Configurations by identity and name.
    pub store: Tree,
    /// Auth entries, groups and roles.
    pub rules: Document,
    /// Protected topics with their capabilities.
    pub topics: Vec<(String, Value)>,
}

/// The rules, through the platform where it serves them.
pub fn rules<'a>(home: &Home, session: Option<&'a Session>) -> Rules<'a> {
    Rules::new(home, session.filter(|_| !authentication_is_off(home)).map(Session::cx))
}

/// Looks at everything.
pub async fn gather(home: &Home, session: Option<&Session>, stores: Stores) -> Result<Present, OpError> {
    let settings = OptionFile::load_or_empty(&home.config_file());
    Ok(Present {
        online: session.is_some(),
        settings: settings.map_err(|e| OpError::Refused(e.to_string()))?,
        agents: present_agents(home, session).await?,
        store: store(home, session, stores).await?,
        rules: rules(home, session).read().await?,
        topics: topics(home)?,
    })
}

async fn present_agents(
    home: &Home,
    session: Option<&Session>,
) -> Result<BTreeMap<String, PresentAgent>, OpError> {
    let running: BTreeSet<String> = match session {
        Some(session) => {
            let rows = agents::status(session).await?.into_iter();
            rows.filter(agents::StatusRow::is_running).map(|row| row.agent.uuid).collect()
        }
        None => BTreeSet::new(),
    };
    let mut all = BTreeMap::new();
    for agent in installed::list(home).0 {
        let read = |path: std::path::PathBuf| {
            fs::read_to_string(&path)
                .map_err(|source| OpError::File { what: path.display().to_string(), source })
        };
        let config = agent.config().map(read).transpose()?;
        let running = running.contains(&agent.uuid);
        all.insert(agent.identity.clone(), PresentAgent { agent, config, running });
    }
    Ok(all)
}

async fn store(home: &Home, session: Option<&Session>, stores: Stores) -> Result<Tree, OpError> {
    let only = match stores {
        Stores::None => return Ok(Tree::new()),
        Stores::Of(identities) if identities.is_empty() => return Ok(Tree::new()),
        Stores::Of(identities) => Some(identities),
        Stores::All => None,
    };
    if let Some(session) = session {
        return bulk::fetch(session, only.into_iter().flatten().collect()).await;
    }
    let all = offline::read(home).map_err(|e| OpError::Refused(e.to_string()))?;
    let wanted = |identity: &String| only.as_ref().is_none_or(|only| only.contains(identity));
    let stores = all.into_iter().filter(|(identity, _)| wanted(identity));
    Ok(stores.map(|(identity, s)| (identity, serde_json::from_value(s).unwrap_or_default())).collect())
}

/// The protected topics with the list of capabilities each needs.
pub fn topics(home: &Home) -> Result<Vec<(String, Value)>, OpError> {
    let path = home.protected_topics();
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(source) => return Err(OpError::File { what: path.display().to_string(), source }),
    };
    let topics =
        protected::entries(&text).map_err(|e| OpError::Refused(format!("{}: {e}", path.display())))?;
    Ok(topics.into_iter().map(|(topic, needed)| (topic, needed.into())).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn topics_are_those_the_platform_knows_and_what_it_refuses_is_not_written_again() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path()).unwrap();
        assert!(topics(&home).unwrap().is_empty());
        let write = |text: &str| fs::write(home.protected_topics(), text).unwrap();
        write(
            r#"{"write-protect": [{"topic": "a", "capabilities": "x"}, {"topic": "a", "capabilities": ["y"]}]}"#,
        );
        assert_eq!(topics(&home).unwrap(), [("a".to_owned(), json!(["x", "y"]))]);
        write(r#"{"write-protect": [{"topic": "a", "capabilities": "x"}, {"topics": "b"}]}"#);
        let error = topics(&home).unwrap_err().to_string();
        assert!(error.contains("entry 1 needs a `topic`"), "{error}");
    }
}
