//! Another version for an agent that is there, and the way back. Identity, uuid, keys, data, tag, priority and auth entry
//! stay where they are.

use std::collections::BTreeMap;
use std::fs;

use serde::{Deserialize, Serialize};

use super::change::Change;
use super::history::{History, Outcome, Trial, Version, What};
use super::register::{clear_up_after, history_file, name, to_text};
use super::{InstallError, Pending, Site, StagedAgent, repair};
use crate::supervisor::installed::{InstalledAgent, Manifest};
use crate::supervisor::machine::RestartPolicy;

/// Another version for an agent that is there; none if it is the one it has.
pub(super) fn prepare_upgrade(
    site: &Site<'_>,
    agent: &InstalledAgent,
    staged: &StagedAgent,
    manifest: &mut Manifest,
    starts: bool,
) -> Result<Option<Change>, InstallError> {
    let mut history = History::load(&agent.dir);
    let Some(old) = present(agent, &history) else { return Ok(None) };
    keep_policy(manifest, &old.manifest);
    let config = staged.config.as_ref().filter(|text| old.config.as_ref() != Some(text));
    let same_program = old.manifest.exec == manifest.exec
        && old.manifest.env == manifest.env
        && old.manifest.args == manifest.args;
    let then = &staged.then;
    let is_new = !same_program || config.is_some();
    if then.only_if_new && !is_new && then.tag.is_none() && then.priority.is_none() {
        return Ok(None);
    }
    if is_new {
        history.succeed(old, manifest);
        history.trial = then.trial.filter(|_| starts).map(|terms| Trial { number: history.present, terms });
    }
    let outcome = if history.trial.is_some() { Outcome::Trial } else { Outcome::Done };
    history.note(What::Upgrade, manifest, &staged.installed_by, outcome, "");
    let change = Change::begin(site, &agent.dir)?;
    let texts = [
        (agent.dir.config(), config, 0o644),
        (agent.dir.tag(), then.tag.as_ref(), 0o644),
        (agent.dir.autostart(), then.priority.as_ref(), 0o644),
    ];
    for (path, text, mode) in texts {
        if let Some(text) = text {
            change.put(site, &path, text, mode)?;
        }
    }
    put_version(site, &change, agent, manifest, &history)?;
    Ok(Some(change))
}

/// What an operator may change about an agent that keeps its program. What is none stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentSettings {
    /// Configuration text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<String>,
    /// Additions to the environment, all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<BTreeMap<String, String>>,
    /// `on-failure`, `always` or `never`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<String>,
    /// Restarts in a row before the agent is given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_restarts: Option<u32>,
    /// Agents that are to be on the bus before this one starts with the platform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Vec<String>>,
}

/// Prepares other settings for an agent; none if it has them already. Tells besides whether its process has to be
/// another one for them to count.
pub fn stage_settings(
    site: &Site<'_>,
    agent: &InstalledAgent,
    settings: &AgentSettings,
    by: &str,
) -> Result<Option<(Pending, bool)>, InstallError> {
    let lock = site.lock()?;
    repair(site)?;
    let prepared = prepare_settings(site, agent, settings, by);
    clear_up_after(site, &prepared);
    Ok(prepared?.map(|(change, restarts)| (Pending::change(agent, change, lock), restarts)))
}

fn prepare_settings(
    site: &Site<'_>,
    agent: &InstalledAgent,
    settings: &AgentSettings,
    by: &str,
) -> Result<Option<(Change, bool)>, InstallError> {
    if let Some(word) = settings.restart.as_deref().filter(|word| RestartPolicy::parse(word).is_none()) {
        return Err(InstallError::Config(format!("restart is on-failure, always or never, not {word}")));
    }
    let mut history = History::load(&agent.dir);
    let Some(old) = present(agent, &history) else {
        return Err(InstallError::Config(format!(
            "{} was installed by a Python platform; install it again with `vctl install --force` first",
            agent.identity
        )));
    };
    let mut manifest = old.manifest.clone();
    if let Some(env) = &settings.env {
        manifest.env.clone_from(env);
    }
    let config = settings.config.as_ref().filter(|text| old.config.as_ref() != Some(text));
    let restarts = config.is_some() || manifest.env != old.manifest.env;
    manifest.restart = settings.restart.clone().or(manifest.restart);
    manifest.max_restarts = settings.max_restarts.or(manifest.max_restarts);
    if let Some(after) = &settings.after {
        manifest.after.clone_from(after);
    }
    if config.is_none() && to_text(&manifest) == to_text(&old.manifest) {
        return Ok(None);
    }
    let change = Change::begin(site, &agent.dir)?;
    if let Some(text) = config {
        change.put(site, &agent.dir.config(), text, 0o644)?;
    }
    if restarts {
        let terms = history.trial.map(|trial| trial.terms);
        history.succeed(old, &manifest);
        // The program has still to show that it works.
        history.trial = terms.map(|terms| Trial { number: history.present, terms });
        let outcome = if history.trial.is_some() { Outcome::Trial } else { Outcome::Done };
        history.note(What::Upgrade, &manifest, by, outcome, "");
    }
    put_version(site, &change, agent, &manifest, &history)?;
    Ok(Some((change, restarts)))
}

/// Prepares the return to a former version of an agent. `failed` says why the present one did not pass its trial.
pub fn stage_rollback(
    site: &Site<'_>,
    agent: &InstalledAgent,
    to: Option<&str>,
    by: &str,
    failed: Option<&str>,
) -> Result<Pending, InstallError> {
    let lock = site.lock()?;
    repair(site)?;
    let change = prepare_rollback(site, agent, to, by, failed);
    clear_up_after(site, &change);
    Ok(Pending::change(agent, change?, lock))
}

fn prepare_rollback(
    site: &Site<'_>,
    agent: &InstalledAgent,
    to: Option<&str>,
    by: &str,
    failed: Option<&str>,
) -> Result<Change, InstallError> {
    let none = |why: String| InstallError::NoVersion(format!("{}: {why}", agent.identity));
    let mut history = History::load(&agent.dir);
    let number = history.target(to).map_err(none)?.number;
    let older = || none("it was installed by a Python platform".to_owned());
    let mut old = present(agent, &history).ok_or_else(older)?;
    let policy = old.manifest.clone();
    if let Some(why) = failed {
        old.failed = true;
        history.conclude(history.present, Outcome::RolledBack, why);
    }
    let kept = history.go_back(old, number);
    let mut version = kept.ok_or_else(|| none("the version is not kept any more".to_owned()))?;
    keep_policy(&mut version.manifest, &policy);
    history.note(What::Rollback, &version.manifest, by, Outcome::Done, failed.unwrap_or_default());
    let change = Change::begin(site, &agent.dir)?;
    if let Some(config) = &version.config {
        change.put(site, &agent.dir.config(), config, 0o644)?;
    }
    put_version(site, &change, agent, &version.manifest, &history)?;
    Ok(change)
}

/// Ends the trial of a version; false if it was not on trial any more.
pub fn conclude(
    site: &Site<'_>,
    agent: &InstalledAgent,
    number: u64,
    outcome: Outcome,
    why: &str,
) -> Result<bool, InstallError> {
    let _lock = site.lock()?;
    let mut history = History::load(&agent.dir);
    if !history.conclude(number, outcome, why) {
        return Ok(false);
    }
    site.write(&history_file(&agent.dir), &history.to_text(), 0o600)?;
    Ok(true)
}

/// What is installed now, to be kept.
fn present(agent: &InstalledAgent, history: &History) -> Option<Version> {
    let config = fs::read_to_string(agent.dir.config()).ok();
    let manifest = agent.manifest.clone()?;
    Some(Version { number: history.present, manifest, config, failed: false })
}

/// What an operator decided about the agent holds for each of its versions.
fn keep_policy(new: &mut Manifest, old: &Manifest) {
    new.restart.clone_from(&old.restart);
    new.max_restarts = old.max_restarts;
    new.after.clone_from(&old.after);
    new.other.clone_from(&old.other);
}

fn put_version(
    site: &Site<'_>,
    change: &Change,
    agent: &InstalledAgent,
    manifest: &Manifest,
    history: &History,
) -> Result<(), InstallError> {
    change.put(site, &agent.dir.name(), &name(manifest), 0o644)?;
    change.put(site, &history_file(&agent.dir), &history.to_text(), 0o600)?;
    change.put(site, &agent.dir.launch(), &to_text(manifest), 0o644)
}
