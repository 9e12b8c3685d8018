//! What an agent was before: `agents/<identity>/history.json`, the ledger of its versions.
//!
//! Owns which earlier versions are kept, which of them a rollback means, and the record of what was done. Changes nothing
//! else: [`super::change`] writes it together with what it describes.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use volttron_utils::files;
use volttron_utils::home::AgentDir;
use volttron_utils::time::format_timestamp;

use crate::supervisor::installed::Manifest;

/// Earlier versions kept of each agent; their programs take space.
const MAX_VERSIONS: usize = 5;
/// Entries of the record; the oldest go.
const MAX_EVENTS: usize = 50;
/// Largest file that is read.
const MAX_BYTES: u64 = 16 << 20;

/// Name of the file.
pub(super) const FILE: &str = "history.json";

/// The ledger of one agent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct History {
    /// Version of this format.
    pub format: u32,
    /// Number of the version that is installed. Each new one gets the next number; a rollback goes back to a former one.
    pub present: u64,
    /// Other versions that can be returned to, in the order of their numbers.
    #[serde(default)]
    pub versions: Vec<Version>,
    /// What was done, oldest first.
    #[serde(default)]
    pub events: Vec<Event>,
    /// The installed version is on trial.
    #[serde(default)]
    pub trial: Option<Trial>,
}

/// A version that an agent had.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Version {
    /// Its number.
    pub number: u64,
    /// How to launch it.
    pub manifest: Manifest,
    /// The configuration file as it was when the version was replaced.
    #[serde(default)]
    pub config: Option<String>,
    /// It did not pass its trial, or was replaced before it could.
    #[serde(default)]
    pub failed: bool,
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// The first version.
    Install,
    /// Another version took the place of the former one.
    Upgrade,
    /// A former version took its place again.
    Rollback,
}

impl What {
    /// The word for people.
    pub fn word(self) -> &'static str {
        match self {
            Self::Install => "install",
            Self::Upgrade => "upgrade",
            Self::Rollback => "rollback",
        }
    }
}

/// One line of the record.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Event {
    /// When, as text.
    pub when: String,
    /// What.
    pub what: What,
    /// Number of the version.
    pub number: u64,
    /// Package that was put in place.
    pub package: String,
    /// Its version.
    pub version: String,
    /// Where it came from.
    #[serde(default)]
    pub source: Value,
    /// Who asked.
    pub by: String,
    /// What came of it.
    pub outcome: Outcome,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
}

/// What came of an installation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It is in place.
    Done,
    /// It has yet to show that it works.
    Trial,
    /// It has shown that it works.
    Passed,
    /// It did not work, and the former version is back.
    RolledBack,
    /// It did not work, and there was no version to go back to.
    Failed,
    /// Another version took its place before it had shown anything.
    Replaced,
}

impl Outcome {
    /// The word for people.
    pub fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Trial => "on trial",
            Self::Passed => "passed",
            Self::RolledBack => "rolled back",
            Self::Failed => "failed",
            Self::Replaced => "replaced",
        }
    }
}

/// What a new version has to show to stay.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Terms {
    /// How long it has, in seconds, from the start of its process.
    pub period_s: f64,
    /// Only GOOD health counts; otherwise it is enough to come up.
    #[serde(default)]
    pub good: bool,
}

/// A version that has yet to show that it works.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// Its number.
    pub number: u64,
    /// What it has to show.
    #[serde(flatten)]
    pub terms: Terms,
}

impl Default for History {
    fn default() -> Self {
        Self { format: 1, present: 1, versions: Vec::new(), events: Vec::new(), trial: None }
    }
}

impl History {
    /// The ledger in this directory. One that is missing or damaged is empty: an agent runs without it.
    pub fn load(dir: &AgentDir) -> Self {
        let path = dir.path().join(FILE);
        match files::read_bounded(&path, MAX_BYTES) {
            Ok(text) => serde_json::from_str(&text).unwrap_or_else(|error| {
                tracing::warn!("{} is damaged, earlier versions are lost: {error}", path.display());
                Self::default()
            }),
            Err(_) => Self::default(),
        }
    }

    pub(super) fn to_text(&self) -> String {
        volttron_utils::json::to_indent(self, 2).unwrap_or_default()
    }

    /// Notes what is put in place now, under the number of the present version.
    pub(super) fn note(&mut self, what: What, manifest: &Manifest, by: &str, outcome: Outcome, why: &str) {
        self.events.push(Event {
            when: format_timestamp(jiff::Timestamp::now()),
            what,
            number: self.present,
            package: manifest.package.clone(),
            version: manifest.version.clone(),
            source: manifest.source.clone(),
            by: by.to_owned(),
            outcome,
            why: why.to_owned(),
        });
        let surplus = self.events.len().saturating_sub(MAX_EVENTS);
        self.events.drain(..surplus);
    }

    /// Keeps the version that is replaced, and numbers its successor. A kept version that is the same program with the same
    /// configuration as the successor is not needed twice.
    pub(super) fn succeed(&mut self, mut old: Version, new: &Manifest) {
        self.replace(&mut old);
        let next = self.highest(old.number) + 1;
        self.keep(old);
        self.versions
            .retain(|v| v.manifest.exec != new.exec || v.manifest.env != new.env || v.number == self.present);
        self.present = next;
    }

    /// Puts a kept version in the place of the present one, which is kept instead.
    pub(super) fn go_back(&mut self, mut old: Version, to: u64) -> Option<Version> {
        let at = self.versions.iter().position(|v| v.number == to)?;
        self.replace(&mut old);
        let version = self.versions.remove(at);
        self.keep(old);
        self.present = to;
        Some(version)
    }

    fn highest(&self, present: u64) -> u64 {
        self.versions.iter().map(|v| v.number).max().unwrap_or(0).max(present)
    }

    /// Those that failed go first, then the oldest.
    fn keep(&mut self, version: Version) {
        self.versions.push(version);
        self.versions.sort_by_key(|v| v.number);
        while self.versions.len() > MAX_VERSIONS {
            let failed = self.versions.iter().position(|v| v.failed);
            self.versions.remove(failed.unwrap_or(0));
        }
    }

    /// The version that a rollback means: the newest of that name, or the one before the present one.
    pub fn target(&self, to: Option<&str>) -> Result<&Version, String> {
        let found = match to {
            Some(wanted) => self.versions.iter().rev().find(|v| v.manifest.version == wanted),
            None => self.versions.iter().rev().find(|v| v.number < self.present && !v.failed),
        };
        found.ok_or_else(|| {
            let kept: Vec<&str> = self.versions.iter().map(|v| v.manifest.version.as_str()).collect();
            let kept = if kept.is_empty() { "none".to_owned() } else { kept.join(", ") };
            match to {
                Some(wanted) => format!("version {wanted} is not kept; kept are: {kept}"),
                None => format!("there is no earlier version to go back to; kept are: {kept}"),
            }
        })
    }

    /// Takes note that `old`, the present version, is about to be replaced: on trial, it is none that works. Going back
    /// from its successor would otherwise lead to a version that may never have run.
    fn replace(&mut self, old: &mut Version) {
        old.failed |= self.conclude(old.number, Outcome::Replaced, "another version took its place");
    }

    /// Ends the trial; false if this version is not on trial.
    pub(super) fn conclude(&mut self, number: u64, outcome: Outcome, why: &str) -> bool {
        if self.trial.is_none_or(|t| t.number != number) {
            return false;
        }
        self.trial = None;
        if let Some(event) = self.events.iter_mut().rev().find(|e| e.number == number) {
            (event.outcome, event.why) = (outcome, why.to_owned());
        }
        true
    }
}

#[cfg(test)]
#[path = "history_tests.rs"]
mod tests;
