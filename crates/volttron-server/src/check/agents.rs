//! Installed agents: whether each could be started.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use volttron_utils::config::load_config;
use volttron_utils::home::Home;

use super::files::key_file;
use crate::nearest::nearest;
use crate::options::check::{Checked, Fault};
use crate::supervisor::installed::{self, InstalledAgent, Runtime, check_priority};

/// Looks at every agent.
pub(super) fn check(home: &Home) -> Checked {
    let mut found = Checked::default();
    let (agents, skipped) = installed::list(home);
    for text in skipped {
        let (path, why) = text.split_once(": ").unwrap_or((&text, "incomplete"));
        let fault =
            Fault::new(format!("this agent is incomplete and left out: {why}")).at(&PathBuf::from(path));
        found.faults.push(fault.hint("remove the directory, or install the agent again"));
    }
    let mut first: HashMap<&str, &InstalledAgent> = HashMap::new();
    for agent in &agents {
        if let Some(other) = first.insert(&agent.identity, agent) {
            let what =
                format!("the identity {} is that of {} as well", agent.identity, other.dir.path().display());
            found.faults.push(Fault::new(what).at(agent.dir.path()));
        }
    }
    for agent in &agents {
        one(agent, &agents, &mut found);
    }
    found
}

fn one(agent: &InstalledAgent, all: &[InstalledAgent], found: &mut Checked) {
    if let Some(priority) = &agent.priority
        && let Err(error) = check_priority(priority.trim())
    {
        let path = agent.dir.autostart();
        found.faults.push(Fault::new(format!("{error} It counts as 50.")).at(&path).warning());
    }
    key_file(&agent.keystore(), found);
    if let Some(path) = agent.config() {
        found.files.push(path.clone());
        // Agents may read another format; ours do not.
        if let Err(error) = load_config(&path) {
            let native = agent.manifest.as_ref().is_some_and(|m| m.runtime == Runtime::Native);
            let fault = Fault::new(error.to_string()).at(&path);
            found.faults.push(if native { fault } else { fault.warning() });
        }
    }
    let Some(manifest) = &agent.manifest else { return };
    found.files.push(agent.dir.launch());
    let fault = |what: String| Fault::new(what).at(&agent.dir.launch());
    let program = agent.dir.path().join(&manifest.exec);
    let runs = fs::metadata(&program).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
    if manifest.runtime != Runtime::External && !runs {
        let fault = fault(format!("its program {} is missing or cannot be run", program.display()));
        found.faults.push(fault.hint(format!("vctl upgrade {} installs it again", agent.identity)));
    }
    for name in &manifest.after {
        let known = all.iter().map(|other| other.identity.as_str());
        if !known.clone().any(|identity| identity == name) {
            let fault = fault(format!("it starts after {name}, which is not installed")).warning();
            found.faults.push(match nearest(known, name) {
                Some(meant) => fault.hint(format!("did you mean {meant}?")),
                None => fault,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_that_cannot_start_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path()).unwrap();
        let write = |name: &str, text: &str| {
            let path = home.agents().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let launch = |after: &str| {
            format!(
                r#"{{"format":1,"package":"p","version":"1","exec":"../../gone","runtime":"native","after":[{after}]}}"#
            )
        };
        for (name, after) in [("pump", ""), ("fan", "\"pmup\"")] {
            write(&format!("{name}/UUID"), name);
            write(&format!("{name}/NAME"), "p-1");
            write(&format!("{name}/agent.json"), &launch(after));
        }
        write("pump/config", "{\"a\": [}");
        write("pump/AUTOSTART", "many");
        write("half/UUID", "x");
        let faults = check(&home).faults;
        let has = |file: &str, part: &str| {
            faults.iter().any(|f| f.file.as_ref().is_some_and(|p| p.ends_with(file)) && f.what.contains(part))
        };
        for (file, part) in [
            ("half", "incomplete"),
            ("pump/config", "neither JSON nor YAML"),
            ("pump/AUTOSTART", "counts as 50"),
            ("pump/agent.json", "is missing or cannot be run"),
            ("fan/agent.json", "starts after pmup"),
        ] {
            assert!(has(file, part), "{file}: {faults:#?}");
        }
        assert_eq!(faults.len(), 6, "{faults:#?}");
    }
}
