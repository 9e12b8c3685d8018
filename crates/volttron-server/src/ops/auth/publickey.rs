//! `auth publickey`: the public keys of installed agents. The caller selects the agents, as for `list`.

use std::fmt::Write;

use serde_json::{Map, Value, json};
use volttron_utils::keys::keystore;

use super::Output;
use crate::supervisor::installed::InstalledAgent;

/// Length of a whole uuid.
const UUID_CHARS: usize = 36;

/// The table, and as data an object by identity. Uuids are cut to the shortest length that tells these agents apart,
/// but no shorter than `at_least`; 0 shows them whole. An agent whose keys cannot be read has an empty cell.
pub fn publickey(agents: &[InstalledAgent], at_least: usize) -> Output {
    if agents.is_empty() {
        return Output {
            stderr: "No installed Agents found\n".to_owned(),
            json: Some(json!({})),
            ..Output::default()
        };
    }
    let mut output = Output::default();
    let mut data = Map::new();
    let short = short_length(agents, at_least);
    let width = |least: usize, of: &dyn Fn(&InstalledAgent) -> usize| {
        agents.iter().map(of).max().unwrap_or(0).max(least)
    };
    let name = width(5, &|a| a.name.chars().count());
    let identity = width(3, &|a| a.identity.chars().count());
    let tag = width(3, &|a| a.tag.as_deref().unwrap_or_default().chars().count());
    // Headings go to standard error, so that pipes see rows only.
    output.stderr = format!(
        "{:short$} {:name$} {:identity$} {:tag$} {:>6}\n",
        "", "AGENT", "IDENTITY", "TAG", "PUBLICKEY"
    );
    for agent in agents {
        let key = keystore::load(&agent.keystore()).map(|pair| pair.public.to_string()).unwrap_or_default();
        let (uuid, shown_tag) =
            (agent.uuid.get(..short).unwrap_or(&agent.uuid), agent.tag.as_deref().unwrap_or_default());
        let (of, called) = (&agent.identity, &agent.name);
        let _ = writeln!(output.stdout, "{uuid} {called:name$} {of:identity$} {shown_tag:tag$} {key:>6}");
        data.insert(
            agent.identity.clone(),
            json!({"agent_uuid": agent.uuid, "name": agent.name, "identity": of, "agent_tag": shown_tag, "PUBLICKEY": key}),
        );
    }
    output.json = Some(Value::Object(data));
    output
}

fn short_length(agents: &[InstalledAgent], at_least: usize) -> usize {
    if at_least == 0 {
        return UUID_CHARS;
    }
    let unique = |length: usize| {
        let mut cut: Vec<&str> = agents.iter().map(|a| a.uuid.get(..length).unwrap_or(&a.uuid)).collect();
        cut.sort_unstable();
        cut.windows(2).all(|w| w[0] != w[1])
    };
    (at_least..UUID_CHARS).find(|length| unique(*length)).unwrap_or(UUID_CHARS)
}

#[cfg(test)]
mod tests {
    use volttron_utils::home::AgentDir;
    use volttron_utils::keys::KeyPair;

    use super::*;

    #[test]
    fn the_table_lines_up_and_uuids_are_short() {
        let dir = tempfile::tempdir().unwrap();
        let agent = |uuid: &str, identity: &str, tag: Option<&str>| InstalledAgent {
            uuid: uuid.to_owned(),
            identity: identity.to_owned(),
            name: "fwd-1.0".to_owned(),
            dir: AgentDir::at(dir.path().join(identity)),
            manifest: None,
            tag: tag.map(str::to_owned),
            priority: None,
        };
        let agents = [agent("ab1", "one", None), agent("ab2", "two.long", Some("t"))];
        let keys = KeyPair::generate();
        std::fs::create_dir_all(agents[1].keystore().parent().unwrap()).unwrap();
        keystore::write(&agents[1].keystore(), &keys).unwrap();
        let output = publickey(&agents, 1);
        assert_eq!(output.stderr, "    AGENT   IDENTITY TAG PUBLICKEY\n");
        let want = format!("ab1 fwd-1.0 one                \nab2 fwd-1.0 two.long t   {}\n", keys.public);
        assert_eq!(output.stdout, want);
        assert_eq!(output.json.unwrap()["two.long"]["PUBLICKEY"], json!(keys.public.to_string()));
        assert_eq!(publickey(&[], 1).stderr, "No installed Agents found\n");
    }
}
